//! Checks what a dialect answered. Called with text that a plugin made, so nothing about it is believed; the errors say
//! which child is wrong and how.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::contract::SyncResponse;
use crate::error::CallError;
use crate::plugin::SyncAnswer;

/// Events in one answer. A dialect that has more to say is not read by anybody.
const EVENTS: usize = 256;

/// Bytes of an event's message, as the contract says.
const EVENT_MESSAGE: usize = 1024;

/// Answers longer than this are parsed on a thread for blocking work; shorter ones take well under a millisecond.
const LARGE: usize = 128 << 10;

/// An object that a dialect wants to exist: JSON text that is known to be an object with `apiVersion`, `kind` and
/// `metadata.name`. It stays text, because most answers are the ones of the time before, which takes no parsing to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child(String);

impl Child {
    /// Checks a text.
    ///
    /// # Errors
    /// [`CallError::Malformed`], when it is not such an object.
    pub fn new(text: impl Into<String>) -> Result<Child, CallError> {
        let text = text.into();
        match check_object(&text) {
            Ok(()) => Ok(Child(text)),
            Err(reason) => Err(CallError::Malformed(format!("a child {reason}"))),
        }
    }

    /// The text, as the plugin wrote it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The object.
    ///
    /// # Errors
    /// [`CallError::Malformed`], when the text has what JSON allows and this host does not: nesting deeper than 128, or
    /// a number that no `f64` holds.
    pub fn value(&self) -> Result<Value, CallError> {
        serde_json::from_str(&self.0)
            .map_err(|error| CallError::Malformed(format!("a child is not JSON: {error}")))
    }
}

/// Checks and parses an answer.
pub(crate) async fn check(response: SyncResponse) -> Result<SyncAnswer, CallError> {
    let size: usize = response.children.iter().map(String::len).sum::<usize>()
        + response.status.as_ref().map_or(0, String::len);
    if size <= LARGE {
        return parse(response);
    }
    let parsed = tokio::task::spawn_blocking(move || parse(response)).await;
    parsed.map_err(|_| CallError::Host("it is stopping".to_owned()))?
}

fn parse(response: SyncResponse) -> Result<SyncAnswer, CallError> {
    let mut children = Vec::with_capacity(response.children.len());
    for (index, text) in response.children.into_iter().enumerate() {
        check_object(&text).map_err(|reason| CallError::Malformed(format!("child {index} {reason}")))?;
        children.push(Child(text));
    }
    let status = match &response.status {
        Some(text) => {
            Some(status(text).map_err(|reason| CallError::Malformed(format!("the status {reason}")))?)
        }
        None => None,
    };
    if response.events.len() > EVENTS {
        let count = response.events.len();
        return Err(CallError::Malformed(format!("it has {count} events; at most {EVENTS} are allowed")));
    }
    let mut events = response.events;
    for event in &mut events {
        let end = event.message.floor_char_boundary(EVENT_MESSAGE);
        event.message.truncate(end);
    }
    let requeue_after = response.requeue_after_ms.map(Duration::from_millis);
    Ok(SyncAnswer { children, status, requeue_after, events })
}

/// What every object has. Anything else in it is only known to be JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

fn check_object(text: &str) -> Result<(), String> {
    if is_object(text) { Ok(()) } else { find_fault(text) }
}

/// Says in one pass whether all is well, and not what is wrong.
fn is_object(text: &str) -> bool {
    // Structs may be written as lists too, as far as serde is concerned.
    let braced = |text: &str| text.trim_ascii_start().starts_with('{');
    let Ok(head) = serde_json::from_str::<Head<'_>>(text) else { return false };
    let Ok(metadata) = serde_json::from_str::<Metadata<'_>>(head.metadata.get()) else { return false };
    braced(text)
        && braced(head.metadata.get())
        && [head.api_version, head.kind, metadata.name].iter().all(|text| !text.is_empty())
}

fn find_fault(text: &str) -> Result<(), String> {
    let value = status(text)?;
    for (name, pointer) in
        [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")]
    {
        match value.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(_) => return Err(format!("has no text in {name}")),
            None => return Err(format!("has no {name}")),
        }
    }
    Ok(())
}

// serde_json refuses nesting deeper than 128, so that dropping or walking the value cannot exhaust the stack.
fn status(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("is not a JSON object".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Event, Severity};

    fn response(children: &[&str], status: Option<&str>) -> SyncResponse {
        SyncResponse {
            children: children.iter().map(|text| (*text).to_owned()).collect(),
            status: status.map(str::to_owned),
            requeue_after_ms: Some(1500),
            events: vec![],
        }
    }

    fn refused(response: SyncResponse) -> String {
        parse(response).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_good_answer_is_parsed() {
        let child = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#;
        let answer = parse(response(&[child], Some(r#"{"phase":"Ready"}"#))).expect("good");
        assert_eq!(answer.children[0].text(), child);
        assert_eq!(answer.children[0].value().expect("JSON")["metadata"]["name"], "a");
        assert_eq!(answer.status, Some(serde_json::json!({"phase": "Ready"})));
        assert_eq!(answer.requeue_after, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn each_way_of_being_malformed_is_named() {
        assert_eq!(
            refused(response(&["[]"], None)),
            "the plugin's answer is malformed: child 0 is not a JSON object"
        );
        assert!(refused(response(&["{"], None)).contains("child 0 is not JSON"));
        assert!(refused(response(&[r#"{"kind":"Pod"}"#], None)).contains("child 0 has no apiVersion"));
        let unnamed = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":7}}"#;
        assert!(refused(response(&[unnamed], None)).contains("child 0 has no text in metadata.name"));
        assert!(refused(response(&[], Some("3"))).contains("the status is not a JSON object"));
    }

    #[test]
    fn a_list_is_no_object() {
        assert!(refused(response(&[r#"["v1","Pod",{"name":"a"}]"#], None)).contains("not a JSON object"));
        let metadata = r#"{"apiVersion":"v1","kind":"Pod","metadata":["a"]}"#;
        assert!(refused(response(&[metadata], None)).contains("child 0 has no metadata.name"));
        let empty = r#"{"apiVersion":"v1","kind":"","metadata":{"name":"a"}}"#;
        assert!(Child::new(empty).is_err_and(|error| error.to_string().contains("no text in kind")));
    }

    #[test]
    fn escapes_and_space_are_json_too() {
        let text = " {\"api\\u0056ersion\" : \"v\\u0031\", \"kind\": \"P\\u006fd\", \"metadata\": {\"name\": \"a\"} } ";
        let child = Child::new(text).expect("good");
        assert_eq!(child.value().expect("JSON")["kind"], "Pod");
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let deep = format!(r#"{{"a":{nested}}}"#);
        assert!(refused(response(&[], Some(&deep))).contains("recursion limit"));
        let child = format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"a"}},"a":{nested}}}"#);
        let refused = Child::new(child).and_then(|child| child.value()).expect_err("must be refused");
        assert!(refused.to_string().contains("recursion limit"), "{refused}");
    }

    #[test]
    fn long_event_messages_are_cut_at_a_character() {
        let event =
            Event { severity: Severity::Normal, reason: "Made".to_owned(), message: "ä".repeat(1000) };
        let mut with_event = response(&[], None);
        with_event.events = vec![event];
        assert_eq!(parse(with_event).expect("good").events[0].message.len(), 1024);
    }
}
