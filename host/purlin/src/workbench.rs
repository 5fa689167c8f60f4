//! `purlin plugin new`, `build`, `test` and `dev`: what plugin authors type.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use purlin_registry::{Artifact, Reference, Stage};
use purlin_workbench::build::{Built, build};
use purlin_workbench::case::{self, Case};
use purlin_workbench::check::{Bench, Difference, Finding, Outcome};
use purlin_workbench::watch::Watch;
use purlin_workbench::{Language, project};
use serde_json::{Value, json};

use crate::cli::{ClusterArgs, LanguageArg, Output, PolicyArgs, StageArg};
use crate::connect::connect;
use crate::output;
use crate::plugin::{Readiness, apply};
use crate::supply::Registries;

pub(crate) fn new(
    name: &str,
    language: LanguageArg,
    stage: StageArg,
    dir: Option<&Path>,
    form: Output,
) -> Result<()> {
    let language = match language {
        LanguageArg::Rust => Language::Rust,
        LanguageArg::Python => Language::Python,
        LanguageArg::Js => Language::Js,
        LanguageArg::Go => Language::Go,
    };
    let stage = match stage {
        StageArg::Tuner => Stage::Tuner,
        StageArg::Dialect => Stage::Dialect,
    };
    let folder = dir.map_or_else(|| PathBuf::from(name), Path::to_owned);
    let files = project::create(name, language, stage, &folder)?;
    match form {
        Output::Json => output::json(&json!({"name": name, "folder": folder, "files": files}))?,
        Output::Text => {
            for file in &files {
                output::line(file.display().to_string())?;
            }
            let folder = folder.display();
            output::line(format!("\nNext: purlin plugin build {folder} && purlin plugin test {folder}"))?;
        }
    }
    Ok(())
}

pub(crate) async fn make(project: &Path, form: Output) -> Result<()> {
    let built = build(project).await?;
    let size = built.component.len();
    match form {
        Output::Json => output::json(&json!({
            "name": built.manifest.name, "version": built.manifest.version.to_string(), "file": built.path,
            "size": size, "seconds": built.took.as_secs_f64(),
        }))?,
        Output::Text => output::line(format!(
            "{} {}: {size} bytes in {}, built in {:.1} s",
            built.manifest.name,
            built.manifest.version,
            built.path.display(),
            built.took.as_secs_f64()
        ))?,
    }
    Ok(())
}

/// What `purlin plugin test` runs.
pub(crate) struct TestArgs<'a> {
    pub(crate) project: &'a Path,
    pub(crate) cases: Option<&'a Path>,
    pub(crate) replay: Option<&'a Path>,
    pub(crate) update: bool,
    pub(crate) no_build: bool,
}

pub(crate) async fn test(args: &TestArgs<'_>, form: Output) -> Result<()> {
    let (component, manifest) = if args.no_build {
        let manifest = purlin_registry::Manifest::from_yaml_file(&args.project.join("plugin.yaml"))?;
        let path = args.project.join("build").join(format!("{}.wasm", manifest.name));
        let component = std::fs::read(&path).with_context(|| {
            format!("cannot read {}; build it with `purlin plugin build`", path.display())
        })?;
        (component, manifest)
    } else {
        let built = build(args.project).await?;
        (built.component, built.manifest)
    };
    let source = args.replay.or(args.cases).map_or_else(|| args.project.join("cases"), Path::to_owned);
    let cases = case::read(&source)?;
    let mut bench = Bench::new(component, manifest, Some(args.project.join("build/code-cache")))?;
    let mut reports = Vec::new();
    let mut failed = 0;
    for case in &cases {
        let started = Instant::now();
        let finding = bench.run(case).await?;
        let updated = args.update && update(case, &finding)?;
        let passed = updated || finding.outcome == Outcome::Passed;
        failed += usize::from(!passed);
        match form {
            Output::Json => reports.push(json!({
                "case": case.name, "passed": passed, "updated": updated, "seconds": started.elapsed().as_secs_f64(),
                "result": finding.outcome, "answer": finding.answer,
            })),
            Output::Text => show(case, &finding, updated)?,
        }
    }
    match form {
        Output::Json => output::json(&json!({"cases": cases.len(), "failed": failed, "results": reports}))?,
        Output::Text => output::line(format!("{} of {} cases passed", cases.len() - failed, cases.len()))?,
    }
    if failed > 0 {
        bail!("{failed} of {} cases failed; `--update` takes the answers of now as expected", cases.len());
    }
    Ok(())
}

/// Takes an answer as the expected one, where it is repeatable and another than was expected.
fn update(case: &Case, finding: &Finding) -> Result<bool> {
    let (Outcome::Different { .. } | Outcome::Unrecorded, Some(answer)) = (&finding.outcome, &finding.answer)
    else {
        return Ok(false);
    };
    case.record(answer)?;
    Ok(true)
}

fn show(case: &Case, finding: &Finding, updated: bool) -> Result<()> {
    if updated {
        output::line(format!("updated  {}", case.name))?;
        return Ok(());
    }
    match &finding.outcome {
        Outcome::Passed => output::line(format!("ok       {}", case.name))?,
        Outcome::Unrecorded => {
            output::line(format!("FAILED   {}: nothing is expected yet; `--update` records it", case.name))?;
        }
        Outcome::Different { differences } => {
            output::line(format!("FAILED   {}: the answer is another one (- expected, + got)", case.name))?;
            diff(differences)?;
        }
        Outcome::Unstable { differences } => {
            output::line(format!(
                "FAILED   {}: the same request gave two answers (- first, + second)",
                case.name
            ))?;
            diff(differences)?;
        }
        Outcome::NoAnswer { reason } => output::line(format!("FAILED   {}: {reason}", case.name))?,
    }
    Ok(())
}

fn diff(differences: &[Difference]) -> Result<()> {
    for one in differences {
        output::line(format!("  {}", one.path))?;
        for (sign, value) in [('-', &one.expected), ('+', &one.actual)] {
            let text = value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
            output::line(format!("    {sign} {text}"))?;
        }
    }
    Ok(())
}

/// Builds, pushes and installs at each change, until it is interrupted.
pub(crate) async fn dev(
    project: &Path,
    target: &str,
    once: bool,
    cluster: &ClusterArgs,
    form: Output,
) -> Result<()> {
    // Watching begins before the first build, so that a change while it runs is not missed.
    let root = std::fs::canonicalize(project)
        .with_context(|| format!("cannot open the project {}", project.display()))?;
    let mut watch = Watch::start(&root).with_context(|| format!("cannot watch {}", root.display()))?;
    loop {
        match round(&root, target, cluster, form).await {
            Ok(()) if once => return Ok(()),
            Err(error) if once => return Err(error),
            Ok(()) => {}
            // A mistake in the source is why one is here: tell it and wait for the next change.
            Err(error) => output::error(&error)?,
        }
        let changed = tokio::select! {
            changed = watch.changed() => changed,
            interrupted = tokio::signal::ctrl_c() => return interrupted.context("cannot listen for Ctrl-C"),
        };
        let Some(path) = changed else { bail!("watching {} ended", root.display()) };
        if form == Output::Text {
            output::line(format!("changed  {}", path.strip_prefix(&root).unwrap_or(&path).display()))?;
        }
    }
}

async fn round(root: &Path, target: &str, cluster: &ClusterArgs, form: Output) -> Result<()> {
    let built = build(root).await?;
    if form == Output::Text {
        output::line(format!(
            "built    {} bytes in {:.2} s",
            built.component.len(),
            built.took.as_secs_f64()
        ))?;
    }
    let started = Instant::now();
    let digest = reload(&built, target, cluster).await?;
    let reloaded = started.elapsed();
    match form {
        Output::Json => output::json(&json!({
            "name": built.manifest.name, "digest": digest, "size": built.component.len(),
            "buildSeconds": built.took.as_secs_f64(), "reloadSeconds": reloaded.as_secs_f64(),
        }))?,
        Output::Text => {
            output::line(format!("reloaded {digest} in {:.2} s", reloaded.as_secs_f64()))?;
        }
    }
    Ok(())
}

async fn reload(built: &Built, target: &str, cluster: &ClusterArgs) -> Result<String> {
    let manifest = &built.manifest;
    let reference: Reference = format!("{target}/dev/{}:{}-dev", manifest.name, manifest.version)
        .parse()
        .with_context(|| format!("--registry {target} names no registry"))?;
    let artifact = Artifact::from_component(Bytes::from(built.component.clone()))?;
    let pushed = Registries::open(&PolicyArgs::default())?.client.push(&reference, &artifact).await?;
    let digest = pushed.digest().to_string();
    // Who develops a plugin grants what it asks for.
    let grants: Vec<String> = manifest.requests().iter().map(|request| request.name.to_string()).collect();
    let client = connect(cluster).await?;
    let wait = Duration::from_secs(120);
    match apply(client, &manifest.name, &reference, &digest, &grants, wait).await? {
        Readiness::Failed { reason, message } => {
            bail!("the plugin {} is not ready, {reason}: {message}", manifest.name)
        }
        Readiness::Ready | Readiness::Pending => Ok(digest),
    }
}
