//! What the kernel says of a Model, in the words of the user, who wrote other fields.

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

#[cfg(test)]
mod tests {
    use super::Written;

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
