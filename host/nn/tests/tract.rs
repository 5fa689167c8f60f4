//! tract on real ONNX files: what it says about them, what it computes, and how it refuses.
#![allow(missing_docs, clippy::unwrap_used)]

mod fixture;

use std::sync::Arc;

use bytes::Bytes;
use fixture::{CPU, answers, assert_same, floats, load, path};
use purlin_nn::{
    Backend, Datatype, Device, Graph, LoadOptions, ModelFile, NnError, Tensor, TensorInfo, Tract,
};

fn info(name: &str, datatype: Datatype, shape: &[i64]) -> TensorInfo {
    TensorInfo { name: name.to_owned(), datatype, shape: shape.to_vec() }
}

fn refusal(name: &str, inputs: &[(&str, Tensor)]) -> String {
    let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    let error = load(&Tract, name).unwrap().compute(&inputs).unwrap_err();
    assert!(matches!(error, NnError::Input(_)), "{error:?}");
    error.to_string()
}

#[test]
fn a_graph_says_what_it_takes_and_gives() {
    let graph = load(&Tract, "digits-logreg").unwrap();
    assert_eq!(graph.inputs(), [info("input", Datatype::Fp32, &[-1, 64])]);
    assert_eq!(
        graph.outputs(),
        [info("label", Datatype::Int64, &[-1]), info("probabilities", Datatype::Fp32, &[-1, 10])]
    );
    assert!(graph.memory() > 64 * 10 * 4, "{}", graph.memory());

    let graph = load(&Tract, "convolution").unwrap();
    assert_eq!(graph.inputs(), [info("x", Datatype::Fp32, &[-1, 1, -1, -1])]);
    assert_eq!(graph.outputs(), [info("y", Datatype::Fp32, &[-1, 4])]);
}

#[test]
fn it_computes_what_onnxruntime_computes() {
    for name in ["digits-logreg", "iris-scaled", "iris-forest", "rows", "perceptron", "convolution"] {
        let graph = load(&Tract, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (inputs, right) = answers(name, &*graph);
        assert_same(&graph.compute(&inputs).unwrap(), &right);
        // Again, by a state that was used before, and for a batch of another size.
        assert_same(&graph.compute(&inputs).unwrap(), &right);
        let one: Vec<_> = inputs.iter().map(|(name, tensor)| (name.clone(), first_row(tensor))).collect();
        let right: Vec<_> = right.iter().map(|(name, tensor)| (name.clone(), first_row(tensor))).collect();
        assert_same(&graph.compute(&one).unwrap(), &right);
    }
}

fn first_row(tensor: &Tensor) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    let elements = shape[1..].iter().product::<u64>() as usize;
    let bytes = match tensor.datatype() {
        Datatype::Bytes => tensor.texts().take(elements).map(|text| 4 + text.len()).sum(),
        _ => tensor.data().len() / shape[0] as usize,
    };
    shape[0] = 1;
    Tensor::new(tensor.datatype(), shape, tensor.data().slice(..bytes)).unwrap()
}

#[test]
fn from_memory_it_is_the_same_graph() {
    let content = Bytes::from(std::fs::read(path("digits-logreg.onnx")).unwrap());
    let graph = Tract.load(&ModelFile::Memory(content), &CPU).unwrap();
    let (inputs, right) = answers("digits-logreg", &*graph);
    assert_same(&graph.compute(&inputs).unwrap(), &right);
}

#[test]
fn an_empty_batch_gives_empty_outputs() {
    let graph = load(&Tract, "perceptron").unwrap();
    let none = Tensor::of_floats(vec![0, 16], &[]).unwrap();
    let outputs = graph.compute(&[("x".to_owned(), none)]).unwrap();
    assert_eq!(outputs[0].1.shape(), [0, 4]);
}

#[test]
fn every_datatype_goes_through_unchanged() {
    let graph = load(&Tract, "every-datatype").unwrap();
    let inputs: Vec<_> = graph
        .inputs()
        .iter()
        .map(|info| {
            let size = info.datatype.size().unwrap();
            let data: Vec<u8> = match info.datatype {
                Datatype::Bool => vec![1, 0, 1],
                _ => (1..=3 * size as u8).collect(),
            };
            (info.name.clone(), Tensor::new(info.datatype, vec![3], data.into()).unwrap())
        })
        .collect();
    assert_eq!(inputs.len(), 12);
    let outputs = graph.compute(&inputs).unwrap();
    for ((name, given), (_, taken)) in inputs.iter().zip(&outputs) {
        assert_eq!(given, taken, "{name}");
    }
}

#[test]
fn texts_go_through_and_bytes_that_are_no_text_are_refused() {
    let graph = load(&Tract, "texts").unwrap();
    assert_eq!(graph.inputs(), [info("text", Datatype::Bytes, &[-1])]);
    let texts = Tensor::of_texts(&["", "zażółć", "gęślą"]);
    let outputs = graph.compute(&[("text".to_owned(), texts.clone())]).unwrap();
    assert_eq!(outputs, [("same".to_owned(), texts)]);
    let error = refusal("texts", &[("text", Tensor::of_texts(&[[0xff, 0xfe]]))]);
    assert_eq!(error, r#"input "text": an element is not UTF-8, the model takes texts"#);
}

#[test]
fn inputs_that_share_a_dimension_must_agree_on_it() {
    let rows = |count: u64| Tensor::of_floats(vec![count, 3], &vec![1.0; 3 * count as usize]).unwrap();
    let graph = load(&Tract, "add-named").unwrap();
    let sum = graph.compute(&[("b".to_owned(), rows(2)), ("a".to_owned(), rows(2))]).unwrap();
    assert_eq!(floats(&sum[0].1), [2.0; 6]);
    let error = refusal("add-named", &[("a", rows(2)), ("b", rows(3))]);
    assert_eq!(error, r#"input "b": dimension 0 is 3; it must be 2, as dimension 0 of input "a" is"#);
    // Dimensions without a name may differ, as far as the operators allow it.
    let graph = load(&Tract, "add-unnamed").unwrap();
    for count in [1, 2, 5] {
        let sum = graph.compute(&[("a".to_owned(), rows(count)), ("b".to_owned(), rows(count))]).unwrap();
        assert_eq!(floats(&sum[0].1), vec![2.0; 3 * count as usize]);
    }
}

#[test]
fn weights_are_found_beside_the_graph_and_nowhere_else() {
    let graph = load(&Tract, "external").unwrap();
    let x = Tensor::of_floats(vec![1, 3], &[1.0, 10.0, 100.0]).unwrap();
    let outputs = graph.compute(&[("x".to_owned(), x)]).unwrap();
    assert_eq!(floats(&outputs[0].1), [420.0, 531.0]);

    let content = std::fs::read(path("external.onnx")).unwrap();
    let error = Tract.load(&ModelFile::Memory(content.clone().into()), &CPU).err().unwrap();
    assert!(matches!(error, NnError::Unreadable(_)), "{error:?}");
    // A graph that names a file outside its folder: of the same length, so that the protobuf stays one.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("model")).unwrap();
    std::fs::write(folder.path().join("rnal.weights"), [0; 24]).unwrap();
    let at = content.windows(16).position(|name| name == b"external.weights").unwrap();
    let mut hostile = content;
    hostile[at..at + 16].copy_from_slice(b".././rnal.weight");
    hostile[at + 15] = b's';
    let hostile_path = folder.path().join("model/hostile.onnx");
    std::fs::write(&hostile_path, hostile).unwrap();
    let error = Tract.load(&ModelFile::Path(hostile_path), &CPU).err().unwrap();
    assert!(error.to_string().contains("inside the model directory"), "{error}");
}

#[test]
fn wrong_inputs_are_named() {
    let digit = |shape: &[u64]| Tensor::of_floats(shape.to_vec(), &[0.0; 64]).unwrap();
    assert_eq!(refusal("digits-logreg", &[]), r#"input "input" (FP32 of shape [-1, 64]) is missing"#);
    assert_eq!(
        refusal("digits-logreg", &[("input", digit(&[64]))]),
        r#"input "input": shape is [64], the model takes [-1, 64] (-1 for any size)"#
    );
    assert_eq!(
        refusal("digits-logreg", &[("x", digit(&[1, 64]))]),
        r#"input "x" is none of the model's: it takes "input""#
    );
}

#[test]
fn what_is_no_model_is_refused_without_a_panic() {
    let good = std::fs::read(path("digits-logreg.onnx")).unwrap();
    assert!(Tract.load(&ModelFile::Memory(Bytes::new()), &CPU).is_err());
    assert!(Tract.load(&ModelFile::Memory(Bytes::from_static(b"not a model")), &CPU).is_err());
    for cut in [1, 10, good.len() / 2, good.len() - 1] {
        let error = Tract.load(&ModelFile::Memory(good[..cut].to_vec().into()), &CPU).err().unwrap();
        assert!(matches!(error, NnError::Unreadable(_)), "{cut}: {error:?}");
    }
    let error = Tract.load(&ModelFile::Path(path("none.onnx")), &CPU).err().unwrap();
    assert!(error.to_string().contains("none.onnx"), "{error}");
    let bfloat16 = load(&Tract, "bfloat16").err().unwrap();
    assert!(matches!(bfloat16, NnError::Unreadable(_)), "{bfloat16:?}");
}

#[test]
fn on_a_graphics_processor_there_is_no_tract() {
    let options = LoadOptions { device: Device::Gpu, threads: 0 };
    let error = Tract.load(&ModelFile::Path(path("digits-logreg.onnx")), &options).err().unwrap();
    assert_eq!(
        error.to_string(),
        "no backend for onnx on gpu here: tract computes ONNX on the processor only"
    );
}

#[test]
fn many_threads_compute_at_once() {
    let graph: Arc<dyn Graph> = load(&Tract, "matmul").unwrap();
    let threads: Vec<_> = (1..9_u64)
        .map(|size| {
            let graph = graph.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let ones =
                        Tensor::of_floats(vec![size, size], &vec![1.0; (size * size) as usize]).unwrap();
                    let outputs =
                        graph.compute(&[("a".to_owned(), ones.clone()), ("b".to_owned(), ones)]).unwrap();
                    assert_eq!(floats(&outputs[0].1), vec![size as f32; (size * size) as usize]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn several_threads_for_one_computation_give_the_same() {
    let options = LoadOptions { device: Device::Cpu, threads: 2 };
    let graph = Tract.load(&ModelFile::Path(path("digits-logreg.onnx")), &options).unwrap();
    let (inputs, right) = answers("digits-logreg", &*graph);
    assert_same(&graph.compute(&inputs).unwrap(), &right);
}
