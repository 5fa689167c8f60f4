//! `http(s)://...`: one file. What the server calls its version (`ETag`, `Last-Modified`) is asked for at each load; where it
//! calls it nothing, what was downloaded once is kept as it is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::cache::Hold;
use super::credentials::Credentials;
use super::download::{Opened, Remote};
use super::error::SourceError;
use super::gather::{Gathering, RemoteFile};
use super::listing::Listing;

/// Time to make a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence while a file comes.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client for files of any size.
///
/// # Errors
/// There is no TLS.
pub(super) fn client() -> reqwest::Result<Client> {
    builder().build()
}

/// The same, for questions about a file: it stays where it is sent elsewhere, because what is said of the file is said there.
///
/// # Errors
/// There is no TLS.
pub(super) fn staying() -> reqwest::Result<Client> {
    builder().redirect(reqwest::redirect::Policy::none()).build()
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("purlin/", env!("CARGO_PKG_VERSION")))
}

/// Reads the file behind an address.
pub(super) async fn fetch(
    client: &Client,
    credentials: &Credentials,
    gathering: &Gathering<'_>,
) -> Result<(Listing, Hold), SourceError> {
    let uri = gathering.uri;
    let url =
        Url::parse(uri).map_err(|error| SourceError::invalid(format!("{uri:?} is no address: {error}")))?;
    let name =
        url.path_segments().and_then(|mut parts| parts.rfind(|part| !part.is_empty()).map(str::to_owned));
    let headers = headers(&url, credentials)?;
    let kept = gathering.kept();
    let version = kept.as_ref().and_then(|(listing, _)| listing.files.first()?.version.clone());
    if let (Some(_), None) = (&kept, &version) {
        return kept.ok_or_else(|| SourceError::passing(uri));
    }
    let mut asked = headers.clone();
    if let Some((condition, value)) = version.as_deref().and_then(condition) {
        asked.insert(condition, value);
    }
    let answer = match open(client, &url, asked, uri).await {
        Ok(answer) => answer,
        // What is here was allowed before and is no worse for the place being down.
        Err(error) if error.passing && error.reason == "SourceUnavailable" => match kept {
            Some(kept) => {
                tracing::warn!(uri, %error, "using what was downloaded before");
                return Ok(kept);
            }
            None => return Err(error),
        },
        Err(error) => return Err(error),
    };
    if answer.status() == StatusCode::NOT_MODIFIED
        && let Some(kept) = kept
    {
        return Ok(kept);
    }
    let version = version_of(answer.headers());
    let file = RemoteFile {
        name: name.unwrap_or_else(|| "model".to_owned()),
        location: uri.to_owned(),
        size: length(answer.headers()),
        digest: None,
        version: version.clone(),
        remote: Box::new(HttpFile {
            client: client.clone(),
            url,
            headers,
            what: uri.to_owned(),
            validator: version,
            first: Mutex::new(Some(answer)),
        }),
    };
    gathering.gather(true, vec![file]).await
}

/// What is shown to the server: headers that a Secret has for its host, or a token.
fn headers(url: &Url, credentials: &Credentials) -> Result<HeaderMap, SourceError> {
    let mut headers = HeaderMap::new();
    let host = url.host_str().unwrap_or_default();
    let of_host = [format!("{host}-headers"), "headers".to_owned(), host.to_owned()];
    let of_host: Vec<&str> = of_host.iter().map(String::as_str).collect();
    if credentials.text(&["https-host"]).is_some_and(|named| named != host) {
        return Ok(headers);
    }
    if let Some(text) = credentials.text(&of_host) {
        let wrong = || {
            let message = "spec.source.secret: its headers must be a JSON object, or lines of NAME: VALUE";
            SourceError { passing: true, ..SourceError::invalid(message) }
        };
        let pairs: Vec<(String, String)> = match serde_json::from_str::<serde_json::Map<_, _>>(text) {
            Ok(object) => {
                let pair =
                    |(name, value): (String, serde_json::Value)| Some((name, value.as_str()?.to_owned()));
                object.into_iter().map(|entry| pair(entry).ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
            Err(_) => {
                let pair = |line: &str| {
                    let (name, value) = line.split_once(':')?;
                    Some((name.trim().to_owned(), value.trim().to_owned()))
                };
                text.lines().map(|line| pair(line).ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
        };
        for (name, value) in pairs {
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| wrong())?);
        }
    }
    Ok(headers)
}

/// Sends a request, and turns refusals into errors.
pub(super) async fn open(
    client: &Client,
    url: &Url,
    mut headers: HeaderMap,
    what: &str,
) -> Result<Response, SourceError> {
    // A length and a range are those of the file itself.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let answer = client.get(url.clone()).headers(headers).send().await.map_err(|error| {
        let error = causes(&error.without_url());
        SourceError::passing(format!("{what} cannot be downloaded: {error}"))
    })?;
    let status = answer.status();
    if status.is_success()
        || status == StatusCode::NOT_MODIFIED
        || status == StatusCode::RANGE_NOT_SATISFIABLE
    {
        return Ok(answer);
    }
    let message = format!("{what} cannot be downloaded: the server answers {status}");
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            SourceError::refused(format!("{message}; name a Secret with credentials in spec.source.secret"))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => SourceError::passing(message),
        _ => SourceError { passing: status.is_server_error(), ..SourceError::passing(message) },
    })
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The server's name for a version: an entity tag that means the same bytes, or a time.
pub(super) fn version_of(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match text(ETAG) {
        Some(tag) if !tag.starts_with("W/") => Some(tag.to_owned()),
        _ => text(LAST_MODIFIED).map(str::to_owned),
    }
}

fn condition(version: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = if version.starts_with('"') { IF_NONE_MATCH } else { IF_MODIFIED_SINCE };
    Some((name, version.parse().ok()?))
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Where a part begins and how long the whole is: `bytes 10-19/20`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (part, whole) = text.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, whole.parse().ok()))
}

/// A file behind an address.
pub(super) struct HttpFile {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) what: String,
    /// The version that a download goes on with.
    pub(super) validator: Option<String>,
    /// An answer that was had when the version was asked for.
    pub(super) first: Mutex<Option<Response>>,
}

impl Remote for HttpFile {
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, SourceError>> {
        async move {
            let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (0, Some(answer)) = (from, first) {
                return Ok(opened(answer, 0));
            }
            let mut headers = self.headers.clone();
            if from > 0 {
                headers.insert(
                    RANGE,
                    HeaderValue::try_from(format!("bytes={from}-"))
                        .map_err(|error| SourceError::passing(format!("{}: {error}", self.what)))?,
                );
                if let Some(validator) = self.validator.as_deref().and_then(|text| text.parse().ok()) {
                    headers.insert(IF_RANGE, validator);
                }
            }
            let answer = open(&self.client, &self.url, headers, &self.what).await?;
            match answer.status() {
                StatusCode::PARTIAL_CONTENT => {
                    let (begin, whole) = range(answer.headers()).unwrap_or((from, None));
                    let size = whole.or_else(|| Some(begin.saturating_add(length(answer.headers())?)));
                    Ok(Opened { size, ..opened(answer, begin) })
                }
                StatusCode::RANGE_NOT_SATISFIABLE => {
                    // Nothing follows what is here, so it is of another version: from the beginning, then.
                    let answer = open(&self.client, &self.url, self.headers.clone(), &self.what).await?;
                    Ok(opened(answer, 0))
                }
                _ => Ok(opened(answer, 0)),
            }
        }
        .boxed()
    }
}

fn opened(answer: Response, from: u64) -> Opened {
    let size = length(answer.headers());
    let pieces = answer.bytes_stream().map(|piece| piece.map_err(|error| causes(&error.without_url())));
    Opened { from, size, pieces: pieces.boxed() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn credentials(name: &str, value: &str) -> Credentials {
        let data = BTreeMap::from([(name.to_owned(), value.as_bytes().to_vec())]);
        Credentials::from_secret(data, BTreeMap::new(), None).unwrap()
    }

    #[test]
    fn headers_are_an_object_or_lines() {
        let url = Url::parse("https://models.example/x").unwrap();
        for text in [r#"{"Authorization": "Bearer x"}"#, "Authorization: Bearer x"] {
            let found = headers(&url, &credentials("headers", text)).unwrap();
            assert_eq!(found["authorization"], "Bearer x");
        }
        let found = headers(&url, &credentials("models.example-headers", "a: b\nc: d")).unwrap();
        assert_eq!(found.len(), 2);
        assert!(headers(&url, &credentials("other.example-headers", "a: b")).unwrap().is_empty());
        for wrong in ["nothing", r#"{"a": 1}"#, "a b: c", "a: \u{1}"] {
            assert!(headers(&url, &credentials("headers", wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_and_ranges_are_read() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert_eq!(version_of(&headers("etag", "\"x\"")).as_deref(), Some("\"x\""));
        assert_eq!(version_of(&headers("etag", "W/\"x\"")), None);
        assert_eq!(range(&headers("content-range", "bytes 10-19/20")), Some((10, Some(20))));
        assert_eq!(range(&headers("content-range", "bytes 10-19/*")), Some((10, None)));
        for wrong in ["bytes */20", "10-19/20", "bytes x-1/2", "bytes 1"] {
            assert_eq!(range(&headers("content-range", wrong)), None, "{wrong}");
        }
    }
}
