//! Plugins as OCI artifacts: what a plugin says about itself ([`Manifest`]), how a core module becomes a packed
//! component ([`pack`]), how it is named, pulled and pushed ([`Reference`], [`Client`]), which digest a tag was locked
//! to ([`lock`]), how artifacts lie in a folder ([`layout`]), and a small registry that serves such a folder
//! ([`Loopback`]).
//!
//! Called by the kernel (pull), by the binary (the loopback registry and `purlin plugin ...`) and by the sandbox, which
//! reads manifests. It never runs a plugin's code, and knows nothing of Kubernetes beyond the shape of a
//! CustomResourceDefinition.
#![forbid(unsafe_code)]

pub mod artifact;
pub mod auth;
pub mod bundle;
pub mod capability;
pub mod catalogue;
mod causes;
pub mod client;
pub mod component;
mod content;
pub mod contract;
mod digest;
mod document;
mod files;
pub mod index;
pub mod layout;
pub mod lock;
pub mod loopback;
pub mod manifest;
mod manifest_file;
pub mod mirror;
mod pack;
pub mod policy;
pub mod prefix;
mod preview1;
pub mod reference;
pub mod referrers;
pub mod sbom;
pub mod signature;
pub mod signing;
mod transport;

pub use artifact::{Artifact, ArtifactError};
pub use capability::{Capability, NotACapability, Rights};
pub use causes::with_causes;
pub use client::{Access, Client, ClientConfig, ClientError, Resolved};
pub use content::OpenBlob;
pub use digest::{Digest, NotADigest};
pub use loopback::Loopback;
pub use manifest::{CapabilityRequest, FieldError, KindRef, Manifest, ManifestError, OwnedKind, Stage};
pub use pack::{PackError, mismatches, pack};
pub use policy::{Policy, Verdict};
pub use reference::{Reference, ReferenceError};
