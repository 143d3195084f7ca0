//! MXINT8, by the OCP Microscaling specification: a power of two for the block, two's complement with six bits behind the
//! point. The exponent is that of the largest magnitude, out of its bits: `log2` is wrong just below powers of two.

use super::{BLOCK, Format, both, largest_bits, load_i8, store_i8};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct MxInt8;

/// The exponent of a block that holds no numbers.
const NAN: i32 = 255;

/// `2ᵏ`, for k in −126…127
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits(((127 + k) << 23) as u32)
}

impl Format<33> for MxInt8 {
    #[inline(always)]
    fn encode<S: Simd>(self, simd: S, x: [S::F32; 2], block: &mut [u8; 33]) {
        // Subnormal numbers have the exponent 0, infinity and NaN 255.
        let exponent = largest_bits(simd, x) >> 23;
        let [exponent_out, codes @ ..] = block;
        *exponent_out = exponent as u8;
        // 2⁶ / 2^(E − 127) as two factors, since it can be above the largest f32. Neither product is rounded, but for
        // numbers far below a half, whose code is 0.
        let k = 6 + 127 - exponent;
        let factors = if exponent == NAN { [0.0; 2] } else { [power_of_two(k >> 1), power_of_two(k - (k >> 1))] };
        let (first, second) = (simd.splat_f32(factors[0]), simd.splat_f32(factors[1]));
        let (min, max) = (simd.splat_f32(-127.0), simd.splat_f32(127.0));
        let q = both(
            x,
            #[inline(always)]
            |x| simd.round_to_i32(simd.clamp_f32(simd.mul_f32(simd.mul_f32(x, first), second), min, max)),
        );
        store_i8(simd, q, codes);
    }

    #[inline(always)]
    fn read<S: Simd>(self, simd: S, block: &[u8; 33]) -> (f32, [S::I32; 2]) {
        let [exponent, codes @ ..] = block;
        let codes: &[u8; BLOCK] = codes;
        let k = i32::from(*exponent) - 127 - 6;
        let scale = match k {
            _ if i32::from(*exponent) == NAN => f32::NAN,
            // Subnormal.
            ..-126 => f32::from_bits(1 << (k + 149)),
            _ => power_of_two(k),
        };
        (scale, load_i8(simd, codes))
    }
}
