//! A tuner that answers with what another algorithm answers. It exists to test calls from plugin to plugin: the grant,
//! faults that pass through, and nesting.
//!
//! The setting `algorithm` names the other algorithm; where it names `relay` itself the call nests until the host stops
//! it. The other settings are passed on.

use purlin_sdk::{Fault, FieldError, Search, Suggestion, Tuner, fault, tuner, tuners};

/// The plugin.
pub struct Relay;

impl Tuner for Relay {
    const ALGORITHMS: &'static [&'static str] = &["relay"];

    fn validate(search: &Search) -> Vec<FieldError> {
        match next(search).and_then(|next| tuners::validate(&next)) {
            Ok(errors) => errors,
            Err(Fault::Invalid(errors)) => errors,
            Err(Fault::Retry(retry)) => vec![fault::field("spec.algorithm", "", retry.reason)],
            Err(Fault::Failed(reason)) => vec![fault::field("spec.algorithm", "", reason)],
        }
    }

    fn suggest(search: &Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        tuners::suggest(&next(search)?, count)
    }
}

/// The search as the other plugin should see it. A search that goes to `relay` again keeps its settings, so that it
/// nests for ever.
fn next(search: &Search) -> Result<Search, Fault> {
    let Some((index, setting)) = tuner::setting(search, "algorithm") else {
        return Err(Fault::Invalid(vec![fault::field(
            "spec.algorithm.settings",
            "",
            "relay needs the setting algorithm: the algorithm to pass the search on to",
        )]));
    };
    let mut next = search.clone();
    next.algorithm = setting.value.clone();
    if next.algorithm != "relay" {
        next.settings.remove(index);
    }
    Ok(next)
}

purlin_sdk::export_tuner!(Relay);

#[cfg(test)]
mod tests {
    use purlin_sdk::{Context, Direction, Objective, Setting};

    use super::*;

    fn search(settings: Vec<Setting>) -> Search {
        Search {
            context: Context { now_ms: 0, seed: 0, config: "{}".to_owned() },
            algorithm: "relay".to_owned(),
            settings,
            parameters: Vec::new(),
            objective: Objective {
                metric: "m".to_owned(),
                direction: Direction::Minimize,
                goal: None,
                additional: Vec::new(),
            },
            trials: Vec::new(),
            max_trials: None,
        }
    }

    #[test]
    fn the_setting_chooses_and_is_not_passed_on() {
        let to = |name: &str| Setting { name: "algorithm".to_owned(), value: name.to_owned() };
        let passed = next(&search(vec![to("random")])).expect("the setting is there");
        assert_eq!((passed.algorithm.as_str(), passed.settings.len()), ("random", 0));
        assert_eq!(next(&search(vec![to("relay")])).expect("the setting is there").settings.len(), 1);
        assert!(matches!(next(&search(Vec::new())), Err(Fault::Invalid(_))));
    }
}
