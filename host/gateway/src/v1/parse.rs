//! V1 requests: `instances`, a row each, or `inputs`, a column each, as tensors of the model's inputs.

use bytes::Bytes;
use purlin_nn::tensor::elements;
use purlin_nn::{Datatype, InferError, InferRequest, Tensor, TensorInfo};

use crate::json::{Dims, Scanner, SyntaxError, read_elements, read_one};

/// Rows of one request at most.
const ROWS: usize = 1 << 20;
/// Inputs of one request at most.
const INPUTS: usize = 256;
/// The input of a model that does not say what it takes.
const UNNAMED: &str = "input-0";

/// How the answer is to be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A row each.
    Rows,
    /// A column each.
    Columns,
}

enum Fault {
    Syntax(SyntaxError),
    Invalid(InferError),
}

impl From<SyntaxError> for Fault {
    fn from(error: SyntaxError) -> Fault {
        Fault::Syntax(error)
    }
}

impl From<Fault> for InferError {
    fn from(fault: Fault) -> InferError {
        match fault {
            Fault::Syntax(error) => InferError::invalid("body", "", error.to_string()),
            Fault::Invalid(error) => error,
        }
    }
}

fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Fault {
    Fault::Invalid(InferError::invalid(field, "", reason))
}

/// One input on its way from rows to a tensor.
struct Column {
    name: String,
    datatype: Datatype,
    data: Vec<u8>,
    dims: Option<Dims>,
    rows: usize,
}

/// Reads the body of a request for predictions. `inputs` is what the model takes; a model that does not say is given what
/// stands there.
///
/// # Errors
/// [`InferError::Invalid`] with the field and what would be right.
pub fn parse_predict(body: &[u8], inputs: &[TensorInfo]) -> Result<(InferRequest, Layout), InferError> {
    Ok(parse(body, inputs)?)
}

fn parse(body: &[u8], inputs: &[TensorInfo]) -> Result<(InferRequest, Layout), Fault> {
    let mut scanner = Scanner::new(body)?;
    let mut found: Option<(Vec<(String, Tensor)>, Layout)> = None;
    scanner.object(|scanner, key| {
        let layout = match key {
            "instances" => Layout::Rows,
            "inputs" => Layout::Columns,
            _ => return Ok::<_, Fault>(scanner.skip()?),
        };
        if found.is_some() {
            return Err(invalid(key, "give either instances or inputs, once"));
        }
        let tensors = match layout {
            Layout::Rows => instances(scanner, inputs)?,
            Layout::Columns => columns(scanner, inputs)?,
        };
        found = Some((tensors, layout));
        Ok(())
    })?;
    scanner.end()?;
    let missing = || invalid("instances", "is missing; give an array of instances");
    let (inputs, layout) = found.ok_or_else(missing)?;
    Ok((InferRequest { inputs, ..InferRequest::default() }, layout))
}

/// A row each.
fn instances(scanner: &mut Scanner<'_>, inputs: &[TensorInfo]) -> Result<Vec<(String, Tensor)>, Fault> {
    if !rows_are_objects(scanner) {
        let (name, datatype, shape) = only_input(scanner, inputs, "instances")?;
        return Ok(vec![tensor(scanner, "instances", name, datatype, shape)?]);
    }
    let mut columns: Vec<Column> = Vec::new();
    let mut count = 0;
    scanner.array(|scanner, row| {
        if row == ROWS {
            return Err(invalid("instances", format!("at most {ROWS} instances")));
        }
        count = row + 1;
        scanner.object(|scanner, name| {
            let column = match columns.iter_mut().position(|column| column.name == name) {
                Some(at) => &mut columns[at],
                None if row > 0 || columns.len() == INPUTS => {
                    return Err(invalid(
                        format!("instances[{row}].{name}"),
                        "is not in the instances before it; all must have the same members",
                    ));
                }
                None => {
                    let datatype = datatype_of(scanner, inputs, name, &format!("instances[{row}]"))?;
                    let name = name.to_owned();
                    columns.push(Column { name, datatype, data: Vec::new(), dims: None, rows: 0 });
                    columns.last_mut().ok_or_else(|| invalid("instances", "is empty"))?
                }
            };
            let field = || format!("instances[{row}].{}", column.name);
            if column.rows != row {
                return Err(invalid(field(), "is given twice"));
            }
            let dims = read_one(scanner, column.datatype, &mut column.data)
                .map_err(|error| invalid(field(), error.to_string()))?;
            match &column.dims {
                Some(first) if first.shape() != dims.shape() => {
                    let reason =
                        format!("has the shape {:?} where the first has {:?}", dims.shape(), first.shape());
                    return Err(invalid(field(), reason));
                }
                Some(_) => {}
                None => column.dims = Some(dims),
            }
            column.rows += 1;
            Ok(())
        })?;
        match columns.iter().find(|column| column.rows != row + 1) {
            Some(column) => Err(invalid(format!("instances[{row}].{}", column.name), "is missing")),
            None => Ok(()),
        }
    })?;
    if let Some(missing) = inputs.iter().find(|input| !columns.iter().any(|column| column.name == input.name))
    {
        return Err(invalid(
            format!("instances[0].{}", missing.name),
            format!("is missing; the model takes: {}", names(inputs)),
        ));
    }
    let mut tensors = Vec::with_capacity(columns.len());
    for column in columns {
        let mut dims = vec![count as u64];
        dims.extend(column.dims.unwrap_or_default().shape());
        let info = inputs.iter().find(|input| input.name == column.name);
        let dims = fit(dims, info.map(|info| info.shape.as_slice()).unwrap_or_default());
        let built = Tensor::new(column.datatype, dims, Bytes::from(column.data));
        let built =
            built.map_err(|error| invalid(format!("instances.{}", column.name), error.to_string()))?;
        tensors.push((column.name, built));
    }
    Ok(tensors)
}

/// A column each.
fn columns(scanner: &mut Scanner<'_>, inputs: &[TensorInfo]) -> Result<Vec<(String, Tensor)>, Fault> {
    if scanner.peek() != Some(b'{') {
        let (name, datatype, shape) = only_input(scanner, inputs, "inputs")?;
        return Ok(vec![tensor(scanner, "inputs", name, datatype, shape)?]);
    }
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    scanner.object(|scanner, name| {
        let field = format!("inputs.{name}");
        if tensors.len() == INPUTS || tensors.iter().any(|(other, _)| other == name) {
            return Err(invalid(field, "is given twice, or there are too many"));
        }
        let datatype = datatype_of(scanner, inputs, name, "inputs")?;
        let info = inputs.iter().find(|input| input.name == name);
        let shape = info.map(|info| info.shape.as_slice()).unwrap_or_default();
        tensors.push(tensor(scanner, &field, name, datatype, shape)?);
        Ok(())
    })?;
    match inputs.iter().find(|input| !tensors.iter().any(|(name, _)| *name == input.name)) {
        Some(missing) => Err(invalid(
            format!("inputs.{}", missing.name),
            format!("is missing; the model takes: {}", names(inputs)),
        )),
        None => Ok(tensors),
    }
}

fn tensor(
    scanner: &mut Scanner<'_>,
    field: &str,
    name: &str,
    datatype: Datatype,
    shape: &[i64],
) -> Result<(String, Tensor), Fault> {
    let mut data = Vec::new();
    let dims =
        read_elements(scanner, datatype, &mut data).map_err(|error| invalid(field, error.to_string()))?;
    let dims = fit(dims.shape(), shape);
    let tensor = Tensor::new(datatype, dims, Bytes::from(data));
    Ok((name.to_owned(), tensor.map_err(|error| invalid(field, error.to_string()))?))
}

/// Whether the rows are objects by input name. `{"b64": ...}` is an element.
fn rows_are_objects(scanner: &mut Scanner<'_>) -> bool {
    let mut ahead = scanner.clone();
    if !ahead.take(b'[') || !ahead.take(b'{') {
        return false;
    }
    ahead.string().is_ok_and(|key| key != "b64")
}

/// The input of a model that has one.
fn only_input<'a>(
    scanner: &Scanner<'_>,
    inputs: &'a [TensorInfo],
    field: &str,
) -> Result<(&'a str, Datatype, &'a [i64]), Fault> {
    match inputs {
        [] => Ok((UNNAMED, guess(scanner), &[])),
        [one] => Ok((&one.name, one.datatype, &one.shape)),
        several => Err(invalid(
            field,
            format!("the model has several inputs; give objects with: {}", names(several)),
        )),
    }
}

fn datatype_of(
    scanner: &Scanner<'_>,
    inputs: &[TensorInfo],
    name: &str,
    field: &str,
) -> Result<Datatype, Fault> {
    if inputs.is_empty() {
        return Ok(guess(scanner));
    }
    let found = inputs.iter().find(|input| input.name == name).map(|input| input.datatype);
    found.ok_or_else(|| {
        invalid(
            format!("{field}.{name}"),
            format!("is no input of the model, which takes: {}", names(inputs)),
        )
    })
}

fn names(inputs: &[TensorInfo]) -> String {
    inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The datatype that the first element looks like.
fn guess(scanner: &Scanner<'_>) -> Datatype {
    let mut ahead = scanner.clone();
    while ahead.take(b'[') {}
    match ahead.peek() {
        Some(b'"' | b'{') => Datatype::Bytes,
        Some(b't' | b'f') => Datatype::Bool,
        _ => Datatype::Fp32,
    }
}

/// The dimensions in the form that the model wants, where they only differ in how they are grouped: `[2, 784]` for a model
/// of `[-1, 1, 28, 28]`.
fn fit(dims: Vec<u64>, wanted: &[i64]) -> Vec<u64> {
    if dims.len() == wanted.len() || wanted.is_empty() || wanted.iter().filter(|size| **size < 0).count() > 1
    {
        return dims;
    }
    let sizes: Vec<u64> = wanted.iter().filter(|size| **size >= 0).map(|size| size.unsigned_abs()).collect();
    let (total, known) = (elements(&dims), elements(&sizes));
    match (total, known) {
        (Some(total), Some(known)) if known > 0 && total % known == 0 => {
            let open = total / known;
            if !wanted.iter().any(|size| *size < 0) && open != 1 {
                return dims;
            }
            wanted.iter().map(|size| if *size < 0 { open } else { size.unsigned_abs() }).collect()
        }
        _ => dims,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use purlin_nn::{Datatype, InferRequest, TensorInfo};

    use super::{Layout, parse_predict};

    fn info(name: &str, datatype: Datatype, shape: &[i64]) -> TensorInfo {
        TensorInfo { name: name.to_owned(), datatype, shape: shape.to_vec() }
    }

    fn shapes(request: &InferRequest) -> Vec<(&str, Vec<u64>)> {
        request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.shape().to_vec())).collect()
    }

    #[test]
    fn rows_and_columns_become_the_same_tensors() {
        let iris = [info("x", Datatype::Fp32, &[-1, 4])];
        let rows = br#"{"signature_name":"s","instances":[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]}"#;
        let (by_rows, layout) = parse_predict(rows, &iris).unwrap();
        assert_eq!((shapes(&by_rows), layout), (vec![("x", vec![2, 4])], Layout::Rows));
        let columns = br#"{"inputs":{"x":[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]}}"#;
        let (by_columns, layout) = parse_predict(columns, &iris).unwrap();
        assert_eq!((by_columns, layout), (by_rows, Layout::Columns));
    }

    #[test]
    fn objects_name_their_inputs() {
        let inputs = [info("a", Datatype::Int64, &[-1]), info("b", Datatype::Bytes, &[-1, 2])];
        let body = br#"{"instances":[{"a":1,"b":["x","y"]},{"b":["z",{"b64":"AA=="}],"a":2}]}"#;
        let (request, _) = parse_predict(body, &inputs).unwrap();
        assert_eq!(shapes(&request), [("a", vec![2]), ("b", vec![2, 2])]);
    }

    #[test]
    fn elements_in_base64_are_no_rows() {
        let inputs = [info("image", Datatype::Bytes, &[-1])];
        let (request, _) = parse_predict(br#"{"instances":[{"b64":"AAE="},{"b64":""}]}"#, &inputs).unwrap();
        assert_eq!(request.inputs[0].1.texts().collect::<Vec<_>>(), [&[0, 1][..], b""]);
    }

    #[test]
    fn dimensions_are_grouped_as_the_model_wants() {
        let inputs = [info("x", Datatype::Uint8, &[-1, 1, 2, 2])];
        let (request, _) = parse_predict(br#"{"instances":[[1,2,3,4],[5,6,7,8]]}"#, &inputs).unwrap();
        assert_eq!(shapes(&request), [("x", vec![2, 1, 2, 2])]);
        let inputs = [info("x", Datatype::Fp32, &[-1, 1])];
        let (request, _) = parse_predict(br#"{"instances":[1,2,3]}"#, &inputs).unwrap();
        assert_eq!(shapes(&request), [("x", vec![3, 1])]);
    }

    #[test]
    fn a_model_that_says_nothing_is_given_what_stands_there() {
        let (request, _) = parse_predict(br#"{"instances":["a","b"]}"#, &[]).unwrap();
        assert_eq!(request.inputs[0].1.datatype(), Datatype::Bytes);
        let (request, _) = parse_predict(br#"{"inputs":[[1]]}"#, &[]).unwrap();
        assert_eq!(request.inputs[0].1.datatype(), Datatype::Fp32);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let two = [info("a", Datatype::Fp32, &[-1]), info("b", Datatype::Fp32, &[-1])];
        for (body, part) in [
            ("{}", "instances: is missing"),
            (r#"{"instances":[1]}"#, "several inputs; give objects with: a, b"),
            (r#"{"instances":[{"a":1}]}"#, "instances[0].b: is missing"),
            (r#"{"instances":[{"a":1,"b":1},{"a":1}]}"#, "instances[1].b: is missing"),
            (r#"{"instances":[{"a":1,"b":1},{"a":[1],"b":1}]}"#, "instances[1].a: has the shape [1]"),
            (r#"{"instances":[{"c":1}]}"#, "instances[0].c: is no input"),
            (r#"{"instances":[{"a":1,"a":1,"b":1}]}"#, "instances[0].a: is given twice"),
            (r#"{"instances":[],"inputs":[]}"#, "several inputs"),
            (r#"{"inputs":{"a":[1]}}"#, "inputs.b: is missing"),
            (r#"{"inputs":{"a":["x"]}}"#, "inputs.a"),
            (r#"[]"#, "an object is expected"),
        ] {
            let error = parse_predict(body.as_bytes(), &two).unwrap_err().to_string();
            assert!(error.contains(part), "{body}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_survived(body in r#"\{"(instances|inputs)":[\[\]{}":,0-9ab]{0,40}\}"#) {
            let _ = parse_predict(body.as_bytes(), &[]);
        }
    }
}
