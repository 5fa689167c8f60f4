//! The contract's own text: the WIT packages of `wit/`, and the world that one plugin has.
//!
//! Compilers that make whole components (for Python and JavaScript) import every interface of the world that they are
//! given, used or not. A plugin is therefore built against a world of its own, with the interfaces that its manifest asks
//! for and no others. Called by the packer, for core modules that carry no type, and by the tools for plugin authors.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use include_dir::{Dir, include_dir};
use semver::Version;
use wit_parser::{Resolve, SourceMap, WorldId};

use crate::manifest::{Manifest, WIT_0_1};

static V0_1: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit/v0.1");
static V0_2: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit/v0.2");
static V0_3: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit/v0.3");

/// The version of wasi-nn that the contract refers to.
pub const WASI_NN: &str = "0.2.0-rc-2024-10-28";

/// The name of the world that [`world`] describes.
pub const WORLD: &str = "this-plugin";

/// Beside it, a world of what only writes to the log.
pub(crate) const LOG_WORLD: &str = "log-only";

/// The file in which [`write`] puts that world.
const WORLD_FILE: &str = "this-plugin.wit";

/// The files of the contract in this version, as paths and texts. Other packages that it refers to lie under `deps/`, a
/// folder each.
pub fn files(version: &Version) -> impl Iterator<Item = (&'static str, &'static str)> {
    let folder = match (version.major, version.minor) {
        (0, 1) => &V0_1,
        (0, 2) => &V0_2,
        _ => &V0_3,
    };
    let deps = folder.get_dir("deps").into_iter().flat_map(|deps| deps.dirs()).flat_map(|dep| dep.files());
    deps.chain(folder.files()).filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?)))
}

/// The WIT of the world of one plugin: what its stages export, and what its capabilities import. Part of the package
/// whose files [`files`] gives.
pub fn world(manifest: &Manifest) -> String {
    let mut imports = BTreeSet::from(["log"]);
    imports.extend(manifest.capabilities.iter().flat_map(|request| request.name.interfaces()));
    imports.extend(manifest.stages.iter().flat_map(|stage| stage.free_imports()));
    let lifecycle = (manifest.wit > WIT_0_1).then_some("lifecycle");
    let exports = lifecycle.into_iter().chain(manifest.stages.iter().map(|stage| stage.interface()));
    let mut text = format!("package purlin:plugin@{};\n\nworld {WORLD} {{\n", manifest.wit);
    for import in imports {
        let _ = match import.strip_prefix("nn/") {
            Some(_) => writeln!(text, "    import wasi:{import}@{WASI_NN};"),
            None => writeln!(text, "    import {import};"),
        };
    }
    for export in exports {
        let _ = writeln!(text, "    export {export};");
    }
    let _ = writeln!(text, "}}\n\nworld {LOG_WORLD} {{\n    import log;\n}}");
    text
}

/// Writes the contract and the plugin's world into a folder, as compilers take them.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in files(&manifest.wit) {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)?;
    }
    std::fs::write(folder.join(WORLD_FILE), world(manifest))
}

/// One of the worlds that [`world`] describes, resolved.
pub(crate) fn resolve(manifest: &Manifest, name: &str) -> Result<(Resolve, WorldId), String> {
    let mut resolve = Resolve::default();
    let mut sources = SourceMap::new();
    for (name, text) in files(&manifest.wit) {
        if name.starts_with("deps/") {
            resolve.push_str(name, text).map_err(|error| error.to_string())?;
        } else {
            sources.push_str(name, text);
        }
    }
    sources.push_str(WORLD_FILE, world(manifest));
    let group = sources.parse().map_err(|(_, error)| error.to_string())?;
    let package = resolve.push_group(group).map_err(|error| error.to_string())?;
    let world = resolve.select_world(&[package], Some(name)).map_err(|error| error.to_string())?;
    Ok((resolve, world))
}
