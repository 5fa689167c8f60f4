//! What Katib's validating webhook refuses, by field, and what this dialect does not support. What the schema of the
//! CustomResourceDefinition already says (types, enumerations, fields that must be there) is not repeated.

use std::collections::BTreeSet;

use purlin_sdk::fault::field;
use purlin_sdk::serde_json::Value;
use purlin_sdk::{FieldError, Object as _};

/// What a placeholder in a template begins with; it ends with `}`.
const PLACEHOLDER: &str = "${trialParameters.";

/// Errors of an Experiment with its defaults, but for the object in its template.
pub fn spec(experiment: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    counts(experiment, &mut errors);
    objective(experiment, &mut errors);
    for part in ["algorithm", "earlyStopping"] {
        let Some(algorithm) = experiment.at(&["spec", part]) else {
            if part == "algorithm" {
                errors.push(field("spec.algorithm", "", "must be specified"));
            }
            continue;
        };
        if algorithm.text(&["algorithmName"]).is_empty() {
            errors.push(field(format!("spec.{part}.algorithmName"), "", "must be specified"));
        }
    }
    if experiment.at(&["spec", "nasConfig"]).is_some() {
        errors.push(field(
            "spec.nasConfig",
            "",
            "neural architecture search is not supported; search over spec.parameters",
        ));
    } else if experiment.items(&["spec", "parameters"]).is_empty() {
        errors.push(field("spec.parameters", "", "must be specified"));
    }
    let mut names = BTreeSet::new();
    for (index, katib) in experiment.items(&["spec", "parameters"]).iter().enumerate() {
        let path = format!("spec.parameters[{index}]");
        let name = katib.text(&["name"]);
        if name.is_empty() {
            errors.push(field(format!("{path}.name"), "", "must be specified"));
        } else if !names.insert(name) {
            errors.push(field(format!("{path}.name"), name, "must be unique in spec.parameters"));
        }
        parameter(&path, katib, &mut errors);
    }
    template_source(experiment, &mut errors);
    collector(experiment, &mut errors);
    errors
}

fn counts(experiment: &Value, errors: &mut Vec<FieldError>) {
    let count = |name: &str| experiment.int(&["spec", name]);
    for (name, least) in [("parallelTrialCount", 1), ("maxTrialCount", 1), ("maxFailedTrialCount", 0)] {
        if let Some(value) = count(name)
            && value < least
        {
            errors.push(field(
                format!("spec.{name}"),
                value.to_string(),
                format!("must be at least {least}"),
            ));
        }
    }
    for name in ["parallelTrialCount", "maxFailedTrialCount"] {
        if let (Some(value), Some(most)) = (experiment.int(&["spec", name]), count("maxTrialCount"))
            && value > most
        {
            let reason = format!("should be less than or equal to spec.maxTrialCount, which is {most}");
            errors.push(field(format!("spec.{name}"), value.to_string(), reason));
        }
    }
}

fn objective(experiment: &Value, errors: &mut Vec<FieldError>) {
    let text = |name| experiment.text(&["spec", "objective", name]);
    if experiment.at(&["spec", "objective"]).is_none() {
        errors.push(field("spec.objective", "", "must be specified"));
        return;
    }
    if !matches!(text("type"), "minimize" | "maximize") {
        errors.push(field("spec.objective.type", text("type"), "must be minimize or maximize"));
    }
    let metric = text("objectiveMetricName");
    if metric.is_empty() {
        errors.push(field("spec.objective.objectiveMetricName", "", "must be specified"));
    } else if experiment
        .items(&["spec", "objective", "additionalMetricNames"])
        .iter()
        .any(|name| name == metric)
    {
        let reason = "should not contain spec.objective.objectiveMetricName";
        errors.push(field("spec.objective.additionalMetricNames", metric, reason));
    }
}

fn parameter(path: &str, parameter: &Value, errors: &mut Vec<FieldError>) {
    let kind = parameter.text(&["parameterType"]);
    let space = |name: &str| parameter.text(&["feasibleSpace", name]);
    let list = parameter.items(&["feasibleSpace", "list"]);
    let mut wrong = |name: &str, value: &str, reason: String| {
        errors.push(field(format!("{path}.feasibleSpace{name}"), value, reason));
    };
    match kind {
        "double" | "int" => {
            if !list.is_empty() {
                wrong(".list", "", format!("is not supported for parameterType {kind}; give min and max"));
            }
            for name in ["min", "max", "step"] {
                let value = space(name);
                let good = if kind == "int" {
                    value.parse::<i64>().is_ok()
                } else {
                    value.parse::<f64>().is_ok_and(f64::is_finite)
                };
                if value.is_empty() {
                    if name != "step" {
                        wrong(&format!(".{name}"), "", format!("must be specified for parameterType {kind}"));
                    }
                } else if !good {
                    let wanted = if kind == "int" { "a whole number" } else { "a number" };
                    wrong(&format!(".{name}"), value, format!("must be {wanted}, written as text"));
                }
            }
        }
        "discrete" | "categorical" => {
            for name in ["min", "max", "step"] {
                if !space(name).is_empty() {
                    let reason = format!("is not supported for parameterType {kind}; give list");
                    wrong(&format!(".{name}"), space(name), reason);
                }
            }
            if list.is_empty() {
                wrong(".list", "", format!("must be specified for parameterType {kind}"));
            }
        }
        _ => errors.push(field(
            format!("{path}.parameterType"),
            kind,
            "must be double, int, discrete or categorical",
        )),
    }
}

fn template_source(experiment: &Value, errors: &mut Vec<FieldError>) {
    let Some(template) = experiment.at(&["spec", "trialTemplate"]) else {
        errors.push(field("spec.trialTemplate", "", "must be specified"));
        return;
    };
    if template.text(&["primaryContainerName"]).is_empty() {
        errors.push(field("spec.trialTemplate.primaryContainerName", "", "must be specified"));
    }
    for name in ["successCondition", "failureCondition"] {
        if template.text(&[name]).is_empty() {
            let reason = "must be specified: only a Job and the training kinds have one by default";
            errors.push(field(format!("spec.trialTemplate.{name}"), "", reason));
        }
    }
    match (template.at(&["trialSpec"]), template.at(&["configMap"])) {
        (None, None) => {
            errors.push(field("spec.trialTemplate", "", "trialSpec or configMap must be specified"))
        }
        (Some(_), Some(_)) => {
            errors.push(field(
                "spec.trialTemplate",
                "",
                "only one of trialSpec and configMap can be specified",
            ));
        }
        (Some(_), None) => {}
        (None, Some(source)) => {
            for name in ["configMapName", "configMapNamespace", "templatePath"] {
                if source.text(&[name]).is_empty() {
                    errors.push(field(
                        format!("spec.trialTemplate.configMap.{name}"),
                        "",
                        "must be specified",
                    ));
                }
            }
        }
    }
}

/// Errors of the object in the template, and of the parameters that go into it.
pub fn template(experiment: &Value, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for name in ["apiVersion", "kind"] {
        if object.text(&[name]).is_empty() {
            errors.push(field(format!("spec.trialTemplate.trialSpec.{name}"), "", "must be specified"));
        }
    }
    for name in ["name", "namespace"] {
        let value = object.text(&["metadata", name]);
        if !value.is_empty() {
            let reason = "must be omitted: each trial gets its own";
            errors.push(field(format!("spec.trialTemplate.trialSpec.metadata.{name}"), value, reason));
        }
    }
    let mut unused = BTreeSet::new();
    placeholders(object, &mut unused);
    let searched: BTreeSet<&str> =
        experiment.items(&["spec", "parameters"]).iter().map(|parameter| parameter.text(&["name"])).collect();
    let (mut names, mut references) = (BTreeSet::new(), BTreeSet::new());
    let parameters = experiment.items(&["spec", "trialTemplate", "trialParameters"]);
    if parameters.is_empty() {
        errors.push(field("spec.trialTemplate.trialParameters", "", "must be specified"));
    }
    for (index, parameter) in parameters.iter().enumerate() {
        let path = |name: &str| format!("spec.trialTemplate.trialParameters[{index}].{name}");
        let (name, reference) = (parameter.text(&["name"]), parameter.text(&["reference"]));
        if name.is_empty() || name.contains(['{', '}']) {
            errors.push(field(path("name"), name, "must be specified and must not contain '{' or '}'"));
        } else if !names.insert(name) {
            errors.push(field(path("name"), name, "must be unique in spec.trialTemplate.trialParameters"));
        } else if !unused.contains(name) {
            let reason = format!("the template has no {PLACEHOLDER}{name}}}");
            errors.push(field(path("name"), name, reason));
        }
        if reference.is_empty() {
            errors.push(field(path("reference"), "", "must be specified"));
        } else if !references.insert(reference) {
            errors.push(field(
                path("reference"),
                reference,
                "must be unique in spec.trialTemplate.trialParameters",
            ));
        } else if !is_metadata(reference) && !searched.contains(reference) {
            errors.push(field(path("reference"), reference, "does not exist in spec.parameters"));
        }
    }
    for name in unused.iter().filter(|name| !names.contains(name.as_str())) {
        let reason = "the template uses it and spec.trialTemplate.trialParameters does not list it";
        errors.push(field("spec.trialTemplate.trialSpec", format!("{PLACEHOLDER}{name}}}"), reason));
    }
    errors
}

/// The names of all placeholders in an object.
fn placeholders(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => placeholders_in(text, found),
        Value::Array(items) => items.iter().for_each(|item| placeholders(item, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                placeholders_in(name, found);
                placeholders(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn placeholders_in(text: &str, found: &mut BTreeSet<String>) {
    for part in text.split(PLACEHOLDER).skip(1) {
        if let Some((name, _)) = part.split_once('}') {
            found.insert(name.to_owned());
        }
    }
}

/// Whether a reference is to the trial itself, such as `${trialSpec.Name}` or `${trialSpec.Labels[a]}`.
fn is_metadata(reference: &str) -> bool {
    let Some(key) = reference.strip_prefix("${trialSpec.").and_then(|rest| rest.strip_suffix('}')) else {
        return false;
    };
    let indexed = |kind: &str| {
        key.strip_prefix(kind)
            .and_then(|rest| rest.strip_prefix('['))
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|label| !label.is_empty())
    };
    matches!(key, "Name" | "Namespace" | "Kind" | "APIVersion") || indexed("Labels") || indexed("Annotations")
}

fn collector(experiment: &Value, errors: &mut Vec<FieldError>) {
    const PATH: &str = "spec.metricsCollectorSpec";
    let spec = experiment.at(&["spec", "metricsCollectorSpec"]).unwrap_or(&Value::Null);
    let kind = spec.text(&["collector", "kind"]);
    let file = |name| spec.text(&["source", "fileSystemPath", name]);
    let filters = spec.items(&["source", "filter", "metricsFormat"]);
    match kind {
        "StdOut" | "Push" | "None" => {}
        "File" => {
            if file("kind") != "File" || !file("path").starts_with('/') {
                let reason = "must be the absolute path of a file (fileSystemPath.kind File)";
                errors.push(field(format!("{PATH}.source.fileSystemPath.path"), file("path"), reason));
            }
            if !matches!(file("format"), "TEXT" | "JSON") {
                let reason = "must be TEXT or JSON";
                errors.push(field(format!("{PATH}.source.fileSystemPath.format"), file("format"), reason));
            }
            if file("format") == "JSON" && !filters.is_empty() {
                let reason = "must be omitted when the format of the metrics file is JSON";
                errors.push(field(format!("{PATH}.source.filter"), "", reason));
            }
        }
        "TensorFlowEvent" | "PrometheusMetric" | "Custom" => {
            let reason = "is not supported here; use StdOut, File, Push or None";
            errors.push(field(format!("{PATH}.collector.kind"), kind, reason));
        }
        _ => errors.push(field(format!("{PATH}.collector.kind"), kind, "must be StdOut, File, Push or None")),
    }
    for (index, filter) in filters.iter().enumerate() {
        let text = filter.as_str().unwrap_or_default();
        if groups(text) < 2 {
            let reason = "two top subexpressions are required: the metric's name and its value, each in ()";
            errors.push(field(format!("{PATH}.source.filter.metricsFormat[{index}]"), text, reason));
        }
    }
}

/// The groups of a regular expression that capture at its top level.
fn groups(expression: &str) -> usize {
    let (mut depth, mut count, mut class) = (0usize, 0, false);
    let mut letters = expression.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '[' => class = true,
            ']' => class = false,
            '(' if !class => {
                if depth == 0 && letters.peek() != Some(&'?') {
                    count += 1;
                }
                depth += 1;
            }
            ')' if !class => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    count
}
