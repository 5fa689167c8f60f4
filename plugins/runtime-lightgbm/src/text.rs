//! LightGBM's text format: lines of `key=value`, first of the whole model and then of each tree behind a line `Tree=N`. The
//! keys are those of `GBDT::SaveModelToString` and `Tree::ToString`.

use std::collections::BTreeMap;
use std::str::FromStr;

use purlin_tabular::{Columns, ModelError};
use purlin_trees::{Branch, Child, Forest, Missing, Test};

use crate::model::{Booster, Linear};
use crate::objective::Objective;

/// Features and sums of a model at most. A model names its features, so that a file has to be large to have many; only a
/// number in it says how many sums there are.
const MOST: usize = 1 << 20;

/// Bits of a branch's `decision_type`.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;

/// Lines of the same part.
struct Section<'a> {
    /// For errors.
    place: String,
    lines: BTreeMap<&'a str, &'a str>,
}

pub(crate) fn read(content: &[u8]) -> Result<Booster, ModelError> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let reason = format!("byte {} is no text; LightGBM's text format is read", error.valid_up_to());
        ModelError::malformed("the file", reason)
    })?;
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("tree") {
        let reason = "the first line is not \"tree\"; save the model with Booster.save_model(\"model.bst\")";
        return Err(ModelError::malformed("the file", reason));
    }
    let mut section = Section::new("the head");
    let mut booster: Option<Booster> = None;
    for line in lines {
        if !(line.starts_with("Tree=") || line == "end of trees") {
            section.add(line);
            continue;
        }
        let done = std::mem::replace(&mut section, Section::new(line));
        match &mut booster {
            None => booster = Some(head(&done)?),
            Some(booster) => done.tree(booster)?,
        }
        if line == "end of trees" {
            return booster.map_or_else(|| head(&done), Ok).and_then(whole);
        }
    }
    Err(ModelError::malformed("the file", "it ends without the line \"end of trees\"; it was cut off"))
}

/// The model without its trees.
fn head(section: &Section<'_>) -> Result<Booster, ModelError> {
    let last: usize = section.number("max_feature_idx")?;
    let per_iteration: usize = section.number("num_tree_per_iteration")?;
    if last >= MOST || per_iteration == 0 || per_iteration > MOST {
        let reason = format!("{} features and {per_iteration} trees an iteration", last.saturating_add(1));
        return Err(ModelError::malformed("the head", reason));
    }
    let count = last + 1;
    let names: Vec<String> =
        section.text("feature_names").unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect();
    // Features that had no names are called so.
    let plain = names.iter().enumerate().all(|(index, name)| *name == format!("Column_{index}"));
    let names = if names.len() == count && !plain { names } else { Vec::new() };
    Ok(Booster {
        columns: Columns { count, names },
        forest: Forest::new(count),
        values: Vec::new(),
        linear: Vec::new(),
        per_iteration,
        averaged: section.text("average_output").is_some(),
        objective: Objective::parse(section.text("objective").unwrap_or(""))?,
    })
}

fn whole(booster: Booster) -> Result<Booster, ModelError> {
    let (trees, each) = (booster.forest.trees(), booster.per_iteration);
    if trees == 0 || !trees.is_multiple_of(each) {
        let reason = format!("there are {trees} trees, and {each} in each iteration");
        return Err(ModelError::malformed("the file", reason));
    }
    Ok(booster)
}

impl<'a> Section<'a> {
    fn new(place: &str) -> Self {
        Section { place: place.to_owned(), lines: BTreeMap::new() }
    }

    fn add(&mut self, line: &'a str) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        self.lines.insert(key, value);
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.lines.get(key).copied()
    }

    fn fail<T>(&self, key: &str, reason: impl Into<String>) -> Result<T, ModelError> {
        Err(ModelError::malformed(format!("{}, {key}", self.place), reason))
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, ModelError> {
        let Some(text) = self.text(key) else { return self.fail(key, "it is missing") };
        text.trim()
            .parse()
            .or_else(|_| self.fail(key, format!("{text:?} is not the number that stands there")))
    }

    /// Numbers with spaces between them; none where the key is missing.
    fn numbers<T: FromStr>(&self, key: &str) -> Result<Vec<T>, ModelError> {
        let words = self.text(key).unwrap_or("").split_ascii_whitespace();
        let number = |word: &str| {
            word.parse()
                .or_else(|_| self.fail(key, format!("{word:?} is not one of the numbers that stand there")))
        };
        words.map(number).collect()
    }

    fn exactly<T: FromStr>(&self, key: &str, count: usize) -> Result<Vec<T>, ModelError> {
        let numbers = self.numbers(key)?;
        if numbers.len() != count {
            return self.fail(key, format!("there are {} numbers, not {count}", numbers.len()));
        }
        Ok(numbers)
    }

    /// Adds the tree that these lines describe.
    fn tree(&self, booster: &mut Booster) -> Result<(), ModelError> {
        let leaves: usize = self.number("num_leaves")?;
        if leaves == 0 {
            return self.fail("num_leaves", "a tree has at least one leaf");
        }
        let first = booster.values.len();
        booster.values.extend(self.exactly::<f64>("leaf_value", leaves)?);
        let branches = self.branches(&mut booster.forest, leaves - 1)?;
        let root = if branches.is_empty() { Child::Leaf(0) } else { Child::Branch(0) };
        let added = booster.forest.add(root, &branches, leaves);
        added.or_else(|error| self.fail("left_child and right_child", error.to_string()))?;
        if self.text("is_linear").is_some_and(|flag| flag.trim() == "1") {
            let linear = self.linear(leaves, booster.columns.count)?;
            booster.linear.resize_with(first, || None);
            booster.linear.extend(linear.into_iter().map(Some));
        }
        Ok(())
    }

    fn branches(&self, forest: &mut Forest, count: usize) -> Result<Vec<Branch>, ModelError> {
        let features: Vec<usize> = self.exactly("split_feature", count)?;
        let thresholds: Vec<f64> = self.exactly("threshold", count)?;
        let decisions: Vec<u8> = self.exactly("decision_type", count)?;
        let left: Vec<i64> = self.exactly("left_child", count)?;
        let right: Vec<i64> = self.exactly("right_child", count)?;
        let boundaries: Vec<usize> = self.numbers("cat_boundaries")?;
        let words: Vec<u32> = self.numbers("cat_threshold")?;
        let mut branches = Vec::with_capacity(count);
        for (index, feature) in features.into_iter().enumerate() {
            let (decision, threshold) = (decisions[index], thresholds[index]);
            let default_left = decision & DEFAULT_LEFT != 0;
            let (test, missing) = if decision & CATEGORICAL != 0 {
                let set = threshold as usize;
                let range = boundaries.get(set).zip(boundaries.get(set.saturating_add(1)));
                let Some(set) = range.and_then(|(start, end)| words.get(*start..*end)) else {
                    return self.fail("cat_boundaries", format!("there is no set {threshold}"));
                };
                (Test::Among(forest.categories(set)), Missing::Right)
            } else {
                let missing = match (decision >> 2 & 3, default_left) {
                    (0, _) => Missing::IsZero,
                    (1, true) => Missing::ZeroLeft,
                    (1, false) => Missing::ZeroRight,
                    (_, true) => Missing::Left,
                    (_, false) => Missing::Right,
                };
                (Test::UpTo(threshold), missing)
            };
            let (left, right) = (child(left[index]), child(right[index]));
            branches.push(Branch { feature, test, missing, left, right });
        }
        Ok(branches)
    }

    /// The linear model of each leaf. Those of all leaves stand in one line.
    fn linear(&self, leaves: usize, columns: usize) -> Result<Vec<Linear>, ModelError> {
        let constants: Vec<f64> = self.exactly("leaf_const", leaves)?;
        let counts: Vec<usize> = self.exactly("num_features", leaves)?;
        let total = counts.iter().fold(0_usize, |total, count| total.saturating_add(*count));
        let features: Vec<usize> = self.exactly("leaf_features", total)?;
        let factors: Vec<f64> = self.exactly("leaf_coeff", total)?;
        if let Some(feature) = features.iter().find(|feature| **feature >= columns) {
            return self.fail("leaf_features", format!("there is no feature {feature}"));
        }
        let mut terms = features.into_iter().zip(factors);
        let linear = |(constant, count): (f64, usize)| Linear {
            constant,
            terms: terms.by_ref().take(count).collect(),
        };
        Ok(constants.into_iter().zip(counts).map(linear).collect())
    }
}

/// A child as the format writes it: a leaf is its index's complement.
fn child(index: i64) -> Child {
    match index {
        0.. => Child::Branch(index as usize),
        _ => Child::Leaf(!index as usize),
    }
}
