//! What is known of a Pod's containers: one [`Record`] each, made from the API's Pod and from the folders on disk, and
//! changed by what the shims report. No I/O besides [`load`], which reads the folders once at a restart.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Pod};
use nix::fcntl::Flock;

use crate::backoff::Restarts;
use crate::shim::files::{self, Exit, Launch, Started};

/// The part that a container plays in its Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with restartPolicy Always: stays beside the rest.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// Not running: why, and when it may be tried again.
    Waiting { reason: &'static str, message: Option<String>, until: Option<Instant> },
    /// Ordered from a shim that has not said yet that it started.
    Starting,
    /// Running.
    Running(Started),
    /// Ended.
    Ended(Ended),
}

/// An end, as the Pod's status tells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) reason: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) container_id: String,
}

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) spec: Container,
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) last: Option<Ended>,
    /// Attempts so far; the folder of the current one is `attempts - 1`.
    pub(crate) attempts: u32,
    pub(crate) restarts: Restarts,
    pub(crate) pull_failures: u32,
    pub(crate) image_id: String,
    /// By its startup probe, or at once without one.
    pub(crate) started: bool,
    /// By its readiness probe, or as soon as it started without one.
    pub(crate) ready: bool,
    /// It was asked to stop.
    pub(crate) stopping: bool,
    /// An earlier host started it.
    pub(crate) found: bool,
}

impl Record {
    fn new(spec: &Container, role: Role, waiting: &'static str) -> Self {
        Record {
            spec: spec.clone(),
            role,
            state: State::Waiting { reason: waiting, message: None, until: None },
            last: None,
            attempts: 0,
            restarts: Restarts::default(),
            pull_failures: 0,
            image_id: String::new(),
            started: false,
            ready: false,
            stopping: false,
            found: false,
        }
    }

    /// Whether a process may exist.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Starting | State::Running(_))
    }

    /// Its end, when it ended.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            State::Waiting { .. } | State::Starting | State::Running(_) => None,
        }
    }

    /// The folder of attempt `number` of this container.
    pub(crate) fn attempt_dir(&self, pod_dir: &Path, number: u32) -> PathBuf {
        pod_dir.join("containers").join(&self.spec.name).join(number.to_string())
    }

    /// The folder of the current attempt.
    pub(crate) fn dir(&self, pod_dir: &Path) -> PathBuf {
        self.attempt_dir(pod_dir, self.attempts.saturating_sub(1))
    }

    /// Its identity in the Pod's status.
    pub(crate) fn container_id(&self, uid: &str) -> String {
        format!("purlin://{uid}/{}/{}", self.spec.name, self.attempts.saturating_sub(1))
    }

    /// Records the end of the current attempt.
    pub(crate) fn end(&mut self, exit: Exit, message: Option<String>, uid: &str) -> Duration {
        let reason = reason_of(&exit);
        self.end_as(exit, reason, message, uid)
    }

    /// Records an end under a reason of its own.
    pub(crate) fn end_as(
        &mut self,
        exit: Exit,
        reason: &'static str,
        message: Option<String>,
        uid: &str,
    ) -> Duration {
        let ran = exit.finished_at.duration_since(exit.started_at);
        let ended = Ended { exit, reason, message, container_id: self.container_id(uid) };
        self.state = State::Ended(ended);
        self.started = false;
        self.ready = false;
        self.stopping = false;
        self.found = false;
        self.restarts.ended(ran.unsigned_abs())
    }
}

fn reason_of(exit: &Exit) -> &'static str {
    if exit.start_error.is_some() {
        "StartError"
    } else if exit.out_of_memory {
        "OOMKilled"
    } else if exit.code == 0 {
        "Completed"
    } else {
        "Error"
    }
}

/// The end of the attempt before the current one, from its folder.
pub(crate) fn previous_end(record: &Record, pod_dir: &Path, uid: &str) -> Option<Ended> {
    let attempt = record.attempts.checked_sub(2)?;
    let dir = record.attempt_dir(pod_dir, attempt);
    let exit: Exit = files::read_json(&dir, files::EXIT).ok()??;
    Some(Ended {
        reason: reason_of(&exit),
        message: super::launch::termination_message(&record.spec, &dir, &exit),
        container_id: format!("purlin://{uid}/{}/{attempt}", record.spec.name),
        exit,
    })
}

/// The records of a Pod that this node sees for the first time.
pub(crate) fn fresh(pod: &Pod) -> Vec<Record> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        Record::new(container, if sidecar { Role::Sidecar } else { Role::Init }, "PodInitializing")
    });
    let first = if spec.init_containers.iter().flatten().next().is_some() {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    init.chain(spec.containers.iter().map(|container| Record::new(container, Role::Main, first))).collect()
}

/// What the folders say of an attempt when the node finds it again.
#[derive(Debug)]
pub(crate) enum Found {
    /// No shim got as far as starting it: it may be started, by whoever takes the lock.
    Intended,
    /// A shim holds it.
    Held,
    /// It ended.
    Exited(Exit),
    /// Its shim died without recording an end; the program, if any, was killed.
    Lost(Started),
}

/// Looks at one attempt's folder.
pub(crate) fn inspect(dir: &Path) -> io::Result<Found> {
    let lock = files::try_lock(dir)?;
    look(dir, lock.as_ref())
}

/// Takes an attempt's folder away from its shims, once what ran in it is dead: none starts it while the lock is kept, nor
/// afterwards. `None` while a shim holds it.
pub(crate) fn claim(dir: &Path) -> io::Result<Option<Flock<File>>> {
    let Some(lock) = files::try_lock(dir)? else { return Ok(None) };
    look(dir, Some(&lock))?;
    match fs::remove_file(dir.join(files::LAUNCH)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(Some(lock)),
    }
}

fn look(dir: &Path, lock: Option<&Flock<File>>) -> io::Result<Found> {
    if let Some(exit) = files::read_json(dir, files::EXIT)? {
        return Ok(Found::Exited(exit));
    }
    if lock.is_none() {
        return Ok(Found::Held);
    }
    match files::read_json::<Started>(dir, files::STARTED)? {
        None => Ok(Found::Intended),
        Some(started) => {
            files::kill_session(started.shim_pid);
            if let Ok(Some(Launch { cgroup: Some(cgroup), .. })) =
                files::read_json::<Launch>(dir, files::LAUNCH)
            {
                let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            }
            Ok(Found::Lost(started))
        }
    }
}

/// The number of attempts that `record` has folders for.
pub(crate) fn attempts_on_disk(record: &Record, pod_dir: &Path) -> u32 {
    let folder = pod_dir.join("containers").join(&record.spec.name);
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_folder_is_taken_and_has_no_order_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(files::LAUNCH), "{}").unwrap();
        let held = files::try_lock(dir.path()).unwrap().unwrap();
        assert!(claim(dir.path()).unwrap().is_none(), "a shim holds it");
        drop(held);
        let claimed = claim(dir.path()).unwrap().unwrap();
        assert!(files::try_lock(dir.path()).unwrap().is_none());
        drop(claimed);
        assert!(!dir.path().join(files::LAUNCH).exists());
    }
}
