//! The object that a trial runs, made out of the rendered template.
//!
//! Pure. Whatever the object's kind, a Pod template in it is known by its shape: an object with `spec.containers`,
//! under a field named `template`, or the object itself where it is a Pod.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

use crate::api::{MetricSource, TRIAL_LABEL, Trial};

/// What a pushing program has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PushTarget {
    /// Where to send metrics.
    pub url: String,
    /// With which token.
    pub token: String,
}

/// The object of a trial: named like it, in its namespace, owned by it, with what the metrics need put in.
pub(super) fn build(trial: &Trial, push: Option<&PushTarget>) -> Value {
    let mut object = trial.spec.object.clone();
    let name = trial.name_any();
    let metadata = entry(&mut object, "metadata");
    metadata.remove("generateName");
    metadata.insert("name".to_owned(), json!(name));
    metadata.insert("namespace".to_owned(), json!(trial.namespace().unwrap_or_default()));
    let owner = OwnerReference {
        api_version: Trial::api_version(&()).into_owned(),
        kind: Trial::kind(&()).into_owned(),
        name: name.clone(),
        uid: trial.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    metadata.insert("ownerReferences".to_owned(), json!([owner]));
    entry(metadata, "labels").insert(TRIAL_LABEL.to_owned(), json!(name));
    if is_pod_template(&object) {
        prepare(&mut object, trial, push);
    }
    let mut object = Value::Object(object);
    prepare_templates(&mut object, trial, push);
    object
}

fn prepare_templates(value: &mut Value, trial: &Trial, push: Option<&PushTarget>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match value {
                    Value::Object(template) if field == "template" && is_pod_template(template) => {
                        prepare(template, trial, push);
                    }
                    _ => prepare_templates(value, trial, push),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prepare_templates(item, trial, push)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_pod_template(fields: &Map<String, Value>) -> bool {
    fields.get("spec").and_then(|spec| spec.get("containers")).is_some_and(Value::is_array)
}

/// Labels a Pod template, and puts into its primary container what its metrics need.
fn prepare(template: &mut Map<String, Value>, trial: &Trial, push: Option<&PushTarget>) {
    let labels = entry(entry(template, "metadata"), "labels");
    labels.insert(TRIAL_LABEL.to_owned(), json!(trial.name_any()));
    let Some(containers) = template.get_mut("spec").and_then(|spec| spec.get_mut("containers")) else {
        return;
    };
    let Some(containers) = containers.as_array_mut() else { return };
    let wanted = trial.spec.primary_container.as_deref();
    let primary = containers.iter_mut().find(|container| {
        wanted.is_none_or(|wanted| container.get("name").and_then(Value::as_str) == Some(wanted))
    });
    let Some(primary) = primary.and_then(Value::as_object_mut) else { return };
    let collector = &trial.spec.metrics_collector;
    match (collector.source, &collector.path, push) {
        (MetricSource::File, Some(path), _) => {
            primary.insert("terminationMessagePath".to_owned(), json!(path));
            primary.insert("terminationMessagePolicy".to_owned(), json!("File"));
        }
        (MetricSource::Push, _, Some(push)) => {
            let env = primary.entry("env").or_insert_with(|| json!([]));
            if let Some(env) = env.as_array_mut() {
                for (name, value) in
                    [("PURLIN_METRICS_URL", &push.url), ("PURLIN_METRICS_TOKEN", &push.token)]
                {
                    env.retain(|present| present.get("name").and_then(Value::as_str) != Some(name));
                    env.push(json!({"name": name, "value": value}));
                }
            }
        }
        (MetricSource::File | MetricSource::Push | MetricSource::Stdout | MetricSource::None, _, _) => {}
    }
}

/// The object in a field; put there, if something else or nothing is.
fn entry<'a>(fields: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = fields.entry(name).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object just above")
}

#[cfg(test)]
mod tests {
    use super::{PushTarget, build};
    use crate::api::{MetricSource, MetricsCollector, Trial, TrialSpec};
    use serde_json::{Value, json};

    fn trial(object: Value, source: MetricSource) -> Trial {
        let mut trial = Trial::new(
            "t-1",
            TrialSpec {
                object: object.as_object().cloned().unwrap(),
                primary_container: Some("main".to_owned()),
                metrics_collector: MetricsCollector {
                    source,
                    path: Some("/m.log".to_owned()),
                    ..MetricsCollector::default()
                },
                ..TrialSpec::default()
            },
        );
        trial.metadata.namespace = Some("ns".to_owned());
        trial.metadata.uid = Some("u".to_owned());
        trial
    }

    fn pod_spec() -> Value {
        json!({"containers": [{"name": "side"}, {"name": "main", "env": [{"name": "A", "value": "b"}]}]})
    }

    #[test]
    fn an_object_is_named_owned_and_labelled() {
        let job = json!({"kind": "Job", "metadata": {"generateName": "x-"}, "spec": {"template": {"spec": pod_spec()}}});
        let built = build(&trial(job, MetricSource::Stdout), None);
        assert_eq!(built["metadata"]["name"], "t-1");
        assert!(built["metadata"].get("generateName").is_none());
        assert_eq!(built["metadata"]["ownerReferences"][0]["controller"], true);
        assert_eq!(built["spec"]["template"]["metadata"]["labels"]["purlin.dev/trial"], "t-1");
    }

    #[test]
    fn pod_templates_are_found_wherever_they_are() {
        let many = json!({"kind": "Gang", "spec": {"replicas": [{"template": {"spec": pod_spec()}}]}});
        let built = build(&trial(many, MetricSource::File), None);
        let main = &built["spec"]["replicas"][0]["template"]["spec"]["containers"][1];
        assert_eq!(main["terminationMessagePath"], "/m.log");
        let pod = build(&trial(json!({"kind": "Pod", "spec": pod_spec()}), MetricSource::File), None);
        assert_eq!(pod["spec"]["containers"][1]["terminationMessagePath"], "/m.log");
        assert!(pod["spec"]["containers"][0].get("terminationMessagePath").is_none());
    }

    #[test]
    fn a_pushing_program_learns_where_and_with_what_token() {
        let push = PushTarget { url: "http://x/y".to_owned(), token: "t".to_owned() };
        let pod = build(&trial(json!({"kind": "Pod", "spec": pod_spec()}), MetricSource::Push), Some(&push));
        let env = pod["spec"]["containers"][1]["env"].as_array().unwrap();
        let names: Vec<_> = env.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["A", "PURLIN_METRICS_URL", "PURLIN_METRICS_TOKEN"]);
    }
}
