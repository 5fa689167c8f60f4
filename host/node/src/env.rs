//! A container's environment: `env`, `valueFrom` and `envFrom`, resolved against ConfigMaps, Secrets and the Pod
//! itself. Reads the API through [`Objects`]; called once for each start of a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVarSource, ObjectFieldSelector, Pod, ResourceFieldSelector, Secret,
};
use kube::{Api, Client, ResourceExt};

use crate::expand::expand;
use crate::resources;

/// A reason for `CreateContainerConfigError` (or `FailedMount`, where a volume asks).
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{kind} {name:?} not found")]
    Missing { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {name}")]
    MissingKey { kind: &'static str, name: String, key: String },
    #[error("reading {kind} {name}: {source}")]
    Api { kind: &'static str, name: String, source: kube::Error },
    #[error("{0}")]
    Invalid(String),
}

/// The ConfigMaps and Secrets of one namespace.
pub(crate) struct Objects<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
}

impl Objects<'_> {
    /// A ConfigMap's entries; `None` when it is absent.
    pub(crate) async fn config_map(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, ConfigError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(name).await.map_err(|source| ConfigError::Api {
            kind: "configmap",
            name: name.to_owned(),
            source,
        })?;
        Ok(found.map(|map| {
            let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
            let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            text.chain(bytes).collect()
        }))
    }

    /// A Secret's entries; `None` when it is absent.
    pub(crate) async fn secret(&self, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, ConfigError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(name).await.map_err(|source| ConfigError::Api {
            kind: "secret",
            name: name.to_owned(),
            source,
        })?;
        Ok(found.map(|secret| {
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
        }))
    }
}

/// Resolves the environment of `container`, starting from `image` (the image's own variables).
pub(crate) async fn resolve(
    objects: &Objects<'_>,
    pod: &Pod,
    container: &Container,
    image: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut env = image.clone();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or("");
        let (kind, name, optional, entries) = if let Some(source) = &from.config_map_ref {
            ("configmap", &source.name, source.optional, objects.config_map(&source.name).await?)
        } else if let Some(source) = &from.secret_ref {
            ("secret", &source.name, source.optional, objects.secret(&source.name).await?)
        } else {
            continue;
        };
        match entries {
            Some(entries) => env.extend(entries.into_iter().map(|(key, value)| {
                (format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned())
            })),
            None if optional == Some(true) => {}
            None => return Err(ConfigError::Missing { kind, name: name.clone() }),
        }
    }
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (_, Some(source)) => value_from(objects, pod, container, source).await?,
            (Some(value), None) => Some(expand(value, &env)),
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            env.insert(var.name.clone(), value);
        }
    }
    Ok(env)
}

async fn value_from(
    objects: &Objects<'_>,
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
) -> Result<Option<String>, ConfigError> {
    if let Some(field) = &source.field_ref {
        return pod_field(pod, field).map(Some);
    }
    if let Some(field) = &source.resource_field_ref {
        return resource_field(pod, container, field).map(Some);
    }
    let (kind, name, key, optional, entries) = if let Some(key) = &source.config_map_key_ref {
        ("ConfigMap", &key.name, &key.key, key.optional, objects.config_map(&key.name).await?)
    } else if let Some(key) = &source.secret_key_ref {
        ("Secret", &key.name, &key.key, key.optional, objects.secret(&key.name).await?)
    } else {
        return Err(ConfigError::Invalid(
            "an environment variable has a valueFrom without a source".to_owned(),
        ));
    };
    match entries {
        Some(entries) => match entries.get(key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional == Some(true) => Ok(None),
            None => Err(ConfigError::MissingKey { kind, name: name.clone(), key: key.clone() }),
        },
        None if optional == Some(true) => Ok(None),
        None => Err(ConfigError::Missing { kind, name: name.clone() }),
    }
}

/// A field of the Pod, as the downward API names it.
pub(crate) fn pod_field(pod: &Pod, field: &ObjectFieldSelector) -> Result<String, ConfigError> {
    let path = field.field_path.as_str();
    let keyed = |map: &BTreeMap<String, String>, start: &str| {
        path.strip_prefix(start)
            .and_then(|rest| rest.strip_prefix("['"))
            .and_then(|rest| rest.strip_suffix("']"))
            .map(|key| map.get(key).cloned().unwrap_or_default())
    };
    let all = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
    };
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let value = match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => all(pod.labels()),
        "metadata.annotations" => all(pod.annotations()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" | "status.hostIPs" => {
            status.and_then(|status| status.host_ip.clone()).unwrap_or_else(|| crate::ADDRESS.to_owned())
        }
        "status.podIP" | "status.podIPs" => {
            status.and_then(|status| status.pod_ip.clone()).unwrap_or_else(|| crate::ADDRESS.to_owned())
        }
        _ => keyed(pod.labels(), "metadata.labels")
            .or_else(|| keyed(pod.annotations(), "metadata.annotations"))
            .ok_or_else(|| ConfigError::Invalid(format!("unsupported fieldPath: {path}")))?,
    };
    Ok(value)
}

/// A container's request or limit, divided as asked, rounded up.
pub(crate) fn resource_field(
    pod: &Pod,
    container: &Container,
    field: &ResourceFieldSelector,
) -> Result<String, ConfigError> {
    let invalid = |what: String| ConfigError::Invalid(what);
    let of = match &field.container_name {
        None => container,
        Some(name) => pod
            .spec
            .iter()
            .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
            .find(|container| container.name == *name)
            .ok_or_else(|| invalid(format!("container {name} not found")))?,
    };
    let (kind, resource) = field
        .resource
        .split_once('.')
        .ok_or_else(|| invalid(format!("unsupported container resource: {}", field.resource)))?;
    let quantities = of.resources.as_ref().and_then(|resources| match kind {
        "limits" => resources.limits.as_ref(),
        _ => resources.requests.as_ref(),
    });
    let value = match quantities.and_then(|quantities| quantities.get(resource)) {
        Some(quantity) => resources::thousandths(quantity)
            .ok_or_else(|| invalid(format!("cannot read the quantity {:?}", quantity.0)))?,
        // Without a limit the node's capacity is the limit.
        None if kind == "limits" => resources::capacity_thousandths(resource),
        None => 0,
    };
    let divisor = match &field.divisor {
        Some(divisor) if divisor.0 != "0" && !divisor.0.is_empty() => resources::thousandths(divisor)
            .filter(|divisor| *divisor > 0)
            .ok_or_else(|| invalid(format!("cannot read the divisor {:?}", divisor.0)))?,
        _ => 1000,
    };
    Ok(value.div_ceil(divisor).to_string())
}
