//! E8M0, the powers of two of OCP's Microscaling formats: 2^(E − 127), or no number where E is 255.

use super::block::{BlockVectors, Scales};
use crate::simd::Simd;

/// The exponent of a block that holds no values.
const NAN: i32 = 255;

/// `2ᵏ` of every lane, for k in −126…127; 0 where `some` is 0 and not −1.
#[inline(always)]
fn powers_of_two<V: BlockVectors>(v: V, k: V::I32, some: V::I32) -> V::F32 {
    v.of_bits(v.and_i32(v.shift_left::<23>(v.add_i32(k, v.splat_i32(127))), some))
}

/// The scales of blocks whose largest magnitudes have these bits: E less than their exponents by `below`, at least 0, for
/// multiples of 2^(E − 127 − point). Infinity and NaN have E = 255 and the factor 0.
#[inline(always)]
pub(super) fn power_scales<V: BlockVectors>(v: V, bits: V::I32, below: i32, point: i32) -> Scales<V> {
    // Subnormal values have the exponent 0, infinity and NaN 255.
    let exponents = v.shift_right(bits, v.splat_i32(23));
    let some = v.shift_right(v.sub_i32(exponents, v.splat_i32(NAN)), v.splat_i32(31));
    let numbers = v.sub_i32(v.splat_i32(NAN - 1), exponents);
    let stored = if below == 0 {
        exponents
    } else {
        let lower = v.max_i32(v.sub_i32(exponents, v.splat_i32(below)), v.splat_i32(0));
        v.select_i32(v.less_i32(exponents, v.splat_i32(NAN)), lower, exponents)
    };
    // 2^point / 2^(E − 127) as two factors where it can be above the largest f32. Neither product is rounded, but for
    // values far below a half, whose code is 0.
    let k = v.sub_i32(v.splat_i32(point + 127), stored);
    let plain = !v.any_negative(v.min_i32(v.sub_i32(v.splat_i32(127), k), numbers));
    let first = if plain { k } else { v.shift_right(k, v.splat_i32(1)) };
    let factors = [powers_of_two(v, first, some), powers_of_two(v, v.sub_i32(k, first), some)];
    Scales { stored, factors, plain }
}

/// [`power`] of every lane, for E in 0…255 and points in 0…22.
#[inline(always)]
pub(crate) fn powers<V: Simd>(v: V, exponents: V::I32, point: i32) -> V::F32 {
    let normal = v.shift_left::<23>(exponents);
    let bits = v.select_i32(v.less_i32(exponents, v.splat_i32(1)), v.splat_i32(1 << 22), normal);
    // The products are powers of two, and exact.
    let powers = v.mul_f32(v.of_bits(bits), v.splat_f32(power(127, point)));
    v.select_f32(v.less_i32(v.splat_i32(NAN - 1), exponents), v.splat_f32(f32::NAN), powers)
}

/// 2^(E − 127 − point), which may be subnormal; NaN for an E of 255.
#[inline(always)]
pub(crate) fn power(exponent: u8, point: i32) -> f32 {
    let exponent = i32::from(exponent);
    let k = exponent - 127 - point;
    match k {
        _ if exponent == NAN => f32::NAN,
        // Subnormal.
        ..-126 => f32::from_bits(1 << (k + 149)),
        _ => f32::from_bits(((127 + k) << 23) as u32),
    }
}
