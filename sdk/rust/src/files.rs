//! The files of the model that is served.

use crate::bindings::inference::purlin::plugin::model_files;
use crate::{Fault, fault};

/// How much of a file is asked for at once.
const PIECE: u32 = 4 << 20;

/// A whole file.
///
/// # Errors
/// The model has no such file; the fault names its source.
pub fn read(name: &str) -> Result<Vec<u8>, Fault> {
    read_sized(name, 0)
}

/// A whole file of about so many bytes. Saying how many spares a large file from being moved as it grows.
///
/// # Errors
/// The model has no such file; the fault names its source.
pub fn read_sized(name: &str, size: u64) -> Result<Vec<u8>, Fault> {
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    loop {
        let piece = model_files::read(name, content.len() as u64, PIECE);
        let piece = piece.ok_or_else(|| missing(name))?;
        if piece.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(&piece);
    }
}

/// The fault of a model that lacks a file.
pub fn missing(name: &str) -> Fault {
    fault::invalid("spec.source.uri", "", format!("there is no file {name} at the source"))
}
