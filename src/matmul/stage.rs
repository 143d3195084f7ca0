//! Output stages: what becomes of an exact i32 accumulator.
//!
//! | stage | value, before `+ Z_out` and saturation to the activation bounds |
//! |---|---|
//! | [`Accumulators`] | the accumulator itself |
//! | [`Dequantize`] | `acc as f32 · (S_a · S_b) + bias`, every operation rounded once |
//! | [`Requantize`]`<_, `[`FloatMultiplier`]`>` | `RNE(clamp(acc as f32 · M))`, as ONNX, MLAS and FBGEMM do |
//! | [`RequantizeStochastic`] | the same product, rounded stochastically |
//! | [`Requantize`]`<_, `[`FixedPoint`]`>` | `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`: one rounding, halves up |
//! | [`Requantize`]`<_, `[`Gemmlowp`]`>` | gemmlowp's two roundings, for bit parity with TFLite |
//! | [`Requantize`]`<_, `[`Shift`]`>` | `RNE(acc · 2⁻ˢ)` in integers, for power-of-two scales |
//!
//! The last three use no float operation. Their 64-bit formulas run in 32-bit lanes because an accumulator beyond the
//! `limit` of its column saturates any 8-bit code anyway: clamping it there first changes no result.

use core::ops::RangeInclusive;

use super::columns::Columns;
use super::multiplier::{accept, check_scales, quantize_multipliers};
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::random::Stream;
use crate::simd::{LANES, Simd};

/// An output stage of [`matmul`](crate::matmul()): how accumulators become elements of the result.
///
/// Implemented by the stages of this module only.
pub trait Stage: Sync + sealed::Sealed {
    /// What the result consists of.
    type Element: Copy + Default + Send + Sync;

    /// Whether the accumulators, i32, are the elements.
    #[doc(hidden)]
    const RAW: bool = false;
    /// Whether elements use random words.
    #[doc(hidden)]
    const STOCHASTIC: bool = false;
    /// What sixteen columns need.
    #[doc(hidden)]
    type Parameters<V: Simd>: Copy;

    #[doc(hidden)]
    fn check(&self, rows: usize, columns: usize) -> Result<(), Error>;
    /// Where the random words come from, for stages that use them.
    #[doc(hidden)]
    fn stream(&self) -> Option<Stream> {
        None
    }
    #[doc(hidden)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> Self::Parameters<V>;
    #[doc(hidden)]
    fn emit<V: Simd>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        row: usize,
        acc: V::I32,
        words: V::I32,
        out: &mut [Self::Element; LANES],
    );

    /// Emits at most sixteen elements: as many as `out` has.
    #[doc(hidden)]
    #[inline(always)]
    fn emit_some<V: Simd>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        row: usize,
        acc: V::I32,
        words: V::I32,
        out: &mut [Self::Element],
    ) {
        if let Some(out) = out.first_chunk_mut() {
            self.emit(simd, parameters, row, acc, words, out);
        } else {
            let mut padded = [Self::Element::default(); LANES];
            self.emit(simd, parameters, row, acc, words, &mut padded);
            out.copy_from_slice(&padded[..out.len()]);
        }
    }
}

/// How [`Requantize`] multiplies: [`FloatMultiplier`], [`FixedPoint`], [`Gemmlowp`] or [`Shift`].
pub trait Multiplier: Sync + sealed::Sealed {
    #[doc(hidden)]
    fn check(&self, columns: usize) -> Result<(), Error>;
    /// What sixteen columns need.
    #[doc(hidden)]
    type Parameters<V: Simd>: Copy;
    #[doc(hidden)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> Self::Parameters<V>;
    /// The product for sixteen columns, rounded and clamped to `min` and `max`.
    #[doc(hidden)]
    fn apply<V: Simd>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        acc: V::I32,
        min: V::I32,
        max: V::I32,
    ) -> V::I32;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Accumulators {}
    impl Sealed for super::DequantizeRows<'_> {}
    impl<C, M> Sealed for super::Requantize<C, M> {}
    impl<C> Sealed for super::RequantizeStochastic<'_, C> {}
    impl Sealed for super::FloatMultiplier {}
    impl Sealed for super::FixedPoint {}
    impl Sealed for super::Gemmlowp {}
    impl Sealed for super::Shift {}
}

/// The accumulators themselves, as i32.
#[derive(Clone, Copy, Debug)]
pub struct Accumulators;

impl Stage for Accumulators {
    type Element = i32;
    const RAW: bool = true;
    type Parameters<V: Simd> = ();

    fn check(&self, _: usize, _: usize) -> Result<(), Error> {
        Ok(())
    }

    #[inline(always)]
    fn parameters<V: Simd>(&self, _: V, _: usize) {}

    #[inline(always)]
    fn emit<V: Simd>(&self, simd: V, (): &(), _: usize, acc: V::I32, _: V::I32, out: &mut [i32; LANES]) {
        simd.store_i32(acc, out);
    }
}

/// The weights' half of a float result: their scales and a float bias. [`rows`](Dequantize::rows) adds the
/// activations' scales, which may differ from call to call, and makes it a [`Stage`].
#[derive(Clone, Debug)]
pub struct Dequantize {
    scales: Columns<f32>,
    largest_scale: f32,
    bias: Columns<f32>,
}

impl Dequantize {
    /// `weight_scales`: one, or one for every column; `bias`: one for every column.
    ///
    /// # Errors
    /// [`Error::Scale`]; [`Error::NonFinite`] in the bias; [`Error::Empty`] without scales.
    pub fn new(weight_scales: &[f32], bias: Option<&[f32]>) -> Result<Self, Error> {
        check_scales(weight_scales)?;
        if let Some(&found) = bias.unwrap_or_default().iter().find(|bias| !bias.is_finite()) {
            return Err(Error::NonFinite { what: "the bias", found });
        }
        let bias = match bias {
            Some(bias) => Columns::each(bias.iter().copied()),
            // Adding it changes no float.
            None => Columns::broadcast([-0.0]),
        };
        let largest_scale = weight_scales.iter().copied().fold(0.0, f32::max);
        Ok(Dequantize { scales: Columns::broadcast(weight_scales.iter().copied()), largest_scale, bias })
    }

    /// The stage for activations of these scales: one, or one for every row of the result (in a convolution, for every
    /// output pixel).
    ///
    /// # Errors
    /// [`Error::Scale`], also for a product of scales beyond every f32; [`Error::Empty`] without scales.
    pub fn rows<'a>(&'a self, activation_scales: &'a [f32]) -> Result<DequantizeRows<'a>, Error> {
        check_scales(activation_scales)?;
        let scale = activation_scales.iter().copied().fold(0.0, f32::max) * self.largest_scale;
        if scale.is_infinite() {
            return Err(Error::Scale { scale });
        }
        Ok(DequantizeRows { columns: self, scales: activation_scales })
    }
}

/// Float results: `acc as f32 · (S_a · S_b) + bias`. Made by [`Dequantize::rows`].
#[derive(Clone, Copy, Debug)]
pub struct DequantizeRows<'a> {
    columns: &'a Dequantize,
    scales: &'a [f32],
}

impl Stage for DequantizeRows<'_> {
    type Element = f32;
    /// Scales, those of a single row's activations among them, and the bias.
    type Parameters<V: Simd> = (V::F32, V::F32);

    fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        if self.scales.len() != 1 {
            check_length("activation scales", rows, self.scales.len())?;
        }
        self.columns.scales.check("weight scales", columns)?;
        self.columns.bias.check("the bias", columns)
    }

    #[inline(always)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> (V::F32, V::F32) {
        let scales = simd.load_f32(self.columns.scales.at(column));
        let scales = if let &[one] = self.scales { simd.mul_f32(simd.splat_f32(one), scales) } else { scales };
        (scales, simd.load_f32(self.columns.bias.at(column)))
    }

    #[inline(always)]
    fn emit<V: Simd>(
        &self,
        simd: V,
        &(scales, bias): &(V::F32, V::F32),
        row: usize,
        acc: V::I32,
        _: V::I32,
        out: &mut [f32; LANES],
    ) {
        let scales = match self.scales {
            [_] => scales,
            each => simd.mul_f32(simd.splat_f32(each[row]), scales),
        };
        simd.store_f32(simd.add_f32(simd.mul_f32(simd.to_f32(acc), scales), bias), out);
    }
}

/// Codes again: multiplied, rounded, `+ Z_out`, and saturated to the activation bounds (a ReLU is a bound at Z_out).
///
/// ```
/// use zeropoint::{FixedPoint, Requantize};
/// // S_a · S_b / S_out = 0.25 for every column; zero point 3; all codes but the largest.
/// let stage = Requantize::new(FixedPoint::new(&[0.25])?, 3, 0_u8..=254)?;
/// # let _ = stage;
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Requantize<C, M> {
    multiplier: M,
    zero_point: i32,
    bounds: (C, C),
}

impl<C: Code, M: Multiplier> Requantize<C, M> {
    /// A stage with this multiplier, zero point and activation bounds.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`] outside the type; [`Error::Bounds`] when they are empty.
    pub fn new(multiplier: M, zero_point: i32, bounds: RangeInclusive<C>) -> Result<Self, Error> {
        let (min, max) = (*bounds.start(), *bounds.end());
        let (code_min, code_max) = (C::MIN.into(), C::MAX.into());
        if !(code_min..=code_max).contains(&zero_point) {
            return Err(Error::ZeroPoint { zero_point, min: code_min, max: code_max });
        }
        if min > max {
            return Err(Error::Bounds { min: min.into(), max: max.into() });
        }
        Ok(Requantize { multiplier, zero_point, bounds: (min, max) })
    }

    /// With a ReLU: no result below the zero point, which stands for 0 (unless the bounds end before it).
    ///
    /// ```
    /// use zeropoint::{FixedPoint, Requantize};
    /// let stage = Requantize::new(FixedPoint::new(&[0.25])?, 3, 0_u8..=255)?.relu(); // the bounds are 3..=255
    /// # let _ = stage;
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    #[must_use]
    pub fn relu(mut self) -> Self {
        let zero = C::try_from(self.zero_point).ok().expect("checked by `new`");
        self.bounds.0 = self.bounds.0.max(zero).min(self.bounds.1);
        self
    }
}

/// What a stage that makes codes needs for sixteen columns.
#[derive(Clone, Copy)]
#[doc(hidden)]
pub struct RequantizeParameters<V: Simd, P: Copy> {
    multiplier: P,
    /// The bounds less the zero point.
    min: V::I32,
    max: V::I32,
    zero_point: V::I32,
}

impl<C: Code, M: Multiplier> Stage for Requantize<C, M> {
    type Element = C;
    type Parameters<V: Simd> = RequantizeParameters<V, M::Parameters<V>>;

    fn check(&self, _: usize, columns: usize) -> Result<(), Error> {
        self.multiplier.check(columns)
    }

    #[inline(always)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        RequantizeParameters {
            multiplier: self.multiplier.parameters(simd, column),
            min: simd.splat_i32(self.bounds.0.into() - self.zero_point),
            max: simd.splat_i32(self.bounds.1.into() - self.zero_point),
            zero_point: simd.splat_i32(self.zero_point),
        }
    }

    #[inline(always)]
    fn emit<V: Simd>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        _: usize,
        acc: V::I32,
        _: V::I32,
        out: &mut [C; LANES],
    ) {
        let RequantizeParameters { multiplier, min, max, zero_point } = *parameters;
        let product = self.multiplier.apply(simd, &multiplier, acc, min, max);
        C::store(simd, simd.add_i32(product, zero_point), out);
    }
}

impl<C: Code> Requantize<C, FloatMultiplier> {
    /// With stochastic rounding: element (row, column) of a result of N columns takes the word
    /// `offset + row · N + column` of the stream, whatever is computed when and where. (For rows from r on, of a larger
    /// result, [`skip`](Stream::skip) `r · N` words.) Inside the bounds, the mean over many streams is `acc · M + Z`, so
    /// results that are stored and accumulated again and again in 8 bits do not drift.
    ///
    /// When the stream has fewer words than the result has elements, the operation that uses the stage returns
    /// [`Error::Stream`].
    ///
    /// ```
    /// use zeropoint::*;
    /// let isa = Isa::best()?;
    /// let (a, b) = ([5_u8; 4], [1_i8; 4]); // 4 × 1 and 1 × 4
    /// let packed = PackedMatrix::pack(isa, Matrix::new(&b, 1, 4)?, 0.into())?;
    /// let stage = Requantize::new(FloatMultiplier::new(&[0.25])?, 0, i8::MIN..=i8::MAX)?;
    /// let mut c = [0_i8; 16];
    /// matmul(Matrix::new(&a, 4, 1)?, 0.into(), &packed, &stage.stochastic(Stream::new(3)), MatrixMut::new(&mut c, 4, 4)?)?;
    /// assert_eq!(c, [1, 1, 1, 1, 1, 1, 2, 2, 1, 2, 1, 1, 1, 2, 1, 1]); // 1.25 on average
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    #[must_use]
    pub fn stochastic(&self, stream: Stream) -> RequantizeStochastic<'_, C> {
        RequantizeStochastic { stage: self, stream }
    }
}

/// Codes again, rounded stochastically: `f + [(w >> 8) as f32 < (v − f) · 2²⁴] + Z` for `v = clamp(acc as f32 · M)` and
/// f = floor(v). Made by [`Requantize::stochastic`].
#[derive(Clone, Copy, Debug)]
pub struct RequantizeStochastic<'a, C> {
    stage: &'a Requantize<C, FloatMultiplier>,
    stream: Stream,
}

impl<C: Code> Stage for RequantizeStochastic<'_, C> {
    type Element = C;
    const STOCHASTIC: bool = true;
    type Parameters<V: Simd> = RequantizeParameters<V, V::F32>;

    fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        self.stream.check(elements_of(&[rows, columns]))?;
        self.stage.multiplier.check(columns)
    }

    fn stream(&self) -> Option<Stream> {
        Some(self.stream)
    }

    #[inline(always)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        self.stage.parameters(simd, column)
    }

    #[inline(always)]
    fn emit<V: Simd>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        _: usize,
        acc: V::I32,
        words: V::I32,
        out: &mut [C; LANES],
    ) {
        let RequantizeParameters { multiplier, min, max, zero_point } = *parameters;
        let product = clamped_product(simd, multiplier, acc, min, max);
        C::store(simd, simd.add_i32(simd.round_stochastically(product, words), zero_point), out);
    }
}

/// Requantizes in f32: `RNE(clamp(acc as f32 · M))`.
#[derive(Clone, Debug)]
pub struct FloatMultiplier {
    multiplier: Columns<f32>,
}

impl FloatMultiplier {
    /// One real multiplier, or one for every column; each is rounded once to f32.
    ///
    /// # Errors
    /// [`Error::Multiplier`] when not finite or negative; [`Error::Empty`].
    pub fn new(multipliers: &[f64]) -> Result<Self, Error> {
        accept(multipliers, "not a finite f32 of at least 0", |m| m >= 0.0 && (m as f32).is_finite())?;
        Ok(FloatMultiplier { multiplier: Columns::broadcast(multipliers.iter().map(|&m| m as f32)) })
    }
}

/// `clamp(acc as f32 · M)`
#[inline(always)]
fn clamped_product<V: Simd>(simd: V, multiplier: V::F32, acc: V::I32, min: V::I32, max: V::I32) -> V::F32 {
    let product = simd.mul_f32(simd.to_f32(acc), multiplier);
    simd.min_f32(simd.max_f32(product, simd.to_f32(min)), simd.to_f32(max))
}

/// `min.max(a).min(max)`
#[inline(always)]
fn clamp<V: Simd>(simd: V, a: V::I32, min: V::I32, max: V::I32) -> V::I32 {
    simd.min_i32(simd.max_i32(a, min), max)
}

impl Multiplier for FloatMultiplier {
    fn check(&self, columns: usize) -> Result<(), Error> {
        self.multiplier.check("multipliers", columns)
    }

    type Parameters<V: Simd> = V::F32;

    #[inline(always)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> V::F32 {
        simd.load_f32(self.multiplier.at(column))
    }

    #[inline(always)]
    fn apply<V: Simd>(&self, simd: V, &multiplier: &V::F32, acc: V::I32, min: V::I32, max: V::I32) -> V::I32 {
        simd.round_to_i32(clamped_product(simd, multiplier, acc, min, max))
    }
}

/// `acc` clamped to `−limit … limit`. (No accumulator is −2³¹: the depth is checked.)
#[inline(always)]
fn clamp_to_limit<V: Simd>(simd: V, acc: V::I32, limit: V::I32) -> V::I32 {
    clamp(simd, acc, simd.sub_i32(simd.splat_i32(0), limit), limit)
}

/// Requantizes with one rounding of a 64-bit product: `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`, halves toward +∞.
#[derive(Clone, Debug)]
pub struct FixedPoint {
    limit: Columns<i32>,
    multiplier: Columns<i32>,
    shift: Columns<i32>,
}

impl FixedPoint {
    /// One real multiplier, or one for every column, each as [`quantize_multiplier`](crate::quantize_multiplier()) makes it.
    ///
    /// # Errors
    /// As [`quantize_multiplier`](crate::quantize_multiplier()); [`Error::Empty`].
    pub fn new(multipliers: &[f64]) -> Result<Self, Error> {
        let quantized = quantize_multipliers(multipliers)?;
        // The product is then at least 2²⁴, beyond every code, and below 2²⁴ + M, inside an i32.
        let limit = |&(multiplier, exponent): &(i32, i32)| match multiplier {
            0 => i32::MAX,
            _ => i32::try_from((1_u128 << (24 + 31 - exponent)).div_ceil(multiplier as u128)).unwrap_or(i32::MAX),
        };
        Ok(FixedPoint {
            limit: Columns::broadcast(quantized.iter().map(limit)),
            multiplier: Columns::broadcast(quantized.iter().map(|&(multiplier, _)| multiplier)),
            shift: Columns::broadcast(quantized.iter().map(|&(_, exponent)| 31 - exponent)),
        })
    }
}

impl Multiplier for FixedPoint {
    fn check(&self, columns: usize) -> Result<(), Error> {
        self.multiplier.check("multipliers", columns)
    }

    /// Limit, multiplier, shift.
    type Parameters<V: Simd> = [V::I32; 3];

    #[inline(always)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> [V::I32; 3] {
        load(simd, [&self.limit, &self.multiplier, &self.shift], column)
    }

    #[inline(always)]
    fn apply<V: Simd>(
        &self,
        simd: V,
        &[limit, multiplier, shift]: &[V::I32; 3],
        acc: V::I32,
        min: V::I32,
        max: V::I32,
    ) -> V::I32 {
        clamp(simd, simd.mul_shift_round(clamp_to_limit(simd, acc, limit), multiplier, shift), min, max)
    }
}

/// Sixteen columns of each. (`map` on an array would not always be inlined, and lose the features.)
#[inline(always)]
fn load<V: Simd, const N: usize>(simd: V, values: [&Columns<i32>; N], column: usize) -> [V::I32; N] {
    let mut loaded = [simd.splat_i32(0); N];
    for (loaded, values) in loaded.iter_mut().zip(values) {
        *loaded = simd.load_i32(values.at(column));
    }
    loaded
}

/// The constants of a rounding right shift by 0…31, to a result between bounds: `x + offset + tie >> shift` for an x that is
/// clamped to the bounds, shifted left, before. Where that would not fit an i32,
/// `(x >> shift) + ((x & mask) + offset + tie >> shift)`: the remainder, the offset (about half a unit) and the tie fit 32
/// unsigned bits.
#[derive(Clone, Debug)]
struct RoundingShift {
    /// Whether any code, shifted left, and half a unit fit an i32 in all columns.
    narrow: bool,
    shift: Columns<i32>,
    mask: Columns<i32>,
    offset: Columns<i32>,
    tie: Columns<i32>,
}

impl RoundingShift {
    /// `offset` and `tie` are made from half a unit (0 when there is no shift) and a flag: is there a shift?
    fn new(
        shifts: impl Iterator<Item = i32> + Clone,
        offset: impl Fn(i32, i32) -> i32,
        tie: impl Fn(i32) -> i32,
    ) -> Self {
        let any = |shift: i32| i32::from(shift > 0);
        Self {
            narrow: shifts.clone().all(|shift| shift <= 23),
            shift: Columns::broadcast(shifts.clone()),
            mask: Columns::broadcast(shifts.clone().map(|shift| ((1_u32 << shift) - 1) as i32)),
            offset: Columns::broadcast(shifts.clone().map(|shift| offset((1_u32 << shift >> 1) as i32, any(shift)))),
            tie: Columns::broadcast(shifts.map(|shift| tie(any(shift)))),
        }
    }

    /// Shift, mask, offset and tie of sixteen columns, and a unit.
    #[inline(always)]
    fn load<V: Simd>(&self, simd: V, column: usize) -> [V::I32; 5] {
        let [shift, mask, offset, tie] = load(simd, [&self.shift, &self.mask, &self.offset, &self.tie], column);
        [shift, mask, offset, tie, simd.add_i32(mask, simd.splat_i32(1))]
    }
}

impl RoundingShift {
    /// x, shifted and clamped to `min … max`; `select(x, x >> shift)` decides, with the tie of this column, what is added
    /// to the offset. (What it sees of an x that is clamped is of no importance.)
    #[inline(always)]
    fn apply<V: Simd>(
        &self,
        simd: V,
        [shift, mask, offset, tie, unit]: [V::I32; 5],
        x: V::I32,
        [min, max]: [V::I32; 2],
        select: impl Fn(V::I32, V::I32) -> V::I32,
    ) -> V::I32 {
        if self.narrow {
            let x = clamp(simd, x, simd.mul_i32(min, unit), simd.mul_i32(max, unit));
            let tie = simd.and_i32(select(x, simd.shift_right(x, shift)), tie);
            return simd.shift_right(simd.add_i32(simd.add_i32(x, offset), tie), shift);
        }
        let quotient = simd.shift_right(x, shift);
        let tie = simd.and_i32(select(x, quotient), tie);
        let sum = simd.add_i32(simd.and_i32(x, mask), simd.add_i32(offset, tie));
        clamp(simd, simd.add_i32(quotient, simd.shift_right_logical(sum, shift)), min, max)
    }
}

/// Requantizes as gemmlowp does, with two roundings: a saturating rounding doubling high product with M₀, then a
/// rounding division by a power of two, halves away from zero. TFLite's bits.
#[derive(Clone, Debug)]
pub struct Gemmlowp {
    limit: Columns<i32>,
    /// If any column has one.
    left: Option<Columns<i32>>,
    multiplier: Columns<i32>,
    right: RoundingShift,
}

impl Gemmlowp {
    /// One real multiplier, or one for every column, each as [`quantize_multiplier`](crate::quantize_multiplier()) makes it.
    ///
    /// # Errors
    /// As [`quantize_multiplier`](crate::quantize_multiplier()); [`Error::Empty`].
    pub fn new(multipliers: &[f64]) -> Result<Self, Error> {
        let quantized = quantize_multipliers(multipliers)?;
        let left = quantized.iter().map(|&(_, exponent)| exponent.max(0));
        let right = quantized.iter().map(|&(_, exponent)| (-exponent).max(0));
        Ok(Gemmlowp {
            limit: Columns::broadcast(left.clone().map(|left| i32::MAX >> left)),
            left: left.clone().any(|left| left > 0).then(|| Columns::broadcast(left.map(|left| 1 << left))),
            multiplier: Columns::broadcast(quantized.iter().map(|&(multiplier, _)| multiplier)),
            right: RoundingShift::new(right, |half, _| half, |any| -any),
        })
    }
}

impl Multiplier for Gemmlowp {
    fn check(&self, columns: usize) -> Result<(), Error> {
        self.multiplier.check("multipliers", columns)
    }

    /// Limit and multiplier; the left factor; the right shift.
    type Parameters<V: Simd> = ([V::I32; 2], Option<V::I32>, [V::I32; 5]);

    #[inline(always)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        let left = self.left.as_ref().map(
            #[inline(always)]
            |left| simd.load_i32(left.at(column)),
        );
        (load(simd, [&self.limit, &self.multiplier], column), left, self.right.load(simd, column))
    }

    #[inline(always)]
    fn apply<V: Simd>(
        &self,
        simd: V,
        &([limit, multiplier], left, right): &Self::Parameters<V>,
        acc: V::I32,
        min: V::I32,
        max: V::I32,
    ) -> V::I32 {
        let acc = clamp_to_limit(simd, acc, limit);
        let acc = match left {
            Some(left) => simd.mul_i32(acc, left),
            None => acc,
        };
        let high = simd.mul_shift_round(acc, multiplier, simd.splat_i32(31));
        self.right.apply(
            simd,
            right,
            high,
            [min, max],
            // A tie goes up, or down where the number is negative.
            #[inline(always)]
            |high, _| simd.shift_right(high, simd.splat_i32(31)),
        )
    }
}

/// Requantizes in integers alone: `RNE(acc · 2⁻ˢ)`, for scales that are powers of two.
#[derive(Clone, Debug)]
pub struct Shift {
    shift: RoundingShift,
}

impl Shift {
    /// One real multiplier, or one for every column: 2⁻ˢ with s in 0…31.
    ///
    /// # Errors
    /// [`Error::Multiplier`] for any other number; [`Error::Empty`].
    pub fn new(multipliers: &[f64]) -> Result<Self, Error> {
        let shift = |m: f64| 1023 - (m.to_bits() >> 52) as i32;
        let is_shift = |m: f64| m.to_bits() & ((1 << 52) - 1) == 0 && m > 0.0 && (0..=31).contains(&shift(m));
        accept(multipliers, "not a power of two in 2⁻³¹ … 1", is_shift)?;
        let shifts = multipliers.iter().map(|&m| shift(m));
        Ok(Shift { shift: RoundingShift::new(shifts, |half, any| half - any, |any| any) })
    }
}

impl Multiplier for Shift {
    fn check(&self, columns: usize) -> Result<(), Error> {
        self.shift.shift.check("multipliers", columns)
    }

    type Parameters<V: Simd> = [V::I32; 5];

    #[inline(always)]
    fn parameters<V: Simd>(&self, simd: V, column: usize) -> [V::I32; 5] {
        self.shift.load(simd, column)
    }

    #[inline(always)]
    fn apply<V: Simd>(&self, simd: V, &shift: &[V::I32; 5], acc: V::I32, min: V::I32, max: V::I32) -> V::I32 {
        self.shift.apply(
            simd,
            shift,
            acc,
            [min, max],
            // A tie goes up where the quotient is odd.
            #[inline(always)]
            |_, quotient| quotient,
        )
    }
}
