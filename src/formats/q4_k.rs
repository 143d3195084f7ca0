//! ggml's Q4_K, as its scalar code (`quantize_row_q4_K_ref`) has it, and what Q5_K shares with it: eight groups of 32 with
//! scales and offsets of six bits. After the search both are rounded to multiples of the block's own two f16, and the codes
//! are made anew with what they stand for.
//!
//! The twelve bytes of scales s and offsets m:
//!
//! | byte | bits 0–3 | bits 4, 5 | bits 6, 7 |
//! |---|---|---|---|
//! | j = 0 … 3 | s\[j\] | s\[j\] | bits 4, 5 of s\[j + 4\] |
//! | j + 4 | m\[j\] | m\[j\] | bits 4, 5 of m\[j + 4\] |
//! | j + 8 | s\[j + 4\] | m\[j + 4\] | m\[j + 4\] |

use super::block::{BlockVectors, Blocks, half_at};
use super::search::{OffsetSearch, Transposed, transposed};
use super::super_block::{self, Groups, SAFE};
use super::units::{Rounder, Units};
use crate::kernel::Vectors;
use crate::reduce::vectors::magnitude_bits;
use crate::simd::LANES;

#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name that ggml gives it")]
pub(super) struct Q4_K;

/// Values of a group.
const GROUP: usize = 32;

/// Groups of a block.
const GROUPS: usize = 8;

const SEARCH: OffsetSearch = OffsetSearch { steps: 15, first: -1.0, last_try: 20, by_magnitudes: false };

/// The groups of two blocks, encoded; errors are weighted by magnitudes above the root of the mean square.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn encode_groups<V: BlockVectors>(
    v: V,
    x: &[[[f32; LANES]; LANES]; 2],
    search: OffsetSearch,
) -> Groups<GROUP> {
    let groups: &[[f32; GROUP]; LANES] = bytemuck::cast_ref(x);
    let transposed = transposed(groups);
    let found = search.run(v, &transposed, &weights(v, &transposed));
    super_block::encode(v, groups, &found, search, GROUPS, 63)
}

#[cfg_attr(not(unoptimized), inline(always))]
fn weights<V: BlockVectors>(v: V, x: &Transposed<GROUP>) -> Transposed<GROUP> {
    let (mut squares, mut means, mut weights) = (v.splat_f32(0.0), [0.0; LANES], [[0.0; LANES]; GROUP]);
    for x in x {
        let x = v.load_f32(x);
        squares = v.add_f32(squares, v.mul_f32(x, x));
    }
    v.store_f32(v.div_f32(squares, v.splat_f32(GROUP as f32)), &mut means);
    let roots = v.load_f32(&means.map(f32::sqrt));
    for (x, weight) in x.iter().zip(&mut weights) {
        v.store_f32(v.add_f32(roots, v.of_bits(magnitude_bits(v, v.load_f32(x)))), weight);
    }
    weights
}

/// The first sixteen bytes of block `b`.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn write_scales(groups: &Groups<GROUP>, b: usize, bytes: &mut [u8; 16]) {
    let (scales, offsets) = (&groups.scales[GROUPS * b..][..GROUPS], &groups.offsets[GROUPS * b..][..GROUPS]);
    let [d0, d1, m0, m1, packed @ ..] = bytes;
    ([*d0, *d1], [*m0, *m1]) = (groups.d[b].to_le_bytes(), groups.dmin[b].to_le_bytes());
    for j in 0..4 {
        packed[j] = scales[j] | scales[j + 4] >> 4 << 6;
        packed[j + 4] = offsets[j] | offsets[j + 4] >> 4 << 6;
        packed[j + 8] = scales[j + 4] & 15 | (offsets[j + 4] & 15) << 4;
    }
}

/// The scales or the offsets of groups, `unit` times six bits.
#[inline(always)]
fn by_groups(unit: f32, six_bits: impl Fn(usize) -> u8) -> [f32; LANES] {
    let mut vectors = [0.0; LANES];
    for (k, vector) in vectors.iter_mut().enumerate() {
        *vector = unit * f32::from(six_bits(k / 2));
    }
    vectors
}

/// The scales of a block's vectors.
#[inline(always)]
pub(super) fn scales(block: &[u8]) -> [f32; LANES] {
    let packed = &block[4..16];
    by_groups(
        half_at(block, 0),
        #[inline(always)]
        |g| if g < 4 { packed[g] & 63 } else { packed[g + 4] & 15 | packed[g - 4] >> 6 << 4 },
    )
}

/// The offsets of a block's vectors.
#[inline(always)]
pub(super) fn offsets(block: &[u8]) -> [f32; LANES] {
    let packed = &block[4..16];
    by_groups(
        -half_at(block, 2),
        #[inline(always)]
        |g| if g < 4 { packed[g + 4] & 63 } else { packed[g + 4] >> 4 | packed[g] >> 6 << 4 },
    )
}

/// Low bits of codes, two groups in the halves of 32 bytes.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn write_low(codes: &[[u8; GROUP]], bytes: &mut [u8; 128]) {
    for (pair, bytes) in codes.as_chunks::<2>().0.iter().zip(bytes.as_chunks_mut::<GROUP>().0) {
        for j in 0..GROUP {
            bytes[j] = pair[0][j] & 15 | pair[1][j] << 4;
        }
    }
}

/// Low bits of codes, as they are read.
#[inline(always)]
pub(super) fn split_low(bytes: &[u8; 128]) -> [[i8; LANES]; LANES] {
    let mut codes = [[0; LANES]; LANES];
    let groups = codes.as_flattened_mut().as_chunks_mut::<{ 2 * GROUP }>().0;
    for (codes, bytes) in groups.iter_mut().zip(bytes.as_chunks::<GROUP>().0) {
        for j in 0..GROUP {
            (codes[j], codes[j + GROUP]) = ((bytes[j] & 15) as i8, (bytes[j] >> 4) as i8);
        }
    }
    codes
}

impl Units<144, LANES, 2> for Q4_K {
    const BLOCK_TIME: usize = 500;

    const PIECE: usize = 16;

    const HALVES: &'static [usize] = &[0, 2];

    fn safe(self) -> Option<f32> {
        Some(SAFE)
    }

    #[inline(always)]
    fn encode<V: Vectors>(self, v: V, x: &[[[f32; LANES]; LANES]; 2], _: &Rounder<'_>, blocks: &mut [[u8; 144]; 2]) {
        let groups = encode_groups(v, x, SEARCH);
        for (b, block) in blocks.iter_mut().enumerate() {
            let (head, low) = block.split_first_chunk_mut().expect("144 bytes");
            write_scales(&groups, b, head);
            write_low(&groups.codes[GROUPS * b..][..GROUPS], low.first_chunk_mut().expect("128 more"));
        }
    }
}

impl Blocks<144, LANES> for Q4_K {
    const CODES: [i8; 2] = [0, 15];

    const HAS_OFFSETS: bool = true;

    #[inline(always)]
    fn vector_scales(block: &[u8; 144]) -> [f32; LANES] {
        scales(block)
    }

    #[inline(always)]
    fn vector_offsets(block: &[u8; 144]) -> [f32; LANES] {
        offsets(block)
    }

    #[inline(always)]
    fn split(block: &[u8; 144]) -> [[i8; LANES]; LANES] {
        split_low(block[16..].first_chunk().expect("128 bytes"))
    }
}
