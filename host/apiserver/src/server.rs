//! The server as a whole: opened on a folder, reached in process or over TLS, stopped by being cancelled.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};

use axum::Router;
use base64::Engine as _;
use http::Request;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::audit::AuditSink;
use crate::auth::Identity;
use crate::auth::pki::{Pki, PkiError};
use crate::auth::rbac::quoted;
use crate::auth::token::{Account, Bearer, ISSUER, Tokens};
use crate::auth::token_file::{self, TokenFileError};
use crate::backend::PodBackend;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::rest::mount::Mount;
use crate::store::Store;
use crate::{collect, lifecycle, listen, policy, rest};

/// How to open a server.
#[derive(Debug, Default)]
pub struct Config {
    /// Holds `store.db` and `pki/`.
    pub data_dir: PathBuf,
    /// Hears of every write.
    pub audit: Option<Arc<dyn AuditSink>>,
    /// Users beside the administrator, in kube-apiserver's form: lines of `token,user,uid,"group1,group2"`.
    pub token_file: Option<PathBuf>,
    /// Nobody acts on what is stored: dependents are not collected, namespaces get nothing and are not emptied. That is
    /// what an API server is without the controllers that a cluster runs beside it.
    pub without_controllers: bool,
}

/// Why a server cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made.
    #[error("making the data folder {path}: {source}; choose another with --data-dir")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What was wrong.
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[error("opening the store: {0}")]
    Store(String),
    /// The default roles cannot be written.
    #[error("writing the default roles and bindings: {0}")]
    Policy(String),
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The file of users cannot be used.
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
}

/// What every request sees.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tokens: Tokens,
    pub(crate) audit: Option<Arc<dyn AuditSink>>,
    pub(crate) metrics: Metrics,
    pub(crate) stopping: CancellationToken,
    pods: RwLock<Option<Arc<dyn PodBackend>>>,
    address: OnceLock<SocketAddr>,
}

impl Core {
    pub(crate) fn pod_backend(&self) -> Option<Arc<dyn PodBackend>> {
        self.pods.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Where clients reach the server, as discovery says it.
    pub(crate) fn address(&self) -> String {
        self.address.get().map(ToString::to_string).unwrap_or_default()
    }

    /// Who bears `token`, and for which of the audiences it was made; none asked for stands for this server.
    ///
    /// # Errors
    /// Why the token is not good, in a real server's words.
    pub(crate) fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), String> {
        let invalid = || "invalid bearer token".to_owned();
        let here = [ISSUER.to_owned()];
        let audiences = if audiences.is_empty() { here.as_slice() } else { audiences };
        let bearer = self.tokens.check(token, jiff::Timestamp::now().as_second()).ok_or_else(invalid)?;
        let (identity, made_for) = match bearer {
            Bearer::User(identity) => (identity, here.to_vec()),
            Bearer::Account(account) => {
                let store = &self.engine.store;
                let found = |table: &str, namespace: &str, name: &str, uid: &str| {
                    store.get(table, namespace, name).is_some_and(|stored| *stored.facts.uid == *uid)
                };
                let Account { namespace, name, uid, bound, .. } = &account;
                let stands = bound.as_ref().is_none_or(|bound| {
                    let namespace = if bound.kind.is_namespaced() { namespace } else { "" };
                    found(&format!("/{}", bound.kind.plural()), namespace, &bound.name, &bound.uid)
                });
                if !stands || !found("/serviceaccounts", namespace, name, uid) {
                    return Err(invalid());
                }
                (account.identity(), account.audiences)
            }
        };
        let shared: Vec<String> = made_for.iter().filter(|one| audiences.contains(one)).cloned().collect();
        if shared.is_empty() {
            return Err(format!(
                "[invalid bearer token, token audiences {} is invalid for the target audiences {}]",
                quoted(&made_for),
                quoted(audiences)
            ));
        }
        Ok((identity, shared))
    }
}

/// The embedded Kubernetes API. Clones share one server; its background work ends when [`ApiServer::stop`] is called
/// or the last clone is dropped.
#[derive(Clone, Debug)]
pub struct ApiServer {
    core: Arc<Core>,
    router: Router,
    pki: Arc<Pki>,
    _guard: Arc<tokio_util::sync::DropGuard>,
}

impl ApiServer {
    /// Opens the folder, making what is missing, and starts the garbage collector and the namespace lifecycle. Needs a
    /// tokio runtime. On return the default namespaces exist.
    ///
    /// # Errors
    /// When the folder, the store or the keys cannot be used; the text says what to do.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let Config { data_dir, audit, token_file, without_controllers } = config;
        let mut users = token_file.as_deref().map(token_file::read).transpose()?.unwrap_or_default();
        std::fs::create_dir_all(&data_dir)
            .map_err(|source| OpenError::Folder { path: data_dir.clone(), source })?;
        let pki = Arc::new(Pki::open(&data_dir.join("pki"))?);
        users.push((pki.admin_token.clone(), Identity::admin()));
        let store =
            Store::open(&data_dir.join("store.db")).map_err(|error| OpenError::Store(error.to_string()))?;
        let stopping = CancellationToken::new();
        let core = Arc::new(Core {
            engine: Arc::new(Engine::new(store)),
            tokens: Tokens::new(users, &pki.signing_key),
            audit,
            metrics: Metrics::new(),
            stopping: stopping.clone(),
            pods: RwLock::new(None),
            address: OnceLock::new(),
        });
        lifecycle::ensure_defaults(&core.engine)
            .await
            .map_err(|error| OpenError::Store(error.to_string()))?;
        policy::bootstrap::ensure(&core.engine)
            .await
            .map_err(|error| OpenError::Policy(error.to_string()))?;
        let namespaces = (!without_controllers).then(|| pki.ca.clone());
        tokio::spawn(
            stopping.clone().run_until_cancelled_owned(lifecycle::run(core.engine.clone(), namespaces)),
        );
        if !without_controllers {
            tokio::spawn(stopping.clone().run_until_cancelled_owned(collect::run(core.engine.clone())));
            let aggregator = policy::aggregate::Aggregator::new(core.engine.clone());
            // Whoever is bound to `edit` at the first request has its rules.
            aggregator.round().await;
            tokio::spawn(stopping.clone().run_until_cancelled_owned(aggregator.run()));
        }
        let router = rest::router(core.clone());
        Ok(Self { core, router, pki, _guard: Arc::new(stopping.drop_guard()) })
    }

    /// The same server, which serves something beside the API too, at paths of its own.
    ///
    /// # Panics
    /// When a path of it is one of the API's, or of what was mounted before.
    #[must_use]
    pub fn mounting(&self, mount: Mount) -> Self {
        let router = rest::mount::router(self.core.clone(), mount).merge(self.router.clone());
        Self { router, ..self.clone() }
    }

    /// A client that calls the server in process, as `identity`. Watches stream; nothing crosses a socket.
    pub fn client(&self, identity: Identity) -> kube::Client {
        let router = self.router.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(identity.clone());
            router.clone().oneshot(request)
        });
        kube::Client::new(service, "default")
    }

    /// Serves TLS on `listener` until `stop` is cancelled, then ends watches and lets requests in flight finish.
    ///
    /// # Errors
    /// When the listener has no local address.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        // The first listener names the server in discovery; further ones change nothing.
        let _ = self.core.address.set(listener.local_addr()?);
        listen::serve(listener, self.core.clone(), self.router.clone(), self.pki.tls.clone(), stop).await;
        Ok(())
    }

    /// A kubeconfig for the administrator, reaching the server at `address`.
    pub fn kubeconfig(&self, address: SocketAddr) -> String {
        let authority = base64::engine::general_purpose::STANDARD.encode(&self.pki.ca);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: purlin\n  cluster:\n    server: https://{address}\n    \
             certificate-authority-data: {authority}\nusers:\n- name: purlin-admin\n  user:\n    token: {}\ncontexts:\n\
             - name: purlin\n  context:\n    cluster: purlin\n    user: purlin-admin\ncurrent-context: purlin\n",
            self.pki.admin_token
        )
    }

    /// Says where Pod logs come from.
    pub fn set_pod_backend(&self, backend: Arc<dyn PodBackend>) {
        *self.core.pods.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(backend);
    }

    /// Makes the server's metrics visible in `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.core.metrics.register(registry, self.core.engine.store.clone());
    }

    /// The certificate authority, PEM.
    pub fn ca_certificate(&self) -> &str {
        &self.pki.ca
    }

    /// Ends watches and background work. What was acknowledged is already on the disk.
    pub fn stop(&self) {
        self.core.stopping.cancel();
    }
}
