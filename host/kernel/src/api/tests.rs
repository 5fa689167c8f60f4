use super::{Change, crds, find_condition, set_condition};
use jiff::Timestamp;

#[test]
fn every_definition_has_a_status_subresource_and_columns() {
    for crd in crds() {
        let version = &crd.spec.versions[0];
        assert!(version.subresources.as_ref().is_some_and(|s| s.status.is_some()), "{:?}", crd.metadata.name);
        assert!(version.additional_printer_columns.as_ref().is_some_and(|c| c.len() >= 4));
        assert_eq!(version.name, super::VERSION);
        assert_eq!(crd.spec.group, super::GROUP);
    }
}

#[test]
fn a_transition_time_moves_only_with_the_status() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let change = |status, reason| Change {
        kind: "Ready",
        status: Some(status),
        reason,
        message: String::new(),
        generation: Some(1),
    };
    let mut conditions = Vec::new();
    set_condition(&mut conditions, change(true, "A"), at(1));
    set_condition(&mut conditions, change(true, "B"), at(2));
    let ready = find_condition(&conditions, "Ready").unwrap();
    assert_eq!((ready.reason.as_str(), ready.last_transition_time.0), ("B", at(1)));
    set_condition(&mut conditions, change(false, "C"), at(3));
    assert_eq!(find_condition(&conditions, "Ready").unwrap().last_transition_time.0, at(3));
    assert_eq!(conditions.len(), 1);
}
