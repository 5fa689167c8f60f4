//! What plugins may have of the cluster, as the sandbox's services: Secrets, and a key-value store that lies in Secrets
//! of the kernel's own. Rights were checked before these are asked.

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use kube::{Client, Error as KubeError};
use purlin_sandbox::contract::{HostError, KvItem};
use purlin_sandbox::service::{KeyValue, PluginId, Secrets};

use crate::api::API_VERSION;

/// The type of Secrets that hold what plugins store.
const TYPE: &str = "purlin.dev/plugin-store";

/// The most that one plugin may store, in bytes; a Secret holds 1 MiB.
const QUOTA: usize = 512 << 10;

/// Writes that meet another's are tried so often.
const ATTEMPTS: u32 = 8;

/// The annotation that counts writes, so that no version is ever given twice.
const WRITES: &str = "purlin.dev/writes";

/// Secrets of the cluster.
pub struct ClusterSecrets {
    client: Client,
}

impl ClusterSecrets {
    /// Read with the kernel's own rights.
    pub fn new(client: Client) -> Self {
        ClusterSecrets { client }
    }
}

#[async_trait]
impl Secrets for ClusterSecrets {
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, HostError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = secrets.get_opt(name).await.map_err(unavailable)?;
        let entries =
            |secret: Secret| secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
        Ok(found.map(|secret| entries(secret).collect()))
    }
}

/// A store of small values: one Secret for each plugin, which goes when the plugin goes.
pub struct SecretStore {
    client: Client,
    namespace: String,
}

impl SecretStore {
    /// Secrets in this namespace, which has to exist once something is written.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        SecretStore { client, namespace: namespace.into() }
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn read(&self, plugin: &PluginId) -> Result<Option<Secret>, HostError> {
        self.api().get_opt(&secret_name(plugin)).await.map_err(unavailable)
    }

    /// Changes the store and writes it, again where another write came in between. `change` says what to answer, and
    /// whether there is something to write.
    async fn write<T>(
        &self,
        plugin: &PluginId,
        mut change: impl FnMut(&mut Content) -> Result<(T, bool), HostError> + Send,
    ) -> Result<T, HostError> {
        for _ in 0..ATTEMPTS {
            let present = self.read(plugin).await?;
            let mut content = Content::of(present.as_ref());
            let (answer, changed) = change(&mut content)?;
            if !changed {
                return Ok(answer);
            }
            let written = match present {
                Some(mut secret) => {
                    content.put_into(&mut secret);
                    self.api().replace(&secret_name(plugin), &PostParams::default(), &secret).await
                }
                None => {
                    let mut secret = new_secret(plugin);
                    content.put_into(&mut secret);
                    self.api().create(&PostParams::default(), &secret).await
                }
            };
            match written {
                Ok(_) => return Ok(answer),
                Err(KubeError::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(HostError::Unavailable("too many writes at once".to_owned()))
    }
}

#[async_trait]
impl KeyValue for SecretStore {
    async fn get(&self, plugin: &PluginId, key: &str) -> Result<Option<KvItem>, HostError> {
        let content = Content::of(self.read(plugin).await?.as_ref());
        let item = content.items.get(&encoded(key)?);
        Ok(item.map(|(version, value)| KvItem { value: value.clone(), version: *version }))
    }

    async fn set(
        &self,
        plugin: &PluginId,
        key: &str,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, HostError> {
        let key = encoded(key)?;
        self.write(plugin, |content| {
            let present = content.items.get(&key).map_or(0, |(version, _)| *version);
            if let Some(expected) = expected.filter(|expected| *expected != present) {
                return Err(HostError::Conflict(format!(
                    "the present version is {present} and not {expected}"
                )));
            }
            content.writes += 1;
            content.items.insert(key.clone(), (content.writes, value.clone()));
            if content.size() > QUOTA {
                return Err(HostError::TooLarge(QUOTA as u64));
            }
            Ok((content.writes, true))
        })
        .await
    }

    async fn delete(&self, plugin: &PluginId, key: &str) -> Result<(), HostError> {
        let key = encoded(key)?;
        self.write(plugin, |content| Ok(((), content.items.remove(&key).is_some()))).await
    }

    async fn keys(&self, plugin: &PluginId, prefix: &str) -> Result<Vec<String>, HostError> {
        let content = Content::of(self.read(plugin).await?.as_ref());
        let mut keys: Vec<_> = content.items.keys().map(|key| decoded(key)).collect();
        keys.retain(|key| key.starts_with(prefix));
        keys.sort_unstable();
        Ok(keys)
    }
}

/// What a Secret holds: by encoded key, the version and the value.
struct Content {
    writes: u64,
    items: BTreeMap<String, (u64, Vec<u8>)>,
}

impl Content {
    fn of(secret: Option<&Secret>) -> Content {
        let annotations = secret.and_then(|secret| secret.metadata.annotations.as_ref());
        let writes =
            annotations.and_then(|all| all.get(WRITES)).and_then(|text| text.parse().ok()).unwrap_or(0);
        let data = secret.and_then(|secret| secret.data.as_ref());
        let item = |(key, value): (&String, &ByteString)| {
            let (version, value) = value.0.split_first_chunk::<8>()?;
            Some((key.clone(), (u64::from_be_bytes(*version), value.to_vec())))
        };
        Content { writes, items: data.into_iter().flatten().filter_map(item).collect() }
    }

    fn put_into(self, secret: &mut Secret) {
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(WRITES.to_owned(), self.writes.to_string());
        let item = |(key, (version, value)): (String, (u64, Vec<u8>))| {
            (key, ByteString([version.to_be_bytes().as_slice(), &value].concat()))
        };
        secret.data = Some(self.items.into_iter().map(item).collect());
    }

    fn size(&self) -> usize {
        self.items.iter().map(|(key, (_, value))| key.len() + value.len()).sum()
    }
}

fn secret_name(plugin: &PluginId) -> String {
    format!("purlin-store-{}", plugin.uid)
}

fn new_secret(plugin: &PluginId) -> Secret {
    let owner = OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: "Plugin".to_owned(),
        name: plugin.name.clone(),
        uid: plugin.uid.clone(),
        ..OwnerReference::default()
    };
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(plugin)),
            labels: Some(
                [
                    ("app.kubernetes.io/managed-by".to_owned(), "purlin".to_owned()),
                    ("purlin.dev/plugin".to_owned(), plugin.name.clone()),
                ]
                .into(),
            ),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE.to_owned()),
        ..Secret::default()
    }
}

/// A key as a Secret's, which may have no slash: `_` stands before `s` for a slash and before `u` for itself.
fn encoded(key: &str) -> Result<String, HostError> {
    let encoded = key.replace('_', "_u").replace('/', "_s");
    // The rule of Secrets, and the dot names that they refuse.
    if encoded.len() > 253 || encoded == "." || encoded.starts_with("..") {
        return Err(HostError::Invalid(format!("key {key:?} is too long or begins with two dots")));
    }
    Ok(encoded)
}

fn decoded(key: &str) -> String {
    key.replace("_s", "/").replace("_u", "_")
}

fn unavailable(error: KubeError) -> HostError {
    HostError::Unavailable(match error {
        KubeError::Api(status) => format!("the cluster answers: {}", status.message),
        _ => "the cluster cannot be reached".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{decoded, encoded};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_told_apart(a in "[a-z_/.-]{1,20}", b in "[a-z_/.-]{1,20}") {
            if let (Ok(left), Ok(right)) = (encoded(&a), encoded(&b)) {
                prop_assert_eq!(left == right, a == b);
                prop_assert_eq!(decoded(&left), a);
                prop_assert!(!left.contains('/'));
            }
        }
    }
}
