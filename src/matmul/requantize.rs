//! Codes again: an accumulator times a real multiplier, rounded, `+ Z_out`, saturated to the activation bounds.
//!
//! | multiplier | product |
//! |---|---|
//! | [`FloatMultiplier`] | `RNE(acc as f32 · M)` |
//! | [`FixedPoint`] | `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)` |
//! | [`Gemmlowp`] | `(acc · M₀ + 2³⁰) >> 31`, then a rounding division by 2ˢ |
//! | [`Shift`] | `RNE(acc · 2⁻ˢ)` in integers |

mod integer;

use core::ops::RangeInclusive;

use super::columns::Columns;
use super::multiplier::accept;
use super::stage::Stage;
use crate::codes::Code;
use crate::error::{Error, elements_of};
use crate::kernel::Vectors;
use crate::random::stream::Stream;
use crate::simd::LANES;
pub use integer::{FixedPoint, Gemmlowp, Shift};

/// How [`Requantize`] multiplies: [`FloatMultiplier`], [`FixedPoint`], [`Gemmlowp`] or [`Shift`].
pub trait Multiplier: Sync + sealed::Sealed {
    #[doc(hidden)]
    fn check(&self, columns: usize) -> Result<(), Error>;
    /// Gets to know what the codes are, before it multiplies.
    #[doc(hidden)]
    fn prepare<C: Code>(&mut self, codes: &Codes<C>);
    /// What sixteen columns need.
    #[doc(hidden)]
    type Parameters<V: Vectors>: Copy;
    #[doc(hidden)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> Self::Parameters<V>;
    /// The codes of sixteen columns.
    #[doc(hidden)]
    fn apply<C: Code, V: Vectors>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        acc: V::I32,
        codes: &CodeLanes<V>,
    ) -> V::I32;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::FloatMultiplier {}
    impl Sealed for super::FixedPoint {}
    impl Sealed for super::Gemmlowp {}
    impl Sealed for super::Shift {}
}

/// The codes of a result.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Codes<C> {
    zero_point: i32,
    bounds: (C, C),
}

impl<C: Code> Codes<C> {
    /// The bounds less the zero point: those of products.
    fn product_bounds(&self) -> (i32, i32) {
        (self.bounds.0.into() - self.zero_point, self.bounds.1.into() - self.zero_point)
    }

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V) -> CodeLanes<V> {
        let (min, max) = self.product_bounds();
        CodeLanes { min: simd.splat_i32(min), max: simd.splat_i32(max), zero_point: simd.splat_i32(self.zero_point) }
    }
}

/// The same in lanes.
#[derive(Clone, Copy)]
#[doc(hidden)]
pub struct CodeLanes<V: Vectors> {
    /// The bounds less the zero point.
    min: V::I32,
    max: V::I32,
    zero_point: V::I32,
}

impl<V: Vectors> CodeLanes<V> {
    /// The codes of products.
    #[inline(always)]
    fn of(&self, simd: V, product: V::I32) -> V::I32 {
        simd.add_i32(clamp(simd, product, self.min, self.max), self.zero_point)
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
    codes: Codes<C>,
}

impl<C: Code, M: Multiplier> Requantize<C, M> {
    /// A stage with this multiplier, zero point and activation bounds.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`] outside the type; [`Error::Bounds`] when they are empty.
    pub fn new(mut multiplier: M, zero_point: i32, bounds: RangeInclusive<C>) -> Result<Self, Error> {
        let bounds = bounds.into_inner();
        let (code_min, code_max) = (C::MIN.into(), C::MAX.into());
        if !(code_min..=code_max).contains(&zero_point) {
            return Err(Error::ZeroPoint { zero_point, min: code_min, max: code_max });
        }
        if bounds.0 > bounds.1 {
            return Err(Error::Bounds { min: bounds.0.into(), max: bounds.1.into() });
        }
        let codes = Codes { zero_point, bounds };
        multiplier.prepare(&codes);
        Ok(Requantize { multiplier, codes })
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
        let Codes { zero_point, bounds: (min, max) } = self.codes;
        let zero = C::try_from(zero_point).ok().expect("checked by `new`");
        self.codes.bounds.0 = min.max(zero).min(max);
        self.multiplier.prepare(&self.codes);
        self
    }
}

impl<C: Code, M: Multiplier> Stage for Requantize<C, M> {
    type Element = C;
    type Parameters<V: Vectors> = (M::Parameters<V>, CodeLanes<V>);

    fn check(&self, _: usize, columns: usize) -> Result<(), Error> {
        self.multiplier.check(columns)
    }

    #[inline(always)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        (self.multiplier.parameters(simd, column), self.codes.lanes(simd))
    }

    #[inline(always)]
    fn emit<V: Vectors>(
        &self,
        simd: V,
        (multiplier, codes): &Self::Parameters<V>,
        _: usize,
        acc: V::I32,
        _: V::I32,
        out: &mut [C; LANES],
    ) {
        C::store(simd, self.multiplier.apply::<C, V>(simd, multiplier, acc, codes), out);
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
    type Parameters<V: Vectors> = (V::F32, CodeLanes<V>);

    fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        self.stream.check(elements_of(&[rows, columns]))?;
        self.stage.multiplier.check(columns)
    }

    fn stream(&self) -> Option<Stream> {
        Some(self.stream)
    }

    #[inline(always)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        self.stage.parameters(simd, column)
    }

    #[inline(always)]
    fn emit<V: Vectors>(
        &self,
        simd: V,
        (multiplier, codes): &Self::Parameters<V>,
        _: usize,
        acc: V::I32,
        words: V::I32,
        out: &mut [C; LANES],
    ) {
        let product = clamped_product(simd, *multiplier, acc, codes);
        C::store(simd, simd.add_i32(simd.round_stochastically(product, words), codes.zero_point), out);
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
fn clamped_product<V: Vectors>(simd: V, multiplier: V::F32, acc: V::I32, codes: &CodeLanes<V>) -> V::F32 {
    let product = simd.mul_f32(simd.to_f32(acc), multiplier);
    simd.min_f32(simd.max_f32(product, simd.to_f32(codes.min)), simd.to_f32(codes.max))
}

/// `min.max(a).min(max)`
#[inline(always)]
fn clamp<V: Vectors>(simd: V, a: V::I32, min: V::I32, max: V::I32) -> V::I32 {
    simd.min_i32(simd.max_i32(a, min), max)
}

impl Multiplier for FloatMultiplier {
    fn check(&self, columns: usize) -> Result<(), Error> {
        self.multiplier.check("multipliers", columns)
    }

    fn prepare<C: Code>(&mut self, _: &Codes<C>) {}

    type Parameters<V: Vectors> = V::F32;

    #[inline(always)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> V::F32 {
        simd.load_f32(self.multiplier.at(column))
    }

    #[inline(always)]
    fn apply<C: Code, V: Vectors>(&self, simd: V, &multiplier: &V::F32, acc: V::I32, codes: &CodeLanes<V>) -> V::I32 {
        simd.add_i32(simd.round_to_i32(clamped_product(simd, multiplier, acc, codes)), codes.zero_point)
    }
}
