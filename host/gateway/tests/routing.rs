//! Which model a request reaches, by host, path, name, tag and weight.
#![allow(clippy::unwrap_used, reason = "for tests")]

mod common;

use std::collections::BTreeMap;

use common::{ROW, backend, model, route, start, start_usual};
use purlin_gateway::{
    BackendConfig, GatewayConfig, GraphConfig, ModelConfig, NodeConfig, NodeKind, RouteConfig, StepConfig,
    Sticky, TableConfig,
};
use serde_json::json;

fn versioned(name: &str, version: &str) -> ModelConfig {
    ModelConfig { served_name: Some("m".to_owned()), version: version.to_owned(), ..model(name) }
}

/// A route with two models of one name.
fn canary() -> TableConfig {
    let tagged = |model: &str, weight, tag: &str| BackendConfig {
        tag: Some(tag.to_owned()),
        ..backend(model, weight)
    };
    let mut route = route("web", &[]);
    route.backends = vec![tagged("old", 75, "stable"), tagged("new", 25, "latest")];
    TableConfig { routes: vec![route], models: vec![versioned("old", "1"), versioned("new", "2")] }
}

async fn start_canary(table: &TableConfig) -> common::Running {
    let running = start(GatewayConfig::default(), table).await;
    for name in ["old", "new"] {
        let echo = common::models::Echo::new(std::time::Duration::ZERO);
        running.shelf.put(name, common::models::Entry::Ready(std::sync::Arc::new(echo)));
    }
    running
}

async fn version(running: &common::Running, headers: &[(&str, &str)], path: &str) -> String {
    let reply = running.post_with(path, headers, ROW.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["model_version"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn weights_are_kept_to() {
    let running = start_canary(&canary()).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..100 {
        let version = version(&running, &[("host", "WEB.team.example:8080")], "/v2/models/m/infer").await;
        *counts.entry(version).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("1".to_owned(), 75), ("2".to_owned(), 25)]));
}

#[tokio::test]
async fn tags_hosts_and_paths_lead_to_models() {
    let running = start_canary(&canary()).await;
    for _ in 0..4 {
        let of = async |host: &str, path: &str| version(&running, &[("host", host)], path).await;
        assert_eq!(of("latest-web.team.example", "/v2/models/m/infer").await, "2");
        assert_eq!(of("stable-web.team.example", "/v2/models/m/infer").await, "1");
        assert_eq!(of("anything", "/serving/team/web@latest/v2/models/m/infer").await, "2");
        assert_eq!(of("anything", "/serving/team/web@latest/v2/models/m/versions/2/infer").await, "2");
    }
    let other = running.post("/serving/team/web@latest/v2/models/m/versions/1/infer", ROW).await;
    assert_eq!(
        (other.status, other.json()),
        (404, json!({"error": "model \"m\" has version \"2\", not \"1\""}))
    );
    let unknown =
        running.post_with("/v2/models/x/infer", &[("host", "web.team.example")], ROW.as_bytes()).await;
    assert!(unknown.text().contains("it has: m"), "{}", unknown.text());
    let nowhere = running.get_at("elsewhere.example", "/v2/models/m").await;
    assert!(nowhere.status == 404 && nowhere.text().contains("elsewhere.example"), "{}", nowhere.text());
}

#[tokio::test]
async fn a_key_always_goes_to_the_same_backend() {
    for (sticky, header) in
        [(Sticky::Header("x-user".to_owned()), "x-user"), (Sticky::Cookie("user".to_owned()), "cookie")]
    {
        let mut table = canary();
        table.routes[0].sticky = Some(sticky);
        let running = start_canary(&table).await;
        let mut seen = BTreeMap::new();
        for user in 0..40 {
            let value = if header == "cookie" { format!("a=b; user={user}") } else { user.to_string() };
            for _ in 0..3 {
                let headers = [("host", "web.team.example"), (header, value.as_str())];
                let version = version(&running, &headers, "/v2/models/m/infer").await;
                assert_eq!(seen.entry(user).or_insert_with(|| version.clone()), &version);
            }
        }
        assert!(seen.values().any(|version| version == "2"));
    }
}

#[tokio::test]
async fn a_transformer_stands_before_the_backends() {
    let mut table = canary();
    table.routes[0].transformer = Some("echo".to_owned());
    let running = start_canary(&table).await;
    let host = ("host", "web.team.example");
    let reply = running.post_with("/v2/models/m/infer", &[host], ROW.as_bytes()).await.json();
    assert_eq!((&reply["model_name"], reply.get("model_version")), (&json!("echo"), None));
    let reply = running.post("/serving/team/web@predictor/v2/models/m/infer", ROW).await.json();
    assert_eq!(reply["model_name"], "m");
    let host = ("host", "predictor-web.team.example");
    let reply = running.post_with("/v2/models/m/infer", &[host], ROW.as_bytes()).await.json();
    assert_eq!(reply["model_name"], "m");
}

#[tokio::test]
async fn a_table_takes_the_place_of_another() {
    let running = start_usual().await;
    assert_eq!(running.post("/v2/models/echo/infer", ROW).await.status, 200);
    let clash = TableConfig {
        routes: vec![
            route("a", &["echo"]),
            RouteConfig { hosts: vec!["A.team.example".to_owned()], ..route("b", &["echo"]) },
            route("c", &[]),
        ],
        models: Vec::new(),
    };
    let problems: Vec<String> = running.gateway.update(&clash).iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "route team/b: host a.team.example is already that of route team/a",
            "route team/c: it has neither backends nor models nor a graph",
        ]
    );
    assert_eq!(running.post("/v2/models/echo/infer", ROW).await.status, 404);
    assert_eq!(running.post("/serving/team/b/v2/models/echo/infer", ROW).await.status, 200);
    assert_eq!(running.post("/serving/team/c/v2/models/echo/infer", ROW).await.status, 404);
}

/// A route that answers under a host that it shares, for models under their own names.
fn sharing(namespace: &str, name: &str, models: &[&str]) -> RouteConfig {
    RouteConfig {
        namespace: namespace.to_owned(),
        hosts: Vec::new(),
        shared_hosts: vec!["MESH.example".to_owned(), "mesh.svc".to_owned()],
        ..route(name, models)
    }
}

#[tokio::test]
async fn a_host_that_routes_share_leads_to_the_one_with_the_model() {
    let running = start_usual().await;
    let table = TableConfig {
        routes: vec![sharing("team", "a", &["echo"]), sharing("team", "b", &["arithmetic"])],
        models: Vec::new(),
    };
    assert_eq!(running.gateway.update(&table), []);
    for host in ["mesh.example", "mesh.svc:8008"] {
        let reply = running.post_with("/v2/models/echo/infer", &[("host", host)], ROW.as_bytes()).await;
        assert_eq!((reply.status, &reply.json()["model_name"]), (200, &json!("echo")));
        let names = running.get_at(host, "/v2/models").await.json();
        assert_eq!(names["models"], json!(["arithmetic", "echo"]));
    }
    // The routes go on by themselves.
    assert_eq!(running.post("/serving/team/a/v2/models/echo/infer", ROW).await.status, 200);
    assert_eq!(running.post("/serving/team/b/v2/models/echo/infer", ROW).await.status, 404);
    let unknown = running.post_with("/v2/models/x/infer", &[("host", "mesh.svc")], ROW.as_bytes()).await;
    assert!(
        unknown.status == 404 && unknown.text().contains("it has: arithmetic, echo"),
        "{}",
        unknown.text()
    );
}

#[tokio::test]
async fn who_cannot_share_a_host_is_told() {
    let running = start_usual().await;
    let guarded =
        RouteConfig { tokens: Some(vec!["t".to_owned()]), ..sharing("team", "guarded", &["story"]) };
    let alone = RouteConfig { hosts: vec!["mesh.svc".to_owned()], ..route("alone", &["vectors"]) };
    let header = RouteConfig { model_header: Some("a header".to_owned()), ..route("header", &["echo"]) };
    let table = TableConfig {
        routes: vec![
            sharing("team", "a", &["echo"]),
            sharing("team", "twin", &["echo"]),
            guarded,
            sharing("zoo", "c", &["echo"]),
            header,
        ],
        models: Vec::new(),
    };
    let told = |table: &TableConfig| -> Vec<String> {
        running.gateway.update(table).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told(&table),
        [
            "route team/header: modelHeader \"a header\" cannot be the name of a header; use letters, digits and '-'",
            "route team/guarded: host mesh.example cannot be shared by a route with auth or a graph",
            "route team/twin: model \"echo\" on host mesh.example is already that of route a",
            "route zoo/c: host mesh.example is already shared by routes of namespace team",
        ]
    );
    let guarded = running.post_with("/v2/models/story/infer", &[("host", "mesh.svc")], ROW.as_bytes()).await;
    assert_eq!(guarded.status, 404);
    let table = TableConfig { routes: vec![sharing("team", "a", &["echo"]), alone], models: Vec::new() };
    assert_eq!(told(&table), ["route team/a: host mesh.svc is already that of route team/alone"]);
    let answers = async |host: &str| {
        running.post_with("/v2/models/echo/infer", &[("host", host)], ROW.as_bytes()).await.status
    };
    assert_eq!((answers("mesh.example").await, answers("mesh.svc").await), (200, 404));
}

#[tokio::test]
async fn a_graph_asks_one_route_after_the_other() {
    let step = |route: &str| StepConfig { route: Some(route.to_owned()), ..StepConfig::default() };
    let node = |kind, steps| NodeConfig { kind, steps };
    let nodes = BTreeMap::from([
        (
            "root".to_owned(),
            node(
                NodeKind::Ensemble,
                vec![
                    StepConfig { name: Some("sum".to_owned()), ..step("math") },
                    StepConfig {
                        name: Some("both".to_owned()),
                        node: Some("chosen".to_owned()),
                        ..StepConfig::default()
                    },
                ],
            ),
        ),
        (
            "chosen".to_owned(),
            node(
                NodeKind::Switch,
                vec![
                    StepConfig { condition: Some("instances.#(a==9)".to_owned()), ..step("inner") },
                    StepConfig { condition: Some("instances".to_owned()), ..step("math") },
                ],
            ),
        ),
    ]);
    let inner = BTreeMap::from([(
        "root".to_owned(),
        node(
            NodeKind::Sequence,
            vec![step("math"), StepConfig { takes_response: true, required: true, ..step("math") }],
        ),
    )]);
    let graph = |name: &str, nodes| RouteConfig { graph: Some(GraphConfig { nodes }), ..route(name, &[]) };
    let table = TableConfig {
        routes: vec![route("math", &["arithmetic"]), graph("outer", nodes), graph("inner", inner)],
        models: Vec::new(),
    };
    let running = start(GatewayConfig::default(), &table).await;
    let host = [("host", "outer.team.example")];
    let reply = running.post_with("/", &host, br#"{"instances":[{"a":3,"b":1}]}"#).await;
    let answer = json!({"predictions": [{"sum": 4, "difference": 2}]});
    assert_eq!((reply.status, reply.json()), (200, json!({"sum": answer, "both": answer})));
    // What the second step is given is not what it takes: its status is the answer's.
    let reply =
        running.post_with("/", &[("host", "inner.team.example")], br#"{"instances":[{"a":9,"b":1}]}"#).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let reply = running.post_with("/", &host, b"{}").await;
    assert_eq!(reply.status, 404, "{}", reply.text());
}

#[tokio::test]
async fn a_graph_finds_its_own_gateway_behind_a_url() {
    let sequence = |url: &str| {
        let step = StepConfig { url: Some(url.to_owned()), required: true, ..StepConfig::default() };
        BTreeMap::from([("root".to_owned(), NodeConfig { kind: NodeKind::Sequence, steps: vec![step] })])
    };
    let graph = |name: &str, url: &str| RouteConfig {
        graph: Some(GraphConfig { nodes: sequence(url) }),
        ..route(name, &[])
    };
    let inside = "math.team.svc.cluster.local";
    let mut math = route("math", &["arithmetic"]);
    math.hosts.push(inside.to_owned());
    let table = TableConfig {
        routes: vec![
            math,
            graph("inside", &format!("http://{inside}/v1/models/arithmetic:predict")),
            graph("wrong", &format!("http://{inside}:80/v1/models/other:predict")),
            graph("circle", "http://circle.team.example/"),
        ],
        models: Vec::new(),
    };
    let running = start(GatewayConfig::default(), &table).await;
    let ask = async |name: &str| {
        let host = format!("{name}.team.example");
        let reply =
            running.post_with("/", &[("host", host.as_str())], br#"{"instances":[{"a":3,"b":1}]}"#).await;
        (reply.status, reply.text())
    };
    let (status, text) = ask("inside").await;
    assert_eq!((status, text.contains("\"sum\":4")), (200, true), "{text}");
    assert_eq!(ask("wrong").await.0, 404);
    assert_eq!(ask("circle").await.0, 508);
}
