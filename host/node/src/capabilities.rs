//! What this host lets the node do: cgroups, namespaces, an OCI runtime. Asked once by the node at its start and by
//! `purlin doctor`.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::shim::files::Isolation;

/// The host's abilities that decide how containers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A cgroup v2 folder that the node may use to enforce limits; `None` means that they are not enforced.
    pub cgroup: Option<PathBuf>,
    /// Mount namespaces as root.
    pub mount_namespaces: bool,
    /// Mount namespaces by way of a user namespace.
    pub user_namespaces: bool,
    /// crun, where it is installed.
    pub crun: Option<PathBuf>,
}

impl Capabilities {
    pub(crate) fn isolation(&self) -> Isolation {
        if self.mount_namespaces {
            Isolation::Mount
        } else if self.user_namespaces {
            Isolation::UserMount
        } else {
            Isolation::None
        }
    }
}

/// Finds out what the host permits, by trying where asking is not enough.
pub fn capabilities() -> Capabilities {
    let permits = |args: &[&str]| {
        std::process::Command::new("unshare")
            .args(args)
            .arg("true")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let root = geteuid().is_root();
    Capabilities {
        cgroup: cgroup(),
        mount_namespaces: root && permits(&["--mount"]),
        user_namespaces: permits(&["--user", "--mount"]),
        crun: std::env::var_os("PATH")
            .into_iter()
            .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
            .map(|folder| folder.join("crun"))
            .find(|file| file.is_file()),
    }
}

/// A folder under this process's own cgroup (or the root one) in which controllers can be given to children.
fn cgroup() -> Option<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    if !mount.join("cgroup.controllers").exists() {
        return None;
    }
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    for parent in [mount.to_owned(), mount.join(own)] {
        let folder = parent.join("purlin");
        let enabled = fs::write(parent.join("cgroup.subtree_control"), "+cpu +memory +pids").is_ok();
        if enabled
            && fs::create_dir_all(&folder).is_ok()
            && fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids").is_ok()
        {
            return Some(folder);
        }
    }
    None
}
