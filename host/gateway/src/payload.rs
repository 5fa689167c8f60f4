//! The payload log: requests and answers go as CloudEvents to whoever a model names, in the background. Nothing waits for it:
//! what finds no room in the queue is dropped and counted.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderValue;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::table::LoggingConfig;
use crate::trace::TRACEPARENT;

/// Events that are on their way at once.
const SENDERS: usize = 8;
/// A receiver that has not answered by then has not got it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Payloads beyond this are not logged.
pub(crate) const MAX_PAYLOAD: usize = 4 << 20;

/// What of a request an event says.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) logging: LoggingConfig,
    pub(crate) id: String,
    pub(crate) namespace: String,
    pub(crate) route: String,
    pub(crate) traceparent: Option<HeaderValue>,
}

/// Which of the two a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

impl Side {
    /// The event's type, as KServe's agent has it.
    fn event_type(self) -> &'static str {
        match self {
            Side::Request => "org.kubeflow.serving.inference.request",
            Side::Response => "org.kubeflow.serving.inference.response",
        }
    }
}

struct Event {
    about: Arc<About>,
    side: Side,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

/// The queue to whoever receives payloads.
pub(crate) struct PayloadLog {
    queue: usize,
    metrics: Metrics,
    sender: OnceLock<mpsc::Sender<Event>>,
}

impl PayloadLog {
    /// So many events may wait. Nothing runs until the first comes.
    pub(crate) fn new(queue: usize, metrics: Metrics) -> PayloadLog {
        PayloadLog { queue: queue.max(1), metrics, sender: OnceLock::new() }
    }

    /// Puts a payload into the queue.
    pub(crate) fn log(&self, about: &Arc<About>, side: Side, content_type: Option<HeaderValue>, body: Bytes) {
        let wanted = match side {
            Side::Request => about.logging.requests,
            Side::Response => about.logging.responses,
        };
        if !wanted {
            return;
        }
        if body.len() > MAX_PAYLOAD {
            self.metrics.payload("too_large");
            return;
        }
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(self.queue);
            tokio::spawn(deliver(receiver, self.metrics.clone()));
            sender
        });
        if sender.try_send(Event { about: about.clone(), side, content_type, body }).is_err() {
            self.metrics.payload("dropped");
        }
    }
}

async fn deliver(receiver: mpsc::Receiver<Event>, metrics: Metrics) {
    let client = match reqwest::Client::builder().timeout(TIMEOUT).build() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "payloads cannot be logged");
            return;
        }
    };
    let events = futures::stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((event, receiver))
    });
    events
        .for_each_concurrent(SENDERS, |event| {
            let (client, metrics) = (&client, &metrics);
            async move {
                match send(client, &event).await {
                    Ok(()) => metrics.payload("sent"),
                    Err(error) => {
                        tracing::debug!(url = event.about.logging.url, %error, "a payload was not taken");
                        metrics.payload("failed");
                    }
                }
            }
        })
        .await;
}

/// In the binary mode of CloudEvents over HTTP: the body is the payload, the attributes are headers.
async fn send(client: &reqwest::Client, event: &Event) -> Result<(), reqwest::Error> {
    let about = &event.about;
    let source = format!("/serving/{}/{}", about.namespace, about.route);
    let json = HeaderValue::from_static("application/json");
    let mut request = client
        .post(&about.logging.url)
        .header("ce-specversion", "1.0")
        .header("ce-id", &about.id)
        .header("ce-type", event.side.event_type())
        .header("ce-source", source)
        .header("ce-time", jiff::Timestamp::now().to_string())
        .header("ce-inferenceservicename", about.logging.service.as_ref().unwrap_or(&about.route))
        .header("ce-namespace", &about.namespace)
        .header("ce-component", &about.logging.component)
        .header("ce-endpoint", &about.logging.endpoint)
        .header(http::header::CONTENT_TYPE, event.content_type.clone().unwrap_or(json))
        .body(event.body.clone());
    if let Some(traceparent) = &about.traceparent {
        request = request.header(TRACEPARENT, traceparent);
    }
    request.send().await?.error_for_status().map(drop)
}

/// Listens to an answer's body, and logs it once it is complete.
pub(crate) struct Tee {
    pub(crate) log: Arc<PayloadLog>,
    pub(crate) about: Arc<About>,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) heard: BytesMut,
}

impl Tee {
    /// A piece went by.
    pub(crate) fn hear(&mut self, piece: &[u8]) {
        // One byte more than is logged says that it is too much.
        let room = (MAX_PAYLOAD + 1).saturating_sub(self.heard.len());
        self.heard.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// The last piece went by.
    pub(crate) fn end(mut self) {
        let body = self.heard.split().freeze();
        self.log.log(&self.about, Side::Response, self.content_type.take(), body);
    }
}
