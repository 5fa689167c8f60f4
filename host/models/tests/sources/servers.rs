//! Programs that the tests start, each on a port of its own, and the sources under test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use purlin_models::{Credentials, Fetched, Hub, SourceConfig, SourceRequest, Sources};
use tempfile::TempDir;

/// Where `tests/serving/build.sh` puts programs.
fn program(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("PURLIN_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/purlin")))?;
    let path = cache.join("bin").join(name);
    if path.exists() {
        return Some(path);
    }
    let skip = std::env::var_os("PURLIN_SOURCES_SKIP").is_some();
    assert!(
        skip,
        "{} is not there; run tests/serving/build.sh, or set PURLIN_SOURCES_SKIP=1",
        path.display()
    );
    eprintln!("SKIPPED: {name} is not there and PURLIN_SOURCES_SKIP is set");
    None
}

/// A program that runs for as long as this lives.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
    pub(crate) folder: TempDir,
}

impl Running {
    /// Starts a program and waits until its port answers. None where it is to be left out.
    pub(crate) fn start(name: &str, arguments: impl FnOnce(&str, &Path) -> Invocation) -> Option<Running> {
        let path = program(name)?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let Invocation { arguments, variables } = arguments(&address, folder.path());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(path)
            .args(arguments)
            .envs(variables)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let running = Running { child, address, folder };
        let started = Instant::now();
        while std::net::TcpStream::connect(&running.address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "{name} does not answer: {}", running.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(running)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program is started with.
pub(crate) struct Invocation {
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// Sources with a cache of their own.
pub(crate) struct Under {
    pub(crate) sources: Sources,
    pub(crate) folder: TempDir,
}

pub(crate) fn under(hub: Hub) -> Under {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    Under { sources: sources_in(folder.path(), hub), folder }
}

pub(crate) fn sources_in(folder: &Path, hub: Hub) -> Sources {
    let config = SourceConfig {
        folders: Vec::new(),
        cache: folder.join("cache"),
        cache_limit: 64 << 20,
        max_file: 32 << 20,
        hub,
    };
    Sources::new(config, purlin_registry::Client::new(purlin_registry::ClientConfig::default())).unwrap()
}

impl Under {
    pub(crate) fn blobs(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("cache/blobs")).unwrap().count()
    }
}

pub(crate) fn request(uri: impl Into<String>, settings: &[(&str, &str)]) -> SourceRequest {
    let data = settings.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let credentials = Credentials::from_secret(data.collect(), [].into(), None).unwrap();
    SourceRequest { uri: uri.into(), digest: None, credentials: Some(credentials) }
}

pub(crate) fn names(fetched: &Fetched) -> Vec<String> {
    fetched.entries().map(|(name, _, _)| name.to_owned()).collect()
}

/// The content of a file of a source.
pub(crate) fn content(fetched: &Fetched, name: &str) -> Vec<u8> {
    let (_, path, _) = fetched.entries().find(|(found, _, _)| *found == name).unwrap();
    std::fs::read(path).unwrap()
}
