//! Watches: events of a resource as a stream of JSON lines.
//!
//! A watch holds a cursor into the store's history and no queue of its own: however slow the client is, nothing is
//! buffered for it, and one that falls behind the history is told that its version is too old and cut.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, header};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::request::ApiRequest;
use super::respond::{self, Shape};
use crate::engine::list::Selection;
use crate::server::Core;
use crate::status::ApiError;
use crate::store::{Event, EventKind, Stored, Watching};

/// Events read from the history at a time.
const CHUNK: usize = 128;
/// How often a client that asked for bookmarks gets one.
const BOOKMARK: Duration = Duration::from_secs(60);
/// How long a watch without a timeout of its own lives at least; up to twice that, so that clients spread.
const LIFETIME: Duration = Duration::from_secs(1800);

struct Watch {
    core: Arc<Core>,
    request: Arc<WatchRequest>,
    /// Everything up to this revision was sent or did not concern the client.
    cursor: u64,
    ready: VecDeque<Bytes>,
    wake: tokio::sync::watch::Receiver<u64>,
    ends: Instant,
    bookmark: Instant,
    /// The initial events are out and their end is to be said.
    announce: bool,
    columns: bool,
    ended: bool,
    _counted: Watching,
}

struct WatchRequest {
    request: ApiRequest,
    selection: Selection,
}

/// Starts a watch.
pub(super) fn answer(core: &Arc<Core>, request: &ApiRequest) -> Result<Response, ApiError> {
    let mut query = request.query.clone();
    if let Some(name) = &request.target.name {
        let one = format!("metadata.name={name}");
        query.field_selector = Some(match query.field_selector.take() {
            Some(other) => format!("{other},{one}"),
            None => one,
        });
    }
    let selection = Selection::new(&request.resource, &query)?;
    let store = &core.engine.store;
    // Subscribed before the first read, so that no event falls between.
    let wake = store.subscribe(&request.resource.table);
    let version = query.resource_version;
    let initial = query.initial_events.unwrap_or(matches!(version, None | Some(0)));
    let current = store.revision();
    let lifetime = query
        .timeout_seconds
        .map(Duration::from_secs)
        .unwrap_or_else(|| LIFETIME + Duration::from_secs(rand::rng().random_range(0..LIFETIME.as_secs())));
    let now = Instant::now();
    let mut watch = Watch {
        core: core.clone(),
        cursor: version.unwrap_or(current),
        ready: VecDeque::new(),
        wake,
        ends: now + lifetime,
        bookmark: now + BOOKMARK,
        announce: query.initial_events == Some(true),
        columns: true,
        ended: false,
        _counted: store.watching(),
        request: Arc::new(WatchRequest { request: request.again(), selection }),
    };
    if initial {
        watch.list();
    }
    let json = HeaderValue::from_static("application/json");
    let mut response = Response::new(Body::from_stream(stream::unfold(watch, Watch::next)));
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

impl Watch {
    /// The next lines; ends the stream at the watch's end, after an error, or when the server stops.
    async fn next(mut self) -> Option<(Result<Bytes, std::convert::Infallible>, Self)> {
        loop {
            if let Some(lines) = self.drain() {
                return Some((Ok(lines), self));
            }
            if self.ended {
                return None;
            }
            self.read();
            if !self.ready.is_empty() {
                continue;
            }
            if self.announce {
                self.announce = false;
                self.mark(true);
                continue;
            }
            let stop = self.core.stopping.clone();
            tokio::select! {
                changed = self.wake.changed() => if changed.is_err() { return None },
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.ends) => {
                    self.ended = true;
                    self.mark(false);
                }
                () = tokio::time::sleep_until(self.bookmark) => self.mark(false),
            }
        }
    }

    /// Everything that is ready, in one piece.
    fn drain(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        if self.ready.is_empty() {
            return Some(first);
        }
        let mut all = BytesMut::from(&*first);
        while all.len() < 64 << 10 {
            let Some(next) = self.ready.pop_front() else { break };
            all.put_slice(&next);
        }
        Some(all.freeze())
    }

    /// Queues the current objects as `ADDED`.
    fn list(&mut self) {
        let target = self.request.clone();
        let page = self
            .core
            .engine
            .store
            .list(&target.request.resource.table, target.request.target.namespace.as_deref());
        self.cursor = page.revision;
        for object in page.items.iter().filter(|object| target.selection.matches(object)) {
            self.push("ADDED", object);
        }
    }

    /// Queues the next events after the cursor.
    fn read(&mut self) {
        let target = self.request.clone();
        let store = &self.core.engine.store;
        self.wake.mark_unchanged();
        match store.events(&target.request.resource.table, self.cursor, CHUNK) {
            Ok((events, seen)) => {
                self.cursor = seen.max(self.cursor);
                for event in &events {
                    self.translate(&target, event);
                }
            }
            Err(expired) => {
                let error = ApiError::expired(expired.to_string());
                self.line("ERROR", &error.status());
                self.ended = true;
            }
        }
    }

    /// What an event means to this client: objects come into and go out of a selection.
    fn translate(&mut self, target: &WatchRequest, event: &Event) {
        let object = &event.object;
        if target
            .request
            .target
            .namespace
            .as_deref()
            .is_some_and(|namespace| namespace != &*object.key.namespace)
        {
            return;
        }
        let is = event.kind != EventKind::Deleted && target.selection.matches(object);
        let was = event.previous.as_ref().is_some_and(|previous| target.selection.matches(previous));
        match (was, is) {
            (false, false) => {}
            (false, true) => self.push("ADDED", object),
            (true, true) => self.push("MODIFIED", object),
            (true, false) if event.kind == EventKind::Deleted => self.push("DELETED", object),
            (true, false) => {
                // It left the selection: the client gets the last version that was in it, at this revision.
                if let Some(previous) = &event.previous {
                    self.push("DELETED", &previous.moved_to(object.revision));
                }
            }
        }
    }

    fn push(&mut self, kind: &str, stored: &Stored) {
        let target = self.request.clone();
        let resource = &target.request.resource;
        if target.request.format.shape == Shape::Full {
            match respond::body_of(&self.core.engine, resource, stored) {
                Ok(body) => {
                    let mut line = BytesMut::with_capacity(body.len() + 40);
                    line.put_slice(b"{\"type\":\"");
                    line.put_slice(kind.as_bytes());
                    line.put_slice(b"\",\"object\":");
                    line.put_slice(&body);
                    line.put_slice(b"}\n");
                    self.ready.push_back(line.freeze());
                }
                Err(error) => self.fail(&error),
            }
            return;
        }
        match self.core.engine.value_as(resource, stored) {
            Ok(object) => {
                let shown = self.shaped(object);
                self.line(kind, &shown);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn shaped(&mut self, object: Value) -> Value {
        let target = self.request.clone();
        match target.request.format.shape {
            Shape::Full => object,
            Shape::Partial => respond::partial(&object),
            Shape::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let columns = std::mem::replace(&mut self.columns, false);
                respond::table_of(&target.request, metadata, &[object], columns)
            }
        }
    }

    fn fail(&mut self, error: &ApiError) {
        self.line("ERROR", &error.status());
        self.ended = true;
    }

    fn line(&mut self, kind: &str, object: &Value) {
        self.ready.push_back(Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")));
    }

    /// Queues a bookmark, where the client asked for them.
    fn mark(&mut self, initial: bool) {
        self.bookmark = Instant::now() + BOOKMARK;
        let target = self.request.clone();
        if !target.request.query.bookmarks {
            return;
        }
        let resource = &target.request.resource;
        let mut object = json!({
            "kind": resource.kind, "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": self.cursor.to_string()},
        });
        if initial {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let shown = match target.request.format.shape {
            Shape::Table => {
                let mut table =
                    respond::table_of(&target.request, object["metadata"].clone(), &[object], false);
                table["metadata"] = json!({"resourceVersion": self.cursor.to_string()});
                table
            }
            Shape::Full | Shape::Partial => self.shaped(object),
        };
        self.line("BOOKMARK", &shown);
    }
}
