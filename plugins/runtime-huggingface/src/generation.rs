//! Models that continue texts: tokens are computed on the host one by one, and become text here.

use std::rc::Rc;

use purlin_sdk::nn::{Decoding, LanguageModel, Sampling};
use purlin_sdk::serving::{FinishReason, GenerationSettings, Prompt};
use purlin_sdk::{Chunk, Fault, GenerateRequest, Generation, HostError, ModelMetadata, Tasks, fault};
use serde_json::{Map, Value};

use crate::folder::Folder;
use crate::settings::Settings;
use crate::template::{ChatTemplate, token};
use crate::text::{Stops, TextMaker, reason};
use crate::tokens::Tokens;

/// A loaded model.
pub struct Generator {
    tokens: Rc<Tokens>,
    template: Option<ChatTemplate>,
    model: LanguageModel,
    /// Tokens of prompt and answer together at most.
    context: u32,
    /// Tokens that end an answer.
    ends: Vec<u32>,
}

impl Generator {
    /// Loads the model in a folder.
    ///
    /// # Errors
    /// `invalid` names what the folder lacks.
    pub(crate) fn load(folder: &Folder, settings: &Settings) -> Result<Generator, Fault> {
        let tokens = Tokens::load(folder)?;
        let config: Map<String, Value> = folder.json("tokenizer_config.json")?.unwrap_or_default();
        let template = ChatTemplate::load(folder, &config)?;
        let ends = ends(folder, &config, &tokens)?;
        let weights = match folder.gguf() {
            Some(gguf) if !folder.has("model.safetensors") && !folder.has("model.safetensors.index.json") => {
                gguf
            }
            _ => "config.json",
        };
        let model = LanguageModel::load(&folder.path(weights)).map_err(|error| match error {
            HostError::Invalid(reason) => fault::invalid("spec.source.uri", "", reason),
            other => Fault::from(other),
        })?;
        let context = settings.max_length.and_then(|length| u32::try_from(length).ok());
        let context = context.unwrap_or(u32::MAX).min(model.context_length());
        Ok(Generator { tokens: Rc::new(tokens), template, model, context, ends })
    }

    /// What it says about itself.
    pub(crate) fn metadata(&self) -> ModelMetadata {
        let chat = if self.template.is_some() { Tasks::CHAT } else { Tasks::empty() };
        ModelMetadata {
            platform: "huggingface".to_owned(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            tasks: Tasks::GENERATE | chat,
            batchable: false,
        }
    }

    /// Begins an answer.
    ///
    /// # Errors
    /// `invalid` where the prompt is too long, or is a conversation that the model's template refuses.
    pub(crate) fn generate(&self, request: GenerateRequest) -> Result<Box<dyn Generation>, Fault> {
        let prompt = self.prompt(&request.prompt)?;
        let count = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
        let room = self.context.saturating_sub(count);
        if prompt.is_empty() || room == 0 {
            let context = self.context;
            let reason = match prompt.is_empty() {
                true => "it has no tokens".to_owned(),
                false => {
                    format!("the model's context has room for {context} tokens with the answer; shorten it")
                }
            };
            return Err(fault::invalid("prompt", format!("{count} tokens"), reason));
        }
        let allowed = match request.settings.max_tokens {
            0 => room,
            wanted => wanted.min(room),
        };
        let sampling = sampling(&request.settings, allowed, &self.ends);
        let decoding = self.model.start(&prompt, &sampling).map_err(|error| match error {
            HostError::Invalid(reason) => fault::invalid("prompt", "", reason),
            other => Fault::from(other),
        })?;
        Ok(Box::new(Answer {
            tokens: self.tokens.clone(),
            decoding,
            maker: TextMaker::after(&prompt),
            stops: Stops::new(request.settings.stop),
            prompt: count,
            given: 0,
            allowed,
            ended: false,
        }))
    }

    fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, Fault> {
        let tokens = match prompt {
            Prompt::Text(text) => self.tokens.of(text, true),
            Prompt::Messages(messages) => {
                let Some(template) = &self.template else {
                    return Err(Fault::Failed(
                        "the model has no chat_template, and does not chat".to_owned(),
                    ));
                };
                let text = template.render(messages);
                // The template has the marks at both ends.
                self.tokens.of(&text.map_err(|reason| fault::invalid("messages", "", reason))?, false)
            }
        };
        tokens.map_err(Fault::Failed)
    }
}

fn sampling(settings: &GenerationSettings, max_tokens: u32, ends: &[u32]) -> Sampling {
    Sampling {
        max_tokens,
        temperature: settings.temperature,
        top_p: settings.top_p,
        top_k: settings.top_k,
        repetition_penalty: settings.repetition_penalty,
        frequency_penalty: settings.frequency_penalty,
        presence_penalty: settings.presence_penalty,
        seed: settings.seed,
        stop: ends.to_vec(),
    }
}

/// The tokens that end an answer: what `generation_config.json` says, or `config.json`, and the tokenizer's own.
fn ends(folder: &Folder, tokenizer: &Map<String, Value>, tokens: &Tokens) -> Result<Vec<u32>, Fault> {
    let generation: Map<String, Value> = folder.json("generation_config.json")?.unwrap_or_default();
    let config: Map<String, Value> = folder.json("config.json")?.unwrap_or_default();
    let said = [&generation, &config].into_iter().find_map(|config| config.get("eos_token_id").map(numbers));
    let mut ends = said.unwrap_or_default();
    ends.extend(token(tokenizer, "eos_token").and_then(|end| tokens.number(&end)));
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

/// A number, or a list of them.
fn numbers(value: &Value) -> Vec<u32> {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    match value {
        Value::Array(several) => several.iter().filter_map(number).collect(),
        one => number(one).into_iter().collect(),
    }
}

/// An answer in the making.
struct Answer {
    tokens: Rc<Tokens>,
    decoding: Decoding,
    maker: TextMaker,
    stops: Stops,
    prompt: u32,
    given: u32,
    allowed: u32,
    ended: bool,
}

impl Generation for Answer {
    fn prompt_tokens(&self) -> u32 {
        self.prompt
    }

    fn next(&mut self) -> Result<Option<Chunk>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let tokens = self.tokens.clone();
        let text = |window: &[u32]| tokens.text(window);
        let Some(token) = self.decoding.next()? else {
            return Ok(Some(self.last(String::new(), 0, 0.0, reason(self.given, self.allowed))));
        };
        self.given += 1;
        let piece = self.maker.push(token.id, text);
        let (piece, stopped) = self.stops.push(&piece);
        if stopped {
            self.ended = true;
            let finish = Some(FinishReason::Stop);
            return Ok(Some(Chunk { text: piece, tokens: 1, logprob: token.logprob, finish }));
        }
        if self.given == self.allowed {
            return Ok(Some(self.last(piece, 1, token.logprob, FinishReason::Length)));
        }
        Ok(Some(Chunk { text: piece, tokens: 1, logprob: token.logprob, finish: None }))
    }
}

impl Answer {
    /// The last piece, with what was held back: nothing that would make it a stop text comes any more.
    fn last(&mut self, mut piece: String, tokens: u32, logprob: f32, finish: FinishReason) -> Chunk {
        self.ended = true;
        let rest = self.maker.rest(|window| self.tokens.text(window));
        let (rest, stopped) = self.stops.push(&rest);
        piece.push_str(&rest);
        if !stopped {
            piece.push_str(&self.stops.rest());
        }
        let finish = if stopped { FinishReason::Stop } else { finish };
        Chunk { text: piece, tokens, logprob, finish: Some(finish) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::numbers;

    #[test]
    fn ends_are_one_or_several() {
        assert_eq!(numbers(&json!(2)), [2]);
        assert_eq!(numbers(&json!([128_001, 128_009])), [128_001, 128_009]);
        assert_eq!(numbers(&json!(null)), [0; 0]);
    }
}
