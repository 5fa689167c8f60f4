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

/// The nodes of a fitted tree, a column for each of their fields.
pub(crate) struct Nodes {
    /// Whether a node is a leaf; leaves are numbered in the order of the nodes.
    pub(crate) leaf: Vec<bool>,
    pub(crate) left: Vec<i64>,
    pub(crate) right: Vec<i64>,
    pub(crate) features: Vec<i64>,
    pub(crate) thresholds: Vec<f64>,
    /// Not 0 where missing values go to the left.
    pub(crate) missing_left: Vec<i64>,
}

impl Nodes {
    /// Adds the tree to a forest. `tree` is named where a node leads nowhere.
    pub(crate) fn add_to(&self, forest: &mut Forest, tree: &Estimator<'_>) -> Result<(), ModelError> {
        let (mut branches, mut leaves) = (0, 0);
        let mut children = Vec::with_capacity(self.leaf.len());
        for leaf in &self.leaf {
            children.push(if *leaf {
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
        for index in (0..self.leaf.len()).filter(|index| !self.leaf[*index]) {
            found.push(Branch {
                feature: usize::try_from(self.features[index]).unwrap_or(usize::MAX),
                test: Test::UpTo(self.thresholds[index]),
                missing: if self.missing_left[index] != 0 { Missing::Left } else { Missing::Right },
                left: child(self.left[index])?,
                right: child(self.right[index])?,
            });
        }
        forest.add(child(0)?, &found, leaves).map_err(|error| tree.wrong("nodes", error.to_string()))
    }
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
        let leaf: Vec<bool> = left.iter().map(|left| *left < 0).collect();
        for index in (0..left.len()).filter(|index| leaf[*index]) {
            self.values.extend_from_slice(&values[index * self.width..(index + 1) * self.width]);
        }
        Nodes { leaf, left, right, features, thresholds, missing_left }.add_to(&mut self.forest, &tree)
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
