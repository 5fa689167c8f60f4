//! `purlin plugin keygen`, `sign` and `verify`.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use purlin_registry::policy::{Finding, Mode, ReadyRule};
use purlin_registry::signature::{Outcome, PrivateKey, PublicKey, TrustedKey};
use purlin_registry::{Policy, Verdict};
use serde_json::json;

use super::Registries;
use crate::cli::{Output, PolicyArgs};
use crate::output;

/// Where the password of a private key is taken from, as cosign has it.
const PASSWORD: &str = "COSIGN_PASSWORD";

pub(super) fn keygen(prefix: &Path) -> Result<()> {
    let (private, public) = (with_ending(prefix, "key"), with_ending(prefix, "pub"));
    for file in [&private, &public] {
        if file.exists() {
            bail!("{} is there already; choose another name with --out", file.display());
        }
    }
    let password = password(&private, true)?;
    let key = PrivateKey::generate()?;
    write_new(&private, 0o600, &key.to_encrypted_pem(password.as_bytes())?)?;
    write_new(&public, 0o644, &key.public().to_pem()?)?;
    output::line(format!("wrote {} (keep it secret) and {}", private.display(), public.display()))?;
    Ok(())
}

pub(super) async fn sign(reference: &str, key: &Path, signed_as: Option<&str>, form: Output) -> Result<()> {
    let key = read_private(key)?;
    let registries = Registries::open(&PolicyArgs::default())?;
    let resolved = registries.resolve(reference).await?;
    let signed = registries.client.sign(&resolved, &key, signed_as).await?;
    match form {
        Output::Json => output::json(&json!({
            "reference": reference, "digest": resolved.digest(), "signature": signed.stored.to_string(),
            "signatures": signed.signatures, "already": signed.already,
        }))?,
        Output::Text if signed.already => {
            output::line(format!("{reference} has this signature already, at {}", signed.stored))?
        }
        Output::Text => output::line(format!("signed {reference}, {}", resolved.digest()))?,
    }
    Ok(())
}

pub(super) async fn verify(
    reference: &str,
    keys: &[PathBuf],
    signed_as: &[String],
    policy: &PolicyArgs,
    form: Output,
) -> Result<()> {
    let mut registries = Registries::open(policy)?;
    if !keys.is_empty() {
        registries.policy = of_keys(keys, signed_as)?;
    }
    let resolved = registries.resolve(reference).await?;
    let verdict = registries.client.verify(&resolved, &registries.policy).await;
    match form {
        Output::Json => output::json(&json!({
            "reference": reference, "digest": resolved.digest(), "allowed": verdict.allows(),
            "signed": verdict.is_signed(), "reason": verdict.reason(), "key": key_of(&verdict),
            "message": verdict.to_string(),
        }))?,
        Output::Text if verdict.allows() => {
            output::line(format!("{reference}, {}: {verdict}", resolved.digest()))?
        }
        Output::Text => {}
    }
    if !verdict.allows() {
        bail!("{reference} is refused, {}: {verdict}", verdict.reason());
    }
    Ok(())
}

/// The policy that demands a signature by one of some keys.
fn of_keys(files: &[PathBuf], signed_as: &[String]) -> Result<Policy> {
    let keys = files.iter().map(|file| read_public(file)).collect::<Result<_>>()?;
    Ok(Policy {
        rules: vec![ReadyRule {
            from: "--key".to_owned(),
            prefix: String::new(),
            mode: Mode::Require,
            keys,
            problems: Vec::new(),
            signed_as: signed_as.to_vec(),
        }],
    })
}

/// The name of the key that vouches.
pub(super) fn key_of(verdict: &Verdict) -> Option<&str> {
    match &verdict.finding {
        Finding::Judged(Outcome::Valid { key }) => Some(key),
        _ => None,
    }
}

/// A public key, called by its file.
pub(super) fn read_public(file: &Path) -> Result<TrustedKey> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the key {name}"))?;
    let key = PublicKey::from_pem(&text).with_context(|| format!("cannot use the key {name}"))?;
    Ok(TrustedKey { name, key })
}

fn read_private(file: &Path) -> Result<PrivateKey> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the key {shown}"))?;
    let password = if PrivateKey::is_encrypted(&text) { password(file, false)? } else { String::new() };
    PrivateKey::from_pem(&text, password.as_bytes()).with_context(|| format!("cannot use the key {shown}"))
}

fn password(file: &Path, new: bool) -> Result<String> {
    if let Ok(password) = std::env::var(PASSWORD) {
        return Ok(password);
    }
    let shown = file.display();
    if !std::io::stdin().is_terminal() {
        bail!(
            "there is no terminal to ask for the password of {shown}; give it in {PASSWORD} (it may be empty)"
        );
    }
    let given = rpassword::prompt_password(format!("Password of {shown}: "))?;
    if new && rpassword::prompt_password("The same again: ")? != given {
        bail!("the two passwords differ; nothing was written");
    }
    Ok(given)
}

// The ending is added, not put in the place of what looks like one: `--out acme.prod` is `acme.prod.key`.
fn with_ending(prefix: &Path, ending: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn write_new(file: &Path, mode: u32, text: &str) -> Result<()> {
    let write = || {
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
