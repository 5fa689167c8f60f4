//! Text in the making, for all protocols: begun, measured, bounded in time, and either collected or handed on piece by piece.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use http::{HeaderValue, Response, StatusCode, header};
use purlin_nn::{Chunk, FinishReason, GenerateRequest, InferError, Prompt, Tasks};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::body::Body;
use crate::core::{Core, Deadline, Opened};
use crate::failure::Failure;
use crate::metrics::GenerationMetrics;
use crate::served::Served;

/// A collected text is at most so large.
const MAX_TEXT: usize = 16 << 20;

/// A collected text has at most so many pieces: each takes memory, also one without text.
const MAX_PIECES: usize = 1 << 20;

/// Pieces that are made ahead of a client that reads slowly.
const AHEAD: usize = 16;
/// After the deadline, an error is given so long to be taken.
const LATE: Duration = Duration::from_millis(100);

/// Text in the making.
pub(crate) struct Generating {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: u32,
    /// The pieces. The first is there already.
    pub(crate) chunks: BoxStream<'static, Result<Chunk, Failure>>,
    deadline: Deadline,
}

/// A whole text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Generated {
    pub(crate) text: String,
    pub(crate) prompt_tokens: u32,
    pub(crate) tokens: u32,
    pub(crate) finish: Option<FinishReason>,
    /// The pieces and the logarithms of their probabilities.
    pub(crate) pieces: Vec<(String, f32)>,
}

impl Generating {
    /// The pieces, for a client that may be slow to take them. At the deadline the model is free again, also where the
    /// client has stopped to read; and it is where the client is gone.
    pub(crate) fn detached(mut self) -> impl Stream<Item = Result<Chunk, Failure>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(AHEAD);
        // Beside the pieces, which may have no place left for it.
        let (late, too_late) = oneshot::channel();
        tokio::spawn(async move {
            let forward = async {
                while let Some(chunk) = self.chunks.next().await {
                    if sender.send(chunk).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                // A little later than the model's own, so that the client is told.
                ended = tokio::time::timeout_at(self.deadline.at + LATE, forward) => {
                    if ended.is_err() {
                        let _ = late.send(Failure::deadline(self.deadline.limit));
                    }
                }
                () = sender.closed() => {}
            }
        });
        stream::unfold((receiver, Some(too_late)), |(mut receiver, mut too_late)| async move {
            if let Some(chunk) = receiver.recv().await {
                return Some((chunk, (receiver, too_late)));
            }
            let failure = too_late.take()?.await.ok()?;
            Some((Err(failure), (receiver, None)))
        })
    }

    /// All of it.
    pub(crate) async fn collect(mut self) -> Result<Generated, Failure> {
        let mut whole = Generated { prompt_tokens: self.prompt_tokens, ..Generated::default() };
        while let Some(chunk) = self.chunks.next().await {
            let chunk = chunk?;
            let too_long = |what| {
                let message = format!("the generated text is longer than {what}; ask for a stream");
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
            };
            if whole.text.len() + chunk.text.len() > MAX_TEXT {
                return Err(too_long(format!("{MAX_TEXT} bytes")));
            }
            if whole.pieces.len() == MAX_PIECES {
                return Err(too_long(format!("{MAX_PIECES} pieces")));
            }
            whole.text.push_str(&chunk.text);
            whole.tokens = whole.tokens.saturating_add(chunk.tokens);
            whole.finish = chunk.finish.or(whole.finish);
            whole.pieces.push((chunk.text, chunk.logprob));
        }
        Ok(whole)
    }
}

/// What a stream of pieces goes on with.
struct Running {
    chunks: BoxStream<'static, Result<Chunk, InferError>>,
    deadline: Deadline,
    meter: Meter,
    ended: bool,
    _opened: Opened,
}

struct Meter {
    metrics: Arc<GenerationMetrics>,
    began: Instant,
    last: Instant,
    first: bool,
}

impl Meter {
    fn chunk(&mut self, chunk: &Chunk) {
        let now = Instant::now();
        if self.first {
            self.first = false;
            self.metrics.first_token.observe((now - self.began).as_secs_f64());
        } else if chunk.tokens > 0 {
            let each = (now - self.last).as_secs_f64() / f64::from(chunk.tokens);
            self.metrics.per_token.observe(each);
        }
        self.last = now;
        self.metrics.generated_tokens.inc_by(u64::from(chunk.tokens));
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.metrics.e2e.observe(self.began.elapsed().as_secs_f64());
    }
}

/// Begins to generate. An error before the first piece is an error of the request, whichever form the answer has.
pub(crate) async fn begin(
    core: &Core,
    served: &Arc<Served>,
    request: GenerateRequest,
    deadline: Deadline,
) -> Result<Generating, Failure> {
    let began = Instant::now();
    let mut opened = core.open(served, deadline).await?;
    let mut retries = core.config.retries;
    let generation = loop {
        let model = opened.model(served)?;
        check_task(served, &request.prompt, model.metadata().tasks)?;
        match deadline.bound(model.generate(request.clone())).await? {
            Err(InferError::Unavailable(reason)) if retries > 0 => {
                tracing::debug!(model = %served.key, reason, "asking another replica");
                retries -= 1;
                core.metrics.retries.inc();
                let place = opened.place;
                drop(opened.lease);
                opened = Opened { lease: core.lease(served, &[], deadline).await?, place };
            }
            answer => break answer?,
        }
    };
    let metrics = served.metrics.generation.clone();
    metrics.prompt_tokens.inc_by(u64::from(generation.prompt_tokens));
    let mut running = Running {
        chunks: generation.chunks,
        deadline,
        meter: Meter { metrics, began, last: began, first: true },
        ended: false,
        _opened: opened,
    };
    let first = match next(&mut running).await {
        Some(Err(failure)) => return Err(failure),
        first => first,
    };
    let rest = stream::unfold(running, |mut running| async move {
        let chunk = next(&mut running).await?;
        Some((chunk, running))
    });
    Ok(Generating {
        deadline,
        prompt_tokens: generation.prompt_tokens,
        chunks: stream::iter(first).chain(rest).boxed(),
    })
}

/// What a model is not for is refused before it is asked.
fn check_task(served: &Served, prompt: &Prompt, tasks: Tasks) -> Result<(), InferError> {
    let cannot = match prompt {
        _ if !tasks.generate => "does not generate text",
        Prompt::Messages(_) if !tasks.chat => "does not chat; ask it for completions",
        Prompt::Messages(_) | Prompt::Text(_) => return Ok(()),
    };
    Err(InferError::Unsupported(format!("model {:?} {cannot}", served.name)))
}

async fn next(running: &mut Running) -> Option<Result<Chunk, Failure>> {
    if running.ended {
        return None;
    }
    // Pieces that are there at once, one after another, would leave no time to others, nor to the clock.
    tokio::task::consume_budget().await;
    if Instant::now() >= running.deadline.at {
        running.ended = true;
        return Some(Err(Failure::deadline(running.deadline.limit)));
    }
    let chunk = match running.deadline.bound(running.chunks.next()).await {
        Ok(Some(Ok(chunk))) => Ok(chunk),
        Ok(Some(Err(error))) => Err(error.into()),
        Ok(None) => {
            // It must not be asked again, which who has no first piece does.
            running.ended = true;
            return None;
        }
        Err(failure) => Err(failure),
    };
    match &chunk {
        Ok(chunk) => {
            running.ended = chunk.finish.is_some();
            running.meter.chunk(chunk);
        }
        Err(_) => running.ended = true,
    }
    Some(chunk)
}

/// An answer of server-sent events.
pub(crate) fn events(events: impl Stream<Item = String> + Send + 'static) -> Response<Body> {
    let lines = events.map(|event| Bytes::from(format!("data: {event}\n\n")));
    let mut response = Response::new(Body::stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
