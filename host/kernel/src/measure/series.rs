//! The readings of a trial's metrics, in memory that does not grow with the length of the log.
//!
//! Latest, smallest and largest are exact, and kept in the text that the program printed. Of the readings in between,
//! at most [`READINGS_KEPT`] a metric are kept, evenly spread: when there are too many, every other one is let go and
//! from then on only every second, fourth, ... is taken. The first and the last are always there.

use std::collections::BTreeMap;

use crate::api::{Measurement, ObservedMetric};

/// Readings kept of one metric.
pub const READINGS_KEPT: usize = 256;

/// The readings of several metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    metrics: BTreeMap<String, Readings>,
}

#[derive(Clone, Debug, PartialEq)]
struct Readings {
    min: (f64, String),
    max: (f64, String),
    latest: String,
    count: u64,
    stride: u64,
    kept: Vec<(u64, String)>,
}

impl Series {
    /// Takes a reading. What is no number is passed over.
    pub fn push(&mut self, metric: &str, text: &str) {
        let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) else { return };
        match self.metrics.get_mut(metric) {
            Some(readings) => readings.push(value, text),
            None => {
                self.metrics.insert(metric.to_owned(), Readings::first(value, text));
            }
        }
    }

    /// Takes up a series where a Trial's status left it.
    pub fn resume(metrics: &[ObservedMetric], measurements: &[Measurement]) -> Self {
        let mut series = Series::default();
        for measurement in measurements {
            series.push(&measurement.metric, &measurement.value);
            if let Some(readings) = series.metrics.get_mut(&measurement.metric) {
                if let Some(last) = readings.kept.last_mut() {
                    last.0 = measurement.step;
                }
                readings.count = measurement.step + 1;
            }
        }
        for metric in metrics {
            if let Some(readings) = series.metrics.get_mut(&metric.name) {
                for (text, extreme) in [(&metric.min, &mut readings.min), (&metric.max, &mut readings.max)] {
                    if let Ok(value) = text.parse() {
                        *extreme = (value, text.clone());
                    }
                }
                let gaps = readings.kept.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0));
                readings.stride = gaps.min().unwrap_or(1).max(1).next_power_of_two();
            }
        }
        series
    }

    /// Latest, smallest and largest of each metric, by name.
    pub fn metrics(&self) -> Vec<ObservedMetric> {
        let metric = |(name, readings): (&String, &Readings)| ObservedMetric {
            name: name.clone(),
            latest: readings.latest.clone(),
            min: readings.min.1.clone(),
            max: readings.max.1.clone(),
        };
        self.metrics.iter().map(metric).collect()
    }

    /// The readings that were kept, by name and step.
    pub fn measurements(&self) -> Vec<Measurement> {
        let of = |(name, readings): (&String, &Readings)| {
            let last = readings.count - 1;
            let mut kept: Vec<_> = readings
                .kept
                .iter()
                .filter(|(step, _)| *step != last)
                .map(|(step, text)| (*step, text.clone()))
                .collect();
            kept.push((last, readings.latest.clone()));
            let metric = name.clone();
            kept.into_iter()
                .map(|(step, value)| Measurement { metric: metric.clone(), step, value })
                .collect::<Vec<_>>()
        };
        self.metrics.iter().flat_map(of).collect()
    }

    /// Whether a metric has a reading.
    pub fn has(&self, metric: &str) -> bool {
        self.metrics.contains_key(metric)
    }
}

impl Readings {
    fn first(value: f64, text: &str) -> Self {
        Readings {
            min: (value, text.to_owned()),
            max: (value, text.to_owned()),
            latest: text.to_owned(),
            count: 1,
            stride: 1,
            kept: vec![(0, text.to_owned())],
        }
    }

    fn push(&mut self, value: f64, text: &str) {
        if value < self.min.0 {
            self.min = (value, text.to_owned());
        }
        if value > self.max.0 {
            self.max = (value, text.to_owned());
        }
        text.clone_into(&mut self.latest);
        let step = self.count;
        self.count += 1;
        if !step.is_multiple_of(self.stride) {
            return;
        }
        self.kept.push((step, text.to_owned()));
        // One place stays free for the last reading, which may fall between two strides.
        while self.kept.len() >= READINGS_KEPT {
            self.stride *= 2;
            let stride = self.stride;
            self.kept.retain(|(step, _)| step.is_multiple_of(stride));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{READINGS_KEPT, Series};
    use proptest::prelude::*;

    #[test]
    fn values_keep_the_text_that_was_printed() {
        let mut series = Series::default();
        for text in ["0.50", "1e-1", "0.930"] {
            series.push("a", text);
        }
        let metric = &series.metrics()[0];
        assert_eq!((&*metric.latest, &*metric.min, &*metric.max), ("0.930", "1e-1", "0.930"));
    }

    #[test]
    fn what_is_no_number_is_passed_over() {
        let mut series = Series::default();
        for text in ["", "NaN", "inf", "x", "1.2.3"] {
            series.push("a", text);
        }
        assert!(!series.has("a"));
    }

    proptest! {
        #[test]
        fn long_series_are_thinned_and_keep_their_ends(count in 1..5000_usize) {
            let mut series = Series::default();
            for step in 0..count {
                series.push("a", &step.to_string());
            }
            let kept = series.measurements();
            prop_assert!(kept.len() <= READINGS_KEPT);
            prop_assert!(kept.len() >= count.min(READINGS_KEPT / 2));
            prop_assert_eq!(kept[0].step, 0);
            prop_assert_eq!(kept[kept.len() - 1].step, count as u64 - 1);
            prop_assert!(kept.windows(2).all(|pair| pair[0].step < pair[1].step));
        }

        #[test]
        fn a_series_in_two_parts_keeps_its_extremes(values in proptest::collection::vec(-1e6..1e6_f64, 2..600), cut in 1..599_usize) {
            let cut = cut.min(values.len() - 1);
            let (mut whole, mut part) = (Series::default(), Series::default());
            values.iter().for_each(|value| whole.push("a", &value.to_string()));
            values[..cut].iter().for_each(|value| part.push("a", &value.to_string()));
            let mut resumed = Series::resume(&part.metrics(), &part.measurements());
            values[cut..].iter().for_each(|value| resumed.push("a", &value.to_string()));
            prop_assert_eq!(resumed.metrics(), whole.metrics());
            prop_assert!(resumed.measurements().len() <= READINGS_KEPT);
            prop_assert_eq!(resumed.measurements().last().map(|m| m.step), Some(values.len() as u64 - 1));
        }
    }
}
