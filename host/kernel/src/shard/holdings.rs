//! What this replica has now, and until when it may rely on it.
//!
//! The election writes it, loops and the fence read it. Time is this process' monotonic clock: no two machines' clocks
//! are ever compared.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{Domain, Shards};

/// The parts that this replica has. Cheap to clone; every clone sees the same.
///
/// # Guarantees
/// - A permit is given only while the part is held and open, and says so when it no longer is.
/// - A part that is given up in order is free of permits before [`Holdings::is_drained`] says so.
#[derive(Clone, Debug)]
pub struct Holdings {
    shards: Shards,
    /// None where there is one replica and it has everything.
    state: Option<Arc<State>>,
}

#[derive(Debug)]
struct State {
    held: Mutex<BTreeMap<Domain, Held>>,
    /// Until when this replica is among the others. Nothing is held beyond that.
    live: Mutex<Option<Instant>>,
    /// By open part, the number of its term: a part that is lost and had again has another.
    terms: watch::Sender<BTreeMap<Domain, u64>>,
    /// Told when a part was got and waits to be opened.
    taken: Notify,
    /// Whether this process fell behind: it lost a part without having given it up.
    behind: AtomicBool,
    last_term: AtomicU64,
    /// Told when the last permit of a part that is being given up is dropped.
    drained: Notify,
}

#[derive(Debug)]
struct Held {
    term: u64,
    until: Instant,
    phase: Phase,
    lost: CancellationToken,
    permits: Arc<AtomicUsize>,
}

/// Where a part is between being got and being given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Got, and not worked on before the cache is known to be up to date.
    Closed,
    /// Worked on.
    Open,
    /// Attempts in progress finish, and no other begins.
    Draining,
}

/// Leave to work on one part, for one attempt.
#[derive(Debug)]
pub struct Permit {
    lost: CancellationToken,
    counted: Option<(Arc<AtomicUsize>, Arc<State>)>,
}

impl Holdings {
    /// Those of the only replica: everything, for ever.
    pub fn everything() -> Self {
        Holdings { shards: Shards::ONE, state: None }
    }

    /// Those of a replica among others: nothing yet.
    pub fn nothing(shards: Shards) -> Self {
        let state = State {
            held: Mutex::default(),
            live: Mutex::default(),
            terms: watch::Sender::new(BTreeMap::new()),
            taken: Notify::new(),
            behind: AtomicBool::new(false),
            last_term: AtomicU64::new(0),
            drained: Notify::new(),
        };
        Holdings { shards, state: Some(Arc::new(state)) }
    }

    /// How namespaces are split.
    pub fn shards(&self) -> Shards {
        self.shards
    }

    /// Whether there may be other replicas.
    pub fn is_shared(&self) -> bool {
        self.state.is_some()
    }

    /// Whether this replica may write in a part at this moment.
    pub fn holds(&self, domain: Domain) -> bool {
        match &self.state {
            None => true,
            Some(state) => state.is_live() && state.lock().get(&domain).is_some_and(Held::is_valid),
        }
    }

    /// Whether this replica may write in a namespace at this moment.
    pub fn holds_namespace(&self, namespace: &str) -> bool {
        self.holds(self.shards.domain(Some(namespace)))
    }

    /// Leave to begin an attempt in a part; none where another replica has it or it is being given up.
    pub fn permit(&self, domain: Domain) -> Option<Permit> {
        let Some(state) = &self.state else {
            return Some(Permit { lost: CancellationToken::new(), counted: None });
        };
        let held = state.lock();
        let open = |part: &&Held| part.is_valid() && part.phase == Phase::Open;
        let part = held.get(&domain).filter(|_| state.is_live()).filter(open)?;
        // Counted under the lock: whoever begins to drain after this sees it.
        part.permits.fetch_add(1, Ordering::AcqRel);
        Some(Permit { lost: part.lost.clone(), counted: Some((part.permits.clone(), state.clone())) })
    }

    /// Follows which parts are open, each with the number of its term.
    pub fn terms(&self) -> Option<watch::Receiver<BTreeMap<Domain, u64>>> {
        self.state.as_ref().map(|state| state.terms.subscribe())
    }

    /// Opens the parts that were got, now and from now on, until `stop`. `refresh` brings the cache up to date: it is
    /// called first where this process fell behind, because what it last saw may be older than what the holder in
    /// between did.
    pub(crate) async fn open_parts<F: Future<Output = ()> + Send>(
        &self,
        refresh: impl Fn() -> F + Send,
        stop: CancellationToken,
    ) {
        let Some(state) = &self.state else { return };
        loop {
            let taken = state.taken.notified();
            let closed: Vec<_> = {
                let held = state.lock();
                let closed = held.iter().filter(|(_, part)| part.phase == Phase::Closed);
                closed.map(|(domain, part)| (*domain, part.term)).collect()
            };
            if !closed.is_empty() {
                if state.behind.swap(false, Ordering::AcqRel) {
                    tokio::select! {
                        () = refresh() => {}
                        () = stop.cancelled() => return,
                    }
                }
                state.open(&closed);
            }
            tokio::select! {
                () = taken => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// This replica is among the others until then.
    pub(super) fn live(&self, until: Instant) {
        if let Some(state) = &self.state {
            *state.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
    }

    /// A part was got, and may be relied on until then. It waits to be opened.
    pub(super) fn take(&self, domain: Domain, until: Instant) {
        let Some(state) = &self.state else { return };
        let part = Held {
            term: state.last_term.fetch_add(1, Ordering::AcqRel),
            until,
            phase: Phase::Closed,
            lost: CancellationToken::new(),
            permits: Arc::default(),
        };
        if let Some(before) = state.lock().insert(domain, part) {
            before.lost.cancel();
        }
        state.taken.notify_one();
    }

    /// A part may be relied on for longer.
    pub(super) fn extend(&self, domain: Domain, until: Instant) {
        let Some(state) = &self.state else { return };
        if let Some(part) = state.lock().get_mut(&domain) {
            part.until = part.until.max(until);
        }
    }

    /// A part is held by somebody else, or may be. Attempts in it end where they are.
    pub(super) fn lose(&self, domain: Domain) {
        let Some(state) = &self.state else { return };
        state.behind.store(true, Ordering::Release);
        self.release(domain);
    }

    /// A part was given up in order.
    pub(super) fn release(&self, domain: Domain) {
        let Some(state) = &self.state else { return };
        let mut held = state.lock();
        if let Some(part) = held.remove(&domain) {
            part.lost.cancel();
            state.publish(&held);
        }
    }

    /// A part is to be given up: attempts in it finish, and no other begins.
    pub(super) fn drain(&self, domain: Domain) {
        let Some(state) = &self.state else { return };
        if let Some(part) = state.lock().get_mut(&domain) {
            part.phase = Phase::Draining;
        }
    }

    /// Whether no attempt is in progress in a part that is being given up.
    pub(super) fn is_drained(&self, domain: Domain) -> bool {
        let Some(state) = &self.state else { return true };
        let held = state.lock();
        held.get(&domain)
            .is_none_or(|part| part.phase == Phase::Draining && part.permits.load(Ordering::Acquire) == 0)
    }

    /// Waits for the last attempt in some part that is being given up.
    pub(super) async fn drained(&self) {
        match &self.state {
            Some(state) => state.drained.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Domain, Held>> {
        // Nothing under this lock can leave it half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_live(&self) -> bool {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.is_some_and(|until| Instant::now() < until)
    }

    fn open(&self, parts: &[(Domain, u64)]) {
        let mut held = self.lock();
        for (domain, term) in parts {
            if let Some(part) = held.get_mut(domain).filter(|part| part.term == *term)
                && part.phase == Phase::Closed
            {
                part.phase = Phase::Open;
            }
        }
        self.publish(&held);
    }

    fn publish(&self, held: &BTreeMap<Domain, Held>) {
        let open = held.iter().filter(|(_, part)| part.phase != Phase::Closed);
        self.terms.send_replace(open.map(|(domain, part)| (*domain, part.term)).collect());
    }
}

impl Held {
    fn is_valid(&self) -> bool {
        !self.lost.is_cancelled() && Instant::now() < self.until
    }
}

impl Permit {
    /// Ends when the part is lost.
    pub fn lost(&self) -> WaitForCancellationFuture<'_> {
        self.lost.cancelled()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((permits, state)) = &self.counted
            && permits.fetch_sub(1, Ordering::AcqRel) == 1
        {
            state.drained.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    const PART: Domain = Domain::Shard(0);

    fn holdings() -> Holdings {
        Holdings::nothing(Shards::new(NonZeroU32::MIN))
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(4)
    }

    fn take(holdings: &Holdings) {
        holdings.live(Instant::now() + Duration::from_secs(60));
        holdings.take(PART, far());
        let state = holdings.state.as_ref().unwrap();
        let closed = [(PART, state.lock()[&PART].term)];
        state.open(&closed);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_renewed_ends_by_itself() {
        let holdings = holdings();
        assert!(holdings.permit(PART).is_none());
        take(&holdings);
        assert!(holdings.permit(PART).is_some());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(!holdings.holds(PART) && holdings.permit(PART).is_none());
        holdings.extend(PART, far());
        assert!(holdings.holds(PART));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_learns_of_the_loss() {
        let holdings = holdings();
        take(&holdings);
        let permit = holdings.permit(PART).unwrap();
        holdings.lose(PART);
        permit.lost().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_is_drained_when_its_attempts_are_done() {
        let holdings = holdings();
        take(&holdings);
        let permit = holdings.permit(PART).unwrap();
        holdings.drain(PART);
        assert!(holdings.permit(PART).is_none() && !holdings.is_drained(PART));
        assert!(holdings.holds(PART), "an attempt in progress may still write");
        drop(permit);
        holdings.drained().await;
        assert!(holdings.is_drained(PART));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_fell_behind_catches_up_before_working() {
        let holdings = holdings();
        let stop = CancellationToken::new();
        let refreshed = Arc::new(AtomicUsize::new(0));
        let (opening, count, end) = (holdings.clone(), refreshed.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let refresh = || {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            };
            opening.open_parts(refresh, end).await;
        });
        let mut terms = holdings.terms().unwrap();
        holdings.take(PART, far());
        let first = terms.wait_for(|open| open.contains_key(&PART)).await.unwrap()[&PART];
        assert_eq!(refreshed.load(Ordering::Relaxed), 0);
        holdings.lose(PART);
        holdings.take(PART, far());
        terms.wait_for(|open| open.get(&PART).is_some_and(|term| *term > first)).await.unwrap();
        assert_eq!(refreshed.load(Ordering::Relaxed), 1);
        stop.cancel();
        task.await.unwrap();
    }
}
