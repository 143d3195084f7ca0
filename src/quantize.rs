//! Between real numbers and codes: quantize, dequantize, fake-quantize, and the straight-through gradient.
//!
//! ```text
//! v = x / S                          the correctly rounded f32 quotient
//! v = clamp(v, qmin − Z, qmax − Z)   as floats, before any conversion; NaN becomes 0, so its code is Z
//! q = round(v) + Z                   the zero point outside the rounding
//! r = S · (q − Z)                    one rounding
//! ```
//!
//! `round` is to nearest, ties to even; or stochastic, up with the probability of the fraction, by the word w of the
//! element ([`Stream`]):
//!
//! ```text
//! f = floor(v);  d = (v − f) · 2²⁴;  q = f + [(w >> 8) as f32 < d] + Z
//! ```
//!
//! `floor(v + u)` would move integers, since the sum is rounded; here they stay, and the mean of many quantizations is v to
//! 2⁻²⁴ of a step.
//!
//! Clamping first makes the conversion to integers safe on every ISA (they disagree about numbers that do not fit). A product
//! with 1 / S differs from the division on ties; one with both parts of a reciprocal that [`QuantParams`] keeps rounds to the
//! same integers. Where multiplying is faster, four blocks at a time do. To codes: product, rounding, zero point, clamp, in
//! this order, since integers saturate as they are narrowed. Back to real numbers: product, clamp, rounding, all in floats.
//! What has a number without an i32 in it (NaN, infinity), or a scale without such a reciprocal, is done again the plain way.

pub(crate) mod fast;
mod groups;
mod in_place;
mod lanes;
pub(crate) mod nibbles;
mod operation;
mod packed;
mod rounding;
mod strided;

use core::cell::Cell;

use crate::codes::{Code, CodeRange};
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::memory::Workspace;
use crate::params::{Granularity, QuantParams, Scheme};
use crate::random::Stream;
use crate::reduce::{EvenGroups, min_max, number_of_ranges, ranges_into};
pub(crate) use groups::Groups;
pub use in_place::{fake_quantize_in_place, fake_quantize_stochastic_in_place, straight_through_in_place};
pub(crate) use lanes::{Lanes, LanesOf};
pub(crate) use operation::{Dequantize, Elementwise, FakeQuantize, Quantize};
use operation::{FakeQuantizeWithMask, StraightThrough};
pub use packed::{dequantize_packed, pack_nibbles, quantize_packed, quantize_packed_stochastic, unpack_nibbles};
#[cfg(feature = "rayon")]
pub(crate) use rounding::Nearest;
pub use strided::{dequantize_matrix, fake_quantize_matrix, quantize_matrix};

/// Quantizes `x` into `codes`.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, quantize};
/// let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
/// let mut codes = [0_u8; 6];
/// quantize(Isa::best()?, &[0.0, 0.75, -0.25, 1e9, f32::NEG_INFINITY, f32::NAN], &params, &mut codes)?;
/// assert_eq!(codes, [10, 12, 10, 255, 0, 10]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters.
pub fn quantize<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>, codes: &mut [C]) -> Result<(), Error> {
    Groups::new(params, x, codes, Quantize)?.run(isa);
    Ok(())
}

/// Finds the parameters of `x` by a scheme, one range a group, and quantizes it by them, rounding to nearest: what activations
/// need whose range nobody knows before.
///
/// All ranges are found before the first code is written, so that a NaN leaves `codes` as they were. For stochastic rounding,
/// take [`ranges`](crate::ranges()) and [`QuantParams::from_ranges`], then [`quantize_stochastic`].
///
/// Up to 4000 groups, calls that repeat do not allocate: a thread makes parameters of the memory of those that it dropped.
///
/// ```
/// use zeropoint::{CodeRange, Granularity, Isa, Scheme, quantize_dynamic};
/// let mut codes = [0_i8; 6];
/// let per_row = Granularity::channel(&[2, 3], 0)?;
/// let x = [0.5, -1.0, 0.25, 8.0, -4.0, 2.0];
/// let params = quantize_dynamic(Isa::best()?, &x, CodeRange::narrow(8)?, Scheme::SYMMETRIC, per_row, &mut codes)?;
/// assert_eq!(codes, [64, -127, 32, 127, -64, 32]);
/// assert_eq!(params.scales(), [1.0 / 127.0, 8.0 / 127.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`ranges`](crate::ranges()), [`QuantParams::from_ranges`] and [`quantize`].
pub fn quantize_dynamic<C: Code>(
    isa: Isa,
    x: &[f32],
    range: CodeRange<C>,
    scheme: Scheme,
    granularity: Granularity,
    codes: &mut [C],
) -> Result<QuantParams<C>, Error> {
    check_length("the output", x.len(), codes.len())?;
    let mut params = QuantParams::unfilled(range, granularity, number_of_ranges(x, granularity)?);
    find_parameters(isa, x, scheme, &mut params)?;
    quantize(isa, x, &params, codes)?;
    Ok(params)
}

/// The groups whose ranges level 2 holds until their parameters are found.
const SOLVED_TOGETHER: usize = 4096;

/// Fills in what a scheme makes of the ranges of a tensor.
fn find_parameters<C: Code>(isa: Isa, x: &[f32], scheme: Scheme, params: &mut QuantParams<C>) -> Result<(), Error> {
    let (granularity, number) = (params.granularity(), params.scales().len());
    if granularity == Granularity::Tensor {
        return params.fill(isa, scheme, &[min_max(isa, x)?]);
    }
    let mut workspace = Workspace::default();
    if let (SOLVED_TOGETHER.., Some(groups)) = (number, EvenGroups::of(x, granularity)) {
        let ranges = workspace.elements(SOLVED_TOGETHER);
        let all = (0..number).step_by(SOLVED_TOGETHER).all(|first| {
            // The last ones again with those before.
            let first = first.min(number - SOLVED_TOGETHER);
            isa.run(groups.ranges(first, ranges));
            params.solve(isa, scheme, first, ranges)
        });
        if all {
            params.finish();
            return Ok(());
        }
        // (Some range has no parameters: which one is the first, those of the whole tensor tell.)
    }
    let ranges = workspace.elements(number);
    ranges_into(isa, x, granularity, ranges)?;
    params.fill(isa, scheme, ranges)
}

/// Quantizes `x` into `codes`, rounding stochastically: element i of `x` takes the word `stream.offset + i`, whatever the
/// granularity, NaN and infinities too.
///
/// ```text
/// v = clamp(x / S, qmin − Z, qmax − Z);  f = floor(v);  q = f + [(w >> 8) as f32 < (v − f) · 2²⁴] + Z
/// ```
///
/// Over many streams the mean of the codes is x / S + Z, without bias: with parameters of a
/// [stochastic scheme](crate::Scheme::stochastic) up to the ends of the range. A slice of a tensor whose elements share a
/// scale gets the codes that it has in the whole tensor when the stream is where the slice begins.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, Stream, quantize_stochastic};
/// let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
/// let mut codes = [0_u8; 8];
/// quantize_stochastic(Isa::best()?, &[0.625; 8], &params, Stream::new(42), &mut codes)?; // 10 + 1.25
/// assert_eq!(codes, [11, 11, 12, 11, 12, 11, 12, 11]);
/// quantize_stochastic(Isa::best()?, &[0.625; 3], &params, Stream { seed: 42, offset: 2 }, &mut codes[..3])?;
/// assert_eq!(codes[..3], [12, 11, 12]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`quantize`]; [`Error::Stream`] when the stream has fewer words than `x` elements.
pub fn quantize_stochastic<C: Code>(
    isa: Isa,
    x: &[f32],
    params: &QuantParams<C>,
    stream: Stream,
    codes: &mut [C],
) -> Result<(), Error> {
    Groups::new(params, x, codes, Quantize)?.stochastic(stream)?.run(isa);
    Ok(())
}

/// The real numbers that `codes` stand for, into `out`.
///
/// Codes outside the parameters' code range are taken as they are.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, dequantize};
/// let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
/// let mut real = [0.0; 3];
/// dequantize(Isa::best()?, &[10, 12, 0], &params, &mut real)?;
/// assert_eq!(real, [0.0, 1.0, -5.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`quantize`].
pub fn dequantize<C: Code>(isa: Isa, codes: &[C], params: &QuantParams<C>, out: &mut [f32]) -> Result<(), Error> {
    Groups::new(params, codes, out, Dequantize)?.run(isa);
    Ok(())
}

/// What [`dequantize`] makes of what [`quantize`] makes of `x`, without the codes: the same bits.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, fake_quantize};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut out = [0.0; 3];
/// fake_quantize(Isa::best()?, &[0.3, -1.6, 100.0], &params, &mut out)?;
/// assert_eq!(out, [0.5, -1.5, 3.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`quantize`].
pub fn fake_quantize<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>, out: &mut [f32]) -> Result<(), Error> {
    Groups::new(params, x, out, FakeQuantize)?.run(isa);
    Ok(())
}

/// [`fake_quantize`] into `out`, and in the same pass the mask of its [straight-through](straight_through) gradient into
/// `mask`: 1 where the code of x needs no clamping, else 0.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, fake_quantize_with_mask};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let (mut out, mut mask) = ([0.0; 3], [0; 3]);
/// fake_quantize_with_mask(Isa::best()?, &[0.3, -1.6, 100.0], &params, &mut out, &mut mask)?;
/// assert_eq!((out, mask), ([0.5, -1.5, 3.5], [1, 1, 0]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`quantize`].
pub fn fake_quantize_with_mask<C: Code>(
    isa: Isa,
    x: &[f32],
    params: &QuantParams<C>,
    out: &mut [f32],
    mask: &mut [u8],
) -> Result<(), Error> {
    check_length("the mask", x.len(), mask.len())?;
    let mask = Cell::from_mut(mask).as_slice_of_cells();
    Groups::new(params, x, out, FakeQuantizeWithMask { mask })?.run(isa);
    Ok(())
}

/// What [`dequantize`] makes of what [`quantize_stochastic`] makes of `x`, without the codes: the same bits. Its gradient is
/// [`straight_through`] too.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, Stream, fake_quantize_stochastic};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut out = [0.0; 4];
/// fake_quantize_stochastic(Isa::best()?, &[0.3, 0.3, -1.5, 100.0], &params, Stream::new(0), &mut out)?;
/// assert_eq!(out, [0.0, 0.0, -1.5, 3.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`quantize_stochastic`].
pub fn fake_quantize_stochastic<C: Code>(
    isa: Isa,
    x: &[f32],
    params: &QuantParams<C>,
    stream: Stream,
    out: &mut [f32],
) -> Result<(), Error> {
    Groups::new(params, x, out, FakeQuantize)?.stochastic(stream)?.run(isa);
    Ok(())
}

/// The straight-through gradient of [`fake_quantize`] at `x`: `gradient · mask`, where the mask is 1 if the code of x
/// needs no clamping (`RNE(x / S) + Z` lies in the code range), else 0, as in PyTorch. At NaN it is 0. A product that is NaN
/// is `f32::NAN`.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, straight_through};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut out = [0.0; 3];
/// straight_through(Isa::best()?, &[0.3, -1.6, 100.0], &[2.0, 3.0, 4.0], &params, &mut out)?;
/// assert_eq!(out, [2.0, 3.0, 0.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`quantize`].
pub fn straight_through<C: Code>(
    isa: Isa,
    x: &[f32],
    gradient: &[f32],
    params: &QuantParams<C>,
    out: &mut [f32],
) -> Result<(), Error> {
    check_length("the gradient", x.len(), gradient.len())?;
    Groups::new(params, x, out, StraightThrough { gradient, first: 0 })?.run(isa);
    Ok(())
}
