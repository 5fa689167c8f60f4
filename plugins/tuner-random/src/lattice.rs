//! A draw from evenly spaced values, by position: the one place where a scale is given to something that is counted.
//! Whole numbers and real numbers with a step both come here; what a position means is theirs.

use purlin_sdk::{Random, Scale};

use crate::sample;

/// Evenly spaced values: `min + k * step` for `k` from 0 to `last`.
pub(crate) struct Lattice {
    /// The first value.
    pub(crate) min: f64,
    /// The distance between two; above 0.
    pub(crate) step: f64,
    /// The position of the last value.
    pub(crate) last: u64,
}

impl Lattice {
    /// A position from 0 to `last`.
    ///
    /// On the linear scale every position has the same probability, exactly. On the others a real number is drawn from
    /// the range widened by half a step at each end, and goes to the value next to it, so that the first and the last
    /// value have a whole cell as all others do.
    pub(crate) fn draw(&self, scale: Scale, random: &mut Random) -> u64 {
        if let Scale::Linear = scale {
            return match self.last.checked_add(1) {
                Some(count) => random.below(count),
                None => random.bits(),
            };
        }
        let half = self.step / 2.0;
        let low = match scale {
            // A logarithm needs a bound above 0, which half a step below the first value may not be.
            Scale::Log | Scale::LogNormal => (self.min - half).max(self.min / 2.0),
            Scale::Linear | Scale::Normal => self.min - half,
        };
        let high = self.min + self.last as f64 * self.step + half;
        let position = ((sample::real(low, high, scale, random) - self.min) / self.step).round();
        // The conversion from a float saturates at 0; NaN, which bounds that were validated cannot give, would be 0 too.
        (position as u64).min(self.last)
    }
}
