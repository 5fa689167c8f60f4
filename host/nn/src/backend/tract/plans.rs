//! The optimised forms of a graph, and the states that compute them: a state serves one computation at a time and is
//! kept for the next.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, RunOptions, TValue, TVec, TractResult, TypedModel,
};
use tract_onnx::tract_core::internal::{TypedSimplePlan, TypedSimpleState};

/// How many shapes a graph is kept optimised for.
const SHAPES: usize = 8;

/// Idle states of one plan at most; more computations at once make their own.
const IDLE: usize = 32;

/// What computes a graph.
pub(super) enum Plans {
    /// One plan for all shapes.
    Symbolic(Plan),
    /// One for each shape, made when it is first asked for; the least recently used goes.
    PerShape(Box<PerShape>),
}

impl Plans {
    pub(super) fn run(&self, values: TVec<TValue>) -> TractResult<TVec<TValue>> {
        match self {
            Plans::Symbolic(plan) => plan.run(values),
            Plans::PerShape(shapes) => shapes.plan(&values)?.run(values),
        }
    }
}

/// One optimised form.
pub(super) struct Plan {
    plan: Arc<TypedSimplePlan>,
    idle: Mutex<Vec<TypedSimpleState>>,
}

impl Plan {
    pub(super) fn new(model: TypedModel, options: &RunOptions) -> TractResult<Plan> {
        let plan = TypedSimplePlan::new_with_options(model.into_optimized()?, options)?;
        Ok(Plan { plan, idle: Mutex::new(Vec::new()) })
    }

    /// The optimised graph.
    pub(super) fn model(&self) -> &TypedModel {
        self.plan.model()
    }

    fn run(&self, values: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut state = match idle {
            Some(state) => state,
            None => self.plan.spawn()?,
        };
        // Only a state that came to its end is clean; after an error or a panic it is not used again.
        let outputs = state.run(values)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(state);
        }
        Ok(outputs)
    }
}

/// The shape of each input.
type Shapes = Vec<Vec<usize>>;

/// A plan for each shape.
pub(super) struct PerShape {
    model: InferenceModel,
    options: RunOptions,
    /// Most recently used last.
    plans: Mutex<Vec<(Shapes, Arc<Plan>)>>,
}

impl PerShape {
    pub(super) fn new(model: InferenceModel, options: RunOptions) -> PerShape {
        PerShape { model, options, plans: Mutex::new(Vec::new()) }
    }

    fn plan(&self, values: &[TValue]) -> TractResult<Arc<Plan>> {
        let is_for =
            |shapes: &[Vec<usize>]| shapes.iter().zip(values).all(|(shape, value)| **shape == *value.shape());
        {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = plans.iter().position(|(shapes, _)| is_for(shapes)) {
                let used = plans.remove(at);
                let plan = used.1.clone();
                plans.push(used);
                return Ok(plan);
            }
        }
        // Two that ask for the same new shape at once both optimise it; neither waits for another shape.
        let mut model = self.model.clone();
        for (input, value) in values.iter().enumerate() {
            model.set_input_fact(input, InferenceFact::dt_shape(value.datum_type(), value.shape()))?;
        }
        let plan = Arc::new(Plan::new(model.into_typed()?, &self.options)?);
        let shapes = values.iter().map(|value| value.shape().to_vec()).collect();
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.push((shapes, plan.clone()));
        if plans.len() > SHAPES {
            plans.remove(0);
        }
        Ok(plan)
    }
}
