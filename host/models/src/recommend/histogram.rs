//! A histogram whose samples lose weight as they age. Its buckets grow by a constant factor, so that the relative error is the
//! same for small amounts and large ones.

use std::time::Duration;

/// A sample has half its weight after so long.
const HALF_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Each bucket ends so many times as far out as the one before.
const GROWTH: f64 = 1.05;

/// Weights are brought down before numbers become too large to add small ones to.
const LARGEST_EXPONENT: f64 = 100.0;

/// Buckets that hold less are empty.
const NOTHING: f64 = 0.0001;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// Where the first bucket ends.
    first: f64,
    weights: Vec<f64>,
    total: f64,
    /// The time at which a new sample has the weight that it was given.
    reference: Duration,
}

impl Histogram {
    /// Empty. The first bucket ends at `first`, the last one begins at `largest`.
    pub(super) fn new(first: f64, largest: f64) -> Histogram {
        let mut histogram = Histogram { first, weights: Vec::new(), total: 0.0, reference: Duration::ZERO };
        histogram.weights = vec![0.0; histogram.bucket_unbounded(largest) + 1];
        histogram
    }

    /// Adds a sample of a moment, counted from any fixed one.
    pub(super) fn add(&mut self, value: f64, weight: f64, at: Duration) {
        let weight = weight * self.scale(at);
        let bucket = self.bucket(value);
        self.weights[bucket] += weight;
        self.total += weight;
    }

    /// Takes a sample away that was added with the same arguments.
    pub(super) fn remove(&mut self, value: f64, weight: f64, at: Duration) {
        let weight = weight * self.scale(at);
        let bucket = self.bucket(value);
        self.weights[bucket] = (self.weights[bucket] - weight).max(0.0);
        self.total = (self.total - weight).max(0.0);
    }

    /// The end of the bucket below which lies a share of all weights, from 0 to 1. Zero if there are none.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        if self.total < NOTHING {
            return 0.0;
        }
        let (wanted, mut sum) = (share * self.total, 0.0);
        let last = self.weights.iter().rposition(|weight| *weight > NOTHING * self.total).unwrap_or(0);
        for (bucket, weight) in self.weights.iter().enumerate().take(last + 1) {
            sum += weight;
            if sum >= wanted {
                return self.end(bucket);
            }
        }
        self.end(last)
    }

    /// By how much a sample of a moment outweighs one of the reference.
    fn scale(&mut self, at: Duration) -> f64 {
        let exponent =
            |reference: Duration| (at.as_secs_f64() - reference.as_secs_f64()) / HALF_LIFE.as_secs_f64();
        if exponent(self.reference) > LARGEST_EXPONENT {
            let down = exponent(self.reference).exp2().recip();
            self.weights.iter_mut().for_each(|weight| *weight *= down);
            self.total *= down;
            self.reference = at;
        }
        exponent(self.reference).exp2()
    }

    fn bucket(&self, value: f64) -> usize {
        self.bucket_unbounded(value).min(self.weights.len() - 1)
    }

    fn bucket_unbounded(&self, value: f64) -> usize {
        if value < self.first {
            return 0;
        }
        // The ends are a geometric series: first * (1 + g + g^2 + ...).
        let log = (value * (GROWTH - 1.0) / self.first + 1.0).ln() / GROWTH.ln();
        log as usize
    }

    fn end(&self, bucket: usize) -> f64 {
        self.first * (GROWTH.powi(bucket as i32 + 1) - 1.0) / (GROWTH - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{GROWTH, HALF_LIFE, Histogram};

    fn cores() -> Histogram {
        Histogram::new(0.01, 1000.0)
    }

    #[test]
    fn nothing_needs_nothing() {
        assert!(cores().percentile(0.9).abs() < f64::EPSILON);
    }

    #[test]
    fn shares_of_what_was_seen() {
        let mut histogram = cores();
        for percent in 1..=100 {
            histogram.add(f64::from(percent) / 100.0, 1.0, Duration::ZERO);
        }
        for share in [0.5, 0.9, 0.95] {
            let found = histogram.percentile(share);
            assert!((share..share * GROWTH + 0.01).contains(&found), "{share}: {found}");
        }
    }

    #[test]
    fn what_is_old_counts_less() {
        let mut histogram = cores();
        // Two samples a day ago weigh as much as one now.
        for _ in 0..2 {
            histogram.add(4.0, 1.0, Duration::ZERO);
        }
        histogram.add(1.0, 1.0, HALF_LIFE);
        histogram.add(1.0, 0.01, HALF_LIFE);
        assert!(histogram.percentile(0.5) < 1.1);
        histogram.add(4.0, 0.03, HALF_LIFE);
        assert!(histogram.percentile(0.5) > 3.9);
    }

    #[test]
    fn a_year_does_not_lose_the_scale() {
        let mut histogram = cores();
        for day in 0..365 {
            histogram.add(2.0, 1.0, HALF_LIFE * day);
            histogram.add(0.5, 3.0, HALF_LIFE * day);
        }
        assert!(histogram.total.is_finite());
        let (half, most) = (histogram.percentile(0.5), histogram.percentile(0.9));
        assert!((0.5..0.55).contains(&half) && (2.0..2.2).contains(&most), "{half} {most}");
    }

    proptest! {
        #[test]
        fn a_value_is_within_its_bucket(value in 0.0_f64..900.0) {
            let histogram = cores();
            let bucket = histogram.bucket(value);
            prop_assert!(value <= histogram.end(bucket) * (1.0 + 1e-9));
            prop_assert!(bucket == 0 || value >= histogram.end(bucket - 1) * (1.0 - 1e-9));
        }

        #[test]
        fn a_larger_share_needs_no_less(
            values in proptest::collection::vec((0.0_f64..2000.0, 0.1_f64..4.0), 1..60),
            shares in (0.0_f64..1.0, 0.0_f64..1.0),
        ) {
            let mut histogram = cores();
            for (value, weight) in values {
                histogram.add(value, weight, Duration::ZERO);
            }
            let (less, more) = (shares.0.min(shares.1), shares.0.max(shares.1));
            prop_assert!(histogram.percentile(less) <= histogram.percentile(more));
        }

        #[test]
        fn what_is_taken_away_was_never_there(value in 0.0_f64..900.0, other in 0.0_f64..900.0, days in 0_u32..300) {
            let at = HALF_LIFE * days;
            let (mut one, mut both) = (cores(), cores());
            one.add(value, 1.0, at);
            both.add(value, 1.0, at);
            both.add(other, 1.0, at);
            both.remove(other, 1.0, at);
            prop_assert_eq!(one.percentile(0.9), both.percentile(0.9));
        }
    }
}
