//! Steps that move and scale rows. A table of FP32 stays one: after each operation it is rounded, as numpy does in place.

use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::math::dot;
use crate::model::{InputError, Transform};
use crate::registry::Step;

/// What is done to each column, with a number for each.
enum Operation {
    Subtract(Vec<f64>),
    Divide(Vec<f64>),
    Multiply(Vec<f64>),
    Add(Vec<f64>),
    /// Keeps what is between two numbers.
    Clip(f64, f64),
}

struct Columns(Vec<Operation>);

pub(crate) fn columns(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let vector = |name: &str| estimator.vector(name, columns);
    let mut operations = Vec::new();
    match estimator.class() {
        "StandardScaler" => {
            if estimator.flag("with_mean", true) {
                operations.push(Operation::Subtract(vector("mean_")?));
            }
            if estimator.flag("with_std", true) {
                operations.push(Operation::Divide(vector("scale_")?));
            }
        }
        "RobustScaler" => {
            if estimator.flag("with_centering", true) {
                operations.push(Operation::Subtract(vector("center_")?));
            }
            if estimator.flag("with_scaling", true) {
                operations.push(Operation::Divide(vector("scale_")?));
            }
        }
        "MaxAbsScaler" => {
            operations.push(Operation::Divide(vector("scale_")?));
            if estimator.flag("clip", false) {
                operations.push(Operation::Clip(-1.0, 1.0));
            }
        }
        _ => {
            operations.push(Operation::Multiply(vector("scale_")?));
            operations.push(Operation::Add(vector("min_")?));
            if estimator.flag("clip", false) {
                match estimator.floats("feature_range")?.as_slice() {
                    [low, high] if low <= high => operations.push(Operation::Clip(*low, *high)),
                    _ => return Err(estimator.wrong("feature_range", "it is no pair of numbers")),
                }
            }
        }
    }
    Ok((Box::new(Columns(operations)), columns))
}

impl Transform for Columns {
    fn takes_missing(&self) -> bool {
        true
    }

    fn transform(&self, mut table: Table) -> Result<Table, InputError> {
        let (columns, single) = (table.columns.max(1), table.single);
        for row in table.values.chunks_exact_mut(columns) {
            for operation in &self.0 {
                let each = |row: &mut [f64], numbers: &[f64], change: fn(f64, f64) -> f64| {
                    for (value, number) in row.iter_mut().zip(numbers) {
                        *value = change(*value, *number);
                    }
                };
                match operation {
                    Operation::Subtract(numbers) => each(row, numbers, |value, number| value - number),
                    Operation::Divide(numbers) => each(row, numbers, |value, number| value / number),
                    Operation::Multiply(numbers) => each(row, numbers, |value, number| value * number),
                    Operation::Add(numbers) => each(row, numbers, |value, number| value + number),
                    Operation::Clip(low, high) => {
                        row.iter_mut().for_each(|value| *value = value.clamp(*low, *high))
                    }
                }
                if single {
                    row.iter_mut().for_each(|value| *value = f64::from(*value as f32));
                }
            }
        }
        Ok(table)
    }
}

/// How long a row is.
#[derive(Clone, Copy)]
enum Norm {
    L1,
    L2,
    Most,
}

struct Normalizer(Norm);

pub(crate) fn normalizer(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let norm = match estimator.text("norm") {
        "l1" => Norm::L1,
        "l2" => Norm::L2,
        "max" => Norm::Most,
        other => return Err(estimator.unsupported(format!("norm={other:?}"))),
    };
    Ok((Box::new(Normalizer(norm)), columns))
}

impl Transform for Normalizer {
    fn transform(&self, mut table: Table) -> Result<Table, InputError> {
        let columns = table.columns.max(1);
        for row in table.values.chunks_exact_mut(columns) {
            let length = match self.0 {
                Norm::L1 => row.iter().map(|value| value.abs()).sum(),
                Norm::L2 => dot(row, row).sqrt(),
                Norm::Most => row.iter().fold(0.0_f64, |most, value| most.max(value.abs())),
            };
            // A row of zeros stays one.
            if length != 0.0 {
                row.iter_mut().for_each(|value| *value /= length);
            }
        }
        Ok(if table.single { table.rounded() } else { table })
    }
}

struct Binarizer(f64);

pub(crate) fn binarizer(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    Ok((Box::new(Binarizer(estimator.number("threshold")?)), columns))
}

impl Transform for Binarizer {
    fn transform(&self, mut table: Table) -> Result<Table, InputError> {
        for value in &mut table.values {
            *value = f64::from(u8::from(*value > self.0));
        }
        Ok(table)
    }
}

/// Rows in terms of other axes.
struct Projection {
    axes: Table,
    /// What the middle is along each axis.
    offsets: Vec<f64>,
    /// What each is divided by.
    scales: Option<Vec<f64>>,
}

pub(crate) fn projection(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let axes = estimator.matrix("components_", columns)?;
    let (mut offsets, mut scales) = (vec![0.0; axes.len()], None);
    if estimator.class() == "PCA" {
        let mean = estimator.vector("mean_", columns)?;
        offsets = axes.rows().map(|axis| dot(&mean, axis)).collect();
        if estimator.flag("whiten", false) {
            let variances = estimator.vector("explained_variance_", axes.len())?;
            scales = Some(variances.into_iter().map(|variance| variance.sqrt().max(f64::EPSILON)).collect());
        }
    }
    let after = axes.len();
    if after == 0 {
        return Err(estimator.wrong("components_", "there are none"));
    }
    Ok((Box::new(Projection { axes, offsets, scales }), after))
}

impl Transform for Projection {
    fn transform(&self, table: Table) -> Result<Table, InputError> {
        let mut values = Vec::with_capacity(table.len() * self.offsets.len());
        for row in table.rows() {
            let start = values.len();
            values.extend(self.axes.rows().zip(&self.offsets).map(|(axis, offset)| dot(row, axis) - offset));
            if let Some(scales) = &self.scales {
                values[start..].iter_mut().zip(scales).for_each(|(value, scale)| *value /= scale);
            }
        }
        Ok(Table { columns: self.offsets.len(), values, single: table.single })
    }
}
