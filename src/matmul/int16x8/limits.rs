//! What operands may be, so that sums are exact.

use crate::error::Error;
use crate::matrix::{Largest, ZeroPoints};

/// Accumulators are below this, as LiteRT's are: the product with a multiplier of 16 bits is inside i64.
pub const ACCUMULATORS: i64 = 1 << 47;

/// `Ok` when no accumulator of this depth can reach [`ACCUMULATORS`].
pub fn check_depth(depth: usize, bias: Largest) -> Result<(), Error> {
    /// The largest product: −2¹⁵ · −2⁷.
    const PRODUCT: i64 = 1 << 22;
    let limit = ((ACCUMULATORS - 1 - bias.value).max(0) / PRODUCT) as usize;
    if depth <= limit && bias.value < ACCUMULATORS {
        Ok(())
    } else {
        Err(Error::Depth { row: 0, channel: bias.index, depth, limit })
    }
}

/// The first zero point that is not 0, as an error.
pub fn check_symmetric(zero_points: ZeroPoints<'_>) -> Result<(), Error> {
    let each = match &zero_points {
        ZeroPoints::Uniform(uniform) => core::slice::from_ref(uniform),
        ZeroPoints::Each(each) => each,
    };
    match each.iter().position(|&zero_point| zero_point != 0) {
        Some(index) => Err(Error::ZeroPoint { index, zero_point: each[index], min: 0, max: 0 }),
        None => Ok(()),
    }
}
