//! Steps that keep some of the columns.

use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::model::{InputError, Transform};
use crate::registry::Step;

/// The columns that are kept.
pub(crate) struct Kept(pub(crate) Vec<usize>);

pub(crate) fn features(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let kept: Vec<usize> = match estimator.class() {
        "VarianceThreshold" => {
            let (variances, threshold) =
                (estimator.vector("variances_", columns)?, estimator.number("threshold")?);
            (0..columns).filter(|column| variances[*column] > threshold).collect()
        }
        "SelectKBest" => best(estimator, columns)?,
        "RFE" | "RFECV" => {
            let support = estimator.vector("support_", columns)?;
            (0..columns).filter(|column| support[*column] != 0.0).collect()
        }
        _ => important(estimator, columns)?,
    };
    if kept.is_empty() {
        return Err(estimator.wrong("scores_", "no column is kept"));
    }
    let after = kept.len();
    Ok((Box::new(Kept(kept)), after))
}

/// Those with the largest scores; of equal ones the last.
fn best(estimator: &Estimator<'_>, columns: usize) -> Result<Vec<usize>, ModelError> {
    if estimator.text("k") == "all" {
        return Ok((0..columns).collect());
    }
    let (scores, count) = (estimator.vector("scores_", columns)?, estimator.count("k")?);
    let mut order: Vec<usize> = (0..columns).collect();
    let score = |column: usize| if scores[column].is_nan() { f64::MIN } else { scores[column] };
    order.sort_by(|left, right| score(*left).total_cmp(&score(*right)));
    let mut kept = order.split_off(columns.saturating_sub(count));
    kept.sort_unstable();
    Ok(kept)
}

/// Those that the estimator within gives the most weight.
fn important(estimator: &Estimator<'_>, columns: usize) -> Result<Vec<usize>, ModelError> {
    let inner = estimator.child("estimator_")?;
    if inner.find("coef_").is_none() || estimator.find("max_features").is_some() {
        return Err(estimator.unsupported("an estimator whose importances are computed, or max_features"));
    }
    let weights = inner.matrix("coef_", columns)?;
    if weights.len() != 1 {
        return Err(estimator.unsupported("weights of several classes"));
    }
    let importances: Vec<f64> = weights.values.iter().map(|weight| weight.abs()).collect();
    let sparse =
        matches!(inner.class(), "Lasso" | "LassoCV" | "ElasticNetCV") || inner.text("penalty") == "l1";
    let threshold = match estimator.find("threshold") {
        None if sparse => 1e-5,
        None => importances.iter().sum::<f64>() / columns as f64,
        Some(threshold) => match threshold.number() {
            Some(threshold) => threshold,
            None if threshold.text() == Some("mean") => importances.iter().sum::<f64>() / columns as f64,
            None => return Err(estimator.unsupported("a threshold other than a number or the mean")),
        },
    };
    Ok((0..columns).filter(|column| importances[*column] >= threshold).collect())
}

impl Transform for Kept {
    fn takes_missing(&self) -> bool {
        true
    }

    fn transform(&self, table: Table) -> Result<Table, InputError> {
        let mut values = Vec::with_capacity(table.len() * self.0.len());
        for row in table.rows() {
            values.extend(self.0.iter().map(|column| row[*column]));
        }
        Ok(Table { columns: self.0.len(), values, single: table.single })
    }
}
