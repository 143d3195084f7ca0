//! ggml's Q8_0, as its scalar code (`quantize_row_q8_0_ref`) has it: ties are rounded away from zero, and codes are made with
//! the scale before it is rounded to f16.

use super::half::{from_half, to_half};
use super::{BLOCK, Format, both, largest_bits, load_i8, store_i8};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Q8_0;

/// The largest f32 below a half.
const BELOW_HALF: f32 = 0.5 - 1.0 / (1 << 25) as f32;

/// To nearest, ties away from zero: to even first, then one further where that went towards zero from a tie.
#[inline(always)]
fn round_away<S: Simd>(simd: S, v: S::F32) -> S::I32 {
    let even = simd.round_to_i32(v);
    // Exact; ±½ at ties.
    let rest = simd.sub_f32(v, simd.to_f32(even));
    let zero = simd.splat_i32(0);
    let up = simd.add_if_less(even, simd.splat_f32(BELOW_HALF), simd.min_f32(rest, v));
    simd.sub_i32(up, simd.add_if_less(zero, simd.max_f32(rest, v), simd.splat_f32(-BELOW_HALF)))
}

impl Format<34> for Q8_0 {
    #[inline(always)]
    fn encode<S: Simd>(self, simd: S, x: [S::F32; 2], block: &mut [u8; 34]) {
        let d = f32::from_bits(largest_bits(simd, x) as u32) / 127.0;
        let reciprocal = simd.splat_f32(if d == 0.0 { 0.0 } else { 1.0 / d });
        let [d0, d1, codes @ ..] = block;
        [*d0, *d1] = to_half(d).to_le_bytes();
        // The reciprocal of the smallest scales is infinite.
        let (min, max) = (simd.splat_f32(-127.0), simd.splat_f32(127.0));
        let q = both(
            x,
            #[inline(always)]
            |x| round_away(simd, simd.clamp_f32(simd.mul_f32(x, reciprocal), min, max)),
        );
        store_i8(simd, q, codes);
    }

    #[inline(always)]
    fn read<S: Simd>(self, simd: S, block: &[u8; 34]) -> (f32, [S::I32; 2]) {
        let [d0, d1, codes @ ..] = block;
        let codes: &[u8; BLOCK] = codes;
        (from_half(u16::from_le_bytes([*d0, *d1])), load_i8(simd, codes))
    }
}
