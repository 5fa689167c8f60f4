//! All that keeps a search from being drawn at random, each with the field that the user must correct. Fields are named
//! as in the generic experiment.

use std::collections::BTreeSet;

use purlin_sdk::fault::field;
use purlin_sdk::tuner::{setting, setting_path, unknown_settings};
use purlin_sdk::{Domain, FieldError, FloatRange, IntRange, Scale, Search};

/// The setting that replaces the experiment's seed.
const RANDOM_STATE: &str = "random_state";

/// The seed that the user set, if it is one.
pub(crate) fn random_state(search: &Search) -> Option<u64> {
    setting(search, RANDOM_STATE).and_then(|(_, setting)| setting.value.trim().parse().ok())
}

/// Every error of a search.
pub(crate) fn search(search: &Search) -> Vec<FieldError> {
    let mut errors = unknown_settings(search, &[RANDOM_STATE]);
    if let Some((index, setting)) = setting(search, RANDOM_STATE)
        && random_state(search).is_none()
    {
        errors.push(field(setting_path(index), &setting.value, "random_state must be a whole number from 0"));
    }
    if search.parameters.is_empty() {
        errors.push(field("spec.parameters", "", "a search needs at least one parameter"));
    }
    let mut names = BTreeSet::new();
    for (index, parameter) in search.parameters.iter().enumerate() {
        let path = format!("spec.parameters[{index}]");
        if parameter.name.is_empty() {
            errors.push(field(format!("{path}.name"), "", "a parameter needs a name"));
        } else if !names.insert(parameter.name.as_str()) {
            errors.push(field(
                format!("{path}.name"),
                &parameter.name,
                "this name is taken by an earlier parameter",
            ));
        }
        match &parameter.domain {
            Domain::Float(range) => float(&path, range, &mut errors),
            Domain::Int(range) => int(&path, range, &mut errors),
            Domain::Discrete(list) => discrete(&path, list, &mut errors),
            Domain::Categorical(list) => not_empty(&path, list, &mut errors),
        }
    }
    errors
}

fn float(path: &str, range: &FloatRange, errors: &mut Vec<FieldError>) {
    let mut finite = true;
    for (name, value) in [("min", range.min), ("max", range.max)] {
        if !value.is_finite() {
            finite = false;
            errors.push(field(format!("{path}.{name}"), value.to_string(), "must be a finite number"));
        }
    }
    if finite && range.min > range.max {
        errors.push(order(path, range.min, range.max));
    }
    if logarithmic(range.scale) && range.min <= 0.0 {
        errors.push(positive(path, range.min));
    }
    if let Some(step) = range.step
        && !(step.is_finite() && step > 0.0)
    {
        errors.push(field(format!("{path}.step"), step.to_string(), "must be a number above 0"));
    }
}

fn int(path: &str, range: &IntRange, errors: &mut Vec<FieldError>) {
    if range.min > range.max {
        errors.push(order(path, range.min, range.max));
    }
    if logarithmic(range.scale) && range.min <= 0 {
        errors.push(positive(path, range.min));
    }
    if let Some(step) = range.step
        && step <= 0
    {
        errors.push(field(format!("{path}.step"), step.to_string(), "must be a whole number above 0"));
    }
}

fn discrete(path: &str, list: &[String], errors: &mut Vec<FieldError>) {
    not_empty(path, list, errors);
    for (index, value) in list.iter().enumerate() {
        if !value.trim().parse::<f64>().is_ok_and(f64::is_finite) {
            errors.push(field(
                format!("{path}.list[{index}]"),
                value,
                "a discrete parameter has numbers; make it categorical for anything else",
            ));
        }
    }
}

fn not_empty(path: &str, list: &[String], errors: &mut Vec<FieldError>) {
    if list.is_empty() {
        errors.push(field(format!("{path}.list"), "", "must have at least one value"));
    }
}

fn logarithmic(scale: Scale) -> bool {
    match scale {
        Scale::Log | Scale::LogNormal => true,
        Scale::Linear | Scale::Normal => false,
    }
}

fn order(path: &str, min: impl ToString, max: impl ToString) -> FieldError {
    let (min, max) = (min.to_string(), max.to_string());
    field(format!("{path}.min"), &min, format!("must be at most max, which is {max}"))
}

fn positive(path: &str, min: impl ToString) -> FieldError {
    field(format!("{path}.min"), min.to_string(), "must be above 0 on a logarithmic scale")
}
