//! Runs a command inside a running container, for probes and lifecycle hooks: it enters the container's namespaces and
//! root and then becomes the command. Reached as `exec DIR COMMAND..`; its exit status is the command's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, setns};
use nix::unistd::{chroot, fchdir};

use super::files::{self, Isolation, Launch, Program, Started};
use super::stage::search;

/// Exit status when the command could not be run, as a shell has it.
const NOT_RUN: u8 = 126;

/// Becomes `command` inside the container in `dir`.
pub(super) fn run(dir: &Path, command: &[OsString]) -> ExitCode {
    let error = match enter(dir, command) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    };
    use std::io::Write;
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(NOT_RUN)
}

fn enter(dir: &Path, command: &[OsString]) -> io::Result<Command> {
    let absent = |what: &str| io::Error::new(io::ErrorKind::NotFound, what.to_owned());
    let launch: Launch = files::read_json(dir, files::LAUNCH)?.ok_or_else(|| absent("no such container"))?;
    let (program, args) = command.split_first().ok_or_else(|| absent("no command"))?;
    match &launch.program {
        Program::Process { .. } => {}
        Program::Oci { runtime, id, .. } => {
            let mut outer = Command::new(runtime);
            outer.arg("exec").arg(id).args(command);
            return Ok(outer);
        }
        Program::Wasm { .. } => return Err(absent("a Wasm container runs nothing but its component")),
    }
    let started: Started =
        files::read_json(dir, files::STARTED)?.ok_or_else(|| absent("the container is not running"))?;
    let pid = started.pid.ok_or_else(|| absent("the container is not running"))?;
    if files::process_start(pid) != started.pid_start {
        return Err(absent("the container is not running"));
    }
    if let Some(cgroup) = &launch.cgroup {
        fs::write(cgroup.join("cgroup.procs"), "0")?;
    }
    if launch.isolation != Isolation::None && !launch.binds.is_empty() {
        // Everything is opened first: the paths mean something else once inside.
        let root = File::open(format!("/proc/{pid}/root"))?;
        let mounts = File::open(format!("/proc/{pid}/ns/mnt"))?;
        if launch.isolation == Isolation::UserMount {
            setns(File::open(format!("/proc/{pid}/ns/user"))?, CloneFlags::CLONE_NEWUSER)?;
        }
        setns(mounts, CloneFlags::CLONE_NEWNS)?;
        fchdir(root)?;
        chroot(".")?;
    }
    std::env::set_current_dir(launch.working_dir.as_deref().unwrap_or("/"))?;
    let program =
        search(&program.to_string_lossy(), launch.env.get("PATH").map_or("/usr/bin:/bin", String::as_str))?;
    let mut inner = Command::new(program);
    inner.args(args).env_clear().envs(&launch.env);
    Ok(inner)
}
