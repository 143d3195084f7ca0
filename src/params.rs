//! Scales and zero points: `r = S · (q − Z)`, where Z is the code of real 0; which elements share them; and how a
//! range of real numbers becomes a pair of them.
//!
//! A [`Scheme`] is one of the eight types of quantization: {float, power-of-two scale} × {integer, zero offset} ×
//! {nearest, stochastic rounding}. In f64, from an f32 range, with `Z` from the unrounded scale:
//!
//! | scheme | codes | S | Z |
//! |---|---|---|---|
//! | asymmetric (integer offset), range widened to contain 0 | all | `(max − min) / (qmax − qmin)` | `RNE(qmin − min / S)` |
//! | the same, stochastic | all | `(max − min) / (qmax − qmin − 1)` | centred |
//! | symmetric (zero offset) | narrow | `amax / (2ⁿ⁻¹ − 1)` | 0 |
//! | | signed | `amax / ((2ⁿ − 1) / 2)` | 0 |
//! | | signed, stochastic | as narrow | 0 |
//! | | unsigned | `max / (2ⁿ − 1)` | 0 |
//! | power-of-two scale | all | the smallest `2ᵏ` ≥ that S | 0, or centred |
//!
//! The centred zero point is `c + floor(−(min + max) / (2S))`, which puts the middle of the range on c, the middle of the
//! codes: 0 signed, 2ⁿ⁻¹ unsigned.
//!
//! Stochastic rounding goes to both neighbours of a number, so its scales leave one step of headroom: then both neighbours
//! of every number of the range are codes, and clamping never biases. (Narrow codes have as many below 0 as above, so the
//! middle between those neighbours is half a code further: c = ½, inside the floor.)
//!
//! Parameters in other conventions enter by constructors of their own: [`QuantParams::from_distiller`] and its neighbours.
//!
//! The exponent k is read from the bits of S: a logarithm is wrong just below powers of two. An all-zero range has
//! S = 1, Z = 0; S is at least `f32::MIN_POSITIVE`.

mod conventions;
mod formula;

use core::fmt;

use bytemuck::{Pod, Zeroable};

use crate::codes::{Code, CodeRange};
use crate::error::{Error, check_length, elements_of};
use crate::isa::Isa;
use crate::matrix::ZeroPoints;
use crate::memory::PooledBuffer;
use crate::simd::{LANES, QUAD};
use formula::{Formula, Solve, at_least_normal};

/// A range of real numbers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Range {
    /// The smallest.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

// SAFETY: two floats, for which zeros are a valid value.
unsafe impl Zeroable for Range {}
// SAFETY: `repr(C)` with two fields of one size: no padding, and every bit pattern is a float.
unsafe impl Pod for Range {}

impl Range {
    /// −amax … amax.
    #[must_use]
    pub fn symmetric(amax: f32) -> Self {
        Range { min: -amax, max: amax }
    }

    /// The smallest range that contains both.
    pub(crate) fn union(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn check(self) -> Result<(), Error> {
        for end in [self.min, self.max] {
            if !end.is_finite() {
                return Err(Error::NonFinite { what: "the range", found: end });
            }
        }
        if self.min > self.max {
            return Err(Error::Range { min: self.min, max: self.max, why: "the minimum is above the maximum" });
        }
        Ok(())
    }
}

/// What numbers a scale may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ScaleKind {
    /// Any f32.
    Float,
    /// A power of two (a block exponent): rescaling is a shift, and no float operation is left.
    PowerOfTwo,
}

/// What integers a zero point may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum OffsetKind {
    /// Any code: asymmetric quantization.
    Integer,
    /// Zero: symmetric quantization.
    Zero,
}

/// How numbers between two codes are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum RoundingKind {
    /// To the nearest, ties to even: [`quantize`](crate::quantize()). The smallest error, the same every time.
    Nearest,
    /// Up with the probability of the fraction: [`quantize_stochastic`](crate::quantize_stochastic()). No bias.
    Stochastic,
}

/// A type of quantization, one of eight: what its scale and its zero point may be, and which rounding they make room for.
///
/// ```
/// use zeropoint::{CodeRange, Range, Scheme};
/// let (scale, zero_point) = Scheme::ASYMMETRIC.parameters(CodeRange::unsigned(8)?, Range { min: -2.1104, max: 1.5283 })?;
/// assert_eq!((scale, zero_point), (0.014269412, 148));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Scheme {
    /// Float or power-of-two scale.
    pub scale: ScaleKind,
    /// Integer or zero offset.
    pub offset: OffsetKind,
    /// Nearest or stochastic rounding.
    pub rounding: RoundingKind,
}

impl Scheme {
    /// Float scale, integer offset, nearest.
    pub const ASYMMETRIC: Scheme = Scheme::nearest(ScaleKind::Float, OffsetKind::Integer);
    /// Float scale, zero offset, nearest.
    pub const SYMMETRIC: Scheme = Scheme::nearest(ScaleKind::Float, OffsetKind::Zero);
    /// Power-of-two scale, integer offset, nearest.
    pub const SHIFT_ASYMMETRIC: Scheme = Scheme::nearest(ScaleKind::PowerOfTwo, OffsetKind::Integer);
    /// Power-of-two scale, zero offset, nearest.
    pub const SHIFT_SYMMETRIC: Scheme = Scheme::nearest(ScaleKind::PowerOfTwo, OffsetKind::Zero);
    /// All eight.
    pub const ALL: [Scheme; 8] = [
        Scheme::ASYMMETRIC,
        Scheme::SYMMETRIC,
        Scheme::SHIFT_ASYMMETRIC,
        Scheme::SHIFT_SYMMETRIC,
        Scheme::ASYMMETRIC.stochastic(),
        Scheme::SYMMETRIC.stochastic(),
        Scheme::SHIFT_ASYMMETRIC.stochastic(),
        Scheme::SHIFT_SYMMETRIC.stochastic(),
    ];

    const fn nearest(scale: ScaleKind, offset: OffsetKind) -> Self {
        Scheme { scale, offset, rounding: RoundingKind::Nearest }
    }

    /// The same with stochastic rounding.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Range, Scheme};
    /// let (codes, range) = (CodeRange::signed(8)?, Range { min: -2.1104, max: 1.5283 });
    /// // One step of headroom: 254 steps for the range instead of 255, and its middle on code 0.
    /// assert_eq!(Scheme::ASYMMETRIC.stochastic().parameters(codes, range)?, (0.014325591, 20));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    #[must_use]
    pub const fn stochastic(self) -> Self {
        Scheme { rounding: RoundingKind::Stochastic, ..self }
    }

    /// The scale and the zero point that represent a range in these codes: the table of this module.
    ///
    /// # Errors
    /// [`Error::NonFinite`] and [`Error::Range`] for a range that is not finite or empty, for a symmetric scheme of
    /// unsigned codes and a negative minimum, or when the scale would be above the largest f32 (2 bits, widest ranges).
    pub fn parameters<C: Code>(self, codes: CodeRange<C>, range: Range) -> Result<(f32, i32), Error> {
        range.check()?;
        let formula = Formula::new(self, codes);
        if formula.lacks(range) {
            let why = "unsigned codes with zero offset cannot represent negative numbers";
            return Err(Error::Range { min: range.min, max: range.max, why });
        }
        let (scale, zero_point) = formula.parameters(range);
        if scale == f32::INFINITY {
            let why = "its scale is above the largest f32";
            return Err(Error::Range { min: range.min, max: range.max, why });
        }
        Ok((at_least_normal(scale), zero_point))
    }
}

/// Which elements of a row-major tensor share a scale and a zero point: one description for every granularity.
///
/// ```
/// use zeropoint::Granularity;
/// let weights = [64, 3, 5, 5];
/// assert_eq!(Granularity::Tensor.groups(64 * 75)?, 1);
/// assert_eq!(Granularity::channel(&weights, 0)?.groups(64 * 75)?, 64);
/// // Blocks along the innermost axis; 300 = 9 blocks of 32 and a shorter one.
/// assert_eq!(Granularity::block(&[64, 300], 32)?.groups(64 * 300)?, 640);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Granularity {
    /// All of them.
    Tensor,
    /// Those with the same index on one axis: element `i` belongs to channel `i / inner % channels`. The axes before
    /// it may have any length.
    Channel {
        /// The length of the axis.
        channels: usize,
        /// The elements of one channel that lie together: the product of the lengths of the axes behind it.
        inner: usize,
    },
    /// Blocks of `length` elements along the innermost axis, counted row by row; the last of a row may be shorter.
    Block {
        /// The length of a block.
        length: usize,
        /// The length of the innermost axis.
        row: usize,
    },
}

impl Granularity {
    /// Per channel of an axis of a tensor of this shape: for a scale for every output, axis 0 of the weights of a linear
    /// layer, `[outputs, inputs]`, or a convolution, `[outputs, channels, height, width]`; axis 1 of those of a transposed
    /// convolution, `[inputs, outputs, height, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such axis or a length from it on is 0.
    pub fn channel(shape: &[usize], axis: usize) -> Result<Self, Error> {
        match shape.get(axis..) {
            None | Some([]) => Err(Error::Shape { why: "the shape has no such axis", found: axis }),
            Some([channels, inner @ ..]) => {
                Granularity::Channel { channels: *channels, inner: elements_of(inner) }.checked()
            }
        }
    }

    /// Per block of `length` elements along the innermost axis of a tensor of this shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length is 0 or there is no innermost axis.
    pub fn block(shape: &[usize], length: usize) -> Result<Self, Error> {
        match shape.last() {
            None => Err(Error::Shape { why: "the shape has no innermost axis", found: 0 }),
            Some(&row) => Granularity::Block { length, row }.checked(),
        }
    }

    /// Itself, if its axes and blocks have lengths.
    fn checked(self) -> Result<Self, Error> {
        match self {
            Granularity::Channel { channels: 0, .. }
            | Granularity::Channel { inner: 0, .. }
            | Granularity::Block { row: 0, .. } => Err(Error::Shape { why: "an axis has no length", found: 0 }),
            Granularity::Block { length: 0, .. } => Err(Error::Shape { why: "a block has no length", found: 0 }),
            valid => Ok(valid),
        }
    }

    /// How many scales every tensor has; with blocks as many as there are: as it has rows for, which its length will tell.
    fn groups_or(self, blocks: usize) -> usize {
        match self {
            Granularity::Tensor => 1,
            Granularity::Channel { channels, .. } => channels,
            Granularity::Block { .. } => blocks,
        }
    }

    /// How many scales a tensor of this many elements has.
    ///
    /// # Errors
    /// [`Error::Multiple`] when the elements are not a whole number of channel sets or rows; [`Error::Shape`] when an axis
    /// or a block has no length.
    pub fn groups(self, elements: usize) -> Result<usize, Error> {
        let (unit, groups) = match self.checked()? {
            Granularity::Tensor => return Ok(1),
            Granularity::Channel { channels, inner } => (channels.saturating_mul(inner), channels),
            Granularity::Block { length, row } => (row, elements / row * row.div_ceil(length)),
        };
        if elements.is_multiple_of(unit) {
            Ok(groups)
        } else {
            Err(Error::Multiple { what: "the tensor", unit, found: elements })
        }
    }

    /// The length of every group, if the first so many elements are group after group: none in several places, none shorter.
    pub(crate) fn even_length(self, elements: usize) -> Option<usize> {
        match self {
            Granularity::Channel { channels, inner } if elements <= channels.saturating_mul(inner) => Some(inner),
            Granularity::Block { length, row } if row.is_multiple_of(length) => Some(length),
            _ => None,
        }
    }

    /// The group of element `i`.
    ///
    /// # Panics
    /// When an axis or a block has no length, which [`groups`](Granularity::groups) tells.
    #[must_use]
    pub fn group_of(self, i: usize) -> usize {
        match self {
            Granularity::Tensor => 0,
            Granularity::Channel { channels, inner } => i / inner % channels,
            Granularity::Block { length, row } => i / row * row.div_ceil(length) + i % row / length,
        }
    }

    /// The elements from `start` on that share a group and lie together; with an `inner` of 1, those up to the last
    /// channel.
    pub(crate) fn run_length(self, start: usize, elements: usize) -> usize {
        match self {
            Granularity::Tensor => elements - start,
            // Where neighbours belong to different channels, a run is one round of channels.
            Granularity::Channel { channels, inner: 1 } => channels - start % channels,
            Granularity::Channel { inner, .. } => inner - start % inner,
            Granularity::Block { length, row } => (length - start % row % length).min(row - start % row),
        }
    }

    /// The pieces of elements `first .. first + count` of a tensor that share a group and lie together, in order; with an
    /// `inner` of 1, whole rounds of channels.
    #[inline(always)]
    pub(crate) fn runs(self, first: usize, count: usize) -> Runs {
        let (group, begun) = match self {
            Granularity::Tensor => (0, 0),
            Granularity::Channel { channels, inner: 1 } => (0, first % channels),
            Granularity::Channel { inner, .. } => (self.group_of(first), first % inner),
            Granularity::Block { length, row } => (self.group_of(first), first % row % length),
        };
        let row_left = if let Granularity::Block { row, .. } = self { row - first % row } else { 0 };
        Runs { granularity: self, group, begun, row_left, start: 0, count }
    }
}

/// See [`Granularity::runs`]. A short run takes no division.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    granularity: Granularity,
    group: usize,
    /// Elements of the next run that lie before the first.
    begun: usize,
    /// Elements up to the end of the row.
    row_left: usize,
    start: usize,
    count: usize,
}

/// Elements `start .. end` of those that were asked for, and their group, or the first one's.
pub(crate) struct Run {
    pub group: usize,
    pub start: usize,
    pub end: usize,
}

impl Iterator for Runs {
    type Item = Run;

    #[inline(always)]
    fn next(&mut self) -> Option<Run> {
        let left = self.count - self.start;
        if left == 0 {
            return None;
        }
        let (length, group) = match self.granularity {
            Granularity::Tensor => (left, self.group),
            Granularity::Channel { channels, inner: 1 } => (channels - self.begun, self.begun),
            Granularity::Channel { inner, .. } => (inner - self.begun, self.group),
            Granularity::Block { length, .. } => (self.row_left.min(length - self.begun), self.group),
        };
        match self.granularity {
            Granularity::Tensor | Granularity::Channel { inner: 1, .. } => {}
            Granularity::Channel { channels, .. } => self.group = if group + 1 < channels { group + 1 } else { 0 },
            Granularity::Block { row, .. } => {
                self.group = group + 1;
                self.row_left = if length < self.row_left { self.row_left - length } else { row };
            }
        }
        let (start, end) = (self.start, self.start + length.min(left));
        (self.start, self.begun) = (end, 0);
        Some(Run { group, start, end })
    }
}

/// The parameters of a quantized tensor: codes, granularity, and a scale and a zero point for every group.
///
/// ```
/// use zeropoint::{CodeRange, Granularity, QuantParams, Scheme, Isa, quantize, ranges};
/// let isa = Isa::best()?;
/// let weights = [0.5_f32, -1.0, 0.25, 8.0, -4.0, 2.0];
/// let per_row = Granularity::channel(&[2, 3], 0)?;
/// let ranges = ranges(isa, &weights, per_row)?;
/// let params = QuantParams::from_ranges(CodeRange::narrow(8)?, Scheme::SYMMETRIC, per_row, &ranges)?;
/// let mut codes = [0_i8; 6];
/// quantize(isa, &weights, &params, &mut codes)?;
/// assert_eq!(codes, [64, -127, 32, 127, -64, 32]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone)]
pub struct QuantParams<C> {
    codes: CodeRange<C>,
    granularity: Granularity,
    groups: usize,
    period: usize,
    /// Scales, both parts of their reciprocals, then zero points: four arrays of one length, elements of one size.
    parameters: PooledBuffer,
    /// See [`QuantParams::zero_codes`].
    zero_codes: PooledBuffer,
    /// Whether all groups have the same zero point.
    one_zero_point: bool,
}

impl<C: PartialEq> PartialEq for QuantParams<C> {
    fn eq(&self, other: &Self) -> bool {
        self.codes == other.codes
            && self.granularity == other.granularity
            && self.scales() == other.scales()
            && self.zero_points() == other.zero_points()
    }
}

impl<C: fmt::Debug> fmt::Debug for QuantParams<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuantParams")
            .field("codes", &self.codes)
            .field("granularity", &self.granularity)
            .field("scales", &self.scales())
            .field("zero_points", &self.zero_points())
            .finish()
    }
}

/// What a group is quantized with, in arrays of one length that begin where lines do: vectors across two lines are read at
/// half the speed.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<'a> {
    pub scales: &'a [f32],
    /// The two parts of every [`reciprocal`].
    pub reciprocals: [&'a [f32]; 2],
    pub zero_points: &'a [i32],
}

/// The same to be written.
struct ParametersMut<'a> {
    scales: &'a mut [f32],
    reciprocals: [&'a mut [f32]; 2],
    zero_points: &'a mut [i32],
}

impl Parameters<'_> {
    /// Itself, said so that the compiler sees: one check of an index does for all.
    #[inline(always)]
    pub fn of_one_length(&self) -> Self {
        let Parameters { scales, reciprocals: [high, low], zero_points } = *self;
        let length = scales.len();
        let reciprocals = [&high[..length], &low[..length]];
        Parameters { scales, reciprocals, zero_points: &zero_points[..length] }
    }

    /// Those of so many groups from one on, some of which may follow the last one.
    #[inline(always)]
    pub fn slice(&self, group: usize, groups: usize) -> Self {
        let slice = group..group + groups;
        let Parameters { scales, reciprocals: [high, low], zero_points } = self.of_one_length();
        let reciprocals = [&high[slice.clone()], &low[slice.clone()]];
        Parameters { scales: &scales[slice.clone()], reciprocals, zero_points: &zero_points[slice] }
    }
}

/// A row that is worth what it takes to begin it: as long as one doubt is kept, and level 1 still holds its parameters.
const LONG_ROW: usize = 2048;

/// The length of arrays of parameters, with as many behind the period of channels as are loaded together; whole lines.
#[inline(always)]
fn padded(granularity: Granularity, period: usize) -> usize {
    let more = if let Granularity::Channel { inner: 1, .. } = granularity { QUAD * LANES } else { 0 };
    (period + more).max(1).next_multiple_of(LANES)
}

impl<C> QuantParams<C> {
    /// The groups; or if they are channels of neighbouring elements, a multiple of them that is a long enough row: behind the
    /// last channel, parameters begin again with the first.
    pub(crate) fn period(&self) -> usize {
        self.period
    }

    /// The length of arrays of parameters.
    #[inline(always)]
    fn padded(&self) -> usize {
        padded(self.granularity, self.period)
    }

    /// Whether all groups have the same zero point.
    pub(crate) fn has_one_zero_point(&self) -> bool {
        self.one_zero_point
    }

    /// All of it.
    #[inline(always)]
    pub(crate) fn parameters(&self) -> Parameters<'_> {
        let length = self.padded();
        let (scales, reciprocals) = self.parameters.as_slice(3 * length).split_at(length);
        let zero_points = &self.parameters.as_slice(4 * length)[3 * length..];
        Parameters { scales, reciprocals: reciprocals.split_at(length).into(), zero_points }
    }

    /// The scale of every group.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        self.parameters.as_slice(self.groups)
    }

    /// The zero point of every group.
    #[must_use]
    pub fn zero_points(&self) -> &[i32] {
        &self.parameters().zero_points[..self.groups]
    }
}

impl<C: Code> QuantParams<C> {
    /// Given scales and zero points, one of each for every group.
    ///
    /// # Errors
    /// [`Error::Length`] when they are not equally many (per tensor: one; per channel: one a channel), [`Error::Scale`],
    /// [`Error::ZeroPoint`].
    pub fn new(
        codes: CodeRange<C>,
        granularity: Granularity,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
    ) -> Result<Self, Error> {
        let groups = granularity.checked()?.groups_or(scales.len());
        check_length("scales", groups, scales.len())?;
        check_length("zero points", groups, zero_points.len())?;
        scales.iter().try_for_each(|&scale| check_scale(scale))?;
        zero_points.iter().try_for_each(|&zero_point| codes.check_zero_point(zero_point))?;
        let mut params = QuantParams::unfilled(codes, granularity, groups);
        let filled = params.parameters_mut();
        filled.scales.copy_from_slice(&scales);
        filled.zero_points.copy_from_slice(&zero_points);
        let [high, low] = filled.reciprocals;
        for ((&scale, high), low) in scales.iter().zip(high).zip(low) {
            [*high, *low] = reciprocal(scale);
        }
        params.finish();
        Ok(params)
    }

    /// Zero points of channels of neighbouring elements as codes, a quarter of the bytes to read; else none.
    #[inline(always)]
    pub(crate) fn zero_codes(&self) -> &[C] {
        let repeats = matches!(self.granularity, Granularity::Channel { inner: 1, .. });
        self.zero_codes.as_slice(if repeats { self.padded() } else { 0 })
    }

    /// Room for the parameters of so many groups.
    pub(crate) fn unfilled(codes: CodeRange<C>, granularity: Granularity, groups: usize) -> Self {
        let period = match granularity {
            Granularity::Channel { channels, inner: 1 } => channels * LONG_ROW.div_ceil(channels),
            _ => groups,
        };
        let (parameters, zero_codes) =
            (PooledBuffer::new::<f32>(4 * padded(granularity, period)), PooledBuffer::default());
        QuantParams { codes, granularity, groups, period, parameters, zero_codes, one_zero_point: false }
    }

    /// Those of the groups, to be written.
    fn parameters_mut(&mut self) -> ParametersMut<'_> {
        let (groups, length) = (self.groups, self.padded());
        let (floats, zero_points) = self.parameters.two_arrays([3 * length, length]);
        let (scales, reciprocals) = floats.split_at_mut(length);
        let (high, low) = reciprocals.split_at_mut(length);
        let reciprocals = [&mut high[..groups], &mut low[..groups]];
        let zero_points = &mut zero_points[..groups];
        ParametersMut { scales: &mut scales[..groups], reciprocals, zero_points }
    }

    /// Notes what follows from them, when they are written.
    pub(crate) fn finish(&mut self) {
        let zero_points = self.zero_points();
        let first = zero_points.first().copied().unwrap_or(0);
        self.one_zero_point = zero_points.iter().fold(0, |all, each| all | (each ^ first)) == 0;
        if let Granularity::Channel { inner: 1, .. } = self.granularity {
            let (groups, length) = (self.groups, self.padded());
            let parameters = self.parameters.elements::<i32>(4 * length);
            for parameters in parameters.chunks_exact_mut(length) {
                repeat(parameters, groups);
            }
            self.zero_codes = PooledBuffer::new::<C>(length);
            let zero_codes = self.zero_codes.elements::<C>(length);
            for (zero_point, code) in parameters[3 * length..].iter().zip(zero_codes) {
                *code = C::from_byte(*zero_point as u8);
            }
        }
    }

    /// One scale and one zero point for the whole tensor.
    ///
    /// # Errors
    /// [`Error::Scale`], [`Error::ZeroPoint`].
    pub fn per_tensor(codes: CodeRange<C>, scale: f32, zero_point: i32) -> Result<Self, Error> {
        QuantParams::new(codes, Granularity::Tensor, vec![scale], vec![zero_point])
    }

    /// What a scheme makes of the range of every group.
    ///
    /// # Errors
    /// As [`Scheme::parameters`] and [`QuantParams::new`].
    pub fn from_ranges(
        codes: CodeRange<C>,
        scheme: Scheme,
        granularity: Granularity,
        ranges: &[Range],
    ) -> Result<Self, Error> {
        let groups = granularity.checked()?.groups_or(ranges.len());
        check_length("scales", groups, ranges.len())?;
        let mut params = QuantParams::unfilled(codes, granularity, groups);
        params.fill(Isa::scalar(), scheme, ranges)?;
        Ok(params)
    }

    /// Fills in those of the ranges of all groups.
    pub(crate) fn fill(&mut self, isa: Isa, scheme: Scheme, ranges: &[Range]) -> Result<(), Error> {
        if !self.solve(isa, scheme, 0, ranges) {
            for &range in ranges {
                scheme.parameters(self.codes, range)?;
            }
            unreachable!("one range has no parameters");
        }
        self.finish();
        Ok(())
    }

    /// Writes the parameters of the ranges of some groups, from one on. Whether all have some: infinity and NaN have none.
    pub(crate) fn solve(&mut self, isa: Isa, scheme: Scheme, first: usize, ranges: &[Range]) -> bool {
        let formula = Formula::new(scheme, self.codes);
        let groups = first..first + ranges.len();
        let ParametersMut { scales, reciprocals: [high, low], zero_points } = self.parameters_mut();
        let reciprocals = [&mut high[groups.clone()], &mut low[groups.clone()]];
        let (scales, zero_points) = (&mut scales[groups.clone()], &mut zero_points[groups]);
        isa.run(Solve { formula, ranges, parameters: ParametersMut { scales, reciprocals, zero_points } })
    }

    /// The codes.
    #[must_use]
    pub fn codes(&self) -> CodeRange<C> {
        self.codes
    }

    /// Which elements share a scale.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// `Ok` when a tensor of this many elements has these groups.
    pub(crate) fn check_elements(&self, elements: usize) -> Result<(), Error> {
        let groups = self.granularity.groups(elements)?;
        check_length("scales", groups, self.groups)
    }
}

/// Those of the rows or columns of an operand that was quantized by tensor, or by row or column.
///
/// ```
/// use zeropoint::{CodeRange, Granularity, QuantParams, ZeroPoints};
/// let codes = CodeRange::unsigned(8)?;
/// let whole = QuantParams::per_tensor(codes, 0.5, 10)?;
/// assert_eq!(ZeroPoints::from(&whole), ZeroPoints::Uniform(10));
/// let rows = QuantParams::new(codes, Granularity::channel(&[2, 3], 0)?, vec![0.5, 0.25], vec![10, 20])?;
/// assert_eq!(ZeroPoints::from(&rows), ZeroPoints::Each(&[10, 20]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
impl<'a, C: Code> From<&'a QuantParams<C>> for ZeroPoints<'a> {
    fn from(params: &'a QuantParams<C>) -> Self {
        match params.granularity {
            Granularity::Tensor => params.zero_points()[0].into(),
            Granularity::Channel { .. } | Granularity::Block { .. } => params.zero_points().into(),
        }
    }
}

/// 1 / S in two parts, h just below it and l the rest, such that for every x
///
/// ```text
/// v′ = RN(x · h + RN(x · l))      rounds to the same integer as      v = RN(x / S)
/// ```
///
/// or both to integers beyond ±255; h is NaN where that is not sure, and so is v′ then.
///
/// Proof. h is up to 1½ units in its last place below 1 / S, and l = RN(1 − S · h) · RN(1 / S) is rounded three times, so with
/// x · l rounded y′ = x · h + RN(x · l) is x / S · (1 + ε) with |ε| < 1½ · 2⁻²³ · 4 · 2⁻²⁴ < 2⁻⁴⁴ for finite numbers. v and v′ can only
/// be different if some midpoint m of two neighbouring f32 lies between x / S and y′, and they only round to different integers
/// if m is a neighbour of a half-integer, (2k + 1) / 2. With integers X < 2²⁴, 2²³ ≤ s < 2²⁴ and M = (2k + 1) · 2ᵗ ± 1 < 2²⁵ in
/// place of x, S and m, both sides scaled by powers of two, that means |X · 2ʲ − M · s| < 2⁴⁹ · 2⁻⁴⁴ = 32 with j ≥ 23. For
/// 2k + 1 < 2⁹, t is 16 at least, so modulo 2¹⁶ all that is left of the difference is ±s: s would have to be within 32 of a
/// multiple of 2¹⁶. If it is not, there is no such x. And if s is such a multiple there is none either: the difference is one of
/// 32 as well, and 0 it cannot be, since the odd M · s / 2ⁿ ≥ 2²⁴ is not X. Infinity stays infinity, as no part is negative, and
/// NaN stays NaN. Scales within 2^±64 keep whatever matters here away from subnormal numbers.
#[inline(always)]
fn reciprocal(scale: f32) -> [f32; 2] {
    const LARGEST: f32 = (1_u128 << 64) as f32;
    // How far the last sixteen bits are from a multiple of 2¹⁶: 0, or 32 at least. (As i16, lanes would have two lengths.)
    let distance = ((scale.to_bits() << 16).cast_signed() >> 16).unsigned_abs();
    let sure = (distance.wrapping_sub(1) >= 31) & (1.0 / LARGEST..=LARGEST).contains(&scale);
    let nearest = 1.0 / scale;
    let high = f32::from_bits(nearest.to_bits().wrapping_sub(1));
    // (Exact in f64.)
    let rest = (1.0 - f64::from(scale) * f64::from(high)) as f32;
    let low = rest * nearest;
    // All bits are a NaN. (Of a choice between two numbers for each, the compiler makes vectors of pairs.)
    let nan = u32::from(sure).wrapping_sub(1);
    [f32::from_bits(high.to_bits() | nan), f32::from_bits(low.to_bits() | nan)]
}

/// Repeats the first elements, so many, up to the end.
fn repeat(x: &mut [i32], period: usize) {
    let mut length = period;
    while length < x.len() {
        let more = length.min(x.len() - length);
        x.copy_within(..more, length);
        length += more;
    }
}

pub(crate) fn check_scale(scale: f32) -> Result<(), Error> {
    if scale.is_finite() && scale >= f32::MIN_POSITIVE { Ok(()) } else { Err(Error::Scale { scale }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the proof of [`reciprocal`] takes its parts to be, for every mantissa.
    #[test]
    fn every_reciprocal() {
        let mut sure = 0;
        for mantissa in 0..1 << 23 {
            let scale = f32::from_bits(1.0_f32.to_bits() | mantissa);
            let [high, low] = reciprocal(scale);
            assert_eq!(high.is_nan(), low.is_nan());
            if high.is_nan() {
                continue;
            }
            sure += 1;
            // Products of two f32 are exact, and so is this difference.
            let rest = 1.0 - f64::from(scale) * f64::from(high);
            assert!(0.0 < rest && rest <= 1.5 / f64::from(1 << 23), "{scale:e}");
            let missing = (rest - f64::from(scale) * f64::from(low)).abs();
            assert!(missing <= 1.5 * 3.001 / (1_u64 << 47) as f64, "{scale:e}");
        }
        // All but 62 of 2¹⁶.
        assert_eq!(sure, (1 << 7) * ((1 << 16) - 62));
    }
}
