//! The HTTP face: routes, the request extractor, and one handler a group of verbs.
//!
//! Both entrances, the TLS listener and the in-process client, end in [`router`]; the only difference between them is
//! how the [`crate::Identity`] came into the request's extensions. Every request passes the [`gate`]. Handlers translate and delegate: what a verb means
//! is in `crate::engine`.

mod body;
mod discovery;
mod dispatch;
mod gate;
mod json;
mod meta;
pub(crate) mod mount;
mod openapi;
mod pods;
pub(crate) mod query;
mod report;
mod request;
mod respond;
mod review;
mod tokens;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

use crate::server::Core;

pub(crate) use gate::forbidden;
pub(crate) use query::unescape;
pub(crate) use respond::failure;

/// The whole API as a router.
pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/", get(meta::root))
        .route("/version", get(meta::version))
        .route("/version/", get(meta::version))
        .route("/healthz", get(meta::healthy))
        .route("/livez", get(meta::healthy))
        .route("/readyz", get(meta::healthy))
        .route("/.well-known/openid-configuration", get(meta::openid))
        .route("/api", get(discovery::legacy))
        .route("/api/", get(discovery::legacy))
        .route("/apis", get(discovery::groups))
        .route("/apis/", get(discovery::groups))
        .route("/apis/{group}", get(discovery::group))
        .route("/apis/{group}/", get(discovery::group))
        .route("/api/v1", get(discovery::core_resources))
        .route("/api/v1/", get(discovery::core_resources))
        .route("/apis/{group}/{version}", get(discovery::resources))
        .route("/apis/{group}/{version}/", get(discovery::resources))
        .route("/openapi/v2", get(openapi::v2))
        .route("/openapi/v3", get(openapi::index))
        .route("/openapi/v3/", get(openapi::index))
        .route("/openapi/v3/{*path}", get(openapi::group))
        .route("/api/v1/{*path}", any(dispatch::resource))
        .route("/apis/{group}/{version}/{*path}", any(dispatch::resource))
        .fallback(meta::nothing)
        .layer(axum::middleware::from_fn_with_state(core.clone(), gate::pass))
        .with_state(core)
}
