//! What can be wrong with a model.

use std::fmt;

/// A model that is not what it should be, or has no embedding for a text.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file does not begin like a model.
    Magic,
    /// The file ends inside this part of it.
    Truncated {
        /// The part.
        what: &'static str,
    },
    /// A number of the file that it cannot be.
    Value {
        /// What it counts or names.
        what: &'static str,
        /// The number.
        found: i64,
        /// What it has to be.
        why: &'static str,
    },
    /// A tensor is missing, or is not what the sizes of the model say.
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A text or a sequence of tokens has no embedding: it left the range of f32.
    NonFinite {
        /// Its place among those of the call.
        index: usize,
    },
    /// A sequence is no input of this model.
    Sequence {
        /// Its place among those of the call.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An error of the library.
    Zeropoint(zeropoint::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Magic => write!(f, "no model: it does not begin with E5S1"),
            Error::Truncated { what } => write!(f, "the file ends inside {what}"),
            Error::Value { what, found, why } => write!(f, "{what}: {found} {why}"),
            Error::Tensor { name, why } => write!(f, "tensor `{name}` {why}"),
            Error::NonFinite { index } => write!(f, "input {index} has no embedding: it leaves the range of f32"),
            Error::Sequence { index, why } => write!(f, "input {index} {why}"),
            Error::Zeropoint(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Zeropoint(error) => Some(error),
            _ => None,
        }
    }
}

impl From<zeropoint::Error> for Error {
    fn from(error: zeropoint::Error) -> Self {
        Error::Zeropoint(error)
    }
}
