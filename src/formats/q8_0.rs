//! ggml's Q8_0, as its scalar code (`quantize_row_q8_0_ref`) has it: ties are rounded away from zero, and codes are made with
//! the scale before it is rounded to f16.
//!
//! Multiples of d / 2 are as exact as those of d. What they have behind the point is cut off, and the integers, narrowed to
//! sixteen or eight bits, are halved, halves away from zero: 1½ operations a vector, where floats take three to be rounded so.

use super::half::{FINITE, from_half};
use super::{BLOCK, Format, Scales, Sixteen, as_i8, integers, largest_magnitudes, load_i8};
use crate::kernel::Vectors;

#[derive(Clone, Copy)]
pub(crate) struct Q8_0;

impl Format<34> for Q8_0 {
    const LIMIT: f32 = 2.0 * 127.0;

    const LARGEST: Option<f32> = Some(127.0 * FINITE);

    #[inline(always)]
    fn largest<S: Vectors>(self, simd: S, x: &Sixteen) -> S::I32 {
        largest_magnitudes(simd, x)
    }

    #[inline(always)]
    fn scales<S: Vectors>(self, simd: S, amax: S::I32) -> Scales<S> {
        Scales::halves(simd, simd.div_f32(simd.of_bits(amax), simd.splat_f32(127.0)), 2.0)
    }

    #[inline(always)]
    fn write<S: Vectors>(self, simd: S, d: [i32; 2], multiples: [[S::F32; 2]; 2], blocks: &mut [[u8; 34]; 2]) {
        let [[a0, a1, a @ ..], [b0, b1, b @ ..]] = blocks;
        ([*a0, *a1], [*b0, *b1]) = ((d[0] as u16).to_le_bytes(), (d[1] as u16).to_le_bytes());
        let doubled = integers::<S>(
            multiples,
            #[inline(always)]
            |v| simd.trunc_to_i32(v),
        );
        simd.store_halved_i8(doubled, [as_i8(a), as_i8(b)]);
    }

    #[inline(always)]
    fn read<S: Vectors>(self, simd: S, block: &[u8; 34]) -> (f32, [S::I32; 2]) {
        let [d0, d1, codes @ ..] = block;
        let codes: &[u8; BLOCK] = codes;
        (from_half(u16::from_le_bytes([*d0, *d1])), load_i8(simd, codes))
    }
}
