//! MXINT8, by the OCP Microscaling specification: a power of two for the block, two's complement with six bits behind the
//! point. The exponent is that of the largest magnitude, out of its bits: `log2` is wrong just below powers of two.

use bytemuck::{cast, cast_ref};

use super::block::{BlockVectors, Blocks, Format, Scales, Sixteen, as_i8, load_i8};
use super::extremes::largest_magnitudes;
use super::powers::{power, power_scales};
use crate::simd::LANES;

pub(super) struct MxInt8;

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
        // The exponents themselves, and values in units of 2^(E − 127 − 6).
        power_scales(v, bits, 0, 6)
    }

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, exponents: [i32; 2], multiples: [[V::F32; 2]; 2], blocks: &mut [[u8; 33]; 2]) {
        let [[first_exponent, first @ ..], [second_exponent, second @ ..]] = blocks;
        (*first_exponent, *second_exponent) = (exponents[0] as u8, exponents[1] as u8);
        let [[a, b], [c, d]] = multiples;
        let codes = [[v.round_to_i32(a), v.round_to_i32(b)], [v.round_to_i32(c), v.round_to_i32(d)]];
        v.store_symmetric_i8(codes, [as_i8(first), as_i8(second)]);
    }
}

impl Blocks<33, 2> for MxInt8 {
    const CODES: [i8; 2] = [-128, 127];

    #[inline(always)]
    fn vector_scales(block: &[u8; 33]) -> [f32; 2] {
        [power(block[0], 6); 2]
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
