//! Completions and chat.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use http::Response;
use purlin_nn::{FinishReason, GenerateRequest, InferError, Message, Prompt};
use serde_json::{Map, Value, json};

use super::now;
use crate::body::Body;
use crate::call::{Call, ErrorForm, error_body, json_value};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::generate::{self, Generated};
use crate::served::Served;

/// Messages of one conversation at most.
const MESSAGES: usize = 10_000;
/// Prompts of one request at most.
const PROMPTS: usize = 128;
/// What a completion has at most where nobody says, as in OpenAI's API.
const COMPLETION_TOKENS: u32 = 16;

/// Which of the two an answer is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Chat,
    Completion,
}

impl Kind {
    fn object(self, stream: bool) -> &'static str {
        match (self, stream) {
            (Kind::Chat, false) => "chat.completion",
            (Kind::Chat, true) => "chat.completion.chunk",
            (Kind::Completion, _) => "text_completion",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        }
    }
}

/// What every part of an answer says.
#[derive(Clone)]
struct Heading {
    kind: Kind,
    id: String,
    model: String,
    created: u64,
    logprobs: bool,
}

impl Heading {
    fn value(&self, stream: bool, choices: Vec<Value>, usage: Option<Value>) -> Value {
        let mut value = json!({
            "id": format!("{}-{}", self.kind.prefix(), self.id),
            "object": self.kind.object(stream),
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            value["usage"] = usage;
        }
        value
    }
}

/// `POST .../chat/completions`
pub(super) async fn chat(
    call: &Call,
    served: &Arc<Served>,
    fields: Fields<'_>,
) -> Result<Response<Body>, Failure> {
    refuse(fields, &["tools", "functions", "function_call", "audio", "logit_bias"])?;
    if let Some(format) = fields.get("response_format").and_then(|format| format.get("type"))
        && format != "text"
    {
        return Err(InferError::invalid(
            "response_format.type",
            format.to_string(),
            "only text is supported",
        )
        .into());
    }
    let logprobs = fields.flag("logprobs")?;
    let prompt = Prompt::Messages(messages(fields)?);
    answer(call, served, fields, Kind::Chat, vec![prompt], logprobs, 0).await
}

/// `POST .../completions`
pub(super) async fn completions(
    call: &Call,
    served: &Arc<Served>,
    fields: Fields<'_>,
) -> Result<Response<Body>, Failure> {
    refuse(fields, &["suffix", "logit_bias"])?;
    if fields.flag("echo")? {
        return Err(InferError::invalid("echo", "true", "is not supported; leave it out").into());
    }
    let logprobs = fields.whole("logprobs", 0, 20)?.is_some();
    let wrong = || {
        let reason =
            format!("must be a string or an array of 1 to {PROMPTS} strings; tokens are not supported");
        InferError::invalid("prompt", "", reason)
    };
    let prompts = match fields.get("prompt") {
        Some(Value::String(text)) => vec![Prompt::Text(text.clone())],
        Some(Value::Array(texts)) if (1..=PROMPTS).contains(&texts.len()) => {
            let texts = texts.iter().map(|text| text.as_str().map(|text| Prompt::Text(text.to_owned())));
            texts.collect::<Option<Vec<_>>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong().into()),
    };
    answer(call, served, fields, Kind::Completion, prompts, logprobs, COMPLETION_TOKENS).await
}

/// What is not supported is refused where it would change the answer.
fn refuse(fields: Fields<'_>, names: &[&str]) -> Result<(), InferError> {
    for name in names {
        let empty = |value: &Value| match value {
            Value::Array(values) => values.is_empty(),
            Value::Object(values) => values.is_empty(),
            _ => false,
        };
        if fields.get(name).is_some_and(|value| !empty(value)) {
            return Err(InferError::invalid(*name, "", "is not supported by this server; leave it out"));
        }
    }
    for name in ["n", "best_of"] {
        if fields.whole(name, 1, 1024)?.is_some_and(|count| count > 1) {
            return Err(InferError::invalid(name, "", "only 1 is supported; send the request again instead"));
        }
    }
    Ok(())
}

fn messages(fields: Fields<'_>) -> Result<Vec<Message>, InferError> {
    let Some(Value::Array(messages)) = fields.get("messages") else {
        return Err(InferError::invalid("messages", "", "must be an array of messages"));
    };
    if messages.is_empty() || messages.len() > MESSAGES {
        return Err(InferError::invalid("messages", "", format!("must have 1 to {MESSAGES} messages")));
    }
    let one = |(index, message): (usize, &Value)| {
        let at = |member: &str| format!("messages[{index}].{member}");
        let role = message.get("role").and_then(Value::as_str);
        let role =
            role.ok_or_else(|| InferError::invalid(at("role"), "", "must be a string such as user"))?;
        let content = match message.get("content") {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) if role == "assistant" => String::new(),
            Some(Value::Array(parts)) => {
                let mut whole = String::new();
                for part in parts {
                    let text = part.get("text").and_then(Value::as_str);
                    let text = text.filter(|_| part.get("type").is_none_or(|kind| kind == "text"));
                    whole.push_str(text.ok_or_else(|| {
                        InferError::invalid(at("content"), "", "only parts of type text are supported")
                    })?);
                }
                whole
            }
            _ => {
                return Err(InferError::invalid(
                    at("content"),
                    "",
                    "must be a string, or parts of type text",
                ));
            }
        };
        Ok(Message { role: role.to_owned(), content })
    };
    messages.iter().enumerate().map(one).collect()
}

async fn answer(
    call: &Call,
    served: &Arc<Served>,
    fields: Fields<'_>,
    kind: Kind,
    prompts: Vec<Prompt>,
    logprobs: bool,
    max_tokens: u32,
) -> Result<Response<Body>, Failure> {
    let settings = fields.settings(max_tokens, 1.0)?;
    let stream = fields.flag("stream")?;
    let include_usage = match fields.get("stream_options") {
        Some(Value::Object(options)) => Fields(options).flag("include_usage")?,
        Some(other) => {
            return Err(InferError::invalid("stream_options", other.to_string(), "must be an object").into());
        }
        None => false,
    };
    let heading =
        Heading { kind, id: call.request_id.clone(), model: served.name.clone(), created: now(), logprobs };
    let request =
        |prompt| GenerateRequest { id: call.request_id.clone(), prompt, settings: settings.clone() };
    let deadline = call.deadline(served);
    if stream {
        let [prompt] = <[Prompt; 1]>::try_from(prompts).map_err(|_| {
            InferError::invalid("prompt", "", "a stream has one prompt; send the others by themselves")
        })?;
        let generating = generate::begin(&call.core, served, request(prompt), deadline).await?;
        return Ok(streamed(heading, generating, include_usage));
    }
    let (mut choices, mut prompt_tokens, mut tokens) = (Vec::new(), 0, 0);
    for (index, prompt) in prompts.into_iter().enumerate() {
        let whole = generate::begin(&call.core, served, request(prompt), deadline).await?.collect().await?;
        prompt_tokens = whole.prompt_tokens.saturating_add(prompt_tokens);
        tokens = whole.tokens.saturating_add(tokens);
        choices.push(choice(&heading, index, whole));
    }
    let usage = usage(prompt_tokens, tokens);
    Ok(json_value(&heading.value(false, choices, Some(usage))))
}

fn usage(prompt: u32, completion: u32) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": u64::from(prompt) + u64::from(completion),
    })
}

fn finish_text(finish: Option<FinishReason>) -> &'static str {
    match finish {
        Some(FinishReason::Length) => "length",
        Some(FinishReason::Stop) | None => "stop",
    }
}

fn choice(heading: &Heading, index: usize, whole: Generated) -> Value {
    let logprobs = logprobs(heading, &whole.pieces, 0);
    let finish = finish_text(whole.finish);
    match heading.kind {
        Kind::Chat => json!({
            "index": index,
            "message": {"role": "assistant", "content": whole.text},
            "logprobs": logprobs,
            "finish_reason": finish,
        }),
        Kind::Completion => {
            json!({"index": index, "text": whole.text, "logprobs": logprobs, "finish_reason": finish})
        }
    }
}

/// The logarithms of the probabilities, of the pieces that were generated; no others are known.
fn logprobs(heading: &Heading, pieces: &[(String, f32)], offset: usize) -> Value {
    if !heading.logprobs {
        return Value::Null;
    }
    match heading.kind {
        Kind::Chat => {
            let content: Vec<_> = pieces
                .iter()
                .map(|(text, logprob)| {
                    let bytes = text.as_bytes();
                    json!({"token": text, "logprob": logprob, "bytes": bytes, "top_logprobs": []})
                })
                .collect();
            json!({"content": content})
        }
        Kind::Completion => {
            let mut at = offset;
            let offsets: Vec<_> = pieces
                .iter()
                .map(|(text, _)| {
                    let begins = at;
                    at += text.chars().count();
                    begins
                })
                .collect();
            json!({
                "tokens": pieces.iter().map(|(text, _)| text).collect::<Vec<_>>(),
                "token_logprobs": pieces.iter().map(|(_, logprob)| logprob).collect::<Vec<_>>(),
                "top_logprobs": null,
                "text_offset": offsets,
            })
        }
    }
}

/// What a stream goes on with.
struct Progress {
    heading: Heading,
    tokens: u32,
    offset: usize,
}

impl Progress {
    fn event(&mut self, delta: Value, finish: Value, pieces: &[(String, f32)]) -> String {
        let logprobs = logprobs(&self.heading, pieces, self.offset);
        let mut choice = Map::new();
        choice.insert("index".to_owned(), 0.into());
        match self.heading.kind {
            Kind::Chat => choice.insert("delta".to_owned(), delta),
            Kind::Completion => choice.insert("text".to_owned(), delta["content"].clone()),
        };
        choice.insert("logprobs".to_owned(), logprobs);
        choice.insert("finish_reason".to_owned(), finish);
        self.heading.value(true, vec![choice.into()], None).to_string()
    }
}

fn streamed(heading: Heading, generating: generate::Generating, include_usage: bool) -> Response<Body> {
    let prompt_tokens = generating.prompt_tokens;
    let mut progress = Progress { heading: heading.clone(), tokens: 0, offset: 0 };
    let first = match heading.kind {
        Kind::Chat => {
            let delta = json!({"role": "assistant", "content": ""});
            vec![progress.event(delta, Value::Null, &[])]
        }
        Kind::Completion => Vec::new(),
    };
    let shared = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = shared.clone();
    let pieces = generating.detached().map(move |chunk| match chunk {
        Ok(chunk) => {
            progress.tokens = progress.tokens.saturating_add(chunk.tokens);
            counted.store(progress.tokens, std::sync::atomic::Ordering::Relaxed);
            let finish = match chunk.finish {
                Some(_) => finish_text(chunk.finish).into(),
                None => Value::Null,
            };
            let piece = [(chunk.text, chunk.logprob)];
            let event = progress.event(json!({"content": piece[0].0}), finish, &piece);
            progress.offset += piece[0].0.chars().count();
            event
        }
        Err(failure) => String::from_utf8(error_body(&failure, ErrorForm::OpenAi)).unwrap_or_default(),
    });
    let last = stream::once(async move {
        let tokens = shared.load(std::sync::atomic::Ordering::Relaxed);
        let usage = include_usage
            .then(|| heading.value(true, Vec::new(), Some(usage(prompt_tokens, tokens))).to_string());
        stream::iter(usage.into_iter().chain(["[DONE]".to_owned()]))
    })
    .flatten();
    generate::events(stream::iter(first).chain(pieces).chain(last))
}
