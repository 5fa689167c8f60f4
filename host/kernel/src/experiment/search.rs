//! An experiment as the search that a tuner sees, and every reason why it cannot be one.
//!
//! Pure. Numbers are parsed here and nowhere else; what is wrong is named by its field in the spec.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use purlin_sandbox::contract::{
    Assignment, Context, Direction, Domain, FieldError, FloatRange, IntRange, Measurement, Objective,
    Outcome, Parameter, Scale, Search, Setting, Trial as SearchTrial,
};

use super::outcome::{Phase, objective_value};
use super::render::Template;
use crate::api::{self, Experiment, ParameterType, Trial};
use crate::expression::Conditions;
use crate::key::Gvk;
use crate::measure::LineParser;
use crate::stage::field_error;

/// Every field that keeps an experiment from being run.
pub(super) fn check(experiment: &Experiment, conditions: &Conditions) -> Vec<FieldError> {
    let spec = &experiment.spec;
    let mut errors = Vec::new();
    if spec.objective.metric.trim().is_empty() {
        errors.push(field_error("spec.objective.metric", "", "name the metric to optimise"));
    }
    let mut names = BTreeSet::new();
    for (at, parameter) in spec.parameters.iter().enumerate() {
        if !names.insert(parameter.name.as_str()) {
            let field = format!("spec.parameters[{at}].name");
            errors.push(field_error(field, &parameter.name, "two parameters have this name"));
        }
        if let Err(error) = domain(at, parameter) {
            errors.push(error);
        }
    }
    let template = &spec.trial_template;
    if Gvk::of_json(&template.object).is_none() {
        errors.push(field_error("spec.trialTemplate.object", "", "give the object's apiVersion and kind"));
    }
    errors.extend(Template::new(template, &spec.parameters).check());
    let written = [
        ("spec.trialTemplate.successCondition", Some(&template.success_condition)),
        ("spec.trialTemplate.failureCondition", template.failure_condition.as_ref()),
    ];
    for (field, text) in written {
        if let Some(text) = text
            && let Err(error) = conditions.check(text)
        {
            errors.push(field_error(field, text, error.to_string()));
        }
    }
    if let Err(error) = LineParser::new(&spec.objective, &spec.metrics_collector) {
        errors.push(field_error("spec.metricsCollector.filter", "", error.to_string()));
    }
    if spec.metrics_collector.source == api::MetricSource::File && spec.metrics_collector.path.is_none() {
        errors.push(field_error("spec.metricsCollector.path", "", "give the file that the metrics are in"));
    }
    errors
}

/// The search of an experiment so far. Parameters whose domain is wrong are left out; [`check`] names them.
pub(super) fn search(experiment: &Experiment, trials: &[Arc<Trial>], context: Context) -> Search {
    let spec = &experiment.spec;
    let parameters = spec.parameters.iter().enumerate().filter_map(|(at, parameter)| {
        domain(at, parameter).ok().map(|domain| Parameter { name: parameter.name.clone(), domain })
    });
    Search {
        context,
        algorithm: spec.algorithm.name.clone(),
        settings: settings(&spec.algorithm.settings),
        parameters: parameters.collect(),
        objective: Objective {
            metric: spec.objective.metric.clone(),
            direction: match spec.objective.direction {
                api::Direction::Minimize => Direction::Minimize,
                api::Direction::Maximize => Direction::Maximize,
            },
            goal: spec.objective.goal,
            additional: spec.objective.additional_metrics.clone(),
        },
        trials: trials.iter().map(|trial| search_trial(&spec.objective, trial)).collect(),
        max_trials: spec.max_trials,
    }
}

/// Settings as the contract has them.
pub(super) fn settings(settings: &[api::Setting]) -> Vec<Setting> {
    settings
        .iter()
        .map(|setting| Setting { name: setting.name.clone(), value: setting.value.clone() })
        .collect()
}

fn search_trial(objective: &api::Objective, trial: &Trial) -> SearchTrial {
    let phase = Phase::of(trial);
    let status = trial.status.as_ref();
    let measured = |measurement: &api::Measurement| {
        Some(Measurement {
            metric: measurement.metric.clone(),
            step: measurement.step,
            value: measurement.value.parse().ok()?,
        })
    };
    SearchTrial {
        id: trial.name_any(),
        assignments: trial
            .spec
            .assignments
            .iter()
            .map(|assignment| Assignment { name: assignment.name.clone(), value: assignment.value.clone() })
            .collect(),
        outcome: match phase {
            Phase::Pending => Outcome::Pending,
            Phase::Running => Outcome::Running,
            Phase::Succeeded => Outcome::Succeeded,
            Phase::EarlyStopped => Outcome::StoppedEarly,
            Phase::Failed | Phase::MetricsUnavailable => Outcome::Failed,
        },
        objective: match phase {
            Phase::Succeeded | Phase::EarlyStopped => {
                status.and_then(|status| objective_value(objective, &status.metrics))
            }
            Phase::Pending | Phase::Running | Phase::Failed | Phase::MetricsUnavailable => None,
        },
        measurements: status
            .map(|s| s.measurements.iter().filter_map(measured).collect())
            .unwrap_or_default(),
    }
}

fn domain(at: usize, parameter: &api::Parameter) -> Result<Domain, FieldError> {
    let field = |name: &str| format!("spec.parameters[{at}].{name}");
    let scale = match parameter.scale {
        api::Scale::Linear => Scale::Linear,
        api::Scale::Log => Scale::Log,
        api::Scale::Normal => Scale::Normal,
        api::Scale::LogNormal => Scale::LogNormal,
    };
    let ordered = |in_order: bool| match in_order {
        true => Ok(()),
        false => Err(field_error(field("min"), &parameter.min, format!("is above max, {}", parameter.max))),
    };
    match parameter.kind {
        ParameterType::Double => {
            let number = |name: &str, text: &str| {
                let parsed = text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
                parsed.ok_or_else(|| field_error(field(name), text, "write a number"))
            };
            let (min, max) = (number("min", &parameter.min)?, number("max", &parameter.max)?);
            ordered(min <= max)?;
            let step = optional(&parameter.step, |text| number("step", text))?;
            if step.is_some_and(|step| step <= 0.0) {
                return Err(field_error(field("step"), &parameter.step, "must be above 0"));
            }
            Ok(Domain::Float(FloatRange { min, max, step, scale }))
        }
        ParameterType::Int => {
            let number = |name: &str, text: &str| {
                text.trim().parse::<i64>().map_err(|_| field_error(field(name), text, "write a whole number"))
            };
            let (min, max) = (number("min", &parameter.min)?, number("max", &parameter.max)?);
            ordered(min <= max)?;
            let step = optional(&parameter.step, |text| number("step", text))?;
            if step.is_some_and(|step| step <= 0) {
                return Err(field_error(field("step"), &parameter.step, "must be above 0"));
            }
            Ok(Domain::Int(IntRange { min, max, step, scale }))
        }
        ParameterType::Discrete | ParameterType::Categorical if parameter.list.is_empty() => {
            Err(field_error(field("list"), "", "list the values"))
        }
        ParameterType::Discrete => {
            let wrong = |text: &&String| !text.trim().parse::<f64>().is_ok_and(f64::is_finite);
            match parameter.list.iter().find(wrong) {
                Some(text) => Err(field_error(field("list"), text, "discrete values are numbers")),
                None => Ok(Domain::Discrete(parameter.list.clone())),
            }
        }
        ParameterType::Categorical => Ok(Domain::Categorical(parameter.list.clone())),
    }
}

fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, FieldError>) -> Result<Option<T>, FieldError> {
    if text.trim().is_empty() { Ok(None) } else { parse(text).map(Some) }
}
