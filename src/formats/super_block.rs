//! What ggml's formats of super-blocks of 256 values share: scales and offsets of groups that are multiples of one f16
//! each.

use super::block::BlockVectors;
use super::search::{Found, OffsetSearch, clamped, nearest};
use crate::half::f16::{from_half, to_any_half};
use crate::simd::LANES;

/// Values of a super-block.
pub(super) const VALUES: usize = 256;

/// The magnitude up to which the scales and offsets of all groups are finite. (The f16 of offsets of Q2_K overflows first,
/// at about 15 · 65520.)
pub(super) const SAFE: f32 = (1_u32 << 18) as f32;

/// The nearest f16 of two values.
#[inline(always)]
pub(super) fn halves<V: BlockVectors>(v: V, values: [f32; 2]) -> [u16; 2] {
    let (mut lanes, mut bits) = ([0.0; LANES], [0; LANES]);
    [lanes[0], lanes[1]] = values;
    v.store_i32(to_any_half(v, v.load_f32(&lanes)), &mut bits);
    [bits[0] as u16, bits[1] as u16]
}

/// Sixteen groups of super-blocks, encoded but not laid out.
pub(super) struct Groups<const N: usize> {
    pub scales: [u8; LANES],
    pub offsets: [u8; LANES],
    /// The f16 of scales and of offsets of up to two blocks.
    pub d: [u16; 2],
    pub dmin: [u16; 2],
    pub codes: [[u8; N]; LANES],
}

/// Encodes groups with offsets, of which a block has `per_block`, with scales and offsets of 0 … `most`.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn encode<V: BlockVectors, const N: usize>(
    v: V,
    x: &[[f32; N]; LANES],
    found: &Found<V, N>,
    search: OffsetSearch,
    per_block: usize,
    most: u8,
) -> Groups<N> {
    let (scales, d) = multiples(v, found.scales, per_block, most);
    let (offsets, dmin) = multiples(v, found.offsets, per_block, most);
    let mut codes = [[0; N]; LANES];
    for g in 0..LANES {
        let d = from_half(d[g / per_block]) * f32::from(scales[g]);
        let dm = from_half(dmin[g / per_block]) * f32::from(offsets[g]);
        round_group(v, &x[g], [d, dm], [0, search.steps], g, found, &mut codes[g]);
    }
    Groups { scales, offsets, d, dmin, codes }
}

/// Values of groups as multiples of 0 … `most` of one f16 a block, the largest of them over `most`.
#[cfg_attr(not(unoptimized), inline(always))]
fn multiples<V: BlockVectors>(v: V, values: V::F32, per_block: usize, most: u8) -> ([u8; LANES], [u16; 2]) {
    let (mut lanes, mut inverse, mut units) = ([0.0; LANES], [0.0; LANES], [0.0; 2]);
    v.store_f32(values, &mut lanes);
    let blocks = lanes.chunks(per_block).zip(inverse.chunks_mut(per_block)).zip(&mut units);
    for ((values, inverse), unit) in blocks {
        let largest = values.iter().fold(0.0, |most: f32, &value| if value > most { value } else { most });
        inverse.fill(if largest > 0.0 { f32::from(most) / largest } else { 0.0 });
        *unit = largest / f32::from(most);
    }
    let mut rounded = [0; LANES];
    v.store_i32(nearest(v, v.mul_f32(v.load_f32(&inverse), values)), &mut rounded);
    (rounded.map(|value| (value as u8).min(most)), halves(v, units))
}

/// The codes of group `g` with its final scale and offset, from `min` to `max`, as they are stored: 0 … `max − min`. Where the
/// scale is 0, the codes that the search found.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn round_group<V: BlockVectors, const N: usize>(
    v: V,
    x: &[f32; N],
    [scale, offset]: [f32; 2],
    [min, max]: [i32; 2],
    g: usize,
    found: &Found<V, N>,
    codes: &mut [u8; N],
) {
    if scale == 0.0 {
        for i in 0..N {
            codes[i] = found.codes[i][g] as u8;
        }
        return;
    }
    let (scale, offset, lowest) = (v.splat_f32(scale), v.splat_f32(offset), v.splat_i32(min));
    for (x, codes) in x.as_chunks().0.iter().zip(codes.as_chunks_mut().0) {
        let multiple = v.div_f32(v.add_f32(v.load_f32(x), offset), scale);
        v.store_u8(v.sub_i32(clamped(v, nearest(v, multiple), min, max), lowest), codes);
    }
}
