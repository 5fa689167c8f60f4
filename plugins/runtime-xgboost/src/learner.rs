//! The document's model: `learner` of the format that XGBoost documents as its model schema.

use purlin_tabular::{Columns, ModelError};
use purlin_trees::Forest;

use crate::document::Node;
use crate::model::{Booster, Machine};
use crate::objective::Objective;
use crate::{tree, ubjson};

/// Features and sums of a model at most.
const MOST: usize = 1 << 20;

/// Sums at most of a model without trees, which takes no more bytes for more of them.
const NO_TREES: usize = 1024;

pub(crate) fn read(content: &[u8]) -> Result<Booster, ModelError> {
    let start = content.trim_ascii_start();
    let document = match (start.first(), start.get(1)) {
        // In UBJSON the length of a name follows, whose marker is a letter; in JSON a quote does, or space before one.
        (Some(b'{'), Some(b'i' | b'U' | b'I' | b'l' | b'L' | b'$' | b'#')) => ubjson::read(start)?,
        (Some(b'{'), _) => Node::of_json(start)?,
        _ => {
            let reason = "it is neither JSON nor UBJSON. The binary format of XGBoost before 3.1, and pickles, are not \
                          read: load it with the version that saved it and call \
                          Booster.save_model(\"model.ubj\")";
            return Err(ModelError::malformed("the file", reason));
        }
    };
    let learner = document.member("learner")?;
    let param = learner.member("learner_model_param")?;
    let objective = learner.member("objective")?.member("name")?.text().unwrap_or_default();
    let objective = Objective::parse(objective)?;
    let count = param.count("num_feature")?;
    let groups = param.count("num_class")?.max(param.count("num_target").unwrap_or(1)).max(1);
    if count > MOST || groups > MOST {
        let reason = format!("{count} features and {groups} classes or targets are more than {MOST}");
        return Err(ModelError::malformed("learner_model_param", reason));
    }
    let columns = Columns { count, names: names(learner, count) };
    let margins = margins(param, objective, groups)?;
    let machine = machine(learner.member("gradient_booster")?, count, groups)?;
    Ok(Booster { columns, objective, margins, machine })
}

/// The names of the features, where there is one for each.
fn names(learner: &Node, count: usize) -> Vec<String> {
    let items = learner.items("feature_names").unwrap_or_default();
    let names: Vec<String> = items.iter().filter_map(|name| name.text().map(str::to_owned)).collect();
    if names.len() == count { names } else { Vec::new() }
}

/// What each sum starts from. The format writes `5E-1`, or `[5E-1]` with one number or one for each sum.
fn margins(param: &Node, objective: Objective, groups: usize) -> Result<Vec<f32>, ModelError> {
    let text = param.member("base_score")?.text().unwrap_or_default();
    let numbers: Result<Vec<f32>, _> = text
        .trim()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .split(',')
        .map(|number| number.trim().parse())
        .collect();
    match numbers.as_deref() {
        Ok([score]) => Ok(vec![objective.margin(*score); groups]),
        Ok(scores) if scores.len() == groups => {
            Ok(scores.iter().map(|score| objective.margin(*score)).collect())
        }
        _ => Err(ModelError::malformed("base_score", format!("{text:?} is not one number, or {groups}"))),
    }
}

fn machine(booster: &Node, features: usize, groups: usize) -> Result<Machine, ModelError> {
    match booster.member("name")?.text() {
        Some("gbtree") => trees(booster.member("model")?, features, groups, None),
        Some("dart") => {
            let weights = booster.numbers("weight_drop")?;
            trees(booster.member("gbtree")?.member("model")?, features, groups, Some(weights))
        }
        Some("gblinear") => {
            let weights: Vec<f32> =
                booster.member("model")?.numbers("weights")?.iter().map(|weight| *weight as f32).collect();
            if weights.len() != (features + 1) * groups {
                let reason = format!("there are {} weights for {features} features", weights.len());
                return Err(ModelError::malformed("gradient_booster", reason));
            }
            Ok(Machine::Linear { weights })
        }
        other => {
            let what = format!("the booster {:?}", other.unwrap_or_default());
            Err(ModelError::unsupported(what, "gbtree, dart and gblinear are"))
        }
    }
}

fn trees(model: &Node, features: usize, groups: usize, drop: Option<&[f64]>) -> Result<Machine, ModelError> {
    let (trees, info) = (model.items("trees")?, model.numbers("tree_info")?);
    if info.len() != trees.len() || drop.is_some_and(|drop| drop.len() != trees.len()) {
        let reason = format!("there are {} trees, and not as many in the lists beside them", trees.len());
        return Err(ModelError::malformed("tree_info", reason));
    }
    // A model that was stopped before its first tree has none.
    if groups > trees.len().max(NO_TREES) {
        return Err(ModelError::malformed(
            "tree_info",
            format!("there are {} trees for {groups} sums", trees.len()),
        ));
    }
    if let Some(group) = info.iter().find(|group| !(0.0..groups as f64).contains(*group)) {
        return Err(ModelError::malformed("tree_info", format!("there is no class or target {group}")));
    }
    let (mut forest, mut values) = (Forest::new(features), Vec::new());
    for tree in trees {
        tree::add(&mut forest, &mut values, tree)?;
    }
    Ok(Machine::Trees {
        forest,
        values,
        groups: info.iter().map(|group| *group as usize).collect(),
        weights: drop.map(|drop| drop.iter().map(|weight| *weight as f32).collect()),
    })
}
