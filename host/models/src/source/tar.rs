//! Reading tar archives of unknown origin, entry by entry. It is our own reader because of what has to hold for hostile ones:
//! no name is read beyond a limit, and what is skipped is never kept. Headers are parsed by the crate `tar`.

use std::io::{self, Read};

use tar::{EntryType, Header};

/// Bytes of a block.
const BLOCK: u64 = 512;

/// The longest name, link or set of extended headers, in bytes.
const MAX_EXTENSION: u64 = 64 << 10;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A link to a path, beginning at the folder of the entry.
    Symlink(String),
    /// Another name of an entry, by its whole path.
    Hardlink(String),
    Folder,
    /// A device, a socket and the like.
    Other,
}

/// One entry, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) kind: Kind,
}

/// Reads an archive from the beginning to the end.
pub(super) struct Archive<R> {
    from: R,
    /// Bytes of the present entry that were not read yet.
    rest: u64,
    /// Bytes up to the next block after that.
    padding: u64,
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl<R: Read> Archive<R> {
    pub(super) fn new(from: R) -> Self {
        Archive { from, rest: 0, padding: 0 }
    }

    /// The next entry; none at the end. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// The archive is damaged, or cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let (mut long_path, mut long_link, mut extended) = (None, None, Extended::default());
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            let said = header.entry_size()?;
            // What describes the next entry has the size in its own header.
            let describes = matches!(
                kind,
                EntryType::GNULongName
                    | EntryType::GNULongLink
                    | EntryType::XHeader
                    | EntryType::XGlobalHeader
            );
            let size = extended.size.filter(|_| !describes).unwrap_or(said);
            let has_content = !matches!(
                kind,
                EntryType::Link
                    | EntryType::Symlink
                    | EntryType::Char
                    | EntryType::Block
                    | EntryType::Directory
                    | EntryType::Fifo
            );
            self.rest = if has_content { size } else { 0 };
            self.padding = (BLOCK - self.rest % BLOCK) % BLOCK;
            match kind {
                EntryType::GNULongName => long_path = Some(self.extension()?),
                EntryType::GNULongLink => long_link = Some(self.extension()?),
                EntryType::XHeader => extended = Extended::parse(&self.extension()?)?,
                EntryType::XGlobalHeader => {}
                _ => {
                    let path =
                        long_path.or(extended.path).unwrap_or_else(|| header.path_bytes().into_owned());
                    let link = || {
                        let short = || header.link_name_bytes().unwrap_or_default().into_owned();
                        text(long_link.take().or(extended.link.take()).unwrap_or_else(short))
                    };
                    let kind = match kind {
                        EntryType::Regular | EntryType::Continuous => Kind::File(self.rest),
                        EntryType::Symlink => Kind::Symlink({ link }()?),
                        EntryType::Link => Kind::Hardlink({ link }()?),
                        EntryType::Directory => Kind::Folder,
                        EntryType::GNUSparse => {
                            return Err(broken("it has a sparse file; pack it without --sparse"));
                        }
                        _ => Kind::Other,
                    };
                    return Ok(Some(Entry { path: text(path)?, kind }));
                }
            }
        }
    }

    /// Reads some of the present entry's content; nothing at its end.
    ///
    /// # Errors
    /// The archive ends too early, or cannot be read.
    pub(super) fn content(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.rest).unwrap_or(usize::MAX).min(piece.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.from.read(&mut piece[..most])?;
        if read == 0 {
            return Err(broken("it ends in the middle of a file"));
        }
        self.rest -= read as u64;
        Ok(read)
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.from.read(&mut block[filled..])? {
                // Many archives lack the two blocks that should end them.
                0 if filled == 0 => return Ok(None),
                0 => return Err(broken("it ends in the middle of a header")),
                read => filled += read,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        if header.cksum()? != sum {
            return Err(broken("a header does not have its checksum"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self) -> io::Result<Vec<u8>> {
        if self.rest > MAX_EXTENSION {
            return Err(broken(format!("a name in it has more than {MAX_EXTENSION} bytes")));
        }
        let mut content = vec![0; usize::try_from(self.rest).unwrap_or(0)];
        self.from.read_exact(&mut content)?;
        self.rest = 0;
        // Names end with a zero byte.
        if let Some(end) = content.iter().position(|byte| *byte == 0) {
            content.truncate(end);
        }
        Ok(content)
    }

    fn skip(&mut self) -> io::Result<()> {
        let rest = self.rest.checked_add(self.padding).ok_or_else(|| broken("a size in it is too large"))?;
        (self.rest, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.from).take(rest), &mut io::sink())?;
        if skipped < rest {
            return Err(broken("it ends in the middle of a file"));
        }
        Ok(())
    }
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| broken("a name in it is not UTF-8"))
}

/// What POSIX's extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    /// Records of the form `LENGTH KEY=VALUE\n`, each with its length in decimal.
    fn parse(mut records: &[u8]) -> io::Result<Extended> {
        let wrong = || broken("an extended header in it cannot be read");
        let mut extended = Extended::default();
        while !records.is_empty() {
            let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let (length, _) = records.split_at(space);
            let length: usize =
                std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
            let record = records.get(space + 1..length).ok_or_else(wrong)?;
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => extended.path = Some(value.to_vec()),
                b"linkpath" => extended.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    extended.size = Some(size.ok_or_else(wrong)?);
                }
                _ if key.starts_with(b"GNU.sparse") => {
                    return Err(broken("it has a sparse file; pack it without --sparse"));
                }
                _ => {}
            }
            records = &records[length..];
        }
        Ok(extended)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
        let mut archive = Archive::new(bytes);
        let mut entries = Vec::new();
        while let Some(entry) = archive.next()? {
            let (mut content, mut piece) = (Vec::new(), [0; 100]);
            loop {
                match archive.content(&mut piece)? {
                    0 => break,
                    read => content.extend_from_slice(&piece[..read]),
                }
            }
            entries.push((entry, content));
        }
        Ok(entries)
    }

    fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn links_folders_and_extended_headers() {
        let mut builder = tar::Builder::new(Vec::new());
        let long = format!("models/{}", "x".repeat(200));
        builder.append_pax_extensions([("path", long.as_bytes()), ("size", b"3")]).unwrap();
        let mut header = Header::new_ustar();
        header.set_path("short").unwrap();
        header.set_size(3);
        header.set_cksum();
        builder.append(&header, &b"abc"[..]).unwrap();
        for (kind, path, link) in [
            (EntryType::Symlink, "models/a", "../b"),
            (EntryType::Link, "models/c", "models/a"),
            (EntryType::Directory, "models/d/", ""),
            (EntryType::Fifo, "models/e", ""),
        ] {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            if link.is_empty() {
                builder.append_data(&mut header, path, io::empty()).unwrap();
            } else {
                builder.append_link(&mut header, path, link).unwrap();
            }
        }
        let read = read(&builder.into_inner().unwrap()).unwrap();
        let kinds: Vec<_> = read.iter().map(|(entry, _)| (entry.path.as_str(), entry.kind.clone())).collect();
        assert_eq!(
            kinds,
            [
                (long.as_str(), Kind::File(3)),
                ("models/a", Kind::Symlink("../b".to_owned())),
                ("models/c", Kind::Hardlink("models/a".to_owned())),
                ("models/d/", Kind::Folder),
                ("models/e", Kind::Other),
            ]
        );
        assert_eq!(read[0].1, b"abc");
    }

    #[test]
    fn a_name_without_end_is_refused() {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let error = read(header.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }

    #[test]
    fn a_size_beyond_all_numbers_is_refused() {
        let mut header = Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_size(u64::MAX);
        header.set_cksum();
        let mut archive = Archive::new(&header.as_bytes()[..]);
        assert!(archive.next().unwrap().is_some());
        assert!(archive.next().is_err());
    }

    proptest! {
        #[test]
        fn what_was_packed_is_read(
            files in proptest::collection::vec(("[a-z]{1,8}(/[a-z]{1,150}){0,2}", proptest::collection::vec(any::<u8>(), 0..1500)), 0..6)
        ) {
            let read = read(&packed(&files)).unwrap();
            let read: Vec<_> = read.into_iter().map(|(entry, content)| (entry.path, content)).collect();
            prop_assert_eq!(read, files);
        }

        #[test]
        fn damage_is_an_error_and_no_panic(
            at in 0usize..4096, byte in any::<u8>(), cut in 0usize..4096,
        ) {
            let mut bytes = packed(&[("a".repeat(150), vec![7; 700]), ("b".to_owned(), vec![1; 5])]);
            let index = at % bytes.len();
            bytes[index] = byte;
            bytes.truncate(cut.max(1));
            let _ = read(&bytes);
        }

        #[test]
        fn extended_headers_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[0-9]{1,3} [a-z=\n]{0,20}") {
            let _ = Extended::parse(&bytes);
            let _ = Extended::parse(text.as_bytes());
        }
    }
}
