//! Watching what models are asked. Rows of the inputs are kept: the first ones, when all was well, as the reference, and the
//! last ones, which a plugin of the stage `monitor` compares with them.
//!
//! What is kept is in memory: after a restart the reference is collected anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use purlin_nn::{
    Datatype, GenerateRequest, Generation, InferError, InferRequest, InferResponse, ModelMetadata,
    ServedModel, Tensor,
};
use purlin_sandbox::contract::Setting;
use purlin_sandbox::{CallError, Plugin, Report, Subject, Window};

/// Bytes of all rows of one model that are kept.
const MAX_BYTES: usize = 64 << 20;

/// Between two comparisons.
const PAUSE: Duration = Duration::from_secs(5);

/// How a model is watched.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) subject: Subject,
    pub(crate) settings: Vec<Setting>,
    /// Rows of the reference.
    pub(crate) reference: usize,
    /// Rows that are compared with it.
    pub(crate) window: usize,
}

/// The rows of one model.
pub(crate) struct Watch {
    plan: Plan,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the first request: rows of others are left out.
    form: Option<Form>,
    reference: Vec<Bytes>,
    current: VecDeque<Bytes>,
    bytes: usize,
    /// Rows since the last comparison.
    fresh: usize,
    compared: Option<Instant>,
    latest: Option<Result<Report, String>>,
}

#[derive(Clone, PartialEq)]
struct Form {
    name: String,
    datatype: Datatype,
    /// Without the first dimension.
    shape: Vec<u64>,
}

impl Watch {
    pub(crate) fn new(plan: Plan) -> Arc<Watch> {
        Arc::new(Watch { plan, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the rows of a request's first numeric input.
    fn see(&self, request: &InferRequest) {
        let numeric = |tensor: &Tensor| tensor.datatype().size().is_some() && !tensor.shape().is_empty();
        let Some((name, tensor)) = request.inputs.iter().find(|(_, tensor)| numeric(tensor)) else { return };
        let form =
            Form { name: name.clone(), datatype: tensor.datatype(), shape: tensor.shape()[1..].to_vec() };
        let Ok(rows) = usize::try_from(tensor.shape()[0]) else { return };
        let data = tensor.data();
        if rows == 0 || data.len() % rows != 0 {
            return;
        }
        let size = data.len() / rows;
        let mut state = self.state();
        if *state.form.get_or_insert_with(|| form.clone()) != form {
            return;
        }
        for row in 0..rows {
            let row = Bytes::copy_from_slice(&data[row * size..(row + 1) * size]);
            if state.reference.len() < self.plan.reference {
                if state.bytes + size > MAX_BYTES {
                    continue;
                }
                state.bytes += size;
                state.reference.push(row);
                continue;
            }
            state.bytes += size;
            state.current.push_back(row);
            state.fresh += 1;
            while state.current.len() > self.plan.window || state.bytes > MAX_BYTES {
                match state.current.pop_front() {
                    Some(gone) => state.bytes -= gone.len(),
                    None => break,
                }
            }
        }
    }

    /// Compares, if there is enough that is new.
    pub(crate) async fn compare(&self) {
        let window = {
            let mut state = self.state();
            let early = state.compared.is_some_and(|at| at.elapsed() < PAUSE);
            if early || state.fresh == 0 || state.current.len() < self.plan.window {
                return;
            }
            let Some(form) = state.form.clone() else { return };
            (state.fresh, state.compared) = (0, Some(Instant::now()));
            let current: Vec<_> = state.current.iter().cloned().collect();
            let tensor = |rows: &[Bytes]| {
                let mut shape = vec![rows.len() as u64];
                shape.extend(&form.shape);
                Tensor::new(form.datatype, shape, Bytes::from(rows.concat()))
                    .map(|tensor| (form.name.clone(), tensor))
            };
            match (tensor(&state.reference), tensor(&current)) {
                (Ok(reference), Ok(current)) => Window { reference: vec![reference], current: vec![current] },
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(%error, "rows of a monitored model do not fit together");
                    return;
                }
            }
        };
        let Plan { plugin, subject, settings, .. } = &self.plan;
        let report = plugin.compare(subject, window, settings.clone()).await;
        if let Ok(report) = &report {
            tracing::info!(
                model = subject.as_str(),
                drift = report.drift,
                summary = report.summary,
                "compared"
            );
        }
        self.state().latest = Some(report.map_err(|error: CallError| error.to_string()));
    }

    /// What the last comparison said.
    pub(crate) fn latest(&self) -> Option<Result<Report, String>> {
        self.state().latest.clone()
    }

    /// How many rows there are, and how many there must be, before the first comparison.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let state = self.state();
        (state.reference.len() + state.current.len(), self.plan.reference + self.plan.window)
    }
}

/// A model whose requests are seen.
pub(crate) struct Watched {
    pub(crate) model: Arc<dyn ServedModel>,
    pub(crate) watch: Arc<Watch>,
}

#[async_trait]
impl ServedModel for Watched {
    fn metadata(&self) -> &ModelMetadata {
        self.model.metadata()
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        self.watch.see(&request);
        self.model.infer(request).await
    }

    async fn generate(&self, request: GenerateRequest) -> Result<Generation, InferError> {
        self.model.generate(request).await
    }

    async fn explain(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        self.model.explain(request).await
    }
}
