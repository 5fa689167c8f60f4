//! Runs a Wasm command component inside the stage's process: arguments, environment, inherited output, and the volume
//! mounts as the only folders that it can open. A trap is an exit with status 134, as an abort would be.

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::files::{Launch, Program};

/// Memory that a command may use when the container sets no limit.
const DEFAULT_MEMORY: usize = 1 << 30;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Runs the command to its end and returns its exit status; an error is one that kept it from starting.
pub(super) fn run(launch: &Launch) -> Result<u8, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting the Wasm runtime: {error}"))?;
    runtime.block_on(run_command(launch))
}

async fn run_command(launch: &Launch) -> Result<u8, String> {
    let Program::Wasm { module, args } = &launch.program else {
        return Err("not a Wasm container".to_owned());
    };
    let engine =
        Engine::new(&Config::new()).map_err(|error| format!("starting the Wasm engine: {error:#}"))?;
    let component = Component::from_file(&engine, module).map_err(|error| {
        format!("compiling {}: {error:#}; the image must hold a wasi:cli/command component", module.display())
    })?;
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)
        .map_err(|error| format!("linking WASI: {error:#}"))?;
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(args).inherit_stdout().inherit_stderr();
    for (name, value) in &launch.env {
        wasi.env(name, value);
    }
    for bind in &launch.binds {
        let perms = if bind.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        wasi.preopened_dir(&bind.source, bind.target.to_string_lossy(), perms)
            .map_err(|error| format!("opening the volume at {}: {error:#}", bind.target.display()))?;
    }
    let memory = launch.limits.memory_bytes.map_or(DEFAULT_MEMORY, |bytes| bytes as usize);
    let limits = StoreLimitsBuilder::new().memory_size(memory).build();
    let mut store = Store::new(&engine, State { wasi: wasi.build(), table: ResourceTable::new(), limits });
    store.limiter(|state| &mut state.limits);
    let command = Command::instantiate_async(&mut store, &component, &linker)
        .await
        .map_err(|error| format!("instantiating: {error:#}"))?;
    match command.wasi_cli_run().call_run(&mut store).await {
        Ok(Ok(())) => Ok(0),
        Ok(Err(())) => Ok(1),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0 as u8),
            None => {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "{error:?}");
                Ok(134)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::files::{Isolation, Limits};

    /// A command whose `run` has `body`, which leaves 0 for success or 1 for failure.
    fn run_with(body: &str, memory_bytes: Option<u64>) -> Result<u8, String> {
        let text = format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 64)
                    (func (export "run") (result i32) {body}))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance (export "wasi:cli/run@0.2.0") (export "run" (func $run))))"#
        );
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("command.wasm");
        std::fs::write(&module, wat::parse_str(text).unwrap()).unwrap();
        run(&Launch {
            program: Program::Wasm { module, args: vec!["command".to_owned()] },
            env: Default::default(),
            working_dir: None,
            binds: Vec::new(),
            isolation: Isolation::None,
            limits: Limits { cpu_millis: None, memory_bytes },
            cgroup: None,
        })
    }

    #[test]
    fn the_result_is_the_exit_status() {
        assert_eq!(run_with("i32.const 0", None), Ok(0));
        assert_eq!(run_with("i32.const 1", None), Ok(1));
    }

    #[test]
    fn a_trap_is_an_abort() {
        assert_eq!(run_with("unreachable", None), Ok(134));
    }

    #[test]
    fn more_memory_than_the_limit_keeps_it_from_starting() {
        assert!(run_with("i32.const 0", Some(1 << 20)).unwrap_err().contains("memory"));
    }

    #[test]
    fn what_is_no_component_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("bad.wasm");
        std::fs::write(&module, "text").unwrap();
        let launch = Launch {
            program: Program::Wasm { module, args: Vec::new() },
            env: Default::default(),
            working_dir: None,
            binds: Vec::new(),
            isolation: Isolation::None,
            limits: Limits::default(),
            cgroup: None,
        };
        assert!(run(&launch).unwrap_err().contains("wasi:cli/command"));
    }
}
