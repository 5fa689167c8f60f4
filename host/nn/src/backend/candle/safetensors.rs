//! A checkpoint in safetensors: one file or several. The format is a length in eight bytes, so much JSON that says where
//! each tensor lies, and the tensors.
//!
//! Files are read and not mapped: one that is cut while it is mapped would end the process.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::QMatMul;
use candle_core::{DType, Device as Place, Tensor};
use serde::Deserialize;
use serde_json::Value;

use super::failed;
use super::layers::Weights;
use crate::error::NnError;

/// The most bytes of a file's JSON, as the format has it.
const MAX_HEADER: u64 = 100_000_000;

/// The most bytes of an index.
const MAX_INDEX: u64 = 64 << 20;

/// The file of a checkpoint that is in one, and the index of one that is in several.
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a folder.
pub(super) struct Checkpoint {
    files: Vec<(PathBuf, File)>,
    tensors: HashMap<String, Entry>,
    place: Place,
    datatype: DType,
    bytes: u64,
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    file: usize,
    datatype: DType,
    shape: Vec<usize>,
    start: u64,
    length: u64,
}

/// What a file says about a tensor.
#[derive(Deserialize)]
struct Stated {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

fn unreadable(path: &Path, reason: impl std::fmt::Display) -> NnError {
    let name = path.file_name().map_or(path, Path::new);
    NnError::Unreadable(format!("{}: {reason}", name.display()))
}

impl Checkpoint {
    /// Reads where the tensors of a folder lie, and none of them.
    ///
    /// # Errors
    /// [`NnError::Unreadable`] names the file that is missing or broken.
    pub(super) fn open(folder: &Path, place: &Place) -> Result<Checkpoint, NnError> {
        let names = match folder.join(SINGLE).exists() {
            true => vec![SINGLE.to_owned()],
            false => of_index(&folder.join(INDEX))?,
        };
        let mut checkpoint = Checkpoint {
            files: Vec::with_capacity(names.len()),
            tensors: HashMap::new(),
            place: place.clone(),
            datatype: DType::F32,
            bytes: 0,
        };
        for name in names {
            checkpoint.add(folder.join(name))?;
        }
        // A processor computes with FP32 only; a GPU with what most of the model is in.
        if !place.is_cpu() {
            checkpoint.datatype = prevailing(checkpoint.tensors.values());
        }
        Ok(checkpoint)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), NnError> {
        let mut file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        let size = file.metadata().map_err(|error| unreadable(&path, error))?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length)
            .map_err(|_| unreadable(&path, "it is no safetensors file: it is too short"))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length > size.saturating_sub(8) {
            return Err(unreadable(
                &path,
                format!("it is no safetensors file: its header would have {length} bytes"),
            ));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(|error| unreadable(&path, error))?;
        let index = self.files.len();
        for (name, entry) in
            entries(&header, size - 8 - length, index).map_err(|reason| unreadable(&path, reason))?
        {
            let entry = Entry { start: entry.start + 8 + length, ..entry };
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(unreadable(&path, format!("the tensor {name} is in another file too")));
            }
        }
        self.files.push((path, file));
        Ok(())
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, NnError> {
        let Some(entry) = self.tensors.get(name) else {
            return Err(NnError::Unreadable(format!("the checkpoint has no tensor {name}")));
        };
        if entry.shape != shape {
            return Err(NnError::Unreadable(format!(
                "the tensor {name} has the shape {:?}; by config.json it must have {shape:?}",
                entry.shape
            )));
        }
        let (path, file) = &mut self.files[entry.file];
        let mut data = vec![0; entry.length as usize];
        file.seek(SeekFrom::Start(entry.start))
            .and_then(|_| file.read_exact(&mut data))
            .map_err(|error| unreadable(path, format!("{name}: {error}")))?;
        let tensor = Tensor::from_raw_buffer(&data, entry.datatype, shape, &self.place);
        let tensor = tensor.and_then(|tensor| tensor.to_dtype(self.datatype)).map_err(failed)?;
        self.bytes += (tensor.elem_count() * self.datatype.size_in_bytes()) as u64;
        Ok(tensor)
    }
}

impl Weights for Checkpoint {
    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, NnError> {
        self.read(name, shape)
    }

    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<QMatMul, NnError> {
        Ok(QMatMul::Tensor(self.read(name, &[outputs, inputs])?))
    }

    fn datatype(&self) -> DType {
        self.datatype
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What most of the tensors' bytes are in, of the types that a GPU computes with; the most exact where there is none.
fn prevailing<'a>(entries: impl Iterator<Item = &'a Entry>) -> DType {
    let mut bytes = [(DType::BF16, 0), (DType::F16, 0), (DType::F32, 0)];
    for entry in entries {
        let of_type = bytes.iter_mut().find(|(datatype, _)| *datatype == entry.datatype);
        if let Some((_, bytes)) = of_type {
            *bytes += entry.length;
        }
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(DType::F32, |(datatype, _)| datatype)
}

/// The files that an index names.
fn of_index(path: &Path) -> Result<Vec<String>, NnError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_INDEX).read_to_end(&mut text));
    read.map_err(|error| NnError::Unreadable(format!("neither {SINGLE} nor {INDEX} can be read: {error}")))?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| unreadable(path, error))?;
    let mut names: Vec<_> = index.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    // Whatever is named lies beside the index.
    match names.iter().find(|name| name.contains(['/', '\\']) || !name.ends_with(".safetensors")) {
        Some(name) => {
            Err(unreadable(path, format!("weight_map: {name:?}: it must name a .safetensors file beside it")))
        }
        None => Ok(names),
    }
}

/// The tensors that a header describes, each within the `size` bytes behind it.
fn entries(header: &[u8], size: u64, file: usize) -> Result<Vec<(String, Entry)>, String> {
    let stated: HashMap<String, Value> =
        serde_json::from_slice(header).map_err(|error| format!("its header is no JSON object: {error}"))?;
    let mut found = Vec::with_capacity(stated.len());
    for (name, value) in stated {
        if name == "__metadata__" {
            continue;
        }
        let stated: Stated = serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))?;
        let datatype = match stated.dtype.as_str() {
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            "F64" => DType::F64,
            "U8" | "BOOL" => DType::U8,
            "U32" => DType::U32,
            "I64" => DType::I64,
            // Others may be there as long as nobody asks for them.
            _ => continue,
        };
        let (start, end) = stated.data_offsets;
        let elements = stated.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size as u64));
        let expected = elements.and_then(|count| count.checked_mul(datatype.size_in_bytes() as u64));
        if start > end || end > size || expected != Some(end - start) {
            return Err(format!(
                "the tensor {name} of {} and shape {:?} cannot lie from {start} to {end} of {size} bytes",
                stated.dtype, stated.shape
            ));
        }
        found.push((name, Entry { file, datatype, shape: stated.shape, start, length: end - start }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use proptest::prelude::{any, proptest};

    use super::{entries, prevailing};

    #[test]
    fn tensors_lie_within_their_file() {
        let header =
            |offsets: &str| format!(r#"{{"w":{{"dtype":"F32","shape":[2,3],"data_offsets":{offsets}}}}}"#);
        assert_eq!(entries(header("[0,24]").as_bytes(), 24, 0).unwrap()[0].1.length, 24);
        for offsets in ["[0,23]", "[1,25]", "[24,0]", "[18446744073709551592,18446744073709551615]"] {
            assert!(entries(header(offsets).as_bytes(), 24, 0).is_err(), "{offsets}");
        }
        let huge = r#"{"w":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,24]}}"#;
        assert!(entries(huge.as_bytes(), 24, 0).is_err());
    }

    #[test]
    fn a_gpu_computes_with_the_type_of_most_bytes() {
        let of = |tensors: &[(&str, u64)]| {
            let (mut header, mut end) = (serde_json::Map::new(), 0);
            for (index, (datatype, bytes)) in tensors.iter().enumerate() {
                let size = match *datatype {
                    "U8" => 1,
                    "BF16" | "F16" => 2,
                    "F32" => 4,
                    _ => 8,
                };
                let offsets = [end, end + bytes];
                let stated =
                    serde_json::json!({"dtype": datatype, "shape": [bytes / size], "data_offsets": offsets});
                header.insert(index.to_string(), stated);
                end += bytes;
            }
            let found = entries(&serde_json::to_vec(&header).unwrap(), end, 0).unwrap();
            prevailing(found.iter().map(|(_, entry)| entry))
        };
        assert_eq!(of(&[("F32", 40), ("BF16", 24), ("BF16", 24)]), DType::BF16);
        assert_eq!(of(&[("F16", 48), ("BF16", 24)]), DType::F16);
        // Nothing can be computed with indices and masks, and FP64 is not worth its time.
        assert_eq!(of(&[("I64", 800), ("U8", 800), ("F64", 800), ("F16", 24)]), DType::F16);
        assert_eq!(of(&[("F64", 800)]), DType::F32);
        assert_eq!(of(&[("F32", 24), ("BF16", 24)]), DType::F32);
        assert_eq!(of(&[]), DType::F32);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header: Vec<u8>, size: u64) {
            let _ = entries(&header, size, 0);
        }

        #[test]
        fn no_offsets_reach_beyond_the_file(shape in proptest::collection::vec(any::<u64>(), 0..4),
            start: u64, end: u64, size: u64) {
            let header = format!(r#"{{"w":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{start},{end}]}}}}"#);
            for (_, entry) in entries(header.as_bytes(), size, 0).unwrap_or_default() {
                assert!(entry.start + entry.length <= size);
            }
        }
    }
}
