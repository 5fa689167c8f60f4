//! Hosts that routes of a namespace share. Each has a route of its own, which is put together from theirs: it has all their
//! models by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Place, Route, RouteConfig, Split, Table, TableProblem, View, normal_host};

/// Who shares which host.
#[derive(Debug, Default)]
pub(super) struct Shared {
    hosts: BTreeMap<String, Vec<Arc<Route>>>,
}

impl Shared {
    /// Notes the hosts that a route shares.
    pub(super) fn add(&mut self, config: &RouteConfig, route: &Arc<Route>) {
        for host in &config.shared_hosts {
            let sharing = self.hosts.entry(normal_host(host).into_owned()).or_default();
            if !sharing.iter().any(|other| Arc::ptr_eq(other, route)) {
                sharing.push(route.clone());
            }
        }
    }

    /// Leads each host to those who share it. Hosts that one route has alone stay its own.
    pub(super) fn bind(self, table: &mut Table, problems: &mut Vec<TableProblem>) {
        for (host, mut sharing) in self.hosts {
            // Whatever order they came in, the same one has a name that several have.
            sharing.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
            let mut report = |route: &Route, problem: String| {
                let problem =
                    TableProblem { namespace: route.namespace.clone(), route: route.name.clone(), problem };
                // A route says the same of each of its hosts, and has one condition.
                if !problems
                    .iter()
                    .any(|other| (&other.namespace, &other.route) == (&problem.namespace, &problem.route))
                {
                    problems.push(problem);
                }
            };
            if let Some(owner) = table.hosts.get(host.as_str()).map(|place| place.route.clone()) {
                for route in &sharing {
                    report(
                        route,
                        format!("host {host} is already that of route {}/{}", owner.namespace, owner.name),
                    );
                }
                continue;
            }
            if let Some(route) = together(&host, &sharing, report) {
                let place = Place { route: Arc::new(route), view: 0 };
                table.hosts.insert(host.into_boxed_str(), place);
            }
        }
    }
}

/// One route for all who share a host. Who cannot share is reported and left out.
fn together(host: &str, sharing: &[Arc<Route>], mut report: impl FnMut(&Route, String)) -> Option<Route> {
    let mut by_name: HashMap<Box<str>, Arc<Split<_>>> = HashMap::new();
    let mut from: HashMap<&str, &Route> = HashMap::new();
    let mut model_header = None;
    let mut first: Option<&Route> = None;
    for route in sharing {
        if let Some(first) = first.filter(|first| first.namespace != route.namespace) {
            report(
                route,
                format!("host {host} is already shared by routes of namespace {}", first.namespace),
            );
            continue;
        }
        if route.wants_token() || route.graph.is_some() {
            report(route, format!("host {host} cannot be shared by a route with auth or a graph"));
            continue;
        }
        first = first.or(Some(route.as_ref()));
        model_header = model_header.or_else(|| route.model_header.clone());
        // In order, so that the same table says the same.
        let mut named: Vec<_> = route.views[0].by_name.iter().collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        for (name, split) in named {
            match from.get(name.as_ref()) {
                Some(other) => {
                    report(
                        route,
                        format!("model {name:?} on host {host} is already that of route {}", other.name),
                    );
                }
                None => {
                    from.insert(name, route.as_ref());
                    by_name.insert(name.clone(), split.clone());
                }
            }
        }
    }
    Some(Route {
        namespace: first?.namespace.clone(),
        name: host.to_owned(),
        views: vec![View { by_name, backends: Arc::new(Split::new([])) }],
        tags: HashMap::new(),
        explainer: None,
        graph: None,
        // Whose models these are differs by the name in a request, which is not read before it is decided who answers.
        placed: None,
        timeout: None,
        sticky: None,
        model_header,
        tokens: None,
    })
}
