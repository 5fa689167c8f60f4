//! WASI 0.2 for plugins whose language's runtime expects it: everything is there and nothing leads outside.
//!
//! There are no folders, no sockets, no names to look up, no environment and no arguments. The clocks stand still at the
//! time in the request, randomness comes from the request's seed, and what is printed goes to the plugin's log. So a
//! plugin with WASI can be replayed as any other.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::call::CallState;
use crate::contract::Context;

/// The longest line that is gathered before it is written.
const LINE: usize = 4096;

/// Lines of one call.
const LINES: usize = 256;

/// Packages of WASI that are served. What else there is (`wasi:http`, `wasi:keyvalue`, ...) leads outside.
const PACKAGES: &[&str] =
    &["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Whether an import is of these.
pub(crate) fn serves(import: &str) -> bool {
    PACKAGES.iter().any(|package| import.starts_with(package))
}

/// Links all of them.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// The WASI of one call.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    output: Output,
}

impl Wasi {
    pub(crate) fn new(context: Option<&Context>) -> Wasi {
        let (now, seed) = context.map_or((0, 0), |context| (context.now_ms, context.seed));
        let output = Output::default();
        let context = WasiCtxBuilder::new()
            .stdout(output.clone())
            .stderr(output.clone())
            .wall_clock(Still(Duration::from_millis(now)))
            .monotonic_clock(Still(Duration::from_millis(now)))
            .secure_random(ChaCha8Rng::seed_from_u64(seed))
            .insecure_random(ChaCha8Rng::seed_from_u64(!seed))
            .insecure_random_seed(seed.into())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Wasi { context, table: ResourceTable::new(), output }
    }

    /// What was printed, line by line.
    pub(crate) fn printed(&self) -> Vec<String> {
        self.output.0.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // A component that imports no WASI calls none of this; it gets one all the same rather than a panic.
        let wasi = self.wasi.get_or_insert_with(|| Box::new(Wasi::new(None)));
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

/// A clock that stands still.
struct Still(Duration);

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Gathers what is printed, bounded.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    done: Vec<String>,
    open: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end();
            } else if self.open.len() < LINE {
                self.open.push(*byte);
            }
        }
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.open);
        if self.done.len() < LINES {
            self.done.push(String::from_utf8_lossy(&line).into_owned());
        }
    }

    fn finish(&mut self) -> Vec<String> {
        if !self.open.is_empty() {
            self.end();
        }
        std::mem::take(&mut self.done)
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_bounded() {
        let mut lines = Lines::default();
        lines.take(b"one\ntw");
        lines.take(b"o\n\nthree");
        assert_eq!(lines.finish(), ["one", "two", "", "three"]);
        lines.take(&vec![b'x'; 1 << 20]);
        lines.take(&vec![b'\n'; 1 << 20]);
        let finished = lines.finish();
        assert_eq!((finished.len(), finished[0].len()), (LINES, LINE));
    }

    #[test]
    fn packages_that_lead_outside_are_not_served() {
        assert!(serves("wasi:cli/environment@0.2.0") && serves("wasi:io/streams@0.2.6"));
        for import in [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:keyvalue/store@0.2.0",
            "wasi:clip/x",
            "purlin:plugin/kv@0.2.0",
        ] {
            assert!(!serves(import), "{import}");
        }
    }
}
