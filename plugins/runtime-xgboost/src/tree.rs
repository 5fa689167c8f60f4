//! A tree of the document. Lists go by node: what is in place `n` of each is about node `n`, and node 0 is the root.

use std::collections::BTreeMap;

use purlin_tabular::ModelError;
use purlin_trees::{Branch, Categories, Child, Forest, Missing, Test, below};

use crate::document::Node;

/// The lists of a tree.
struct Lists<'a> {
    left: &'a [f64],
    right: &'a [f64],
    features: &'a [f64],
    conditions: &'a [f64],
    default_left: &'a [f64],
}

/// Adds a tree to the forest and what its leaves are worth to `values`.
pub(crate) fn add(forest: &mut Forest, values: &mut Vec<f32>, tree: &Node) -> Result<(), ModelError> {
    let place = || format!("tree {}", forest.trees());
    if tree
        .get("tree_param")
        .and_then(|param| param.count("size_leaf_vector").ok())
        .is_some_and(|size| size > 1)
    {
        let remedy = "train with multi_strategy=\"one_output_per_tree\"";
        return Err(ModelError::unsupported(
            "a tree whose leaves have several values (multi_output_tree)",
            remedy,
        ));
    }
    let lists = Lists {
        left: tree.numbers("left_children")?,
        right: tree.numbers("right_children")?,
        features: tree.numbers("split_indices")?,
        conditions: tree.numbers("split_conditions")?,
        default_left: tree.numbers("default_left")?,
    };
    let count = lists.left.len();
    let others = [lists.right, lists.features, lists.conditions, lists.default_left];
    if count == 0 || others.iter().any(|list| list.len() != count) {
        return Err(ModelError::malformed(place(), "its lists are of different lengths, or empty"));
    }
    let sets = categories(forest, tree)?;
    walk(forest, values, &lists, &sets)
}

/// Goes through the nodes from the root. Nodes that were cut away stay in the lists, and nothing leads to them.
fn walk(
    forest: &mut Forest,
    values: &mut Vec<f32>,
    lists: &Lists<'_>,
    sets: &BTreeMap<usize, Categories>,
) -> Result<(), ModelError> {
    let tree = forest.trees();
    let fail = |reason: String| Err(ModelError::malformed(format!("tree {tree}"), reason));
    let mut children: Vec<Option<Child>> = vec![None; lists.left.len()];
    let (mut found, mut leaves, mut open) = (Vec::new(), 0, vec![0_usize]);
    while let Some(node) = open.pop() {
        let Some(child) = children.get_mut(node) else { return fail(format!("there is no node {node}")) };
        if child.is_some() {
            return fail(format!("node {node} is reached in two ways"));
        }
        if lists.left[node] < 0.0 {
            *child = Some(Child::Leaf(leaves));
            leaves += 1;
            values.push(lists.conditions[node] as f32);
        } else {
            *child = Some(Child::Branch(found.len()));
            found.push(node);
            open.push(lists.right[node] as usize);
            open.push(lists.left[node] as usize);
        }
    }
    let child = |node: f64| children.get(node as usize).copied().flatten().unwrap_or(Child::Leaf(usize::MAX));
    let branch = |node: &usize| {
        let node = *node;
        let default_left = lists.default_left[node] != 0.0;
        let (left, right) = (child(lists.left[node]), child(lists.right[node]));
        let feature = lists.features[node] as usize;
        match sets.get(&node) {
            // The categories of the set go right.
            Some(set) => Branch {
                feature,
                test: Test::Among(*set),
                missing: if default_left { Missing::Right } else { Missing::Left },
                left: right,
                right: left,
            },
            None => Branch {
                feature,
                test: Test::UpTo(below(f64::from(lists.conditions[node] as f32))),
                missing: if default_left { Missing::Left } else { Missing::Right },
                left,
                right,
            },
        }
    };
    let branches: Vec<Branch> = found.iter().map(branch).collect();
    let root = if branches.is_empty() { Child::Leaf(0) } else { Child::Branch(0) };
    forest.add(root, &branches, leaves).or_else(|error| fail(error.to_string()))
}

/// The sets of the nodes that ask for a category: for each such node where its categories are in one list of all.
fn categories(forest: &mut Forest, tree: &Node) -> Result<BTreeMap<usize, Categories>, ModelError> {
    let mut found = BTreeMap::new();
    let Some(Node::Numbers(nodes)) = tree.get("categories_nodes") else { return Ok(found) };
    if nodes.is_empty() {
        return Ok(found);
    }
    let (all, starts, sizes) = (
        tree.numbers("categories")?,
        tree.numbers("categories_segments")?,
        tree.numbers("categories_sizes")?,
    );
    // As the library bounds them: larger ones are not exact in FP32.
    let known = |category: &&f64| (0.0..16_777_216.0).contains(*category);
    let mut taken = 0_usize;
    for (index, node) in nodes.iter().enumerate() {
        let range = starts.get(index).zip(sizes.get(index)).and_then(|(start, size)| {
            let start = *start as usize;
            all.get(start..start.checked_add(*size as usize)?)
        });
        taken = taken.saturating_add(range.map_or(0, <[f64]>::len));
        let (Some(range), true) = (range, taken <= all.len()) else {
            return Err(ModelError::malformed(
                "categories_segments",
                format!("{index}: it is not in the list"),
            ));
        };
        let most = range.iter().filter(known).fold(0.0_f64, |most, category| most.max(*category));
        let mut words = vec![0_u32; most as usize / 32 + 1];
        for category in range.iter().filter(known) {
            let category = *category as usize;
            words[category / 32] |= 1 << (category % 32);
        }
        found.insert(*node as usize, forest.categories(&words));
    }
    Ok(found)
}
