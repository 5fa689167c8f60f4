//! Models: where their files come from, loading them when they are asked for, letting go of those that nobody asks, the
//! Pods of those that containers serve, and the loops that bring Model and Route resources to the gateway.
//!
//! The kernel decides nothing here: these loops run wherever a gateway does, because whether a model can answer is known
//! only there. They talk to `kube::Client` and nothing else.
#![forbid(unsafe_code)]

mod access;
mod companion;
mod containers;
mod inference;
mod load;
mod monitor;
mod observe;
mod placement;
mod recommend;
mod route;
mod secret;
mod served;
mod serving;
mod source;
mod store;
mod table;
mod verdict;

pub use access::ApiAccess;
pub use containers::ContainerConfig;
pub use inference::HostInference;
pub use placement::Peers;
pub use served::Served;
pub use serving::{Serving, ServingConfig};
pub use source::{Credentials, Fetched, Folder, Hub, SourceConfig, SourceError, SourceRequest, Sources};
