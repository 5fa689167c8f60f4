//! Models that make a vector of a text: an encoder in ONNX, computed on the host, and what sentence-transformers' modules
//! say is done with its tokens' vectors.

use purlin_sdk::nn::Graph;
use purlin_sdk::serving::{Parameter, ParameterValue};
use purlin_sdk::{
    Datatype, Fault, InferRequest, InferResponse, ModelMetadata, NamedTensor, Tasks, Tensor, TensorInfo,
    fault, tensor,
};
use serde::Deserialize;

use crate::folder::Folder;
use crate::pooling::{Pooling, PoolingConfig, normalize};
use crate::settings::Settings;
use crate::tokens::Tokens;

/// Texts of one request at most.
const MAX_TEXTS: usize = 4096;

/// Where exports put an encoder, in the order in which it is looked for.
const GRAPHS: &[&str] = &["model.onnx", "onnx/model.onnx"];

/// Tokens of a text where nothing says how many.
const DEFAULT_LENGTH: usize = 512;

/// Tokens of a text at most, whatever is said.
const MAX_LENGTH: usize = 1 << 16;

/// A loaded model.
pub struct Embedder {
    tokens: Tokens,
    graph: Graph,
    steps: Steps,
    /// Elements of a vector; -1 where the graph does not say.
    width: i64,
}

/// What is done with an encoder's output.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Steps {
    /// Ways to make one vector of the tokens'.
    pooling: Vec<Pooling>,
    /// Whether it gets the length 1.
    normalize: bool,
    /// Whether texts lose their capitals before anything else.
    lower_case: bool,
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    r#type: String,
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

/// What `config.json` and `tokenizer_config.json` say about lengths. The latter may hold 1e30 for none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lengths {
    max_position_embeddings: Option<f64>,
    model_max_length: Option<f64>,
}

impl Embedder {
    /// Loads the model in a folder.
    ///
    /// # Errors
    /// `invalid` names what the folder lacks.
    pub(crate) fn load(folder: &Folder, settings: &Settings) -> Result<Embedder, Fault> {
        let sentence: SentenceConfig = folder.json("sentence_bert_config.json")?.unwrap_or_default();
        let steps = Steps::read(folder, sentence.do_lower_case && !settings.keep_case)?;
        let mut tokens = Tokens::load(folder)?;
        let broken =
            |reason: String| fault::invalid("spec.source.uri", "", format!("tokenizer.json: {reason}"));
        if settings.keep_case {
            tokens.keep_case().map_err(broken)?;
        }
        tokens.cut_after(length(folder, &sentence, settings)?).map_err(broken)?;
        let Some(file) = GRAPHS.iter().find(|name| folder.has(name)) else {
            let reason = format!(
                "there is no file {} at the source; export the model, such as with `optimum-cli export onnx --model ...`",
                GRAPHS.iter().map(|name| folder.path(name)).collect::<Vec<_>>().join(" or ")
            );
            return Err(fault::invalid("spec.source.uri", "", reason));
        };
        let graph = Graph::of_file(&folder.path(file))?;
        let hidden = output(&graph.info().outputs).and_then(|info| info.shape.last().copied()).unwrap_or(-1);
        let width = if hidden > 0 { hidden.saturating_mul(steps.pooling.len() as i64) } else { -1 };
        Ok(Embedder { tokens, graph, steps, width })
    }

    /// What it says about itself.
    pub(crate) fn metadata(&self) -> ModelMetadata {
        ModelMetadata {
            platform: "huggingface".to_owned(),
            inputs: vec![TensorInfo::new("input", Datatype::Bytes, &[-1])],
            outputs: vec![TensorInfo::new("embedding", Datatype::Fp32, &[-1, self.width])],
            tasks: Tasks::INFER | Tasks::EMBED,
            // Requests that are put together would be told the tokens of all of them.
            batchable: false,
        }
    }

    /// A vector for each text.
    ///
    /// # Errors
    /// `invalid` names the input that is no text.
    pub(crate) fn embed(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let texts = texts(&request)?;
        let batch = self.batch(&texts)?;
        let tokens = batch.lengths.iter().sum::<usize>();
        let vectors = if texts.is_empty() { Vec::new() } else { self.vectors(&batch)? };
        let width = vectors.len().checked_div(texts.len()).unwrap_or(0);
        let value = tensor::floats(&[texts.len() as u64, width as u64], &vectors)?;
        Ok(InferResponse {
            outputs: vec![NamedTensor::new("embedding", value)],
            parameters: vec![Parameter {
                name: "prompt_tokens".to_owned(),
                value: ParameterValue::Integer(i64::try_from(tokens).unwrap_or(i64::MAX)),
            }],
        })
    }

    fn batch(&self, texts: &[String]) -> Result<Batch, Fault> {
        let mut rows = Vec::with_capacity(texts.len());
        for text in texts {
            let tokens = match self.steps.lower_case {
                true => self.tokens.of(&text.to_lowercase(), true),
                false => self.tokens.of(text, true),
            };
            rows.push(tokens.map_err(Fault::Failed)?);
        }
        Ok(Batch::of(&rows))
    }

    fn vectors(&self, batch: &Batch) -> Result<Vec<f32>, Fault> {
        let mut inputs = Vec::with_capacity(3);
        for info in &self.graph.info().inputs {
            let wide = |values: Vec<i64>| batch.tensor(info.datatype, values);
            let value = match info.name.as_str() {
                "input_ids" => wide(batch.tokens.clone())?,
                "attention_mask" => wide(batch.mask())?,
                "token_type_ids" => wide(vec![0; batch.tokens.len()])?,
                "position_ids" => wide(batch.positions())?,
                other => {
                    return Err(Fault::Failed(format!(
                        "the graph has an input {other:?}, which is not known"
                    )));
                }
            };
            inputs.push(NamedTensor::new(info.name.as_str(), value));
        }
        let outputs = self.graph.compute(inputs)?;
        let named = output(&self.graph.info().outputs).map(|info| info.name.as_str());
        let found = outputs.iter().find(|output| Some(output.name.as_str()) == named);
        let output = found.ok_or_else(|| Fault::Failed("the graph gave no FP32 output".to_owned()))?;
        self.steps.vectors(batch, &output.value.shape(), &output.value.data())
    }
}

/// The output of which vectors are made: whole texts' where the graph pools itself, else its tokens'.
fn output(outputs: &[TensorInfo]) -> Option<&TensorInfo> {
    let floats = || outputs.iter().filter(|info| info.datatype == Datatype::Fp32);
    let named = |name: &str| floats().find(|info| info.name == name);
    named("sentence_embedding")
        .or_else(|| named("last_hidden_state"))
        .or_else(|| named("token_embeddings"))
        .or_else(|| floats().next())
}

fn texts(request: &InferRequest) -> Result<Vec<String>, Fault> {
    let [input] = request.inputs.as_slice() else {
        let count = request.inputs.len().to_string();
        return Err(fault::invalid("inputs", count, "the model takes texts: give one tensor of BYTES"));
    };
    if input.value.datatype() != Datatype::Bytes {
        let reason = "the model takes texts: give BYTES";
        return Err(fault::invalid("inputs[0].datatype", input.value.datatype().name(), reason));
    }
    if input.value.shape().iter().product::<u64>() > MAX_TEXTS as u64 {
        let reason = format!("at most {MAX_TEXTS} texts at once");
        return Err(fault::invalid("inputs[0].shape", format!("{:?}", input.value.shape()), reason));
    }
    let text = |(index, content)| {
        String::from_utf8(content)
            .map_err(|_| fault::invalid(format!("inputs[0].data[{index}]"), "", "a text must be UTF-8"))
    };
    tensor::contents(&input.value).into_iter().enumerate().map(text).collect()
}

/// Tokens of a text at most: what the user says, what sentence-transformers says, what the tokenizer says, and never more
/// than the encoder has positions for.
fn length(folder: &Folder, sentence: &SentenceConfig, settings: &Settings) -> Result<usize, Fault> {
    let config: Lengths = folder.json("config.json")?.unwrap_or_default();
    let tokenizer: Lengths = folder.json("tokenizer_config.json")?.unwrap_or_default();
    Ok(shortest(settings.max_length, sentence.max_seq_length, &tokenizer, &config))
}

fn shortest(user: Option<usize>, sentence: Option<usize>, tokenizer: &Lengths, config: &Lengths) -> usize {
    // A number that is none, or that is beyond any text, is no bound.
    let bound = |length: Option<f64>| {
        length.filter(|length| *length >= 1.0 && *length <= MAX_LENGTH as f64).map(|length| length as usize)
    };
    let most = bound(config.max_position_embeddings).unwrap_or(MAX_LENGTH);
    let said = user.or(sentence).or(bound(tokenizer.model_max_length)).unwrap_or(DEFAULT_LENGTH);
    said.clamp(1, most)
}

impl Steps {
    fn read(folder: &Folder, lower_case: bool) -> Result<Steps, Fault> {
        let Some(modules) = folder.json::<Vec<Module>>("modules.json")? else {
            // A bare encoder: what sentence-transformers does with one, and KServe's server too.
            return Ok(Steps { pooling: vec![Pooling::Mean], normalize: true, lower_case });
        };
        let mut steps = Steps { pooling: vec![Pooling::Mean], normalize: false, lower_case };
        for module in modules {
            // The class's name; the modules moved between versions.
            match module.r#type.rsplit('.').next() {
                Some("Transformer") => {}
                Some("Pooling") => {
                    let file = format!("{}/config.json", module.path);
                    let config: PoolingConfig = folder.json(&file)?.unwrap_or_default();
                    let wrong = |reason| fault::invalid("spec.source.uri", "", format!("{file}: {reason}"));
                    steps.pooling = config.ways().map_err(wrong)?;
                }
                Some("Normalize") => steps.normalize = true,
                _ => {
                    let reason = format!(
                        "modules.json: the module {:?} is not supported; Transformer, Pooling and Normalize are",
                        module.r#type
                    );
                    return Err(fault::invalid("spec.source.uri", "", reason));
                }
            }
        }
        Ok(steps)
    }

    /// The vectors of texts, one behind the other, of an output in little-endian FP32: `[texts, tokens, elements]`, or
    /// `[texts, elements]` where the graph pools itself.
    fn vectors(&self, batch: &Batch, shape: &[u64], data: &[u8]) -> Result<Vec<f32>, Fault> {
        let (elements, _) = data.as_chunks::<4>();
        let texts = batch.lengths.len();
        let mut vectors = match *shape {
            [count, tokens, hidden]
                if count as usize == texts && tokens as usize == batch.longest && hidden > 0 =>
            {
                let hidden = hidden as usize;
                let width = hidden * self.pooling.len();
                let mut vectors = vec![0.0; texts * width];
                let of_texts = elements.chunks_exact(batch.longest * hidden);
                for ((text, length), vector) in
                    of_texts.zip(&batch.lengths).zip(vectors.chunks_exact_mut(width))
                {
                    for (way, pooled) in self.pooling.iter().zip(vector.chunks_exact_mut(hidden)) {
                        way.pool(&text[..length * hidden], pooled);
                    }
                }
                vectors
            }
            [count, hidden] if count as usize == texts && hidden > 0 => {
                elements.iter().map(|element| f32::from_le_bytes(*element)).collect()
            }
            _ => {
                return Err(Fault::Failed(format!(
                    "the graph gave an output of shape {shape:?} for {texts} texts"
                )));
            }
        };
        if self.normalize {
            let width = vectors.len() / texts;
            vectors.chunks_exact_mut(width).for_each(normalize);
        }
        Ok(vectors)
    }
}

/// Texts as rows of tokens of one length: shorter ones have zeros at their end, which are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    tokens: Vec<i64>,
    lengths: Vec<usize>,
    longest: usize,
}

impl Batch {
    fn of(rows: &[Vec<u32>]) -> Batch {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let mut tokens = vec![0; rows.len() * longest];
        for (row, place) in rows.iter().zip(tokens.chunks_exact_mut(longest)) {
            for (token, place) in row.iter().zip(place) {
                *place = i64::from(*token);
            }
        }
        // A text without tokens has one that is looked at, so that its vector is one.
        let lengths = rows.iter().map(|row| row.len().max(1)).collect();
        Batch { tokens, lengths, longest }
    }

    fn each(&self, value: impl Fn(usize, usize) -> i64) -> Vec<i64> {
        let row = |length: &usize| {
            let (length, value) = (*length, &value);
            (0..self.longest).map(move |position| value(position, length))
        };
        self.lengths.iter().flat_map(row).collect()
    }

    fn mask(&self) -> Vec<i64> {
        self.each(|position, length| i64::from(position < length))
    }

    fn positions(&self) -> Vec<i64> {
        self.each(|position, _| i64::try_from(position).unwrap_or(i64::MAX))
    }

    fn tensor(&self, datatype: Datatype, values: Vec<i64>) -> Result<Tensor, Fault> {
        let shape = [self.lengths.len() as u64, self.longest as u64];
        match datatype {
            Datatype::Int32 => {
                let narrow = |value: i64| i32::try_from(value).unwrap_or(i32::MAX).to_le_bytes();
                let data: Vec<u8> = values.into_iter().flat_map(narrow).collect();
                Tensor::make(datatype, &shape, &data).map_err(Fault::Failed)
            }
            _ => tensor::integers(&shape, &values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Lengths, Steps, shortest};
    use crate::pooling::Pooling;

    #[test]
    fn shorter_texts_are_filled_up_and_not_looked_at() {
        let batch = Batch::of(&[vec![7], vec![1, 2, 3], vec![]]);
        assert_eq!((batch.tokens.as_slice(), batch.longest), ([7, 0, 0, 1, 2, 3, 0, 0, 0].as_slice(), 3));
        assert_eq!(batch.mask(), [1, 0, 0, 1, 1, 1, 1, 0, 0]);
        let steps = Steps { pooling: vec![Pooling::Mean], normalize: false, lower_case: false };
        let batch = Batch::of(&[vec![7], vec![1, 2]]);
        let data: Vec<u8> =
            [1.0_f32, 2.0, 9.0, 9.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(steps.vectors(&batch, &[2, 2, 2], &data), Ok(vec![1.0, 2.0, 4.0, 5.0]));
        assert_eq!(steps.vectors(&batch, &[2, 4], &data).map(|vectors| vectors.len()), Ok(8));
        assert!(steps.vectors(&batch, &[2, 3, 2], &data).is_err());
    }

    #[test]
    fn a_text_is_cut_where_the_user_or_the_model_says() {
        let lengths = |positions, tokenizer| {
            (
                Lengths { model_max_length: tokenizer, ..Lengths::default() },
                Lengths { max_position_embeddings: positions, ..Lengths::default() },
            )
        };
        let (tokenizer, config) = lengths(Some(512.0), Some(1e30));
        assert_eq!(shortest(None, Some(256), &tokenizer, &config), 256);
        assert_eq!(shortest(Some(64), Some(256), &tokenizer, &config), 64);
        assert_eq!(shortest(Some(100_000), None, &tokenizer, &config), 512);
        assert_eq!(shortest(None, None, &tokenizer, &config), 512);
        let (tokenizer, config) = lengths(None, Some(128.0));
        assert_eq!(shortest(None, None, &tokenizer, &config), 128);
    }
}
