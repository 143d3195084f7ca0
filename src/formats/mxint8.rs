//! MXINT8, by the OCP Microscaling specification: a power of two for the block, two's complement with six bits behind the
//! point. The exponent is that of the largest magnitude, out of its bits: `log2` is wrong just below powers of two.

use bytemuck::{cast, cast_ref};

use super::block::{BlockVectors, Format, Scales, Sixteen, as_i8, largest_magnitudes, load_i8};
use crate::simd::LANES;

pub(super) struct MxInt8;

/// The exponent of a block that holds no values.
const NAN: i32 = 255;

/// `2ᵏ` of every lane, for k in −126…127; 0 where `some` is 0 and not −1.
#[inline(always)]
fn powers_of_two<V: BlockVectors>(v: V, k: V::I32, some: V::I32) -> V::F32 {
    v.of_bits(v.and_i32(v.shift_left::<23>(v.add_i32(k, v.splat_i32(127))), some))
}

impl Format<33, 2> for MxInt8 {
    const LIMIT: f32 = 127.0;

    const LARGEST: Option<f32> = None;

    const PREFETCHES: bool = true;

    #[inline(always)]
    fn largest<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
        largest_magnitudes(v, x, prefetch)
    }

    #[inline(always)]
    fn scales<V: BlockVectors>(v: V, bits: V::I32) -> Scales<V> {
        // Subnormal values have the exponent 0, infinity and NaN 255.
        let exponents = v.shift_right(bits, v.splat_i32(23));
        // 2⁶ / 2^(E − 127) as two factors where it can be above the largest f32. Neither product is rounded, but for
        // values far below a half, whose code is 0.
        let k = v.sub_i32(v.splat_i32(6 + 127), exponents);
        let numbers = v.sub_i32(v.splat_i32(NAN - 1), exponents);
        let plain = !v.any_negative(v.min_i32(v.sub_i32(v.splat_i32(127), k), numbers));
        let first = if plain { k } else { v.shift_right(k, v.splat_i32(1)) };
        let some = v.shift_right(v.sub_i32(exponents, v.splat_i32(NAN)), v.splat_i32(31));
        let factors = [powers_of_two(v, first, some), powers_of_two(v, v.sub_i32(k, first), some)];
        Scales { stored: exponents, factors, plain }
    }

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, exponents: [i32; 2], multiples: [[V::F32; 2]; 2], blocks: &mut [[u8; 33]; 2]) {
        let [[first_exponent, first @ ..], [second_exponent, second @ ..]] = blocks;
        (*first_exponent, *second_exponent) = (exponents[0] as u8, exponents[1] as u8);
        let [[a, b], [c, d]] = multiples;
        let codes = [[v.round_to_i32(a), v.round_to_i32(b)], [v.round_to_i32(c), v.round_to_i32(d)]];
        v.store_symmetric_i8(codes, [as_i8(first), as_i8(second)]);
    }

    #[inline(always)]
    fn scale(block: &[u8; 33]) -> f32 {
        let exponent = i32::from(block[0]);
        let k = exponent - 127 - 6;
        match k {
            _ if exponent == NAN => f32::NAN,
            // Subnormal.
            ..-126 => f32::from_bits(1 << (k + 149)),
            _ => f32::from_bits(((127 + k) << 23) as u32),
        }
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; 33]) -> [V::I32; 2] {
        let [_, codes @ ..] = block;
        load_i8(v, cast_ref(codes))
    }

    #[inline(always)]
    fn split(block: &[u8; 33]) -> [[i8; LANES]; 2] {
        let [_, codes @ ..] = *block;
        cast(codes)
    }
}
