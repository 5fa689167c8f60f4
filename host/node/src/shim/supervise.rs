//! A shim's life: take the folder's lock, record the start, spawn the program in a process group of its own, copy its
//! output to the log, pass on a stop request, and when the program ends kill whatever it left and record the exit.
//!
//! The order on disk is what makes a kill at any moment safe: `launch.json` (by the node), lock, `started.json` before
//! the spawn, `started.json` with the program's pid once it runs, `exit.json` after everything is dead. A folder with
//! `started.json` is never run again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::files::{self, Exit, Launch, Started, Stop};
use super::{NOT_MINE, START_FAILED, log};

/// Supervises the container in `dir`. `prefix` is how this binary reaches [`super::main`] again.
pub(super) fn run(dir: &Path, prefix: Vec<OsString>) -> io::Result<ExitCode> {
    // Fails only for a process group's leader, which is then already apart from the node's terminal.
    let _ = setsid();
    // Before the lock: who sees the lock held may rely on the pipe having a writer.
    let alive = File::options().read(true).write(true).open(dir.join(files::ALIVE))?;
    let Some(lock) = files::try_lock(dir)? else { return Ok(ExitCode::from(NOT_MINE)) };
    if dir.join(files::STARTED).exists() || dir.join(files::EXIT).exists() {
        return Ok(ExitCode::from(NOT_MINE));
    }
    let launch: Launch = files::read_json(dir, files::LAUNCH)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no launch.json"))?;
    let signals: SigSet =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect();
    signals.thread_block()?;
    prctl::set_child_subreaper(true)?;
    let mut started =
        Started { shim_pid: Pid::this().as_raw(), pid: None, pid_start: None, at: Timestamp::now() };
    files::write_json(dir, files::STARTED, &started)?;
    let log = Arc::new(Mutex::new(log::LogFile::open(dir)?));
    let (running, not_yet) = io::pipe()?;
    // Not by its path, where an upgrade may have put another version meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args(prefix)
        .arg("stage")
        .arg(dir)
        .stdin(Stdio::from(not_yet))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let main = Pid::from_raw(child.id() as i32);
    started.pid = Some(main.as_raw());
    // Before anybody reaps it, after which the number may be another process's.
    started.pid_start = files::process_start(main.as_raw());
    let start = {
        let dir = dir.to_owned();
        std::thread::spawn(move || announce(running, started, &dir))
    };
    let mut pumps = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let log = log.clone();
        pumps.push(std::thread::spawn(move || log::pump(stdout, "stdout", &log)));
    }
    if let Some(stderr) = child.stderr.take() {
        let log = log.clone();
        pumps.push(std::thread::spawn(move || log::pump(stderr, "stderr", &log)));
    }
    let status = wait_for(main, &signals, dir)?;
    let finished_at = Timestamp::now();
    end_the_rest(main, launch.cgroup.as_deref());
    for pump in pumps {
        let _ = pump.join();
    }
    let started_at = start.join().map_err(|_| io::Error::other("the start was not recorded"))??;
    let out_of_memory = launch.cgroup.as_deref().is_some_and(ran_out_of_memory);
    let start_error = fs::read_to_string(dir.join(files::START_ERROR)).ok();
    let (code, signal) = match status {
        _ if start_error.is_some() => (START_FAILED, None),
        Ended::Code(code) => (code, None),
        Ended::Signal(signal) => (128 + signal, Some(signal)),
    };
    let exit = Exit { code, signal, started_at, finished_at, out_of_memory, start_error };
    files::write_json(dir, files::EXIT, &exit)?;
    if let Some(cgroup) = &launch.cgroup {
        let _ = fs::remove_dir(cgroup);
    }
    drop(alive);
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// Waits until the program runs, then records it and tells the node. On its own thread: a stop request may come before.
fn announce(mut running: PipeReader, mut started: Started, dir: &Path) -> io::Result<Timestamp> {
    io::copy(&mut running, &mut io::sink())?;
    started.at = Timestamp::now();
    if dir.join(files::START_ERROR).exists() {
        return Ok(started.at);
    }
    files::write_json(dir, files::STARTED, &started)?;
    // The node, if it still lives, waits for this line on our standard output.
    let _ = serde_json::to_writer(io::stdout(), &started).map(|()| io::stdout().write_all(b"\n"));
    let _ = io::stdout().flush();
    Ok(started.at)
}

enum Ended {
    Code(i32),
    Signal(i32),
}

/// Reaps children until `main` is among them, and acts on stop requests meanwhile.
fn wait_for(main: Pid, signals: &SigSet, dir: &Path) -> io::Result<Ended> {
    loop {
        while let Some(status) = reap()? {
            match status {
                WaitStatus::Exited(pid, code) if pid == main => return Ok(Ended::Code(code)),
                WaitStatus::Signaled(pid, signal, _) if pid == main => {
                    return Ok(Ended::Signal(signal as i32));
                }
                _ => {}
            }
        }
        // A terminal's Ctrl-C or hang-up is meant for the host, not for its containers: taken and ignored.
        if signals.wait()? == Signal::SIGTERM {
            let stop: Option<Stop> = files::read_json(dir, files::STOP).unwrap_or(None);
            let grace = stop.map_or(30, |stop| stop.grace_seconds);
            if grace > 0 {
                let _ = kill(main, Signal::SIGTERM);
            }
            // The process ends soon after `main`, and this thread with it, before the pid can be used again.
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(grace));
                let _ = killpg(main, Signal::SIGKILL);
            });
        }
    }
}

/// One child that ended, if any.
fn reap() -> io::Result<Option<WaitStatus>> {
    match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(status) => Ok(Some(status)),
        Err(errno) => Err(errno.into()),
    }
}

/// Kills what the program left: its group, its cgroup, and the orphans that came to us as their reaper.
fn end_the_rest(main: Pid, cgroup: Option<&Path>) {
    let _ = killpg(main, Signal::SIGKILL);
    if let Some(cgroup) = cgroup {
        let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    }
    loop {
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        match waitpid(None::<Pid>, None) {
            Ok(_) => {}
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Our children, from `/proc`: those that left the program's group as daemons do are found here.
fn children() -> Vec<Pid> {
    let me = Pid::this().as_raw().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(&me)
            })
        })
        .map(Pid::from_raw)
        .collect()
}

fn ran_out_of_memory(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("memory.events")).is_ok_and(|events| {
        events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    })
}
