//! Between real numbers and codes: quantize, dequantize, fake-quantize, and the straight-through gradient.
//!
//! ```text
//! v = x / S                          the correctly rounded f32 quotient
//! v = clamp(v, qmin − Z, qmax − Z)   in f32, before any conversion; NaN becomes 0, so its code is Z
//! q = round(v) + Z                   the zero point outside the rounding
//! r = S · (q − Z)                    one rounding
//! ```
//!
//! `round` is to nearest, ties to even; or stochastic, up with the probability of the fraction, by the random word w of the
//! element ([`Stream`](crate::Stream)):
//!
//! ```text
//! f = floor(v);  d = (v − f) · 2²⁴;  q = f + [(w >> 8) as f32 < d] + Z
//! ```
//!
//! `floor(v + u)` would move integers, since the sum is rounded; here they stay, and the mean of many quantizations is v to
//! 2⁻²⁴ of a step.
//!
//! The public functions are generic over views and types of codes, and do nothing but check and erase these: [`job`] divides
//! the work, [`rows`] takes a row to a kernel, [`kernels`] has a loop for every granularity, [`ops`] the formula of every
//! operation, [`fast`] the fast path. Those that take a [`Rounding`] are always inlined: where it is a constant, the linker
//! drops the kernels of the other one.

pub(crate) mod fast;
pub(crate) mod fit;
pub(crate) mod job;
pub(crate) mod kernels;
pub(crate) mod operands;
pub(crate) mod ops;
pub(crate) mod packed;
pub(crate) mod packing;
mod progress;
pub(crate) mod reals;
pub(crate) mod rows;
mod stochastic;
pub(crate) mod vec_params;

use crate::codes::Code;
use crate::error::Error;
use crate::exec::Exec;
use crate::params::QuantParams;
use crate::random::stream::Stream;
use crate::rounding::Rounding;
use crate::views::{Destination, FakeDestination, Source, ViewMut};
use job::Job;
use operands::{GRADIENT, MASK, OUTPUT, Shape, common_shape};
use ops::ToNearest;
use rows::{DequantizeRows, FakeQuantizeRows, QuantizeRows, RealRows, StraightThroughRows};

/// Quantizes `x` into `codes`: `clamp(round(x / S)) + Z`.
///
/// Element i of `x`, counted in the logical tensor, becomes element i of `codes`; of an empty tensor, nothing. NaN becomes the zero point, infinities the
/// ends of the code range. With [`Rounding::Stochastic`], element i takes the word `stream.offset + i`, NaN and infinities
/// too: a slice of a tensor whose elements share a scale gets the codes that it has in the whole tensor if the stream begins
/// where the slice does. Over many streams the mean of the codes is x / S + Z, without bias; with parameters of a
/// [stochastic scheme](crate::Scheme::stochastic) up to the ends of the range. (x / S is an f32. Beside codes of 16 bits that
/// rounding shows: at 65535 steps from Z the quotient is a multiple of 1/256, at 255 steps of 2⁻¹⁶.)
///
/// ```
/// use zeropoint::{CodeRange, Exec, QuantParams, Rounding, Stream, quantize};
/// let exec = Exec::best()?;
/// let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
/// let mut codes = [0_u8; 6];
/// quantize(exec, &[0.0, 0.75, -0.25, 1e9, f32::NEG_INFINITY, f32::NAN], &params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [10, 12, 10, 255, 0, 10]);
///
/// quantize(exec, &[0.625; 6], &params, Stream::new(42), &mut codes)?; // 10 + 1.25 on average
/// assert_eq!(codes, [11, 11, 12, 11, 12, 11]);
/// quantize(exec, &[0.625; 3], &params, Stream { seed: 42, offset: 2 }, &mut codes[..3])?;
/// assert_eq!(codes[..3], [12, 11, 12]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// Views with a row stride (and [`Halves`](crate::Halves) of f16 or bf16, [`PackedCodesMut`](crate::PackedCodesMut), several in a byte):
///
/// ```
/// use zeropoint::{CodeRange, Exec, Granularity, Matrix, QuantParams, Rounding, quantize};
/// let x = [0.5, 1.0, 99.0, -0.5, -1.0, 99.0]; // the first two columns of three
/// let per_column = Granularity::channel(&[2, 2], 1)?;
/// let params = QuantParams::new(CodeRange::signed(8)?, per_column, vec![0.5, 0.25], vec![0, 1])?;
/// let mut codes = [0_i8; 4];
/// quantize(Exec::best()?, Matrix::with_stride(&x, 2, 2, 3)?, &params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [1, 5, -1, -3]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Codes`] for packed codes of more than four bits; [`Error::Stream`] when the stream has fewer words than `x`
/// elements; [`Error::Rounding`] for stochastic rounding with parameters of a scheme for nearest rounding.
#[inline(always)]
pub fn quantize<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    params: &QuantParams<C>,
    rounding: impl Into<Rounding>,
    mut codes: impl Destination<C>,
) -> Result<(), Error> {
    let (x, codes, rounding) = (x.view(), codes.view_mut(), rounding.into());
    let shape = common_shape(x.extent(), [(codes.extent(), OUTPUT)])?;
    let operands = QuantizeRows { x: shape.reals(x), codes: shape.codes_mut(codes) };
    let (exec, params) = (exec.into(), params.inner());
    match rounding {
        Rounding::Nearest => run_quantize(exec, Job { params, rounding: ToNearest, shape, operands }),
        Rounding::Stochastic(rounding) => run_quantize_stochastically(exec, Job { params, rounding, shape, operands }),
    }
}

// Not generic: compiled in this crate, and linked only into programs that call them.
fn run_quantize(exec: Exec<'_>, job: Job<'_, QuantizeRows<'_>, ToNearest>) -> Result<(), Error> {
    job.run(exec)
}

fn run_quantize_stochastically(exec: Exec<'_>, job: Job<'_, QuantizeRows<'_>, Stream>) -> Result<(), Error> {
    job.run(exec)
}

/// The real numbers that `codes` stand for, into `out`: `S · (q − Z)`.
///
/// Codes outside the parameters' code range are taken as they are. Of an empty tensor nothing is written.
///
/// ```
/// use zeropoint::{CodeRange, Exec, QuantParams, dequantize};
/// let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
/// let mut real = [0.0; 3];
/// dequantize(Exec::best()?, &[10, 12, 0], &params, &mut real)?;
/// assert_eq!(real, [0.0, 1.0, -5.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Codes`] for packed codes and parameters of more than four bits.
pub fn dequantize<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    codes: impl Source<C>,
    params: &QuantParams<C>,
    mut out: impl Destination<f32>,
) -> Result<(), Error> {
    let (codes, out) = (codes.view(), out.view_mut());
    let shape = common_shape(codes.extent(), [(out.extent(), OUTPUT)])?;
    let operands = DequantizeRows { codes: shape.codes(codes), out: shape.reals_mut(out) };
    run_dequantize(exec.into(), Job { params: params.inner(), rounding: ToNearest, shape, operands })
}

fn run_dequantize(exec: Exec<'_>, job: Job<'_, DequantizeRows<'_>, ToNearest>) -> Result<(), Error> {
    job.run(exec)
}

/// The result of [`dequantize`] of [`quantize`] of `x`, without codes in memory: the same bits.
///
/// `out` is a destination of f32, or a pair of it and a destination of u8 for the mask of the
/// [straight-through](straight_through) gradient: 1 where the code of x needs no clamping, else 0. Of an empty tensor nothing is
/// written.
///
/// ```
/// use zeropoint::{CodeRange, Exec, QuantParams, Rounding, fake_quantize};
/// let exec = Exec::best()?;
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let (mut out, mut mask) = ([0.0; 3], [0; 3]);
/// fake_quantize(exec, &[0.3, -1.6, 100.0], &params, Rounding::Nearest, &mut out)?;
/// assert_eq!(out, [0.5, -1.5, 3.5]);
/// fake_quantize(exec, &[0.3, -1.6, 100.0], &params, Rounding::Nearest, (&mut out, &mut mask))?;
/// assert_eq!((out, mask), ([0.5, -1.5, 3.5], [1, 1, 0]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Stream`] when the stream has fewer words than `x` elements; [`Error::Rounding`] for stochastic rounding with
/// parameters of a scheme for nearest rounding; [`Error::Shape`] for packed codes as a mask.
#[inline(always)]
pub fn fake_quantize<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    params: &QuantParams<C>,
    rounding: impl Into<Rounding>,
    mut out: impl FakeDestination,
) -> Result<(), Error> {
    let (x, (out, mask), rounding) = (x.view(), out.views_mut(), rounding.into());
    let shape = match &mask {
        None => common_shape(x.extent(), [(out.extent(), OUTPUT)]),
        Some(mask) => common_shape(x.extent(), [(out.extent(), OUTPUT), (mask.extent(), MASK)]),
    }?;
    fake(exec.into(), shape, (Some(shape.reals(x)), out, mask), params, rounding)
}

/// [`fake_quantize`] of `x` into itself. `x` is a destination of f32, or a pair of it and a destination of u8 for the mask.
///
/// ```
/// use zeropoint::{CodeRange, Exec, QuantParams, Rounding, fake_quantize_in_place};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut x = [0.3, -1.6, 100.0];
/// fake_quantize_in_place(Exec::best()?, &mut x, &params, Rounding::Nearest)?;
/// assert_eq!(x, [0.5, -1.5, 3.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Stream`] when the stream has fewer words than `x` elements; [`Error::Rounding`] for stochastic rounding with
/// parameters of a scheme for nearest rounding; [`Error::Shape`] for packed codes as a mask.
#[inline(always)]
pub fn fake_quantize_in_place<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    mut x: impl FakeDestination,
    params: &QuantParams<C>,
    rounding: impl Into<Rounding>,
) -> Result<(), Error> {
    let ((x, mask), rounding) = (x.views_mut(), rounding.into());
    let shape = match &mask {
        None => common_shape(x.extent(), []),
        Some(mask) => common_shape(x.extent(), [(mask.extent(), MASK)]),
    }?;
    fake(exec.into(), shape, (None, x, mask), params, rounding)
}

/// The operands of fake-quantization: its input unless in place, its output, and the mask.
type FakeOperands<'a> = (Option<RealRows<'a>>, ViewMut<'a, f32>, Option<ViewMut<'a, u8>>);

#[inline(always)]
fn fake<C: Code>(
    exec: Exec<'_>,
    shape: Shape,
    (x, out, mask): FakeOperands<'_>,
    params: &QuantParams<C>,
    rounding: Rounding,
) -> Result<(), Error> {
    if let Some(ViewMut::Packed(packed)) = &mask {
        return Err(Error::Shape { why: "a mask has a byte for every element", found: packed.length });
    }
    let operands = FakeQuantizeRows { x, out: shape.reals_mut(out), mask: mask.map(|mask| shape.rows_mut(mask)) };
    let params = params.inner();
    match rounding {
        Rounding::Nearest => run_fake_quantize(exec, Job { params, rounding: ToNearest, shape, operands }),
        Rounding::Stochastic(rounding) => {
            run_fake_quantize_stochastically(exec, Job { params, rounding, shape, operands })
        }
    }
}

fn run_fake_quantize(exec: Exec<'_>, job: Job<'_, FakeQuantizeRows<'_>, ToNearest>) -> Result<(), Error> {
    job.run(exec)
}

fn run_fake_quantize_stochastically(exec: Exec<'_>, job: Job<'_, FakeQuantizeRows<'_>, Stream>) -> Result<(), Error> {
    job.run(exec)
}

/// The straight-through gradient of [`fake_quantize`] at `x`: `gradient · mask`, where the mask is 1 if the code of x
/// needs no clamping (`RNE(x / S) + Z` lies in the code range), else 0, as in PyTorch, whatever the rounding. At NaN it is 0.
/// A product that is NaN is `f32::NAN`. Of an empty tensor nothing is written.
///
/// ```
/// use zeropoint::{CodeRange, Exec, QuantParams, straight_through};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut out = [0.0; 3];
/// straight_through(Exec::best()?, &[0.3, -1.6, 100.0], &[2.0, 3.0, 4.0], &params, &mut out)?;
/// assert_eq!(out, [2.0, 3.0, 0.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters.
pub fn straight_through<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    gradient: impl Source<f32>,
    params: &QuantParams<C>,
    mut out: impl Destination<f32>,
) -> Result<(), Error> {
    let (x, gradient, out) = (x.view(), gradient.view(), out.view_mut());
    let shape = common_shape(x.extent(), [(gradient.extent(), GRADIENT), (out.extent(), OUTPUT)])?;
    let gradient = Some(shape.reals(gradient));
    let operands = StraightThroughRows { x: shape.reals(x), gradient, out: shape.reals_mut(out) };
    run_straight_through(exec.into(), Job { params: params.inner(), rounding: ToNearest, shape, operands })
}

/// [`straight_through`] of a gradient into itself.
///
/// ```
/// use zeropoint::{CodeRange, Exec, QuantParams, straight_through_in_place};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut gradient = [2.0, 3.0, 4.0];
/// straight_through_in_place(Exec::best()?, &[0.3, -1.6, 100.0], &mut gradient, &params)?;
/// assert_eq!(gradient, [2.0, 3.0, 0.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters.
pub fn straight_through_in_place<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    mut gradient: impl Destination<f32>,
    params: &QuantParams<C>,
) -> Result<(), Error> {
    let (x, gradient) = (x.view(), gradient.view_mut());
    let shape = common_shape(x.extent(), [(gradient.extent(), GRADIENT)])?;
    let operands = StraightThroughRows { x: shape.reals(x), gradient: None, out: shape.reals_mut(gradient) };
    run_straight_through(exec.into(), Job { params: params.inner(), rounding: ToNearest, shape, operands })
}

fn run_straight_through(exec: Exec<'_>, job: Job<'_, StraightThroughRows<'_>, ToNearest>) -> Result<(), Error> {
    job.run(exec)
}
