//! A source that is one archive: its files are the model's, as they are for clients of KServe's storage initializer. Archives are
//! told by their names: `.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.zip`.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use zip::ZipArchive;
use zip::result::ZipError;

use super::cache::{Cache, Hold};
use super::error::SourceError;
use super::gather::Gathering;
use super::layer::{self, Change, Compression, Limits};
use super::listing::{self, Entry, Listing, MAX_FILES};

/// The longest target of a link in bytes.
const MAX_TARGET: u64 = 4096;

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Tar(Compression),
    Zip,
}

impl Packing {
    /// By the name of a file; none where it is no archive's.
    fn of(name: &str) -> Option<Packing> {
        let name = name.to_ascii_lowercase();
        let endings = [
            (".tar", Packing::Tar(Compression::None)),
            (".tar.gz", Packing::Tar(Compression::Gzip)),
            (".tgz", Packing::Tar(Compression::Gzip)),
            (".tar.zst", Packing::Tar(Compression::Zstandard)),
            (".zip", Packing::Zip),
        ];
        endings.into_iter().find_map(|(ending, packing)| name.ends_with(ending).then_some(packing))
    }
}

/// What a source is once its archive is unpacked.
pub(super) struct Unpacked {
    pub(super) listing: Listing,
    pub(super) hold: Hold,
    /// `sha256:...` of the archive.
    pub(super) digest: String,
}

/// The files in the archive that a source is; none where it is something else.
///
/// # Errors
/// The archive is damaged, has links that lead out of it or more than is taken; there is no room.
pub(super) async fn unpacked(
    gathering: &Gathering<'_>,
    listing: &Listing,
) -> Result<Option<Unpacked>, SourceError> {
    let [archive] = listing.files.as_slice() else { return Ok(None) };
    let Some(packing) = Packing::of(&archive.name) else { return Ok(None) };
    let Gathering { cache, uri, max_file, .. } = *gathering;
    let digest = format!("sha256:{}", archive.digest);
    let (shared, what, blob) = (Arc::clone(cache), uri.to_owned(), cache.blob(&archive.digest));
    let unpack = move || {
        let file = File::open(&blob)
            .map_err(|error| SourceError::passing(format!("{what} cannot be read: {error}")))?;
        let limits = Limits { file: max_file };
        match packing {
            Packing::Tar(compression) => layer::unpack(&shared, &what, file, compression, "", limits),
            Packing::Zip => unzip(&shared, &what, file, limits),
        }
    };
    // One content may be called two kinds of archives.
    let key = format!("{digest}\n{packing:?}");
    let _one = cache.gate(&key).await;
    let (changes, hold) = match layer::kept(cache, &key) {
        Some(kept) => kept,
        None => layer::keep(cache, &key, unpack).await?,
    };
    let files = layer::merged(uri, changes.into_iter())?;
    let entry = |(name, (digest, size))| Entry { name, digest, size, version: None };
    let listing = Listing::new(uri, false, files.into_iter().map(entry).collect())?;
    Ok(Some(Unpacked { listing, hold, digest }))
}

/// Reads a zip archive, and puts its files into the cache.
fn unzip(
    cache: &Arc<Cache>,
    what: &str,
    file: File,
    limits: Limits,
) -> Result<(Vec<Change>, Hold), SourceError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        SourceError::invalid(format!("{what} is no archive that can be read: {error}"))
    };
    let failed = |error: ZipError| match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
            SourceError::passing(format!("{what} cannot be unpacked: {error}"))
        }
        error => unreadable(&error),
    };
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(failed)?;
    if archive.len() > 2 * MAX_FILES {
        return Err(SourceError::invalid(format!("{what} has too many entries to be a model's")));
    }
    let (mut changes, mut hold) = (Vec::new(), Hold::nothing(cache));
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(failed)?;
        let name = entry.name().map_err(failed)?.into_owned();
        let Some(path) = layer::resolve("", &name) else {
            return Err(SourceError::invalid(format!("{what} has the path {name:?}, which leads out of it")));
        };
        if entry.is_dir() {
            changes.push(Change::Folder { path });
            continue;
        }
        if entry.is_symlink() {
            let mut target = String::new();
            (&mut entry).take(MAX_TARGET).read_to_string(&mut target).map_err(|error| unreadable(&error))?;
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = layer::resolve(folder, &target);
            changes.push(Change::Link { path, target });
            continue;
        }
        if !listing::is_safe(&path) {
            return Err(SourceError::invalid(format!("{what} has a file with the name {path:?}")));
        }
        let size = entry.size();
        if size > limits.file {
            let message = format!("{what}: {path:?} is larger than {} bytes", limits.file);
            return Err(SourceError::lasting("SourceTooLarge", message));
        }
        let room = cache.room(size, what)?;
        let disk = |error: io::Error| SourceError::passing(format!("{what} cannot be unpacked: {error}"));
        let mut writer = cache.writer().map_err(disk)?;
        let mut piece = vec![0; 1 << 18];
        loop {
            match entry.read(&mut piece).map_err(|error| unreadable(&error))? {
                0 => break,
                read => writer.write(&piece[..read]).map_err(disk)?,
            }
            // The directory of an archive is part of what may be a lie.
            if writer.size() > size {
                return Err(unreadable(&format!("{path:?} is larger than the {size} bytes that it says")));
            }
        }
        let size = writer.size();
        let (digest, held) = writer.commit().map_err(disk)?;
        drop(room);
        hold.join(held);
        changes.push(Change::File { path, digest, size });
    }
    Ok((changes, hold))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Files by their names; a target in place of a content makes a link.
    fn zipped(entries: &[(&str, Result<&str, &str>)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        for (name, content) in entries {
            match content {
                Ok(content) => {
                    writer.start_file(*name, options).unwrap();
                    writer.write_all(content.as_bytes()).unwrap();
                }
                Err(target) => writer.add_symlink(*name, *target, options).unwrap(),
            }
        }
        writer.finish().unwrap().into_inner()
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        let path = folder.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        let (changes, _) = unzip(&cache, "it", File::open(path).unwrap(), Limits { file: 1000 })?;
        let files = layer::merged("it", changes.into_iter())?;
        Ok(files.into_iter().map(|(name, (_, size))| format!("{name} {size}")).collect())
    }

    #[test]
    fn archives_are_told_by_their_names() {
        let gzip = Packing::Tar(Compression::Gzip);
        for (name, expected) in [
            ("model.tar", Some(Packing::Tar(Compression::None))),
            ("a/Model.TAR.GZ", Some(gzip)),
            ("model.tgz", Some(gzip)),
            ("model.tar.zst", Some(Packing::Tar(Compression::Zstandard))),
            ("model.zip", Some(Packing::Zip)),
            ("model.onnx", None),
            ("model.json.gz", None),
            ("zip", None),
        ] {
            assert_eq!(Packing::of(name), expected, "{name}");
        }
    }

    #[test]
    fn a_zip_archive_is_read() {
        let entries = [("a/model.onnx", Ok("content")), ("link", Err("a/model.onnx")), ("b", Ok(""))];
        assert_eq!(read(&zipped(&entries)).unwrap(), ["a/model.onnx 7", "b 0", "link 7"]);
    }

    #[test]
    fn what_leads_out_or_is_too_large_is_refused() {
        let large = "x".repeat(1001);
        for (entries, reason) in [
            (vec![("../../etc/passwd", Ok("x"))], "SourceInvalid"),
            (vec![("a", Err("/etc/passwd"))], "SourceInvalid"),
            (vec![("a", Err("../b"))], "SourceInvalid"),
            (vec![("a", Ok(large.as_str()))], "SourceTooLarge"),
        ] {
            assert_eq!(read(&zipped(&entries)).unwrap_err().reason, reason, "{entries:?}");
        }
        assert_eq!(read(b"no archive").unwrap_err().reason, "SourceInvalid");
    }

    proptest! {
        #[test]
        fn damage_is_an_error_and_no_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = zipped(&[("a/b", Ok("some content that is packed")), ("c", Err("a/b"))]);
            let index = at.index(bytes.len());
            bytes[index] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = read(&bytes);
        }
    }
}
