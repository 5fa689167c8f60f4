//! What is wrong with one field, in the words that a Kubernetes API server uses.

use std::fmt;

use serde_json::Value;

/// The kind of an error, which decides its text and the `reason` of its `StatusCause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A field that must be there is not.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value has the wrong type.
    TypeInvalid,
    /// The value is not one of those that are supported.
    NotSupported,
    /// The value stands twice.
    Duplicate,
    /// What the value names is not there.
    NotFound,
    /// The value may not be set.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// There are too many values.
    TooMany,
}

impl FieldErrorKind {
    /// The `reason` of the `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

/// One error. Its text is `<path>: <kind>: <value>: <detail>`, as far as these are given.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// The field, such as `spec.containers[0].name`.
    pub path: String,
    /// Which kind of error.
    pub kind: FieldErrorKind,
    /// The value, as it is shown; `None` where the kind shows none.
    pub value: Option<String>,
    /// What is wrong.
    pub detail: String,
}

impl FieldError {
    /// A field that must be there.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::Required, value: None, detail: detail.into() }
    }

    /// A value that breaks a rule.
    pub fn invalid(path: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self::of(FieldErrorKind::Invalid, path, value, detail)
    }

    /// A value of one kind of error, shown with it.
    pub fn of(
        kind: FieldErrorKind,
        path: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> Self {
        Self { path: path.into(), kind, value: Some(shown(value)), detail: detail.into() }
    }

    /// A value that may not be set.
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::Forbidden, value: None, detail: detail.into() }
    }

    /// A value that is not among those that are supported, which are shown in the order given.
    pub fn not_supported(path: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|one| format!("\"{one}\"")).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::of(FieldErrorKind::NotSupported, path, value, detail)
    }

    /// A value that stands twice.
    pub fn duplicate(path: impl Into<String>, value: &Value) -> Self {
        Self::of(FieldErrorKind::Duplicate, path, value, "")
    }

    /// The message of a `StatusCause`: the text without the path.
    pub fn message(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path, self.message())
    }
}

/// Several errors in one text, as a `Status` message carries them: alone, or in brackets.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// A value as error texts show it: strings quoted, everything else as JSON.
pub fn shown(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_those_of_the_api_server() {
        let unsupported = FieldError::not_supported("spec.type", &json!("x"), &["b", "a"]);
        assert_eq!(
            unsupported.to_string(),
            r#"spec.type: Unsupported value: "x": supported values: "b", "a""#
        );
        assert_eq!(FieldError::required("spec.a", "").to_string(), "spec.a: Required value");
        let both = [FieldError::required("a", ""), FieldError::required("b", "c")];
        assert_eq!(aggregate(&both), "[a: Required value, b: Required value: c]");
    }
}
