//! How long a key waits after it failed: exponentially longer each time, up to a cap, with jitter so that keys that
//! failed together do not come back together.

use std::time::Duration;

/// Bounds of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure, before jitter.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// The wait after `failures` earlier failures. `jitter` is from 0 to 1 and shortens the wait by up to a half.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(failures.min(31)));
        doubled.min(self.cap).mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
    }
}
