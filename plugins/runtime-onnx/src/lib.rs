//! Serves ONNX models: the file at the model's source is loaded on the host, and tensors go there and back through wasi-nn
//! without being copied.
//!
//! Of several `.onnx` files at the source the one nearest to its top is served, `model.onnx` before others. A model with
//! one input takes it under any name, as clients of single-input models expect.

use purlin_sdk::nn::{Graph, GraphInfo};
use purlin_sdk::{
    Fault, InferRequest, InferResponse, ModelMetadata, ModelRequest, NamedTensor, ServingRuntime, Tasks,
    TensorInfo, fault,
};

/// A loaded model.
pub struct OnnxModel {
    graph: Graph,
}

impl ServingRuntime for OnnxModel {
    fn load(request: ModelRequest) -> Result<Self, Fault> {
        let named = request.file_ending(&["model.onnx"]).or_else(|| request.file_ending(&[".onnx"]));
        let Some(file) = named else {
            let found: Vec<_> = request.files.iter().map(|file| file.name.as_str()).collect();
            let reason =
                format!("there is no file that ends in .onnx at the source; it has [{}]", found.join(", "));
            return Err(fault::invalid("spec.source.uri", "", reason));
        };
        Ok(OnnxModel { graph: Graph::of_file(&file.name)? })
    }

    fn metadata(&self) -> ModelMetadata {
        let info = self.graph.info();
        ModelMetadata {
            platform: "onnx".to_owned(),
            inputs: info.inputs.clone(),
            outputs: info.outputs.clone(),
            tasks: Tasks::INFER,
            batchable: batchable(info),
        }
    }

    fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let mut inputs = request.inputs;
        if let ([wanted], [given]) = (self.graph.info().inputs.as_slice(), inputs.as_mut_slice()) {
            given.name.clone_from(&wanted.name);
        }
        let outputs: Vec<NamedTensor> = self.graph.compute(inputs)?;
        Ok(InferResponse { outputs, parameters: Vec::new() })
    }
}

/// Whether the first dimension of every input and output is the request's to choose.
fn batchable(info: &GraphInfo) -> bool {
    let open = |tensors: &[TensorInfo]| tensors.iter().all(|tensor| tensor.shape.first() == Some(&-1));
    !info.inputs.is_empty() && open(&info.inputs) && open(&info.outputs)
}

purlin_sdk::export_serving_runtime!(OnnxModel);

#[cfg(test)]
mod tests {
    use super::batchable;
    use purlin_sdk::nn::GraphInfo;
    use purlin_sdk::{Datatype, TensorInfo};

    #[test]
    fn a_graph_is_batchable_where_every_first_dimension_is_open() {
        let tensor = |shape: &[i64]| TensorInfo::new("x", Datatype::Fp32, shape);
        let graph = |inputs, outputs| GraphInfo { inputs, outputs };
        assert!(batchable(&graph(vec![tensor(&[-1, 64])], vec![tensor(&[-1]), tensor(&[-1, 10])])));
        assert!(!batchable(&graph(vec![tensor(&[-1, 64])], vec![tensor(&[1, 10])])));
        assert!(!batchable(&graph(vec![tensor(&[])], vec![tensor(&[-1])])));
        assert!(!batchable(&graph(Vec::new(), Vec::new())));
    }
}
