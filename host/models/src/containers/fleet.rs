//! The replicas of one model that containers serve: who answers the next request, who waits until there is one, and how
//! much there is to do.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use purlin_gateway::{Lease, LeaseGuard, Target, Upstream};
use purlin_nn::InferError;
use tokio::sync::Notify;

use super::autoscale::Load;
use super::prefix::{self, Seen};

/// How long a server that did not answer is left alone before it is looked at again.
const RETRY: Duration = Duration::from_millis(50);

/// Of requests that miss a replica so soon after another nobody is told.
const TOLD: Duration = Duration::from_millis(50);

/// Requests that wait for a replica at most.
const MAX_WAITING: usize = 10_000;

/// One Pod that can answer.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Of the Pod.
    pub(crate) name: String,
    pub(crate) upstream: Upstream,
    busy: AtomicUsize,
    /// It did not take a connection, and has not since.
    gone: AtomicBool,
    /// It finishes what it has and gets no more.
    leaving: AtomicBool,
    /// The prompts that it was given.
    seen: Mutex<Seen>,
}

impl Replica {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How requests are spread over the replicas.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    /// Requests that a replica takes at once; 0 for no limit.
    pub(crate) concurrency: usize,
    /// Whether a prompt goes to who was given most of it before.
    pub(crate) by_prefix: bool,
}

/// The replicas of a model.
#[derive(Debug)]
pub(crate) struct Fleet {
    state: Mutex<State>,
    /// Somebody may have a place now.
    freed: Notify,
    /// There is a request and no replica.
    wanted: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    replicas: Vec<Arc<Replica>>,
    spread: Spread,
    waiting: usize,
    /// When a request last did without a replica, since there was none.
    missed: Option<Instant>,
    /// The replica to look at first, so that equals take turns.
    turn: usize,
    gauge: Gauge,
}

/// Requests over time: the integral of how many there were at once.
#[derive(Debug)]
struct Gauge {
    now: usize,
    area: f64,
    since: Instant,
    /// When the load was last asked for.
    asked: Instant,
    requests: u64,
}

impl Gauge {
    fn change(&mut self, by: isize) {
        let now = Instant::now();
        self.area += self.now as f64 * now.duration_since(self.since).as_secs_f64();
        self.since = now;
        self.now = self.now.saturating_add_signed(by);
    }
}

impl Fleet {
    /// Without replicas yet. `wanted` is told when a request finds none.
    pub(crate) fn new(wanted: Arc<Notify>) -> Arc<Fleet> {
        let now = Instant::now();
        let gauge = Gauge { now: 0, area: 0.0, since: now, asked: now, requests: 0 };
        let state = State {
            replicas: Vec::new(),
            spread: Spread::default(),
            waiting: 0,
            missed: None,
            turn: 0,
            gauge,
        };
        Arc::new(Fleet { state: Mutex::new(state), freed: Notify::new(), wanted })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets who can answer, and which of these get no more requests. Requests of those that are not among them any more go
    /// on.
    pub(crate) fn set(&self, replicas: Vec<(String, Upstream)>, leaving: &[String], spread: Spread) {
        let mut state = self.state();
        state.spread = spread;
        let old = std::mem::take(&mut state.replicas);
        state.replicas = replicas
            .into_iter()
            .map(|(name, upstream)| {
                let goes = leaving.contains(&name);
                let same = old.iter().find(|replica| replica.name == name && replica.upstream == upstream);
                let replica = same.cloned().unwrap_or_else(|| {
                    Arc::new(Replica {
                        name,
                        upstream,
                        busy: AtomicUsize::new(0),
                        gone: AtomicBool::new(false),
                        leaving: AtomicBool::new(false),
                        seen: Mutex::new(Seen::new()),
                    })
                });
                replica.leaving.store(goes, Ordering::SeqCst);
                replica
            })
            .collect();
        if !state.replicas.is_empty() && state.missed.take().is_some() {
            // Its time without requests begins now.
            state.gauge.requests += 1;
        }
        drop(state);
        self.freed.notify_waiters();
    }

    /// Replicas that get requests.
    pub(crate) fn ready(&self) -> u32 {
        let stays = |replica: &&Arc<Replica>| !replica.leaving.load(Ordering::SeqCst);
        u32::try_from(self.state().replicas.iter().filter(stays).count()).unwrap_or(u32::MAX)
    }

    /// Whether a replica is finishing.
    pub(crate) fn has_leaving(&self) -> bool {
        self.state().replicas.iter().any(|replica| replica.leaving.load(Ordering::SeqCst))
    }

    /// Requests that the named replica has.
    pub(crate) fn busy(&self, name: &str) -> usize {
        let state = self.state();
        let found = state.replicas.iter().find(|replica| replica.name == name);
        found.map_or(0, |replica| replica.busy.load(Ordering::SeqCst))
    }

    /// Whether requests wait for a replica, or would have gone to one within the time after which a model is idle.
    pub(crate) fn is_wanted(&self, idle: Duration) -> bool {
        let state = self.state();
        state.waiting > 0 || state.missed.is_some_and(|at| at.elapsed() < idle)
    }

    /// A request would have gone to a replica and did without: where there is none, one is wanted for the next.
    pub(crate) fn miss(&self) {
        let mut state = self.state();
        if !state.replicas.is_empty() {
            return;
        }
        state.gauge.requests += 1;
        let told = state.missed.replace(Instant::now()).is_some_and(|at| at.elapsed() < TOLD);
        if !told {
            self.wanted.notify_one();
        }
    }

    /// The load since this was last asked.
    pub(crate) fn load(&self) -> Load {
        let mut state = self.state();
        let gauge = &mut state.gauge;
        gauge.change(0);
        let passed = gauge.since.duration_since(gauge.asked).as_secs_f64().max(0.001);
        let load = Load { concurrency: gauge.area / passed, requests: gauge.requests };
        (gauge.area, gauge.requests, gauge.asked) = (0.0, 0, gauge.since);
        load
    }

    /// A lease on the right replica for a prompt, or on the one that has least to do.
    pub(crate) fn try_lease(self: &Arc<Self>, prompt: &[u64]) -> Option<Lease> {
        let known = self.known(prompt);
        let (lease, replica) = self.take(known.as_deref())?;
        if known.is_some() {
            replica.seen().add(prompt);
        }
        Some(lease)
    }

    /// How much of a prompt each replica was given before; `None` where that does not matter. Found out without holding the state,
    /// which everybody waits for.
    fn known(&self, prompt: &[u64]) -> Option<Vec<(Arc<Replica>, usize)>> {
        let replicas = {
            let state = self.state();
            (state.spread.by_prefix && !prompt.is_empty()).then(|| state.replicas.clone())?
        };
        let known = |replica: Arc<Replica>| {
            let matched = replica.seen().matched(prompt);
            (replica, matched)
        };
        Some(replicas.into_iter().map(known).collect())
    }

    fn take(self: &Arc<Self>, known: Option<&[(Arc<Replica>, usize)]>) -> Option<(Lease, Arc<Replica>)> {
        let state = &mut *self.state();
        let limit = if state.spread.concurrency == 0 { usize::MAX } else { state.spread.concurrency };
        let count = state.replicas.len();
        let turn = state.turn;
        let order = (0..count).map(|at| (turn + at) % count);
        let load = |at: &usize| state.replicas[*at].busy.load(Ordering::SeqCst);
        let there = |at: &usize| {
            let replica = &state.replicas[*at];
            !(replica.gone.load(Ordering::SeqCst) || replica.leaving.load(Ordering::SeqCst))
        };
        let chosen = match known {
            Some(known) => {
                let candidates: Vec<usize> = order.filter(there).collect();
                let bound = prefix::bound(candidates.iter().map(load).sum(), candidates.len()).min(limit);
                let matched = |at: &usize| {
                    let same = |one: &&(Arc<Replica>, usize)| Arc::ptr_eq(&one.0, &state.replicas[*at]);
                    known.iter().find(same).map_or(0, |(_, matched)| *matched)
                };
                candidates
                    .into_iter()
                    .filter(|at| load(at) < bound)
                    .min_by_key(|at| (Reverse(matched(at)), load(at)))?
            }
            None => order.filter(there).filter(|at| load(at) < limit).min_by_key(load)?,
        };
        state.turn = (chosen + 1) % count;
        let replica = Arc::clone(&state.replicas[chosen]);
        replica.busy.fetch_add(1, Ordering::SeqCst);
        state.gauge.change(1);
        state.gauge.requests += 1;
        let target = Target::Upstream(replica.upstream.clone());
        let lease = Lease::guarded(target, Taken { fleet: Arc::clone(self), replica: Arc::clone(&replica) });
        Some((lease, replica))
    }

    /// A lease, once a replica has room.
    pub(crate) async fn lease(self: &Arc<Self>, prompt: &[u64]) -> Result<Lease, InferError> {
        if let Some(lease) = self.try_lease(prompt) {
            return Ok(lease);
        }
        // A place that is freed from here on is found below.
        let waiting = {
            let mut state = self.state();
            if state.waiting >= MAX_WAITING {
                return Err(InferError::Overloaded {
                    reason: format!("{MAX_WAITING} requests wait for a replica of the model"),
                    retry_after: Duration::from_secs(1),
                });
            }
            state.waiting += 1;
            state.gauge.change(1);
            Waiting(self)
        };
        self.wanted.notify_one();
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on a notification is not missed.
            freed.as_mut().enable();
            if let Some(lease) = self.try_lease(prompt) {
                drop(waiting);
                return Ok(lease);
            }
            freed.await;
        }
    }
}

/// A request that waits for a replica.
struct Waiting<'a>(&'a Arc<Fleet>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting -= 1;
        state.gauge.change(-1);
    }
}

/// A request that a replica has.
struct Taken {
    fleet: Arc<Fleet>,
    replica: Arc<Replica>,
}

impl LeaseGuard for Taken {
    fn gone(&self) {
        if self.replica.gone.swap(true, Ordering::SeqCst) {
            return;
        }
        // Asked again until it takes connections, or until its Pod is no longer among those that can answer.
        let (fleet, replica) = (Arc::downgrade(&self.fleet), Arc::downgrade(&self.replica));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RETRY).await;
                let (Some(fleet), Some(replica)) = (fleet.upgrade(), replica.upgrade()) else { return };
                let connecting = tokio::net::TcpStream::connect(replica.upstream.http.as_str());
                if matches!(tokio::time::timeout(RETRY * 20, connecting).await, Ok(Ok(_))) {
                    replica.gone.store(false, Ordering::SeqCst);
                    fleet.freed.notify_waiters();
                    return;
                }
                let present = fleet.state().replicas.iter().any(|present| Arc::ptr_eq(present, &replica));
                if !present {
                    return;
                }
            }
        });
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.replica.busy.fetch_sub(1, Ordering::SeqCst);
        let mut state = self.fleet.state();
        state.gauge.change(-1);
        if state.waiting > 0 {
            self.fleet.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use purlin_gateway::{Lease, Target, Upstream};
    use tokio::sync::Notify;

    use super::{Fleet, Spread};

    const IDLE: Duration = Duration::from_secs(60);

    fn at(port: u16) -> (String, Upstream) {
        (format!("replica-{port}"), Upstream { http: format!("127.0.0.1:{port}"), grpc: None })
    }

    fn fleet() -> Arc<Fleet> {
        Fleet::new(Arc::new(Notify::new()))
    }

    fn server(lease: &Lease) -> String {
        match lease.target() {
            Target::Upstream(upstream) => upstream.http.clone(),
            Target::Model(_) => String::new(),
        }
    }

    #[tokio::test]
    async fn replicas_take_turns_up_to_their_limit() {
        let fleet = fleet();
        fleet.set(vec![at(1), at(2)], &[], Spread { concurrency: 2, by_prefix: false });
        let leases: Vec<_> = (0..4).map(|_| fleet.try_lease(&[]).unwrap()).collect();
        let servers: Vec<_> = leases.iter().map(server).collect();
        assert_eq!(servers, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:1", "127.0.0.1:2"]);
        assert!(fleet.try_lease(&[]).is_none());
        let waiting = tokio::spawn({
            let fleet = Arc::clone(&fleet);
            async move { fleet.lease(&[]).await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(fleet.is_wanted(IDLE));
        let mut leases = leases;
        drop(leases.remove(3));
        let lease = waiting.await.unwrap();
        assert_eq!(server(&lease), "127.0.0.1:2");
        assert!(!fleet.is_wanted(IDLE));
    }

    #[tokio::test]
    async fn a_prompt_goes_where_its_beginning_was_unless_that_has_too_much_to_do() {
        let fleet = fleet();
        let spread = Spread { concurrency: 0, by_prefix: true };
        fleet.set(vec![at(1), at(2), at(3)], &[], spread);
        let ask = |prompt: &[u64]| fleet.try_lease(prompt).unwrap();
        let (a, b, c) = (server(&ask(&[1, 2])), server(&ask(&[5, 6])), server(&ask(&[8, 9])));
        assert!(a != b && b != c && a != c, "who was given nothing takes turns: {a} {b} {c}");
        for _ in 0..5 {
            assert_eq!(server(&ask(&[5, 6, 7])), b);
            assert_eq!(server(&ask(&[1, 2, 3, 4])), a);
            assert_eq!(server(&ask(&[8])), c);
        }
        // With the first, this is the third of three requests: no replica has more than its share and a quarter, whole.
        let held: Vec<Lease> = (0..3).map(|_| ask(&[5, 6])).collect();
        let servers: Vec<String> = held.iter().map(server).collect();
        assert_eq!(servers.iter().filter(|one| **one == b).count(), 2, "{servers:?}");
        drop(held);
        // Another took part of the load, and knows the prompt now; the first still does.
        fleet.set(vec![at(1), at(2), at(3)], &[], spread);
        assert_eq!(server(&ask(&[5, 6, 7])), b);
        // A replica that is new has nothing.
        fleet.set(vec![at(4)], &[], spread);
        fleet.set(vec![at(1), at(4)], &[], spread);
        let first = server(&ask(&[1, 2]));
        assert_eq!(server(&ask(&[1, 2])), first);
        // What is no prompt goes to who has least to do.
        let held = ask(&[1, 2]);
        assert_ne!(server(&ask(&[])), server(&held));
    }

    #[tokio::test]
    async fn a_request_that_did_without_a_replica_wants_one_for_the_next() {
        let wanted = Arc::new(Notify::new());
        let fleet = Fleet::new(Arc::clone(&wanted));
        (0..3).for_each(|_| fleet.miss());
        tokio::time::timeout(Duration::from_secs(5), wanted.notified()).await.unwrap();
        assert!(fleet.is_wanted(IDLE));
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(
            !fleet.is_wanted(Duration::from_millis(1)),
            "nobody asked since: whether it can start or not, it is idle"
        );
        let load = fleet.load();
        assert_eq!((load.requests, load.concurrency), (3, 0.0), "nobody waits");
        fleet.set(vec![at(7)], &[], Spread::default());
        assert!(!fleet.is_wanted(IDLE));
        assert_eq!(fleet.load().requests, 1, "it is not idle yet");
        fleet.miss();
        assert!(!fleet.is_wanted(IDLE), "one that is busy is there");
    }

    #[tokio::test]
    async fn who_waits_for_the_first_replica_gets_it_and_is_counted() {
        let wanted = Arc::new(Notify::new());
        let fleet = Fleet::new(Arc::clone(&wanted));
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let fleet = Arc::clone(&fleet);
                tokio::spawn(async move { server(&fleet.lease(&[]).await.unwrap()) })
            })
            .collect();
        wanted.notified().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        fleet.set(vec![at(7)], &[], Spread::default());
        for one in waiting {
            assert_eq!(one.await.unwrap(), "127.0.0.1:7");
        }
        let load = fleet.load();
        assert_eq!(load.requests, 50);
        assert!(load.concurrency > 1.0, "{load:?}");
        assert_eq!(fleet.load().requests, 0);
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_leaves_nothing() {
        let fleet = fleet();
        let gone = tokio::time::timeout(Duration::from_millis(10), fleet.lease(&[])).await;
        assert!(gone.is_err() && !fleet.is_wanted(IDLE));
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_left_alone_until_it_takes_connections() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let fleet = fleet();
        fleet.set(vec![at(port)], &[], Spread::default());
        let taken = fleet.try_lease(&[]).unwrap();
        taken.gone();
        drop(taken);
        assert!(fleet.try_lease(&[]).is_none());
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(fleet.try_lease(&[]).is_none());
        let _listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let back = tokio::time::timeout(Duration::from_secs(5), fleet.lease(&[])).await;
        assert!(back.is_ok());
    }
}
