//! Writing files so that a crash at any moment leaves the old content or the new one, never a part.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes beside, syncs, and renames over `path`; syncs the folder so that the rename itself lasts.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A bare name has an empty parent, which no system call takes for the present folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes renames in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
