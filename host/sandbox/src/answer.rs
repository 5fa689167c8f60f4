//! Checks what a dialect answered, and parses it once for all who use it. Called with text that a plugin made, so
//! nothing about it is believed; the errors say which child is wrong and how.

use std::time::Duration;

use serde_json::Value;

use crate::error::CallError;
use crate::plugin::SyncAnswer;
use crate::v0_1::SyncResponse;

/// Events in one answer. A dialect that has more to say is not read by anybody.
const EVENTS: usize = 256;

/// Bytes of an event's message, as the contract says.
const EVENT_MESSAGE: usize = 1024;

/// Answers longer than this are parsed on a thread for blocking work; shorter ones take well under a millisecond.
const LARGE: usize = 128 << 10;

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
    for (index, text) in response.children.iter().enumerate() {
        children
            .push(object(text).map_err(|reason| CallError::Malformed(format!("child {index} {reason}")))?);
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

fn object(text: &str) -> Result<Value, String> {
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
    Ok(value)
}

// serde_json refuses nesting deeper than 128, so that dropping or walking the value cannot exhaust the stack.
fn status(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("is not a JSON object".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v0_1::{Event, Severity};

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
        assert_eq!(answer.children[0]["metadata"]["name"], "a");
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
    fn deep_nesting_is_refused_not_followed() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(refused(response(&[], Some(&deep))).contains("recursion limit"));
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
