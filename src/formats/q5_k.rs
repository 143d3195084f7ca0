//! ggml's Q5_K, as its scalar code (`quantize_row_q5_K_ref`) has it: Q4_K with a fifth bit. Bit g of byte j of the 32
//! before the low bits is that of code j of group g.

use super::block::Blocks;
use super::q4_k::{encode_groups, offsets, scales, split_low, write_low, write_scales};
use super::search::OffsetSearch;
use super::super_block::SAFE;
use super::units::{Rounder, Units};
use crate::kernel::Vectors;
use crate::simd::LANES;

#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name that ggml gives it")]
pub(super) struct Q5_K;

const SEARCH: OffsetSearch = OffsetSearch { steps: 31, first: -0.5, last_try: 15, by_magnitudes: false };

impl Units<176, LANES, 2> for Q5_K {
    const BLOCK_TIME: usize = 500;

    const PIECE: usize = 16;

    const HALVES: &'static [usize] = &[0, 2];

    fn safe(self) -> Option<f32> {
        Some(SAFE)
    }

    #[inline(always)]
    fn encode<V: Vectors>(self, v: V, x: &[[[f32; LANES]; LANES]; 2], _: &Rounder<'_>, blocks: &mut [[u8; 176]; 2]) {
        let groups = encode_groups(v, x, SEARCH);
        for (b, block) in blocks.iter_mut().enumerate() {
            let codes = &groups.codes[8 * b..][..8];
            let (head, rest) = block.split_first_chunk_mut().expect("176 bytes");
            write_scales(&groups, b, head);
            let (fifth, low) = rest.split_first_chunk_mut::<32>().expect("160 more");
            for (j, fifth) in fifth.iter_mut().enumerate() {
                *fifth = 0;
                for g in 0..8 {
                    *fifth |= codes[g][j] >> 4 << g;
                }
            }
            write_low(codes, low.first_chunk_mut().expect("128 more"));
        }
    }
}

impl Blocks<176, LANES> for Q5_K {
    const CODES: [i8; 2] = [0, 31];

    const HAS_OFFSETS: bool = true;

    #[inline(always)]
    fn vector_scales(block: &[u8; 176]) -> [f32; LANES] {
        scales(block)
    }

    #[inline(always)]
    fn vector_offsets(block: &[u8; 176]) -> [f32; LANES] {
        offsets(block)
    }

    #[inline(always)]
    fn split(block: &[u8; 176]) -> [[i8; LANES]; LANES] {
        let mut codes = split_low(block[48..].first_chunk().expect("128 bytes"));
        for (g, codes) in codes.as_flattened_mut().as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (code, fifth) in codes.iter_mut().zip(&block[16..48]) {
                *code += (fifth >> g & 1) as i8 * 16;
            }
        }
        codes
    }
}
