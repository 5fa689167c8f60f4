//! How far a fetch is, for conditions and terminals.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what a fetch has read. Shared by all that wait for the same fetch.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes that are here, of what had to be downloaded.
    done: AtomicU64,
    /// Bytes that have to be downloaded, as far as is known.
    total: AtomicU64,
}

impl Progress {
    /// So many more bytes have to be downloaded.
    pub(super) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many more bytes are here.
    pub(super) fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes that were here have to be read again.
    pub(super) fn retreat(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What a person reads; none before anything is downloaded.
    pub(crate) fn text(&self) -> Option<String> {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        match (done, total) {
            (0, 0) => None,
            // A server need not say how much it will send.
            (done, total) if done > total => Some(format!("downloading, {} so far", mebibytes(done))),
            (done, total) => {
                let done = format!("{:.1}", in_mebibytes(done));
                Some(format!("downloading {done} of {}", mebibytes(total)))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people, with one decimal")]
fn in_mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A size as people read it: `90.0 MiB`.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", in_mebibytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_far_it_is() {
        let progress = Progress::default();
        assert_eq!(progress.text(), None);
        progress.expect(90 << 20);
        progress.advance(12 << 20);
        assert_eq!(progress.text().as_deref(), Some("downloading 12.0 of 90.0 MiB"));
        progress.retreat(12 << 20);
        assert_eq!(progress.text().as_deref(), Some("downloading 0.0 of 90.0 MiB"));
        progress.advance(91 << 20);
        assert_eq!(progress.text().as_deref(), Some("downloading, 91.0 MiB so far"));
    }
}
