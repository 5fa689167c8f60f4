//! Runs one call: admission, a fresh instance under limits, and a verdict on how it ended. Called by [`Plugin`]'s methods
//! and, for calls between plugins, by the version modules. Whatever the plugin's code does ends here as a [`CallError`].
//!
//! [`Plugin`]: crate::Plugin

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use purlin_registry::Stage;
use wasmtime::component::Instance;
use wasmtime::{PoolConcurrencyLimitError, ResourceLimiter, Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::contract::bindings::purlin::plugin::log;
use crate::contract::serving::ServingState;
use crate::contract::{Context, Exports, Fault};
use crate::engine::{SLICE, TABLE_ELEMENTS};
use crate::error::CallError;
use crate::plugin::{Core, Subject};
use crate::quota::{self, Account};
use crate::serving::AnswerTooLarge;
use crate::wasi::Wasi;

/// One function of the contract with its arguments.
pub(crate) trait Invocation: Send + 'static {
    /// What it answers.
    type Answer: Send + 'static;
    /// The stage that it belongs to; `None` for what plugins of every stage export.
    const STAGE: Option<Stage>;
    /// Its name in the contract.
    fn function(&self) -> &'static str;
    /// The context that it is asked in; what only WASI could ask for is taken from it.
    fn context(&self) -> Option<&Context> {
        None
    }
    /// How long it may take, where that is not the plugin's own deadline: whoever asks a model says how long they wait.
    fn timeout(&self) -> Option<Duration> {
        None
    }
    /// Calls it in an instance.
    fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Answer, Fault>>> + Send;
}

/// Where a call comes from.
#[derive(Clone)]
pub(crate) struct Origin {
    /// Whom it is about.
    pub(crate) subject: Subject,
    /// How many calls between plugins lie above it.
    pub(crate) depth: u32,
    /// When the call above it must have ended.
    pub(crate) deadline: Option<Instant>,
    /// What it is charged to, where the subject's namespace has a quota.
    pub(crate) account: Option<Arc<Account>>,
}

impl Origin {
    pub(crate) fn outermost(plugin: &Core, subject: &Subject) -> Origin {
        let account = plugin.host.quotas.of(subject.namespace());
        Origin { subject: subject.clone(), depth: 0, deadline: None, account }
    }
}

/// What the store of a call holds.
pub(crate) struct CallState {
    pub(crate) plugin: Arc<Core>,
    pub(crate) origin: Origin,
    pub(crate) deadline: Instant,
    pub(crate) wasi: Option<Box<Wasi>>,
    /// What it has of the host for serving models.
    pub(crate) serving: Option<Box<ServingState>>,
    meter: Meter,
}

impl CallState {
    /// Linear memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.meter.used
    }
}

/// Counts the memory of an instance.
struct Meter {
    limit: usize,
    used: usize,
    account: Option<Arc<Account>>,
    refused: Option<Refused>,
}

/// Why an instance got no more memory.
#[derive(Clone, Copy)]
enum Refused {
    /// The plugin's limit.
    Limit,
    /// The namespace's quota.
    Quota,
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_sub(current).saturating_add(desired);
        if used > self.limit {
            self.refused = Some(Refused::Limit);
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        if self.account.as_ref().is_some_and(|account| !account.take(more)) {
            self.refused = Some(Refused::Quota);
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.give(self.used);
        }
    }
}

/// Ends a call whose time is up.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
struct DeadlinePassed;

/// Runs a call and measures it.
pub(crate) async fn run<I: Invocation>(
    plugin: &Arc<Core>,
    origin: Origin,
    invocation: I,
) -> Result<I::Answer, CallError> {
    let function = invocation.function();
    let started = Instant::now();
    let answer = admit(plugin, origin, invocation).await;
    report(plugin, I::STAGE, function, &answer, started);
    answer
}

/// Counts a call that ended.
pub(crate) fn report<T>(
    plugin: &Core,
    stage: Option<Stage>,
    function: &'static str,
    answer: &Result<T, CallError>,
    started: Instant,
) {
    let stage = stage.map_or("any", Stage::as_str);
    let outcome = answer.as_ref().map_or_else(CallError::reason, |_| "Answered");
    plugin.host.metrics.call(&plugin.name, stage, function, outcome, started.elapsed());
    if let Err(
        CallError::Trap { .. }
        | CallError::DeadlineExceeded(_)
        | CallError::MemoryExceeded { .. }
        | CallError::OutputTooLarge { .. },
    ) = answer
    {
        plugin.host.metrics.trap(&plugin.name, outcome);
    }
}

async fn admit<I: Invocation>(
    plugin: &Arc<Core>,
    origin: Origin,
    invocation: I,
) -> Result<I::Answer, CallError> {
    if let Some(stage) = I::STAGE.filter(|stage| !plugin.manifest.serves(*stage)) {
        return Err(CallError::NoSuchStage(stage));
    }
    if let Some(account) = origin.account.as_ref().filter(|_| origin.depth == 0) {
        account.admit()?;
    }
    let limit = invocation.timeout().unwrap_or(plugin.limits.deadline);
    let latest = |from: Instant| {
        let own = from + limit;
        origin.deadline.map_or(own, |outer| outer.min(own))
    };
    let until = latest(Instant::now());
    let place = plugin.gate.enter(until).await?;
    // Calls between plugins have places of their own: were they to share, all could be held by calls that wait for one.
    let host = &plugin.host;
    let (shared, held) = if origin.depth == 0 {
        (&host.outer, &plugin.held.outer)
    } else {
        (&host.nested, &plugin.held.nested)
    };
    let slot = shared.enter(held, until).await?;
    let deadline = latest(Instant::now());
    let core = Arc::clone(plugin);
    let call = Box::pin(async move {
        let _held = (place, slot, InFlight::new(&core));
        let account = origin.account.clone();
        let answer = pin!(in_instance(&core, origin, deadline, invocation));
        core.host.ticker.during(pin!(quota::charged(account, answer))).await
    });
    plugin.host.crew.run(call).await?
}

async fn in_instance<I: Invocation>(
    plugin: &Arc<Core>,
    origin: Origin,
    deadline: Instant,
    invocation: I,
) -> Result<I::Answer, CallError> {
    let function = invocation.function();
    let limit = invocation.timeout().unwrap_or(plugin.limits.deadline);
    let mut store = store(plugin, origin, deadline, invocation.context());
    let call = async {
        let instance = plugin.pre.instantiate_async(&mut store).await?;
        invocation.invoke(&mut store, &instance, &plugin.exports).await
    };
    // The clock that ends a running plugin does not see one that waits for the host.
    let answer = tokio::time::timeout_at(deadline.into(), pin!(call)).await;
    let answer = answer.unwrap_or_else(|_| Err(wasmtime::Error::new(DeadlinePassed)));
    let state = store.data();
    if let Some(wasi) = &state.wasi {
        for line in wasi.printed() {
            state.log(log::Level::Info, &line);
        }
    }
    plugin.memory.inner().fetch_max(state.meter.used as u64, Ordering::Relaxed);
    match answer {
        Ok(answer) => answer.map_err(CallError::Fault),
        Err(error) => Err(verdict(plugin, state, function, limit, &error)),
    }
}

/// Instantiates once, to find at load time what would fail every call.
pub(crate) async fn probe(plugin: &Arc<Core>) -> Result<(), CallError> {
    let core = Arc::clone(plugin);
    let probe = Box::pin(async move {
        let origin = Origin::outermost(&core, &Subject::none());
        let mut store = store(&core, origin, Instant::now() + core.limits.deadline, None);
        let instance = core.host.ticker.during(pin!(core.pre.instantiate_async(&mut store))).await;
        let loaded = match instance {
            Ok(instance) => core.exports.check(&mut store, &instance),
            Err(error) => Err(error),
        };
        loaded.map_err(|error| verdict(&core, store.data(), "start", core.limits.deadline, &error))
    });
    let until = Instant::now() + plugin.limits.deadline;
    let place = plugin.host.outer.enter(&plugin.held.outer, until).await?;
    let probed = plugin.host.crew.run(probe).await?;
    drop(place);
    probed
}

/// A store for one instance.
pub(crate) fn store(
    plugin: &Arc<Core>,
    origin: Origin,
    deadline: Instant,
    context: Option<&Context>,
) -> Store<CallState> {
    let account = origin.account.clone();
    let meter = Meter { limit: plugin.limits.memory, used: 0, account, refused: None };
    let wasi = plugin.wasi.then(|| Box::new(Wasi::new(context)));
    let state = CallState { plugin: Arc::clone(plugin), origin, deadline, wasi, serving: None, meter };
    let mut store = Store::new(plugin.pre.engine(), state);
    store.limiter(|state| &mut state.meter);
    store.set_hostcall_fuel(plugin.limits.output);
    store.set_epoch_deadline(SLICE);
    store.epoch_deadline_callback(|context| {
        if Instant::now() >= context.data().deadline {
            return Err(wasmtime::Error::new(DeadlinePassed));
        }
        Ok(UpdateDeadline::Yield(SLICE))
    });
    store
}

/// Gives a store that is used again what each call may use.
pub(crate) fn renew(store: &mut Store<CallState>, deadline: Instant) {
    store.data_mut().deadline = deadline;
    // What was refused in an earlier call, and borne, is not why this one fails.
    store.data_mut().meter.refused = None;
    let output = store.data().plugin.limits.output;
    store.set_hostcall_fuel(output);
    store.set_epoch_deadline(SLICE);
}

/// What ends a call that waits too long.
pub(crate) fn deadline_passed() -> wasmtime::Error {
    wasmtime::Error::new(DeadlinePassed)
}

/// Says how a call ended that gave no answer within `limit`.
pub(crate) fn verdict(
    plugin: &Core,
    state: &CallState,
    function: &'static str,
    limit: Duration,
    error: &wasmtime::Error,
) -> CallError {
    let meter = &state.meter;
    if error.is::<DeadlinePassed>() {
        return CallError::DeadlineExceeded(limit);
    }
    // A program whose allocation is refused traps in its own way (an `unreachable`, mostly); this is why.
    match (meter.refused, &meter.account) {
        (Some(Refused::Quota), Some(account)) => return account.memory_refused(),
        (Some(_), _) => return CallError::MemoryExceeded { limit: plugin.limits.memory },
        (None, _) => {}
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Host("all instances are in use".to_owned());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let text = trap.to_string();
        let reason = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
        return CallError::Trap { function, reason, frames: frames(error) };
    }
    if let Some(AnswerTooLarge(limit)) = error.downcast_ref() {
        return CallError::OutputTooLarge { limit: *limit };
    }
    let reason = error.root_cause().to_string();
    // The engine keeps this error's type to itself, so its text is all there is to know it by; a test holds it fast.
    if reason.contains("fuel allocated for hostcalls has been exhausted") {
        return CallError::OutputTooLarge { limit: plugin.limits.output };
    }
    CallError::Malformed(reason)
}

fn frames(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => name.to_owned(),
        None => format!("function {}", frame.func_index()),
    };
    frames.iter().map(name).collect()
}

/// Counts a running call, however it ends.
struct InFlight(prometheus_client::metrics::gauge::Gauge);

impl InFlight {
    fn new(plugin: &Core) -> InFlight {
        plugin.in_flight.inc();
        InFlight(plugin.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
