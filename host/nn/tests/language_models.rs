//! Language models behind the backends of a process: loaded once for many, and decoded away from the caller's thread.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use purlin_nn::{
    Backends, Candle, Decoding, Device, LanguageModel as _, LoadOptions, ModelFile, NnError, Sampling,
    Settings, Token,
};

const CPU: LoadOptions = LoadOptions { device: Device::Cpu, threads: 0 };

fn backends() -> Backends {
    Backends::new(Vec::new(), &Settings::default()).with_language_models(vec![Arc::new(Candle)])
}

fn llama() -> ModelFile {
    ModelFile::Path(PathBuf::from("tests/fixtures/tiny-llama/config.json"))
}

fn sampling(max_tokens: u32) -> Sampling {
    Sampling { max_tokens, ..Sampling::default() }
}

async fn tokens(backends: &Backends, mut decoding: Box<dyn Decoding>) -> Vec<u32> {
    let mut tokens = Vec::new();
    loop {
        let (back, token) = backends.decode(decoding).await;
        match token.unwrap() {
            Some(Token { id, logprob }) => {
                assert!(logprob <= 0.0);
                tokens.push(id);
            }
            None => return tokens,
        }
        decoding = back.unwrap();
    }
}

#[tokio::test]
async fn a_model_is_loaded_once_and_let_go() {
    let backends = backends();
    let (one, other) =
        tokio::join!(backends.load_language_model(llama(), CPU), backends.load_language_model(llama(), CPU));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(Arc::ptr_eq(&one, &other));
    // 26,784 weights in single precision.
    assert_eq!(one.memory(), 26_784 * 4);
    let gone = Arc::downgrade(&one);
    drop((one, other));
    assert!(gone.upgrade().is_none());
}

#[tokio::test]
async fn generations_go_on_beside_each_other() {
    let backends = backends();
    let model = backends.load_language_model(llama(), CPU).await.unwrap();
    let alone = tokens(&backends, model.start(&[5, 9, 3], sampling(12)).unwrap()).await;
    assert_eq!(alone.len(), 12);
    let (one, other, third) = tokio::join!(
        tokens(&backends, model.start(&[5, 9, 3], sampling(12)).unwrap()),
        tokens(&backends, model.start(&[7], sampling(9)).unwrap()),
        tokens(&backends, model.start(&[5, 9, 3], sampling(5)).unwrap()),
    );
    assert_eq!((one.as_slice(), other.len(), third.as_slice()), (alone.as_slice(), 9, &alone[..5]));
}

/// Panics in its first step.
struct Panicking;

impl Decoding for Panicking {
    fn next(&mut self) -> Result<Option<Token>, NnError> {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_panic_costs_the_one_generation() {
    let backends = backends();
    let (lost, token) = backends.decode(Box::new(Panicking)).await;
    assert!(lost.is_none());
    assert!(matches!(token, Err(NnError::Failed(_))), "{token:?}");
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let none = Backends::new(Vec::new(), &Settings::default());
    let refused = none.load_language_model(llama(), CPU).await.err().unwrap();
    assert!(matches!(refused, NnError::NoBackend { .. }), "{refused}");
    let missing = ModelFile::Path(PathBuf::from("tests/fixtures/no.gguf"));
    let refused = backends().load_language_model(missing, CPU).await.err().unwrap();
    assert!(matches!(refused, NnError::Unreadable(_)), "{refused}");
}
