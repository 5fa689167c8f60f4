//! The one thread that writes: it drains the queue, commits what it found in one transaction, publishes, and answers.
//!
//! Under load the queue fills while the disk syncs, so batches grow by themselves and no timer is needed. It must never
//! answer a write before the commit returned, nor publish one that failed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::log::{Log, LogError, Row};
use super::object::{Key, Stored};
use super::state::{Event, EventKind};
use super::{Change, Shared, WriteError};

/// Writes in one transaction at most.
const BATCH: usize = 512;
/// Revisions kept at most, whatever their age.
const REVISIONS: u64 = 50_000;
/// Revisions dropped in one transaction, so that a compaction never holds writers up for long.
const COMPACTION_STEP: u64 = 2_000;

pub(super) type Answer = oneshot::Sender<Result<Arc<Stored>, WriteError>>;

/// What the thread is asked to do.
pub(super) enum Command {
    Write { key: Key, change: Change, answer: Answer },
    Compact { keep: Duration },
}

pub(super) fn start(
    log: Log,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
) -> Result<(), LogError> {
    let revision = shared.read().revision();
    let compacted = log.compacted().map_err(|source| LogError::Database {
        doing: "reading the compaction of",
        path: std::path::PathBuf::from("the store"),
        source,
    })?;
    let writer = Writer { log, shared, revision, compacted, marks: VecDeque::new() };
    std::thread::Builder::new()
        .name("purlin-store".into())
        .stack_size(512 << 10)
        .spawn(move || writer.run(commands))
        .map(drop)
        .map_err(LogError::Thread)
}

struct Writer {
    log: Log,
    shared: Arc<Shared>,
    /// The last revision given out.
    revision: u64,
    compacted: u64,
    /// Which revision was the newest when, so that history can be kept by age.
    marks: VecDeque<(Instant, u64)>,
}

/// Writes decided on but not yet committed.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    latest: HashMap<Key, Option<Arc<Stored>>>,
    answers: Vec<(Answer, Result<Arc<Stored>, WriteError>)>,
}

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            let mut batch = Batch::default();
            let mut compact = None;
            let mut next = Some(command);
            while let Some(command) = next {
                match command {
                    Command::Write { key, change, answer } => {
                        let outcome = self.decide(&mut batch, key, change);
                        batch.answers.push((answer, outcome));
                    }
                    Command::Compact { keep } => compact = Some(keep),
                }
                next = if batch.answers.len() < BATCH { commands.try_recv().ok() } else { None };
            }
            self.commit(batch);
            if let Some(keep) = compact {
                self.compact(keep);
            }
        }
    }

    fn current(&self, batch: &Batch, key: &Key) -> Option<Arc<Stored>> {
        match batch.latest.get(key) {
            Some(latest) => latest.clone(),
            None => self.shared.read().get(&key.resource, &key.namespace, &key.name),
        }
    }

    fn decide(&mut self, batch: &mut Batch, key: Key, change: Change) -> Result<Arc<Stored>, WriteError> {
        let previous = self.current(batch, &key);
        let revision = self.revision + 1;
        let check = |expected: u64| match &previous {
            None => Err(WriteError::Missing),
            Some(current) if current.revision != expected => Err(WriteError::Changed),
            Some(current) => Ok(current.clone()),
        };
        let event = match change {
            Change::Create(draft) => {
                if previous.is_some() {
                    return Err(WriteError::Exists);
                }
                let object = Arc::new(draft.at_revision(key, revision));
                Event { kind: EventKind::Added, object, previous: None }
            }
            Change::Replace { expected, draft } => {
                let current = check(expected)?;
                let object = Arc::new(draft.at_revision(key, revision));
                Event { kind: EventKind::Modified, object, previous: Some(current) }
            }
            Change::Remove { expected } => {
                let current = check(expected)?;
                let object = Arc::new(current.moved_to(revision));
                Event { kind: EventKind::Deleted, object, previous: Some(current) }
            }
        };
        self.revision = revision;
        let object = event.object.clone();
        let left = (event.kind != EventKind::Deleted).then(|| object.clone());
        batch.latest.insert(object.key.clone(), left);
        batch.events.push(event);
        Ok(object)
    }

    fn commit(&mut self, batch: Batch) {
        let Batch { events, answers, .. } = batch;
        if !events.is_empty() {
            if let Err(error) = self.log.append(events.iter().map(|event| Row { event })) {
                tracing::error!(%error, writes = events.len(), "committing to the store failed");
                // The revisions given out were never stored; the next batch may use them.
                self.revision = self.shared.read().revision();
                let error = Arc::new(error);
                for (answer, outcome) in answers {
                    let outcome = outcome.and(Err(WriteError::Database(error.clone())));
                    // A caller that went away needs no answer.
                    let _ = answer.send(outcome);
                }
                return;
            }
            let counters = &self.shared.counters;
            counters.commits.fetch_add(1, Ordering::Relaxed);
            counters.writes.fetch_add(events.len() as u64, Ordering::Relaxed);
            self.publish(events);
        }
        for (answer, outcome) in answers {
            let _ = answer.send(outcome);
        }
    }

    fn publish(&self, events: Vec<Event>) {
        let mut touched: Vec<Arc<str>> = Vec::new();
        let mut state = self.shared.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        for event in events {
            if !touched.contains(&event.object.key.resource) {
                touched.push(event.object.key.resource.clone());
            }
            state.apply(event);
        }
        state.announce(touched.iter());
        let collectable = state.has_collectable();
        drop(state);
        if collectable {
            self.shared.collect.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn compact(&mut self, keep: Duration) {
        let now = Instant::now();
        let mut through = self.revision.saturating_sub(REVISIONS);
        while let Some((at, revision)) = self.marks.front().copied() {
            if now.duration_since(at) < keep {
                break;
            }
            through = through.max(revision);
            self.marks.pop_front();
        }
        self.marks.push_back((now, self.revision));
        while self.compacted < through {
            let step = through.min(self.compacted + COMPACTION_STEP);
            if let Err(error) = self.log.compact(self.compacted, step, self.revision) {
                tracing::warn!(%error, "dropping old revisions failed; it is tried again later");
                return;
            }
            self.compacted = step;
            let mut state = self.shared.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            state.forget(step);
        }
    }
}
