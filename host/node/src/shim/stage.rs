//! The container's process between the shim's spawn and the program: it joins the cgroup, sets limits, makes the file
//! system view and then becomes the program (or runs the Wasm command in place). What fails here is written to
//! `start-error`, which the shim turns into the container's exit record.
//!
//! The shim hands it the end of a pipe as standard input. That it is closed says that the program runs: until then the
//! container's view is not made, and nobody may enter it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stdin, getppid};

use super::files::{self, Launch, Program, Started};
use super::{START_FAILED, rootfs, wasm};

/// Becomes the program of the container in `dir`.
pub(super) fn run(dir: &Path) -> ExitCode {
    // Held until the program runs, which closes it, or until why it does not run is on disk.
    let pipe = take_stdin();
    let ready = match &pipe {
        Ok(_) => prepare(dir),
        Err(error) => Err(io::Error::other(format!("taking the standard input: {error}"))),
    };
    let error = match ready {
        Ok(Ready::Exec(mut command)) => {
            let program = command.get_program().to_string_lossy().into_owned();
            format!("exec {program}: {}", command.exec())
        }
        Ok(Ready::Wasm(launch)) => {
            drop(pipe);
            match wasm::run(&launch) {
                Ok(code) => return ExitCode::from(code),
                Err(error) => error,
            }
        }
        Err(error) => error.to_string(),
    };
    let _ = fs::write(dir.join(files::START_ERROR), error);
    ExitCode::from(START_FAILED as u8)
}

/// Takes the shim's pipe from standard input, where the program gets nothing to read.
fn take_stdin() -> io::Result<OwnedFd> {
    let pipe = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(pipe)
}

enum Ready {
    Exec(Command),
    Wasm(Box<Launch>),
}

fn prepare(dir: &Path) -> io::Result<Ready> {
    // The shim blocks the signals that it waits for; the program must not inherit that.
    SigSet::all().thread_unblock()?;
    // Should the shim itself be killed, its program goes with it rather than being left to nobody.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let shim: Option<Started> = files::read_json(dir, files::STARTED)?;
    if shim.is_none_or(|shim| shim.shim_pid != getppid().as_raw()) {
        return Err(io::Error::other("the shim is gone"));
    }
    let launch: Launch = files::read_json(dir, files::LAUNCH)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no launch.json"))?;
    match (&launch.cgroup, launch.limits.memory_bytes) {
        (Some(cgroup), _) => fs::write(cgroup.join("cgroup.procs"), "0")
            .map_err(|error| context(error, &format!("joining the cgroup {}", cgroup.display())))?,
        // Without a cgroup the heap alone can be bounded; a Wasm instance bounds its own memory.
        (None, Some(bytes)) if !matches!(launch.program, Program::Wasm { .. }) => {
            setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?;
        }
        (None, _) => {}
    }
    let (program, args) = match &launch.program {
        Program::Wasm { .. } => return Ok(Ready::Wasm(Box::new(launch))),
        Program::Oci { runtime, bundle, id } => {
            let mut command = Command::new(runtime);
            command.arg("run").arg("--bundle").arg(bundle).arg(id);
            return Ok(Ready::Exec(command));
        }
        Program::Process { argv } => {
            argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?
        }
    };
    rootfs::enter(&launch.binds, launch.isolation)?;
    // `Command` would search this process's PATH, not the container's.
    let program =
        search(program, launch.env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str))?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(&launch.env);
    if let Some(folder) = &launch.working_dir {
        std::env::set_current_dir(folder)
            .map_err(|error| context(error, &format!("changing to the working directory {folder}")))?;
    } else {
        std::env::set_current_dir("/")?;
    }
    Ok(Ready::Exec(command))
}

/// Finds `program` on the container's PATH.
pub(super) fn search(program: &str, path: &str) -> io::Result<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    if program.contains('/') {
        return Ok(program.into());
    }
    path.split(':')
        .map(|folder| Path::new(folder).join(program))
        .find(|file| {
            fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("exec: {program:?}: executable file not found in $PATH ({path})"),
            )
        })
}

fn context(error: io::Error, doing: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}
