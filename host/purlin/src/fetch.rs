//! `purlin fetch`: a model's files in a folder, for an init container or a person.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use purlin_models::{Credentials, SourceConfig, SourceRequest, Sources};
use purlin_registry::auth::Keychain;
use purlin_registry::{Access, Client, ClientConfig};
use serde::Serialize;

use crate::cli::{FetchArgs, Output};
use crate::output;

/// Where downloads are until they are whole, within the folder that they are for.
const CACHE: &str = ".purlin-fetch";

/// How often progress is told.
const LOOK: Duration = Duration::from_secs(1);

/// What came, for programs.
#[derive(Serialize)]
struct Report<'a> {
    uri: &'a str,
    folder: &'a str,
    digest: String,
    bytes: u64,
    files: Vec<ReportedFile<'a>>,
}

#[derive(Serialize)]
struct ReportedFile<'a> {
    name: &'a str,
    bytes: u64,
}

pub(crate) async fn run(args: &FetchArgs) -> Result<()> {
    let shown = args.folder.display().to_string();
    std::fs::create_dir_all(&args.folder).with_context(|| format!("cannot make the folder {shown}"))?;
    let cache = args.cache_dir.clone().unwrap_or_else(|| args.folder.join(CACHE));
    let access = Access { keychain: Keychain::from_environment(), mirrors: Vec::new() };
    let registries = Client::new(ClientConfig { access, ..ClientConfig::default() });
    let config = SourceConfig {
        // Whoever runs this may read what they may read.
        folders: vec![PathBuf::from("/")],
        cache: cache.clone(),
        cache_limit: args.max_size,
        max_file: args.max_size,
        hub: args.hub.model_hub.clone(),
    };
    let sources = Sources::new(config, registries)
        .with_context(|| format!("cannot keep downloads in {}", cache.display()))?;
    let request = SourceRequest {
        uri: args.uri.clone(),
        digest: args.digest.clone(),
        credentials: Some(credentials(args)?),
    };
    let fetched = {
        let mut fetch = std::pin::pin!(sources.fetch(&request));
        let mut told = String::new();
        loop {
            tokio::select! {
                fetched = &mut fetch => break fetched?,
                () = tokio::time::sleep(LOOK) => {
                    if let Some(text) = sources.progress(&args.uri).filter(|text| *text != told) {
                        output::note(&text)?;
                        told = text;
                    }
                }
            }
        }
    };
    fetched.put_into(args.folder.clone()).await.with_context(|| format!("cannot write to {shown}"))?;
    let report = Report {
        uri: &args.uri,
        folder: &shown,
        digest: fetched.digest(),
        bytes: fetched.size(),
        files: fetched.entries().map(|(name, _, bytes)| ReportedFile { name, bytes }).collect(),
    };
    match args.output {
        Output::Json => output::json(&report)?,
        Output::Text => {
            let Report { bytes, digest, files, .. } = &report;
            output::line(format!("{}: {} files, {bytes} bytes, {digest}", shown, files.len()))?;
        }
    }
    drop(report);
    drop((fetched, sources));
    if args.cache_dir.is_none() {
        std::fs::remove_dir_all(&cache).with_context(|| format!("cannot remove {}", cache.display()))?;
    }
    Ok(())
}

/// Those of the folder count before those of the environment.
fn credentials(args: &FetchArgs) -> Result<Credentials> {
    let environment = Credentials::from_environment();
    let Some(folder) = &args.credentials else { return Ok(environment) };
    let mounted = Credentials::from_folder(folder)
        .with_context(|| format!("cannot read the credentials in {}", folder.display()))?;
    Ok(mounted.over(environment))
}
