//! What cannot be searched is refused, with the field that the user must correct.

mod common;

use common::{float, int, search, setting, words};
use purlin_sdk::{Domain, Fault, Scale, Search, Tuner};
use tuner_random::RandomSearch;

fn fields(search: &Search) -> Vec<String> {
    RandomSearch::validate(search).into_iter().map(|error| error.field).collect()
}

#[test]
fn a_valid_search_has_no_error() {
    assert!(
        fields(&search(1, vec![float(0.0, 0.0, None, Scale::Linear), int(-1, 1, Some(1), Scale::Normal)]))
            .is_empty()
    );
}

#[test]
fn each_bad_domain_names_its_field() {
    let empty = Vec::new();
    for (domain, field) in [
        (float(2.0, 1.0, None, Scale::Linear), "spec.parameters[0].min"),
        (float(f64::NAN, 1.0, None, Scale::Linear), "spec.parameters[0].min"),
        (float(0.0, f64::INFINITY, None, Scale::Linear), "spec.parameters[0].max"),
        (float(0.0, 1.0, None, Scale::Log), "spec.parameters[0].min"),
        (float(-1.0, 1.0, None, Scale::LogNormal), "spec.parameters[0].min"),
        (float(0.0, 1.0, Some(0.0), Scale::Linear), "spec.parameters[0].step"),
        (float(0.0, 1.0, Some(f64::NAN), Scale::Linear), "spec.parameters[0].step"),
        (int(2, 1, None, Scale::Linear), "spec.parameters[0].min"),
        (int(0, 1, None, Scale::Log), "spec.parameters[0].min"),
        (int(0, 1, Some(-1), Scale::Linear), "spec.parameters[0].step"),
        (Domain::Discrete(empty.clone()), "spec.parameters[0].list"),
        (Domain::Discrete(words(&["1", "two"])), "spec.parameters[0].list[1]"),
        (Domain::Categorical(empty), "spec.parameters[0].list"),
    ] {
        assert_eq!(fields(&search(1, vec![domain.clone()])), [field], "{domain:?}");
    }
}

#[test]
fn settings_are_known_single_and_numbers() {
    let with = |settings| {
        let mut asked = search(1, vec![int(0, 1, None, Scale::Linear)]);
        asked.settings = settings;
        fields(&asked)
    };
    assert!(with(vec![setting("random_state", "10")]).is_empty());
    assert_eq!(with(vec![setting("random_state", "-1")]), ["spec.algorithm.settings[0]"]);
    assert_eq!(
        with(vec![setting("random_state", "1"), setting("gamma", "2")]),
        ["spec.algorithm.settings[1]"]
    );
    assert_eq!(
        with(vec![setting("random_state", "1"), setting("random_state", "1")]),
        ["spec.algorithm.settings[1]"]
    );
}

#[test]
fn parameters_are_present_named_and_distinct() {
    assert_eq!(fields(&search(1, Vec::new())), ["spec.parameters"]);
    let mut asked = search(1, vec![int(0, 1, None, Scale::Linear), int(0, 1, None, Scale::Linear)]);
    asked.parameters[1].name = "p0".to_owned();
    assert_eq!(fields(&asked), ["spec.parameters[1].name"]);
    asked.parameters[0].name.clear();
    assert_eq!(fields(&asked), ["spec.parameters[0].name"]);
}

#[test]
fn suggest_refuses_what_validate_refuses() {
    let asked = search(1, vec![int(2, 1, None, Scale::Linear)]);
    assert_eq!(RandomSearch::suggest(&asked, 1), Err(Fault::Invalid(RandomSearch::validate(&asked))));
}
