//! A file system view in which a container's paths exist although the host has none of them: a new root made of bind
//! mounts to the host's own entries, with the container's binds placed where they belong. Nothing is created on the
//! host itself, and the mounts die with the process's namespace. Called by `stage` alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chroot, getgid, getuid};

use super::files::{Bind, Isolation};

/// Enters a view with `binds` in place. With [`Isolation::None`] the host's view is kept.
pub(super) fn enter(binds: &[Bind], isolation: Isolation) -> io::Result<()> {
    if binds.is_empty() || isolation == Isolation::None {
        return Ok(());
    }
    isolate(isolation)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| at(errno, "making mounts private", Path::new("/")))?;
    // Any folder that exists on every host will do: it is hidden in this namespace alone.
    let root = Path::new("/proc/self/cwd").canonicalize().map(|_| PathBuf::from("/mnt"))?;
    let root = if root.is_dir() { root } else { PathBuf::from("/tmp") };
    // Sources are opened first, since the new root may hide them.
    let mut sources = Vec::new();
    for bind in binds {
        sources.push(File::open(&bind.source).map_err(|error| {
            io::Error::new(error.kind(), format!("opening {}: {error}", bind.source.display()))
        })?);
    }
    let host_entries = mirrored(binds);
    let hidden = File::open(&root)?;
    mount(Some("purlin"), &root, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .map_err(|errno| at(errno, "mounting a new root on", &root))?;
    for folder in &host_entries {
        mirror(folder, &root, &host_entries, &hidden)?;
    }
    for (bind, source) in binds.iter().zip(&sources) {
        place(bind, source, &root)?;
    }
    std::env::set_current_dir(&root)?;
    chroot(&root).map_err(|errno| at(errno, "changing root to", &root))?;
    Ok(())
}

fn isolate(isolation: Isolation) -> io::Result<()> {
    match isolation {
        Isolation::None => Ok(()),
        Isolation::Mount => Ok(unshare(CloneFlags::CLONE_NEWNS)?),
        Isolation::UserMount => {
            let (uid, gid) = (getuid(), getgid());
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
        }
    }
}

/// The host folders that must be rebuilt entry by entry, because a bind's target is missing in them: "/" and each
/// existing folder on the way to a missing one. Parents come before children.
fn mirrored(binds: &[Bind]) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::from([PathBuf::from("/")]);
    for bind in binds {
        if bind.target.symlink_metadata().is_ok() {
            continue;
        }
        folders.extend(bind.target.ancestors().skip(1).filter(|folder| folder.is_dir()).map(Path::to_owned));
    }
    folders
}

/// Fills `root` + `folder` with the host's entries, leaving out those that are themselves rebuilt.
fn mirror(folder: &Path, root: &Path, rebuilt: &BTreeSet<PathBuf>, hidden: &File) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // The mount point itself is covered by the new root; its own entries are reached through a handle opened before.
    let read_from = if folder == root {
        PathBuf::from(format!("/proc/self/fd/{}", hidden.as_raw_fd()))
    } else {
        folder.to_owned()
    };
    for entry in fs::read_dir(&read_from)? {
        let entry = entry?;
        let on_host = folder.join(entry.file_name());
        let inside = within(root, &on_host);
        if rebuilt.contains(&on_host) {
            fs::create_dir_all(&inside)?;
        } else if on_host == root {
            fs::create_dir(&inside)?;
            bind_mount(&PathBuf::from(format!("/proc/self/fd/{}", hidden.as_raw_fd())), &inside)?;
        } else {
            show(&entry.path(), &inside)?;
        }
    }
    Ok(())
}

/// Makes the host's entry `source` appear as `inside`. One that is gone meanwhile is left out, as the host itself no
/// longer has it: others write to "/", "/dev" and "/etc" while this runs.
fn show(source: &Path, inside: &Path) -> io::Result<()> {
    let shown = fs::symlink_metadata(source).and_then(|entry| {
        if entry.is_symlink() {
            return std::os::unix::fs::symlink(fs::read_link(source)?, inside);
        }
        if entry.is_dir() {
            fs::create_dir(inside)?;
        } else {
            File::create(inside)?;
        }
        bind_mount(source, inside)
    });
    match shown {
        Err(_)
            if fs::symlink_metadata(source).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
        {
            match fs::symlink_metadata(inside) {
                Ok(left) if left.is_dir() => fs::remove_dir(inside),
                Ok(_) => fs::remove_file(inside),
                Err(_) => Ok(()),
            }
        }
        shown => shown,
    }
}

fn place(bind: &Bind, source: &File, root: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let target = within(root, &bind.target);
    if target.symlink_metadata().is_err() {
        if source.metadata()?.is_dir() {
            fs::create_dir_all(&target)?;
        } else {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create(&target)?;
        }
    }
    bind_mount(&PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd())), &target)?;
    if bind.read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        // In a user namespace the flags of the mount below are locked and must be repeated.
        mount(None::<&str>, &target, None::<&str>, flags, None::<&str>)
            .or_else(|_| {
                let locked = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount(None::<&str>, &target, None::<&str>, flags | locked, None::<&str>)
            })
            .map_err(|errno| at(errno, "making read-only", &bind.target))?;
    }
    Ok(())
}

fn bind_mount(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| at(errno, "mounting on", target))
}

fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn at(errno: nix::errno::Errno, doing: &str, path: &Path) -> io::Error {
    io::Error::new(io::Error::from(errno).kind(), format!("{doing} {}: {errno}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vanishes_from_the_host_meanwhile_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        show(&dir.path().join("gone"), &inside).unwrap();
        assert!(inside.symlink_metadata().is_err());
    }
}
