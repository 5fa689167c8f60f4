//! Operators of the domain `ai.onnx.ml` that tract lacks, or makes a dozen of its own of, each of which costs some
//! microseconds: as much as the whole of a small model.
//!
//! What they compute is in ONNX's list of operators (Operators-ml.md); where that is silent it is what ONNX Runtime does.

mod linear_classifier;
mod normalizer;
mod scaler;

use tract_onnx::Onnx;

/// tract's ONNX with these operators beside its own, and before them.
pub(super) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    onnx.op_register.insert("LinearClassifier", linear_classifier::read);
    onnx.op_register.insert("Normalizer", normalizer::read);
    onnx.op_register.insert("Scaler", scaler::read);
    onnx
}
