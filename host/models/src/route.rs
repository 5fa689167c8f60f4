//! The status of a Route: where it answers, and whether it can.

use jiff::Timestamp;
use kube::ResourceExt as _;
use purlin_kernel::api::{Change, Route, RouteStatus, set_condition};

use crate::table::complete;

/// Where the gateway is reached.
#[derive(Clone, Debug)]
pub(crate) struct Address<'a> {
    /// Behind hosts that end in a dot, without a port.
    pub(crate) domain: &'a str,
    /// Host and port of the gateway itself.
    pub(crate) authority: &'a str,
}

impl Address<'_> {
    /// What follows a host in a URL.
    fn port(&self) -> &str {
        let port = self.authority.rfind(':').map_or("", |at| &self.authority[at..]);
        if port == ":80" { "" } else { port }
    }
}

/// The status that a route should have. `problem` says why the gateway left it out.
pub(crate) fn status(
    route: &Route,
    address: &Address<'_>,
    problem: Option<&str>,
    now: Timestamp,
) -> RouteStatus {
    let mut status = route.status.clone().unwrap_or_default();
    let (namespace, name) = (route.namespace().unwrap_or_default(), route.name_any());
    let path_url = format!("http://{}/serving/{namespace}/{name}", address.authority);
    let hosts = [&route.spec.hosts, &route.spec.shared_hosts];
    let host = hosts.into_iter().flat_map(|hosts| complete(hosts, address.domain)).next();
    status.url = Some(match host {
        Some(host) => format!("http://{host}{}", address.port()),
        None => path_url.clone(),
    });
    status.path_url = Some(path_url);
    status.grpc_address = Some(address.authority.to_owned());
    let generation = route.metadata.generation;
    status.observed_generation = generation;
    let (ready, reason, message) = match problem {
        Some(problem) => (false, "Refused", problem.to_owned()),
        None => (true, "Routed", "the gateway answers under the route's hosts".to_owned()),
    };
    let change = Change { kind: "Ready", status: Some(ready), reason, message, generation };
    set_condition(&mut status.conditions, change, now);
    status
}
