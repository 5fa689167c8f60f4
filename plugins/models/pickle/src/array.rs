//! Arrays of numpy.

use std::rc::Rc;

use crate::value::{Bytes, Id};

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bool`
    Bool,
    /// Whole numbers.
    Signed,
    /// Whole numbers from zero.
    Unsigned,
    /// Numbers.
    Float,
    /// Texts, padded with zeros: four bytes a character.
    Text,
    /// Bytes, padded with zeros.
    Bytes,
    /// Records with named fields.
    Record,
    /// Values of Python.
    Object,
    /// Another kind, by numpy's letter for it.
    Other(char),
}

/// The type of an array's elements.
#[derive(Clone, Debug)]
pub struct Datatype {
    /// What an element is.
    pub kind: Kind,
    /// Bytes of an element.
    pub size: usize,
    /// Whether the first byte is the most significant one.
    pub big_endian: bool,
    /// Of a record: name, place and type of each field.
    pub fields: Vec<(Rc<str>, usize, Rc<Datatype>)>,
}

impl Datatype {
    /// From numpy's name for it, such as `<f8`, `U10` or `V64`.
    pub(crate) fn parse(code: &str) -> Option<Datatype> {
        let plain = code.trim_start_matches(['<', '>', '=', '|']);
        let mut characters = plain.chars();
        let letter = characters.next()?;
        let digits = characters.as_str();
        let number: usize = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let kind = match letter {
            'b' | '?' => Kind::Bool,
            'i' => Kind::Signed,
            'u' => Kind::Unsigned,
            'f' => Kind::Float,
            'U' => Kind::Text,
            'S' | 'a' => Kind::Bytes,
            'V' => Kind::Record,
            'O' => Kind::Object,
            other => Kind::Other(other),
        };
        let size = match kind {
            Kind::Text => number.checked_mul(4)?,
            Kind::Object => 8,
            Kind::Bool => 1,
            _ => number,
        };
        let fits = match kind {
            Kind::Bool => size == 1,
            Kind::Signed | Kind::Unsigned => matches!(size, 1 | 2 | 4 | 8),
            Kind::Float => matches!(size, 2 | 4 | 8 | 16),
            Kind::Text | Kind::Bytes | Kind::Record | Kind::Object | Kind::Other(_) => true,
        };
        let big_endian = code.starts_with('>');
        fits.then_some(Datatype { kind, size, big_endian, fields: Vec::new() })
    }

    /// Its name as numpy writes it.
    pub fn name(&self) -> String {
        let letter = match self.kind {
            Kind::Bool => 'b',
            Kind::Signed => 'i',
            Kind::Unsigned => 'u',
            Kind::Float => 'f',
            Kind::Text => return format!("U{}", self.size / 4),
            Kind::Bytes => 'S',
            Kind::Record => 'V',
            Kind::Object => return "object".to_owned(),
            Kind::Other(letter) => letter,
        };
        format!("{letter}{}", self.size)
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub(crate) enum Elements {
    /// As they lie in memory.
    Bytes(Bytes),
    /// Values of Python.
    Objects(Rc<[Id]>),
}

/// An array. There are as many elements as its shape says.
#[derive(Clone, Debug)]
pub struct Array {
    /// Of its elements.
    pub datatype: Rc<Datatype>,
    /// The size of each dimension, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// Whether the first dimension is that whose elements lie next to each other.
    pub(crate) column_major: bool,
    pub(crate) elements: Elements,
}

/// Places of an array's elements, in the order of rows.
pub(crate) fn places(shape: &[usize], column_major: bool) -> Vec<usize> {
    let count = shape.iter().product();
    if !column_major || shape.len() < 2 {
        return (0..count).collect();
    }
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for size in shape {
        strides.push(stride);
        stride *= size;
    }
    let mut index = vec![0; shape.len()];
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        found.push(index.iter().zip(&strides).map(|(index, stride)| index * stride).sum());
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            if index[dimension] < shape[dimension] {
                break;
            }
            index[dimension] = 0;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Datatype, Kind, places};

    #[test]
    fn types_are_told_by_their_names() {
        let cases = [
            ("<f8", Kind::Float, 8),
            ("U3", Kind::Text, 12),
            ("|V64", Kind::Record, 64),
            ("b1", Kind::Bool, 1),
        ];
        for (code, kind, size) in cases {
            let found = Datatype::parse(code).expect(code);
            assert_eq!((found.kind, found.size), (kind, size), "{code}");
        }
        for code in ["", "f7", "i3", "f99999999999999999999", "U4611686018427387904"] {
            assert!(Datatype::parse(code).is_none(), "{code}");
        }
    }

    #[test]
    fn columns_are_read_by_rows() {
        assert_eq!(places(&[2, 3], true), [0, 2, 4, 1, 3, 5]);
        assert_eq!(places(&[2, 3], false), [0, 1, 2, 3, 4, 5]);
        assert_eq!(places(&[], true), [0]);
        assert_eq!(places(&[0, 3], true), [0; 0]);
    }
}
