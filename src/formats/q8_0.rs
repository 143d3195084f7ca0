//! ggml's Q8_0, as its scalar code (`quantize_row_q8_0_ref`) has it: ties are rounded away from zero, and codes are made
//! with the scale before it is rounded to f16.
//!
//! Multiples of d / 2 are as exact as those of d. Their fraction is cut off, and the integers, narrowed to sixteen or eight
//! bits, are halved, halves away from zero: 1½ operations a vector, where floats take three to be rounded so.

use bytemuck::{cast, cast_ref};

use super::block::{BlockVectors, Blocks, Format, Scales, Sixteen, as_i8, half_at, load_i8};
use super::extremes::largest_magnitudes;
use crate::half::f16::FINITE;
use crate::simd::LANES;

pub(super) struct Q8_0;

impl Format<34, 2> for Q8_0 {
    const LIMIT: f32 = 2.0 * 127.0;

    const LARGEST: Option<f32> = Some(127.0 * FINITE);

    const PREFETCHES: bool = true;

    #[inline(always)]
    fn largest<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
        largest_magnitudes(v, x, prefetch)
    }

    #[inline(always)]
    fn scales<V: BlockVectors>(v: V, amax: V::I32) -> Scales<V> {
        Scales::halves(v, v.div_f32(v.of_bits(amax), v.splat_f32(127.0)), 2.0)
    }

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, d: [i32; 2], multiples: [[V::F32; 2]; 2], blocks: &mut [[u8; 34]; 2]) {
        let [[a0, a1, first @ ..], [b0, b1, second @ ..]] = blocks;
        ([*a0, *a1], [*b0, *b1]) = ((d[0] as u16).to_le_bytes(), (d[1] as u16).to_le_bytes());
        let [[a, b], [c, d]] = multiples;
        let doubled = [[v.trunc_to_i32(a), v.trunc_to_i32(b)], [v.trunc_to_i32(c), v.trunc_to_i32(d)]];
        v.store_halved_i8(doubled, [as_i8(first), as_i8(second)]);
    }
}

impl Blocks<34, 2> for Q8_0 {
    const CODES: [i8; 2] = [-128, 127];

    #[inline(always)]
    fn vector_scales(block: &[u8; 34]) -> [f32; 2] {
        [half_at(block, 0); 2]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; 34]) -> [V::I32; 2] {
        let [_, _, codes @ ..] = block;
        load_i8(v, cast_ref(codes))
    }

    #[inline(always)]
    fn split(block: &[u8; 34]) -> [[i8; LANES]; 2] {
        let [_, _, codes @ ..] = *block;
        cast(codes)
    }
}
