//! Signatures of artifacts, as cosign makes and reads them by key. [`payload`] is the document that is signed, [`key`] the
//! keys, [`tag`] the older way of storing signatures (a manifest under the tag `sha256-<digest>.sig`), [`bundle`] the newer
//! one (Sigstore bundles that refer to the artifact). Everything here is pure: bytes in, verdict out; the client fetches.
//!
//! Only signatures by key are judged. Certificates and transparency logs in them are neither needed nor looked at: who
//! trusts a key trusts what it signed, online or not.

pub mod bundle;
pub mod key;
pub mod payload;
pub mod tag;

use std::fmt;

use crate::digest::Digest;
use crate::prefix;

pub use key::{KeyError, PrivateKey, PublicKey};

/// Signatures of one artifact that are looked at. More are refused: whoever may push can add thousands.
pub const MAX_SIGNATURES: usize = 128;

/// The largest document of one signature that is read.
pub const MAX_DOCUMENT: u64 = 128 << 10;

/// A signature as it was stored, before anything about it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The signed document, and the signature over exactly its bytes.
    Simple {
        /// The document.
        payload: Vec<u8>,
        /// Base64 of an ASN.1 signature.
        signature: String,
    },
    /// A Sigstore bundle, in JSON.
    Bundle(Vec<u8>),
    /// What could not be fetched whole, with the reason. It is here so that it is reported and not taken for absent.
    Unreadable(String),
}

/// A key that is trusted, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Its name in the policy, or the file that it came from.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// What a signature must say to count.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The artifact's digest.
    pub digest: &'a Digest,
    /// Prefixes of which one must hold the name that the artifact was signed under; empty takes any name.
    pub signed_as: &'a [String],
}

/// How an artifact's signatures stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one is good.
    Valid {
        /// The name of the key that made it.
        key: String,
    },
    /// There are none.
    Missing,
    /// There are some, none by a trusted key.
    NoMatchingKey {
        /// How many there are.
        found: usize,
    },
    /// None is good, and at least one is wrong in itself: damaged, or made for something else.
    Invalid {
        /// What is wrong, each once.
        problems: Vec<String>,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Valid { key } => write!(f, "signed by {key}"),
            Outcome::Missing => f.write_str("it has no signature"),
            Outcome::NoMatchingKey { found: 1 } => {
                f.write_str("its signature is by none of the trusted keys")
            }
            Outcome::NoMatchingKey { found } => {
                write!(f, "none of its {found} signatures is by a trusted key")
            }
            Outcome::Invalid { problems } => write!(f, "its signature is not good: {}", problems.join("; ")),
        }
    }
}

/// Judges the signatures of an artifact. One that is good is enough, whatever the others are: anybody who may push can
/// add a bad one, which must not make a good one worthless.
pub fn verify(stored: &[Stored], keys: &[TrustedKey], expected: Expected<'_>) -> Outcome {
    let mut problems: Vec<String> = Vec::new();
    for signature in stored {
        match verify_one(signature, keys, expected) {
            Ok(Some(key)) => return Outcome::Valid { key },
            Ok(None) => {}
            Err(problem) if problems.contains(&problem) => {}
            Err(problem) => problems.push(problem),
        }
    }
    match (stored.is_empty(), problems.is_empty()) {
        (true, _) => Outcome::Missing,
        (false, true) => Outcome::NoMatchingKey { found: stored.len() },
        (false, false) => Outcome::Invalid { problems },
    }
}

/// The name of the key that made the signature; nothing where no trusted key did.
fn verify_one(
    stored: &Stored,
    keys: &[TrustedKey],
    expected: Expected<'_>,
) -> Result<Option<String>, String> {
    match stored {
        Stored::Unreadable(why) => Err(why.clone()),
        Stored::Simple { payload, signature } => {
            let signature = payload::decode_signature(signature)?;
            let Some(key) = by(keys, payload, &signature) else { return Ok(None) };
            // Read only now: what no trusted key signed is nobody's word.
            let claim = payload::read(payload).map_err(|error| error.to_string())?;
            claim.check(expected.digest)?;
            let named = |prefix: &String| prefix::covers(prefix, &claim.reference);
            if !expected.signed_as.is_empty() && !expected.signed_as.iter().any(named) {
                return Err(format!(
                    "it was signed as {:?}, and the policy wants {}",
                    claim.reference,
                    expected.signed_as.join(" or ")
                ));
            }
            Ok(Some(key))
        }
        Stored::Bundle(text) => {
            let bundle = bundle::read(text).map_err(|error| error.to_string())?;
            let message = bundle.signed_bytes();
            let Some(key) = bundle.signatures.iter().find_map(|signature| by(keys, &message, signature))
            else {
                return Ok(None);
            };
            bundle.check(expected.digest).map_err(|error| error.to_string())?;
            if !expected.signed_as.is_empty() {
                return Err(
                    "it is a bundle, which does not say under which name the artifact was signed, and the \
                     policy's `signedAs` wants one; sign without --new-bundle-format"
                        .to_owned(),
                );
            }
            Ok(Some(key))
        }
    }
}

fn by(keys: &[TrustedKey], message: &[u8], signature: &[u8]) -> Option<String> {
    keys.iter().find(|trusted| trusted.key.verifies(message, signature)).map(|trusted| trusted.name.clone())
}

#[cfg(test)]
mod tests;
