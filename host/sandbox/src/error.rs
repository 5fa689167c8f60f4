//! Why a plugin could not be loaded, and why a call gave no answer. Every text is fit for a condition's message: one
//! sentence for a person, without addresses or Rust types.

use std::time::Duration;

use purlin_registry::ManifestError;

use crate::contract::Fault;

/// Why the sandbox itself could not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refused its configuration, mostly for want of address space.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
    /// A thread could not be started.
    #[error("cannot start a thread for plugin calls: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a component was not made a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not the ones that were asked for.
    #[error("the component's digest is {found}, not {expected}; it was altered or damaged on the way")]
    DigestMismatch {
        /// What the request says.
        expected: String,
        /// What the bytes have.
        found: String,
    },
    /// Larger than the sandbox loads.
    #[error("the component has {size} bytes; at most {limit} are loaded")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// No usable manifest, or one that does not fit the component.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Built for a version of the contract that this host does not serve.
    #[error(
        "the component imports or exports {interface}, of another version of the contract than its manifest's {wit}; build it again"
    )]
    WrongVersion {
        /// The interface.
        interface: String,
        /// The manifest's `wit`.
        wit: String,
    },
    /// A capability that it imports was not granted.
    #[error(
        "the capability `{capability}` is needed and was not granted; add it to spec.grants (asked for because: {reason})"
    )]
    NotGranted {
        /// How the capability is written.
        capability: String,
        /// The manifest's reason.
        reason: String,
    },
    /// It imports something that no capability gives.
    #[error(
        "the component imports {import}, which no capability gives; it must be built for `purlin:plugin`, or for WASI 0.2 without `wasi:http` and other packages"
    )]
    UnknownImport {
        /// The import's name.
        import: String,
    },
    /// The engine refused the component.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// Its types are not the contract's.
    #[error("the component does not keep to the contract: {0}")]
    Contract(String),
    /// More limits were asked for than the sandbox has.
    #[error("the limit {name} is {asked}; this host allows {allowed}")]
    Limit {
        /// The limit's name in `spec.limits`.
        name: &'static str,
        /// What was asked for.
        asked: usize,
        /// What is allowed.
        allowed: usize,
    },
    /// The host stopped while loading.
    #[error("loading was interrupted because the host is stopping")]
    Interrupted,
}

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The plugin answered with a fault.
    #[error("{}", describe(.0))]
    Fault(Fault),
    /// The plugin's code trapped.
    #[error("the plugin trapped in `{function}`: {reason}")]
    Trap {
        /// The function that was called.
        function: &'static str,
        /// What kind of trap, such as `unreachable code was reached`.
        reason: String,
        /// The plugin's own frames, innermost first, for a log.
        frames: Vec<String>,
    },
    /// No answer in time.
    #[error("the plugin gave no answer within {0:?}")]
    DeadlineExceeded(Duration),
    /// More memory than allowed.
    #[error("the plugin needs more than its {limit} bytes of memory; raise spec.limits.memory")]
    MemoryExceeded {
        /// The limit.
        limit: usize,
    },
    /// The namespace has no time or memory left for plugins.
    #[error(
        "namespace {namespace} has used up its quota {resource} ({hard}) for plugins; raise it in its ResourceQuota, or wait {}",
        seconds(*.retry)
    )]
    QuotaExceeded {
        /// The namespace.
        namespace: String,
        /// Which quota, such as [`quota::CPU`](crate::quota::CPU).
        resource: &'static str,
        /// What it is.
        hard: String,
        /// When there may be some again.
        retry: Duration,
    },
    /// A longer answer than allowed.
    #[error("the plugin's answer is longer than {limit} bytes; raise spec.limits.output")]
    OutputTooLarge {
        /// The limit.
        limit: usize,
    },
    /// An answer that asks for more than was granted.
    #[error("the plugin wants what it was not granted: {0}")]
    Denied(String),
    /// An answer that breaks the contract.
    #[error("the plugin's answer is malformed: {0}")]
    Malformed(String),
    /// Too many calls of this plugin are running and waiting.
    #[error("the plugin is busy: {0} calls are running and too many are waiting")]
    Busy(usize),
    /// The plugin does not serve the stage that was asked.
    #[error("the plugin does not serve the stage `{0}`")]
    NoSuchStage(purlin_registry::Stage),
    /// The host could not run the call.
    #[error("the host could not run the plugin: {0}")]
    Host(String),
}

impl CallError {
    /// A word for metrics and condition reasons, such as `DeadlineExceeded`.
    pub fn reason(&self) -> &'static str {
        match self {
            CallError::Fault(Fault::Invalid(_)) => "Invalid",
            CallError::Fault(Fault::Retry(_)) => "Retry",
            CallError::Fault(Fault::Failed(_)) => "Failed",
            CallError::Trap { .. } => "Trap",
            CallError::DeadlineExceeded(_) => "DeadlineExceeded",
            CallError::MemoryExceeded { .. } => "MemoryExceeded",
            CallError::QuotaExceeded { .. } => "QuotaExceeded",
            CallError::OutputTooLarge { .. } => "OutputTooLarge",
            CallError::Denied(_) => "Denied",
            CallError::Malformed(_) => "Malformed",
            CallError::Busy(_) => "Busy",
            CallError::NoSuchStage(_) => "NoSuchStage",
            CallError::Host(_) => "HostError",
        }
    }
}

/// Whole seconds, so that a condition's message does not change with each attempt by some milliseconds.
fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64().ceil())
}

fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Invalid(errors) => {
            let fields = errors.iter().map(|error| {
                if error.value.is_empty() {
                    format!("{}: {}", error.field, error.reason)
                } else {
                    format!("{}: {:?}: {}", error.field, error.value, error.reason)
                }
            });
            fields.collect::<Vec<_>>().join("; ")
        }
        Fault::Retry(retry) => {
            format!("{} (again in {:?})", retry.reason, Duration::from_millis(retry.after_ms))
        }
        Fault::Failed(text) => text.clone(),
    }
}
