//! Codes from codes: the same values with other parameters, sums, and concatenation.
//!
//! Each operation means `quantize` of what its name says of the dequantized values, bit for bit: every value is
//! `S · (q − Z)` in f32, as [`dequantize`](crate::dequantize()) makes it, a sum is rounded once to f32, and
//! [`quantize`](crate::quantize()) makes codes of it. The real numbers are never all in memory: they go through a buffer that
//! the level-1 cache holds.
//!
//! What the parameters of each operand are, how it is rounded, and on how many threads, is free.

use crate::codes::ByteCode;
use crate::error::Error;
use crate::exec::Exec;
use crate::params::QuantParams;
use crate::quantize::reals::{Beside, ComputedRows, Dequantized, Reals, Sum, run_nearest, run_stochastically};
use crate::quantized::Quantized;
use crate::rounding::Rounding;
use crate::views::Destination;

/// The values of `x` in codes with the parameters `y`: `quantize(dequantize(x))`.
///
/// ```
/// use zeropoint::{CodeRange, Exec, Matrix, QuantParams, Quantized, Rounding, rescale};
/// let x = [0_u8, 100, 128, 255];
/// let x_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 128)?;
/// let y_params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.25, 10)?;
/// let x = Quantized::new(Matrix::new(&x, 1, 4)?, &x_params)?;
/// let mut codes = [0_i8; 4];
/// rescale::requantize(Exec::best()?, x, &y_params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [-128, -46, 10, 127]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] when the shapes do not go together; [`Error::Multiple`], [`Error::Codes`], [`Error::Stream`] and
/// [`Error::Rounding`] as [`quantize`](crate::quantize()) has them.
#[inline(always)]
pub fn requantize<'e, A: ByteCode, C: ByteCode>(
    exec: impl Into<Exec<'e>>,
    x: Quantized<'_, A>,
    y: &QuantParams<C>,
    rounding: impl Into<Rounding>,
    codes: impl Destination<C>,
) -> Result<(), Error> {
    run(exec.into(), &Dequantized::new(x), y, rounding.into(), codes)
}

/// The sums of the values of `a` and `b`, matrices of one shape, in codes with the parameters `y`:
/// `quantize(dequantize(a) + dequantize(b))`.
///
/// That is what onnxruntime's documentation says of its `QLinearAdd`. Its kernels compute with the ratios of the scales, with
/// other roundings: a sum that is within a rounding of a tie may have the next code there (10 of 4 million pairs of codes, with
/// random scales, in version 1.32).
///
/// ```
/// use zeropoint::{CodeRange, Exec, Matrix, QuantParams, Quantized, Rounding, rescale};
/// let (a, b) = ([130_u8, 10], [-4_i8, 100]);
/// let a_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 128)?;
/// let b_params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.125, 0)?;
/// let y_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.25, 200)?;
/// let (a, b) = (Matrix::new(&a, 1, 2)?, Matrix::new(&b, 1, 2)?);
/// let mut codes = [0; 2];
/// let (a, b) = (Quantized::new(a, &a_params)?, Quantized::new(b, &b_params)?);
/// rescale::add(Exec::best()?, a, b, &y_params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [202, 14]); // 1.0 − 0.5, and −59.0 + 12.5
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] when the shapes of `a` and `b` differ; those of [`quantize`](crate::quantize()).
#[inline(always)]
pub fn add<'e, A: ByteCode, B: ByteCode, C: ByteCode>(
    exec: impl Into<Exec<'e>>,
    a: Quantized<'_, A>,
    b: Quantized<'_, B>,
    y: &QuantParams<C>,
    rounding: impl Into<Rounding>,
    codes: impl Destination<C>,
) -> Result<(), Error> {
    run(exec.into(), &Sum::new(Dequantized::new(a), Dequantized::new(b))?, y, rounding.into(), codes)
}

/// The values of matrices of as many rows beside each other, `[rows, columns of all parts]`, in codes with the parameters `y`:
/// a concatenation along the last axis. (Along the first one, [`requantize`] writes each part where it belongs.)
///
/// ```
/// use zeropoint::{CodeRange, Exec, Matrix, QuantParams, Quantized, Rounding, rescale};
/// let (a, b) = ([130_u8, 126], [10_u8, 11, 12, 13]); // 2 × 1 and 2 × 2
/// let a_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 128)?;
/// let b_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 1.0, 10)?;
/// let parts = [Quantized::new(Matrix::new(&a, 2, 1)?, &a_params)?, Quantized::new(Matrix::new(&b, 2, 2)?, &b_params)?];
/// let mut codes = [0; 6];
/// rescale::concat(Exec::best()?, &parts, &a_params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [130, 128, 130, 126, 132, 134]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] without parts; [`Error::Length`] when their rows differ; those of [`quantize`](crate::quantize()).
#[inline(always)]
pub fn concat<'e, A: ByteCode, C: ByteCode>(
    exec: impl Into<Exec<'e>>,
    parts: &[Quantized<'_, A>],
    y: &QuantParams<C>,
    rounding: impl Into<Rounding>,
    codes: impl Destination<C>,
) -> Result<(), Error> {
    let parts = Beside::new(&mut parts.iter().map(|&part| Dequantized::new(part)))?;
    run(exec.into(), &parts, y, rounding.into(), codes)
}

#[inline(always)]
fn run<C: ByteCode>(
    exec: Exec<'_>,
    reals: &dyn Reals,
    y: &QuantParams<C>,
    rounding: Rounding,
    mut codes: impl Destination<C>,
) -> Result<(), Error> {
    let operands = ComputedRows::new(reals, codes.view_mut())?;
    match rounding {
        Rounding::Nearest => run_nearest(exec, operands, y.inner()),
        Rounding::Stochastic(stream) => run_stochastically(exec, operands, y.inner(), stream),
    }
}
