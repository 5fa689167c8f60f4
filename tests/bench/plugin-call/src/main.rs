//! Times one `sync` of the echo dialect in three ways: as a plugin in a fresh instance, as the same Rust function called
//! natively, and as an HTTP webhook on loopback that calls the same function. Once with about 2 KB of JSON in and out, where
//! most of the time is reading and writing JSON, and once with an empty spec, which leaves what each way costs by itself.
//! Prints tables and ratios; `--json` prints them for a program.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dialect_echo::Echo;
use purlin_sandbox::{Config, LoadRequest, Metrics, Plugin, Sandbox, Subject, v0_1};
use purlin_sdk::{Context, Dialect as _, SyncRequest, SyncResponse};
use serde_json::{Value, json};

const WARM_UP: usize = 2_000;
const CALLS: usize = 20_000;

struct Timing {
    name: &'static str,
    p50: Duration,
    p99: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plugin = load().await?;
    let mut found = serde_json::Map::new();
    let mut out = std::io::stdout().lock();
    let as_json = std::env::args().any(|argument| argument == "--json");
    for (name, fields) in [("2 KB", 32), ("an empty spec", 0)] {
        let parent = parent(fields);
        let timings = [native(&parent)?, sandboxed(&plugin, &parent).await?, webhook(&parent).await?];
        if as_json {
            found.insert(name.to_owned(), as_value(&timings, parent.len()));
        } else {
            print(&mut out, &timings, parent.len())?;
        }
    }
    if as_json {
        writeln!(out, "{}", Value::Object(found))?;
    }
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn ratio(a: &Timing, b: &Timing) -> f64 {
    micros(a.p50) / micros(b.p50)
}

fn as_value(timings: &[Timing; 3], bytes: usize) -> Value {
    let [native, call, hook] = timings;
    let each: Vec<Value> = timings
        .iter()
        .map(|timing| json!({"way": timing.name, "p50_us": micros(timing.p50), "p99_us": micros(timing.p99)}))
        .collect();
    let ratios = json!({"webhook_over_plugin": ratio(hook, call), "plugin_over_native": ratio(call, native)});
    json!({"request_bytes": bytes, "ways": each, "ratios": ratios})
}

fn print(out: &mut impl std::io::Write, timings: &[Timing; 3], bytes: usize) -> Result<()> {
    let [native, call, hook] = timings;
    writeln!(out, "{bytes} bytes in, {CALLS} calls each, one after the other")?;
    for timing in timings {
        let (p50, p99) = (micros(timing.p50), micros(timing.p99));
        writeln!(out, "{:<28} p50 {p50:>8.1} us   p99 {p99:>8.1} us", timing.name)?;
    }
    writeln!(out, "webhook / plugin  {:.1}", ratio(hook, call))?;
    writeln!(out, "plugin / native   {:.1}", ratio(call, native))?;
    Ok(())
}

/// An object with so many fields, of about 60 bytes each.
fn parent(fields: usize) -> String {
    let spec: serde_json::Map<String, Value> =
        (0..fields).map(|index| (format!("setting-{index:02}"), json!("x".repeat(40)))).collect();
    json!({
        "apiVersion": "testing.purlin.dev/v1", "kind": "Echo",
        "metadata": {"name": "bench", "namespace": "default", "uid": "0", "generation": 1}, "spec": spec,
    })
    .to_string()
}

async fn load() -> Result<std::sync::Arc<Plugin>> {
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins/testing/dist");
    let artifacts = purlin_registry::layout::read(&layout)?;
    let (_, artifact) = artifacts
        .into_iter()
        .find(|(name, _)| name.starts_with("purlin/dialect-echo:"))
        .context("plugins/testing/dist has no dialect-echo; run `make plugins`")?;
    let mut registry = prometheus_client::registry::Registry::default();
    let sandbox = Sandbox::new(Config::default(), Metrics::new(&mut registry))?;
    let request = LoadRequest {
        component: artifact.component().clone(),
        digest: artifact.component_digest().to_string(),
        manifest: Some(artifact.manifest().clone()),
        grants: Vec::new(),
        limits: purlin_sandbox::Limits::default(),
        config: json!({}),
    };
    Ok(sandbox.load(request).await?)
}

fn native(parent: &str) -> Result<Timing> {
    let mut samples = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP + CALLS {
        let started = Instant::now();
        let answer = answer(parent)?;
        let taken = started.elapsed();
        std::hint::black_box(answer);
        if call >= WARM_UP {
            samples.push(taken);
        }
    }
    Ok(timing("native function", samples))
}

async fn sandboxed(plugin: &Plugin, parent: &str) -> Result<Timing> {
    let subject = Subject::object("testing.purlin.dev/v1", "Echo", "default", "bench");
    let mut samples = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP + CALLS {
        let started = Instant::now();
        let request = v0_1::SyncRequest {
            context: plugin.context(0, 0),
            parent: parent.to_owned(),
            children: Vec::new(),
            related: Vec::new(),
        };
        let answer = plugin.sync(&subject, request).await?;
        let taken = started.elapsed();
        std::hint::black_box(answer);
        if call >= WARM_UP {
            samples.push(taken);
        }
    }
    Ok(timing("plugin, a fresh instance", samples))
}

async fn webhook(parent: &str) -> Result<Timing> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/sync", listener.local_addr()?);
    let handler = axum::routing::post(|body: String| async move {
        answer(&body).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    });
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/sync", handler)).await });
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut samples = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP + CALLS {
        let started = Instant::now();
        let body = client.post(&url).body(parent.to_owned()).send().await?.bytes().await?;
        let answer: Value = serde_json::from_slice(&body)?;
        let taken = started.elapsed();
        std::hint::black_box(answer);
        if call >= WARM_UP {
            samples.push(taken);
        }
    }
    Ok(timing("HTTP webhook on loopback", samples))
}

/// What the plugin does, from text to text.
fn answer(parent: &str) -> Result<String> {
    let request = SyncRequest {
        context: Context { now_ms: 0, seed: 0, config: "{}".to_owned() },
        parent: serde_json::from_str(parent)?,
        children: Vec::new(),
        related: Vec::new(),
    };
    let SyncResponse { children, status, .. } =
        Echo::sync(&request).map_err(|fault| anyhow::anyhow!("echo does not fault: {fault:?}"))?;
    Ok(json!({"children": children, "status": status}).to_string())
}

fn timing(name: &'static str, mut samples: Vec<Duration>) -> Timing {
    samples.sort_unstable();
    let at = |share: usize| samples[(samples.len() - 1) * share / 100];
    Timing { name, p50: at(50), p99: at(99) }
}
