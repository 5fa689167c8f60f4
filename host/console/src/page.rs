//! The page: files inside the binary, and the headers that keep it from running or loading anything else.

use axum::Router;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::header::{self, HeaderName, HeaderValue};

/// Nothing but the page's own files runs or is loaded, nobody puts it into a frame, and its scripts cannot turn text into
/// markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const FILES: &[(&str, &str, &str)] = &[
    ("/console/", "text/html; charset=utf-8", include_str!("../page/index.html")),
    ("/console/console.css", "text/css; charset=utf-8", include_str!("../page/console.css")),
    ("/console/icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
    ("/console/main.js", SCRIPT, include_str!("../page/main.js")),
    ("/console/api.js", SCRIPT, include_str!("../page/api.js")),
    ("/console/dialogs.js", SCRIPT, include_str!("../page/dialogs.js")),
    ("/console/dom.js", SCRIPT, include_str!("../page/dom.js")),
    ("/console/plugins.js", SCRIPT, include_str!("../page/plugins.js")),
    ("/console/views.js", SCRIPT, include_str!("../page/views.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) fn router() -> Router {
    let mut router = Router::new().route("/console", get(async || Redirect::permanent(crate::PATH)));
    for (path, kind, text) in FILES {
        router =
            router.route(path, get(async move || ([(header::CONTENT_TYPE, *kind)], *text).into_response()));
    }
    // A page of the version before must not meet the scripts of this one.
    router.layer(axum::middleware::map_response(|response| hardened(response, "no-cache")))
}

/// With the headers that every answer of the console has.
pub(crate) async fn hardened(mut response: Response, cache: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
