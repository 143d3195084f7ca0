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

mod in_place;
mod packed;
mod rounding;
mod strided;

use core::cell::Cell;

use crate::arch;
use crate::codes::{Code, CodeRange};
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::params::{Granularity, Parameters, QuantParams, Range, Run, Scheme};
use crate::random::Stream;
use crate::reduce::{min_max, ranges};
use crate::simd::{FOUR, Kernel, LANES, Memory, Simd, block, four};
use crate::workspace::{Element, LINE};
pub use in_place::{fake_quantize_in_place, fake_quantize_stochastic_in_place, straight_through_in_place};
pub use packed::{dequantize_packed, pack_nibbles, quantize_packed, quantize_packed_stochastic, unpack_nibbles};
pub(crate) use rounding::Nearest;
use rounding::{Round, Rounding};
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
    isa.run(Groups::new(params, x, codes, Quantize)?);
    Ok(())
}

/// Finds the parameters of `x` by a scheme, one range a group, and quantizes it by them, rounding to nearest: what activations
/// need whose range nobody knows before.
///
/// All ranges are found before the first code is written, so that a NaN leaves `codes` as they were. For stochastic rounding,
/// take [`ranges`] and [`QuantParams::from_ranges`], then [`quantize_stochastic`].
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
/// As [`ranges`], [`QuantParams::from_ranges`] and [`quantize`].
pub fn quantize_dynamic<C: Code>(
    isa: Isa,
    x: &[f32],
    range: CodeRange<C>,
    scheme: Scheme,
    granularity: Granularity,
    codes: &mut [C],
) -> Result<QuantParams<C>, Error> {
    check_length("the output", x.len(), codes.len())?;
    let (whole, groups);
    // One range needs no memory.
    let ranges: &[Range] = if granularity == Granularity::Tensor {
        whole = [min_max(isa, x)?];
        &whole
    } else {
        groups = ranges(isa, x, granularity)?;
        &groups
    };
    let params = QuantParams::from_ranges_on(isa, range, scheme, granularity, ranges)?;
    quantize(isa, x, &params, codes)?;
    Ok(params)
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
    isa.run(Groups::new(params, x, out, FakeQuantizeWithMask { mask })?);
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
    isa.run(Groups::new(params, x, out, StraightThrough { gradient, first: 0 })?);
    Ok(())
}

/// Sixteen lanes of parameters: `S`, both parts of its reciprocal or NaN, `Z`, and the code range relative to it.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<S: Simd> {
    scale: S::F32,
    reciprocal: [S::F32; 2],
    zero_point: S::I32,
    min: S::F32,
    max: S::F32,
}

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    pub(crate) fn new<C: Code>(simd: S, codes: CodeRange<C>, scale: S::F32, zero_point: S::I32) -> Self {
        let min = simd.to_f32(simd.sub_i32(simd.splat_i32(codes.min().into()), zero_point));
        let max = simd.to_f32(simd.sub_i32(simd.splat_i32(codes.max().into()), zero_point));
        Lanes { scale, reciprocal: [simd.splat_f32(f32::NAN); 2], zero_point, min, max }
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

    /// What rounds to the same integers up to ±255 as `x / S` of four blocks does; NaN for a scale that has no such reciprocal.
    #[inline(always)]
    fn quotients(lanes: &[Self; FOUR], simd: S, x: &[[f32; LANES]; FOUR]) -> [S::F32; FOUR] {
        four(
            #[inline(always)]
            |j| {
                let (x, [high, low]) = (simd.load_f32(&x[j]), lanes[j].reciprocal);
                simd.mul_add_f32(x, high, simd.mul_f32(x, low))
            },
        )
    }

    /// `S · q` for a code without its zero point.
    #[inline(always)]
    pub(crate) fn real(&self, simd: S, q: S::I32) -> S::F32 {
        simd.mul_f32(simd.to_f32(q), self.scale)
    }

    /// The same for a code that is a float, of which −0 becomes 0.
    #[inline(always)]
    fn real_of_f32(&self, simd: S, q: S::F32) -> S::F32 {
        simd.mul_add_f32(q, self.scale, simd.splat_f32(0.0))
    }
}

/// The parameters of a tensor, as lanes.
#[derive(Clone, Copy)]
struct LanesOf<'a, S: Simd, C> {
    simd: S,
    codes: CodeRange<C>,
    parameters: Parameters<'a>,
    /// Lanes of the zero point of all groups, if they have the same: but for the scale.
    zero_point: Option<Lanes<S>>,
}

impl<'a, S: Simd, C: Code> LanesOf<'a, S, C> {
    #[inline(always)]
    fn new(simd: S, params: &'a QuantParams<C>) -> Self {
        let (codes, parameters) = (params.codes(), params.parameters());
        let lanes = LanesOf { simd, codes, parameters, zero_point: None };
        let zero_point = parameters.zero_point.map(
            #[inline(always)]
            |zero_point| lanes.of_zero_point(simd.splat_i32(zero_point)),
        );
        LanesOf { zero_point, ..lanes }
    }

    #[inline(always)]
    fn of_zero_point(&self, zero_point: S::I32) -> Lanes<S> {
        Lanes::new(self.simd, self.codes, self.simd.splat_f32(1.0), zero_point)
    }

    /// Those of one group in every lane.
    #[inline(always)]
    fn splat(&self, group: usize) -> Lanes<S> {
        let LanesOf { simd, parameters, .. } = *self;
        let Parameters { scales, reciprocals: [high, low], zero_points, .. } = parameters.of_one_length();
        let lanes = match self.zero_point {
            Some(lanes) => lanes,
            None => self.of_zero_point(simd.splat_i32(zero_points[group])),
        };
        let reciprocal = [simd.splat_f32(high[group]), simd.splat_f32(low[group])];
        Lanes { scale: simd.splat_f32(scales[group]), reciprocal, ..lanes }
    }

    /// Those of sixteen groups, some of which may follow the last one.
    #[inline(always)]
    fn load(&self, group: usize) -> Lanes<S> {
        let lanes = match self.zero_point {
            Some(lanes) => lanes,
            None => self.of_zero_point(self.simd.load_i32(sixteen(self.parameters.zero_points, group))),
        };
        self.load_scales(lanes, &self.parameters.of_one_length(), group)
    }

    /// Those of 64 groups, which are there.
    #[inline(always)]
    fn load_four(&self, group: usize) -> [Lanes<S>; FOUR] {
        // One check of an index.
        let parameters = self.parameters.of_one_length().slice(group, FOUR * LANES);
        let lanes = match self.zero_point {
            Some(lanes) => [lanes; FOUR],
            None => four(
                #[inline(always)]
                |j| self.of_zero_point(self.simd.load_i32(sixteen(parameters.zero_points, j * LANES))),
            ),
        };
        four(
            #[inline(always)]
            |j| self.load_scales(lanes[j], &parameters, j * LANES),
        )
    }

    #[inline(always)]
    fn load_scales(&self, lanes: Lanes<S>, parameters: &Parameters<'_>, group: usize) -> Lanes<S> {
        let Parameters { scales, reciprocals: [high, low], .. } = *parameters;
        let [scale, high, low] = [
            self.simd.load_f32(sixteen(scales, group)),
            self.simd.load_f32(sixteen(high, group)),
            self.simd.load_f32(sixteen(low, group)),
        ];
        Lanes { scale, reciprocal: [high, low], ..lanes }
    }
}

/// Sixteen groups' parameters, which are there as [`Parameters`] are padded.
#[inline(always)]
fn sixteen<T>(parameters: &[T], group: usize) -> &[T; LANES] {
    parameters[group..].first_chunk().expect("as many follow the last group")
}

/// What happens to a block of elements that begins at element `start` of the tensor.
pub(crate) trait Elementwise<C>: Copy {
    type In: Copy + Default + Sync;
    type Out: Element + Default + Send;
    fn apply<S: Simd>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        start: usize,
        x: &[Self::In; LANES],
        out: &mut [Self::Out; LANES],
    );

    /// Whether four blocks together take less time where a reciprocal does.
    const FOURS: bool = false;

    /// The same for four blocks and nearest rounding, and the doubt about them: see [`Simd::is_doubt`].
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "those of `apply` and the doubt")]
    fn apply_four<S: Simd>(
        self,
        _simd: S,
        _codes: CodeRange<C>,
        _lanes: &[Lanes<S>; FOUR],
        _start: usize,
        _x: &[[Self::In; LANES]; FOUR],
        _out: &mut [[Self::Out; LANES]; FOUR],
        doubt: S::I32,
    ) -> S::I32 {
        doubt
    }
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

    const FOURS: bool = true;

    #[inline(always)]
    fn apply_four<S: Simd>(
        self,
        simd: S,
        codes: CodeRange<C>,
        lanes: &[Lanes<S>; FOUR],
        _: usize,
        x: &[[f32; LANES]; FOUR],
        out: &mut [[C; LANES]; FOUR],
        doubt: S::I32,
    ) -> S::I32 {
        let zero_points = four(
            #[inline(always)]
            |j| lanes[j].zero_point,
        );
        C::narrow_four(simd, Lanes::quotients(lanes, simd, x), zero_points, [codes.min(), codes.max()], out, doubt)
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

    const FOURS: bool = true;

    #[inline(always)]
    fn apply_four<S: Simd>(
        self,
        simd: S,
        _: CodeRange<C>,
        lanes: &[Lanes<S>; FOUR],
        _: usize,
        x: &[[f32; LANES]; FOUR],
        out: &mut [[f32; LANES]; FOUR],
        doubt: S::I32,
    ) -> S::I32 {
        let v = Lanes::quotients(lanes, simd, x);
        for j in 0..FOUR {
            let clamped = simd.min_f32(simd.max_f32(v[j], lanes[j].min), lanes[j].max);
            simd.store_f32(lanes[j].real_of_f32(simd, simd.round_f32(clamped)), &mut out[j]);
        }
        simd.doubt_nan(v, doubt)
    }
}

#[derive(Clone, Copy)]
struct FakeQuantizeWithMask<'a> {
    mask: &'a [Cell<u8>],
}

impl FakeQuantizeWithMask<'_> {
    /// Stores the mask of elements from `start` on, or what there is of it.
    #[inline(always)]
    fn store<const N: usize>(self, start: usize, mask: &[u8; N]) {
        match self.mask[start..].first_chunk::<N>() {
            Some(cells) => {
                let cells = core::ptr::from_ref(cells).cast::<Cell<[u8; N]>>();
                // SAFETY: a cell has the layout of what is in it, and nobody else has these.
                unsafe { &*cells }.set(*mask);
            }
            None => self.mask[start..].iter().zip(mask).for_each(
                #[inline(always)]
                |(cell, &mask)| cell.set(mask),
            ),
        }
    }
}

/// 1 where clamping took nothing away, else 0.
#[inline(always)]
fn within<S: Simd>(simd: S, excess: S::I32) -> S::I32 {
    let (zero, one) = (simd.splat_i32(0), simd.splat_i32(1));
    let magnitude = simd.max_i32(excess, simd.sub_i32(zero, excess));
    simd.sub_i32(one, simd.min_i32(magnitude, one))
}

impl<C: Code> Elementwise<C> for FakeQuantizeWithMask<'_> {
    type In = f32;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        start: usize,
        x: &[f32; LANES],
        out: &mut [f32; LANES],
    ) {
        let (_, excess) = lanes.code_and_excess(simd, simd.load_f32(x));
        let mut mask = [0; LANES];
        simd.store_u8(within(simd, excess), &mut mask);
        self.store(start, &mask);
        Elementwise::<C>::apply(FakeQuantize, simd, lanes, rounding, start, x, out);
    }

    const FOURS: bool = true;

    #[inline(always)]
    fn apply_four<S: Simd>(
        self,
        simd: S,
        _: CodeRange<C>,
        lanes: &[Lanes<S>; FOUR],
        start: usize,
        x: &[[f32; LANES]; FOUR],
        out: &mut [[f32; LANES]; FOUR],
        doubt: S::I32,
    ) -> S::I32 {
        let v = Lanes::quotients(lanes, simd, x);
        let rounded = four(
            #[inline(always)]
            |j| simd.round_f32(v[j]),
        );
        let clamped = four(
            #[inline(always)]
            |j| simd.min_f32(simd.max_f32(rounded[j], lanes[j].min), lanes[j].max),
        );
        for j in 0..FOUR {
            simd.store_f32(lanes[j].real_of_f32(simd, clamped[j]), &mut out[j]);
        }
        let mut mask = [[0; LANES]; FOUR];
        simd.store_equal_four(rounded, clamped, &mut mask);
        self.store::<{ FOUR * LANES }>(start, mask.as_flattened().first_chunk().expect("four blocks"));
        simd.doubt_nan(v, doubt)
    }
}

#[derive(Clone, Copy)]
struct StraightThrough<'a> {
    gradient: &'a [f32],
    /// The element that it begins with.
    first: usize,
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
        let mask = simd.to_f32(within(simd, outside));
        let gradient = simd.load_f32(&block(self.gradient, start - self.first));
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
    /// Whether the tensor is more than the caches hold.
    past_caches: bool,
}

/// Runs that are worth the blocks before their first line, which are not streamed.
const LONG_RUN: usize = 1024;

impl<'a, C: Code, Op: Elementwise<C>> Groups<'a, C, Op, Nearest> {
    pub fn new(params: &'a QuantParams<C>, x: &'a [Op::In], out: &'a mut [Op::Out], op: Op) -> Result<Self, Error> {
        params.check_elements(x.len())?;
        check_length("the output", x.len(), out.len())?;
        let past_caches = size_of_val(x) + size_of_val(out) > arch::last_level();
        Ok(Groups { params, x, out, op, rounding: Nearest, first: 0, past_caches })
    }

    /// The same with stochastic rounding.
    pub fn stochastic(self, stream: Stream) -> Result<Groups<'a, C, Op, Stream>, Error> {
        stream.check(self.x.len())?;
        let Groups { params, x, out, op, first, past_caches, .. } = self;
        Ok(Groups { params, x, out, op, rounding: stream, first, past_caches })
    }
}

#[cfg(feature = "rayon")]
impl<'a, C: Code, Op: Elementwise<C> + Send, R: Rounding> Groups<'a, C, Op, R> {
    /// The same work in pieces, the first of `first_length` elements and the others of `length`, which may run on
    /// different threads.
    pub fn pieces(self, first_length: usize, length: usize) -> impl DoubleEndedIterator<Item = Self> + Send {
        let Groups { params, x, out, op, rounding, first, past_caches } = self;
        let (x, more_x) = x.split_at(first_length.min(x.len()));
        let (out, more_out) = out.split_at_mut(x.len());
        let first_piece = core::iter::once((first, x, out));
        let behind = first + x.len();
        let more = more_x.chunks(length).zip(more_out.chunks_mut(length)).enumerate();
        first_piece
            .chain(more.map(move |(i, (x, out))| (behind + i * length, x, out)))
            .map(move |(first, x, out)| Groups { params, x, out, op, rounding, first, past_caches })
    }
}

impl<C: Code, Op: Elementwise<C>, R: Rounding> Kernel for Groups<'_, C, Op, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Groups { params, x, out, op, rounding, first, past_caches } = self;
        let (codes, lanes_of) = (params.codes(), LanesOf::new(simd, params));
        let mut walker = rounding.walker(simd, first, x.len());
        let memory = |streams: bool| match past_caches {
            false => Memory::Cached,
            true if streams => Memory::Streamed,
            true => Memory::Beyond,
        };
        // Calls of `apply` for a run: its elements, and the parameters of one and of four blocks from some of them on.
        macro_rules! map_run {
            ($start:expr, $end:expr, $memory:expr, $lanes:expr, $lanes_of_four:expr) => {{
                let (start, lanes, lanes_of_four) = ($start, $lanes, $lanes_of_four);
                R::map_blocks(
                    &mut walker,
                    simd,
                    $memory,
                    S::RECIPROCALS && Op::FOURS,
                    &x[start..$end],
                    &mut out[start..$end],
                    #[inline(always)]
                    move |i, x, out, doubt| {
                        op.apply_four(simd, codes, &lanes_of_four(i), first + start + i, x, out, doubt)
                    },
                    #[inline(always)]
                    move |i, x, out, rounding| op.apply(simd, &lanes(i), rounding, first + start + i, x, out),
                );
            }};
        }
        match params.granularity() {
            // Blocks of whole vectors, none of which ends inside one.
            Granularity::Block { length, row }
                if R::FROM_THE_START
                    && length.is_power_of_two()
                    && length >= LANES
                    && row.is_multiple_of(length)
                    && (first | x.len()).is_multiple_of(LANES) =>
            {
                let shift = length.trailing_zeros();
                let head = if past_caches { out.as_ptr().align_offset(LINE) } else { 0 };
                // Whether four blocks, or two, have the same parameters: the fewer are read, the better.
                let of_one_group = |blocks: usize| {
                    let elements = blocks * LANES;
                    length >= elements && (first | head).is_multiple_of(elements)
                };
                let (fours, twos) = (of_one_group(FOUR), of_one_group(2));
                map_run!(
                    0,
                    x.len(),
                    memory(head.is_multiple_of(LANES)),
                    #[inline(always)]
                    move |i| lanes_of.splat((first + i) >> shift),
                    #[inline(always)]
                    move |i| {
                        let i = first + i;
                        if fours {
                            [lanes_of.splat(i >> shift); FOUR]
                        } else if twos {
                            let first = lanes_of.splat(i >> shift);
                            let second = lanes_of.splat((i + 2 * LANES) >> shift);
                            [first, first, second, second]
                        } else {
                            four(
                                #[inline(always)]
                                move |j| lanes_of.splat((i + j * LANES) >> shift),
                            )
                        }
                    }
                );
            }
            granularity => {
                for Run { group, start, end } in granularity.runs(first, x.len()) {
                    let begins_a_line = out[start..].as_ptr().align_offset(LINE) == 0;
                    let memory = memory(begins_a_line || end - start >= LONG_RUN);
                    if let Granularity::Channel { inner: 1, .. } = granularity {
                        // A run of channels: the parameters are vectors too.
                        map_run!(
                            start,
                            end,
                            memory,
                            #[inline(always)]
                            move |i| lanes_of.load(group + i),
                            #[inline(always)]
                            move |i| lanes_of.load_four(group + i)
                        );
                    } else {
                        let lanes = lanes_of.splat(group);
                        map_run!(
                            start,
                            end,
                            memory,
                            #[inline(always)]
                            move |_| lanes,
                            #[inline(always)]
                            move |_| [lanes; FOUR]
                        );
                    }
                }
            }
        }
        if past_caches {
            simd.fence();
        }
    }
}
