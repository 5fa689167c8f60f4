//! Support vector machines with kernels, as libsvm computes them (`svm_predict` and `svm_predict_probability`).

use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::math::{dot, largest, squared_distance};
use crate::model::{Classify, Predictor, Regress};

/// How alike two rows are.
#[derive(Clone, Copy)]
enum Kernel {
    Linear,
    Rbf { gamma: f64 },
    Polynomial { gamma: f64, constant: f64, degree: i32 },
    Sigmoid { gamma: f64, constant: f64 },
}

impl Kernel {
    fn read(estimator: &Estimator<'_>) -> Result<Kernel, ModelError> {
        let (gamma, constant) = (|| estimator.number("_gamma"), || estimator.number("coef0"));
        match estimator.text("kernel") {
            "linear" => Ok(Kernel::Linear),
            "rbf" => Ok(Kernel::Rbf { gamma: gamma()? }),
            "sigmoid" => Ok(Kernel::Sigmoid { gamma: gamma()?, constant: constant()? }),
            "poly" => {
                let degree = i32::try_from(estimator.count("degree")?);
                let degree = degree.map_err(|_| estimator.wrong("degree", "it is too large"))?;
                Ok(Kernel::Polynomial { gamma: gamma()?, constant: constant()?, degree })
            }
            other => Err(estimator.unsupported(format!("the kernel {other:?}"))),
        }
    }

    fn value(self, left: &[f64], right: &[f64]) -> f64 {
        match self {
            Kernel::Linear => dot(left, right),
            Kernel::Rbf { gamma } => (-gamma * squared_distance(left, right)).exp(),
            Kernel::Polynomial { gamma, constant, degree } => {
                (gamma * dot(left, right) + constant).powi(degree)
            }
            Kernel::Sigmoid { gamma, constant } => (gamma * dot(left, right) + constant).tanh(),
        }
    }
}

struct Machine {
    kernel: Kernel,
    vectors: Table,
    /// A row for each class but one, a number in it for each vector.
    weights: Table,
    /// One for each pair of classes.
    intercepts: Vec<f64>,
    /// Where the vectors of each class begin, and the end.
    starts: Vec<usize>,
    /// Slope and offset of the sigmoid of each pair.
    sigmoids: Option<(Vec<f64>, Vec<f64>)>,
}

pub(crate) fn predictor(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    if estimator.flag("_sparse", false) {
        return Err(estimator.unsupported("sparse support vectors"));
    }
    let classifier = matches!(estimator.class(), "SVC" | "NuSVC");
    let vectors = estimator.matrix("support_vectors_", columns)?;
    let weights = estimator.matrix("_dual_coef_", vectors.len())?;
    let mut machine = Machine {
        kernel: Kernel::read(estimator)?,
        intercepts: estimator.floats("_intercept_")?,
        starts: vec![0, vectors.len()],
        vectors,
        weights,
        sigmoids: None,
    };
    if !classifier {
        if machine.intercepts.len() != 1 || machine.weights.len() != 1 {
            return Err(estimator.wrong("_intercept_", "there is not one sum"));
        }
        return Ok(Predictor::Regressor(Box::new(machine)));
    }
    let classes = estimator.classes()?;
    let (count, pairs) = (classes.len(), classes.len() * (classes.len() - 1) / 2);
    if machine.intercepts.len() != pairs || machine.weights.len() != count - 1 {
        return Err(
            estimator.wrong("_intercept_", format!("there is not one for each pair of {count} classes"))
        );
    }
    // Named otherwise before 0.24.
    let name = if estimator.find("_n_support").is_some() { "_n_support" } else { "n_support_" };
    machine.starts = vec![0];
    let mut end = 0_usize;
    for vectors in estimator.vector(name, count)? {
        end = end.saturating_add(vectors as usize);
        machine.starts.push(end);
    }
    if end != machine.vectors.len() {
        return Err(estimator.wrong(name, format!("it counts {end} vectors of {}", machine.vectors.len())));
    }
    if estimator.flag("break_ties", false) && count > 2 {
        return Err(estimator.unsupported("break_ties=True"));
    }
    let slopes = ["_probA", "probA_"].into_iter().find(|name| estimator.find(name).is_some());
    let offsets = ["_probB", "probB_"].into_iter().find(|name| estimator.find(name).is_some());
    if let (Some(slopes), Some(offsets)) = (slopes, offsets)
        && !estimator.floats(slopes)?.is_empty()
    {
        machine.sigmoids = Some((estimator.vector(slopes, pairs)?, estimator.vector(offsets, pairs)?));
    }
    Ok(Predictor::Classifier { classes, model: Box::new(machine) })
}

impl Machine {
    fn kernels<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.vectors.rows().map(|vector| self.kernel.value(row, vector))
    }

    fn classes(&self) -> usize {
        self.starts.len() - 1
    }

    /// The sum of each pair of classes, positive for the first of them.
    fn sums(&self, row: &[f64], kernels: &mut Vec<f64>, sums: &mut Vec<f64>) {
        kernels.clear();
        kernels.extend(self.kernels(row));
        sums.clear();
        let part = |of: usize, weights: usize| {
            let vectors = self.starts[of]..self.starts[of + 1];
            let weights = &self.weights.values[weights * self.vectors.len()..][vectors.clone()];
            dot(weights, &kernels[vectors])
        };
        for first in 0..self.classes() {
            for second in first + 1..self.classes() {
                let intercept = self.intercepts[sums.len()];
                sums.push(part(first, second - 1) + part(second, first) + intercept);
            }
        }
    }

    /// The class that wins most pairs.
    fn winner(&self, sums: &[f64], votes: &mut Vec<f64>) -> usize {
        votes.clear();
        votes.resize(self.classes(), 0.0);
        let mut sums = sums.iter();
        for first in 0..self.classes() {
            for second in first + 1..self.classes() {
                let first_wins = sums.next().is_some_and(|sum| *sum > 0.0);
                votes[if first_wins { first } else { second }] += 1.0;
            }
        }
        largest(votes)
    }
}

impl Classify for Machine {
    fn decide(&self, table: &Table) -> Vec<usize> {
        let (mut kernels, mut sums, mut votes) = (Vec::new(), Vec::new(), Vec::new());
        let decide = |row: &[f64]| {
            self.sums(row, &mut kernels, &mut sums);
            self.winner(&sums, &mut votes)
        };
        table.rows().map(decide).collect()
    }

    fn has_probabilities(&self) -> bool {
        self.sigmoids.is_some()
    }

    fn probabilities(&self, table: &Table) -> Vec<f64> {
        let Some((slopes, offsets)) = &self.sigmoids else { return Vec::new() };
        let (mut kernels, mut sums, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for row in table.rows() {
            self.sums(row, &mut kernels, &mut sums);
            let pairs = sums.iter().zip(slopes).zip(offsets);
            let pairs: Vec<f64> = pairs
                .map(|((sum, slope), offset)| pair(*sum, *slope, *offset).clamp(1e-7, 1.0 - 1e-7))
                .collect();
            found.extend(couple(&pairs, self.classes()));
        }
        found
    }
}

/// The probability of the first class of a pair, computed without overflow.
fn pair(sum: f64, slope: f64, offset: f64) -> f64 {
    let exponent = sum * slope + offset;
    if exponent >= 0.0 { (-exponent).exp() / (1.0 + (-exponent).exp()) } else { 1.0 / (1.0 + exponent.exp()) }
}

/// Probabilities of classes from those of pairs: method 2 of Wu, Lin and Weng, "Probability estimates for multi-class
/// classification by pairwise coupling" (2004), with libsvm's bounds.
fn couple(pairs: &[f64], classes: usize) -> Vec<f64> {
    let mut won = vec![0.0; classes * classes];
    let mut pairs = pairs.iter();
    for first in 0..classes {
        for second in first + 1..classes {
            let probability = pairs.next().copied().unwrap_or(0.5);
            won[first * classes + second] = probability;
            won[second * classes + first] = 1.0 - probability;
        }
    }
    let mut quadratic = vec![0.0; classes * classes];
    for at in 0..classes {
        for other in (0..classes).filter(|other| *other != at) {
            let (lost, wins) = (won[other * classes + at], won[at * classes + other]);
            quadratic[at * classes + at] += lost * lost;
            quadratic[at * classes + other] = -lost * wins;
        }
    }
    let mut found = vec![1.0 / classes as f64; classes];
    let mut products = vec![0.0; classes];
    let precision = 0.005 / classes as f64;
    for _ in 0..classes.max(100) {
        let mut whole = 0.0;
        for (at, product) in products.iter_mut().enumerate() {
            *product = dot(&quadratic[at * classes..(at + 1) * classes], &found);
            whole += found[at] * *product;
        }
        let error = products.iter().map(|product| (product - whole).abs()).fold(0.0, f64::max);
        if error < precision {
            break;
        }
        for at in 0..classes {
            let own = quadratic[at * classes + at];
            let difference = (whole - products[at]) / own;
            found[at] += difference;
            let scale = 1.0 + difference;
            whole = (whole + difference * (difference * own + 2.0 * products[at])) / scale / scale;
            for other in 0..classes {
                products[other] = (products[other] + difference * quadratic[at * classes + other]) / scale;
                found[other] /= scale;
            }
        }
    }
    found
}

impl Regress for Machine {
    fn values(&self, table: &Table) -> Vec<f64> {
        let weights = &self.weights.values;
        let sum = |row: &[f64]| -> f64 {
            self.kernels(row).zip(weights).map(|(kernel, weight)| kernel * weight).sum::<f64>()
                + self.intercepts[0]
        };
        table.rows().map(sum).collect()
    }
}
