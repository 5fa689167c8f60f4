//! The ways to misbehave. Those that never come back or take the instance down with them make no sense natively and are
//! run by the sandbox's tests; the answers are checked here.

use purlin_sdk::bindings::dialect::exports::purlin::plugin::controller::SyncResponse;
use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Event, Fault, Retry, Severity, log};

/// Every mode, for tests that go through all of them.
pub const MODES: &[&str] = &[
    "none",
    "trap",
    "panic",
    "loop",
    "stack-overflow",
    "memory-bomb",
    "slow-memory-growth",
    "huge-output",
    "many-children",
    "many-events",
    "malformed-json",
    "malformed-status",
    "deep-json",
    "deep-status",
    "not-utf-8",
    "log-flood",
    "log-huge-line",
    "foreign-kind",
    "foreign-name",
    "other-namespace",
    "child-without-name",
    "child-not-an-object",
    "status-not-an-object",
    "retry-now",
    "retry-never",
    "fail",
    "invalid-of-nothing",
    "requeue-now",
];

/// The answer that asks for nothing.
pub fn nothing() -> SyncResponse {
    SyncResponse { children: Vec::new(), status: None, requeue_after_ms: None, events: Vec::new() }
}

/// Does what `mode` says, for an object of this name.
pub fn run(mode: &str, name: &str) -> Result<SyncResponse, Fault> {
    let children = |children| Ok(SyncResponse { children, ..nothing() });
    let child = |child: Value| children(vec![child.to_string()]);
    let status = |status: String| Ok(SyncResponse { status: Some(status), ..nothing() });
    match mode {
        "" | "none" => Ok(nothing()),
        "trap" => trap(),
        "panic" => panic!("this plugin panics because it was asked to"),
        "loop" => endless(),
        "stack-overflow" => {
            log::debug(&format!("came back from the deep with {}", descend(u64::MAX)));
            Ok(nothing())
        }
        "memory-bomb" => grow(64 << 20),
        "slow-memory-growth" => grow(64 << 10),
        // Text of 1 MiB in each of 256 children: far over any output limit, within what an instance can hold at once
        // only where the limit on memory is generous.
        "huge-output" => {
            let text = "x".repeat(1 << 20);
            children(
                (0..256).map(|index| config_map(&format!("{name}-{index}"), &text).to_string()).collect(),
            )
        }
        "many-children" => {
            children((0..100_000).map(|index| config_map(&format!("c{index}"), "").to_string()).collect())
        }
        "many-events" => {
            let event = |index| Event {
                severity: Severity::Warning,
                reason: format!("Reason{index}"),
                message: "m".repeat(4096),
            };
            Ok(SyncResponse { events: (0..1000).map(event).collect(), ..nothing() })
        }
        "malformed-json" => {
            children(vec![r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "#.to_owned()])
        }
        "malformed-status" => status("{\"phase\": ".to_owned()),
        "deep-json" => children(vec![deep()]),
        "deep-status" => status(deep()),
        "not-utf-8" => children(vec![not_utf_8()]),
        "log-flood" => {
            for index in 0..1_000_000 {
                log::error(&format!("line {index}"));
            }
            Ok(nothing())
        }
        "log-huge-line" => {
            log::error(&"x".repeat(4 << 20));
            Ok(nothing())
        }
        "foreign-kind" => child(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "i-am-root"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        })),
        "foreign-name" => child(config_map("kube-root-ca.crt", "")),
        "other-namespace" => {
            let mut elsewhere = config_map(name, "");
            elsewhere["metadata"]["namespace"] = "kube-system".into();
            child(elsewhere)
        }
        "child-without-name" => child(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})),
        "child-not-an-object" => child(json!([1, 2, 3])),
        "status-not-an-object" => status("\"fine\"".to_owned()),
        "retry-now" => retry(0),
        "retry-never" => retry(u64::MAX),
        "fail" => Err(Fault::Failed("this plugin fails because it was asked to".to_owned())),
        "invalid-of-nothing" => Err(Fault::Invalid(Vec::new())),
        "requeue-now" => Ok(SyncResponse { requeue_after_ms: Some(0), ..nothing() }),
        other => Err(Fault::Failed(format!("no mode {other:?}; there are {}", MODES.join(", ")))),
    }
}

fn config_map(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}})
}

/// An object in an object, a hundred thousand times: valid JSON, and the end of any parser that recurses without a limit.
fn deep() -> String {
    const DEPTH: usize = 100_000;
    format!("{}1{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH))
}

/// A string that is none, which safe Rust cannot make.
fn not_utf_8() -> String {
    // SAFETY: none. The string is not looked at here; the host, which reads it, must refuse it.
    unsafe { String::from_utf8_unchecked(vec![b'{', 0xff, 0xfe, b'}']) }
}

fn retry(after_ms: u64) -> Result<SyncResponse, Fault> {
    Err(Fault::Retry(Retry { after_ms, reason: "this plugin is never ready".to_owned() }))
}

#[cfg(target_arch = "wasm32")]
fn trap() -> Result<SyncResponse, Fault> {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
fn trap() -> Result<SyncResponse, Fault> {
    std::process::abort()
}

fn endless() -> Result<SyncResponse, Fault> {
    let mut counter = 0u64;
    loop {
        counter = std::hint::black_box(counter.wrapping_add(1));
    }
}

/// Uses a frame of the stack for every number below `depth`; the array keeps the compiler from making a loop of it.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == 0 { 0 } else { descend(depth - 1).wrapping_add(frame[std::hint::black_box(0)]) }
}

/// Takes memory until it gets no more, then ends as an allocation failure does.
fn grow(piece: usize) -> Result<SyncResponse, Fault> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1; piece]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_as_bad_as_they_claim() {
        let answer = |mode| run(mode, "bad");
        assert_eq!(answer("none"), Ok(nothing()));
        assert_eq!(answer("invalid-of-nothing"), Err(Fault::Invalid(Vec::new())));
        assert!(answer("child-not-an-object").is_ok_and(|answer| answer.children == ["[1,2,3]"]));
        assert!(answer("many-children").is_ok_and(|answer| answer.children.len() == 100_000));
        assert!(answer("foreign-kind").is_ok_and(|answer| answer.children[0].contains("ClusterRoleBinding")));
        assert!(answer("deep-json").is_ok_and(|answer| answer.children[0].len() > 500_000));
        assert!(matches!(answer("no such mode"), Err(Fault::Failed(_))));
    }
}
