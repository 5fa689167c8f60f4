//! Bearer tokens: the administrator's, and signed ones of service accounts.
//!
//! Service account tokens are JWTs with the real server's claims, signed with HMAC because only this server checks
//! them. Whether the account still exists is asked of the store by the caller, not decided here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use super::Identity;

/// The issuer and default audience of service account tokens.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// The administrator.
    Admin,
    /// A service account, which must still exist with this UID.
    Account(Account),
}

/// The service account that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) audiences: Vec<String>,
}

impl Account {
    /// The caller that this account is.
    pub(crate) fn identity(&self) -> Identity {
        Identity::service_account(&self.namespace, &self.name, &self.uid)
    }
}

/// Makes and checks tokens.
pub(crate) struct Tokens {
    admin: hmac::Tag,
    key: hmac::Key,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    /// From the administrator's token and the signing key.
    pub(crate) fn new(admin: &str, key: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self { admin: hmac::sign(&key, admin.as_bytes()), key }
    }

    /// Who bears `token`, at `now` in seconds since the epoch.
    pub(crate) fn check(&self, token: &str, now: i64) -> Option<Bearer> {
        // Comparing the tags takes the same time wherever the tokens differ.
        if hmac::verify(&self.key, token.as_bytes(), self.admin.as_ref()).is_ok() {
            return Some(Bearer::Admin);
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let (_, payload) = signed.split_once('.')?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        if claims["exp"].as_i64()? <= now {
            return None;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let bound = &claims["kubernetes.io"];
        Some(Bearer::Account(Account {
            namespace: text(&bound["namespace"])?,
            name: text(&bound["serviceaccount"]["name"])?,
            uid: text(&bound["serviceaccount"]["uid"])?,
            audiences: claims["aud"].as_array()?.iter().filter_map(text).collect(),
        }))
    }

    /// A token for `account` that is valid from `now` for `seconds`.
    pub(crate) fn issue(&self, account: &Account, now: i64, seconds: i64) -> String {
        let claims = json!({
            "aud": account.audiences, "iss": ISSUER, "iat": now, "nbf": now, "exp": now + seconds,
            "jti": uuid::Uuid::new_v4().to_string(),
            "sub": format!("system:serviceaccount:{}:{}", account.namespace, account.name),
            "kubernetes.io": {
                "namespace": account.namespace,
                "serviceaccount": {"name": account.name, "uid": account.uid},
            },
        });
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account { namespace: "ns".into(), name: "sa".into(), uid: "u".into(), audiences: vec![ISSUER.into()] }
    }

    #[test]
    fn only_the_administrators_token_is_the_administrator() {
        let tokens = Tokens::new("secret", b"key");
        assert_eq!(tokens.check("secret", 0), Some(Bearer::Admin));
        assert_eq!(tokens.check("secreu", 0), None);
        assert_eq!(tokens.check("", 0), None);
    }

    #[test]
    fn an_account_token_ends_with_its_time_and_its_signature() {
        let tokens = Tokens::new("secret", b"key");
        let token = tokens.issue(&account(), 100, 60);
        assert_eq!(tokens.check(&token, 159), Some(Bearer::Account(account())));
        assert_eq!(tokens.check(&token, 160), None);
        assert_eq!(Tokens::new("secret", b"other").check(&token, 120), None);
        let mut forged = token.clone();
        forged.replace_range(30..31, if &token[30..31] == "A" { "B" } else { "A" });
        assert_eq!(tokens.check(&forged, 120), None);
    }
}
