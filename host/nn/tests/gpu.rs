//! The same models on a graphics processor and on the processor. Where none can be used, what needs it is skipped, and says
//! why. `PURLIN_ONNXRUNTIME` names the library of ONNX Runtime's GPU build; language models need the feature `cuda`.
//!
//! How fast both are is printed, and not judged, by
//!
//!     cargo test --release -p purlin-nn --features cuda --test gpu -- --ignored --nocapture --test-threads 1
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod fixture;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixture::{CPU, Named, answers, assert_same, floats, load, path};
use purlin_nn::{
    Backend, Candle, Datatype, Device, Graph, LanguageBackend as _, LanguageModel, LoadOptions, ModelFile,
    Ort, Sampling, Tensor, Token,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

const GPU: LoadOptions = LoadOptions { device: Device::Gpu, threads: 0 };

/// What computes on the graphics processor here; nothing where that cannot be.
fn usable<T>(backend: T, available: impl Fn(&T) -> Result<(), String>) -> Option<T> {
    match available(&backend) {
        Ok(()) => Some(backend),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn ort() -> Option<Ort> {
    let Some(library) = std::env::var_os("PURLIN_ONNXRUNTIME").map(PathBuf::from) else {
        eprintln!("skipped: PURLIN_ONNXRUNTIME does not name a libonnxruntime");
        return None;
    };
    usable(Ort { library: Some(library), engine_cache: None }, |ort| ort.available(Device::Gpu))
}

fn candle() -> Option<Candle> {
    usable(Candle, |candle| candle.available(Device::Gpu))
}

fn graph(ort: &Ort, name: &str) -> Arc<dyn Graph> {
    let file = ModelFile::Path(path(&format!("{name}.onnx")));
    ort.load(&file, &GPU).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn model(file: &Path, options: &LoadOptions) -> Arc<dyn LanguageModel> {
    let file = ModelFile::Path(file.to_owned());
    Candle.load(&file, options).unwrap_or_else(|error| panic!("{file:?}: {error}"))
}

fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

/// Numbers from -1 to 1.
fn numbers(random: &mut ChaCha8Rng, shape: &[u64]) -> Tensor {
    let count = shape.iter().product::<u64>();
    let numbers: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
    Tensor::of_floats(shape.to_vec(), &numbers).unwrap()
}

/// The largest difference of two lists.
fn difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn graphs_give_what_they_gave_from_python() {
    let Some(ort) = ort() else { return };
    for name in ["digits-logreg", "iris-scaled", "iris-forest", "perceptron", "convolution"] {
        let graph = graph(&ort, name);
        let (inputs, right) = answers(name, &*graph);
        assert_same(&graph.compute(&inputs).unwrap(), &right);
    }
}

#[test]
fn many_threads_compute_graphs_at_once() {
    let Some(ort) = ort() else { return };
    let (on_gpu, on_cpu) = (graph(&ort, "matmul"), load(&ort, "matmul").unwrap());
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (on_gpu, on_cpu) = (&on_gpu, &on_cpu);
            scope.spawn(move || {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                for size in [1, 30, 64, 257] {
                    let mut input =
                        |name: &str| (name.to_owned(), numbers(&mut random, &[size + seed, size + seed]));
                    let inputs = [input("a"), input("b")];
                    let right = floats(&on_cpu.compute(&inputs).unwrap()[0].1);
                    for _ in 0..10 {
                        let off = difference(&floats(&on_gpu.compute(&inputs).unwrap()[0].1), &right);
                        assert!(off < 1e-4, "size {size}: {off}");
                    }
                }
            });
        }
    });
}

#[test]
fn every_datatype_goes_to_the_graphics_processor_and_back() {
    let Some(ort) = ort() else { return };
    for name in ["every-datatype", "bfloat16"] {
        let graph = graph(&ort, name);
        let some = |datatype: Datatype| match datatype {
            Datatype::Bool => vec![1, 0, 1],
            _ => (0..3 * datatype.size().unwrap() as u8).collect::<Vec<u8>>(),
        };
        let inputs: Named = graph
            .inputs()
            .iter()
            .map(|info| {
                let data = some(info.datatype).into();
                (info.name.clone(), Tensor::new(info.datatype, vec![3], data).unwrap())
            })
            .collect();
        for ((name, given), (_, taken)) in inputs.iter().zip(&graph.compute(&inputs).unwrap()) {
            assert_eq!(given, taken, "{name}");
        }
    }
    let texts = Tensor::of_texts(&["on", "the processor", "all the same"]);
    let outputs = graph(&ort, "texts").compute(&[("text".to_owned(), texts.clone())]).unwrap();
    assert_eq!(outputs, [("same".to_owned(), texts)]);
}

fn greedy(max_tokens: u32) -> Sampling {
    Sampling { max_tokens, ..Sampling::default() }
}

fn answer(model: &dyn LanguageModel, prompt: &[u32], max_tokens: u32) -> Vec<Token> {
    let mut decoding = model.start(prompt, greedy(max_tokens)).unwrap();
    std::iter::from_fn(|| decoding.next().unwrap()).collect()
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

fn prompts() -> [Vec<u32>; 3] {
    [vec![1], vec![5, 9, 3, 77, 100, 2, 64], (3..43).collect()]
}

/// A copy of a checkpoint of BF16 in FP32, in which a graphics processor computes with FP32 too.
fn in_single_precision(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(path(folder).join("config.json"), copy.path().join("config.json")).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for file in std::fs::read_dir(path(folder)).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let content = std::fs::read(file).unwrap();
        let (length, rest) = content.split_first_chunk().unwrap();
        let (stated, tensors) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let stated: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(stated).unwrap();
        for (name, stated) in stated.into_iter().filter(|(name, _)| name != "__metadata__") {
            assert_eq!(stated["dtype"], "BF16");
            let offset = |index: usize| stated["data_offsets"][index].as_u64().unwrap() as usize;
            let start = data.len();
            for two in tensors[offset(0)..offset(1)].chunks_exact(2) {
                data.extend_from_slice(&[0, 0, two[0], two[1]]);
            }
            let offsets = [start, data.len()];
            let stated =
                serde_json::json!({"dtype": "F32", "shape": stated["shape"], "data_offsets": offsets});
            header.insert(name, stated);
        }
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = std::fs::File::create(copy.path().join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.write_all(&data).unwrap();
    copy
}

#[test]
fn in_single_precision_tokens_are_those_of_the_processor() {
    let Some(_) = candle() else { return };
    let (llama, gpt2) = (in_single_precision("tiny-llama"), in_single_precision("tiny-gpt2"));
    let files = [
        llama.path().join("config.json"),
        gpt2.path().join("config.json"),
        // What a GGUF file has in BF16 is computed in FP32 everywhere.
        path("tiny-llama-bf16.gguf"),
    ];
    for file in files {
        let (on_gpu, on_cpu) = (model(&file, &GPU), model(&file, &CPU));
        assert_eq!(on_gpu.memory(), on_cpu.memory());
        for prompt in prompts() {
            let (found, right) = (answer(&*on_gpu, &prompt, 20), answer(&*on_cpu, &prompt, 20));
            assert_eq!(ids(&found), ids(&right), "{file:?}: {prompt:?}");
            for (found, right) in found.iter().zip(&right) {
                let off = (found.logprob - right.logprob).abs();
                assert!(off < 1e-4, "{file:?}: {prompt:?}: {off}");
            }
        }
    }
}

#[test]
fn what_is_rounded_comes_close_to_the_processor() {
    let Some(_) = candle() else { return };
    for (file, close) in [
        // In BF16 there, in FP32 here.
        ("tiny-llama/config.json", 0.2),
        ("tiny-gpt2/config.json", 0.2),
        // Activations are quantised too, there otherwise than here.
        ("tiny-llama-q8_0.gguf", 0.2),
    ] {
        let (on_gpu, on_cpu) = (model(&path(file), &GPU), model(&path(file), &CPU));
        for prompt in prompts() {
            let (found, right) = (answer(&*on_gpu, &prompt, 20), answer(&*on_cpu, &prompt, 20));
            let same = found.iter().zip(&right).take_while(|(found, right)| found.id == right.id).count();
            let off = (found[0].logprob - right[0].logprob).abs();
            eprintln!("{file}: a prompt of {}: {same} tokens are the same; first {off}", prompt.len());
            assert!(same > 0 && off < close, "{file}: {prompt:?}: {found:?}, on the processor {right:?}");
        }
    }
}

#[test]
fn generations_beside_each_other_do_not_disturb_each_other() {
    let Some(_) = candle() else { return };
    for file in ["tiny-llama-q8_0.gguf", "tiny-llama-bf16.gguf", "tiny-llama/config.json"] {
        let model = model(&path(file), &GPU);
        let prompt = |seed: u32| -> Vec<u32> { (0..1 + 5 * seed).map(|at| (at * 7 + seed) % 128).collect() };
        let alone: Vec<_> = (0..8).map(|seed| answer(&*model, &prompt(seed), 100)).collect();
        std::thread::scope(|scope| {
            for (seed, alone) in alone.iter().enumerate() {
                let model = &model;
                scope.spawn(move || {
                    for _ in 0..5 {
                        assert_eq!(answer(&**model, &prompt(seed as u32), 100), *alone, "{file}");
                    }
                });
            }
        });
        // And where each token is computed by another thread than the one before.
        let mut decoding = model.start(&prompt(3), greedy(20)).unwrap();
        for right in &alone[3][..20] {
            let step = std::thread::spawn(move || (decoding.next().unwrap(), decoding));
            let (token, back) = step.join().unwrap();
            assert_eq!(token, Some(*right), "{file}");
            decoding = back;
        }
    }
}

#[test]
fn a_model_may_be_used_as_soon_as_it_is_loaded_and_loaded_again() {
    let Some(_) = candle() else { return };
    let file = path("tiny-gpt2/config.json");
    let right = answer(&*model(&file, &GPU), &[1], 5);
    for _ in 0..20 {
        let model = model(&file, &GPU);
        let used = std::thread::spawn(move || answer(&*model, &[1], 5));
        assert_eq!(used.join().unwrap(), right);
    }
}

/// A Llama of 110 million weights in BF16, which makes no sense.
fn llama() -> tempfile::TempDir {
    const HIDDEN: usize = 768;
    const INNER: usize = 2048;
    const LAYERS: usize = 12;
    const VOCABULARY: usize = 32_000;
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::json!({
        "model_type": "llama", "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": 12, "num_key_value_heads": 12,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "vocab_size": VOCABULARY,
        "rope_theta": 10_000.0, "tie_word_embeddings": true,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (part, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.v_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj", vec![INNER, HIDDEN]),
            ("mlp.up_proj", vec![INNER, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INNER]),
        ] {
            shapes.push((format!("model.layers.{layer}.{part}.weight"), shape));
        }
    }
    let (mut header, mut size) = (serde_json::Map::new(), 0);
    for (name, shape) in &shapes {
        let end = size + 2 * shape.iter().product::<usize>();
        let stated = serde_json::json!({"dtype": "BF16", "shape": shape, "data_offsets": [size, end]});
        header.insert(name.clone(), stated);
        size = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut random = random();
    let mut data = Vec::with_capacity(8 + header.len() + size);
    data.extend_from_slice(&(header.len() as u64).to_le_bytes());
    data.extend_from_slice(&header);
    for _ in 0..size / 2 {
        let number: f32 = random.random_range(-0.05..0.05);
        data.extend_from_slice(&number.to_le_bytes()[2..]);
    }
    std::fs::write(folder.path().join("model.safetensors"), data).unwrap();
    folder
}

#[test]
#[ignore = "prints how fast language models are"]
fn how_fast_language_models_are() {
    let folder = llama();
    let file = folder.path().join("config.json");
    let devices = [Some(CPU), candle().map(|_| GPU)];
    for options in devices.into_iter().flatten() {
        let begun = Instant::now();
        let model = model(&file, &options);
        let (device, loaded) = (options.device, begun.elapsed());
        let prompt: Vec<u32> = (0..128).map(|at| at * 37 % 32_000).collect();
        answer(&*model, &prompt, 8);
        let begun = Instant::now();
        answer(&*model, &prompt, 1);
        let first = begun.elapsed();
        let rate = |tokens: usize, begun: Instant| tokens as f64 / begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let alone = rate(answer(&*model, &[1], 100).len(), begun);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for seed in 0..8 {
                let model = &model;
                scope.spawn(move || answer(&**model, &[seed], 50));
            }
        });
        let beside = rate(8 * 50, begun);
        eprintln!(
            "{device}: 110 million weights loaded in {loaded:.1?}; 128 tokens read in {first:.1?}; {alone:.0} tokens a \
             second in one generation, {beside:.0} in eight"
        );
    }
}

#[test]
#[ignore = "prints how fast an encoder is, whose ONNX file PURLIN_ENCODER names"]
fn how_fast_encoders_are() {
    const BATCH: u64 = 32;
    const TOKENS: u64 = 128;
    let Some(file) = std::env::var_os("PURLIN_ENCODER").map(PathBuf::from) else {
        eprintln!("skipped: PURLIN_ENCODER does not name an ONNX file");
        return;
    };
    let Some(ort) = ort() else { return };
    let mut answers = Vec::new();
    for options in [CPU, GPU] {
        let begun = Instant::now();
        let graph = ort.load(&ModelFile::Path(file.clone()), &options).unwrap();
        let (device, loaded) = (options.device, begun.elapsed());
        let mut random = random();
        let inputs: Named = graph
            .inputs()
            .iter()
            .map(|info| {
                let mut number = || match info.name.as_str() {
                    "input_ids" => random.random_range(0..1000_i64),
                    "attention_mask" => 1,
                    _ => 0,
                };
                let data: Vec<u8> = (0..BATCH * TOKENS).flat_map(|_| number().to_le_bytes()).collect();
                let tensor = Tensor::new(info.datatype, vec![BATCH, TOKENS], data.into());
                (info.name.clone(), tensor.unwrap())
            })
            .collect();
        answers.push(floats(&graph.compute(&inputs).unwrap()[0].1));
        let (begun, mut texts) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(3) {
            graph.compute(&inputs).unwrap();
            texts += BATCH;
        }
        let rate = texts as f64 / begun.elapsed().as_secs_f64();
        eprintln!("{device}: loaded in {loaded:.1?}; {rate:.0} texts of {TOKENS} tokens a second");
    }
    let largest = answers[0].iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    eprintln!("the largest difference is {} of {largest}", difference(&answers[0], &answers[1]));
}
