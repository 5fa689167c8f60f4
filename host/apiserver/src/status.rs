//! Kubernetes `Status` answers: every way in which a request can fail, with the real server's codes, reasons and words.
//!
//! Everything in this crate that refuses a request does it with an [`ApiError`]; the REST layer alone turns it into an
//! HTTP response. Clients match on `reason`, `details` and parts of `message`, so these texts are part of the contract.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

/// One field that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// A machine-readable cause such as `FieldValueInvalid`.
    pub reason: String,
    /// What was wrong, in words.
    pub message: String,
    /// The field's path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// A refused request.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status code.
    pub code: u16,
    /// The Kubernetes reason, such as `NotFound`; empty where the real server gives none.
    pub reason: &'static str,
    /// What was wrong.
    pub message: String,
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Details {
    name: String,
    group: String,
    kind: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after: Option<u32>,
}

/// The resource that an error is about: its group and plural (or kind, where the real server says the kind).
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// API group, empty for the core one.
    pub group: &'a str,
    /// Plural, or the kind for `Invalid`.
    pub kind: &'a str,
    /// The object's name, may be empty.
    pub name: &'a str,
}

impl Cause {
    /// A cause by its reason's last word (`Invalid` is `FieldValueInvalid`).
    pub(crate) fn of(reason: &str, field: &str, message: impl Into<String>) -> Self {
        Self { reason: format!("FieldValue{reason}"), message: message.into(), field: field.to_owned() }
    }
}

impl About<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    fn details(&self) -> Details {
        Details {
            name: self.name.to_owned(),
            group: self.group.to_owned(),
            kind: self.kind.to_owned(),
            ..Details::default()
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, about: About<'_>) -> Self {
        self.details = Some(Box::new(about.details()));
        self
    }

    /// 404 for an object.
    pub fn not_found(about: About<'_>) -> Self {
        let message = format!("{} \"{}\" not found", about.qualified(), about.name);
        Self::new(404, "NotFound", message).about(about)
    }

    /// 403 for a path that is no resource.
    pub(crate) fn forbidden_path(why: &str) -> Self {
        let message = format!("forbidden: {why}");
        let mut error = Self::new(403, "Forbidden", message);
        error.details = Some(Box::default());
        error
    }

    /// 404 for a path or resource that is not served.
    pub fn no_such_resource() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = Some(Box::default());
        error
    }

    /// 409 for a create.
    pub fn already_exists(about: About<'_>) -> Self {
        let message = format!("{} \"{}\" already exists", about.qualified(), about.name);
        Self::new(409, "AlreadyExists", message).about(about)
    }

    /// 409 for an optimistic lock that failed.
    pub fn modified(about: About<'_>) -> Self {
        Self::conflict(
            about,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 with a reason in words.
    pub fn conflict(about: About<'_>, why: impl fmt::Display) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{}\": {why}", about.qualified(), about.name);
        Self::new(409, "Conflict", message).about(about)
    }

    /// 409 of server-side apply.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        let mut error = Self::new(409, "Conflict", message);
        error.details = Some(Box::new(Details { causes, ..Details::default() }));
        error
    }

    /// 422 for an object that fails validation; `about.kind` is the kind.
    pub fn invalid(about: About<'_>, causes: Vec<Cause>) -> Self {
        let mut words: Vec<String> = Vec::new();
        for cause in &causes {
            let text = if cause.field.is_empty() {
                cause.message.clone()
            } else {
                format!("{}: {}", cause.field, cause.message)
            };
            if !words.contains(&text) {
                words.push(text);
            }
        }
        let why = match words.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{}\" is invalid: {why}", about.qualified(), about.name);
        let mut error = Self::new(422, "Invalid", message).about(about);
        if let Some(details) = &mut error.details {
            details.causes = causes;
        }
        error
    }

    /// 422 of a patch that does not fit its object.
    pub(crate) fn unfitting_patch() -> Self {
        Self::unprocessable("the server rejected our request due to an error in our request")
    }

    /// 422 without field causes.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        let mut error = Self::new(422, "Invalid", message);
        error.details = Some(Box::default());
        error
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 for an object.
    pub fn forbidden(about: About<'_>, why: impl fmt::Display) -> Self {
        let message = if about.name.is_empty() {
            format!("{} is forbidden: {why}", about.qualified())
        } else {
            format!("{} \"{}\" is forbidden: {why}", about.qualified(), about.name)
        };
        Self::new(403, "Forbidden", message).about(about)
    }

    /// 403 of a create in a namespace that is going away.
    pub fn namespace_terminating(about: About<'_>, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut error = Self::forbidden(about, why);
        if let Some(details) = &mut error.details {
            details.causes = vec![Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".into(),
            }];
        }
        error
    }

    /// 405 for a verb that the resource does not have.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        let mut error = Self::new(405, "MethodNotAllowed", message);
        error.details = Some(Box::default());
        error
    }

    /// 406; `media_known`: the media type is served, but not the form that it was asked in.
    pub(crate) fn none_acceptable(media_known: bool) -> Self {
        let mut error = Self::new(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml",
        );
        error.details = (!media_known).then(Box::default);
        error
    }

    /// 415 for a patch of no known kind.
    pub(crate) fn unsupported_patch() -> Self {
        let mut error = Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        error.details = Some(Box::default());
        error
    }

    /// 410 for a continue token or a revision that is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 415.
    pub fn unsupported_media_type(given: &str, taken: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            taken.join(", ")
        );
        tracing::debug!(given, "unsupported media type");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 429 with a wait, as an eviction that a budget forbids.
    pub fn too_many_requests(message: impl Into<String>, seconds: u32) -> Self {
        let mut error = Self::new(429, "TooManyRequests", message);
        error.details = Some(Box::new(Details { retry_after: Some(seconds), ..Details::default() }));
        error
    }

    /// 500 without a reason: what the real server answers where it forgot to say what kind of error it met.
    pub(crate) fn unnamed(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 422 for the options of a request, such as `ListOptions`.
    pub(crate) fn invalid_options(kind: &str, causes: Vec<Cause>) -> Self {
        Self::invalid(About { group: "meta.k8s.io", kind, name: "" }, causes)
    }

    /// The same error, with words before its message.
    pub(crate) fn prefixed(mut self, words: &str) -> Self {
        self.message.insert_str(0, words);
        self
    }

    /// 500.
    pub fn internal(why: impl fmt::Display) -> Self {
        let mut error = Self::new(500, "InternalError", format!("Internal error occurred: {why}"));
        error.details = Some(Box::new(Details {
            causes: vec![Cause { reason: String::new(), message: why.to_string(), field: String::new() }],
            ..Details::default()
        }));
        error
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504 for a revision that the server has not reached.
    pub fn too_large_revision(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut error = Self::new(504, "Timeout", message);
        error.details = Some(Box::new(Details {
            causes: vec![Cause {
                reason: "ResourceVersionTooLarge".into(),
                message: "Too large resource version".into(),
                field: String::new(),
            }],
            retry_after: Some(1),
            ..Details::default()
        }));
        error
    }

    /// Seconds after which the client may try again.
    pub fn retry_after(&self) -> Option<u32> {
        self.details.as_ref().and_then(|details| details.retry_after)
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.value();
        }
        status
    }
}

impl Details {
    fn value(&self) -> Value {
        let mut details = serde_json::Map::new();
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)];
        for (name, text) in texts {
            if !text.is_empty() {
                details.insert(name.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let causes = self
                .causes
                .iter()
                .map(|cause| {
                    let mut out = serde_json::Map::new();
                    for (name, text) in
                        [("reason", &cause.reason), ("message", &cause.message), ("field", &cause.field)]
                    {
                        if !text.is_empty() {
                            out.insert(name.into(), text.as_str().into());
                        }
                    }
                    Value::Object(out)
                })
                .collect();
            details.insert("causes".into(), Value::Array(causes));
        }
        if let Some(seconds) = self.retry_after {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        Value::Object(details)
    }
}

/// The `Status` of a success, as a deletion answers it.
pub(crate) fn success(about: About<'_>, uid: &str) -> Value {
    let details = Details { uid: uid.to_owned(), ..about.details() };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.value(),
    })
}
