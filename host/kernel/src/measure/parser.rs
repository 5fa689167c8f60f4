//! Chooses how lines are read, by a metrics collector's settings.

use std::collections::BTreeSet;

use super::json::read_line;
use super::series::Series;
use super::text::TextFilter;
use crate::api::{MetricFormat, MetricsCollector, Objective};

pub use super::text::FilterError;

/// A line longer than this is not read: no metric needs it, and a program that prints no line break must not fill
/// memory.
pub(super) const LONGEST_LINE: usize = 64 * 1024;

/// Reads the metrics of one objective out of lines.
#[derive(Debug)]
pub struct LineParser {
    form: Form,
    wanted: BTreeSet<String>,
}

#[derive(Debug)]
enum Form {
    Text(TextFilter),
    Json,
}

impl LineParser {
    /// A parser for what an objective asks for, in a collector's form.
    ///
    /// # Errors
    /// A filter is no regular expression with two groups.
    pub fn new(objective: &Objective, collector: &MetricsCollector) -> Result<Self, FilterError> {
        let form = match collector.format {
            MetricFormat::Text => Form::Text(TextFilter::new(&collector.filter)?),
            MetricFormat::Json => Form::Json,
        };
        let wanted = objective.additional_metrics.iter().chain([&objective.metric]).cloned().collect();
        Ok(LineParser { form, wanted })
    }

    /// Reads one line, without its line break.
    pub fn line(&self, line: &str, series: &mut Series) {
        if line.len() > LONGEST_LINE {
            return;
        }
        let mut found = |name: &str, value: &str| {
            if self.wanted.contains(name) {
                series.push(name, value);
            }
        };
        match &self.form {
            Form::Text(filter) => filter.read_line(line, &mut found),
            Form::Json => read_line(line, &mut found),
        }
    }

    /// Reads a whole text.
    pub fn text(&self, text: &str, series: &mut Series) {
        text.lines().for_each(|line| self.line(line, series));
    }
}

#[cfg(test)]
mod tests {
    use super::LineParser;
    use crate::api::{MetricFormat, MetricsCollector, Objective};
    use crate::measure::Series;
    use proptest::prelude::*;

    fn parse(format: MetricFormat, text: &str) -> Series {
        let objective = Objective {
            metric: "accuracy".to_owned(),
            additional_metrics: vec!["loss".to_owned()],
            ..Objective::default()
        };
        let collector = MetricsCollector { format, ..MetricsCollector::default() };
        let mut series = Series::default();
        LineParser::new(&objective, &collector).unwrap().text(text, &mut series);
        series
    }

    #[test]
    fn only_the_objective_s_metrics_are_kept() {
        let series = parse(MetricFormat::Text, "epoch=1 accuracy=0.5\nloss = 1e-2, time=3\n");
        let names: Vec<_> = series.metrics().into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["accuracy", "loss"]);
    }

    #[test]
    fn json_lines_are_read_and_other_lines_passed_over() {
        let text =
            "starting\n{\"accuracy\": 0.25, \"loss\": \"0.75\", \"epoch\": 1}\n{broken\n{\"accuracy\": 0.5}";
        let metrics = parse(MetricFormat::Json, text).metrics();
        assert_eq!((metrics[0].latest.as_str(), metrics[0].min.as_str()), ("0.5", "0.25"));
        assert_eq!(metrics[1].latest, "0.75");
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let long = format!("accuracy=0.5 {}", "x".repeat(super::LONGEST_LINE));
        assert!(parse(MetricFormat::Text, &long).metrics().is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*(\n\\PC*)*", json: bool) {
            parse(if json { MetricFormat::Json } else { MetricFormat::Text }, &text);
        }

        #[test]
        fn text_that_looks_like_metrics_is_read(
            lines in proptest::collection::vec("(accuracy|loss|x) ?= ?[-+.0-9eE]{0,12}", 0..40),
        ) {
            let series = parse(MetricFormat::Text, &lines.join("\n"));
            for metric in series.metrics() {
                prop_assert!(metric.latest.parse::<f64>().is_ok(), "{metric:?}");
            }
        }
    }
}
