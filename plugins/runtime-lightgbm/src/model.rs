//! Rows to answers.

use purlin_tabular::{Answer, Columns, ModelError, Table, Values};
use purlin_trees::Forest;

use crate::objective::Objective;
use crate::text;

/// A model of LightGBM. Sums are made in FP64, tree by tree, as the library makes them.
pub struct Booster {
    pub(crate) columns: Columns,
    pub(crate) forest: Forest,
    /// What each leaf is worth.
    pub(crate) values: Vec<f64>,
    /// The linear model of each leaf; empty where no tree has any.
    pub(crate) linear: Vec<Option<Linear>>,
    /// Trees that are trained together, each for a sum of its own.
    pub(crate) per_iteration: usize,
    /// Whether the trees are averaged, as a random forest.
    pub(crate) averaged: bool,
    pub(crate) objective: Objective,
}

/// A leaf that is a linear model of the row.
pub(crate) struct Linear {
    pub(crate) constant: f64,
    /// Features and their factors.
    pub(crate) terms: Vec<(usize, f64)>,
}

impl Linear {
    /// `None` where a feature is missing, for which the leaf has a value.
    fn value(&self, row: &[f64]) -> Option<f64> {
        let add = |sum: f64, (feature, factor): &(usize, f64)| {
            let value = row[*feature];
            (!value.is_nan()).then_some(sum + factor * value)
        };
        self.terms.iter().try_fold(self.constant, add)
    }
}

impl Booster {
    /// Reads a model in LightGBM's text format.
    ///
    /// # Errors
    /// The content is no such model, or has an objective that is not known.
    pub fn read(content: &[u8]) -> Result<Booster, ModelError> {
        text::read(content)
    }

    /// What it takes.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Numbers in the answer for a row, where there are several.
    pub fn width(&self) -> Option<usize> {
        (self.per_iteration > 1).then_some(self.per_iteration)
    }

    /// The answer for each row.
    pub fn predict(&self, table: &Table) -> Answer {
        let width = self.per_iteration;
        let mut sums = vec![0.0; table.len() * width];
        // Tree by tree: a tree stays in the cache for all rows, and each sum is still made in the order of the trees.
        for tree in 0..self.forest.trees() {
            for (row, sums) in table.rows().zip(sums.chunks_exact_mut(width)) {
                sums[tree % width] += self.leaf(self.forest.leaf(tree, row), row);
            }
        }
        let iterations = self.forest.trees() / width;
        for sums in sums.chunks_exact_mut(width) {
            if self.averaged && iterations > 0 {
                for sum in sums.iter_mut() {
                    *sum /= iterations as f64;
                }
            }
            self.objective.convert(sums);
        }
        Answer { values: Values::Doubles(sums), width: self.width() }
    }

    fn leaf(&self, leaf: usize, row: &[f64]) -> f64 {
        let linear = self.linear.get(leaf).and_then(Option::as_ref);
        linear.and_then(|linear| linear.value(row)).unwrap_or(self.values[leaf])
    }
}
