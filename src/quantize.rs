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
//! Clamping first makes the conversion to integers safe on every ISA (they disagree about numbers that do not fit), and
//! the division is a division: a product with 1 / S differs from it on ties.

mod packed;
mod rounding;

use crate::codes::{Code, CodeRange};
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::params::{Granularity, QuantParams};
use crate::random::Stream;
use crate::simd::{Kernel, LANES, Simd, block};
pub use packed::{dequantize_packed, pack_nibbles, quantize_packed, quantize_packed_stochastic, unpack_nibbles};
pub(crate) use rounding::Nearest;
use rounding::{Round, Rounding};

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
    isa.run(Groups::new(params, x, codes, Quantize)?);
    Ok(())
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
    isa.run(Groups::new(params, x, codes, Quantize)?.stochastic(stream)?);
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
    isa.run(Groups::new(params, codes, out, Dequantize)?);
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
    isa.run(Groups::new(params, x, out, FakeQuantize)?);
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
    isa.run(Groups::new(params, x, out, FakeQuantize)?.stochastic(stream)?);
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
    isa.run(Groups::new(params, x, out, StraightThrough { gradient })?);
    Ok(())
}

/// Sixteen lanes of parameters: `S`, `Z`, and the code range relative to it.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<S: Simd> {
    scale: S::F32,
    zero_point: S::I32,
    min: S::F32,
    max: S::F32,
}

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    pub(crate) fn new<C: Code>(simd: S, codes: CodeRange<C>, scale: S::F32, zero_point: S::I32) -> Self {
        let min = simd.to_f32(simd.sub_i32(simd.splat_i32(codes.min().into()), zero_point));
        let max = simd.to_f32(simd.sub_i32(simd.splat_i32(codes.max().into()), zero_point));
        Lanes { scale, zero_point, min, max }
    }

    /// `clamp(x / S)`: what is rounded to the code without its zero point.
    #[inline(always)]
    fn clamped(&self, simd: S, x: S::F32) -> S::F32 {
        simd.clamp_f32(simd.div_f32(x, self.scale), self.min, self.max)
    }

    /// The code of x without its zero point, and what clamping changed it by: one step of room beyond the range tells. NaN is
    /// below it.
    #[inline(always)]
    pub(crate) fn code_and_excess(&self, simd: S, x: S::F32) -> (S::I32, S::I32) {
        let v = simd.max_f32(simd.div_f32(x, self.scale), simd.add_f32(self.min, simd.splat_f32(-1.0)));
        let beyond = simd.round_to_i32(simd.min_f32(v, simd.add_f32(self.max, simd.splat_f32(1.0))));
        let (min, max) = (simd.round_to_i32(self.min), simd.round_to_i32(self.max));
        let q = simd.min_i32(simd.max_i32(beyond, min), max);
        (q, simd.sub_i32(beyond, q))
    }

    /// `S · q` for a code without its zero point.
    #[inline(always)]
    pub(crate) fn real(&self, simd: S, q: S::I32) -> S::F32 {
        simd.mul_f32(simd.to_f32(q), self.scale)
    }
}

/// What happens to a block of elements that begins at element `start` of the tensor.
pub(crate) trait Elementwise<C>: Copy + Send + Sync {
    type In: Copy + Default + Sync;
    type Out: Copy + Default + Send;
    fn apply<S: Simd>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        start: usize,
        x: &[Self::In; LANES],
        out: &mut [Self::Out; LANES],
    );
}

#[derive(Clone, Copy)]
pub(crate) struct Quantize;

impl<C: Code> Elementwise<C> for Quantize {
    type In = f32;
    type Out = C;
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        _: usize,
        x: &[f32; LANES],
        out: &mut [C; LANES],
    ) {
        let q = rounding.round(simd, lanes.clamped(simd, simd.load_f32(x)));
        C::store(simd, simd.add_i32(q, lanes.zero_point), out);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Dequantize;

impl<C: Code> Elementwise<C> for Dequantize {
    type In = C;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        _: impl Round<S>,
        _: usize,
        codes: &[C; LANES],
        out: &mut [f32; LANES],
    ) {
        let q = simd.sub_i32(C::load(simd, codes), lanes.zero_point);
        simd.store_f32(lanes.real(simd, q), out);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct FakeQuantize;

impl<C: Code> Elementwise<C> for FakeQuantize {
    type In = f32;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        _: usize,
        x: &[f32; LANES],
        out: &mut [f32; LANES],
    ) {
        let q = rounding.round(simd, lanes.clamped(simd, simd.load_f32(x)));
        simd.store_f32(lanes.real(simd, q), out);
    }
}

#[derive(Clone, Copy)]
struct StraightThrough<'a> {
    gradient: &'a [f32],
}

impl<C: Code> Elementwise<C> for StraightThrough<'_> {
    type In = f32;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        _: impl Round<S>,
        start: usize,
        x: &[f32; LANES],
        out: &mut [f32; LANES],
    ) {
        let (_, outside) = lanes.code_and_excess(simd, simd.load_f32(x));
        let mask = simd.to_f32(simd.sub_i32(simd.splat_i32(1), simd.mul_i32(outside, outside)));
        let gradient = simd.load_f32(&block(self.gradient, start));
        // ∞ · 0 is NaN of another sign on every architecture.
        simd.store_f32(simd.replace_nan(simd.mul_f32(gradient, mask), simd.splat_f32(f32::NAN)), out);
    }
}

/// An elementwise operation over a tensor, or a piece of one, group by group.
pub(crate) struct Groups<'a, C, Op: Elementwise<C>, R> {
    params: &'a QuantParams<C>,
    x: &'a [Op::In],
    out: &'a mut [Op::Out],
    op: Op,
    rounding: R,
    /// Where `x` begins in the tensor.
    first: usize,
}

impl<'a, C: Code, Op: Elementwise<C>> Groups<'a, C, Op, Nearest> {
    pub fn new(params: &'a QuantParams<C>, x: &'a [Op::In], out: &'a mut [Op::Out], op: Op) -> Result<Self, Error> {
        params.check_elements(x.len())?;
        check_length("the output", x.len(), out.len())?;
        Ok(Groups { params, x, out, op, rounding: Nearest, first: 0 })
    }

    /// The same with stochastic rounding.
    pub fn stochastic(self, stream: Stream) -> Result<Groups<'a, C, Op, Stream>, Error> {
        stream.check(self.x.len())?;
        let Groups { params, x, out, op, first, .. } = self;
        Ok(Groups { params, x, out, op, rounding: stream, first })
    }
}

#[cfg(feature = "rayon")]
impl<'a, C: Code, Op: Elementwise<C>, R: Rounding> Groups<'a, C, Op, R> {
    /// The same work in pieces, the first of `first_length` elements and the others of `length`, which may run on
    /// different threads.
    pub fn pieces(self, first_length: usize, length: usize) -> impl DoubleEndedIterator<Item = Self> + Send {
        let Groups { params, x, out, op, rounding, first } = self;
        let (x, more_x) = x.split_at(first_length.min(x.len()));
        let (out, more_out) = out.split_at_mut(x.len());
        let first_piece = core::iter::once((first, x, out));
        let behind = first + x.len();
        let more = more_x.chunks(length).zip(more_out.chunks_mut(length)).enumerate();
        first_piece
            .chain(more.map(move |(i, (x, out))| (behind + i * length, x, out)))
            .map(move |(first, x, out)| Groups { params, x, out, op, rounding, first })
    }
}

impl<C: Code, Op: Elementwise<C>, R: Rounding> Kernel for Groups<'_, C, Op, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Groups { params, x, out, op, rounding, first } = self;
        let (codes, scales, zero_points) = (params.codes(), params.scales(), params.zero_points());
        let granularity = params.granularity();
        let mut walker = rounding.walker(simd, first, x.len());
        let mut start = 0;
        while start < x.len() {
            let end = x.len().min(start + granularity.run_length(first + start, first + x.len()));
            let group = granularity.group_of(first + start);
            let (x, out) = (&x[start..end], &mut out[start..end]);
            if let Granularity::Channel { inner: 1, .. } = granularity {
                // A run of channels: the parameters are vectors too.
                let (scales, zero_points) = (&scales[group..], &zero_points[group..]);
                R::map_blocks(
                    &mut walker,
                    simd,
                    x,
                    out,
                    #[inline(always)]
                    |i, x, out, rounding| {
                        let scale = simd.load_f32(&block(scales, i));
                        let lanes = Lanes::new(simd, codes, scale, simd.load_i32(&block(zero_points, i)));
                        op.apply(simd, &lanes, rounding, first + start + i, x, out);
                    },
                );
            } else {
                let (scale, zero_point) = (simd.splat_f32(scales[group]), simd.splat_i32(zero_points[group]));
                let lanes = Lanes::new(simd, codes, scale, zero_point);
                R::map_blocks(
                    &mut walker,
                    simd,
                    x,
                    out,
                    #[inline(always)]
                    |i, x, out, rounding| op.apply(simd, &lanes, rounding, first + start + i, x, out),
                );
            }
            start = end;
        }
    }
}
