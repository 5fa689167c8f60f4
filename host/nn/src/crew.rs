//! Threads that compute for callers who must not be blocked. A computation that is too long for the caller's thread
//! waits here in a bounded queue; one whose caller went away before it began is left out.
//!
//! A computation may be wide: its backend spreads it over threads of its own. Wide ones together are never wider than the
//! crew, or each would wait for threads that compute for another; one alone may be as wide as it likes. Narrow ones do not
//! wait for wide ones, nor the other way round, so that a long and wide computation holds up no short one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::NnError;

/// A computation that waits, and whether its caller has gone away.
struct Job {
    run: Box<dyn FnOnce() + Send>,
    width: Box<dyn Fn() -> usize + Send>,
    gone: Arc<AtomicBool>,
}

impl Job {
    /// How many threads a wide one will keep busy, as far as is known now; 0 for a narrow one.
    fn wide(&self) -> usize {
        match (self.width)() {
            // Nothing will be computed.
            _ if self.gone.load(Ordering::Relaxed) => 0,
            0 | 1 => 0,
            width => width,
        }
    }
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
    /// The widths of the wide computations that go on, added up.
    wide: usize,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first in the queue for which there is room, and how wide it is. A wide one that waits is not overtaken by
    /// less wide ones.
    fn next(&self, state: &mut State) -> Option<(Job, usize)> {
        let (mut held, mut wide) = (false, 0);
        let place = state.queue.iter().position(|job| {
            wide = job.wide();
            let room = wide == 0 || !held && (state.wide == 0 || state.wide + wide <= self.threads);
            held |= !room;
            room
        })?;
        let job = state.queue.remove(place)?;
        state.wide += wide;
        Some((job, wide))
    }
}

impl Crew {
    /// Up to so many threads, begun as they are needed, and so many computations that wait at most.
    pub(crate) fn new(threads: usize, limit: usize) -> Crew {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), threads: threads.max(1), limit };
        Crew { shared: Arc::new(shared) }
    }

    /// Runs on one of the threads what keeps `width` of them busy, its own among them; asked again as long as it waits.
    /// Dropping the future before the work began takes it out of the queue's work.
    ///
    /// # Errors
    /// [`NnError::Overloaded`] at once, where the queue is full.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        width: impl Fn() -> usize + Send + 'static,
        work: impl FnOnce() -> Result<T, NnError> + Send + 'static,
    ) -> Result<T, NnError> {
        self.run_within(self.shared.limit, width, work).await
    }

    /// [`Crew::run`] of something narrow, but never refused: for the next step of something that was let in.
    pub(crate) async fn run_admitted<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, NnError> + Send + 'static,
    ) -> Result<T, NnError> {
        self.run_within(usize::MAX, || 1, work).await
    }

    async fn run_within<T: Send + 'static>(
        &self,
        limit: usize,
        width: impl Fn() -> usize + Send + 'static,
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
        self.enqueue(Job { run, width: Box::new(width), gone: caller.0.clone() }, limit)?;
        let gone = |_| NnError::Failed("its thread ended before it was done".to_owned());
        answered.await.map_err(gone)?
    }

    fn enqueue(&self, job: Job, limit: usize) -> Result<(), NnError> {
        let mut state = self.shared.state();
        let crowded = state.queue.len() >= limit;
        let mut full = crowded;
        if crowded {
            // Whoever has gone away takes nobody's place, and who waits for wide ones takes no narrow one's.
            state.queue.retain(|job| !job.gone.load(Ordering::Relaxed));
            let narrow = job.wide() == 0;
            full = state.queue.iter().filter(|other| (other.wide() == 0) == narrow).count() >= limit;
        }
        let mut started = false;
        if state.idle <= state.queue.len() && state.started < self.shared.threads {
            let shared = self.shared.clone();
            let name = format!("purlin-nn-{}", state.started);
            match std::thread::Builder::new().name(name).spawn(move || work_off(&shared)) {
                Ok(_) => {
                    state.started += 1;
                    started = true;
                }
                Err(error) if state.started == 0 => {
                    return Err(NnError::Failed(format!("no thread could be started: {error}")));
                }
                Err(error) => {
                    tracing::warn!(%error, started = state.started, "no further thread could be started")
                }
            }
        }
        if full && !started && state.idle <= state.queue.len() {
            return Err(NnError::Overloaded { waiting: state.queue.len() });
        }
        state.queue.push_back(job);
        drop(state);
        // Those that went away may have held up one that can go on now, for which nobody was woken.
        match crowded {
            true => self.shared.work.notify_all(),
            false => self.shared.work.notify_one(),
        }
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
        let (job, wide) = loop {
            match shared.next(&mut state) {
                Some(next) => break next,
                None if state.closed && state.queue.is_empty() => return,
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
        if wide > 0 {
            shared.state().wide -= wide;
            // Any of those that wait for room may have it now; this thread takes one itself.
            shared.work.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

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
                crew.run(|| 1, work).await
            }
        });
        begun.await.unwrap();

        let ran = Arc::new(AtomicUsize::new(0));
        let count = |ran: &Arc<AtomicUsize>| {
            let ran = ran.clone();
            move || Ok(ran.fetch_add(1, Ordering::SeqCst))
        };
        let mut second = Box::pin(crew.run(|| 1, count(&ran)));
        assert!(futures::poll!(&mut second).is_pending());
        let refused = crew.run(|| 1, count(&ran)).await;
        assert!(matches!(refused, Err(NnError::Overloaded { waiting: 1 })), "{refused:?}");

        drop(second);
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        assert_eq!(crew.run(|| 1, || Ok(2)).await.unwrap(), 2);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn wide_computations_take_turns_and_hold_up_no_narrow_one() {
        let crew = Arc::new(Crew::new(4, 16));
        let start = |width: usize| {
            let (crew, (release, held)) = (crew.clone(), mpsc::channel::<()>());
            let (began, begun) = tokio::sync::oneshot::channel();
            let work = move || {
                let _ = began.send(());
                let _ = held.recv();
                Ok(())
            };
            (tokio::spawn(async move { crew.run(move || width, work).await }), begun, release)
        };
        let patience = Duration::from_millis(50);

        let (first, begun, release_first) = start(3);
        begun.await.unwrap();
        let (second, mut second_begun, release_second) = start(9);
        assert!(tokio::time::timeout(patience, &mut second_begun).await.is_err(), "3 and 9 are more than 4");
        let (third, mut third_begun, release_third) = start(1);
        (&mut third_begun).await.unwrap();
        let (fourth, mut fourth_begun, release_fourth) = start(2);
        assert!(tokio::time::timeout(patience, &mut fourth_begun).await.is_err(), "not before the second");

        release_first.send(()).unwrap();
        first.await.unwrap().unwrap();
        second_begun.await.unwrap();
        assert!(tokio::time::timeout(patience, &mut fourth_begun).await.is_err(), "9 and 2 are more than 4");
        release_second.send(()).unwrap();
        second.await.unwrap().unwrap();
        fourth_begun.await.unwrap();
        let (fifth, fifth_begun, release_fifth) = start(2);
        fifth_begun.await.unwrap();

        for (held, release) in [(third, release_third), (fourth, release_fourth), (fifth, release_fifth)] {
            release.send(()).unwrap();
            held.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn wide_computations_that_wait_take_no_narrow_one_s_place() {
        let crew = Arc::new(Crew::new(2, 2));
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let crew = crew.clone();
            let work = move || {
                let _ = began.send(());
                let _ = held.recv();
                Ok(())
            };
            async move { crew.run(|| 2, work).await }
        });
        begun.await.unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(crew.run(|| 2, || Ok(())))).collect();
        for wide in &mut waiting {
            assert!(futures::poll!(wide).is_pending());
        }
        let refused = crew.run(|| 2, || Ok(())).await;
        assert!(matches!(refused, Err(NnError::Overloaded { waiting: 2 })), "{refused:?}");
        for number in 0..8 {
            assert_eq!(crew.run(|| 1, move || Ok(number)).await.unwrap(), number);
        }
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        for wide in waiting {
            wide.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_turns_out_to_be_narrow_while_it_waits_no_longer_takes_turns() {
        let crew = Arc::new(Crew::new(4, 16));
        let width = Arc::new(AtomicUsize::new(4));
        let known = |width: &Arc<AtomicUsize>| {
            let width = width.clone();
            move || width.load(Ordering::SeqCst)
        };
        let (turn, both) = (Arc::new(std::sync::Barrier::new(2)), Arc::new(std::sync::Barrier::new(3)));
        let first = tokio::spawn({
            let (crew, width, turn) = (crew.clone(), known(&width), turn.clone());
            async move {
                let work = move || {
                    turn.wait();
                    Ok(())
                };
                crew.run(width, work).await
            }
        });
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (crew, width, both) = (crew.clone(), known(&width), both.clone());
                tokio::spawn(async move {
                    let work = move || {
                        both.wait();
                        Ok(())
                    };
                    crew.run(width, work).await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        width.store(1, Ordering::SeqCst);
        tokio::task::spawn_blocking(move || turn.wait()).await.unwrap();
        first.await.unwrap().unwrap();
        // None would end if they took turns.
        for other in others {
            other.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_panic_costs_the_one_computation() {
        let crew = Crew::new(1, 1);
        for width in [1, 2] {
            let failed = crew.run(move || width, || -> Result<(), NnError> { panic!("on purpose") }).await;
            assert!(matches!(failed, Err(NnError::Failed(_))), "{failed:?}");
        }
        assert_eq!(crew.run(|| 1, || Ok(3)).await.unwrap(), 3);
    }
}
