//! Label selectors in kubectl's syntax: `app=web,tier!=cache,env in (a,b),!legacy,owner`.
//!
//! Dialects send them; the cache matches objects against them. Parsing takes any text and never panics.

use std::collections::{BTreeMap, BTreeSet};

/// A conjunction of requirements on labels. The empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Equals(String, String),
    Differs(String, String),
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Missing(String),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no label requirement; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key"
)]
pub struct SelectorError(String);

impl LabelSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// The text is none; the error names the part.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parts = split(text);
        let requirements = parts.into_iter().filter(|part| !part.trim().is_empty()).map(requirement);
        Ok(LabelSelector { requirements: requirements.collect::<Result<_, _>>()? })
    }

    /// Whether labels satisfy every requirement.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |key: &str| labels.and_then(|labels| labels.get(key));
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::Equals(key, wanted) => value(key) == Some(wanted),
            Requirement::Differs(key, unwanted) => value(key) != Some(unwanted),
            Requirement::In(key, wanted) => value(key).is_some_and(|value| wanted.contains(value)),
            Requirement::NotIn(key, unwanted) => value(key).is_none_or(|value| !unwanted.contains(value)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Missing(key) => value(key).is_none(),
        })
    }

    /// A label that must have one value, by which candidates can be looked up.
    pub fn equality(&self) -> Option<(&str, &str)> {
        self.requirements.iter().find_map(|requirement| match requirement {
            Requirement::Equals(key, value) => Some((key.as_str(), value.as_str())),
            Requirement::Differs(..)
            | Requirement::In(..)
            | Requirement::NotIn(..)
            | Requirement::Exists(_)
            | Requirement::Missing(_) => None,
        })
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let part = part.trim();
    let wrong = || SelectorError(part.to_owned());
    let key = |text: &str| {
        let text = text.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if !text.is_empty() && text.chars().all(fits) { Ok(text.to_owned()) } else { Err(wrong()) }
    };
    let value = |text: &str| {
        let text = text.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.chars().all(fits) { Ok(text.to_owned()) } else { Err(wrong()) }
    };
    if let Some(open) = part.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        let (head, values) = open;
        let values = values.split(',').map(value).collect::<Result<BTreeSet<_>, _>>()?;
        let head = head.trim_end();
        return match head.strip_suffix("notin").or_else(|| head.strip_suffix("in")) {
            Some(rest) if !rest.ends_with(char::is_whitespace) => Err(wrong()),
            Some(rest) if head.ends_with("notin") => Ok(Requirement::NotIn(key(rest)?, values)),
            Some(rest) => Ok(Requirement::In(key(rest)?, values)),
            None => Err(wrong()),
        };
    }
    if let Some((left, right)) = part.split_once("!=") {
        return Ok(Requirement::Differs(key(left)?, value(right)?));
    }
    if let Some((left, right)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::Equals(key(left)?, value(right)?));
    }
    match part.strip_prefix('!') {
        Some(rest) => Ok(Requirement::Missing(key(rest)?)),
        None => Ok(Requirement::Exists(key(part)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::LabelSelector;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LabelSelector::parse(selector).unwrap().matches(Some(&labels))
    }

    #[test]
    fn requirements_mean_what_kubectl_means() {
        let web = [("app", "web"), ("tier", "front")];
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("missing!=x", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("missing notin (x)", true),
            ("app", true),
            ("!app", false),
            ("app=web,tier in (front),!gone", true),
            ("app=web,tier=back", false),
        ] {
            assert_eq!(selects(selector, &web), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["a b", "=x", "a in b", "a in(b", "(x)", "a=b=c", "appin (x)"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
