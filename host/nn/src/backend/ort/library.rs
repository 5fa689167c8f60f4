//! Finds and loads ONNX Runtime's library. A process has at most one; whatever goes wrong is a text that says where was
//! looked and what to install, and is tried again at the next load, because somebody may have installed it meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;

use super::guarded;
use super::pool::Pool;

/// Where distributions and people put it, beside where the dynamic linker looks.
const FOLDERS: &[&str] = &[
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/onnxruntime/lib",
    "/opt/homebrew/lib",
];

/// ONNX Runtime, loaded.
pub(super) struct Library {
    pub(super) environment: Environment,
    /// Shared by the graphs that have no threads of their own.
    pub(super) pool: Pool,
    pub(super) path: PathBuf,
}

static LOADED: Mutex<Option<Arc<Library>>> = Mutex::new(None);

/// The library of this process; loads it the first time.
pub(super) fn load(configured: Option<&Path>) -> Result<Arc<Library>, String> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = &*loaded {
        return match configured {
            Some(path) if path != library.path => Err(format!(
                "this process has loaded ONNX Runtime from {} and cannot load it from {} too",
                library.path.display(),
                path.display()
            )),
            _ => Ok(library.clone()),
        };
    }
    let variable = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut refused = Vec::new();
    for path in candidates(configured, variable.as_deref()) {
        match open(&path) {
            Ok(library) => return Ok(loaded.insert(Arc::new(library)).clone()),
            Err(reason) => refused.push(reason),
        }
    }
    Err(format!(
        "ONNX Runtime's library {} was not found or cannot be used ({}); install ONNX Runtime 1.{} or newer (on Debian \
         libonnxruntime1.21 or newer, or the Python package onnxruntime, which has the library in \
         onnxruntime/capi/) and let ORT_DYLIB_PATH name the file",
        file_name(),
        refused.join("; "),
        ort::MINOR_VERSION,
    ))
}

fn file_name() -> String {
    format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// What was named is not replaced by what happens to lie around.
fn candidates(configured: Option<&Path>, variable: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = configured.or(variable) {
        return vec![path.to_owned()];
    }
    let mut paths = vec![PathBuf::from(file_name())];
    for folder in FOLDERS {
        // A distribution's file has the version behind its name.
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names =
            files.filter(|file| file.file_name().to_str().is_some_and(|name| name.starts_with(&file_name())));
        let mut found: Vec<PathBuf> = names.map(|file| file.path()).collect();
        found.sort();
        paths.extend(found.into_iter().rev());
    }
    paths
}

fn open(path: &Path) -> Result<Library, String> {
    // The dynamic linker's message names the file too, in words that differ from system to system.
    if path.is_absolute() && !path.exists() {
        return Err(format!("{} does not exist", path.display()));
    }
    guarded(|| {
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        let pool = Pool::new();
        let threads = pool.options().map_err(|error| error.to_string())?;
        let builder = builder.with_name("purlin").with_telemetry(false).with_global_thread_pool(threads);
        let environment = builder.build().map_err(|error| error.to_string())?;
        tracing::info!(path = %path.display(), build = ort::info(), "loaded ONNX Runtime");
        Ok(Library { environment, pool, path: path.to_owned() })
    })?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{candidates, file_name};

    #[test]
    fn what_was_named_is_the_only_candidate() {
        let (configured, variable) = (Path::new("/a/libonnxruntime.so"), Path::new("/b/libonnxruntime.so"));
        assert_eq!(candidates(Some(configured), Some(variable)), [configured]);
        assert_eq!(candidates(None, Some(variable)), [variable]);
        assert_eq!(candidates(None, None)[0], Path::new(&file_name()));
    }
}
