//! Uniform values from the library's streams.

use zeropoint::random::fill_uniform;
use zeropoint::{Error, Exec, Stream};

/// `count` values, uniform from −1 to 1, of the words from the beginning of `stream` on.
///
/// # Errors
/// A stream that ends before.
pub fn uniform(exec: Exec<'_>, stream: Stream, count: usize) -> Result<Vec<f32>, Error> {
    let mut values = vec![0.0; count];
    fill_uniform(exec, stream, &mut values)?;
    Ok(values.into_iter().map(|value| 2.0 * value - 1.0).collect())
}
