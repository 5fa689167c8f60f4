//! Credentials for registries. Where they come from, first match first:
//!
//! 1. what the program was given, such as the pull secrets of a policy: the longest prefix of the artifact's name;
//! 2. docker's configuration (`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`): the registry's entry in
//!    `credHelpers`, then `credsStore`, then the longest match in `auths`;
//! 3. none: registries are asked anonymously.
//!
//! The file is read again at each look-up, so that a `docker login` counts at once. Helpers are programs
//! (`docker-credential-NAME`) that are run with a time limit. Nothing here is ever logged or shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::prefix;

/// How long a helper may take: some ask a server.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// The largest answer of a helper, and the largest configuration.
const MAX_ANSWER: u64 = 1 << 20;

// Both paddings are found in the wild.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is shown to a registry.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user's name and password, or a token in a password's place.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token, which is changed for short ones at the registry's token service.
    IdentityToken(String),
    /// A bearer token, as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Anonymous => "Anonymous",
            Credentials::Basic { .. } => "Basic(..)",
            Credentials::IdentityToken(_) => "IdentityToken(..)",
            Credentials::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The configuration cannot be read.
    #[error("cannot read the credentials in {path}: {reason}")]
    Config {
        /// Which: a file, or a Secret.
        path: String,
        /// Why.
        reason: String,
    },
    /// A helper did not help.
    #[error("the credential helper docker-credential-{helper} gave nothing for {registry}: {reason}")]
    Helper {
        /// Its name.
        helper: String,
        /// For which registry.
        registry: String,
        /// Why.
        reason: String,
    },
}

/// docker's `config.json`, as far as it is about credentials; a pull secret has the same form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthEntry(..)")
    }
}

impl DockerConfig {
    /// Reads one; `path` is only named in errors.
    pub fn parse(text: &[u8], path: &str) -> Result<DockerConfig, AuthError> {
        // Where it is wrong is said, not what stands there: that may be a password.
        let config: DockerConfig = serde_json::from_slice(text).map_err(|error| AuthError::Config {
            path: path.to_owned(),
            reason: format!("no docker configuration at line {}, column {}", error.line(), error.column()),
        })?;
        for (name, entry) in &config.auths {
            entry.credentials().map_err(|reason| AuthError::Config {
                path: path.to_owned(),
                reason: format!("the entry {name:?} {reason}"),
            })?;
        }
        Ok(config)
    }

    /// The entries of `auths` that hold something, by prefix.
    pub fn entries(&self) -> Vec<(String, Credentials)> {
        let entries = self.auths.iter().filter_map(|(name, entry)| {
            let credentials = entry.credentials().ok().flatten()?;
            Some((normalised(name), credentials))
        });
        entries.collect()
    }

    fn helper(&self, registry: &str) -> Option<&str> {
        let named = self.cred_helpers.iter().find(|(name, _)| normalised(name) == registry);
        named.map(|(_, helper)| helper).or(self.creds_store.as_ref()).map(String::as_str)
    }
}

impl AuthEntry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::RegistryToken(self.registrytoken.clone())));
        }
        if !self.auth.is_empty() {
            let text = BASE64.decode(self.auth.trim()).ok().and_then(|text| String::from_utf8(text).ok());
            let text = text.ok_or("has an `auth` that is not base64")?;
            let (user, password) = text.split_once(':').ok_or("has an `auth` that is not `user:password`")?;
            // Some versions of docker end the text with zero bytes.
            let password = password.trim_end_matches('\0');
            return Ok(Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() }));
        }
        if self.username.is_empty() {
            return Ok(None);
        }
        Ok(Some(Credentials::Basic { user: self.username.clone(), password: self.password.clone() }))
    }
}

/// `https://index.docker.io/v1/` and `ghcr.io` are both found as keys.
fn normalised(name: &str) -> String {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let name = name.trim_end_matches('/');
    let name = name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name);
    if name == "index.docker.io" { "docker.io".to_owned() } else { name.to_owned() }
}

/// All credentials that a client has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keychain {
    entries: Vec<(String, Credentials)>,
    docker: Option<PathBuf>,
}

impl Keychain {
    /// One that has what docker's configuration of this user has.
    pub fn from_environment() -> Keychain {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
        Keychain { entries: Vec::new(), docker: folder.map(|folder| folder.join("config.json")) }
    }

    /// Adds credentials for all artifacts under a prefix: `ghcr.io`, or `ghcr.io/acme`.
    pub fn add(&mut self, prefix: impl Into<String>, credentials: Credentials) {
        self.entries.push((prefix.into(), credentials));
    }

    /// Takes a docker configuration from this file and no other place.
    pub fn with_docker_config(mut self, file: PathBuf) -> Keychain {
        self.docker = Some(file);
        self
    }

    /// What to show for an artifact, named without tag (`registry/repository`).
    pub async fn find(&self, name: &str) -> Result<Credentials, AuthError> {
        if let Some(found) = longest(&self.entries, name) {
            return Ok(found);
        }
        let Some(path) = &self.docker else { return Ok(Credentials::Anonymous) };
        let shown = path.display().to_string();
        let text = match tokio::fs::read(path).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Credentials::Anonymous),
            Err(error) => return Err(AuthError::Config { path: shown, reason: error.to_string() }),
        };
        let config = DockerConfig::parse(&text, &shown)?;
        let registry = name.split('/').next().unwrap_or(name);
        if let Some(helper) = config.helper(registry)
            && let Some(found) = ask(helper, registry).await?
        {
            return Ok(found);
        }
        Ok(longest(&config.entries(), name).unwrap_or(Credentials::Anonymous))
    }
}

fn longest(entries: &[(String, Credentials)], name: &str) -> Option<Credentials> {
    entries
        .iter()
        .filter(|(prefix, _)| !prefix.is_empty() && prefix::covers(prefix, name))
        .max_by_key(|(prefix, _)| prefix::weight(prefix))
        .map(|(_, credentials)| credentials.clone())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Runs a helper. One that knows nothing of the registry is no failure.
async fn ask(helper: &str, registry: &str) -> Result<Option<Credentials>, AuthError> {
    let failed = |reason: String| AuthError::Helper {
        helper: helper.to_owned(),
        registry: registry.to_owned(),
        reason,
    };
    // A name with a slash would run a program outside of the search path.
    if helper.is_empty() || !helper.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(failed("its name is not one of letters, digits, `-`, `_` and `.`".to_owned()));
    }
    let work = async {
        let mut child = tokio::process::Command::new(format!("docker-credential-{helper}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read its input has answered without.
            let _ = input.write_all(registry.as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, answer))
    };
    let (status, answer) = tokio::time::timeout(HELPER_LIMIT, work)
        .await
        .map_err(|_| failed(format!("no answer within {} s", HELPER_LIMIT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&answer);
        if text.contains("not found") {
            return Ok(None);
        }
        return Err(failed(format!("{status}: {}", text.trim().chars().take(200).collect::<String>())));
    }
    let answer: HelperAnswer = serde_json::from_slice(&answer)
        .map_err(|_| failed("its answer is not what helpers answer".to_owned()))?;
    Ok(match (answer.username.as_str(), answer.secret) {
        ("<token>", secret) => Some(Credentials::IdentityToken(secret)),
        (_, secret) if secret.is_empty() => None,
        (user, password) => Some(Credentials::Basic { user: user.to_owned(), password }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credentials {
        Credentials::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    async fn find(config: &str, name: &str) -> Result<Credentials, AuthError> {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("config.json");
        std::fs::write(&file, config).expect("write");
        Keychain::default().with_docker_config(file).find(name).await
    }

    #[tokio::test]
    async fn the_longest_entry_of_auths_counts() {
        let config = r#"{"auths": {
            "ghcr.io": {"auth": "dTpw"}, "ghcr.io/acme": {"username": "acme", "password": "x:y"},
            "https://index.docker.io/v1/": {"identitytoken": "refresh"}, "empty.io": {}}, "HttpHeaders": {}}"#;
        assert_eq!(find(config, "ghcr.io/other/x").await.expect("found"), basic("u", "p"));
        assert_eq!(find(config, "ghcr.io/acme/x").await.expect("found"), basic("acme", "x:y"));
        assert_eq!(find(config, "ghcr.io/acme-evil/x").await.expect("found"), basic("u", "p"));
        assert_eq!(
            find(config, "docker.io/library/x").await.expect("found"),
            Credentials::IdentityToken("refresh".to_owned())
        );
        for nothing in ["empty.io/x", "quay.io/x", "evil-ghcr.io/x"] {
            assert_eq!(find(config, nothing).await.expect("found"), Credentials::Anonymous, "{nothing}");
        }
    }

    #[tokio::test]
    async fn what_was_given_comes_before_the_file() {
        let mut keychain = Keychain::default().with_docker_config(PathBuf::from("none"));
        keychain.add("ghcr.io/acme", basic("secret", "s"));
        assert_eq!(keychain.find("ghcr.io/acme/x").await.expect("found"), basic("secret", "s"));
        assert_eq!(keychain.find("ghcr.io/x").await.expect("no file"), Credentials::Anonymous);
    }

    #[tokio::test]
    async fn a_damaged_file_is_named_without_what_it_holds() {
        for config in ["{\"auths\": {\"a.io\": {\"auth\": 5}}, \"x\": \"hunter2\"", "[\"hunter2\"]"] {
            let error = find(config, "a.io/x").await.expect_err(config).to_string();
            assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
        }
        let error = find(r#"{"auths": {"a.io": {"auth": "%%"}}}"#, "a.io/x").await.expect_err("base64");
        assert!(error.to_string().contains("a.io"), "{error}");
    }

    #[tokio::test]
    async fn a_helper_outside_of_the_path_is_not_run() {
        let error = find(r#"{"credsStore": "x/../../tmp/evil"}"#, "a.io/x").await.expect_err("refused");
        assert!(error.to_string().contains("its name"), "{error}");
        let error =
            find(r#"{"credHelpers": {"a.io": "purlin-test-none"}}"#, "a.io/x").await.expect_err("none");
        assert!(error.to_string().contains("docker-credential-purlin-test-none"), "{error}");
    }

    #[test]
    fn credentials_are_not_shown_by_debug() {
        let text =
            format!("{:?} {:?}", basic("user", "hunter2"), Credentials::IdentityToken("hunter2".into()));
        assert!(!text.contains("hunter2"), "{text}");
    }
}
