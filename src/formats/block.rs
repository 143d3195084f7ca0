//! What a block format computes, for blocks that are encoded sixteen at a time; and what the formats share.

use bytemuck::cast_mut;

use super::vectors::FormatVectors;
use crate::cache;
use crate::half::f16::to_half;
use crate::reduce::vectors::ReduceVectors;
use crate::reduce::vectors::magnitude_bits;
use crate::simd::{LANES, QUAD};

/// Sixteen blocks.
pub(super) type Sixteen<const VECTORS: usize> = [[[f32; LANES]; VECTORS]; LANES];

/// The vector operations that formats need.
pub(super) trait BlockVectors: FormatVectors + ReduceVectors {}
impl<V: FormatVectors + ReduceVectors> BlockVectors for V {}

/// A block format of BYTES bytes and VECTORS vectors of values a block.
pub(super) trait Format<const BYTES: usize, const VECTORS: usize> {
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
    /// The scale of a block.
    fn scale(block: &[u8; BYTES]) -> f32;
    /// The codes of a block as integers.
    fn codes<V: BlockVectors>(v: V, block: &[u8; BYTES]) -> [V::I32; VECTORS];
    /// The codes of a block.
    fn split(block: &[u8; BYTES]) -> [[i8; LANES]; VECTORS];
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

/// The bits of the largest magnitude of every block.
#[inline(always)]
pub(super) fn largest_magnitudes<V: BlockVectors, const VECTORS: usize>(
    v: V,
    x: &Sixteen<VECTORS>,
    prefetch: bool,
) -> V::I32 {
    // (Calls, not a loop: the compiler leaves a loop of this length, and vectors in memory.)
    let quads: &[[[[f32; LANES]; VECTORS]; QUAD]] = x.as_chunks().0;
    let (a, b) = (quad_magnitudes(v, &quads[0], prefetch), quad_magnitudes(v, &quads[1], prefetch));
    let (c, d) = (quad_magnitudes(v, &quads[2], prefetch), quad_magnitudes(v, &quads[3], prefetch));
    v.join_maxima([a, b, c, d])
}

/// The partial maxima of the magnitudes of four blocks.
#[inline(always)]
fn quad_magnitudes<V: BlockVectors, const VECTORS: usize>(
    v: V,
    x: &[[[f32; LANES]; VECTORS]; QUAD],
    prefetch: bool,
) -> V::I32 {
    let mut quad = [v.splat_i32(0); QUAD];
    for i in 0..QUAD {
        if prefetch {
            cache::prefetch_ahead(&x[i]);
        }
        quad[i] = magnitude_bits(v, v.load_f32(&x[i][0]));
        for k in 1..VECTORS {
            quad[i] = v.max_i32(quad[i], magnitude_bits(v, v.load_f32(&x[i][k])));
        }
    }
    v.quad_maxima(quad)
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
