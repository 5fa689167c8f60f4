//! The example passes the vectors that all SDKs' examples pass. Calls that only list points are compared here; the whole
//! file is run in the sandbox by tests/sdk.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::testing::response;
use purlin_sdk::{
    Context, Direction, Domain, FloatRange, IntRange, Objective, Outcome, Parameter, Scale, Search, Setting,
    SyncResponse, Trial, Tuner,
};
use tuner_halton::Halton;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn scale(range: &Value) -> Scale {
    match range["scale"].as_str() {
        Some("log") => Scale::Log,
        Some("normal") => Scale::Normal,
        Some("log-normal") => Scale::LogNormal,
        _ => Scale::Linear,
    }
}

fn domain(one: &Value) -> Domain {
    if let Some(range) = one.get("float") {
        let number = |name: &str| range[name].as_f64();
        let (min, max) = (number("min").unwrap_or_default(), number("max").unwrap_or_default());
        return Domain::Float(FloatRange { min, max, step: number("step"), scale: scale(range) });
    }
    if let Some(range) = one.get("int") {
        let number = |name: &str| range[name].as_i64();
        let (min, max) = (number("min").unwrap_or_default(), number("max").unwrap_or_default());
        return Domain::Int(IntRange { min, max, step: number("step"), scale: scale(range) });
    }
    match one.get("discrete") {
        Some(values) => Domain::Discrete(texts(values)),
        None => Domain::Categorical(texts(&one["categorical"])),
    }
}

fn search(case: &Value) -> Search {
    let content = &case["search"];
    let items = |name: &str| content[name].as_array().cloned().unwrap_or_default();
    Search {
        context: Context {
            now_ms: 0,
            seed: text(&case["seed"]).parse().unwrap_or(0),
            config: "{}".to_owned(),
        },
        algorithm: text(&content["algorithm"]),
        settings: items("settings")
            .iter()
            .map(|one| Setting { name: text(&one["name"]), value: text(&one["value"]) })
            .collect(),
        parameters: items("parameters")
            .iter()
            .map(|one| Parameter { name: text(&one["name"]), domain: domain(one) })
            .collect(),
        objective: Objective {
            metric: "loss".to_owned(),
            direction: Direction::Minimize,
            goal: None,
            additional: Vec::new(),
        },
        trials: items("trials")
            .iter()
            .map(|one| Trial {
                id: text(&one["id"]),
                assignments: Vec::new(),
                outcome: Outcome::Succeeded,
                objective: None,
                measurements: Vec::new(),
            })
            .collect(),
        max_trials: content["maxTrials"].as_u64().map(|most| most as u32),
    }
}

#[test]
fn the_points_are_those_of_the_other_sdks() {
    let cases: Value = purlin_sdk::serde_json::from_str(include_str!("../../../../halton.json"))
        .expect("the vectors are JSON");
    let mut seen = 0;
    for case in cases.as_array().expect("a list") {
        let actual = match case["call"].as_str() {
            Some("suggest") => {
                match Halton::suggest(&search(case), case["count"].as_u64().unwrap_or(0) as u32) {
                    Ok(points) => json!({"suggestions": points.iter().map(|point| json!({
                    "assignments": point.assignments.iter()
                        .map(|one| json!({"name": one.name, "value": one.value})).collect::<Vec<_>>(),
                })).collect::<Vec<_>>()}),
                    Err(fault) => response(&Err::<SyncResponse, _>(fault)),
                }
            }
            Some("validate") => json!({"errors": Halton::validate(&search(case)).iter()
                .map(|one| json!({"field": one.field, "value": one.value, "reason": one.reason})).collect::<Vec<_>>()}),
            _ => continue,
        };
        assert_eq!(actual, case["expect"], "{}", case["name"]);
        seen += 1;
    }
    assert!(seen > 15, "{seen} cases");
}
