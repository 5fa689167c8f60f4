//! Katib's spec, with its defaults, in the words of the generic Experiment. The spec has been validated; a field that is
//! not set stays unset.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Fault, Object as _, fault};

use crate::template::label_pods;
use crate::{EXPERIMENT_LABEL, GENERIC, gjson};

/// The generic Experiment.
///
/// # Errors
/// An invalid field, where a condition cannot be translated.
pub(crate) fn experiment(experiment: &Value, object: Value) -> Result<Value, Fault> {
    let mut spec = Map::new();
    copy(experiment, &["spec", "parallelTrialCount"], &mut spec, "parallelism");
    copy(experiment, &["spec", "maxTrialCount"], &mut spec, "maxTrials");
    copy(experiment, &["spec", "maxFailedTrialCount"], &mut spec, "maxFailedTrials");
    spec.insert("objective".to_owned(), objective(experiment));
    spec.insert("algorithm".to_owned(), algorithm(&experiment["spec"]["algorithm"], "name"));
    if let Some(stopping) = experiment.at(&["spec", "earlyStopping"]) {
        spec.insert("earlyStopping".to_owned(), algorithm(stopping, "algorithm"));
    }
    spec.insert(
        "parameters".to_owned(),
        experiment.items(&["spec", "parameters"]).iter().map(parameter).collect(),
    );
    spec.insert("trialTemplate".to_owned(), template(experiment, object)?);
    spec.insert("metricsCollector".to_owned(), collector(experiment));
    let resume = match experiment.text(&["spec", "resumePolicy"]) {
        // What Katib keeps in a volume the kernel has in the Trials, so both of these go on from where they were.
        "LongRunning" | "FromVolume" => "LongRunning",
        _ => "Never",
    };
    spec.insert("resumePolicy".to_owned(), resume.into());
    Ok(json!({
        "apiVersion": GENERIC,
        "kind": "Experiment",
        "metadata": {"name": experiment.name(), "labels": {EXPERIMENT_LABEL: experiment.name()}},
        "spec": spec,
    }))
}

fn copy(from: &Value, path: &[&str], to: &mut Map<String, Value>, field: &str) {
    if let Some(value) = from.at(path) {
        to.insert(field.to_owned(), value.clone());
    }
}

fn objective(experiment: &Value) -> Value {
    let path = |field| ["spec", "objective", field];
    let strategies: Vec<Value> = experiment
        .items(&path("metricStrategies"))
        .iter()
        .map(|strategy| json!({"metric": strategy["name"], "value": strategy["value"]}))
        .collect();
    let mut objective = Map::new();
    objective.insert("metric".to_owned(), experiment.text(&path("objectiveMetricName")).into());
    objective.insert("direction".to_owned(), experiment.text(&path("type")).into());
    copy(experiment, &path("goal"), &mut objective, "goal");
    copy(experiment, &path("additionalMetricNames"), &mut objective, "additionalMetrics");
    objective.insert("strategies".to_owned(), strategies.into());
    objective.into()
}

/// The algorithm, with its name in the field that the generic kind has for it.
fn algorithm(katib: &Value, name: &str) -> Value {
    let settings: Vec<Value> = katib
        .items(&["algorithmSettings"])
        .iter()
        .map(|setting| json!({"name": setting.text(&["name"]), "value": setting.text(&["value"])}))
        .collect();
    json!({name: katib.text(&["algorithmName"]), "settings": settings})
}

fn parameter(katib: &Value) -> Value {
    let space = |field| ["feasibleSpace", field];
    let mut parameter = Map::new();
    copy(katib, &["name"], &mut parameter, "name");
    copy(katib, &["parameterType"], &mut parameter, "type");
    match katib.text(&["parameterType"]) {
        "double" | "int" => {
            for field in ["min", "max", "step"] {
                if !katib.text(&space(field)).is_empty() {
                    copy(katib, &space(field), &mut parameter, field);
                }
            }
            let scale = match katib.text(&space("distribution")) {
                "logUniform" => "log",
                "normal" => "normal",
                "logNormal" => "logNormal",
                _ => "linear",
            };
            parameter.insert("scale".to_owned(), scale.into());
        }
        _ => copy(katib, &space("list"), &mut parameter, "list"),
    }
    parameter.into()
}

fn template(experiment: &Value, mut object: Value) -> Result<Value, Fault> {
    label_pods(&mut object, experiment.name());
    let path = |field| ["spec", "trialTemplate", field];
    let parameters: Vec<Value> = experiment
        .items(&path("trialParameters"))
        .iter()
        .map(|parameter| json!({"name": parameter["name"], "reference": parameter["reference"]}))
        .collect();
    let condition = |field| {
        let text = experiment.text(&path(field));
        gjson::to_cel(text).map_err(|error| {
            Fault::Invalid(vec![fault::field(format!("spec.trialTemplate.{field}"), text, error.to_string())])
        })
    };
    let mut template = Map::new();
    template.insert("parameters".to_owned(), parameters.into());
    template.insert("object".to_owned(), object);
    copy(experiment, &path("primaryContainerName"), &mut template, "primaryContainer");
    copy(experiment, &path("primaryPodLabels"), &mut template, "primaryPodLabels");
    template.insert("successCondition".to_owned(), condition("successCondition")?.into());
    template.insert("failureCondition".to_owned(), condition("failureCondition")?.into());
    let retain = experiment.at(&path("retain")).and_then(Value::as_bool).unwrap_or_default();
    template.insert("retain".to_owned(), retain.into());
    template.insert("labels".to_owned(), json!({EXPERIMENT_LABEL: experiment.name()}));
    Ok(template.into())
}

fn collector(experiment: &Value) -> Value {
    let path = ["spec", "metricsCollectorSpec"];
    let spec = experiment.at(&path).unwrap_or(&Value::Null);
    let mut collector = Map::new();
    let source = match spec.text(&["collector", "kind"]) {
        "File" => "file",
        "Push" => "push",
        "None" => "none",
        _ => "stdout",
    };
    collector.insert("source".to_owned(), source.into());
    copy(spec, &["source", "filter", "metricsFormat"], &mut collector, "filter");
    if source == "file" {
        copy(spec, &["source", "fileSystemPath", "path"], &mut collector, "path");
        let format =
            if spec.text(&["source", "fileSystemPath", "format"]) == "JSON" { "json" } else { "text" };
        collector.insert("format".to_owned(), format.into());
    }
    collector.into()
}
