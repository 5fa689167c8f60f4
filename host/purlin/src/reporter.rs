//! What a long-running command tells the person who started it, on standard output: a line a step, and where everything is.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::plugin::Readiness;
use crate::up::Ports;

/// Prints progress. A closed standard output does not stop the platform.
#[derive(Debug)]
pub(crate) struct Reporter(());

impl Reporter {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// One part that is up.
    pub(crate) fn step(&self, what: &str, detail: &str) {
        self.line(&format!("{what:<9} {detail}"));
    }

    /// One plugin that is ready, or that failed.
    pub(crate) fn plugin(&self, name: &str, state: &Readiness) {
        match state {
            Readiness::Ready => self.step("plugin", &format!("{name} is ready")),
            Readiness::Pending => self.step("plugin", &format!("{name} is being loaded")),
            Readiness::Failed { reason, message } => {
                self.step("plugin", &format!("{name} FAILED, {reason}: {message}"))
            }
        }
    }

    /// Everything runs.
    pub(crate) fn ready(&self, after: Duration, kubeconfig: &Path, ports: Ports, on: IpAddr) {
        self.step("metrics", &format!("http://{}/metrics", std::net::SocketAddr::new(on, ports.metrics)));
        self.line(&format!(
            "ready     in {:.1} s; use it with\n\n    export KUBECONFIG={}\n",
            after.as_secs_f64(),
            kubeconfig.display()
        ));
    }

    /// On the way out.
    pub(crate) fn stopped(&self) {
        self.line("stopped   containers go on under their shims and are found again at the next start");
    }

    fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // There is nobody to tell that nobody reads.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}
