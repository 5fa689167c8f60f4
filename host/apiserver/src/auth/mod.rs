//! Who is asking, and whether they may.
//!
//! The TLS front turns a bearer token into an [`Identity`]; the in-process client brings its own. Every request then
//! passes the [`Authorizer`]. Evaluating RBAC objects is a later step: it replaces [`AllowKnown`] and nothing else.

pub(crate) mod pki;
pub(crate) mod token;

use std::fmt::Debug;

/// Group of everybody who was authenticated. Who was not may see what is public, and nothing else.
const AUTHENTICATED: &str = "system:authenticated";

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User name, such as `admin` or `system:serviceaccount:default:default`.
    pub user: String,
    /// UID, empty where there is none.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
}

impl Identity {
    /// The administrator whose token is in the kubeconfig.
    pub fn admin() -> Self {
        Self::with_groups("admin", &["system:masters"])
    }

    /// A part of Purlin itself, by its name: `system:purlin:<name>`.
    pub fn component(name: &str) -> Self {
        Self::with_groups(&format!("system:purlin:{name}"), &["system:masters"])
    }

    /// Whoever shows no token.
    pub fn anonymous() -> Self {
        Self {
            user: "system:anonymous".to_owned(),
            uid: String::new(),
            groups: vec!["system:unauthenticated".to_owned()],
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let own = format!("system:serviceaccounts:{namespace}");
        let mut identity = Self::with_groups(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", own.as_str()],
        );
        uid.clone_into(&mut identity.uid);
        identity
    }

    fn with_groups(user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain([AUTHENTICATED]).map(str::to_owned).collect();
        Self { user: user.to_owned(), uid: String::new(), groups }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Kubernetes verb.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural; empty for a path that is no resource.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
}

/// Decides whether a request may go on.
pub trait Authorizer: Send + Sync + Debug {
    /// `Err` holds the reason, in words that may be shown to the caller.
    fn authorize(&self, identity: &Identity, attributes: &Attributes<'_>) -> Result<(), String>;
}

/// Allows administrators, Purlin's own parts and service accounts.
#[derive(Clone, Copy, Debug)]
pub struct AllowKnown;

impl Authorizer for AllowKnown {
    fn authorize(&self, identity: &Identity, _: &Attributes<'_>) -> Result<(), String> {
        let known = ["system:masters", "system:serviceaccounts"];
        if identity.groups.iter().any(|group| known.contains(&group.as_str())) {
            return Ok(());
        }
        Err(String::new())
    }
}
