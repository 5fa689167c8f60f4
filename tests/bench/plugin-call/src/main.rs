//! Times one `sync` of the echo dialect: as a plugin in a fresh instance, as the same Rust function called natively, and
//! behind three webhooks on loopback that call the same function: one in this process over plain HTTP, the cheapest
//! of them; one in a process of its own; and one in a process of its own over TLS, as an API server demands it. Once
//! with about 2 KB of JSON in and out, and once with an empty spec, which leaves what each way costs by itself.
//!
//! Every way ends with the same checked answer. The ways take turns, so that other load on the machine meets all of them.
//! Prints tables and ratios; `--json` prints them for a program. `--only WAY`, for a profiler, times one way.

#![forbid(unsafe_code)]

mod hook;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dialect_echo::Echo;
use purlin_sandbox::service::PluginId;
use purlin_sandbox::{Child, Config, LoadRequest, Metrics, Plugin, Sandbox, Subject, contract};
use purlin_sdk::{Context, TextDialect as _, text};
use serde_json::{Value, json};

use crate::hook::{Hook, Served};

const ROUNDS: usize = 8;
const WARM_UP: usize = 500;
const CALLS: usize = 2_500;

/// A way to have the function called.
enum Way {
    Native,
    Plugin(Arc<Plugin>, Subject),
    Hook(Hook),
}

/// What every way ends with: children that are known to be objects with a name, and the status.
struct Answer {
    _children: Vec<Child>,
    _status: Option<Value>,
}

impl Way {
    async fn call(&self, parent: &str) -> Result<Answer> {
        match self {
            Way::Native => {
                let answer = answer(parent.to_owned())?;
                let children = answer.children.into_iter().map(Child::new).collect::<Result<_, _>>()?;
                let status = answer.status.map(|status| serde_json::from_str(&status)).transpose()?;
                Ok(Answer { _children: children, _status: status })
            }
            Way::Plugin(plugin, subject) => {
                let request = contract::SyncRequest {
                    context: plugin.context(0, 0),
                    parent: parent.to_owned(),
                    children: Vec::new(),
                    related: Vec::new(),
                };
                let answer = plugin.sync(subject, request).await?;
                Ok(Answer { _children: answer.children, _status: answer.status })
            }
            Way::Hook(hook) => {
                let (children, status) = hook.call(parent).await?;
                Ok(Answer { _children: children, _status: status })
            }
        }
    }
}

/// What the plugin does, from text to text.
fn answer(parent: String) -> Result<text::Response> {
    let context = Context { now_ms: 0, seed: 0, config: "{}".to_owned() };
    let request = text::Request { context, parent, children: Vec::new(), related: Vec::new() };
    Echo::sync(&request).map_err(|fault| anyhow::anyhow!("echo does not fault: {fault:?}"))
}

struct Timing {
    name: &'static str,
    key: &'static str,
    p50: Duration,
    p99: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(how) = hook::asked_to_serve()? {
        return hook::serve(how).await;
    }
    let subject = Subject::object("testing.purlin.dev/v1", "Echo", "default", "bench");
    let mut ways = vec![
        ("native function", "native", Way::Native),
        ("plugin, a fresh instance", "plugin", Way::Plugin(load().await?, subject)),
        ("webhook, in this process", "webhook_in_process", Way::Hook(Hook::in_process().await?)),
        ("webhook, its own process", "webhook_process", Way::Hook(Hook::in_a_process(Served::Plain).await?)),
        ("webhook, its own, over TLS", "webhook_tls", Way::Hook(Hook::in_a_process(Served::Tls).await?)),
    ];
    let mut arguments = std::env::args().skip_while(|argument| argument != "--only").skip(1);
    if let Some(only) = arguments.next() {
        ways.retain(|(_, key, _)| *key == only);
    }
    let mut found = serde_json::Map::new();
    let mut out = std::io::stdout().lock();
    let as_json = std::env::args().any(|argument| argument == "--json");
    for (name, fields) in [("2 KB", 32), ("an empty spec", 0)] {
        let parent = parent(fields);
        let timings = time(&ways, &parent).await?;
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

async fn time(ways: &[(&'static str, &'static str, Way)], parent: &str) -> Result<Vec<Timing>> {
    let mut samples: Vec<Vec<Duration>> = ways.iter().map(|_| Vec::with_capacity(ROUNDS * CALLS)).collect();
    for _ in 0..ROUNDS {
        for ((_, _, way), samples) in ways.iter().zip(&mut samples) {
            for call in 0..WARM_UP + CALLS {
                let started = Instant::now();
                let answer = way.call(parent).await?;
                let taken = started.elapsed();
                std::hint::black_box(answer);
                if call >= WARM_UP {
                    samples.push(taken);
                }
            }
        }
    }
    let timings = ways.iter().zip(samples).map(|((name, key, _), mut samples)| {
        samples.sort_unstable();
        let at = |share: usize| samples[(samples.len() - 1) * share / 100];
        Timing { name, key, p50: at(50), p99: at(99) }
    });
    Ok(timings.collect())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// How many times as long as the plugin's call each way takes.
fn over_plugin(timings: &[Timing]) -> impl Iterator<Item = (&Timing, f64)> {
    let plugin =
        timings.iter().find(|timing| timing.key == "plugin").map_or(f64::NAN, |call| micros(call.p50));
    timings.iter().map(move |timing| (timing, micros(timing.p50) / plugin))
}

fn as_value(timings: &[Timing], bytes: usize) -> Value {
    let ways: Vec<Value> = over_plugin(timings)
        .map(|(timing, ratio)| {
            let (p50, p99) = (micros(timing.p50), micros(timing.p99));
            json!({"way": timing.key, "p50_us": p50, "p99_us": p99, "over_plugin": ratio})
        })
        .collect();
    json!({"request_bytes": bytes, "ways": ways})
}

fn print(out: &mut impl std::io::Write, timings: &[Timing], bytes: usize) -> Result<()> {
    writeln!(out, "{bytes} bytes in, {} calls each way, one after the other", ROUNDS * CALLS)?;
    for (timing, ratio) in over_plugin(timings) {
        let (p50, p99) = (micros(timing.p50), micros(timing.p99));
        let name = timing.name;
        writeln!(out, "{name:<28} p50 {p50:>7.1} us   p99 {p99:>7.1} us   over plugin {ratio:>5.2}")?;
    }
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

async fn load() -> Result<Arc<Plugin>> {
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins/testing/dist");
    let artifacts = purlin_registry::layout::read(&layout)?;
    let (_, artifact) = artifacts
        .into_iter()
        .find(|(name, _)| name.starts_with("purlin/dialect-echo:"))
        .context("plugins/testing/dist has no dialect-echo; run `make plugins`")?;
    let mut registry = prometheus_client::registry::Registry::default();
    let sandbox = Sandbox::new(Config::default(), Default::default(), Metrics::new(&mut registry))?;
    let request = LoadRequest {
        id: PluginId { name: "test".to_owned(), uid: "1".to_owned() },
        component: artifact.component().clone(),
        digest: artifact.component_digest().to_string(),
        manifest: Some(artifact.manifest().clone()),
        grants: Vec::new(),
        limits: purlin_sandbox::Limits::default(),
        config: json!({}),
    };
    Ok(sandbox.load(request).await?)
}
