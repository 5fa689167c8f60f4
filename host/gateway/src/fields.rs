//! Small JSON objects with known members: each is read with its type and range, and what is wrong is named.

use purlin_nn::{GenerationSettings, InferError};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Texts that end a generation, at most.
const STOPS: usize = 16;

/// The members of an object.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// An object, from a body.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Failure::invalid("the body must be a JSON object")),
        Err(error) => Err(Failure::invalid(format!("the body cannot be read: {error}"))),
    }
}

impl<'a> Fields<'a> {
    /// A member that is there and not null.
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, InferError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(InferError::invalid(name, shown(value), format!("must be {wanted}"))),
        }
    }

    /// A text.
    pub(crate) fn text(self, name: &str) -> Result<Option<&'a str>, InferError> {
        self.read(name, "a string", Value::as_str)
    }

    /// A text that must be there.
    pub(crate) fn required(self, name: &str) -> Result<&'a str, InferError> {
        self.text(name)?.ok_or_else(|| InferError::invalid(name, "", "is missing; give a string"))
    }

    /// True or false; false where it is not there.
    pub(crate) fn flag(self, name: &str) -> Result<bool, InferError> {
        Ok(self.read(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    /// A whole number.
    pub(crate) fn whole(self, name: &str, least: u64, most: u64) -> Result<Option<u64>, InferError> {
        self.read(name, &format!("a whole number from {least} to {most}"), |value| {
            value.as_u64().filter(|number| (least..=most).contains(number))
        })
    }

    /// A number.
    pub(crate) fn real(self, name: &str, least: f64, most: f64) -> Result<Option<f32>, InferError> {
        let wanted = match most {
            f64::MAX => format!("a number of at least {least}"),
            _ => format!("a number from {least} to {most}"),
        };
        self.read(name, &wanted, |value| {
            let number = value.as_f64()?;
            (least..=most).contains(&number).then_some(number as f32)
        })
    }

    /// How text is to be generated; the arguments are for what is not said.
    pub(crate) fn settings(
        self,
        max_tokens: u32,
        temperature: f32,
    ) -> Result<GenerationSettings, InferError> {
        let tokens = |name| self.whole(name, 1, u64::from(u32::MAX));
        // One counts, and all must be right.
        let (newest, usual, other) =
            (tokens("max_completion_tokens")?, tokens("max_tokens")?, tokens("max_new_tokens")?);
        let max_tokens = newest.or(usual).or(other).map_or(max_tokens, |most| most as u32);
        let stop = match self.get("stop").or_else(|| self.get("stop_words")) {
            None => Vec::new(),
            Some(Value::String(stop)) => vec![stop.clone()],
            Some(Value::Array(stops)) if stops.len() <= STOPS => {
                let texts: Option<Vec<_>> =
                    stops.iter().map(|stop| stop.as_str().map(str::to_owned)).collect();
                texts.ok_or_else(|| {
                    InferError::invalid("stop", "", "must be a string or an array of strings")
                })?
            }
            Some(value) => {
                let reason = format!("must be a string or an array of at most {STOPS} strings");
                return Err(InferError::invalid("stop", shown(value), reason));
            }
        };
        Ok(GenerationSettings {
            max_tokens,
            temperature: self.real("temperature", 0.0, 2.0)?.unwrap_or(temperature),
            top_p: self.real("top_p", 0.0, 1.0)?.unwrap_or(0.0),
            top_k: self.whole("top_k", 0, u64::from(u32::MAX))?.unwrap_or(0) as u32,
            repetition_penalty: self.real("repetition_penalty", 0.0, f64::MAX)?.unwrap_or(0.0),
            frequency_penalty: self.real("frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0),
            presence_penalty: self.real("presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
            seed: self.whole("seed", 0, u64::MAX)?.unwrap_or_else(rand::random),
            stop: stop.into_iter().filter(|stop| !stop.is_empty()).collect(),
        })
    }
}
