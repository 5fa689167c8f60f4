//! Prints how long one computation of an ONNX file takes, in microseconds, by each backend that can load it. ONNX
//! Runtime's library is named by ORT_DYLIB_PATH.
//!
//!     cargo run --release -p purlin-nn --example bench -- FILE [--batch N] [--threads N] [--callers N] [--seconds N]
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use purlin_nn::{Backend, Device, Graph, LoadOptions, ModelFile, Tensor};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().expect("the path of an ONNX file");
    let (mut batch, mut threads, mut callers, mut seconds) = (1_u64, 0, 1, 2);
    while let Some(option) = arguments.next() {
        let value = arguments.next().expect("a number").parse::<u64>().expect("a number");
        match option.as_str() {
            "--batch" => batch = value,
            "--threads" => threads = value as usize,
            "--callers" => callers = value,
            "--seconds" => seconds = value,
            other => panic!("{other} is none of --batch, --threads, --callers, --seconds"),
        }
    }
    let backends: [&dyn Backend; 2] = [&purlin_nn::Tract, &purlin_nn::Ort::default()];
    for backend in backends {
        let begun = Instant::now();
        let options = LoadOptions { device: Device::Cpu, threads };
        match backend.load(&ModelFile::Path(file.clone().into()), &options) {
            Err(error) => println!("{:6} {error}", backend.name()),
            Ok(graph) => {
                let loaded = begun.elapsed();
                let (calls, elapsed) = measure(&*graph, batch, callers, Duration::from_secs(seconds));
                let each = elapsed.as_secs_f64() * 1e6 * callers as f64 / calls as f64;
                let rate = calls as f64 / elapsed.as_secs_f64();
                println!(
                    "{:6} load {loaded:.1?}; {each:.2} us a call, {rate:.0} calls a second",
                    backend.name()
                );
            }
        }
    }
}

fn measure(graph: &dyn Graph, batch: u64, callers: u64, time: Duration) -> (u64, Duration) {
    let inputs: Vec<_> = graph
        .inputs()
        .iter()
        .map(|info| {
            let shape: Vec<u64> =
                info.shape.iter().map(|size| u64::try_from(*size).unwrap_or(batch)).collect();
            let bytes =
                shape.iter().product::<u64>() as usize * info.datatype.size().expect("no inputs of BYTES");
            (info.name.clone(), Tensor::new(info.datatype, shape, vec![0; bytes].into()).unwrap())
        })
        .collect();
    for _ in 0..10 {
        graph.compute(&inputs).unwrap();
    }
    let calls = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                let mut mine = 0;
                while begun.elapsed() < time {
                    for _ in 0..20 {
                        graph.compute(&inputs).unwrap();
                    }
                    mine += 20;
                }
                calls.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    (calls.load(Ordering::Relaxed), begun.elapsed())
}
