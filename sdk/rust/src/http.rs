//! Requests to servers. Capability: `http(METHODS [SCHEME://]HOST[:PORT] [in RANGES])`, asked for in the manifest and granted
//! by the user.
//!
//! ```no_run
//! use purlin_sdk::http::Request;
//!
//! let answer = Request::get("https://api.example.com/items").header("accept", "application/json").send();
//! ```

use crate::HostError;

pub use crate::bindings::base::purlin::plugin::http::{Header, Method, Request, Response};

impl Request {
    /// A request without headers or body that follows no redirect.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Request {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
            redirects: 0,
        }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Request::new(Method::Get, url)
    }

    /// A POST with a body.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Request { body: body.into(), ..Request::new(Method::Post, url) }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Sends it and waits for the answer, whatever its status.
    ///
    /// # Errors
    /// [`HostError::Denied`] where no grant covers the request, [`HostError::Unavailable`] where no answer came.
    pub fn send(&self) -> Result<Response, HostError> {
        host::send(self)
    }
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::base::purlin::plugin::http as host;

/// Outside a sandbox there is no host that could be asked.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    use super::{Request, Response};
    use crate::HostError;

    pub(super) fn send(_: &Request) -> Result<Response, HostError> {
        Err(crate::fault::outside())
    }
}
