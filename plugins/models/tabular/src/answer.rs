//! What a model answers.

use purlin_sdk::{Datatype, Fault, InferResponse, NamedTensor, Tensor, tensor};

use crate::OUTPUT;

/// The elements of an answer, in the type that the original library gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// FP32
    Singles(Vec<f32>),
    /// FP64
    Doubles(Vec<f64>),
    /// INT32
    Shorts(Vec<i32>),
    /// INT64
    Integers(Vec<i64>),
    /// BOOL
    Truths(Vec<bool>),
    /// BYTES
    Texts(Vec<String>),
}

impl Values {
    /// Their type in the protocol.
    pub fn datatype(&self) -> Datatype {
        match self {
            Values::Singles(_) => Datatype::Fp32,
            Values::Doubles(_) => Datatype::Fp64,
            Values::Shorts(_) => Datatype::Int32,
            Values::Integers(_) => Datatype::Int64,
            Values::Truths(_) => Datatype::Boolean,
            Values::Texts(_) => Datatype::Bytes,
        }
    }

    /// Those at the given places, in that order.
    ///
    /// # Panics
    /// There is no such place.
    pub fn pick(&self, places: &[usize]) -> Values {
        fn pick<T: Clone>(values: &[T], places: &[usize]) -> Vec<T> {
            places.iter().map(|place| values[*place].clone()).collect()
        }
        match self {
            Values::Singles(values) => Values::Singles(pick(values, places)),
            Values::Doubles(values) => Values::Doubles(pick(values, places)),
            Values::Shorts(values) => Values::Shorts(pick(values, places)),
            Values::Integers(values) => Values::Integers(pick(values, places)),
            Values::Truths(values) => Values::Truths(pick(values, places)),
            Values::Texts(values) => Values::Texts(pick(values, places)),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Values::Singles(values) => values.len(),
            Values::Doubles(values) => values.len(),
            Values::Shorts(values) => values.len(),
            Values::Integers(values) => values.len(),
            Values::Truths(values) => values.len(),
            Values::Texts(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Values::Singles(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::Doubles(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::Shorts(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::Integers(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::Truths(values) => values.iter().map(|value| u8::from(*value)).collect(),
            Values::Texts(values) => tensor::framed(values),
        }
    }
}

/// An answer: so many elements for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// All elements, row by row.
    pub values: Values,
    /// How many there are for a row; `None` for one that has no dimension of its own.
    pub width: Option<usize>,
}

impl Answer {
    /// One element for each row.
    pub fn column(values: Values) -> Self {
        Answer { values, width: None }
    }

    /// So many elements for each row, in a dimension of their own.
    pub fn rows(values: Values, width: usize) -> Self {
        Answer { values, width: Some(width) }
    }

    /// The response with this one output.
    ///
    /// # Errors
    /// The host holds no more tensors.
    pub fn into_response(self, rows: usize) -> Result<InferResponse, Fault> {
        let shape: Vec<u64> =
            std::iter::once(rows as u64).chain(self.width.map(|width| width as u64)).collect();
        let output = Tensor::make(self.values.datatype(), &shape, &self.values.bytes());
        let output = NamedTensor::new(OUTPUT, output.map_err(Fault::Failed)?);
        Ok(InferResponse { outputs: vec![output], parameters: Vec::new() })
    }
}
