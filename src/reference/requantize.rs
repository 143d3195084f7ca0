//! From accumulators to codes.

use super::powers::power_of_two;
use super::quantize::{round_stochastically, to_code};
use crate::codes::Code;

/// What [`Requantize`](crate::Requantize) makes of a product: plus the zero point, saturated to the bounds.
#[must_use]
pub fn saturate<C: Code>(product: i64, zero_point: i32, (min, max): (C, C)) -> C {
    let (min, max): (i32, i32) = (min.into(), max.into());
    to_code(product.saturating_add(zero_point.into()).clamp(min.into(), max.into()) as i32)
}

/// The product of [`Rule::Float`](crate::Rule::Float): `RNE(acc as f32 · M)`. Numbers that no code reaches
/// saturate i64.
#[must_use]
pub fn float_product(acc: i32, multiplier: f64) -> i64 {
    (acc as f32 * multiplier as f32).round_ties_even() as i64
}

/// The code that [`Requantize::stochastic`](crate::Requantize::stochastic) makes of an accumulator and a word.
#[must_use]
pub fn requantize_stochastic<C: Code>(acc: i32, multiplier: f64, zero_point: i32, bounds: (C, C), word: u32) -> C {
    let (min, max): (i32, i32) = (bounds.0.into(), bounds.1.into());
    let v = (acc as f32 * multiplier as f32).clamp((min - zero_point) as f32, (max - zero_point) as f32);
    to_code(round_stochastically(v, word) + zero_point)
}

/// `M = m₀ · 2^(exponent − 31)`, m₀ rounded half away from zero, by doubling and halving.
#[must_use]
pub fn quantize_multiplier(multiplier: f64) -> (i64, i32) {
    if multiplier == 0.0 {
        return (0, 0);
    }
    let (mut fraction, mut exponent) = (multiplier, 0);
    while fraction < 0.5 {
        fraction *= 2.0;
        exponent -= 1;
    }
    while fraction >= 1.0 {
        fraction /= 2.0;
        exponent += 1;
    }
    let mut mantissa = (fraction * power_of_two(31)).round() as i64;
    if mantissa == 1 << 31 {
        mantissa /= 2;
        exponent += 1;
    }
    if exponent < -31 { (0, 0) } else { (mantissa, exponent) }
}

/// The product of [`Rule::FixedPoint`](crate::Rule::FixedPoint): `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`.
#[must_use]
pub fn fixed_point_product(acc: i32, multiplier: f64) -> i64 {
    let (mantissa, exponent) = quantize_multiplier(multiplier);
    let shift = 31 - exponent;
    ((i128::from(acc) * i128::from(mantissa) + (1 << (shift - 1))) >> shift) as i64
}

/// The product of [`Rule::HalfAway`](crate::Rule::HalfAway): `acc · M₀ / 2³¹⁺ˢ`, rounded once, halves away from zero.
///
/// ```
/// use zeropoint::reference::{fixed_point_product, half_away_product};
/// // −1.5
/// assert_eq!((fixed_point_product(-6, 0.25), half_away_product(-6, 0.25)), (-1, -2));
/// ```
#[must_use]
pub fn half_away_product(acc: i32, multiplier: f64) -> i64 {
    let (mantissa, exponent) = quantize_multiplier(multiplier);
    let (product, unit) = (i128::from(acc) * i128::from(mantissa), 1_i128 << (31 - exponent));
    (product.signum() * ((2 * product.abs() + unit) / (2 * unit))) as i64
}

/// The product of [`Rule::Gemmlowp`](crate::Rule::Gemmlowp): the saturating rounding doubling high product, then the rounding
/// division by a power of two, as gemmlowp defines them.
///
/// ```
/// use zeropoint::reference::{fixed_point_product, gemmlowp_product};
/// // 1.25, once in one rounding and once in two.
/// assert_eq!((fixed_point_product(5, 0.25), gemmlowp_product(5, 0.25)), (1, 2));
/// ```
#[must_use]
pub fn gemmlowp_product(acc: i32, multiplier: f64) -> i64 {
    let (mantissa, exponent) = quantize_multiplier(multiplier);
    let left = (i64::from(acc) << exponent.max(0)).clamp(i32::MIN.into(), i32::MAX.into());
    let product = i128::from(left) * i128::from(mantissa);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    let high = ((product + nudge) / (1 << 31)) as i64;
    let divisor = 1_i64 << (-exponent).max(0);
    // Halves away from zero.
    high.signum() * ((2 * high.abs() + divisor) / (2 * divisor))
}

/// The product of [`int16x8::Rule::Float`](crate::int16x8::Rule::Float): `RNE(acc as f32 · M)`.
#[must_use]
pub fn float_product_i64(acc: i64, multiplier: f64) -> i64 {
    (acc as f32 * multiplier as f32).round_ties_even() as i64
}

/// The product of [`int16x8::Rule::HalfAway`](crate::int16x8::Rule::HalfAway): `acc · M` in f64, rounded, halves away from zero.
#[must_use]
pub fn half_away_product_i64(acc: i64, multiplier: f64) -> i64 {
    (acc as f64 * multiplier).round() as i64
}

/// The product of [`int16x8::Rule::Reduced`](crate::int16x8::Rule::Reduced): by M₀ reduced to 16 bits, halves up.
///
/// ```
/// use zeropoint::reference::reduced_product_i64;
/// assert_eq!((reduced_product_i64(6, 0.25), reduced_product_i64(-6, 0.25)), (2, -1));
/// ```
#[must_use]
pub fn reduced_product_i64(acc: i64, multiplier: f64) -> i64 {
    let (mantissa, exponent) = quantize_multiplier(multiplier);
    let reduced = if mantissa < 0x7fff_0000 { (mantissa + (1 << 15)) / (1 << 16) } else { 0x7fff };
    let unit = 1_i128 << (15 - exponent);
    (2 * i128::from(acc) * i128::from(reduced) + unit).div_euclid(2 * unit) as i64
}

/// The product of [`Rule::Shift`](crate::Rule::Shift): `RNE(acc · 2⁻ˢ)`.
#[must_use]
pub fn shift_product(acc: i32, shift: u32) -> i64 {
    let unit = 1_i64 << shift;
    let (quotient, remainder) = (i64::from(acc).div_euclid(unit), i64::from(acc).rem_euclid(unit));
    let up = 2 * remainder > unit || (2 * remainder == unit && quotient % 2 != 0);
    quotient + i64::from(up)
}
