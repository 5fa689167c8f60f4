//! The policies that hold: PluginPolicy objects with their keys and pull secrets read.
//!
//! A policy is read once for each version of it, by whoever needs it first: a plugin's pass or the policy loop's. So no
//! plugin is judged before every policy that is known has been read, also right after a start.
//!
//! # Guarantees
//! A key that cannot be read never makes a rule weaker: the rule stays and says which key is missing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::{Client, Error as KubeError, ResourceExt};
use purlin_registry::auth::{Credentials, DockerConfig};
use purlin_registry::mirror::MirrorRule;
use purlin_registry::policy::{ReadyRule, SecretKeyRef};
use purlin_registry::{Policy, Reference};
use tokio::sync::Mutex;

use super::TAG_CHECK;
use crate::api::{Change, PluginPolicy, PluginPolicySpec, set_condition};
use crate::cache::{Kind, ParseError};
use crate::event::EventRecorder;
use crate::key::ObjectKey;
use crate::queue::WorkQueue;
use crate::reconcile::{Outcome, Reconciler};
use crate::shard::{Domain, Holdings, Shards};
use crate::stage::PluginSource;

/// The entry of a pull secret.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// Why a pass over a policy failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// The object is not a PluginPolicy.
    #[error(transparent)]
    Read(#[from] ParseError),
    /// The status could not be written.
    #[error("could not write the status of policy {policy}")]
    Status {
        /// The policy.
        policy: String,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
}

/// One policy, read.
#[derive(Clone)]
struct Compiled {
    /// UID and generation of what was read.
    from: (String, Option<i64>),
    rules: Vec<ReadyRule>,
    credentials: Vec<(String, Credentials)>,
    mirrors: Vec<MirrorRule>,
    problems: Vec<String>,
}

#[derive(Default)]
struct State {
    compiled: BTreeMap<String, Compiled>,
    /// Goes up with each change.
    revision: u64,
    policy: Arc<Policy>,
}

/// All policies. Shared by the plugin loop and the policy loop.
pub(crate) struct Policies {
    client: Client,
    kind: Arc<Kind>,
    source: Arc<dyn PluginSource>,
    state: Mutex<State>,
}

impl Policies {
    pub(crate) fn new(client: Client, kind: Arc<Kind>, source: Arc<dyn PluginSource>) -> Self {
        Policies { client, kind, source, state: Mutex::default() }
    }

    /// Where the plugins come from that are judged.
    pub(crate) fn source(&self) -> Arc<dyn PluginSource> {
        Arc::clone(&self.source)
    }

    /// What holds now, and a number that is another one after each change.
    pub(crate) async fn current(&self) -> (Arc<Policy>, u64) {
        self.kind.synced().await;
        let mut state = self.state.lock().await;
        self.update(&mut state, None).await;
        (Arc::clone(&state.policy), state.revision)
    }

    /// Reads a policy again, as its Secrets may have changed. Returns what is wrong with it, and whether anything changed.
    async fn refresh(&self, name: &str) -> (Vec<String>, bool) {
        let mut state = self.state.lock().await;
        let before = state.revision;
        self.update(&mut state, Some(name)).await;
        let problems = state.compiled.get(name).map(|compiled| compiled.problems.clone());
        (problems.unwrap_or_default(), state.revision != before)
    }

    /// Brings the state up to what the cache has; `again` is read also where its version is known.
    async fn update(&self, state: &mut State, again: Option<&str>) {
        let objects = self.kind.read(|store| store.all());
        let mut changed = false;
        let mut names = Vec::with_capacity(objects.len());
        for cached in objects.iter().filter(|cached| !cached.is_deleting()) {
            let name = cached.key().name.clone();
            names.push(name.clone());
            let from = (cached.uid().to_owned(), cached.object().metadata.generation);
            let known = state.compiled.get(&name).is_some_and(|compiled| compiled.from == from);
            if known && again != Some(name.as_str()) {
                continue;
            }
            let compiled = match cached.typed::<PluginPolicy>() {
                Ok(policy) => self.compile(&name, from, &policy.spec).await,
                Err(error) => {
                    // What it demanded is not known; what it demanded before goes on, rather than nothing.
                    tracing::error!(policy = name, %error, "a PluginPolicy cannot be read");
                    continue;
                }
            };
            if state.compiled.get(&name).is_none_or(|before| !before.same(&compiled)) {
                changed = true;
            }
            state.compiled.insert(name, compiled);
        }
        let before = state.compiled.len();
        state.compiled.retain(|name, _| names.contains(name));
        if changed || state.compiled.len() != before {
            state.revision += 1;
            let all = || state.compiled.values();
            state.policy =
                Arc::new(Policy { rules: all().flat_map(|compiled| compiled.rules.clone()).collect() });
            let credentials = all().flat_map(|compiled| compiled.credentials.clone()).collect();
            let mirrors = all().flat_map(|compiled| compiled.mirrors.clone()).collect();
            self.source.use_access(credentials, mirrors);
        }
    }

    async fn compile(&self, name: &str, from: (String, Option<i64>), spec: &PluginPolicySpec) -> Compiled {
        let mut problems = Vec::new();
        let mut secrets = HashMap::new();
        let references =
            spec.rules.iter().flat_map(|rule| &rule.keys).filter_map(|key| key.secret_ref.as_ref());
        for reference in references {
            secrets.insert(reference.clone(), self.entry(reference).await);
        }
        let rules: Vec<_> = spec
            .rules
            .iter()
            .map(|rule| {
                ReadyRule::read(name, rule, |reference| {
                    let found = secrets.get(reference).cloned();
                    found.unwrap_or_else(|| Err("it was not read".to_owned()))
                })
            })
            .collect();
        for (at, rule) in rules.iter().enumerate() {
            problems.extend(rule.problems.iter().map(|problem| format!("spec.rules[{at}]: {problem}")));
        }
        let mut credentials = Vec::new();
        for (at, secret) in spec.pull_secrets.iter().enumerate() {
            let shown = format!("Secret {}/{}", secret.namespace, secret.name);
            let text = self.read(&secret.namespace, &secret.name, DOCKER_CONFIG).await;
            let entries = text.and_then(|text| {
                let config = DockerConfig::parse(&text, &shown).map_err(|error| error.to_string())?;
                Ok(config.entries())
            });
            match entries {
                Ok(entries) => credentials.extend(entries),
                Err(problem) => problems.push(format!("spec.pullSecrets[{at}]: {problem}")),
            }
        }
        for (at, rule) in spec.mirrors.iter().enumerate() {
            for mirror in &rule.mirrors {
                // Any version will do: what is asked is whether the name is one.
                let text = format!("{}/x:1", mirror.trim_end_matches('/'));
                if let Err(error) = text.parse::<Reference>() {
                    problems.push(format!("spec.mirrors[{at}].mirrors: {mirror:?}: {error}"));
                }
            }
        }
        Compiled { from, rules, credentials, mirrors: spec.mirrors.clone(), problems }
    }

    async fn entry(&self, reference: &SecretKeyRef) -> Result<String, String> {
        let bytes = self.read(&reference.namespace, &reference.name, &reference.key).await?;
        String::from_utf8(bytes).map_err(|_| {
            let SecretKeyRef { namespace, name, key } = reference;
            format!("the entry {key:?} of Secret {namespace}/{name} is no text")
        })
    }

    async fn read(&self, namespace: &str, name: &str, key: &str) -> Result<Vec<u8>, String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = api
            .get_opt(name)
            .await
            .map_err(|error| format!("cannot read Secret {namespace}/{name}: {error}"))?
            .ok_or_else(|| format!("there is no Secret {namespace}/{name}"))?;
        let entry = secret.data.and_then(|mut data| data.remove(key));
        entry.map(|bytes| bytes.0).ok_or_else(|| format!("Secret {namespace}/{name} has no entry {key:?}"))
    }
}

impl Compiled {
    /// Whether it means the same, whatever version it was read from.
    fn same(&self, other: &Compiled) -> bool {
        self.rules == other.rules
            && self.credentials == other.credentials
            && self.mirrors == other.mirrors
            && self.problems == other.problems
    }
}

/// Reconciles PluginPolicies: says whether each can be used, and has every plugin judged again when one changes.
pub(crate) struct PolicyLoop {
    client: Client,
    policies: Arc<Policies>,
    plugins: Arc<Kind>,
    queue: Arc<WorkQueue<ObjectKey>>,
    events: EventRecorder,
    holdings: Holdings,
}

impl PolicyLoop {
    pub(crate) fn new(
        client: Client,
        policies: Arc<Policies>,
        plugins: Arc<Kind>,
        queue: Arc<WorkQueue<ObjectKey>>,
        events: EventRecorder,
        holdings: Holdings,
    ) -> Self {
        PolicyLoop { client, policies, plugins, queue, events, holdings }
    }
}

#[async_trait]
impl Reconciler for PolicyLoop {
    type Key = ObjectKey;
    type Error = PolicyError;

    fn name(&self) -> &str {
        "pluginpolicy"
    }

    fn domain(&self, _: &ObjectKey, _: Shards) -> Option<Domain> {
        None
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.policies.kind.read(|store| store.keys().into_iter().collect())
    }

    async fn reconcile(&self, key: &ObjectKey, _: u32) -> Result<Outcome, PolicyError> {
        self.policies.kind.synced().await;
        let (problems, changed) = self.policies.refresh(&key.name).await;
        let plugins = self.plugins.read(|store| store.keys());
        let found = self.policies.kind.read(|store| store.get(key)).filter(|cached| !cached.is_deleting());
        let Some(cached) = found else {
            requeue(&self.queue, plugins).await;
            return Ok(Outcome::Settled);
        };
        let policy = cached.typed::<PluginPolicy>()?;
        let mut status = policy.status.clone().unwrap_or_default();
        let generation = policy.metadata.generation;
        status.observed_generation = generation;
        let change = if problems.is_empty() {
            let message = "every key, mirror and Secret in it can be used".to_owned();
            Change { kind: "Ready", status: Some(true), reason: "Usable", message, generation }
        } else {
            let message = problems.join("; ");
            Change { kind: "Ready", status: Some(false), reason: "NotUsable", message, generation }
        };
        set_condition(&mut status.conditions, change, Timestamp::now());
        // A plugin's pass may have been the first to read it: then the status tells that it is new.
        let fresh = policy.status.as_ref() != Some(&status);
        if changed || fresh {
            requeue(&self.queue, plugins).await;
        }
        // Every replica has to know the policies; one of them says how they are.
        if fresh && self.holdings.holds(Domain::Leader) {
            if !problems.is_empty() {
                self.events.tell(policy.as_ref(), true, "NotUsable", &problems.join("; "));
            }
            let mut object = policy.as_ref().clone();
            object.status = Some(status);
            let api: Api<PluginPolicy> = Api::all(self.client.clone());
            match api.replace_status(&policy.name_any(), &PostParams::default(), &object).await {
                Ok(_) => {}
                Err(KubeError::Api(status)) if status.code == 404 => {}
                Err(source) => return Err(PolicyError::Status { policy: policy.name_any(), source }),
            }
        }
        // Secrets are not watched: that would need the right to read all of them.
        Ok(Outcome::After(TAG_CHECK))
    }
}

async fn requeue(queue: &Arc<WorkQueue<ObjectKey>>, keys: impl IntoIterator<Item = ObjectKey>) {
    for key in keys {
        queue.add(key).await;
    }
}
