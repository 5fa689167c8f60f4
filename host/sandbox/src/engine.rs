//! The wasmtime engines that plugins share, and the tickers that end their time slices. Built once by
//! [`Sandbox::new`](crate::Sandbox::new): one for calls that get a fresh instance each, from a pool, and one for instances
//! that hold a model and are kept. The settings here are what "no ambient authority" and "bounded" mean in code: no
//! threads, no nondeterminism that a plugin could read, every pool of a fixed size.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::config::Config;
use crate::error::SandboxError;
use crate::functions::Functions;

/// The length of a tick. A running call is looked at between one and [`SLICE`] ticks after it last was.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks of a time slice. Two, because the first may begin just before a tick.
pub(crate) const SLICE: u64 = 2;

/// Stack of a plugin's code, host functions that it calls included.
const STACK: usize = 1 << 20;

/// The part of it that WebAssembly itself may fill; deeper recursion traps.
const WASM_STACK: usize = 512 << 10;

/// Elements of a table. Tables of functions have some thousands in a large program.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// Core instances in a component: the program, and the small ones that wit-component puts around it. A language that
/// links its runtime from libraries has one for each.
const CORE_INSTANCES: u32 = 64;

/// Ticks without a call after which the ticker sleeps until the next one, so that an idle host does not wake up.
const IDLE_TICKS: u32 = 64;

/// Makes the engine for calls, which keeps compiled functions if it is given a place for them. Where address space is short
/// (a container's or a user's limit) the pool is halved until it fits.
pub(crate) fn pooled(config: &Config, functions: Option<&Arc<Functions>>) -> Result<Engine, SandboxError> {
    // Twice the instances: a call that calls another plugin holds one while the other runs.
    let mut instances = config.max_instances.max(4).saturating_mul(2);
    loop {
        let allocation = InstanceAllocationStrategy::Pooling(pool(instances, config.max_memory));
        match engine(&settings(allocation), functions) {
            Ok(engine) => return Ok(engine),
            Err(error) if instances > 8 => {
                instances /= 2;
                tracing::warn!(instances, error = %error, "not enough address space for the plugin pool, halving it");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes the engine for instances that are kept. They come one by one and stay, so a pool would only reserve what most
/// hosts never need.
pub(crate) fn kept(functions: Option<&Arc<Functions>>) -> Result<Engine, SandboxError> {
    engine(&settings(InstanceAllocationStrategy::OnDemand), functions)
}

fn engine(settings: &wasmtime::Config, functions: Option<&Arc<Functions>>) -> Result<Engine, SandboxError> {
    let broken = |error: wasmtime::Error| SandboxError::Engine(format!("{error:#}"));
    let mut settings = settings.clone();
    if let Some(functions) = functions {
        settings.enable_incremental_compilation(Arc::clone(functions) as _).map_err(broken)?;
    }
    Engine::new(&settings).map_err(broken)
}

fn pool(instances: u32, max_memory: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(4)
        .max_tables_per_component(32)
        .max_memory_size(max_memory)
        .table_elements(TABLE_ELEMENTS)
        // Slots that were used stay warm, but no more than a machine's cores can use at once; that bounds idle memory.
        .max_unused_warm_slots(16)
        // A memory's lowest addresses are a stack's unused end; what a call wrote to lies above. Where the kernel can say
        // which pages those are, they alone are restored, and the next call meets them without page faults.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(32 << 10);
    pool
}

fn settings(allocation: InstanceAllocationStrategy) -> wasmtime::Config {
    let mut settings = wasmtime::Config::new();
    settings
        .allocation_strategy(allocation)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // NaN bits differ between processors; canonical ones make a call repeatable anywhere.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        .concurrency_support(false)
        .memory_init_cow(true)
        .signals_based_traps(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK);
    settings
}

/// Moves the engine's clock on while calls compute. Its thread ends when it is dropped.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// While it lives, the clock runs.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> Result<Ticker, SandboxError> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let engine = engine.clone();
        let ticking = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("purlin-ticker".to_owned())
            .spawn(move || tick(&engine, &ticking))?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    /// Keeps the clock running while `call` has a thread. While it waits for the host there is nothing to interrupt, and
    /// what it waits for would lose time to each tick.
    pub(crate) async fn during<T>(&self, mut call: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|context| {
            let _running = self.running();
            call.as_mut().poll(context)
        })
        .await
    }

    fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        // Either the ticker sees the count that was just raised, or this sees that it went to sleep.
        if self.shared.asleep.load(Ordering::SeqCst)
            && self.shared.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread panics nowhere; were it to, there is nothing left to do about it here.
            let _ = thread.join();
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        std::thread::sleep(TICK);
        engine.increment_epoch();
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
            continue;
        }
        idle += 1;
        if idle < IDLE_TICKS {
            continue;
        }
        idle = 0;
        shared.asleep.store(true, Ordering::SeqCst);
        while shared.running.load(Ordering::SeqCst) == 0
            && shared.asleep.load(Ordering::SeqCst)
            && !shared.stop.load(Ordering::SeqCst)
        {
            std::thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
    }
}
