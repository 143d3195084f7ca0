//! ggml's Q4_1, as its scalar code (`quantize_row_q4_1_ref`) has it: four bits from the minimum on. Codes are made with the
//! scale and the offset before they are rounded to f16.

use super::block::{BlockVectors, Blocks, Sixteen, half_at};
use super::nibbles::{nibbles, split_nibbles, store_nibbles};
use super::offset::{self, OffsetFormat};
use super::units::{Rounder, Units};
use crate::half::f16::FINITE;
use crate::isa::Isa;
use crate::kernel::Vectors;
use crate::simd::LANES;

#[derive(Clone, Copy)]
pub(super) struct Q4_1;

impl OffsetFormat<20> for Q4_1 {
    const STEPS: i32 = 15;

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, codes: [V::I32; 2], [_, _, _, _, bytes @ ..]: &mut [u8; 20]) {
        store_nibbles(v, codes, bytes);
    }
}

impl Units<20, 2, LANES> for Q4_1 {
    const BLOCK_TIME: usize = 2;

    const PIECE: usize = 512;

    fn safe(self) -> Option<f32> {
        Some(FINITE)
    }

    fn refuses(self, _: Isa, x: &[[f32; LANES]; 2]) -> bool {
        offset::refuses(x, Self::STEPS)
    }

    #[inline(always)]
    fn encode<V: Vectors>(self, v: V, x: &Sixteen<2>, _: &Rounder<'_>, blocks: &mut [[u8; 20]; LANES]) {
        offset::encode::<V, Self, _>(v, x, blocks);
    }
}

impl Blocks<20, 2> for Q4_1 {
    const HAS_OFFSETS: bool = true;

    #[inline(always)]
    fn vector_scales(block: &[u8; 20]) -> [f32; 2] {
        [half_at(block, 0); 2]
    }

    #[inline(always)]
    fn vector_offsets(block: &[u8; 20]) -> [f32; 2] {
        [half_at(block, 2); 2]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, [_, _, _, _, bytes @ ..]: &[u8; 20]) -> [V::I32; 2] {
        nibbles(v, bytes)
    }

    #[inline(always)]
    fn split([_, _, _, _, bytes @ ..]: &[u8; 20]) -> [[i8; LANES]; 2] {
        split_nibbles(bytes, 0)
    }
}
