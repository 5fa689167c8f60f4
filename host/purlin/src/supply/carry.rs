//! `purlin plugin bundle` and `load`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context as _, Result};
use purlin_registry::bundle::{Reader, Writer};
use serde_json::json;

use super::Registries;
use crate::cli::{Output, PolicyArgs};
use crate::output;

pub(super) async fn bundle(
    references: &[String],
    out: &Path,
    policy: &PolicyArgs,
    form: Output,
) -> Result<()> {
    let registries = Registries::open(policy)?;
    let shown = out.display();
    // Written beside and renamed: a bundle that broke off is never taken for a whole one.
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let file = File::create(&partial).with_context(|| format!("cannot write {shown}"))?;
    let mut writer = Writer::new(BufWriter::new(file))?;
    let mut packed = Vec::new();
    for reference in references {
        let resolved = registries.checked(reference).await?;
        let done = writer.add(&registries.client, &resolved).await?;
        if form == Output::Text {
            output::line(format!(
                "{} {} with {} signatures and {} documents",
                done.reference, done.digest, done.signatures, done.documents
            ))?;
        }
        packed.push(done);
    }
    let file = writer.finish()?.into_inner().context("cannot write the bundle")?;
    file.sync_all()
        .and_then(|()| std::fs::rename(&partial, out))
        .with_context(|| format!("cannot write {shown}"))?;
    if form == Output::Json {
        let plugins: Vec<_> = packed
            .iter()
            .map(|done| {
                json!({
                    "reference": done.reference.to_string(), "digest": done.digest,
                    "signatures": done.signatures, "documents": done.documents,
                })
            })
            .collect();
        output::json(&json!({"file": out, "plugins": plugins}))?;
    }
    Ok(())
}

pub(super) async fn load(file: &Path, to: &str, form: Output) -> Result<()> {
    let registries = Registries::open(&PolicyArgs::default())?;
    let shown = file.display();
    let opened = File::open(file).with_context(|| format!("cannot read {shown}"))?;
    let mut reader = Reader::open(opened).with_context(|| format!("cannot use {shown}"))?;
    // Before anything is sent: of a damaged bundle nothing gets into the registry.
    reader.verify().with_context(|| format!("cannot use {shown}"))?;
    let mut told = Ok(());
    let loaded = reader
        .load(&registries.client, to, |done| {
            if form == Output::Text && told.is_ok() {
                told = output::line(format!(
                    "{} {}: {} sent, {} there already",
                    done.reference, done.digest, done.sent, done.skipped
                ));
            }
        })
        .await?;
    told?;
    if form == Output::Json {
        let parts: Vec<_> = loaded
            .iter()
            .map(|done| {
                json!({
                    "reference": done.reference, "digest": done.digest, "sent": done.sent, "skipped": done.skipped,
                })
            })
            .collect();
        output::json(&json!({"lock": reader.lock(), "loaded": parts}))?;
    }
    Ok(())
}
