//! Why a call failed: an error of the library, or one of the call itself.

use core::fmt;

use zeropoint::Error;

use crate::element::zp_type;
use crate::error::zp_error;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library refused it.
    Library(Error),
    /// A pointer is null.
    Null { what: &'static str },
    /// A pointer is not aligned.
    Misaligned { what: &'static str, address: usize, alignment: usize },
    /// Two buffers share memory, and one of them is written.
    Overlap { output: &'static str, other: &'static str },
    /// Sizes whose product no memory holds.
    Size { what: &'static str, rows: usize, columns: usize },
    /// A number that an enum does not have.
    Enum { what: &'static str, name: &'static str, number: u32 },
    /// A handle that is none, and why.
    Handle { kind: &'static str, why: &'static str },
    /// Elements of another type.
    Type { what: &'static str, found: zp_type, expected: &'static str },
    /// Text that is not UTF-8.
    Text { what: &'static str },
    /// A panic.
    Panic { text: String },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Library(error)
    }
}

impl Failure {
    /// Its number.
    pub fn number(&self) -> zp_error {
        match self {
            Failure::Library(error) => zp_error::of(error),
            Failure::Null { .. } => zp_error::Null,
            Failure::Misaligned { .. } => zp_error::Misaligned,
            Failure::Overlap { .. } => zp_error::Overlap,
            Failure::Size { .. } => zp_error::Size,
            Failure::Enum { .. } => zp_error::Enum,
            Failure::Handle { .. } => zp_error::Handle,
            Failure::Type { .. } => zp_error::Type,
            Failure::Text { .. } => zp_error::Text,
            Failure::Panic { .. } => zp_error::Panic,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Library(error) => error.fmt(f),
            Failure::Null { what } => write!(f, "{what} is NULL"),
            Failure::Misaligned { what, address, alignment } => {
                write!(f, "{what} at {address:#x} is not aligned to {alignment} bytes")
            }
            Failure::Overlap { output, other } => write!(f, "{output} is written and overlaps {other}"),
            Failure::Size { what, rows, columns } => {
                write!(f, "{what}: no memory holds {rows} × {columns} elements")
            }
            Failure::Enum { what, name, number } => write!(f, "{what}: {name} has no value {number}"),
            Failure::Handle { kind, why } => write!(f, "this {kind} {why}"),
            Failure::Type { what, found, expected } => {
                write!(f, "{what} has elements of {}; choose {expected}", found.name())
            }
            Failure::Text { what } => write!(f, "{what} is not UTF-8"),
            Failure::Panic { text } => write!(f, "the library panicked, which is a bug of it: {text}"),
        }
    }
}
