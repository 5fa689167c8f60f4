//! ONNX by ONNX Runtime, whose library is looked for at run time: nothing of it is needed to build, and where it is not
//! installed this backend says so and how to install it. On a graphics processor it computes with TensorRT where that is
//! installed, and with CUDA.

mod call;
mod library;
mod pool;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::ep::{CUDA, ExecutionProvider, ExecutionProviderDispatch, TensorRT};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::backend::interface::Interface;
use crate::backend::{Backend, Device, Encoding, Graph, LoadOptions, ModelFile, TensorInfo};
use crate::error::NnError;
use crate::tensor::{Datatype, Tensor};
use call::Prepared;
use library::Library;
use pool::Width;

/// ONNX by ONNX Runtime.
#[derive(Clone, Debug, Default)]
pub struct Ort {
    /// The file of the library; where there is none, `ORT_DYLIB_PATH` and then the usual folders are looked at. A process
    /// has one ONNX Runtime: the first that could be loaded.
    pub library: Option<PathBuf>,
    /// Where TensorRT keeps the engines that it makes, which takes minutes; not kept without.
    pub engine_cache: Option<PathBuf>,
}

impl Ort {
    fn providers(&self, device: Device) -> Vec<ExecutionProviderDispatch> {
        match device {
            Device::Cpu => Vec::new(),
            Device::Gpu => {
                let tensorrt = match self.engine_cache.as_deref().and_then(Path::to_str) {
                    Some(folder) => {
                        TensorRT::default().with_engine_cache(true).with_engine_cache_path(folder)
                    }
                    None => TensorRT::default(),
                };
                // By itself it rounds what matrices are made of to TF32, which has three digits.
                let cuda = CUDA::default().with_tf32(false);
                // A graph that was to run on the graphics processor must not quietly run elsewhere.
                vec![tensorrt.build(), cuda.build().error_on_failure()]
            }
        }
    }

    fn missing(device: Device, reason: String) -> NnError {
        NnError::NoBackend { encoding: Encoding::Onnx, device, reason }
    }

    fn read(
        &self,
        library: &Library,
        file: &ModelFile,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, NnError> {
        let unreadable = |error: ort::Error| NnError::Unreadable(error.to_string());
        let mut builder =
            self.builder(library, options).map_err(|reason| Self::missing(options.device, reason))?;
        let session = match file {
            ModelFile::Memory(content) => builder.commit_from_memory(content).map_err(unreadable)?,
            ModelFile::Path(path) => builder
                .commit_from_file(path)
                .map_err(|error| NnError::Unreadable(format!("{}: {error}", path.display())))?,
        };
        let inputs = session.inputs().iter().map(info).collect::<Result<Vec<_>, _>>()?;
        let outputs = session.outputs().iter().map(info).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = session.inputs().iter().map(dimension_names).collect();
        let prepared = Prepared::new(session, &inputs, &outputs)?;
        let interface = Interface::new(inputs, outputs, &names);
        let width = match (options.device, options.threads) {
            (Device::Cpu, 0) => Width::of_pool(library.pool.clone()),
            (Device::Cpu, threads) => Width::fixed(threads),
            (Device::Gpu, _) => Width::fixed(1),
        };
        Ok(Arc::new(OrtGraph { interface, prepared, width, memory: bytes(file) }))
    }

    fn builder(&self, library: &Library, options: &LoadOptions) -> Result<SessionBuilder, String> {
        let failed = |error: ort::Error<SessionBuilder>| error.to_string();
        let builder = Session::builder(&library.environment).map_err(|error| error.to_string())?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(failed)?;
        // Without a number of its own, a graph shares the threads of the process.
        let builder = match options.threads {
            0 => builder,
            threads => {
                let builder = builder.with_independent_thread_pool().map_err(failed)?;
                let builder = builder.with_intra_threads(threads).map_err(failed)?;
                builder.with_intra_op_spinning(false).map_err(failed)?
            }
        };
        match self.providers(options.device) {
            providers if providers.is_empty() => Ok(builder),
            providers => {
                builder.with_execution_providers(providers).map_err(|error| on_gpu(&error.to_string()))
            }
        }
    }
}

impl Backend for Ort {
    fn name(&self) -> &'static str {
        "ort"
    }

    fn encoding(&self) -> Encoding {
        Encoding::Onnx
    }

    fn available(&self, device: Device) -> Result<(), String> {
        let library = library::load(self.library.as_deref())?;
        match device {
            Device::Cpu => Ok(()),
            Device::Gpu => guarded(|| {
                if !CUDA::is_available().map_err(|error| error.to_string())? {
                    return Err(on_gpu(&format!("{} was built without CUDA", library.path.display())));
                }
                // That it was built with CUDA does not say that CUDA is there; adding it to a session does.
                let options = LoadOptions { device, threads: 0 };
                self.builder(&library, &options).map(drop)
            })?,
        }
    }

    fn load(&self, file: &ModelFile, options: &LoadOptions) -> Result<Arc<dyn Graph>, NnError> {
        let library = library::load(self.library.as_deref());
        let library = library.map_err(|reason| Self::missing(options.device, reason))?;
        guarded(|| self.read(&library, file, options)).map_err(NnError::Unreadable)?
    }
}

fn on_gpu(reason: &str) -> String {
    // What failed, without the place in ONNX Runtime's sources.
    let reason = reason.split_once(" : FAIL : ").map_or(reason, |(_, reason)| reason).trim();
    format!(
        "{reason}; install ONNX Runtime's GPU build (the Python package onnxruntime-gpu has it), CUDA and cuDNN, and for \
         TensorRT its libraries"
    )
}

/// `ort` panics where the library breaks the rules of its own interface.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        format!("ONNX Runtime gave up: {}", text.unwrap_or("no reason given"))
    })
}

struct OrtGraph {
    interface: Interface,
    prepared: Prepared,
    width: Width,
    memory: u64,
}

impl Graph for OrtGraph {
    fn inputs(&self) -> &[TensorInfo] {
        &self.interface.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.interface.outputs
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn width(&self) -> usize {
        self.width.threads()
    }

    fn compute(&self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, NnError> {
        let arranged = self.interface.arrange(inputs)?;
        let outputs = self.width.watch(|| self.prepared.run(&arranged))?;
        let names = self.interface.outputs.iter().map(|info| info.name.clone());
        Ok(names.zip(outputs).collect())
    }
}

/// ONNX Runtime's name of an element type, by the protocol's; `None` for those that the protocol does not have.
fn datatype(kind: TensorElementType) -> Option<Datatype> {
    Some(match kind {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

fn info(outlet: &Outlet) -> Result<TensorInfo, NnError> {
    let name = outlet.name().to_owned();
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(NnError::Unreadable(format!(
            "its {name:?} is not a tensor but {}; export a classifier of scikit-learn with the option zipmap=False",
            outlet.dtype()
        )));
    };
    let datatype = datatype(*ty).ok_or_else(|| {
        NnError::Unreadable(format!("its {name:?} has elements of {ty}, which cannot be served"))
    })?;
    Ok(TensorInfo { name, datatype, shape: shape.iter().copied().collect() })
}

fn dimension_names(outlet: &Outlet) -> Vec<Option<String>> {
    match outlet.dtype() {
        ValueType::Tensor { dimension_symbols, .. } => {
            dimension_symbols.iter().map(|name| Some(name.clone()).filter(|name| !name.is_empty())).collect()
        }
        _ => Vec::new(),
    }
}

/// The file, and the weights beside it, which exporters name after it (`model.onnx.data`, `model.onnx_data`).
fn bytes(file: &ModelFile) -> u64 {
    match file {
        ModelFile::Memory(content) => content.len() as u64,
        ModelFile::Path(path) => {
            let Some((folder, name)) = path.parent().zip(path.file_name().and_then(|name| name.to_str()))
            else {
                return 0;
            };
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let its =
                files.filter(|file| file.file_name().to_str().is_some_and(|other| other.starts_with(name)));
            its.filter_map(|file| std::fs::metadata(file.path()).ok()).map(|metadata| metadata.len()).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::on_gpu;

    #[test]
    fn what_is_missing_on_a_gpu_is_said_in_one_line() {
        let library = "libcublasLt.so.13: cannot open shared object file";
        let said =
            format!("/sources/bridge.cc:2043 Provider& Get() [ONNXRuntimeError] : 1 : FAIL : {library}\n");
        assert!(on_gpu(&said).starts_with("libcublasLt.so.13: cannot open shared object file; install ONNX"));
        assert!(on_gpu("built without CUDA").starts_with("built without CUDA; install"));
    }
}
