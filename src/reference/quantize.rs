//! Between real values and codes.

use super::groups::parameters;
use super::random::words;
use super::reduce::ranges;
use crate::codes::{Code, CodeRange};
use crate::params::{Granularity, QuantParams, Scheme};
use crate::random::stream::Stream;

/// The code of one value: `round(clamp(x / S, qmin − Z, qmax − Z)) + Z`; NaN has the code Z.
///
/// ```
/// use zeropoint::{CodeRange, reference};
/// assert_eq!(reference::quantize_one(0.75, 0.5, 10, CodeRange::unsigned(8)?), 12);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[must_use]
pub fn quantize_one<C: Code>(x: f32, scale: f32, zero_point: i32, codes: CodeRange<C>) -> i32 {
    let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
    let v = x / scale;
    if v.is_nan() {
        return zero_point;
    }
    v.clamp((min - zero_point) as f32, (max - zero_point) as f32).round_ties_even() as i32 + zero_point
}

/// Up with the probability of the fraction: `f + [(w >> 8) as f32 < (v − f) · 2²⁴]`, f = floor(v).
#[must_use]
pub fn round_stochastically(v: f32, word: u32) -> i32 {
    let floor = v.floor();
    let fraction = (v - floor) * 16_777_216.0;
    floor as i32 + i32::from(((word >> 8) as f32) < fraction)
}

/// The code of one value by the word that is its own.
///
/// ```
/// use zeropoint::{CodeRange, reference};
/// let codes = CodeRange::unsigned(8)?;
/// let code = |word| reference::quantize_one_stochastic(0.75, 0.5, 10, codes, word);
/// let half = 1 << 31; // 1.5 steps
/// assert_eq!((code(half - 1), code(half)), (12, 11));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[must_use]
pub fn quantize_one_stochastic<C: Code>(x: f32, scale: f32, zero_point: i32, codes: CodeRange<C>, word: u32) -> i32 {
    let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
    let v = x / scale;
    if v.is_nan() {
        return zero_point;
    }
    round_stochastically(v.clamp((min - zero_point) as f32, (max - zero_point) as f32), word) + zero_point
}

/// A value inside the type.
pub(super) fn to_code<C: Code>(value: i32) -> C {
    C::try_from(value).ok().expect("codes fit their type")
}

/// [`quantize`](crate::quantize()).
#[must_use]
pub fn quantize<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<C> {
    let code = |(i, &x): (usize, &f32)| {
        let (scale, zero_point) = parameters(params, i);
        to_code(quantize_one(x, scale, zero_point, params.codes()))
    };
    x.iter().enumerate().map(code).collect()
}

/// [`quantize`](crate::quantize()) with stochastic rounding.
#[must_use]
pub fn quantize_stochastic<C: Code>(x: &[f32], params: &QuantParams<C>, stream: Stream) -> Vec<C> {
    let code = |(i, (&x, word)): (usize, (&f32, u32))| {
        let (scale, zero_point) = parameters(params, i);
        to_code(quantize_one_stochastic(x, scale, zero_point, params.codes(), word))
    };
    x.iter().zip(words(stream, x.len())).enumerate().map(code).collect()
}

/// [`dequantize`](crate::dequantize()): `S · (q − Z)`.
#[must_use]
pub fn dequantize<C: Code>(codes: &[C], params: &QuantParams<C>) -> Vec<f32> {
    let real = |(i, &code): (usize, &C)| {
        let (scale, zero_point) = parameters(params, i);
        let code: i32 = code.into();
        scale * (code - zero_point) as f32
    };
    codes.iter().enumerate().map(real).collect()
}

/// [`fake_quantize`](crate::fake_quantize()).
#[must_use]
pub fn fake_quantize<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<f32> {
    dequantize(&quantize(x, params), params)
}

/// [`fake_quantize`](crate::fake_quantize()) with stochastic rounding.
#[must_use]
pub fn fake_quantize_stochastic<C: Code>(x: &[f32], params: &QuantParams<C>, stream: Stream) -> Vec<f32> {
    dequantize(&quantize_stochastic(x, params, stream), params)
}

/// [`straight_through`](crate::straight_through()): `gradient · mask`.
#[must_use]
pub fn straight_through<C: Code>(x: &[f32], gradient: &[f32], params: &QuantParams<C>) -> Vec<f32> {
    let (min, max): (i32, i32) = (params.codes().min().into(), params.codes().max().into());
    let masked = |(i, (&x, &gradient)): (usize, (&f32, &f32))| {
        let (scale, zero_point) = parameters(params, i);
        let code = f64::from((x / scale).round_ties_even()) + f64::from(zero_point);
        let mask = if code >= f64::from(min) && code <= f64::from(max) { 1.0 } else { 0.0 };
        let product = gradient * mask;
        if product.is_nan() { f32::NAN } else { product }
    };
    x.iter().zip(gradient).enumerate().map(masked).collect()
}

/// The mask of [`fake_quantize`](crate::fake_quantize()).
#[must_use]
pub fn straight_through_mask<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<u8> {
    let ones = vec![1.0; x.len()];
    straight_through(x, &ones, params).into_iter().map(|mask| mask as u8).collect()
}

/// [`QuantParams::fit`](crate::QuantParams::fit) of finite values, `groups` of them: the parameters and the codes.
#[must_use]
pub fn quantize_dynamic<C: Code>(
    x: &[f32],
    codes: CodeRange<C>,
    scheme: Scheme,
    granularity: Granularity,
    groups: usize,
) -> (QuantParams<C>, Vec<C>) {
    let ranges = ranges(x, granularity, groups);
    let params = QuantParams::from_ranges(codes, scheme, granularity, &ranges).expect("a range has parameters");
    let codes = quantize(x, &params);
    (params, codes)
}
