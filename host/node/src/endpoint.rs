//! What an API server asks of a node: container logs, over TLS at the port that the Node object names.
//!
//! Whoever connects shows a certificate of the cluster's clients, and is let in if the cluster allows its user
//! `get nodes/log` or `nodes/proxy` of this node, as a kubelet asks it. There is no other way in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::logs::{LogRequest, LogsError};
use crate::node::Node;

/// Connections at a time.
const CONNECTIONS: usize = 256;
/// A client that has not finished its handshake by then is cut.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why logs cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The authority's certificates are none.
    #[error("reading the authority of the API server's certificate: {0}")]
    Authority(#[from] rustls::pki_types::pem::Error),
    /// There is none.
    #[error("the authority of the API server's certificate cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The serving certificate could not be made.
    #[error("making the serving certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refused something.
    #[error("setting up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Serves a node's logs.
pub struct LogEndpoint {
    tls: Arc<ServerConfig>,
    gate: Gate,
    router: Router,
}

impl LogEndpoint {
    /// An endpoint for a node, reached at `address`. `authority` (PEM) signs the certificates of those who may connect.
    ///
    /// # Errors
    /// The authority is no certificate, or TLS cannot be set up.
    pub fn new(
        client: Client,
        node: Arc<Node>,
        name: &str,
        address: IpAddr,
        authority: &[u8],
    ) -> Result<Self, EndpointError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority) {
            roots.add(certificate?)?;
        }
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
        let names = vec![name.to_owned(), address.to_string(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let tls = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/containerLogs/{namespace}/{pod}/{container}", get(logs))
            .with_state(Logs { client: client.clone(), node });
        Ok(LogEndpoint { tls: Arc::new(tls), gate: Gate { client, node: name.to_owned() }, router })
    }

    /// Serves until `stop`. Logs that are followed are cut then.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let acceptor = TlsAcceptor::from(self.tls);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await.ok()?;
                Some((place, listener.accept().await))
            };
            let (place, stream) = tokio::select! {
                () = stop.cancelled() => return,
                accepted = accepted => match accepted {
                    None => return,
                    Some((place, Ok((stream, _)))) => (place, stream),
                    Some((_, Err(error))) => {
                        // Out of file descriptors, most likely: wait for some to come back.
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let (acceptor, gate, router) = (acceptor.clone(), self.gate.clone(), self.router.clone());
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection(stream, acceptor, gate, router) => {
                        if let Err(error) = ended {
                            tracing::debug!(%error, "a connection ended with an error");
                        }
                    }
                    () = stop.cancelled() => {}
                }
                drop(place);
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    gate: Gate,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let user = User::of(certificate.ok_or("no certificate")?)?;
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (gate, router, user) = (gate.clone(), router.clone(), user.clone());
        async move {
            match gate.admits(&user).await {
                Ok(()) => router.oneshot(request.map(Body::new)).await,
                Err(refusal) => Ok(refusal.into_response()),
            }
        }
    });
    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
}

/// Who a client certificate says its holder is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    groups: Vec<String>,
}

impl User {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (_, parsed) = X509Certificate::from_der(certificate)?;
        let subject = parsed.subject();
        let texts = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().ok().map(str::to_owned)
        };
        let name = subject.iter_common_name().find_map(texts).ok_or("a certificate without a common name")?;
        Ok(User { name, groups: subject.iter_organization().filter_map(texts).collect() })
    }
}

/// Asks the cluster who may read.
#[derive(Clone)]
struct Gate {
    client: Client,
    node: String,
}

impl Gate {
    async fn admits(&self, user: &User) -> Result<(), (StatusCode, String)> {
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        for subresource in ["log", "proxy"] {
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: Some(user.name.clone()),
                    groups: Some(user.groups.clone()),
                    resource_attributes: Some(ResourceAttributes {
                        verb: Some("get".to_owned()),
                        resource: Some("nodes".to_owned()),
                        subresource: Some(subresource.to_owned()),
                        name: Some(self.node.clone()),
                        ..ResourceAttributes::default()
                    }),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| {
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("could not ask whether {} may read: {error}\n", user.name),
                )
            })?;
            if answer.status.is_some_and(|status| status.allowed) {
                return Ok(());
            }
        }
        let why = format!("user {} may get neither nodes/log nor nodes/proxy of {}\n", user.name, self.node);
        Err((StatusCode::FORBIDDEN, why))
    }
}

#[derive(Clone)]
struct Logs {
    client: Client,
    node: Arc<Node>,
}

/// The query of a log request, as a kubelet takes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LogQuery {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail_lines: Option<u64>,
    limit_bytes: Option<u64>,
    since_seconds: Option<i64>,
    since_time: Option<Timestamp>,
}

async fn logs(
    State(logs): State<Logs>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<LogQuery>,
) -> Response {
    let pods: Api<Pod> = Api::namespaced(logs.client.clone(), &namespace);
    let uid = match pods.get_opt(&pod).await {
        Ok(Some(found)) => found.uid().unwrap_or_default(),
        Ok(None) => return (StatusCode::NOT_FOUND, format!("pod {pod} is not there\n")).into_response(),
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    };
    let since = query
        .since_time
        .or_else(|| Some(Timestamp::now() - jiff::SignedDuration::from_secs(query.since_seconds?)));
    let request = LogRequest {
        namespace,
        pod,
        uid,
        container,
        follow: query.follow,
        previous: query.previous,
        timestamps: query.timestamps,
        tail_lines: query.tail_lines,
        limit_bytes: query.limit_bytes,
        since,
    };
    match logs.node.logs(request).await {
        Ok(lines) => Body::from_stream(lines).into_response(),
        Err(error @ LogsError::NoAttempt { .. }) => {
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        }
        Err(error @ LogsError::Read { .. }) => {
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_who_its_holder_is() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let user = User::of(certificate.der()).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("kube-apiserver", vec!["system:masters".to_owned()]));
    }
}
