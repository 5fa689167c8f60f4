//! Operators of the domain `ai.onnx.ml` that tract lacks, or makes a dozen of its own of, each of which costs some
//! microseconds: as much as the whole of a small model.
//!
//! What they compute is in ONNX's list of operators (Operators-ml.md); where that is silent it is what ONNX Runtime does.

mod linear_classifier;
mod normalizer;
mod scaler;

use tract_onnx::Onnx;
use tract_onnx::prelude::DatumType;
use tract_onnx::tract_hir::internal::{
    InferenceResult, Solver, TensorProxy, check_input_arity, check_output_arity,
};

/// tract's ONNX with these operators beside its own, and before them.
pub(super) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    onnx.op_register.insert("LinearClassifier", linear_classifier::read);
    onnx.op_register.insert("Normalizer", normalizer::read);
    onnx.op_register.insert("Scaler", scaler::read);
    onnx
}

/// What is known of an operator that makes FP32 of the same shape of its input.
fn same_shape<'p>(
    solver: &mut Solver<'_>,
    inputs: &'p [TensorProxy],
    outputs: &'p [TensorProxy],
) -> InferenceResult {
    check_input_arity(inputs, 1)?;
    check_output_arity(outputs, 1)?;
    solver.equals(&outputs[0].datum_type, DatumType::F32)?;
    solver.equals(&inputs[0].shape, &outputs[0].shape)?;
    Ok(())
}
