//! What a model says about itself, true or not.

use purlin_sdk::serving::Tasks;
use purlin_sdk::{Datatype, ModelMetadata, TensorInfo};

use crate::{faults, ruin};

/// The metadata of a mode.
pub(crate) fn of(mode: &str) -> ModelMetadata {
    let mut metadata = honest();
    let info = |index: usize| TensorInfo::new(format!("input-{index}"), Datatype::Fp32, &[-1, 4]);
    match mode {
        "none" => {}
        "huge-text" => metadata.platform = "p".repeat(2 << 20),
        "huge-name" => metadata.inputs[0].name = "n".repeat(2 << 20),
        "beyond-limit" => metadata.platform = "p".repeat(16 << 20),
        "many-tensors" => metadata.inputs = (0..5_000).map(info).collect(),
        "negative-shape" => metadata.inputs[0].shape = vec![i64::MIN, -2],
        "many-dimensions" => metadata.inputs[0].shape = vec![1; 100_000],
        "not-utf-8" => metadata.platform = faults::not_utf_8(),
        "nothing" => {
            metadata = ModelMetadata {
                platform: String::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                tasks: Tasks::empty(),
                batchable: true,
            };
        }
        mode => metadata.platform = format!("{:?}", ruin::by(mode)),
    }
    metadata
}

fn honest() -> ModelMetadata {
    ModelMetadata {
        platform: "hostile".to_owned(),
        inputs: vec![TensorInfo::new("input", Datatype::Fp32, &[-1, 4])],
        outputs: Vec::new(),
        tasks: Tasks::INFER | Tasks::GENERATE | Tasks::CHAT,
        batchable: false,
    }
}
