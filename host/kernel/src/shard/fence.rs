//! A client that does not write where this replica has lost the right to.
//!
//! Every request passes here right before it is sent. A write into a namespace needs that namespace's shard, any other
//! write the leadership. What was decided while the part was held is thus not written after.
//!
//! # Caveats
//! A request that is on its way to the server when the part is lost is not called back. The Lease outlives the right to
//! write by a fifth of its duration, which is what such a request has to arrive in; after that the names and versions
//! that writes carry make the server refuse or ignore it.

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use prometheus_client::metrics::counter::Counter;
use tower::BoxError;

use super::{Domain, Holdings};
use crate::key::ObjectKey;

/// A write that was kept back.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path} was kept back: this replica no longer holds {domain}")]
pub(crate) struct Fenced {
    domain: Domain,
    method: Method,
    path: String,
}

/// Which part a write belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// That of the namespace which is written to.
    OfNamespace,
    /// The leader's, wherever it writes.
    OfLeader,
}

/// The clients that loops write with. Reading is free with either.
#[derive(Clone)]
pub(crate) struct Writers {
    /// For what a namespace's shard does.
    pub of_namespace: Client,
    /// For what the leader does.
    pub of_leader: Client,
}

impl Writers {
    /// Fenced clients over `inner`; `inner` itself where there is one replica only. What is kept back is counted.
    pub(crate) fn new(inner: &Client, holdings: &Holdings, kept_back: &Counter) -> Self {
        let fenced = |scope| {
            if holdings.is_shared() { fenced(inner, holdings, scope, kept_back) } else { inner.clone() }
        };
        Writers { of_namespace: fenced(Scope::OfNamespace), of_leader: fenced(Scope::OfLeader) }
    }

    /// The one for an object and what it owns. A cluster-scoped object is the leader's, with all that it has in
    /// namespaces.
    pub(crate) fn of(&self, object: &ObjectKey) -> &Client {
        match object.namespace() {
            Some(_) => &self.of_namespace,
            None => &self.of_leader,
        }
    }
}

fn fenced(inner: &Client, holdings: &Holdings, scope: Scope, kept_back: &Counter) -> Client {
    let namespace = inner.default_namespace().to_owned();
    let (inner, holdings, kept_back) = (inner.clone(), holdings.clone(), kept_back.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let verdict = check(&holdings, scope, request.method(), request.uri().path());
        if verdict.is_err() {
            kept_back.inc();
        }
        let inner = inner.clone();
        async move {
            verdict?;
            let response: Response<Body> = inner.send(request).await?;
            Ok::<_, BoxError>(response)
        }
    });
    Client::new(service, namespace)
}

fn check(holdings: &Holdings, scope: Scope, method: &Method, path: &str) -> Result<(), Fenced> {
    if method.is_safe() {
        return Ok(());
    }
    let domain = match scope {
        Scope::OfLeader => Domain::Leader,
        Scope::OfNamespace => holdings.shards().domain(namespace_of(path)),
    };
    if holdings.holds(domain) {
        return Ok(());
    }
    Err(Fenced { domain, method: method.clone(), path: path.to_owned() })
}

/// The namespace whose object a path names; none for a cluster-scoped object, a namespace itself included.
fn namespace_of(path: &str) -> Option<&str> {
    let mut parts = path.trim_matches('/').split('/').skip_while(|part| *part != "namespaces");
    let (_, namespace, resource) = (parts.next()?, parts.next()?, parts.next()?);
    // `/api/v1/namespaces/NAME/status` and `/finalize` are of the namespace itself.
    let itself = matches!(resource, "status" | "finalize") && parts.next().is_none();
    (!itself).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Shards;
    use std::num::NonZeroU32;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn a_path_names_the_namespace_of_its_object() {
        assert_eq!(namespace_of("/api/v1/namespaces/a/pods"), Some("a"));
        assert_eq!(namespace_of("/apis/batch/v1/namespaces/a/jobs/b/status"), Some("a"));
        assert_eq!(namespace_of("/apis/purlin.dev/v1alpha1/plugins/a/status"), None);
        assert_eq!(namespace_of("/api/v1/namespaces/a"), None);
        assert_eq!(namespace_of("/api/v1/namespaces/a/status"), None);
        assert_eq!(namespace_of("/api/v1/namespaces"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_needs_the_part_and_a_read_does_not() {
        let holdings = Holdings::nothing(Shards::new(NonZeroU32::MIN));
        let pods = "/api/v1/namespaces/a/pods";
        let may = |method: Method, scope| check(&holdings, scope, &method, pods).is_ok();
        assert!(may(Method::GET, Scope::OfNamespace) && !may(Method::POST, Scope::OfNamespace));
        holdings.live(Instant::now() + Duration::from_secs(60));
        holdings.take(Domain::Shard(0), Instant::now() + Duration::from_secs(1));
        assert!(may(Method::PATCH, Scope::OfNamespace) && !may(Method::PATCH, Scope::OfLeader));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!may(Method::DELETE, Scope::OfNamespace));
    }
}
