//! What is decided about a plugin before it is loaded: which digest, which capabilities, which limits.
//!
//! Pure.

use std::time::Duration;

use purlin_registry::{Capability, Manifest};
use purlin_sandbox::Limits;
use purlin_schema::{Schema, aggregate, validate};
use serde_json::{Map, Value};

use crate::api::{self, Plugin};
use crate::stage::SourceError;

/// The digest to use without asking the registry: the one in the spec, or the one that was locked for this reference.
pub(super) fn locked_digest(plugin: &Plugin) -> Option<&str> {
    let status = plugin.status.as_ref();
    let locked = status.filter(|status| status.image.as_deref() == Some(&plugin.spec.image));
    plugin.spec.digest.as_deref().or_else(|| locked?.digest.as_deref())
}

/// What a replica that does not lead does about a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// The leader has not decided yet, or could not load this version: what is loaded stays.
    Wait,
    /// The leader has loaded it.
    Load,
    /// It must not run.
    Unload,
}

/// What the leader's status means for the others. `back` says that it has taken this version back. What the leader refuses
/// to run is unloaded everywhere; while it goes on with the version before, so do the others.
pub(super) fn followed(plugin: &Plugin, back: bool) -> Followed {
    let Some(status) = &plugin.status else { return Followed::Wait };
    if status.observed_generation != plugin.metadata.generation {
        return Followed::Wait;
    }
    let is = |kind: &str, value: &str| {
        status.conditions.iter().any(|condition| condition.type_ == kind && condition.status == value)
    };
    let refused = is("Granted", "False") || is("Verified", "False");
    if refused && status.serving.is_none() {
        return Followed::Unload;
    }
    if back || is("Ready", "True") { Followed::Load } else { Followed::Wait }
}

/// Whether a plugin that is not loaded here may still come: nobody has judged it, or it was found ready.
pub(super) fn awaited(plugin: &Plugin) -> bool {
    let Some(status) = &plugin.status else { return true };
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    status.observed_generation != plugin.metadata.generation
        || ready.is_none_or(|ready| ready.status != "False")
}

/// The capabilities of a spec.
///
/// # Errors
/// One of them does not exist.
pub(super) fn capabilities(granted: &[String]) -> Result<Vec<Capability>, SourceError> {
    let parse = |(index, name): (usize, &String)| {
        name.parse::<Capability>().map_err(|error| SourceError::Refused {
            reason: "UnknownCapability",
            message: format!("spec.grants[{index}]: {error}"),
        })
    };
    granted.iter().enumerate().map(parse).collect()
}

/// Whether a configuration fits the schema that the plugin's manifest has for it.
///
/// # Errors
/// Every field that does not fit, or the schema is none.
pub(super) fn check_config(manifest: &Manifest, config: &Map<String, Value>) -> Result<(), SourceError> {
    let schema = Schema::parse(&manifest.config_schema).map_err(|error| SourceError::Refused {
        reason: "InvalidManifest",
        message: format!("configSchema of the plugin's manifest: {error}"),
    })?;
    let mut errors = validate(&Value::Object(config.clone()), None, &schema);
    if errors.is_empty() {
        return Ok(());
    }
    for error in &mut errors {
        error.path = match error.path.as_str() {
            "<nil>" => "spec.config".to_owned(),
            field => format!("spec.config.{field}"),
        };
    }
    Err(SourceError::Refused { reason: "InvalidConfig", message: aggregate(&errors) })
}

/// The limits of a spec; what it leaves out is the sandbox's default.
///
/// # Errors
/// A limit is no quantity.
pub(super) fn limits(spec: Option<&api::Limits>) -> Result<Limits, SourceError> {
    let mut limits = Limits::default();
    let Some(spec) = spec else { return Ok(limits) };
    let wrong = |field: &str, text: &str| SourceError::Refused {
        reason: "InvalidLimits",
        message: format!(
            "spec.limits.{field}: {text:?} cannot be read; write 64Mi for sizes and 5s for times"
        ),
    };
    if let Some(text) = &spec.memory {
        limits.memory = bytes(text).ok_or_else(|| wrong("memory", text))?;
    }
    if let Some(text) = &spec.output {
        limits.output = bytes(text).ok_or_else(|| wrong("output", text))?;
    }
    if let Some(text) = &spec.deadline {
        limits.deadline = duration(text).ok_or_else(|| wrong("deadline", text))?;
    }
    if let Some(concurrency) = spec.concurrency {
        limits.concurrency = concurrency as usize;
    }
    Ok(limits)
}

fn bytes(text: &str) -> Option<usize> {
    let (digits, shift) = match text.len().checked_sub(2).and_then(|at| text.split_at_checked(at)) {
        Some((digits, "Ki")) => (digits, 10),
        Some((digits, "Mi")) => (digits, 20),
        Some((digits, "Gi")) => (digits, 30),
        _ => (text, 0),
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn duration(text: &str) -> Option<Duration> {
    let parse = |digits: &str| digits.parse::<u64>().ok().filter(|amount| *amount > 0);
    if let Some(digits) = text.strip_suffix("ms") {
        return parse(digits).map(Duration::from_millis);
    }
    match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(digits), _) => parse(digits).map(Duration::from_secs),
        (None, Some(digits)) => parse(digits)?.checked_mul(60).map(Duration::from_secs),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Followed, awaited, bytes, capabilities, check_config, duration, followed, limits, locked_digest,
    };
    use crate::api::{Limits, Plugin, PluginSpec, PluginStatus};
    use proptest::prelude::*;
    use purlin_registry::Manifest;
    use std::time::Duration;

    #[test]
    fn a_digest_is_locked_to_its_reference() {
        let mut plugin = Plugin::new("p", PluginSpec { image: "r/a:1".to_owned(), ..PluginSpec::default() });
        assert_eq!(locked_digest(&plugin), None);
        plugin.status = Some(PluginStatus {
            image: Some("r/a:1".to_owned()),
            digest: Some("sha256:one".to_owned()),
            ..PluginStatus::default()
        });
        assert_eq!(locked_digest(&plugin), Some("sha256:one"));
        plugin.spec.image = "r/a:2".to_owned();
        assert_eq!(locked_digest(&plugin), None, "another reference is resolved anew");
        plugin.spec.digest = Some("sha256:two".to_owned());
        assert_eq!(locked_digest(&plugin), Some("sha256:two"));
    }

    #[test]
    fn a_plugin_that_nobody_has_refused_may_still_come() {
        let mut plugin = Plugin::new("p", PluginSpec::default());
        plugin.metadata.generation = Some(2);
        assert!(awaited(&plugin), "nobody has judged it");
        for (observed, ready, expected) in [
            (2, Some("True"), true),
            (2, Some("Unknown"), true),
            (2, None, true),
            (2, Some("False"), false),
            // Of the generation before.
            (1, Some("False"), true),
        ] {
            let conditions: Vec<_> = ready
                .into_iter()
                .map(|status| {
                    serde_json::json!({"type": "Ready", "status": status, "reason": "A", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
                })
                .collect();
            plugin.status = Some(PluginStatus {
                observed_generation: Some(observed),
                conditions: serde_json::from_value(conditions.into()).unwrap(),
                ..PluginStatus::default()
            });
            assert_eq!(awaited(&plugin), expected, "{observed} {ready:?}");
        }
    }

    #[test]
    fn the_others_run_what_the_leader_runs() {
        let status = |conditions: &[(&str, &str)], serving: bool| {
            let condition = |(kind, value): &(&str, &str)| {
                serde_json::json!({"type": kind, "status": value, "reason": "A", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            };
            let conditions: Vec<_> = conditions.iter().map(condition).collect();
            let mut plugin = Plugin::new("p", PluginSpec::default());
            plugin.metadata.generation = Some(2);
            plugin.status = Some(PluginStatus {
                observed_generation: Some(2),
                conditions: serde_json::from_value(conditions.into()).unwrap(),
                serving: serving.then(Default::default),
                ..PluginStatus::default()
            });
            plugin
        };
        for (conditions, serving, expected) in [
            (&[("Granted", "True"), ("Ready", "True")][..], true, Followed::Load),
            // A policy that only warns.
            (&[("Verified", "False"), ("Ready", "True")], true, Followed::Load),
            // A version that asks for more, or whose signature is no good, while the one before goes on.
            (&[("Granted", "False"), ("Ready", "False")], true, Followed::Wait),
            (&[("Verified", "False"), ("Ready", "False")], true, Followed::Wait),
            // A grant that was taken back, and a policy that refuses what runs.
            (&[("Granted", "False"), ("Ready", "False")], false, Followed::Unload),
            (&[("Verified", "False"), ("Ready", "False")], false, Followed::Unload),
            // A leader that has just begun and cannot reach the registry.
            (&[("Granted", "True"), ("Resolved", "False"), ("Ready", "False")], false, Followed::Wait),
        ] {
            assert_eq!(followed(&status(conditions, serving), false), expected, "{conditions:?} {serving}");
        }
        let mut behind = status(&[("Granted", "False")], false);
        behind.metadata.generation = Some(3);
        assert_eq!(followed(&behind, false), Followed::Wait);
    }

    #[test]
    fn a_configuration_must_fit_its_schema() {
        let manifest = Manifest::from_json(
            br#"{"name": "a", "version": "0.1.0", "wit": "0.1.0", "stages": ["tuner"], "algorithms": ["x"],
                 "configSchema": {"type": "object", "required": ["rate"], "properties": {
                    "rate": {"type": "number", "minimum": 0}, "mode": {"type": "string", "enum": ["fast", "exact"]}}}}"#,
        )
        .unwrap();
        let check = |config: serde_json::Value| match check_config(&manifest, config.as_object().unwrap()) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(check(serde_json::json!({"rate": 0.5, "mode": "fast"})), "");
        assert!(check(serde_json::json!({})).contains("spec.config.rate: Required value"));
        let both = check(serde_json::json!({"rate": "x", "mode": "slow"}));
        assert!(both.contains("spec.config.rate") && both.contains("spec.config.mode"), "{both}");
    }

    #[test]
    fn what_is_asked_for_and_not_granted_is_refused() {
        let manifest = Manifest::from_json(
            br#"{"name": "a", "version": "0.1.0", "wit": "0.1.0", "stages": ["tuner"], "algorithms": ["x"],
                 "capabilities": [{"name": "call(tuner)", "reason": "why"}]}"#,
        )
        .unwrap();
        assert_eq!(manifest.refused(&[]), manifest.capabilities);
        let granted = capabilities(&["call(tuner)".to_owned()]).unwrap();
        assert_eq!(manifest.rights(&granted).iter().cloned().collect::<Vec<_>>(), granted);
        assert_eq!(manifest.refused(&granted), []);
        let wrong = capabilities(&["call(tuner)".to_owned(), "everything".to_owned()]).unwrap_err();
        assert!(wrong.to_string().contains("spec.grants[1]"), "{wrong}");
    }

    #[test]
    fn limits_are_read_or_named() {
        let spec = Limits {
            memory: Some("32Mi".to_owned()),
            deadline: Some("500ms".to_owned()),
            ..Limits::default()
        };
        let read = limits(Some(&spec)).unwrap();
        assert_eq!((read.memory, read.deadline), (32 << 20, Duration::from_millis(500)));
        assert_eq!(read.output, purlin_sandbox::Limits::default().output);
        let wrong = Limits { output: Some("much".to_owned()), ..Limits::default() };
        assert!(limits(Some(&wrong)).unwrap_err().to_string().contains("spec.limits.output"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_quantity_or_none(text in "\\PC{0,12}") {
            let _ = (bytes(&text), duration(&text));
        }
    }
}
