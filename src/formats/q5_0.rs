//! ggml's Q5_0, as its scalar code (`quantize_row_q5_0_ref`) has it: Q4_0 with a fifth bit, which lies apart.

use super::block::{BlockVectors, Blocks, Format, Scales, Sixteen, half_at};
use super::extremes::extremes;
use super::nibbles::{five_bits, split_five_bits, store_five_bits, truncated};
use crate::half::f16::FINITE;
use crate::simd::LANES;

pub(super) struct Q5_0;

impl Format<22, 2> for Q5_0 {
    const LIMIT: f32 = 16.0;

    const LARGEST: Option<f32> = Some(16.0 * FINITE);

    const PREFETCHES: bool = false;

    #[inline(always)]
    fn largest<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
        extremes(v, x, prefetch)
    }

    #[inline(always)]
    fn scales<V: BlockVectors>(v: V, extremes: V::I32) -> Scales<V> {
        Scales::halves(v, v.div_f32(v.of_bits(extremes), v.splat_f32(-16.0)), 1.0)
    }

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, d: [i32; 2], multiples: [[V::F32; 2]; 2], blocks: &mut [[u8; 22]; 2]) {
        for i in 0..2 {
            let [d0, d1, codes @ ..] = &mut blocks[i];
            [*d0, *d1] = (d[i] as u16).to_le_bytes();
            store_five_bits(v, truncated(v, multiples[i], 16.5, 31), codes);
        }
    }
}

impl Blocks<22, 2> for Q5_0 {
    #[inline(always)]
    fn vector_scales(block: &[u8; 22]) -> [f32; 2] {
        [half_at(block, 0); 2]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; 22]) -> [V::I32; 2] {
        let [_, _, codes @ ..] = block;
        let ([low, high], sixteen) = (five_bits(v, codes), v.splat_i32(16));
        [v.sub_i32(low, sixteen), v.sub_i32(high, sixteen)]
    }

    #[inline(always)]
    fn split(block: &[u8; 22]) -> [[i8; LANES]; 2] {
        let [_, _, codes @ ..] = block;
        split_five_bits(codes, 16)
    }
}
