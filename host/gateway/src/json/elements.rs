//! The elements of a tensor as JSON has them: numbers, truth values and texts in arrays, which are flat or nested as the
//! shape is. They go straight into the little-endian bytes of a tensor.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};
use purlin_nn::Datatype;
use purlin_nn::tensor::put_bytes_element;

use super::scan::{Number, Scanner, SyntaxError};

/// Dimensions at most.
const RANK: usize = 32;

/// How the arrays were nested: the length of each level, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dims {
    lengths: Vec<Option<u64>>,
    /// The level on which the elements are.
    leaves: Option<usize>,
}

impl Dims {
    /// The lengths; empty for a single value.
    pub(crate) fn shape(&self) -> Vec<u64> {
        self.lengths.iter().map(|length| length.unwrap_or(0)).collect()
    }

    /// How many elements there were.
    #[cfg(test)]
    fn count(&self) -> u64 {
        self.lengths.iter().map(|length| length.unwrap_or(0)).product()
    }
}

/// Reads an array of elements, or of arrays of them, to the end of `out`.
pub(crate) fn read_elements(
    scanner: &mut Scanner<'_>,
    datatype: Datatype,
    out: &mut Vec<u8>,
) -> Result<Dims, SyntaxError> {
    let mut dims = Dims::default();
    read_nested(scanner, datatype, out, &mut dims, 0)?;
    Ok(dims)
}

/// Reads an element or an array of them.
pub(crate) fn read_one(
    scanner: &mut Scanner<'_>,
    datatype: Datatype,
    out: &mut Vec<u8>,
) -> Result<Dims, SyntaxError> {
    if scanner.peek() == Some(b'[') {
        return read_elements(scanner, datatype, out);
    }
    element(scanner, datatype, out)?;
    Ok(Dims::default())
}

fn read_nested(
    scanner: &mut Scanner<'_>,
    datatype: Datatype,
    out: &mut Vec<u8>,
    dims: &mut Dims,
    level: usize,
) -> Result<(), SyntaxError> {
    if level == RANK {
        return Err(scanner.error(format!("arrays are nested deeper than {RANK}")));
    }
    if dims.lengths.len() == level {
        dims.lengths.push(None);
    }
    if !scanner.take(b'[') {
        return Err(scanner.unexpected("an array of elements"));
    }
    let mut count = 0;
    if !scanner.take(b']') {
        loop {
            if scanner.peek() == Some(b'[') {
                if dims.leaves.is_some_and(|leaves| leaves <= level) {
                    return Err(scanner.error("an array stands where other places have an element"));
                }
                read_nested(scanner, datatype, out, dims, level + 1)?;
            } else {
                match dims.leaves {
                    Some(leaves) if leaves == level => {}
                    None if dims.lengths.len() == level + 1 => dims.leaves = Some(level),
                    _ => return Err(scanner.error("an element stands where other places have an array")),
                }
                element(scanner, datatype, out)?;
            }
            count += 1;
            if scanner.take(b',') {
                continue;
            }
            if scanner.take(b']') {
                break;
            }
            return Err(scanner.unexpected("`,` or `]`"));
        }
    }
    match &mut dims.lengths[level] {
        Some(length) if *length != count => Err(scanner.error(format!(
            "the arrays are ragged: one has {count} members where others of its level have {length}"
        ))),
        length => {
            *length = Some(count);
            Ok(())
        }
    }
}

#[inline]
fn element(scanner: &mut Scanner<'_>, datatype: Datatype, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    match datatype {
        Datatype::Fp32 => real::<f32>(scanner).map(|value| out.extend_from_slice(&value.to_le_bytes())),
        Datatype::Fp64 => real::<f64>(scanner).map(|value| out.extend_from_slice(&value.to_le_bytes())),
        Datatype::Fp16 => {
            half_float(scanner, datatype, |value| f16::from_f64(value).to_bits(), f64::from(f16::MAX), out)
        }
        Datatype::Bf16 => {
            half_float(scanner, datatype, |value| bf16::from_f64(value).to_bits(), f64::from(bf16::MAX), out)
        }
        Datatype::Bool => {
            let value = match scanner.peek() {
                Some(b't') => scanner.word("true").map(|()| 1)?,
                Some(b'f') => scanner.word("false").map(|()| 0)?,
                _ => integer(scanner, "BOOL", 0, 1)? as u8,
            };
            out.push(value);
            Ok(())
        }
        Datatype::Int8 => put(integer(scanner, "INT8", i8::MIN.into(), i8::MAX.into())?, out, |value| {
            (value as i8).to_le_bytes()
        }),
        Datatype::Int16 => put(integer(scanner, "INT16", i16::MIN.into(), i16::MAX.into())?, out, |value| {
            (value as i16).to_le_bytes()
        }),
        Datatype::Int32 => put(integer(scanner, "INT32", i32::MIN.into(), i32::MAX.into())?, out, |value| {
            (value as i32).to_le_bytes()
        }),
        Datatype::Int64 => put(integer(scanner, "INT64", i64::MIN.into(), i64::MAX.into())?, out, |value| {
            (value as i64).to_le_bytes()
        }),
        Datatype::Uint8 => {
            put(integer(scanner, "UINT8", 0, u8::MAX.into())?, out, |value| (value as u8).to_le_bytes())
        }
        Datatype::Uint16 => {
            put(integer(scanner, "UINT16", 0, u16::MAX.into())?, out, |value| (value as u16).to_le_bytes())
        }
        Datatype::Uint32 => {
            put(integer(scanner, "UINT32", 0, u32::MAX.into())?, out, |value| (value as u32).to_le_bytes())
        }
        Datatype::Uint64 => {
            put(integer(scanner, "UINT64", 0, u64::MAX.into())?, out, |value| (value as u64).to_le_bytes())
        }
        Datatype::Bytes => bytes(scanner, out),
    }
}

fn put<const N: usize>(
    value: i128,
    out: &mut Vec<u8>,
    bytes: impl Fn(i128) -> [u8; N],
) -> Result<(), SyntaxError> {
    out.extend_from_slice(&bytes(value));
    Ok(())
}

trait Real: fast_float2::FastFloat {
    const NAME: &'static str;
    fn finite(self) -> bool;
}

impl Real for f32 {
    const NAME: &'static str = "FP32";
    fn finite(self) -> bool {
        self.is_finite()
    }
}

impl Real for f64 {
    const NAME: &'static str = "FP64";
    fn finite(self) -> bool {
        self.is_finite()
    }
}

#[inline]
fn real<F: Real>(scanner: &mut Scanner<'_>) -> Result<F, SyntaxError> {
    let at = scanner.at();
    let number = scanner.number()?;
    match fast_float2::parse::<F, _>(number.text) {
        Ok(value) if value.finite() => Ok(value),
        _ => Err(SyntaxError { at, what: format!("{} is too large for {}", number.text, F::NAME).into() }),
    }
}

fn half_float(
    scanner: &mut Scanner<'_>,
    datatype: Datatype,
    bits: impl Fn(f64) -> u16,
    most: f64,
    out: &mut Vec<u8>,
) -> Result<(), SyntaxError> {
    let at = scanner.at();
    let value = real::<f64>(scanner)?;
    if value.abs() > most {
        return Err(SyntaxError { at, what: format!("{value} is too large for {datatype}").into() });
    }
    out.extend_from_slice(&bits(value).to_le_bytes());
    Ok(())
}

/// A whole number in a range. `1.0` and `1e3` are whole too.
fn integer(scanner: &mut Scanner<'_>, datatype: &str, least: i128, most: i128) -> Result<i128, SyntaxError> {
    let at = scanner.at();
    let number = scanner.number()?;
    let value = whole(number);
    let Some(value) = value else {
        let what = format!("{} is no whole number, as {datatype} wants", number.text);
        return Err(SyntaxError { at, what: what.into() });
    };
    if value < least || value > most {
        let what = format!("{} does not fit {datatype}, which goes from {least} to {most}", number.text);
        return Err(SyntaxError { at, what: what.into() });
    }
    Ok(value)
}

fn whole(number: Number<'_>) -> Option<i128> {
    if number.whole {
        // More digits than any datatype has are out of every range, whatever they are.
        return Some(number.text.parse().unwrap_or(i128::MAX));
    }
    let value: f64 = fast_float2::parse(number.text).ok()?;
    (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0).then_some(value as i128)
}

/// A text, or bytes as `{"b64": "..."}`.
fn bytes(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    match scanner.peek() {
        Some(b'{') => {
            let mut content = None;
            scanner.object(|scanner, key| {
                if key != "b64" {
                    return Err(scanner.unexpected("an object with nothing but `b64`"));
                }
                let at = scanner.at();
                let text = scanner.string()?;
                let wrong = |error| SyntaxError { at, what: format!("no Base64: {error}").into() };
                content = Some(STANDARD.decode(text.as_bytes()).map_err(wrong)?);
                Ok(())
            })?;
            let content = content.ok_or_else(|| scanner.error("an object without `b64`"))?;
            put_bytes_element(out, &content);
        }
        Some(b'"') => put_bytes_element(out, scanner.string()?.as_bytes()),
        _ => return Err(scanner.unexpected("a string, as BYTES wants")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use purlin_nn::Datatype;
    use serde_json::{Value, json};

    use super::{Dims, Scanner, read_elements};

    fn read(text: &str, datatype: Datatype) -> Result<(Vec<u8>, Dims), String> {
        let mut out = Vec::new();
        let mut scanner = Scanner::new(text.as_bytes()).map_err(|error| error.to_string())?;
        let dims = read_elements(&mut scanner, datatype, &mut out).map_err(|error| error.to_string())?;
        scanner.end().map_err(|error| error.to_string())?;
        Ok((out, dims))
    }

    #[test]
    fn flat_and_nested_arrays_give_the_same_bytes() {
        let (flat, dims) = read("[1, 2, 3, 4]", Datatype::Fp32).unwrap();
        assert_eq!(dims.shape(), [4]);
        let (nested, dims) = read("[[1,2],[3,4]]", Datatype::Fp32).unwrap();
        assert_eq!((flat, dims.shape()), (nested, vec![2, 2]));
        assert_eq!(read("[[],[]]", Datatype::Fp32).unwrap().1.shape(), [2, 0]);
        assert_eq!(read("[]", Datatype::Fp32).unwrap().1.shape(), [0]);
    }

    #[test]
    fn what_no_tensor_can_be_is_refused() {
        for text in ["[[1,2],[3]]", "[1,[2]]", "[[1],2]", "[[1],[[2]]]", "[[],[1]]", "1", "{}", "[null]"] {
            assert!(read(text, Datatype::Fp32).is_err(), "{text}");
        }
        assert!(read(&"[".repeat(1000), Datatype::Fp32).is_err());
    }

    #[test]
    fn every_datatype_has_its_range() {
        let cases = [
            (Datatype::Uint8, "[255]", "[256]"),
            (Datatype::Int8, "[-128]", "[-129]"),
            (Datatype::Uint16, "[65535]", "[-1]"),
            (Datatype::Int16, "[32767]", "[32768]"),
            (Datatype::Uint32, "[4294967295]", "[4294967296]"),
            (Datatype::Int32, "[-2147483648]", "[2147483648]"),
            (Datatype::Uint64, "[18446744073709551615]", "[18446744073709551616]"),
            (Datatype::Int64, "[-9223372036854775808]", "[9223372036854775808]"),
            (Datatype::Int64, "[1.0, 1e3]", "[1.5]"),
            (Datatype::Bool, "[true,false,1,0]", "[2]"),
            (Datatype::Fp16, "[65504]", "[70000]"),
            (Datatype::Bf16, "[1e38]", "[4e38]"),
            (Datatype::Fp32, "[3.4e38]", "[3.5e38]"),
            (Datatype::Fp64, "[1.7e308]", "[1.8e308]"),
            (Datatype::Bytes, r#"["a", {"b64":"AAE="}]"#, "[1]"),
        ];
        for (datatype, right, wrong) in cases {
            assert!(read(right, datatype).is_ok(), "{datatype} {right}");
            assert!(read(wrong, datatype).is_err(), "{datatype} {wrong}");
        }
        let huge = format!("[{}]", "9".repeat(200));
        assert!(read(&huge, Datatype::Uint64).is_err());
        assert!(read(r#"[{"b64":"?"}]"#, Datatype::Bytes).is_err());
        assert!(read("[{}]", Datatype::Bytes).is_err());
    }

    proptest! {
        #[test]
        fn floats_are_read_as_serde_reads_them(values in proptest::collection::vec(any::<f32>(), 0..40)) {
            let values: Vec<f32> = values.into_iter().filter(|value| value.is_finite()).collect();
            let (data, dims) = read(&json!(values).to_string(), Datatype::Fp32).unwrap();
            let expected: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            prop_assert_eq!(data, expected);
            prop_assert_eq!(dims.count(), values.len() as u64);
        }

        #[test]
        fn numbers_are_read_as_serde_reads_them(text in r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?") {
            let value: Value = serde_json::from_str(&text).unwrap();
            let (data, _) = read(&format!("[{text}]"), Datatype::Fp64).unwrap();
            prop_assert_eq!(data, value.as_f64().unwrap().to_le_bytes().to_vec());
        }

        #[test]
        fn texts_are_read_as_serde_reads_them(texts in proptest::collection::vec(any::<String>(), 0..8)) {
            let (data, _) = read(&json!(texts).to_string(), Datatype::Bytes).unwrap();
            let expected = purlin_nn::Tensor::of_texts(&texts);
            prop_assert_eq!(&data[..], &expected.data()[..]);
        }
    }
}
