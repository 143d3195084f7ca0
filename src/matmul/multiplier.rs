//! From the scales of operands and results to what output stages and biases are made of.

use crate::error::{Error, check_length};
use crate::params::check_each_scale;

/// `S_a · S_b[j] / S_out` for every column, in f64: what the multipliers are made of.
///
/// ```
/// assert_eq!(zeropoint::raw::multipliers(0.5, &[0.25, 0.5], 2.0), [0.0625, 0.125]);
/// ```
#[must_use]
pub fn multipliers(activation_scale: f32, weight_scales: &[f32], output_scale: f32) -> Vec<f64> {
    let real = |&weight: &f32| f64::from(activation_scale) * f64::from(weight) / f64::from(output_scale);
    weight_scales.iter().map(real).collect()
}

/// `(S_a · S_b[j]) / S_out` for every column, both operations rounded to f32, as onnxruntime computes multipliers: for
/// [`Rule::Float`](crate::Rule::Float).
///
/// ```
/// use zeropoint::raw::{f32_multipliers, multipliers};
/// let (exact, rounded) = (multipliers(0.1, &[0.007], 0.3), f32_multipliers(0.1, &[0.007], 0.3));
/// assert!((exact[0] / rounded[0] - 1.0).abs() < 1e-7);
/// ```
#[must_use]
pub fn f32_multipliers(activation_scale: f32, weight_scales: &[f32], output_scale: f32) -> Vec<f64> {
    weight_scales.iter().map(|&weight| f64::from(activation_scale * weight / output_scale)).collect()
}

/// A float bias in units of the accumulators, `RNE(bias[j] / (S_a · S_b[j]))` in f64.
///
/// `weight_scales`: one, or one for every element of the bias. An empty bias has no codes.
///
/// ```
/// assert_eq!(zeropoint::raw::quantize_bias(&[1.0, -0.3], 0.5, &[0.25, 0.5])?, [8, -1]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Scale`]; [`Error::Length`]; [`Error::NonFinite`] in the bias; [`Error::Bias`] with the first
/// channel whose bias no i32 reaches.
pub fn quantize_bias(bias: &[f32], activation_scale: f32, weight_scales: &[f32]) -> Result<Vec<i32>, Error> {
    let codes = bias_codes(bias, activation_scale, weight_scales, i32::MAX.into())?;
    Ok(codes.into_iter().map(|code| code as i32).collect())
}

/// [`quantize_bias`] with magnitudes up to `most`.
pub(super) fn bias_codes(
    bias: &[f32],
    activation_scale: f32,
    weight_scales: &[f32],
    most: f64,
) -> Result<Vec<i64>, Error> {
    check_each_scale(&[activation_scale])?;
    check_each_scale(weight_scales)?;
    if weight_scales.len() != 1 {
        check_length("weight scales", bias.len(), weight_scales.len())?;
    }
    let code = |(index, (&bias, &weight_scale)): (usize, (&f32, &f32))| {
        if !bias.is_finite() {
            return Err(Error::NonFinite { what: "the bias", index, found: bias });
        }
        let code = (f64::from(bias) / (f64::from(activation_scale) * f64::from(weight_scale))).round_ties_even();
        if code.abs() <= most { Ok(code as i64) } else { Err(Error::Bias { index, bias, code }) }
    };
    bias.iter().zip(weight_scales.iter().cycle()).enumerate().map(code).collect()
}

/// `Ok` for multipliers, at least one, all of which `accept` accepts; `why` says what it accepts.
pub(super) fn check_multipliers(
    multipliers: &[f64],
    why: &'static str,
    accept: impl Fn(f64) -> bool,
) -> Result<(), Error> {
    if multipliers.is_empty() {
        return Err(Error::Empty { what: "multipliers", group: None });
    }
    let refused = multipliers.iter().position(|&multiplier| !accept(multiplier));
    refused.map_or(Ok(()), |index| Err(Error::Multiplier { index, multiplier: multipliers[index], why }))
}

/// A real multiplier as `m₀ · 2^(exponent − 31)` with m₀ in 2³⁰ … 2³¹ − 1 (gemmlowp's and TFLite's form): m₀ is rounded
/// half away from zero; below 2⁻³² both are 0.
///
/// ```
/// assert_eq!(zeropoint::raw::quantize_multiplier(0.25)?, (1 << 30, -1));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Multiplier`] when not finite, negative, or 2³⁰ and more.
pub fn quantize_multiplier(multiplier: f64) -> Result<(i32, i32), Error> {
    quantize_multiplier_at(0, multiplier)
}

/// [`quantize_multiplier`] of the channel of this index.
fn quantize_multiplier_at(index: usize, multiplier: f64) -> Result<(i32, i32), Error> {
    const LIMIT: f64 = (1u32 << 30) as f64;
    let refused = Error::Multiplier { index, multiplier, why: "not in 0 … 2³⁰" };
    if !(0.0..LIMIT).contains(&multiplier) {
        return Err(refused);
    }
    if multiplier < f64::MIN_POSITIVE {
        return Ok((0, 0));
    }
    // multiplier = fraction · 2^exponent with the fraction in [½, 1)
    let mut exponent = (multiplier.to_bits() >> 52) as i32 - 1022;
    let fraction = f64::from_bits(multiplier.to_bits() & ((1 << 52) - 1) | 1022 << 52);
    let mut mantissa = (fraction * f64::from(1u32 << 31)).round() as i64;
    if mantissa == 1 << 31 {
        mantissa = 1 << 30;
        exponent += 1;
    }
    match exponent {
        ..-31 => Ok((0, 0)),
        -31..=30 => Ok((mantissa as i32, exponent)),
        // Rounded up to 2³⁰.
        _ => Err(refused),
    }
}

/// m₀ and the exponent of multipliers, at least one.
pub(super) fn quantize_multipliers(multipliers: &[f64]) -> Result<(Vec<i32>, Vec<i32>), Error> {
    check_multipliers(multipliers, "", |_| true)?;
    let (mut mantissas, mut exponents) = (Vec::with_capacity(multipliers.len()), Vec::with_capacity(multipliers.len()));
    for (index, &multiplier) in multipliers.iter().enumerate() {
        let (mantissa, exponent) = quantize_multiplier_at(index, multiplier)?;
        mantissas.push(mantissa);
        exponents.push(exponent);
    }
    Ok((mantissas, exponents))
}

/// `Ok` for scales, at least one.
pub(crate) fn check_scales(scales: &[f32]) -> Result<(), Error> {
    if scales.is_empty() {
        return Err(Error::Empty { what: "scales", group: None });
    }
    check_each_scale(scales)
}
