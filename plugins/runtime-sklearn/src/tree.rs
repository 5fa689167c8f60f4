//! Decision trees, and forests that average them. Inputs are rounded to FP32 and compared with thresholds of FP64, as
//! scikit-learn does.

use purlin_tabular::{ModelError, Table};
use purlin_trees::{Branch, Child, Forest, Missing, Test};

use crate::attributes::Estimator;
use crate::math::{largest, normalize};
use crate::model::{Classify, Predictor, Regress};

/// Trees of which each leaf has as many numbers.
pub(crate) struct Trees {
    pub(crate) forest: Forest,
    /// The numbers of all leaves.
    pub(crate) values: Vec<f64>,
    /// Numbers of a leaf.
    pub(crate) width: usize,
}

impl Trees {
    pub(crate) fn new(columns: usize, width: usize) -> Self {
        Trees { forest: Forest::new(columns), values: Vec::new(), width }
    }

    /// Adds the fitted tree of an estimator.
    pub(crate) fn add(&mut self, estimator: &Estimator<'_>) -> Result<(), ModelError> {
        let tree = estimator.child("tree_")?;
        let nodes = tree.get("nodes")?;
        let fail = |error: purlin_pickle::Error| tree.wrong("nodes", error.to_string());
        let left = nodes.field_integers("left_child").map_err(fail)?;
        let right = nodes.field_integers("right_child").map_err(fail)?;
        let features = nodes.field_integers("feature").map_err(fail)?;
        let thresholds = nodes.field_floats("threshold").map_err(fail)?;
        // Trees from before 1.3 were not asked about missing values.
        let missing_left = nodes.field_integers("missing_go_to_left").unwrap_or_else(|_| vec![0; left.len()]);
        let values = tree.vector("values", left.len().saturating_mul(self.width))?;
        let (mut children, mut branches, mut leaves) = (Vec::with_capacity(left.len()), 0, 0);
        for (index, left) in left.iter().enumerate() {
            children.push(if *left < 0 {
                self.values.extend_from_slice(&values[index * self.width..(index + 1) * self.width]);
                leaves += 1;
                Child::Leaf(leaves - 1)
            } else {
                branches += 1;
                Child::Branch(branches - 1)
            });
        }
        let child = |node: i64| {
            let found = usize::try_from(node).ok().and_then(|node| children.get(node)).copied();
            found.ok_or_else(|| tree.wrong("nodes", format!("there is no node {node}")))
        };
        let mut found = Vec::with_capacity(branches);
        for (index, left) in left.iter().enumerate().filter(|(_, left)| **left >= 0) {
            found.push(Branch {
                feature: usize::try_from(features[index]).unwrap_or(usize::MAX),
                test: Test::UpTo(thresholds[index]),
                missing: if missing_left[index] != 0 { Missing::Left } else { Missing::Right },
                left: child(*left)?,
                right: child(right[index])?,
            });
        }
        let added = self.forest.add(child(0)?, &found, leaves);
        added.map_err(|error| tree.wrong("nodes", error.to_string()))
    }

    /// The numbers of the leaf that a row ends in.
    pub(crate) fn leaf(&self, tree: usize, row: &[f64]) -> &[f64] {
        let leaf = self.forest.leaf(tree, row);
        &self.values[leaf * self.width..(leaf + 1) * self.width]
    }

    /// The mean of all trees, row by row.
    fn mean(&self, table: &Table) -> Vec<f64> {
        let table = table.clone().rounded();
        let mut sums = vec![0.0; table.len() * self.width];
        // Tree by tree: a tree stays in the cache for all rows, and sums are made in the order of the trees.
        for tree in 0..self.forest.trees() {
            for (row, sums) in table.rows().zip(sums.chunks_exact_mut(self.width)) {
                for (sum, value) in sums.iter_mut().zip(self.leaf(tree, row)) {
                    *sum += value;
                }
            }
        }
        let trees = self.forest.trees() as f64;
        sums.iter_mut().for_each(|sum| *sum /= trees);
        sums
    }
}

/// The trees of a forest, or of a single tree.
fn trees(estimator: &Estimator<'_>, columns: usize, width: usize) -> Result<Trees, ModelError> {
    let mut trees = Trees::new(columns, width);
    if estimator.find("tree_").is_some() {
        trees.add(estimator)?;
    } else {
        for tree in estimator.children("estimators_")? {
            trees.add(&tree)?;
        }
    }
    if trees.forest.trees() == 0 {
        return Err(estimator.wrong("estimators_", "there are no trees"));
    }
    Ok(trees)
}

/// Outputs of an estimator of trees.
fn outputs(estimator: &Estimator<'_>) -> usize {
    estimator.find("n_outputs_").and_then(|count| usize::try_from(count.integer()?).ok()).unwrap_or(1)
}

struct Classes(Trees);

pub(crate) fn classifier(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    if outputs(estimator) != 1 {
        return Err(estimator.unsupported("several outputs"));
    }
    let classes = estimator.classes()?;
    let mut trees = trees(estimator, columns, classes.len())?;
    // Before 1.3 a leaf had the weights of its classes, since then their shares.
    if estimator.version() < (1, 3) {
        trees.values.chunks_exact_mut(trees.width).for_each(normalize);
    }
    Ok(Predictor::Classifier { classes, model: Box::new(Classes(trees)) })
}

impl Classify for Classes {
    fn takes_missing(&self) -> bool {
        true
    }

    fn decide(&self, table: &Table) -> Vec<usize> {
        self.0.mean(table).chunks_exact(self.0.width).map(largest).collect()
    }

    fn probabilities(&self, table: &Table) -> Vec<f64> {
        self.0.mean(table)
    }
}

struct Numbers {
    trees: Trees,
    several: bool,
}

pub(crate) fn regressor(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let outputs = outputs(estimator);
    if outputs == 0 {
        return Err(estimator.wrong("n_outputs_", "there are none"));
    }
    let trees = trees(estimator, columns, outputs)?;
    Ok(Predictor::Regressor(Box::new(Numbers { trees, several: outputs > 1 })))
}

impl Regress for Numbers {
    fn takes_missing(&self) -> bool {
        true
    }

    fn width(&self) -> Option<usize> {
        self.several.then_some(self.trees.width)
    }

    fn values(&self, table: &Table) -> Vec<f64> {
        self.trees.mean(table)
    }
}
