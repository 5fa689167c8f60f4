//! Several models as one: a request enters at a graph's root and goes through its nodes as they say. Bodies are JSON, as
//! between the steps of KServe's router; whom a step asks is a matter of the caller.

mod run;

use std::collections::{BTreeMap, HashMap, HashSet};

pub(crate) use run::{Answer, Caller, run};

use crate::table::{GraphConfig, NodeConfig, NodeKind, RouteConfig, Split, StepConfig};

/// Where requests enter.
const ROOT: &str = "root";
/// Nodes of one graph at most.
const NODES: usize = 1000;
/// Steps of one node at most.
const STEPS: usize = 100;

/// A compiled graph. Its nodes lead to each other without a cycle.
#[derive(Debug)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    root: usize,
}

#[derive(Debug)]
struct Node {
    name: String,
    kind: Kind,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Kind {
    Sequence,
    Switch,
    Ensemble,
    /// The steps' numbers, by weight.
    Splitter(Split<usize>),
}

#[derive(Debug)]
struct Step {
    name: Option<String>,
    target: StepTarget,
    takes_response: bool,
    condition: Option<String>,
    required: bool,
}

#[derive(Debug)]
enum StepTarget {
    Node(usize),
    Elsewhere(Destination),
}

/// Whom a step asks outside of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A route of the same namespace.
    Route(String),
    /// A server elsewhere.
    Url(String),
}

impl Graph {
    /// Compiles a graph.
    ///
    /// # Errors
    /// What is wrong, in words for the route's owner.
    pub(crate) fn compile(config: &GraphConfig) -> Result<Graph, String> {
        if config.nodes.len() > NODES {
            return Err(format!("its graph has {} nodes; at most {NODES}", config.nodes.len()));
        }
        let numbers: HashMap<&str, usize> =
            config.nodes.keys().enumerate().map(|(number, name)| (name.as_str(), number)).collect();
        let root = *numbers.get(ROOT).ok_or_else(|| format!("its graph has no node {ROOT:?}"))?;
        let mut nodes = Vec::with_capacity(config.nodes.len());
        for (name, node) in &config.nodes {
            nodes.push(compile_node(name, node, &numbers)?);
        }
        let graph = Graph { nodes, root };
        graph.refuse_cycles()?;
        Ok(graph)
    }

    fn refuse_cycles(&self) -> Result<(), String> {
        // 0: not seen, 1: on the way, 2: leads nowhere back.
        let mut state = vec![0_u8; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut way = vec![(start, 0)];
            while let Some((node, next)) = way.pop() {
                if next == 0 {
                    if state[node] == 2 {
                        continue;
                    }
                    state[node] = 1;
                }
                let targets = self.nodes[node].steps.iter().skip(next).enumerate();
                let inner = targets.filter_map(|(at, step)| match step.target {
                    StepTarget::Node(inner) => Some((next + at, inner)),
                    StepTarget::Elsewhere(_) => None,
                });
                match inner.into_iter().next() {
                    Some((_, inner)) if state[inner] == 1 => {
                        let (from, to) = (&self.nodes[node].name, &self.nodes[inner].name);
                        return Err(format!(
                            "its graph goes in a circle: node {from:?} leads back to {to:?}"
                        ));
                    }
                    Some((at, inner)) => {
                        way.push((node, at + 1));
                        way.push((inner, 0));
                    }
                    None => state[node] = 2,
                }
            }
        }
        Ok(())
    }
}

fn compile_node(name: &str, node: &NodeConfig, numbers: &HashMap<&str, usize>) -> Result<Node, String> {
    if node.steps.is_empty() || node.steps.len() > STEPS {
        return Err(format!("node {name:?} has {} steps; there must be 1 to {STEPS}", node.steps.len()));
    }
    let mut steps = Vec::with_capacity(node.steps.len());
    for (index, step) in node.steps.iter().enumerate() {
        let step =
            compile_step(step, numbers).map_err(|why| format!("step {index} of node {name:?} {why}"))?;
        steps.push(step);
    }
    let kind = match node.kind {
        NodeKind::Sequence => Kind::Sequence,
        NodeKind::Switch => Kind::Switch,
        NodeKind::Ensemble => Kind::Ensemble,
        NodeKind::Splitter => {
            let weights = node.steps.iter().map(|step| step.weight.unwrap_or(0));
            let split = Split::new(weights.zip(0..));
            if split.members().next().is_none() {
                return Err(format!("no step of the splitter {name:?} has a weight"));
            }
            Kind::Splitter(split)
        }
    };
    Ok(Node { name: name.to_owned(), kind, steps })
}

fn compile_step(step: &StepConfig, numbers: &HashMap<&str, usize>) -> Result<Step, String> {
    let target = match (&step.route, &step.node, &step.url) {
        (Some(route), None, None) => StepTarget::Elsewhere(Destination::Route(route.clone())),
        (None, Some(node), None) => {
            let number =
                numbers.get(node.as_str()).ok_or_else(|| format!("leads to {node:?}, which is no node"))?;
            StepTarget::Node(*number)
        }
        (None, None, Some(url)) => {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(format!("has the URL {url:?}, which must begin with http:// or https://"));
            }
            StepTarget::Elsewhere(Destination::Url(url.clone()))
        }
        _ => return Err("must have one of route, node and url".to_owned()),
    };
    Ok(Step {
        name: step.name.clone(),
        target,
        takes_response: step.takes_response,
        condition: step.condition.clone().filter(|condition| !condition.is_empty()),
        required: step.required,
    })
}

/// Routes whose graphs lead back to themselves through the graphs of others.
pub(crate) fn looping_routes(routes: &[RouteConfig]) -> HashSet<(&str, &str)> {
    let mut leads: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
    for route in routes {
        let Some(graph) = &route.graph else { continue };
        let steps = graph.nodes.values().flat_map(|node| &node.steps);
        let targets =
            steps.filter_map(|step| Some((route.namespace.as_str(), step.route.as_deref()?))).collect();
        leads.insert((&route.namespace, &route.name), targets);
    }
    // What has nothing left that leads on is in no circle; take such routes off until none is left.
    loop {
        let before = leads.len();
        let known: HashSet<_> = leads.keys().copied().collect();
        leads.retain(|_, targets| targets.iter().any(|target| known.contains(target)));
        if leads.len() == before {
            return leads.into_keys().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Graph, looping_routes};
    use crate::table::{GraphConfig, NodeConfig, NodeKind, RouteConfig, StepConfig};

    fn to_node(node: &str) -> StepConfig {
        StepConfig { node: Some(node.to_owned()), ..StepConfig::default() }
    }

    fn to_route(route: &str) -> StepConfig {
        StepConfig { route: Some(route.to_owned()), ..StepConfig::default() }
    }

    fn graph(nodes: &[(&str, Vec<StepConfig>)]) -> GraphConfig {
        let node = |(name, steps): &(&str, Vec<StepConfig>)| {
            ((*name).to_owned(), NodeConfig { kind: NodeKind::Sequence, steps: steps.clone() })
        };
        GraphConfig { nodes: nodes.iter().map(node).collect() }
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        for (config, part) in [
            (graph(&[]), "no node \"root\""),
            (graph(&[("root", vec![])]), "0 steps"),
            (graph(&[("root", vec![to_node("a")])]), "is no node"),
            (graph(&[("root", vec![StepConfig::default()])]), "one of route, node and url"),
            (graph(&[("root", vec![to_node("root")])]), "circle"),
            (graph(&[("root", vec![to_node("a")]), ("a", vec![to_route("r"), to_node("root")])]), "circle"),
        ] {
            let error = Graph::compile(&config).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let diamond = graph(&[
            ("root", vec![to_node("a"), to_node("b")]),
            ("a", vec![to_node("c")]),
            ("b", vec![to_node("c")]),
            ("c", vec![to_route("r")]),
        ]);
        Graph::compile(&diamond).unwrap();
    }

    #[test]
    fn circles_through_other_routes_are_found() {
        let route = |name: &str, to: &str| RouteConfig {
            name: name.to_owned(),
            graph: Some(graph(&[("root", vec![to_route(to)])])),
            ..RouteConfig::default()
        };
        let routes = [route("a", "b"), route("b", "a"), route("c", "d"), route("e", "a")];
        let looping = looping_routes(&routes);
        assert!(looping.contains(&("", "a")) && looping.contains(&("", "b")));
        assert!(!looping.contains(&("", "c")));
    }
}
