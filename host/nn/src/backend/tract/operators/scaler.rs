//! `Scaler`: what a StandardScaler of scikit-learn becomes.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, SpecialOps as _, TVec, TractResult, TypedModel, tensor1};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_hir::internal::{
    Expansion, InferenceOp, InferenceResult, OutletId, Solver, StaticName, TensorProxy, ensure, expand,
};

/// (x - offset) * scale, for each feature or for all.
#[derive(Clone, Debug, PartialEq)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Eq for Scaler {}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let offset = node.get_attr_opt_vec("offset")?.unwrap_or_else(|| vec![0.0]);
    let scale = node.get_attr_opt_vec("scale")?.unwrap_or_else(|| vec![1.0]);
    Ok((expand(Scaler { offset, scale }), Vec::new()))
}

impl Expansion for Scaler {
    fn name(&self) -> StaticName {
        "Scaler".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        super::same_shape(solver, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        ensure!(rank > 0, "a Scaler needs an input of at least one dimension");
        let x = model.wire_node(format!("{prefix}.f32"), cast(DatumType::F32), &[inputs[0]])?[0];
        let feature = |values: &[f32]| tensor1(values).broadcast_into_rank(rank);
        let offset = model.add_const(format!("{prefix}.offset"), feature(&self.offset)?)?;
        let scale = model.add_const(format!("{prefix}.scale"), feature(&self.scale)?)?;
        let centred = model.wire_node(format!("{prefix}.centred"), math::sub(), &[x, offset])?[0];
        model.wire_node(format!("{prefix}.scaled"), math::mul(), &[centred, scale])
    }
}
