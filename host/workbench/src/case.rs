//! Cases: one call each, and the answer that is expected, in files that people write. The form is the contract's in JSON
//! or YAML, with the names that Kubernetes manifests have; every SDK reads the same files in its native tests.

use std::path::{Path, PathBuf};

use purlin_sandbox::contract::{
    Assignment, Direction, Domain, Fault, FieldError, FloatRange, IntRange, Measurement, Objective, Outcome,
    Parameter, Scale, Search, Selector, Setting, Severity, Suggestion, SyncRequest, Trial,
};
use purlin_sandbox::{CallError, Plugin, Subject, SyncAnswer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Why cases cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file cannot be read or written.
    #[error("cannot read or write {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no case.
    #[error("{}: {reason}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is none.
    #[error("no case (a .yaml or .json file) in {}; docs/plugin-authors.md shows one", .0.display())]
    None(PathBuf),
}

/// One call and the answer that is expected.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name: as it says, or its file's.
    pub name: String,
    /// The file that it is in.
    pub path: PathBuf,
    /// Its place where the file holds a list.
    pub index: Option<usize>,
    /// The answer that is expected; `None` where none was recorded.
    pub expect: Option<Value>,
    /// `Plugin.spec.config` of the call.
    pub config: Value,
    request: Request,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    #[serde(default)]
    name: Option<String>,
    call: Call,
    #[serde(default)]
    now_ms: u64,
    #[serde(default)]
    seed: Seed,
    #[serde(default)]
    config: Option<Value>,
    #[serde(default)]
    search: Option<SearchForm>,
    #[serde(default)]
    count: u32,
    #[serde(default)]
    parent: Option<Value>,
    #[serde(default)]
    children: Vec<Value>,
    #[serde(default)]
    related: Vec<Value>,
    #[serde(default)]
    expect: Option<Value>,
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Call {
    Check,
    Algorithms,
    Validate,
    Suggest,
    Stop,
    Related,
    Sync,
    Finalize,
}

/// A seed, as a number or, since JSON's numbers end at 2^53 for many, as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Seed {
    Number(u64),
    Text(String),
}

impl Default for Seed {
    fn default() -> Self {
        Seed::Number(0)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SearchForm {
    algorithm: String,
    #[serde(default)]
    settings: Vec<Pair>,
    #[serde(default)]
    parameters: Vec<ParameterForm>,
    #[serde(default)]
    objective: ObjectiveForm,
    #[serde(default)]
    trials: Vec<TrialForm>,
    #[serde(default)]
    max_trials: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParameterForm {
    name: String,
    float: Option<RangeForm<f64>>,
    int: Option<RangeForm<i64>>,
    discrete: Option<Vec<String>>,
    categorical: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeForm<T> {
    min: T,
    max: T,
    step: Option<T>,
    #[serde(default)]
    scale: ScaleForm,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ScaleForm {
    #[default]
    Linear,
    Log,
    Normal,
    LogNormal,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ObjectiveForm {
    metric: String,
    direction: DirectionForm,
    goal: Option<f64>,
    additional: Vec<String>,
}

impl Default for ObjectiveForm {
    fn default() -> Self {
        let metric = "objective".to_owned();
        ObjectiveForm { metric, direction: DirectionForm::Maximize, goal: None, additional: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DirectionForm {
    Minimize,
    Maximize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialForm {
    id: String,
    #[serde(default)]
    assignments: Vec<Pair>,
    #[serde(default)]
    outcome: OutcomeForm,
    #[serde(default)]
    objective: Option<f64>,
    #[serde(default)]
    measurements: Vec<MeasurementForm>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OutcomeForm {
    Pending,
    Running,
    #[default]
    Succeeded,
    StoppedEarly,
    Failed,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeasurementForm {
    metric: String,
    step: u64,
    value: f64,
}

/// The cases of a file, of all files of a folder, or of a log (`.jsonl`, one a line).
///
/// # Errors
/// When a file cannot be read or is no case, or there is none.
pub fn read(path: &Path) -> Result<Vec<Case>, CaseError> {
    let file = |path: &Path, source| CaseError::File { path: path.to_owned(), source };
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|source| file(path, source))? {
            files.push(entry.map_err(|source| file(path, source))?.path());
        }
        let known = ["yaml", "yml", "json", "jsonl"];
        files.retain(|path| {
            path.extension().and_then(|one| one.to_str()).is_some_and(|one| known.contains(&one))
        });
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let mut cases = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|source| file(&path, source))?;
        cases.extend(parse(&path, &text)?);
    }
    if cases.is_empty() { Err(CaseError::None(path.to_owned())) } else { Ok(cases) }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Case>, CaseError> {
    let broken = |reason: String| CaseError::Form { path: path.to_owned(), reason };
    let extension = path.extension().and_then(|one| one.to_str()).unwrap_or_default();
    let documents: Vec<Value> = match extension {
        "jsonl" => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| serde_json::from_str(line).map_err(|error| broken(error.to_string())))
            .collect::<Result<_, _>>()?,
        "json" => listed(serde_json::from_str(text).map_err(|error| broken(error.to_string()))?),
        _ => listed(serde_saphyr::from_str(text).map_err(|error| broken(error.to_string()))?),
    };
    let many = documents.len() > 1 || extension == "jsonl";
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut cases = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let place = if many { format!("[{index}]: ") } else { String::new() };
        let request: Request =
            serde_json::from_value(document).map_err(|error| broken(format!("{place}{error}")))?;
        request.complete().map_err(|reason| broken(format!("{place}{reason}")))?;
        let name = request
            .name
            .clone()
            .unwrap_or_else(|| if many { format!("{stem}[{index}]") } else { stem.clone() });
        cases.push(Case {
            name,
            path: path.to_owned(),
            index: many.then_some(index),
            expect: request.expect.clone(),
            config: request.config.clone().unwrap_or_else(|| json!({})),
            request,
        });
    }
    Ok(cases)
}

fn listed(document: Value) -> Vec<Value> {
    match document {
        Value::Array(items) => items,
        other => vec![other],
    }
}

impl Request {
    /// Whether it has what its call needs.
    fn complete(&self) -> Result<(), String> {
        match self.call {
            Call::Check | Call::Algorithms => Ok(()),
            Call::Validate | Call::Suggest | Call::Stop => self
                .search
                .as_ref()
                .map(|_| ())
                .ok_or_else(|| "search: is missing; this call is about one".to_owned()),
            Call::Related | Call::Sync | Call::Finalize => self
                .parent
                .as_ref()
                .map(|_| ())
                .ok_or_else(|| "parent: is missing; this call is about one".to_owned()),
        }
    }

    fn seed(&self) -> u64 {
        match &self.seed {
            Seed::Number(seed) => *seed,
            Seed::Text(text) => text.parse().unwrap_or_default(),
        }
    }
}

impl Case {
    /// Makes the call, and gives the answer in the form of `expect`.
    ///
    /// # Errors
    /// When the plugin gave no answer: a trap, a limit, a broken contract. A fault is an answer.
    pub async fn call(&self, plugin: &Plugin) -> Result<Value, CallError> {
        let request = &self.request;
        let context = plugin.context(request.now_ms, request.seed());
        let search = || Search {
            context: context.clone(),
            ..request.search.as_ref().map_or_else(empty, SearchForm::search)
        };
        let parent = request.parent.clone().unwrap_or_default();
        let subject = Subject::none();
        let sync = || SyncRequest {
            context: context.clone(),
            parent: parent.to_string(),
            children: request.children.iter().map(Value::to_string).collect(),
            related: request.related.iter().map(Value::to_string).collect(),
        };
        let answered = match request.call {
            Call::Check => plugin.check(context.clone()).await.map(|()| json!({})),
            Call::Algorithms => plugin.algorithms().await.map(|names| json!({"algorithms": names})),
            Call::Validate => {
                plugin.validate(&subject, search()).await.map(|found| json!({"errors": errors(&found)}))
            }
            Call::Suggest => plugin
                .suggest(&subject, search(), request.count)
                .await
                .map(|points| json!({"suggestions": points.iter().map(suggestion).collect::<Vec<_>>()})),
            Call::Stop => plugin.stop(&subject, search()).await.map(|ids| json!({"stop": ids})),
            Call::Related => plugin
                .related(&subject, context.clone(), parent.to_string())
                .await
                .map(|found| json!({"selectors": found.iter().map(selector).collect::<Vec<_>>()})),
            Call::Sync => plugin.sync(&subject, sync()).await.map(|answer| response(&answer)),
            Call::Finalize => plugin.finalize(&subject, sync()).await.map(|answer| response(&answer)),
        };
        match answered {
            Err(CallError::Fault(fault)) => Ok(json!({"fault": described(&fault)})),
            other => other,
        }
    }

    /// Writes an answer into the case's file as what is expected.
    ///
    /// # Errors
    /// When the file cannot be written, or is a log, which is not changed.
    pub fn record(&self, answer: &Value) -> Result<(), CaseError> {
        let path = &self.path;
        let broken = |reason: String| CaseError::Form { path: path.clone(), reason };
        let file = |source| CaseError::File { path: path.clone(), source };
        let text = std::fs::read_to_string(path).map_err(file)?;
        let json = match path.extension().and_then(|one| one.to_str()) {
            Some("json") => true,
            Some("jsonl") => return Err(broken("a recorded log is not changed".to_owned())),
            _ => false,
        };
        if !json && self.index.is_none() {
            // The comments and the order of what a person wrote stay: only the last block is replaced.
            let head = text.find("\nexpect:").map_or(text.as_str(), |at| &text[..=at]);
            let head = head.trim_end();
            let written = format!("{head}\nexpect:\n{}", yaml(answer, 1));
            return std::fs::write(path, written).map_err(file);
        }
        if !json {
            return Err(broken(
                "a list of cases in YAML is not changed; give each a file, or use JSON".to_owned(),
            ));
        }
        let mut document: Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        let place = match self.index {
            Some(index) => document.get_mut(index),
            None => Some(&mut document),
        };
        if let Some(Value::Object(case)) = place {
            case.insert("expect".to_owned(), answer.clone());
        }
        std::fs::write(path, format!("{document:#}\n")).map_err(file)
    }
}

/// A value as YAML: blocks for objects and lists of objects, JSON (which is YAML) for what is within one line.
fn yaml(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    let inline = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => true,
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .map(|(key, value)| {
                let key = if key.chars().all(|one| one.is_ascii_alphanumeric()) {
                    key.clone()
                } else {
                    json!(key).to_string()
                };
                if inline(value) {
                    format!("{pad}{key}: {value}\n")
                } else {
                    format!("{pad}{key}:\n{}", yaml(value, depth + 1))
                }
            })
            .collect(),
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| match item {
                Value::Object(fields) if fields.values().all(inline) => format!("{pad}- {item}\n"),
                _ if inline(item) => format!("{pad}- {item}\n"),
                _ => {
                    let block = yaml(item, depth + 1);
                    format!("{pad}- {}", block.trim_start())
                }
            })
            .collect(),
        other => format!("{pad}{other}\n"),
    }
}

impl SearchForm {
    /// As the contract has it; the context is the case's.
    fn search(&self) -> Search {
        Search {
            algorithm: self.algorithm.clone(),
            settings: self.settings.iter().map(Pair::setting).collect(),
            parameters: self.parameters.iter().map(ParameterForm::parameter).collect(),
            objective: Objective {
                metric: self.objective.metric.clone(),
                direction: match self.objective.direction {
                    DirectionForm::Minimize => Direction::Minimize,
                    DirectionForm::Maximize => Direction::Maximize,
                },
                goal: self.objective.goal,
                additional: self.objective.additional.clone(),
            },
            trials: self.trials.iter().map(TrialForm::trial).collect(),
            max_trials: self.max_trials,
            ..empty()
        }
    }
}

fn empty() -> Search {
    Search {
        context: purlin_sandbox::contract::Context { now_ms: 0, seed: 0, config: "{}".to_owned() },
        algorithm: String::new(),
        settings: Vec::new(),
        parameters: Vec::new(),
        objective: Objective {
            metric: String::new(),
            direction: Direction::Maximize,
            goal: None,
            additional: Vec::new(),
        },
        trials: Vec::new(),
        max_trials: None,
    }
}

impl Pair {
    fn setting(&self) -> Setting {
        Setting { name: self.name.clone(), value: self.value.clone() }
    }
}

impl ParameterForm {
    fn parameter(&self) -> Parameter {
        let domain = match (&self.float, &self.int, &self.discrete, &self.categorical) {
            (Some(range), ..) => Domain::Float(FloatRange {
                min: range.min,
                max: range.max,
                step: range.step,
                scale: range.scale.scale(),
            }),
            (None, Some(range), ..) => Domain::Int(IntRange {
                min: range.min,
                max: range.max,
                step: range.step,
                scale: range.scale.scale(),
            }),
            (None, None, Some(values), _) => Domain::Discrete(values.clone()),
            (None, None, None, values) => Domain::Categorical(values.clone().unwrap_or_default()),
        };
        Parameter { name: self.name.clone(), domain }
    }
}

impl ScaleForm {
    fn scale(self) -> Scale {
        match self {
            ScaleForm::Linear => Scale::Linear,
            ScaleForm::Log => Scale::Log,
            ScaleForm::Normal => Scale::Normal,
            ScaleForm::LogNormal => Scale::LogNormal,
        }
    }
}

impl TrialForm {
    fn trial(&self) -> Trial {
        let assignment = |pair: &Pair| Assignment { name: pair.name.clone(), value: pair.value.clone() };
        let measurement = |one: &MeasurementForm| Measurement {
            metric: one.metric.clone(),
            step: one.step,
            value: one.value,
        };
        Trial {
            id: self.id.clone(),
            assignments: self.assignments.iter().map(assignment).collect(),
            outcome: match self.outcome {
                OutcomeForm::Pending => Outcome::Pending,
                OutcomeForm::Running => Outcome::Running,
                OutcomeForm::Succeeded => Outcome::Succeeded,
                OutcomeForm::StoppedEarly => Outcome::StoppedEarly,
                OutcomeForm::Failed => Outcome::Failed,
            },
            objective: self.objective,
            measurements: self.measurements.iter().map(measurement).collect(),
        }
    }
}

fn errors(found: &[FieldError]) -> Vec<Value> {
    let error = |one: &FieldError| json!({"field": one.field, "value": one.value, "reason": one.reason});
    found.iter().map(error).collect()
}

fn described(fault: &Fault) -> Value {
    match fault {
        Fault::Invalid(found) => json!({"invalid": errors(found)}),
        Fault::Retry(retry) => json!({"retry": {"afterMs": retry.after_ms, "reason": retry.reason}}),
        Fault::Failed(text) => json!({"failed": text}),
    }
}

fn suggestion(point: &Suggestion) -> Value {
    let assignment = |one: &Assignment| json!({"name": one.name, "value": one.value});
    let mut found = Map::new();
    found.insert("assignments".to_owned(), point.assignments.iter().map(assignment).collect());
    if !point.labels.is_empty() {
        let label = |one: &Setting| json!({"name": one.name, "value": one.value});
        found.insert("labels".to_owned(), point.labels.iter().map(label).collect());
    }
    found.into()
}

fn selector(one: &Selector) -> Value {
    let mut found = json!({"apiVersion": one.api_version, "kind": one.kind});
    if let Some(namespace) = &one.namespace {
        found["namespace"] = json!(namespace);
    }
    if !one.names.is_empty() {
        found["names"] = json!(one.names);
    }
    if !one.labels.is_empty() {
        found["labels"] = json!(one.labels);
    }
    found
}

fn response(answer: &SyncAnswer) -> Value {
    let child = |one: &purlin_sandbox::Child| serde_json::from_str::<Value>(one.text()).unwrap_or_default();
    let mut found = json!({"children": answer.children.iter().map(child).collect::<Vec<_>>()});
    if let Some(status) = &answer.status {
        found["status"] = status.clone();
    }
    if let Some(delay) = answer.requeue_after {
        found["requeueAfterMs"] = json!(delay.as_millis() as u64);
    }
    if !answer.events.is_empty() {
        let events = answer.events.iter().map(|event| {
            let severity = match event.severity {
                Severity::Normal => "normal",
                Severity::Warning => "warning",
            };
            json!({"severity": severity, "reason": event.reason, "message": event.message})
        });
        found["events"] = events.collect();
    }
    found
}
