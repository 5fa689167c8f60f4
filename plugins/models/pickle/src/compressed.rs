//! What joblib compresses the whole pickle with, told by the first bytes.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::Error;

/// Ways of compression that are told apart to be named.
const OTHERS: [(&[u8], &str); 4] =
    [(b"BZ", "bz2"), (b"\xfd7zXZ", "xz"), (b"\x5d\x00", "lzma"), (b"\x04\x22\x4d\x18", "lz4")];

/// The content itself, at most `limit` bytes of it.
pub(crate) fn inflate(content: Vec<u8>, limit: usize) -> Result<Vec<u8>, Error> {
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| content.starts_with(magic)) {
        return Err(Error::Compression { name });
    }
    if content.starts_with(&[0x1f, 0x8b]) {
        return bounded(MultiGzDecoder::new(content.as_slice()), limit);
    }
    // A zlib header is divisible by 31; no pickle starts with `x`, which would fetch from an empty stack.
    let zlib = content.first() == Some(&0x78)
        && content.get(1).is_some_and(|flags| (0x7800 + u32::from(*flags)).is_multiple_of(31));
    if zlib {
        return bounded(ZlibDecoder::new(content.as_slice()), limit);
    }
    if content.len() > limit {
        return Err(Error::Limit { what: "bytes", limit });
    }
    Ok(content)
}

fn bounded(reader: impl Read, limit: usize) -> Result<Vec<u8>, Error> {
    let mut found = Vec::new();
    let read = reader.take(limit as u64 + 1).read_to_end(&mut found);
    read.map_err(|error| Error::Inflate { reason: error.to_string() })?;
    if found.len() > limit {
        return Err(Error::Limit { what: "bytes once it is inflated", limit });
    }
    Ok(found)
}
