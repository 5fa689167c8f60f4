//! Functions that several estimators share.

/// The sum of products, in order.
pub(crate) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// The place of the largest number, the first of several; as numpy's `argmax`.
pub(crate) fn largest(numbers: &[f64]) -> usize {
    let mut best = 0;
    for (index, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = index;
        }
    }
    best
}

/// The logistic function.
pub(crate) fn expit(number: f64) -> f64 {
    1.0 / (1.0 + (-number).exp())
}

/// Turns logarithms, up to a constant, into probabilities.
pub(crate) fn softmax(numbers: &mut [f64]) {
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for number in numbers.iter_mut() {
        *number = (*number - most).exp();
    }
    normalize(numbers);
}

/// Divides by the sum.
pub(crate) fn normalize(numbers: &mut [f64]) {
    let total: f64 = numbers.iter().sum();
    for number in numbers {
        *number /= total;
    }
}

/// The square of the distance.
pub(crate) fn squared_distance(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| (left - right) * (left - right)).sum()
}
