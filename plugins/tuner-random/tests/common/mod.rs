//! Searches for the tests to start from.
#![allow(dead_code, reason = "each test file uses its part")]

use purlin_sdk::{
    Context, Direction, Domain, FloatRange, IntRange, Objective, Outcome, Parameter, Scale, Search, Setting,
    Trial, Tuner,
};
use tuner_random::RandomSearch;

pub(crate) fn search(seed: u64, domains: Vec<Domain>) -> Search {
    Search {
        context: Context { now_ms: 0, seed, config: "{}".to_owned() },
        algorithm: "random".to_owned(),
        settings: Vec::new(),
        parameters: domains
            .into_iter()
            .enumerate()
            .map(|(index, domain)| Parameter { name: format!("p{index}"), domain })
            .collect(),
        objective: Objective {
            metric: "accuracy".to_owned(),
            direction: Direction::Maximize,
            goal: None,
            additional: Vec::new(),
        },
        trials: Vec::new(),
        max_trials: None,
    }
}

pub(crate) fn float(min: f64, max: f64, step: Option<f64>, scale: Scale) -> Domain {
    Domain::Float(FloatRange { min, max, step, scale })
}

pub(crate) fn int(min: i64, max: i64, step: Option<i64>, scale: Scale) -> Domain {
    Domain::Int(IntRange { min, max, step, scale })
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(crate) fn setting(name: &str, value: &str) -> Setting {
    Setting { name: name.to_owned(), value: value.to_owned() }
}

/// `count` trials, of which nothing is known but that they exist.
pub(crate) fn trials(count: usize) -> Vec<Trial> {
    (0..count)
        .map(|index| Trial {
            id: format!("t{index}"),
            assignments: Vec::new(),
            outcome: Outcome::Running,
            objective: None,
            measurements: Vec::new(),
        })
        .collect()
}

/// The values of the first parameter in `count` points.
pub(crate) fn values(search: &Search, count: u32) -> Vec<String> {
    let points = RandomSearch::suggest(search, count).expect("the search is valid");
    points.into_iter().map(|point| point.assignments[0].value.clone()).collect()
}

pub(crate) fn numbers(search: &Search, count: u32) -> Vec<f64> {
    values(search, count).iter().map(|value| value.parse().expect("a number")).collect()
}
