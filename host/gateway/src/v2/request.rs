//! A request of the Open Inference Protocol over REST: JSON, behind which the binary extension puts the elements of tensors
//! that it announced.

use bytes::Bytes;
use purlin_nn::{Datatype, InferError, InferRequest, InvalidField, Parameter, Tensor, TensorError};

use crate::json::{Dims, Scanner, SyntaxError, read_elements};

/// Tensors of one request at most.
const TENSORS: usize = 1024;
/// Dimensions at most.
const RANK: usize = 32;

/// What a client asks, and in which form it wants the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferCall {
    /// For the model.
    pub request: InferRequest,
    /// Whether outputs come as binary data unless they say otherwise.
    pub binary: bool,
    /// The outputs that say otherwise.
    pub binary_by_name: Vec<(String, bool)>,
}

impl InferCall {
    /// Whether an output is to be binary data.
    pub fn is_binary(&self, output: &str) -> bool {
        self.binary_by_name.iter().find(|(name, _)| name == output).map_or(self.binary, |(_, binary)| *binary)
    }
}

enum Fault {
    Syntax(SyntaxError),
    Invalid(InvalidField),
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
            Fault::Invalid(field) => InferError::Invalid(vec![field]),
        }
    }
}

fn invalid(field: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) -> Fault {
    Fault::Invalid(InvalidField { field: field.into(), value: value.into(), reason: reason.into() })
}

/// Reads the body of a request for inference. `header_length` is the header `Inference-Header-Content-Length`: how much of
/// the body is JSON.
///
/// # Errors
/// [`InferError::Invalid`] with the field, what stands there and what would be right.
pub fn parse_infer(body: &Bytes, header_length: Option<usize>) -> Result<InferCall, InferError> {
    let length = header_length.unwrap_or(body.len());
    if length > body.len() {
        return Err(InferError::invalid(
            "Inference-Header-Content-Length",
            length.to_string(),
            format!("the body has {} bytes only", body.len()),
        ));
    }
    Ok(parse(&body[..length], body.slice(length..))?)
}

fn parse(text: &[u8], mut binary: Bytes) -> Result<InferCall, Fault> {
    let mut scanner = Scanner::new(text)?;
    let mut call = InferCall::default();
    let mut given = false;
    scanner.object(|scanner, key| match key {
        "id" => {
            call.request.id = match scanner.peek() {
                Some(b'"') => scanner.string()?.into_owned(),
                Some(b'n') => scanner.word("null").map(|()| String::new())?,
                _ => return Err(invalid("id", "", "must be a string")),
            };
            Ok(())
        }
        "parameters" => {
            call.request.parameters = parameters(scanner, "parameters")?;
            Ok(())
        }
        "inputs" => {
            given = true;
            call.request.inputs.clear();
            scanner.array(|scanner, index| {
                if index == TENSORS {
                    return Err(invalid("inputs", "", format!("at most {TENSORS} tensors")));
                }
                let (name, tensor) = input(scanner, index, &mut binary)?;
                if call.request.inputs.iter().any(|(other, _)| *other == name) {
                    return Err(invalid(
                        format!("inputs[{index}].name"),
                        format!("{name:?}"),
                        "another input has this name; each must have its own",
                    ));
                }
                call.request.inputs.push((name, tensor));
                Ok(())
            })
        }
        "outputs" if scanner.peek() == Some(b'n') => Ok(scanner.word("null")?),
        "outputs" => {
            call.request.outputs.clear();
            call.binary_by_name.clear();
            scanner.array(|scanner, index| {
                if index == TENSORS {
                    return Err(invalid("outputs", "", format!("at most {TENSORS} tensors")));
                }
                let (name, binary) = output(scanner, index)?;
                if call.request.outputs.contains(&name) {
                    return Err(invalid(
                        format!("outputs[{index}].name"),
                        format!("{name:?}"),
                        "is asked for twice; name each output once",
                    ));
                }
                if let Some(binary) = binary {
                    call.binary_by_name.push((name.clone(), binary));
                }
                call.request.outputs.push(name);
                Ok(())
            })
        }
        _ => Ok(scanner.skip()?),
    })?;
    scanner.end()?;
    if !given {
        return Err(invalid("inputs", "", "is missing; give an array of tensors"));
    }
    if !binary.is_empty() {
        return Err(invalid(
            "body",
            "",
            format!(
                "{} bytes of binary data are left over; the sum of all binary_data_size must be what follows the JSON",
                binary.len()
            ),
        ));
    }
    let wish = |(name, value): &(String, Parameter)| match value {
        Parameter::Bool(binary) if name == "binary_data_output" => Some(*binary),
        _ => None,
    };
    call.binary = call.request.parameters.iter().find_map(wish).unwrap_or(false);
    call.request.parameters.retain(|(name, _)| name != "binary_data_output");
    Ok(call)
}

/// One input.
fn input(scanner: &mut Scanner<'_>, index: usize, binary: &mut Bytes) -> Result<(String, Tensor), Fault> {
    let at = |member: &str| format!("inputs[{index}].{member}");
    let (mut name, mut datatype, mut shape) = (None, None, None);
    let (mut size, mut data_at, mut elements) = (None, None, None);
    scanner.object(|scanner, key| {
        match key {
            "name" => name = Some(scanner.string()?.into_owned()),
            "datatype" => {
                let text = scanner.string()?;
                let known = text.parse::<Datatype>();
                datatype = Some(known.map_err(|error| invalid(at("datatype"), "", error.to_string()))?);
            }
            "shape" => shape = Some(read_shape(scanner, index)?),
            "parameters" => size = input_parameters(scanner, index)?,
            "data" => match datatype {
                // Most clients send the datatype first, so that the elements are read in passing.
                Some(datatype) => elements = Some(read_data(scanner, datatype, shape.as_deref(), index)?),
                None => {
                    data_at = Some(scanner.at());
                    scanner.skip()?;
                }
            },
            _ => scanner.skip()?,
        }
        Ok::<_, Fault>(())
    })?;
    let missing = |member: &str, what: &str| invalid(at(member), "", format!("is missing; {what}"));
    let name = name.ok_or_else(|| missing("name", "give the input's name"))?;
    let datatype = datatype.ok_or_else(|| missing("datatype", "give one such as FP32"))?;
    let shape = shape.ok_or_else(|| missing("shape", "give the size of each dimension"))?;
    if let (None, Some(data_at)) = (&elements, data_at) {
        elements = Some(read_data(&mut scanner.moved_to(data_at), datatype, Some(&shape), index)?);
    }
    let data = match (elements, size) {
        (Some(_), Some(_)) => {
            return Err(invalid(at("data"), "", "stands beside binary_data_size; send the elements once"));
        }
        (None, None) => return Err(missing("data", "give the elements, or their binary_data_size")),
        (Some(elements), None) => elements,
        (None, Some(size)) => {
            if size > binary.len() {
                return Err(invalid(
                    at("parameters.binary_data_size"),
                    size.to_string(),
                    format!("only {} bytes of binary data are left behind the JSON", binary.len()),
                ));
            }
            binary.split_to(size)
        }
    };
    let shape = resolve_shape(&shape, datatype, &data)
        .map_err(|(value, reason)| invalid(at("shape"), value, reason))?;
    let field = if size.is_some() { at("parameters.binary_data_size") } else { at("data") };
    let tensor = Tensor::new(datatype, shape, data).map_err(|error| invalid(field, "", error.to_string()))?;
    Ok((name, tensor))
}

fn read_data(
    scanner: &mut Scanner<'_>,
    datatype: Datatype,
    shape: Option<&[i64]>,
    index: usize,
) -> Result<Bytes, Fault> {
    // The shape is the client's word: what it announces must have room in what it sent.
    let announced: Option<usize> = shape.and_then(|shape| {
        shape.iter().try_fold(1_usize, |product, size| product.checked_mul(usize::try_from(*size).ok()?))
    });
    let room =
        announced.unwrap_or(0).min(scanner.remaining() / 2).saturating_mul(datatype.size().unwrap_or(8));
    let mut data = Vec::with_capacity(room);
    let read: Result<Dims, SyntaxError> = read_elements(scanner, datatype, &mut data);
    read.map_err(|error| invalid(format!("inputs[{index}].data"), "", error.to_string()))?;
    Ok(data.into())
}

/// The sizes; -1 for one that the data decide.
fn read_shape(scanner: &mut Scanner<'_>, index: usize) -> Result<Vec<i64>, Fault> {
    let field = || format!("inputs[{index}].shape");
    let mut shape = Vec::with_capacity(4);
    scanner.array(|scanner, axis| {
        if axis == RANK {
            return Err(invalid(field(), "", format!("at most {RANK} dimensions")));
        }
        let number = scanner.number()?;
        match number.text.parse::<i64>() {
            Ok(size) if size >= -1 => shape.push(size),
            _ => {
                return Err(invalid(
                    field(),
                    number.text,
                    "each size must be a whole number of 0 or more, or -1 for one that the data decide",
                ));
            }
        }
        Ok(())
    })?;
    Ok(shape)
}

/// The shape, with the size that the data decide.
pub(crate) fn resolve_shape(
    shape: &[i64],
    datatype: Datatype,
    data: &[u8],
) -> Result<Vec<u64>, (String, String)> {
    let wrong = |reason: &str| (format!("{shape:?}"), reason.to_owned());
    if shape.iter().any(|size| *size < -1) {
        return Err(wrong("each size must be 0 or more, or -1 for one that the data decide"));
    }
    let open = shape.iter().filter(|size| **size == -1).count();
    if open > 1 {
        return Err(wrong("at most one size can be -1"));
    }
    let known = shape
        .iter()
        .filter(|size| **size >= 0)
        .try_fold(1_u64, |product, size| product.checked_mul(size.unsigned_abs()))
        .ok_or_else(|| wrong("that is more elements than can be counted"))?;
    if open == 0 {
        return Ok(shape.iter().map(|size| size.unsigned_abs()).collect());
    }
    let count = match datatype.size() {
        Some(size) => (data.len() / size) as u64,
        None => count_texts(data).map_err(|error| wrong(&error.to_string()))?,
    };
    if known == 0 || count % known != 0 {
        return Err(wrong(&format!("{count} elements cannot be put into this shape, whatever -1 is")));
    }
    let size = |size: &i64| if *size == -1 { count / known } else { size.unsigned_abs() };
    Ok(shape.iter().map(size).collect())
}

fn count_texts(data: &[u8]) -> Result<u64, TensorError> {
    let (mut rest, mut count) = (data, 0);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        rest = behind.get(u32::from_le_bytes(*length) as usize..).ok_or(TensorError::Truncated(count))?;
        count += 1;
    }
    if rest.is_empty() { Ok(count) } else { Err(TensorError::Truncated(count)) }
}

/// The size of the binary data, from the parameters of an input.
fn input_parameters(scanner: &mut Scanner<'_>, index: usize) -> Result<Option<usize>, Fault> {
    let field = format!("inputs[{index}].parameters");
    let mut size = None;
    for (name, value) in parameters(scanner, &field)? {
        match (name.as_str(), value) {
            ("binary_data_size", Parameter::Int(bytes)) => {
                let bytes = usize::try_from(bytes).map_err(|_| {
                    invalid(format!("{field}.{name}"), bytes.to_string(), "must be 0 or more")
                })?;
                size = Some(bytes);
            }
            ("binary_data_size", _) => {
                return Err(invalid(format!("{field}.{name}"), "", "must be a whole number of bytes"));
            }
            ("shared_memory_region", _) => {
                return Err(invalid(
                    format!("{field}.{name}"),
                    "",
                    "shared memory is not supported; send the elements as data or binary data",
                ));
            }
            _ => {}
        }
    }
    Ok(size)
}

/// One output's name, and whether it is wanted as binary data.
fn output(scanner: &mut Scanner<'_>, index: usize) -> Result<(String, Option<bool>), Fault> {
    let (mut name, mut binary) = (None, None);
    let field = format!("outputs[{index}]");
    scanner.object(|scanner, key| {
        match key {
            "name" => name = Some(scanner.string()?.into_owned()),
            "parameters" => {
                for (name, value) in parameters(scanner, &format!("{field}.parameters"))? {
                    let field = format!("{field}.parameters.{name}");
                    match (name.as_str(), value) {
                        ("binary_data", Parameter::Bool(wanted)) => binary = Some(wanted),
                        ("binary_data", _) => return Err(invalid(field, "", "must be true or false")),
                        ("classification", Parameter::Int(0)) => {}
                        ("classification" | "shared_memory_region", _) => {
                            return Err(invalid(field, "", "is not supported; leave it out"));
                        }
                        _ => {}
                    }
                }
            }
            _ => scanner.skip()?,
        }
        Ok::<_, Fault>(())
    })?;
    let missing = || invalid(format!("{field}.name"), "", "is missing; give the output's name");
    Ok((name.ok_or_else(missing)?, binary))
}

/// Parameters: names with numbers, truth values or texts.
fn parameters(scanner: &mut Scanner<'_>, field: &str) -> Result<Vec<(String, Parameter)>, Fault> {
    let mut parameters = Vec::new();
    if scanner.peek() == Some(b'n') {
        scanner.word("null")?;
        return Ok(parameters);
    }
    scanner.object(|scanner, key| {
        let value = match scanner.peek() {
            Some(b'"') => Parameter::Text(scanner.string()?.into_owned()),
            Some(b't') => scanner.word("true").map(|()| Parameter::Bool(true))?,
            Some(b'f') => scanner.word("false").map(|()| Parameter::Bool(false))?,
            Some(b'n') => return Ok(scanner.word("null")?),
            Some(b'{' | b'[') => {
                return Err(invalid(
                    format!("{field}.{key}"),
                    "",
                    "must be a number, a string, true or false",
                ));
            }
            _ => {
                let number = scanner.number()?;
                let whole = number.whole.then(|| number.text.parse().ok()).flatten();
                match (whole, number.text.parse::<f64>()) {
                    (Some(whole), _) => Parameter::Int(whole),
                    (None, Ok(real)) if real.is_finite() => Parameter::Real(real),
                    _ => return Err(invalid(format!("{field}.{key}"), number.text, "is too large")),
                }
            }
        };
        if parameters.len() == TENSORS {
            return Err(invalid(field, "", format!("at most {TENSORS} parameters")));
        }
        parameters.push((key.to_owned(), value));
        Ok(())
    })?;
    Ok(parameters)
}

/// Whether a text is an object with a member `inputs`; tells a request for tensors from one for text.
pub(crate) fn has_inputs(text: &[u8]) -> bool {
    let mut found = false;
    let Ok(mut scanner) = Scanner::new(text) else { return false };
    let read = scanner.object(|scanner, key| {
        found |= key == "inputs";
        scanner.skip()
    });
    read.is_ok() && found
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
