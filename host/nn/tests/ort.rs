//! ONNX Runtime on the same files as tract. The library is named by `PURLIN_ONNXRUNTIME`; without it, what needs it is
//! skipped, and says so.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod fixture;

use std::path::PathBuf;

use bytes::{BufMut, Bytes, BytesMut};
use fixture::{CPU, answers, assert_same, floats, load, path};
use purlin_nn::{Backend, Datatype, Device, LoadOptions, ModelFile, NnError, Ort, Tensor, TensorInfo};

fn library() -> Option<Ort> {
    let library = std::env::var_os("PURLIN_ONNXRUNTIME").map(PathBuf::from);
    if library.is_none() {
        eprintln!("skipped: PURLIN_ONNXRUNTIME does not name a libonnxruntime");
    }
    library.map(|path| Ort { library: Some(path), engine_cache: None })
}

#[test]
fn it_computes_what_it_computed_from_python() {
    let Some(ort) = library() else { return };
    for name in ["digits-logreg", "iris-scaled", "iris-forest", "perceptron", "convolution"] {
        let graph = load(&ort, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (inputs, right) = answers(name, &*graph);
        assert_same(&graph.compute(&inputs).unwrap(), &right);
        assert!(graph.memory() > 0);
    }
    let content = Bytes::from(std::fs::read(path("digits-logreg.onnx")).unwrap());
    let graph =
        ort.load(&ModelFile::Memory(content), &LoadOptions { device: Device::Cpu, threads: 2 }).unwrap();
    let (inputs, right) = answers("digits-logreg", &*graph);
    assert_same(&graph.compute(&inputs).unwrap(), &right);
}

#[test]
fn a_graph_says_what_it_takes_and_gives() {
    let Some(ort) = library() else { return };
    let graph = load(&ort, "convolution").unwrap();
    let info = |name: &str, shape: &[i64]| TensorInfo {
        name: name.to_owned(),
        datatype: Datatype::Fp32,
        shape: shape.to_vec(),
    };
    assert_eq!(graph.inputs(), [info("x", &[-1, 1, -1, -1])]);
    assert_eq!(graph.outputs(), [info("y", &[-1, 4])]);
}

#[test]
fn every_datatype_goes_through_unchanged_however_it_lies_in_memory() {
    let Some(ort) = library() else { return };
    for (name, count) in [("every-datatype", 12), ("bfloat16", 1)] {
        let graph = load(&ort, name).unwrap();
        assert_eq!(graph.inputs().len(), count);
        for offset in 0..2 {
            let inputs: Vec<_> =
                graph.inputs().iter().map(|info| (info.name.clone(), some(info, offset))).collect();
            let outputs = graph.compute(&inputs).unwrap();
            for ((name, given), (_, taken)) in inputs.iter().zip(&outputs) {
                assert_eq!(given, taken, "{name}");
            }
        }
    }
}

/// Three elements that begin at an odd address, or at an even one.
fn some(info: &TensorInfo, offset: usize) -> Tensor {
    let size = info.datatype.size().unwrap();
    let mut data = BytesMut::with_capacity(32 + 3 * size);
    while !(data.as_ptr().addr() + data.len()).is_multiple_of(16) {
        data.put_u8(0);
    }
    data.put_bytes(0, offset);
    let start = data.len();
    match info.datatype {
        Datatype::Bool => data.put_slice(&[1, 0, 1]),
        _ => (0..3 * size as u8).for_each(|byte| data.put_u8(byte)),
    }
    Tensor::new(info.datatype, vec![3], data.freeze().slice(start..)).unwrap()
}

#[test]
fn bytes_go_through_whatever_is_in_them() {
    let Some(ort) = library() else { return };
    let graph = load(&ort, "texts").unwrap();
    for texts in [vec![], vec![b"".as_slice(), "zażółć".as_bytes(), b"a\0b", b"last"]] {
        let texts = Tensor::of_texts(&texts);
        let outputs = graph.compute(&[("text".to_owned(), texts.clone())]).unwrap();
        assert_eq!(outputs, [("same".to_owned(), texts)]);
    }
}

#[test]
fn wrong_inputs_are_named_and_what_it_refuses_itself_is_told() {
    let Some(ort) = library() else { return };
    let rows = |count: u64| Tensor::of_floats(vec![count, 3], &vec![1.0; 3 * count as usize]).unwrap();
    let graph = load(&ort, "add-named").unwrap();
    let error = graph.compute(&[("a".to_owned(), rows(2)), ("b".to_owned(), rows(3))]).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"input "b": dimension 0 is 3; it must be 2, as dimension 0 of input "a" is"#
    );
    let graph = load(&ort, "add-unnamed").unwrap();
    let error = graph.compute(&[("a".to_owned(), rows(2)), ("b".to_owned(), rows(3))]).unwrap_err();
    assert!(matches!(error, NnError::Failed(_)), "{error:?}");
    let error = ort.load(&ModelFile::Memory(Bytes::from_static(b"not a model")), &CPU).err().unwrap();
    assert!(matches!(error, NnError::Unreadable(_)), "{error:?}");
    let error = ort.load(&ModelFile::Path(path("none.onnx")), &CPU).err().unwrap();
    assert!(error.to_string().contains("none.onnx"), "{error}");
}

#[test]
fn many_threads_compute_at_once_and_outputs_outlive_the_graph() {
    let Some(ort) = library() else { return };
    let graph = load(&ort, "matmul").unwrap();
    let threads: Vec<_> = (30..38_u64)
        .map(|size| {
            let graph = graph.clone();
            std::thread::spawn(move || {
                let ones = Tensor::of_floats(vec![size, size], &vec![1.0; (size * size) as usize]).unwrap();
                let run = |_| {
                    graph.compute(&[("a".to_owned(), ones.clone()), ("b".to_owned(), ones.clone())]).unwrap()
                };
                let outputs: Vec<_> = (0..20).map(run).collect();
                (size, outputs)
            })
        })
        .collect();
    drop(graph);
    for thread in threads {
        let (size, outputs) = thread.join().unwrap();
        for output in outputs {
            assert_eq!(floats(&output[0].1), vec![size as f32; (size * size) as usize]);
        }
    }
}

#[test]
fn what_is_spread_over_threads_is_wide_and_what_is_small_is_not() {
    let Some(ort) = library() else { return };
    if !PathBuf::from("/proc/thread-self/schedstat").exists() {
        return eprintln!("skipped: nothing says here for how long a thread had a processor");
    }
    let processors = std::thread::available_parallelism().unwrap().get();
    let graph = load(&ort, "matmul").unwrap();
    let run = |size: u64| {
        let ones = Tensor::of_floats(vec![size, size], &vec![1.0; (size * size) as usize]).unwrap();
        graph.compute(&[("a".to_owned(), ones.clone()), ("b".to_owned(), ones)]).unwrap();
    };
    assert_eq!(graph.width(), processors, "what is not known is computed alone");
    // One that loses its processor in the middle takes long too.
    let narrow = || {
        (0..100).any(|_| {
            run(8);
            graph.width() == 1
        })
    };
    assert!(narrow());
    // Until it was looked at with no other test in the pool, and with processors free for the pool's threads.
    // At the end of every 256 it is looked at anew, and as wide as the pool for that.
    let wide = (0..600).any(|number| {
        run(1024);
        (16..240).contains(&(number % 256)) && graph.width() >= processors.min(2)
    });
    assert!(wide, "{}", graph.width());
    assert!(narrow());
    let own = ort
        .load(&ModelFile::Path(path("matmul.onnx")), &LoadOptions { device: Device::Cpu, threads: 3 })
        .unwrap();
    assert_eq!(own.width(), 3);
}

#[test]
fn what_is_missing_is_said_and_nothing_crashes() {
    // Another process, since a process has one library.
    let folder = tempfile::tempdir().unwrap();
    let no_library = folder.path().join("libonnxruntime.so");
    std::fs::write(&no_library, b"not a library").unwrap();
    for (given, expected) in
        [(folder.path().join("none.so"), "does not exist"), (no_library, "libonnxruntime.so")]
    {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "in_another_process", "--include-ignored", "--nocapture"])
            .env("PURLIN_TEST_LIBRARY", &given)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains(expected) && said.contains("install ONNX Runtime"), "{said}");
    }
}

#[test]
#[ignore = "run by what_is_missing_is_said_and_nothing_crashes"]
fn in_another_process() {
    let ort = Ort { library: std::env::var_os("PURLIN_TEST_LIBRARY").map(PathBuf::from), engine_cache: None };
    eprintln!("{}", ort.available(Device::Cpu).unwrap_err());
    let error = load(&ort, "digits-logreg").err().unwrap();
    assert!(matches!(error, NnError::NoBackend { .. }), "{error:?}");
    // It is tried again, not remembered.
    assert!(ort.available(Device::Gpu).is_err());
}

#[test]
fn a_library_without_cuda_says_so() {
    let Some(ort) = library() else { return };
    ort.available(Device::Cpu).unwrap();
    if let Err(reason) = ort.available(Device::Gpu) {
        assert!(reason.contains("onnxruntime-gpu"), "{reason}");
        let gpu = LoadOptions { device: Device::Gpu, threads: 0 };
        let error = ort.load(&ModelFile::Path(path("digits-logreg.onnx")), &gpu).err().unwrap();
        assert!(matches!(error, NnError::NoBackend { device: Device::Gpu, .. }), "{error:?}");
    }
}
