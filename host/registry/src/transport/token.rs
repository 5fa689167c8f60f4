//! How a registry is shown who asks: what it demands in `WWW-Authenticate`, and the short tokens that its token service
//! gives for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{Failure, MAX_ANSWER, read, reason};
use crate::auth::Credentials;

/// How long a token is used that does not say for how long it may be: the specification's default.
const DEFAULT_LIFE: u64 = 60;

/// How long any token is used at most, whatever it says.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(5);

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Purpose {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) push: bool,
    pub(super) credentials: Credentials,
}

/// What is shown with each request.
#[derive(Clone)]
struct Shown {
    value: HeaderValue,
    until: Option<Instant>,
}

/// What was shown with success, by purpose.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Purpose, Shown>>);

/// A demand of a registry.
#[derive(Debug, PartialEq, Eq)]
enum Demand {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// The header to send, where one is known to be wanted.
    pub(super) fn header(&self, purpose: &Purpose) -> Option<HeaderValue> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = tokens.get(purpose)?;
        if shown.until.is_some_and(|until| until <= Instant::now()) {
            tokens.remove(purpose);
            return None;
        }
        Some(shown.value.clone())
    }

    /// Does what a registry that answered 401 demands, and keeps the result. Returns false where nothing can be done.
    pub(super) async fn answer(
        &self,
        http: &reqwest::Client,
        purpose: &Purpose,
        headers: &HeaderMap,
        plain: bool,
    ) -> Result<bool, Failure> {
        let shown = match (demand(headers), &purpose.credentials) {
            (Some(Demand::Basic), Credentials::Basic { user, password }) => {
                Shown { value: basic(user, password)?, until: None }
            }
            (_, Credentials::RegistryToken(token)) => Shown { value: bearer(token)?, until: None },
            (Some(Demand::Bearer { realm, service }), _) => {
                fetch(http, purpose, &realm, service.as_deref(), plain).await?
            }
            (Some(Demand::Basic), Credentials::Anonymous | Credentials::IdentityToken(_)) | (None, _) => {
                return Ok(false);
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(purpose.clone(), shown);
        Ok(true)
    }
}

fn demand(headers: &HeaderMap) -> Option<Demand> {
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(challenges) = http_auth::parse_challenges(header.to_str().ok()?) else { continue };
        for challenge in challenges {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                return Some(Demand::Basic);
            }
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let parameter = |wanted: &str| {
                    let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found.map(|(_, value)| value.to_unescaped())
                };
                return Some(Demand::Bearer { realm: parameter("realm")?, service: parameter("service") });
            }
        }
    }
    None
}

async fn fetch(
    http: &reqwest::Client,
    purpose: &Purpose,
    realm: &str,
    service: Option<&str>,
    plain: bool,
) -> Result<Shown, Failure> {
    let failed = |what: String| Failure::Broken(format!("the token service {realm:?} {what}"));
    let mut url: reqwest::Url = realm.parse().map_err(|_| failed("has no usable address".to_owned()))?;
    // A registry spoken to over TLS must not have credentials sent in the clear.
    if !(url.scheme() == "https" || plain && url.scheme() == "http") {
        return Err(failed("is not reached over HTTPS".to_owned()));
    }
    let actions = if purpose.push { "pull,push" } else { "pull" };
    let scope = format!("repository:{}:{actions}", purpose.repository);
    let request = if let Credentials::IdentityToken(token) = &purpose.credentials {
        // The form of a body is that of a query.
        let mut form = url.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "purlin")
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", &scope)
            .append_pair("refresh_token", token);
        let body = form.query().unwrap_or_default().to_owned();
        http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    } else {
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        match &purpose.credentials {
            Credentials::Basic { user, password } => {
                http.get(url).header(AUTHORIZATION, basic(user, password)?)
            }
            _ => http.get(url),
        }
    };
    let response = request.send().await.map_err(|error| failed(reason(&error)))?;
    let status = response.status();
    if status.as_u16() == 401 || status.as_u16() == 403 {
        return Err(Failure::Unauthorized);
    }
    if !status.is_success() {
        return Err(failed(format!("answered {status}")));
    }
    let text = read(response, MAX_ANSWER).await?;
    let answer: Answer =
        serde_json::from_slice(&text).map_err(|_| failed("gave no token that can be read".to_owned()))?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    let life =
        Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(DEFAULT_LIFE, LONGEST_LIFE));
    Ok(Shown { value: bearer(&token)?, until: Some(Instant::now() + life.saturating_sub(MARGIN)) })
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret(format!("Basic {text}"))
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    secret(format!("Bearer {token}"))
}

fn secret(text: String) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        Failure::Broken("the credentials have a character that no header can hold".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_read() {
        let read =
            |text: &str| demand(&HeaderMap::from_iter([(WWW_AUTHENTICATE, text.parse().expect("header"))]));
        assert_eq!(read("Basic realm=\"x\""), Some(Demand::Basic));
        assert_eq!(
            read("Bearer realm=\"https://auth.example/token\",service=\"registry\",scope=\"a:b:c\""),
            Some(Demand::Bearer {
                realm: "https://auth.example/token".to_owned(),
                service: Some("registry".to_owned())
            })
        );
        assert_eq!(read("Negotiate"), None);
        assert_eq!(read("Bearer service=\"no realm\""), None);
    }
}
