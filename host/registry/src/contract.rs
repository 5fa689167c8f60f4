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

/// The name of the world that [`world`] describes.
pub const WORLD: &str = "this-plugin";

/// Beside it, a world of what only writes to the log.
pub(crate) const LOG_WORLD: &str = "log-only";

/// The file in which [`write`] puts that world.
const WORLD_FILE: &str = "this-plugin.wit";

/// The files of the contract in this version, as names and texts; none where this release has no such version.
pub fn files(version: &Version) -> impl Iterator<Item = (&'static str, &'static str)> {
    let folder = if *version == WIT_0_1 { &V0_1 } else { &V0_2 };
    folder.files().filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?)))
}

/// The WIT of the world of one plugin: what its stages export, and what its capabilities import. Part of the package
/// whose files [`files`] gives.
pub fn world(manifest: &Manifest) -> String {
    let mut imports = BTreeSet::from(["log"]);
    imports.extend(manifest.capabilities.iter().filter_map(|request| request.name.interface()));
    let lifecycle = (manifest.wit > WIT_0_1).then_some("lifecycle");
    let exports = lifecycle.into_iter().chain(manifest.stages.iter().map(|stage| stage.interface()));
    let mut text = format!("package purlin:plugin@{};\n\nworld {WORLD} {{\n", manifest.wit);
    for import in imports {
        let _ = writeln!(text, "    import {import};");
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
        std::fs::write(folder.join(name), text)?;
    }
    std::fs::write(folder.join(WORLD_FILE), world(manifest))
}

/// One of the worlds that [`world`] describes, resolved.
pub(crate) fn resolve(manifest: &Manifest, name: &str) -> Result<(Resolve, WorldId), String> {
    let mut sources = SourceMap::new();
    for (name, text) in files(&manifest.wit) {
        sources.push_str(name, text);
    }
    sources.push_str(WORLD_FILE, world(manifest));
    let group = sources.parse().map_err(|(_, error)| error.to_string())?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group).map_err(|error| error.to_string())?;
    let world = resolve.select_world(&[package], Some(name)).map_err(|error| error.to_string())?;
    Ok((resolve, world))
}
