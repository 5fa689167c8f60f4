//! Tensors as JSON text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};
use purlin_nn::{Datatype, Tensor};

/// What has no elements is written in at most so many arrays.
const EMPTY_ARRAYS: u64 = 4096;

/// A number that JSON has no word for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("for these inputs it has NaN or infinite values, which JSON cannot hold")]
pub(crate) struct NotFinite;

/// Appends a string with its quotes.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if !matches!(byte, b'"' | b'\\' | 0..0x20) {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(other >> 4)]);
                out.push(HEX[usize::from(other & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

/// Appends all elements as one flat array.
pub(crate) fn put_data(out: &mut Vec<u8>, tensor: &Tensor) -> Result<(), NotFinite> {
    out.push(b'[');
    let data = tensor.data();
    // About what a number takes, so that the text grows seldom.
    out.reserve(tensor.len().min(data.len() as u64) as usize * 8);
    if let Some(size) = tensor.datatype().size() {
        for (index, element) in data.chunks_exact(size).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_element(out, tensor.datatype(), element)?;
        }
    } else {
        for (index, content) in tensor.texts().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_bytes(out, content);
        }
    }
    out.push(b']');
    Ok(())
}

/// Appends the elements in arrays that are nested as the shape is.
pub(crate) fn put_nested(out: &mut Vec<u8>, tensor: &Tensor) -> Result<(), NotFinite> {
    let datatype = tensor.datatype();
    // A shape such as [4096, 4096, 4096, 0] has no elements and yet arrays without end.
    if tensor.is_empty() && empty_arrays(tensor.shape()).is_none_or(|arrays| arrays > EMPTY_ARRAYS) {
        out.extend_from_slice(b"[]");
        return Ok(());
    }
    match datatype.size() {
        Some(size) => {
            let mut elements = tensor.data().chunks_exact(size);
            nested(out, tensor.shape(), &mut |out| match elements.next() {
                Some(element) => put_element(out, datatype, element),
                None => Ok(()),
            })
        }
        None => {
            let mut texts = tensor.texts();
            nested(out, tensor.shape(), &mut |out| {
                put_bytes(out, texts.next().unwrap_or_default());
                Ok(())
            })
        }
    }
}

/// How many arrays a shape without elements has at its deepest; `None` where that cannot be counted.
fn empty_arrays(shape: &[u64]) -> Option<u64> {
    purlin_nn::tensor::elements(shape.split(|length| *length == 0).next().unwrap_or_default())
}

fn nested(
    out: &mut Vec<u8>,
    shape: &[u64],
    element: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), NotFinite>,
) -> Result<(), NotFinite> {
    let Some((length, inner)) = shape.split_first() else {
        return element(out);
    };
    out.push(b'[');
    for index in 0..*length {
        if index > 0 {
            out.push(b',');
        }
        nested(out, inner, element)?;
    }
    out.push(b']');
    Ok(())
}

#[inline]
fn put_element(out: &mut Vec<u8>, datatype: Datatype, element: &[u8]) -> Result<(), NotFinite> {
    fn array<const N: usize>(element: &[u8]) -> [u8; N] {
        element.try_into().unwrap_or([0; N])
    }
    match datatype {
        Datatype::Fp32 => put_real(out, f32::from_le_bytes(array(element)), f32::is_finite)?,
        Datatype::Fp64 => put_real(out, f64::from_le_bytes(array(element)), f64::is_finite)?,
        Datatype::Fp16 => put_real(out, f16::from_le_bytes(array(element)).to_f32(), f32::is_finite)?,
        Datatype::Bf16 => put_real(out, bf16::from_le_bytes(array(element)).to_f32(), f32::is_finite)?,
        Datatype::Bool => out.extend_from_slice(if element == [0] { b"false" } else { b"true" }),
        Datatype::Int8 => put_integer(out, i8::from_le_bytes(array(element))),
        Datatype::Int16 => put_integer(out, i16::from_le_bytes(array(element))),
        Datatype::Int32 => put_integer(out, i32::from_le_bytes(array(element))),
        Datatype::Int64 => put_integer(out, i64::from_le_bytes(array(element))),
        Datatype::Uint8 => put_integer(out, u8::from_le_bytes(array(element))),
        Datatype::Uint16 => put_integer(out, u16::from_le_bytes(array(element))),
        Datatype::Uint32 => put_integer(out, u32::from_le_bytes(array(element))),
        Datatype::Uint64 => put_integer(out, u64::from_le_bytes(array(element))),
        Datatype::Bytes => put_bytes(out, element),
    }
    Ok(())
}

fn put_real<F: zmij::Float + Copy>(
    out: &mut Vec<u8>,
    value: F,
    finite: fn(F) -> bool,
) -> Result<(), NotFinite> {
    if !finite(value) {
        return Err(NotFinite);
    }
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    Ok(())
}

fn put_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Text as a string; bytes that are no text in Base64, as V1 has them.
fn put_bytes(out: &mut Vec<u8>, content: &[u8]) {
    match std::str::from_utf8(content) {
        Ok(text) => put_string(out, text),
        Err(_) => {
            out.extend_from_slice(b"{\"b64\":\"");
            out.extend_from_slice(STANDARD.encode(content).as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use purlin_nn::{Datatype, Tensor};
    use serde_json::{Value, json};

    use super::{NotFinite, put_data, put_nested, put_string};

    fn nested(tensor: &Tensor) -> Value {
        let mut out = Vec::new();
        put_nested(&mut out, tensor).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn arrays_are_nested_as_the_shape_is() {
        let tensor = Tensor::of_floats(vec![2, 1, 2], &[1.0, 2.5, 3.0, 4.0]).unwrap();
        assert_eq!(nested(&tensor), json!([[[1.0, 2.5]], [[3.0, 4.0]]]));
        let single =
            Tensor::new(Datatype::Int64, vec![], Bytes::from_static(&[7, 0, 0, 0, 0, 0, 0, 0])).unwrap();
        assert_eq!(nested(&single), json!(7));
        let empty = Tensor::new(Datatype::Int64, vec![2, 0], Bytes::new()).unwrap();
        assert_eq!(nested(&empty), json!([[], []]));
        let wide = Tensor::new(Datatype::Int64, vec![4096, 4096, 4096, 0, 7], Bytes::new()).unwrap();
        assert_eq!(nested(&wide), json!([]));
        let countless = Tensor::new(Datatype::Int64, vec![0, u64::MAX, u64::MAX], Bytes::new()).unwrap();
        assert_eq!(nested(&countless), json!([]));
        let texts = Tensor::of_texts(&[b"\xff".as_slice(), b"a\"b"]);
        assert_eq!(nested(&texts), json!([{"b64": "/w=="}, "a\"b"]));
    }

    #[test]
    fn what_json_cannot_hold_is_an_error() {
        let tensor = Tensor::of_floats(vec![1], &[f32::NAN]).unwrap();
        assert_eq!(put_data(&mut Vec::new(), &tensor), Err(NotFinite));
    }

    proptest! {
        #[test]
        fn strings_come_back(text in any::<String>()) {
            let mut out = Vec::new();
            put_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn floats_come_back(values in proptest::collection::vec(any::<f32>(), 0..40)) {
            let values: Vec<f32> = values.into_iter().filter(|value| value.is_finite()).collect();
            let mut out = Vec::new();
            put_data(&mut out, &Tensor::of_floats(vec![values.len() as u64], &values).unwrap()).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Vec<f32>>(&out).unwrap(), values);
        }
    }
}
