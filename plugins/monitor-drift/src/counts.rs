//! Comparisons of counts: Pearson's chi-squared test, and the population stability index.

use std::collections::BTreeMap;

/// The chi-squared statistic and its p-value for two samples of categories, as SciPy's `chi2_contingency` has them without
/// Yates' correction.
pub(crate) fn chi_squared(a: &[f64], b: &[f64]) -> (f64, f64) {
    // By the bits: categories are whole numbers, and NaN is one of its own.
    let mut counts: BTreeMap<u64, [f64; 2]> = BTreeMap::new();
    for (at, sample) in [a, b].into_iter().enumerate() {
        for value in sample {
            counts.entry(value.to_bits()).or_default()[at] += 1.0;
        }
    }
    let (of_a, of_b) = (a.len() as f64, b.len() as f64);
    let all = of_a + of_b;
    let mut statistic = 0.0;
    for [in_a, in_b] in counts.values() {
        for (observed, share) in [(in_a, of_a), (in_b, of_b)] {
            let expected = (in_a + in_b) * share / all;
            statistic += (observed - expected).powi(2) / expected;
        }
    }
    let freedom = counts.len().saturating_sub(1) as f64;
    let p = if freedom < 1.0 { 1.0 } else { upper_gamma(freedom / 2.0, statistic / 2.0) };
    (statistic, p)
}

/// The population stability index over ten bins that hold the reference evenly. Above 0.2 is held to be a shift. Both are
/// sorted.
pub(crate) fn stability(reference: &[f64], current: &[f64]) -> f64 {
    const BINS: usize = 10;
    /// In place of an empty bin, whose logarithm there is not.
    const LEAST: f64 = 1e-4;
    let edges: Vec<f64> = (1..BINS).map(|bin| reference[bin * (reference.len() - 1) / BINS]).collect();
    let shares = |sample: &[f64]| {
        let mut counts = [0.0; BINS];
        for value in sample {
            counts[edges.partition_point(|edge| edge < value)] += 1.0;
        }
        counts.map(|count| (count / sample.len() as f64).max(LEAST))
    };
    shares(reference).iter().zip(shares(current)).map(|(a, b)| (b - a) * (b / a).ln()).sum()
}

/// The regularised upper incomplete gamma function: a series below its bend and a continued fraction above, as in
/// W. H. Press and others, "Numerical Recipes", chapter 6.2.
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let scale = (a * x.ln() - x - log_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut at) = (1.0 / a, 1.0 / a, a);
        for _ in 0..1000 {
            at += 1.0;
            term *= x / at;
            sum += term;
            if term < sum * 1e-16 {
                break;
            }
        }
        return (1.0 - sum * scale).clamp(0.0, 1.0);
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / tiny, 1.0 / b);
    let mut fraction = d;
    for at in 1..1000 {
        let at = f64::from(at);
        let an = -at * (at - a);
        b += 2.0;
        d = an * d + b;
        d = 1.0 / if d.abs() < tiny { tiny } else { d };
        c = b + an / c;
        c = if c.abs() < tiny { tiny } else { c };
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (scale * fraction).clamp(0.0, 1.0)
}

/// Lanczos' approximation, with g = 7 and nine terms.
fn log_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum: f64 =
        TERMS[0] + TERMS[1..].iter().zip(1..).map(|(term, at)| term / (x + f64::from(at))).sum::<f64>();
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::{chi_squared, log_gamma, stability, upper_gamma};

    #[test]
    fn functions_have_their_known_values() {
        assert!((log_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-12);
        assert!((log_gamma(10.0) - 362_880.0_f64.ln()).abs() < 1e-11);
        // The upper tail of chi-squared with two degrees of freedom is exp(-x / 2).
        for x in [0.1, 1.0, 5.0, 40.0] {
            assert!((upper_gamma(1.0, x) - (-x).exp()).abs() < 1e-13);
        }
    }

    #[test]
    fn categories_are_compared_by_their_shares() {
        let a: Vec<f64> = [0.0; 30].into_iter().chain([1.0; 70]).collect();
        let b: Vec<f64> = [0.0; 60].into_iter().chain([1.0; 40]).collect();
        let (statistic, p) = chi_squared(&a, &b);
        // 100 (30 * 40 - 70 * 60)^2 * 2 / (90 * 110 * 100 * 100), by hand.
        assert!((statistic - 18.181_818_181_818_18).abs() < 1e-9, "{statistic}");
        assert!((p - 2.008_e-5).abs() < 1e-7, "{p}");
        assert_eq!(chi_squared(&a, &a).0, 0.0);
        assert_eq!(chi_squared(&[1.0], &[1.0]), (0.0, 1.0));
    }

    #[test]
    fn a_shift_is_unstable() {
        let reference: Vec<f64> = (0..1000).map(f64::from).collect();
        let same: Vec<f64> = (0..500).map(|at| f64::from(at) * 2.0).collect();
        let shifted: Vec<f64> = (0..500).map(|at| f64::from(at) + 600.0).collect();
        assert!(stability(&reference, &same) < 0.01);
        assert!(stability(&reference, &shifted) > 1.0);
    }
}
