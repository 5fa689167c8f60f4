//! What the sandbox and each plugin may use. Filled in by the binary (the sandbox) and from `Plugin.spec.limits` (each
//! plugin).

use std::path::PathBuf;
use std::time::Duration;

/// How the whole sandbox runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where compiled code is kept between runs; `None` compiles anew each time.
    pub cache_dir: Option<PathBuf>,
    /// The most instances at once, over all plugins. Each reserves address space, and memory only while it is used. No
    /// plugin may use more of these than are free at the time; there should be a few for each plugin.
    pub max_instances: u32,
    /// The most instances that hold a model, over all plugins. They live in an engine of their own: a model in memory takes
    /// no place from calls.
    pub max_kept: usize,
    /// The most linear memory that any plugin may be given, in bytes; a plugin's own limit can only be lower.
    pub max_memory: usize,
    /// The largest component that is loaded, in bytes.
    pub max_component: usize,
    /// Threads for calls that outlive their first time slice.
    pub crew: usize,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Config {
            cache_dir: None,
            max_instances: 256,
            max_kept: 16_384,
            max_memory: 1 << 30,
            max_component: 64 << 20,
            crew: cores,
        }
    }
}

/// What one plugin may use in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes, over all memories of the instance.
    pub memory: usize,
    /// Wall-clock time of a call. It may wait as long again for a free place.
    pub deadline: Duration,
    /// Bytes of an answer, and of each message to the host.
    pub output: usize,
    /// Calls at once. Sixteen times as many may wait; more are refused with [`CallError::Busy`](crate::CallError::Busy).
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 64 << 20, deadline: Duration::from_secs(5), output: 8 << 20, concurrency: 16 }
    }
}
