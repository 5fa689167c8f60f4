//! `purlin plugin sbom`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use purlin_registry::Resolved;
use purlin_registry::sbom::{self, MAX_BYTES, MEDIA_TYPE, Sbom};
use serde_json::{Value, json};

use super::Registries;
use crate::cli::{Output, PolicyArgs};
use crate::output;

pub(super) async fn attach(
    reference: &str,
    file: Option<&Path>,
    source: Option<&Path>,
    form: Output,
) -> Result<()> {
    let registries = Registries::open(&PolicyArgs::default())?;
    let resolved = registries.resolve(reference).await?;
    let text = match (file, source) {
        (Some(file), _) => {
            let shown = file.display();
            let text = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
            Sbom::parse(&text).with_context(|| format!("cannot use {shown}"))?;
            text
        }
        (None, Some(folder)) => {
            let libraries = sbom::libraries(folder)?;
            let plugin = registries.client.pull(&resolved).await?;
            Sbom::of(&plugin, libraries).to_json()?
        }
        (None, None) => bail!("give --file or --source"),
    };
    let components = Sbom::parse(&text)?.components.len();
    let digest = registries.client.attach(&resolved, MEDIA_TYPE, Bytes::from(text)).await?;
    match form {
        Output::Json => output::json(&json!({
            "reference": reference, "digest": resolved.digest(), "sbom": digest, "components": components,
        }))?,
        Output::Text => output::line(format!("attached {components} components to {reference} as {digest}"))?,
    }
    Ok(())
}

pub(super) async fn show(reference: &str, form: Output) -> Result<()> {
    let registries = Registries::open(&PolicyArgs::default())?;
    let resolved = registries.resolve(reference).await?;
    let found = registries.client.attached(&resolved, MEDIA_TYPE).await?;
    if found.is_empty() {
        bail!("{reference} has no bill of materials; attach one with `purlin plugin sbom attach`");
    }
    let (mut documents, mut rows) = (Vec::new(), Vec::new());
    for descriptor in found {
        let at = Resolved::assume(resolved.reference().clone(), descriptor.digest);
        let text = registries.client.fetch_document(&at, MEDIA_TYPE, MAX_BYTES).await?;
        let sbom = Sbom::parse(&text).with_context(|| format!("cannot use the document {}", at.digest()))?;
        rows.extend(sbom.components.iter().map(|component| {
            vec![
                component.name.clone(),
                component.version.clone().unwrap_or_default(),
                component.purl.clone().unwrap_or_default(),
            ]
        }));
        documents.push(serde_json::from_slice::<Value>(&text)?);
    }
    match form {
        Output::Json => output::json(&documents)?,
        Output::Text => output::table(&["NAME", "VERSION", "PACKAGE"], &rows)?,
    }
    Ok(())
}
