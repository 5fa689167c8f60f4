//! One value of one parameter. The domain has been validated: bounds are finite and in order, steps above 0, lists not
//! empty, and both bounds of a logarithm above 0.

use purlin_sdk::{Domain, FloatRange, IntRange, Random, Scale};

use crate::lattice::Lattice;
use crate::text;

/// The standard deviations between the middle of a range and its bounds, on the normal scales. Three leave 0.27 % of the
/// distribution outside; that part is drawn again.
const DEVIATIONS: f64 = 3.0;

/// A value, as text for a template.
pub(crate) fn value(domain: &Domain, random: &mut Random) -> String {
    match domain {
        Domain::Float(range) => float(range, random),
        Domain::Int(range) => int(range, random),
        Domain::Discrete(list) | Domain::Categorical(list) => one_of(list, random),
    }
}

fn float(range: &FloatRange, random: &mut Random) -> String {
    match range.step {
        None => text::number(real(range.min, range.max, range.scale, random)),
        Some(step) => {
            // A range that is a whole number of steps up to rounding has its upper bound as last value: 0.1 to 0.7 by
            // 0.1 is seven values, although 0.6 / 0.1 is below 6 in binary.
            let steps = (range.max - range.min) / step;
            let last = (steps + 1e-9 * steps.max(1.0)).floor();
            let lattice = Lattice { min: range.min, step, last: last as u64 };
            let position = lattice.draw(range.scale, random);
            text::on_step(range.min, step, position)
        }
    }
}

fn int(range: &IntRange, random: &mut Random) -> String {
    let step = range.step.unwrap_or(1).unsigned_abs().max(1);
    let span = range.max.abs_diff(range.min);
    let lattice = Lattice { min: range.min as f64, step: step as f64, last: span / step };
    let position = lattice.draw(range.scale, random);
    // In range: position * step is at most span.
    range.min.wrapping_add_unsigned(position.wrapping_mul(step)).to_string()
}

fn one_of(list: &[String], random: &mut Random) -> String {
    let index = random.below(list.len() as u64);
    list.get(index as usize).cloned().unwrap_or_default()
}

/// A real number from `min` to `max`.
pub(crate) fn real(min: f64, max: f64, scale: Scale, random: &mut Random) -> f64 {
    let drawn = match scale {
        Scale::Linear => between(min, max, random.unit()),
        Scale::Log => between(min.ln(), max.ln(), random.unit()).exp(),
        Scale::Normal => normal(min, max, random),
        Scale::LogNormal => normal(min.ln(), max.ln(), random).exp(),
    };
    // Rounding, above all of exp(ln(x)), may leave the range by the last digit.
    drawn.clamp(min, max)
}

/// The number at `part` (0 to 1) of the way. Written so that it cannot overflow where `max - min` would.
fn between(min: f64, max: f64, part: f64) -> f64 {
    min * (1.0 - part) + max * part
}

fn normal(min: f64, max: f64, random: &mut Random) -> f64 {
    let (middle, half) = (min / 2.0 + max / 2.0, max / 2.0 - min / 2.0);
    loop {
        let deviation = random.normal() / DEVIATIONS;
        if deviation.abs() <= 1.0 {
            return middle + half * deviation;
        }
    }
}
