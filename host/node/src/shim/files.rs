//! What lies in a container's folder, shared by the node and the shim: the launch order (`launch.json`), the state the
//! shim records (`started.json`, `exit.json`) and how both are written so that a kill between two steps leaves either
//! the old file or the new one. It decides nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) const LAUNCH: &str = "launch.json";
pub(crate) const STARTED: &str = "started.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const STOP: &str = "stop.json";
pub(crate) const START_ERROR: &str = "start-error";
pub(crate) const LOCK: &str = "lock";
pub(crate) const ALIVE: &str = "alive";
pub(crate) const LOG: &str = "log";
pub(crate) const ROTATED_LOG: &str = "log.1";

/// The order to run one attempt of one container. Written once, before the shim starts: the intent.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Launch {
    pub(crate) program: Program,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) isolation: Isolation,
    pub(crate) limits: Limits,
    pub(crate) cgroup: Option<PathBuf>,
}

/// The three ways to run a container.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Program {
    /// A host command.
    Process { argv: Vec<String> },
    /// A Wasm command, run by the stage itself.
    Wasm { module: PathBuf, args: Vec<String> },
    /// An OCI bundle, run by a runtime such as crun.
    Oci { runtime: PathBuf, bundle: PathBuf, id: String },
}

/// A host path that the program shall see at `target`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// How far the program's view of the file system can be its own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Isolation {
    /// The host's file system as it is.
    None,
    /// A private mount namespace, which root may make.
    Mount,
    /// A user namespace around the mount namespace, which others may make where the kernel lets them.
    UserMount,
}

/// Upper bounds from the container's `resources.limits`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) cpu_millis: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
}

/// Written by the shim before the program is spawned (without a pid) and again once the program runs.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) shim_pid: i32,
    pub(crate) pid: Option<i32>,
    /// The kernel's start time of `pid`, so that a recycled pid is never mistaken for the container.
    pub(crate) pid_start: Option<u64>,
    pub(crate) at: Timestamp,
}

/// How the container ended.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Timestamp,
    pub(crate) out_of_memory: bool,
    /// Why the program could not be started at all.
    pub(crate) start_error: Option<String>,
}

/// A request to stop, read by the shim at each SIGTERM.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) grace_seconds: u64,
}

/// Writes `value` so that after a crash `dir/name` is absent, the old value or the new one, and durable on return.
pub(crate) fn write_json<T: Serialize>(dir: &Path, name: &str, value: &T) -> io::Result<()> {
    let partial = dir.join(format!("{name}.partial"));
    let mut file = File::create(&partial)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&partial, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// Reads a file that [`write_json`] wrote; `None` when it is absent.
pub(crate) fn read_json<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    match fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the folder's lock; `None` when a live shim holds it.
pub(crate) fn try_lock(dir: &Path) -> io::Result<Option<Flock<File>>> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// The kernel's start time of a process, in ticks since boot; `None` when there is no such process.
pub(crate) fn process_start(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and parentheses; the fields start after the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Kills what a dead shim left in its session. A session's number is not used again while it has members, so with its
/// leader gone they can only be the container's. A leader that nobody has reaped yet is gone as well.
pub(crate) fn kill_session(shim_pid: i32) {
    let stat = fs::read_to_string(format!("/proc/{shim_pid}/stat")).ok();
    let state = stat.as_deref().and_then(|stat| stat.rsplit_once(')')?.1.trim_start().chars().next());
    if !matches!(state, None | Some('Z' | 'X')) {
        return;
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let session = fs::read_to_string(entry.path().join("stat"))
            .ok()
            .and_then(|stat| stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse::<i32>().ok());
        if session == Some(shim_pid) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    fn state(pid: i32) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < deadline, "{what} did not happen in 30 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_session_of_a_shim_that_is_dead_but_not_reaped_is_killed() {
        let mut leader = Command::new("setsid")
            .args(["sh", "-c", "sleep 600 > /dev/null & echo $!"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shim = leader.id() as i32;
        let mut line = String::new();
        BufReader::new(leader.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let left: i32 = line.trim().parse().unwrap();
        until("the leader's end", || state(shim) == Some('Z'));
        assert!(!matches!(state(left), None | Some('Z')));
        kill_session(shim);
        until("the end of what it left", || matches!(state(left), None | Some('Z')));
        leader.wait().unwrap();
    }
}
