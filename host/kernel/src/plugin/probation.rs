//! Whether a version that took the place of another keeps the calls that the other answered. While it is new, calls that
//! end badly one after the other bring the one before it back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use purlin_sandbox::CallError;

use super::Installed;
use crate::key::ObjectKey;
use crate::queue::WorkQueue;

/// How long a version is new.
const NEW: Duration = Duration::from_secs(600);

/// Calls in a row that may end badly.
const ALLOWED: u32 = 2;

/// Counts, for each function, calls that ended badly since the last that did not, and has the plugin looked at when they
/// are too many.
pub(crate) struct Alarm {
    key: ObjectKey,
    queue: Arc<WorkQueue<ObjectKey>>,
    failures: Mutex<HashMap<&'static str, u32>>,
}

impl Alarm {
    /// For the plugin with this key.
    pub(super) fn new(key: ObjectKey, queue: Arc<WorkQueue<ObjectKey>>) -> Self {
        Alarm { key, queue, failures: Mutex::default() }
    }

    /// Takes note of a call. Faults that the contract has words for are answers.
    pub(super) async fn note<T>(&self, function: &'static str, answer: &Result<T, CallError>) {
        let broken = answer.as_ref().is_err_and(is_broken);
        let rings = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(function).or_default();
            *count = if broken { *count + 1 } else { 0 };
            *count == ALLOWED + 1
        };
        if rings {
            self.queue.add(self.key.clone()).await;
        }
    }

    /// Whether too many calls in a row ended badly.
    pub(super) fn rings(&self) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.values().any(|count| *count > ALLOWED)
    }
}

fn is_broken(error: &CallError) -> bool {
    match error {
        CallError::Trap { .. }
        | CallError::DeadlineExceeded(_)
        | CallError::MemoryExceeded { .. }
        | CallError::OutputTooLarge { .. }
        | CallError::Denied(_)
        | CallError::Malformed(_)
        | CallError::NoSuchStage(_) => true,
        CallError::Fault(_) | CallError::QuotaExceeded { .. } | CallError::Busy(_) | CallError::Host(_) => {
            false
        }
    }
}

/// What was there before a version that is new.
pub(super) struct Before {
    /// The version before.
    pub plugin: Installed,
    since: Instant,
}

impl Before {
    /// The version that was just replaced.
    pub(super) fn new(plugin: Installed) -> Self {
        Before { plugin, since: Instant::now() }
    }

    /// Whether it may still come back.
    pub(super) fn is_kept(&self) -> bool {
        self.since.elapsed() < NEW
    }
}
