//! The V1 protocol of KServe: predictions and explanations for instances.

mod parse;

use std::sync::Arc;

use http::{Response, StatusCode};
use purlin_nn::{InferResponse, ModelMetadata, Tensor};
use serde_json::json;

pub use self::parse::{Layout, parse_predict};
use crate::body::Body;
use crate::call::{Call, Request, check_content_type, json as json_body, json_value};
use crate::failure::Failure;
use crate::json::{put_nested, put_string};
use crate::openai;
use crate::served::Served;

/// `GET /v1/models`: the list of V1 and that of OpenAI in one.
pub(crate) fn models(call: &Call) -> Response<Body> {
    let mut list = openai::models(call);
    list["models"] = call.route.names(call.view).into();
    json_value(&list)
}

/// `GET /v1/models/NAME`
pub(crate) fn model(call: &Call, served: &Served) -> Response<Body> {
    let ready = call.core.is_ready(served);
    let mut value = openai::model_value(&served.name);
    value["name"] = served.name.as_str().into();
    value["ready"] = ready.into();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_body(status, json!(value).to_string())
}

/// `POST /v1/models/NAME:predict`
pub(crate) async fn predict(
    call: &mut Call,
    served: &Arc<Served>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    check_content_type(request.headers())?;
    let (parts, body) = request.into_parts();
    let (bytes, _held) = call.read(&parts.headers, body).await?;
    let deadline = call.deadline(served);
    let metadata = call.core.metadata(served, deadline).await?;
    let (mut request, layout) = parse_predict(&bytes, &metadata.inputs)?;
    request.id = call.request_id.clone();
    let response = call.core.infer(served, request, deadline).await?;
    Ok(json_body(StatusCode::OK, encode("predictions", &response, layout)?))
}

/// `POST /v1/models/NAME:explain`, answered by the route's explainer where it has one.
pub(crate) async fn explain(
    call: &mut Call,
    served: &Arc<Served>,
    request: Request,
) -> Result<Response<Body>, Failure> {
    check_content_type(request.headers())?;
    let (parts, body) = request.into_parts();
    let (bytes, _held) = call.read(&parts.headers, body).await?;
    let explainer = call.route.explainer.clone().unwrap_or_else(|| served.clone());
    let deadline = call.deadline(&explainer);
    let mut metadata: Arc<ModelMetadata> = call.core.metadata(&explainer, deadline).await?;
    if metadata.inputs.is_empty() && !served.config.container {
        // An explainer that does not say what it takes takes what its model does.
        metadata = call.core.metadata(served, deadline).await?;
    }
    let (mut request, layout) = parse_predict(&bytes, &metadata.inputs)?;
    request.id = call.request_id.clone();
    let response = call.core.explain(&explainer, request, deadline).await?;
    Ok(json_body(StatusCode::OK, encode("explanations", &response, layout)?))
}

/// The outputs, nested as their shapes are: one by itself, several by name.
fn encode(member: &str, response: &InferResponse, layout: Layout) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    put_string(&mut out, member);
    out.push(b':');
    match response.outputs.as_slice() {
        [(name, tensor)] => put(&mut out, name, tensor)?,
        outputs => match (layout, rows(outputs)) {
            (Layout::Rows, Some(rows)) => {
                out.push(b'[');
                for row in 0..rows {
                    if row > 0 {
                        out.push(b',');
                    }
                    put_object(&mut out, outputs, |out, name, tensor| match row_of(tensor, row, rows) {
                        Some(tensor) => put(out, name, &tensor),
                        None => put(out, name, tensor),
                    })?;
                }
                out.push(b']');
            }
            _ => put_object(&mut out, outputs, put)?,
        },
    }
    out.push(b'}');
    Ok(out)
}

fn put_object(
    out: &mut Vec<u8>,
    outputs: &[(String, Tensor)],
    mut value: impl FnMut(&mut Vec<u8>, &str, &Tensor) -> Result<(), Failure>,
) -> Result<(), Failure> {
    out.push(b'{');
    for (index, (name, tensor)) in outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_string(out, name);
        out.push(b':');
        value(out, name, tensor)?;
    }
    out.push(b'}');
    Ok(())
}

fn put(out: &mut Vec<u8>, name: &str, tensor: &Tensor) -> Result<(), Failure> {
    put_nested(out, tensor).map_err(|error| {
        Failure::invalid(format!(
            "the output {name:?} cannot be sent: {error}; ask by V2 for binary data (binary_data_output)"
        ))
    })
}

/// How many rows all outputs have, if it is the same number and their elements can be taken apart by rows.
fn rows(outputs: &[(String, Tensor)]) -> Option<u64> {
    let mut counts = outputs.iter().map(|(_, tensor)| tensor.shape().first().copied());
    let first = counts.next()??;
    let apart =
        outputs.iter().all(|(_, tensor)| tensor.datatype().size().is_some() || tensor.shape().len() == 1);
    (first > 0 && apart && counts.all(|count| count == Some(first))).then_some(first)
}

fn row_of(tensor: &Tensor, row: u64, rows: u64) -> Option<Tensor> {
    let shape = tensor.shape().get(1..)?.to_vec();
    if tensor.datatype().size().is_none() {
        let text = tensor.texts().nth(usize::try_from(row).ok()?)?;
        return Tensor::of_texts(&[text]).reshaped(shape).ok();
    }
    let size = tensor.data().len() / usize::try_from(rows).ok()?;
    let begin = size * usize::try_from(row).ok()?;
    Tensor::new(tensor.datatype(), shape, tensor.data().slice(begin..begin + size)).ok()
}

#[cfg(test)]
mod tests {
    use purlin_nn::{InferResponse, Tensor};
    use serde_json::{Value, json};

    use super::{Layout, encode};

    #[test]
    fn one_output_is_by_itself_and_several_have_their_names() {
        let floats = Tensor::of_floats(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let mut response = InferResponse { outputs: vec![("y".to_owned(), floats)], parameters: Vec::new() };
        let value = |response: &InferResponse, layout| -> Value {
            serde_json::from_slice(&encode("predictions", response, layout).unwrap()).unwrap()
        };
        assert_eq!(value(&response, Layout::Rows), json!({"predictions": [[1.0, 2.0], [3.0, 4.0]]}));
        response.outputs.push(("label".to_owned(), Tensor::of_texts(&["a", "b"])));
        assert_eq!(
            value(&response, Layout::Rows),
            json!({"predictions": [{"y": [1.0, 2.0], "label": "a"}, {"y": [3.0, 4.0], "label": "b"}]})
        );
        assert_eq!(
            value(&response, Layout::Columns),
            json!({"predictions": {"y": [[1.0, 2.0], [3.0, 4.0]], "label": ["a", "b"]}})
        );
    }
}
