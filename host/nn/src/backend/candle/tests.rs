//! Tiny models against what transformers computes with them; `tests/fixtures/language_models.py` makes both.

use std::path::{Path, PathBuf};

use candle_core::Device as Place;
use serde::Deserialize;

use super::decoding::{CandleModel, Pool};
use super::{Candle, read};
use crate::backend::{Device, LanguageBackend as _, LanguageModel as _, LoadOptions, ModelFile, Sampling};
use crate::error::NnError;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: Vec<u32>,
    answer: Vec<u32>,
    logits: Vec<f32>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn model(name: &str) -> CandleModel {
    read(&ModelFile::Path(fixture(name)), &Place::Cpu, Pool::new(0, &Place::Cpu).unwrap()).unwrap()
}

fn reference(folder: &str) -> Reference {
    let text = std::fs::read(fixture(folder).join("reference.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn greedy(max_tokens: u32) -> Sampling {
    Sampling { max_tokens, ..Sampling::default() }
}

fn answer(model: &CandleModel, prompt: &[u32], sampling: Sampling) -> Vec<u32> {
    let mut decoding = model.start(prompt, sampling).unwrap();
    std::iter::from_fn(|| decoding.next().unwrap()).map(|token| token.id).collect()
}

/// The largest difference of two lists of logits.
fn difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_and_tokens_are_those_of_transformers() {
    for (file, folder) in [
        ("tiny-llama/config.json", "tiny-llama"),
        ("tiny-llama-bf16.gguf", "tiny-llama"),
        ("tiny-gpt2/config.json", "tiny-gpt2"),
    ] {
        let model = model(file);
        for case in reference(folder).cases {
            let logits = model.sequence().extend(&case.prompt).unwrap();
            let off = difference(&logits, &case.logits);
            assert!(off < 1e-4, "{file}: {:?}: {off}", case.prompt);
            assert_eq!(answer(&model, &case.prompt, greedy(20)), case.answer, "{file}: {:?}", case.prompt);
        }
    }
}

#[test]
fn a_prompt_may_come_in_pieces() {
    for file in ["tiny-llama/config.json", "tiny-gpt2/config.json"] {
        let model = model(file);
        let prompt: Vec<u32> = (3..43).collect();
        let whole = model.sequence().extend(&prompt).unwrap();
        for pieces in [1, 7, 39] {
            let mut sequence = model.sequence();
            let last = prompt.chunks(pieces).map(|piece| sequence.extend(piece).unwrap()).last().unwrap();
            assert!(difference(&whole, &last) < 1e-4, "{file}: pieces of {pieces}");
        }
    }
}

#[test]
fn quantised_weights_come_close() {
    let (exact, quantised) = (model("tiny-llama/config.json"), model("tiny-llama-q8_0.gguf"));
    let prompt = [5, 9, 3, 77];
    let logits = exact.sequence().extend(&prompt).unwrap();
    let off = difference(&logits, &quantised.sequence().extend(&prompt).unwrap());
    let largest = logits.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
    assert!(off < largest * 0.05, "{off} of {largest}");
    assert!(quantised.memory() < exact.memory() / 2, "{} of {}", quantised.memory(), exact.memory());
}

#[test]
fn the_context_is_the_end_and_so_are_stops() {
    let model = model("tiny-gpt2/config.json");
    assert_eq!((model.context_length(), model.vocabulary()), (64, 128));
    assert_eq!(answer(&model, &[1; 60], greedy(0)).len(), 4);
    let case = &reference("tiny-gpt2").cases[1];
    let end = case.answer.iter().position(|token| *token == case.answer[3]).unwrap();
    let sampling = Sampling { stop: vec![case.answer[3]], ..greedy(20) };
    assert_eq!(answer(&model, &case.prompt, sampling), case.answer[..end]);
    for (prompt, said) in [
        (vec![], "no tokens"),
        (vec![1; 64], "64 tokens; the model's context has room for 64"),
        (vec![128], "the token 128 is not among the model's 128"),
    ] {
        let refused = model.start(&prompt, greedy(1)).err().unwrap().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let refused =
        || match read(&ModelFile::Path(config.clone()), &Place::Cpu, Pool::new(0, &Place::Cpu).unwrap()) {
            Err(NnError::Unreadable(reason)) => reason,
            other => panic!("{:?}", other.map(|_| ())),
        };
    assert!(refused().contains("config.json: No such file"));
    let text = std::fs::read_to_string(fixture("tiny-gpt2/config.json")).unwrap();
    std::fs::write(&config, &text).unwrap();
    assert!(
        refused().contains("neither model.safetensors nor model.safetensors.index.json"),
        "{}",
        refused()
    );
    let weights = std::fs::read(fixture("tiny-gpt2/model.safetensors")).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), &weights).unwrap();
    std::fs::write(&config, text.replace("\"n_layer\": 2", "\"n_layer\": 3")).unwrap();
    assert!(refused().contains("no tensor transformer.h.2.ln_1.weight"), "{}", refused());
    std::fs::write(&config, text.replace("\"vocab_size\": 128", "\"vocab_size\": 16777216")).unwrap();
    assert!(refused().contains("by config.json it must have [16777216, 32]"), "{}", refused());
    std::fs::write(folder.path().join("model.safetensors"), &weights[..weights.len() - 1]).unwrap();
    std::fs::write(&config, text).unwrap();
    assert!(refused().contains("cannot lie from"), "{}", refused());
}

#[test]
fn threads_of_its_own_give_the_same_tokens() {
    let options = LoadOptions { device: Device::Cpu, threads: 2 };
    let model = Candle.load(&ModelFile::Path(fixture("tiny-llama/config.json")), &options).unwrap();
    let case = &reference("tiny-llama").cases[0];
    let mut decoding = model.start(&case.prompt, greedy(3)).unwrap();
    let tokens: Vec<_> = std::iter::from_fn(|| decoding.next().unwrap()).map(|token| token.id).collect();
    assert_eq!(tokens, case.answer[..3]);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn without_the_feature_there_is_no_gpu() {
    assert!(Candle.available(Device::Cpu).is_ok());
    assert!(Candle.available(Device::Gpu).unwrap_err().contains("--features cuda"));
}
