//! What plugins may use for one namespace together: their time, as a bucket that fills while time passes, and the memory
//! of the calls that run at once.
//!
//! Time is what the host spends in a plugin's code and in answering its questions; a call that waits costs nothing. A
//! call begins while its namespace has time left and is charged as it runs, so a namespace may come into debt by the
//! calls that were running; the next ones wait until that is paid. Memory is refused as it is asked for.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::error::CallError;

/// The quota of plugin time: cores, that is seconds of plugin time in a second, averaged over [`BURST`].
pub const CPU: &str = "purlin.dev/plugin-cpu";
/// The quota of plugin memory: bytes of linear memory of all calls that run at once.
pub const MEMORY: &str = "purlin.dev/plugin-memory";

/// How long a namespace that was idle may use all cores that it likes before its quota slows it down, for one core.
pub const BURST: Duration = Duration::from_secs(10);
/// When to come again at the latest: a quota may be raised meanwhile.
const AGAIN: Duration = Duration::from_secs(60);
/// When to come again where memory was short: when some calls have ended.
const MEMORY_AGAIN: Duration = Duration::from_secs(2);

/// What plugins may use for a namespace. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quota {
    /// Cores.
    pub cpu: Option<f64>,
    /// Bytes.
    pub memory: Option<usize>,
}

/// What plugins have used for a namespace that has a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Plugin time since the namespace was given a quota.
    pub time: Duration,
    /// The most bytes at once since somebody last asked.
    pub memory: usize,
}

/// All quotas. A namespace without one costs a look-up.
#[derive(Default)]
pub(crate) struct Quotas(RwLock<HashMap<Box<str>, Arc<Account>>>);

impl Quotas {
    /// Gives a namespace a quota, or another one: what it has used and owes stays.
    pub(crate) fn set(&self, namespace: &str, quota: Option<Quota>) {
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match (quota, accounts.get(namespace)) {
            (None, _) => drop(accounts.remove(namespace)),
            (Some(quota), Some(account)) => account.change(quota, Instant::now()),
            (Some(quota), None) => {
                accounts.insert(namespace.into(), Arc::new(Account::new(namespace, quota, Instant::now())));
            }
        }
    }

    pub(crate) fn usage(&self, namespace: &str) -> Option<Usage> {
        self.of(namespace).map(|account| account.usage())
    }

    pub(crate) fn of(&self, namespace: &str) -> Option<Arc<Account>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned()
    }
}

/// One namespace's.
pub(crate) struct Account {
    namespace: Box<str>,
    bucket: Mutex<Bucket>,
    used_nanos: AtomicU64,
    /// Bytes; `usize::MAX` for no limit.
    memory_hard: AtomicUsize,
    memory: AtomicUsize,
    memory_peak: AtomicUsize,
}

/// Seconds of plugin time that are left.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Cores; infinite for no limit.
    rate: f64,
    /// Negative while the namespace is in debt.
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: f64, now: Instant) -> Bucket {
        Bucket { rate, left: rate * BURST.as_secs_f64(), at: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + self.rate * passed).min(self.rate * BURST.as_secs_f64());
    }

    /// How long until there is some left; `None` where there is.
    fn wait(&self) -> Option<Duration> {
        if self.rate.is_infinite() || self.left > 0.0 {
            return None;
        }
        let wait = Duration::try_from_secs_f64(-self.left / self.rate).unwrap_or(AGAIN);
        Some(wait.clamp(Duration::from_millis(100), AGAIN))
    }
}

impl Account {
    fn new(namespace: &str, quota: Quota, now: Instant) -> Account {
        Account {
            namespace: namespace.into(),
            bucket: Mutex::new(Bucket::full(rate(quota), now)),
            used_nanos: AtomicU64::new(0),
            memory_hard: AtomicUsize::new(quota.memory.unwrap_or(usize::MAX)),
            memory: AtomicUsize::new(0),
            memory_peak: AtomicUsize::new(0),
        }
    }

    fn change(&self, quota: Quota, now: Instant) {
        self.memory_hard.store(quota.memory.unwrap_or(usize::MAX), Ordering::Relaxed);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.fill(now);
        let debt = bucket.left.min(0.0);
        if bucket.rate != rate(quota) {
            *bucket = Bucket::full(rate(quota), now);
            // What is owed is paid at the new rate; where nothing is limited any more, nothing is owed.
            if debt < 0.0 && bucket.rate.is_finite() {
                bucket.left = debt;
            }
        }
    }

    fn usage(&self) -> Usage {
        let now = self.memory.load(Ordering::Relaxed);
        Usage {
            time: Duration::from_nanos(self.used_nanos.load(Ordering::Relaxed)),
            memory: self.memory_peak.swap(now, Ordering::Relaxed).max(now),
        }
    }

    /// Whether a call may begin.
    pub(crate) fn admit(&self) -> Result<(), CallError> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.fill(Instant::now());
        let Some(retry) = bucket.wait() else { return Ok(()) };
        Err(CallError::QuotaExceeded {
            namespace: self.namespace.to_string(),
            resource: CPU,
            hard: bucket.rate.to_string(),
            retry,
        })
    }

    /// What a call is told that needed more memory than was left.
    pub(crate) fn memory_refused(&self) -> CallError {
        CallError::QuotaExceeded {
            namespace: self.namespace.to_string(),
            resource: MEMORY,
            hard: self.memory_hard.load(Ordering::Relaxed).to_string(),
            retry: MEMORY_AGAIN,
        }
    }

    /// Takes bytes, if they are left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let hard = self.memory_hard.load(Ordering::Relaxed);
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= hard);
        match self.memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(before) => {
                self.memory_peak.fetch_max(before + bytes, Ordering::Relaxed);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives back what was taken.
    pub(crate) fn give(&self, bytes: usize) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn charge(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.used_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).left -= time.as_secs_f64();
    }
}

fn rate(quota: Quota) -> f64 {
    quota.cpu.map_or(f64::INFINITY, |cores| cores.max(0.0))
}

thread_local! {
    /// Whether this thread is inside a poll that is charged already: a plugin's call of another begins within its own.
    static CHARGED: Cell<bool> = const { Cell::new(false) };
}

/// Charges the time in a poll, also where it ends in a panic.
struct Charge<'a> {
    account: &'a Account,
    started: Instant,
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        CHARGED.set(false);
        self.account.charge(self.started.elapsed());
    }
}

/// Runs a call and charges what it takes.
pub(crate) async fn charged<T>(
    account: Option<Arc<Account>>,
    mut call: Pin<&mut impl Future<Output = T>>,
) -> T {
    let Some(account) = account else { return call.await };
    poll_fn(|context| {
        let _charge = (!CHARGED.replace(true)).then(|| Charge { account: &account, started: Instant::now() });
        call.as_mut().poll(context)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use proptest::prelude::*;

    use super::*;

    const CORE: Quota = Quota { cpu: Some(1.0), memory: Some(100) };

    #[test]
    fn what_is_used_is_given_back_by_time() {
        let now = Instant::now();
        let mut bucket = Bucket::full(0.5, now);
        assert_eq!(bucket.wait(), None);
        bucket.left -= 6.0;
        assert_eq!(bucket.wait(), Some(Duration::from_secs(2)));
        bucket.fill(now + Duration::from_secs(1));
        assert_eq!(bucket.wait(), Some(Duration::from_secs(1)));
        bucket.fill(now + Duration::from_secs(3));
        assert_eq!(bucket.wait(), None);
    }

    #[test]
    fn nothing_is_never_enough_and_no_limit_always() {
        let now = Instant::now();
        assert_eq!(Bucket::full(0.0, now).wait(), Some(AGAIN));
        let mut unlimited = Bucket::full(f64::INFINITY, now);
        unlimited.left -= 1e9;
        unlimited.fill(now + Duration::from_secs(1));
        assert_eq!(unlimited.wait(), None);
    }

    #[test]
    fn another_quota_keeps_the_debt_and_none_forgives_it() {
        let now = Instant::now();
        let account = Account::new("a", CORE, now);
        account.charge(Duration::from_secs(13));
        account.change(Quota { cpu: Some(2.0), ..CORE }, now);
        let left = account.bucket.lock().expect("lock").left;
        assert!((-3.0..-2.9).contains(&left), "{left}");
        account.change(Quota { cpu: None, ..CORE }, now);
        assert!(account.admit().is_ok());
    }

    #[tokio::test]
    async fn a_call_within_a_call_is_charged_once() {
        let account = Arc::new(Account::new("a", CORE, Instant::now()));
        let spin = |millis| std::thread::sleep(Duration::from_millis(millis));
        let inner = Arc::clone(&account);
        let outer = async move {
            charged(Some(inner), pin!(async move { spin(20) })).await;
            tokio::time::sleep(Duration::from_millis(60)).await;
        };
        charged(Some(Arc::clone(&account)), pin!(outer)).await;
        let used = account.usage().time;
        assert!((Duration::from_millis(20)..Duration::from_millis(40)).contains(&used), "{used:?}");
    }

    proptest! {
        #[test]
        fn memory_is_never_above_the_quota(steps in proptest::collection::vec((any::<bool>(), 0_usize..80), 0..64)) {
            let account = Account::new("a", CORE, Instant::now());
            let mut held = Vec::new();
            for (take, bytes) in steps {
                if take {
                    let fits = held.iter().sum::<usize>() + bytes <= 100;
                    prop_assert_eq!(account.take(bytes), fits);
                    held.extend(fits.then_some(bytes));
                } else if let Some(bytes) = held.pop() {
                    account.give(bytes);
                }
            }
            prop_assert_eq!(account.memory.load(Ordering::Relaxed), held.iter().sum::<usize>());
            prop_assert!(account.usage().memory <= 100);
        }
    }
}
