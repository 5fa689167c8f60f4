//! Which plugins must be signed, and by whom. A policy is a list of rules by prefix of the artifact's name; the longest
//! prefix counts. Where several rules have the same prefix, as from two `PluginPolicy` objects, each must be satisfied.
//!
//! Without a rule nothing is known of who should sign, so nothing can be demanded: such a plugin is loaded, and that
//! nobody vouches for it is said (`warn`). One from a registry on this machine is taken as it is (`off`): it is the
//! developer's own, and the first-party plugins' of `purlin up`. A rule for `localhost` changes that.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::prefix;
use crate::reference::Reference;
use crate::signature::{Outcome, PublicKey, TrustedKey};

/// What happens to a plugin that has no good signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is checked.
    Off,
    /// It is loaded, and that is said.
    Warn,
    /// It is not loaded.
    #[default]
    Require,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Off => "off",
            Mode::Warn => "warn",
            Mode::Require => "require",
        })
    }
}

/// A rule, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The plugins that it is about: a registry, or a path in it, such as `ghcr.io/acme`; empty is all.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub prefix: String,
    /// What happens to one without a good signature.
    #[serde(default)]
    pub mode: Mode,
    /// Whose signatures count; one good signature by one of them is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub keys: Vec<KeySource>,
    /// Prefixes of which one must cover the name under which the plugin was signed. It stays the same where the plugin
    /// is mirrored or carried elsewhere. Empty takes any name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub signed_as: Vec<String>,
}

/// A public key, in place or in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySource {
    /// What people call it: it is named where it counts.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The key in PEM (`cosign.pub`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub pem: Option<String>,
    /// Where the key in PEM is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// An entry of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The entry; `cosign.pub` where left out.
    #[serde(default = "cosign_pub")]
    pub key: String,
}

fn cosign_pub() -> String {
    "cosign.pub".to_owned()
}

/// A rule whose keys were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyRule {
    /// Where it stands, for people: the policy's name.
    pub from: String,
    /// What it covers.
    pub prefix: String,
    /// What happens without a good signature.
    pub mode: Mode,
    /// The keys that could be read.
    pub keys: Vec<TrustedKey>,
    /// Why the others could not.
    pub problems: Vec<String>,
    /// See [`Rule::signed_as`].
    pub signed_as: Vec<String>,
}

impl ReadyRule {
    /// Reads a rule's keys; `secret` gives the text of a Secret's entry, or says why it cannot.
    pub fn read(
        from: &str,
        rule: &Rule,
        secret: impl Fn(&SecretKeyRef) -> Result<String, String>,
    ) -> ReadyRule {
        let mut ready = ReadyRule {
            from: from.to_owned(),
            prefix: rule.prefix.clone(),
            mode: rule.mode,
            keys: Vec::new(),
            problems: Vec::new(),
            signed_as: rule.signed_as.clone(),
        };
        for source in &rule.keys {
            let text = match (&source.pem, &source.secret_ref) {
                (Some(pem), None) => Ok(pem.clone()),
                (None, Some(reference)) => secret(reference),
                _ => Err("give either pem or secretRef".to_owned()),
            };
            match text.and_then(|text| PublicKey::from_pem(&text).map_err(|error| error.to_string())) {
                Ok(key) => ready.keys.push(TrustedKey { name: source.name.clone(), key }),
                Err(problem) => ready.problems.push(format!("key {:?}: {problem}", source.name)),
            }
        }
        if rule.keys.is_empty() && rule.mode != Mode::Off {
            ready.problems.push("the rule names no key".to_owned());
        }
        ready
    }
}

/// All rules that hold.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// In no order that matters.
    pub rules: Vec<ReadyRule>,
}

/// What was found about a plugin's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A rule says that nothing is checked.
    Off,
    /// No rule says anything, and it is from this machine.
    Loopback,
    /// No rule says anything.
    NoRule,
    /// They were looked at.
    Judged(Outcome),
    /// They could not be fetched.
    Unavailable(String),
}

/// What a policy makes of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What happens where the finding is not good.
    pub mode: Mode,
    /// What was found.
    pub finding: Finding,
    /// The rule that decided, for people.
    pub rule: Option<String>,
    /// Keys of the rule that could not be read.
    pub problems: Vec<String>,
}

impl Policy {
    /// The rules about an artifact: all those with the longest prefix.
    pub fn about(&self, reference: &Reference) -> Vec<&ReadyRule> {
        let name = reference.name();
        let covering = || self.rules.iter().filter(|rule| prefix::covers(&rule.prefix, &name));
        let weight = covering().map(|rule| prefix::weight(&rule.prefix)).max();
        covering().filter(|rule| Some(prefix::weight(&rule.prefix)) == weight).collect()
    }
}

impl Verdict {
    /// Of a plugin that no rule is about.
    pub fn without_rule(reference: &Reference) -> Verdict {
        let (mode, finding) = if reference.is_loopback() {
            (Mode::Off, Finding::Loopback)
        } else {
            (Mode::Warn, Finding::NoRule)
        };
        Verdict { mode, finding, rule: None, problems: Vec::new() }
    }

    /// Of a plugin that a rule is about.
    pub fn by(rule: &ReadyRule, finding: Finding) -> Verdict {
        let shown = if rule.prefix.is_empty() { "everything" } else { &rule.prefix };
        Verdict {
            mode: rule.mode,
            finding,
            rule: Some(format!("{} for {shown}", rule.from)),
            problems: rule.problems.clone(),
        }
    }

    /// Whether the plugin has a good signature.
    pub fn is_signed(&self) -> bool {
        matches!(self.finding, Finding::Judged(Outcome::Valid { .. }))
    }

    /// Whether the plugin may be loaded.
    pub fn allows(&self) -> bool {
        self.mode != Mode::Require || self.is_signed()
    }

    /// Whether asking again may give another answer.
    pub fn may_change(&self) -> bool {
        matches!(self.finding, Finding::Unavailable(_))
    }

    /// Whether it was found signed, found not to be, or not looked at.
    pub fn status(&self) -> Option<bool> {
        match &self.finding {
            Finding::Off | Finding::Loopback | Finding::NoRule | Finding::Unavailable(_) => None,
            Finding::Judged(Outcome::Valid { .. }) => Some(true),
            Finding::Judged(Outcome::Missing | Outcome::NoMatchingKey { .. } | Outcome::Invalid { .. }) => {
                Some(false)
            }
        }
    }

    /// One word for a condition.
    pub fn reason(&self) -> &'static str {
        match &self.finding {
            Finding::Off | Finding::Loopback => "PolicyOff",
            Finding::NoRule => "NoPolicy",
            Finding::Unavailable(_) => "SignatureUnavailable",
            Finding::Judged(Outcome::Valid { .. }) => "SignatureValid",
            Finding::Judged(_) if !self.problems.is_empty() => "KeyUnusable",
            Finding::Judged(Outcome::Missing) => "SignatureMissing",
            Finding::Judged(Outcome::NoMatchingKey { .. }) => "NoMatchingKey",
            Finding::Judged(Outcome::Invalid { .. }) => "SignatureInvalid",
        }
    }

    fn remedy(&self) -> &'static str {
        match &self.finding {
            _ if !self.problems.is_empty() => "repair the policy's keys first",
            Finding::Judged(Outcome::Missing) => {
                "sign it with `purlin plugin sign --key cosign.key`, or change the policy"
            }
            Finding::Judged(Outcome::NoMatchingKey { .. }) => {
                "add the signer's key to the policy, if you trust it, or have it signed by a trusted key"
            }
            _ => "do not use it until its publisher has explained this, or have it signed again",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.finding {
            Finding::Off => f.write_str("signatures are not checked")?,
            Finding::Loopback => f.write_str("signatures of plugins from this machine are not checked")?,
            Finding::NoRule => f.write_str(
                "nobody vouches for it: no PluginPolicy has a rule for it; add one with the publisher's key",
            )?,
            Finding::Unavailable(why) => write!(f, "its signatures cannot be fetched: {why}")?,
            Finding::Judged(outcome) => write!(f, "{outcome}")?,
        }
        if !self.is_signed() && !self.problems.is_empty() {
            write!(f, "; of the policy, {}", self.problems.join("; "))?;
        }
        if let Some(rule) = &self.rule {
            write!(f, " (policy {rule}, mode {})", self.mode)?;
        }
        if self.status() == Some(false) {
            write!(f, "; {}", self.remedy())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::PrivateKey;

    fn rule(prefix: &str, mode: Mode) -> ReadyRule {
        ReadyRule::read("p", &Rule { prefix: prefix.to_owned(), mode, ..Rule::default() }, |_| {
            Err(String::new())
        })
    }

    #[test]
    fn the_longest_prefix_decides_and_equals_decide_together() {
        let policy = Policy {
            rules: vec![
                rule("", Mode::Warn),
                rule("ghcr.io/acme", Mode::Require),
                rule("ghcr.io/acme/", Mode::Off),
                rule("ghcr.io", Mode::Warn),
            ],
        };
        let modes = |text: &str| -> Vec<Mode> {
            policy.about(&text.parse().expect("reference")).iter().map(|rule| rule.mode).collect()
        };
        assert_eq!(modes("ghcr.io/acme/x:1"), [Mode::Require, Mode::Off]);
        assert_eq!(modes("ghcr.io/acme-evil/x:1"), [Mode::Warn]);
        assert_eq!(modes("quay.io/x:1"), [Mode::Warn]);
    }

    #[test]
    fn keys_are_read_or_named() {
        let pem = PrivateKey::generate().and_then(|key| key.public().to_pem()).expect("key");
        let source = |name: &str, pem: Option<&str>, secret: Option<&str>| KeySource {
            name: name.to_owned(),
            pem: pem.map(str::to_owned),
            secret_ref: secret.map(|name| SecretKeyRef { name: name.to_owned(), ..SecretKeyRef::default() }),
        };
        let keys = vec![
            source("in-place", Some(&pem), None),
            source("kept", None, Some("there")),
            source("lost", None, Some("gone")),
            source("both", Some(&pem), Some("there")),
            source("junk", Some("x"), None),
        ];
        let ready =
            ReadyRule::read("p", &Rule { keys, ..Rule::default() }, |secret| match secret.name.as_str() {
                "there" => Ok(pem.clone()),
                _ => Err("there is no such Secret".to_owned()),
            });
        assert_eq!(ready.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["in-place", "kept"]);
        assert_eq!(ready.problems.len(), 3, "{:?}", ready.problems);
        assert!(ready.problems[0].contains("\"lost\""), "{:?}", ready.problems);
    }

    #[test]
    fn a_refusal_names_rule_mode_and_remedy() {
        let rule = ReadyRule { problems: Vec::new(), ..rule("ghcr.io/acme", Mode::Require) };
        let verdict = Verdict::by(&rule, Finding::Judged(Outcome::Missing));
        assert!(!verdict.allows());
        let text = verdict.to_string();
        for part in ["no signature", "p for ghcr.io/acme", "mode require", "purlin plugin sign"] {
            assert!(text.contains(part), "{text}");
        }
        let local = Verdict::without_rule(&"localhost:1/x:1".parse().expect("reference"));
        assert_eq!((local.allows(), local.reason(), local.status()), (true, "PolicyOff", None));
        let remote = Verdict::without_rule(&"ghcr.io/x:1".parse().expect("reference"));
        assert_eq!((remote.allows(), remote.reason(), remote.status()), (true, "NoPolicy", None));
    }
}
