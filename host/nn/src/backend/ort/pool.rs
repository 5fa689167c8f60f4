//! The threads among which ONNX Runtime spreads the computations of this process's graphs, and how many of them a graph
//! keeps busy. A large matrix is spread over all of them, a recurrent network's many small steps over none; which of the
//! two a graph is shows only in what the threads do while it is computed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ort::environment::{GlobalThreadPoolOptions, ThreadManager};

/// Below this a computation gains little from other threads' help, and looking at it would take a noticeable part of it.
const LONG: Duration = Duration::from_millis(1);

/// Of each so many computations of a graph the first [`LOOKS`] are looked at: later inputs may be of other sizes.
const PERIOD: u64 = 256;

/// Computations of a period that are looked at.
const LOOKS: u64 = 8;

/// The threads, as many as there are processors for this process; the one that asks for a computation takes part.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    threads: usize,
    clocks: Mutex<Vec<Clock>>,
    /// Computations that go on and may be spread over the threads.
    inside: AtomicUsize,
    /// How many of these have ever begun.
    entered: AtomicU64,
}

impl Pool {
    pub(super) fn new() -> Pool {
        Pool(Arc::new(Shared {
            threads: crate::processors(),
            clocks: Mutex::default(),
            inside: AtomicUsize::new(0),
            entered: AtomicU64::new(0),
        }))
    }

    /// How ONNX Runtime is to make it. Left to itself it starts a thread for each of the machine's processors, also of
    /// those that this process may not use. Between two of a graph's operators they wait awake, as ONNX Runtime has it unless it
    /// is told otherwise, and fall asleep within a millisecond: woken for each operator they begin late, and often on the
    /// caller's processor.
    pub(super) fn options(&self) -> ort::Result<GlobalThreadPoolOptions> {
        GlobalThreadPoolOptions::default()
            .with_intra_threads(self.0.threads)?
            .with_inter_threads(1)?
            .with_spin_control(true)?
            .with_thread_manager(Threads(self.clone()))
    }

    fn clocks(&self) -> MutexGuard<'_, Vec<Clock>> {
        self.0.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its threads have computed for, all together.
    fn computed(&self) -> Option<Duration> {
        self.clocks().iter().map(Clock::read).sum()
    }
}

/// Starts the threads for ONNX Runtime.
struct Threads(Pool);

impl ThreadManager for Threads {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<JoinHandle<()>> {
        let pool = self.0.clone();
        let run = move || {
            if let Some(clock) = Clock::of_this_thread() {
                pool.clocks().push(clock);
            }
            work();
        };
        let thread = std::thread::Builder::new().name("purlin-ort".to_owned()).spawn(run);
        thread.map_err(|error| ort::Error::new(format!("no thread could be started: {error}")))
    }

    fn join(thread: JoinHandle<()>) -> ort::Result<()> {
        thread.join().map_err(|_| ort::Error::new("a thread panicked"))
    }
}

/// For how long a thread has had a processor, as Linux counts it: to a few milliseconds while the thread runs.
struct Clock(File);

impl Clock {
    /// `None` where the system does not say.
    fn of_this_thread() -> Option<Clock> {
        File::open("/proc/thread-self/schedstat").ok().map(Clock)
    }

    /// `None` once the thread has ended.
    fn read(&self) -> Option<Duration> {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let nanoseconds = std::str::from_utf8(&text[..length]).ok()?.split_ascii_whitespace().next()?;
        nanoseconds.parse().ok().map(Duration::from_nanos)
    }
}

/// How many threads a graph keeps busy.
pub(super) struct Width {
    /// `None` for a graph that uses other threads than the pool's.
    pool: Option<Pool>,
    /// 0 for what is not known, because no computation was long enough or alone.
    known: AtomicUsize,
    /// Whether the last computation was too short to be looked at.
    short: AtomicBool,
    /// Computations that were not.
    begun: AtomicU64,
    seen: Mutex<Seen>,
}

/// Processors' time that was seen to be spent on computations, the latest with the most weight.
#[derive(Clone, Copy, Default)]
struct Seen {
    caller: Duration,
    pool: Duration,
}

impl Seen {
    fn add(&mut self, caller: Duration, pool: Duration) {
        self.caller = self.caller * 3 / 4 + caller;
        self.pool = self.pool * 3 / 4 + pool;
    }

    /// The caller computes from beginning to end. Counting its time, not the clock on the wall, leaves out when it lost
    /// its processor to somebody else.
    fn width(&self) -> usize {
        let share = self.pool.as_secs_f64() / self.caller.as_secs_f64().max(1e-3);
        1 + share.round() as usize
    }
}

impl Width {
    /// Of a graph that is spread over the pool.
    pub(super) fn of_pool(pool: Pool) -> Width {
        // Nothing can be seen without clocks; then computations are taken not to disturb each other.
        match pool.0.threads > 1 && Clock::of_this_thread().is_some() {
            true => Width { pool: Some(pool), ..Width::fixed(0) },
            false => Width::fixed(1),
        }
    }

    /// Of a graph that has so many threads for itself.
    pub(super) fn fixed(threads: usize) -> Width {
        Width {
            pool: None,
            known: threads.into(),
            short: false.into(),
            begun: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// As it is known. What is to be looked at is as wide as the pool, so that it is alone there.
    pub(super) fn threads(&self) -> usize {
        match &self.pool {
            Some(_) if self.short.load(Ordering::Relaxed) => 1,
            Some(pool) if self.due() => pool.0.threads,
            _ => self.known.load(Ordering::Relaxed),
        }
    }

    fn due(&self) -> bool {
        self.known.load(Ordering::Relaxed) == 0 || self.begun.load(Ordering::Relaxed) % PERIOD < LOOKS
    }

    /// Computes, and from time to time sees to how wide it is, if no other computation is in the pool meanwhile.
    pub(super) fn watch<T>(&self, compute: impl FnOnce() -> T) -> T {
        let Some(pool) = &self.pool else {
            return compute();
        };
        let started = Instant::now();
        let answer = match self.short.load(Ordering::Relaxed) {
            true => {
                let _inside = Inside::enter(pool);
                compute()
            }
            false => self.look(pool, compute),
        };
        self.short.store(started.elapsed() < LONG, Ordering::Relaxed);
        answer
    }

    fn look<T>(&self, pool: &Pool, compute: impl FnOnce() -> T) -> T {
        let due = self.due();
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        if !due && self.known.load(Ordering::Relaxed) == 1 {
            // It keeps to its caller's thread, and disturbs nobody who is looked at.
            return compute();
        }
        let inside = Inside::enter(pool);
        let times = || Some((Clock::of_this_thread()?.read()?, pool.computed()?));
        let before = if due { times() } else { None };
        let answer = compute();
        if let Some((caller_before, pool_before)) = before
            && inside.alone()
            && let Some((caller, others)) = times()
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.add(caller.saturating_sub(caller_before), others.saturating_sub(pool_before));
            self.known.store(seen.width().min(pool.0.threads), Ordering::Relaxed);
        } else if begun + 1 >= LOOKS {
            // It is never alone. That it is wide is a guess, and were it wrong, all but one processor would be idle.
            let _ = self.known.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        answer
    }
}

/// A computation in the pool. It is over when this is dropped.
struct Inside<'a> {
    shared: &'a Shared,
    first: bool,
    number: u64,
}

impl Inside<'_> {
    fn enter(pool: &Pool) -> Inside<'_> {
        let first = pool.0.inside.fetch_add(1, Ordering::Relaxed) == 0;
        let number = pool.0.entered.fetch_add(1, Ordering::Relaxed) + 1;
        Inside { shared: &pool.0, first, number }
    }

    /// Whether no other was there, nor came since.
    fn alone(&self) -> bool {
        self.first && self.shared.entered.load(Ordering::Relaxed) == self.number
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.shared.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use super::{Clock, Inside, LONG, LOOKS, Pool, Seen, Width};

    #[test]
    fn a_thread_s_clock_counts_what_it_computes_and_not_what_it_waits() {
        let Some(clock) = Clock::of_this_thread() else { return };
        let before = clock.read().unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let asleep = clock.read().unwrap();
        assert!(asleep - before < Duration::from_millis(30));
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5)
            && clock.read().unwrap() - asleep < Duration::from_millis(60)
        {}
        assert!(clock.read().unwrap() - asleep >= Duration::from_millis(60));
    }

    #[test]
    fn a_width_is_how_much_others_compute_while_the_caller_does() {
        let width = |caller, pool| {
            let mut seen = Seen::default();
            seen.add(Duration::from_millis(caller), Duration::from_millis(pool));
            seen.width()
        };
        assert_eq!([width(50, 0), width(50, 3), width(50, 47), width(50, 150), width(0, 0)], [1, 1, 2, 4, 1]);
        let mut seen = Seen::default();
        seen.add(Duration::from_millis(50), Duration::from_millis(150));
        for _ in 0..16 {
            seen.add(Duration::from_millis(50), Duration::ZERO);
        }
        assert_eq!(seen.width(), 1, "what was long ago counts little");
    }

    #[test]
    fn what_is_short_is_narrow_and_what_is_not_known_is_as_wide_as_the_pool() {
        let pool = Pool::new();
        let width = Width::of_pool(pool.clone());
        assert_eq!(Width::fixed(3).threads(), 3);
        if width.pool.is_none() {
            // Either there is one processor, or nothing that says what threads do.
            return assert_eq!(width.threads(), 1);
        }
        assert_eq!(width.threads(), pool.0.threads);
        // One that loses its processor in the middle is long too.
        let short = (0..LOOKS / 2).any(|_| {
            width.watch(|| ());
            width.threads() == 1
        });
        assert!(short);
        width.watch(|| std::thread::sleep(2 * LONG));
        assert_eq!(width.threads(), pool.0.threads);
        width.watch(|| std::thread::sleep(2 * LONG));
        assert_eq!(width.threads(), pool.0.threads, "it is looked at several times");
        for _ in 0..LOOKS {
            width.watch(|| std::thread::sleep(2 * LONG));
        }
        assert_eq!(width.threads(), 1, "the pool did nothing meanwhile");
        assert_eq!(pool.0.inside.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_never_alone_is_not_taken_to_be_wide_for_ever() {
        let pool = Pool::new();
        let width = Width::of_pool(pool.clone());
        let _other = Inside::enter(&pool);
        for _ in 0..LOOKS {
            width.watch(|| std::thread::sleep(2 * LONG));
        }
        // From then on it is looked at in each period, for which it asks for the pool.
        assert_eq!(width.known.load(Ordering::Relaxed), 1);
        assert_eq!(width.threads(), 1);
    }
}
