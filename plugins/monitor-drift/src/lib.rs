//! Says whether what a model is asked has drifted away from what it was asked before: by feature, with one of four methods.
//!
//! | Method | Statistic | Drift where |
//! |---|---|---|
//! | `ks` | Kolmogorov-Smirnov distance | a p-value is below `p_value` (0.05) over the number of features |
//! | `chi2` | Pearson's chi-squared, for categories | the same |
//! | `psi` | population stability index | one is above `threshold` (0.2) |
//! | `outlier` | share of rows beyond `threshold` (5) robust deviations | one is above `rate` (0.05) |
//!
//! The division by the number of features is Bonferroni's correction: with many features one is far off by chance. The
//! setting `method` names the method; without it, it is `ks`.

mod counts;
mod kolmogorov;

use purlin_sdk::monitor::{Report, Score, Window};
use purlin_sdk::{Fault, Monitor, NamedTensor, Setting, fault, tensor};

/// Features that are compared at most.
const MAX_FEATURES: usize = 10_000;

/// Scores in a report; the worst ones, where there are more.
const MAX_SCORES: usize = 100;

/// The monitor.
pub struct Drift;

impl Monitor for Drift {
    fn compare(window: Window) -> Result<Report, Fault> {
        let settings = Settings::of(&window.settings)?;
        let mut scores = Vec::new();
        for (reference, current) in pairs(&window)? {
            let (before, now) = (Columns::of(reference)?, Columns::of(current)?);
            if before.columns.len() != now.columns.len() {
                return Err(Fault::Failed("the two windows have other numbers of features".to_owned()));
            }
            for (at, (before, now)) in before.columns.into_iter().zip(now.columns).enumerate() {
                let feature = format!("{}[{at}]", reference.name);
                scores.push(settings.score(feature, before, now));
            }
        }
        if scores.is_empty() {
            return Err(Fault::Failed("there is nothing to compare".to_owned()));
        }
        Ok(settings.report(scores))
    }
}

fn pairs(window: &Window) -> Result<Vec<(&NamedTensor, &NamedTensor)>, Fault> {
    let of = |reference: &'_ NamedTensor| {
        let name = reference.name.clone();
        let same = window.current.iter().find(|current| current.name == name);
        same.ok_or_else(|| Fault::Failed(format!("{name} is in one of the windows only")))
    };
    window.reference.iter().map(|reference| Ok((reference, of(reference)?))).collect()
}

/// The values of each feature.
struct Columns {
    columns: Vec<Vec<f64>>,
}

impl Columns {
    fn of(named: &NamedTensor) -> Result<Columns, Fault> {
        let numbers = tensor::numbers(&named.value, &named.name)?;
        let rows = named.value.shape().first().copied().unwrap_or(0) as usize;
        if rows == 0 || !numbers.len().is_multiple_of(rows) {
            return Err(Fault::Failed(format!("{} has no rows", named.name)));
        }
        let width = numbers.len() / rows;
        if width > MAX_FEATURES {
            return Err(Fault::Failed(format!(
                "{} has {width} features; {MAX_FEATURES} can be compared",
                named.name
            )));
        }
        let column = |at: usize| numbers.iter().skip(at).step_by(width.max(1)).copied().collect();
        Ok(Columns { columns: (0..width).map(column).collect() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Ks,
    ChiSquared,
    Stability,
    Outlier,
}

struct Settings {
    method: Method,
    p_value: f64,
    threshold: f64,
    rate: f64,
}

impl Settings {
    fn of(settings: &[Setting]) -> Result<Settings, Fault> {
        let found = |name: &str| settings.iter().find(|setting| setting.name == name);
        let number = |name: &str, usual: f64, most: f64| match found(name) {
            None => Ok(usual),
            Some(setting) => {
                let parsed = setting.value.parse::<f64>().ok().filter(|value| *value > 0.0 && *value <= most);
                let reason = format!("a number above 0 and not above {most}");
                parsed.ok_or_else(|| {
                    fault::invalid(format!("spec.monitoring.settings[{name}]"), &setting.value, reason)
                })
            }
        };
        let method = match found("method").map(|setting| setting.value.as_str()) {
            None | Some("ks") => Method::Ks,
            Some("chi2") => Method::ChiSquared,
            Some("psi") => Method::Stability,
            Some("outlier") => Method::Outlier,
            Some(other) => {
                let reason = "one of ks, chi2, psi and outlier";
                return Err(fault::invalid("spec.monitoring.settings[method]", other, reason));
            }
        };
        let usual = if method == Method::Outlier { 5.0 } else { 0.2 };
        Ok(Settings {
            method,
            p_value: number("p_value", 0.05, 1.0)?,
            threshold: number("threshold", usual, f64::MAX)?,
            rate: number("rate", 0.05, 1.0)?,
        })
    }

    fn score(&self, feature: String, mut before: Vec<f64>, mut now: Vec<f64>) -> Score {
        before.sort_unstable_by(f64::total_cmp);
        now.sort_unstable_by(f64::total_cmp);
        let (statistic, p_value) = match self.method {
            Method::Ks => {
                let statistic = kolmogorov::statistic(&before, &now);
                (statistic, Some(kolmogorov::p_value(statistic, before.len(), now.len())))
            }
            Method::ChiSquared => {
                let (statistic, p) = counts::chi_squared(&before, &now);
                (statistic, Some(p))
            }
            Method::Stability => (counts::stability(&before, &now), None),
            Method::Outlier => (outliers(&before, &now, self.threshold), None),
        };
        Score { feature, statistic, p_value }
    }

    fn report(&self, mut scores: Vec<Score>) -> Report {
        let features = scores.len();
        let limit = self.p_value / features as f64;
        let drifted = |score: &Score| match self.method {
            Method::Ks | Method::ChiSquared => score.p_value.is_some_and(|p| p < limit),
            Method::Stability => score.statistic > self.threshold,
            Method::Outlier => score.statistic > self.rate,
        };
        let count = scores.iter().filter(|score| drifted(score)).count();
        let badness = |score: &Score| score.p_value.map_or(score.statistic, |p| -p);
        scores.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        scores.truncate(MAX_SCORES);
        let worst = &scores[0];
        let name = match self.method {
            Method::Ks => "ks",
            Method::ChiSquared => "chi2",
            Method::Stability => "psi",
            Method::Outlier => "outlier",
        };
        let p = worst.p_value.map_or_else(String::new, |p| format!(", p {p:.3e}"));
        let summary = format!(
            "{name}: {count} of {features} features changed; most {} (statistic {:.4}{p})",
            worst.feature, worst.statistic
        );
        Report { drift: count > 0, summary, scores }
    }
}

/// The share of values that lie more than so many deviations from the reference's median. The deviation is the median one,
/// scaled to be the standard deviation of a normal distribution. Both are sorted.
fn outliers(reference: &[f64], current: &[f64], deviations: f64) -> f64 {
    let middle = |sorted: &[f64]| sorted[sorted.len() / 2];
    let center = middle(reference);
    let mut distances: Vec<f64> = reference.iter().map(|value| (value - center).abs()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    let limit = middle(&distances) * 1.4826 * deviations;
    let beyond = |value: &&f64| (*value - center).abs() > limit || value.is_nan();
    current.iter().filter(beyond).count() as f64 / current.len() as f64
}

purlin_sdk::export_monitor!(Drift);

#[cfg(test)]
mod tests {
    use purlin_sdk::{Random, Setting};

    use super::{Method, Settings};

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let setting =
            |(name, value): &(&str, &str)| Setting { name: (*name).to_owned(), value: (*value).to_owned() };
        Settings::of(&pairs.iter().map(setting).collect::<Vec<_>>()).unwrap()
    }

    fn normal(count: usize, mean: f64, stream: u64) -> Vec<f64> {
        let mut random = Random::new(11, stream);
        (0..count).map(|_| random.normal() + mean).collect()
    }

    #[test]
    fn each_method_tells_a_shift_from_none() {
        for method in ["ks", "psi", "outlier"] {
            let settings = settings(&[("method", method)]);
            let score = |mean| settings.score("x[0]".to_owned(), normal(1000, 0.0, 1), normal(500, mean, 2));
            assert!(!settings.report(vec![score(0.0)]).drift, "{method}");
            let shifted = settings.report(vec![score(6.0)]);
            assert!(shifted.drift, "{method}: {}", shifted.summary);
        }
    }

    #[test]
    fn many_features_need_a_stronger_sign() {
        let settings = settings(&[]);
        assert_eq!(settings.method, Method::Ks);
        let score =
            |p| purlin_sdk::monitor::Score { feature: "x".to_owned(), statistic: 0.1, p_value: Some(p) };
        assert!(settings.report(vec![score(0.01)]).drift);
        let many: Vec<_> = (0..100).map(|_| score(0.01)).collect();
        assert!(!settings.report(many).drift);
    }

    #[test]
    fn wrong_settings_are_named() {
        let wrong = |name: &str, value: &str| {
            let setting = Setting { name: name.to_owned(), value: value.to_owned() };
            format!("{:?}", Settings::of(&[setting]).err())
        };
        assert!(wrong("method", "guess").contains("spec.monitoring.settings[method]"));
        assert!(wrong("p_value", "2").contains("p_value"));
        assert!(wrong("rate", "NaN").contains("rate"));
    }
}
