use super::{Backoff, Lease, Verdict, WorkQueue};
use crate::observe::QueueMetrics;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

fn queue(capacity: usize) -> Arc<WorkQueue<u8>> {
    WorkQueue::new(capacity, Backoff::default(), QueueMetrics::default())
}

/// Takes a key if one is ready now.
async fn take(queue: &Arc<WorkQueue<u8>>) -> Option<Lease<u8>> {
    tokio::time::timeout(Duration::from_nanos(1), queue.pop()).await.ok().flatten()
}

#[tokio::test(start_paused = true)]
async fn a_key_added_twice_is_handed_out_once() {
    let queue = queue(8);
    queue.add(1).await;
    queue.add(1).await;
    let lease = take(&queue).await.unwrap();
    assert!(take(&queue).await.is_none());
    lease.finish(Verdict::Done);
    assert!(take(&queue).await.is_none());
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_added_during_work_comes_back_after_it() {
    let queue = queue(8);
    queue.add(1).await;
    let lease = take(&queue).await.unwrap();
    queue.add(1).await;
    assert!(take(&queue).await.is_none(), "one worker a key");
    lease.finish(Verdict::After(Duration::from_secs(60)));
    assert!(take(&queue).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_each_time_and_success_forgets_them() {
    let queue = queue(8);
    queue.add(1).await;
    let mut waits = Vec::new();
    for attempt in 0..4 {
        let before = tokio::time::Instant::now();
        let lease = queue.pop().await.unwrap();
        waits.push(before.elapsed());
        assert_eq!(lease.attempt(), attempt);
        lease.finish(Verdict::Retry);
    }
    assert!(waits[1] >= Duration::from_millis(50) && waits[1] <= Duration::from_millis(101));
    assert!(waits[3] >= Duration::from_millis(200), "{waits:?}");
    queue.pop().await.unwrap().finish(Verdict::Done);
    queue.add(1).await;
    assert_eq!(queue.pop().await.unwrap().attempt(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lease_counts_as_a_failure() {
    let queue = queue(8);
    queue.add(1).await;
    drop(take(&queue).await.unwrap());
    assert_eq!(queue.pop().await.unwrap().attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_new_keys_wait_but_not_known_ones() {
    let queue = queue(1);
    queue.add(1).await;
    queue.add(1).await;
    let adding = tokio::spawn({
        let queue = queue.clone();
        async move { queue.add(2).await }
    });
    tokio::task::yield_now().await;
    assert!(!adding.is_finished());
    take(&queue).await.unwrap().finish(Verdict::Done);
    adding.await.unwrap();
    assert_eq!(*take(&queue).await.unwrap().key(), 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_every_wait() {
    let queue = queue(1);
    let popping = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pop().await.is_none() }
    });
    tokio::task::yield_now().await;
    queue.shut_down();
    assert!(popping.await.unwrap());
    queue.add(1).await;
    assert!(queue.pop().await.is_none());
}

#[test]
fn the_wait_is_bounded_for_any_number_of_failures() {
    let backoff = Backoff::default();
    assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::from_secs(300));
    assert_eq!(backoff.delay(0, 0.0), Duration::from_millis(100));
    assert_eq!(backoff.delay(0, 1.0), Duration::from_millis(50));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Take,
    Finish(usize, Option<u64>),
    Fail(usize),
    Sleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Step::Add),
        4 => Just(Step::Take),
        3 => (any::<usize>(), proptest::option::of(0..5000_u64)).prop_map(|(i, d)| Step::Finish(i, d)),
        1 => any::<usize>().prop_map(Step::Fail),
        1 => (0..10_000_u64).prop_map(Step::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against a model: no key has two workers, and a key that was added after its last lease is handed out.
    #[test]
    fn no_key_is_lost_or_shared(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let queue = queue(64);
            let mut held: BTreeMap<u8, Lease<u8>> = BTreeMap::new();
            let mut owed: BTreeSet<u8> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Add(key) => {
                        queue.add(key).await;
                        owed.insert(key);
                    }
                    Step::Take => {
                        if let Some(lease) = take(&queue).await {
                            let key = *lease.key();
                            owed.remove(&key);
                            assert!(held.insert(key, lease).is_none(), "two workers have {key}");
                        }
                    }
                    Step::Finish(which, delay) => {
                        if let Some(key) = held.keys().nth(which % held.len().max(1)).copied() {
                            let verdict = match delay {
                                Some(millis) => Verdict::After(Duration::from_millis(millis)),
                                None => Verdict::Done,
                            };
                            held.remove(&key).unwrap().finish(verdict);
                        }
                    }
                    Step::Fail(which) => {
                        if let Some(key) = held.keys().nth(which % held.len().max(1)).copied() {
                            drop(held.remove(&key));
                            owed.insert(key);
                        }
                    }
                    Step::Sleep(millis) => tokio::time::advance(Duration::from_millis(millis)).await,
                }
            }
            for (_, lease) in std::mem::take(&mut held) {
                lease.finish(Verdict::Done);
            }
            tokio::time::advance(Duration::from_secs(600)).await;
            while let Some(lease) = take(&queue).await {
                owed.remove(lease.key());
                lease.finish(Verdict::Done);
            }
            assert!(owed.is_empty(), "never handed out: {owed:?}");
            assert!(queue.is_empty());
        });
    }
}
