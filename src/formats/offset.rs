//! Formats of blocks with an offset: the minimum, and a scale of the steps from it to the maximum. Both are stored as f16.

use super::block::{BlockVectors, Blocks, Sixteen};
use super::extremes::minima_and_maxima;
use crate::half::f16::{INFINITE, to_half};
use crate::simd::LANES;

/// A format of blocks with an offset.
pub(super) trait OffsetFormat<const BYTES: usize>: Blocks<BYTES, 2> {
    /// The largest code.
    const STEPS: i32;
    /// Writes the codes of a block behind its scale and offset.
    fn write<V: BlockVectors>(v: V, codes: [V::I32; 2], bytes: &mut [u8; BYTES]);
}

/// Whether the scale or the offset of a block is no f16, given its largest code.
pub(super) fn refuses(x: &[[f32; LANES]; 2], steps: i32) -> bool {
    let x = x.as_flattened();
    let (min, max) = (x.iter().copied().fold(f32::MAX, f32::min), x.iter().copied().fold(f32::MIN, f32::max));
    min.abs() >= INFINITE || (max - min) / steps as f32 >= INFINITE
}

/// Encodes sixteen blocks.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn encode<V: BlockVectors, F: OffsetFormat<BYTES>, const BYTES: usize>(
    v: V,
    x: &Sixteen<2>,
    blocks: &mut [[u8; BYTES]; LANES],
) {
    let (zero, steps) = (v.splat_f32(0.0), v.splat_f32(F::STEPS as f32));
    let [minima, maxima] = minima_and_maxima(v, x);
    let d = v.div_f32(v.sub_f32(maxima, minima), steps);
    let reciprocals = v.select_f32(v.equal_f32(d, zero), zero, v.div_f32(v.splat_f32(1.0), d));
    let (mut offsets, mut factors, mut stored) = ([0.0; LANES], [0.0; LANES], [[0; LANES]; 2]);
    v.store_f32(minima, &mut offsets);
    v.store_f32(reciprocals, &mut factors);
    v.store_i32(to_half(v, d), &mut stored[0]);
    v.store_i32(to_half(v, minima), &mut stored[1]);
    for i in 0..LANES {
        let (offset, factor, half) = (v.splat_f32(offsets[i]), v.splat_f32(factors[i]), v.splat_f32(0.5));
        let mut codes = [v.splat_i32(0); 2];
        for k in 0..2 {
            // (NaN where the reciprocal of the smallest scales is infinite.)
            let multiple = v.mul_f32(v.sub_f32(v.load_f32(&x[i][k]), offset), factor);
            let multiple = v.clamp_f32(multiple, zero, steps);
            codes[k] = v.min_i32(v.trunc_to_i32(v.add_f32(multiple, half)), v.splat_i32(F::STEPS));
        }
        F::write(v, codes, &mut blocks[i]);
        let [d0, d1, m0, m1, ..] = &mut blocks[i][..] else { unreachable!("a block has both") };
        ([*d0, *d1], [*m0, *m1]) = ((stored[0][i] as u16).to_le_bytes(), (stored[1][i] as u16).to_le_bytes());
    }
}
