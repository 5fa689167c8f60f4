//! Running a dialect against recorded cases, natively.
//!
//! A case is a folder with `request.json`:
//!
//! ```json
//! {"context": {"nowMs": 0, "seed": 1, "config": {}}, "parent": {}, "children": [], "related": []}
//! ```
//!
//! and `response.json`, which is either the answer (`children`, `status`, `requeueAfterMs`, `events`) or a fault
//! (`{"fault": {"invalid": [...]}}`). Run the tests with `PURLIN_BLESS=1` to write the responses anew, and read the
//! difference before you commit it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::{Context, Dialect, Fault, Object as _, Severity, SyncRequest, SyncResponse};

/// Runs every case under `folder` (one sub-folder each) and panics with the first difference.
///
/// Beside comparing, it checks what every dialect owes: the same request gives the same answer, and once an answer was
/// carried out, time alone changes nothing.
///
/// # Panics
/// When a case cannot be read, differs from its recorded response, or breaks one of those promises.
pub fn sync_cases<D: Dialect>(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    let mut cases: Vec<PathBuf> = read_dir(folder);
    cases.retain(|case| case.join("request.json").is_file());
    cases.sort();
    assert!(!cases.is_empty(), "no case (a folder with request.json) in {}", folder.display());
    for case in cases {
        sync_case::<D>(&case);
    }
}

fn sync_case<D: Dialect>(case: &Path) {
    let name = case.display();
    let request = request(&read(&case.join("request.json")));
    let answer = D::sync(&request);
    assert_eq!(answer, D::sync(&request), "{name}: the same request gave another answer");
    if let Ok(answer) = &answer {
        settles::<D>(&name.to_string(), request, answer);
    }
    let actual = response(&answer);
    let path = case.join("response.json");
    if std::env::var_os("PURLIN_BLESS").is_some() {
        let text = format!("{actual:#}\n");
        std::fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        return;
    }
    let expected = read(&path);
    assert!(
        expected == actual,
        "{name}: the answer is not response.json; it is\n{actual:#}\nfirst difference: {}",
        difference(&expected, &actual, "$")
    );
}

/// Checks that an answer that was carried out is the end of it: an hour later, with its status and the status of its
/// children in place, nothing changes.
fn settles<D: Dialect>(name: &str, request: SyncRequest, answer: &SyncResponse) {
    let mut later = request;
    later.context.now_ms += 3_600_000;
    if let Some(status) = &answer.status {
        later.parent["status"] = status.clone();
    }
    for child in answer.children.iter().filter(|child| child.at(&["status"]).is_some()) {
        let same = |other: &Value| {
            other.is(child.text(&["apiVersion"]), child.text(&["kind"])) && other.name() == child.name()
        };
        later.children.retain(|other| !same(other));
        later.children.push(child.clone());
    }
    match D::sync(&later) {
        Ok(again) => {
            assert_eq!(
                answer.status, again.status,
                "{name}: an hour later the status changed, with nothing else changed"
            );
            assert_eq!(
                answer.children, again.children,
                "{name}: an hour later a child changed, with nothing else changed"
            );
        }
        Err(fault) => panic!("{name}: with its own status in place the answer became {fault:?}"),
    }
}

/// A request as the case files write it.
///
/// # Panics
/// When a part has another type than it must.
pub fn request(case: &Value) -> SyncRequest {
    SyncRequest {
        context: context(case),
        parent: case["parent"].clone(),
        children: case.items(&["children"]).to_vec(),
        related: case.items(&["related"]).to_vec(),
    }
}

fn context(case: &Value) -> Context {
    Context {
        now_ms: case["context"]["nowMs"].as_u64().unwrap_or_default(),
        seed: case["context"]["seed"].as_u64().unwrap_or_default(),
        config: case.at(&["context", "config"]).map_or_else(|| "{}".to_owned(), Value::to_string),
    }
}

/// An answer as the case files write it.
pub fn response(answer: &Result<SyncResponse, Fault>) -> Value {
    match answer {
        Ok(answer) => {
            let mut object = Map::new();
            object.insert("children".to_owned(), answer.children.clone().into());
            if let Some(status) = &answer.status {
                object.insert("status".to_owned(), status.clone());
            }
            if let Some(delay) = answer.requeue_after_ms {
                object.insert("requeueAfterMs".to_owned(), delay.into());
            }
            let event = |event: &crate::Event| {
                let severity = match event.severity {
                    Severity::Normal => "normal",
                    Severity::Warning => "warning",
                };
                json!({"severity": severity, "reason": event.reason, "message": event.message})
            };
            object.insert("events".to_owned(), answer.events.iter().map(event).collect());
            object.into()
        }
        Err(Fault::Invalid(errors)) => {
            let error = |error: &crate::FieldError| json!({"field": error.field, "value": error.value, "reason": error.reason});
            json!({"fault": {"invalid": errors.iter().map(error).collect::<Vec<_>>()}})
        }
        Err(Fault::Retry(retry)) => {
            json!({"fault": {"retry": {"afterMs": retry.after_ms, "reason": retry.reason}}})
        }
        Err(Fault::Failed(reason)) => json!({"fault": {"failed": reason}}),
    }
}

/// The path and the two values at which two documents first differ.
fn difference(expected: &Value, actual: &Value, path: &str) -> String {
    match (expected, actual) {
        (Value::Object(left), Value::Object(right)) => left
            .keys()
            .chain(right.keys())
            .find(|key| left.get(*key) != right.get(*key))
            .map_or_else(String::new, |key| {
                difference(&expected[key.as_str()], &actual[key.as_str()], &format!("{path}.{key}"))
            }),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .find(|(_, (left, right))| left != right)
            .map_or_else(String::new, |(index, (left, right))| {
                difference(left, right, &format!("{path}[{index}]"))
            }),
        _ => format!("{path}: expected {expected}, got {actual}"),
    }
}

fn read_dir(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
        panic!("cannot read {}: {error}; PURLIN_BLESS=1 writes responses", path.display())
    });
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{} is not JSON: {error}", path.display()))
}
