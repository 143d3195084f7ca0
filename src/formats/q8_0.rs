//! ggml's Q8_0, as its scalar code (`quantize_row_q8_0_ref`) has it: ties are rounded away from zero, and codes are made with
//! the scale before it is rounded to f16.

use super::half::{FINITE, from_half};
use super::{BLOCK, Format, Scales, Sixteen, largest_magnitudes, load_i8, store_i8};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Q8_0;

/// The largest f32 below a half.
const BELOW_HALF: f32 = 0.5 - 1.0 / (1 << 25) as f32;

/// To nearest, ties away from zero: from a tie on, the sum with almost a half reaches the next integer. (A half itself would
/// lift the number below a half, too.)
#[inline(always)]
fn round_away<S: Simd>(simd: S, v: S::F32) -> S::I32 {
    let sign = simd.and_i32(simd.to_bits(v), simd.splat_i32(i32::MIN));
    let almost_half = simd.xor_i32(sign, simd.splat_i32(BELOW_HALF.to_bits() as i32));
    simd.trunc_to_i32(simd.add_f32(v, simd.of_bits(almost_half)))
}

impl Format<34> for Q8_0 {
    const LIMIT: f32 = 127.0;

    const LARGEST: Option<f32> = Some(127.0 * FINITE);

    #[inline(always)]
    fn largest<S: Simd>(self, simd: S, x: &Sixteen) -> S::I32 {
        largest_magnitudes(simd, x)
    }

    #[inline(always)]
    fn scales<S: Simd>(self, simd: S, amax: S::I32) -> Scales<S> {
        Scales::halves(simd, simd.div_f32(simd.of_bits(amax), simd.splat_f32(127.0)))
    }

    #[inline(always)]
    fn write<S: Simd>(self, simd: S, d: [i32; 2], multiples: [[S::F32; 2]; 2], blocks: &mut [[u8; 34]; 2]) {
        let [[a0, a1, a @ ..], [b0, b1, b @ ..]] = blocks;
        ([*a0, *a1], [*b0, *b1]) = ((d[0] as u16).to_le_bytes(), (d[1] as u16).to_le_bytes());
        store_i8(
            simd,
            multiples,
            #[inline(always)]
            |v| round_away(simd, v),
            [a, b],
        );
    }

    #[inline(always)]
    fn read<S: Simd>(self, simd: S, block: &[u8; 34]) -> (f32, [S::I32; 2]) {
        let [d0, d1, codes @ ..] = block;
        let codes: &[u8; BLOCK] = codes;
        (from_half(u16::from_le_bytes([*d0, *d1])), load_i8(simd, codes))
    }
}
