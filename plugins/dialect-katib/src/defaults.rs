//! What Katib's defaulting webhook fills in. The CustomResourceDefinition has the defaults that stand by themselves;
//! those that follow from other fields are here, and the translation sees an Experiment that has them all.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Value, json};

/// The file that a metrics collector of the kind `File` reads.
pub const METRICS_FILE: &str = "/var/log/katib/metrics.log";

/// Kinds of the training operator's first version, which report `Succeeded` where a Job reports `Complete`.
const TRAINING_KINDS: &[&str] = &["TFJob", "PyTorchJob", "XGBoostJob", "MPIJob", "PaddleJob", "JAXJob"];

/// The Experiment with every default in place.
pub fn applied(experiment: &Value) -> Value {
    let mut experiment = experiment.clone();
    let spec = &mut experiment["spec"];
    default(spec, "parallelTrialCount", json!(3));
    default(spec, "resumePolicy", json!("Never"));
    if spec.at(&["objective"]).is_some_and(Value::is_object) {
        objective(&mut spec["objective"]);
    }
    if spec.at(&["trialTemplate"]).is_some_and(Value::is_object) {
        template(&mut spec["trialTemplate"]);
    }
    default(spec, "metricsCollectorSpec", json!({}));
    collector(&mut spec["metricsCollectorSpec"]);
    if let Some(parameters) = spec.get_mut("parameters").and_then(Value::as_array_mut) {
        for parameter in parameters {
            if parameter.at(&["feasibleSpace"]).is_some_and(Value::is_object) {
                default(&mut parameter["feasibleSpace"], "distribution", json!("uniform"));
            }
        }
    }
    experiment
}

/// Sets a field of an object that is missing, null or the empty string.
fn default(object: &mut Value, field: &str, value: Value) {
    if let Value::Object(fields) = object
        && fields.get(field).is_none_or(|present| present.is_null() || present == "")
    {
        fields.insert(field.to_owned(), value);
    }
}

/// The objective and each additional metric is read at its best value: the largest where more is better.
fn objective(objective: &mut Value) {
    let best = match objective.text(&["type"]) {
        "minimize" => "min",
        "maximize" => "max",
        _ => "latest",
    };
    let mut strategies = objective.items(&["metricStrategies"]).to_vec();
    let additional = objective.items(&["additionalMetricNames"]).iter().filter_map(Value::as_str);
    let names: Vec<&str> =
        std::iter::once(objective.text(&["objectiveMetricName"])).chain(additional).collect();
    for name in names {
        if !name.is_empty() && !strategies.iter().any(|strategy| strategy.text(&["name"]) == name) {
            strategies.push(json!({"name": name, "value": best}));
        }
    }
    objective["metricStrategies"] = strategies.into();
}

fn template(template: &mut Value) {
    let kind = template.text(&["trialSpec", "kind"]).to_owned();
    let (success, labels) = if kind == "Job" {
        ("Complete", None)
    } else if TRAINING_KINDS.contains(&kind.as_str()) {
        ("Succeeded", Some(json!({"training.kubeflow.org/job-role": "master"})))
    } else if kind == "TrainJob" {
        ("Complete", Some(json!({"jobset.sigs.k8s.io/replicatedjob-name": "node"})))
    } else {
        return;
    };
    default(template, "successCondition", condition(success).into());
    default(template, "failureCondition", condition("Failed").into());
    if let Some(labels) = labels {
        default(template, "primaryPodLabels", labels);
    }
}

fn condition(kind: &str) -> String {
    format!(r#"status.conditions.#(type=="{kind}")#|#(status=="True")#"#)
}

fn collector(spec: &mut Value) {
    default(spec, "collector", json!({}));
    default(&mut spec["collector"], "kind", json!("StdOut"));
    if spec.text(&["collector", "kind"]) == "File" {
        default(spec, "source", json!({}));
        default(&mut spec["source"], "fileSystemPath", json!({}));
        let file = &mut spec["source"]["fileSystemPath"];
        default(file, "kind", json!("File"));
        default(file, "path", json!(METRICS_FILE));
        default(file, "format", json!("TEXT"));
    }
}
