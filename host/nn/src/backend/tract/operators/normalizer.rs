//! `Normalizer`: each row divided by its norm, and left as it is where that is zero.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    DatumType, IntoTensor as _, SpecialOps as _, TVec, TractResult, TypedFact, TypedModel, tvec,
};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::internal::{
    DatumTypeExt as _, EvalContext, EvalOp, Expansion, InferenceOp, InferenceResult, Op, OutletId, Solver,
    StaticName, TValue, TensorProxy, TypedOp, args_1, as_op, bail, ensure, expand, op_as_typed_op,
    op_out_of_plan,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Norm {
    /// The largest element, not the largest magnitude.
    Max,
    L1,
    L2,
}

impl Norm {
    fn of(self, row: &[f32]) -> f32 {
        match self {
            Norm::Max => row.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            Norm::L1 => row.iter().map(|element| element.abs()).sum(),
            Norm::L2 => row.iter().map(|element| element * element).sum::<f32>().sqrt(),
        }
    }
}

/// As the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Normalizer(Norm);

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let norm = match node.get_attr_opt::<&str>("norm")?.unwrap_or("MAX") {
        "MAX" => Norm::Max,
        "L1" => Norm::L1,
        "L2" => Norm::L2,
        other => bail!("norm {other} is not known; MAX, L1 and L2 are"),
    };
    Ok((expand(Normalizer(norm)), Vec::new()))
}

impl Expansion for Normalizer {
    fn name(&self) -> StaticName {
        "Normalizer".into()
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
        ensure!(model.outlet_fact(inputs[0])?.rank() > 0, "it needs an input of at least one dimension");
        let rows = model.wire_node(format!("{prefix}.f32"), cast(DatumType::F32), &[inputs[0]])?;
        model.wire_node(prefix, Rows(self.0), &rows)
    }
}

/// Of FP32.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows(Norm);

impl Op for Rows {
    fn name(&self) -> StaticName {
        "Normalizer".into()
    }

    op_as_typed_op!();
}

impl TypedOp for Rows {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(DatumType::F32.fact(inputs[0].shape.iter())))
    }

    as_op!();
}

impl EvalOp for Rows {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        let columns = tensor.shape().last().copied().unwrap_or(1).max(1);
        let mut elements = tensor.try_as_plain_ram_mut()?;
        for row in elements.as_slice_mut::<f32>()?.chunks_exact_mut(columns) {
            let norm = self.0.of(row);
            if norm != 0.0 {
                row.iter_mut().for_each(|element| *element /= norm);
            }
        }
        Ok(tvec!(tensor.into()))
    }
}
