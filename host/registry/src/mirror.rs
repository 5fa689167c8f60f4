//! Mirrors: other places that have the same artifacts. A mirror can give content, because content is compared with its
//! digest; it cannot say what a tag means as long as the origin answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::prefix;
use crate::reference::Reference;

/// Mirrors of everything under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorRule {
    /// What is mirrored: a registry, or a path in it, such as `ghcr.io/acme`.
    #[schemars(length(min = 1, max = 512))]
    pub prefix: String,
    /// Where else it is, each in place of the prefix, asked in this order: `registry.internal/ghcr/acme`.
    #[schemars(length(min = 1, max = 16))]
    pub mirrors: Vec<String>,
}

/// The places of an artifact beside its own, in the order in which they are asked. The longest prefix counts.
pub fn places(rules: &[MirrorRule], reference: &Reference) -> Vec<Reference> {
    let name = reference.name();
    let covering = rules.iter().filter(|rule| prefix::covers(&rule.prefix, &name));
    let Some(rule) = covering.max_by_key(|rule| prefix::weight(&rule.prefix)) else { return Vec::new() };
    let rest = name.strip_prefix(rule.prefix.trim_end_matches('/')).unwrap_or_default();
    let at = |mirror: &String| {
        let place = reference.renamed(&format!("{}{rest}", mirror.trim_end_matches('/')));
        if let Err(error) = &place {
            tracing::warn!(%mirror, %error, "a mirror is left out");
        }
        place.ok()
    };
    rule.mirrors.iter().filter_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_is_replaced() {
        let rule = |prefix: &str, mirrors: &[&str]| MirrorRule {
            prefix: prefix.to_owned(),
            mirrors: mirrors.iter().map(ToString::to_string).collect(),
        };
        let rules = [
            rule("ghcr.io", &["mirror.internal/ghcr"]),
            rule("ghcr.io/acme/", &["one.internal:5000/acme", "no registry", "two.internal/x/"]),
        ];
        let place = |text: &str| -> Vec<String> {
            let reference = text.parse().expect("reference");
            places(&rules, &reference).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            place("ghcr.io/acme/tuner:1"),
            ["one.internal:5000/acme/tuner:1", "two.internal/x/tuner:1"]
        );
        assert_eq!(place("ghcr.io/acme-evil/tuner:1"), ["mirror.internal/ghcr/acme-evil/tuner:1"]);
        assert!(place("quay.io/acme/tuner:1").is_empty());
    }
}
