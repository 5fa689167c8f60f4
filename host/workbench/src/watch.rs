//! Waits until a source file of a project changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Editors write a file in several steps; changes within so long belong together.
const SETTLE: Duration = Duration::from_millis(60);

/// Watches a project.
pub struct Watch {
    changes: mpsc::Receiver<PathBuf>,
    // Watching ends when it is dropped.
    _watcher: notify::RecommendedWatcher,
}

impl Watch {
    /// Begins to watch the folder of a project, without what builds write.
    ///
    /// # Errors
    /// When the system does not let it be watched, mostly because too much is watched already.
    pub fn start(project: &Path) -> Result<Watch, notify::Error> {
        let (sender, changes) = mpsc::channel(64);
        let root = project.to_owned();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)) {
                return;
            }
            for path in
                event.paths.into_iter().filter(|path| is_source(path.strip_prefix(&root).unwrap_or(path)))
            {
                // Full means that a change is on its way already.
                let _ = sender.try_send(path);
            }
        })?;
        watcher.watch(project, RecursiveMode::Recursive)?;
        Ok(Watch { changes, _watcher: watcher })
    }

    /// The next file that changed; `None` when watching ended. Cancel safe.
    pub async fn changed(&mut self) -> Option<PathBuf> {
        let path = self.changes.recv().await?;
        tokio::time::sleep(SETTLE).await;
        while self.changes.try_recv().is_ok() {}
        Some(path)
    }
}

/// Whether a path in a project is somebody's source: not built, not installed, not hidden.
fn is_source(path: &Path) -> bool {
    const MADE: [&str; 4] = ["build", "target", "node_modules", "__pycache__"];
    path.components().all(|part| {
        let part = part.as_os_str().to_string_lossy();
        !part.starts_with('.') && !MADE.contains(&part.as_ref()) && !part.ends_with('~')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_and_a_build_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join("build")).expect("build");
        let mut watch = Watch::start(dir.path()).expect("watch");
        std::fs::write(dir.path().join("build/x.wasm"), "x").expect("write");
        std::fs::write(dir.path().join("plugin.py"), "x").expect("write");
        let seen = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.expect("in time");
        assert!(seen.expect("a path").ends_with("plugin.py"));
    }
}
