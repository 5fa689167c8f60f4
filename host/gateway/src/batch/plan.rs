//! Which requests can be computed as one, how they are put together, and how the answer is taken apart again.

use bytes::{Bytes, BytesMut};
use purlin_nn::{InferError, InferRequest, InferResponse, ModelMetadata, Tensor};

/// How many rows a request has, if it can be put together with others; `None` if it has to be computed alone.
///
/// # Errors
/// An input is not what the model takes. Told now, it does not fail those that the request would be put together with.
pub(crate) fn rows(request: &InferRequest, metadata: &ModelMetadata) -> Result<Option<u64>, InferError> {
    if !metadata.batchable || metadata.inputs.is_empty() || request.inputs.len() != metadata.inputs.len() {
        return Ok(None);
    }
    let mut rows = None;
    for (index, (name, tensor)) in request.inputs.iter().enumerate() {
        let Some(info) = metadata.inputs.iter().find(|info| info.name == *name) else { return Ok(None) };
        let at = |member: &str| format!("inputs[{index}].{member}");
        if tensor.datatype() != info.datatype {
            let reason = format!("the model takes {} for {name:?}", info.datatype);
            return Err(InferError::invalid(at("datatype"), tensor.datatype().as_str(), reason));
        }
        let fits = tensor.shape().len() == info.shape.len()
            && tensor
                .shape()
                .iter()
                .zip(&info.shape)
                .all(|(size, wanted)| *wanted < 0 || i64::try_from(*size) == Ok(*wanted));
        if !fits {
            let reason = format!("the model takes {:?} for {name:?}", info.shape);
            return Err(InferError::invalid(at("shape"), format!("{:?}", tensor.shape()), reason));
        }
        match (tensor.shape().first(), rows) {
            (None | Some(0), _) => return Ok(None),
            (Some(first), Some(rows)) if *first != rows => return Ok(None),
            (Some(first), _) => rows = Some(*first),
        }
        // A first dimension that the model fixes cannot grow.
        if info.shape.first().is_some_and(|size| *size >= 0) {
            return Ok(None);
        }
    }
    Ok(rows)
}

/// Whether two requests can be computed as one. Both have rows.
pub(crate) fn fit_together(one: &InferRequest, other: &InferRequest) -> bool {
    one.parameters == other.parameters
        && one.outputs == other.outputs
        && one.inputs.len() == other.inputs.len()
        && one.inputs.iter().all(|(name, tensor)| {
            other.inputs.iter().any(|(other, with)| {
                other == name
                    && with.datatype() == tensor.datatype()
                    && with.shape()[1..] == tensor.shape()[1..]
            })
        })
}

/// Several requests as one: their inputs one behind the other along the first dimension. They fit together.
pub(crate) fn merge(requests: &[&InferRequest]) -> Result<InferRequest, InferError> {
    let Some(first) = requests.first() else { return Ok(InferRequest::default()) };
    let mut merged = InferRequest {
        id: first.id.clone(),
        inputs: Vec::with_capacity(first.inputs.len()),
        outputs: first.outputs.clone(),
        parameters: first.parameters.clone(),
    };
    for (name, tensor) in &first.inputs {
        let parts: Vec<&Tensor> = requests
            .iter()
            .filter_map(|request| request.inputs.iter().find(|(other, _)| other == name))
            .map(|(_, tensor)| tensor)
            .collect();
        let mut data = BytesMut::with_capacity(parts.iter().map(|part| part.data().len()).sum());
        parts.iter().for_each(|part| data.extend_from_slice(part.data()));
        let mut shape = tensor.shape().to_vec();
        if let Some(rows) = shape.first_mut() {
            *rows = parts.iter().filter_map(|part| part.shape().first()).sum();
        }
        let whole = Tensor::new(tensor.datatype(), shape, data.freeze())
            .map_err(|error| InferError::Failed(format!("requests could not be put together: {error}")))?;
        merged.inputs.push((name.clone(), whole));
    }
    Ok(merged)
}

/// The answer for each of several requests, which had so many rows. The elements are not copied.
///
/// # Errors
/// An output does not have as many rows as all requests together.
pub(crate) fn split(response: InferResponse, rows: &[u64]) -> Result<Vec<InferResponse>, InferError> {
    let total: u64 = rows.iter().sum();
    let mut answers: Vec<InferResponse> = rows
        .iter()
        .map(|_| InferResponse { outputs: Vec::new(), parameters: response.parameters.clone() })
        .collect();
    for (name, tensor) in response.outputs {
        if tensor.shape().first() != Some(&total) {
            return Err(InferError::Failed(format!(
                "the output {name:?} has the shape {:?} for {total} rows; the model says that it is batchable, but is \
                 not",
                tensor.shape()
            )));
        }
        let inner: u64 = tensor.shape()[1..].iter().product();
        let mut rest = tensor.data().clone();
        for (answer, rows) in answers.iter_mut().zip(rows) {
            let size = size_of(&rest, tensor.datatype().size(), inner.saturating_mul(*rows));
            let part = rest.split_to(size.min(rest.len()));
            let mut shape = tensor.shape().to_vec();
            shape[0] = *rows;
            let part = Tensor::new(tensor.datatype(), shape, part).map_err(|error| {
                InferError::Failed(format!("the output {name:?} could not be taken apart: {error}"))
            })?;
            answer.outputs.push((name.clone(), part));
        }
    }
    Ok(answers)
}

/// How many bytes the next elements have.
fn size_of(data: &Bytes, size: Option<usize>, count: u64) -> usize {
    if let Some(size) = size {
        return usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(size);
    }
    let mut at = 0_usize;
    for _ in 0..count {
        let Some(length) = data.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { break };
        at = at.saturating_add(4 + u32::from_le_bytes(*length) as usize);
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use purlin_nn::{Datatype, InferError, InferRequest, InferResponse, ModelMetadata, Tensor, TensorInfo};

    use super::{fit_together, merge, rows, split};

    fn metadata() -> ModelMetadata {
        let info = |name: &str, datatype, shape: &[i64]| TensorInfo {
            name: name.to_owned(),
            datatype,
            shape: shape.to_vec(),
        };
        ModelMetadata {
            inputs: vec![info("x", Datatype::Fp32, &[-1, 2]), info("t", Datatype::Bytes, &[-1])],
            batchable: true,
            ..ModelMetadata::default()
        }
    }

    fn request(values: &[[f32; 2]], texts: &[String]) -> InferRequest {
        let values_flat: Vec<f32> = values.iter().flatten().copied().collect();
        InferRequest {
            inputs: vec![
                ("x".to_owned(), Tensor::of_floats(vec![values.len() as u64, 2], &values_flat).unwrap()),
                ("t".to_owned(), Tensor::of_texts(texts)),
            ],
            ..InferRequest::default()
        }
    }

    #[test]
    fn what_the_model_does_not_take_is_told_before() {
        let right = request(&[[1.0, 2.0]], &["a".to_owned()]);
        assert_eq!(rows(&right, &metadata()), Ok(Some(1)));
        let mut wrong = right.clone();
        wrong.inputs[0].1 = Tensor::of_floats(vec![1, 3], &[0.0; 3]).unwrap();
        assert!(matches!(rows(&wrong, &metadata()), Err(InferError::Invalid(_))));
        let mut wrong = right.clone();
        wrong.inputs[1].1 = Tensor::of_floats(vec![1], &[0.0]).unwrap();
        assert!(matches!(rows(&wrong, &metadata()), Err(InferError::Invalid(_))));
    }

    #[test]
    fn what_cannot_be_put_together_is_computed_alone() {
        let alone = |request: &InferRequest| rows(request, &metadata()) == Ok(None);
        assert!(alone(&request(&[], &[])));
        assert!(alone(&request(&[[1.0, 2.0]], &["a".to_owned(), "b".to_owned()])));
        let mut other = request(&[[1.0, 2.0]], &["a".to_owned()]);
        other.inputs.pop();
        assert!(alone(&other));
        let not = ModelMetadata { batchable: false, ..metadata() };
        assert_eq!(rows(&request(&[[1.0, 2.0]], &["a".to_owned()]), &not), Ok(None));
        let one = request(&[[1.0, 2.0]], &["a".to_owned()]);
        let mut two = one.clone();
        two.outputs = vec!["y".to_owned()];
        assert!(fit_together(&one, &one) && !fit_together(&one, &two));
    }

    #[test]
    fn an_answer_with_other_rows_is_a_fault_of_the_model() {
        let response = InferResponse {
            outputs: vec![("y".to_owned(), Tensor::of_floats(vec![2], &[1.0, 2.0]).unwrap())],
            parameters: Vec::new(),
        };
        assert!(matches!(split(response, &[1, 2]), Err(InferError::Failed(_))));
    }

    proptest! {
        #[test]
        fn what_is_put_together_comes_apart(
            parts in proptest::collection::vec(
                proptest::collection::vec((any::<[u8; 2]>(), "[a-z]{0,5}"), 1..5),
                1..6,
            )
        ) {
            let requests: Vec<InferRequest> = parts
                .iter()
                .map(|part| {
                    let values: Vec<[f32; 2]> =
                        part.iter().map(|(pair, _)| [f32::from(pair[0]), f32::from(pair[1])]).collect();
                    let texts: Vec<String> = part.iter().map(|(_, text)| text.clone()).collect();
                    request(&values, &texts)
                })
                .collect();
            let counts: Vec<u64> = requests
                .iter()
                .map(|request| rows(request, &metadata()).unwrap().unwrap())
                .collect();
            prop_assert!(requests.iter().all(|request| fit_together(&requests[0], request)));
            let merged = merge(&requests.iter().collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(merged.inputs[0].1.shape()[0], counts.iter().sum::<u64>());
            let answer = InferResponse { outputs: merged.inputs, parameters: Vec::new() };
            let answers = split(answer, &counts).unwrap();
            for (request, answer) in requests.iter().zip(&answers) {
                prop_assert_eq!(&request.inputs, &answer.outputs);
            }
        }
    }
}
