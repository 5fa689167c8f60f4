//! What other plugins cost one's own: nearly nothing.

use std::time::{Duration, Instant};

use crate::fixture::{ECHO, dialect, load, request, sandbox, search, subject, sync_request, tuner};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinning_plugins_leave_others_their_latency() {
    let sandbox = sandbox();
    let echo = load(&sandbox, dialect("echo", "", ECHO)).await;
    let mut spinning = Vec::new();
    for number in 0..64 {
        let name = format!("spin-{number}");
        let mut wanted = request(tuner(&name, "", "(loop $again (br $again)) (i32.const 0))"), &[]);
        wanted.limits.deadline = Duration::from_secs(60);
        let spin = sandbox.load(wanted).await.expect("load");
        // As many as it is allowed: all 64 together want four times the places that there are.
        for _ in 0..16 {
            let spin = std::sync::Arc::clone(&spin);
            spinning.push(tokio::spawn(async move { spin.suggest(&subject(), search("spin"), 1).await }));
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;

    let mut took = Vec::new();
    for _ in 0..300 {
        let request = sync_request(&echo);
        let started = Instant::now();
        echo.sync(&subject(), request).await.expect("echo");
        took.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for call in spinning {
        assert!(!call.is_finished(), "the spinning calls must have run all the while");
        call.abort();
    }
    took.sort();
    eprintln!("with 64 spinning plugins: p50 {:?}, p99 {:?}", took[150], took[297]);
    // An unoptimised build on a shared machine: what is ruled out is waiting for a spinning call, which takes 60 s, or
    // for its turns, which would be some hundred slices.
    assert!(took[297] < Duration::from_millis(100), "p99 was {:?}", took[297]);
}
