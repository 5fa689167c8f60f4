//! Where a component's model is, and which Secret opens the place.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{FieldError, Object as _, Selector, fault};
use purlin_serving::{mesh, storage};

use crate::names::{self, STORAGE_KEY, STORAGE_SECRET};
use crate::settings::{flag, variable};

/// What selects the service account whose Secrets open the model's place.
pub(crate) fn account(component: &Value) -> Selector {
    Selector {
        api_version: "v1".to_owned(),
        kind: "ServiceAccount".to_owned(),
        namespace: None,
        names: vec![account_name(component).to_owned()],
        labels: String::new(),
    }
}

fn account_name(component: &Value) -> &str {
    match (component.text(&["serviceAccountName"]), component.text(&["serviceAccount"])) {
        ("", "") => "default",
        ("", name) | (name, _) => name,
    }
}

/// The first Secret of the component's service account that is not one of its own tokens. KServe reads the Secrets to
/// see which one has credentials; a dialect that may read every Secret would be too high a price for that.
fn of_account(component: &Value, related: &[Value]) -> Option<String> {
    let name = account_name(component);
    let account = related.iter().find(|object| object.is("v1", "ServiceAccount") && object.name() == name)?;
    let secrets = account.items(&["secrets"]).iter().map(|secret| secret.text(&["name"]));
    let own = [format!("{name}-token-"), format!("{name}-dockercfg-")];
    let mut credentials =
        secrets.filter(|secret| !secret.is_empty() && !own.iter().any(|prefix| secret.starts_with(prefix)));
    credentials.next().map(str::to_owned)
}

/// The Secret that opens a place, and the one key of it that counts, where not all do.
struct Opener {
    secret: String,
    key: Option<String>,
}

/// What is said about a model's place in a component.
pub(crate) struct Place<'a> {
    /// The service.
    pub(crate) service: &'a Value,
    /// `spec.predictor` or the like: its service account counts.
    pub(crate) component: &'a Value,
    /// Has `storageUri`, `storage`, `args` and `env`: `spec.predictor.model`, or a container.
    pub(crate) model: &'a Value,
    /// The path of that.
    pub(crate) path: &'a str,
    /// Whether `--model_id` is to be fetched; a container does that by itself.
    pub(crate) hub: bool,
}

impl Place<'_> {
    /// `spec.source` of a Model, without the Secret; none where the component has no model of its own.
    ///
    /// # Errors
    /// A field that cannot be translated.
    pub(crate) fn uri(&self) -> Result<Option<String>, FieldError> {
        let uri = self.model.text(&["storageUri"]);
        let several = self.component.items(&["storageUris"]);
        let storage = self.model.at(&["storage"]);
        if !uri.is_empty() && !several.is_empty() {
            let reason = "set storageUri or storageUris, not both";
            return Err(fault::field(format!("{}.storageUri", self.path), uri, reason));
        }
        if let [first, rest @ ..] = several {
            if !rest.is_empty() {
                let reason = "a model has one source here: name one place that holds all its files";
                return Err(fault::field("spec.predictor.storageUris", rest[0].text(&["uri"]), reason));
            }
            return Ok(Some(with_scheme(first.text(&["uri"]))));
        }
        match storage {
            Some(storage) if uri.is_empty() => self.of_storage(storage).map(Some),
            Some(storage) if storage.at(&["path"]).is_some() => {
                let reason = "set storageUri or storage.path, not both";
                Err(fault::field(format!("{}.storage.path", self.path), storage.text(&["path"]), reason))
            }
            _ if uri.is_empty() => Ok(self.of_environment()),
            _ => Ok(Some(with_scheme(uri))),
        }
    }

    /// `STORAGE_URI` says it for a container; `--model_id` names a repository on the hub.
    fn of_environment(&self) -> Option<String> {
        if let Some(uri) = variable(self.model, "STORAGE_URI") {
            return Some(with_scheme(uri));
        }
        let args = self.model.items(&["args"]);
        if !self.hub {
            return None;
        }
        let repository = flag(args, "--model_id").filter(|id| !id.is_empty())?;
        if repository.starts_with('/') {
            return Some(with_scheme(&repository));
        }
        Some(match flag(args, "--model_revision").filter(|revision| !revision.is_empty()) {
            Some(revision) => format!("hf://{repository}:{revision}"),
            None => format!("hf://{repository}"),
        })
    }

    fn of_storage(&self, named: &Value) -> Result<String, FieldError> {
        let opened = !self.named_entry().is_empty() || names::is_mesh(self.service);
        storage::uri(named, named.text(&["path"]), &format!("{}.storage", self.path), opened)
    }

    /// The entry of the storage Secret that the user names, or nothing.
    fn named_entry(&self) -> &str {
        match self.model.text(&["storage", "key"]) {
            "" if names::is_mesh(self.service) => self.service.annotation(STORAGE_KEY).unwrap_or_default(),
            key => key,
        }
    }

    /// `spec.source` of a Model.
    ///
    /// # Errors
    /// A field that cannot be translated.
    pub(crate) fn source(&self, related: &[Value]) -> Result<Option<Value>, FieldError> {
        let Some(uri) = self.uri()? else { return Ok(None) };
        let mut source = json!({"uri": uri.as_str()});
        if let Some(Opener { secret, key }) = self.opener(&uri, related) {
            source["secret"] = secret.into();
            if let Some(key) = key {
                source["secretKey"] = key.into();
            }
        }
        Ok(Some(source))
    }

    fn opener(&self, uri: &str, related: &[Value]) -> Option<Opener> {
        let named = self.named_entry();
        let entry = match names::is_mesh(self.service) {
            true => mesh::entry(named, uri),
            false => storage::entry(named, uri),
        };
        if let Some(key) = entry {
            let secret = self.service.annotation(STORAGE_SECRET).unwrap_or(storage::SECRET);
            return Some(Opener { secret: secret.to_owned(), key: Some(key.to_owned()) });
        }
        let of_account = || of_account(self.component, related).map(|secret| Opener { secret, key: None });
        if uri.starts_with("hf:") { self.token().or_else(of_account) } else { of_account() }
    }

    /// The Secret that the hub's token is read from, and the token's key in it.
    fn token(&self) -> Option<Opener> {
        let tokens = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
        let mut variables = self.model.items(&["env"]).iter();
        variables.find_map(|variable| {
            let text = |field: &str| variable.text(&["valueFrom", "secretKeyRef", field]);
            let (secret, key) = (text("name"), text("key"));
            let is_token = tokens.contains(&variable.text(&["name"])) && !secret.is_empty();
            let key = (!key.is_empty()).then(|| key.to_owned());
            is_token.then(|| Opener { secret: secret.to_owned(), key })
        })
    }
}

/// A path is a file.
fn with_scheme(uri: &str) -> String {
    if uri.starts_with('/') { format!("file://{uri}") } else { uri.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(component: &Value, related: &[Value]) -> Result<Option<Value>, FieldError> {
        let model = &component["model"];
        Place { service: &json!({}), component, model, path: "spec.predictor.model", hub: true }
            .source(related)
    }

    fn uri(component: Value) -> Result<String, String> {
        match source(&component, &[]) {
            Ok(found) => Ok(found.map(|source| source.text(&["uri"]).to_owned()).unwrap_or_default()),
            Err(error) => Err(error.field),
        }
    }

    #[test]
    fn every_way_to_name_a_place() {
        for (component, expected) in [
            (json!({"model": {"storageUri": "gs://a/b"}}), "gs://a/b"),
            (json!({"model": {"storageUri": "/mnt/x"}}), "file:///mnt/x"),
            (json!({"storageUris": [{"uri": "pvc://a/b"}], "model": {}}), "pvc://a/b"),
            (
                json!({"model": {"storage": {"key": "k", "path": "a/b", "parameters": {"type": "s3", "bucket": "c"}}}}),
                "s3://c/a/b",
            ),
            (json!({"model": {"storage": {"key": "k", "path": "b"}}}), "storage:///b"),
            (json!({"model": {"args": ["--model_id=a/b"]}}), "hf://a/b"),
            (json!({"model": {"args": ["--model_id", "a/b", "--model_revision=v1"]}}), "hf://a/b:v1"),
            (json!({"model": {"args": ["--model_id=/mnt/models"]}}), "file:///mnt/models"),
            (json!({"model": {"env": [{"name": "STORAGE_URI", "value": "s3://a"}]}}), "s3://a"),
            (json!({"model": {}}), ""),
        ] {
            assert_eq!(uri(component.clone()).as_deref(), Ok(expected), "{component}");
        }
    }

    #[test]
    fn what_cannot_be_translated_is_named() {
        for (component, field) in [
            (
                json!({"model": {"storageUri": "a", "storage": {"path": "b"}}}),
                "spec.predictor.model.storage.path",
            ),
            (
                json!({"model": {"storage": {"parameters": {"type": "s3"}}}}),
                "spec.predictor.model.storage.parameters.bucket",
            ),
            (
                json!({"model": {"storage": {"parameters": {"type": "ftp"}}}}),
                "spec.predictor.model.storage.parameters.type",
            ),
            (json!({"model": {}, "storageUris": [{"uri": "a"}, {"uri": "b"}]}), "spec.predictor.storageUris"),
        ] {
            assert_eq!(uri(component.clone()), Err(field.to_owned()), "{component}");
        }
    }

    #[test]
    fn secrets_come_from_the_key_the_account_or_the_token() {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"},
            "secrets": [{"name": "sa-token-x1"}, {"name": "s3creds"}, {"name": "other"}],
        });
        let secret = |component: Value| {
            let source = source(&component, std::slice::from_ref(&account)).ok().flatten()?;
            let secret = source["secret"].as_str()?;
            Some(source["secretKey"].as_str().map_or(secret.to_owned(), |key| format!("{secret}/{key}")))
        };
        let model = json!({"storageUri": "s3://a"});
        assert_eq!(secret(json!({"serviceAccountName": "sa", "model": model})).as_deref(), Some("s3creds"));
        assert_eq!(secret(json!({"model": model})), None, "the default account is another");
        let keyed = json!({"storageUri": "s3://a", "storage": {"key": "k"}});
        assert_eq!(secret(json!({"model": keyed})).as_deref(), Some("storage-config/k"));
        let default = json!({"storage": {"path": "a"}});
        assert_eq!(secret(json!({"model": default})).as_deref(), Some("storage-config/default"));
        let token = json!([{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "t"}}}]);
        let model = json!({"storageUri": "hf://a/b", "env": token});
        assert_eq!(secret(json!({"model": model})).as_deref(), Some("hf/t"));
    }

    #[test]
    fn models_that_share_an_address_have_an_entry_by_default() {
        let secret = |annotations: Value, model: Value| {
            let mut service = json!({"metadata": {"annotations": annotations}});
            service["metadata"]["annotations"][names::DEPLOYMENT_MODE] = "ModelMesh".into();
            let place =
                Place { service: &service, component: &json!({}), model: &model, path: "p", hub: false };
            let source = place.source(&[]).ok().flatten()?;
            Some((source.text(&["uri"]).to_owned(), source.text(&["secretKey"]).to_owned()))
        };
        let pair = |uri: &str, key: &str| Some((uri.to_owned(), key.to_owned()));
        let uri = json!({"storageUri": "s3://a/b"});
        assert_eq!(secret(json!({}), uri.clone()), pair("s3://a/b", "default_s3"));
        let annotated = json!({STORAGE_KEY: "localMinIO"});
        assert_eq!(secret(annotated.clone(), uri), pair("s3://a/b", "localMinIO"));
        let storage = json!({"storage": {"path": "b", "parameters": {"type": "s3"}}});
        assert_eq!(secret(annotated, storage), pair("s3:///b", "localMinIO"));
        assert_eq!(secret(json!({}), json!({"storageUri": "pvc://a/b"})), pair("pvc://a/b", ""));
    }
}
