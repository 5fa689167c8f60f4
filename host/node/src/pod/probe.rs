//! Probes and lifecycle hooks of a running container. A task a container asks and counts; what changes is reported to
//! the Pod's worker, which decides. Pods share the host's loopback, so that is where ports are asked.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::supervision::{Report, Watch};

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }
}

/// A probe's result, reported when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    /// What went wrong, when it failed often enough in a row.
    pub(crate) failure: Option<String>,
}

/// Counts results in a row and says when the verdict changes.
#[derive(Clone, Copy, Debug)]
struct Streak {
    success_threshold: u32,
    failure_threshold: u32,
    length: u32,
    last: Option<bool>,
    verdict: Option<bool>,
}

impl Streak {
    fn new(probe: &Probe) -> Self {
        let positive = |number: Option<i32>, default: u32| {
            number
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| *number > 0)
                .unwrap_or(default)
        };
        Streak {
            success_threshold: positive(probe.success_threshold, 1),
            failure_threshold: positive(probe.failure_threshold, 3),
            length: 0,
            last: None,
            verdict: None,
        }
    }

    /// Takes one result; the new verdict, when it is another one.
    fn take(&mut self, ok: bool) -> Option<bool> {
        self.length = if self.last == Some(ok) { self.length.saturating_add(1) } else { 1 };
        self.last = Some(ok);
        let threshold = if ok { self.success_threshold } else { self.failure_threshold };
        if self.length < threshold || self.verdict == Some(ok) {
            return None;
        }
        self.verdict = Some(ok);
        Some(ok)
    }
}

/// What a task needs to ask a container.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) shim: Vec<OsString>,
    pub(crate) container: Container,
    pub(crate) watch: Watch,
    pub(crate) started_at: Timestamp,
}

impl Asker {
    /// Asks until the task is dropped: the startup probe first, then liveness and readiness side by side.
    pub(crate) async fn probe(self) {
        if let Some(startup) = self.container.startup_probe.clone()
            && !self.ask_often(&startup, Kind::Startup).await
        {
            return;
        }
        let liveness = async {
            if let Some(probe) = &self.container.liveness_probe {
                self.ask_often(probe, Kind::Liveness).await;
            }
        };
        let readiness = async {
            if let Some(probe) = &self.container.readiness_probe {
                self.ask_often(probe, Kind::Readiness).await;
            }
        };
        tokio::join!(liveness, readiness);
    }

    /// Asks at the probe's pace. A startup probe ends at its first verdict (true when it succeeded), a liveness probe
    /// when it failed, a readiness probe never.
    async fn ask_often(&self, probe: &Probe, kind: Kind) -> bool {
        let seconds = |number: Option<i32>, default: u64| {
            number
                .and_then(|number| u64::try_from(number).ok())
                .filter(|number| *number > 0)
                .unwrap_or(default)
        };
        let delay = Duration::from_secs(seconds(probe.initial_delay_seconds, 0));
        let since = Timestamp::now().duration_since(self.started_at).unsigned_abs();
        tokio::time::sleep(delay.saturating_sub(since)).await;
        let period = Duration::from_secs(seconds(probe.period_seconds, 10));
        let timeout = Duration::from_secs(seconds(probe.timeout_seconds, 1));
        let mut streak = Streak::new(probe);
        let mut every = tokio::time::interval(period);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let result = tokio::time::timeout(timeout, self.ask(probe))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")));
            let Some(ok) = streak.take(result.is_ok()) else { continue };
            self.watch.send(Report::Probed(Verdict { kind, failure: result.err() })).await;
            match (kind, ok) {
                (Kind::Startup, ok) => return ok,
                (Kind::Liveness, false) => return false,
                (Kind::Liveness, true) | (Kind::Readiness, _) => {}
            }
        }
    }

    async fn ask(&self, probe: &Probe) -> Result<(), String> {
        if let Some(exec) = &probe.exec {
            self.exec(exec.command.as_deref().unwrap_or(&[])).await
        } else if let Some(http) = &probe.http_get {
            self.http(http).await
        } else if let Some(tcp) = &probe.tcp_socket {
            let port = self.port(&tcp.port)?;
            let host = tcp.host.as_deref().unwrap_or(crate::ADDRESS);
            TcpStream::connect((host, port))
                .await
                .map(drop)
                .map_err(|error| format!("dial tcp {host}:{port}: {error}"))
        } else {
            Err("this node has exec, httpGet and tcpSocket probes only".to_owned())
        }
    }

    /// Runs a command in the container.
    async fn exec(&self, command: &[String]) -> Result<(), String> {
        exec(&self.shim, &self.watch.dir, command).await
    }

    async fn http(&self, get: &HTTPGetAction) -> Result<(), String> {
        if get.scheme.as_deref() == Some("HTTPS") {
            return Err("this node asks over plain HTTP only".to_owned());
        }
        let port = self.port(&get.port)?;
        let host = get.host.as_deref().unwrap_or(crate::ADDRESS);
        let path = get.path.as_deref().unwrap_or("/");
        let failed = |error: std::io::Error| format!("Get \"http://{host}:{port}{path}\": {error}");
        let mut stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        let mut request =
            format!("GET {path} HTTP/1.1\r\nConnection: close\r\nUser-Agent: kube-probe/1.37\r\n");
        let mut named = false;
        for header in get.http_headers.iter().flatten() {
            named |= header.name.eq_ignore_ascii_case("host");
            request.push_str(&format!("{}: {}\r\n", header.name, header.value));
        }
        if !named {
            request.push_str(&format!("Host: {host}:{port}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut line = String::new();
        BufReader::new(stream.take(1024)).read_line(&mut line).await.map_err(failed)?;
        match line.split(' ').nth(1).and_then(|code| code.trim().parse::<u16>().ok()) {
            Some(200..=399) => Ok(()),
            Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
            None => Err("the answer is not HTTP".to_owned()),
        }
    }

    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => name.parse().ok().or_else(|| {
                let mut ports = self.container.ports.iter().flatten();
                ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
            }),
        };
        number
            .and_then(|number| u16::try_from(number).ok())
            .ok_or_else(|| format!("the container has no port {port:?}"))
    }

    /// Runs the postStart hook and reports its failure.
    pub(crate) async fn after_start(self, hook: LifecycleHandler) {
        if let Err(error) = self.hook(&hook).await {
            self.watch.send(Report::HookFailed(error)).await;
        }
    }

    /// Runs a lifecycle hook.
    pub(crate) async fn hook(&self, hook: &LifecycleHandler) -> Result<(), String> {
        if let Some(exec) = &hook.exec {
            self.exec(exec.command.as_deref().unwrap_or(&[])).await
        } else if let Some(http) = &hook.http_get {
            self.http(http).await
        } else if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
            Ok(())
        } else {
            Err("this node has exec, httpGet and sleep hooks only".to_owned())
        }
    }
}

/// Runs `command` in the container in `dir`; dropped, it is killed.
async fn exec(shim: &[OsString], dir: &Path, command: &[String]) -> Result<(), String> {
    let (program, prefix) = shim.split_first().ok_or("no shim program is configured")?;
    let child = tokio::process::Command::new(program)
        .args(prefix)
        .arg("exec")
        .arg(dir)
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("running {command:?}: {error}"))?;
    let output = child.wait_with_output().await.map_err(|error| format!("running {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "command {command:?} ended with {}: {}",
        output.status,
        text.chars().take(500).collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_its_threshold_in_a_row() {
        let probe = Probe { failure_threshold: Some(3), success_threshold: Some(2), ..Probe::default() };
        let mut streak = Streak::new(&probe);
        let verdicts: Vec<_> = [true, true, true, false, false, true, false, false, false, true]
            .map(|ok| streak.take(ok))
            .to_vec();
        let mut expected = vec![None; 10];
        expected[1] = Some(true);
        expected[8] = Some(false);
        assert_eq!(verdicts, expected);
    }
}
