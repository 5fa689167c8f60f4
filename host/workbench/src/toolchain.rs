//! The compilers that are installed for a person: componentize-py into a virtual environment, componentize-js and esbuild
//! by npm. Each version is installed once, into `$PURLIN_CACHE/toolchains` (default `~/.cache/purlin/toolchains`), and
//! used by every project.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::build::BuildError;

/// What is installed for Python.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.0";

/// What is installed for JavaScript.
const COMPONENTIZE_JS: [&str; 2] = ["@bytecodealliance/componentize-js@0.23.0", "esbuild@0.28.1"];

/// Where toolchains lie.
fn root() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/purlin"));
    let cache = std::env::var_os("PURLIN_CACHE").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(|| PathBuf::from(".purlin")).join("toolchains")
}

/// Where Rust's standard library is kept once it was built from source. Cargo keeps apart what must be, by compiler and
/// settings, and lets one build in at a time.
pub(crate) fn rust() -> PathBuf {
    root().join("rust-std")
}

/// The folder below `root` in which a version of a toolchain lies, installed if it was not.
async fn installed(
    root: &Path,
    name: &str,
    install: impl AsyncFnOnce(&Path) -> Result<(), BuildError>,
) -> Result<PathBuf, BuildError> {
    let folder = root.join(name);
    let complete = folder.join(".complete");
    if complete.exists() {
        return Ok(folder);
    }
    let failed = |source| BuildError::Write { path: folder.clone(), source };
    std::fs::create_dir_all(root).map_err(failed)?;
    let _alone = alone(root.join(format!("{name}.lock"))).await.map_err(failed)?;
    if complete.exists() {
        return Ok(folder);
    }
    // What an install left that was cut off, by a kill or a disk that was full, would be taken for whole by the next one. It is
    // not made elsewhere and renamed: a virtual environment must stay where it was made.
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => std::fs::create_dir_all(&folder).map_err(failed)?,
    }
    tracing::info!(toolchain = name, "installing");
    install(&folder).await?;
    std::fs::write(&complete, "").map_err(failed)?;
    Ok(folder)
}

/// Waits until no other process has the lock; dropping the file gives it back.
async fn alone(path: PathBuf) -> std::io::Result<std::fs::File> {
    let waiting = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::create(path)?;
        file.lock()?;
        Ok(file)
    });
    waiting.await.map_err(std::io::Error::other)?
}

/// The path of componentize-py.
pub(crate) async fn python() -> Result<PathBuf, BuildError> {
    let name = COMPONENTIZE_PY.replace("==", "-");
    let root = root();
    let folder = installed(&root, &name, async |folder| {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let hint =
            "install Python 3.10 or newer with its venv module (on Debian: apt-get install python3-venv)";
        let mut venv = Command::new(python);
        run(venv.args(["-m", "venv"]).arg(folder), hint).await?;
        let hint = "componentize-py comes from PyPI; check that pip reaches it";
        let mut pip = Command::new(folder.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check", COMPONENTIZE_PY]), hint).await
    });
    Ok(folder.await?.join("bin/componentize-py"))
}

/// The folder with the binaries of componentize-js and esbuild.
pub(crate) async fn js() -> Result<PathBuf, BuildError> {
    let root = root();
    let folder = installed(&root, "componentize-js-0.23.0-esbuild-0.28.1", async |folder| {
        let hint = "install Node.js 20 or newer with npm, and check that npm reaches its registry";
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"])
            .arg(folder)
            .args(COMPONENTIZE_JS);
        run(&mut npm, hint).await
    });
    Ok(folder.await?.join("node_modules/.bin"))
}

/// Runs a tool to its end. What it printed is in the error, with a hint where the tool itself is missing.
pub(crate) async fn run(command: &mut Command, hint: &'static str) -> Result<(), BuildError> {
    let tool = Path::new(command.as_std().get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    // Of a mistake in the plugin's source, what the compiler says of it is of use, not the compiler's own stack.
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).kill_on_drop(true);
    let output = match command.output().await {
        Ok(output) => output,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(BuildError::Missing { tool, hint });
        }
        Err(source) => return Err(BuildError::Start { tool, source }),
    };
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.is_empty() {
        said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    Err(BuildError::Tool { tool, said })
}

#[cfg(test)]
mod tests {
    use super::{alone, installed};

    #[tokio::test]
    async fn what_an_install_left_that_was_cut_off_is_not_built_upon() {
        let root = tempfile::tempdir().unwrap();
        let rest = root.path().join("tool-1/rest");
        std::fs::create_dir_all(rest.parent().unwrap()).unwrap();
        std::fs::write(&rest, "half").unwrap();
        let folder = installed(root.path(), "tool-1", async |folder| {
            assert!(!rest.exists());
            std::fs::write(folder.join("tool"), "whole").unwrap();
            Ok(())
        });
        let folder = folder.await.unwrap();
        assert!(folder.join("tool").exists());
        // Once.
        installed(root.path(), "tool-1", async |_| panic!("it is there")).await.unwrap();
    }

    #[tokio::test]
    async fn one_installs_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = alone(path.clone()).await.unwrap();
        let second = tokio::spawn(alone(path));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap().unwrap();
    }
}
