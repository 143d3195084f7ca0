//! ggml's Q4_0 and Q5_0, as its scalar code (`quantize_row_q4_0_ref`) has them. The value of the largest magnitude gets the
//! lowest code, −8 or −16, so the scale has the other sign; codes are made with the scale before it is rounded to f16.

use super::block::{BlockVectors, Blocks, Format, Scales, Sixteen, half_at};
use super::extremes::extremes;
use super::nibbles::{load_codes, split_codes, store_codes, truncated};
use crate::half::f16::FINITE;
use crate::simd::LANES;

/// Blocks of BYTES bytes: a scale, and codes of so many bits.
pub(super) struct Symmetric<const BITS: u32, const BYTES: usize>;

pub(super) type Q4_0 = Symmetric<4, 18>;
pub(super) type Q5_0 = Symmetric<5, 22>;

impl<const BITS: u32, const BYTES: usize> Symmetric<BITS, BYTES> {
    /// The zero point of stored codes.
    const MIDDLE: i32 = 1 << (BITS - 1);
}

impl<const BITS: u32, const BYTES: usize> Format<BYTES, 2> for Symmetric<BITS, BYTES> {
    const LIMIT: f32 = Self::MIDDLE as f32;

    const LARGEST: Option<f32> = Some(Self::LIMIT * FINITE);

    const PREFETCHES: bool = false;

    #[inline(always)]
    fn largest<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
        extremes(v, x, prefetch)
    }

    #[inline(always)]
    fn scales<V: BlockVectors>(v: V, extremes: V::I32) -> Scales<V> {
        Scales::halves(v, v.div_f32(v.of_bits(extremes), v.splat_f32(-Self::LIMIT)), 1.0)
    }

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, d: [i32; 2], multiples: [[V::F32; 2]; 2], blocks: &mut [[u8; BYTES]; 2]) {
        for i in 0..2 {
            let codes = truncated(v, multiples[i], Self::LIMIT + 0.5, 2 * Self::MIDDLE - 1);
            blocks[i][..2].copy_from_slice(&(d[i] as u16).to_le_bytes());
            store_codes::<V, BITS>(v, codes, &mut blocks[i][2..]);
        }
    }
}

impl<const BITS: u32, const BYTES: usize> Blocks<BYTES, 2> for Symmetric<BITS, BYTES> {
    const CODES: [i8; 2] = [-(1 << (BITS - 1)), (1 << (BITS - 1)) - 1];

    #[inline(always)]
    fn vector_scales(block: &[u8; BYTES]) -> [f32; 2] {
        [half_at(block, 0); 2]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; BYTES]) -> [V::I32; 2] {
        let ([low, high], middle) = (load_codes::<V, BITS>(v, &block[2..]), v.splat_i32(Self::MIDDLE));
        [v.sub_i32(low, middle), v.sub_i32(high, middle)]
    }

    #[inline(always)]
    fn split(block: &[u8; BYTES]) -> [[i8; LANES]; 2] {
        split_codes::<BITS>(&block[2..], Self::MIDDLE as i8)
    }
}
