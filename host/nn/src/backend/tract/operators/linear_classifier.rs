//! `LinearClassifier`: what a linear model of scikit-learn that tells classes becomes.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::tract_ndarray::{Array2, ArrayView2, Ix1, Ix2};
use tract_onnx::prelude::{
    DatumType, SpecialOps as _, TVec, Tensor, TractResult, TypedFact, TypedModel, tensor1, tvec,
};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_hir::internal::{
    DatumTypeExt as _, EvalContext, EvalOp, Expansion, InferenceOp, InferenceResult, Op, OutletId, Solver,
    StaticName, TValue, TensorProxy, ToDim, TypedOp, args_3, as_op, bail, check_input_arity,
    check_output_arity, ensure, expand, op_as_typed_op, op_out_of_plan,
};

/// What becomes of a row's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scores {
    /// They are the scores.
    Plain,
    Softmax,
    Logistic,
}

/// How the sums make labels and scores.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Classes {
    /// INT64 or texts.
    labels: Arc<Tensor>,
    scores: Scores,
    /// One sum tells between two labels, the second of them if it is above zero.
    one_sum: bool,
}

/// As the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LinearClassifier {
    classes: Classes,
    /// A row for each sum, a column for each feature.
    coefficients: Arc<Tensor>,
    /// One for each sum.
    intercepts: Arc<Tensor>,
    features: usize,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let numbers = node.get_attr_opt_slice::<i64>("classlabels_ints")?.filter(|labels| !labels.is_empty());
    let texts = node.get_attr_opt_tvec::<&str>("classlabels_strings")?.filter(|labels| !labels.is_empty());
    let labels = match (numbers, texts) {
        (Some(labels), None) => tensor1(labels),
        (None, Some(labels)) => {
            tensor1(&labels.iter().map(|label| (*label).to_owned()).collect::<Vec<String>>())
        }
        _ => bail!("one of classlabels_ints and classlabels_strings is needed, and not both"),
    };
    let scores = match node.get_attr_opt::<&str>("post_transform")?.unwrap_or("NONE") {
        "NONE" => Scores::Plain,
        "SOFTMAX" => Scores::Softmax,
        "LOGISTIC" => Scores::Logistic,
        other => bail!("post_transform {other} is not computed here; NONE, SOFTMAX and LOGISTIC are"),
    };
    let coefficients: Vec<f32> = node.get_attr_vec("coefficients")?;
    let intercepts: Option<Vec<f32>> = node.get_attr_opt_vec("intercepts")?;
    let multi_class = node.get_attr_opt::<i64>("multi_class")?.unwrap_or(0) != 0;
    let sums = match &intercepts {
        Some(intercepts) => intercepts.len(),
        None if labels.len() == 2 && !multi_class => 1,
        None => labels.len(),
    };
    ensure!(
        sums > 0 && !coefficients.is_empty() && coefficients.len().is_multiple_of(sums),
        "its {} coefficients are not rows for its {sums} intercepts",
        coefficients.len()
    );
    let one_sum = sums == 1 && labels.len() == 2;
    ensure!(
        one_sum || sums == labels.len(),
        "it has {sums} rows of coefficients and {} labels",
        labels.len()
    );
    let features = coefficients.len() / sums;
    Ok((
        expand(LinearClassifier {
            classes: Classes { labels: Arc::new(labels), scores, one_sum },
            coefficients: Arc::new(tensor1(&coefficients).into_shape(&[sums, features])?),
            intercepts: Arc::new(tensor1(&intercepts.unwrap_or_else(|| vec![0.0; sums]))),
            features,
        }),
        Vec::new(),
    ))
}

impl Expansion for LinearClassifier {
    fn name(&self) -> StaticName {
        "LinearClassifier".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(2)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 2)?;
        solver.equals(&outputs[0].datum_type, self.classes.labels.datum_type())?;
        solver.equals(&outputs[1].datum_type, DatumType::F32)?;
        solver.equals(&outputs[0].rank, 1)?;
        solver.equals(&outputs[1].rank, 2)?;
        solver.equals(&outputs[0].shape[0], &outputs[1].shape[0])?;
        solver.equals(&outputs[1].shape[1], self.classes.labels.len().to_dim())?;
        solver.given(&inputs[0].rank, move |solver, rank| {
            ensure!(rank == 1 || rank == 2, "it takes rows of features, not {rank} dimensions");
            solver.equals(&inputs[0].shape[rank as usize - 1], self.features.to_dim())?;
            if rank == 2 {
                solver.equals(&inputs[0].shape[0], &outputs[0].shape[0])
            } else {
                solver.equals(&outputs[0].shape[0], 1.to_dim())
            }
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut rows = model.wire_node(format!("{prefix}.f32"), cast(DatumType::F32), &[inputs[0]])?[0];
        if model.outlet_fact(rows)?.rank() == 1 {
            rows = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[rows])?[0];
        }
        // As values of the graph they count as its weights.
        let coefficients = model.add_const(format!("{prefix}.coefficients"), self.coefficients.clone())?;
        let intercepts = model.add_const(format!("{prefix}.intercepts"), self.intercepts.clone())?;
        model.wire_node(prefix, self.classes.clone(), &[rows, coefficients, intercepts])
    }
}

impl Op for Classes {
    fn name(&self) -> StaticName {
        "LinearClassifier".into()
    }

    op_as_typed_op!();
}

impl TypedOp for Classes {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = &inputs[0].shape[0];
        let labels = self.labels.datum_type().fact([rows.clone()]);
        Ok(tvec!(labels, DatumType::F32.fact([rows.clone(), self.labels.len().to_dim()])))
    }

    as_op!();
}

impl EvalOp for Classes {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (rows, coefficients, intercepts) = args_3!(inputs);
        let rows = rows.to_plain_array_view::<f32>()?.into_dimensionality::<Ix2>()?;
        let coefficients = coefficients.to_plain_array_view::<f32>()?.into_dimensionality::<Ix2>()?;
        let intercepts = intercepts.to_plain_array_view::<f32>()?.into_dimensionality::<Ix1>()?;
        ensure!(
            rows.ncols() == coefficients.ncols(),
            "it takes {} features, the input has {}",
            coefficients.ncols(),
            rows.ncols()
        );
        let sums = rows.dot(&coefficients.t()) + intercepts;
        let labels = match self.labels.datum_type() {
            DatumType::I64 => {
                let labels = self.labels.try_as_plain_ram()?;
                let labels = labels.as_slice::<i64>()?;
                tensor1(&self.winners(sums.view()).map(|winner| labels[winner]).collect::<Vec<_>>())
            }
            _ => {
                let labels = self.labels.try_as_plain_ram()?;
                let labels = labels.as_slice::<String>()?;
                tensor1(&self.winners(sums.view()).map(|winner| labels[winner].clone()).collect::<Vec<_>>())
            }
        };
        Ok(tvec!(labels.into(), Tensor::from(self.scored(sums)).into()))
    }
}

impl Classes {
    /// The place of each row's label.
    fn winners<'a>(&'a self, sums: ArrayView2<'a, f32>) -> impl Iterator<Item = usize> + 'a {
        (0..sums.nrows()).map(move |row| {
            if self.one_sum {
                return usize::from(sums[(row, 0)] > 0.0);
            }
            // The first of those that are equal.
            (1..sums.ncols()).fold(0, |best, at| if sums[(row, at)] > sums[(row, best)] { at } else { best })
        })
    }

    /// Scores, a column for each label.
    fn scored(&self, mut sums: Array2<f32>) -> Array2<f32> {
        match self.scores {
            // ONNX Runtime leaves a single sum as it is, too.
            Scores::Softmax if !self.one_sum => {
                for mut row in sums.rows_mut() {
                    let highest = row.fold(f32::NEG_INFINITY, |highest, sum| highest.max(*sum));
                    row.mapv_inplace(|sum| (sum - highest).exp());
                    let total = row.sum();
                    row.mapv_inplace(|part| part / total);
                }
            }
            Scores::Softmax | Scores::Plain => {}
            Scores::Logistic => sums.mapv_inplace(|sum| 1.0 / (1.0 + (-sum).exp())),
        }
        if !self.one_sum {
            return sums;
        }
        Array2::from_shape_fn((sums.nrows(), 2), |(row, column)| {
            let second = sums[(row, 0)];
            if column == 1 { second } else { 1.0 - second }
        })
    }
}
