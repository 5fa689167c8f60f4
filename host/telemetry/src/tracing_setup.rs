//! Where `tracing` goes: the log on standard error, and spans over OTLP when an endpoint is configured.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What to log and where to send spans.
#[derive(Debug, Clone, Default)]
pub struct TracingConfig {
    /// How the log looks.
    pub format: LogFormat,
    /// Directives as `RUST_LOG` takes them, such as `info,purlin_kernel=debug`.
    pub filter: String,
    /// Base URL of an OTLP/HTTP collector, such as `http://localhost:4318`; spans are not exported without one.
    pub otlp_endpoint: Option<String>,
    /// `service.version` of the exported spans.
    pub version: String,
}

/// Keeps the export alive; dropping it sends what is left.
#[derive(Debug)]
#[must_use = "spans are exported only while the guard lives"]
pub struct TracingGuard {
    provider: Option<SdkTracerProvider>,
}

/// Why tracing could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// The directives do not parse.
    #[error(
        "the log filter {filter:?} is not valid: {source}; write it as in RUST_LOG, such as \"info,purlin_kernel=debug\""
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter cannot be made.
    #[error(
        "cannot export traces to {endpoint}: {source}; give the base URL of an OTLP/HTTP collector, such as http://localhost:4318"
    )]
    Exporter {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Something else in this process has set up tracing already.
    #[error("tracing is already set up in this process")]
    AlreadySet,
}

impl TracingConfig {
    /// Installs the process-wide subscriber.
    ///
    /// # Errors
    /// See [`TracingError`]; nothing is installed then.
    pub fn install(self) -> Result<TracingGuard, TracingError> {
        let filter = EnvFilter::builder()
            .parse(&self.filter)
            .map_err(|source| TracingError::Filter { filter: self.filter.clone(), source })?;
        let provider = self.otlp_endpoint.as_deref().map(|base| exporter(base, &self.version)).transpose()?;
        let spans = provider
            .as_ref()
            .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("purlin")));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let lines = match self.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .with(spans)
            .try_init()
            .map_err(|_| TracingError::AlreadySet)?;
        Ok(TracingGuard { provider })
    }
}

fn exporter(base: &str, version: &str) -> Result<SdkTracerProvider, TracingError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", base.trim_end_matches('/')))
        .build()
        .map_err(|source| TracingError::Exporter { endpoint: base.to_owned(), source })?;
    let resource = Resource::builder()
        .with_service_name("purlin")
        .with_attribute(opentelemetry::KeyValue::new("service.version", version.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Drop for TracingGuard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}
