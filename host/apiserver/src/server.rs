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
use crate::auth::pki::{Pki, PkiError};
use crate::auth::token::{Bearer, Tokens};
use crate::auth::{AllowKnown, Authorizer, Identity};
use crate::backend::PodBackend;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::{collect, lifecycle, listen, rest};

/// How to open a server.
#[derive(Debug, Default)]
pub struct Config {
    /// Holds `store.db` and `pki/`.
    pub data_dir: PathBuf,
    /// Hears of every write.
    pub audit: Option<Arc<dyn AuditSink>>,
    /// Decides who may do what; by default administrators, Purlin's parts and service accounts may do everything.
    pub authorizer: Option<Arc<dyn Authorizer>>,
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
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// What every request sees.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tokens: Tokens,
    pub(crate) authorizer: Arc<dyn Authorizer>,
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

    /// Who bears `token`, and for which audiences it was made.
    pub(crate) fn authenticate(&self, token: &str) -> Option<(Identity, Vec<String>)> {
        match self.tokens.check(token, jiff::Timestamp::now().as_second())? {
            Bearer::Admin => Some((Identity::admin(), Vec::new())),
            Bearer::Account(account) => {
                let stored = self.engine.store.get("/serviceaccounts", &account.namespace, &account.name)?;
                (*stored.facts.uid == *account.uid).then(|| (account.identity(), account.audiences))
            }
        }
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
        let Config { data_dir, audit, authorizer, without_controllers } = config;
        std::fs::create_dir_all(&data_dir)
            .map_err(|source| OpenError::Folder { path: data_dir.clone(), source })?;
        let pki = Arc::new(Pki::open(&data_dir.join("pki"))?);
        let store =
            Store::open(&data_dir.join("store.db")).map_err(|error| OpenError::Store(error.to_string()))?;
        let stopping = CancellationToken::new();
        let core = Arc::new(Core {
            engine: Arc::new(Engine::new(store)),
            tokens: Tokens::new(&pki.admin_token, &pki.signing_key),
            authorizer: authorizer.unwrap_or_else(|| Arc::new(AllowKnown)),
            audit,
            metrics: Metrics::new(),
            stopping: stopping.clone(),
            pods: RwLock::new(None),
            address: OnceLock::new(),
        });
        lifecycle::ensure_defaults(&core.engine)
            .await
            .map_err(|error| OpenError::Store(error.to_string()))?;
        let namespaces = (!without_controllers).then(|| pki.ca.clone());
        tokio::spawn(
            stopping.clone().run_until_cancelled_owned(lifecycle::run(core.engine.clone(), namespaces)),
        );
        if !without_controllers {
            tokio::spawn(stopping.clone().run_until_cancelled_owned(collect::run(core.engine.clone())));
        }
        let router = rest::router(core.clone());
        Ok(Self { core, router, pki, _guard: Arc::new(stopping.drop_guard()) })
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
