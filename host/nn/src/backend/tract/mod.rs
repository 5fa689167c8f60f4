//! ONNX by tract: pure Rust, part of the binary, on the processor. The default, and the quickest for small graphs.
//!
//! A graph is optimised once, at load, with its open dimensions as symbols. Where tract cannot do that (a shape that
//! depends on the request in a way that it does not follow), it is optimised for each shape that is asked for.

mod operators;
mod plans;
mod read;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::{TValue, TVec, TractResult};

use crate::backend::interface::Interface;
use crate::backend::{Backend, Device, Encoding, Graph, LoadOptions, ModelFile, TensorInfo};
use crate::error::NnError;
use crate::tensor::Tensor;
use plans::Plans;

/// ONNX on the processor, with nothing to install.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tract;

impl Backend for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn encoding(&self) -> Encoding {
        Encoding::Onnx
    }

    fn available(&self, device: Device) -> Result<(), String> {
        match device {
            Device::Cpu => Ok(()),
            Device::Gpu => Err("tract computes ONNX on the processor only".to_owned()),
        }
    }

    fn load(&self, file: &ModelFile, options: &LoadOptions) -> Result<Arc<dyn Graph>, NnError> {
        if let Err(reason) = self.available(options.device) {
            return Err(NnError::NoBackend { encoding: Encoding::Onnx, device: options.device, reason });
        }
        // tract has assertions on graphs that ONNX's own checker would have refused.
        let read = catch_unwind(AssertUnwindSafe(|| read::read(file, options)));
        let (interface, plans, memory) = read.map_err(|panic| NnError::Unreadable(said(&*panic)))??;
        Ok(Arc::new(TractGraph { interface, plans, memory }))
    }
}

struct TractGraph {
    interface: Interface,
    plans: Plans,
    memory: u64,
}

impl Graph for TractGraph {
    fn inputs(&self) -> &[TensorInfo] {
        &self.interface.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.interface.outputs
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn compute(&self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, NnError> {
        let arranged = self.interface.arrange(inputs)?;
        let mut values: TVec<TValue> = TVec::with_capacity(arranged.len());
        for (tensor, info) in arranged.into_iter().zip(&self.interface.inputs) {
            values.push(values::given(tensor, info)?);
        }
        let outputs = guarded(|| self.plans.run(values))?;
        let named = outputs.into_iter().zip(&self.interface.outputs);
        named.map(|(value, info)| Ok((info.name.clone(), values::taken(value, info)?))).collect()
    }
}

/// A panic in tract costs the one computation.
fn guarded(run: impl FnOnce() -> TractResult<TVec<TValue>>) -> Result<TVec<TValue>, NnError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outputs)) => Ok(outputs),
        Ok(Err(error)) => Err(NnError::Failed(causes(&error))),
        Err(panic) => Err(NnError::Failed(said(&*panic))),
    }
}

/// An error of tract with what led to it, in one line.
fn causes(error: &tract_onnx::prelude::TractError) -> String {
    format!("{error:#}")
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    format!("tract gave up: {}", text.unwrap_or("no reason given"))
}
