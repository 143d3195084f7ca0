//! ggml's Q2_K, as its scalar code (`quantize_row_q2_K_ref`) has it: sixteen groups of 16 with scales and offsets of four
//! bits, which come first in a block. Byte j of the first half of the codes has the values j, j + 32, j + 64 and j + 96,
//! from the lowest bits on.

use super::block::{Blocks, half_at};
use super::search::{OffsetSearch, transposed};
use super::super_block::{self, SAFE, VALUES};
use super::units::{Rounder, Units};
use crate::kernel::Vectors;
use crate::simd::LANES;

#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name that ggml gives it")]
pub(super) struct Q2_K;

const SEARCH: OffsetSearch = OffsetSearch { steps: 3, first: -0.5, last_try: 15, by_magnitudes: true };

/// Where value k lies: its byte among the 64 of codes, and its lowest bit.
#[inline(always)]
fn place(k: usize) -> (usize, usize) {
    (k / 128 * 32 + k % 32, k / 32 % 4 * 2)
}

impl Units<84, LANES, 1> for Q2_K {
    const BLOCK_TIME: usize = 500;

    const PIECE: usize = 16;

    const HALVES: &'static [usize] = &[80, 82];

    fn safe(self) -> Option<f32> {
        Some(SAFE)
    }

    #[inline(always)]
    fn encode<V: Vectors>(self, v: V, [x]: &[[[f32; LANES]; LANES]; 1], _: &Rounder<'_>, [block]: &mut [[u8; 84]; 1]) {
        let transposed = transposed(x);
        let mut weights = transposed;
        weights.as_flattened_mut().iter_mut().for_each(|weight| *weight = weight.abs());
        let found = SEARCH.run(v, &transposed, &weights);
        let groups = super_block::encode(v, x, &found, SEARCH, LANES, 15);
        for g in 0..LANES {
            block[g] = groups.scales[g] | groups.offsets[g] << 4;
        }
        let codes = groups.codes.as_flattened();
        block[16..80].fill(0);
        for k in 0..VALUES {
            let (byte, bit) = place(k);
            block[16 + byte] |= codes[k] << bit;
        }
        block[80..82].copy_from_slice(&groups.d[0].to_le_bytes());
        block[82..].copy_from_slice(&groups.dmin[0].to_le_bytes());
    }
}

impl Blocks<84, LANES> for Q2_K {
    const CODES: [i8; 2] = [0, 3];

    const GROUP: usize = 1;

    const HAS_OFFSETS: bool = true;

    #[inline(always)]
    fn vector_scales(block: &[u8; 84]) -> [f32; LANES] {
        let (d, mut scales) = (half_at(block, 80), [0.0; LANES]);
        for g in 0..LANES {
            scales[g] = d * f32::from(block[g] & 15);
        }
        scales
    }

    #[inline(always)]
    fn vector_offsets(block: &[u8; 84]) -> [f32; LANES] {
        let (dmin, mut offsets) = (half_at(block, 82), [0.0; LANES]);
        for g in 0..LANES {
            offsets[g] = -(dmin * f32::from(block[g] >> 4));
        }
        offsets
    }

    #[inline(always)]
    fn split(block: &[u8; 84]) -> [[i8; LANES]; LANES] {
        let mut codes = [[0; LANES]; LANES];
        for (k, code) in codes.as_flattened_mut().iter_mut().enumerate() {
            let (byte, bit) = place(k);
            *code = (block[16 + byte] >> bit & 3) as i8;
        }
        codes
    }
}
