//! Tensors. They lie on the host: handing one on moves a number, [`data`](Tensor::data) copies its elements.

use crate::{Fault, fault};

pub use crate::bindings::inference::purlin::plugin::tensors::{Datatype, NamedTensor, Tensor, TensorInfo};

impl NamedTensor {
    /// A tensor under a name.
    pub fn new(name: impl Into<String>, value: Tensor) -> Self {
        NamedTensor { name: name.into(), value }
    }
}

impl TensorInfo {
    /// An input or output; -1 stands for a dimension that a request chooses.
    pub fn new(name: impl Into<String>, datatype: Datatype, shape: &[i64]) -> Self {
        TensorInfo { name: name.into(), datatype, shape: shape.to_vec() }
    }
}

impl Datatype {
    /// The name in the Open Inference Protocol.
    pub fn name(self) -> &'static str {
        match self {
            Datatype::Boolean => "BOOL",
            Datatype::Uint8 => "UINT8",
            Datatype::Uint16 => "UINT16",
            Datatype::Uint32 => "UINT32",
            Datatype::Uint64 => "UINT64",
            Datatype::Int8 => "INT8",
            Datatype::Int16 => "INT16",
            Datatype::Int32 => "INT32",
            Datatype::Int64 => "INT64",
            Datatype::Fp16 => "FP16",
            Datatype::Bf16 => "BF16",
            Datatype::Fp32 => "FP32",
            Datatype::Fp64 => "FP64",
            Datatype::Bytes => "BYTES",
        }
    }
}

/// A tensor of FP32.
///
/// # Errors
/// The values are not as many as the shape says, or the plugin holds too many tensors.
pub fn floats(shape: &[u64], values: &[f32]) -> Result<Tensor, Fault> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::make(Datatype::Fp32, shape, &data).map_err(Fault::Failed)
}

/// A tensor of FP64.
///
/// # Errors
/// The values are not as many as the shape says, or the plugin holds too many tensors.
pub fn doubles(shape: &[u64], values: &[f64]) -> Result<Tensor, Fault> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::make(Datatype::Fp64, shape, &data).map_err(Fault::Failed)
}

/// A tensor of INT64.
///
/// # Errors
/// The values are not as many as the shape says, or the plugin holds too many tensors.
pub fn integers(shape: &[u64], values: &[i64]) -> Result<Tensor, Fault> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::make(Datatype::Int64, shape, &data).map_err(Fault::Failed)
}

/// A tensor of BYTES of one dimension.
///
/// # Errors
/// The plugin holds too many tensors.
pub fn texts<T: AsRef<[u8]>>(values: &[T]) -> Result<Tensor, Fault> {
    Tensor::make(Datatype::Bytes, &[values.len() as u64], &framed(values)).map_err(Fault::Failed)
}

/// The elements of a tensor of BYTES: each content behind its length. A content of 4 GiB or more is cut there.
pub fn framed<T: AsRef<[u8]>>(values: &[T]) -> Vec<u8> {
    let mut data = Vec::new();
    for value in values {
        let value = value.as_ref();
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        data.extend_from_slice(&length.to_le_bytes());
        data.extend_from_slice(&value[..length as usize]);
    }
    data
}

/// The elements of a numeric tensor as numbers. `field` names the tensor where it is not numeric.
///
/// # Errors
/// The tensor is of BYTES.
pub fn numbers(tensor: &Tensor, field: &str) -> Result<Vec<f64>, Fault> {
    of_bytes(tensor.datatype(), &tensor.data(), field)
}

/// [`numbers`], from the elements themselves.
///
/// # Errors
/// The datatype is BYTES.
pub fn of_bytes(datatype: Datatype, data: &[u8], field: &str) -> Result<Vec<f64>, Fault> {
    fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
    }
    Ok(match datatype {
        Datatype::Boolean | Datatype::Uint8 => each(data, |[byte]: [u8; 1]| f64::from(byte)),
        Datatype::Int8 => each(data, |chunk| f64::from(i8::from_le_bytes(chunk))),
        Datatype::Uint16 => each(data, |chunk| f64::from(u16::from_le_bytes(chunk))),
        Datatype::Int16 => each(data, |chunk| f64::from(i16::from_le_bytes(chunk))),
        Datatype::Uint32 => each(data, |chunk| f64::from(u32::from_le_bytes(chunk))),
        Datatype::Int32 => each(data, |chunk| f64::from(i32::from_le_bytes(chunk))),
        Datatype::Uint64 => each(data, |chunk| u64::from_le_bytes(chunk) as f64),
        Datatype::Int64 => each(data, |chunk| i64::from_le_bytes(chunk) as f64),
        Datatype::Fp32 => each(data, |chunk| f64::from(f32::from_le_bytes(chunk))),
        Datatype::Fp64 => each(data, f64::from_le_bytes),
        Datatype::Fp16 => each(data, |chunk| half(u16::from_le_bytes(chunk))),
        // The upper half of an FP32.
        Datatype::Bf16 => each(data, |[low, high]: [u8; 2]| f64::from(f32::from_le_bytes([0, 0, low, high]))),
        Datatype::Bytes => {
            let reason = "this model takes numbers; send FP32 or FP64";
            return Err(fault::invalid(format!("{field}.datatype"), datatype.name(), reason));
        }
    })
}

/// A number of IEEE 754's binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2.0_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
    }
}

/// The elements of a tensor of BYTES.
pub fn contents(tensor: &Tensor) -> Vec<Vec<u8>> {
    let data = tensor.data();
    let (mut rest, mut found) = (data.as_slice(), Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = (u32::from_le_bytes(*length) as usize).min(behind.len());
        let (content, behind) = behind.split_at(length);
        found.push(content.to_vec());
        rest = behind;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Datatype, framed, of_bytes};

    #[test]
    fn numbers_of_16_bits_are_read() {
        let cases = [
            (Datatype::Fp16, 0x3c00, 1.0),
            (Datatype::Fp16, 0xc000, -2.0),
            (Datatype::Fp16, 0x7bff, 65504.0),
            (Datatype::Fp16, 0x0001, 2.0_f64.powi(-24)),
            (Datatype::Fp16, 0x7c00, f64::INFINITY),
            (Datatype::Bf16, 0x3f80, 1.0),
            (Datatype::Bf16, 0xc2f7, -123.5),
        ];
        for (datatype, bits, expected) in cases {
            let found = of_bytes(datatype, &u16::to_le_bytes(bits), "inputs[0]").expect("a number");
            assert_eq!(found, [expected], "{datatype:?} {bits:#x}");
        }
        assert!(of_bytes(Datatype::Fp16, &[1, 0x7c], "x").is_ok_and(|found| found[0].is_nan()));
        assert!(of_bytes(Datatype::Bytes, &[], "x").is_err());
    }

    #[test]
    fn texts_stand_behind_their_lengths() {
        assert_eq!(framed(&["ab", ""]), [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0]);
    }
}
