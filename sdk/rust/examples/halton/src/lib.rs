//! Halton: points that fill a space evenly, in the order of a low-discrepancy sequence.
//!
//! What is drawn is defined in docs/halton.md, to the last bit: the four SDKs' examples pass the same vectors.

mod text;

use purlin_sdk::tuner::{setting, setting_path, unknown_settings};
use purlin_sdk::{Assignment, Domain, Fault, FieldError, Random, Scale, Search, Suggestion, Tuner, fault};
use text::{number, on_step};

const BASES: [u64; 16] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53];
const SETTINGS: [&str; 2] = ["random_state", "skip"];
const MOST: f64 = (1u64 << 53) as f64;

/// The plugin.
pub struct Halton;

impl Tuner for Halton {
    const ALGORITHMS: &'static [&'static str] = &["halton"];

    fn validate(search: &Search) -> Vec<FieldError> {
        let mut errors = unknown_settings(search, &SETTINGS);
        for name in SETTINGS {
            if let Some((index, found)) = setting(search, name)
                && whole(&found.value).is_none()
            {
                let reason = format!("{name} must be a whole number of 32 bits");
                errors.push(fault::field(setting_path(index), &found.value, reason));
            }
        }
        let count = search.parameters.len();
        if !(1..=BASES.len()).contains(&count) {
            let reason = format!("halton searches 1 to {} parameters", BASES.len());
            errors.push(fault::field("spec.parameters", count.to_string(), reason));
        }
        for (index, parameter) in search.parameters.iter().enumerate() {
            domain_errors(&format!("spec.parameters[{index}]"), &parameter.domain, &mut errors);
        }
        errors
    }

    fn suggest(search: &Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        fault::check(Self::validate(search))?;
        let given = |name| setting(search, name).and_then(|(_, found)| whole(&found.value));
        let seed = given("random_state").unwrap_or(search.context.seed);
        let skip = given("skip").unwrap_or(0);
        let first = search.trials.len() as u64;
        let last = first + u64::from(count);
        let last = search.max_trials.map_or(last, |most| last.min(u64::from(most)));
        Ok((first..last).map(|index| point(search, seed, skip + index + 1)).collect())
    }
}

fn point(search: &Search, seed: u64, index: u64) -> Suggestion {
    let dimensions = search.parameters.iter().zip(BASES).zip(0u64..);
    let assignments = dimensions.map(|((parameter, base), dimension)| {
        let unit = inverse(index, base) + Random::new(seed, dimension).unit();
        let value = pick(&parameter.domain, if unit >= 1.0 { unit - 1.0 } else { unit });
        Assignment { name: parameter.name.clone(), value }
    });
    Suggestion { assignments: assignments.collect(), labels: Vec::new() }
}

/// A whole number of 32 bits, in decimal digits.
fn whole(text: &str) -> Option<u64> {
    let digits = text.len() <= 10 && text.bytes().all(|one| one.is_ascii_digit());
    if digits { text.parse::<u32>().ok().map(u64::from) } else { None }
}

/// The digits of `index`, mirrored behind the point.
fn inverse(mut index: u64, base: u64) -> f64 {
    let (mut numerator, mut denominator) = (0, 1);
    while index > 0 {
        numerator = numerator * base + index % base;
        denominator *= base;
        index /= base;
    }
    numerator as f64 / denominator as f64
}

/// The value at a place of [0, 1).
fn pick(domain: &Domain, unit: f64) -> String {
    match domain {
        Domain::Float(range) => match range.step {
            None => number(between(range.min, range.max, range.scale, unit)),
            Some(step) => {
                let steps = (range.max - range.min) / step;
                let last = (steps + 1e-9 * steps.max(1.0)).floor() as u64;
                on_step(range.min, step, position(range.min, range.max, step, last, range.scale, unit))
            }
        },
        Domain::Int(range) => {
            let step = range.step.unwrap_or(1).unsigned_abs();
            let last = range.max.abs_diff(range.min) / step;
            let at = position(range.min as f64, range.max as f64, step as f64, last, range.scale, unit);
            range.min.saturating_add_unsigned(at * step).to_string()
        }
        Domain::Discrete(list) | Domain::Categorical(list) => {
            let at = place(unit, list.len().saturating_sub(1) as u64);
            list.get(at as usize).cloned().unwrap_or_default()
        }
    }
}

fn place(unit: f64, last: u64) -> u64 {
    ((unit * (last + 1) as f64).floor() as u64).min(last)
}

fn position(min: f64, max: f64, step: f64, last: u64, scale: Scale, unit: f64) -> u64 {
    if scale == Scale::Linear {
        return place(unit, last);
    }
    (((between(min, max, scale, unit) - min) / step + 0.5).floor() as u64).min(last)
}

fn between(min: f64, max: f64, scale: Scale, mut unit: f64) -> f64 {
    if scale == Scale::Linear {
        return (min * (1.0 - unit) + max * unit).max(min).min(max);
    }
    // min * (max / min) ** unit, by roots alone: they are exact to the last bit everywhere, powers are not.
    let (mut value, mut root) = (min, max / min);
    for _ in 0..32 {
        root = root.sqrt();
        unit *= 2.0;
        if unit >= 1.0 {
            unit -= 1.0;
            value *= root;
        }
    }
    value.max(min).min(max)
}

/// A range as what is checked of it: its bounds and step, each also as text.
struct Bounds {
    min: (f64, String),
    max: (f64, String),
    step: Option<(f64, String)>,
    scale: Scale,
}

fn domain_errors(path: &str, domain: &Domain, errors: &mut Vec<FieldError>) {
    let mut add = |name: &str, value: &str, reason: &str| {
        errors.push(fault::field(format!("{path}.{name}"), value, reason));
    };
    let real = |value: f64| (value, number(value));
    let integer = |value: i64| (value as f64, value.to_string());
    let bounds = match domain {
        Domain::Float(range) => Bounds {
            min: real(range.min),
            max: real(range.max),
            step: range.step.map(real),
            scale: range.scale,
        },
        Domain::Int(range) => Bounds {
            min: integer(range.min),
            max: integer(range.max),
            step: range.step.map(integer),
            scale: range.scale,
        },
        Domain::Discrete(list) | Domain::Categorical(list) => {
            if list.is_empty() {
                add("list", "", "must have at least one value");
            }
            return;
        }
    };
    let ((min, min_text), (max, max_text)) = (&bounds.min, &bounds.max);
    for (name, value, text) in [("min", min, min_text), ("max", max, max_text)] {
        if value.is_nan() || value.abs() > MOST {
            add(name, text, "must lie within 2^53 of 0");
        }
    }
    if min > max {
        add("min", min_text, &format!("must be at most max, which is {max_text}"));
    }
    if let Some((step, text)) = &bounds.step
        && !(*step > 0.0 && *step <= MOST)
    {
        add("step", text, "must be above 0");
    }
    let word = match bounds.scale {
        Scale::Normal => Some("normal"),
        Scale::LogNormal => Some("log-normal"),
        Scale::Linear | Scale::Log => None,
    };
    if let Some(word) = word {
        add("scale", word, "halton has no normal scales; use linear or log");
    }
    if bounds.scale == Scale::Log && *min <= 0.0 {
        add("min", min_text, "must be above 0 on the scale log");
    }
}

purlin_sdk::export_tuner!(Halton);
