//! What a model's `config.json` says about its architecture, as transformers writes it, read with bounds: the numbers come
//! from whoever made the model.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::NnError;

/// The most bytes of a `config.json`.
const MAX_CONFIG: u64 = 4 << 20;

/// Widths, heads and the like are at most so large; the largest published models have less than a tenth.
const MAX_WIDTH: usize = 1 << 20;

/// Layers at most.
const MAX_LAYERS: usize = 4096;

/// Tokens in a vocabulary or a context at most.
const MAX_TOKENS: usize = 1 << 24;

/// A model that can be built here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Architecture {
    /// Llama and those that differ from it in biases and norms only: Mistral, Qwen 2 and 3.
    Llama(LlamaConfig),
    /// GPT-2.
    Gpt2(Gpt2Config),
}

/// How large a model is from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// Tokens in the vocabulary.
    pub(super) vocabulary: usize,
    /// Tokens of prompt and answer together at most.
    pub(super) context: usize,
    /// Each has a cache of keys and values.
    pub(super) layers: usize,
    /// Heads of queries: what attention's scores grow with.
    pub(super) heads: usize,
}

/// The numbers of a Llama.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LlamaConfig {
    pub(super) extent: Extent,
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    /// Heads of keys and values; a divisor of the heads of queries.
    pub(super) key_heads: usize,
    pub(super) head: usize,
    pub(super) epsilon: f32,
    /// What a position turns each pair of a head's elements by: `head / 2` angles.
    pub(super) frequencies: Vec<f32>,
    /// Whether pairs are neighbours (as in GGUF) or half a head apart (as in transformers).
    pub(super) interleaved: bool,
    /// Whether logits come from the embedding of tokens.
    pub(super) tied: bool,
}

/// The numbers of a GPT-2.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gpt2Config {
    pub(super) extent: Extent,
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) epsilon: f32,
}

impl Architecture {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`NnError::Unreadable`] names the field, its value and what is supported.
    pub(super) fn of_file(path: &Path) -> Result<Architecture, NnError> {
        let unreadable = |error| NnError::Unreadable(format!("{}: {error}", name(path)));
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_CONFIG + 1).read_to_end(&mut text))
            .map_err(unreadable)?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(NnError::Unreadable(format!("{}: it has more than {MAX_CONFIG} bytes", name(path))));
        }
        Architecture::of_json(&text)
    }

    /// Reads the text of a `config.json`.
    pub(super) fn of_json(text: &[u8]) -> Result<Architecture, NnError> {
        let fields: Map<String, Value> = serde_json::from_slice(text)
            .map_err(|error| NnError::Unreadable(format!("config.json: it is no JSON object: {error}")))?;
        let fields = Fields(&fields);
        match fields.text("model_type") {
            "llama" | "mistral" | "qwen2" | "qwen3" => llama(&fields).map(Architecture::Llama),
            "gpt2" => gpt2(&fields).map(Architecture::Gpt2),
            "" => Err(wrong("model_type", "it is missing", SUPPORTED)),
            other => Err(wrong("model_type", &format!("{other:?} is not supported"), SUPPORTED)),
        }
    }

    /// How large it is from outside.
    pub(super) fn extent(&self) -> Extent {
        match self {
            Architecture::Llama(config) => config.extent,
            Architecture::Gpt2(config) => config.extent,
        }
    }
}

const SUPPORTED: &str = "it must be one of llama, mistral, qwen2, qwen3, gpt2";

fn name(path: &Path) -> std::path::Display<'_> {
    path.file_name().map_or(path, Path::new).display()
}

fn wrong(field: &str, what: &str, remedy: &str) -> NnError {
    NnError::Unreadable(format!("config.json: {field}: {what}; {remedy}"))
}

/// The fields of a JSON object, with its field names for errors.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// A field that is there and not null.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A whole number from 1 to `most`; `None` where the field is missing.
    fn optional(&self, name: &str, most: usize) -> Result<Option<usize>, NnError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        match number.filter(|number| (1..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(wrong(name, &value.to_string(), &format!("it must be a whole number from 1 to {most}")))
            }
        }
    }

    fn number(&self, name: &str, most: usize) -> Result<usize, NnError> {
        self.optional(name, most)?.ok_or_else(|| wrong(name, "it is missing", "a model needs it"))
    }

    /// A positive real number.
    fn real(&self, name: &str, default: f64) -> Result<f64, NnError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match value.as_f64().filter(|number| number.is_finite() && *number > 0.0) {
            Some(number) => Ok(number),
            None => Err(wrong(name, &value.to_string(), "it must be a number above 0")),
        }
    }

    /// An error unless the field is missing or has this text.
    fn only(&self, name: &str, supported: &str) -> Result<(), NnError> {
        match self.get(name) {
            Some(value) if value != supported => {
                Err(wrong(name, &value.to_string(), &format!("only {supported:?} is supported")))
            }
            _ => Ok(()),
        }
    }
}

fn llama(fields: &Fields<'_>) -> Result<LlamaConfig, NnError> {
    fields.only("hidden_act", "silu")?;
    let hidden = fields.number("hidden_size", MAX_WIDTH)?;
    let heads = fields.number("num_attention_heads", MAX_WIDTH)?;
    let key_heads = fields.optional("num_key_value_heads", MAX_WIDTH)?.unwrap_or(heads);
    let head = fields.optional("head_dim", MAX_WIDTH)?.unwrap_or(hidden / heads);
    let mut context = fields.number("max_position_embeddings", MAX_TOKENS)?;
    // Up to the window's size a model with a window is one without.
    let windowed = fields.flag("use_sliding_window", fields.text("model_type") == "mistral");
    if let Some(window) = fields.optional("sliding_window", MAX_TOKENS)?.filter(|_| windowed) {
        context = context.min(window);
    }
    let config = LlamaConfig {
        extent: Extent {
            vocabulary: fields.number("vocab_size", MAX_TOKENS)?,
            context,
            layers: fields.number("num_hidden_layers", MAX_LAYERS)?,
            heads,
        },
        hidden,
        intermediate: fields.number("intermediate_size", MAX_WIDTH)?,
        key_heads,
        head,
        epsilon: fields.real("rms_norm_eps", 1e-6)? as f32,
        frequencies: Vec::new(),
        interleaved: false,
        tied: fields.flag("tie_word_embeddings", false),
    };
    config.checked(|head| frequencies(fields, head))
}

impl LlamaConfig {
    /// The configuration with its frequencies, where its heads are such that it can be computed.
    pub(super) fn checked(
        self,
        frequencies: impl FnOnce(usize) -> Result<Vec<f32>, NnError>,
    ) -> Result<LlamaConfig, NnError> {
        let (heads, key_heads, head) = (self.extent.heads, self.key_heads, self.head);
        if head == 0 || !head.is_multiple_of(2) {
            return Err(wrong("head_dim", &head.to_string(), "a head must have an even number of elements"));
        }
        if !heads.is_multiple_of(key_heads) {
            let remedy = format!("it must divide the {heads} heads of queries");
            return Err(wrong("num_key_value_heads", &key_heads.to_string(), &remedy));
        }
        if heads.saturating_mul(head) > MAX_WIDTH {
            let remedy = format!("all heads together must have at most {MAX_WIDTH} elements");
            return Err(wrong("num_attention_heads", &heads.to_string(), &remedy));
        }
        Ok(LlamaConfig { frequencies: frequencies(head)?, ..self })
    }
}

/// What a position turns each pair by, without scaling: theta^(-2i/head).
pub(super) fn plain_frequencies(theta: f64, head: usize) -> Vec<f32> {
    (0..head / 2).map(|pair| theta.powf(-2.0 * pair as f64 / head as f64) as f32).collect()
}

fn frequencies(fields: &Fields<'_>, head: usize) -> Result<Vec<f32>, NnError> {
    // Newer versions of transformers write `rope_parameters`, with theta in it.
    let nested =
        fields.get("rope_parameters").or_else(|| fields.get("rope_scaling")).and_then(Value::as_object);
    let empty = Map::new();
    let rope = Fields(nested.unwrap_or(&empty));
    let theta = rope.real("rope_theta", fields.real("rope_theta", 10_000.0)?)?;
    let partial = rope.real("partial_rotary_factor", fields.real("partial_rotary_factor", 1.0)?)?;
    if partial != 1.0 {
        return Err(wrong("partial_rotary_factor", &partial.to_string(), "only 1 is supported"));
    }
    let plain = plain_frequencies(theta, head);
    let kind = match rope.text("rope_type") {
        "" => rope.text("type"),
        kind => kind,
    };
    match kind {
        "" | "default" => Ok(plain),
        "linear" => {
            let factor = rope.real("factor", 1.0)? as f32;
            Ok(plain.into_iter().map(|frequency| frequency / factor).collect())
        }
        "llama3" => llama3(&rope, plain),
        other => Err(wrong(
            "rope_scaling.rope_type",
            &format!("{other:?} is not supported"),
            "it must be one of default, linear, llama3",
        )),
    }
}

/// Llama 3.1's way to a longer context: waves longer than the original context are slowed down by `factor`, short ones are
/// left as they are, and those between are blended.
fn llama3(rope: &Fields<'_>, plain: Vec<f32>) -> Result<Vec<f32>, NnError> {
    let factor = rope.real("factor", 8.0)?;
    let (low, high) = (rope.real("low_freq_factor", 1.0)?, rope.real("high_freq_factor", 4.0)?);
    let context = rope.real("original_max_position_embeddings", 8192.0)?;
    if high <= low {
        let remedy = format!("it must be above low_freq_factor ({low})");
        return Err(wrong("rope_scaling.high_freq_factor", &high.to_string(), &remedy));
    }
    let scaled = |frequency: f32| {
        let frequency = f64::from(frequency);
        let wave = 2.0 * std::f64::consts::PI / frequency;
        let scaled = if wave > context / low {
            frequency / factor
        } else if wave < context / high {
            frequency
        } else {
            let smooth = (context / wave - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        };
        scaled as f32
    };
    Ok(plain.into_iter().map(scaled).collect())
}

fn gpt2(fields: &Fields<'_>) -> Result<Gpt2Config, NnError> {
    fields.only("activation_function", "gelu_new")?;
    for flag in ["scale_attn_by_inverse_layer_idx", "add_cross_attention"] {
        if fields.flag(flag, false) {
            return Err(wrong(flag, "true", "only false is supported"));
        }
    }
    if !fields.flag("scale_attn_weights", true) {
        return Err(wrong("scale_attn_weights", "false", "only true is supported"));
    }
    let hidden = fields.number("n_embd", MAX_WIDTH)?;
    let heads = fields.number("n_head", MAX_WIDTH)?;
    if !hidden.is_multiple_of(heads) {
        return Err(wrong("n_head", &heads.to_string(), &format!("it must divide n_embd ({hidden})")));
    }
    Ok(Gpt2Config {
        extent: Extent {
            vocabulary: fields.number("vocab_size", MAX_TOKENS)?,
            context: fields.number("n_positions", MAX_TOKENS)?,
            layers: fields.number("n_layer", MAX_LAYERS)?,
            heads,
        },
        hidden,
        intermediate: fields.optional("n_inner", MAX_WIDTH)?.unwrap_or(4 * hidden),
        epsilon: fields.real("layer_norm_epsilon", 1e-5)? as f32,
    })
}

/// A number of a GGUF's metadata within the bounds of a configuration's.
pub(super) fn bounded(field: &str, number: u64, most: Bound) -> Result<usize, NnError> {
    let most = match most {
        Bound::Width => MAX_WIDTH,
        Bound::Layers => MAX_LAYERS,
        Bound::Tokens => MAX_TOKENS,
    };
    let within = usize::try_from(number).ok().filter(|number| (1..=most).contains(number));
    within.ok_or_else(|| NnError::Unreadable(format!("{field}: {number}; it must be from 1 to {most}")))
}

/// What a number counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// Elements or heads.
    Width,
    /// Layers.
    Layers,
    /// Tokens.
    Tokens,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};

    use super::Architecture;

    fn small() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64,
            "num_hidden_layers": 2, "vocab_size": 128, "max_position_embeddings": 64,
        })
    }

    fn refused(fields: &[(&str, Value)]) -> String {
        let mut config = small();
        for (name, value) in fields {
            config[name] = value.clone();
        }
        Architecture::of_json(config.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (fields, said) in [
            (vec![("model_type", json!("bert"))], "model_type: \"bert\" is not supported"),
            (vec![("hidden_act", json!("gelu"))], "hidden_act: \"gelu\"; only \"silu\" is supported"),
            (vec![("hidden_size", json!(0))], "hidden_size: 0; it must be a whole number from 1 to 1048576"),
            (vec![("vocab_size", json!(u64::MAX))], "vocab_size: 18446744073709551615; it must be"),
            (vec![("num_hidden_layers", Value::Null)], "num_hidden_layers: it is missing"),
            (vec![("num_key_value_heads", json!(3))], "num_key_value_heads: 3; it must divide the 4 heads"),
            (vec![("head_dim", json!(7))], "head_dim: 7; a head must have an even number"),
            (vec![("num_attention_heads", json!(64))], "head_dim: 0; a head must have"),
            (vec![("rope_scaling", json!({"rope_type": "yarn"}))], "rope_scaling.rope_type: \"yarn\""),
            (vec![("rope_theta", json!(-1.0))], "rope_theta: -1.0; it must be a number above 0"),
        ] {
            let error = refused(&fields);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_window_bounds_the_context_where_it_is_used() {
        let context = |kind: &str, fields: Value| {
            let mut config = small();
            config["model_type"] = kind.into();
            for (name, value) in fields.as_object().unwrap() {
                config[name] = value.clone();
            }
            Architecture::of_json(config.to_string().as_bytes()).unwrap().extent().context
        };
        assert_eq!(context("mistral", json!({"sliding_window": 16})), 16);
        assert_eq!(context("mistral", json!({"sliding_window": null})), 64);
        assert_eq!(context("qwen2", json!({"sliding_window": 16, "use_sliding_window": false})), 64);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            let _ = Architecture::of_json(&text);
        }

        #[test]
        fn no_number_makes_it_panic(field in 0_usize..9, number in any::<i64>(), real in any::<f64>()) {
            let fields = ["hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers",
                "vocab_size", "max_position_embeddings", "head_dim", "num_key_value_heads", "rope_theta"];
            let mut config = small();
            config[fields[field]] = json!(number);
            let _ = Architecture::of_json(config.to_string().as_bytes());
            config[fields[field]] = json!(real);
            let _ = Architecture::of_json(config.to_string().as_bytes());
        }
    }
}
