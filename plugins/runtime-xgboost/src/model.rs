//! Rows to answers.

use purlin_tabular::{Answer, Columns, ModelError, Table, Values};
use purlin_trees::Forest;

use crate::learner;
use crate::objective::Objective;

/// A model of XGBoost. Numbers are rounded to FP32 and summed in it, tree by tree, as the library does.
pub struct Booster {
    pub(crate) columns: Columns,
    pub(crate) objective: Objective,
    /// What each sum starts from; there are as many as classes or targets.
    pub(crate) margins: Vec<f32>,
    pub(crate) machine: Machine,
}

/// What makes the sums.
pub(crate) enum Machine {
    Trees {
        forest: Forest,
        /// What each leaf is worth.
        values: Vec<f32>,
        /// The sum that each tree is for.
        groups: Vec<usize>,
        /// What a tree's leaves are multiplied with, where trees were dropped in training.
        weights: Option<Vec<f32>>,
    },
    Linear {
        /// For each feature one for each sum, and then the biases.
        weights: Vec<f32>,
    },
}

impl Booster {
    /// Reads a model in JSON or UBJSON.
    ///
    /// # Errors
    /// The content is neither, or has a booster or objective that is not known.
    pub fn read(content: &[u8]) -> Result<Booster, ModelError> {
        learner::read(content)
    }

    /// What it takes.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Numbers in the answer for a row, where there are several.
    pub fn width(&self) -> Option<usize> {
        let groups = self.margins.len();
        (groups > 1 && self.objective != Objective::Softmax).then_some(groups)
    }

    /// The answer for each row.
    pub fn predict(&self, table: Table) -> Answer {
        let table = table.rounded();
        let groups = self.margins.len();
        let mut sums = self.margins.repeat(table.len());
        match &self.machine {
            Machine::Trees { forest, values, groups: of_tree, weights } => {
                // Tree by tree: a tree stays in the cache for all rows.
                for (tree, group) in of_tree.iter().enumerate() {
                    let weight = weights.as_ref().map_or(1.0, |weights| weights[tree]);
                    for (row, sums) in table.rows().zip(sums.chunks_exact_mut(groups)) {
                        sums[*group] += values[forest.leaf(tree, row)] * weight;
                    }
                }
            }
            Machine::Linear { weights } => {
                for (row, sums) in table.rows().zip(sums.chunks_exact_mut(groups)) {
                    linear(weights, row, sums);
                }
            }
        }
        for sums in sums.chunks_exact_mut(groups) {
            self.objective.convert(sums);
        }
        match self.objective {
            Objective::Softmax => {
                Answer::column(Values::Singles(sums.chunks_exact(groups).map(|sums| sums[0]).collect()))
            }
            _ => Answer { values: Values::Singles(sums), width: self.width() },
        }
    }
}

/// Adds the bias and then feature by feature; what is missing adds nothing.
fn linear(weights: &[f32], row: &[f64], sums: &mut [f32]) {
    let groups = sums.len();
    let biases = &weights[row.len() * groups..];
    for (group, sum) in sums.iter_mut().enumerate() {
        *sum += biases[group];
        for (feature, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            *sum += *value as f32 * weights[feature * groups + group];
        }
    }
}
