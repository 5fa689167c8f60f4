//! Why a pickle could not be read.

use std::fmt;

/// Why a pickle could not be read, or holds something other than was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The content is compressed in a way that is not read here.
    Compression {
        /// Its name.
        name: &'static str,
    },
    /// It could not be inflated.
    Inflate {
        /// Why not.
        reason: String,
    },
    /// It costs more than it may.
    Limit {
        /// Of what.
        what: &'static str,
        /// How much was allowed.
        limit: usize,
    },
    /// An instruction that is no instruction of a pickle, or needs what only Python has.
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Where it stands, in the inflated content.
        offset: usize,
        /// What it would need.
        reason: &'static str,
    },
    /// The content ends within an instruction, or an instruction finds something other than it needs.
    Malformed {
        /// Where, in the inflated content.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A value is not what was looked for.
    Value {
        /// What it is part of.
        place: String,
        /// What is there and what would be right.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Compression { name } => write!(
                formatter,
                "it is compressed with {name}; joblib.dump(model, file, compress=('zlib', 3)) is read, and so is what is not \
                 compressed"
            ),
            Error::Inflate { reason } => write!(formatter, "it cannot be inflated: {reason}"),
            Error::Limit { what, limit } => write!(formatter, "it has more than {limit} {what}"),
            Error::Opcode { opcode, offset, reason } => {
                write!(formatter, "the instruction {opcode:#04x} at byte {offset} {reason}")
            }
            Error::Malformed { offset, reason } => write!(formatter, "at byte {offset}: {reason}"),
            Error::Value { place, reason } => write!(formatter, "{place}: {reason}"),
        }
    }
}

impl std::error::Error for Error {}
