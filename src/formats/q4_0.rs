//! ggml's Q4_0, as its scalar code (`quantize_row_q4_0_ref`) has it. The value of the largest magnitude gets the code −8 of
//! sixteen, so the scale has the other sign; codes are made with the scale before it is rounded to f16.

use super::block::{BlockVectors, Blocks, Format, Scales, Sixteen, half_at};
use super::extremes::extremes;
use super::nibbles::{nibbles, split_nibbles, store_nibbles, truncated};
use crate::half::f16::FINITE;
use crate::simd::LANES;

pub(super) struct Q4_0;

impl Format<18, 2> for Q4_0 {
    const LIMIT: f32 = 8.0;

    const LARGEST: Option<f32> = Some(8.0 * FINITE);

    const PREFETCHES: bool = false;

    #[inline(always)]
    fn largest<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
        extremes(v, x, prefetch)
    }

    #[inline(always)]
    fn scales<V: BlockVectors>(v: V, extremes: V::I32) -> Scales<V> {
        Scales::halves(v, v.div_f32(v.of_bits(extremes), v.splat_f32(-8.0)), 1.0)
    }

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, d: [i32; 2], multiples: [[V::F32; 2]; 2], blocks: &mut [[u8; 18]; 2]) {
        for i in 0..2 {
            let [d0, d1, codes @ ..] = &mut blocks[i];
            [*d0, *d1] = (d[i] as u16).to_le_bytes();
            store_nibbles(v, truncated(v, multiples[i], 8.5, 15), codes);
        }
    }
}

impl Blocks<18, 2> for Q4_0 {
    #[inline(always)]
    fn vector_scales(block: &[u8; 18]) -> [f32; 2] {
        [half_at(block, 0); 2]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; 18]) -> [V::I32; 2] {
        let [_, _, codes @ ..] = block;
        let ([low, high], eight) = (nibbles(v, codes), v.splat_i32(8));
        [v.sub_i32(low, eight), v.sub_i32(high, eight)]
    }

    #[inline(always)]
    fn split(block: &[u8; 18]) -> [[i8; LANES]; 2] {
        let [_, _, codes @ ..] = block;
        split_nibbles(codes, 8)
    }
}
