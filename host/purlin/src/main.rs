//! The Purlin binary: command line and wiring, no logic of its own.

#![forbid(unsafe_code)]

mod adapters;
mod bundle;
mod cli;
mod connect;
mod console;
mod doctor;
mod fetch;
mod manifests;
mod node;
mod output;
mod parts;
mod plugin;
mod registry;
mod reporter;
mod run;
mod services;
mod serving;
mod supply;
mod up;
mod workbench;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser as _};
use purlin_telemetry::{LogFormat, TracingConfig};

use cli::{Cli, Command, LogArgs, LogFormatArg};

/// What a command ends with that may succeed later, as sysexits.h has it.
const TRY_AGAIN: u8 = 75;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        // Before anything else: a shim makes namespaces, which a process with threads cannot.
        Command::Shim { args } => return purlin_node::shim::main(args),
        Command::Completion { shell } => {
            // Into memory first: clap panics where the script cannot be written, as when `head` has read enough.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "purlin", &mut script);
            output::bytes(&script).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Command::Doctor(args) => {
            doctor::run(&args).map(|sound| if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Crds => manifests::crds().map(|()| ExitCode::SUCCESS),
        Command::Rbac(args) => with_runtime(cli.log, || manifests::rbac(&args)),
        Command::Run(args) => with_runtime(cli.log, || run::run(&args)),
        Command::Node(args) => with_runtime(cli.log, || node::run(&args)),
        Command::Registry(args) => with_runtime(cli.log, || registry::run(&args)),
        Command::Up(args) => with_runtime(cli.log, || up::run(&args)),
        Command::Fetch(args) => with_runtime(cli.log, || fetch::run(&args)),
        Command::Console(args) => with_runtime(cli.log, || console::show(&args)),
        Command::Plugin(command) => with_runtime(cli.log, || plugin::run(&command)),
    };
    outcome.unwrap_or_else(|error| {
        if output::unread(&error) {
            return ExitCode::SUCCESS;
        }
        let _ = output::error(&error);
        match error.downcast_ref::<purlin_models::SourceError>() {
            // For an init container and for scripts: trying again is of use.
            Some(error) if error.passing => ExitCode::from(TRY_AGAIN),
            _ => ExitCode::FAILURE,
        }
    })
}

/// Files and connections may be as many as the system lets this process have. The 1024 that a shell begins with are not
/// enough for a gateway: idle connections would use them up.
fn open_more_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && now < most
    {
        // Where it may not be, it goes on with what it has.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Sets up logging, TLS and the runtime, and runs one command to its end.
fn with_runtime<F, R>(log: LogArgs, command: F) -> Result<ExitCode>
where
    F: FnOnce() -> R,
    R: Future<Output = Result<()>>,
{
    open_more_files();
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _guard = TracingConfig {
        format: match log.log_format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        },
        filter: log.log,
        otlp_endpoint: log.otlp_endpoint,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
    .install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(command());
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}
