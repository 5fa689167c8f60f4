//! Capabilities: what a plugin may do beyond computing an answer. A manifest asks for them, `Plugin.spec.grants` grants
//! them, and both write them in one form:
//!
//! | Text | What it allows |
//! |---|---|
//! | `call(tuner)` | calls to whichever plugin serves a tuner's algorithm |
//! | `http(GET,POST api.example.com)` | requests with these methods over TLS to this host; see [`HttpGrant`] |
//! | `kube(write batch/Job in team-a)` | objects of a kind that a dialect emits or reads; see [`KubeGrant`] |
//! | `pod-security(privileged)` | Pods beyond the `baseline` level of the Pod Security Standards |
//! | `secret(NAME)`, `secret(NAMESPACE/NAME)` | reading a Secret |
//! | `kv`, `blob` | storage of the plugin's own |
//! | `events(com.example.*)` | publishing CloudEvents of these types |
//! | `nn(onnx on cpu)` | inference through wasi-nn |
//!
//! A grant may be narrower than what was asked for: the plugin then has what both allow ([`Capability::intersect`]).
//! What it may do in the end is its [`Rights`]. Everything here is a pure function of texts that come from outside.

mod http;
mod kube;
mod pattern;
mod rights;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use http::{HostPattern, HttpGrant, Method, Scheme, is_public};
pub use kube::{Access, KubeGrant, PodSecurity};
pub use pattern::Dotted;
pub use rights::Rights;

use crate::manifest::{is_dns_label, is_dns_subdomain};

/// The longest text of one capability, in bytes.
pub const MAX_TEXT: usize = 1024;

/// Something that a plugin can do only where it was granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Capability {
    /// Calls to the tuner that serves an algorithm. Interface `tuners`.
    CallTuner,
    /// Requests to servers. Interface `http`.
    Http(HttpGrant),
    /// Objects that a dialect emits or reads. No interface: the kernel acts for the dialect.
    Kube(KubeGrant),
    /// The level of the Pod Security Standards that Pods which a dialect emits may have; without it `baseline`. No
    /// interface.
    PodSecurity(PodSecurity),
    /// Reading a Secret. Interface `secrets`.
    Secret(SecretName),
    /// A key-value store of the plugin's own. Interface `kv`.
    Kv,
    /// Larger content of the plugin's own. Interface `blobs`.
    Blob,
    /// Publishing CloudEvents of matching types. Interface `events`.
    Events(Dotted),
    /// Inference. Interfaces of the package `wasi:nn`.
    Nn(NnGrant),
}

/// Names a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName {
    /// Its namespace; `None` is the namespace of the object that a call is about.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// Models of some encodings, on some devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NnGrant {
    /// Such as `onnx`, as wasi-nn names graph encodings; empty for all.
    pub encodings: BTreeSet<String>,
    /// `cpu`, `gpu` or `tpu`, as wasi-nn names execution targets; empty for all.
    pub devices: BTreeSet<String>,
}

/// A text that is no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no capability: {reason}")]
pub struct NotACapability {
    /// The text, cut after some length.
    pub text: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

const FORMS: &str = "the forms are call(tuner), http(METHODS HOST), kube(read|write GROUP/KIND), \
                     pod-security(privileged), secret([NAMESPACE/]NAME), kv, blob, events(TYPE) and nn(ENCODING on DEVICE)";

impl Capability {
    /// The interfaces that a component imports to use it, as [`Interfaces::short`](crate::component::short) names them;
    /// none where the kernel acts for the plugin.
    pub fn interfaces(&self) -> &'static [&'static str] {
        match self {
            Capability::CallTuner => &["tuners"],
            Capability::Http(_) => &["http"],
            Capability::Secret(_) => &["secrets"],
            Capability::Kv => &["kv"],
            Capability::Blob => &["blobs"],
            Capability::Events(_) => &["events"],
            Capability::Nn(_) => {
                &["graphs", "language-models", "nn/errors", "nn/graph", "nn/inference", "nn/tensor"]
            }
            Capability::Kube(_) | Capability::PodSecurity(_) => &[],
        }
    }

    /// How the capability behind an interface is written, for messages; `None` where it is none.
    pub fn form_of_interface(interface: &str) -> Option<&'static str> {
        Some(match interface {
            "tuners" => "call(tuner)",
            "http" => "http(METHODS HOST)",
            "secrets" => "secret(NAME)",
            "kv" => "kv",
            "blobs" => "blob",
            "events" => "events(TYPE)",
            "graphs" | "language-models" => "nn(ENCODING on DEVICE)",
            _ if interface.starts_with("nn/") => "nn(ENCODING on DEVICE)",
            _ => return None,
        })
    }

    /// What both allow; `None` where that is nothing. What a plugin may do is what it asked for and what was granted.
    pub fn intersect(&self, other: &Capability) -> Option<Capability> {
        match (self, other) {
            (Capability::Http(a), Capability::Http(b)) => a.intersect(b).map(Capability::Http),
            (Capability::Kube(a), Capability::Kube(b)) => a.intersect(b).map(Capability::Kube),
            (Capability::PodSecurity(a), Capability::PodSecurity(b)) => {
                a.intersect(b).map(Capability::PodSecurity)
            }
            (Capability::Events(a), Capability::Events(b)) => a.intersect(b).map(Capability::Events),
            (Capability::Nn(a), Capability::Nn(b)) => a.intersect(b).map(Capability::Nn),
            (a, b) => (a == b).then(|| a.clone()),
        }
    }
}

impl NnGrant {
    /// Whether a model of this encoding may run on this device.
    pub fn allows(&self, encoding: &str, device: &str) -> bool {
        (self.encodings.is_empty() || self.encodings.contains(encoding))
            && (self.devices.is_empty() || self.devices.contains(device))
    }

    fn intersect(&self, other: &NnGrant) -> Option<NnGrant> {
        Some(NnGrant {
            encodings: both(&self.encodings, &other.encodings)?,
            devices: both(&self.devices, &other.devices)?,
        })
    }
}

/// What is in both sets, where the empty set stands for everything; `None` where that is nothing.
fn both<T: Ord + Clone>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> Option<BTreeSet<T>> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => Some(b.clone()),
        (_, true) => Some(a.clone()),
        (false, false) => {
            Some(a.intersection(b).cloned().collect()).filter(|both: &BTreeSet<T>| !both.is_empty())
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capability::CallTuner => f.write_str("call(tuner)"),
            Capability::Http(grant) => write!(f, "http({grant})"),
            Capability::Kube(grant) => write!(f, "kube({grant})"),
            Capability::PodSecurity(grant) => write!(f, "pod-security({grant})"),
            Capability::Secret(SecretName { namespace: None, name }) => write!(f, "secret({name})"),
            Capability::Secret(SecretName { namespace: Some(namespace), name }) => {
                write!(f, "secret({namespace}/{name})")
            }
            Capability::Kv => f.write_str("kv"),
            Capability::Blob => f.write_str("blob"),
            Capability::Events(types) => write!(f, "events({types})"),
            Capability::Nn(NnGrant { encodings, devices }) => {
                write!(f, "nn({} on {})", listed(encodings), listed(devices))
            }
        }
    }
}

/// A list with commas; `*` for the empty one, which stands for everything.
fn listed<T: fmt::Display>(items: &BTreeSet<T>) -> String {
    if items.is_empty() {
        return "*".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

impl FromStr for Capability {
    type Err = NotACapability;

    fn from_str(text: &str) -> Result<Self, NotACapability> {
        parse(text).map_err(|reason| NotACapability { text: text.chars().take(128).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Capability, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("it is longer than {MAX_TEXT} bytes"));
    }
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err("it has characters other than printable ASCII".to_owned());
    }
    let (name, argument) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(argument) => (name, Some(argument)),
            None => return Err("the closing parenthesis is missing".to_owned()),
        },
    };
    match (name, argument) {
        ("call", Some("tuner")) => Ok(Capability::CallTuner),
        ("call", Some(stage)) => {
            Err(format!("stage {stage:?} cannot be called; the one that can is `tuner`"))
        }
        ("http", Some(argument)) => argument.parse().map(Capability::Http),
        ("kube", Some(argument)) => argument.parse().map(Capability::Kube),
        ("pod-security", Some(argument)) => argument.parse().map(Capability::PodSecurity),
        ("secret", Some(argument)) => secret(argument).map(Capability::Secret),
        ("kv", None) => Ok(Capability::Kv),
        ("blob", None) => Ok(Capability::Blob),
        ("events", Some(argument)) => argument.parse().map(Capability::Events),
        ("nn", Some(argument)) => nn(argument).map(Capability::Nn),
        ("kv" | "blob", Some(_)) => Err(format!("`{name}` takes no argument")),
        _ => Err(FORMS.to_owned()),
    }
}

fn secret(text: &str) -> Result<SecretName, String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if let Some(namespace) = namespace.filter(|namespace| !is_dns_label(namespace)) {
        return Err(format!("{namespace:?} is no name of a namespace"));
    }
    if !is_dns_subdomain(name) {
        return Err(format!("{name:?} is no name of a Secret"));
    }
    Ok(SecretName { namespace: namespace.map(str::to_owned), name: name.to_owned() })
}

fn nn(text: &str) -> Result<NnGrant, String> {
    let Some((encodings, devices)) = text.split_once(" on ") else {
        return Err("write nn(ENCODINGS on DEVICES), such as nn(onnx on cpu)".to_owned());
    };
    const ENCODINGS: &[&str] = &["openvino", "onnx", "tensorflow", "pytorch", "tensorflowlite", "ggml"];
    const DEVICES: &[&str] = &["cpu", "gpu", "tpu"];
    Ok(NnGrant {
        encodings: one_of("encoding", encodings, ENCODINGS)?,
        devices: one_of("device", devices, DEVICES)?,
    })
}

fn one_of(what: &str, text: &str, known: &[&str]) -> Result<BTreeSet<String>, String> {
    if text == "*" {
        return Ok(BTreeSet::new());
    }
    let check = |item: &str| {
        if known.contains(&item) {
            Ok(item.to_owned())
        } else {
            Err(format!("{item:?} is no {what}; there are {}", known.join(", ")))
        }
    };
    text.split(',').map(check).collect()
}

impl TryFrom<String> for Capability {
    type Error = NotACapability;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.to_string()
    }
}

#[cfg(test)]
mod tests;
