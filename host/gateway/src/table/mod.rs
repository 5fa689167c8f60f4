//! The routing table: which models a host or a path leads to. It is compiled once from plain structs and then only read.

mod config;
mod placed;
mod shared;
mod split;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use sha2::{Digest as _, Sha256};

pub use config::{
    BackendConfig, BatchConfig, GraphConfig, LoggingConfig, ModelConfig, NodeConfig, NodeKind, PrefillConfig,
    RouteConfig, StepConfig, Sticky, TableConfig,
};
pub(crate) use placed::Placed;
use shared::Shared;
pub(crate) use split::Split;

use crate::failure::Failure;
use crate::graph::Graph;
use crate::models::ModelKey;
use crate::served::Served;

/// Below this path, every route answers on every host: `/serving/NAMESPACE/ROUTE/...`.
pub(crate) const PREFIX: &str = "/serving/";
/// The tag under which a route's backends answer without its transformer.
pub(crate) const PREDICTOR: &str = "predictor";

/// A route that cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {namespace}/{route}: {problem}")]
pub struct TableProblem {
    /// Of the route.
    pub namespace: String,
    /// Of the route.
    pub route: String,
    /// What is wrong.
    pub problem: String,
}

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    hosts: HashMap<Box<str>, Place>,
    routes: HashMap<Box<str>, Arc<Route>>,
    any_host: Option<Place>,
}

/// A route, and under which of its tags.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) route: Arc<Route>,
    pub(crate) view: usize,
}

/// A way to models.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What is reached without a tag comes first.
    views: Vec<View>,
    tags: HashMap<Box<str>, usize>,
    pub(crate) explainer: Option<Arc<Served>>,
    pub(crate) graph: Option<Graph>,
    /// Where several gateways share the models among them: what decides whose it is.
    pub(crate) placed: Option<Placed>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) sticky: Option<Sticky>,
    /// Names the model where the request itself does not.
    pub(crate) model_header: Option<HeaderName>,
    /// Hashes, so that comparing them tells nothing about the tokens, their lengths included.
    tokens: Option<Vec<[u8; 32]>>,
}

/// Who answers under one tag.
#[derive(Debug)]
struct View {
    by_name: HashMap<Box<str>, Arc<Split<Arc<Served>>>>,
    backends: Arc<Split<Arc<Served>>>,
}

impl View {
    fn new(members: &[(u32, Arc<Served>)], names: &[String], own: &[Arc<Served>]) -> View {
        let mut by_name: HashMap<Box<str>, Arc<Split<_>>> = HashMap::new();
        for model in own {
            let split = || Arc::new(Split::new([(1, model.clone())]));
            by_name.entry(model.name.as_str().into()).or_insert_with(split);
        }
        let mut groups: HashMap<&str, Vec<(u32, Arc<Served>)>> = HashMap::new();
        for (weight, model) in members {
            groups.entry(&model.name).or_default().push((*weight, model.clone()));
        }
        for (name, group) in groups {
            by_name.insert(name.into(), Arc::new(Split::new(group)));
        }
        let backends = Arc::new(Split::new(members.iter().cloned()));
        // A transformer answers by the names of those that it stands before.
        for name in names {
            by_name.insert(name.as_str().into(), backends.clone());
        }
        View { by_name, backends }
    }

    fn has_containers(&self) -> bool {
        self.backends.members().any(|model| model.config.container)
    }
}

impl Route {
    /// The model for a name in a request, one of several by weight or by a key.
    pub(crate) fn by_name(
        &self,
        view: usize,
        name: &str,
        key: Option<&[u8]>,
    ) -> Result<&Arc<Served>, Failure> {
        let view = &self.views[view];
        match view.by_name.get(name) {
            Some(split) => self.one_of(split, key),
            // Containers may have names that nobody here knows; they say themselves what they have.
            None if view.has_containers() => self.one_of(&view.backends, key),
            None => Err(Failure::not_found(self.no_such_model(view, name))),
        }
    }

    /// The path under which the route answers on any host; a view is one of its tags.
    pub(crate) fn path(&self, view: usize) -> String {
        let tag = self.tags.iter().find(|(_, of)| view != 0 && **of == view);
        let tag = tag.map(|(tag, _)| format!("@{tag}")).unwrap_or_default();
        format!("{PREFIX}{}/{}{tag}", self.namespace, self.name)
    }

    /// One of the backends, whatever its name.
    pub(crate) fn any(&self, view: usize, key: Option<&[u8]>) -> Result<&Arc<Served>, Failure> {
        self.one_of(&self.views[view].backends, key)
    }

    /// Whether containers are among the backends.
    pub(crate) fn has_containers(&self, view: usize) -> bool {
        self.views[view].has_containers()
    }

    fn one_of<'a>(
        &self,
        split: &'a Split<Arc<Served>>,
        key: Option<&[u8]>,
    ) -> Result<&'a Arc<Served>, Failure> {
        let found = match key {
            Some(key) => split.keyed(key),
            None => split.next(),
        };
        found.ok_or_else(|| {
            let (namespace, name) = (&self.namespace, &self.name);
            Failure::unavailable(format!("route {namespace}/{name} has no backend with a weight"))
        })
    }

    fn no_such_model(&self, view: &View, name: &str) -> String {
        let mut names: Vec<_> = view.by_name.keys().map(AsRef::as_ref).collect();
        names.sort_unstable();
        let more = if names.len() > 20 { ", ..." } else { "" };
        names.truncate(20);
        let (namespace, route) = (&self.namespace, &self.name);
        match names.is_empty() {
            true => format!("model {name:?} is not served by route {namespace}/{route}, which has no models"),
            false => format!(
                "model {name:?} is not served by route {namespace}/{route}; it has: {}{more}",
                names.join(", ")
            ),
        }
    }

    /// All models that answer by name, each once.
    pub(crate) fn models(&self, view: usize) -> Vec<&Arc<Served>> {
        let view = &self.views[view];
        let mut models: Vec<&Arc<Served>> = view.by_name.values().flat_map(|split| split.members()).collect();
        models.sort_by(|a, b| (&a.name, &a.key).cmp(&(&b.name, &b.key)));
        models.dedup_by(|a, b| Arc::ptr_eq(a, b));
        models
    }

    /// The names that requests can have.
    pub(crate) fn names(&self, view: usize) -> Vec<&str> {
        let mut names: Vec<&str> = self.views[view].by_name.keys().map(AsRef::as_ref).collect();
        names.sort_unstable();
        names
    }

    /// Whether somebody with this token may ask.
    pub(crate) fn lets_in(&self, token: Option<&str>) -> bool {
        use subtle::ConstantTimeEq as _;
        let Some(tokens) = &self.tokens else { return true };
        let Some(token) = token else { return false };
        let given: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let found = tokens.iter().fold(subtle::Choice::from(0), |found, token| found | token.ct_eq(&given));
        found.into()
    }

    /// Whether only those with a token may ask.
    pub(crate) fn wants_token(&self) -> bool {
        self.tokens.is_some()
    }
}

impl Table {
    /// Compiles a table. `served` gives the model for a configuration. A route that cannot be used is left out and reported;
    /// the others are not its fault.
    pub(crate) fn build(
        config: &TableConfig,
        mut served: impl FnMut(&ModelConfig) -> Arc<Served>,
    ) -> (Table, Vec<TableProblem>) {
        let configured: HashMap<ModelKey, &ModelConfig> = config
            .models
            .iter()
            .map(|model| (ModelKey::new(model.namespace.clone(), model.name.clone()), model))
            .collect();
        let mut table = Table::default();
        let mut shared = Shared::default();
        let mut problems = Vec::new();
        let looping = crate::graph::looping_routes(&config.routes);
        for route in &config.routes {
            let mut report = |problem: String| {
                let (namespace, route) = (route.namespace.clone(), route.name.clone());
                problems.push(TableProblem { namespace, route, problem });
            };
            if looping.contains(&(route.namespace.as_str(), route.name.as_str())) {
                report("its graph leads back to itself through other routes".to_owned());
                continue;
            }
            let mut model = |name: &str| {
                let key = ModelKey::new(route.namespace.clone(), name);
                match configured.get(&key) {
                    Some(config) => served(config),
                    None => served(&ModelConfig {
                        namespace: key.namespace,
                        name: key.name,
                        ..ModelConfig::default()
                    }),
                }
            };
            match compile(route, &mut model) {
                Ok(compiled) => {
                    let compiled = Arc::new(compiled);
                    shared.add(route, &compiled);
                    table.add(route, compiled, report);
                }
                Err(problem) => report(problem),
            }
        }
        shared.bind(&mut table, &mut problems);
        (table, problems)
    }

    fn add(&mut self, config: &RouteConfig, route: Arc<Route>, mut report: impl FnMut(String)) {
        let mut bind = |host: String, view: usize| {
            let place = Place { route: route.clone(), view };
            if host == "*" {
                self.any_host.get_or_insert(place);
                return true;
            }
            match self.hosts.entry(host.into_boxed_str()) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(place);
                    true
                }
                std::collections::hash_map::Entry::Occupied(entry) => {
                    let other = &entry.get().route;
                    let own = Arc::ptr_eq(other, &route);
                    if !own {
                        report(format!(
                            "host {} is already that of route {}/{}",
                            entry.key(),
                            other.namespace,
                            other.name
                        ));
                    }
                    own
                }
            }
        };
        let mut first = None;
        for host in &config.hosts {
            let bound = bind(normal_host(host).into_owned(), 0);
            if bound && first.is_none() && host != "*" {
                first = Some(normal_host(host));
            }
        }
        // A host that is another route's has no tags of this one either.
        let own = config.hosts.iter().find(|host| *host != "*").map(|host| normal_host(host));
        if let Some(first) = first.filter(|first| Some(first) == own.as_ref()) {
            for (tag, view) in &route.tags {
                bind(format!("{tag}-{first}"), *view);
            }
        }
        self.routes.insert(format!("{}/{}", route.namespace, route.name).into_boxed_str(), route);
    }

    /// The route for a host and a path, and the path behind the route's own.
    pub(crate) fn locate<'a>(&self, host: Option<&str>, path: &'a str) -> Result<(Place, &'a str), Failure> {
        if let Some(rest) = path.strip_prefix(PREFIX) {
            return self.locate_path(rest);
        }
        let host = host.unwrap_or_default();
        let found = self.hosts.get(normal_host(host).as_ref()).or(self.any_host.as_ref());
        match found {
            Some(place) => Ok((place.clone(), path)),
            None => Err(Failure::not_found(format!(
                "no route has the host {host:?}; use a route's host, or the path {PREFIX}NAMESPACE/ROUTE/..."
            ))),
        }
    }

    fn locate_path<'a>(&self, rest: &'a str) -> Result<(Place, &'a str), Failure> {
        let wanted = || Failure::not_found(format!("the path must be {PREFIX}NAMESPACE/ROUTE/..."));
        let slash = rest.find('/').ok_or_else(wanted)?;
        let end = rest[slash + 1..].find('/').map_or(rest.len(), |end| slash + 1 + end);
        let (key, behind) = rest.split_at(end);
        let (key, tag) = match key.split_once('@') {
            Some((key, tag)) => (key, Some(tag)),
            None => (key, None),
        };
        let route = self.routes.get(key).ok_or_else(|| Failure::not_found(format!("no route {key:?}")))?;
        let view = match tag {
            None => 0,
            Some(tag) => *route.tags.get(tag).ok_or_else(|| {
                let mut tags: Vec<_> = route.tags.keys().map(AsRef::as_ref).collect();
                tags.sort_unstable();
                let tags = tags.join(", ");
                Failure::not_found(format!("route {key:?} has no tag {tag:?}; it has: {tags}"))
            })?,
        };
        let behind = if behind.is_empty() { "/" } else { behind };
        Ok((Place { route: route.clone(), view }, behind))
    }

    /// The route that has this very host.
    pub(crate) fn at_host(&self, host: &str) -> Option<Place> {
        self.hosts.get(normal_host(host).as_ref()).cloned()
    }

    /// A route by its name.
    pub(crate) fn route(&self, namespace: &str, name: &str) -> Option<&Arc<Route>> {
        self.routes.get(format!("{namespace}/{name}").as_str())
    }

    /// How many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }
}

fn compile(config: &RouteConfig, model: &mut dyn FnMut(&str) -> Arc<Served>) -> Result<Route, String> {
    let mut members = Vec::new();
    for backend in &config.backends {
        members.push((backend.weight, model(&backend.model)));
    }
    let own: Vec<_> = config.models.iter().map(|name| model(name)).collect();
    let mut tags: HashMap<Box<str>, usize> = HashMap::new();
    let mut views = match &config.transformer {
        Some(transformer) => {
            let transformer = model(transformer);
            let names: Vec<_> = members.iter().map(|(_, model)| model.name.clone()).collect();
            vec![View::new(&[(1, transformer)], &names, &own)]
        }
        None => vec![View::new(&members, &[], &own)],
    };
    if config.transformer.is_some() {
        tags.insert(PREDICTOR.into(), views.len());
        views.push(View::new(&members, &[], &own));
    } else {
        tags.insert(PREDICTOR.into(), 0);
    }
    for (backend, (_, served)) in config.backends.iter().zip(&members) {
        if let Some(tag) = &backend.tag {
            tags.insert(tag.to_ascii_lowercase().into_boxed_str(), views.len());
            views.push(View::new(&[(1, served.clone())], &[], &own));
        }
    }
    let graph = config.graph.as_ref().map(Graph::compile).transpose()?;
    let explainer = config.explainer.as_deref().map(&mut *model);
    let placed = match (&graph, &config.transformer) {
        // Its steps have routes of their own.
        (Some(_), _) => None,
        // It stands before the others, and asks them.
        (None, Some(transformer)) => Placed::of(&[model(transformer)]),
        (None, None) => {
            let backends = members.iter().map(|(_, model)| model.clone());
            Placed::of(&backends.chain(own.clone()).chain(explainer.clone()).collect::<Vec<_>>())
        }
    };
    if config.backends.is_empty() && config.models.is_empty() && graph.is_none() {
        return Err("it has neither backends nor models nor a graph".to_owned());
    }
    let model_header = match config.model_header.as_deref().map(str::parse::<HeaderName>) {
        None => None,
        Some(Ok(name)) => Some(name),
        Some(Err(_)) => {
            let name = config.model_header.as_deref().unwrap_or_default();
            return Err(format!(
                "modelHeader {name:?} cannot be the name of a header; use letters, digits and '-'"
            ));
        }
    };
    let hash = |token: &String| Sha256::digest(token.as_bytes()).into();
    Ok(Route {
        namespace: config.namespace.clone(),
        name: config.name.clone(),
        views,
        tags,
        explainer,
        graph,
        placed,
        timeout: config.timeout,
        sticky: config.sticky.clone(),
        model_header,
        tokens: config.tokens.as_ref().map(|tokens| tokens.iter().map(hash).collect()),
    })
}

/// A host without port and final dot, in lower case.
fn normal_host(host: &str) -> Cow<'_, str> {
    let name = match host.strip_prefix('[') {
        // An IPv6 address, which has colons of its own.
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}
