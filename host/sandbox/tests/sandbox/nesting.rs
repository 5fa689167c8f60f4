//! Calls from one plugin to another: `call(tuner)`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use purlin_sandbox::{CallError, Capability, Plugin, StageResolver};

use crate::fixture::{IMPORT_SUGGEST, request, sandbox, search, subject, tuner};

/// Passes its own arguments on, as they lie in memory, and the answer back.
const FORWARD: &str = "(call $suggest (local.get 0) (i32.const 1024)) (i32.const 1024))";

#[derive(Default)]
struct Installed(Mutex<HashMap<String, Arc<Plugin>>>);

impl StageResolver for Installed {
    fn tuner(&self, algorithm: &str) -> Option<Arc<Plugin>> {
        self.0.lock().expect("lock").get(algorithm).cloned()
    }
}

async fn forward_to(target: Option<&str>) -> Result<usize, CallError> {
    let sandbox = sandbox();
    let installed = Arc::new(Installed::default());
    let resolver: Arc<dyn StageResolver> = installed.clone();
    sandbox.set_resolver(Arc::downgrade(&resolver));
    let mut wanted = request(tuner("forward", IMPORT_SUGGEST, FORWARD), &[Capability::CallTuner]);
    wanted.limits.deadline = Duration::from_millis(400);
    // One more than the depth allowed, for where it calls itself.
    wanted.limits.concurrency = 8;
    let forward = sandbox.load(wanted).await.expect("load");
    // The forwarded search names the algorithm, so whatever is installed under that name is asked.
    if let Some(body) = target {
        let mut wanted = request(tuner("target", "", body), &[]);
        wanted.limits.deadline = Duration::from_secs(30);
        let target = sandbox.load(wanted).await.expect("load");
        installed.0.lock().expect("lock").insert("asked".to_owned(), target);
    } else {
        installed.0.lock().expect("lock").insert("asked".to_owned(), Arc::clone(&forward));
    }
    forward.suggest(&subject(), search("asked"), 3).await.map(|points| points.len())
}

#[tokio::test]
async fn the_other_plugins_answer_comes_back() {
    // Two suggestions without assignments and labels, 16 bytes each.
    let body = "(i32.store (i32.const 4104) (i32.const 8192)) (i32.store (i32.const 4108) (i32.const 2))
        (i32.const 4096))";
    assert_eq!(forward_to(Some(body)).await, Ok(2));
}

#[tokio::test]
async fn the_other_plugins_trap_is_a_fault_here() {
    let error = forward_to(Some("unreachable)")).await.expect_err("must fail");
    assert_eq!(
        error.to_string(),
        "target: the plugin trapped in `suggest`: wasm `unreachable` instruction executed"
    );
    assert_eq!(error.reason(), "Failed");
}

#[tokio::test]
async fn plugins_that_call_each_other_without_end_are_stopped() {
    let error = forward_to(None).await.expect_err("must fail");
    assert!(error.to_string().contains("nest at most 4 deep"), "{error}");
}

#[tokio::test]
async fn the_outer_deadline_holds_for_the_inner_call() {
    let started = Instant::now();
    let error = forward_to(Some("(loop $again (br $again)) (i32.const 0))")).await.expect_err("must fail");
    assert!(started.elapsed() < Duration::from_secs(5), "the inner call's own deadline is 30 s");
    assert!(error.to_string().contains("gave no answer within"), "{error}");
}

#[tokio::test]
async fn an_algorithm_that_nobody_serves_is_a_fault() {
    let sandbox = sandbox();
    let wanted = request(tuner("forward", IMPORT_SUGGEST, FORWARD), &[Capability::CallTuner]);
    let forward = sandbox.load(wanted).await.expect("load");
    let error = forward.suggest(&subject(), search("nobodys"), 1).await.expect_err("must fail");
    assert_eq!(error.to_string(), "no installed plugin serves the algorithm \"nobodys\"");
}
