//! A namespace that has used up its quota waits; the others do not notice.

use std::sync::Arc;
use std::time::Duration;

use purlin_sandbox::quota::{CPU, MEMORY, Quota};
use purlin_sandbox::{CallError, Capability, Plugin, StageResolver, Subject};

use crate::fixture::{ECHO, IMPORT_SUGGEST, dialect, load, sandbox, search, sync_request, try_load, tuner};

const SPIN: &str = "(loop $again (br $again)) (i32.const 0))";
/// Needs two MiB.
const LARGE: &str =
    "(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then unreachable)) (unreachable))";

fn within(namespace: &str) -> Subject {
    Subject::object("test.dev/v1", "Thing", namespace, "a")
}

fn exceeded(error: &CallError, quota: &str) -> bool {
    matches!(error, CallError::QuotaExceeded { resource, namespace, .. } if *resource == quota && namespace == "greedy")
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_is_used_up_is_waited_for() {
    let sandbox = sandbox();
    sandbox.set_quota("greedy", Some(Quota { cpu: Some(0.01), memory: None }));
    let spin = load(&sandbox, dialect("spin", "", SPIN)).await;
    let echo = load(&sandbox, dialect("echo", "", ECHO)).await;
    let call = async |plugin: &Plugin, namespace| plugin.sync(&within(namespace), sync_request(plugin)).await;
    assert!(call(&echo, "greedy").await.is_ok(), "there is a burst");
    let late = call(&spin, "greedy").await.expect_err("the deadline, not the quota, ends a call");
    assert!(matches!(late, CallError::DeadlineExceeded(_)), "{late:?}");
    let error = call(&echo, "greedy").await.expect_err("nothing is left");
    assert!(exceeded(&error, CPU), "{error:?}");
    assert_eq!(error.reason(), "QuotaExceeded");
    let text = error.to_string();
    assert!(text.contains("namespace greedy") && text.contains("purlin.dev/plugin-cpu (0.01)"), "{text}");
    assert!(call(&echo, "other").await.is_ok(), "another namespace");
    assert!(sandbox.usage("greedy").expect("usage").time >= Duration::from_millis(150));
    assert_eq!(sandbox.usage("other"), None);

    sandbox.set_quota("greedy", Some(Quota { cpu: Some(2.0), memory: None }));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(call(&echo, "greedy").await.is_ok(), "a higher quota pays the debt");
    sandbox.set_quota("greedy", Some(Quota { cpu: Some(0.0), memory: None }));
    assert!(exceeded(&call(&echo, "greedy").await.expect_err("none at all"), CPU));
    sandbox.set_quota("greedy", None);
    assert!(call(&echo, "greedy").await.is_ok(), "no quota");
}

#[tokio::test]
async fn memory_is_refused_where_the_quota_ends_and_given_back() {
    let sandbox = sandbox();
    let large = load(&sandbox, dialect("large", "", LARGE)).await;
    let call = async |namespace| {
        large.sync(&within(namespace), sync_request(&large)).await.expect_err("it traps in the end")
    };
    sandbox.set_quota("greedy", Some(Quota { cpu: None, memory: Some(1 << 20) }));
    for _ in 0..3 {
        let error = call("greedy").await;
        assert!(exceeded(&error, MEMORY), "{error:?}");
        assert!(matches!(call("other").await, CallError::Trap { .. }));
    }
    sandbox.set_quota("greedy", Some(Quota { cpu: None, memory: Some(3 << 20) }));
    // Were anything not given back, the second would not fit.
    for _ in 0..3 {
        let error = call("greedy").await;
        assert!(matches!(error, CallError::Trap { .. }), "{error:?}");
    }
    let peak = sandbox.usage("greedy").expect("usage").memory;
    assert!(((2 << 20)..=(3 << 20)).contains(&peak), "{peak}");
    assert_eq!(sandbox.usage("greedy").expect("usage").memory, 0);
}

struct One(Arc<Plugin>);

impl StageResolver for One {
    fn tuner(&self, _: &str) -> Option<Arc<Plugin>> {
        Some(Arc::clone(&self.0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_cannot_spend_anothers_quota_by_calling_it() {
    let sandbox = sandbox();
    sandbox.set_quota("greedy", Some(Quota { cpu: Some(0.01), memory: None }));
    let spin = load(&sandbox, tuner("spin", "", SPIN)).await;
    let resolver: Arc<dyn StageResolver> = Arc::new(One(spin));
    sandbox.set_resolver(Arc::downgrade(&resolver));
    let forward = "(call $suggest (local.get 0) (i32.const 1024)) (i32.const 1024))";
    let relay = tuner("relay", IMPORT_SUGGEST, forward);
    let relay = try_load(&sandbox, relay, &[Capability::CallTuner]).await.expect("load");
    relay.suggest(&within("greedy"), search("spin"), 1).await.expect_err("the inner call never answers");
    let used = sandbox.usage("greedy").expect("usage").time;
    assert!(used >= Duration::from_millis(150), "the inner call's time counts: {used:?}");
    let error = relay.suggest(&within("greedy"), search("spin"), 1).await.expect_err("nothing is left");
    assert!(exceeded(&error, CPU), "{error:?}");
}
