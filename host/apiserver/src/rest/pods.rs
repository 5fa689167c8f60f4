//! The subresources that only Pods have: logs, binding to a node, eviction.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use super::body;
use super::request::ApiRequest;
use super::respond;
use crate::backend::{LogError, LogRequest};
use crate::engine::delete::{DeleteOptions, Deleted};
use crate::engine::metadata::{metadata, text};
use crate::engine::{Intent, is_stale, now};
use crate::server::Core;
use crate::status::{About, ApiError, Cause};

/// `pods/log`.
pub(super) async fn log(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    let stored = core.engine.get(&request.resource, request.namespace(), request.name())?;
    let pod = stored.value().map_err(ApiError::internal)?;
    let wanted = log_request(request, &pod)?;
    if text_at(&pod["spec"]["nodeName"]).is_empty() {
        // An unscheduled Pod has no log yet; the real server answers with nothing.
        return Ok(text_response(Body::empty()));
    }
    let backend = core.pod_backend().ok_or_else(|| {
        ApiError::internal(format!("no node here runs Pods, so pod \"{}\" has no log", request.name()))
    })?;
    match backend.logs(wanted).await {
        Ok(stream) => Ok(text_response(Body::from_stream(stream))),
        Err(LogError::NotAvailable(why)) => Err(ApiError::bad_request(why)),
        Err(LogError::Failed(why)) => Err(ApiError::internal(why)),
    }
}

fn text_response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn text_at(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    pod["spec"][list]
        .as_array()
        .map(|containers| containers.iter().map(|container| text_at(&container["name"]).to_owned()).collect())
        .unwrap_or_default()
}

fn log_request(request: &ApiRequest, pod: &Value) -> Result<LogRequest, ApiError> {
    let raw = |name: &str| request.query.raw(name).filter(|value| !value.is_empty());
    let flag = |name: &str| raw(name).is_some_and(|value| value == "true" || value == "1");
    let number = |name: &str, least: i64| -> Result<Option<u64>, ApiError> {
        let Some(given) = raw(name) else { return Ok(None) };
        let parsed: i64 = given.parse().map_err(|_| {
            ApiError::bad_request(format!("strconv.ParseInt: parsing \"{given}\": invalid syntax"))
        })?;
        match u64::try_from(parsed) {
            Ok(number) if parsed >= least => Ok(Some(number)),
            _ => Err(invalid_option(name, parsed, least)),
        }
    };
    let since_seconds = number("sinceSeconds", 1)?;
    let since_time = match raw("sinceTime") {
        Some(given) => Some(
            given
                .parse::<jiff::Timestamp>()
                .map_err(|error| ApiError::bad_request(format!("parsing time \"{given}\": {error}")))?,
        ),
        None => None,
    };
    if since_seconds.is_some() && since_time.is_some() {
        return Err(ApiError::invalid(
            About { group: "", kind: "PodLogOptions", name: "" },
            vec![Cause {
                reason: "FieldValueForbidden".into(),
                message: "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".into(),
                field: String::new(),
            }],
        ));
    }
    let ago = since_seconds.and_then(|seconds| {
        let span = jiff::SignedDuration::from_secs(i64::try_from(seconds).ok()?);
        jiff::Timestamp::now().checked_sub(span).ok()
    });
    Ok(LogRequest {
        namespace: request.namespace().to_owned(),
        pod: request.name().to_owned(),
        uid: text(pod, "uid").to_owned(),
        container: container(request, pod, raw("container"))?,
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        tail_lines: number("tailLines", 0)?,
        since: since_time.or(ago),
        limit_bytes: number("limitBytes", 1)?,
    })
}

fn invalid_option(name: &str, value: i64, least: i64) -> ApiError {
    ApiError::invalid(
        About { group: "", kind: "PodLogOptions", name: "" },
        vec![Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {value}: must be greater than or equal to {least}"),
            field: name.to_owned(),
        }],
    )
}

fn container(request: &ApiRequest, pod: &Value, given: Option<&str>) -> Result<String, ApiError> {
    let (containers, init) = (names(pod, "containers"), names(pod, "initContainers"));
    if let Some(given) = given {
        if containers.iter().chain(&init).any(|name| name == given) {
            return Ok(given.to_owned());
        }
        return Err(ApiError::bad_request(format!(
            "container {given} is not valid for pod {}",
            request.name()
        )));
    }
    let preferred = text_at(&pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]);
    match containers.as_slice() {
        [only] => Ok(only.clone()),
        _ if containers.iter().any(|name| name == preferred) => Ok(preferred.to_owned()),
        _ => {
            let mut message = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                request.name(),
                containers.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(message))
        }
    }
}

/// `pods/binding` and `bindings`: puts a Pod on a node.
pub(super) async fn bind(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    let binding = body::object(request, "", "v1", "Binding")?;
    let name = if request.subresource() == "binding" { request.name() } else { text(&binding, "name") };
    let node = text_at(&binding["target"]["name"]).to_owned();
    if node.is_empty() {
        return Err(ApiError::invalid(
            About { group: "", kind: "Binding", name },
            vec![Cause {
                reason: "FieldValueRequired".into(),
                message: "Required value".into(),
                field: "target.name".into(),
            }],
        ));
    }
    let pods = core.engine.catalogue.find("", "v1", "pods").ok_or_else(ApiError::no_such_resource)?;
    let mut intent = Intent::new(&request.query, request.header(header::USER_AGENT), "");
    intent.subresource = "binding".into();
    loop {
        let stored = core.engine.get(&pods, request.namespace(), name)?;
        let mut pod = stored.value().map_err(ApiError::internal)?;
        let about = About { group: "", kind: "pods/binding", name };
        let bound = text_at(&pod["spec"]["nodeName"]);
        if !bound.is_empty() {
            return Err(ApiError::conflict(
                about,
                format!("pod {name} is already assigned to node \"{bound}\""),
            ));
        }
        if stored.facts.terminating {
            return Err(ApiError::conflict(
                about,
                format!("pod {name} is being deleted, cannot be assigned to a host"),
            ));
        }
        pod["spec"]["nodeName"] = node.as_str().into();
        add_scheduled(&mut pod);
        if let Some(annotations) = binding["metadata"]["annotations"].as_object() {
            let own = metadata(&mut pod)?.entry("annotations").or_insert_with(|| json!({}));
            for (key, value) in annotations {
                own[key.as_str()] = value.clone();
            }
        }
        match core.engine.replace(&pods, &stored, pod, &intent).await {
            Err(error) if is_stale(&error) => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(respond::value(request, 201, &created()))
}

fn created() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

fn add_scheduled(pod: &mut Value) {
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now(),
    });
    let conditions = &mut pod["status"]["conditions"];
    match conditions.as_array_mut() {
        Some(list) => match list.iter_mut().find(|other| other["type"] == "PodScheduled") {
            Some(old) => *old = condition,
            None => list.push(condition),
        },
        None => *conditions = json!([condition]),
    }
}

/// `pods/eviction`: a deletion that asks first. No disruption budget is enforced here.
pub(super) async fn evict(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    let eviction = body::object(request, "policy", "v1", "Eviction")?;
    let given = text(&eviction, "name");
    if !given.is_empty() && given != request.name() {
        return Err(ApiError::bad_request(format!(
            "name in URL does not match name in Eviction object: expected {}, got {given}",
            request.name()
        )));
    }
    let options = &eviction["deleteOptions"];
    let options = DeleteOptions {
        grace_period: options["gracePeriodSeconds"].as_i64(),
        uid: options["preconditions"]["uid"].as_str().map(str::to_owned),
        dry_run: request.query.dry_run,
        ..DeleteOptions::default()
    };
    match core.engine.delete(&request.resource, request.namespace(), request.name(), &options).await? {
        Deleted::Gone(_) | Deleted::Pending(_) => Ok(respond::value(request, 201, &created())),
    }
}
