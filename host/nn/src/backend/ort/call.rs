//! The calls into ONNX Runtime that compute. The `ort` crate lets one caller at a time run a session, because some
//! execution providers want that; those used here (CPU, CUDA, TensorRT) do not, and ONNX Runtime promises that `Run` may be
//! called from many threads. So that graphs are computed at once without a copy of the weights each, and inputs without
//! a copy, this file calls the C interface itself. It is the only one in this crate that has unsafe code.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use bytes::Bytes;
use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::sys::{ONNXTensorElementDataType, OrtStatusPtr, OrtTensorTypeAndShapeInfo, OrtValue};
use smallvec::SmallVec;

use crate::backend::TensorInfo;
use crate::error::NnError;
use crate::tensor::{Datatype, Tensor, put_bytes_element};

/// Below this a copy is cheaper than shared ownership.
const SHARE_FROM: usize = 4096;

/// Most graphs have few inputs and outputs.
type Few<T> = SmallVec<[T; 4]>;

/// A session, and what each call of it needs again.
pub(super) struct Prepared {
    session: Arc<Session>,
    memory: MemoryInfo<'static>,
    input_names: Vec<CString>,
    output_names: Vec<CString>,
}

impl Prepared {
    pub(super) fn new(
        session: Session,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> Result<Prepared, NnError> {
        let names = |infos: &[TensorInfo]| {
            let names =
                infos.iter().map(|info| CString::new(info.name.as_str())).collect::<Result<Vec<_>, _>>();
            names.map_err(|error| NnError::Unreadable(format!("the name of an input or output: {error}")))
        };
        let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default);
        Ok(Prepared {
            memory: memory.map_err(|error| NnError::Failed(error.to_string()))?,
            input_names: names(inputs)?,
            output_names: names(outputs)?,
            session: Arc::new(session),
        })
    }

    /// Computes all outputs. The inputs are in the graph's order, with the datatypes and shapes that it takes.
    pub(super) fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, NnError> {
        // The bytes that a value points to must outlive the call.
        let contents: Few<Cow<'_, [u8]>> = inputs.iter().map(|tensor| aligned(tensor)).collect();
        let mut values: Few<Value> = Few::new();
        for (tensor, content) in inputs.iter().zip(&contents) {
            values.push(match tensor.datatype() {
                Datatype::Bytes => Value::of_texts(tensor)?,
                _ => self.value(tensor, content)?,
            });
        }
        let given: Few<*const OrtValue> = values.iter().map(|value| value.0.as_ptr().cast_const()).collect();
        let input_names: Few<*const c_char> = self.input_names.iter().map(|name| name.as_ptr()).collect();
        let output_names: Few<*const c_char> = self.output_names.iter().map(|name| name.as_ptr()).collect();
        let mut taken: Few<*mut OrtValue> = self.output_names.iter().map(|_| ptr::null_mut()).collect();
        // SAFETY: the session lives in self; names and values are as many as is said and outlive the call; ONNX Runtime
        // does not write to inputs; null outputs are allocated by it.
        let status = unsafe {
            (ort::api().Run)(
                self.session.ptr().cast_mut(),
                ptr::null(),
                input_names.as_ptr(),
                given.as_ptr(),
                given.len(),
                output_names.as_ptr(),
                taken.len(),
                taken.as_mut_ptr(),
            )
        };
        // Taken into ownership before anything can fail.
        let outputs: Few<Option<Value>> =
            taken.into_iter().map(|value| NonNull::new(value).map(Value)).collect();
        checked(status)?;
        let named = outputs.into_iter().zip(&self.output_names);
        named.map(|(value, name)| self.tensor(value, name)).collect()
    }

    fn value(&self, tensor: &Tensor, content: &[u8]) -> Result<Value, NnError> {
        let shape: Few<i64> = tensor.shape().iter().map(|size| *size as i64).collect();
        let mut value = ptr::null_mut();
        // SAFETY: content is aligned, as long as datatype and shape say, and the caller keeps it until Run returned;
        // ONNX Runtime only reads it, though its interface has no const.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                self.memory.ptr(),
                content.as_ptr().cast_mut().cast::<c_void>(),
                content.len(),
                shape.as_ptr(),
                shape.len(),
                element_type(tensor.datatype()),
                &raw mut value,
            )
        };
        checked(status)?;
        Value::new(value)
    }

    fn tensor(&self, value: Option<Value>, name: &CString) -> Result<Tensor, NnError> {
        let value = value.ok_or_else(|| NnError::Failed(format!("output {name:?} was not computed")))?;
        let (kind, shape) = value.kind_and_shape()?;
        let datatype = super::datatype(kind.into())
            .ok_or_else(|| NnError::Failed(format!("output {name:?} has elements of {kind:?}")))?;
        let elements = shape.iter().product::<u64>() as usize;
        let data = match datatype.size() {
            None => value.texts(elements)?,
            Some(size) => {
                let bytes = size * elements;
                let content = value.content()?;
                if bytes < SHARE_FROM {
                    // SAFETY: ONNX Runtime says that so many elements are there.
                    let content =
                        if bytes == 0 { &[] } else { unsafe { std::slice::from_raw_parts(content, bytes) } };
                    Bytes::copy_from_slice(content)
                } else {
                    Bytes::from_owner(Shared {
                        content,
                        bytes,
                        _value: value,
                        _session: self.session.clone(),
                    })
                }
            }
        };
        Tensor::new(datatype, shape, data)
            .map_err(|error| NnError::Failed(format!("output {name:?}: {error}")))
    }
}

/// An owned value of ONNX Runtime.
struct Value(NonNull<OrtValue>);

// SAFETY: a value is not tied to the thread that made it, and nothing here writes to it after it was made.
unsafe impl Send for Value {}
// SAFETY: as above.
unsafe impl Sync for Value {}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: it is owned and not used after.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) };
    }
}

impl Value {
    fn new(value: *mut OrtValue) -> Result<Value, NnError> {
        NonNull::new(value)
            .map(Value)
            .ok_or_else(|| NnError::Failed("ONNX Runtime made no tensor".to_owned()))
    }

    fn of_texts(tensor: &Tensor) -> Result<Value, NnError> {
        let shape: Few<i64> = tensor.shape().iter().map(|size| *size as i64).collect();
        let allocator = Allocator::default();
        let mut value = ptr::null_mut();
        // SAFETY: the shape is as long as is said; the default allocator lives as long as the library.
        let status = unsafe {
            (ort::api().CreateTensorAsOrtValue)(
                allocator.ptr().cast_mut(),
                shape.as_ptr(),
                shape.len(),
                ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
                &raw mut value,
            )
        };
        checked(status)?;
        let value = Value::new(value)?;
        for (index, content) in tensor.texts().enumerate() {
            let mut buffer: *mut c_char = ptr::null_mut();
            // SAFETY: the tensor was made with as many elements as there are texts; the buffer has the length asked for.
            unsafe {
                let make = ort::api().GetResizedStringTensorElementBuffer;
                checked(make(value.0.as_ptr(), index, content.len(), &raw mut buffer))?;
                ptr::copy_nonoverlapping(content.as_ptr(), buffer.cast::<u8>(), content.len());
            }
        }
        Ok(value)
    }

    fn kind_and_shape(&self) -> Result<(ONNXTensorElementDataType, Vec<u64>), NnError> {
        let mut info: *mut OrtTensorTypeAndShapeInfo = ptr::null_mut();
        // SAFETY: the value is a tensor: outputs of other types were refused at load.
        checked(unsafe { (ort::api().GetTensorTypeAndShape)(self.0.as_ptr(), &raw mut info) })?;
        let info = Info(info);
        let mut kind = ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        let mut rank = 0;
        // SAFETY: info was given by the call before, and sizes has room for as many dimensions as there are.
        unsafe {
            checked((ort::api().GetTensorElementType)(info.0, &raw mut kind))?;
            checked((ort::api().GetDimensionsCount)(info.0, &raw mut rank))?;
            let mut sizes: Few<i64> = SmallVec::from_elem(0, rank);
            checked((ort::api().GetDimensions)(info.0, sizes.as_mut_ptr(), rank))?;
            Ok((kind, sizes.into_iter().map(|size| u64::try_from(size).unwrap_or(0)).collect()))
        }
    }

    fn content(&self) -> Result<*const u8, NnError> {
        let mut content: *mut c_void = ptr::null_mut();
        // SAFETY: the value is a tensor of numbers, in the processor's memory: Run puts outputs there.
        checked(unsafe { (ort::api().GetTensorMutableData)(self.0.as_ptr(), &raw mut content) })?;
        Ok(content.cast_const().cast::<u8>())
    }

    fn texts(&self, count: usize) -> Result<Bytes, NnError> {
        let mut length = 0;
        // SAFETY: the value is a tensor of texts.
        checked(unsafe { (ort::api().GetStringTensorDataLength)(self.0.as_ptr(), &raw mut length) })?;
        let (mut joined, mut offsets) = (vec![0_u8; length], vec![0_usize; count]);
        if count > 0 {
            let content = joined.as_mut_ptr().cast::<c_void>();
            // SAFETY: the buffers are as long as is said.
            let status = unsafe {
                (ort::api().GetStringTensorContent)(
                    self.0.as_ptr(),
                    content,
                    length,
                    offsets.as_mut_ptr(),
                    count,
                )
            };
            checked(status)?;
        }
        let mut data = Vec::with_capacity(length + 4 * count);
        for (index, start) in offsets.iter().enumerate() {
            let end = offsets.get(index + 1).copied().unwrap_or(length);
            put_bytes_element(&mut data, &joined[*start..end]);
        }
        Ok(data.into())
    }
}

/// Released once it was read.
struct Info(*mut OrtTensorTypeAndShapeInfo);

impl Drop for Info {
    fn drop(&mut self) {
        // SAFETY: it is owned and not used after.
        unsafe { (ort::api().ReleaseTensorTypeAndShapeInfo)(self.0) };
    }
}

/// Keeps an output, and the session whose memory it is in, for as long as its bytes are looked at.
struct Shared {
    content: *const u8,
    bytes: usize,
    _value: Value,
    _session: Arc<Session>,
}

// SAFETY: the bytes are only read.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the value has so many bytes, and lives as long as self.
        unsafe { std::slice::from_raw_parts(self.content, self.bytes) }
    }
}

/// The elements where ONNX Runtime may read them as numbers; copied only where they lie askew.
fn aligned(tensor: &Tensor) -> Cow<'_, [u8]> {
    let content: &[u8] = tensor.data();
    match tensor.datatype() {
        // C++ gives no meaning to a bool that is neither.
        Datatype::Bool if content.iter().any(|byte| *byte > 1) => {
            Cow::Owned(content.iter().map(|byte| u8::from(*byte != 0)).collect())
        }
        datatype => {
            let size = datatype.size().unwrap_or(1);
            if content.as_ptr().addr().is_multiple_of(size) {
                Cow::Borrowed(content)
            } else {
                // The allocator aligns for every datatype: 16 bytes on 64-bit machines.
                Cow::Owned(content.to_vec())
            }
        }
    }
}

fn checked(status: OrtStatusPtr) -> Result<(), NnError> {
    // SAFETY: a status is only made by ONNX Runtime, and checked once.
    unsafe { ort::Error::result_from_status(status) }
        .map_err(|error: ort::Error| NnError::Failed(error.to_string()))
}

fn element_type(datatype: Datatype) -> ONNXTensorElementDataType {
    use ONNXTensorElementDataType as Kind;
    match datatype {
        Datatype::Bool => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        Datatype::Uint8 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        Datatype::Uint16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        Datatype::Uint32 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        Datatype::Uint64 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        Datatype::Int8 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        Datatype::Int16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        Datatype::Int32 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        Datatype::Int64 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        Datatype::Fp16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        Datatype::Bf16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        Datatype::Fp32 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        Datatype::Fp64 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        Datatype::Bytes => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
    }
}
