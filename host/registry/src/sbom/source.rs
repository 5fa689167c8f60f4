//! What a source folder was locked to: `Cargo.lock`, `requirements.txt`, `package-lock.json` and `go.sum`. Only exact
//! versions are listed; what a file leaves open is named as a problem, because a bill that guesses is worse than none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use packageurl::PackageUrl;
use serde::Deserialize;

/// The largest lock file that is read.
const MAX_LOCK: u64 = 32 << 20;

/// A library at a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Library {
    /// Package URL, by which others know it.
    pub purl: String,
    /// Its name, as its ecosystem has it.
    pub name: String,
    /// The exact version.
    pub version: String,
    /// SHA-256 of the package, in hexadecimal, where the lock has it.
    pub sha256: Option<String>,
}

/// Why no list could be made.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is nothing to make it from.
    #[error(
        "{0} has none of Cargo.lock, requirements.txt, package-lock.json and go.sum; give a document with --file"
    )]
    NoLock(String),
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A library has no exact version.
    #[error("{path}: {line:?} names no exact version; pin it (`name==1.2.3`), as `pip freeze` does")]
    NotPinned {
        /// The file.
        path: String,
        /// The line.
        line: String,
    },
}

type Parser = fn(&str) -> Result<Vec<Library>, String>;

const PARSERS: [(&str, Parser); 4] =
    [("Cargo.lock", cargo), ("requirements.txt", requirements), ("package-lock.json", npm), ("go.sum", go)];

/// All libraries that the lock files of a folder name, each once, in order.
pub fn libraries(folder: &Path) -> Result<Vec<Library>, SourceError> {
    let mut found = BTreeSet::new();
    let mut read = false;
    for (name, parse) in PARSERS {
        let path = folder.join(name);
        let shown = path.display().to_string();
        let failed = |reason: String| SourceError::Read { path: shown.clone(), reason };
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_LOCK => {
                return Err(failed(format!("it has {} bytes", metadata.len())));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error.to_string())),
        }
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let parsed = parse(&text).map_err(|reason| match reason.strip_prefix(NOT_PINNED) {
            Some(line) => SourceError::NotPinned { path: shown.clone(), line: line.to_owned() },
            None => failed(reason),
        })?;
        read = true;
        found.extend(parsed);
    }
    if !read {
        return Err(SourceError::NoLock(folder.display().to_string()));
    }
    Ok(found.into_iter().collect())
}

/// Begins a problem that is a line without an exact version.
const NOT_PINNED: &str = "not pinned: ";

fn library(
    kind: &'static str,
    namespace: Option<&str>,
    name: &str,
    version: &str,
) -> Result<Library, String> {
    let wrong = |error: packageurl::Error| format!("{name} {version}: {error}");
    let mut purl = PackageUrl::new(kind, name).map_err(wrong)?;
    if let Some(namespace) = namespace {
        purl.with_namespace(namespace).map_err(wrong)?;
    }
    purl.with_version(version).map_err(wrong)?;
    let name = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    Ok(Library { purl: purl.to_string(), name, version: version.to_owned(), sha256: None })
}

#[derive(Deserialize)]
struct CargoLock {
    #[serde(default)]
    package: Vec<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn cargo(text: &str) -> Result<Vec<Library>, String> {
    let lock: CargoLock = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    // A package without a source is the workspace's own.
    let foreign = lock.package.into_iter().filter(|package| package.source.is_some());
    foreign
        .map(|package| {
            let library = library("cargo", None, &package.name, &package.version)?;
            Ok(Library { sha256: package.checksum, ..library })
        })
        .collect()
}

fn requirements(text: &str) -> Result<Vec<Library>, String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        let requirement = line.split([';', ' ']).next().unwrap_or_default();
        let (name, version) = requirement.split_once("==").ok_or_else(|| format!("{NOT_PINNED}{line}"))?;
        if version.is_empty() || version.contains(['*', ',']) {
            return Err(format!("{NOT_PINNED}{line}"));
        }
        // What PyPI takes as the same name is written one way.
        let name = name.split('[').next().unwrap_or_default().trim().to_lowercase().replace(['_', '.'], "-");
        found.push(library("pypi", None, &name, version.trim_start_matches('='))?);
    }
    Ok(found)
}

#[derive(Deserialize)]
struct PackageLock {
    #[serde(default)]
    packages: BTreeMap<String, NpmPackage>,
}

#[derive(Deserialize)]
struct NpmPackage {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    dev: bool,
    #[serde(default)]
    link: bool,
}

fn npm(text: &str) -> Result<Vec<Library>, String> {
    let lock: PackageLock = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for (path, package) in lock.packages {
        // The entry without a path is the project; what is only for development is not in what was built.
        let Some((_, name)) = path.rsplit_once("node_modules/") else { continue };
        let (false, false, Some(version)) = (package.dev, package.link, package.version) else { continue };
        found.push(match name.rsplit_once('/') {
            Some((scope, name)) => library("npm", Some(scope), name, &version)?,
            None => library("npm", None, name, &version)?,
        });
    }
    Ok(found)
}

fn go(text: &str) -> Result<Vec<Library>, String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(module), Some(version)) = (words.next(), words.next()) else {
            return Err(format!("{line:?} is no line of a go.sum"));
        };
        // Such lines are of modules that were looked at and not built.
        if version.ends_with("/go.mod") {
            continue;
        }
        found.push(match module.rsplit_once('/') {
            Some((path, name)) => library("golang", Some(path), name, version)?,
            None => library("golang", None, module, version)?,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purls(libraries: &[Library]) -> Vec<&str> {
        libraries.iter().map(|library| library.purl.as_str()).collect()
    }

    #[test]
    fn each_lock_file_gives_package_urls() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("write");
        write(
            "Cargo.lock",
            "version = 4\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n[[package]]\nname = \"serde\"\n\
             version = \"1.0.1\"\nsource = \"registry+x\"\nchecksum = \"ab\"\n",
        );
        write(
            "requirements.txt",
            "# x\n-r other\nNumPy_Ext[a]==2.0 \\\n  --hash=sha256:1\nb==1 ; python_version>'3'\n",
        );
        write(
            "package-lock.json",
            r#"{"packages": {"": {"version": "1"}, "node_modules/@scope/x": {"version": "1.2.3"},
                "node_modules/a/node_modules/y": {"version": "2.0.0"}, "node_modules/z": {"version": "1", "dev": true}}}"#,
        );
        write("go.sum", "example.com/a/b v1.0.0 h1:x=\nexample.com/a/b v1.0.0/go.mod h1:y=\n");
        let found = libraries(folder.path()).expect("read");
        assert_eq!(
            purls(&found),
            [
                "pkg:cargo/serde@1.0.1",
                "pkg:golang/example.com/a/b@v1.0.0",
                "pkg:npm/%40scope/x@1.2.3",
                "pkg:npm/y@2.0.0",
                "pkg:pypi/b@1",
                "pkg:pypi/numpy-ext@2.0",
            ]
        );
        assert_eq!(found[0].sha256.as_deref(), Some("ab"));
    }

    #[test]
    fn what_is_left_open_is_named() {
        for line in ["numpy", "numpy>=1", "numpy==1.*"] {
            let error = requirements(line).expect_err(line);
            assert!(error.starts_with(NOT_PINNED), "{error}");
        }
        let folder = tempfile::tempdir().expect("folder");
        assert!(matches!(libraries(folder.path()), Err(SourceError::NoLock(_))));
    }
}
