//! Bearer tokens: the administrator's, those of a token file, and signed ones of service accounts.
//!
//! Service account tokens are JWTs with the real server's claims, signed with HMAC because only this server checks
//! them. Whether the account still exists is asked of the store by the caller, not decided here.

use std::collections::HashMap;

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
    /// Somebody whose token is known as such.
    User(Identity),
    /// A service account, which must still exist with this UID.
    Account(Account),
}

/// The service account that a token was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) audiences: Vec<String>,
    /// The object that the token ends with, if it is bound to one.
    pub(crate) bound: Option<Bound>,
    /// The token's own name.
    pub(crate) id: String,
}

/// An object by which a token stands and falls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) kind: BoundKind,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What a token can be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoundKind {
    Pod,
    Secret,
    Node,
}

impl BoundKind {
    const ALL: [Self; 3] = [Self::Pod, Self::Secret, Self::Node];

    /// By the kind in a `boundObjectRef`.
    pub(crate) fn of(kind: &str) -> Option<Self> {
        match kind {
            "Pod" => Some(Self::Pod),
            "Secret" => Some(Self::Secret),
            "Node" => Some(Self::Node),
            _ => None,
        }
    }

    /// The plural of the resource.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Secret => "secrets",
            Self::Node => "nodes",
        }
    }

    /// Whether it lies in the account's namespace.
    pub(crate) fn is_namespaced(self) -> bool {
        self != Self::Node
    }

    fn claim(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Secret => "secret",
            Self::Node => "node",
        }
    }
}

impl Account {
    /// The caller that this account is.
    pub(crate) fn identity(&self) -> Identity {
        let mut identity = Identity::service_account(&self.namespace, &self.name, &self.uid);
        let mut known = |what: &str, value: &str| {
            identity.extra.insert(format!("authentication.kubernetes.io/{what}"), vec![value.to_owned()]);
        };
        known("credential-id", &format!("JTI={}", self.id));
        if let Some(Bound { kind, name, uid }) = &self.bound
            && *kind != BoundKind::Secret
        {
            known(&format!("{}-name", kind.claim()), name);
            known(&format!("{}-uid", kind.claim()), uid);
        }
        identity
    }
}

/// Makes and checks tokens.
pub(crate) struct Tokens {
    users: HashMap<Vec<u8>, Identity>,
    key: hmac::Key,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    /// From the tokens of users and the key that signs those of service accounts.
    pub(crate) fn new(users: Vec<(String, Identity)>, key: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        // Looked up by a keyed hash: how long that takes says nothing of how near a guess is.
        let tag = |token: &str| hmac::sign(&key, token.as_bytes()).as_ref().to_vec();
        Self { users: users.into_iter().map(|(token, identity)| (tag(&token), identity)).collect(), key }
    }

    /// Who bears `token`, at `now` in seconds since the epoch.
    pub(crate) fn check(&self, token: &str, now: i64) -> Option<Bearer> {
        if let Some(identity) = self.users.get(hmac::sign(&self.key, token.as_bytes()).as_ref()) {
            return Some(Bearer::User(identity.clone()));
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let (_, payload) = signed.split_once('.')?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        if claims["exp"].as_i64()? <= now || claims["iss"] != ISSUER {
            return None;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let own = &claims["kubernetes.io"];
        let bound = BoundKind::ALL.into_iter().find_map(|kind| {
            let claim = own.get(kind.claim())?;
            Some(Bound { kind, name: text(&claim["name"])?, uid: text(&claim["uid"])? })
        });
        Some(Bearer::Account(Account {
            namespace: text(&own["namespace"])?,
            name: text(&own["serviceaccount"]["name"])?,
            uid: text(&own["serviceaccount"]["uid"])?,
            bound,
            id: text(&claims["jti"])?,
            audiences: claims["aud"].as_array()?.iter().filter_map(text).collect(),
        }))
    }

    /// A token for `account` that is valid from `now` for `seconds`.
    pub(crate) fn issue(&self, account: &Account, now: i64, seconds: i64) -> String {
        let mut claims = json!({
            "aud": account.audiences, "iss": ISSUER, "iat": now, "nbf": now, "exp": now + seconds,
            "jti": account.id,
            "sub": format!("system:serviceaccount:{}:{}", account.namespace, account.name),
            "kubernetes.io": {
                "namespace": account.namespace,
                "serviceaccount": {"name": account.name, "uid": account.uid},
            },
        });
        if let Some(Bound { kind, name, uid }) = &account.bound {
            claims["kubernetes.io"][kind.claim()] = json!({"name": name, "uid": uid});
        }
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
        Account {
            namespace: "ns".into(),
            name: "sa".into(),
            uid: "u".into(),
            audiences: vec![ISSUER.into()],
            bound: Some(Bound { kind: BoundKind::Pod, name: "p".into(), uid: "v".into() }),
            id: "i".into(),
        }
    }

    fn keyed(key: &[u8]) -> Tokens {
        Tokens::new(vec![("secret".to_owned(), Identity::admin())], key)
    }

    #[test]
    fn only_the_administrators_token_is_the_administrator() {
        let tokens = keyed(b"key");
        assert_eq!(tokens.check("secret", 0), Some(Bearer::User(Identity::admin())));
        assert_eq!(tokens.check("secreu", 0), None);
        assert_eq!(tokens.check("", 0), None);
    }

    #[test]
    fn an_account_token_ends_with_its_time_and_its_signature() {
        let tokens = keyed(b"key");
        let token = tokens.issue(&account(), 100, 60);
        assert_eq!(tokens.check(&token, 159), Some(Bearer::Account(account())));
        assert_eq!(tokens.check(&token, 160), None);
        assert_eq!(keyed(b"other").check(&token, 120), None);
        let mut forged = token.clone();
        forged.replace_range(30..31, if &token[30..31] == "A" { "B" } else { "A" });
        assert_eq!(tokens.check(&forged, 120), None);
    }
}
