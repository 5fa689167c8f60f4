//! Keys for signing and verifying: ECDSA over P-256 with SHA-256, which is what cosign makes. Private keys are read and
//! written in cosign's encrypted form (scrypt and NaCl's secretbox in JSON in PEM), and read as plain PKCS #8 and SEC 1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// PEM label of an encrypted key, as cosign writes it today.
const ENCRYPTED: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
/// The same, as cosign wrote it before its version 2.
const ENCRYPTED_BEFORE: &str = "ENCRYPTED COSIGN PRIVATE KEY";

/// The largest file that is looked at as a key.
const MAX_PEM: usize = 64 << 10;

/// scrypt's cost that keys may have, as a power of two. Others are refused, because a file could ask for any amount of
/// memory; these three are what securesystemslib writes.
const COSTS: [u8; 3] = [15, 16, 17];
/// The one that is written.
const COST: u8 = 16;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not PEM.
    #[error("it is not a PEM file: {0}")]
    Pem(String),
    /// PEM of something else.
    #[error("it holds a {found:?}; wanted is {wanted}")]
    Label {
        /// Its label.
        found: String,
        /// What would be read.
        wanted: &'static str,
    },
    /// A key of another kind, or damaged.
    #[error(
        "it holds no usable key: {0}; only ECDSA keys on P-256 are supported, such as `purlin plugin keygen` makes"
    )]
    Key(String),
    /// The encrypted form is not cosign's.
    #[error("its encrypted form cannot be read: {0}")]
    Form(String),
    /// The password does not open it.
    #[error("the password does not open it; give the right one in COSIGN_PASSWORD")]
    Password,
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads `PUBLIC KEY` PEM, as cosign's `cosign.pub`.
    pub fn from_pem(text: &str) -> Result<PublicKey, KeyError> {
        let block = block(text)?;
        if block.tag() != "PUBLIC KEY" {
            return Err(KeyError::Label { found: block.tag().to_owned(), wanted: "PUBLIC KEY (cosign.pub)" });
        }
        let key = VerifyingKey::from_public_key_der(block.contents());
        key.map(PublicKey).map_err(|error| KeyError::Key(error.to_string()))
    }

    /// Writes `PUBLIC KEY` PEM.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let der = self.0.to_public_key_der().map_err(|error| KeyError::Key(error.to_string()))?;
        Ok(encode("PUBLIC KEY", der.as_bytes()))
    }

    /// The digest of the key's DER form: a short name for a key that has none.
    pub fn fingerprint(&self) -> Result<Digest, KeyError> {
        let der = self.0.to_public_key_der().map_err(|error| KeyError::Key(error.to_string()))?;
        Ok(Digest::of(der.as_bytes()))
    }

    /// Whether a signature (ASN.1) over a message is by this key. What is no signature at all is not.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::try_from(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

/// A key that signs. Its memory is wiped when it goes.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PrivateKey {
    /// Makes a key.
    pub fn generate() -> Result<PrivateKey, KeyError> {
        SigningKey::try_generate().map(PrivateKey).map_err(|error| KeyError::Key(error.to_string()))
    }

    /// Whether a PEM file needs a password to be read.
    pub fn is_encrypted(text: &str) -> bool {
        block(text).is_ok_and(|block| matches!(block.tag(), ENCRYPTED | ENCRYPTED_BEFORE))
    }

    /// Reads a private key. The password plays no part where the file is not encrypted.
    pub fn from_pem(text: &str, password: &[u8]) -> Result<PrivateKey, KeyError> {
        let block = block(text)?;
        let pkcs8 = |der: &[u8]| {
            SigningKey::from_pkcs8_der(der).map(PrivateKey).map_err(|error| KeyError::Key(error.to_string()))
        };
        match block.tag() {
            ENCRYPTED | ENCRYPTED_BEFORE => pkcs8(&open(block.contents(), password)?),
            "PRIVATE KEY" => pkcs8(block.contents()),
            "EC PRIVATE KEY" => {
                let key = p256::SecretKey::from_sec1_der(block.contents());
                key.map(|key| PrivateKey(key.into())).map_err(|error| KeyError::Key(error.to_string()))
            }
            found => Err(KeyError::Label {
                found: found.to_owned(),
                wanted: "private key: ENCRYPTED SIGSTORE PRIVATE KEY (cosign.key), PRIVATE KEY or EC PRIVATE KEY",
            }),
        }
    }

    /// Writes the key encrypted with a password, as `cosign generate-key-pair` does.
    pub fn to_encrypted_pem(&self, password: &[u8]) -> Result<String, KeyError> {
        let der = self.0.to_pkcs8_der().map_err(|error| KeyError::Key(error.to_string()))?;
        Ok(encode(ENCRYPTED, &seal(der.as_bytes(), password)?))
    }

    /// The other half.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// Signs a message: SHA-256, ASN.1. The same message gives the same signature.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(message);
        signature.as_bytes().to_vec()
    }
}

/// securesystemslib's form of something encrypted with a password.
#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: KdfParameters,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct KdfParameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
const BLOCK: u32 = 8;

fn seal(content: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    rand::rng().fill_bytes(&mut salt);
    rand::rng().fill_bytes(&mut nonce);
    let ciphertext = secretbox(password, &salt, COST)?
        .encrypt(&Nonce::from(nonce), content)
        .map_err(|_| KeyError::Form("it cannot be encrypted".to_owned()))?;
    let sealed = Sealed {
        kdf: Kdf {
            name: KDF.to_owned(),
            params: KdfParameters { n: 1 << COST, r: BLOCK, p: 1 },
            salt: STANDARD.encode(salt),
        },
        cipher: Cipher { name: CIPHER.to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    serde_json::to_vec(&sealed).map_err(|error| KeyError::Form(error.to_string()))
}

fn open(sealed: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let Sealed { kdf, cipher, ciphertext } =
        serde_json::from_slice(sealed).map_err(|error| KeyError::Form(error.to_string()))?;
    if kdf.name != KDF || cipher.name != CIPHER {
        return Err(KeyError::Form(format!("{} with {} is not known", kdf.name, cipher.name)));
    }
    let KdfParameters { n, r, p } = kdf.params;
    let cost = COSTS.into_iter().find(|cost| n == 1 << cost).filter(|_| (r, p) == (BLOCK, 1));
    let cost = cost.ok_or_else(|| {
        KeyError::Form(format!("scrypt's parameters N={n}, r={r}, p={p} are none that cosign writes"))
    })?;
    let decode = |what: &str, text: &str| {
        STANDARD.decode(text).map_err(|_| KeyError::Form(format!("its {what} is not base64")))
    };
    let nonce: [u8; 24] = decode("nonce", &cipher.nonce)?
        .try_into()
        .map_err(|_| KeyError::Form("its nonce has not 24 bytes".to_owned()))?;
    secretbox(password, &decode("salt", &kdf.salt)?, cost)?
        .decrypt(&Nonce::from(nonce), decode("ciphertext", &ciphertext)?.as_slice())
        .map_err(|_| KeyError::Password)
}

fn secretbox(password: &[u8], salt: &[u8], cost: u8) -> Result<XSalsa20Poly1305, KeyError> {
    let form = |error: &dyn std::fmt::Display| KeyError::Form(error.to_string());
    let parameters = scrypt::Params::new(cost, BLOCK, 1).map_err(|error| form(&error))?;
    let mut key = [0; 32];
    scrypt::scrypt(password, salt, &parameters, &mut key).map_err(|error| form(&error))?;
    Ok(XSalsa20Poly1305::new(&key.into()))
}

fn block(text: &str) -> Result<pem::Pem, KeyError> {
    if text.len() > MAX_PEM {
        return Err(KeyError::Pem(format!("it has {} bytes", text.len())));
    }
    pem::parse(text).map_err(|error| KeyError::Pem(error.to_string()))
}

fn encode(label: &str, content: &[u8]) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, content), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_and_read_back_with_its_password_alone() {
        let key = PrivateKey::generate().expect("generate");
        let text = key.to_encrypted_pem(b"secret").expect("write");
        assert!(text.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
        assert!(PrivateKey::is_encrypted(&text));
        let again = PrivateKey::from_pem(&text, b"secret").expect("read");
        assert_eq!(again.public(), key.public());
        assert!(matches!(PrivateKey::from_pem(&text, b"wrong"), Err(KeyError::Password)));
        let public = key.public().to_pem().expect("public");
        assert_eq!(PublicKey::from_pem(&public).expect("read"), key.public());
        assert!(key.public().verifies(b"message", &key.sign(b"message")));
        assert!(!key.public().verifies(b"other", &key.sign(b"message")));
    }

    #[test]
    fn a_file_cannot_ask_for_any_amount_of_memory() {
        let key = PrivateKey::generate().expect("generate");
        let sealed = seal(key.0.to_pkcs8_der().expect("der").as_bytes(), b"").expect("seal");
        let greedy = String::from_utf8(sealed).expect("text").replace("65536", "1073741824");
        let error = open(greedy.as_bytes(), b"").expect_err("must be refused").to_string();
        assert!(error.contains("N=1073741824"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_named() {
        let error = |text: &str| PublicKey::from_pem(text).expect_err("must be refused").to_string();
        assert!(error("").contains("not a PEM file"));
        assert!(error(&encode("CERTIFICATE", b"x")).contains("CERTIFICATE"));
        assert!(error(&encode("PUBLIC KEY", b"x")).contains("P-256"));
    }
}
