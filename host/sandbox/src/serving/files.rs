//! The files of a model, as the instances that serve it see them: by name, and nothing else of the disk.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use purlin_nn::{LoadOptions, ModelFile};

/// A model's files, and where its graphs are computed.
#[derive(Clone)]
pub struct ModelFiles {
    files: BTreeMap<String, (ModelFile, u64)>,
    pub(crate) options: LoadOptions,
    /// Keeps the files where they are.
    guard: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelFiles").field("files", &self.files).field("options", &self.options).finish()
    }
}

impl ModelFiles {
    /// No files yet.
    pub fn new(options: LoadOptions) -> Self {
        ModelFiles { files: BTreeMap::new(), options, guard: None }
    }

    /// Adds a file in memory.
    #[must_use]
    pub fn with_bytes(mut self, name: impl Into<String>, content: Bytes) -> Self {
        let size = content.len() as u64;
        self.files.insert(name.into(), (ModelFile::Memory(content), size));
        self
    }

    /// Adds a file on disk, of a size in bytes. It must not change while it is used.
    #[must_use]
    pub fn with_path(mut self, name: impl Into<String>, path: PathBuf, size: u64) -> Self {
        self.files.insert(name.into(), (ModelFile::Path(path), size));
        self
    }

    /// Keeps something for as long as the files are used: what holds them where they are.
    #[must_use]
    pub fn guarded_by(mut self, guard: Arc<dyn Any + Send + Sync>) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Names and sizes, in the order of the names.
    pub fn names(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|(name, (_, size))| (name.as_str(), *size))
    }

    pub(crate) fn file(&self, name: &str) -> Option<ModelFile> {
        self.files.get(name).map(|(file, _)| file.clone())
    }

    /// At most `length` bytes from `offset`; `None` where there is no such file, or it can no longer be read.
    pub(crate) async fn read(&self, name: &str, offset: u64, length: usize) -> Option<Vec<u8>> {
        let (file, size) = self.files.get(name)?;
        let length = length.min(usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX));
        match file {
            ModelFile::Memory(content) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
                Some(content[from..(from + length).min(content.len())].to_vec())
            }
            ModelFile::Path(path) => {
                let path = path.clone();
                let reading = tokio::task::spawn_blocking(move || {
                    let mut piece = vec![0; length];
                    File::open(&path)?.read_exact_at(&mut piece, offset)?;
                    std::io::Result::Ok(piece)
                });
                reading.await.ok()?.ok()
            }
        }
    }
}
