//! The files under `pki/`: a certificate authority, the administrator's token and the key that signs service account
//! tokens, each made at the first start and mode 0600.
//!
//! The serving certificate is signed anew at every start and never written: it costs a millisecond and cannot leak or
//! expire on disk.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Names under which the server is reached.
const NAMES: [&str; 6] =
    ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("{doing} {path}: {source}; check the folder's owner and permissions")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What was wrong.
        source: std::io::Error,
    },
    /// A key or certificate could not be made or read.
    #[error(
        "the certificate authority in {path} cannot be used: {source}; remove the pki folder to have it made anew"
    )]
    Certificate {
        /// The folder.
        path: PathBuf,
        /// What was wrong.
        source: rcgen::Error,
    },
    /// rustls refused the certificate.
    #[error("setting up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// Everything secret that the server holds.
pub(crate) struct Pki {
    /// PEM of the authority's certificate.
    pub(crate) ca: String,
    /// The administrator's bearer token.
    pub(crate) admin_token: String,
    /// Signs and checks service account tokens.
    pub(crate) signing_key: Vec<u8>,
    /// For the TLS listener.
    pub(crate) tls: Arc<ServerConfig>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pki(..)")
    }
}

impl Pki {
    /// Reads the folder, making what is missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, PkiError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| PkiError::Io {
            doing: "making",
            path: folder.to_owned(),
            source,
        })?;
        let broken = |source| PkiError::Certificate { path: folder.to_owned(), source };
        let key_text = keep(&folder.join("ca.key"), || {
            KeyPair::generate().map(|key| key.serialize_pem()).map_err(broken)
        })?;
        let key = KeyPair::from_pem(&key_text).map_err(broken)?;
        let params = authority();
        let ca = keep(&folder.join("ca.crt"), || {
            params.self_signed(&key).map(|certificate| certificate.pem()).map_err(broken)
        })?;
        let issuer = Issuer::new(params, key);
        let tls = serving(&issuer).map_err(broken).and_then(|(chain, key)| listener(chain, key))?;
        let admin_token = keep(&folder.join("admin.token"), || random().map(hex::encode))?;
        let signing_key =
            keep(&folder.join("service-account.key"), || random().map(hex::encode))?.into_bytes();
        Ok(Self { ca, admin_token, signing_key, tls })
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("purlin-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn serving(issuer: &Issuer<'_, KeyPair>) -> Result<(CertificateDer<'static>, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned).to_vec())?;
    params.distinguished_name = named("purlin");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.der().clone(), key.serialize_der()))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn listener(certificate: CertificateDer<'static>, key: Vec<u8>) -> Result<Arc<ServerConfig>, PkiError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions are resumed from tickets that the client keeps, not from a table here.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn random() -> Result<[u8; 32], PkiError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Random)?;
    Ok(bytes)
}

/// Reads a file, or makes it with what `make` gives, synced before anything relies on it.
fn keep(path: &Path, make: impl FnOnce() -> Result<String, PkiError>) -> Result<String, PkiError> {
    let failed = |doing: &'static str| move |source| PkiError::Io { doing, path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed("reading")(source)),
    }
    let text = make()?;
    let draft = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed("making"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("writing"))?;
    fs::rename(&draft, path).map_err(failed("writing"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_made_is_kept_and_private() -> Result<(), PkiError> {
        let folder = tempfile::tempdir().map_err(|_| PkiError::Random)?;
        let path = folder.path().join("pki");
        let first = Pki::open(&path)?;
        let second = Pki::open(&path)?;
        assert_eq!(first.ca, second.ca);
        assert_eq!(first.admin_token, second.admin_token);
        assert_eq!(first.admin_token.len(), 64);
        for name in ["ca.key", "admin.token", "service-account.key"] {
            let mode =
                fs::metadata(path.join(name)).map(|meta| meta.permissions().mode()).unwrap_or_default();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_broken_authority_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.key"), "nonsense").expect("written");
        let error = Pki::open(folder.path()).expect_err("refused");
        assert!(error.to_string().contains("remove the pki folder"), "{error}");
    }
}
