//! The dialect stage: a trait over parsed JSON, and the glue that exports it. [`crate::text`] is the same stage over the
//! text itself.

use serde_json::Value;

use crate::bindings::dialect::exports::purlin::plugin::controller;
use crate::{Context, Fault};

pub use controller::{Event, Selector, Severity};

/// A plugin that owns kinds and translates their objects. See `interface controller` in the contract.
pub trait Dialect {
    /// Whether the plugin can work with its configuration. It can, unless said otherwise.
    ///
    /// # Errors
    /// A fault that says what has to change.
    fn check(context: &Context) -> Result<(), Fault> {
        let _ = context;
        Ok(())
    }

    /// What `sync` must see beside the parent and its children.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn related(context: &Context, parent: &Value) -> Result<Vec<Selector>, Fault>;

    /// The desired state, from the observed state.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault>;

    /// The same while the parent is being deleted. Unless said otherwise nothing is left to do and every child goes.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn finalize(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let _ = request;
        Ok(SyncResponse::default())
    }
}

/// What was observed.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncRequest {
    /// Time, seed and configuration.
    pub context: Context,
    /// The object to translate, with its current status.
    pub parent: Value,
    /// The objects that it owns, of the manifest's child kinds.
    pub children: Vec<Value>,
    /// What `related` asked for.
    pub related: Vec<Value>,
}

impl SyncRequest {
    /// The child of this kind and name, if it was observed.
    pub fn child(&self, api_version: &str, kind: &str, name: &str) -> Option<&Value> {
        use crate::Object as _;
        self.children.iter().find(|child| child.is(api_version, kind) && child.name() == name)
    }
}

/// What should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SyncResponse {
    /// Every child that should exist, with the fields that the plugin decides and no others.
    pub children: Vec<Value>,
    /// The parent's whole new status; `None` leaves it as it is.
    pub status: Option<Value>,
    /// Call again after so many milliseconds even if nothing changes.
    pub requeue_after_ms: Option<u64>,
    /// What to tell the user.
    pub events: Vec<Event>,
}

impl SyncResponse {
    fn into_wire(self) -> controller::SyncResponse {
        controller::SyncResponse {
            children: self.children.iter().map(Value::to_string).collect(),
            status: self.status.as_ref().map(Value::to_string),
            requeue_after_ms: self.requeue_after_ms,
            events: self.events,
        }
    }
}

/// Calls `decide` with the request parsed, and writes its answer.
pub(crate) fn answer(
    request: &controller::SyncRequest,
    decide: fn(&SyncRequest) -> Result<SyncResponse, Fault>,
) -> Result<controller::SyncResponse, Fault> {
    let request = SyncRequest {
        context: request.context.clone(),
        parent: parse(&request.parent)?,
        children: request.children.iter().map(|child| parse(child)).collect::<Result<_, _>>()?,
        related: request.related.iter().map(|object| parse(object)).collect::<Result<_, _>>()?,
    };
    decide(&request).map(SyncResponse::into_wire)
}

/// The object, or the fault that says that the host broke the contract.
pub(crate) fn parse(object: &str) -> Result<Value, Fault> {
    match serde_json::from_str::<Value>(object) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(Fault::Failed("an object in the request is JSON but not an object".to_owned())),
        Err(error) => Err(Fault::Failed(format!("an object in the request is not JSON: {error}"))),
    }
}

/// Exports a [`Dialect`] or a [`TextDialect`](crate::TextDialect). Call it once, at the top of the crate.
#[macro_export]
macro_rules! export_dialect {
    ($dialect:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::text::Export<$dialect>;
            $crate::bindings::base::__export_base_world!(Exported with_types_in $crate::bindings::base);
            $crate::bindings::dialect::__export_dialect_world!(Exported with_types_in $crate::bindings::dialect);
        };
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(parent: &str) -> controller::SyncRequest {
        controller::SyncRequest {
            context: Context { now_ms: 0, seed: 0, config: "{}".to_owned() },
            parent: parent.to_owned(),
            children: Vec::new(),
            related: Vec::new(),
        }
    }

    #[test]
    fn an_answer_crosses_as_json_text() {
        let answered = answer(&request(r#"{"kind":"A"}"#), |request| {
            Ok(SyncResponse {
                children: vec![request.parent.clone()],
                status: Some(json!({"b": 1})),
                ..Default::default()
            })
        })
        .expect("the parent is an object");
        assert_eq!(answered.children, [r#"{"kind":"A"}"#]);
        assert_eq!(answered.status.as_deref(), Some(r#"{"b":1}"#));
    }

    #[test]
    fn what_is_not_an_object_is_a_fault_and_no_panic() {
        for text in ["", "{", "[]", "null", &"[".repeat(100_000)] {
            assert!(
                matches!(answer(&request(text), |_| Ok(SyncResponse::default())), Err(Fault::Failed(_))),
                "{text:.20}"
            );
        }
    }
}
