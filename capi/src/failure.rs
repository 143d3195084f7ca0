//! Why a call failed: an error of the library, or one of the call itself.

use core::fmt;

use zeropoint::Error;

use crate::element::zp_type;
use crate::error::zp_error;

/// Why a call failed. It is one pointer, so that results of checks are a word or two, and a call that succeeds copies nothing else.
#[derive(Debug)]
pub(crate) struct Failure(Box<Reason>);

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Reason {
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
    /// A function of the caller's that takes bytes, and failed.
    Sink { returned: i32 },
    /// A panic.
    Panic { text: String },
}

impl From<Reason> for Failure {
    #[cold]
    fn from(reason: Reason) -> Self {
        Failure(Box::new(reason))
    }
}

impl From<Error> for Failure {
    #[cold]
    fn from(error: Error) -> Self {
        Reason::Library(error).into()
    }
}

impl Failure {
    /// Its number.
    pub fn number(&self) -> zp_error {
        match &*self.0 {
            Reason::Library(error) => zp_error::of(error),
            Reason::Null { .. } => zp_error::Null,
            Reason::Misaligned { .. } => zp_error::Misaligned,
            Reason::Overlap { .. } => zp_error::Overlap,
            Reason::Size { .. } => zp_error::Size,
            Reason::Enum { .. } => zp_error::Enum,
            Reason::Handle { .. } => zp_error::Handle,
            Reason::Type { .. } => zp_error::Type,
            Reason::Text { .. } => zp_error::Text,
            Reason::Sink { .. } => zp_error::Sink,
            Reason::Panic { .. } => zp_error::Panic,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Library(error) => error.fmt(f),
            Reason::Null { what } => write!(f, "{what} is NULL"),
            Reason::Misaligned { what, address, alignment } => {
                write!(f, "{what} at {address:#x} is not aligned to {alignment} bytes")
            }
            Reason::Overlap { output, other } => write!(f, "{output} is written and overlaps {other}"),
            Reason::Size { what, rows, columns } => {
                write!(f, "{what}: no memory holds {rows} × {columns} elements")
            }
            Reason::Enum { what, name, number } => write!(f, "{what}: {name} has no value {number}"),
            Reason::Handle { kind, why } => write!(f, "this {kind} {why}"),
            Reason::Type { what, found, expected } => {
                write!(f, "{what} has elements of {}; choose {expected}", found.name())
            }
            Reason::Text { what } => write!(f, "{what} is not UTF-8"),
            Reason::Sink { returned } => write!(f, "the function that takes the bytes returned {returned}"),
            Reason::Panic { text } => write!(f, "the library panicked, which is a bug of it: {text}"),
        }
    }
}
