//! Who is asking, and whether they may.
//!
//! The TLS front turns a bearer token into an [`Identity`]; the in-process client brings its own. Every request then
//! passes the gate (`crate::rest`), which asks whether the caller may act as somebody else ([`impersonation`]) and
//! whether the request is allowed ([`rbac`]). What may be written into roles and bindings is asked later, when the
//! object is known.

pub(crate) mod impersonation;
pub(crate) mod pki;
pub(crate) mod rbac;
pub(crate) mod token;
pub(crate) mod token_file;

use std::collections::BTreeMap;

/// Group of everybody who was authenticated. Who was not may see what is public, and nothing else.
const AUTHENTICATED: &str = "system:authenticated";
/// Group of whoever shows no token.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// User name of whoever shows no token.
const ANONYMOUS: &str = "system:anonymous";
/// Who is in it may do everything, at any cluster.
const MASTERS: &str = "system:masters";
/// Purlin's own parts, which act on everybody's objects. Nobody else can be in it: a token file that names it is
/// refused, and so is acting as it.
const COMPONENTS: &str = "system:purlin:components";
/// The names of Purlin's own parts and their group begin with it.
const RESERVED: &str = "system:purlin:";

/// An authenticated caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User name, such as `admin` or `system:serviceaccount:default:default`.
    pub user: String,
    /// UID, empty where there is none.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// What else is known of the caller, such as the Pod that a token was made for.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// The administrator whose token is in the kubeconfig.
    pub fn admin() -> Self {
        Self::with_groups("admin", &[MASTERS])
    }

    /// A part of Purlin itself, by its name: `system:purlin:<name>`. It may do everything.
    pub fn component(name: &str) -> Self {
        Self::with_groups(&format!("{RESERVED}{name}"), &[COMPONENTS])
    }

    /// Whoever shows no token.
    pub fn anonymous() -> Self {
        Self { user: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
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
        Self { user: user.to_owned(), groups, ..Self::default() }
    }

    /// Whether it is a part of Purlin itself.
    pub(crate) fn is_component(&self) -> bool {
        self.groups.iter().any(|group| group == COMPONENTS)
    }
}

/// Namespace and name of a service account by its user name.
pub(crate) fn account_of(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// Somebody who writes an object, and the name in the request's path.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) identity: Identity,
    pub(crate) name: String,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    /// Kubernetes verb, or the method of a path that is no resource, in small letters.
    pub(crate) verb: &'a str,
    /// What it is to be done to.
    pub(crate) wanted: Wanted<'a>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// A path that is no resource.
    Path(&'a str),
    /// Objects; each part is empty where the request does not say it.
    Resource {
        /// API group.
        group: &'a str,
        /// Plural.
        resource: &'a str,
        /// Subresource.
        subresource: &'a str,
        /// Namespace.
        namespace: &'a str,
        /// Name.
        name: &'a str,
    },
}

impl Attributes<'_> {
    /// The namespace, empty for cluster scope and for paths.
    pub(crate) fn namespace(&self) -> &str {
        match self.wanted {
            Wanted::Path(_) => "",
            Wanted::Resource { namespace, .. } => namespace,
        }
    }
}
