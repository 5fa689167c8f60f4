//! From what the model answers to coalitions to the Shapley values: a weighted regression whose coefficients add up to the
//! difference that is explained.

use crate::coalitions::Coalition;

/// The values of the features, for one output. `answers` has the output for each coalition, `base` that of the background and
/// `full` that of the row itself.
pub(crate) fn values(coalitions: &[Coalition], answers: &[f64], base: f64, full: f64) -> Vec<f64> {
    let Some(features) = coalitions.first().map(|one| one.own.len()) else { return Vec::new() };
    // The last value follows from the others, as all add up to the difference; so it is no unknown.
    let unknowns = features - 1;
    let mut matrix = vec![0.0; unknowns * unknowns];
    let mut right = vec![0.0; unknowns];
    let mut row = vec![0.0; unknowns];
    for (one, answer) in coalitions.iter().zip(answers) {
        let last = f64::from(u8::from(one.own[unknowns]));
        let target = answer - base - last * (full - base);
        for (at, own) in one.own[..unknowns].iter().enumerate() {
            row[at] = f64::from(u8::from(*own)) - last;
        }
        for at in 0..unknowns {
            if row[at] == 0.0 {
                continue;
            }
            let weighted = one.weight * row[at];
            right[at] += weighted * target;
            for other in 0..unknowns {
                matrix[at * unknowns + other] += weighted * row[other];
            }
        }
    }
    let mut values = solve(matrix, right, unknowns);
    let rest = full - base - values.iter().sum::<f64>();
    values.push(rest);
    values
}

/// Gaussian elimination with the largest pivot. A direction that no coalition tells apart gets nothing.
fn solve(mut matrix: Vec<f64>, mut right: Vec<f64>, size: usize) -> Vec<f64> {
    let scale = matrix.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    for column in 0..size {
        let best = (column..size)
            .max_by(|a, b| matrix[a * size + column].abs().total_cmp(&matrix[b * size + column].abs()))
            .unwrap_or(column);
        if matrix[best * size + column].abs() <= scale * 1e-13 {
            continue;
        }
        if best != column {
            for at in 0..size {
                matrix.swap(best * size + at, column * size + at);
            }
            right.swap(best, column);
        }
        for row in column + 1..size {
            let factor = matrix[row * size + column] / matrix[column * size + column];
            if factor != 0.0 {
                for at in column..size {
                    matrix[row * size + at] -= factor * matrix[column * size + at];
                }
                right[row] -= factor * right[column];
            }
        }
    }
    let mut solution = vec![0.0; size];
    for row in (0..size).rev() {
        let pivot = matrix[row * size + row];
        if pivot.abs() > scale * 1e-13 {
            let known: f64 = (row + 1..size).map(|at| matrix[row * size + at] * solution[at]).sum();
            solution[row] = (right[row] - known) / pivot;
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use purlin_sdk::Random;

    use super::values;
    use crate::coalitions::coalitions;

    proptest! {
        /// The Shapley values of a linear model are its coefficients times the differences from the background.
        #[test]
        fn a_linear_model_is_explained_by_its_coefficients(
            slopes in proptest::collection::vec(-5.0..5.0_f64, 2..9),
            base in -3.0..3.0_f64,
        ) {
            let chosen = coalitions(slopes.len(), 5000, &mut Random::new(7, 0));
            let answer = |own: &[bool]| {
                base + own.iter().zip(&slopes).filter(|(own, _)| **own).map(|(_, slope)| slope).sum::<f64>()
            };
            let answers: Vec<f64> = chosen.iter().map(|one| answer(&one.own)).collect();
            let full = base + slopes.iter().sum::<f64>();
            for (value, slope) in values(&chosen, &answers, base, full).iter().zip(&slopes) {
                prop_assert!((value - slope).abs() < 1e-8, "{value} {slope}");
            }
        }

        /// Whatever the model, the values add up to what is explained.
        #[test]
        fn values_add_up(answers in proptest::collection::vec(-9.0..9.0_f64, 62), full in -9.0..9.0_f64) {
            let chosen = coalitions(6, 5000, &mut Random::new(7, 0));
            let sum: f64 = values(&chosen, &answers, 1.0, full).iter().sum();
            prop_assert!((sum - (full - 1.0)).abs() < 1e-9);
        }
    }

    #[test]
    fn an_interaction_is_shared() {
        // f = x0 and x1, of three features: the two share it and the third has no part in it.
        let chosen = coalitions(3, 100, &mut Random::new(1, 0));
        let answers: Vec<f64> =
            chosen.iter().map(|one| f64::from(u8::from(one.own[0] && one.own[1]))).collect();
        let found = values(&chosen, &answers, 0.0, 1.0);
        for (found, expected) in found.iter().zip([0.5, 0.5, 0.0]) {
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
    }
}
