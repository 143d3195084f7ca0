//! Products of i16 activations with i8 weights: the tiles of the micro-kernels whose left operand is i16, slice by slice of the
//! depth, summed in i64.

mod erased;
mod job;
mod limits;
pub(crate) mod packed;
pub(crate) mod requantize;
pub(crate) mod stage;

use self::erased::OperandScales;
use self::job::Job;
use self::limits::check_symmetric;
use self::packed::PackedMatrix;
use self::stage::Stage;
use super::output::Output;
use super::rhs::check_isa;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::matrix::MatrixMut;
use crate::quantized::Quantized;

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
