//! A request's way through a graph.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::StatusCode;

use super::{Destination, Graph, Kind, Step, StepTarget};
use crate::failure::Failure;
use crate::json::{Scanner, put_string};

/// Steps of one request at most: nodes that share others multiply.
const MOST_STEPS: usize = 1000;

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Asks whoever is outside of the graph.
#[async_trait]
pub(crate) trait Caller: Send + Sync {
    /// An answer, whatever its status.
    ///
    /// # Errors
    /// There was none.
    async fn call(&self, destination: &Destination, body: Bytes) -> Result<Answer, Failure>;
}

/// Sends a request through a graph.
pub(crate) async fn run(graph: &Graph, caller: &dyn Caller, body: Bytes) -> Result<Answer, Failure> {
    let running = Running { graph, caller, steps: AtomicUsize::new(0) };
    running.node(graph.root, body).await
}

struct Running<'a> {
    graph: &'a Graph,
    caller: &'a dyn Caller,
    steps: AtomicUsize,
}

impl Running<'_> {
    fn node(&self, number: usize, input: Bytes) -> BoxFuture<'_, Result<Answer, Failure>> {
        Box::pin(async move {
            let node = &self.graph.nodes[number];
            match &node.kind {
                Kind::Sequence => self.sequence(&node.steps, input).await,
                Kind::Ensemble => self.ensemble(&node.steps, input).await,
                Kind::Splitter(split) => match split.next() {
                    Some(step) => self.step(&node.steps[*step], input).await,
                    None => Err(Failure::unavailable(format!("no step of {:?} has a weight", node.name))),
                },
                Kind::Switch => {
                    for step in &node.steps {
                        if holds(step, &input)? {
                            return self.step(step, input).await;
                        }
                    }
                    let message = format!("no condition of the switch {:?} holds for the request", node.name);
                    Err(Failure::not_found(message))
                }
            }
        })
    }

    async fn step(&self, step: &Step, input: Bytes) -> Result<Answer, Failure> {
        if self.steps.fetch_add(1, Ordering::Relaxed) >= MOST_STEPS {
            let message = format!("the graph takes more than {MOST_STEPS} steps for one request");
            return Err(Failure::new(StatusCode::LOOP_DETECTED, message));
        }
        match &step.target {
            StepTarget::Node(number) => self.node(*number, input).await,
            StepTarget::Elsewhere(destination) => self.caller.call(destination, input).await,
        }
    }

    async fn sequence(&self, steps: &[Step], input: Bytes) -> Result<Answer, Failure> {
        let mut last: Option<Answer> = None;
        for step in steps {
            // A condition is about what came before, as in KServe.
            let before = last.as_ref().map_or(&input, |last| &last.body);
            if !holds(step, before)? {
                let message = "the condition of a sequence's first step does not hold for the request";
                return last.ok_or_else(|| Failure::not_found(message));
            }
            let given = match (&last, step.takes_response) {
                (Some(last), true) => last.body.clone(),
                _ => input.clone(),
            };
            let answer = self.step(step, given).await?;
            if step.required && !answer.status.is_success() {
                return Ok(answer);
            }
            last = Some(answer);
        }
        last.ok_or_else(|| Failure::not_found("the sequence has no steps"))
    }

    async fn ensemble(&self, steps: &[Step], input: Bytes) -> Result<Answer, Failure> {
        let answers = join_all(steps.iter().map(|step| self.step(step, input.clone()))).await;
        let mut body = vec![b'{'];
        for (index, (step, answer)) in steps.iter().zip(answers).enumerate() {
            let answer = answer?;
            if step.required && !answer.status.is_success() {
                return Ok(answer);
            }
            let name = step.name.clone().unwrap_or_else(|| index.to_string());
            if !is_json(&answer.body) {
                let message = format!("the answer of step {name:?} of an ensemble is not JSON");
                return Err(Failure::new(StatusCode::BAD_GATEWAY, message));
            }
            if index > 0 {
                body.push(b',');
            }
            put_string(&mut body, &name);
            body.push(b':');
            body.extend_from_slice(&answer.body);
        }
        body.push(b'}');
        Ok(Answer { status: StatusCode::OK, body: body.into() })
    }
}

fn is_json(text: &[u8]) -> bool {
    let read = Scanner::new(text).and_then(|mut scanner| {
        scanner.skip()?;
        scanner.end()
    });
    read.is_ok()
}

/// Whether a step's condition finds something.
fn holds(step: &Step, text: &Bytes) -> Result<bool, Failure> {
    let Some(condition) = &step.condition else { return Ok(true) };
    // Checked here, with a bound on its depth: what looks for the path takes the text as it is.
    let text = match std::str::from_utf8(text) {
        Ok(text) if is_json(text.as_bytes()) => text,
        _ => return Err(Failure::invalid("a condition looks at something that is not JSON")),
    };
    let found = std::panic::catch_unwind(|| gjson::get(text, condition).exists());
    found.map_err(|_| {
        let message = format!("the condition {condition:?} cannot be evaluated");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use bytes::Bytes;
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::{Answer, Caller, run};
    use crate::failure::Failure;
    use crate::graph::{Destination, Graph};
    use crate::table::{GraphConfig, NodeConfig, NodeKind, StepConfig};

    /// Answers with its name and what it was given; `bad` fails with 418.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);

    #[async_trait]
    impl Caller for Recorder {
        async fn call(&self, destination: &Destination, body: Bytes) -> Result<Answer, Failure> {
            let Destination::Route(name) = destination else { return Err(Failure::unavailable("gone")) };
            self.0.lock().unwrap().push(name.clone());
            let given: Value = serde_json::from_slice(&body).unwrap();
            let status = if name == "bad" { StatusCode::IM_A_TEAPOT } else { StatusCode::OK };
            Ok(Answer { status, body: json!({ name.as_str(): given }).to_string().into() })
        }
    }

    fn step(route: &str) -> StepConfig {
        StepConfig { route: Some(route.to_owned()), ..StepConfig::default() }
    }

    async fn of(kind: NodeKind, steps: Vec<StepConfig>) -> (Result<(u16, Value), Failure>, Vec<String>) {
        let config =
            GraphConfig { nodes: [("root".to_owned(), NodeConfig { kind, steps })].into_iter().collect() };
        let caller = Recorder::default();
        let graph = Graph::compile(&config).unwrap();
        let answer = run(&graph, &caller, Bytes::from_static(b"{\"x\":1}")).await;
        let answer =
            answer.map(|answer| (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap()));
        let asked = caller.0.lock().unwrap().clone();
        (answer, asked)
    }

    #[tokio::test]
    async fn a_sequence_hands_on_what_it_is_told_to() {
        let steps = vec![step("a"), StepConfig { takes_response: true, ..step("b") }, step("c")];
        let (answer, asked) = of(NodeKind::Sequence, steps[..2].to_vec()).await;
        assert_eq!(answer.unwrap(), (200, json!({"b": {"a": {"x": 1}}})));
        assert_eq!(asked, ["a", "b"]);
        let (answer, _) = of(NodeKind::Sequence, steps).await;
        assert_eq!(answer.unwrap(), (200, json!({"c": {"x": 1}})));
    }

    #[tokio::test]
    async fn a_required_step_that_fails_ends_the_sequence() {
        let after = StepConfig { takes_response: true, ..step("after") };
        let required = StepConfig { required: true, ..step("bad") };
        let (answer, asked) = of(NodeKind::Sequence, vec![required, after.clone()]).await;
        assert_eq!((answer.unwrap().0, asked), (418, vec!["bad".to_owned()]));
        let (answer, _) = of(NodeKind::Sequence, vec![step("bad"), after]).await;
        assert_eq!(answer.unwrap(), (200, json!({"after": {"bad": {"x": 1}}})));
    }

    #[tokio::test]
    async fn a_sequence_ends_where_a_condition_does_not_hold() {
        let condition = |path: &str| StepConfig { condition: Some(path.to_owned()), ..step("b") };
        let (answer, asked) = of(NodeKind::Sequence, vec![step("a"), condition("nothing")]).await;
        assert_eq!((answer.unwrap(), asked.len()), ((200, json!({"a": {"x": 1}})), 1));
        let (answer, _) = of(NodeKind::Sequence, vec![step("a"), condition("a.x")]).await;
        assert_eq!(answer.unwrap(), (200, json!({"b": {"x": 1}})));
    }

    #[tokio::test]
    async fn a_switch_takes_the_first_that_holds() {
        let on = |route: &str, path: &str| StepConfig { condition: Some(path.to_owned()), ..step(route) };
        let (answer, asked) =
            of(NodeKind::Switch, vec![on("a", "y"), on("b", "[@this].#(x==1)"), step("c")]).await;
        assert_eq!((answer.unwrap().0, asked), (200, vec!["b".to_owned()]));
        let (answer, _) = of(NodeKind::Switch, vec![on("a", "y")]).await;
        assert_eq!(answer.unwrap_err().status, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn an_ensemble_puts_answers_together_by_name() {
        let named = StepConfig { name: Some("one".to_owned()), ..step("a") };
        let (answer, _) = of(NodeKind::Ensemble, vec![named.clone(), step("bad")]).await;
        assert_eq!(answer.unwrap(), (200, json!({"one": {"a": {"x": 1}}, "1": {"bad": {"x": 1}}})));
        let required = StepConfig { required: true, ..step("bad") };
        let (answer, _) = of(NodeKind::Ensemble, vec![named, required]).await;
        assert_eq!(answer.unwrap(), (418, json!({"bad": {"x": 1}})));
    }

    #[tokio::test]
    async fn a_splitter_takes_one_and_errors_say_who_is_gone() {
        let weighted = |route: &str, weight| StepConfig { weight: Some(weight), ..step(route) };
        let (answer, asked) = of(NodeKind::Splitter, vec![weighted("a", 0), weighted("b", 100)]).await;
        assert_eq!((answer.unwrap().0, asked), (200, vec!["b".to_owned()]));
        let url = StepConfig { url: Some("http://x".to_owned()), ..StepConfig::default() };
        let (answer, _) = of(NodeKind::Sequence, vec![url]).await;
        assert_eq!(answer.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn nodes_that_multiply_are_stopped() {
        let double = |to: &str| {
            let step = StepConfig { node: Some(to.to_owned()), ..StepConfig::default() };
            NodeConfig { kind: NodeKind::Sequence, steps: vec![step.clone(), step] }
        };
        let mut nodes: std::collections::BTreeMap<String, NodeConfig> = Default::default();
        for level in 0..30 {
            let name = if level == 0 { "root".to_owned() } else { format!("n{level}") };
            nodes.insert(name, double(&format!("n{}", level + 1)));
        }
        nodes.insert("n30".to_owned(), NodeConfig { kind: NodeKind::Sequence, steps: vec![step("a")] });
        let graph = Graph::compile(&GraphConfig { nodes }).unwrap();
        let answer = run(&graph, &Recorder::default(), Bytes::from_static(b"{}")).await;
        assert_eq!(answer.unwrap_err().status, StatusCode::LOOP_DETECTED);
    }
}
