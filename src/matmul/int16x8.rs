//! Products of i16 activations with i8 weights: the tiles of the micro-kernels whose left operand is i16, slice by slice of the
//! depth, summed in i64.

mod job;
pub(crate) mod packed;
pub(crate) mod requantize;
pub(crate) mod stage;

use self::job::Job;
use self::packed::PackedMatrix;
use self::stage::{OperandScales, Stage};
use super::output::Output;
use super::rhs::check_isa;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::matrix::{MatrixMut, ZeroPoints};
use crate::quantized::Quantized;

/// Accumulators are below this, as LiteRT's are: the product with a multiplier of 16 bits is inside i64.
const ACCUMULATORS: i64 = 1 << 47;

/// `Ok` when no accumulator of this depth can reach [`ACCUMULATORS`].
fn check_depth(depth: usize, largest_bias: i64) -> Result<(), Error> {
    /// The largest product: −2¹⁵ · −2⁷.
    const PRODUCT: i64 = 1 << 22;
    let limit = ((ACCUMULATORS - 1 - largest_bias).max(0) / PRODUCT) as usize;
    if depth > limit || largest_bias >= ACCUMULATORS { Err(Error::Depth { depth, limit }) } else { Ok(()) }
}

/// The first zero point that is not 0, as an error.
fn check_symmetric(zero_points: ZeroPoints<'_>) -> Result<(), Error> {
    let each = match &zero_points {
        ZeroPoints::Uniform(uniform) => core::slice::from_ref(uniform),
        ZeroPoints::Each(each) => each,
    };
    match each.iter().position(|&zero_point| zero_point != 0) {
        Some(index) => Err(Error::ZeroPoint { index, zero_point: each[index], min: 0, max: 0 }),
        None => Ok(()),
    }
}

/// `out = stage(Σₖ x · w + bias)` for activations `[M, K]` of i16, quantized per tensor or per row with zero points 0, and packed
/// weights of i8, `[N, K]`. The result is `[M, N]`.
///
/// # Errors
/// [`Error::PackedIsa`] when the weights are packed for another ISA; [`Error::Shape`] when the activations are quantized in
/// another way; [`Error::ZeroPoint`]; [`Error::Length`] when the shapes do not go together; [`Error::Operand`] when the stage or
/// the bias is for activations of another scale; [`Error::Scale`] for a product of scales beyond every f32. Then `out` is
/// untouched.
pub fn matmul<'e, S: Stage>(
    exec: impl Into<Exec<'e>>,
    x: Quantized<'_, i16>,
    weights: &PackedMatrix,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    let exec = exec.into();
    let (zero_points, scales) = x.by_row()?;
    check_symmetric(zero_points)?;
    check_isa(weights.isa(), exec.isa())?;
    weights.check_bias(scales)?;
    let stage = stage.erase(OperandScales { lhs: scales, rhs: weights.scales() })?;
    let (codes, out) = (x.codes(), Output::new(&mut out));
    check_length("the depth of the activations", weights.depth(), codes.columns())?;
    check_length("the result's rows", codes.rows(), out.rows())?;
    check_length("the result's columns", weights.columns(), out.columns())?;
    stage.check(codes.rows(), weights.columns())?;
    Job { a: codes, weights, stage: &stage, out: &out }.run(exec);
    Ok(())
}
