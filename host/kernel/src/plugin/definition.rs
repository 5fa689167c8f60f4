//! Installs the CustomResourceDefinitions of a plugin's kinds, and of the kernel's own.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error as KubeError};
use serde_json::Value;

/// How long a definition may take to be served.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// Why a definition is not there.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The server did not take it.
    #[error("could not apply the CustomResourceDefinition {name}")]
    Apply {
        /// Its name.
        name: String,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
    /// It has no name.
    #[error("a CustomResourceDefinition without metadata.name")]
    Nameless,
    /// It is not served.
    #[error("the CustomResourceDefinition {name} was applied but is not served: {why}")]
    NotEstablished {
        /// Its name.
        name: String,
        /// What the server says.
        why: String,
    },
}

/// Applies definitions as a field manager and waits until the server serves them.
///
/// # Errors
/// One of them was refused, or is not served in time.
pub(crate) async fn install(
    client: &Client,
    manager: &str,
    definitions: &[Value],
) -> Result<(), DefinitionError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut names = Vec::with_capacity(definitions.len());
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().ok_or(DefinitionError::Nameless)?;
        let mut definition = definition.clone();
        if let Some(fields) = definition.as_object_mut() {
            fields.remove("status");
        }
        api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(&definition))
            .await
            .map_err(|source| DefinitionError::Apply { name: name.to_owned(), source })?;
        names.push(name.to_owned());
    }
    for name in names {
        established(&api, &name).await?;
    }
    Ok(())
}

/// Makes the namespaces that are missing. One that is there is left as it is, whoever made it.
///
/// # Errors
/// One of them could not be made.
pub(crate) async fn ensure_namespaces(client: &Client, namespaces: &[String]) -> Result<(), KubeError> {
    let api: Api<Namespace> = Api::all(client.clone());
    for name in namespaces {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        match api.create(&PostParams::default(), &namespace).await {
            Ok(_) => {}
            Err(KubeError::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn established(api: &Api<CustomResourceDefinition>, name: &str) -> Result<(), DefinitionError> {
    let deadline = tokio::time::Instant::now() + ESTABLISHED_WITHIN;
    loop {
        let crd =
            api.get(name).await.map_err(|source| DefinitionError::Apply { name: name.to_owned(), source })?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            return Ok(());
        }
        let refused = conditions.iter().find(|c| c.type_ == "NamesAccepted" && c.status == "False");
        if refused.is_some() || tokio::time::Instant::now() >= deadline {
            let why =
                refused.and_then(|c| c.message.clone()).unwrap_or_else(|| "it took too long".to_owned());
            return Err(DefinitionError::NotEstablished { name: name.to_owned(), why });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
