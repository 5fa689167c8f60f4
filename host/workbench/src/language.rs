//! The languages that plugins are written in, and how a project shows its own.

use std::fmt;
use std::path::{Path, PathBuf};

/// A language with an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust, to wasm32-unknown-unknown.
    Rust,
    /// Python, by componentize-py.
    Python,
    /// JavaScript, by componentize-js.
    Js,
    /// Go, by its own compiler.
    Go,
}

/// A folder that holds no plugin project.
#[derive(Debug, thiserror::Error)]
#[error("{} holds no plugin: none of {} is there beside plugin.yaml; make a project with `purlin plugin new`", .0.display(), Language::MARKERS)]
pub struct UnknownProject(pub PathBuf);

impl Language {
    const MARKERS: &str = "Cargo.toml, go.mod, plugin.js, plugin.ts and plugin.py";

    /// The language of the project in a folder.
    ///
    /// # Errors
    /// When none of the files is there that show one.
    pub fn of(project: &Path) -> Result<Language, UnknownProject> {
        let markers = [
            ("Cargo.toml", Language::Rust),
            ("go.mod", Language::Go),
            ("plugin.js", Language::Js),
            ("plugin.ts", Language::Js),
            ("plugin.py", Language::Python),
        ];
        let found = markers.iter().find(|(file, _)| project.join(file).is_file());
        found.map(|(_, language)| *language).ok_or_else(|| UnknownProject(project.to_owned()))
    }

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::Js => "js",
            Language::Go => "go",
        }
    }

    /// Its name for a person.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::Python => "Python",
            Language::Js => "JavaScript",
            Language::Go => "Go",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
