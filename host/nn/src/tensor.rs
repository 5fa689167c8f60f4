//! A tensor as the Open Inference Protocol knows it: a datatype, a shape and the elements in row-major order.
//!
//! The elements are little-endian, as the protocol's binary extension sends them, so that a request's bytes become a
//! tensor without being copied. An element of [`Datatype::Bytes`] is its length in four bytes and then its content.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// The type of a tensor's elements, by the names of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE 754, 16 bits.
    Fp16,
    /// bfloat16.
    Bf16,
    /// IEEE 754, 32 bits.
    Fp32,
    /// IEEE 754, 64 bits.
    Fp64,
    /// Bytes or text of any length.
    Bytes,
}

impl Datatype {
    /// Every datatype.
    pub const ALL: &[Datatype] = &[
        Datatype::Bool,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Fp16,
        Datatype::Bf16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bytes,
    ];

    /// The name in the protocol, such as `FP32`.
    pub fn as_str(self) -> &'static str {
        match self {
            Datatype::Bool => "BOOL",
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

    /// Bytes of one element; `None` for [`Datatype::Bytes`], whose elements have a length each.
    pub fn size(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Datatype {
    type Err = TensorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Datatype::ALL.iter().find(|datatype| datatype.as_str() == text);
        known.copied().ok_or_else(|| TensorError::UnknownDatatype(text.to_owned()))
    }
}

/// The size of each dimension, outermost first; empty for a single value.
pub type Shape = Vec<u64>;

/// A tensor. Clones share the elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    datatype: Datatype,
    shape: Shape,
    data: Bytes,
}

/// Why something is no tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// No datatype has this name.
    #[error(
        "datatype {0:?} is none of the protocol's (BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64, BYTES)"
    )]
    UnknownDatatype(String),
    /// The elements are more or fewer than the shape says.
    #[error("shape {shape:?} has {expected} elements of {datatype}, the data has {found}")]
    WrongCount {
        /// Of the tensor.
        datatype: Datatype,
        /// Of the tensor.
        shape: Shape,
        /// How many elements the shape has; `u64::MAX` where that is more than can be counted.
        expected: u64,
        /// How many there are, in elements or, where they are no whole number of them, in bytes.
        found: String,
    },
    /// The lengths within elements of `BYTES` do not fit the data.
    #[error("element {0} of the BYTES data is cut off")]
    Truncated(u64),
}

impl Tensor {
    /// A tensor of elements in the form that the module describes.
    ///
    /// # Errors
    /// The data are not as many elements as the shape says.
    pub fn new(datatype: Datatype, shape: Shape, data: Bytes) -> Result<Tensor, TensorError> {
        let expected = elements(&shape);
        let wrong = |found| TensorError::WrongCount {
            datatype,
            shape: shape.clone(),
            expected: expected.unwrap_or(u64::MAX),
            found,
        };
        match datatype.size() {
            Some(size) => {
                let right = expected.and_then(|count| count.checked_mul(size as u64));
                if right != Some(data.len() as u64) {
                    let found = match data.len() % size {
                        0 => (data.len() / size).to_string(),
                        _ => format!("{} bytes", data.len()),
                    };
                    return Err(wrong(found));
                }
            }
            None => {
                let count = count_bytes_elements(&data)?;
                if expected != Some(count) {
                    return Err(wrong(count.to_string()));
                }
            }
        }
        Ok(Tensor { datatype, shape, data })
    }

    /// A tensor of [`Datatype::Bytes`] of one dimension.
    pub fn of_texts<T: AsRef<[u8]>>(texts: &[T]) -> Tensor {
        let mut data = Vec::with_capacity(texts.iter().map(|text| text.as_ref().len() + 4).sum());
        for text in texts {
            put_bytes_element(&mut data, text.as_ref());
        }
        Tensor { datatype: Datatype::Bytes, shape: vec![texts.len() as u64], data: data.into() }
    }

    /// A tensor of [`Datatype::Fp32`].
    ///
    /// # Errors
    /// The values are not as many as the shape says.
    pub fn of_floats(shape: Shape, values: &[f32]) -> Result<Tensor, TensorError> {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor::new(Datatype::Fp32, shape, data.into())
    }

    /// The type of the elements.
    pub fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The elements, little-endian and in row-major order.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Shape and elements, without a copy.
    pub fn into_parts(self) -> (Datatype, Shape, Bytes) {
        (self.datatype, self.shape, self.data)
    }

    /// How many elements there are.
    pub fn len(&self) -> u64 {
        elements(&self.shape).unwrap_or(u64::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contents of a tensor of [`Datatype::Bytes`]; nothing for other datatypes.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = if self.datatype == Datatype::Bytes { &self.data } else { &[] };
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (content, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(content)
        })
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// The shape has another number of elements.
    pub fn reshaped(self, shape: Shape) -> Result<Tensor, TensorError> {
        if elements(&shape) == elements(&self.shape) {
            return Ok(Tensor { shape, ..self });
        }
        let (expected, found) = (elements(&shape).unwrap_or(u64::MAX), self.len().to_string());
        Err(TensorError::WrongCount { datatype: self.datatype, shape, expected, found })
    }
}

/// How many elements a shape has; `None` where that cannot be counted.
pub fn elements(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size))
}

/// Appends an element of [`Datatype::Bytes`]. Its length must fit in 32 bits, which the limits on requests see to; what is
/// longer is cut.
pub fn put_bytes_element(data: &mut Vec<u8>, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(&content[..length as usize]);
}

fn count_bytes_elements(data: &[u8]) -> Result<u64, TensorError> {
    let (mut rest, mut count) = (data, 0);
    while !rest.is_empty() {
        let behind = rest
            .split_first_chunk::<4>()
            .and_then(|(length, behind)| behind.get(u32::from_le_bytes(*length) as usize..));
        rest = behind.ok_or(TensorError::Truncated(count))?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::{Datatype, Tensor, TensorError};

    #[test]
    fn a_tensor_has_as_many_elements_as_its_shape_says() {
        let three = bytes::Bytes::from_static(&[0; 12]);
        assert!(Tensor::new(Datatype::Fp32, vec![3], three.clone()).is_ok());
        assert!(Tensor::new(Datatype::Fp32, vec![3, 1], three.clone()).is_ok());
        let wrong = Tensor::new(Datatype::Fp32, vec![4], three.clone()).unwrap_err();
        assert_eq!(wrong.to_string(), "shape [4] has 4 elements of FP32, the data has 3");
        let cut = Tensor::new(Datatype::Fp64, vec![1], three.clone()).unwrap_err();
        assert_eq!(cut.to_string(), "shape [1] has 1 elements of FP64, the data has 12 bytes");
        assert!(Tensor::new(Datatype::Fp32, vec![u64::MAX, u64::MAX], three).is_err());
    }

    #[test]
    fn texts_come_back_as_they_were() {
        let tensor = Tensor::of_texts(&["Where is", "", "Eiffel Tower?"]);
        assert_eq!(tensor.shape(), [3]);
        let texts: Vec<_> = tensor.texts().collect();
        assert_eq!(texts, [b"Where is".as_slice(), b"", b"Eiffel Tower?"]);
        let cut = tensor.data().slice(..tensor.data().len() - 1);
        assert_eq!(Tensor::new(Datatype::Bytes, vec![3], cut), Err(TensorError::Truncated(2)));
    }

    #[test]
    fn every_datatype_is_read_by_its_name() {
        for datatype in Datatype::ALL {
            assert_eq!(datatype.as_str().parse(), Ok(*datatype));
        }
        assert!("fp32".parse::<Datatype>().is_err());
    }
}
