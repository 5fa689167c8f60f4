//! What a plugin says about itself. The packer writes it into the component, the sandbox checks the component against
//! it, and the kernel takes from it what to watch and what to grant.
//!
//! A manifest comes from outside (a component pulled from a registry), so nothing here trusts it: parsing is bounded,
//! every field is validated, and all that is wrong is reported at once, by field. It must never read the network.

use std::collections::BTreeSet;
use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capability::{Access, Capability, KubeGrant, Rights};
use crate::component;

/// Name of the custom section that holds the manifest as JSON.
pub const SECTION: &str = "purlin:manifest";

/// The longest manifest that is read, packed or as YAML. CRD schemas are long; 4 MiB is several of the longest known.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The contract versions that a manifest may name in `wit`.
pub const WIT_VERSIONS: &[Version] = &[WIT_0_1, WIT_0_2, WIT_0_3];

/// The first version of the contract: log and calls between plugins are all that it knows of a host.
pub const WIT_0_1: Version = Version::new(0, 1, 0);

/// The second version: with `lifecycle` and the capabilities of a host.
pub const WIT_0_2: Version = Version::new(0, 2, 0);

/// The third version: with the stages that serve models, and inference.
pub const WIT_0_3: Version = Version::new(0, 3, 0);

/// A plugin's description of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// A DNS label, such as `tuner-random`.
    pub name: String,
    /// The plugin's own version.
    pub version: Version,
    /// One line for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The version of `purlin:plugin` that the component was built for.
    pub wit: Version,
    /// The stages that the component exports.
    pub stages: Vec<Stage>,
    /// Tuners: the algorithms that they answer to, in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<String>,
    /// Serving runtimes: the model formats that they serve, in lower case. Explainers and monitors: their methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    /// Dialects: the kinds that they reconcile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owns: Vec<OwnedKind>,
    /// Dialects: the kinds that they may emit, and of which they see their own objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<KindRef>,
    /// Dialects: the kinds that `related` may select.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<KindRef>,
    /// Dialects: namespaces that users of the owned kinds take for granted. Made when the plugin is installed where they
    /// are missing, and never deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// What the plugin asks to be granted. `log` is granted to all and not listed; for `children` and `related` the
    /// access that they need is asked for by themselves ([`requests`](Manifest::requests)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<CapabilityRequest>,
    /// JSON schema of `Plugin.spec.config`.
    #[serde(default = "empty_object", skip_serializing_if = "is_empty_object")]
    pub config_schema: Value,
}

/// A stage of the contract that a plugin can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Owns kinds and translates them: exports `controller`.
    Dialect,
    /// Searches: exports `tuner`.
    Tuner,
    /// Serves models of some formats: exports `serving-runtime`.
    ServingRuntime,
    /// Changes requests and answers: exports `transformer`.
    Transformer,
    /// Says why a model answered as it did: exports `explainer`.
    Explainer,
    /// Watches what a model is asked and answers: exports `monitor`.
    Monitor,
}

impl Stage {
    /// Every stage of this version of the contract.
    pub const ALL: &[Stage] = &[
        Stage::Dialect,
        Stage::Tuner,
        Stage::ServingRuntime,
        Stage::Transformer,
        Stage::Explainer,
        Stage::Monitor,
    ];

    /// The interface of `purlin:plugin` that a plugin of this stage exports.
    pub fn interface(self) -> &'static str {
        match self {
            Stage::Dialect => "controller",
            other => other.as_str(),
        }
    }

    /// The name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Dialect => "dialect",
            Stage::Tuner => "tuner",
            Stage::ServingRuntime => "serving-runtime",
            Stage::Transformer => "transformer",
            Stage::Explainer => "explainer",
            Stage::Monitor => "monitor",
        }
    }

    /// Whether plugins of this stage serve models. Such stages came with version 0.3 of the contract.
    pub fn serves_models(self) -> bool {
        match self {
            Stage::Dialect | Stage::Tuner => false,
            Stage::ServingRuntime | Stage::Transformer | Stage::Explainer | Stage::Monitor => true,
        }
    }

    /// Whether plugins of this stage are found by a format of models, or a method.
    pub fn has_formats(self) -> bool {
        matches!(self, Stage::ServingRuntime | Stage::Explainer | Stage::Monitor)
    }

    /// Interfaces of `purlin:plugin` that plugins of this stage may import without a grant, beside those for all.
    pub fn free_imports(self) -> &'static [&'static str] {
        match self {
            Stage::Dialect | Stage::Tuner | Stage::Transformer | Stage::Monitor => &[],
            Stage::ServingRuntime => &["model-files"],
            Stage::Explainer => &["model-files", "predictor"],
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A capability that a plugin asks for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilityRequest {
    /// Such as `call(tuner)`, in the form of [`capability`](crate::capability).
    pub name: Capability,
    /// Shown to the person who grants it.
    pub reason: String,
    /// Whether the plugin works without: then it loads where this was not granted, and is told so when it asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A kind by its API version and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindRef {
    /// Such as `batch/v1`, or `v1` for the core group.
    pub api_version: String,
    /// Such as `Job`.
    pub kind: String,
}

impl KindRef {
    /// Group (empty for the core group) and version.
    pub fn group_version(&self) -> (&str, &str) {
        self.api_version.split_once('/').unwrap_or(("", &self.api_version))
    }
}

/// A kind that a dialect owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnedKind {
    /// The whole CustomResourceDefinition. In `plugin.yaml` it is the path of a file that holds it.
    pub crd: Value,
}

impl OwnedKind {
    /// `spec.group`; empty where the definition has none (a validated manifest's has).
    pub fn group(&self) -> &str {
        self.text("/spec/group")
    }

    /// `spec.names.kind`.
    pub fn kind(&self) -> &str {
        self.text("/spec/names/kind")
    }

    /// `spec.names.plural`.
    pub fn plural(&self) -> &str {
        self.text("/spec/names/plural")
    }

    /// Whether objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.text("/spec/scope") == "Namespaced"
    }

    /// The version that is stored, which is the one that the plugin is given.
    pub fn storage_version(&self) -> &str {
        let versions = self.crd.pointer("/spec/versions").and_then(Value::as_array);
        let stored = versions.into_iter().flatten().find(|version| version["storage"] == Value::Bool(true));
        stored.and_then(|version| version["name"].as_str()).unwrap_or_default()
    }

    /// The kind, in the version that is stored.
    pub fn kind_ref(&self) -> KindRef {
        KindRef {
            api_version: format!("{}/{}", self.group(), self.storage_version()),
            kind: self.kind().to_owned(),
        }
    }

    fn text(&self, pointer: &str) -> &str {
        self.crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// One field of a manifest that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field, such as `owns[0].crd.spec.group`.
    pub field: String,
    /// What stands there; empty where it is missing.
    pub value: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}: {}", self.field, self.reason)
        } else {
            write!(f, "{}: {:?}: {}", self.field, self.value, self.reason)
        }
    }
}

/// Why there is no usable manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A YAML file does not have a manifest's (or a CRD's) form.
    #[error("cannot parse {path}: {reason}")]
    Yaml {
        /// The file.
        path: String,
        /// What the parser said, with the line.
        reason: String,
    },
    /// The bytes are not a component.
    #[error("cannot read the component: {0}")]
    Component(#[from] component::ComponentError),
    /// The component has no manifest.
    #[error("the component has no `{SECTION}` section; make it with `purlin plugin pack`")]
    Missing,
    /// The component has more than one manifest, so it cannot be said which one was reviewed.
    #[error("the component has {0} `{SECTION}` sections; exactly one is allowed")]
    Repeated(usize),
    /// The manifest is longer than [`MAX_BYTES`].
    #[error("the manifest has {0} bytes; at most {MAX_BYTES} are allowed")]
    TooLong(usize),
    /// The packed manifest is not JSON of the right form.
    #[error("cannot parse the manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// The manifest has the right form and wrong content.
    #[error("the manifest is invalid: {}", join(.0))]
    Invalid(Vec<FieldError>),
}

fn join(errors: &[FieldError]) -> String {
    errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("; ")
}

impl Manifest {
    /// Reads and validates the manifest of a packed component.
    pub fn from_component(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let sections = component::custom_sections(bytes, SECTION)?;
        match sections.as_slice() {
            [] => Err(ManifestError::Missing),
            [text] => Manifest::from_json(text),
            several => Err(ManifestError::Repeated(several.len())),
        }
    }

    /// Parses and validates the JSON form.
    pub fn from_json(text: &[u8]) -> Result<Manifest, ManifestError> {
        if text.len() > MAX_BYTES {
            return Err(ManifestError::TooLong(text.len()));
        }
        let manifest: Manifest = serde_json::from_slice(text)?;
        manifest.validated()
    }

    /// The JSON form, the same text for the same manifest.
    pub fn to_json(&self) -> Result<String, ManifestError> {
        let value = serde_json::to_value(self)?;
        Ok(serde_json::to_string(&sorted(value))?)
    }

    /// Whether the plugin serves `stage`.
    pub fn serves(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }

    /// Whether the plugin reconciles a kind.
    pub fn owns_kind(&self, group: &str, kind: &str) -> bool {
        self.owns.iter().any(|owned| owned.group() == group && owned.kind() == kind)
    }

    /// What the plugin may do where this was granted: what it asks for, as far as a grant covers it.
    pub fn rights(&self, granted: &[Capability]) -> Rights {
        let asked = self.requests();
        Rights::of(asked.iter().map(|request| &request.name), granted)
    }

    /// What of its requests was not granted, not even in part.
    pub fn refused(&self, granted: &[Capability]) -> Vec<CapabilityRequest> {
        let mut requests = self.requests();
        requests.retain(|request| granted.iter().all(|granted| request.name.intersect(granted).is_none()));
        requests
    }

    /// All that the plugin asks for: its capabilities, and access to the kinds in `children` and `related` where its
    /// capabilities do not already speak of them. Its own kinds need no grant: to install a plugin is to give it those.
    pub fn requests(&self) -> Vec<CapabilityRequest> {
        let mut requests = self.capabilities.clone();
        let lists = [
            (Access::Write, &self.children, "it makes and deletes objects of this kind"),
            (Access::Read, &self.related, "it reads objects of this kind"),
        ];
        for (access, kinds, reason) in lists {
            for kind in kinds {
                let (group, _) = kind.group_version();
                let own = self.owns_kind(group, &kind.kind);
                let spoken_of = |request: &CapabilityRequest| matches!(&request.name, Capability::Kube(grant) if grant.covers_kind(access, group, &kind.kind, false));
                if own || requests.iter().any(spoken_of) {
                    continue;
                }
                let grant = KubeGrant {
                    access,
                    group: group.to_owned(),
                    kind: Some(kind.kind.clone()),
                    unless_owned: false,
                    namespaces: BTreeSet::new(),
                };
                requests.push(CapabilityRequest {
                    name: Capability::Kube(grant),
                    reason: reason.to_owned(),
                    optional: false,
                });
            }
        }
        requests
    }

    /// All that is wrong with the manifest; empty when it can be used.
    pub fn validate(&self) -> Vec<FieldError> {
        let mut found = Findings::default();
        if !is_dns_label(&self.name) {
            found.add("name", &self.name, DNS_LABEL);
        }
        if !WIT_VERSIONS.contains(&self.wit) {
            let known = WIT_VERSIONS.iter().map(Version::to_string).collect::<Vec<_>>().join(", ");
            found.add("wit", self.wit.to_string(), format!("this host runs plugins built for {known}"));
        }
        if self.description.len() > 1024 || self.description.contains('\n') {
            found.add("description", "", "must be one line of at most 1024 bytes");
        }
        if self.stages.is_empty() {
            found.add(
                "stages",
                "",
                "must name at least one of dialect, tuner, serving-runtime, transformer, explainer, monitor",
            );
        }
        found.repeated("stages", self.stages.iter().map(|stage| stage.as_str()));
        self.validate_tuner(&mut found);
        self.validate_serving(&mut found);
        self.validate_dialect(&mut found);
        for (index, request) in self.capabilities.iter().enumerate() {
            if request.reason.trim().is_empty() {
                let field = format!("capabilities[{index}].reason");
                found.add(
                    field,
                    "",
                    "must say why the capability is needed; it is shown to whoever grants it",
                );
            }
        }
        let names: Vec<_> = self.capabilities.iter().map(|request| request.name.to_string()).collect();
        found.repeated("capabilities", names.iter().map(String::as_str));
        for (index, request) in self.capabilities.iter().enumerate() {
            self.validate_request(index, request, &mut found);
        }
        if !self.config_schema.is_object() {
            found.add("configSchema", kind_of(&self.config_schema), "must be an object (a JSON schema)");
        }
        found.errors
    }

    /// The manifest itself, where nothing is wrong with it.
    pub(crate) fn validated(self) -> Result<Manifest, ManifestError> {
        let errors = self.validate();
        if errors.is_empty() { Ok(self) } else { Err(ManifestError::Invalid(errors)) }
    }

    fn validate_request(&self, index: usize, request: &CapabilityRequest, found: &mut Findings) {
        let mut add = |reason: &str| {
            found.add(format!("capabilities[{index}].name"), request.name.to_string(), reason);
        };
        match &request.name {
            Capability::Kube(_) | Capability::PodSecurity(_) if !self.serves(Stage::Dialect) => {
                add("only a plugin of the stage `dialect` has objects");
            }
            Capability::Kube(_) | Capability::PodSecurity(_) | Capability::CallTuner => {}
            _ if self.wit == WIT_0_1 => add("needs version 0.2.0 of the contract (`wit`)"),
            Capability::Nn(_) if self.wit < WIT_0_3 => add("needs version 0.3.0 of the contract (`wit`)"),
            _ => {}
        }
    }

    fn validate_tuner(&self, found: &mut Findings) {
        if self.serves(Stage::Tuner) && self.algorithms.is_empty() {
            found.add("algorithms", "", "a tuner must name the algorithms that it answers to");
        }
        if !self.serves(Stage::Tuner) && !self.algorithms.is_empty() {
            found.add("algorithms", "", "only a plugin of the stage `tuner` has algorithms");
        }
        for (index, algorithm) in self.algorithms.iter().enumerate() {
            if !is_dns_label(algorithm) {
                found.add(format!("algorithms[{index}]"), algorithm, DNS_LABEL);
            }
        }
        found.repeated("algorithms", self.algorithms.iter().map(String::as_str));
    }

    fn validate_serving(&self, found: &mut Findings) {
        for (index, stage) in self.stages.iter().enumerate() {
            if stage.serves_models() && self.wit < WIT_0_3 {
                let reason = "came with version 0.3.0 of the contract (`wit`)";
                found.add(format!("stages[{index}]"), stage.as_str(), reason);
            }
        }
        let formed = self.stages.iter().find(|stage| stage.has_formats());
        if let Some(stage) = formed
            && self.formats.is_empty()
        {
            let reason =
                format!("a plugin of the stage `{stage}` must name the formats or methods that it has");
            found.add("formats", "", &reason);
        }
        if formed.is_none() && !self.formats.is_empty() {
            let reason =
                "only a plugin of the stages `serving-runtime`, `explainer` and `monitor` has formats";
            found.add("formats", "", reason);
        }
        for (index, format) in self.formats.iter().enumerate() {
            if !is_dns_label(format) {
                found.add(format!("formats[{index}]"), format, DNS_LABEL);
            }
        }
        found.repeated("formats", self.formats.iter().map(String::as_str));
    }

    fn validate_dialect(&self, found: &mut Findings) {
        if self.serves(Stage::Dialect) && self.owns.is_empty() {
            found.add("owns", "", "a dialect must own at least one kind");
        }
        if !self.serves(Stage::Dialect) {
            for (field, empty) in [
                ("owns", self.owns.is_empty()),
                ("children", self.children.is_empty()),
                ("related", self.related.is_empty()),
            ] {
                if !empty {
                    found.add(field, "", "only a plugin of the stage `dialect` has kinds");
                }
            }
        }
        for (index, owned) in self.owns.iter().enumerate() {
            validate_crd(&format!("owns[{index}].crd"), owned, found);
        }
        let names: Vec<String> =
            self.owns.iter().map(|owned| format!("{}.{}", owned.plural(), owned.group())).collect();
        found.repeated("owns", names.iter().map(String::as_str));
        for (list, kinds) in [("children", &self.children), ("related", &self.related)] {
            for (index, kind) in kinds.iter().enumerate() {
                validate_kind(&format!("{list}[{index}]"), kind, found);
            }
        }
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Findings {
    errors: Vec<FieldError>,
}

impl Findings {
    fn add(&mut self, field: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) {
        // Values come from outside and end up in conditions; a long one would hide the reason.
        let value = value.into().chars().take(128).collect();
        self.errors.push(FieldError { field: field.into(), value, reason: reason.into() });
    }

    fn repeated<'a>(&mut self, field: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = std::collections::HashSet::new();
        for (index, name) in names.enumerate() {
            if !seen.insert(name) {
                self.add(format!("{field}[{index}]"), name, "is listed twice");
            }
        }
    }
}

const DNS_LABEL: &str =
    "must be a DNS label: at most 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit";

pub(crate) fn is_dns_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

pub(crate) fn is_kind(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn validate_kind(path: &str, kind: &KindRef, found: &mut Findings) {
    let (group, version) = kind.group_version();
    let in_core = group.is_empty() && !kind.api_version.contains('/');
    if !is_dns_label(version) || !(in_core || is_dns_subdomain(group)) {
        found.add(format!("{path}.apiVersion"), &kind.api_version, "must be `v1` or such as `batch/v1`");
    }
    if !is_kind(&kind.kind) {
        found.add(format!("{path}.kind"), &kind.kind, "must be a kind such as `Job`");
    }
}

fn validate_crd(path: &str, owned: &OwnedKind, found: &mut Findings) {
    if !owned.crd.is_object() {
        let what = kind_of(&owned.crd);
        found.add(path, what, "must be a whole CustomResourceDefinition; pack the plugin to put it in");
        return;
    }
    if owned.text("/apiVersion") != "apiextensions.k8s.io/v1" {
        found.add(format!("{path}.apiVersion"), owned.text("/apiVersion"), "must be apiextensions.k8s.io/v1");
    }
    if owned.text("/kind") != "CustomResourceDefinition" {
        found.add(format!("{path}.kind"), owned.text("/kind"), "must be CustomResourceDefinition");
    }
    // A group without a dot is reserved to Kubernetes; a CRD cannot define one.
    if !is_dns_subdomain(owned.group()) || !owned.group().contains('.') {
        found.add(format!("{path}.spec.group"), owned.group(), "must be a DNS name with a dot");
    }
    if !is_kind(owned.kind()) {
        found.add(format!("{path}.spec.names.kind"), owned.kind(), "must be a kind such as `Job`");
    }
    if !is_dns_label(owned.plural()) {
        found.add(format!("{path}.spec.names.plural"), owned.plural(), DNS_LABEL);
    }
    if !matches!(owned.text("/spec/scope"), "Namespaced" | "Cluster") {
        found.add(format!("{path}.spec.scope"), owned.text("/spec/scope"), "must be Namespaced or Cluster");
    }
    let name = format!("{}.{}", owned.plural(), owned.group());
    if owned.text("/metadata/name") != name {
        found.add(format!("{path}.metadata.name"), owned.text("/metadata/name"), format!("must be {name}"));
    }
    let versions = owned.crd.pointer("/spec/versions").and_then(Value::as_array);
    let stored = versions.into_iter().flatten().filter(|version| version["storage"] == Value::Bool(true));
    if stored.count() != 1 {
        found.add(format!("{path}.spec.versions"), "", "exactly one version must have `storage: true`");
    } else if !is_dns_label(owned.storage_version()) {
        found.add(format!("{path}.spec.versions"), owned.storage_version(), DNS_LABEL);
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The same value with every object's keys in order, so that its text does not depend on how serde_json was built
/// (its `preserve_order` feature may be switched on by any crate in a build).
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}
