//! Random search: every point is drawn by itself, so the search can use any number of trials at once and never waits.
//!
//! The point of the k-th trial depends on the seed and on k alone. A kernel that is killed after it asked and before it
//! wrote asks again and gets the same point; two that are asked for together are those that would have been asked for one
//! after the other. Points are drawn with replacement: a finite space is never exhausted and may repeat a point, as
//! random search does elsewhere.
//!
//! The setting `random_state` (a whole number from 0) replaces the experiment's own seed, so that two experiments try the
//! same points.

mod lattice;
mod sample;
mod text;
mod validate;

use purlin_sdk::{Assignment, Fault, FieldError, Random, Search, Suggestion, Tuner, fault};

/// The plugin.
pub struct RandomSearch;

impl Tuner for RandomSearch {
    const ALGORITHMS: &'static [&'static str] = &["random"];

    fn validate(search: &Search) -> Vec<FieldError> {
        validate::search(search)
    }

    fn suggest(search: &Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        fault::check(validate::search(search))?;
        let seed = validate::random_state(search).unwrap_or(search.context.seed);
        let first = search.trials.len() as u64;
        let last = match search.max_trials {
            Some(most) => (first + u64::from(count)).min(u64::from(most)),
            None => first + u64::from(count),
        };
        Ok((first..last).map(|index| point(search, seed, index)).collect())
    }
}

/// The point of the trial at `index`.
fn point(search: &Search, seed: u64, index: u64) -> Suggestion {
    let mut random = Random::new(seed, index);
    let assignments = search
        .parameters
        .iter()
        .map(|parameter| Assignment {
            name: parameter.name.clone(),
            value: sample::value(&parameter.domain, &mut random),
        })
        .collect();
    Suggestion { assignments, labels: Vec::new() }
}

purlin_sdk::export_tuner!(RandomSearch);
