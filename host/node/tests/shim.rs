//! The shim by itself, as the node starts it: what it says and writes, and when.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

/// A container whose start stands still where it joins its cgroup, until somebody reads that file, here a pipe.
struct Held {
    dir: tempfile::TempDir,
    shim: Child,
}

impl Held {
    fn start(script: &str) -> Self {
        Held::start_with(&["sh", "-c", script])
    }

    fn start_with(argv: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for pipe in ["alive", "cgroup.procs"] {
            mkfifo(&dir.path().join(pipe), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        let launch = json!({
            "program": {"kind": "process", "argv": argv},
            "env": {}, "working_dir": null, "binds": [], "isolation": "none",
            "limits": {"cpu_millis": null, "memory_bytes": null}, "cgroup": dir.path(),
        });
        std::fs::write(dir.path().join("launch.json"), launch.to_string()).unwrap();
        let example = std::env::current_exe().unwrap().parent().unwrap().join("../examples/node");
        let shim = Command::new(example)
            .args(["shim", "supervise"])
            .arg(dir.path())
            .arg("shim")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let held = Held { dir, shim };
        held.until("the intent", || held.started().is_some());
        held
    }

    fn read(&self, name: &str) -> Option<Value> {
        let text = std::fs::read(self.dir.path().join(name)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    fn started(&self) -> Option<Value> {
        self.read("started.json")
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "{what} did not happen in 60 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the program's process has been made, as far as the standstill.
    fn has_child(&self) -> bool {
        let children = format!("/proc/{0}/task/{0}/children", self.shim.id());
        !std::fs::read_to_string(children).unwrap().trim().is_empty()
    }

    /// Waits for the shim's end; all that it said.
    fn end(mut self) -> (String, Value) {
        let mut said = String::new();
        self.shim.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.shim.wait().unwrap().success());
        (said, self.read("exit.json").unwrap())
    }

    fn let_go(&self) {
        std::fs::read(self.dir.path().join("cgroup.procs")).unwrap();
    }
}

#[test]
fn a_start_is_told_when_the_program_runs_and_not_before() {
    let held = Held::start("exit 3");
    held.until("the process", || held.has_child());
    assert_eq!(held.started().unwrap()["pid"], Value::Null, "its view is not made: nobody may enter it");
    held.let_go();
    let (said, exit) = held.end();
    assert!(serde_json::from_str::<Value>(&said).unwrap()["pid"].is_i64(), "{said}");
    assert_eq!(exit["code"], 3);
}

#[test]
fn a_start_that_hangs_can_be_stopped() {
    let held = Held::start("exit 0");
    held.until("the process", || held.has_child());
    std::fs::write(held.dir.path().join("stop.json"), r#"{"grace_seconds": 600}"#).unwrap();
    kill(Pid::from_raw(held.shim.id() as i32), Signal::SIGTERM).unwrap();
    let (_, exit) = held.end();
    assert_eq!(exit["code"], 143);
}

#[test]
fn a_program_that_is_not_there_is_not_said_to_have_started() {
    let held = Held::start_with(&["/no/such/program"]);
    held.until("the process", || held.has_child());
    held.let_go();
    let (said, exit) = held.end();
    assert_eq!(said, "");
    assert_eq!(exit["code"], 128);
    assert!(exit["start_error"].as_str().unwrap().contains("/no/such/program"), "{exit}");
}
