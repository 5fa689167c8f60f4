//! What every request passes before it is routed: who makes it, as whom, for what, and whether that is allowed.
//!
//! What a request is for is told from its method and path alone, before anybody looks whether that is served: who may
//! not see a resource does not learn whether there is one. A refused write is in the audit log as a done one is.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Method, Uri, header};

use super::mount::Right;
use super::query::{flag, unescape};
use super::request::whole;
use super::{report, respond};
use crate::auth::rbac::Decision;
use crate::auth::{Attributes, Identity, Wanted, impersonation};
use crate::server::Core;
use crate::status::{About, ApiError};

/// What a request is for, as a real server's `RequestInfo` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) verb: String,
    /// Of a path that is no resource.
    path: Option<String>,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Asked {
    pub(crate) fn parse(method: &Method, uri: &Uri) -> Self {
        let mut parts: Vec<String> = uri
            .path()
            .trim_matches('/')
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| unescape(part, false))
            .collect();
        let mut asked = Self { verb: method.as_str().to_ascii_lowercase(), ..Self::default() };
        let prefix = match parts.first().map(String::as_str) {
            Some("api") if parts.len() >= 3 => 1,
            Some("apis") if parts.len() >= 4 => 2,
            _ => {
                asked.path = Some(unescape(uri.path(), false));
                return asked;
            }
        };
        if prefix == 2 {
            asked.group = std::mem::take(&mut parts[1]);
        }
        asked.version = std::mem::take(&mut parts[prefix]);
        let mut rest = &mut parts[prefix + 1..];
        let special = matches!(rest[0].as_str(), "watch" | "proxy") && rest.len() > 1;
        if special {
            asked.verb = std::mem::take(&mut rest[0]);
            rest = &mut rest[1..];
        } else {
            verb_of(method).clone_into(&mut asked.verb);
        }
        if rest[0] == "namespaces" && rest.len() > 1 {
            asked.namespace.clone_from(&rest[1]);
            if rest.len() > 2 && !matches!(rest[2].as_str(), "status" | "finalize") {
                rest = &mut rest[2..];
            }
        }
        let mut rest = rest.iter_mut().map(std::mem::take);
        asked.resource = rest.next().unwrap_or_default();
        asked.name = rest.next().unwrap_or_default();
        if !special {
            asked.subresource = rest.next().unwrap_or_default();
        }
        if asked.name.is_empty() {
            asked.of_collection(uri.query().unwrap_or_default());
        }
        asked
    }

    /// The verbs on collections; a list of what has one name is for that object.
    fn of_collection(&mut self, query: &str) {
        if self.verb == "delete" {
            "deletecollection".clone_into(&mut self.verb);
        }
        if self.verb != "get" {
            return;
        }
        let first = |wanted: &str| {
            let pair = query.split('&').find_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (unescape(name, true) == wanted).then_some(value)
            });
            pair.map(|value| unescape(value, true))
        };
        let watch = first("watch").is_some_and(|value| flag(&value));
        self.verb = if watch { "watch" } else { "list" }.to_owned();
        let fields = first("fieldSelector").unwrap_or_default();
        // An escaped comma may be inside of a value: such a list is not for one object.
        if fields.contains('\\') {
            return;
        }
        let name = fields.split(',').find_map(|test| {
            let (field, value) = test.split_once('=')?;
            (field.trim() == "metadata.name").then(|| value.trim_start_matches('=').trim().to_owned())
        });
        self.name = name.filter(|name| !name.contains(['/', '%'])).unwrap_or_default();
    }

    pub(crate) fn attributes(&self) -> Attributes<'_> {
        let wanted = match &self.path {
            Some(path) => Wanted::Path(path),
            None => Wanted::Resource {
                group: &self.group,
                resource: &self.resource,
                subresource: &self.subresource,
                namespace: &self.namespace,
                name: &self.name,
            },
        };
        Attributes { verb: &self.verb, wanted }
    }

    /// Whether the audit log hears of it.
    fn writes(&self) -> bool {
        self.path.is_none()
            && matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

fn verb_of(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// A request that was let through: who made it, for what, and why it may go on.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Whose rights count.
    pub(crate) identity: Identity,
    /// Who acts as `identity`, where that is somebody else.
    pub(crate) acting: Option<Identity>,
    pub(crate) asked: Asked,
    /// What allowed it, or why it was refused; empty where there is nothing to say.
    pub(crate) reason: String,
}

/// Lets a request on to its handler, or answers it.
pub(super) async fn pass(State(core): State<Arc<Core>>, mut request: Request, next: Next) -> Response {
    let began = jiff::Timestamp::now();
    let Some(requestor) = request.extensions_mut().remove::<Identity>() else {
        return respond::failure(&ApiError::unauthorized());
    };
    let asked = Asked::parse(request.method(), request.uri());
    let mut admitted = Admitted { identity: requestor, acting: None, asked, reason: String::new() };
    let Err(error) = admit(&core, &mut admitted, request.headers()) else {
        request.extensions_mut().insert(Arc::new(admitted));
        return next.run(request).await;
    };
    if admitted.asked.writes()
        && let Some(sink) = &core.audit
    {
        let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let agent = request.headers().get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let seen = report::Seen { uri: &uri, agent, manager: None, began, allowed: false };
        sink.record(report::record(&admitted, &seen, error.code));
    }
    // A client that was still sending when the connection ended would not see why.
    let _ = whole(request.into_body()).await;
    respond::failure(&error)
}

/// Lets a request to something beside the API on to its handler where whoever makes it has a right, or answers it.
pub(super) async fn guard(core: &Core, right: Right, mut request: Request, next: Next) -> Response {
    let Some(requestor) = request.extensions_mut().remove::<Identity>() else {
        return respond::failure(&ApiError::unauthorized());
    };
    let asked = Asked {
        verb: right.verb.to_owned(),
        group: right.group.to_owned(),
        resource: right.resource.to_owned(),
        ..Asked::default()
    };
    let mut admitted = Admitted { identity: requestor, acting: None, asked, reason: String::new() };
    let Err(error) = admit(core, &mut admitted, request.headers()) else {
        return next.run(request).await;
    };
    let _ = whole(request.into_body()).await;
    // A browser that shows no token has to be told to show one.
    let unknown = admitted.identity == Identity::anonymous();
    respond::failure(&if unknown { ApiError::unauthorized() } else { error })
}

/// Finds out whose rights count, and whether they are enough.
fn admit(core: &Core, admitted: &mut Admitted, headers: &HeaderMap) -> Result<(), ApiError> {
    let rbac = &core.engine.rbac;
    if let Some(wanted) = impersonation::wanted(headers)? {
        let asked = admitted.asked.attributes();
        let identity = impersonation::assume(rbac, &admitted.identity, wanted, &asked)?;
        admitted.acting = Some(std::mem::replace(&mut admitted.identity, identity));
    }
    match rbac.authorize(&admitted.identity, &admitted.asked.attributes()) {
        Decision::Allowed(reason) => {
            admitted.reason = reason;
            Ok(())
        }
        Decision::Refused(reason) => {
            let error = forbidden(&admitted.identity, &admitted.asked.attributes(), &reason);
            admitted.reason = reason;
            Err(error)
        }
    }
}

/// The real server's words for a request that is not allowed.
pub(crate) fn forbidden(identity: &Identity, asked: &Attributes<'_>, why: &str) -> ApiError {
    let (user, verb) = (&identity.user, asked.verb);
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let (group, plural, subresource, namespace, name) = match asked.wanted {
        Wanted::Path(path) => {
            return ApiError::forbidden_path(&format!("User {user:?} cannot {verb} path {path:?}{why}"));
        }
        Wanted::Resource { group, resource, subresource, namespace, name } => {
            (group, resource, subresource, namespace, name)
        }
    };
    let resource = match subresource {
        "" => plural.to_owned(),
        subresource => format!("{plural}/{subresource}"),
    };
    let place = match namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let message =
        format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}{why}");
    ApiError::forbidden(About { group, kind: plural, name }, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str) -> Asked {
        Asked::parse(&method.parse().expect("a method"), &uri.parse().expect("a path"))
    }

    #[test]
    fn what_a_request_is_for_is_told_from_its_path() {
        let seen = |method: &str, uri: &str| {
            let asked = asked(method, uri);
            let Asked { verb, group, resource, subresource, namespace, name, .. } = asked;
            format!("{verb} {group}/{resource}/{subresource} {namespace}/{name}")
        };
        for (method, uri, expected) in [
            ("GET", "/api/v1/pods", "list /pods/ /"),
            ("GET", "/api/v1/namespaces/a/pods?watch=true", "watch /pods/ a/"),
            ("GET", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Db", "list /pods/ a/b"),
            ("GET", "/api/v1/namespaces/a/pods/b/log", "get /pods/log a/b"),
            ("POST", "/api/v1/namespaces/a/pods/b/proxy/x/y", "create /pods/proxy a/b"),
            ("GET", "/api/v1/namespaces/a", "get /namespaces/ a/a"),
            ("PUT", "/api/v1/namespaces/a/status", "update /namespaces/status a/a"),
            ("DELETE", "/apis/batch/v1/namespaces/a/jobs", "deletecollection batch/jobs/ a/"),
            ("PATCH", "/apis/g.io/v1/things/x", "patch g.io/things/ /x"),
            ("GET", "/api/v1/watch/namespaces/a/pods/b", "watch /pods/ a/b"),
            ("OPTIONS", "/api/v1/pods", " /pods/ /"),
        ] {
            assert_eq!(seen(method, uri), expected, "{method} {uri}");
        }
        assert_eq!(asked("GET", "/apis/batch/v1").path.as_deref(), Some("/apis/batch/v1"));
        assert_eq!(asked("POST", "/version").verb, "post");
    }
}
