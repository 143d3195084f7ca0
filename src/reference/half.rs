//! Reals of 16 bits: a sign, an exponent and a mantissa.

use super::powers::power_of_two;
use crate::half::{HalfKind, Halves};

impl HalfKind {
    /// The bits of the mantissa, and what is added to the exponent.
    fn layout(self) -> (u32, i32) {
        match self {
            HalfKind::F16 => (10, 15),
            HalfKind::Bf16 => (7, 127),
        }
    }
}

/// The values of f16 or bf16.
#[must_use]
pub fn widen(x: Halves<'_>) -> Vec<f32> {
    x.bits.iter().map(|&bits| value(bits, x.kind)).collect()
}

fn value(bits: u16, kind: HalfKind) -> f32 {
    let (mantissa_bits, bias) = kind.layout();
    let (exponent, mantissa) =
        (i32::from((bits & 0x7fff) >> mantissa_bits), i32::from(bits) & ((1 << mantissa_bits) - 1));
    let magnitude = match exponent {
        _ if exponent == 2 * bias + 1 && mantissa != 0 => f64::NAN,
        _ if exponent == 2 * bias + 1 => f64::INFINITY,
        0 => f64::from(mantissa) * power_of_two(1 - bias - mantissa_bits as i32),
        _ => f64::from(mantissa + (1 << mantissa_bits)) * power_of_two(exponent - bias - mantissa_bits as i32),
    };
    (if bits >> 15 == 0 { magnitude } else { -magnitude }) as f32
}

/// The nearest f16, ties to even.
#[must_use]
pub fn narrow_to_f16(x: &[f32]) -> Vec<u16> {
    x.iter().map(|&x| nearest(x, HalfKind::F16)).collect()
}

/// The nearest bf16, ties to even.
#[must_use]
pub fn narrow_to_bf16(x: &[f32]) -> Vec<u16> {
    x.iter().map(|&x| nearest(x, HalfKind::Bf16)).collect()
}

fn nearest(x: f32, kind: HalfKind) -> u16 {
    let (mantissa_bits, bias) = kind.layout();
    let infinity = (2 * bias as u16 + 1) << mantissa_bits;
    if x.is_nan() {
        return infinity + (1 << (mantissa_bits - 1));
    }
    let (sign, magnitude) = (u16::from(x.is_sign_negative()) << 15, f64::from(x.abs()));
    // The exponent of an f64 (every f32 is a normal one, or 0); exponents 0 and 1 have one unit here.
    let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023 + bias).clamp(1, 2 * bias);
    let units = (magnitude / power_of_two(exponent - bias - mantissa_bits as i32)).round_ties_even();
    // A mantissa that overflows moves the exponent, at last to infinity.
    let bits = units + f64::from((exponent - 1) << mantissa_bits);
    sign | bits.min(infinity.into()) as u16
}

/// The nearest f16, as its bits.
pub(super) fn half(x: f32) -> u16 {
    narrow_to_f16(&[x])[0]
}

/// The value of an f16.
pub(super) fn value_of_half(half: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(half >> 10 & 31), f64::from(half & 1023));
    let magnitude = match exponent {
        0 => mantissa * power_of_two(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + mantissa) * power_of_two(exponent - 25),
    };
    if half >> 15 == 1 { -magnitude } else { magnitude }
}

/// The f16 at an index of a block.
pub(super) fn half_at(block: &[u8], at: usize) -> f64 {
    value_of_half(u16::from_le_bytes([block[at], block[at + 1]]))
}
