//! Requests that come close together are computed as one. The first of a batch waits a little for others; a batch that is full
//! waits no longer. What would fail the others is found before, and where a batch fails all the same, its requests are tried
//! one by one.

mod plan;

use std::sync::{Arc, OnceLock};

use prometheus_client::metrics::histogram::Histogram;
use purlin_nn::{InferError, InferRequest, InferResponse, ServedModel};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::core::Deadline;
use crate::failure::Failure;
use crate::table::BatchConfig;

pub(crate) use plan::rows;

/// Requests between their senders and the batcher; each has a place of its model's already.
const QUEUE: usize = 4096;

/// A request that waits for its batch.
struct Waiting {
    model: Arc<dyn ServedModel>,
    request: InferRequest,
    rows: u64,
    deadline: Deadline,
    reply: oneshot::Sender<Result<InferResponse, InferError>>,
}

/// Requests that fit together.
struct Batch {
    members: Vec<Waiting>,
    rows: u64,
    due: Instant,
}

/// Puts the requests of one model together.
#[derive(Debug)]
pub(crate) struct Batcher {
    config: BatchConfig,
    sizes: Histogram,
    queue: OnceLock<mpsc::Sender<Waiting>>,
}

impl Batcher {
    /// Nothing runs until the first request comes.
    pub(crate) fn new(config: BatchConfig, sizes: Histogram) -> Batcher {
        Batcher { config, sizes, queue: OnceLock::new() }
    }

    /// Whether a request of so many rows has anything to gain.
    pub(crate) fn takes(&self, rows: u64) -> bool {
        rows < u64::from(self.config.max_size)
    }

    /// Computes a request together with others.
    pub(crate) async fn infer(
        &self,
        model: Arc<dyn ServedModel>,
        request: InferRequest,
        rows: u64,
        deadline: Deadline,
    ) -> Result<Result<InferResponse, InferError>, Failure> {
        let queue = self.queue.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            tokio::spawn(collect(receiver, self.config, self.sizes.clone()));
            sender
        });
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { model, request, rows, deadline, reply };
        let sent = deadline.bound(queue.send(waiting)).await?;
        if sent.is_err() {
            return Err(Failure::unavailable("the batcher is gone"));
        }
        // No answer: the batch panicked with the model, or left the request out because its time was over.
        let failed = || InferError::Failed("the model did not finish the batch".to_owned());
        Ok(deadline.bound(answer).await?.unwrap_or_else(|_| Err(failed())))
    }
}

/// Collects batches until nobody sends any more.
async fn collect(mut queue: mpsc::Receiver<Waiting>, config: BatchConfig, sizes: Histogram) {
    let mut batches: Vec<Batch> = Vec::new();
    loop {
        let due = batches.iter().map(|batch| batch.due).min();
        let next = tokio::select! {
            biased;
            // What is due goes before more is taken, so that a full queue does not hold it up.
            () = until(due) => None,
            next = queue.recv() => match next {
                Some(next) => Some(next),
                None => break,
            },
        };
        match next {
            None => {
                let now = Instant::now();
                for batch in batches.extract_if(.., |batch| batch.due <= now) {
                    tokio::spawn(compute(batch.members, sizes.clone()));
                }
            }
            Some(waiting) => {
                if let Some(full) = join(&mut batches, waiting, config) {
                    tokio::spawn(compute(full.members, sizes.clone()));
                }
            }
        }
    }
    for batch in batches {
        tokio::spawn(compute(batch.members, sizes.clone()));
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Adds a request to the batch that it fits; gives a batch that is to be computed now.
fn join(batches: &mut Vec<Batch>, waiting: Waiting, config: BatchConfig) -> Option<Batch> {
    let most = u64::from(config.max_size);
    // It waits no longer than half of what is left of its time.
    let now = Instant::now();
    let due = now + config.max_latency.min(waiting.deadline.at.saturating_duration_since(now) / 2);
    let fits = |batch: &Batch| {
        batch.members.first().is_some_and(|first| plan::fit_together(&first.request, &waiting.request))
    };
    match batches.iter().position(fits) {
        Some(at) if batches[at].rows + waiting.rows > most => {
            let batch = Batch { rows: waiting.rows, members: vec![waiting], due };
            Some(std::mem::replace(&mut batches[at], batch))
        }
        Some(at) => {
            let batch = &mut batches[at];
            batch.rows += waiting.rows;
            batch.due = batch.due.min(due);
            batch.members.push(waiting);
            (batch.rows == most).then(|| batches.swap_remove(at))
        }
        None => {
            batches.push(Batch { rows: waiting.rows, members: vec![waiting], due });
            None
        }
    }
}

async fn compute(mut members: Vec<Waiting>, sizes: Histogram) {
    let now = Instant::now();
    // Nobody waits for those any more.
    members.retain(|member| member.deadline.at > now && !member.reply.is_closed());
    let Some(last) = members.iter().map(|member| member.deadline.at).max() else { return };
    let Some(model) = members.first().map(|member| member.model.clone()) else { return };
    let rows: Vec<u64> = members.iter().map(|member| member.rows).collect();
    sizes.observe(rows.iter().sum::<u64>() as f64);
    let requests: Vec<&InferRequest> = members.iter().map(|member| &member.request).collect();
    let merged = match plan::merge(&requests) {
        Ok(merged) => merged,
        Err(error) => return reply_all(members, &error),
    };
    let Ok(answer) = tokio::time::timeout_at(last, model.infer(merged)).await else { return };
    match answer.and_then(|answer| plan::split(answer, &rows)) {
        Ok(answers) => {
            for (member, answer) in members.into_iter().zip(answers) {
                let _ = member.reply.send(Ok(answer));
            }
        }
        // Which of them it was only they can say, each by itself.
        Err(InferError::Invalid(_) | InferError::Failed(_)) if members.len() > 1 => {
            tracing::debug!(requests = members.len(), "a batch failed; its requests are tried one by one");
            for member in members {
                let alone = tokio::time::timeout_at(member.deadline.at, member.model.infer(member.request));
                if let Ok(answer) = alone.await {
                    let _ = member.reply.send(answer);
                }
            }
        }
        Err(error) => reply_all(members, &error),
    }
}

fn reply_all(members: Vec<Waiting>, error: &InferError) {
    for member in members {
        let _ = member.reply.send(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use prometheus_client::metrics::histogram::Histogram;
    use purlin_nn::{InferError, InferRequest, InferResponse, ModelMetadata, ServedModel, Tensor};
    use tokio::time::Instant;

    use super::{BatchConfig, Batcher};
    use crate::core::Deadline;

    /// Doubles; refuses what has a negative element.
    #[derive(Default)]
    struct Double {
        metadata: ModelMetadata,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl ServedModel for Double {
        fn metadata(&self) -> &ModelMetadata {
            &self.metadata
        }

        async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let (name, tensor) = request.inputs[0].clone();
            let (chunks, _) = tensor.data().as_chunks::<4>();
            let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes) * 2.0).collect();
            if values.iter().any(|value| *value < 0.0) {
                return Err(InferError::invalid("x", "", "is negative"));
            }
            let output = Tensor::of_floats(tensor.shape().to_vec(), &values).unwrap();
            Ok(InferResponse { outputs: vec![(name, output)], parameters: Vec::new() })
        }
    }

    fn batcher(max_size: u32, millis: u64) -> Arc<Batcher> {
        let config = BatchConfig { max_size, max_latency: Duration::from_millis(millis) };
        Arc::new(Batcher::new(config, Histogram::new([1.0])))
    }

    async fn ask(batcher: &Batcher, model: &Arc<Double>, value: f32) -> Result<f32, InferError> {
        let request = InferRequest {
            inputs: vec![("x".to_owned(), Tensor::of_floats(vec![1], &[value]).unwrap())],
            ..InferRequest::default()
        };
        let deadline = Deadline::after(Instant::now(), Duration::from_secs(10));
        let answer = batcher.infer(model.clone(), request, 1, deadline).await.unwrap()?;
        Ok(f32::from_le_bytes(answer.outputs[0].1.data()[..].try_into().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_does_not_wait() {
        let (batcher, model) = (batcher(4, 60_000), Arc::new(Double::default()));
        let began = Instant::now();
        let answers =
            futures::future::join_all((0..8).map(|value| ask(&batcher, &model, value as f32))).await;
        for (value, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer, Ok(value as f32 * 2.0));
        }
        assert_eq!(model.asked.load(Ordering::SeqCst), 2);
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lonely_request_waits_no_longer_than_it_may() {
        let (batcher, model) = (batcher(4, 20), Arc::new(Double::default()));
        let began = Instant::now();
        assert_eq!(ask(&batcher, &model, 1.0).await, Ok(2.0));
        assert!((20..40).contains(&began.elapsed().as_millis()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_bad_request_does_not_fail_the_others() {
        let (batcher, model) = (batcher(3, 20), Arc::new(Double::default()));
        let asked = [1.0, -1.0, 2.0].map(|value| ask(&batcher, &model, value));
        let [one, bad, two] = futures::future::join_all(asked).await.try_into().unwrap();
        assert_eq!((one, two), (Ok(2.0), Ok(4.0)));
        assert!(matches!(bad, Err(InferError::Invalid(_))));
    }
}
