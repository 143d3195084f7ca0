//! Requantizers without a float operation: fixed point, gemmlowp's, and shifts.
//!
//! All three products rise with the accumulator, and where the multiplier is below 1 none skips a code. So clamping the
//! accumulators to [`Limits`], between which their products lie inside the bounds, does for clamping the products, which
//! then fit what is shifted: the zero point becomes part of what is added before the shift. If not all columns allow
//! that (multipliers of ½ and more, or far too small for 8-bit codes), the product is made for any accumulator and clamped.

use super::{CodeLanes, Codes, Multiplier, clamp};
use crate::codes::Code;
use crate::error::Error;
use crate::kernel::Vectors;
use crate::matmul::columns::Columns;
use crate::matmul::multiplier::{accept, quantize_multipliers};

/// The least and the largest accumulator of every column whose products lie inside the bounds.
#[derive(Clone, Debug)]
struct Limits {
    lower: Columns<i32>,
    upper: Columns<i32>,
}

impl Limits {
    /// `least(column, product)` is the least accumulator with at least that product, of products that take every integer.
    /// Nothing when some column's products all lie on one side of the bounds.
    fn new<C: Code, T>(
        codes: &Codes<C>,
        columns: impl Iterator<Item = T>,
        least: impl Fn(&T, i64) -> i64,
    ) -> Option<Self> {
        let (min, max) = codes.product_bounds();
        let end = i64::from(i32::MAX);
        let limits = columns.map(|column| {
            let (lower, upper) = (least(&column, min.into()), least(&column, i64::from(max) + 1) - 1);
            (lower <= end && upper >= -end).then(|| (lower.max(-end) as i32, upper.min(end) as i32))
        });
        let (lower, upper): (Vec<i32>, Vec<i32>) = limits.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        Some(Limits { lower: Columns::broadcast(lower), upper: Columns::broadcast(upper) })
    }

    /// Whether none is beyond `most`.
    fn inside(&self, most: i32) -> bool {
        self.lower.iter().all(|lower| lower >= -most) && self.upper.iter().all(|upper| upper <= most)
    }
}

/// `acc` clamped to `−limit … limit`. (No accumulator is −2³¹: the depth is checked.)
#[inline(always)]
fn clamp_to_limit<V: Vectors>(simd: V, acc: V::I32, limit: V::I32) -> V::I32 {
    clamp(simd, acc, simd.sub_i32(simd.splat_i32(0), limit), limit)
}

/// Sixteen columns of each. (`map` on an array would not always be inlined, and lose the features.)
#[inline(always)]
fn load<V: Vectors, const N: usize>(simd: V, values: [&Columns<i32>; N], column: usize) -> [V::I32; N] {
    let mut loaded = [simd.splat_i32(0); N];
    for (loaded, values) in loaded.iter_mut().zip(values) {
        *loaded = simd.load_i32(values.at(column));
    }
    loaded
}

/// Requantizes with one rounding of a 64-bit product: `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`, halves toward +∞.
#[derive(Clone, Debug)]
pub struct FixedPoint {
    within: Option<Limits>,
    /// Where products, at least 2²⁴, are beyond every code, and below 2²⁴ + M, inside an i32.
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
        let limit = |&(multiplier, exponent): &(i32, i32)| match multiplier {
            0 => i32::MAX,
            _ => i32::try_from((1_u128 << (24 + 31 - exponent)).div_ceil(multiplier as u128)).unwrap_or(i32::MAX),
        };
        Ok(FixedPoint {
            within: None,
            limit: Columns::broadcast(quantized.iter().map(limit)),
            multiplier: Columns::broadcast(quantized.iter().map(|&(multiplier, _)| multiplier)),
            shift: Columns::broadcast(quantized.iter().map(|&(_, exponent)| 31 - exponent)),
        })
    }
}

/// The least `acc` with `acc · multiplier + 2ˢʰⁱᶠᵗ⁻¹ >> shift` of at least `product`.
fn least_of_fixed_point(multiplier: i32, shift: i32, product: i64) -> i64 {
    let (dividend, divisor) = ((product << shift) - (1 << shift >> 1), i64::from(multiplier));
    -(-dividend).div_euclid(divisor)
}

impl Multiplier for FixedPoint {
    fn check(&self, columns: usize) -> Result<(), Error> {
        self.multiplier.check("multipliers", columns)
    }

    fn prepare<C: Code>(&mut self, codes: &Codes<C>) {
        let columns = || self.multiplier.iter().zip(self.shift.iter());
        let fits = columns().all(|(multiplier, shift)| multiplier > 0 && (32..=54).contains(&shift));
        let least = |&(multiplier, shift): &(i32, i32), product| least_of_fixed_point(multiplier, shift, product);
        self.within = if fits { Limits::new(codes, columns(), least) } else { None };
    }

    /// Multiplier and shift; the limits, or one.
    type Parameters<V: Vectors> = ([V::I32; 2], [V::I32; 2]);

    #[inline(always)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        let limits = match &self.within {
            Some(Limits { lower, upper }) => [lower, upper],
            None => [&self.limit, &self.limit],
        };
        (load(simd, [&self.multiplier, &self.shift], column), load(simd, limits, column))
    }

    #[inline(always)]
    fn apply<C: Code, V: Vectors>(
        &self,
        simd: V,
        &([multiplier, shift], [lower, upper]): &Self::Parameters<V>,
        acc: V::I32,
        codes: &CodeLanes<V>,
    ) -> V::I32 {
        if self.within.is_none() {
            return codes.of(simd, simd.mul_shift_round(clamp_to_limit(simd, acc, upper), multiplier, shift));
        }
        let acc = clamp(simd, acc, lower, upper);
        let least = simd.splat_i32(C::MIN.into());
        let above = simd.mul_shift_round_add(acc, multiplier, shift, simd.sub_i32(codes.zero_point, least));
        simd.add_i32(above, least)
    }
}

/// The constants of a rounding right shift by 0…31: `x + offset + tie >> shift`. Where the sum would not fit an i32,
/// `(x >> shift) + ((x & mask) + offset + tie >> shift)`: the remainder, the offset (about half a unit) and the tie fit 32
/// unsigned bits.
#[derive(Clone, Debug)]
struct RoundingShift {
    shift: Columns<i32>,
    mask: Columns<i32>,
    offset: Columns<i32>,
    tie: Columns<i32>,
    /// The offset, and the zero point times a unit: for x whose result is a code.
    code_offset: Columns<i32>,
}

impl RoundingShift {
    /// `offset` and `tie` are made from half a unit (0 when there is no shift) and a flag: is there a shift?
    fn new(
        shifts: impl Iterator<Item = i32> + Clone,
        offset: impl Fn(i32, i32) -> i32,
        tie: impl Fn(i32) -> i32,
    ) -> Self {
        let any = |shift: i32| i32::from(shift > 0);
        let offset = Columns::broadcast(shifts.clone().map(|shift| offset((1_u32 << shift >> 1) as i32, any(shift))));
        Self {
            shift: Columns::broadcast(shifts.clone()),
            mask: Columns::broadcast(shifts.clone().map(|shift| ((1_u32 << shift) - 1) as i32)),
            code_offset: offset.clone(),
            offset,
            tie: Columns::broadcast(shifts.map(|shift| tie(any(shift)))),
        }
    }

    /// Whether codes, shifted left again, fit an i32.
    fn holds_codes(&self) -> bool {
        self.shift.iter().all(|shift| shift <= 22)
    }

    /// For codes that the shift makes with this zero point.
    fn prepare(&mut self, zero_point: i32) {
        let offset = |(offset, shift): (i32, i32)| offset.wrapping_add(zero_point.wrapping_shl(shift as u32));
        self.code_offset = Columns::broadcast(self.offset.iter().zip(self.shift.iter()).map(offset));
    }

    #[inline(always)]
    fn load<V: Vectors>(&self, simd: V, column: usize) -> ShiftLanes<V> {
        let columns = [&self.shift, &self.mask, &self.offset, &self.tie, &self.code_offset];
        let [shift, mask, offset, tie, code_offset] = load(simd, columns, column);
        ShiftLanes { shift, mask, offset, tie, code_offset }
    }
}

/// A [`RoundingShift`] for sixteen columns.
#[derive(Clone, Copy)]
#[doc(hidden)]
pub struct ShiftLanes<V: Vectors> {
    shift: V::I32,
    mask: V::I32,
    offset: V::I32,
    tie: V::I32,
    code_offset: V::I32,
}

impl<V: Vectors> ShiftLanes<V> {
    /// `x + offset + tie >> shift` for any x, with the tie where `select` has its bits.
    #[inline(always)]
    fn shift_any(&self, simd: V, x: V::I32, select: V::I32) -> V::I32 {
        let sum = simd.add_i32(simd.and_i32(x, self.mask), self.offset);
        let sum = simd.add_i32(sum, simd.and_i32(select, self.tie));
        simd.add_i32(simd.shift_right(x, self.shift), simd.shift_right_logical(sum, self.shift))
    }

    /// `sum + tie >> shift` for a sum, with the offset, that fits.
    #[inline(always)]
    fn shift_sum(&self, simd: V, sum: V::I32, select: V::I32) -> V::I32 {
        simd.shift_right(simd.add_i32(sum, simd.and_i32(select, self.tie)), self.shift)
    }
}

/// Requantizes as gemmlowp does, with two roundings: a saturating rounding doubling high product with M₀, then a
/// rounding division by a power of two, halves away from zero. TFLite's bits.
#[derive(Clone, Debug)]
pub struct Gemmlowp {
    within: Option<Limits>,
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
            within: None,
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

    fn prepare<C: Code>(&mut self, codes: &Codes<C>) {
        self.right.prepare(codes.zero_point - C::MIN.into());
        let columns = || self.multiplier.iter().zip(self.right.shift.iter());
        let fits = self.left.is_none() && self.right.holds_codes() && self.multiplier.iter().all(|m| m > 0);
        let least = |&(multiplier, shift): &(i32, i32), product: i64| {
            let half = 1_i64 << shift >> 1;
            // Of negative numbers, a tie is rounded down.
            let high = (product << shift) - half + i64::from(product <= 0 && half > 0);
            least_of_fixed_point(multiplier, 31, high)
        };
        // They are doubled.
        let doubled_fits = |limits: &Limits| limits.inside(i32::MAX >> 1);
        self.within = if fits { Limits::new(codes, columns(), least).filter(doubled_fits) } else { None };
    }

    /// The limits, or one, and the multiplier; the left factor; the right shift.
    type Parameters<V: Vectors> = ([V::I32; 3], Option<V::I32>, ShiftLanes<V>);

    #[inline(always)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        let left = self.left.as_ref().map(
            #[inline(always)]
            |left| simd.load_i32(left.at(column)),
        );
        let [lower, upper] = match &self.within {
            Some(Limits { lower, upper }) => [lower, upper],
            None => [&self.limit, &self.limit],
        };
        (load(simd, [lower, upper, &self.multiplier], column), left, self.right.load(simd, column))
    }

    #[inline(always)]
    fn apply<C: Code, V: Vectors>(
        &self,
        simd: V,
        &([lower, upper, multiplier], left, right): &Self::Parameters<V>,
        acc: V::I32,
        codes: &CodeLanes<V>,
    ) -> V::I32 {
        // A tie goes up, or down where the number is negative.
        let sign = simd.splat_i32(31);
        if self.within.is_none() {
            let acc = clamp_to_limit(simd, acc, upper);
            let acc = match left {
                Some(left) => simd.mul_i32(acc, left),
                None => acc,
            };
            let high = simd.mul_shift_round(acc, multiplier, simd.splat_i32(31));
            return codes.of(simd, right.shift_any(simd, high, simd.shift_right(high, sign)));
        }
        let acc = clamp(simd, acc, lower, upper);
        let doubled = simd.add_i32(acc, acc);
        // Where the high product of a negative accumulator is 0, the tie makes no difference.
        let sum = simd.mul_shift_round_add(doubled, multiplier, simd.splat_i32(32), right.code_offset);
        let above = right.shift_sum(simd, sum, simd.shift_right(acc, sign));
        simd.add_i32(above, simd.splat_i32(C::MIN.into()))
    }
}

/// Requantizes in integers alone: `RNE(acc · 2⁻ˢ)`, for scales that are powers of two.
#[derive(Clone, Debug)]
pub struct Shift {
    within: Option<Limits>,
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
        Ok(Shift { within: None, shift: RoundingShift::new(shifts, |half, any| half - any, |any| any) })
    }
}

impl Multiplier for Shift {
    fn check(&self, columns: usize) -> Result<(), Error> {
        self.shift.shift.check("multipliers", columns)
    }

    fn prepare<C: Code>(&mut self, codes: &Codes<C>) {
        self.shift.prepare(codes.zero_point);
        let least = |&shift: &i32, product: i64| {
            let half = 1_i64 << shift >> 1;
            // A tie below an odd number is rounded down.
            (product << shift) - half + i64::from(product & 1 == 1 && half > 0)
        };
        let shifts = self.shift.shift.iter();
        self.within = if self.shift.holds_codes() { Limits::new(codes, shifts, least) } else { None };
    }

    /// The limits, if they are used.
    type Parameters<V: Vectors> = (Option<[V::I32; 2]>, ShiftLanes<V>);

    #[inline(always)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> Self::Parameters<V> {
        let limits = self.within.as_ref().map(
            #[inline(always)]
            |Limits { lower, upper }| load(simd, [lower, upper], column),
        );
        (limits, self.shift.load(simd, column))
    }

    #[inline(always)]
    fn apply<C: Code, V: Vectors>(
        &self,
        simd: V,
        &(limits, shift): &Self::Parameters<V>,
        acc: V::I32,
        codes: &CodeLanes<V>,
    ) -> V::I32 {
        let Some([lower, upper]) = limits else {
            return codes.of(simd, shift.shift_any(simd, acc, simd.shift_right(acc, shift.shift)));
        };
        let acc = clamp(simd, acc, lower, upper);
        // A tie goes up where the quotient is odd.
        shift.shift_sum(simd, simd.add_i32(acc, shift.code_offset), simd.shift_right(acc, shift.shift))
    }
}
