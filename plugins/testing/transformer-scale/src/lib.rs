//! A transformer: before the model, FP32 inputs are divided by the setting `divisor`, by default 1; behind it, an answer gets
//! the output `best`, the index of the largest number of its first FP32 output.

use purlin_sdk::tensor::{floats, integers, numbers};
use purlin_sdk::{Datatype, Fault, InferRequest, InferResponse, NamedTensor, Setting, Transformer, fault};

/// See the crate.
pub struct Scale;

impl Transformer for Scale {
    fn preprocess(mut request: InferRequest, settings: Vec<Setting>) -> Result<InferRequest, Fault> {
        let divisor = divisor(&settings)?;
        for (index, input) in request.inputs.iter_mut().enumerate() {
            if input.value.datatype() != Datatype::Fp32 {
                continue;
            }
            let field = format!("inputs[{index}]");
            let scaled: Vec<f32> =
                numbers(&input.value, &field)?.into_iter().map(|number| (number / divisor) as f32).collect();
            let shape = input.value.shape();
            input.value = floats(&shape, &scaled)?;
        }
        Ok(request)
    }

    fn postprocess(mut response: InferResponse, _: Vec<Setting>) -> Result<InferResponse, Fault> {
        let first = response.outputs.iter().find(|output| output.value.datatype() == Datatype::Fp32);
        let Some(first) = first else { return Ok(response) };
        let found = numbers(&first.value, "outputs")?;
        let best = found.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
        let best = best.map_or(-1, |(index, _)| index as i64);
        response.outputs.push(NamedTensor::new("best", integers(&[1], &[best])?));
        Ok(response)
    }
}

fn divisor(settings: &[Setting]) -> Result<f64, Fault> {
    let Some(at) = settings.iter().position(|setting| setting.name == "divisor") else { return Ok(1.0) };
    let value = &settings[at].value;
    value.parse().ok().filter(|number: &f64| number.is_normal()).ok_or_else(|| {
        fault::invalid(
            format!("spec.settings[{at}].value"),
            format!("{value:?}"),
            "must be a number other than zero",
        )
    })
}

purlin_sdk::export_transformer!(Scale);

#[cfg(test)]
mod tests {
    use purlin_sdk::Setting;

    use super::divisor;

    #[test]
    fn a_divisor_is_a_number_and_not_zero() {
        let of = |value: &str| divisor(&[Setting { name: "divisor".to_owned(), value: value.to_owned() }]);
        assert_eq!(of("16").unwrap(), 16.0);
        assert_eq!(divisor(&[]).unwrap(), 1.0);
        for wrong in ["", "0", "none", "inf"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
