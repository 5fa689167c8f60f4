//! What others serve on the API's port, beside the API: something for everybody, and something for whoever may do a
//! certain thing with a certain resource.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use super::gate;
use crate::server::Core;

/// Routes to serve beside the API. Their paths are whole ones, and none of the API's.
#[derive(Clone, Debug)]
pub struct Mount {
    /// For everybody, whether they show a token or not.
    pub open: Router,
    /// For whoever has the right; all others get the API's own refusals.
    pub guarded: Router,
    /// What whoever asks for something in `guarded` has to be allowed.
    pub right: Right,
}

/// A right, as a rule of a cluster role has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Such as `list`.
    pub verb: &'static str,
    /// API group.
    pub group: &'static str,
    /// Plural.
    pub resource: &'static str,
}

/// Both, side by side.
pub(crate) fn router(core: Arc<Core>, mount: Mount) -> Router {
    let guarded = mount.guarded.layer(from_fn_with_state((core, mount.right), guard));
    mount.open.merge(guarded)
}

async fn guard(State((core, right)): State<(Arc<Core>, Right)>, request: Request, next: Next) -> Response {
    gate::guard(&core, right, request, next).await
}
