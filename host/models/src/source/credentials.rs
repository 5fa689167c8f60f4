//! What opens a source: the settings in a Secret, in a folder that one is mounted as, or in the environment. The same
//! setting has many names in the wild; all that are common are read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::error::SourceError;

/// The largest setting, in bytes: as large as a Secret may be.
const MAX_SETTING: u64 = 1 << 20;

/// What variables of the environment begin with that are settings of sources.
const VARIABLES: [&str; 6] = ["AWS_", "S3_", "GOOGLE_", "HF_", "HUGGING_FACE_", "STORAGE_EMULATOR_"];

/// Settings by their names. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    settings: BTreeMap<String, Vec<u8>>,
    /// Whether they are those of this process: only then may they name its files and its cloud identity.
    own: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.settings.keys()).finish()
    }
}

impl Credentials {
    /// The settings of a Secret: its keys, and its annotations by what follows the `/` (`s3-endpoint`, `s3-region`), unless
    /// a key has the same name. With `key`, those that the value under this key holds: a JSON object of settings, or a token.
    ///
    /// # Errors
    /// There is no such key.
    pub fn from_secret(
        data: BTreeMap<String, Vec<u8>>,
        annotations: BTreeMap<String, String>,
        key: Option<&str>,
    ) -> Result<Credentials, SourceError> {
        let annotated = annotations
            .into_iter()
            .filter_map(|(name, value)| Some((name.split_once('/')?.1.to_owned(), value.into_bytes())));
        let mut settings: BTreeMap<_, _> = annotated.collect();
        let Some(key) = key else {
            settings.extend(data);
            return Ok(Credentials { settings, own: false });
        };
        let Some(value) = data.get(key) else {
            let message = format!("spec.source.secretKey: the Secret has no key {key:?}");
            return Err(SourceError { reason: "SecretKeyNotFound", ..SourceError::passing(message) });
        };
        match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(value) {
            Ok(object) => settings.extend(object.into_iter().map(|(name, value)| match value {
                serde_json::Value::String(text) => (name, text.into_bytes()),
                other => (name, other.to_string().into_bytes()),
            })),
            Err(_) => {
                settings.insert("token".to_owned(), value.clone());
            }
        }
        Ok(Credentials { settings, own: false })
    }

    /// The files of a folder, as a Secret is mounted: a setting each.
    ///
    /// # Errors
    /// The folder or a file of it cannot be read.
    pub fn from_folder(folder: &Path) -> io::Result<Credentials> {
        let mut settings = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // Mounted Secrets are links to files in a hidden folder; that folder is no setting.
            let metadata = fs::metadata(entry.path())?;
            if let Ok(name) = entry.file_name().into_string()
                && metadata.is_file()
                && metadata.len() <= MAX_SETTING
            {
                settings.insert(name, fs::read(entry.path())?);
            }
        }
        Ok(Credentials { settings, own: true })
    }

    /// The variables of this process that are settings of sources. They may name its files and its cloud identity, so they
    /// are not for what others ask to be fetched.
    pub fn from_environment() -> Credentials {
        let known = |name: &str| {
            VARIABLES.iter().any(|prefix| name.starts_with(prefix)) || name == "awsAnonymousCredential"
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| known(name))?;
            Some((name, value.into_string().ok()?.into_bytes()))
        });
        Credentials { settings: variables.collect(), own: true }
    }

    /// These, and of others what these do not say.
    #[must_use]
    pub fn over(mut self, others: Credentials) -> Credentials {
        self.own |= others.own;
        for (name, value) in others.settings {
            self.settings.entry(name).or_insert(value);
        }
        self
    }

    /// Whether they are this process's own.
    pub(super) fn own(&self) -> bool {
        self.own
    }

    /// All settings whose value is text.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value).ok()?.trim())))
    }

    /// The first of some names that is set to something.
    pub(super) fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| {
            let text = std::str::from_utf8(self.settings.get(*name)?).ok()?.trim();
            (!text.is_empty()).then_some(text)
        })
    }

    /// The same of a switch; what is neither on nor off is as unset.
    pub(super) fn switch(&self, names: &[&str]) -> Option<bool> {
        match self.text(names)?.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Some(true),
            "0" | "false" | "no" => Some(false),
            _ => None,
        }
    }

    /// The same of a text in base64.
    pub(super) fn encoded(&self, names: &[&str]) -> Option<String> {
        let text: String = self.text(names)?.split_whitespace().collect();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).ok()?).ok()
    }

    /// The bytes of the first of some names that is set.
    pub(super) fn bytes(&self, names: &[&str]) -> Option<&[u8]> {
        names.iter().find_map(|name| self.settings.get(*name).map(Vec::as_slice))
    }

    /// Tells these from others without saying what they are.
    pub(super) fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for (name, value) in &self.settings {
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
            digest.update((value.len() as u64).to_le_bytes());
            digest.update(value);
        }
        hex::encode(digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_secret_has_keys_and_annotations() {
        let annotations =
            [("example.com/s3-endpoint", "minio:9000"), ("example.com/region", "x"), ("plain", "y")];
        let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let data = data(&[("region", "eu\n"), ("anonymous", "True"), ("empty", " ")]);
        let credentials = Credentials::from_secret(data, annotations, None).unwrap();
        assert_eq!(credentials.text(&["endpoint", "s3-endpoint"]), Some("minio:9000"));
        assert_eq!(credentials.text(&["region"]), Some("eu"));
        assert_eq!(credentials.text(&["plain", "empty"]), None);
        assert_eq!(credentials.switch(&["anonymous"]), Some(true));
        assert!(!credentials.own());
        assert!(!format!("{credentials:?}").contains("minio"));
    }

    #[test]
    fn one_key_has_an_object_or_a_token() {
        let data = || data(&[("minio", r#"{"type": "s3", "anonymous": true}"#), ("t", "hf_x")]);
        let of = |key: &str| Credentials::from_secret(data(), BTreeMap::new(), Some(key));
        assert_eq!(of("minio").unwrap().text(&["type"]), Some("s3"));
        assert_eq!(of("minio").unwrap().switch(&["anonymous"]), Some(true));
        assert_eq!(of("t").unwrap().text(&["token"]), Some("hf_x"));
        assert_eq!(of("other").unwrap_err().reason, "SecretKeyNotFound");
    }

    #[test]
    fn a_folder_is_as_a_mounted_secret() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("..data")).unwrap();
        fs::write(folder.path().join("..data/HF_TOKEN"), "x").unwrap();
        std::os::unix::fs::symlink("..data/HF_TOKEN", folder.path().join("HF_TOKEN")).unwrap();
        let credentials = Credentials::from_folder(folder.path()).unwrap();
        assert_eq!(credentials.texts().collect::<Vec<_>>(), [("HF_TOKEN", "x")]);
    }

    #[test]
    fn others_are_other() {
        let of = |entries: &[(&str, &str)]| Credentials { settings: data(entries), own: false }.fingerprint();
        assert_ne!(of(&[("a", "b")]), of(&[("ab", "")]));
        assert_eq!(of(&[("a", "b")]), of(&[("a", "b")]));
    }
}
