//! Components of an earlier version of the contract go on working beside those of the newest.

use std::time::Duration;

use purlin_sandbox::contract::{
    Context, Direction, Domain, IntRange, Objective, Parameter, Scale, Search, SyncRequest,
};
use purlin_sandbox::{Limits, LoadRequest, Subject};
use serde_json::json;

use crate::host::{Host, artifact, request};

fn search() -> Search {
    let range = IntRange { min: 1, max: 100, step: None, scale: Scale::Linear };
    Search {
        context: Context { now_ms: 0, seed: 42, config: "{}".to_owned() },
        algorithm: "random".to_owned(),
        settings: Vec::new(),
        parameters: vec![Parameter { name: "x".to_owned(), domain: Domain::Int(range) }],
        objective: Objective {
            metric: "loss".to_owned(),
            direction: Direction::Minimize,
            goal: None,
            additional: Vec::new(),
        },
        trials: Vec::new(),
        max_trials: Some(8),
    }
}

fn unlimited(request: LoadRequest) -> LoadRequest {
    LoadRequest { limits: Limits { deadline: Duration::from_secs(20), ..Limits::default() }, ..request }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_the_contract_are_served_side_by_side() {
    let host = Host::new();
    let old = artifact("plugins/history/v0.1", "tuner-random");
    let new = artifact("plugins/dist", "tuner-random");
    assert_eq!(
        (old.manifest().wit.to_string(), new.manifest().wit.to_string()),
        ("0.1.0".to_owned(), "0.3.0".to_owned())
    );
    let middle = artifact("plugins/history/v0.2", "tuner-random");
    assert_eq!(middle.manifest().wit.to_string(), "0.2.0");
    let middle = host.load_request(unlimited(request(&middle, &[], "3"))).await.expect("0.2 loads");
    let old = host.load_request(unlimited(request(&old, &[], "1"))).await.expect("0.1 loads");
    let new = host.load_request(unlimited(request(&new, &[], "2"))).await.expect("0.3 loads");
    let subject = Subject::none();
    let points = [
        old.suggest(&subject, search(), 8).await.expect("0.1"),
        middle.suggest(&subject, search(), 8).await.expect("0.2"),
        new.suggest(&subject, search(), 8).await.expect("0.3"),
    ];
    assert_eq!(points[0].len(), 8);
    assert_eq!(points[0], points[1], "the same algorithm in both");
    assert_eq!(points[1], points[2], "and in the newest");
    old.check(old.context(0, 0)).await.expect("without lifecycle it can work");
    middle.check(middle.context(0, 0)).await.expect("it can work");
    new.check(new.context(0, 0)).await.expect("it can work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialect_of_the_first_version_answers_as_it_did() {
    let host = Host::new();
    let artifact = artifact("plugins/history/v0.1", "dialect-katib");
    let dialect =
        host.load_request(unlimited(request(&artifact, &["call(tuner)"], "1"))).await.expect("load");
    let parent = json!({
        "apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "a", "namespace": "b", "uid": "c"},
        "spec": {},
    });
    let request = SyncRequest {
        context: dialect.context(0, 0),
        parent: parent.to_string(),
        children: Vec::new(),
        related: Vec::new(),
    };
    let subject = Subject::object("kubeflow.org/v1beta1", "Experiment", "b", "a");
    // An empty spec is not one: what matters is that the answer is the dialect's own.
    let error = dialect.sync(&subject, request).await.expect_err("an empty spec is invalid");
    assert_eq!(error.reason(), "Invalid", "{error}");
}
