//! Acting as somebody else: `Impersonate-User` and its companions.
//!
//! The verb `impersonate` lets a caller be somebody for every request. The constrained verbs of version 1.37 let it be
//! somebody of one sort (`impersonate:<sort>`) for some requests (`impersonate-on:<sort>:<verb>`), and then never a
//! member of `system:masters`. The mode for the node that a service account's Pod runs on is not offered.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::rbac::{Decision, Rbac};
use super::{
    ANONYMOUS, AUTHENTICATED, Attributes, COMPONENTS, Identity, MASTERS, RESERVED, UNAUTHENTICATED, Wanted,
    account_of,
};
use crate::rest::{forbidden, unescape};
use crate::status::ApiError;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const NODE: &str = "system:node:";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// A way to be allowed to act as somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Node,
    ServiceAccount,
    UserInfo,
    /// As it was before there were sorts.
    Any,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Node, Self::ServiceAccount, Self::UserInfo, Self::Any];

    fn sort(self) -> Option<&'static str> {
        match self {
            Self::Node => Some("arbitrary-node"),
            Self::ServiceAccount => Some("serviceaccount"),
            Self::UserInfo => Some("user-info"),
            Self::Any => None,
        }
    }

    /// Whether it can be used to act as `wanted` at all.
    fn fits(self, wanted: &Identity) -> bool {
        let alone = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (wanted.user.starts_with(NODE), account_of(&wanted.user).is_some());
        match self {
            Self::Node => node && alone,
            Self::ServiceAccount => account && alone,
            Self::UserInfo => !node && !account,
            Self::Any => true,
        }
    }
}

/// Whom the headers ask to act as, if anybody.
///
/// # Errors
/// 400 when something is asked for but a user name.
pub(crate) fn wanted(headers: &HeaderMap) -> Result<Option<Identity>, ApiError> {
    // Nearly every request has none of them.
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let texts = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter();
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    let first = |name: &str| texts(name).into_iter().next().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra.entry(unescape(key, false)).or_default().extend(texts(name.as_str()));
        }
    }
    let wanted = Identity { user: first(USER), uid: first(UID), groups: texts(GROUP), extra };
    if !wanted.user.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == Identity::default() {
        return Ok(None);
    }
    Err(ApiError::bad_request(format!("requested {} without impersonating a user name", shown(&wanted))))
}

/// The caller that the request is from then on, where `requestor` may make it as `wanted`.
///
/// # Errors
/// 403, in the words of the first way that could have applied.
pub(crate) fn assume(
    rbac: &Rbac,
    requestor: &Identity,
    wanted: Identity,
    asked: &Attributes<'_>,
) -> Result<Identity, ApiError> {
    if wanted.user.starts_with(RESERVED) || wanted.groups.iter().any(|group| group == COMPONENTS) {
        let wanted = resource("", "users", "", "", &wanted.user);
        let asked = Attributes { verb: "impersonate", wanted };
        return Err(forbidden(requestor, &asked, "nobody can act as a part of Purlin"));
    }
    let mut refused = None;
    for mode in Mode::ALL.into_iter().filter(|mode| mode.fits(&wanted)) {
        match check(rbac, requestor, &wanted, asked, mode) {
            Ok(()) => return Ok(complete(wanted, mode)),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    Err(refused.unwrap_or_else(ApiError::unauthorized))
}

fn check(
    rbac: &Rbac,
    requestor: &Identity,
    wanted: &Identity,
    asked: &Attributes<'_>,
    mode: Mode,
) -> Result<(), ApiError> {
    let ask = |verb: &str, wanted: Wanted<'_>| {
        let asked = Attributes { verb, wanted };
        match rbac.authorize(requestor, &asked) {
            Decision::Allowed(_) => Ok(()),
            Decision::Refused(why) => Err(forbidden(requestor, &asked, &why)),
        }
    };
    let (verb, group) = match mode.sort() {
        Some(sort) => {
            ask(&format!("impersonate-on:{sort}:{}", asked.verb), asked.wanted)?;
            (format!("impersonate:{sort}"), AUTHENTICATION)
        }
        None => ("impersonate".to_owned(), ""),
    };
    let node = wanted.user.strip_prefix(NODE).filter(|_| mode == Mode::Node);
    let user = match (node, account_of(&wanted.user)) {
        (Some(node), _) => resource(group, "nodes", "", "", node),
        (None, Some((namespace, name))) => resource(group, "serviceaccounts", "", namespace, name),
        (None, None) => resource(group, "users", "", "", &wanted.user),
    };
    ask(&verb, user)?;
    if !wanted.uid.is_empty() {
        ask(&verb, resource(AUTHENTICATION, "uids", "", "", &wanted.uid))?;
    }
    if mode != Mode::Any && wanted.groups.iter().any(|group| group == MASTERS) {
        let asked = Attributes { verb: &verb, wanted: resource(group, "groups", "", "", MASTERS) };
        return Err(forbidden(requestor, &asked, "impersonating the system:masters group is not allowed"));
    }
    for name in &wanted.groups {
        ask(&verb, resource(group, "groups", "", "", name))?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            ask(&verb, resource(AUTHENTICATION, "userextras", key, "", value))?;
        }
    }
    Ok(())
}

/// The groups that go with whom somebody acts as.
fn complete(mut wanted: Identity, mode: Mode) -> Identity {
    if mode == Mode::Node {
        wanted.groups = vec!["system:nodes".to_owned()];
    }
    if let Some((namespace, _)) = account_of(&wanted.user)
        && wanted.groups.is_empty()
    {
        wanted.groups =
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let is_in = |group: &str| wanted.groups.iter().any(|own| own == group);
    let missing = if wanted.user == ANONYMOUS {
        Some(UNAUTHENTICATED).filter(|group| !is_in(group))
    } else {
        Some(AUTHENTICATED).filter(|group| !is_in(group) && !is_in(UNAUTHENTICATED))
    };
    wanted.groups.extend(missing.map(str::to_owned));
    wanted
}

fn resource<'a>(
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
) -> Wanted<'a> {
    Wanted::Resource { group, resource, subresource, namespace, name }
}

/// As the real server prints it.
fn shown(wanted: &Identity) -> String {
    let list = |values: &[String]| {
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        format!("[]string{{{}}}", values.join(", "))
    };
    let groups = if wanted.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&wanted.groups) };
    let extra = if wanted.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let pairs: Vec<String> =
            wanted.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    format!(
        "&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:{groups}, Extra:{extra}}}",
        wanted.user, wanted.uid
    )
}
