//! Looking at what a pickle built.

use std::borrow::Cow;

use crate::array::{Array, Datatype, Elements, Kind, places};
use crate::value::{Bytes, Id, Value};
use crate::{Error, Pickle};

/// A value of a pickle, with what it refers to.
#[derive(Clone, Copy)]
pub struct Ref<'a> {
    pickle: &'a Pickle,
    id: Id,
}

impl<'a> Ref<'a> {
    pub(crate) fn new(pickle: &'a Pickle, id: Id) -> Self {
        Ref { pickle, id }
    }

    fn other(self, id: Id) -> Self {
        Ref { pickle: self.pickle, id }
    }

    /// The value itself.
    pub fn value(self) -> &'a Value {
        self.pickle.value(self.id)
    }

    /// Module and name of an object's class.
    pub fn class(self) -> Option<(&'a str, &'a str)> {
        match self.value() {
            Value::Object(object) => self.other(object.class).class_name(),
            _ => None,
        }
    }

    /// Module and name, of a class.
    pub fn class_name(self) -> Option<(&'a str, &'a str)> {
        match self.value() {
            Value::Class { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// An object's attribute: an entry of its state.
    pub fn attribute(self, name: &str) -> Option<Ref<'a>> {
        let Value::Object(object) = self.value() else { return None };
        self.other(object.state?).entry(name)
    }

    /// What an object was made from.
    pub fn argument(self, index: usize) -> Option<Ref<'a>> {
        let Value::Object(object) = self.value() else { return None };
        self.other(object.arguments).items()?.get(index).copied()
    }

    /// The value under a key that is a text.
    pub fn entry(self, key: &str) -> Option<Ref<'a>> {
        let named = |(name, _): &&(Id, Id)| self.other(*name).text() == Some(key);
        self.raw_entries()?.iter().rev().find(named).map(|(_, value)| self.other(*value))
    }

    /// Keys and values of a dictionary, or of an object that is one.
    pub fn entries(self) -> Option<Vec<(Ref<'a>, Ref<'a>)>> {
        let entries = self.raw_entries()?.iter();
        Some(entries.map(|(key, value)| (self.other(*key), self.other(*value))).collect())
    }

    fn raw_entries(self) -> Option<&'a [(Id, Id)]> {
        match self.value() {
            Value::Dictionary(entries) => Some(entries),
            Value::Object(object) => Some(&object.entries),
            _ => None,
        }
    }

    /// What is in a list, a tuple, a set or an array of objects.
    pub fn items(self) -> Option<Vec<Ref<'a>>> {
        let items = match self.value() {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.as_slice(),
            Value::Object(object) => object.items.as_slice(),
            Value::Array(Array { elements: Elements::Objects(items), shape, column_major, .. }) => {
                let places = places(shape, *column_major);
                return Some(places.into_iter().map(|place| self.other(items[place])).collect());
            }
            _ => return None,
        };
        Some(items.iter().map(|id| self.other(*id)).collect())
    }

    /// Whether it is `None`.
    pub fn is_none(self) -> bool {
        matches!(self.value(), Value::None)
    }

    /// A text.
    pub fn text(self) -> Option<&'a str> {
        match self.value() {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `True` or `False`, numpy's too.
    pub fn truth(self) -> Option<bool> {
        match self.value() {
            Value::Bool(truth) => Some(*truth),
            Value::Array(array) if array.datatype.kind == Kind::Bool && array.shape.is_empty() => {
                Some(*self.integers().ok()?.first()? != 0)
            }
            _ => None,
        }
    }

    /// A whole number, numpy's too.
    pub fn integer(self) -> Option<i64> {
        match self.value() {
            Value::Bool(truth) => Some(i64::from(*truth)),
            Value::Integer(number) => Some(*number),
            Value::Array(array) if array.shape.iter().product::<usize>() == 1 => {
                self.integers().ok()?.first().copied()
            }
            _ => None,
        }
    }

    /// A number, numpy's too.
    pub fn number(self) -> Option<f64> {
        match self.value() {
            Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Array(array) if array.shape.iter().product::<usize>() == 1 => {
                self.floats().ok()?.first().copied()
            }
            _ => None,
        }
    }

    /// An array.
    pub fn array(self) -> Option<&'a Array> {
        match self.value() {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// The shape of an array; that of a list is its length.
    pub fn shape(self) -> Option<Vec<usize>> {
        match self.value() {
            Value::Array(array) => Some(array.shape.clone()),
            Value::List(items) | Value::Tuple(items) => Some(vec![items.len()]),
            _ => None,
        }
    }

    /// The numbers of an array in the order of its rows, or those of a list.
    ///
    /// # Errors
    /// It is neither, or holds something other than numbers.
    pub fn floats(self) -> Result<Vec<f64>, Error> {
        match self.value() {
            Value::Array(Array { elements: Elements::Bytes(bytes), datatype, shape, column_major }) => {
                let bytes = self.bytes_of(bytes);
                floats(bytes, datatype.size, 0, datatype, &places(shape, *column_major))
            }
            _ => self.each("a number", Ref::number),
        }
    }

    /// The whole numbers of an array in the order of its rows, or those of a list.
    ///
    /// # Errors
    /// It is neither, or holds something other than whole numbers.
    pub fn integers(self) -> Result<Vec<i64>, Error> {
        match self.value() {
            Value::Array(Array { elements: Elements::Bytes(bytes), datatype, shape, column_major }) => {
                let bytes = self.bytes_of(bytes);
                integers(bytes, datatype.size, 0, datatype, &places(shape, *column_major))
            }
            _ => self.each("an integer", Ref::integer),
        }
    }

    /// The texts of an array in the order of its rows, or those of a list.
    ///
    /// # Errors
    /// It is neither, or holds something other than texts.
    pub fn texts(self) -> Result<Vec<String>, Error> {
        let Value::Array(Array { elements: Elements::Bytes(bytes), datatype, shape, column_major }) =
            self.value()
        else {
            return self.each("a text", |item| item.text().map(str::to_owned));
        };
        let (bytes, places) = (self.bytes_of(bytes), places(shape, *column_major));
        let element = |place: usize| &bytes[place * datatype.size..(place + 1) * datatype.size];
        match datatype.kind {
            Kind::Text => {
                places.into_iter().map(|place| utf32(element(place), datatype.big_endian)).collect()
            }
            Kind::Bytes => {
                let plain =
                    |place: usize| String::from_utf8_lossy(without_padding(element(place))).into_owned();
                Ok(places.into_iter().map(plain).collect())
            }
            _ => Err(unfit(datatype, "texts")),
        }
    }

    /// A field of an array of records, as numbers.
    ///
    /// # Errors
    /// There is no such field, or it does not hold numbers.
    pub fn field_floats(self, name: &str) -> Result<Vec<f64>, Error> {
        let (bytes, record, place, datatype, places) = self.field(name)?;
        floats(bytes, record, place, datatype, &places)
    }

    /// A field of an array of records, as whole numbers.
    ///
    /// # Errors
    /// There is no such field, or it does not hold whole numbers.
    pub fn field_integers(self, name: &str) -> Result<Vec<i64>, Error> {
        let (bytes, record, place, datatype, places) = self.field(name)?;
        integers(bytes, record, place, datatype, &places)
    }

    fn field(self, name: &str) -> Result<Field<'a>, Error> {
        let Value::Array(Array { elements: Elements::Bytes(bytes), datatype, shape, column_major }) =
            self.value()
        else {
            let reason = format!("there is {}, not an array of records", self.value().describe());
            return Err(Error::Value { place: name.to_owned(), reason });
        };
        let found = datatype.fields.iter().find(|(field, ..)| &**field == name);
        let Some((_, place, kind)) = found else {
            let known: Vec<&str> = datatype.fields.iter().map(|(field, ..)| &**field).collect();
            let reason = format!("there is no such field; there are [{}]", known.join(", "));
            return Err(Error::Value { place: name.to_owned(), reason });
        };
        Ok((self.bytes_of(bytes), datatype.size, *place, kind, places(shape, *column_major)))
    }

    fn bytes_of(self, bytes: &'a Bytes) -> &'a [u8] {
        match bytes {
            Bytes::Source(range) => &self.pickle.source()[range.clone()],
            Bytes::Own(bytes) => bytes,
        }
    }

    fn each<T>(self, wanted: &str, read: impl Fn(Ref<'a>) -> Option<T>) -> Result<Vec<T>, Error> {
        let fail = |what: Cow<'static, str>| Error::Value {
            place: "a list or an array".to_owned(),
            reason: format!("{what} stands where {wanted} would be right"),
        };
        let items = self.items().ok_or_else(|| fail(self.value().describe().into()))?;
        items.into_iter().map(|item| read(item).ok_or_else(|| fail(item.value().describe().into()))).collect()
    }
}

/// A field of an array of records: the records, the size of one, the field's place in it and type, and the places of the
/// records in the order of rows.
type Field<'a> = (&'a [u8], usize, usize, &'a Datatype, Vec<usize>);

/// Without the zeros at the end.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..length]
}

fn unfit(datatype: &Datatype, wanted: &str) -> Error {
    let reason = format!("it holds {}, where {wanted} would be right", datatype.name());
    Error::Value { place: "an array".to_owned(), reason }
}

/// Elements of `N` bytes at `place` of each record of `size` bytes.
fn gather<const N: usize, T>(
    bytes: &[u8],
    size: usize,
    place: usize,
    big_endian: bool,
    places: &[usize],
    number: impl Fn([u8; N]) -> T,
) -> Vec<T> {
    let read = |index: &usize| {
        let start = index * size + place;
        let mut element = [0; N];
        element.copy_from_slice(&bytes[start..start + N]);
        if big_endian {
            element.reverse();
        }
        number(element)
    };
    places.iter().map(read).collect()
}

fn floats(
    bytes: &[u8],
    size: usize,
    place: usize,
    datatype: &Datatype,
    places: &[usize],
) -> Result<Vec<f64>, Error> {
    let big = datatype.big_endian;
    Ok(match (datatype.kind, datatype.size) {
        (Kind::Float, 2) => gather(bytes, size, place, big, places, |e| half(u16::from_le_bytes(e))),
        (Kind::Float, 4) => gather(bytes, size, place, big, places, |e| f64::from(f32::from_le_bytes(e))),
        (Kind::Float, 8) => gather(bytes, size, place, big, places, f64::from_le_bytes),
        (Kind::Bool | Kind::Signed | Kind::Unsigned, _) => {
            let whole = integers(bytes, size, place, datatype, places)?;
            whole.into_iter().map(|number| number as f64).collect()
        }
        _ => return Err(unfit(datatype, "numbers of up to 64 bits")),
    })
}

fn integers(
    bytes: &[u8],
    size: usize,
    place: usize,
    datatype: &Datatype,
    places: &[usize],
) -> Result<Vec<i64>, Error> {
    let big = datatype.big_endian;
    Ok(match (datatype.kind, datatype.size) {
        (Kind::Bool | Kind::Unsigned, 1) => gather(bytes, size, place, big, places, |[byte]| i64::from(byte)),
        (Kind::Signed, 1) => gather(bytes, size, place, big, places, |e| i64::from(i8::from_le_bytes(e))),
        (Kind::Signed, 2) => gather(bytes, size, place, big, places, |e| i64::from(i16::from_le_bytes(e))),
        (Kind::Signed, 4) => gather(bytes, size, place, big, places, |e| i64::from(i32::from_le_bytes(e))),
        (Kind::Signed, 8) => gather(bytes, size, place, big, places, i64::from_le_bytes),
        (Kind::Unsigned, 2) => gather(bytes, size, place, big, places, |e| i64::from(u16::from_le_bytes(e))),
        (Kind::Unsigned, 4) => gather(bytes, size, place, big, places, |e| i64::from(u32::from_le_bytes(e))),
        (Kind::Unsigned, 8) => {
            let numbers = gather(bytes, size, place, big, places, u64::from_le_bytes);
            let numbers = numbers.into_iter().map(i64::try_from).collect::<Result<_, _>>();
            numbers.map_err(|_| unfit(datatype, "integers of 63 bits"))?
        }
        _ => return Err(unfit(datatype, "integers")),
    })
}

/// A number of IEEE 754's binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2.0_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
    }
}

fn utf32(element: &[u8], big_endian: bool) -> Result<String, Error> {
    let mut text = String::new();
    let mut padding = 0;
    for unit in element.as_chunks::<4>().0 {
        let code = if big_endian { u32::from_be_bytes(*unit) } else { u32::from_le_bytes(*unit) };
        if code == 0 {
            padding += 1;
            continue;
        }
        text.extend(std::iter::repeat_n('\0', std::mem::take(&mut padding)));
        match char::from_u32(code) {
            Some(character) => text.push(character),
            None => {
                let reason = format!("{code:#x} is no character");
                return Err(Error::Value { place: "an array of texts".to_owned(), reason });
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{half, utf32};

    #[test]
    fn halves_are_read() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2.0_f64.powi(-24)),
            (0x7c00, f64::INFINITY),
        ];
        for (bits, expected) in cases {
            assert_eq!(half(bits), expected, "{bits:#x}");
        }
        assert!(half(0x7c01).is_nan());
    }

    #[test]
    fn texts_lose_their_padding() {
        let bytes: Vec<u8> = [97_u32, 0, 98, 0].iter().flat_map(|code| code.to_le_bytes()).collect();
        assert_eq!(utf32(&bytes, false).as_deref(), Ok("a\0b"));
        assert!(utf32(&0xd800_u32.to_be_bytes(), true).is_err());
    }
}
