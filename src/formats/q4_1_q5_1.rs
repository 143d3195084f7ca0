//! ggml's Q4_1 and Q5_1, as its scalar code (`quantize_row_q4_1_ref`) has them: the minimum is the offset, and the scale is
//! that of the steps from there to the maximum. Codes are made with both before they are rounded to f16.

use super::block::{BlockVectors, Blocks, Sixteen, half_at};
use super::extremes::minima_and_maxima;
use super::nibbles::{load_codes, split_codes, store_codes};
use super::units::{Rounder, Units};
use crate::half::f16::{FINITE, to_any_half};
use crate::kernel::Vectors;
use crate::simd::LANES;

/// Blocks of BYTES bytes: a scale, an offset, and codes of so many bits.
#[derive(Clone, Copy)]
pub(super) struct FromMinimum<const BITS: u32, const BYTES: usize> {}

pub(super) type Q4_1 = FromMinimum<4, 20>;
pub(super) type Q5_1 = FromMinimum<5, 24>;

impl<const BITS: u32, const BYTES: usize> FromMinimum<BITS, BYTES> {
    /// The largest code.
    const STEPS: i32 = (1 << BITS) - 1;
}

impl<const BITS: u32, const BYTES: usize> Units<BYTES, 2, LANES> for FromMinimum<BITS, BYTES> {
    const BLOCK_TIME: usize = 2;

    const PIECE: usize = 512;

    const HALVES: &'static [usize] = &[0, 2];

    fn safe(self) -> Option<f32> {
        Some(FINITE)
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    fn encode<V: Vectors>(self, v: V, x: &Sixteen<2>, _: &Rounder<'_>, blocks: &mut [[u8; BYTES]; LANES]) {
        let (zero, steps) = (v.splat_f32(0.0), v.splat_f32(Self::STEPS as f32));
        let [minima, maxima] = minima_and_maxima(v, x);
        let d = v.div_f32(v.sub_f32(maxima, minima), steps);
        let reciprocals = v.select_f32(v.equal_f32(d, zero), zero, v.div_f32(v.splat_f32(1.0), d));
        let (mut offsets, mut factors, mut stored) = ([0.0; LANES], [0.0; LANES], [[0; LANES]; 2]);
        v.store_f32(minima, &mut offsets);
        v.store_f32(reciprocals, &mut factors);
        v.store_i32(to_any_half(v, d), &mut stored[0]);
        v.store_i32(to_any_half(v, minima), &mut stored[1]);
        for i in 0..LANES {
            let (offset, factor, half) = (v.splat_f32(offsets[i]), v.splat_f32(factors[i]), v.splat_f32(0.5));
            let mut codes = [v.splat_i32(0); 2];
            for k in 0..2 {
                // (NaN where the reciprocal of the smallest scales is infinite.)
                let multiple = v.mul_f32(v.sub_f32(v.load_f32(&x[i][k]), offset), factor);
                let multiple = v.clamp_f32(multiple, zero, steps);
                codes[k] = v.min_i32(v.trunc_to_i32(v.add_f32(multiple, half)), v.splat_i32(Self::STEPS));
            }
            blocks[i][..2].copy_from_slice(&(stored[0][i] as u16).to_le_bytes());
            blocks[i][2..4].copy_from_slice(&(stored[1][i] as u16).to_le_bytes());
            store_codes::<V, BITS>(v, codes, &mut blocks[i][4..]);
        }
    }
}

impl<const BITS: u32, const BYTES: usize> Blocks<BYTES, 2> for FromMinimum<BITS, BYTES> {
    const CODES: [i8; 2] = [0, (1 << BITS) - 1];

    const HAS_OFFSETS: bool = true;

    #[inline(always)]
    fn vector_scales(block: &[u8; BYTES]) -> [f32; 2] {
        [half_at(block, 0); 2]
    }

    #[inline(always)]
    fn vector_offsets(block: &[u8; BYTES]) -> [f32; 2] {
        [half_at(block, 2); 2]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; BYTES]) -> [V::I32; 2] {
        load_codes::<V, BITS>(v, &block[4..])
    }

    #[inline(always)]
    fn split(block: &[u8; BYTES]) -> [[i8; LANES]; 2] {
        split_codes::<BITS>(&block[4..], 0)
    }
}
