//! The node's side of a shim: start one, find one again, wait for what it reports, and ask it to stop. The folder's
//! lock decides who runs the container; this module only watches.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::pod::probe::Verdict;
use crate::pod::record::{Found, inspect};
use crate::shim::files::{self, Started, Stop};

/// How often the start of another host's shim is looked for.
const START_EVERY: Duration = Duration::from_millis(20);

/// What a shim reported.
#[derive(Debug)]
pub(crate) enum Report {
    /// The program runs.
    Started(Started),
    /// The attempt is over: how is in its folder.
    Over(Found),
    /// The folder could not be watched.
    Broken(io::Error),
    /// A probe came to another result.
    Probed(Verdict),
    /// A postStart hook failed.
    HookFailed(String),
}

/// Reports of one container's attempt.
pub(crate) struct ContainerReport {
    pub(crate) index: usize,
    pub(crate) attempt: u32,
    pub(crate) report: Report,
}

/// Prepares `dir` for a shim. Idempotent, since a kill may come between its steps.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    match mkfifo(&dir.join(files::ALIVE), Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Where an attempt's reports go.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) index: usize,
    pub(crate) attempt: u32,
    pub(crate) dir: PathBuf,
    pub(crate) reports: mpsc::Sender<ContainerReport>,
}

impl Watch {
    pub(crate) async fn send(&self, report: Report) {
        // The worker is gone when its Pod is: nobody is left to tell.
        let _ = self.reports.send(ContainerReport { index: self.index, attempt: self.attempt, report }).await;
    }
}

/// Starts a shim for the order in the folder, and watches it.
pub(crate) fn start(shim: &[OsString], watch: Watch) -> io::Result<()> {
    let (program, prefix) = shim
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no shim program is configured"))?;
    let mut child = tokio::process::Command::new(program)
        .args(prefix)
        .arg("supervise")
        .arg(&watch.dir)
        .args(prefix)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(File::create(watch.dir.join("shim-error"))?))
        .kill_on_drop(false)
        .spawn()?;
    let stdout = child.stdout.take();
    tokio::spawn(async move {
        let mut told = false;
        if let Some(stdout) = stdout {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line).await;
            if read.is_ok()
                && let Ok(started) = serde_json::from_str::<Started>(&line)
            {
                watch.send(Report::Started(started)).await;
                told = true;
            }
        }
        // A shim that found the folder taken leaves at once; then the one that has it is watched.
        let _ = child.wait().await;
        follow(watch, told).await;
    });
    Ok(())
}

/// Watches a shim that an earlier host started.
pub(crate) fn reattach(watch: Watch) {
    tokio::spawn(follow(watch, false));
}

/// Waits until no shim holds the folder, then reports how it ended; before that the start, where nobody was `told` it.
async fn follow(watch: Watch, mut told: bool) {
    loop {
        // Opened before the lock is looked at: a shim has the pipe open for as long as it holds the lock.
        let alive = pipe::OpenOptions::new().open_receiver(watch.dir.join(files::ALIVE));
        match inspect(&watch.dir) {
            Ok(Found::Held) if !told => {
                match files::read_json::<Started>(&watch.dir, files::STARTED) {
                    Ok(Some(started)) if started.pid.is_some() => {
                        watch.send(Report::Started(started)).await;
                        told = true;
                    }
                    // The shim is another host's child: only its files say when the program runs.
                    Ok(_) | Err(_) => tokio::time::sleep(START_EVERY).await,
                }
            }
            Ok(Found::Held) => {
                if let Ok(mut alive) = alive {
                    let mut byte = [0];
                    let _ = alive.read(&mut byte).await;
                    // The pipe closes a moment before the lock does.
                    tokio::task::yield_now().await;
                }
            }
            Ok(over) => return watch.send(Report::Over(over)).await,
            Err(error) => return watch.send(Report::Broken(error)).await,
        }
    }
}

/// Asks the shim in `dir` to stop its program: SIGTERM now, SIGKILL after `grace_seconds`.
pub(crate) fn stop(dir: &Path, grace_seconds: u64) -> io::Result<()> {
    files::write_json(dir, files::STOP, &Stop { grace_seconds })?;
    // In this order: the lock of a folder without a start must be left to the shim that is on its way.
    let Some(started) = files::read_json::<Started>(dir, files::STARTED)? else { return Ok(()) };
    if files::try_lock(dir)?.is_none() {
        kill(Pid::from_raw(started.shim_pid), Signal::SIGTERM)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn started(pid: Option<i32>) -> Started {
        Started { shim_pid: 1, pid, pid_start: None, at: Timestamp::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn the_start_of_another_hosts_shim_is_reported_when_its_program_runs() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        // As a shim has them.
        let alive = File::options().read(true).write(true).open(dir.path().join(files::ALIVE)).unwrap();
        let lock = files::try_lock(dir.path()).unwrap().unwrap();
        let (reports, mut received) = mpsc::channel(4);
        reattach(Watch { index: 0, attempt: 0, dir: dir.path().to_owned(), reports });
        let early = tokio::time::timeout(START_EVERY * 3, received.recv()).await;
        assert!(early.is_err(), "nothing is recorded yet");
        files::write_json(dir.path(), files::STARTED, &started(None)).unwrap();
        let early = tokio::time::timeout(START_EVERY * 3, received.recv()).await;
        assert!(early.is_err(), "only the intent is");
        files::write_json(dir.path(), files::STARTED, &started(Some(2))).unwrap();
        let report = received.recv().await.unwrap().report;
        assert!(matches!(report, Report::Started(Started { pid: Some(2), .. })), "{report:?}");
        drop(alive);
        drop(lock);
        let report = received.recv().await.unwrap().report;
        assert!(matches!(report, Report::Over(Found::Lost(_))), "{report:?}");
    }

    #[test]
    fn a_stop_leaves_the_lock_to_a_shim_that_is_on_its_way() {
        let dir = tempfile::tempdir().unwrap();
        stop(dir.path(), 1).unwrap();
        assert!(!dir.path().join(files::LOCK).exists());
    }
}
