//! ggml's Q4_0, as its scalar code (`quantize_row_q4_0_ref`) has it. The value of the largest magnitude gets the code −8 of
//! sixteen, so the scale has the other sign; codes are made with the scale before it is rounded to f16.

use super::block::{BlockVectors, Format, Scales, Sixteen};
use crate::cache;
use crate::half::f16::{FINITE, from_half};
use crate::simd::{LANES, QUAD};

pub(super) struct Q4_0;

/// The bits of the first value of the largest magnitude of every block; 0 for zeros.
#[inline(always)]
fn extremes<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
    let (zero, sign) = (v.splat_i32(0), v.splat_i32(i32::MIN));
    // As integers, the bits of positive values order as the values do, and with the sign turned over so do those of negative
    // ones.
    // (Calls, not a loop: the compiler leaves a loop of this length, and vectors in memory.)
    let quads: &[[[[f32; LANES]; 2]; QUAD]] = x.as_chunks().0;
    let (a, b) = (quad_extremes(v, &quads[0], prefetch), quad_extremes(v, &quads[1], prefetch));
    let (c, d) = (quad_extremes(v, &quads[2], prefetch), quad_extremes(v, &quads[3], prefetch));
    let positive = v.max_i32(v.join_maxima([a[0], b[0], c[0], d[0]]), zero);
    let negative = v.max_i32(v.join_maxima([a[1], b[1], c[1], d[1]]), zero);
    let largest = v.max_i32(positive, negative);
    let sign_bits = v.and_i32(v.sub_i32(positive, negative), sign);
    let extremes = v.xor_i32(largest, sign_bits);
    // A block that has the largest magnitude with both signs takes the first one. (Rare, but for zeros.)
    let different = v.sub_i32(v.xor_i32(positive, negative), v.splat_i32(1));
    if !v.any_negative(different) {
        return extremes;
    }
    let mut bits = [0; LANES];
    v.store_i32(extremes, &mut bits);
    for i in 0..LANES {
        bits[i] = first_of_magnitude(&x[i], bits[i]);
    }
    v.load_i32(&bits)
}

/// The partial maxima of the bits of four blocks, as they are and with the sign turned over.
#[inline(always)]
fn quad_extremes<V: BlockVectors>(v: V, x: &[[[f32; LANES]; 2]; QUAD], prefetch: bool) -> [V::I32; 2] {
    let sign = v.splat_i32(i32::MIN);
    let (mut up, mut down) = ([sign; QUAD], [sign; QUAD]);
    for i in 0..QUAD {
        if prefetch {
            cache::prefetch_ahead(&x[i]);
        }
        let (a, b) = (v.to_bits(v.load_f32(&x[i][0])), v.to_bits(v.load_f32(&x[i][1])));
        up[i] = v.max_i32(a, b);
        down[i] = v.max_i32(v.xor_i32(a, sign), v.xor_i32(b, sign));
    }
    [v.quad_maxima(up), v.quad_maxima(down)]
}

/// The first value of a block that has the magnitude of these bits.
fn first_of_magnitude(x: &[[f32; LANES]; 2], bits: i32) -> i32 {
    let magnitude = bits & i32::MAX;
    // (Bits, as NaN is not equal to itself.)
    let first = x.as_flattened().iter().find(|x| x.abs().to_bits() as i32 == magnitude);
    if magnitude == 0 { bits } else { first.expect("it is the magnitude of one of them").to_bits() as i32 }
}

impl Format<18, 2> for Q4_0 {
    const LIMIT: f32 = 8.0;

    const LARGEST: Option<f32> = Some(8.0 * FINITE);

    const PREFETCHES: bool = false;

    #[inline(always)]
    fn largest<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
        extremes(v, x, prefetch)
    }

    #[inline(always)]
    fn scales<V: BlockVectors>(v: V, extremes: V::I32) -> Scales<V> {
        Scales::halves(v, v.div_f32(v.of_bits(extremes), v.splat_f32(-8.0)), 1.0)
    }

    #[inline(always)]
    fn write<V: BlockVectors>(v: V, d: [i32; 2], multiples: [[V::F32; 2]; 2], blocks: &mut [[u8; 18]; 2]) {
        let (offset, largest) = (v.splat_f32(8.5), v.splat_i32(15));
        for i in 0..2 {
            let [d0, d1, codes @ ..] = &mut blocks[i];
            [*d0, *d1] = (d[i] as u16).to_le_bytes();
            let low = v.min_i32(v.trunc_to_i32(v.add_f32(multiples[i][0], offset)), largest);
            let high = v.min_i32(v.trunc_to_i32(v.add_f32(multiples[i][1], offset)), largest);
            v.store_u8(v.xor_i32(low, v.shift_left::<4>(high)), codes);
        }
    }

    #[inline(always)]
    fn scale(block: &[u8; 18]) -> f32 {
        from_half(u16::from_le_bytes([block[0], block[1]]))
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, block: &[u8; 18]) -> [V::I32; 2] {
        let [_, _, codes @ ..] = block;
        let bytes = v.load_u8(codes);
        let low = v.and_i32(bytes, v.splat_i32(15));
        let high = v.shift_right_logical(bytes, v.splat_i32(4));
        let eight = v.splat_i32(8);
        [v.sub_i32(low, eight), v.sub_i32(high, eight)]
    }

    #[inline(always)]
    fn split(block: &[u8; 18]) -> [[i8; LANES]; 2] {
        let mut codes = [[0; LANES]; 2];
        for j in 0..LANES {
            let byte = block[2 + j];
            (codes[0][j], codes[1][j]) = ((byte & 15) as i8 - 8, (byte >> 4) as i8 - 8);
        }
        codes
    }
}
