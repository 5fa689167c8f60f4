//! One test for each way in which a plugin can misbehave: the call fails with its own error, and the next call and the
//! other plugins go on.

use std::time::{Duration, Instant};

use purlin_sandbox::CallError;

use crate::fixture::{
    ECHO, IMPORT_LOG, dialect, limits, load, parent, request, sandbox, search, subject, sync_request, tuner,
};

async fn sync_error(body: &str) -> CallError {
    let sandbox = sandbox();
    let plugin = load(&sandbox, dialect("hostile", "", body)).await;
    let error = plugin.sync(&subject(), sync_request(&plugin)).await.expect_err("must fail");
    // Whatever happened, the sandbox still answers others.
    let echo = load(&sandbox, dialect("echo", "", ECHO)).await;
    let answer = echo.sync(&subject(), sync_request(&echo)).await.expect("echo");
    assert_eq!(answer.children[0].text(), parent());
    error
}

#[tokio::test]
async fn a_trap_is_reported_with_its_cause() {
    let error = sync_error("unreachable)").await;
    assert_eq!(
        error.to_string(),
        "the plugin trapped in `sync`: wasm `unreachable` instruction executed",
        "{error:?}"
    );
    assert_eq!(error.reason(), "Trap");
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_deadline() {
    let started = Instant::now();
    let error = sync_error("(loop $again (br $again)) (i32.const 0))").await;
    assert_eq!(error, CallError::DeadlineExceeded(Duration::from_millis(200)));
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_memory_bomb_is_refused_at_its_limit() {
    let greedy = "(loop $more
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br $more)) (i32.const 0))";
    assert_eq!(sync_error(greedy).await, CallError::MemoryExceeded { limit: limits().memory });
}

#[tokio::test]
async fn endless_recursion_is_a_trap() {
    let body = "(call $deeper) (i32.const 0)) (func $deeper (call $deeper) (call $deeper))";
    let error = sync_error(body).await;
    assert!(matches!(&error, CallError::Trap { reason, .. } if reason.contains("stack")), "{error:?}");
}

#[tokio::test]
async fn an_oversized_answer_is_not_copied_out() {
    // One child of 100,000 bytes, where 65,536 are allowed.
    let body = "
        (i32.store (i32.const 2048) (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 100000)))
        (i32.store (i32.const 2052) (i32.const 100000))
        (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 1))
        (i32.const 1024))";
    assert_eq!(sync_error(body).await, CallError::OutputTooLarge { limit: limits().output });
}

#[tokio::test]
async fn an_answer_of_very_many_empty_parts_is_oversized_too() {
    // A list of 20,000 strings of no length: nothing to read in the plugin's memory, much to hold in the host's.
    let body = "
        (i32.store (i32.const 1032) (call $alloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 160000)))
        (i32.store (i32.const 1036) (i32.const 20000))
        (i32.const 1024))";
    assert_eq!(sync_error(body).await, CallError::OutputTooLarge { limit: limits().output });
}

#[tokio::test]
async fn an_answer_outside_of_memory_is_malformed() {
    let error = sync_error("(i32.const 0x7ffffff8))").await;
    assert_eq!(error.reason(), "Malformed", "{error:?}");
}

#[tokio::test]
async fn an_answer_of_an_unknown_case_is_malformed() {
    let error = sync_error("(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024))").await;
    assert_eq!(error.reason(), "Malformed", "{error:?}");
}

#[tokio::test]
async fn text_that_is_no_utf8_is_malformed() {
    let body = "
        (i32.store8 (i32.const 3000) (i32.const 0xff))
        (i32.store (i32.const 2048) (i32.const 3000)) (i32.store (i32.const 2052) (i32.const 1))
        (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 1))
        (i32.const 1024))";
    let error = sync_error(body).await;
    assert_eq!(error.reason(), "Malformed", "{error:?}");
}

#[tokio::test]
async fn a_child_that_is_no_object_is_malformed() {
    let body = "
        (i32.store8 (i32.const 3000) (i32.const 0x37))
        (i32.store (i32.const 2048) (i32.const 3000)) (i32.store (i32.const 2052) (i32.const 1))
        (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 1))
        (i32.const 1024))";
    assert_eq!(
        sync_error(body).await.to_string(),
        "the plugin's answer is malformed: child 0 is not a JSON object"
    );
}

#[tokio::test]
async fn a_child_nested_very_deeply_is_malformed() {
    // 20,000 times `[`.
    let body = "
        (memory.fill (i32.const 10000) (i32.const 0x5b) (i32.const 20000))
        (i32.store (i32.const 2048) (i32.const 10000)) (i32.store (i32.const 2052) (i32.const 20000))
        (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 1))
        (i32.const 1024))";
    let error = sync_error(body).await;
    assert!(error.to_string().contains("recursion limit"), "{error}");
}

#[tokio::test]
async fn a_fault_is_passed_on() {
    // The case `failed` (2) of the fault, whose text is two bytes at 3000.
    let body = "
        (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1032) (i32.const 2))
        (i32.store16 (i32.const 3000) (i32.const 0x6f6e))
        (i32.store (i32.const 1040) (i32.const 3000)) (i32.store (i32.const 1044) (i32.const 2))
        (i32.const 1024))";
    let error = sync_error(body).await;
    assert_eq!((error.reason(), error.to_string().as_str()), ("Failed", "no"));
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_off_and_the_call_still_answers() {
    let body = "(local $i i32)
        (loop $more
            (call $log (i32.const 2) (i32.const 3000) (i32.const 100))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 20000))))
        (i32.const 4096))";
    let mut registry = Default::default();
    let metrics = purlin_sandbox::Metrics::new(&mut registry);
    let sandbox =
        purlin_sandbox::Sandbox::new(Default::default(), Default::default(), metrics).expect("sandbox");
    let mut wanted = request(dialect("flood", IMPORT_LOG, body), &[]);
    wanted.limits.deadline = Duration::from_secs(20);
    let plugin = sandbox.load(wanted).await.expect("load");
    plugin.sync(&subject(), sync_request(&plugin)).await.expect("an empty answer");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encode");
    let line = text
        .lines()
        .find(|line| line.starts_with("purlin_sandbox_log_lines_dropped_total{"))
        .expect("metric");
    let dropped: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("number");
    assert!((10_000..20_000).contains(&dropped), "{line}");
}

#[tokio::test]
async fn a_start_that_never_ends_keeps_the_plugin_from_loading() {
    let body = "(i32.const 4096)) (func $spin (loop $again (br $again))) (start $spin)";
    let error =
        crate::fixture::try_load(&sandbox(), dialect("spin", "", body), &[]).await.expect_err("must fail");
    assert!(error.to_string().contains("gave no answer within"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_over_the_limit_of_concurrency_are_refused() {
    let sandbox = sandbox();
    let mut wanted = request(tuner("slow", "", "(loop $again (br $again)) (i32.const 0))"), &[]);
    wanted.limits.concurrency = 1;
    let plugin = sandbox.load(wanted).await.expect("load");
    let subject = subject();
    let calls = (0..40).map(|_| plugin.suggest(&subject, search("slow"), 1));
    let answers = futures::future::join_all(calls).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(CallError::Busy(1)))).count();
    // One runs and sixteen wait; the rest are refused at once. Those that wait run out of time or get their turn.
    assert!((23..40).contains(&busy), "{busy} were refused");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_stopped() {
    let sandbox = sandbox();
    let mut wanted = request(tuner("slow", "", "(loop $again (br $again)) (i32.const 0))"), &[]);
    wanted.limits.concurrency = 1;
    wanted.limits.deadline = Duration::from_secs(60);
    let plugin = sandbox.load(wanted).await.expect("load");
    let subject = subject();
    for _ in 0..3 {
        let call = plugin.suggest(&subject, search("slow"), 1);
        // Were the place not given back, the second round would wait for it and the call never begin.
        tokio::time::timeout(Duration::from_millis(50), call).await.expect_err("it never answers");
    }
    let started = Instant::now();
    while plugin.algorithms().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(5), "the place was never given back");
    }
}
