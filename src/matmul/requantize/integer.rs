//! Requantizers without a float operation: fixed point with halves up or away from zero, gemmlowp's, and shifts.
//!
//! All products rise with the accumulator, and where the multiplier is below 1 none skips a code. So clamping the
//! accumulators to [`Limits`], between which their products lie inside the bounds, does for clamping the products, which
//! then fit what is shifted: the zero point becomes part of what is added before the shift. If not all columns allow
//! that (multipliers of ½ and more, or far too small for 8-bit codes), the product is made for any accumulator and clamped.

use super::codes::{CodeBounds, CodeLanes, clamp};
use crate::error::Error;
use crate::kernel::Vectors;
use crate::matmul::multiplier::{check_multipliers, quantize_multipliers};
use crate::matmul::per_column::PerColumn;

/// A requantizer in a kernel.
pub trait IntegerRule {
    /// What a vector of columns needs.
    type Lanes<V: Vectors>: Copy;
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V>;
    /// The codes of a vector of columns.
    fn apply<V: Vectors>(&self, simd: V, lanes: &Self::Lanes<V>, acc: V::I32, codes: &CodeLanes<V>) -> V::I32;
}

/// The least and the largest accumulator of every column whose products lie inside the bounds.
#[derive(Clone, Debug)]
struct Limits {
    lower: PerColumn<i32>,
    upper: PerColumn<i32>,
}

impl Limits {
    /// `least(column, product)` is the least accumulator with at least that product, of products that take every integer.
    /// `None` when all products of some column are on one side of the bounds.
    fn new(codes: &CodeBounds, columns: usize, least: &dyn Fn(usize, i64) -> i64) -> Option<Self> {
        let (min, max) = codes.product_bounds();
        let end = i64::from(i32::MAX);
        let (mut lowers, mut uppers) = (Vec::with_capacity(columns), Vec::with_capacity(columns));
        for column in 0..columns {
            let (lower, upper) = (least(column, min.into()), least(column, i64::from(max) + 1) - 1);
            if lower > end || upper < -end {
                return None;
            }
            lowers.push(lower.max(-end) as i32);
            uppers.push(upper.min(end) as i32);
        }
        Some(Limits { lower: PerColumn::broadcast(lowers), upper: PerColumn::broadcast(uppers) })
    }

    /// Whether none is beyond `most`.
    fn inside(&self, most: i32) -> bool {
        self.lower.values().iter().all(|&lower| lower >= -most)
            && self.upper.values().iter().all(|&upper| upper <= most)
    }
}

/// `acc` clamped to `−limit … limit`. (No accumulator is −2³¹: the depth is checked.)
#[inline(always)]
fn clamp_to_limit<V: Vectors>(simd: V, acc: V::I32, limit: V::I32) -> V::I32 {
    clamp(simd, acc, simd.sub_i32(simd.splat_i32(0), limit), limit)
}

/// `if sign[i] < 0 { -a[i] } else { a[i] }`, for signs of −1 and 0
#[inline(always)]
fn with_sign<V: Vectors>(simd: V, a: V::I32, sign: V::I32) -> V::I32 {
    simd.sub_i32(simd.xor_i32(a, sign), sign)
}

/// A vector of columns of each. (`map` on an array would not always be inlined, and lose the features.)
#[inline(always)]
fn load<V: Vectors, const N: usize>(simd: V, values: [&PerColumn<i32>; N], column: usize) -> [V::I32; N] {
    let mut loaded = [simd.splat_i32(0); N];
    for (loaded, values) in loaded.iter_mut().zip(values) {
        *loaded = simd.load_i32(values.at(column));
    }
    loaded
}

/// [`Rule::FixedPoint`](super::Rule): one rounding of a 64-bit product, `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`, halves toward +∞.
#[derive(Clone, Debug)]
pub struct FixedPoint {
    within: Option<Limits>,
    /// Where products, at least 2²⁴, are beyond every code, and below 2²⁴ + M, inside an i32.
    limit: PerColumn<i32>,
    multiplier: PerColumn<i32>,
    shift: PerColumn<i32>,
}

impl FixedPoint {
    /// One real multiplier, or one for every column.
    pub fn new(multipliers: &[f64], codes: CodeBounds) -> Result<Self, Error> {
        Self::with_least(multipliers, codes, least_of_fixed_point)
    }

    /// With the least accumulator of a multiplier and a shift that makes at least some product.
    fn with_least(
        multipliers: &[f64],
        codes: CodeBounds,
        least: fn(multiplier: i32, shift: i32, product: i64) -> i64,
    ) -> Result<Self, Error> {
        let (multipliers, exponents) = quantize_multipliers(multipliers)?;
        let shifts: Vec<i32> = exponents.iter().map(|&exponent| 31 - exponent).collect();
        let limit = |(&multiplier, &shift): (&i32, &i32)| match multiplier {
            0 => i32::MAX,
            _ => i32::try_from((1_u128 << (24 + shift)).div_ceil(multiplier as u128)).unwrap_or(i32::MAX),
        };
        let limits = multipliers.iter().zip(&shifts).map(limit).collect();
        let fits = (0..shifts.len()).all(|j| multipliers[j] > 0 && (32..=54).contains(&shifts[j]));
        let least = |j: usize, product| least(multipliers[j], shifts[j], product);
        let within = if fits { Limits::new(&codes, shifts.len(), &least) } else { None };
        Ok(FixedPoint {
            within,
            limit: PerColumn::broadcast(limits),
            multiplier: PerColumn::broadcast(multipliers),
            shift: PerColumn::broadcast(shifts),
        })
    }

    pub fn check(&self, columns: usize) -> Result<(), Error> {
        self.multiplier.check("multipliers", columns)
    }
}

/// The least `acc` with `acc · multiplier + 2ˢʰⁱᶠᵗ⁻¹ >> shift` of at least `product`.
fn least_of_fixed_point(multiplier: i32, shift: i32, product: i64) -> i64 {
    let (dividend, divisor) = ((product << shift) - (1 << shift >> 1), i64::from(multiplier));
    -(-dividend).div_euclid(divisor)
}

impl IntegerRule for FixedPoint {
    /// Multiplier and shift; whether accumulators are clamped to the limits; these, or one.
    type Lanes<V: Vectors> = ([V::I32; 2], bool, [V::I32; 2]);

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        let (within, limits) = match &self.within {
            Some(Limits { lower, upper }) => (true, [lower, upper]),
            None => (false, [&self.limit, &self.limit]),
        };
        (load(simd, [&self.multiplier, &self.shift], column), within, load(simd, limits, column))
    }

    #[inline(always)]
    fn apply<V: Vectors>(
        &self,
        simd: V,
        &([multiplier, shift], within, [lower, upper]): &Self::Lanes<V>,
        acc: V::I32,
        codes: &CodeLanes<V>,
    ) -> V::I32 {
        if !within {
            return codes.of(simd, simd.mul_shift_round(clamp_to_limit(simd, acc, upper), multiplier, shift));
        }
        let acc = clamp(simd, acc, lower, upper);
        let offset = simd.sub_i32(codes.zero_point, codes.least_code);
        simd.add_i32(simd.mul_shift_round_add(acc, multiplier, shift, offset), codes.least_code)
    }
}

/// [`Rule::HalfAway`](super::Rule): one rounding of a 64-bit product, halves away from zero: [`FixedPoint`] of the magnitude.
#[derive(Clone, Debug)]
pub struct HalfAway(FixedPoint);

impl HalfAway {
    /// One real multiplier, or one for every column.
    pub fn new(multipliers: &[f64], codes: CodeBounds) -> Result<Self, Error> {
        // A negative tie is rounded down.
        let least = |multiplier, shift, product| match product {
            1.. => least_of_fixed_point(multiplier, shift, product),
            _ => 1 - least_of_fixed_point(multiplier, shift, 1 - product),
        };
        Ok(HalfAway(FixedPoint::with_least(multipliers, codes, least)?))
    }

    pub fn check(&self, columns: usize) -> Result<(), Error> {
        self.0.check(columns)
    }
}

impl IntegerRule for HalfAway {
    type Lanes<V: Vectors> = <FixedPoint as IntegerRule>::Lanes<V>;

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        self.0.lanes(simd, column)
    }

    #[inline(always)]
    fn apply<V: Vectors>(
        &self,
        simd: V,
        &([multiplier, shift], within, [lower, upper]): &Self::Lanes<V>,
        acc: V::I32,
        codes: &CodeLanes<V>,
    ) -> V::I32 {
        let acc = if within { clamp(simd, acc, lower, upper) } else { clamp_to_limit(simd, acc, upper) };
        let sign = simd.shift_right(acc, simd.splat_i32(31));
        let magnitude = with_sign(simd, acc, sign);
        if within {
            let product = simd.mul_shift_round_add(magnitude, multiplier, shift, simd.splat_i32(0));
            simd.add_i32(with_sign(simd, product, sign), codes.zero_point)
        } else {
            codes.of(simd, with_sign(simd, simd.mul_shift_round(magnitude, multiplier, shift), sign))
        }
    }
}

/// The constants of a rounding right shift by 0…31: `x + offset + tie >> shift`. Where the sum would not fit an i32,
/// `(x >> shift) + ((x & mask) + offset + tie >> shift)`: the remainder, the offset (about half a unit) and the tie fit 32
/// unsigned bits.
#[derive(Clone, Debug)]
struct RoundingShift {
    shift: PerColumn<i32>,
    mask: PerColumn<i32>,
    offset: PerColumn<i32>,
    tie: PerColumn<i32>,
    /// The offset, and the zero point times a unit: for x whose result is a code.
    code_offset: PerColumn<i32>,
}

impl RoundingShift {
    /// `offset` and `tie` are made from half a unit (0 when there is no shift) and a flag: is there a shift?
    /// Codes that the shift makes have this zero point.
    fn new(shifts: &[i32], offset: fn(i32, i32) -> i32, tie: fn(i32) -> i32, zero_point: i32) -> Self {
        let any = |shift: i32| i32::from(shift > 0);
        let of = |f: &dyn Fn(i32) -> i32| PerColumn::broadcast(shifts.iter().map(|&shift| f(shift)).collect());
        let offset = |shift: i32| offset((1_u32 << shift >> 1) as i32, any(shift));
        Self {
            shift: of(&|shift| shift),
            mask: of(&|shift| ((1_u32 << shift) - 1) as i32),
            offset: of(&offset),
            tie: of(&|shift| tie(any(shift))),
            code_offset: of(&|shift| offset(shift).wrapping_add(zero_point.wrapping_shl(shift as u32))),
        }
    }

    /// Whether codes, shifted left again, fit an i32.
    fn holds_codes(&self) -> bool {
        self.shift.values().iter().all(|&shift| shift <= 22)
    }

    #[inline(always)]
    fn load<V: Vectors>(&self, simd: V, column: usize) -> ShiftLanes<V> {
        let columns = [&self.shift, &self.mask, &self.offset, &self.tie, &self.code_offset];
        let [shift, mask, offset, tie, code_offset] = load(simd, columns, column);
        ShiftLanes { shift, mask, offset, tie, code_offset }
    }
}

/// A [`RoundingShift`] for a vector of columns.
#[derive(Clone, Copy)]
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

/// [`Rule::Gemmlowp`](super::Rule), with two roundings: a saturating rounding doubling high product with M₀, then a rounding
/// division by a power of two, halves away from zero.
#[derive(Clone, Debug)]
pub struct Gemmlowp {
    within: Option<Limits>,
    limit: PerColumn<i32>,
    /// If any column has one.
    left: Option<PerColumn<i32>>,
    multiplier: PerColumn<i32>,
    right: RoundingShift,
}

impl Gemmlowp {
    /// One real multiplier, or one for every column.
    pub fn new(multipliers: &[f64], codes: CodeBounds) -> Result<Self, Error> {
        let (multipliers, exponents) = quantize_multipliers(multipliers)?;
        let lefts: Vec<i32> = exponents.iter().map(|&exponent| exponent.max(0)).collect();
        let shifts: Vec<i32> = exponents.iter().map(|&exponent| (-exponent).max(0)).collect();
        let any_left = lefts.iter().any(|&left| left > 0);
        let zero_point = codes.zero_point - codes.least_code();
        let right = RoundingShift::new(&shifts, |half, _| half, |any| -any, zero_point);
        let fits = !any_left && right.holds_codes() && multipliers.iter().all(|&m| m > 0);
        let least = |j: usize, product: i64| {
            let half = 1_i64 << shifts[j] >> 1;
            // A negative tie is rounded down.
            let high = (product << shifts[j]) - half + i64::from(product <= 0 && half > 0);
            least_of_fixed_point(multipliers[j], 31, high)
        };
        // Accumulators are doubled.
        let doubled_fits = |limits: &Limits| limits.inside(i32::MAX >> 1);
        let within = if fits { Limits::new(&codes, shifts.len(), &least).filter(doubled_fits) } else { None };
        Ok(Gemmlowp {
            within,
            limit: PerColumn::broadcast(lefts.iter().map(|left| i32::MAX >> left).collect()),
            left: any_left.then(|| PerColumn::broadcast(lefts.iter().map(|left| 1 << left).collect())),
            multiplier: PerColumn::broadcast(multipliers),
            right,
        })
    }

    pub fn check(&self, columns: usize) -> Result<(), Error> {
        self.multiplier.check("multipliers", columns)
    }
}

impl IntegerRule for Gemmlowp {
    /// The limits, or one, and the multiplier; whether accumulators are clamped to the limits; the left factor; the right
    /// shift.
    type Lanes<V: Vectors> = ([V::I32; 3], bool, Option<V::I32>, ShiftLanes<V>);

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        let left = self.left.as_ref().map(
            #[inline(always)]
            |left| simd.load_i32(left.at(column)),
        );
        let (within, [lower, upper]) = match &self.within {
            Some(Limits { lower, upper }) => (true, [lower, upper]),
            None => (false, [&self.limit, &self.limit]),
        };
        (load(simd, [lower, upper, &self.multiplier], column), within, left, self.right.load(simd, column))
    }

    #[inline(always)]
    fn apply<V: Vectors>(
        &self,
        simd: V,
        &([lower, upper, multiplier], within, left, right): &Self::Lanes<V>,
        acc: V::I32,
        codes: &CodeLanes<V>,
    ) -> V::I32 {
        // A tie goes up, or down where the product is negative.
        let sign = simd.splat_i32(31);
        if !within {
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
        simd.add_i32(above, codes.least_code)
    }
}

/// [`Rule::Shift`](super::Rule): `RNE(acc · 2⁻ˢ)`.
#[derive(Clone, Debug)]
pub struct Shift {
    within: Option<Limits>,
    shift: RoundingShift,
}

impl Shift {
    /// One real multiplier, or one for every column: 2⁻ˢ with s in 0…31.
    pub fn new(multipliers: &[f64], codes: CodeBounds) -> Result<Self, Error> {
        let shift = |m: f64| 1023 - (m.to_bits() >> 52) as i32;
        let is_shift = |m: f64| m.to_bits() & ((1 << 52) - 1) == 0 && m > 0.0 && (0..=31).contains(&shift(m));
        check_multipliers(multipliers, "not a power of two in 2⁻³¹ … 1", is_shift)?;
        let shifts: Vec<i32> = multipliers.iter().map(|&m| shift(m)).collect();
        let least = |j: usize, product: i64| {
            let half = 1_i64 << shifts[j] >> 1;
            // A tie below an odd product is rounded down.
            (product << shifts[j]) - half + i64::from(product & 1 == 1 && half > 0)
        };
        let shift = RoundingShift::new(&shifts, |half, any| half - any, |any| any, codes.zero_point);
        let within = if shift.holds_codes() { Limits::new(&codes, shifts.len(), &least) } else { None };
        Ok(Shift { within, shift })
    }

    pub fn check(&self, columns: usize) -> Result<(), Error> {
        self.shift.shift.check("multipliers", columns)
    }
}

impl IntegerRule for Shift {
    /// The limits, if they are used.
    type Lanes<V: Vectors> = (Option<[V::I32; 2]>, ShiftLanes<V>);

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        let limits = self.within.as_ref().map(
            #[inline(always)]
            |Limits { lower, upper }| load(simd, [lower, upper], column),
        );
        (limits, self.shift.load(simd, column))
    }

    #[inline(always)]
    fn apply<V: Vectors>(
        &self,
        simd: V,
        &(limits, shift): &Self::Lanes<V>,
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
