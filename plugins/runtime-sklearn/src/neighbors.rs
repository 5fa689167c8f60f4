//! Predictors that look for what is near: neighbors among the rows that were fitted, and centers of clusters. All distances
//! are computed; the trees in which scikit-learn may have sorted the rows are not read.

use purlin_tabular::{ModelError, Table, Values};

use crate::attributes::Estimator;
use crate::math::{largest, normalize, squared_distance};
use crate::model::{Classify, Predictor, Regress};

/// How far rows are from each other.
#[derive(Clone, Copy)]
enum Metric {
    Euclidean,
    Manhattan,
    Chebyshev,
    Minkowski(f64),
}

impl Metric {
    fn read(estimator: &Estimator<'_>) -> Result<Metric, ModelError> {
        let parameter = || {
            let parameters = estimator.find("effective_metric_params_");
            parameters.and_then(|parameters| parameters.entry("p")?.number()).unwrap_or(2.0)
        };
        match estimator.text("effective_metric_") {
            "euclidean" | "l2" => Ok(Metric::Euclidean),
            "manhattan" | "cityblock" | "l1" => Ok(Metric::Manhattan),
            "chebyshev" | "infinity" => Ok(Metric::Chebyshev),
            "minkowski" => Ok(Metric::Minkowski(parameter())),
            other => Err(estimator.unsupported(format!("the metric {other:?}"))),
        }
    }

    fn distance(self, left: &[f64], right: &[f64]) -> f64 {
        let apart = left.iter().zip(right).map(|(left, right)| (left - right).abs());
        match self {
            Metric::Euclidean => squared_distance(left, right).sqrt(),
            Metric::Manhattan => apart.sum(),
            Metric::Chebyshev => apart.fold(0.0, f64::max),
            Metric::Minkowski(power) => apart.map(|apart| apart.powf(power)).sum::<f64>().powf(1.0 / power),
        }
    }
}

struct Neighbors {
    rows: Table,
    count: usize,
    metric: Metric,
    /// Whether near ones count more.
    weighted: bool,
    /// What is known of each row: its class, or its numbers.
    known: Vec<f64>,
    /// Classes, or numbers of a row.
    width: usize,
    several: bool,
}

pub(crate) fn predictor(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let rows = estimator.matrix("_fit_X", columns)?;
    let count = estimator.count("n_neighbors")?;
    if count == 0 || count > rows.len() {
        return Err(estimator.wrong("n_neighbors", format!("{count} neighbors of {} rows", rows.len())));
    }
    let weighted = match estimator.find("weights") {
        None => false,
        Some(weights) => match weights.text() {
            Some("uniform") => false,
            Some("distance") => true,
            _ => return Err(estimator.unsupported("weights that are a function of its own")),
        },
    };
    let metric = Metric::read(estimator)?;
    let (known, shape) = (estimator.floats("_y")?, estimator.get("_y")?.shape().unwrap_or_default());
    let neighbors = |width, several| Neighbors {
        rows: rows.clone(),
        count,
        metric,
        weighted,
        known: known.clone(),
        width,
        several,
    };
    if estimator.class() == "KNeighborsRegressor" {
        let width = known.len() / rows.len();
        if width == 0 || known.len() != width * rows.len() {
            return Err(
                estimator.wrong("_y", format!("there are {} numbers for {} rows", known.len(), rows.len()))
            );
        }
        return Ok(Predictor::Regressor(Box::new(neighbors(width, shape.len() == 2))));
    }
    let classes = estimator.classes()?;
    let fits = |class: &f64| (0.0..classes.len() as f64).contains(class);
    if known.len() != rows.len() || !known.iter().all(fits) {
        return Err(estimator.wrong("_y", "there is not one of the classes for each row"));
    }
    let model = Box::new(neighbors(classes.len(), false));
    Ok(Predictor::Classifier { classes, model })
}

impl Neighbors {
    /// The nearest rows and their weights, the nearest first.
    fn nearest(&self, row: &[f64]) -> Vec<(usize, f64)> {
        let distance = |(index, other)| (index, self.metric.distance(row, other));
        let mut all: Vec<(usize, f64)> = self.rows.rows().enumerate().map(distance).collect();
        let nearer =
            |left: &(usize, f64), right: &(usize, f64)| left.1.total_cmp(&right.1).then(left.0.cmp(&right.0));
        if self.count < all.len() {
            all.select_nth_unstable_by(self.count - 1, nearer);
            all.truncate(self.count);
        }
        all.sort_by(nearer);
        let same = all.iter().any(|(_, distance)| *distance == 0.0);
        for (_, distance) in &mut all {
            *distance = match (self.weighted, same) {
                (false, _) => 1.0,
                // Rows that are the same count alone.
                (true, true) => f64::from(u8::from(*distance == 0.0)),
                (true, false) => 1.0 / *distance,
            };
        }
        all
    }

    fn votes(&self, table: &Table) -> Vec<f64> {
        let mut votes = vec![0.0; table.len() * self.width];
        for (row, votes) in table.rows().zip(votes.chunks_exact_mut(self.width)) {
            for (neighbor, weight) in self.nearest(row) {
                votes[self.known[neighbor] as usize] += weight;
            }
        }
        votes
    }
}

impl Classify for Neighbors {
    fn decide(&self, table: &Table) -> Vec<usize> {
        self.votes(table).chunks_exact(self.width).map(largest).collect()
    }

    fn probabilities(&self, table: &Table) -> Vec<f64> {
        let mut votes = self.votes(table);
        votes.chunks_exact_mut(self.width).for_each(normalize);
        votes
    }
}

impl Regress for Neighbors {
    fn width(&self) -> Option<usize> {
        self.several.then_some(self.width)
    }

    fn values(&self, table: &Table) -> Vec<f64> {
        let mut found = vec![0.0; table.len() * self.width];
        for (row, sums) in table.rows().zip(found.chunks_exact_mut(self.width)) {
            let mut total = 0.0;
            for (neighbor, weight) in self.nearest(row) {
                total += weight;
                let known = &self.known[neighbor * self.width..(neighbor + 1) * self.width];
                for (sum, known) in sums.iter_mut().zip(known) {
                    *sum += known * weight;
                }
            }
            sums.iter_mut().for_each(|sum| *sum /= total);
        }
        found
    }
}

/// Centers of clusters.
struct Centers(Table);

pub(crate) fn clusters(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let centers = estimator.matrix("cluster_centers_", columns)?;
    let count = i32::try_from(centers.len()).ok().filter(|count| *count > 0);
    let Some(count) = count else { return Err(estimator.wrong("cluster_centers_", "there are none")) };
    let classes = Values::Shorts((0..count).collect());
    Ok(Predictor::Classifier { classes, model: Box::new(Centers(centers)) })
}

impl Classify for Centers {
    fn decide(&self, table: &Table) -> Vec<usize> {
        let nearest = |row: &[f64]| {
            let distances: Vec<f64> = self.0.rows().map(|center| -squared_distance(row, center)).collect();
            largest(&distances)
        };
        table.rows().map(nearest).collect()
    }

    fn has_probabilities(&self) -> bool {
        false
    }

    fn probabilities(&self, _: &Table) -> Vec<f64> {
        Vec::new()
    }
}
