//! `purlin doctor`: what this machine offers to `purlin up`, what is missing, and what to do about it.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use purlin_node::Capabilities;
use serde::Serialize;

use crate::cli::{DoctorArgs, Output};
use crate::output;
use crate::up::{Ports, data_dir};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Something works less well, or not for everything.
    Warning,
    /// `purlin up` will not start.
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into(), remedy: None }
    }

    fn warning(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    fn failed(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

/// Runs every check and prints them; false when one of them keeps `purlin up` from starting.
pub(crate) fn run(args: &DoctorArgs) -> Result<bool> {
    let holder = data_dir::holder(&args.data_dir);
    let running = matches!(holder, Ok(Some(_)));
    let mut checks = vec![data_directory(&args.data_dir, holder)];
    checks.extend(ports(args.port, running));
    checks.extend([
        program(
            "kubectl",
            "needed to talk to Purlin by hand",
            "install kubectl; see https://kubernetes.io/docs/tasks/tools",
        ),
        program(
            "python3",
            "needed by images that are mapped to Python programs",
            "install Python 3.9 or newer",
        ),
    ]);
    checks.extend(containers(&purlin_node::capabilities()));
    match args.output {
        Output::Json => output::json(&checks)?,
        Output::Text => {
            let rows: Vec<Vec<String>> = checks
                .iter()
                .map(|check| {
                    let sign = match check.verdict {
                        Verdict::Ok => "ok",
                        Verdict::Warning => "warning",
                        Verdict::Failed => "FAILED",
                    };
                    let remedy =
                        check.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
                    vec![sign.to_owned(), check.name.to_owned(), format!("{}{remedy}", check.detail)]
                })
                .collect();
            output::table(&["RESULT", "CHECK", "DETAIL"], &rows)?;
        }
    }
    Ok(checks.iter().all(|check| check.verdict != Verdict::Failed))
}

fn data_directory(path: &Path, holder: std::io::Result<Option<String>>) -> Check {
    const NAME: &str = "data directory";
    match holder {
        Ok(Some(pid)) => {
            Check::ok(NAME, format!("{} is in use by a running purlin, process {pid}", path.display()))
        }
        Ok(None) if path.exists() => Check::ok(NAME, format!("{} is free", path.display())),
        Ok(None) => Check::ok(NAME, format!("{} will be made", path.display())),
        Err(error) => Check::failed(
            NAME,
            format!("{} cannot be read: {error}", path.display()),
            "choose another with --data-dir",
        ),
    }
}

fn ports(first: u16, running: bool) -> Vec<Check> {
    Ports::from_first(first)
        .named()
        .into_iter()
        .map(|(name, port)| match TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), port)) {
            Ok(_) => Check::ok(name, format!("port {port} is free")),
            Err(error) if running => {
                Check::ok(name, format!("port {port} is taken, by the running purlin or another ({error})"))
            }
            Err(error) => Check::failed(
                name,
                format!("port {port} cannot be used: {error}"),
                "choose others with --port",
            ),
        })
        .collect()
}

fn program(name: &'static str, why: &str, remedy: &str) -> Check {
    let argument = if name == "kubectl" { "version" } else { "--version" };
    let mut command = Command::new(name);
    command.arg(argument);
    if name == "kubectl" {
        command.args(["--client", "--output=yaml"]);
    }
    match command.output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("gitVersion: "))
                .or_else(|| text.lines().next())
                .unwrap_or_default();
            Check::ok(name, version.trim().to_owned())
        }
        Ok(output) => Check::warning(name, format!("does not run ({}); {why}", output.status), remedy),
        Err(error) => Check::warning(name, format!("not found ({error}); {why}"), remedy),
    }
}

fn containers(found: &Capabilities) -> Vec<Check> {
    let yes_or_no = |name, available: bool, yes: &str, no: &str, remedy: &str| {
        if available { Check::ok(name, yes) } else { Check::warning(name, no, remedy) }
    };
    vec![
        yes_or_no(
            "mount namespaces",
            found.mount_namespaces || found.user_namespaces,
            "volumes appear at their mount paths",
            "volumes of mapped processes appear in the Pod's folder, and arguments are rewritten",
            "run as root, or allow unprivileged user namespaces",
        ),
        yes_or_no(
            "cgroups",
            found.cgroup.is_some(),
            "resource limits are enforced",
            "resource limits are not enforced",
            "run as root, or under a user session that delegates cgroup v2 controllers (systemd-run --user --scope -p Delegate=yes)",
        ),
        match &found.crun {
            Some(path) => Check::ok("OCI runtime", path.display().to_string()),
            None => Check::warning(
                "OCI runtime",
                "none found; images with a root file system cannot run",
                "install crun",
            ),
        },
    ]
}
