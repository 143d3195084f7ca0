//! What a block format computes, for blocks that are encoded sixteen at a time; and what the formats share.

use bytemuck::cast_mut;

use super::vectors::FormatVectors;
use crate::half::f16::{from_half, to_half};
use crate::reduce::vectors::ReduceVectors;
use crate::reduce::vectors::magnitude_bits;
use crate::simd::LANES;

/// Sixteen blocks.
pub(super) type Sixteen<const VECTORS: usize> = [[[f32; LANES]; VECTORS]; LANES];

/// The vector operations that formats need.
pub(super) trait BlockVectors: FormatVectors + ReduceVectors {}
impl<V: FormatVectors + ReduceVectors> BlockVectors for V {}

/// How a block of BYTES bytes is taken apart into VECTORS vectors of codes, and their scales and offsets.
pub(super) trait Blocks<const BYTES: usize, const VECTORS: usize> {
    /// The smallest and the largest code; of E2M1, doubled.
    const CODES: [i8; 2];
    /// Vectors that share a scale.
    const GROUP: usize = 2;
    /// Whether offsets are added to the products of codes and scales.
    const HAS_OFFSETS: bool = false;
    /// Whether scales are multiplied by one scale of the tensor.
    const HAS_TENSOR_SCALE: bool = false;
    /// The scale of every vector, in f32 exactly.
    fn vector_scales(block: &[u8; BYTES]) -> [f32; VECTORS];
    /// The offset of every vector, in f32 exactly.
    #[inline(always)]
    fn vector_offsets(_block: &[u8; BYTES]) -> [f32; VECTORS] {
        [0.0; VECTORS]
    }
    /// The codes of a block as integers.
    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; BYTES]) -> [V::I32; VECTORS] {
        load_i8(v, &Self::split(block))
    }
    /// The codes of a block.
    fn split(block: &[u8; BYTES]) -> [[i8; LANES]; VECTORS];
}

/// A format whose blocks are encoded by one value each, the largest: multiples of the scale that it gives.
pub(super) trait Format<const BYTES: usize, const VECTORS: usize>: Blocks<BYTES, VECTORS> {
    /// The largest multiple, in units of the scale or of the part of it that [`scales`](Format::scales) take.
    const LIMIT: f32;
    /// The largest magnitude whose scale the format can store, if not all can be stored.
    const LARGEST: Option<f32>;
    /// Whether a first reading from the caches is faster if it prefetches. (Level 2 is read a tenth faster with 512 bits.)
    const PREFETCHES: bool;
    /// What the scales of sixteen blocks are made of: the bits of their largest values or magnitudes.
    fn largest<V: BlockVectors>(v: V, x: &Sixteen<VECTORS>, prefetch: bool) -> V::I32;
    /// The scales of sixteen blocks.
    fn scales<V: BlockVectors>(v: V, largest: V::I32) -> Scales<V>;
    /// Writes two blocks, given the stored scale of each and its values as multiples of the scale: within ±LIMIT, but for
    /// what rounding adds to it.
    fn write<V: BlockVectors>(v: V, stored: [i32; 2], multiples: [[V::F32; VECTORS]; 2], blocks: &mut [[u8; BYTES]; 2]);
}

/// The scales of sixteen blocks: what is stored of them, and what values are multiplied by.
pub(super) struct Scales<V: BlockVectors> {
    pub stored: V::I32,
    /// Factors to be multiplied by one after the other.
    pub factors: [V::F32; 2],
    /// The first factor stands for both, and all products are multiples within the limit: as almost always.
    pub plain: bool,
}

impl<V: BlockVectors> Scales<V> {
    /// Scales `d` that are stored as f16, for multiples of d / `units`: the factor is units / d, or 0.
    #[inline(always)]
    pub fn halves(v: V, d: V::F32, units: f32) -> Self {
        let not_zero = v.shift_right(v.sub_i32(v.splat_i32(0), magnitude_bits(v, d)), v.splat_i32(31));
        let reciprocal = v.of_bits(v.and_i32(v.to_bits(v.div_f32(v.splat_f32(1.0), d)), not_zero));
        let units = v.splat_f32(units);
        let factor = v.mul_f32(reciprocal, units);
        // The factor of the smallest scales is infinite.
        let largest = v.splat_i32(f32::MAX.to_bits() as i32);
        let plain = !v.any_negative(v.sub_i32(largest, magnitude_bits(v, factor)));
        Scales { stored: to_half(v, d), factors: [if plain { factor } else { reciprocal }, units], plain }
    }
}

/// The f16 at an index of a block.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    from_half(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Room for codes of eight bits, as two vectors of them are stored at once.
#[inline(always)]
pub(super) fn as_i8(codes: &mut [u8; 2 * LANES]) -> &mut [i8; 2 * LANES] {
    cast_mut(codes)
}

/// Codes of eight bits as integers.
#[inline(always)]
pub(super) fn load_i8<V: BlockVectors, const VECTORS: usize>(
    v: V,
    codes: &[[i8; LANES]; VECTORS],
) -> [V::I32; VECTORS] {
    let mut integers = [v.splat_i32(0); VECTORS];
    for k in 0..VECTORS {
        integers[k] = v.load_i8(&codes[k]);
    }
    integers
}
