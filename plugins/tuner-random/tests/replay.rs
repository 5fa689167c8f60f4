//! The same search gives the same points, however it is asked.

mod common;

use common::{float, int, search, setting, trials, values, words};
use proptest::prelude::*;
use purlin_sdk::{Domain, Scale, Search, Tuner};
use tuner_random::RandomSearch;

fn mixed(seed: u64) -> Search {
    search(
        seed,
        vec![
            float(0.01, 0.05, None, Scale::Linear),
            int(1, 1000, None, Scale::Log),
            Domain::Discrete(words(&["16", "32", "64"])),
            Domain::Categorical(words(&["sgd", "adam"])),
            float(-1.0, 1.0, Some(0.1), Scale::Normal),
        ],
    )
}

proptest! {
    #[test]
    fn a_point_depends_on_the_seed_and_its_index_alone(seed: u64, before in 0usize..40, count in 0u32..20) {
        let mut asked = mixed(seed);
        let all = RandomSearch::suggest(&asked, 60).expect("valid");
        asked.trials = trials(before);
        let some = RandomSearch::suggest(&asked, count).expect("valid");
        prop_assert_eq!(&some[..], &all[before..before + count as usize]);
    }
}

#[test]
fn assignments_are_in_the_order_of_the_parameters() {
    let point = &RandomSearch::suggest(&mixed(1), 1).expect("valid")[0];
    let names: Vec<_> = point.assignments.iter().map(|assignment| assignment.name.as_str()).collect();
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);
}

#[test]
fn random_state_replaces_the_seed() {
    let with_state = |seed, state: &str| {
        let mut asked = mixed(seed);
        asked.settings = vec![setting("random_state", state)];
        values(&asked, 5)
    };
    assert_eq!(with_state(1, "10"), with_state(2, "10"));
    assert_ne!(with_state(1, "10"), with_state(1, "11"));
    assert_eq!(with_state(1, "10"), values(&mixed(10), 5));
}

#[test]
fn the_budget_is_kept() {
    let mut asked = mixed(1);
    asked.max_trials = Some(15);
    asked.trials = trials(13);
    assert_eq!(RandomSearch::suggest(&asked, 5).expect("valid").len(), 2);
    asked.trials = trials(20);
    assert!(RandomSearch::suggest(&asked, 5).expect("valid").is_empty());
}
