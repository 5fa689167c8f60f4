//! A serving runtime that does what a bad one might, as the settings of its Model say: `load`, `metadata`, `infer` and
//! `generate` each name a kind of misbehaviour in that function; without one it behaves. Every one of them costs the
//! model, and never the process or the models beside it; `tests/serving/test_hostile.py` holds the whole to that.
//!
//! One request can behave where others do not: one that asks for the output `good`, or whose prompt is `good`. What a
//! behaving model answers is the INT64 42, and the text `hello world`.

mod answers;
mod faults;
mod generations;
mod metadata;
mod ruin;

use std::cell::Cell;

use purlin_sdk::serving::{Generation, Prompt};
use purlin_sdk::{
    Fault, GenerateRequest, InferRequest, InferResponse, ModelMetadata, ModelRequest, ServingRuntime,
};

/// A model that misbehaves.
pub struct Hostile {
    metadata: String,
    infer: String,
    generate: String,
    /// Requests that this instance had.
    asked: Cell<u32>,
}

impl ServingRuntime for Hostile {
    fn load(request: ModelRequest) -> Result<Self, Fault> {
        let mode = |name| request.setting(name).unwrap_or("none").to_owned();
        let load = mode("load");
        // Instances that are made after this, in milliseconds, cannot load the model.
        let until = request.setting("until").and_then(|text| text.parse::<u64>().ok());
        if until.is_some_and(|until| request.context.now_ms > until) {
            return Err(faults::named("spec.settings[0].value"));
        }
        if load != "none" {
            return Err(faults::of(&load).unwrap_or_else(|| ruin::by(&load)));
        }
        Ok(Hostile {
            metadata: mode("metadata"),
            infer: mode("infer"),
            generate: mode("generate"),
            asked: Cell::new(0),
        })
    }

    fn metadata(&self) -> ModelMetadata {
        metadata::of(&self.metadata)
    }

    fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        self.asked.set(self.asked.get() + 1);
        let behaves = request.outputs.iter().any(|name| name == "good");
        let mode = match self.infer.as_str() {
            "trap-second" if !self.asked.get().is_multiple_of(2) => "none",
            "trap-second" => "trap",
            mode => mode,
        };
        if behaves || mode == "none" {
            return answers::good();
        }
        if let Some(fault) = faults::of(mode) {
            return Err(fault);
        }
        answers::of(mode, request).unwrap_or_else(|| Err(ruin::by(mode)))
    }

    fn generate(&self, request: GenerateRequest) -> Result<Box<dyn Generation>, Fault> {
        let behaves = matches!(&request.prompt, Prompt::Text(text) if text == "good");
        let mode = if behaves { "none" } else { self.generate.as_str() };
        // Those whose name begins so misbehave before there is a generation.
        match mode.strip_prefix("begin-") {
            Some(mode) => Err(faults::of(mode).unwrap_or_else(|| ruin::by(mode))),
            None => Ok(generations::of(mode)),
        }
    }
}

purlin_sdk::export_serving_runtime!(Hostile);
