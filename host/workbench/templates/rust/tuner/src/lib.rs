//! A uniform random search: replace it with yours.

use purlin_sdk::{Assignment, Domain, Fault, FieldError, Random, Search, Suggestion, Tuner};

struct Uniform;

impl Tuner for Uniform {
    const ALGORITHMS: &'static [&'static str] = &["{{name}}"];

    fn validate(search: &Search) -> Vec<FieldError> {
        purlin_sdk::tuner::unknown_settings(search, &[])
    }

    fn suggest(search: &Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        let first = search.trials.len() as u64;
        Ok((first..first + u64::from(count)).map(|index| point(search, index)).collect())
    }
}

fn point(search: &Search, index: u64) -> Suggestion {
    // A stream for each trial: asked again, the same trial gets the same point.
    let mut random = Random::new(search.context.seed, index);
    let assign = |parameter: &purlin_sdk::Parameter| Assignment {
        name: parameter.name.clone(),
        value: draw(&parameter.domain, &mut random),
    };
    Suggestion { assignments: search.parameters.iter().map(assign).collect(), labels: Vec::new() }
}

fn draw(domain: &Domain, random: &mut Random) -> String {
    match domain {
        Domain::Float(range) => (range.min + random.unit() * (range.max - range.min)).to_string(),
        Domain::Int(range) => {
            let count = range.max.abs_diff(range.min).saturating_add(1);
            range.min.saturating_add_unsigned(random.below(count)).to_string()
        }
        Domain::Discrete(list) | Domain::Categorical(list) => {
            list.get(random.below(list.len() as u64) as usize).cloned().unwrap_or_default()
        }
    }
}

purlin_sdk::export_tuner!(Uniform);
