//! Tensors to tract's and back. Bytes are copied once on the way in, because tract wants its own alignment, and not at
//! all on the way out where there are many of them.

use bytes::Bytes;
use tract_onnx::prelude::{DatumType, TValue, Tensor as TractTensor, tract_ndarray};

use crate::backend::TensorInfo;
use crate::error::NnError;
use crate::tensor::{Datatype, Tensor, put_bytes_element};

/// Below this a copy is cheaper than shared ownership.
const SHARE_FROM: usize = 4096;

/// tract's name of a datatype; it has no bfloat16.
pub(super) fn datum_type(datatype: Datatype) -> Option<DatumType> {
    Some(match datatype {
        Datatype::Bool => DatumType::Bool,
        Datatype::Uint8 => DatumType::U8,
        Datatype::Uint16 => DatumType::U16,
        Datatype::Uint32 => DatumType::U32,
        Datatype::Uint64 => DatumType::U64,
        Datatype::Int8 => DatumType::I8,
        Datatype::Int16 => DatumType::I16,
        Datatype::Int32 => DatumType::I32,
        Datatype::Int64 => DatumType::I64,
        Datatype::Fp16 => DatumType::F16,
        Datatype::Fp32 => DatumType::F32,
        Datatype::Fp64 => DatumType::F64,
        Datatype::Bytes => DatumType::String,
        Datatype::Bf16 => return None,
    })
}

/// The protocol's name of tract's datatype; `None` for those that it does not have, such as complex numbers.
pub(super) fn datatype(datum_type: DatumType) -> Option<Datatype> {
    if datum_type == DatumType::TDim {
        // What tract makes of ONNX's shapes, which are INT64.
        return Some(Datatype::Int64);
    }
    let plain = datum_type.unquantized();
    Datatype::ALL.iter().copied().find(|known| self::datum_type(*known) == Some(plain))
}

/// An input, for tract. The datatype was checked.
pub(super) fn given(tensor: &Tensor, info: &TensorInfo) -> Result<TValue, NnError> {
    let shape: smallvec::SmallVec<[usize; 4]> = tensor.shape().iter().map(|size| *size as usize).collect();
    let failed = |error: tract_onnx::prelude::TractError| NnError::Failed(super::causes(&error));
    let datum_type = datum_type(tensor.datatype()).ok_or_else(|| {
        NnError::Input(format!("input {:?}: {} cannot be computed by tract", info.name, tensor.datatype()))
    })?;
    if tensor.datatype() == Datatype::Bytes {
        return texts(tensor, &shape, info);
    }
    let mut value = TractTensor::zero_dt(datum_type, &shape).map_err(failed)?;
    match tensor.datatype() {
        Datatype::Bool => {
            let mut view = value.try_as_plain_ram_mut().map_err(failed)?;
            let flags = view.as_slice_mut::<bool>().map_err(failed)?;
            for (flag, byte) in flags.iter_mut().zip(tensor.data()) {
                *flag = *byte != 0;
            }
        }
        _ if tensor.data().is_empty() => {}
        _ => value.as_bytes_mut().copy_from_slice(tensor.data()),
    }
    Ok(value.into())
}

fn texts(tensor: &Tensor, shape: &[usize], info: &TensorInfo) -> Result<TValue, NnError> {
    let texts = tensor.texts().map(|content| std::str::from_utf8(content).map(str::to_owned));
    let texts = texts.collect::<Result<Vec<String>, _>>().map_err(|_| {
        NnError::Input(format!("input {:?}: an element is not UTF-8, the model takes texts", info.name))
    })?;
    let array = tract_ndarray::ArrayD::from_shape_vec(shape, texts);
    let array = array.map_err(|error| NnError::Failed(format!("input {:?}: {error}", info.name)))?;
    Ok(TractTensor::from(array).into())
}

/// An output, of tract.
pub(super) fn taken(value: TValue, info: &TensorInfo) -> Result<Tensor, NnError> {
    let failed = |error: tract_onnx::prelude::TractError| NnError::Failed(super::causes(&error));
    let value = match value.datum_type() {
        DatumType::TDim => value.cast_to::<i64>().map_err(failed)?.into_owned().into(),
        _ => value,
    };
    let datatype = datatype(value.datum_type()).ok_or_else(|| {
        NnError::Failed(format!(
            "output {:?} is {:?}, which has no datatype here",
            info.name,
            value.datum_type()
        ))
    })?;
    let shape: Vec<u64> = value.shape().iter().map(|size| *size as u64).collect();
    let data = match datatype {
        Datatype::Bytes => {
            let view = value.try_as_plain_ram().map_err(failed)?;
            let mut data = Vec::new();
            for text in view.as_slice::<String>().map_err(failed)? {
                put_bytes_element(&mut data, text.as_bytes());
            }
            Bytes::from(data)
        }
        _ => {
            let view = value.try_as_plain_ram().map_err(failed)?;
            let content = view.as_bytes();
            if content.len() < SHARE_FROM {
                Bytes::copy_from_slice(content)
            } else {
                Bytes::from_owner(Shared(value))
            }
        }
    };
    Tensor::new(datatype, shape, data)
        .map_err(|error| NnError::Failed(format!("output {:?}: {error}", info.name)))
}

/// Keeps tract's tensor for as long as its bytes are looked at.
struct Shared(TValue);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
