//! Layers of images, and archives that are a model: what in them belongs to a model goes into the cache, file by file; the
//! layer itself is not kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cache::{Cache, Hold, Shelf};
use super::error::SourceError;
use super::listing::{self, MAX_FILES};
use super::tar::{Archive, Kind};

/// Entries of a layer at most, whether of a model or not.
const MAX_ENTRIES: usize = 1_000_000;

/// Links to links that are followed.
const MAX_LINKS: usize = 8;

/// What begins the name of a file that takes another away.
const WHITEOUT: &str = ".wh.";

/// What takes all away that the layers below have in a folder.
const OPAQUE: &str = ".wh..wh..opq";

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstandard,
}

/// What a layer does to the folder of the model. Paths are below that folder, which is itself the empty path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Change {
    /// A file with a content.
    File { path: String, digest: String, size: u64 },
    /// A name for what is at another path; absent where that is outside of the folder.
    Link { path: String, target: Option<String> },
    /// A folder: what was a file there is none now.
    Folder { path: String },
    /// What the layers below have at a path goes.
    Remove { path: String },
    /// What the layers below have within a folder goes.
    Clear { path: String },
}

/// What an archive may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of a file.
    pub(super) file: u64,
}

/// Reads an archive, and puts the files below `root` into the cache. `root` has no slash at either end; empty means all.
///
/// # Errors
/// The archive is damaged or has more than is taken; there is no room.
pub(super) fn unpack(
    cache: &Arc<Cache>,
    what: &str,
    archive: File,
    compression: Compression,
    root: &str,
    limits: Limits,
) -> Result<(Vec<Change>, Hold), SourceError> {
    let failed = |error: io::Error| match error.kind() {
        // All that a decoder or the reader says of the content itself.
        io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::Other => {
            SourceError::invalid(format!("{what} is no archive that can be read: {error}"))
        }
        _ => SourceError::passing(format!("{what} cannot be unpacked: {error}")),
    };
    let archive = BufReader::with_capacity(1 << 18, archive);
    let reader: Box<dyn Read> = match compression {
        Compression::None => Box::new(archive),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(archive)),
        Compression::Zstandard => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(archive);
            Box::new(decoder.map_err(|error| SourceError::invalid(format!("{what}: {error}")))?)
        }
    };
    let mut archive = Archive::new(BufReader::with_capacity(1 << 18, reader));
    let (mut changes, mut hold, mut entries) = (Vec::new(), Hold::nothing(cache), 0);
    while let Some(entry) = archive.next().map_err(failed)? {
        entries += 1;
        if entries > MAX_ENTRIES || changes.len() > 2 * MAX_FILES {
            return Err(SourceError::invalid(format!("{what} has too many entries to be a model's")));
        }
        let Some(whole) = resolve("", &entry.path) else {
            let message = format!("{what} has the path {:?}, which leads out of it", entry.path);
            return Err(SourceError::invalid(message));
        };
        let Some(path) = below(root, &whole).map(str::to_owned) else {
            if let Some(change) = above(root, &whole) {
                changes.push(change);
            }
            continue;
        };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == OPAQUE {
            changes.push(Change::Clear { path: folder.to_owned() });
            continue;
        }
        if let Some(name) = name.strip_prefix(WHITEOUT) {
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            changes.push(Change::Remove { path });
            continue;
        }
        match entry.kind {
            Kind::File(size) => {
                if !listing::is_safe(&path) {
                    return Err(SourceError::invalid(format!("{what} has a file with the name {path:?}")));
                }
                if size > limits.file {
                    let message = format!("{what}: {path:?} is larger than {} bytes", limits.file);
                    return Err(SourceError::lasting("SourceTooLarge", message));
                }
                let room = cache.room(size, what)?;
                let mut writer = cache.writer().map_err(failed)?;
                let mut piece = vec![0; 1 << 18];
                loop {
                    match archive.content(&mut piece).map_err(failed)? {
                        0 => break,
                        read => writer.write(&piece[..read]).map_err(failed)?,
                    }
                }
                let size = writer.size();
                let (digest, held) = writer.commit().map_err(failed)?;
                drop(room);
                hold.join(held);
                changes.push(Change::File { path, digest, size });
            }
            Kind::Symlink(target) => {
                let folder = whole.rsplit_once('/').map_or("", |(folder, _)| folder);
                let target = resolve(folder, &target).and_then(|to| below(root, &to).map(str::to_owned));
                changes.push(Change::Link { path, target });
            }
            Kind::Hardlink(target) => {
                let target = resolve("", &target).and_then(|to| below(root, &to).map(str::to_owned));
                changes.push(Change::Link { path, target });
            }
            Kind::Folder => changes.push(Change::Folder { path }),
            Kind::Other => changes.push(Change::Link { path, target: None }),
        }
    }
    Ok((changes, hold))
}

/// What was unpacked before under a key, if all of it is here still.
pub(super) fn kept(cache: &Arc<Cache>, key: &str) -> Option<(Vec<Change>, Hold)> {
    let changes = cache.record::<Vec<Change>>(Shelf::Layers, key)?;
    let digests = changes.iter().filter_map(|change| match change {
        Change::File { digest, .. } => Some(digest.as_str()),
        _ => None,
    });
    let hold = cache.hold(digests)?;
    Some((changes, hold))
}

/// Unpacks on a thread of its own, and keeps note of what came of it under a key.
///
/// # Errors
/// Those of `unpack`.
pub(super) async fn keep(
    cache: &Arc<Cache>,
    key: &str,
    unpack: impl FnOnce() -> Result<(Vec<Change>, Hold), SourceError> + Send + 'static,
) -> Result<(Vec<Change>, Hold), SourceError> {
    let unpacked = tokio::task::spawn_blocking(unpack).await;
    let (changes, hold) = unpacked.map_err(|error| SourceError::passing(error.to_string()))??;
    cache.keep(Shelf::Layers, key, &changes);
    Ok((changes, hold))
}

/// What is at the paths after all changes, each on top of those before it: digest and size.
pub(super) fn merged(
    uri: &str,
    changes: impl Iterator<Item = Change>,
) -> Result<BTreeMap<String, (String, u64)>, SourceError> {
    enum Node {
        File(String, u64),
        Link(Option<String>),
    }
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let clear = |nodes: &mut BTreeMap<String, Node>, folder: &str| {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let below: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        for path in below {
            nodes.remove(&path);
        }
    };
    for change in changes {
        match change {
            Change::File { path, digest, size } => {
                clear(&mut nodes, &path);
                nodes.insert(path, Node::File(digest, size));
            }
            Change::Link { path, target } if !path.is_empty() => {
                clear(&mut nodes, &path);
                nodes.insert(path, Node::Link(target));
            }
            // The folder of the model itself leads elsewhere.
            Change::Link { .. } => {
                return Err(SourceError::invalid(format!("{uri}: the folder of its model is a link")));
            }
            Change::Folder { path } => {
                nodes.remove(&path);
            }
            Change::Remove { path } => {
                clear(&mut nodes, &path);
                nodes.remove(&path);
            }
            Change::Clear { path } => clear(&mut nodes, &path),
        }
    }
    let mut files = BTreeMap::new();
    for (path, node) in &nodes {
        let mut node = Some(node);
        for _ in 0..MAX_LINKS {
            match node {
                Some(Node::Link(target)) => node = target.as_ref().and_then(|target| nodes.get(target)),
                _ => break,
            }
        }
        let Some(Node::File(digest, size)) = node else {
            let message =
                format!("{uri}: {path:?} is no file, and no link to one below the folder of the model");
            return Err(SourceError::invalid(message));
        };
        files.insert(path.clone(), (digest.clone(), *size));
    }
    Ok(files)
}

/// A path without `.` and `..`, from a folder or from the root; none where it leads above the root.
pub(super) fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = match path.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The path below the root, where it is.
fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    if root.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(root)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// What an entry outside of the root does to all of it: a whiteout of the root, or of a folder that it is in.
fn above(root: &str, path: &str) -> Option<Change> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let gone = match name {
        OPAQUE => folder.to_owned(),
        name => {
            let name = name.strip_prefix(WHITEOUT)?;
            if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
        }
    };
    let covers = gone.is_empty() || root == gone || root.strip_prefix(&gone)?.starts_with('/');
    covers.then(|| Change::Clear { path: String::new() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layer(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            // What a hostile archive has and a library would refuse to write.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_mode(0o644);
            if matches!(kind, tar::EntryType::Regular) {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            } else {
                header.set_size(0);
                header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    fn read(bytes: &[u8], compression: Compression, root: &str) -> Result<Vec<String>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        let file = folder.path().join("layer");
        std::fs::write(&file, bytes).unwrap();
        let file = File::open(file).unwrap();
        let (changes, _) = unpack(&cache, "the layer", file, compression, root, Limits { file: 1000 })?;
        Ok(changes
            .into_iter()
            .map(|change| match change {
                Change::File { path, size, .. } => format!("{path} {size}"),
                Change::Link { path, target } => format!("{path} -> {}", target.as_deref().unwrap_or("?")),
                Change::Folder { path } => format!("{path}/"),
                Change::Remove { path } => format!("-{path}"),
                Change::Clear { path } => format!("-{path}/*"),
            })
            .collect())
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const LINK: tar::EntryType = tar::EntryType::Symlink;

    #[test]
    fn what_is_below_the_root_counts() {
        let entries = [
            ("./", tar::EntryType::Directory, ""),
            ("models/", tar::EntryType::Directory, ""),
            ("./models/a/b.bin", FILE, "content"),
            ("/models/c", LINK, "a/b.bin"),
            ("models/d", LINK, "/etc/passwd"),
            ("models/e", LINK, "../../../../x"),
            ("models/f", tar::EntryType::Link, "models/a/b.bin"),
            ("models/.wh.old", FILE, ""),
            ("models/a/.wh..wh..opq", FILE, ""),
            ("modelsx", FILE, "no"),
            ("etc/passwd", FILE, "no"),
        ];
        let expected = ["/", "a/b.bin 7", "c -> a/b.bin", "d -> ?", "e -> ?", "f -> a/b.bin", "-old", "-a/*"];
        assert_eq!(read(&layer(&entries), Compression::None, "models").unwrap(), expected);
        let gone =
            read(&layer(&[(".wh.models", FILE, ""), (".wh.other", FILE, "")]), Compression::None, "models");
        assert_eq!(gone.unwrap(), ["-/*"]);
        assert_eq!(read(&layer(&entries), Compression::None, "").unwrap().len(), entries.len());
    }

    #[test]
    fn hostile_layers_are_refused() {
        for (entries, reason) in [
            (vec![("../../etc/cron.d/x", FILE, "x")], "SourceInvalid"),
            (vec![("models/../../x", FILE, "x")], "SourceInvalid"),
        ] {
            assert_eq!(read(&layer(&entries), Compression::None, "models").unwrap_err().reason, reason);
        }
        let large = "x".repeat(1001);
        let refused = read(&layer(&[("models/x", FILE, &large)]), Compression::None, "models").unwrap_err();
        assert_eq!(refused.reason, "SourceTooLarge");
        assert_eq!(read(b"no gzip", Compression::Gzip, "").unwrap_err().reason, "SourceInvalid");
        assert_eq!(read(b"no zstandard", Compression::Zstandard, "").unwrap_err().reason, "SourceInvalid");
    }

    #[test]
    fn compressed_layers_are_read() {
        use std::io::Write as _;
        let plain = layer(&[("models/x", FILE, "content")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        assert_eq!(read(&gzip.finish().unwrap(), Compression::Gzip, "models").unwrap(), ["x 7"]);
        let zstd =
            ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(read(&zstd, Compression::Zstandard, "models").unwrap(), ["x 7"]);
    }

    proptest! {
        #[test]
        fn a_resolved_path_has_no_way_up(folder in "[a-b/.]{0,8}", path in "[a-b/.]{0,12}") {
            if let Some(resolved) = resolve(&folder, &path) {
                prop_assert!(resolved.is_empty() || resolved.split('/').all(|part| !matches!(part, "" | ".." | ".")) || folder.contains('.'));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), kind in 0..3) {
            let compression = [Compression::None, Compression::Gzip, Compression::Zstandard][kind as usize];
            let _ = read(&bytes, compression, "models");
        }
    }
}
