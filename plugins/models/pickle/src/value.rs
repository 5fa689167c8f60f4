//! What a pickle builds.

use std::ops::Range;
use std::rc::Rc;

use crate::array::{Array, Datatype};

/// A value's place among those of its pickle. Values refer to each other by it, possibly in circles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u32);

impl Id {
    pub(crate) fn new(index: usize) -> Option<Id> {
        u32::try_from(index).ok().map(Id)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Bytes that lie in the pickle, or were made from a text in it.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Where they lie.
    Source(Range<usize>),
    /// Themselves.
    Own(Rc<[u8]>),
}

/// An object of a class that means nothing here.
#[derive(Clone, Debug)]
pub struct Object {
    /// Usually a [`Value::Class`].
    pub class: Id,
    /// What it was made from: a tuple.
    pub arguments: Id,
    /// What it was given afterwards, usually a dictionary of its attributes.
    pub state: Option<Id>,
    /// What was appended to it, for a subclass of a list.
    pub items: Vec<Id>,
    /// What was set in it, for a subclass of a dictionary.
    pub entries: Vec<(Id, Id)>,
}

/// A value of Python.
#[derive(Clone, Debug)]
pub enum Value {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// A whole number that fits.
    Integer(i64),
    /// A whole number of more than 64 bits, which no model has to tell apart.
    Huge,
    /// A number.
    Float(f64),
    /// A text.
    Text(Rc<str>),
    /// Bytes, or a byte array.
    Bytes(Bytes),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A dictionary in its order.
    Dictionary(Vec<(Id, Id)>),
    /// A set.
    Set(Vec<Id>),
    /// The name of a class or function.
    Class {
        /// Its module.
        module: Rc<str>,
        /// Its name there.
        name: Rc<str>,
    },
    /// An object.
    Object(Object),
    /// An array of numpy, or a number of one of its types.
    Array(Array),
    /// The type of an array's elements.
    Datatype(Rc<Datatype>),
}

impl Value {
    /// What it is, for errors.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Integer(_) | Value::Huge => "an int",
            Value::Float(_) => "a float",
            Value::Text(_) => "a str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dictionary(_) => "a dict",
            Value::Set(_) => "a set",
            Value::Class { .. } => "a class",
            Value::Object(_) => "an object",
            Value::Array(_) => "an array",
            Value::Datatype(_) => "a dtype",
        }
    }
}
