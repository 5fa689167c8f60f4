//! The Secret that opens a Model's source.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};
use purlin_kernel::api::Model;

use crate::source::{Credentials, SourceError};

/// Reads the Secret that `spec.source.secret` names; none where it names none.
///
/// # Errors
/// The Secret is not there or cannot be read. Both may pass.
pub(crate) async fn credentials(client: &Client, model: &Model) -> Result<Option<Credentials>, SourceError> {
    let Some(source) = &model.spec.source else { return Ok(None) };
    let Some(name) = &source.secret else { return Ok(None) };
    let namespace = model.namespace().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let found = api.get_opt(name).await.map_err(|error| SourceError {
        reason: "SecretUnreadable",
        ..SourceError::passing(format!("spec.source.secret: the Secret {name:?} cannot be read: {error}"))
    })?;
    let Some(secret) = found else {
        let message =
            format!("spec.source.secret: there is no Secret {name:?} in the namespace {namespace:?}");
        return Err(SourceError { reason: "SecretNotFound", ..SourceError::passing(message) });
    };
    let annotations = secret.metadata.annotations.unwrap_or_default();
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    Credentials::from_secret(data, annotations, source.secret_key.as_deref()).map(Some)
}
