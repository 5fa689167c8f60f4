//! Columns and cells, against those of a real kube-apiserver (`tests/real/tables.json`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use purlin_schema::table::Columns;
use serde_json::{Value, json};

/// How long ago something was, which the two servers answered at different times.
fn is_span(cell: &Value) -> bool {
    let Some(text) = cell.as_str() else { return false };
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h', 'd', 'y'])
        && text.chars().all(|char| char.is_ascii_digit() || "smhdy".contains(char))
}

/// Cells without what depends on the time.
fn timeless(cells: &[Value]) -> Vec<Value> {
    let timeless = |cell: &Value| match cell.as_str().and_then(|text| text.split_once(" (")) {
        Some((restarts, rest)) if rest.ends_with(" ago)") => json!(format!("{restarts} (some time ago)")),
        _ if is_span(cell) => json!("a span"),
        _ => cell.clone(),
    };
    cells.iter().map(timeless).collect()
}

#[test]
fn rows_are_those_of_the_real_server() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("real/tables.json")).unwrap();
    assert!(cases.len() > 40);
    let now = "2026-11-24T04:00:00Z".parse().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let object = &case["object"];
        let group = object["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
        let columns = Columns::builtin(group, object["kind"].as_str().unwrap());
        let titles: Vec<Value> =
            columns.columns().iter().map(|c| json!([c.name, c.kind, c.format, c.priority])).collect();
        assert_eq!(json!(titles), case["columns"], "{}", object["kind"]);
        let (ours, theirs) = (columns.cells(object, now), case["cells"].as_array().unwrap());
        if timeless(&ours) != timeless(theirs) {
            wrong.push(format!("{}: {ours:?}, not {theirs:?}", object["kind"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
