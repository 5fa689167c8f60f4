//! The embedded node: it runs the Pods of a Kubernetes API on this host as Wasm commands, host processes or OCI
//! bundles, and has the Job controller and the scheduler that such an API needs. Every loop talks to a `kube::Client`
//! and nothing else. It is not a kubelet: Pods share the host's network, and nothing pulls or unpacks OCI layers.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backoff;
mod capabilities;
mod endpoint;
mod env;
mod events;
mod expand;
mod image;
mod image_map;
pub mod job;
mod logs;
mod metrics;
mod node;
mod pod;
mod registration;
mod resources;
mod run;
pub mod scheduler;
pub mod shim;
mod volume;

pub use capabilities::{Capabilities, capabilities};
pub use endpoint::{EndpointError, LogEndpoint};
pub use image::{ImageError, ImageSource, NoImages, WasmImage};
pub use image_map::{ImageMap, ImageMapError};
pub use logs::{LogRequest, LogsError};
pub use metrics::Metrics;
pub use node::{Config, Node, NodeError, OnShutdown};

/// The address of Pods and node alike: they share the host's loopback.
pub(crate) const ADDRESS: &str = "127.0.0.1";
