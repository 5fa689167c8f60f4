//! How many replicas a component has: from its own fields, else from Knative's annotations.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{FieldError, Object as _, fault};
use purlin_serving::mesh;

use crate::names::{self, AUTOSCALER};

/// The group of Knative's autoscaling annotations.
const KNATIVE: &str = "autoscaling.knative.dev";

/// What a component asks for, and what of it cannot be had.
pub(crate) struct Scaling {
    /// `spec.scaling` of a Model.
    pub(crate) spec: Value,
    /// At least so many.
    pub(crate) min: i64,
    /// Sentences for the user.
    pub(crate) notes: Vec<String>,
}

/// Reads a component: `component` is `spec.predictor` or the like.
pub(crate) fn of(service: &Value, component: &Value) -> Scaling {
    let annotation = |names: &[&str]| annotation(service, component, names);
    let number = |field: &str, names: &[&str]| {
        component.int(&[field]).or_else(|| annotation(names).and_then(|text| text.parse().ok()))
    };
    let mut notes = Vec::new();
    let usual = i64::from(!names::is_mesh(service));
    let min = number("minReplicas", &["min-scale", "minScale"]).unwrap_or(usual).max(0);
    let mut spec = Map::new();
    spec.insert("minReplicas".to_owned(), min.into());
    if let Some(max) = number("maxReplicas", &["max-scale", "maxScale"]).filter(|max| *max > 0) {
        // KServe takes the larger of the two rather than to have no replica at all.
        spec.insert("maxReplicas".to_owned(), max.max(min).into());
    }
    if service.annotation(AUTOSCALER) == Some("none") {
        // Nobody scales it: there are as many as there are at least.
        spec.insert("maxReplicas".to_owned(), min.max(1).into());
    }
    let metric = match component.text(&["scaleMetric"]) {
        "" => annotation(&["metric"]).unwrap_or_default(),
        metric => metric,
    };
    match metric {
        "concurrency" | "rps" => {
            spec.insert("metric".to_owned(), metric.into());
        }
        "" => {}
        other => notes.push(format!(
            "replicas follow requests at once and not {other}: spec.*.scaleMetric may be concurrency or rps"
        )),
    }
    let measured = matches!(metric, "" | "concurrency" | "rps");
    if let Some(target) = number("scaleTarget", &["target"]).filter(|target| *target > 0 && measured) {
        spec.insert("target".to_owned(), target.into());
    }
    if let Some(concurrency) = component.int(&["containerConcurrency"]).filter(|limit| *limit > 0) {
        spec.insert("concurrency".to_owned(), concurrency.into());
    }
    if let Some(seconds) = annotation(&["scale-to-zero-pod-retention-period", "window"]).and_then(seconds) {
        spec.insert("idleSeconds".to_owned(), seconds.clamp(1, 86_400).into());
    }
    if component.at(&["autoScaling"]).is_some() {
        notes.push(
            "autoScaling.metrics are for HPA and KEDA and have no effect here: use scaleMetric".to_owned(),
        );
    }
    Scaling { spec: spec.into(), min, notes }
}

/// A model that is loaded by need stays as long as ModelMesh has it, unless the user says how long.
pub(crate) fn by_need(spec: &mut Map<String, Value>) {
    let usual = mesh::scaling(spec.contains_key("container"), None);
    if let Some(Value::Object(scaling)) = spec.get_mut("scaling") {
        scaling.entry("idleSeconds").or_insert_with(|| usual["idleSeconds"].clone());
    }
}

/// The first annotation that is there, on the component before the service.
fn annotation<'a>(service: &'a Value, component: &'a Value, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| {
        let key = format!("{KNATIVE}/{name}");
        let own = component.at(&["annotations", &key]).and_then(Value::as_str);
        own.or_else(|| service.annotation(&key))
    })
}

/// Go's `1h30m15s`, in seconds. Fractions are cut off.
fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.split('.').next()?.parse().ok()?;
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let factor = match unit {
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            "ms" | "us" | "ns" => 0,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// What KServe's webhook refuses.
pub(crate) fn validate(component: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let int = |field: &str| component.int(&[field]);
    let mut refuse = |field: &str, value: i64, reason: &str| {
        errors.push(fault::field(format!("{path}.{field}"), value.to_string(), reason));
    };
    let (min, max) = (int("minReplicas").unwrap_or(1), int("maxReplicas").unwrap_or_default());
    if min < 0 {
        refuse("minReplicas", min, "it cannot be less than 0; 0 lets a service without requests go");
    }
    if max < 0 {
        refuse("maxReplicas", max, "it cannot be less than 0; 0 sets no limit");
    }
    if max > 0 && min > max {
        refuse("minReplicas", min, "it cannot be greater than maxReplicas; raise that or lower this");
    }
    for (field, least) in [("containerConcurrency", 0), ("scaleTarget", 1), ("timeout", 1)] {
        if let Some(value) = int(field).filter(|value| *value < least) {
            refuse(field, value, &format!("it cannot be less than {least}"));
        }
    }
    if let Some(value) = int("timeout").filter(|value| *value > 86_400) {
        refuse("timeout", value, "it cannot be more than a day, 86400 seconds");
    }
    if let Some(percent) = int("canaryTrafficPercent").filter(|percent| !(0..=100).contains(percent)) {
        refuse("canaryTrafficPercent", percent, "it is a share of the requests, from 0 to 100");
    }
    let mode = component.text(&["logger", "mode"]);
    if !matches!(mode, "" | "all" | "request" | "response") {
        let reason = "it must be all, request or response";
        errors.push(fault::field(format!("{path}.logger.mode"), mode, reason));
    }
}

/// What is the same for every component: replicas, batches, time limit and where payloads are sent.
pub(crate) fn extend(
    component: &Value,
    scaling: &Scaling,
    spec: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) {
    spec.insert("scaling".to_owned(), scaling.spec.clone());
    notes.extend(scaling.notes.iter().cloned());
    if let Some(seconds) = component.int(&["timeout"]) {
        spec.insert("timeoutSeconds".to_owned(), seconds.into());
    }
    if let Some(batcher) = component.at(&["batcher"]) {
        // The defaults of KServe's batcher.
        let size = batcher.int(&["maxBatchSize"]).unwrap_or(32).clamp(1, 65_536);
        let latency = batcher.int(&["maxLatency"]).unwrap_or(5000).clamp(0, 60_000);
        spec.insert("batching".to_owned(), json!({"maxBatchSize": size, "maxLatencyMillis": latency}));
    }
    if let Some(logger) = component.at(&["logger"]) {
        match (logger.text(&["url"]), logger.text(&["mode"])) {
            ("", _) => notes.push("logger.url is missing: no payload is sent; say where to".to_owned()),
            (url, "") => drop(spec.insert("logging".to_owned(), json!({"url": url, "mode": "all"}))),
            (url, mode) => drop(spec.insert("logging".to_owned(), json!({"url": url, "mode": mode}))),
        }
        if logger.at(&["storage"]).is_some() {
            notes.push("logger.storage has no effect: payloads are sent to logger.url".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_go_before_annotations_and_a_component_before_its_service() {
        let service = json!({"metadata": {"annotations": {
            "autoscaling.knative.dev/min-scale": "2", "autoscaling.knative.dev/target": "7",
            "autoscaling.knative.dev/metric": "rps",
        }}});
        let spec = |component: Value| of(&service, &component).spec;
        assert_eq!(spec(json!({})), json!({"minReplicas": 2, "metric": "rps", "target": 7}));
        assert_eq!(
            spec(json!({
                "minReplicas": 0, "maxReplicas": 3, "scaleMetric": "concurrency", "containerConcurrency": 4,
                "annotations": {"autoscaling.knative.dev/target": "9"},
            })),
            json!({"minReplicas": 0, "maxReplicas": 3, "metric": "concurrency", "target": 9, "concurrency": 4})
        );
        let fixed = json!({"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "none"}}});
        assert_eq!(of(&fixed, &json!({"minReplicas": 3})).spec, json!({"minReplicas": 3, "maxReplicas": 3}));
        let scaling = of(&json!({}), &json!({"scaleMetric": "cpu", "scaleTarget": 80}));
        assert_eq!(scaling.spec, json!({"minReplicas": 1}), "80 percent of a processor are not 80 requests");
        assert_eq!(scaling.notes.len(), 1);
    }

    #[test]
    fn durations_are_as_go_writes_them() {
        for (text, expected) in [
            ("1m30s", Some(90)),
            ("2h", Some(7200)),
            ("1.5s", Some(1)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let mut errors = Vec::new();
        let component = json!({
            "minReplicas": 5, "maxReplicas": 2, "containerConcurrency": -1, "canaryTrafficPercent": 101,
            "logger": {"mode": "some"},
        });
        validate(&component, "spec.predictor", &mut errors);
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.predictor.minReplicas",
                "spec.predictor.containerConcurrency",
                "spec.predictor.canaryTrafficPercent",
                "spec.predictor.logger.mode",
            ]
        );
    }
}
