//! Reads what Python pickled, without running any of it.
//!
//! A pickle is a program for a small stack machine. [`Pickle::read`] runs it for what it builds, and builds inert values
//! only: a class is a name, an object is the name of its class with what it was made from and its state. Nothing is looked
//! up, imported or called. Of what programs may call, a few of numpy's own constructors are known and give an [`Array`];
//! every other call gives an object that says what was to be called with what.
//!
//! Protocols 0 to 5 are read, and what joblib makes of them: arrays that lie in the stream behind their description, and
//! the whole compressed with zlib or gzip. The format is that of Python's `pickletools` and of joblib's `numpy_pickle`.
//!
//! Bytes from outside cost time and memory in proportion to their number: [`Limits`] says how much.
#![forbid(unsafe_code)]

mod array;
mod call;
mod compressed;
mod error;
mod machine;
mod opcode;
mod text;
mod value;
mod view;

pub use crate::array::{Array, Datatype, Kind};
pub use crate::error::Error;
pub use crate::value::{Id, Object, Value};
pub use crate::view::Ref;

use crate::machine::Machine;

/// What a pickle may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, after they were inflated.
    pub bytes: usize,
    /// Values that are built.
    pub values: usize,
}

impl Default for Limits {
    /// 512 MiB and eight million values.
    fn default() -> Self {
        Limits { bytes: 512 << 20, values: 8 << 20 }
    }
}

/// What a pickle built.
#[derive(Debug)]
pub struct Pickle {
    source: Vec<u8>,
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle, or what joblib dumped.
    ///
    /// # Errors
    /// The bytes are no pickle, are compressed in a way that is not known, hold an instruction that is not known, or cost
    /// more than the limits.
    pub fn read(content: Vec<u8>, limits: Limits) -> Result<Pickle, Error> {
        let source = compressed::inflate(content, limits.bytes)?;
        let mut machine = Machine::new(&source, limits);
        let root = machine.run()?;
        let values = machine.into_values();
        Ok(Pickle { source, values, root })
    }

    /// What the whole pickle is.
    pub fn root(&self) -> Ref<'_> {
        Ref::new(self, self.root)
    }

    /// Bytes of the pickle, after they were inflated.
    pub fn size(&self) -> usize {
        self.source.len()
    }

    pub(crate) fn value(&self, id: Id) -> &Value {
        &self.values[id.index()]
    }

    pub(crate) fn source(&self) -> &[u8] {
        &self.source
    }
}
