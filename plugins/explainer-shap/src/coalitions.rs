//! Which features are taken from the row that is explained, and how much each choice weighs: the sampling of KernelSHAP.
//!
//! Source: S. Lundberg, S.-I. Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017, theorem 2. A
//! coalition of `s` out of `m` features has the weight `(m - 1) / (C(m, s) s (m - s))`. Sizes are taken from the outside in,
//! smallest and largest first, because these weigh most: whole sizes as long as they fit, and of the rest a sample.

use purlin_sdk::Random;

/// A choice of features, and its weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Coalition {
    /// For each feature whether it is the row's own; else it is the background's.
    pub(crate) own: Vec<bool>,
    pub(crate) weight: f64,
}

/// All coalitions but the empty and the full one if these are at most `budget`, else about as many as that.
pub(crate) fn coalitions(features: usize, budget: usize, random: &mut Random) -> Vec<Coalition> {
    let mut chosen = Vec::new();
    if features < 2 {
        return chosen;
    }
    // The weight of all coalitions of a size together.
    let share = |size: usize| (features - 1) as f64 / (size * (features - size)) as f64;
    let sizes = 1..=features / 2;
    let total: f64 = (1..features).map(share).sum();
    let mut left = total;
    let mut sampled = Vec::new();
    for size in sizes {
        let both = if 2 * size == features { 1 } else { 2 };
        let count = binomial(features, size).saturating_mul(both);
        let weight = share(size) * both as f64;
        if sampled.is_empty() && count <= budget - chosen.len().min(budget) {
            each(features, size, |own| {
                let one = weight / count as f64;
                if both == 2 {
                    chosen.push(Coalition { own: own.iter().map(|own| !own).collect(), weight: one });
                }
                chosen.push(Coalition { own: own.to_vec(), weight: one });
            });
            left -= weight;
        } else {
            sampled.push((size, weight));
        }
    }
    let room = budget.saturating_sub(chosen.len());
    if sampled.is_empty() || room < 2 {
        return chosen;
    }
    let all: f64 = sampled.iter().map(|(_, weight)| weight).sum();
    let pairs = room / 2;
    for _ in 0..pairs {
        let mut at = random.unit() * all;
        let mut size = sampled[sampled.len() - 1].0;
        for (candidate, weight) in &sampled {
            if at < *weight {
                size = *candidate;
                break;
            }
            at -= weight;
        }
        let own = subset(features, size, random);
        // A choice and its opposite together: what one leaves to chance the other takes away again.
        let weight = left / (2 * pairs) as f64;
        chosen.push(Coalition { own: own.iter().map(|own| !own).collect(), weight });
        chosen.push(Coalition { own, weight });
    }
    chosen
}

fn binomial(n: usize, k: usize) -> usize {
    let mut result: usize = 1;
    for at in 0..k {
        result = match result.checked_mul(n - at) {
            Some(product) => product / (at + 1),
            None => return usize::MAX,
        };
    }
    result
}

/// Calls `with` for each choice of `size` features, in order.
fn each(features: usize, size: usize, mut with: impl FnMut(&[bool])) {
    let mut picked: Vec<usize> = (0..size).collect();
    loop {
        let mut own = vec![false; features];
        picked.iter().for_each(|at| own[*at] = true);
        with(&own);
        let Some(last) = (0..size).rev().find(|at| picked[*at] < features - size + at) else { return };
        picked[last] += 1;
        for at in last + 1..size {
            picked[at] = picked[at - 1] + 1;
        }
    }
}

/// A choice by chance: the first places of a shuffle.
fn subset(features: usize, size: usize, random: &mut Random) -> Vec<bool> {
    let mut order: Vec<usize> = (0..features).collect();
    let mut own = vec![false; features];
    for at in 0..size {
        let other = at + (random.unit() * (features - at) as f64) as usize;
        order.swap(at, other.min(features - 1));
        own[order[at]] = true;
    }
    own
}

#[cfg(test)]
mod tests {
    use purlin_sdk::Random;

    use super::{binomial, coalitions};

    #[test]
    fn with_room_every_coalition_is_there_once() {
        for features in 2..9 {
            let mut all = coalitions(features, 10_000, &mut Random::new(1, 0));
            assert_eq!(all.len(), (1 << features) - 2, "{features}");
            for one in &all {
                let size = one.own.iter().filter(|own| **own).count();
                let expected =
                    (features - 1) as f64 / (binomial(features, size) * size * (features - size)) as f64;
                assert!((one.weight - expected).abs() < 1e-12);
            }
            all.sort_by(|a, b| a.own.cmp(&b.own));
            all.dedup_by(|a, b| a.own == b.own);
            assert_eq!(all.len(), (1 << features) - 2);
        }
    }

    #[test]
    fn without_room_there_is_a_sample_of_the_same_weight() {
        let some = coalitions(30, 500, &mut Random::new(1, 0));
        assert!(some.len() <= 500 && some.len() > 400, "{}", some.len());
        let weight: f64 = some.iter().map(|one| one.weight).sum();
        let total: f64 = (1..30).map(|size| 29.0 / (size * (30 - size)) as f64).sum();
        assert!((weight - total).abs() < 1e-9);
        assert_eq!(some, coalitions(30, 500, &mut Random::new(1, 0)));
    }

    #[test]
    fn too_few_features_leave_no_choice() {
        assert!(coalitions(0, 10, &mut Random::new(1, 0)).is_empty());
        assert!(coalitions(1, 10, &mut Random::new(1, 0)).is_empty());
    }
}
