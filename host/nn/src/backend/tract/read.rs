//! An ONNX file to plans: parse, give every open dimension a symbol, optimise, and say what the graph takes and gives.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use tract_linalg::multithread::Executor;
use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, tensor_proto, tensor_shape_proto, type_proto};
use tract_onnx::prelude::{
    DatumType, InferenceModel, InferenceModelExt, RunOptions, TractError, TractResult, TypedModel,
};
use tract_onnx::tract_core::internal::ToDim;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::unimpl::UnimplementedOp;
use tract_onnx::tract_hir::infer::Factoid;

use super::plans::{PerShape, Plan, Plans};
use super::{causes, operators, values};
use crate::backend::interface::Interface;
use crate::backend::{LoadOptions, ModelFile, TensorInfo};
use crate::error::NnError;
use crate::tensor::Datatype;

/// About what tract keeps for a node beside its weights.
const NODE_BYTES: u64 = 1024;

/// How first dimensions without a name are understood.
#[derive(Clone, Copy, PartialEq)]
enum Unnamed {
    /// Each may have its own size.
    Apart,
    /// They all have the same size: the batch.
    Batch,
}

/// Reads a graph: its interface, its plans, and about how many bytes it takes.
pub(super) fn read(file: &ModelFile, options: &LoadOptions) -> Result<(Interface, Plans, u64), NnError> {
    let onnx = operators::onnx();
    let (mut proto, folder) = parse(file)?;
    if proto.graph.is_none() {
        return Err(NnError::Unreadable("it is not an ONNX model: it has no graph".to_owned()));
    }
    let run = RunOptions { executor: Some(executor(options.threads)), ..RunOptions::default() };
    let parsed = model(&onnx, &proto, folder)?;
    // The weights are in the parsed model now. What they took here is taken again for what is made of them.
    let graph = proto.graph.get_or_insert_default();
    graph.initializer.iter_mut().for_each(|weights| weights.raw_data = Vec::new());
    let inputs = declared_inputs(graph)?;

    // Sizes of values within the graph, where the file has them, may be of the batch that it was exported with.
    let lenient = onnx.with_ignore_value_info(true);
    let mut refused = None;
    for (unnamed, without_sizes) in [(Unnamed::Apart, false), (Unnamed::Batch, false), (Unnamed::Batch, true)]
    {
        let parsed = if without_sizes { model(&lenient, &parse(file)?.0, folder)? } else { parsed.clone() };
        match symbolic(parsed, unnamed).and_then(|model| Plan::new(model.into_typed()?, &run)) {
            Ok(plan) => {
                let interface = interface(graph, inputs, plan.model(), unnamed)?;
                let memory = memory(plan.model());
                return Ok((interface, Plans::Symbolic(plan), memory));
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let reason = refused.as_ref().map_or_else(String::new, causes);
    tracing::debug!(
        reason,
        "tract cannot optimise the graph for all shapes, it will for each that is asked for"
    );
    let outputs = graph.output.iter().map(declared).collect::<Result<Vec<_>, _>>();
    let outputs = outputs.map_err(|_| NnError::Unreadable(reason))?;
    let names = dimension_names(graph, &inputs, Unnamed::Apart);
    let memory = proto_bytes(graph);
    Ok((
        Interface::new(inputs, outputs, &names),
        Plans::PerShape(Box::new(PerShape::new(parsed, run))),
        memory,
    ))
}

fn unreadable(error: TractError) -> NnError {
    NnError::Unreadable(causes(&error))
}

/// One thread unless more are asked for: requests beside each other use the processor better than one request apart.
fn executor(threads: usize) -> Executor {
    if threads > 1 { Executor::multithread_with_name(threads, "tract") } else { Executor::SingleThread }
}

fn parse(file: &ModelFile) -> Result<(ModelProto, Option<&Path>), NnError> {
    match file {
        ModelFile::Memory(content) => {
            let proto = ModelProto::decode(content.clone())
                .map_err(|error| NnError::Unreadable(error.to_string()))?;
            Ok((proto, None))
        }
        ModelFile::Path(path) => {
            let unreadable =
                |error: &dyn std::error::Error| NnError::Unreadable(format!("{}: {error}", path.display()));
            let content = std::fs::read(path).map_err(|error| unreadable(&error))?;
            let proto = ModelProto::decode(Bytes::from(content)).map_err(|error| unreadable(&error))?;
            Ok((proto, path.parent()))
        }
    }
}

fn model(onnx: &Onnx, proto: &ModelProto, folder: Option<&Path>) -> Result<InferenceModel, NnError> {
    let folder = match folder.map(|folder| folder.to_str().ok_or(folder)) {
        None => None,
        Some(Ok(folder)) => Some(folder),
        Some(Err(folder)) => {
            return Err(NnError::Unreadable(format!("its folder's name {folder:?} is not UTF-8")));
        }
    };
    let parsed = onnx.parse(proto, folder).map_err(unreadable)?;
    let nodes = parsed.model.nodes().iter();
    let unknown: BTreeSet<String> = nodes
        .filter(|node| node.op_is::<UnimplementedOp>())
        .map(|node| node.op().name().into_owned())
        .collect();
    if !unknown.is_empty() {
        let names = unknown.iter().map(|name| name.trim_start_matches("Unimplemented")).collect::<Vec<_>>();
        return Err(NnError::Unreadable(format!(
            "tract does not know its operators {}; ONNX Runtime may (backend ort), and a classifier of scikit-learn is \
             best exported with the option zipmap=False",
            names.join(", "),
        )));
    }
    if !parsed.unresolved_inputs.is_empty() {
        let names = parsed.unresolved_inputs.join(", ");
        return Err(NnError::Unreadable(format!("it uses values that nothing in it gives: {names}")));
    }
    Ok(parsed.model)
}

/// Gives every dimension of an input that the graph itself leaves open a symbol.
fn symbolic(mut model: InferenceModel, unnamed: Unnamed) -> TractResult<InferenceModel> {
    // What follows from the weights is found first: a symbol could not be unified with it.
    model.analyse(true)?;
    for input in 0..model.inputs.len() {
        let mut fact = model.input_fact(input)?.clone();
        let Some(rank) = fact.shape.rank().concretize() else {
            return Err(TractError::msg(format!("the shape of its input {input} is not known")));
        };
        for dimension in 0..rank as usize {
            if fact.shape.dim(dimension).is_some_and(|size| size.concretize().is_none()) {
                let symbol = match (unnamed, dimension) {
                    (Unnamed::Batch, 0) => model.symbols.sym("purlin_batch"),
                    _ => model.symbols.new_with_prefix("purlin_open"),
                };
                fact.shape.set_dim(dimension, symbol.to_dim());
            }
        }
        model.set_input_fact(input, fact)?;
    }
    Ok(model)
}

fn interface(
    graph: &GraphProto,
    mut inputs: Vec<TensorInfo>,
    model: &TypedModel,
    unnamed: Unnamed,
) -> Result<Interface, NnError> {
    let names = dimension_names(graph, &inputs, unnamed);
    for (position, info) in inputs.iter_mut().enumerate() {
        let fact = model.input_fact(position).map_err(unreadable)?;
        info.shape = fact.shape.iter().map(|size| size.to_i64().unwrap_or(-1)).collect();
    }
    let mut outputs = Vec::with_capacity(graph.output.len());
    for (position, output) in graph.output.iter().enumerate() {
        let fact = model.output_fact(position).map_err(unreadable)?;
        let datatype = known(&output.name, fact.datum_type)?;
        let shape = fact.shape.iter().map(|size| size.to_i64().unwrap_or(-1)).collect();
        outputs.push(TensorInfo { name: output.name.clone(), datatype, shape });
    }
    Ok(Interface::new(inputs, outputs, &names))
}

fn known(name: &str, datum_type: DatumType) -> Result<Datatype, NnError> {
    values::datatype(datum_type)
        .ok_or_else(|| NnError::Unreadable(format!("its {name:?} is {datum_type:?}, which cannot be served")))
}

/// What the file says about its inputs, without those that have a value in it.
fn declared_inputs(graph: &GraphProto) -> Result<Vec<TensorInfo>, NnError> {
    open_inputs(graph).map(declared).collect()
}

fn open_inputs(graph: &GraphProto) -> impl Iterator<Item = &ValueInfoProto> {
    graph.input.iter().filter(|input| graph.initializer.iter().all(|value| value.name != input.name))
}

fn declared(value: &ValueInfoProto) -> Result<TensorInfo, NnError> {
    let Some(type_proto::Value::TensorType(tensor)) =
        value.r#type.as_ref().and_then(|value| value.value.as_ref())
    else {
        return Err(NnError::Unreadable(format!("its {:?} is not a tensor", value.name)));
    };
    let datum_type =
        tensor_proto::DataType::try_from(tensor.elem_type).ok().and_then(|kind| kind.try_into().ok());
    let Some(datum_type) = datum_type else {
        return Err(NnError::Unreadable(format!(
            "its {:?} has ONNX's element type {}, which tract does not know",
            value.name, tensor.elem_type
        )));
    };
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(size).collect());
    let shape =
        shape.ok_or_else(|| NnError::Unreadable(format!("the shape of its {:?} is open", value.name)))?;
    Ok(TensorInfo { name: value.name.clone(), datatype: known(&value.name, datum_type)?, shape })
}

fn size(dimension: &tensor_shape_proto::Dimension) -> i64 {
    match &dimension.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(size)) => (*size).max(-1),
        _ => -1,
    }
}

fn dimension_names(graph: &GraphProto, inputs: &[TensorInfo], unnamed: Unnamed) -> Vec<Vec<Option<String>>> {
    let name = |position: usize, dimension: &tensor_shape_proto::Dimension| match &dimension.value {
        Some(tensor_shape_proto::dimension::Value::DimParam(name)) if name != "?" && !name.is_empty() => {
            Some(name.clone())
        }
        Some(tensor_shape_proto::dimension::Value::DimValue(size)) if *size >= 0 => None,
        _ if position == 0 && unnamed == Unnamed::Batch => Some("the batch".to_owned()),
        _ => None,
    };
    let of = |value: &ValueInfoProto| {
        let Some(type_proto::Value::TensorType(tensor)) =
            value.r#type.as_ref().and_then(|t| t.value.as_ref())
        else {
            return Vec::new();
        };
        let dimensions = tensor.shape.iter().flat_map(|shape| &shape.dim).enumerate();
        dimensions.map(|(position, dimension)| name(position, dimension)).collect()
    };
    open_inputs(graph).take(inputs.len()).map(of).collect()
}

fn memory(model: &TypedModel) -> u64 {
    let consts = model.nodes().iter().filter_map(|node| node.op_as::<Const>());
    let weights = consts.map(|value| (value.val().len() * value.val().datum_type().size_of()) as u64);
    weights.sum::<u64>() + model.nodes().len() as u64 * NODE_BYTES
}

fn proto_bytes(graph: &GraphProto) -> u64 {
    let sizes = graph.initializer.iter().map(|value| {
        let elements =
            value.dims.iter().fold(1_u64, |product, size| product.saturating_mul((*size).max(0) as u64));
        elements.saturating_mul(4)
    });
    sizes.fold(graph.node.len() as u64 * NODE_BYTES, u64::saturating_add)
}
