//! What the host does for plugins, in terms of no version of the contract: finding the plugin behind `call(tuner)`, and
//! keeping a plugin's log within limits. Used by the version modules, whose generated traits do the rest.

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;

use purlin_registry::Stage;

use crate::plugin::Plugin;

/// Calls nest at most this deep: the outermost call is at depth 0.
pub(crate) const MAX_DEPTH: u32 = 4;

/// Bytes of one log line. What is longer is cut.
const LINE: usize = 4096;

/// Lines a second that a plugin may write, and how many it may save up.
const RATE: f64 = 50.0;
const BURST: f64 = 200.0;

/// Finds the plugin that serves a stage. Implemented by whoever knows the installed plugins.
pub trait StageResolver: Send + Sync + 'static {
    /// The plugin that answers to `algorithm`. Called while another plugin's call waits, so it must not block.
    fn tuner(&self, algorithm: &str) -> Option<Arc<Plugin>>;

    /// Whether plugins are still being loaded. What nobody serves now may be served once they are.
    fn awaited(&self) -> bool {
        false
    }

    /// The plugin of a stage that is installed under a name.
    fn named(&self, _stage: Stage, _name: &str) -> Option<Arc<Plugin>> {
        None
    }

    /// The plugin of a stage that has a format (of models, or a method of explaining), and the name under which it is
    /// installed: the named one, or any.
    fn by_format(&self, _stage: Stage, _name: Option<&str>, _format: &str) -> Option<(String, Arc<Plugin>)> {
        None
    }
}

/// The resolver, once there is one. Weak, because the resolver holds plugins, which hold this.
#[derive(Default)]
pub(crate) struct Resolver(RwLock<Option<Weak<dyn StageResolver>>>);

impl Resolver {
    pub(crate) fn set(&self, resolver: Weak<dyn StageResolver>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(resolver);
    }

    pub(crate) fn tuner(&self, algorithm: &str) -> Option<Arc<Plugin>> {
        let resolver = self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()?;
        resolver.tuner(algorithm)
    }
}

/// One plugin's allowance of log lines: a bucket that fills with time.
pub(crate) struct LogAllowance {
    bucket: Mutex<Bucket>,
    dropped: Counter,
}

struct Bucket {
    lines: f64,
    filled: Instant,
    dropped_since: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is written; so many were dropped since the last that was.
    Write {
        /// Dropped lines to tell of.
        dropped: u64,
    },
    /// It is not.
    Drop,
}

impl LogAllowance {
    pub(crate) fn new(dropped: Counter) -> LogAllowance {
        let bucket = Bucket { lines: BURST, filled: Instant::now(), dropped_since: 0 };
        LogAllowance { bucket: Mutex::new(bucket), dropped }
    }

    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.lines = (bucket.lines + passed * RATE).min(BURST);
        bucket.filled = now;
        if bucket.lines < 1.0 {
            bucket.dropped_since += 1;
            self.dropped.inc();
            return Admission::Drop;
        }
        bucket.lines -= 1.0;
        Admission::Write { dropped: std::mem::take(&mut bucket.dropped_since) }
    }
}

/// A plugin's line as it may be written to a terminal: bounded, and without control characters, by which it could
/// forge lines of others.
pub(crate) fn printable(message: &str) -> String {
    let mut line = String::with_capacity(message.len().min(LINE) + 16);
    for character in message.chars() {
        if line.len() >= LINE {
            line.push_str(" [cut]");
            break;
        }
        if character.is_control() && character != '\t' {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_over_the_rate_are_dropped_and_counted() {
        let dropped = Counter::default();
        let allowance = LogAllowance::new(dropped.clone());
        let start = Instant::now();
        for _ in 0..200 {
            assert_eq!(allowance.admit(start), Admission::Write { dropped: 0 });
        }
        assert_eq!(allowance.admit(start), Admission::Drop);
        assert_eq!(allowance.admit(start), Admission::Drop);
        assert_eq!(dropped.get(), 2);
        let later = start + Duration::from_millis(100);
        assert_eq!(allowance.admit(later), Admission::Write { dropped: 2 });
    }

    #[test]
    fn lines_are_cut_and_cannot_forge_others() {
        assert_eq!(printable("a\nERROR b\u{1b}[31m\tc"), "a\\nERROR b\\u{1b}[31m\tc");
        let cut = printable(&"ä".repeat(10_000));
        assert!(cut.len() < LINE + 16 && cut.ends_with(" [cut]"), "{} bytes", cut.len());
    }
}
