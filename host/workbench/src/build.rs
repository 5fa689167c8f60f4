//! From a project to a packed component, by the compiler of its language. The component has the imports that its
//! manifest asks for and no others.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use purlin_registry::{Manifest, ManifestError, PackError, Stage, contract, pack};
use tokio::process::Command;

use crate::toolchain::{self, run};
use crate::{Language, UnknownProject};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The SDK of the language does not know the stage yet.
    #[error("the SDK for {language} has no stage `{stage}`; write the plugin in Rust")]
    NoSuchStage {
        /// What the manifest names.
        stage: Stage,
        /// The project's.
        language: &'static str,
    },
    /// The folder is no project.
    #[error(transparent)]
    Project(#[from] UnknownProject),
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The compiler's result is no plugin.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A plugin of two stages in a language whose tools build one.
    #[error("plugin.yaml: stages: a plugin in {0} serves one stage; make it two plugins")]
    Stages(Language),
    /// A tool is not installed.
    #[error("`{tool}` was not found; {hint}")]
    Missing {
        /// The tool.
        tool: String,
        /// How to get it.
        hint: &'static str,
    },
    /// A tool could not be started.
    #[error("cannot start `{tool}`: {source}")]
    Start {
        /// The tool.
        tool: String,
        /// Why.
        source: std::io::Error,
    },
    /// A tool refused.
    #[error("`{tool}` failed:\n{said}")]
    Tool {
        /// The tool.
        tool: String,
        /// What it printed.
        said: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What a compiler said it made cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A component that was made.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its manifest.
    pub manifest: Manifest,
    /// Where it lies.
    pub path: PathBuf,
    /// The component.
    pub component: Vec<u8>,
    /// How long it took.
    pub took: Duration,
}

/// Builds the project in a folder into `build/NAME.wasm`.
///
/// # Errors
/// When the folder is no project, a tool is missing or refuses, or what it makes does not fit the manifest.
pub async fn build(project: &Path) -> Result<Built, BuildError> {
    let started = Instant::now();
    let language = Language::of(project)?;
    let manifest = Manifest::from_yaml_file(&project.join("plugin.yaml"))?;
    let folder = project.join("build");
    let read = |path: PathBuf| std::fs::read(&path).map_err(|source| BuildError::Read { path, source });
    // Tools run in folders of their own, so paths that are given to them must not be relative.
    let root = std::fs::canonicalize(project)
        .map_err(|source| BuildError::Read { path: project.to_owned(), source })?;
    let work = root.join("build");
    let wit = work.join("wit");
    contract::write(&wit, &manifest).map_err(|source| BuildError::Write { path: wit.clone(), source })?;
    let module = match language {
        Language::Rust => read(rust(&root).await?)?,
        Language::Python => read(python(&root, &work, stage(&manifest, language)?).await?)?,
        Language::Js => read(js(&root, &work, &manifest, stage(&manifest, language)?).await?)?,
        Language::Go => read(go(&root, &work).await?)?,
    };
    let component = pack(&module, &manifest)?;
    let path = folder.join(format!("{}.wasm", manifest.name));
    std::fs::write(&path, &component).map_err(|source| BuildError::Write { path: path.clone(), source })?;
    Ok(Built { manifest, path, component, took: started.elapsed() })
}

fn stage(manifest: &Manifest, language: Language) -> Result<Stage, BuildError> {
    match manifest.stages.as_slice() {
        [stage] => Ok(*stage),
        _ => Err(BuildError::Stages(language)),
    }
}

fn put(path: PathBuf, text: &str) -> Result<PathBuf, BuildError> {
    std::fs::write(&path, text).map_err(|source| BuildError::Write { path: path.clone(), source })?;
    Ok(path)
}

/// By rustup's target where it is installed; or, as `$PURLIN_WASM_RUSTC` says, by another compiler that has the source of
/// std beside it.
async fn rust(root: &Path) -> Result<PathBuf, BuildError> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    cargo.args(["build", "--quiet", "--release", "--target", TARGET]);
    let hint = "install Rust from rustup.rs";
    let sysroot = PathBuf::from(printed("rustc", &["--print", "sysroot"], hint).await?);
    if let Some(rustc) = std::env::var_os("PURLIN_WASM_RUSTC") {
        cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
        // All projects share std, which takes a minute or more. What is made of the project itself stays in its folder.
        cargo.env("CARGO_BUILD_BUILD_DIR", toolchain::rust());
        let host = printed("rustc", &["--print", "host-tuple"], hint).await?;
        let linker = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    } else if !sysroot.join("lib/rustlib").join(TARGET).exists() {
        return Err(BuildError::Missing {
            tool: TARGET.to_owned(),
            hint: "run `rustup target add wasm32-unknown-unknown`; where that cannot be fetched, set PURLIN_WASM_RUSTC to a \
                   compiler with the source of std (on Debian: apt-get install rustc-web rust-web-src, /usr/bin/rustc)",
        });
    }
    run(&mut cargo, hint).await?;
    let modules = root.join("target").join(TARGET).join("release");
    // Whatever the crate's library is called, there is one.
    let entries =
        std::fs::read_dir(&modules).map_err(|source| BuildError::Read { path: modules.clone(), source })?;
    let found = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|one| one == "wasm"));
    Ok(found.unwrap_or_else(|| modules.join("plugin.wasm")))
}

async fn printed(tool: &str, arguments: &[&str], hint: &'static str) -> Result<String, BuildError> {
    match Command::new(tool).args(arguments).output().await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(_) => Err(BuildError::Missing { tool: tool.to_owned(), hint }),
    }
}

async fn python(root: &Path, work: &Path, stage: Stage) -> Result<PathBuf, BuildError> {
    let (class, export) = match stage {
        Stage::Tuner => ("Tuner", "tuner"),
        Stage::Dialect => ("Controller", "controller"),
        other => return Err(BuildError::NoSuchStage { stage: other, language: "Python" }),
    };
    let entry = format!(
        "from plugin import plugin\nfrom purlin_plugin import _component\n\n_component.connect()\n\
         {class} = _component.{export}(plugin)\nLifecycle = _component.lifecycle(plugin)\n"
    );
    put(work.join("purlin_entry.py"), &entry)?;
    let made = work.join("component.wasm");
    let mut tool = Command::new(toolchain::python().await?);
    // A folder of its own: the tool takes a virtual environment that it finds for the plugin's.
    tool.current_dir(work).env("PYTHONHASHSEED", "0");
    tool.args(["--quiet", "--wit-path"]).arg(work.join("wit")).args([
        "--world",
        contract::WORLD,
        "componentize",
    ]);
    for path in [work, root, &root.join("sdk")] {
        tool.arg("--python-path").arg(path);
    }
    tool.arg("purlin_entry").arg("--output").arg(&made);
    run(&mut tool, "remove the toolchain's folder and build again").await?;
    Ok(made)
}

async fn js(root: &Path, work: &Path, manifest: &Manifest, stage: Stage) -> Result<PathBuf, BuildError> {
    let bin = toolchain::js().await?;
    let (export, interface) = match stage {
        Stage::Tuner => ("tuner", "tuner"),
        Stage::Dialect => ("dialect", "controller"),
        other => return Err(BuildError::NoSuchStage { stage: other, language: "JavaScript" }),
    };
    let mut interfaces: Vec<&str> =
        manifest.capabilities.iter().flat_map(|request| request.name.interfaces()).copied().collect();
    interfaces.push("log");
    interfaces.sort_unstable();
    interfaces.dedup();
    let imports: String = interfaces
        .iter()
        .map(|name| format!("import * as {name} from \"purlin:plugin/{name}@{}\";\n", manifest.wit))
        .collect();
    let source = if root.join("plugin.ts").is_file() { "plugin.ts" } else { "plugin.js" };
    let entry = format!(
        "{imports}import {{ connect, {export} as wrap }} from \"@purlin/plugin/component\";\n\
         import plugin from \"../{source}\";\n\nconnect({{ {names} }});\n\
         export const {{ lifecycle, {interface} }} = wrap(plugin);\n",
        names = interfaces.join(", "),
    );
    let entry = put(work.join("entry.js"), &entry)?;
    let bundle = work.join("bundle.js");
    let hint = "remove the toolchain's folder and build again";
    let sdk = root.join("sdk/src");
    let mut esbuild = Command::new(bin.join("esbuild"));
    esbuild.current_dir(root).arg(&entry).args([
        "--bundle",
        "--format=esm",
        "--target=es2022",
        "--log-level=warning",
    ]);
    esbuild.args(["--external:purlin:*", "--external:wasi:*"]).arg(format!("--outfile={}", bundle.display()));
    for (name, file) in [("@purlin/plugin/component", "component.js"), ("@purlin/plugin", "index.js")] {
        esbuild.arg(format!("--alias:{name}={}", sdk.join(file).display()));
    }
    run(&mut esbuild, hint).await?;
    let made = work.join("component.wasm");
    let mut tool = Command::new(bin.join("componentize-js"));
    tool.current_dir(work)
        .arg(&bundle)
        .arg("--wit")
        .arg(work.join("wit"))
        .args(["--world-name", contract::WORLD]);
    // Without any of them the component imports nothing of WASI. The entry gives the plugin a clock, randomness and a
    // console of its own.
    tool.arg("--out").arg(&made).args(["--disable", "stdio", "random", "clocks", "http", "fetch-event"]);
    run(&mut tool, hint).await?;
    Ok(made)
}

async fn go(root: &Path, work: &Path) -> Result<PathBuf, BuildError> {
    let made = work.join("module.wasm");
    let mut go = Command::new("go");
    go.current_dir(root).envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("CGO_ENABLED", "0")]);
    go.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&made).arg(".");
    run(&mut go, "install Go 1.24 or newer from go.dev").await?;
    Ok(made)
}
