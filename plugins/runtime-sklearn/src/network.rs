//! Multi-layer perceptrons.

use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::math::{expit, largest, softmax};
use crate::model::{Classify, Predictor, Regress};

/// What a neuron does with its sum.
#[derive(Clone, Copy)]
enum Activation {
    Identity,
    Logistic,
    Tanh,
    Relu,
    Exponential,
    /// All neurons of the layer together.
    Softmax,
}

struct Layer {
    /// A row for each input, a number in it for each neuron.
    weights: Table,
    intercepts: Vec<f64>,
    activation: Activation,
}

struct Network {
    layers: Vec<Layer>,
}

pub(crate) fn predictor(estimator: &Estimator<'_>, columns: usize) -> Result<Predictor, ModelError> {
    let network = Network { layers: layers(estimator, columns)? };
    if estimator.class() == "MLPRegressor" {
        return Ok(Predictor::Regressor(Box::new(network)));
    }
    let classes = estimator.classes()?;
    let wanted = if classes.len() == 2 { 1 } else { classes.len() };
    if network.outputs() != wanted {
        return Err(estimator.wrong(
            "coefs_",
            format!("there are {} outputs for {} classes", network.outputs(), classes.len()),
        ));
    }
    Ok(Predictor::Classifier { classes, model: Box::new(network) })
}

fn layers(estimator: &Estimator<'_>, columns: usize) -> Result<Vec<Layer>, ModelError> {
    let (weights, intercepts) = (estimator.items("coefs_")?, estimator.items("intercepts_")?);
    if weights.is_empty() || weights.len() != intercepts.len() {
        return Err(estimator
            .wrong("coefs_", "there is not one intercept array for each layer, or there is no layer"));
    }
    let activation = |name: &str| match estimator.text(name) {
        "identity" => Ok(Activation::Identity),
        "logistic" => Ok(Activation::Logistic),
        "tanh" => Ok(Activation::Tanh),
        "relu" => Ok(Activation::Relu),
        "exp" => Ok(Activation::Exponential),
        "softmax" => Ok(Activation::Softmax),
        other => Err(estimator.unsupported(format!("{name}={other:?}"))),
    };
    let (hidden, out) = (activation("activation")?, activation("out_activation_")?);
    let (mut layers, mut inputs, count) = (Vec::new(), columns, weights.len());
    for (index, (weights, intercepts)) in weights.into_iter().zip(intercepts).enumerate() {
        let intercepts =
            intercepts.floats().map_err(|error| estimator.wrong("intercepts_", error.to_string()))?;
        let weights = estimator.matrix_of(weights, "coefs_", intercepts.len())?;
        if weights.len() != inputs {
            return Err(estimator
                .wrong("coefs_", format!("layer {index} takes {} numbers, not {inputs}", weights.len())));
        }
        inputs = intercepts.len();
        layers.push(Layer { weights, intercepts, activation: if index + 1 == count { out } else { hidden } });
    }
    Ok(layers)
}

impl Network {
    fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.intercepts.len())
    }

    fn outputs_of(&self, table: &Table) -> Vec<f64> {
        let mut values = table.values.clone();
        let mut inputs = table.columns;
        for layer in &self.layers {
            let outputs = layer.intercepts.len();
            let mut next = Vec::with_capacity(table.len() * outputs);
            for row in values.chunks_exact(inputs) {
                let start = next.len();
                next.resize(start + outputs, 0.0);
                let sums = &mut next[start..];
                for (value, weights) in row.iter().zip(layer.weights.rows()) {
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += value * weight;
                    }
                }
                for (sum, intercept) in sums.iter_mut().zip(&layer.intercepts) {
                    *sum += intercept;
                }
                activate(layer.activation, sums);
            }
            (values, inputs) = (next, outputs);
        }
        values
    }
}

fn activate(activation: Activation, sums: &mut [f64]) {
    match activation {
        Activation::Identity => {}
        Activation::Logistic => sums.iter_mut().for_each(|sum| *sum = expit(*sum)),
        Activation::Tanh => sums.iter_mut().for_each(|sum| *sum = sum.tanh()),
        Activation::Relu => sums.iter_mut().for_each(|sum| *sum = sum.max(0.0)),
        Activation::Exponential => sums.iter_mut().for_each(|sum| *sum = sum.exp()),
        Activation::Softmax => softmax(sums),
    }
}

impl Classify for Network {
    fn decide(&self, table: &Table) -> Vec<usize> {
        let outputs = self.outputs_of(table);
        match self.outputs() {
            1 => outputs.iter().map(|output| usize::from(*output > 0.5)).collect(),
            count => outputs.chunks_exact(count).map(largest).collect(),
        }
    }

    fn probabilities(&self, table: &Table) -> Vec<f64> {
        let outputs = self.outputs_of(table);
        match self.outputs() {
            1 => outputs.iter().flat_map(|output| [1.0 - output, *output]).collect(),
            _ => outputs,
        }
    }
}

impl Regress for Network {
    fn width(&self) -> Option<usize> {
        (self.outputs() > 1).then(|| self.outputs())
    }

    fn values(&self, table: &Table) -> Vec<f64> {
        self.outputs_of(table)
    }
}
