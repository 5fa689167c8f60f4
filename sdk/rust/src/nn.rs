//! Inference on the host, through wasi-nn. Capability: `nn(ENCODING on DEVICE)`.

use crate::bindings::inference::purlin::plugin::graphs;
use crate::bindings::inference::wasi::nn::{errors, graph, inference};
use crate::tensor::NamedTensor;
use crate::{Fault, fault};

pub use crate::bindings::inference::purlin::plugin::graphs::GraphInfo;
pub use crate::bindings::inference::purlin::plugin::language_models::{
    Decoding, LanguageModel, Sampling, Token,
};

/// A loaded graph, ready to compute.
pub struct Graph {
    context: inference::GraphExecutionContext,
    info: GraphInfo,
}

impl Graph {
    /// From a file of the model that is served.
    ///
    /// # Errors
    /// The file is no graph, or cannot be computed here.
    pub fn of_file(name: &str) -> Result<Graph, Fault> {
        let graph = graph::load_by_name(name).map_err(|error| loading(name, &error))?;
        let info = graphs::describe(&graph);
        let context = graph.init_execution_context().map_err(|error| loading(name, &error))?;
        Ok(Graph { context, info })
    }

    /// What it takes and gives.
    pub fn info(&self) -> &GraphInfo {
        &self.info
    }

    /// Computes all outputs. No element is copied.
    ///
    /// # Errors
    /// `invalid` where an input has the wrong name, datatype or shape.
    pub fn compute(&self, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Fault> {
        let mut given = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.into_iter().enumerate() {
            let tensor = graphs::to_nn(&input.value);
            let tensor = tensor.map_err(|reason| {
                fault::invalid(format!("inputs[{index}].datatype"), input.value.datatype().name(), reason)
            })?;
            given.push((input.name, tensor));
        }
        let outputs = self.context.compute(given).map_err(|error| match error.code() {
            errors::ErrorCode::InvalidArgument => fault::invalid("inputs", "", error.data()),
            _ => Fault::Failed(error.data()),
        })?;
        Ok(outputs.iter().map(|(name, tensor)| NamedTensor::new(name, graphs::from_nn(tensor))).collect())
    }
}

fn loading(name: &str, error: &errors::Error) -> Fault {
    let reason = error.data();
    match error.code() {
        errors::ErrorCode::NotFound => crate::files::missing(name),
        errors::ErrorCode::InvalidEncoding => {
            fault::invalid("spec.source.uri", "", format!("{name}: {reason}"))
        }
        errors::ErrorCode::UnsupportedOperation => fault::invalid("spec.device", "", reason),
        _ => Fault::Failed(reason),
    }
}
