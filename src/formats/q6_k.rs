//! ggml's Q6_K, as its scalar code (`quantize_row_q6_K_ref`) has it: sixteen groups of 16 with scales of eight bits,
//! symmetric. The largest scale has the code −128.
//!
//! 128 bytes of low bits, 64 of the two high ones, the scales, and their f16. Byte j of the 64 bytes of low bits of a half
//! has value j low and j + 64 high; byte j of its 32 of high bits the values j, j + 32, j + 64 and j + 96, from the lowest
//! bits on.

use super::block::{Blocks, half_at};
use super::search::{ZEROS, nearest, search_symmetric, transposed};
use super::super_block::{SAFE, VALUES, halves, round_group};
use super::units::{Rounder, Units};
use crate::half::f16::from_half;
use crate::kernel::Vectors;
use crate::simd::LANES;

#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name that ggml gives it")]
pub(super) struct Q6_K;

/// The zero point of stored codes, and one more than the largest code.
const HALF: i32 = 32;

/// Where value k lies: the byte and the lowest bit of its low bits, and those of its high ones.
#[inline(always)]
fn places(k: usize) -> [(usize, usize); 2] {
    let (half, quarter, j) = (k / 128, k / 32 % 4, k % 32);
    [(half * 64 + quarter % 2 * 32 + j, quarter / 2 * 4), (128 + half * 32 + j, 2 * quarter)]
}

impl Units<210, LANES, 1> for Q6_K {
    const BLOCK_TIME: usize = 300;

    const PIECE: usize = 16;

    const HALVES: &'static [usize] = &[208];

    fn safe(self) -> Option<f32> {
        Some(SAFE)
    }

    #[inline(always)]
    fn encode<V: Vectors>(self, v: V, [x]: &[[[f32; LANES]; LANES]; 1], _: &Rounder<'_>, [block]: &mut [[u8; 210]; 1]) {
        let found = search_symmetric(v, &transposed(x), HALF);
        let mut scales = [0.0; LANES];
        v.store_f32(found.scales, &mut scales);
        let extreme = scales.iter().fold(0.0, |most: f32, &scale| if scale.abs() > most.abs() { scale } else { most });
        block.fill(0);
        if extreme.abs() < ZEROS {
            return;
        }
        let inverse = -128.0 / extreme;
        let [d, _] = halves(v, [1.0 / inverse, 0.0]);
        let mut rounded = [0; LANES];
        v.store_i32(nearest(v, v.mul_f32(v.splat_f32(inverse), found.scales)), &mut rounded);
        let mut codes = [[0; LANES]; LANES];
        for g in 0..LANES {
            let scale = rounded[g].min(127) as i8;
            block[192 + g] = scale.cast_unsigned();
            let scale = from_half(d) * f32::from(scale);
            round_group(v, &x[g], [scale, 0.0], [-HALF, HALF - 1], g, &found, &mut codes[g]);
        }
        for (k, code) in codes.as_flattened().iter().enumerate().take(VALUES) {
            let [low, high] = places(k);
            block[low.0] |= (code & 15) << low.1;
            block[high.0] |= code >> 4 << high.1;
        }
        block[208..].copy_from_slice(&d.to_le_bytes());
    }
}

impl Blocks<210, LANES> for Q6_K {
    const CODES: [i8; 2] = [-32, 31];

    const GROUP: usize = 1;

    #[inline(always)]
    fn vector_scales(block: &[u8; 210]) -> [f32; LANES] {
        let (d, mut scales) = (half_at(block, 208), [0.0; LANES]);
        for g in 0..LANES {
            scales[g] = d * f32::from(block[192 + g].cast_signed());
        }
        scales
    }

    #[inline(always)]
    fn split(block: &[u8; 210]) -> [[i8; LANES]; LANES] {
        let mut codes = [[0; LANES]; LANES];
        for (k, code) in codes.as_flattened_mut().iter_mut().enumerate() {
            let [low, high] = places(k);
            *code = (block[low.0] >> low.1 & 15 | (block[high.0] >> high.1 & 3) << 4) as i8 - HALF as i8;
        }
        codes
    }
}
