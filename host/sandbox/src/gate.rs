//! Who may run now, and who waits: a plugin's own places, and those that all plugins share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::error::CallError;

/// Calls of one plugin that may wait for a place, for each that may run.
const WAITING: usize = 16;

/// One plugin's places, and how many calls may wait for one.
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    size: usize,
}

impl Gate {
    pub(crate) fn new(size: usize) -> Gate {
        let size = size.clamp(1, Semaphore::MAX_PERMITS / WAITING);
        Gate {
            places: Arc::new(Semaphore::new(size)),
            waiting: Arc::new(Semaphore::new(size * WAITING)),
            size,
        }
    }

    pub(crate) async fn enter(&self, until: Instant) -> Result<OwnedSemaphorePermit, CallError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let busy = || CallError::Busy(self.size);
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout_at(until.into(), place).await {
            Ok(Ok(place)) => Ok(place),
            // The semaphore is never closed, so the only other way out is that time ran out.
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }
}

/// Places that plugins share. Each may hold as many as are still free, so however many calls some plugins make and
/// however long these take, the others find a place: of N places, P greedy plugins leave N/(P+1).
///
/// Source: A. K. Choudhury and E. L. Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998, with
/// a factor of one.
pub(crate) struct Shared {
    free: Mutex<usize>,
    freed: Notify,
    size: usize,
}

/// How many of the shared places a plugin holds.
pub(crate) type Held = Arc<AtomicUsize>;

/// A plugin's part of both kinds of shared places.
#[derive(Default)]
pub(crate) struct HeldPlaces {
    /// Of those for calls by the kernel.
    pub(crate) outer: Held,
    /// Of those for calls between plugins.
    pub(crate) nested: Held,
}

impl Shared {
    pub(crate) fn new(size: usize) -> Arc<Shared> {
        let size = size.max(1);
        Arc::new(Shared { free: Mutex::new(size), freed: Notify::new(), size })
    }

    /// Takes a place, or waits for one. Who waits holds a place of its plugin's, which bounds how many there are.
    pub(crate) async fn enter(self: &Arc<Self>, held: &Held, until: Instant) -> Result<Place, CallError> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on nothing that is freed is missed.
            freed.as_mut().enable();
            if let Some(place) = self.try_enter(held) {
                return Ok(place);
            }
            if tokio::time::timeout_at(until.into(), freed).await.is_err() {
                let why = format!("as many of its {} places are taken as this plugin may have", self.size);
                return Err(CallError::Host(why));
            }
        }
    }

    fn try_enter(self: &Arc<Self>, held: &Held) -> Option<Place> {
        // The lock orders the counts: the plugin's is changed with it held only.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if held.load(Ordering::Relaxed) >= *free {
            return None;
        }
        *free -= 1;
        held.fetch_add(1, Ordering::Relaxed);
        Some(Place { shared: Arc::clone(self), held: Arc::clone(held) })
    }
}

/// A place that is held; dropping it gives it back.
pub(crate) struct Place {
    shared: Arc<Shared>,
    held: Held,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut free = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free += 1;
        self.held.fetch_sub(1, Ordering::Relaxed);
        drop(free);
        self.shared.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn greedy_plugins_leave_places_to_others() {
        let shared = Shared::new(64);
        let greedy: Vec<Held> = (0..7).map(|_| Held::default()).collect();
        let mut places = Vec::new();
        // Each takes all that it gets, in turn, until none gets any more.
        loop {
            let more: Vec<_> = greedy.iter().filter_map(|held| shared.try_enter(held)).collect();
            if more.is_empty() {
                break;
            }
            places.extend(more);
        }
        assert_eq!(places.len(), 56);
        let other = Held::default();
        let place = shared.try_enter(&other).expect("an eighth is left");
        assert_eq!(other.load(Ordering::Relaxed), 1);
        drop((place, places));
        assert_eq!(*shared.free.lock().expect("lock"), 64);
        assert!(greedy.iter().all(|held| held.load(Ordering::Relaxed) == 0));
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_freed_and_is_told_when_nothing_is() {
        let shared = Shared::new(2);
        let (one, other) = (Held::default(), Held::default());
        let soon = || Instant::now() + Duration::from_millis(30);
        let first = shared.enter(&one, soon()).await.expect("a place");
        let full = shared.enter(&one, soon()).await.err();
        assert!(matches!(full, Some(CallError::Host(_))), "it has as many as are left");
        let second = shared.enter(&other, soon()).await.expect("a place for somebody else");
        let waiting = tokio::spawn({
            let (shared, one) = (Arc::clone(&shared), Arc::clone(&one));
            async move { shared.enter(&one, Instant::now() + Duration::from_secs(10)).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop((first, second));
        assert!(waiting.await.expect("join"));
    }
}
