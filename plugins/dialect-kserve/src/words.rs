//! What the kernel says of a Model, in the words of the user, who wrote other fields.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::Value;

use crate::predictor::described;

/// Where the user wrote what a Model was made from.
pub(crate) struct Written<'a> {
    /// The field with the place of the model.
    pub(crate) source: &'a str,
    /// What is in it.
    pub(crate) uri: &'a str,
    /// The field with the format, where there is one.
    pub(crate) format: Option<&'a str>,
}

impl Written<'_> {
    /// A message about the Model, as one about the user's fields.
    pub(crate) fn told(&self, message: &str) -> String {
        let mut message = message.replace("spec.source.uri", self.source);
        if let Some(format) = self.format {
            message = message.replace("spec.format.name", format);
        }
        // A place that cannot be read is named by itself.
        match !self.uri.is_empty() && message.starts_with(self.uri) {
            true => format!("{}: {message}", self.source),
            false => message,
        }
    }
}

/// A message about the Model of an InferenceService's predictor, as one about the predictor's fields.
pub(crate) fn of_predictor(service: &Value, message: &str) -> String {
    let Some(described) = described(&service["spec"]["predictor"]) else { return message.to_owned() };
    let path = format!("spec.predictor.{}", described.key);
    let uri = described.model.text(&["storageUri"]);
    let stored = uri.is_empty() && described.model.at(&["storage"]).is_some();
    let source = if stored { format!("{path}.storage") } else { format!("{path}.storageUri") };
    // A predictor of the older form has its format as the name of a field.
    let format = if described.key == "model" { format!("{path}.modelFormat.name") } else { path };
    Written { source: &source, uri, format: Some(&format) }.told(message)
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::json;

    use super::{Written, of_predictor};

    #[test]
    fn a_predictor_s_fields_are_named_as_they_were_written() {
        let said = "spec.source.uri: a: spec.format.name: b";
        for (predictor, told) in [
            (
                json!({"model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://x"}}),
                "spec.predictor.model.storageUri: a: spec.predictor.model.modelFormat.name: b",
            ),
            (
                json!({"model": {"modelFormat": {"name": "onnx"}, "storage": {"path": "x"}}}),
                "spec.predictor.model.storage: a: spec.predictor.model.modelFormat.name: b",
            ),
            (
                json!({"sklearn": {"storageUri": "s3://x"}}),
                "spec.predictor.sklearn.storageUri: a: spec.predictor.sklearn: b",
            ),
            (json!({"containers": []}), said),
        ] {
            assert_eq!(of_predictor(&json!({"spec": {"predictor": predictor}}), said), told);
        }
    }

    #[test]
    fn the_users_fields_take_the_place_of_the_models() {
        let written =
            Written { source: "spec.model.uri", uri: "pvc://a", format: Some("spec.model.framework") };
        for (said, told) in [
            ("spec.source.uri: it is empty", "spec.model.uri: it is empty"),
            ("spec.format.name: unknown", "spec.model.framework: unknown"),
            ("pvc://a: there is no \"a\"", "spec.model.uri: pvc://a: there is no \"a\""),
            ("something else", "something else"),
        ] {
            assert_eq!(written.told(said), told);
        }
    }
}
