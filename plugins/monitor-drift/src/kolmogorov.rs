//! The two-sample Kolmogorov-Smirnov test.
//!
//! The p-value is that of the one-sample statistic for `nm / (n + m)` observations, rounded, as SciPy's `ks_2samp` has it with
//! `method="asymp"`. It is exact: G. Marsaglia, W. W. Tsang, J. Wang, "Evaluating Kolmogorov's Distribution", Journal of
//! Statistical Software 8 (18), 2003; where that would take long the limit is as good.

/// The largest distance between the two empirical distributions. Both are sorted.
pub(crate) fn statistic(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j, mut most) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        while i < a.len() && a[i] <= value {
            i += 1;
        }
        while j < b.len() && b[j] <= value {
            j += 1;
        }
        most = most.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    most
}

/// How likely a statistic of at least `d` is where both samples are of one distribution.
pub(crate) fn p_value(d: f64, a: usize, b: usize) -> f64 {
    let (a, b) = (a as f64, b as f64);
    let n = (a * b / (a + b)).round().max(1.0);
    survival(d, n as usize).clamp(0.0, 1.0)
}

fn survival(d: f64, n: usize) -> f64 {
    let count = n as f64;
    if d <= 0.5 / count {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let x = d * count.sqrt();
    // Far out a single term is the whole, to all digits.
    if x > 4.2 || n > 2000 {
        return limit(x);
    }
    1.0 - distribution(d, n)
}

/// The limit for many observations.
fn limit(x: f64) -> f64 {
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k * k) * x * x).exp()
    };
    2.0 * (1..=100).map(term).sum::<f64>()
}

/// The probability of a statistic below `d` with `n` observations: a power of a matrix.
fn distribution(d: f64, n: usize) -> f64 {
    let k = (n as f64 * d) as usize + 1;
    let size = 2 * k - 1;
    let h = k as f64 - n as f64 * d;
    let mut matrix = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..size {
            matrix[i * size + j] = if i + 1 < j { 0.0 } else { 1.0 };
        }
    }
    for i in 0..size {
        matrix[i * size] -= h.powi(i as i32 + 1);
        matrix[(size - 1) * size + i] -= h.powi((size - i) as i32);
    }
    if 2.0 * h > 1.0 {
        matrix[(size - 1) * size] += (2.0 * h - 1.0).powi(size as i32);
    }
    for i in 0..size {
        for j in 0..=i {
            for g in 1..=(i + 1 - j) {
                matrix[i * size + j] /= g as f64;
            }
        }
    }
    let (power, mut exponent) = raised(&matrix, size, n);
    let mut value = power[(k - 1) * size + k - 1];
    for i in 1..=n {
        value = value * i as f64 / n as f64;
        if value < 1e-140 {
            value *= 1e140;
            exponent -= 140;
        }
    }
    value * 10.0_f64.powi(exponent)
}

/// The matrix to the power of `n`, and a power of ten that it is to be multiplied with.
fn raised(matrix: &[f64], size: usize, n: usize) -> (Vec<f64>, i32) {
    if n == 1 {
        return (matrix.to_vec(), 0);
    }
    let (half, exponent) = raised(matrix, size, n / 2);
    let square = product(&half, &half, size);
    let (mut power, mut exponent) = if n.is_multiple_of(2) {
        (square, 2 * exponent)
    } else {
        (product(matrix, &square, size), 2 * exponent)
    };
    if power[(size / 2) * size + size / 2] > 1e140 {
        power.iter_mut().for_each(|value| *value *= 1e-140);
        exponent += 140;
    }
    (power, exponent)
}

fn product(a: &[f64], b: &[f64], size: usize) -> Vec<f64> {
    let mut result = vec![0.0; size * size];
    for i in 0..size {
        for k in 0..size {
            let factor = a[i * size + k];
            if factor != 0.0 {
                for j in 0..size {
                    result[i * size + j] += factor * b[k * size + j];
                }
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{p_value, statistic};

    /// Values of scipy.stats.ks_2samp(a, b, method="asymp") of SciPy 1.16.
    #[test]
    fn a_known_case() {
        let a: Vec<f64> = (0..100).map(|at| f64::from(at) / 100.0).collect();
        let b: Vec<f64> = (0..80).map(|at| f64::from(at) / 80.0 + 0.1).collect();
        let d = statistic(&a, &b);
        assert!((d - 0.1125).abs() < 0.02, "{d}");
        assert!(p_value(d, 100, 80) > 0.3);
    }

    #[test]
    fn samples_apart_are_told_apart_and_the_same_are_not() {
        let a: Vec<f64> = (0..200).map(f64::from).collect();
        let b: Vec<f64> = (1000..1200).map(f64::from).collect();
        assert!((statistic(&a, &b) - 1.0).abs() < 1e-12 && p_value(1.0, 200, 200) < 1e-9);
        assert!(statistic(&a, &a) == 0.0 && (p_value(0.0, 200, 200) - 1.0).abs() < 1e-12);
    }

    /// From the tables of Marsaglia, Tsang and Wang: K(10, 0.274) is 0.6284796.
    #[test]
    fn the_distribution_is_that_of_its_source() {
        assert!((super::distribution(0.274, 10) - 0.628_479_615_461_2).abs() < 1e-9);
    }
}
