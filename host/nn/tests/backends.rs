//! Loading once for many, falling back from one backend to the next, and on which thread a graph is computed.
#![allow(missing_docs, clippy::unwrap_used)]

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use bytes::Bytes;
use fixture::{CPU, answers, assert_same, path};
use purlin_nn::{
    Backend, Backends, Datatype, Device, Encoding, Graph, LoadOptions, ModelFile, NnError, Settings, Tensor,
    TensorInfo, Tract,
};

/// Reads anything, slowly; its graphs say which thread computed, and take as long as their content says, in
/// milliseconds.
#[derive(Default)]
struct Fake {
    loads: AtomicUsize,
    alive: Arc<AtomicUsize>,
}

struct FakeGraph {
    time: Duration,
    alive: Arc<AtomicUsize>,
    thread: std::sync::Mutex<Option<ThreadId>>,
    outputs: Vec<TensorInfo>,
}

impl Drop for FakeGraph {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn encoding(&self) -> Encoding {
        Encoding::Onnx
    }

    fn available(&self, device: Device) -> Result<(), String> {
        if device == Device::Cpu { Ok(()) } else { Err("it is a fake".to_owned()) }
    }

    fn load(&self, file: &ModelFile, _: &LoadOptions) -> Result<Arc<dyn Graph>, NnError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        let ModelFile::Memory(content) = file else { return Err(NnError::Unreadable("a path".to_owned())) };
        let text = std::str::from_utf8(content).unwrap();
        if text == "panic" {
            panic!("on purpose");
        }
        let time = text.parse().map_err(|_| NnError::Unreadable(format!("{text:?} is no number")))?;
        self.alive.fetch_add(1, Ordering::SeqCst);
        let outputs =
            vec![TensorInfo { name: "thread".to_owned(), datatype: Datatype::Fp32, shape: vec![0] }];
        Ok(Arc::new(FakeGraph {
            time: Duration::from_millis(time),
            alive: self.alive.clone(),
            thread: std::sync::Mutex::new(None),
            outputs,
        }))
    }
}

impl Graph for FakeGraph {
    fn inputs(&self) -> &[TensorInfo] {
        &[]
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn memory(&self) -> u64 {
        0
    }

    fn compute(&self, _: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, NnError> {
        std::thread::sleep(self.time);
        *self.thread.lock().unwrap() = Some(std::thread::current().id());
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        Ok(vec![("thread".to_owned(), Tensor::of_texts(&[name]))])
    }
}

fn file(content: &'static str) -> ModelFile {
    ModelFile::Memory(Bytes::from_static(content.as_bytes()))
}

fn x() -> Vec<(String, Tensor)> {
    vec![("x".to_owned(), Tensor::of_floats(vec![4], &[0.0; 4]).unwrap())]
}

fn with(backends: Vec<Arc<dyn Backend>>, settings: &Settings) -> Arc<Backends> {
    Arc::new(Backends::new(backends, settings))
}

#[tokio::test]
async fn those_who_load_the_same_content_share_one_graph_for_as_long_as_one_has_it() {
    let fake = Arc::new(Fake::default());
    let backends = with(vec![fake.clone()], &Settings::default());
    let loads: Vec<_> = (0..20)
        .map(|_| {
            let backends = backends.clone();
            tokio::spawn(async move { backends.load(Encoding::Onnx, file("0"), CPU).await.unwrap() })
        })
        .collect();
    // One who gives up takes nothing from the others.
    let gave_up =
        tokio::time::timeout(Duration::from_millis(1), backends.load(Encoding::Onnx, file("0"), CPU));
    let _ = gave_up.await;
    let mut graphs = Vec::new();
    for load in loads {
        graphs.push(load.await.unwrap());
    }
    assert!(graphs.iter().all(|graph| Arc::ptr_eq(graph, &graphs[0])));
    assert_eq!(fake.loads.load(Ordering::SeqCst), 1);
    // Other content, or other options, is another graph.
    let other = backends.load(Encoding::Onnx, file("1"), CPU).await.unwrap();
    let two = LoadOptions { threads: 2, ..CPU };
    let threaded = backends.load(Encoding::Onnx, file("0"), two).await.unwrap();
    assert_eq!(fake.alive.load(Ordering::SeqCst), 3);
    drop((graphs, other, threaded));
    assert_eq!(fake.alive.load(Ordering::SeqCst), 0);
    backends.load(Encoding::Onnx, file("0"), CPU).await.unwrap();
    assert_eq!(fake.loads.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_failed_load_is_told_to_all_and_tried_again() {
    let fake = Arc::new(Fake::default());
    let backends = with(vec![fake.clone()], &Settings::default());
    for content in ["no number", "panic"] {
        for _ in 0..2 {
            let both = tokio::join!(
                backends.load(Encoding::Onnx, file(content), CPU),
                backends.load(Encoding::Onnx, file(content), CPU)
            );
            assert!(both.0.is_err() && both.1.is_err());
        }
    }
    assert_eq!(fake.loads.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn the_first_backend_that_can_is_taken() {
    let both = || -> Vec<Arc<dyn Backend>> { vec![Arc::new(Tract), Arc::new(Fake::default())] };
    let preferring = |text: &str| Settings { preference: text.parse().unwrap(), ..Settings::default() };
    let backend = async |settings: &Settings, file: ModelFile| {
        with(both(), settings).load(Encoding::Onnx, file, CPU).await.map(|graph| graph.backend())
    };
    let digits = || ModelFile::Path(path("digits-logreg.onnx"));
    assert_eq!(backend(&preferring("auto"), digits()).await.unwrap(), "tract");
    // What tract cannot read, the next may.
    assert_eq!(backend(&preferring("auto"), file("0")).await.unwrap(), "fake");
    assert_eq!(backend(&preferring("fake"), file("0")).await.unwrap(), "fake");
    assert_eq!(backend(&preferring("fake, tract"), digits()).await.unwrap(), "tract");
    assert!(backend(&preferring("tract"), file("0")).await.is_err());

    let backends = with(both(), &Settings::default());
    let gpu = backends.available(Encoding::Onnx, Device::Gpu).unwrap_err().to_string();
    assert_eq!(
        gpu,
        "no backend for onnx on gpu here: tract: tract computes ONNX on the processor only; fake: it is a fake"
    );
    let ggml = backends.available(Encoding::Ggml, Device::Cpu).unwrap_err().to_string();
    assert_eq!(ggml, "no backend for ggml on cpu here: no backend reads it");
}

#[tokio::test]
async fn a_real_graph_is_computed_through_it() {
    let backends = with(vec![Arc::new(Tract)], &Settings::default());
    let file = ModelFile::Path(path("digits-logreg.onnx"));
    let graph = backends.load(Encoding::Onnx, file, CPU).await.unwrap();
    let (inputs, right) =
        answers("digits-logreg", &*Tract.load(&ModelFile::Path(path("digits-logreg.onnx")), &CPU).unwrap());
    for _ in 0..3 {
        assert_same(&graph.compute(inputs.clone()).await.unwrap(), &right);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn quick_computations_run_where_they_are_asked_for_and_long_ones_do_not() {
    let settings = Settings { inline_below: Duration::from_millis(2), ..Settings::default() };
    let backends = with(vec![Arc::new(Fake::default())], &settings);
    let thread = async |graph: &Arc<purlin_nn::LoadedGraph>, inputs| {
        let outputs = graph.compute(inputs).await.unwrap();
        String::from_utf8(outputs[0].1.texts().next().unwrap().to_vec()).unwrap()
    };
    let quick = backends.load(Encoding::Onnx, file("0"), CPU).await.unwrap();
    assert!(thread(&quick, x()).await.starts_with("purlin-nn-"), "nothing is known before the first");
    assert!(!thread(&quick, x()).await.starts_with("purlin-nn-"));
    let huge = Tensor::of_floats(vec![10_000_000], &vec![0.0; 10_000_000]).unwrap();
    assert!(
        thread(&quick, vec![("x".to_owned(), huge)]).await.starts_with("purlin-nn-"),
        "a huge input is not quick"
    );
    let long = backends.load(Encoding::Onnx, file("5"), CPU).await.unwrap();
    for _ in 0..3 {
        assert!(thread(&long, x()).await.starts_with("purlin-nn-"));
    }
}

#[tokio::test]
async fn too_many_at_once_are_refused() {
    let settings = Settings { threads: 1, queue: 2, ..Settings::default() };
    let backends = with(vec![Arc::new(Fake::default())], &settings);
    let graph = backends.load(Encoding::Onnx, file("50"), CPU).await.unwrap();
    let all = futures::future::join_all((0..10).map(|_| graph.compute(x()))).await;
    let overloaded = all.iter().filter(|answer| matches!(answer, Err(NnError::Overloaded { .. }))).count();
    assert!((6..=8).contains(&overloaded), "{overloaded}");
    assert!(all.iter().filter(|answer| answer.is_ok()).count() >= 2);
}
