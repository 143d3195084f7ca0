//! Errors of the library as those of candle.

use candle_core::Error;

/// The error of an operation, with its name.
pub fn wrapped(op: &'static str) -> impl Fn(zeropoint::Error) -> Error {
    move |error| Error::wrap(error).context(op)
}

/// The error of a size that no memory has.
pub fn too_large(op: &'static str) -> Error {
    Error::msg(format!("{op}: the result is larger than the address space"))
}

/// What the library's operations return.
pub type LibraryResult<T> = Result<T, zeropoint::Error>;
