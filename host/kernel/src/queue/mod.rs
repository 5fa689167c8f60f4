//! The queue between watches and reconcilers: keys, each at most once, each with at most one worker.
//!
//! Watches add keys; workers take them with [`WorkQueue::pop`], work, and say how it went with [`Lease::finish`]. A key
//! that is added while a worker has it is handed out again when the worker is done, so no change is missed. The queue
//! never holds objects: a worker looks up the newest state of its key.
//!
//! # Guarantees
//! - A key is leased to one worker at a time.
//! - After an `add`, the key is leased at least once to a worker that starts later.
//! - A lease that is dropped unfinished (a panic, a cancelled task) counts as a failure: the key comes back.
//!
//! # Bounds
//! At most `capacity` keys are known; [`WorkQueue::add`] waits for room. That slows a watch down instead of filling
//! memory or losing a key.

mod backoff;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use backoff::Backoff;

use crate::observe::QueueMetrics;

/// How a worker's attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more to do until the key is added again.
    Done,
    /// Well, and to be looked at again after this long at the latest.
    After(Duration),
    /// Failed: come back after the key's own backoff.
    Retry,
}

/// A bounded, deduplicating queue of keys.
#[derive(Debug)]
pub struct WorkQueue<K> {
    state: Mutex<State<K>>,
    /// Told when a key became ready, an earlier deadline was set, or the queue shut down.
    ready: Notify,
    /// Told when a key left the queue.
    room: Notify,
    /// Told when the queue shut down.
    ended: Notify,
    capacity: usize,
    backoff: Backoff,
    metrics: QueueMetrics,
}

#[derive(Debug)]
struct State<K> {
    slots: HashMap<K, Slot>,
    ready: VecDeque<K>,
    delayed: BTreeMap<(Instant, u64), K>,
    sequence: u64,
    shutdown: bool,
}

#[derive(Debug)]
struct Slot {
    phase: Phase,
    attempts: u32,
}

#[derive(Debug)]
enum Phase {
    Ready { since: Instant },
    Delayed { at: Instant, sequence: u64 },
    Working { dirty: bool },
}

/// A key that a worker has. No other worker gets it until this is finished or dropped.
#[derive(Debug)]
pub struct Lease<K: Clone + Eq + Hash> {
    queue: Arc<WorkQueue<K>>,
    key: K,
    attempt: u32,
    started: Instant,
    finished: bool,
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// An empty queue.
    pub fn new(capacity: usize, backoff: Backoff, metrics: QueueMetrics) -> Arc<Self> {
        Arc::new(WorkQueue {
            state: Mutex::new(State {
                slots: HashMap::new(),
                ready: VecDeque::new(),
                delayed: BTreeMap::new(),
                sequence: 0,
                shutdown: false,
            }),
            ready: Notify::new(),
            room: Notify::new(),
            ended: Notify::new(),
            capacity: capacity.max(1),
            backoff,
            metrics,
        })
    }

    /// Makes a key ready now, waiting for room if the queue is full of others. A no-op after shutdown.
    pub async fn add(&self, key: K) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.lock();
                if state.shutdown {
                    return;
                }
                if state.slots.len() < self.capacity || state.slots.contains_key(&key) {
                    self.add_locked(&mut state, key);
                    return;
                }
            }
            room.await;
        }
    }

    /// The next key, when there is one. `None` after shutdown.
    pub async fn pop(self: &Arc<Self>) -> Option<Lease<K>> {
        loop {
            let ready = self.ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            let deadline = {
                let mut state = self.lock();
                if state.shutdown {
                    return None;
                }
                let now = Instant::now();
                self.promote(&mut state, now);
                if let Some(key) = state.ready.pop_front() {
                    let more = !state.ready.is_empty();
                    let attempt = self.start(&mut state, &key, now);
                    drop(state);
                    if more {
                        self.ready.notify_one();
                    }
                    return Some(Lease { queue: self.clone(), key, attempt, started: now, finished: false });
                }
                state.delayed.first_key_value().map(|((at, _), _)| *at)
            };
            match deadline {
                Some(at) => {
                    tokio::select! {
                        () = &mut ready => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => ready.await,
            }
        }
    }

    /// Ends every wait; no key is handed out any more.
    pub fn shut_down(&self) {
        self.lock().shutdown = true;
        self.ready.notify_waiters();
        self.room.notify_waiters();
        self.ended.notify_waiters();
    }

    /// Waits for the shutdown.
    pub async fn closed(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.lock().shutdown {
                return;
            }
            ended.await;
        }
    }

    /// Keys that are ready and have no worker.
    pub fn depth(&self) -> usize {
        self.lock().ready.len()
    }

    /// Keys that are ready, waiting or being worked on.
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// Whether the queue knows no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing under this lock can leave the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_locked(&self, state: &mut State<K>, key: K) {
        let now = Instant::now();
        self.metrics.adds.inc();
        match state.slots.get_mut(&key) {
            Some(slot) => match &mut slot.phase {
                Phase::Ready { .. } => {}
                Phase::Working { dirty } => *dirty = true,
                Phase::Delayed { at, sequence } => {
                    let place = (*at, *sequence);
                    slot.phase = Phase::Ready { since: now };
                    state.delayed.remove(&place);
                    self.push_ready(state, key);
                }
            },
            None => {
                state.slots.insert(key.clone(), Slot { phase: Phase::Ready { since: now }, attempts: 0 });
                self.push_ready(state, key);
            }
        }
    }

    fn push_ready(&self, state: &mut State<K>, key: K) {
        state.ready.push_back(key);
        self.metrics.depth.set(state.ready.len() as i64);
        self.ready.notify_one();
    }

    /// Moves the keys whose time has come to the ready list.
    fn promote(&self, state: &mut State<K>, now: Instant) {
        while let Some(entry) = state.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            if let Some(slot) = state.slots.get_mut(&key) {
                slot.phase = Phase::Ready { since: now };
                state.ready.push_back(key);
            }
        }
        self.metrics.depth.set(state.ready.len() as i64);
    }

    fn start(&self, state: &mut State<K>, key: &K, now: Instant) -> u32 {
        self.metrics.depth.set(state.ready.len() as i64);
        match state.slots.get_mut(key) {
            Some(slot) => {
                if let Phase::Ready { since } = slot.phase {
                    self.metrics.latency.observe((now - since).as_secs_f64());
                }
                slot.phase = Phase::Working { dirty: false };
                slot.attempts
            }
            None => 0,
        }
    }

    fn finish(&self, key: &K, verdict: Verdict) {
        let mut state = self.lock();
        let now = Instant::now();
        let sequence = state.sequence;
        state.sequence += 1;
        let Some(slot) = state.slots.get_mut(key) else { return };
        let dirty = matches!(slot.phase, Phase::Working { dirty: true });
        let delay = match verdict {
            Verdict::Done => {
                slot.attempts = 0;
                None
            }
            Verdict::After(delay) => {
                slot.attempts = 0;
                Some(delay)
            }
            Verdict::Retry => {
                let delay = self.backoff.delay(slot.attempts, rand::random_range(0.0..1.0));
                slot.attempts = slot.attempts.saturating_add(1);
                self.metrics.retries.inc();
                Some(delay)
            }
        };
        match (dirty, delay) {
            (true, _) => {
                slot.phase = Phase::Ready { since: now };
                self.push_ready(&mut state, key.clone());
            }
            (false, Some(delay)) => {
                let at = now + delay;
                slot.phase = Phase::Delayed { at, sequence };
                state.delayed.insert((at, sequence), key.clone());
                // A sleeping worker may be waiting for a later deadline.
                self.ready.notify_one();
            }
            (false, None) => {
                state.slots.remove(key);
                self.room.notify_one();
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Lease<K> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// How many attempts at this key failed in a row before this one.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Gives the key back.
    pub fn finish(mut self, verdict: Verdict) {
        self.finished = true;
        self.queue.metrics.work.observe(self.started.elapsed().as_secs_f64());
        self.queue.finish(&self.key, verdict);
    }
}

impl<K: Clone + Eq + Hash> Drop for Lease<K> {
    fn drop(&mut self) {
        if !self.finished {
            self.queue.finish(&self.key, Verdict::Retry);
        }
    }
}

#[cfg(test)]
mod tests;
