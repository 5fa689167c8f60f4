//! Decision trees as flat arrays. The plugins for scikit-learn, XGBoost and LightGBM read their files into a [`Forest`]; what
//! a leaf is worth and how leaves are put together is theirs to know.
//!
//! All branches compare with `<=` in FP64. A library that compares otherwise says the same in these terms: where it rounds
//! to FP32, the row is rounded first (each FP32 is an FP64), and `x < t` is `x <=` the number next below `t`.
//!
//! A forest only ever holds trees: [`Forest::add`] refuses a branch that two others lead to, so that a walk from a root ends.
#![forbid(unsafe_code)]

/// Below this LightGBM takes a number for zero.
const ZERO: f64 = 1e-35_f32 as f64;

/// What follows a branch, by its index in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// Another branch.
    Branch(usize),
    /// A leaf.
    Leaf(usize),
}

/// Where a value goes that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// NaN goes left.
    Left,
    /// NaN goes right.
    Right,
    /// NaN is taken for zero, and compared.
    IsZero,
    /// NaN and zero go left.
    ZeroLeft,
    /// NaN and zero go right.
    ZeroRight,
}

/// Categories, as a set that a forest keeps; see [`Forest::categories`].
#[derive(Clone, Copy, Debug)]
pub struct Categories {
    start: u32,
    words: u32,
}

/// What goes left.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// Values up to this one, inclusive.
    UpTo(f64),
    /// Values whose whole part is in the set. What is negative or too large is in no set.
    Among(Categories),
}

/// A question about one feature.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    /// Index in the row.
    pub feature: usize,
    /// What goes left.
    pub test: Test,
    /// Where a missing value goes.
    pub missing: Missing,
    /// Where the test holds.
    pub left: Child,
    /// Where it does not.
    pub right: Child,
}

/// What is wrong with a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeError(String);

impl std::fmt::Display for TreeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TreeError {}

/// A [`Branch`] as it lies in the forest. Children count over all trees; a leaf is its index's complement.
#[derive(Clone, Copy)]
struct Node {
    test: Test,
    feature: u32,
    left: i32,
    right: i32,
    missing: Missing,
}

/// Trees over rows of the same width.
pub struct Forest {
    features: usize,
    nodes: Vec<Node>,
    roots: Vec<i32>,
    leaves: usize,
    sets: Vec<u32>,
}

impl Forest {
    /// No trees yet, over rows of so many features.
    pub fn new(features: usize) -> Self {
        Forest { features, nodes: Vec::new(), roots: Vec::new(), leaves: 0, sets: Vec::new() }
    }

    /// Keeps a set of categories: bit `c % 32` of word `c / 32` says whether `c` is in it.
    pub fn categories(&mut self, words: &[u32]) -> Categories {
        let start = self.sets.len() as u32;
        self.sets.extend_from_slice(words);
        Categories { start, words: words.len() as u32 }
    }

    /// Adds a tree of `branches` and so many leaves, entered at `root`.
    ///
    /// # Errors
    /// A branch asks for a feature or child that is not there, or is reached in two ways.
    pub fn add(&mut self, root: Child, branches: &[Branch], leaves: usize) -> Result<(), TreeError> {
        let tree = self.roots.len();
        let fail = |what: String| Err(TreeError(format!("tree {tree}: {what}")));
        let mut reached = vec![false; branches.len()];
        let children = branches.iter().flat_map(|branch| [branch.left, branch.right]);
        for child in children.chain([root]) {
            match child {
                Child::Branch(index) => match reached.get_mut(index) {
                    Some(reached) if !*reached => *reached = true,
                    Some(_) => return fail(format!("node {index} is reached in two ways")),
                    None => return fail(format!("there is no node {index}, it has {}", branches.len())),
                },
                Child::Leaf(index) if index >= leaves => {
                    return fail(format!("there is no leaf {index}, it has {leaves}"));
                }
                Child::Leaf(_) => {}
            }
        }
        let too_large = self.nodes.len() + branches.len() > i32::MAX as usize
            || self.leaves.saturating_add(leaves) > i32::MAX as usize;
        if too_large {
            return fail("there are more than 2^31 nodes".to_owned());
        }
        if let Some(branch) = branches.iter().find(|branch| branch.feature >= self.features) {
            let (feature, features) = (branch.feature, self.features);
            return fail(format!("a node asks for feature {feature} of {features}"));
        }
        let (first_node, first_leaf) = (self.nodes.len(), self.leaves);
        let encode = |child| match child {
            Child::Branch(index) => (first_node + index) as i32,
            Child::Leaf(index) => !((first_leaf + index) as i32),
        };
        self.nodes.extend(branches.iter().map(|branch| Node {
            test: branch.test,
            feature: branch.feature as u32,
            left: encode(branch.left),
            right: encode(branch.right),
            missing: branch.missing,
        }));
        self.roots.push(encode(root));
        self.leaves += leaves;
        Ok(())
    }

    /// How many trees there are.
    pub fn trees(&self) -> usize {
        self.roots.len()
    }

    /// How many leaves all trees have together.
    pub fn leaves(&self) -> usize {
        self.leaves
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The leaf of a tree that a row ends in, counted over all trees in the order in which they were added.
    ///
    /// # Panics
    /// There is no such tree, or the row is shorter than the forest's.
    #[inline]
    pub fn leaf(&self, tree: usize, row: &[f64]) -> usize {
        let mut at = self.roots[tree];
        while at >= 0 {
            let node = &self.nodes[at as usize];
            at = if self.goes_left(node, row[node.feature as usize]) { node.left } else { node.right };
        }
        !at as usize
    }

    #[inline]
    fn goes_left(&self, node: &Node, value: f64) -> bool {
        let value = match node.missing {
            Missing::Left if value.is_nan() => return true,
            Missing::Right if value.is_nan() => return false,
            Missing::ZeroLeft if value.is_nan() || value.abs() <= ZERO => return true,
            Missing::ZeroRight if value.is_nan() || value.abs() <= ZERO => return false,
            Missing::IsZero if value.is_nan() => 0.0,
            _ => value,
        };
        match node.test {
            Test::UpTo(threshold) => value <= threshold,
            Test::Among(set) => self.contains(set, value),
        }
    }

    fn contains(&self, set: Categories, value: f64) -> bool {
        // Between -1 and 0 the whole part is 0, as in C.
        if value <= -1.0 || value >= f64::from(set.words) * 32.0 {
            return false;
        }
        let category = value as u32;
        self.sets[(set.start + category / 32) as usize] >> (category % 32) & 1 == 1
    }
}

/// The number next below, so that `x <= below(t)` is `x < t`.
pub fn below(threshold: f64) -> f64 {
    threshold.next_down()
}

#[cfg(test)]
mod tests {
    use super::{Branch, Child, Forest, Missing, Test, below};
    use proptest::prelude::*;

    fn stump(forest: &mut Forest, test: Test, missing: Missing) {
        let branch = Branch { feature: 0, test, missing, left: Child::Leaf(0), right: Child::Leaf(1) };
        forest.add(Child::Branch(0), &[branch], 2).expect("a tree");
    }

    #[test]
    fn a_missing_value_goes_where_the_branch_says() {
        let mut forest = Forest::new(1);
        for missing in [Missing::Left, Missing::Right, Missing::IsZero, Missing::ZeroLeft, Missing::ZeroRight]
        {
            stump(&mut forest, Test::UpTo(-1.0), missing);
        }
        let left =
            |value: f64| (0..5).map(|tree| forest.leaf(tree, &[value]).is_multiple_of(2)).collect::<Vec<_>>();
        assert_eq!(left(f64::NAN), [true, false, false, true, false]);
        assert_eq!(left(0.0), [false, false, false, true, false]);
        assert_eq!(left(-1.0), [true; 5]);
    }

    #[test]
    fn categories_are_taken_by_their_whole_part() {
        let mut forest = Forest::new(1);
        let set = forest.categories(&[0b10, 0b1]);
        stump(&mut forest, Test::Among(set), Missing::Right);
        let inside = [1.0, 1.9, 32.0];
        let outside = [0.0, -0.5, 2.0, -1.0, 33.0, 64.0, 1e300, f64::NEG_INFINITY, f64::INFINITY, f64::NAN];
        assert!(inside.iter().all(|value| forest.leaf(0, &[*value]) == 0));
        assert!(outside.iter().all(|value| forest.leaf(0, &[*value]) == 1));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let branch =
            |left, right| Branch { feature: 0, test: Test::UpTo(0.0), missing: Missing::Left, left, right };
        let mut forest = Forest::new(1);
        let cases = [
            (vec![branch(Child::Branch(0), Child::Leaf(0))], "two ways"),
            (vec![branch(Child::Branch(3), Child::Leaf(0))], "no node 3"),
            (vec![branch(Child::Leaf(1), Child::Leaf(0))], "no leaf 1"),
        ];
        for (branches, says) in cases {
            let error = forest.add(Child::Branch(0), &branches, 1).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        let other = Branch { feature: 1, ..branch(Child::Leaf(0), Child::Leaf(0)) };
        assert!(forest.add(Child::Branch(0), &[other], 1).is_err());
        assert_eq!(forest.trees(), 0);
    }

    proptest! {
        #[test]
        fn any_tree_that_is_taken_is_walked_to_a_leaf(
            links in prop::collection::vec((0_usize..8, 0_usize..8, any::<bool>(), any::<bool>()), 1..6),
            values in prop::collection::vec(any::<f64>(), 2),
        ) {
            let child = |index, leaf| if leaf { Child::Leaf(index) } else { Child::Branch(index) };
            let branches: Vec<Branch> = links.iter().map(|(left, right, one, other)| Branch {
                feature: left % 2,
                test: Test::UpTo(0.5),
                missing: Missing::Left,
                left: child(*left, *one),
                right: child(*right, *other),
            }).collect();
            let mut forest = Forest::new(2);
            if forest.add(Child::Branch(0), &branches, 8).is_ok() {
                prop_assert!(forest.leaf(0, &values) < 8);
            }
        }

        #[test]
        fn below_is_strict(value in any::<f32>(), threshold in any::<f32>()) {
            let (value, threshold) = (f64::from(value), f64::from(threshold));
            prop_assume!(!threshold.is_nan());
            prop_assert_eq!(value <= below(threshold), value < threshold);
        }
    }
}
