//! The image map: a YAML file that says which host command or environment stands for an image, so that a Pod written
//! for a cluster runs where nothing can pull or unpack its image. Read once at start; pure after that.
//!
//! ```yaml
//! images:
//!   - image: docker.io/acme/digits:*               # glob on the normalized reference
//!     paths: {/opt/digits: ./digits}                # path inside the image -> host path, relative to this file
//!     path: [./digits/.venv/bin]                     # goes before PATH
//!     env: {}                                     # the image's own environment
//!     entrypoint: []                              # stands for ENTRYPOINT and CMD
//!   - image: docker.io/library/busybox:*
//!     rootfs: ./busybox-rootfs                       # run by an OCI runtime instead
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

/// Why an image map could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageMapError {
    /// The file could not be read.
    #[error("reading the image map {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: std::io::Error,
    },
    /// The file is no image map.
    #[error("the image map {} is not valid: {message}; see `images:` entries with `image`, `paths`, `path`, `env`, `entrypoint` or `rootfs`", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What was wrong, and where.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    images: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    image: String,
    #[serde(default)]
    paths: BTreeMap<String, PathBuf>,
    #[serde(default)]
    path: Vec<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    entrypoint: Vec<String>,
    rootfs: Option<PathBuf>,
}

/// A parsed image map.
#[derive(Debug)]
pub struct ImageMap {
    file: PathBuf,
    entries: Vec<(Regex, Mapping)>,
}

/// What stands for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The pattern as written, for messages.
    pub(crate) pattern: String,
    /// Image path to absolute host path, longest first.
    pub(crate) paths: Vec<(String, PathBuf)>,
    pub(crate) path: Vec<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) rootfs: Option<PathBuf>,
}

impl ImageMap {
    /// Reads the map at `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is not an image map.
    pub fn read(path: &Path) -> Result<Self, ImageMapError> {
        let read = |source| ImageMapError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let path = path.canonicalize().map_err(read)?;
        Self::parse(&text, &path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ImageMapError> {
        let invalid = |message: String| ImageMapError::Parse { path: path.to_owned(), message };
        let file: File = serde_saphyr::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let base = path.parent().unwrap_or(Path::new("/"));
        let entries = file.images.into_iter().map(|entry| {
            if let Some(bad) = entry.paths.keys().find(|path| !path.starts_with('/')) {
                return Err(invalid(format!("in {}: the image path {bad:?} must be absolute", entry.image)));
            }
            let mut paths: Vec<_> = entry
                .paths
                .into_iter()
                .map(|(inside, host)| (inside.trim_end_matches('/').to_owned(), absolute(base, &host)))
                .collect();
            paths.sort_by_key(|(inside, _)| std::cmp::Reverse(inside.len()));
            let glob = glob(&entry.image).map_err(|error| invalid(error.to_string()))?;
            let mapping = Mapping {
                pattern: entry.image,
                paths,
                path: entry.path.iter().map(|folder| absolute(base, folder)).collect(),
                env: entry.env,
                entrypoint: entry.entrypoint,
                rootfs: entry.rootfs.map(|folder| absolute(base, &folder)),
            };
            Ok((glob, mapping))
        });
        Ok(ImageMap { entries: entries.collect::<Result<_, _>>()?, file: path.to_owned() })
    }

    /// The first entry whose pattern matches `image`, which is normalized first.
    pub(crate) fn find(&self, image: &str) -> Option<&Mapping> {
        let image = normalize(image);
        self.entries.iter().find(|(glob, _)| glob.is_match(&image)).map(|(_, mapping)| mapping)
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

impl Mapping {
    /// Replaces image paths in `text` by what stands for them: at its start, or after a character that cannot be part
    /// of a path (as in `--data=/opt/x`), and only where the path ends there or goes on with `/`.
    pub(crate) fn rewrite(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut boundary = true;
        while let Some(next) = rest.chars().next() {
            if boundary && next == '/' {
                let hit = self.paths.iter().find(|(inside, _)| {
                    rest.strip_prefix(inside.as_str())
                        .is_some_and(|tail| tail.chars().next().is_none_or(ends_path))
                });
                if let Some((inside, host)) = hit {
                    out.push_str(&host.to_string_lossy());
                    rest = &rest[inside.len()..];
                    boundary = false;
                    continue;
                }
            }
            boundary = matches!(next, '=' | ':' | ',' | ' ' | '"' | '\'' | ';' | '(' | '\n' | '\t');
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
        out
    }
}

fn ends_path(next: char) -> bool {
    matches!(next, '/' | ':' | ',' | ' ' | '"' | '\'' | ';' | ')' | '\n' | '\t')
}

fn absolute(base: &Path, path: &Path) -> PathBuf {
    let mut out = base.to_owned();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

fn glob(pattern: &str) -> Result<Regex, regex::Error> {
    let body = pattern.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
    Regex::new(&format!("^{}$", body.replace("\\?", ".")))
}

/// The full form of an image reference: registry, repository, and `:latest` where nothing else is said.
pub(crate) fn normalize(image: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let mut full = match first {
        "" => format!("docker.io/library/{rest}"),
        host if host.contains(['.', ':']) || host == "localhost" => image.to_owned(),
        user => format!("docker.io/{user}/{rest}"),
    };
    let name = full.rsplit('/').next().unwrap_or(&full);
    if !name.contains([':', '@']) {
        full.push_str(":latest");
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAP: &str = "
images:
  - image: docker.io/acme/train:*
    paths: {/opt/train: ./digits, /opt/train/data: ../data}
    path: [./digits/.venv/bin]
    entrypoint: [python3, /opt/train/main.py]
  - image: docker.io/library/busybox:latest
    rootfs: ./rootfs
";

    fn map() -> ImageMap {
        ImageMap::parse(MAP, Path::new("/maps/images.yaml")).unwrap()
    }

    #[test]
    fn finds_by_glob_on_the_normalized_reference() {
        assert!(map().find("acme/train:v1").is_some());
        assert!(map().find("docker.io/acme/train").is_some());
        assert!(map().find("ghcr.io/acme/train:v1").is_none());
        assert!(map().find("busybox").unwrap().rootfs.is_some());
        assert!(map().find("busybox:1.36").is_none());
    }

    #[test]
    fn rewrites_the_longest_path_also_inside_an_argument() {
        let map = map();
        let mapping = map.find("acme/train").unwrap();
        for (text, expected) in [
            ("/opt/train/main.py", "/maps/digits/main.py"),
            ("--data=/opt/train/data/x", "--data=/data/x"),
            ("/opt/train:/opt/train/data", "/maps/digits:/data"),
            ("/opt/trainer/x", "/opt/trainer/x"),
            ("/srv/opt/train/x", "/srv/opt/train/x"),
        ] {
            assert_eq!(mapping.rewrite(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know_and_says_where() {
        let error = ImageMap::parse("images: [{image: x, comand: y}]", Path::new("/m.yaml")).unwrap_err();
        assert!(error.to_string().contains("/m.yaml") && error.to_string().contains("comand"), "{error}");
        assert!(ImageMap::parse("images: [{image: x, paths: {rel: ./y}}]", Path::new("/m.yaml")).is_err());
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(image in "[a-z]{1,5}(\\.io)?(/[a-z]{1,5}){0,2}(:[a-z0-9]{1,4})?") {
            let once = normalize(&image);
            prop_assert_eq!(normalize(&once), once);
        }

        #[test]
        fn text_without_mapped_paths_stays(text in "[a-z=:, ]*") {
            prop_assert_eq!(map().find("acme/train").unwrap().rewrite(&text), text);
        }
    }
}
