//! What a source has: names, sizes and contents of its files. Its digest says whether two sources are the same.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::SourceError;

/// Files of one model at most.
pub(super) const MAX_FILES: usize = 10_000;

/// The longest name of a file, in bytes.
const MAX_NAME: usize = 1024;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its path below the source, with `/` between the parts.
    pub(super) name: String,
    /// SHA-256 of its content, in hexadecimal.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: u64,
    /// What the source calls this version of it: an entity tag, a commit. The same one means the same content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

/// All files of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    /// Whether the URI names a file rather than a folder.
    pub(super) single: bool,
    /// In the order of their names.
    pub(super) files: Vec<Entry>,
}

impl Listing {
    /// Puts the files in order.
    ///
    /// # Errors
    /// There are none or too many, two have one name, or a name leads out of the folder.
    pub(super) fn new(uri: &str, single: bool, mut files: Vec<Entry>) -> Result<Listing, SourceError> {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        check_names(uri, files.iter().map(|file| file.name.as_str()))?;
        Ok(Listing { single, files })
    }

    /// Bytes of all files.
    pub(super) fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// `sha256:` and the digest of the file; for a folder that of the lines that `sha256sum` prints for its files in the
    /// order of their names, so that anybody can tell it beforehand.
    pub(super) fn digest(&self) -> String {
        match self.files.as_slice() {
            [file] if self.single => format!("sha256:{}", file.digest),
            files => {
                let mut all = Sha256::new();
                for file in files {
                    all.update(format!("{}  {}\n", file.digest, file.name));
                }
                format!("sha256:{}", hex::encode(all.finalize()))
            }
        }
    }
}

/// Checks the names of a source's files, which come in order.
///
/// # Errors
/// As [`Listing::new`].
pub(super) fn check_names<'a>(uri: &str, names: impl Iterator<Item = &'a str>) -> Result<(), SourceError> {
    let (mut before, mut count) = (None::<&str>, 0);
    for name in names {
        count += 1;
        if count > MAX_FILES {
            let message = format!("{uri} has more than {MAX_FILES} files; name a folder that has one model");
            return Err(SourceError::invalid(message));
        }
        if !is_safe(name) {
            let name: String = name.chars().take(100).collect();
            let message = format!("{uri} has a file {name:?}, which is no path below a folder");
            return Err(SourceError::invalid(message));
        }
        if before == Some(name) {
            return Err(SourceError::invalid(format!("{uri} has two files that are called {name:?}")));
        }
        before = Some(name);
    }
    if count == 0 {
        return Err(SourceError::passing(format!("{uri} has no files; check the path")));
    }
    Ok(())
}

/// Whether a name is a path that cannot lead out of the folder that it is put in.
pub(super) fn is_safe(name: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    name.len() <= MAX_NAME && !name.contains('\0') && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, content: &[u8]) -> Entry {
        let digest = hex::encode(Sha256::digest(content));
        Entry { name: name.to_owned(), digest, size: content.len() as u64, version: None }
    }

    #[test]
    fn the_digest_is_that_of_the_file_or_of_what_sha256sum_prints() {
        let one = Listing::new("x", true, vec![entry("model.bin", b"abc")]).unwrap();
        assert_eq!(one.digest(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let folder = Listing::new("x", false, vec![entry("b", b"abc"), entry("a/c", b"")]).unwrap();
        let printed = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a/c\n\
                       ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n";
        assert_eq!(folder.digest(), format!("sha256:{}", hex::encode(Sha256::digest(printed))));
        assert_eq!(folder.size(), 3);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", &"a".repeat(256)] {
            let refused = Listing::new("x", false, vec![entry(name, b"")]).unwrap_err();
            assert_eq!(refused.reason, "SourceInvalid", "{name:?}");
        }
        assert!(Listing::new("x", false, vec![entry("a", b""), entry("a", b"")]).is_err());
        assert!(Listing::new("x", false, vec![]).is_err());
    }

    proptest! {
        #[test]
        fn a_safe_name_stays_below_its_folder(name in "[a./\\\\\0]{0,12}") {
            if is_safe(&name) {
                let path = std::path::Path::new("/folder").join(&name);
                let normal = path.components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(normal && path.starts_with("/folder") && path != std::path::Path::new("/folder"));
            }
        }
    }
}
