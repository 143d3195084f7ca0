//! MXINT8, by the OCP Microscaling specification: a power of two for the block, two's complement with six bits behind the
//! point. The exponent is that of the largest magnitude, out of its bits: `log2` is wrong just below powers of two.

use super::{BLOCK, Format, Scales, Sixteen, as_i8, integers, largest_magnitudes, load_i8};
use crate::kernel::Vectors;

#[derive(Clone, Copy)]
pub(crate) struct MxInt8;

/// The exponent of a block that holds no numbers.
const NAN: i32 = 255;

/// `2ᵏ`, for k in −126…127
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits(((127 + k) << 23) as u32)
}

/// The same of lanes, 0 where `some` is 0 and not −1.
#[inline(always)]
fn powers_of_two<S: Vectors>(simd: S, k: S::I32, some: S::I32) -> S::F32 {
    simd.of_bits(simd.and_i32(simd.shift_left::<23>(simd.add_i32(k, simd.splat_i32(127))), some))
}

impl Format<33> for MxInt8 {
    const LIMIT: f32 = 127.0;

    const LARGEST: Option<f32> = None;

    #[inline(always)]
    fn largest<S: Vectors>(self, simd: S, x: &Sixteen) -> S::I32 {
        largest_magnitudes(simd, x)
    }

    #[inline(always)]
    fn scales<S: Vectors>(self, simd: S, bits: S::I32) -> Scales<S> {
        // Subnormal numbers have the exponent 0, infinity and NaN 255.
        let exponents = simd.shift_right(bits, simd.splat_i32(23));
        // 2⁶ / 2^(E − 127) as two factors where it can be above the largest f32. Neither product is rounded, but for
        // numbers far below a half, whose code is 0.
        let k = simd.sub_i32(simd.splat_i32(6 + 127), exponents);
        let numbers = simd.sub_i32(simd.splat_i32(NAN - 1), exponents);
        let plain = !simd.any_negative(simd.min_i32(simd.sub_i32(simd.splat_i32(127), k), numbers));
        let first = if plain { k } else { simd.shift_right(k, simd.splat_i32(1)) };
        let some = simd.shift_right(simd.sub_i32(exponents, simd.splat_i32(NAN)), simd.splat_i32(31));
        let factors = [powers_of_two(simd, first, some), powers_of_two(simd, simd.sub_i32(k, first), some)];
        Scales { stored: exponents, factors, plain }
    }

    #[inline(always)]
    fn write<S: Vectors>(self, simd: S, exponents: [i32; 2], multiples: [[S::F32; 2]; 2], blocks: &mut [[u8; 33]; 2]) {
        let [[first_exponent, a @ ..], [second_exponent, b @ ..]] = blocks;
        (*first_exponent, *second_exponent) = (exponents[0] as u8, exponents[1] as u8);
        let codes = integers::<S>(
            multiples,
            #[inline(always)]
            |v| simd.round_to_i32(v),
        );
        simd.store_symmetric_i8(codes, [as_i8(a), as_i8(b)]);
    }

    #[inline(always)]
    fn read<S: Vectors>(self, simd: S, block: &[u8; 33]) -> (f32, [S::I32; 2]) {
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
