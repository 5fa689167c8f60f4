//! Explains a model's answers by Shapley values: how much each feature of a row moved the answer away from what the model
//! answers to background rows. It knows nothing of the model but its answers (KernelSHAP).
//!
//! Settings: `background` (JSON rows; or a file `*.csv` at the source; else one row of zeros), `nsamples` (coalitions that are
//! asked at most; 2 x features + 2048), `output` (which output of the model; the first of real numbers).
//!
//! Answer: `shap_values`, FP64 of shape [rows, outputs, features]; `base_values`, FP64 of shape [outputs].

mod background;
mod coalitions;
mod regression;

use purlin_sdk::explainer::predict;
use purlin_sdk::{
    Datatype, Explainer, Fault, InferRequest, InferResponse, NamedTensor, Random, Setting, Tensor, fault,
    files, tensor,
};

/// Rows that the model is asked for at once.
const BATCH: usize = 4096;

/// Features at most: the regression grows with their cube.
const MAX_FEATURES: usize = 1000;

/// Rows that the model is asked for at most, for one that is explained.
const MAX_ASKED: usize = 4_000_000;

/// The explainer.
pub struct Shap;

impl Explainer for Shap {
    fn explain(request: InferRequest, settings: Vec<Setting>) -> Result<InferResponse, Fault> {
        let found = |name: &str| settings.iter().find(|setting| setting.name.trim_start_matches('-') == name);
        if let Some(kind) = found("type").filter(|kind| !kind.value.eq_ignore_ascii_case("KernelShap")) {
            let reason =
                "this plugin explains by KernelShap; an image of the method's own can explain otherwise";
            return Err(fault::invalid("spec.settings[type]", &kind.value, reason));
        }
        let [input] = request.inputs.as_slice() else {
            let reason = "one input of shape [rows, features] is explained";
            return Err(fault::invalid("inputs", request.inputs.len().to_string(), reason));
        };
        let shape = input.value.shape();
        let [rows, features] = shape[..] else {
            let reason = "it must be of shape [rows, features]";
            return Err(fault::invalid("inputs[0].shape", format!("{shape:?}"), reason));
        };
        let (rows, features) = (rows as usize, features as usize);
        if features == 0 || features > MAX_FEATURES {
            let reason = format!("between 1 and {MAX_FEATURES} features can be explained");
            return Err(fault::invalid("inputs[0].shape", format!("{shape:?}"), reason));
        }
        let values = tensor::numbers(&input.value, "inputs[0]")?;
        let background = background_rows(found("background"), features)?;
        let budget = match found("nsamples") {
            Some(setting) => {
                let parsed =
                    setting.value.parse::<usize>().ok().filter(|count| (2..=1 << 20).contains(count));
                let reason = "a whole number between 2 and 1048576";
                parsed.ok_or_else(|| fault::invalid("spec.settings[nsamples]", &setting.value, reason))?
            }
            None => 2 * features + 2048,
        };
        let mut asked = Asked {
            name: input.name.clone(),
            datatype: input.value.datatype(),
            features,
            output: found("output").map(|setting| setting.value.clone()),
        };
        let mut random = Random::new(request.context.seed, 0);
        let chosen = coalitions::coalitions(features, budget, &mut random);
        if chosen.len().saturating_mul(background.len()) > MAX_ASKED {
            let reason = format!(
                "{} coalitions with {} background rows are too much to ask",
                chosen.len(),
                background.len()
            );
            return Err(fault::invalid("spec.settings[nsamples]", budget.to_string(), reason));
        }
        let base = mean(&asked.answers(&background.concat())?);
        let outputs = base.len();
        let mut explained = Vec::with_capacity(rows * outputs * features);
        for row in values.chunks(features).take(rows) {
            let full = mean(&asked.answers(row)?);
            let answers = asked.coalitions(&chosen, row, &background)?;
            for output in 0..outputs {
                let of_output: Vec<f64> = answers.iter().map(|answer| answer[output]).collect();
                let values = match features {
                    1 => vec![full[output] - base[output]],
                    _ => regression::values(&chosen, &of_output, base[output], full[output]),
                };
                explained.extend(values);
            }
        }
        let shape = [rows as u64, outputs as u64, features as u64];
        Ok(InferResponse {
            outputs: vec![
                NamedTensor::new("shap_values", tensor::doubles(&shape, &explained)?),
                NamedTensor::new("base_values", tensor::doubles(&[outputs as u64], &base)?),
            ],
            parameters: Vec::new(),
        })
    }
}

fn background_rows(setting: Option<&Setting>, features: usize) -> Result<Vec<Vec<f64>>, Fault> {
    let rows = match setting {
        Some(setting) => background::of_setting(setting)?,
        None => match files::read("background.csv") {
            Ok(content) => background::of_csv(&content)?,
            // Nothing was given.
            Err(_) => return Ok(vec![vec![0.0; features]]),
        },
    };
    if rows[0].len() != features {
        let reason = format!("background rows have {} features, the request has {features}", rows[0].len());
        return Err(fault::invalid("inputs[0].shape", features.to_string(), reason));
    }
    Ok(rows)
}

/// How the model is asked.
struct Asked {
    name: String,
    datatype: Datatype,
    features: usize,
    output: Option<String>,
}

impl Asked {
    /// The outputs for each row.
    fn answers(&mut self, rows: &[f64]) -> Result<Vec<Vec<f64>>, Fault> {
        let mut answers = Vec::with_capacity(rows.len() / self.features);
        for batch in rows.chunks(BATCH * self.features) {
            let count = batch.len() / self.features;
            let shape = [count as u64, self.features as u64];
            let given = match self.datatype {
                Datatype::Fp64 => tensor::doubles(&shape, batch)?,
                Datatype::Int64 => {
                    tensor::integers(&shape, &batch.iter().map(|value| *value as i64).collect::<Vec<_>>())?
                }
                _ => tensor::floats(&shape, &batch.iter().map(|value| *value as f32).collect::<Vec<_>>())?,
            };
            let outputs = predict(vec![NamedTensor::new(self.name.as_str(), given)])?;
            let output = self.pick(outputs)?;
            let numbers = tensor::numbers(&output, "the model's output")?;
            if numbers.is_empty() || !numbers.len().is_multiple_of(count) {
                return Err(Fault::Failed("the model did not answer with a row for each row".to_owned()));
            }
            answers.extend(numbers.chunks(numbers.len() / count).map(<[f64]>::to_vec));
        }
        Ok(answers)
    }

    fn pick(&self, outputs: Vec<NamedTensor>) -> Result<Tensor, Fault> {
        let real = |tensor: &NamedTensor| {
            matches!(
                tensor.value.datatype(),
                Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64
            )
        };
        let names: Vec<_> = outputs.iter().map(|output| output.name.clone()).collect();
        let at = match &self.output {
            Some(wanted) => outputs.iter().position(|output| output.name == *wanted),
            None => outputs.iter().position(real).or((!outputs.is_empty()).then_some(0)),
        };
        let at = at.ok_or_else(|| {
            let wanted = self.output.clone().unwrap_or_default();
            fault::invalid("spec.settings[output]", wanted, format!("the model has {}", names.join(", ")))
        })?;
        outputs
            .into_iter()
            .nth(at)
            .map(|output| output.value)
            .ok_or_else(|| Fault::Failed("the model has no output".to_owned()))
    }

    /// For each coalition what the model answers on average, where features that are not in it are the background's.
    fn coalitions(
        &mut self,
        chosen: &[coalitions::Coalition],
        row: &[f64],
        background: &[Vec<f64>],
    ) -> Result<Vec<Vec<f64>>, Fault> {
        let at_once = (BATCH / background.len()).max(1);
        let mut means = Vec::with_capacity(chosen.len());
        for part in chosen.chunks(at_once) {
            let mut rows = Vec::with_capacity(part.len() * background.len() * self.features);
            for one in part {
                for other in background {
                    rows.extend(
                        (one.own.iter().zip(row).zip(other))
                            .map(|((own, row), other)| if *own { *row } else { *other }),
                    );
                }
            }
            let answers = self.answers(&rows)?;
            means.extend(answers.chunks(background.len()).map(mean));
        }
        Ok(means)
    }
}

/// The mean of each output.
fn mean<A: AsRef<[Vec<f64>]> + ?Sized>(answers: &A) -> Vec<f64> {
    let answers = answers.as_ref();
    let width = answers.first().map_or(0, Vec::len);
    (0..width).map(|at| answers.iter().map(|answer| answer[at]).sum::<f64>() / answers.len() as f64).collect()
}

purlin_sdk::export_explainer!(Shap);
