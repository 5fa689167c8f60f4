//! Blobs as files in a folder: one folder a plugin, one file a blob. A file's name is the blob's in hexadecimal, so that
//! no name can mean anything to the file system; a name that is longer than a file's may be goes on in a folder of its own.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::{Blobs, PluginId};
use crate::contract::{BlobInfo, HostError};

/// The most that one plugin may keep, in bytes.
const QUOTA: u64 = 4 << 30;

/// Bytes of a blob's name that go into a file's name: file systems allow 255, and the hexadecimal form has two for each.
const PART: usize = 120;

/// What the names of folders end with in which a blob's name goes on.
const GOES_ON: &str = "-";

/// The longest name of a blob, in bytes, as the contract says.
const MAX_NAME: usize = 253;

/// The folder.
#[derive(Clone, Debug)]
pub struct BlobFolder {
    root: PathBuf,
}

impl BlobFolder {
    /// A store below `root`, which is made when it is first written to.
    pub fn new(root: PathBuf) -> BlobFolder {
        BlobFolder { root }
    }

    fn of(&self, plugin: &PluginId) -> PathBuf {
        self.root.join(hex::encode(&plugin.uid))
    }

    fn file(&self, plugin: &PluginId, name: &str) -> Result<PathBuf, HostError> {
        if name.len() > MAX_NAME {
            return Err(HostError::Invalid(format!("names of blobs have at most {MAX_NAME} bytes")));
        }
        let mut path = self.of(plugin);
        let mut rest = name.as_bytes();
        while let Some((part, more)) = rest.split_at_checked(PART).filter(|(_, more)| !more.is_empty()) {
            path.push(hex::encode(part) + GOES_ON);
            rest = more;
        }
        path.push(hex::encode(rest));
        Ok(path)
    }

    /// Names and sizes.
    async fn all(&self, plugin: &PluginId) -> Result<Vec<BlobInfo>, HostError> {
        let mut found = Vec::new();
        let mut folders = vec![(self.of(plugin), Vec::new())];
        while let Some((folder, begun)) = folders.pop() {
            let mut entries = match fs::read_dir(&folder).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&error)),
            };
            while let Some(entry) = entries.next_entry().await.map_err(|error| failed(&error))? {
                let file = entry.file_name();
                let Some(file) = file.to_str() else { continue };
                let part = file.strip_suffix(GOES_ON);
                // What is being written has a name that is no hexadecimal.
                let Ok(bytes) = hex::decode(part.unwrap_or(file)) else { continue };
                let name = [begun.as_slice(), &bytes].concat();
                if part.is_some() {
                    folders.push((entry.path(), name));
                } else if let Ok(name) = String::from_utf8(name) {
                    let size = entry.metadata().await.map_err(|error| failed(&error))?.len();
                    found.push(BlobInfo { name, size });
                }
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

#[async_trait]
impl Blobs for BlobFolder {
    async fn read(
        &self,
        plugin: &PluginId,
        name: &str,
        offset: u64,
        length: u32,
    ) -> Result<Option<Vec<u8>>, HostError> {
        let mut file = match fs::File::open(self.file(plugin, name)?).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        file.seek(io::SeekFrom::Start(offset)).await.map_err(|error| failed(&error))?;
        let mut content = Vec::new();
        file.take(length.into()).read_to_end(&mut content).await.map_err(|error| failed(&error))?;
        Ok(Some(content))
    }

    async fn write(&self, plugin: &PluginId, name: &str, content: Vec<u8>) -> Result<(), HostError> {
        let file = self.file(plugin, name)?;
        let present = self.all(plugin).await?;
        let others: u64 = present.iter().filter(|blob| blob.name != name).map(|blob| blob.size).sum();
        if others + content.len() as u64 > QUOTA {
            return Err(HostError::TooLarge(QUOTA));
        }
        let folder = file.parent().map_or_else(|| self.of(plugin), Path::to_path_buf);
        let write = async {
            fs::create_dir_all(&folder).await?;
            let part = folder.join(format!("{}.part", uuid::Uuid::new_v4()));
            let written = async {
                let mut open = fs::File::create(&part).await?;
                open.write_all(&content).await?;
                open.sync_all().await?;
                fs::rename(&part, &file).await?;
                fs::File::open(&folder).await?.sync_all().await
            };
            let written = written.await;
            if written.is_err() {
                // What failed to be written is nobody's; that it cannot be removed either changes nothing.
                let _ = fs::remove_file(&part).await;
            }
            written
        };
        write.await.map_err(|error| failed(&error))
    }

    async fn delete(&self, plugin: &PluginId, name: &str) -> Result<(), HostError> {
        match fs::remove_file(self.file(plugin, name)?).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn list(&self, plugin: &PluginId, prefix: &str) -> Result<Vec<BlobInfo>, HostError> {
        let mut found = self.all(plugin).await?;
        found.retain(|blob| blob.name.starts_with(prefix));
        Ok(found)
    }
}

fn failed(error: &io::Error) -> HostError {
    HostError::Unavailable(format!("the blob store failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_plugin_has_its_own() {
        let id = |uid: &str| PluginId { name: "same".to_owned(), uid: uid.to_owned() };
        let (a, b) = (id("a"), id("b"));
        let dir = tempfile::tempdir().expect("dir");
        let store = BlobFolder::new(dir.path().join("blobs"));
        assert_eq!(store.read(&a, "x", 0, 10).await, Ok(None));
        store.write(&a, "x/y", b"hello".to_vec()).await.expect("write");
        store.write(&b, "x/y", b"other".to_vec()).await.expect("write");
        assert_eq!(store.read(&a, "x/y", 1, 3).await, Ok(Some(b"ell".to_vec())));
        assert_eq!(store.read(&a, "x/y", 9, 3).await, Ok(Some(Vec::new())));
        assert_eq!(store.read(&b, "x/y", 0, 9).await, Ok(Some(b"other".to_vec())));
        let listed = store.list(&a, "x/").await.expect("list");
        assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].size), (1, "x/y", 5));
        assert_eq!(store.list(&a, "y").await.map(|found| found.len()), Ok(0));
        store.delete(&a, "x/y").await.expect("delete");
        store.delete(&a, "x/y").await.expect("delete again");
        assert_eq!(store.read(&a, "x/y", 0, 9).await, Ok(None));
        assert_eq!(store.read(&b, "x/y", 0, 9).await, Ok(Some(b"other".to_vec())));
    }

    #[tokio::test]
    async fn a_name_may_be_as_long_as_the_contract_says() {
        let id = PluginId { name: "one".to_owned(), uid: "a".to_owned() };
        let dir = tempfile::tempdir().expect("dir");
        let store = BlobFolder::new(dir.path().join("blobs"));
        let long = |length: usize| "x/".repeat(length / 2) + &"y".repeat(length % 2);
        let lengths = [1, 119, 120, 121, 240, 241, 253];
        for length in lengths {
            store.write(&id, &long(length), vec![7; length]).await.expect("write");
        }
        for length in lengths {
            let content = store.read(&id, &long(length), 0, 999).await.expect("read");
            assert_eq!(content, Some(vec![7; length]));
        }
        let listed = store.list(&id, "x/").await.expect("list");
        let mut sizes: Vec<_> = listed.iter().map(|blob| (blob.name.len(), blob.size)).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, lengths[1..].iter().map(|length| (*length, *length as u64)).collect::<Vec<_>>());
        store.delete(&id, &long(241)).await.expect("delete");
        assert_eq!(store.read(&id, &long(241), 0, 9).await, Ok(None));
        assert!(store.read(&id, &long(240), 0, 9).await.expect("read").is_some());
        assert!(matches!(store.write(&id, &"x".repeat(254), vec![]).await, Err(HostError::Invalid(_))));
    }
}
