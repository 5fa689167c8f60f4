//! Gradient boosting: trees whose leaves are added up.

use purlin_pickle::{Error, Ref};
use purlin_tabular::{ModelError, Table};
use purlin_trees::Forest;

use crate::attributes::Estimator;
use crate::math::{expit, largest, softmax};
use crate::model::{Classify, Predictor, Regress};
use crate::tree::{Nodes, Trees};

/// What a sum becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Identity,
    /// `exp`
    Logarithm,
    /// A probability.
    Logit,
    /// A probability, of twice the sum.
    HalfLogit,
}

struct Boosted {
    forest: Forest,
    /// What each leaf adds.
    values: Vec<f64>,
    /// What each sum starts from. The trees are for each of them in turn.
    start: Vec<f64>,
    link: Link,
    /// Whether rows are rounded to FP32.
    rounds: bool,
    takes_missing: bool,
    /// Whether a sum of zero is for the second class.
    zero_is_second: bool,
}

impl Boosted {
    fn sums(&self, table: &Table) -> Vec<f64> {
        let rounded = self.rounds.then(|| table.clone().rounded());
        let table = rounded.as_ref().unwrap_or(table);
        let width = self.start.len();
        let mut sums = self.start.repeat(table.len());
        for tree in 0..self.forest.trees() {
            for (row, sums) in table.rows().zip(sums.chunks_exact_mut(width)) {
                sums[tree % width] += self.values[self.forest.leaf(tree, row)];
            }
        }
        sums
    }
}

impl Classify for Boosted {
    fn takes_missing(&self) -> bool {
        self.takes_missing
    }

    fn decide(&self, table: &Table) -> Vec<usize> {
        let sums = self.sums(table);
        match self.start.len() {
            1 => sums
                .iter()
                .map(|sum| usize::from(*sum > 0.0 || (*sum == 0.0 && self.zero_is_second)))
                .collect(),
            width => sums.chunks_exact(width).map(largest).collect(),
        }
    }

    fn probabilities(&self, table: &Table) -> Vec<f64> {
        let mut sums = self.sums(table);
        match self.start.len() {
            1 => {
                let factor = if self.link == Link::HalfLogit { 2.0 } else { 1.0 };
                let pair = |sum: &f64| {
                    let one = expit(factor * sum);
                    [1.0 - one, one]
                };
                sums.iter().flat_map(pair).collect()
            }
            width => {
                sums.chunks_exact_mut(width).for_each(softmax);
                sums
            }
        }
    }
}

impl Regress for Boosted {
    fn takes_missing(&self) -> bool {
        self.takes_missing
    }

    fn values(&self, table: &Table) -> Vec<f64> {
        let mut sums = self.sums(table);
        if self.link == Link::Logarithm {
            sums.iter_mut().for_each(|sum| *sum = sum.exp());
        }
        sums
    }
}

/// `GradientBoostingClassifier` and `GradientBoostingRegressor`.
pub(crate) fn gradient(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let classes =
        if estimator.class() == "GradientBoostingClassifier" { Some(estimator.classes()?) } else { None };
    let width = classes.as_ref().map_or(1, |classes| if classes.len() == 2 { 1 } else { classes.len() });
    let mut trees = Trees::new(columns, 1);
    let all = estimator.children("estimators_")?;
    if !all.len().is_multiple_of(width) {
        return Err(estimator.wrong("estimators_", format!("there are {} trees for {width} sums", all.len())));
    }
    for tree in all {
        trees.add(&tree)?;
    }
    let rate = estimator.number("learning_rate")?;
    let half = classes.is_some() && estimator.text("loss") == "exponential";
    let boosted = Boosted {
        forest: trees.forest,
        values: trees.values.iter().map(|value| rate * value).collect(),
        start: start(estimator, width, classes.is_some(), half)?,
        link: match (&classes, half) {
            (None, _) => Link::Identity,
            (Some(_), true) => Link::HalfLogit,
            (Some(_), false) => Link::Logit,
        },
        rounds: true,
        takes_missing: false,
        zero_is_second: true,
    };
    Ok(match classes {
        Some(classes) => Predictor::Classifier { classes, model: Box::new(boosted) },
        None => Predictor::Regressor(Box::new(boosted)),
    })
}

/// What sums start from: what the estimator that was fitted first says of any row.
fn start(
    estimator: &Estimator<'_>,
    width: usize,
    classifier: bool,
    half: bool,
) -> Result<Vec<f64>, ModelError> {
    if estimator.find("init").and_then(Ref::text) == Some("zero") || estimator.find("init_").is_none() {
        return Ok(vec![0.0; width]);
    }
    let first = estimator.child("init_")?;
    match first.class() {
        "DummyRegressor" if !classifier => first.vector("constant_", width),
        "DummyClassifier" if classifier => {
            // As scikit-learn bounds them: by the precision of FP32.
            let bound = f64::from(f32::EPSILON);
            let priors = first.vector("class_prior_", width.max(2))?;
            let priors: Vec<f64> = priors.into_iter().map(|prior| prior.clamp(bound, 1.0 - bound)).collect();
            if let [_, prior] = priors.as_slice() {
                let sum = (prior / (1.0 - prior)).ln();
                return Ok(vec![if half { 0.5 * sum } else { sum }]);
            }
            let mean = priors.iter().map(|prior| prior.ln()).sum::<f64>() / priors.len() as f64;
            Ok(priors.iter().map(|prior| (prior / mean.exp()).ln()).collect())
        }
        class => Err(estimator.unsupported(format!("init={class}"))),
    }
}

/// `HistGradientBoostingClassifier` and `HistGradientBoostingRegressor`.
pub(crate) fn histogram(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    if estimator.find("_preprocessor").is_some() || estimator.find("is_categorical_").is_some() {
        return Err(estimator.unsupported("categorical features"));
    }
    let classes =
        if estimator.class() == "HistGradientBoostingClassifier" { Some(estimator.classes()?) } else { None };
    let start = estimator.floats("_baseline_prediction")?;
    let width = classes.as_ref().map_or(1, |classes| if classes.len() == 2 { 1 } else { classes.len() });
    if start.len() != width {
        return Err(estimator
            .wrong("_baseline_prediction", format!("there are {} numbers, not {width}", start.len())));
    }
    let (mut forest, mut values) = (Forest::new(columns), Vec::new());
    for iteration in estimator.items("_predictors")? {
        let trees = iteration.items().filter(|trees| trees.len() == width);
        let trees = trees
            .ok_or_else(|| estimator.wrong("_predictors", format!("there are not {width} trees in each")))?;
        for tree in trees {
            let tree = estimator.child_of(tree, "_predictors")?;
            add(&mut forest, &mut values, &tree)?;
        }
    }
    let link = match (&classes, estimator.text("loss")) {
        (Some(_), _) => Link::Logit,
        (None, "poisson" | "gamma") => Link::Logarithm,
        (None, _) => Link::Identity,
    };
    let boosted =
        Boosted { forest, values, start, link, rounds: false, takes_missing: true, zero_is_second: false };
    Ok(match classes {
        Some(classes) => Predictor::Classifier { classes, model: Box::new(boosted) },
        None => Predictor::Regressor(Box::new(boosted)),
    })
}

/// Adds a tree of records.
fn add(forest: &mut Forest, values: &mut Vec<f64>, tree: &Estimator<'_>) -> Result<(), ModelError> {
    let nodes = tree.get("nodes")?;
    let fail = |error: Error| tree.wrong("nodes", error.to_string());
    let (left, right) =
        (nodes.field_integers("left").map_err(fail)?, nodes.field_integers("right").map_err(fail)?);
    let features = nodes.field_integers("feature_idx").map_err(fail)?;
    let thresholds = nodes.field_floats("num_threshold").map_err(fail)?;
    let missing_left = nodes.field_integers("missing_go_to_left").map_err(fail)?;
    let (is_leaf, worth) =
        (nodes.field_integers("is_leaf").map_err(fail)?, nodes.field_floats("value").map_err(fail)?);
    let leaf: Vec<bool> = is_leaf.iter().map(|leaf| *leaf != 0).collect();
    values.extend(leaf.iter().zip(&worth).filter(|(leaf, _)| **leaf).map(|(_, worth)| *worth));
    Nodes { leaf, left, right, features, thresholds, missing_left }.add_to(forest, tree)
}
