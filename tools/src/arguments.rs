//! Values of arguments that several programs take.

use clap::builder::RangedI64ValueParser;
use zeropoint::calibrate::Method;
use zeropoint::{CodeRange, Error, Scheme};

/// The bits of a code.
pub fn bits() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(2..=8)
}

/// A method that chooses ranges, with a number that it can have.
///
/// # Errors
/// [`Error::Setting`] for a number that the method cannot have.
pub fn method(text: &str) -> Result<Method, Error> {
    let method: Method = text.parse()?;
    method.observer(CodeRange::<i8>::narrow(8)?, Scheme::SYMMETRIC, 1)?;
    Ok(method)
}
