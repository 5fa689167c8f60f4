//! Threads that compute for callers who must not be blocked. A computation that is too long for the caller's thread
//! waits here in a bounded queue; one whose caller went away before it began is left out.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::NnError;

/// A computation that waits, and whether its caller has gone away.
struct Job {
    run: Box<dyn FnOnce() + Send>,
    gone: Arc<AtomicBool>,
}

/// Says, when it is dropped, that a caller has gone away.
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A fixed number of threads and their queue. Dropping it ends the threads once they are idle.
pub(crate) struct Crew {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads: usize,
    limit: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    started: usize,
    idle: usize,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crew {
    /// Up to so many threads, begun as they are needed, and so many computations that wait at most.
    pub(crate) fn new(threads: usize, limit: usize) -> Crew {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), threads: threads.max(1), limit };
        Crew { shared: Arc::new(shared) }
    }

    /// Runs on one of the threads. Dropping the future before the work began takes it out of the queue's work.
    ///
    /// # Errors
    /// [`NnError::Overloaded`] at once, where the queue is full.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, NnError> + Send + 'static,
    ) -> Result<T, NnError> {
        self.run_within(self.shared.limit, work).await
    }

    /// [`Crew::run`], but never refused: for the next step of something that was let in.
    pub(crate) async fn run_admitted<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, NnError> + Send + 'static,
    ) -> Result<T, NnError> {
        self.run_within(usize::MAX, work).await
    }

    async fn run_within<T: Send + 'static>(
        &self,
        limit: usize,
        work: impl FnOnce() -> Result<T, NnError> + Send + 'static,
    ) -> Result<T, NnError> {
        let (answer, answered) = oneshot::channel();
        let caller = Caller(Arc::default());
        let run = Box::new(move || {
            if !answer.is_closed() {
                // Nobody listens any more if this fails.
                let _ = answer.send(work());
            }
        });
        self.enqueue(Job { run, gone: caller.0.clone() }, limit)?;
        let gone = |_| NnError::Failed("its thread ended before it was done".to_owned());
        answered.await.map_err(gone)?
    }

    fn enqueue(&self, job: Job, limit: usize) -> Result<(), NnError> {
        let mut state = self.shared.state();
        if state.queue.len() >= limit {
            // Whoever has gone away takes nobody's place.
            state.queue.retain(|job| !job.gone.load(Ordering::Relaxed));
        }
        let free = state.idle > state.queue.len() || state.started < self.shared.threads;
        if !free && state.queue.len() >= limit {
            return Err(NnError::Overloaded { waiting: state.queue.len() });
        }
        state.queue.push_back(job);
        if state.idle < state.queue.len() && state.started < self.shared.threads {
            let shared = self.shared.clone();
            let name = format!("purlin-nn-{}", state.started);
            match std::thread::Builder::new().name(name).spawn(move || work_off(&shared)) {
                Ok(_) => state.started += 1,
                Err(error) if state.started == 0 => {
                    state.queue.pop_back();
                    return Err(NnError::Failed(format!("no thread could be started: {error}")));
                }
                Err(error) => {
                    tracing::warn!(%error, started = state.started, "no further thread could be started")
                }
            }
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.work.notify_all();
    }
}

fn work_off(shared: &Shared) {
    loop {
        let mut state = shared.state();
        let job = loop {
            match state.queue.pop_front() {
                Some(job) => break job,
                None if state.closed => return,
                None => {
                    state.idle += 1;
                    state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        };
        drop(state);
        // The backends catch their libraries' panics; this is for what is left, so that no thread is lost.
        if catch_unwind(AssertUnwindSafe(job.run)).is_err() {
            tracing::error!("a computation panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::Crew;
    use crate::error::NnError;

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_cancelled_computation_is_left_out() {
        let crew = Arc::new(Crew::new(1, 1));
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let crew = crew.clone();
            async move {
                let work = move || {
                    let _ = began.send(());
                    let _ = held.recv();
                    Ok(1)
                };
                crew.run(work).await
            }
        });
        begun.await.unwrap();

        let ran = Arc::new(AtomicUsize::new(0));
        let count = |ran: &Arc<AtomicUsize>| {
            let ran = ran.clone();
            move || Ok(ran.fetch_add(1, Ordering::SeqCst))
        };
        let mut second = Box::pin(crew.run(count(&ran)));
        assert!(futures::poll!(&mut second).is_pending());
        let refused = crew.run(count(&ran)).await;
        assert!(matches!(refused, Err(NnError::Overloaded { waiting: 1 })), "{refused:?}");

        drop(second);
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        assert_eq!(crew.run(|| Ok(2)).await.unwrap(), 2);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_panic_costs_the_one_computation() {
        let crew = Crew::new(1, 1);
        let failed = crew.run(|| -> Result<(), NnError> { panic!("on purpose") }).await;
        assert!(matches!(failed, Err(NnError::Failed(_))), "{failed:?}");
        assert_eq!(crew.run(|| Ok(3)).await.unwrap(), 3);
    }
}
