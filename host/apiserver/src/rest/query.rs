//! The query parameters of a request, parsed once.
//!
//! Used by the extractor in `rest::request`. Unknown parameters are ignored, as the real server does.

use crate::status::{ApiError, Cause};

/// Which versions of a list a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    NotOlderThan,
    Exact,
}

/// What becomes of dependents when an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

impl Propagation {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "Orphan" => Some(Self::Orphan),
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            _ => None,
        }
    }
}

/// What to do about fields that the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// The longest name of a field manager, in bytes.
const LONGEST_MANAGER: usize = 128;

/// Parsed query parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) label_selector: Option<String>,
    pub(crate) field_selector: Option<String>,
    pub(crate) limit: usize,
    pub(crate) continue_token: Option<String>,
    /// `None` is unset.
    pub(crate) resource_version: Option<u64>,
    pub(crate) version_match: Option<VersionMatch>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
    pub(crate) dry_run: bool,
    pub(crate) field_manager: Option<String>,
    pub(crate) field_validation: FieldValidation,
    pub(crate) force: bool,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) grace_period: Option<i64>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) pretty: Option<bool>,
    /// Every parameter as given, for subresources with parameters of their own.
    pub(crate) raw: Vec<(String, String)>,
}

impl Query {
    /// Parses the part after `?`.
    ///
    /// # Errors
    /// In words about `options`, the kind of options that the verb takes.
    pub(crate) fn parse(text: &str, options: &str) -> Result<Self, ApiError> {
        let mut query = Self { raw: decode(text), ..Self::default() };
        let raw = std::mem::take(&mut query.raw);
        let watches = raw.iter().find(|(name, _)| name == "watch").is_some_and(|(_, value)| flag(value));
        for (index, (name, value)) in raw.iter().enumerate() {
            // The first of several counts, as it did when the request was found to be allowed.
            if name != "dryRun" && raw[..index].iter().any(|(earlier, _)| earlier == name) {
                continue;
            }
            query.take(name, value, options).map_err(|error| match name.as_str() {
                // A real server has no code for this where it watches.
                "resourceVersion" if watches => {
                    ApiError::unnamed(error.message.trim_start_matches("invalid resource version: "))
                }
                _ => error,
            })?;
        }
        query.raw = raw;
        query.check()?;
        Ok(query)
    }

    /// A parameter that only one subresource knows.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.raw.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn take(&mut self, name: &str, value: &str, options: &str) -> Result<(), ApiError> {
        let given = (!value.is_empty()).then(|| value.to_owned());
        match name {
            "labelSelector" => self.label_selector = given,
            "fieldSelector" => self.field_selector = given,
            "limit" => self.limit = usize::try_from(number(value)?).unwrap_or(0),
            "continue" => self.continue_token = given,
            "resourceVersion" => {
                self.resource_version = if value.is_empty() { None } else { Some(revision(value)?) };
            }
            "resourceVersionMatch" => {
                self.version_match = match value {
                    "" => None,
                    "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                    "Exact" => Some(VersionMatch::Exact),
                    _ => {
                        let message = format!(
                            "Unsupported value: \"{value}\": supported values: \"Exact\", \"NotOlderThan\", \"\""
                        );
                        let cause = Cause::of("NotSupported", name, message);
                        return Err(ApiError::invalid_options("ListOptions", vec![cause]));
                    }
                };
            }
            "timeoutSeconds" => {
                self.timeout_seconds = u64::try_from(number(value)?).ok().filter(|seconds| *seconds > 0)
            }
            "watch" => self.watch = flag(value),
            "allowWatchBookmarks" => self.bookmarks = flag(value),
            "sendInitialEvents" => self.initial_events = Some(flag(value)),
            "dryRun" => self.dry_run = dry_run_of(&[value], options)?,
            "fieldManager" => {
                if value.len() > LONGEST_MANAGER {
                    let message = format!("Too long: may not be more than {LONGEST_MANAGER} bytes");
                    let cause = Cause::of("TooLong", name, message);
                    return Err(ApiError::invalid_options(options, vec![cause]));
                }
                self.field_manager = given;
            }
            "fieldValidation" => self.field_validation = field_validation(value, options)?,
            "force" => self.force = flag(value),
            "propagationPolicy" => self.propagation = Some(propagation_of(value)?),
            "gracePeriodSeconds" => self.grace_period = Some(number(value)?),
            "orphanDependents" => self.orphan_dependents = Some(flag(value)),
            "pretty" => self.pretty = Some(flag(value)),
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ApiError> {
        let refused = |why: &str| {
            let (field, why) = why.split_once(": ").unwrap_or(("", why));
            Err(ApiError::invalid_options("ListOptions", vec![Cause::of("Forbidden", field, why)]))
        };
        if self.watch {
            if self.initial_events.is_some() && self.version_match != Some(VersionMatch::NotOlderThan) {
                let field = "resourceVersionMatch";
                let why =
                    "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                let mut causes = vec![Cause::of("Forbidden", field, why)];
                if self.version_match == Some(VersionMatch::Exact) {
                    let why = "Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
                    causes.push(Cause::of("NotSupported", field, why));
                }
                return Err(ApiError::invalid_options("ListOptions", causes));
            }
            if self.version_match.is_some() && self.initial_events.is_none() {
                return refused(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
        } else if self.initial_events.is_some() {
            return refused("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
        } else if self.version_match.is_some() && self.resource_version.is_none() {
            return refused(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        } else if self.version_match == Some(VersionMatch::Exact) && self.resource_version == Some(0) {
            return refused(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
        Ok(())
    }
}

/// Splits and decodes `a=b&c=d`.
fn decode(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name, true), unescape(value, true))
        })
        .collect()
}

/// Undoes percent encoding; `plus` also turns `+` into a space, as in a query.
pub(crate) fn unescape(text: &str, plus: bool) -> String {
    // Nearly every part of a path is as it is written.
    if !text.contains('%') && (!plus || !text.contains('+')) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let decoded = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, decoded) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `true` as the real server reads it: anything but `false` and `0`.
pub(super) fn flag(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

fn number(value: &str) -> Result<i64, ApiError> {
    if value.is_empty() {
        return Ok(0);
    }
    value
        .parse()
        .map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing \"{value}\": invalid syntax")))
}

/// A resource version as text.
pub(crate) fn revision(value: &str) -> Result<u64, ApiError> {
    value.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: \"{value}\": strconv.ParseUint: parsing \"{value}\": invalid syntax"
        ))
    })
}

/// Whether a write is only tried.
pub(crate) fn dry_run_of(values: &[&str], options: &str) -> Result<bool, ApiError> {
    if values.iter().all(|value| value.is_empty() || *value == "All") {
        return Ok(values.contains(&"All"));
    }
    let shown = serde_json::Value::from(values.to_vec());
    let message = format!("Unsupported value: {shown}: supported values: \"All\"");
    Err(ApiError::invalid_options(options, vec![Cause::of("NotSupported", "dryRun", message)]))
}

fn field_validation(value: &str, options: &str) -> Result<FieldValidation, ApiError> {
    match value {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Ignore" => Ok(FieldValidation::Ignore),
        "Strict" => Ok(FieldValidation::Strict),
        _ => {
            let message = format!(
                "Unsupported value: \"{value}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
            );
            Err(ApiError::invalid_options(
                options,
                vec![Cause::of("NotSupported", "fieldValidation", message)],
            ))
        }
    }
}

/// A propagation policy by name.
pub(crate) fn propagation_of(value: &str) -> Result<Propagation, ApiError> {
    Propagation::parse(value).ok_or_else(|| {
        let message = format!(
            "Unsupported value: \"{value}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
        );
        ApiError::invalid_options("DeleteOptions", vec![Cause::of("NotSupported", "propagationPolicy", message)])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query =
            Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&limit=5&watch=1&dryRun=All", "ListOptions")
                .expect("valid");
        assert_eq!(query.label_selector.as_deref(), Some("a=b,c in (d)"));
        assert!(query.limit == 5 && query.watch && query.dry_run);
    }

    #[test]
    fn contradictions_are_refused() {
        for text in [
            "resourceVersionMatch=Exact",
            "sendInitialEvents=true",
            "watch=1&sendInitialEvents=true",
            "dryRun=x",
        ] {
            assert_eq!(Query::parse(text, "ListOptions").expect_err(text).code, 422, "{text}");
        }
        assert_eq!(Query::parse("resourceVersion=abc", "ListOptions").expect_err("refused").code, 400);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = Query::parse(&text, "ListOptions");
        }
    }
}
