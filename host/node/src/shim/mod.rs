//! The supervising process around each container: `supervise` is its whole life, `stage` the last step inside the
//! container's own process before the program starts. The binary re-executes itself into [`main`] through a hidden
//! subcommand. A shim outlives a host that is killed, so it must never need the host, and it stays small: no runtime,
//! no client, nothing initialised before it knows that it may run.

mod exec;
pub(crate) mod files;
mod log;
mod rootfs;
mod stage;
mod supervise;
mod wasm;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status of a shim that found the container's folder in the hands of another shim, or already used.
pub(crate) const NOT_MINE: u8 = 75;
/// Exit status that the container gets when its program could not be started.
pub(crate) const START_FAILED: i32 = 128;

/// Runs a shim. `args` are the arguments after the hidden subcommand: `supervise DIR` and `exec DIR
/// COMMAND..` from the node, `stage DIR` from the shim itself. The binary calls this before it starts threads.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(mode), Some(dir)) = (args.next(), args.next()) else {
        return refuse("a shim is started by the node, as `supervise DIR`");
    };
    let dir = PathBuf::from(dir);
    match mode.to_str() {
        Some("supervise") => match supervise::run(&dir, args.collect()) {
            Ok(code) => code,
            Err(error) => refuse(&format!("supervising {}: {error}", dir.display())),
        },
        Some("stage") => stage::run(&dir),
        Some("exec") => exec::run(&dir, &args.collect::<Vec<_>>()),
        _ => refuse("unknown shim mode"),
    }
}

fn refuse(message: &str) -> ExitCode {
    use std::io::Write;
    // Standard error is the node's log; nobody is left to tell when even that fails.
    let _ = writeln!(std::io::stderr(), "purlin shim: {message}");
    ExitCode::from(70)
}
