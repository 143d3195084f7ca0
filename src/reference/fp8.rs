//! FP8.

use super::groups::group;
use super::powers::power_of_two;
use super::quantize::round_stochastically;
use super::random::words;
use crate::fp8::{Fp8, Fp8Params};
use crate::random::stream::Stream;

/// The bits of the mantissa, what is added to the exponent, and the codes of the largest value, of what becomes of larger
/// ones if they do not saturate, and of NaN.
fn layout(format: Fp8) -> (i32, i32, [u8; 3]) {
    match format {
        Fp8::E4M3 => (3, 7, [0x7e, 0x7f, 0x7f]),
        Fp8::E5M2 => (2, 15, [0x7b, 0x7c, 0x7e]),
    }
}

/// [`encode`](crate::fp8::encode).
#[must_use]
pub fn encode_fp8(x: &[f32], params: &Fp8Params) -> Vec<u8> {
    let code = |(i, &x): (usize, &f32)| code(x / scale(params, i), params, |units| units.round_ties_even() as i32);
    x.iter().enumerate().map(code).collect()
}

/// [`encode`](crate::fp8::encode) with stochastic rounding.
#[must_use]
pub fn encode_fp8_stochastic(x: &[f32], params: &Fp8Params, stream: Stream) -> Vec<u8> {
    let code = |(i, (&x, word)): (usize, (&f32, u32))| {
        code(x / scale(params, i), params, |units| round_stochastically(units as f32, word))
    };
    x.iter().zip(words(stream, x.len())).enumerate().map(code).collect()
}

/// [`decode`](crate::fp8::decode).
#[must_use]
pub fn decode_fp8(codes: &[u8], params: &Fp8Params) -> Vec<f32> {
    let real = |(i, &code): (usize, &u8)| {
        let real = scale(params, i) * value(code, params.format());
        if real.is_nan() { f32::NAN } else { real }
    };
    codes.iter().enumerate().map(real).collect()
}

fn scale(params: &Fp8Params, i: usize) -> f32 {
    params.scales()[group(params.granularity(), i)]
}

fn code(v: f32, params: &Fp8Params, round: impl Fn(f64) -> i32) -> u8 {
    let (mantissa_bits, bias, [largest, overflow, nan]) = layout(params.format());
    if v.is_nan() {
        return nan;
    }
    let sign = if v.is_sign_negative() { 0x80 } else { 0 };
    // Every f32 is a normal f64, or 0; the exponents 0 and 1 have one unit in a code.
    let exponent = (((f64::from(v).to_bits() >> 52) & 0x7ff) as i32 - 1023 + bias).max(1);
    let past_all = v.abs() > params.format().max() * 2.0 || (params.saturates() && v.abs() > params.format().max());
    let units = if past_all { 0 } else { round(f64::from(v) / power_of_two(exponent - bias - mantissa_bits)).abs() };
    // A mantissa that overflows moves the exponent.
    let magnitude = units + ((exponent - 1) << mantissa_bits);
    let is_past = past_all || magnitude > largest.into();
    sign | if !is_past {
        magnitude as u8
    } else if params.saturates() {
        largest
    } else {
        overflow
    }
}

fn value(code: u8, format: Fp8) -> f32 {
    let (mantissa_bits, bias, [largest, overflow, nan]) = layout(format);
    let (exponent, mantissa) = (i32::from(code & 0x7f) >> mantissa_bits, i32::from(code) & ((1 << mantissa_bits) - 1));
    let magnitude = match code & 0x7f {
        finite if finite <= largest => {
            let leading = if exponent == 0 { 0 } else { 1 << mantissa_bits };
            f64::from(mantissa + leading) * power_of_two(exponent.max(1) - bias - mantissa_bits)
        }
        infinity if infinity == overflow && overflow < nan => f64::INFINITY,
        _ => return f32::NAN,
    };
    (if code & 0x80 == 0 { magnitude } else { -magnitude }) as f32
}
