//! From an HTTP request to a typed one: which resource, which verb, who asks, with which options.
//!
//! [`ApiRequest`] is the extractor of every handler below a group and version; its rejection is a Kubernetes `Status`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt as _;

use super::gate::{Admitted, Asked};
use super::meta;
use super::query::{Query, unescape};
use super::respond::{self, Format};
use crate::auth::Identity;
use crate::catalogue::Resource;
use crate::server::Core;
use crate::status::ApiError;

/// What the real server takes at most.
const BODY_LIMIT: usize = 3 << 20;

/// What is read beyond that before the connection is given up.
const BODY_DRAIN: usize = 16 << 20;

/// A Kubernetes verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether the audit log hears of it.
    pub(crate) fn writes(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Update | Self::Patch | Self::Delete | Self::DeleteCollection => true,
        }
    }
}

/// Which part of the API a path leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// The obsolete form `/api/v1/watch/...`.
    pub(crate) watch: bool,
}

impl Target {
    /// Parses a path below `/api/v1` or `/apis/<group>/<version>`.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).map(|part| unescape(part, false));
        let mut target = Self::default();
        match parts.next()?.as_str() {
            "api" => {}
            "apis" => target.group = parts.next()?,
            _ => return None,
        }
        target.version = parts.next()?;
        let mut rest: Vec<String> = parts.collect();
        if rest.first().is_some_and(|part| part == "watch") && rest.len() > 1 {
            target.watch = true;
            rest.remove(0);
        }
        let namespace_part =
            |rest: &[String]| rest.len() > 2 && !matches!(rest[2].as_str(), "status" | "finalize");
        if rest.first().is_some_and(|part| part == "namespaces") && namespace_part(&rest) {
            target.namespace = Some(rest.remove(1));
            rest.remove(0);
        }
        let mut rest = rest.into_iter();
        target.plural = rest.next()?;
        target.name = rest.next();
        target.subresource = rest.next();
        // Nothing is served deeper than a subresource (proxies would be).
        if rest.next().is_some() { None } else { Some(target) }
    }
}

/// A parsed request for a resource.
#[derive(Debug)]
pub(crate) struct ApiRequest {
    pub(crate) verb: Verb,
    pub(crate) target: Target,
    pub(crate) resource: Arc<Resource>,
    pub(crate) query: Query,
    /// Who makes it, and what allowed it.
    pub(crate) admitted: Arc<Admitted>,
    pub(crate) headers: HeaderMap,
    pub(crate) format: Format,
    pub(crate) body: Bytes,
    pub(crate) uri: String,
}

impl ApiRequest {
    /// The same request without its body, for an answer that outlives it.
    pub(crate) fn again(&self) -> Self {
        Self {
            verb: self.verb,
            target: self.target.clone(),
            resource: self.resource.clone(),
            query: self.query.clone(),
            admitted: self.admitted.clone(),
            headers: HeaderMap::new(),
            format: self.format,
            body: Bytes::new(),
            uri: String::new(),
        }
    }

    /// The namespace, empty for cluster scope and for lists over all namespaces.
    pub(crate) fn namespace(&self) -> &str {
        self.target.namespace.as_deref().unwrap_or_default()
    }

    /// The name, empty for collections.
    pub(crate) fn name(&self) -> &str {
        self.target.name.as_deref().unwrap_or_default()
    }

    /// The subresource, empty for the object itself.
    pub(crate) fn subresource(&self) -> &str {
        self.target.subresource.as_deref().unwrap_or_default()
    }

    /// Whose rights count.
    pub(crate) fn identity(&self) -> &Identity {
        &self.admitted.identity
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl FromRequest<Arc<Core>> for ApiRequest {
    type Rejection = Response;

    async fn from_request(request: Request, core: &Arc<Core>) -> Result<Self, Response> {
        let path = request.uri().path().to_owned();
        parse(request, core).await.map_err(|error| {
            // What no definition serves ends, on a real server, where no API is known.
            let unserved = error.code == 404 && error == ApiError::no_such_resource();
            let group = Target::parse(&path).map(|target| target.group).unwrap_or_default();
            if unserved && !group.is_empty() && !core.engine.catalogue.is_builtin_group(&group) {
                return meta::not_a_page();
            }
            respond::failure(&error)
        })
    }
}

async fn parse(request: Request, core: &Arc<Core>) -> Result<ApiRequest, ApiError> {
    let (parts, body) = request.into_parts();
    let admitted = parts.extensions.get::<Arc<Admitted>>().cloned().ok_or_else(ApiError::unauthorized)?;
    let target = Target::parse(parts.uri.path()).ok_or_else(ApiError::no_such_resource)?;
    let resource = core
        .engine
        .catalogue
        .find(&target.group, &target.version, &target.plural)
        .ok_or_else(ApiError::no_such_resource)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default(), options_of(&parts.method))?;
    let verb = verb(&parts.method, &target, &resource, &query)?;
    check_admitted(&admitted.asked, verb, &target)?;
    let format = Format::negotiate(&parts.headers, &query, verb)?;
    let body = whole(body).await?;
    let uri = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    Ok(ApiRequest { verb, target, resource, query, admitted, headers: parts.headers, format, body, uri })
}

/// What is done is what was allowed: where the gate and the router read a request differently, it is not served. The
/// obsolete `/watch/` paths are such a case for all methods but `GET`.
fn check_admitted(asked: &Asked, verb: Verb, target: &Target) -> Result<(), ApiError> {
    // One object can be watched by who may get it.
    let of_one = verb == Verb::Watch && asked.verb == "get" && target.name.is_some();
    let same = (asked.verb == verb.name() || of_one)
        && asked.group == target.group
        && asked.resource == target.plural
        && asked.subresource == target.subresource.as_deref().unwrap_or_default()
        && target.name.as_ref().is_none_or(|name| *name == asked.name)
        && target.namespace.as_ref().is_none_or(|namespace| *namespace == asked.namespace);
    if same {
        return Ok(());
    }
    Err(ApiError::method_not_allowed("the server does not allow this method on the requested resource"))
}

/// The body, if it is not too long. What is beyond the limit is still read, within bounds, and thrown away: a client
/// that cannot finish its request would not see why.
pub(super) async fn whole(mut body: Body) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut length = 0_usize;
    while length <= BODY_LIMIT + BODY_DRAIN {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| ApiError::bad_request(format!("reading the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= BODY_LIMIT {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
        }
    }
    if length > BODY_LIMIT {
        return Err(ApiError::too_large(format!("Request entity too large: limit is {BODY_LIMIT}")));
    }
    Ok(kept.freeze())
}

/// The kind of options that a method's query is read as.
fn options_of(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "CreateOptions",
        "PUT" => "UpdateOptions",
        "PATCH" => "PatchOptions",
        "DELETE" => "DeleteOptions",
        _ => "ListOptions",
    }
}

fn verb(method: &Method, target: &Target, resource: &Resource, query: &Query) -> Result<Verb, ApiError> {
    let refused =
        || ApiError::method_not_allowed("the server does not allow this method on the requested resource");
    let named = target.name.is_some();
    let verb = match (method.as_str(), named) {
        ("GET", true) if query.watch || target.watch => Verb::Watch,
        ("GET", true) => Verb::Get,
        ("GET", false) if query.watch || target.watch => Verb::Watch,
        ("GET", false) => Verb::List,
        ("POST", _) => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return Err(refused()),
    };
    if resource.namespaced
        && target.namespace.is_none()
        && (named || verb != Verb::List && verb != Verb::Watch)
    {
        return Err(if named { ApiError::no_such_resource() } else { refused() });
    }
    if !resource.namespaced && target.namespace.is_some() {
        return Err(ApiError::no_such_resource());
    }
    if let Some(name) = &target.subresource {
        let found = resource.subresources.iter().find(|subresource| subresource.name == *name);
        let subresource = found.ok_or_else(|| match &resource.custom {
            Some(_) => ApiError::not_found(resource.about(target.name.as_deref().unwrap_or_default())),
            None => ApiError::no_such_resource(),
        })?;
        return if subresource.verbs.contains(&verb.name()) { Ok(verb) } else { Err(refused()) };
    }
    if verb == Verb::Create && named || !resource.verbs.contains(&verb.name()) {
        return Err(refused());
    }
    Ok(verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood() {
        let target = |path| Target::parse(path).expect(path);
        let pod = target("/api/v1/namespaces/a/pods/b/log");
        assert_eq!((pod.namespace.as_deref(), pod.plural.as_str()), (Some("a"), "pods"));
        assert_eq!((pod.name.as_deref(), pod.subresource.as_deref()), (Some("b"), Some("log")));
        let namespace = target("/api/v1/namespaces/a");
        assert_eq!(
            (namespace.plural.as_str(), namespace.name.as_deref(), namespace.namespace),
            ("namespaces", Some("a"), None)
        );
        let status = target("/api/v1/namespaces/a/status");
        assert_eq!((status.plural.as_str(), status.subresource.as_deref()), ("namespaces", Some("status")));
        let custom = target("/apis/g.io/v1/watch/things");
        assert!(custom.watch && custom.group == "g.io" && custom.plural == "things");
        assert_eq!(Target::parse("/api/v1/namespaces/a/pods/b/proxy/x"), None);
    }
}
