//! New projects, from templates in the binary. A project has all that it needs: the source, the manifest, cases, and the
//! SDK itself, so that it builds without anything having been published.

use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use purlin_registry::manifest::{WIT_0_2, WIT_0_3};
use purlin_registry::{Stage, contract};
use semver::Version;

use crate::Language;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
static RUST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/rust/src");
static PYTHON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/python/purlin_plugin");
static JS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/js/src");
static JS_PACKAGE: &str = include_str!("../../../sdk/js/package.json");
static GO: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/go");

/// The Rust SDK's manifest outside Purlin's own workspace.
const RUST_PACKAGE: &str = r#"[package]
name = "purlin-sdk"
version = "0.2.0"
edition = "2024"
publish = false

[dependencies]
serde = { version = "1", default-features = false, features = ["alloc", "derive"] }
serde_json = { version = "1", default-features = false, features = ["alloc", "raw_value"] }
wit-bindgen = { version = "0.61", default-features = false, features = ["macros", "realloc"] }
"#;

/// Why no project was made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name is not one that a plugin can have.
    #[error(
        "{0:?} cannot be a plugin's name: use 1 to 63 lower-case letters, digits and `-`, beginning with a letter"
    )]
    Name(String),
    /// Something is there already.
    #[error("{} is there already and not empty; give another name or another --dir", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes a project in `folder`, which must be empty or not there. Gives the files that a person will edit.
///
/// # Errors
/// When the name is none, something is there already, or a file cannot be written.
pub fn create(name: &str, language: Language, stage: Stage, folder: &Path) -> Result<Vec<PathBuf>, NewError> {
    let sound = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 63
        && !name.ends_with('-')
        && name.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-');
    if !sound {
        return Err(NewError::Name(name.to_owned()));
    }
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(NewError::Exists(folder.to_owned()));
    }
    let (source, native) = match language {
        Language::Rust => ("`src/lib.rs`", "`cargo test` runs tests that you write"),
        Language::Python => {
            ("`plugin.py`", "`python3 -m pytest` (with PyYAML installed) runs the same cases")
        }
        Language::Js => (
            "`plugin.js`",
            "`npm install && npm test` runs tests that you write (`@purlin/plugin/testing` reads cases in JSON)",
        ),
        Language::Go => {
            ("`main.go`", "`go test ./...` runs tests that you write (package `cases` reads cases in JSON)")
        }
    };
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{stage}}", stage.as_str())
            .replace("{{language}}", language.name())
            .replace("{{wit}}", &contract_version(language).to_string())
            .replace("{{source}}", source)
            .replace("{{native}}", native)
    };
    let mut made = Vec::new();
    for template in [format!("common/{stage}"), format!("{language}/{stage}")] {
        let Some(template) = TEMPLATES.get_dir(&template) else { continue };
        for (path, content) in files(template) {
            let target = folder.join(named(&path));
            write(&target, fill(&String::from_utf8_lossy(content)).as_bytes())?;
            made.push(target);
        }
    }
    if let Some(readme) = TEMPLATES.get_file("common/README.md").and_then(|file| file.contents_utf8()) {
        write(&folder.join("README.md"), fill(readme).as_bytes())?;
    }
    put_sdk(language, folder)?;
    Ok(made)
}

/// The version of the contract that the SDK of a language is made for.
fn contract_version(language: Language) -> Version {
    match language {
        Language::Rust => WIT_0_3,
        Language::Python | Language::Js | Language::Go => WIT_0_2,
    }
}

/// Writes the SDK into a project; what is there of it is replaced.
fn put_sdk(language: Language, folder: &Path) -> Result<(), NewError> {
    let sdk = folder.join("sdk");
    let copy = |from: &Dir<'_>, to: &Path| -> Result<(), NewError> {
        for (path, content) in files(from) {
            let generated = path.components().any(|part| part.as_os_str() == "__pycache__");
            let example = path.starts_with("examples") || path.to_string_lossy().ends_with("_test.go");
            if !generated && !example {
                write(&to.join(path), content)?;
            }
        }
        Ok(())
    };
    match language {
        Language::Rust => {
            copy(&RUST, &sdk.join("rust/src"))?;
            write(&sdk.join("rust/Cargo.toml"), RUST_PACKAGE.as_bytes())?;
            for (name, text) in contract::files(&WIT_0_3) {
                write(&folder.join("wit/v0.3").join(name), text.as_bytes())?;
            }
        }
        Language::Python => copy(&PYTHON, &sdk.join("purlin_plugin"))?,
        Language::Js => {
            copy(&JS, &sdk.join("src"))?;
            write(&sdk.join("package.json"), JS_PACKAGE.as_bytes())?;
        }
        Language::Go => copy(&GO, &sdk)?,
    }
    Ok(())
}

/// Templates whose real names would make tools take them for projects have others here.
fn named(path: &Path) -> PathBuf {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("gitignore") => path.with_file_name(".gitignore"),
        _ if path.extension().is_some_and(|extension| extension == "tmpl") => path.with_extension(""),
        _ => path.to_owned(),
    }
}

/// All files under a folder, by their path in it.
fn files<'a>(folder: &Dir<'a>) -> Vec<(PathBuf, &'a [u8])> {
    fn walk<'a>(folder: &Dir<'a>, root: &Path, found: &mut Vec<(PathBuf, &'a [u8])>) {
        for entry in folder.entries() {
            match entry {
                DirEntry::Dir(inner) => walk(inner, root, found),
                DirEntry::File(file) => {
                    let path = file.path().strip_prefix(root).unwrap_or(file.path());
                    found.push((path.to_owned(), file.contents()));
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder.path(), &mut found);
    found
}

fn write(path: &Path, content: &[u8]) -> Result<(), NewError> {
    let failed = |source| NewError::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, content).map_err(failed)
}

#[cfg(test)]
mod tests {
    use purlin_registry::Manifest;

    use super::*;

    #[test]
    fn every_project_has_a_manifest_and_cases_that_parse() {
        for language in [Language::Rust, Language::Python, Language::Js, Language::Go] {
            for stage in [Stage::Tuner, Stage::Dialect] {
                let dir = tempfile::tempdir().expect("dir");
                let folder = dir.path().join("mine");
                create("mine", language, stage, &folder).expect("project");
                assert_eq!(Language::of(&folder).expect("language"), language);
                let manifest = Manifest::from_yaml_file(&folder.join("plugin.yaml")).expect("manifest");
                assert!(manifest.validate().is_empty(), "{:?}", manifest.validate());
                let cases = crate::case::read(&folder.join("cases")).expect("cases");
                assert_eq!(cases.len(), 2);
                let again = create("mine", language, stage, &folder);
                assert!(matches!(again, Err(NewError::Exists(_))), "{again:?}");
            }
        }
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for name in ["", "Mine", "-a", "a-", "1a", "a_b", "a/b"] {
            let made = create(name, Language::Go, Stage::Tuner, Path::new("never-made"));
            assert!(matches!(made, Err(NewError::Name(_))), "{name:?}");
        }
    }
}
