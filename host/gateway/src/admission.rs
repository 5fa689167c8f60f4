//! How many requests a model has at once, and how many wait for it. What is beyond both is sent away at once: a client that
//! hears of it early can go elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use purlin_nn::InferError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use crate::failure::{Failure, RETRY_AFTER};

/// The places of a model.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    concurrency: usize,
    waiting: AtomicUsize,
    queue: usize,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// So many at once, and so many more that wait.
    pub(crate) fn new(concurrency: usize, queue: usize) -> Admission {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Admission {
            places: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            waiting: AtomicUsize::new(0),
            queue,
        }
    }

    /// A place, if need be after waiting for one.
    pub(crate) async fn enter(&self, deadline: Instant, limit: Duration) -> Result<Place, Failure> {
        match self.places.clone().try_acquire_owned() {
            Ok(permit) => return Ok(Place(permit)),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(Failure::unavailable("the model is going away")),
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue {
            let reason = format!(
                "the model has {} at once and {} that wait, which is all it takes",
                self.concurrency, self.queue
            );
            return Err(InferError::Overloaded { reason, retry_after: RETRY_AFTER }.into());
        }
        match tokio::time::timeout_at(deadline, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            Ok(Err(_)) => Err(Failure::unavailable("the model is going away")),
            Err(_) => Err(Failure::deadline(limit)),
        }
    }

    /// Requests that have a place.
    pub(crate) fn in_flight(&self) -> usize {
        self.concurrency - self.places.available_permits()
    }

    /// Requests that wait for one.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::StatusCode;
    use tokio::time::Instant;

    use super::Admission;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn more_than_the_queue_holds_is_sent_away_at_once() {
        let admission = Arc::new(Admission::new(1, 1));
        let deadline = Instant::now() + LIMIT;
        let first = admission.enter(deadline, LIMIT).await.unwrap();
        let waits = admission.clone();
        let second = tokio::spawn(async move { waits.enter(deadline, LIMIT).await.map(drop) });
        tokio::task::yield_now().await;
        assert_eq!((admission.in_flight(), admission.waiting()), (1, 1));
        let refused = admission.enter(deadline, LIMIT).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.retry_after.is_some());
        drop(first);
        second.await.unwrap().unwrap();
        assert_eq!((admission.in_flight(), admission.waiting()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_the_deadline() {
        let admission = Admission::new(1, 1);
        let _first = admission.enter(Instant::now() + LIMIT, LIMIT).await.unwrap();
        let late = admission.enter(Instant::now() + LIMIT, LIMIT).await.unwrap_err();
        assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(admission.waiting(), 0);
    }
}
