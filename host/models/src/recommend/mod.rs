//! What resources a model would need, by what it used: the algorithm of the Kubernetes Vertical Pod Autoscaler's recommender, with
//! its defaults, as its documentation and the flags of its binary give them. Pure: time comes in.
//!
//! Of the processor, all samples are kept; of memory, the peak of each day, since one moment without enough ends a process.
//! Old samples count less. A margin is added, and the bounds are wide as long as little was seen: after a day without news the
//! upper one is twice what it would be otherwise, after a week a seventh more.

mod histogram;
mod samples;

use std::time::Duration;

use histogram::Histogram;
use purlin_kernel::api::{Recommendation, ResourceAmounts};

pub(crate) use samples::Samples;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Of all samples, so many are below the lower bound, the target and the upper bound.
const LOWER: f64 = 0.5;
const TARGET: f64 = 0.9;
const UPPER: f64 = 0.95;

/// More than was seen is recommended.
const MARGIN: f64 = 1.15;

/// Nothing is recommended below so many cores and bytes.
const LEAST_CORES: f64 = 0.025;
const LEAST_BYTES: f64 = 250.0 * 1_048_576.0;

/// A sample of the processor weighs as much as the cores that were asked for, but not less than this.
const LEAST_WEIGHT: f64 = 0.1;

/// Amounts that differ by less are the same to a reader.
const NOISE: f64 = 0.05;

/// What one copy or Pod of a model used, on average over a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) cores: f64,
    pub(crate) bytes: f64,
    /// Cores that it asked for.
    pub(crate) requested: f64,
}

/// What a model used.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    cores: Histogram,
    bytes: Histogram,
    /// The peak of memory of the day that is going on, and when the day began.
    peak: Option<(f64, Duration)>,
    /// Since the first sample.
    first: Option<Duration>,
    /// What was observed in all.
    observed: Duration,
}

impl Usage {
    /// Nothing yet.
    pub(crate) fn new() -> Usage {
        Usage {
            cores: Histogram::new(0.01, 1000.0),
            bytes: Histogram::new(1e7, 1e12),
            peak: None,
            first: None,
            observed: Duration::ZERO,
        }
    }

    /// Adds what was used for a while that ended at `at`, counted from any fixed moment.
    pub(crate) fn add(&mut self, sample: Sample, took: Duration, at: Duration) {
        let Sample { cores, bytes, requested } = sample;
        self.first.get_or_insert(at.saturating_sub(took));
        self.observed += took;
        // A sample stands for its time: the weights of the recommender are those of a sample a minute.
        let minutes = took.as_secs_f64() / 60.0;
        self.cores.add(cores, requested.max(LEAST_WEIGHT) * minutes, at);
        match &mut self.peak {
            Some((peak, began)) if at.saturating_sub(*began) < DAY => {
                if bytes > *peak {
                    self.bytes.remove(*peak, 1.0, *began);
                    self.bytes.add(bytes, 1.0, *began);
                    *peak = bytes;
                }
            }
            _ => {
                self.bytes.add(bytes, 1.0, at);
                self.peak = Some((bytes, at));
            }
        }
    }

    /// What is recommended; nothing as long as nothing was seen.
    pub(crate) fn recommendation(&self, at: Duration) -> Option<Recommendation> {
        // In days: what was seen, or the time since it began, whichever is less.
        let lifetime = at.saturating_sub(self.first?).min(self.observed).as_secs_f64();
        let confidence = lifetime / DAY.as_secs_f64();
        if confidence <= 0.0 {
            return None;
        }
        let amounts = |share, factor: f64| ResourceAmounts {
            cpu: cores(self.cores.percentile(share) * MARGIN * factor),
            memory: bytes(self.bytes.percentile(share) * MARGIN * factor),
        };
        Some(Recommendation {
            target: amounts(TARGET, 1.0),
            lower_bound: amounts(LOWER, (1.0 + 0.001 / confidence).powi(-2)),
            upper_bound: amounts(UPPER, 1.0 + 1.0 / confidence),
        })
    }
}

/// Whether a reader would see a difference between two recommendations.
pub(crate) fn differs(before: Option<&Recommendation>, now: &Recommendation) -> bool {
    let Some(before) = before else { return true };
    let amounts = |r: &Recommendation| {
        let pair = |amounts: &ResourceAmounts| [quantity(&amounts.cpu), quantity(&amounts.memory)];
        [pair(&r.target), pair(&r.lower_bound), pair(&r.upper_bound)].concat()
    };
    let differ = |(before, now): (Option<f64>, Option<f64>)| match (before, now) {
        (Some(before), Some(now)) => (before - now).abs() > NOISE * before.abs(),
        _ => true,
    };
    amounts(before).into_iter().zip(amounts(now)).any(differ)
}

/// What [`cores`] and [`bytes`] have written.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "m" => 0.001,
        "Mi" => f64::from(1 << 20),
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|number| number * factor)
}

fn cores(amount: f64) -> String {
    format!("{}m", (amount.max(LEAST_CORES) * 1000.0).ceil())
}

fn bytes(amount: f64) -> String {
    format!("{}Mi", (amount.max(LEAST_BYTES) / f64::from(1 << 20)).ceil())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use purlin_kernel::api::Recommendation;

    use super::{DAY, Sample, Usage, differs, quantity};

    const MINUTE: Duration = Duration::from_secs(60);

    fn sample(cores: f64, bytes: f64) -> Sample {
        Sample { cores, bytes, requested: 0.0 }
    }

    /// So many minutes of the same.
    fn steady(cores: f64, bytes: f64, minutes: u32) -> (Usage, Duration) {
        let mut usage = Usage::new();
        for minute in 1..=minutes {
            usage.add(sample(cores, bytes), MINUTE, MINUTE * minute);
        }
        (usage, MINUTE * minutes)
    }

    fn numbers(recommendation: &Recommendation) -> [f64; 6] {
        let of = |text: &str| quantity(text).unwrap();
        let Recommendation { target, lower_bound, upper_bound } = recommendation;
        [
            of(&lower_bound.cpu),
            of(&target.cpu),
            of(&upper_bound.cpu),
            of(&lower_bound.memory),
            of(&target.memory),
            of(&upper_bound.memory),
        ]
    }

    #[test]
    fn nothing_is_said_before_something_was_seen() {
        assert_eq!(Usage::new().recommendation(DAY), None);
    }

    #[test]
    fn a_day_of_the_same_is_recommended_with_a_margin() {
        let (usage, now) = steady(1.0, 1e9, 24 * 60);
        let [lower, target, upper, low, memory, high] = numbers(&usage.recommendation(now).unwrap());
        // A bucket is a twentieth wide.
        assert!((1.15..1.15 * 1.06).contains(&target), "{target}");
        assert!((target * 0.99..=target).contains(&lower), "{lower} {target}");
        assert!((2.0 * target - 0.01..=2.0 * target + 0.01).contains(&upper), "{upper} {target}");
        assert!((1.15e9..1.15e9 * 1.07).contains(&memory), "{memory}");
        assert!(low <= memory && memory < high);
    }

    #[test]
    fn bounds_come_nearer_as_more_is_seen() {
        let after = |minutes| {
            let (usage, now) = steady(1.0, 1e9, minutes);
            numbers(&usage.recommendation(now).unwrap())
        };
        let (hour, week) = (after(60), after(7 * 24 * 60));
        assert!(hour[2] > 20.0 && week[2] < 1.5, "{hour:?} {week:?}");
        assert!((hour[1] - week[1]).abs() < 0.01);
    }

    #[test]
    fn one_peak_of_memory_a_day_counts() {
        let (mut usage, mut now) = steady(0.1, 4e8, 60);
        now += MINUTE;
        usage.add(sample(0.1, 2e9), MINUTE, now);
        now += MINUTE;
        usage.add(sample(0.1, 4e8), MINUTE, now);
        let memory = numbers(&usage.recommendation(now).unwrap())[4];
        assert!(memory > 2e9, "{memory}");
    }

    #[test]
    fn small_models_get_what_every_process_needs() {
        let (usage, now) = steady(0.0, 1e6, 60);
        let recommendation = usage.recommendation(now).unwrap();
        assert_eq!(
            (recommendation.target.cpu.as_str(), recommendation.target.memory.as_str()),
            ("25m", "250Mi")
        );
    }

    #[test]
    fn a_difference_that_nobody_sees_is_none() {
        let (usage, now) = steady(1.0, 1e9, 24 * 60);
        let before = usage.recommendation(now).unwrap();
        assert!(differs(None, &before));
        assert!(!differs(Some(&before), &usage.recommendation(now).unwrap()));
        let (usage, now) = steady(1.5, 1e9, 24 * 60);
        assert!(differs(Some(&before), &usage.recommendation(now).unwrap()));
        let unread = Recommendation::default();
        assert!(differs(Some(&unread), &before));
    }

    proptest! {
        #[test]
        fn bounds_hold_the_target(samples in proptest::collection::vec((0.0_f64..16.0, 0.0_f64..1e11), 1..200)) {
            let mut usage = Usage::new();
            let mut now = Duration::ZERO;
            for (cores, bytes) in samples {
                now += MINUTE;
                usage.add(sample(cores, bytes), MINUTE, now);
            }
            let [lower, target, upper, low, memory, high] = numbers(&usage.recommendation(now).unwrap());
            prop_assert!(lower <= target && target <= upper);
            prop_assert!(low <= memory && memory <= high);
        }
    }
}
