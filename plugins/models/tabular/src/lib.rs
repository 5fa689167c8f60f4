//! Requests with rows of numbers, as KServe's servers for scikit-learn, XGBoost and LightGBM take them: one tensor of rows
//! and columns under any name, or a tensor for each column. Answers are one tensor, `output-0`, as these servers give it.
//!
//! [`Table`] and [`Answer`] are plain data, so that a model can be tested without a host.
#![forbid(unsafe_code)]

mod answer;
mod error;
mod source;
mod table;

pub use crate::answer::{Answer, Values};
pub use crate::error::ModelError;
pub use crate::source::{content, only_file};
pub use crate::table::{Columns, Table};

use purlin_sdk::{Datatype, ModelMetadata, Tasks, TensorInfo};

/// The name under which the rows are announced.
pub const INPUT: &str = "input-0";

/// The name of the answer.
pub const OUTPUT: &str = "output-0";

/// What a model of tables says of itself. `width` is how many numbers the answer has for a row; `None` for a single one
/// that has no dimension of its own.
pub fn metadata(
    platform: &str,
    columns: &Columns,
    input: Datatype,
    output: Datatype,
    width: Option<usize>,
) -> ModelMetadata {
    let size = |count: usize| i64::try_from(count).unwrap_or(-1);
    let shape: Vec<i64> = std::iter::once(-1).chain(width.map(size)).collect();
    ModelMetadata {
        platform: platform.to_owned(),
        inputs: vec![TensorInfo::new(INPUT, input, &[-1, size(columns.count)])],
        outputs: vec![TensorInfo::new(OUTPUT, output, &shape)],
        tasks: Tasks::INFER,
        batchable: true,
    }
}
