//! ggml's Q4_0, as its scalar code (`quantize_row_q4_0_ref`) has it. The number of the largest magnitude gets the code −8 of
//! sixteen, so the scale has the other sign; codes are made with the scale before it is rounded to f16.

use super::half::from_half;
use super::{Format, Scales, Sixteen, both, largest_of_each};
use crate::simd::{LANES, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Q4_0;

/// The first number of the largest magnitude of every block; 0 for zeros.
#[inline(always)]
fn extremes<S: Simd>(simd: S, x: &Sixteen) -> S::F32 {
    let (zero, sign) = (simd.splat_i32(0), simd.splat_i32(i32::MIN));
    // As integers, bits of positive numbers order as these do, and with the sign turned over those of negative ones.
    let positive = largest_of_each(
        simd,
        x,
        #[inline(always)]
        |x| simd.to_bits(x),
    );
    let negative = largest_of_each(
        simd,
        x,
        #[inline(always)]
        |x| simd.xor_i32(simd.to_bits(x), sign),
    );
    let (positive, negative) = (simd.max_i32(positive, zero), simd.max_i32(negative, zero));
    let largest = simd.max_i32(positive, negative);
    let sign_bits = simd.and_i32(simd.sub_i32(positive, negative), sign);
    let extremes = simd.of_bits(simd.xor_i32(largest, sign_bits));
    // Where both are there, as rarely (but for zeros), the first one counts.
    let different = simd.sub_i32(simd.xor_i32(positive, negative), simd.splat_i32(1));
    if !simd.any_negative(different) {
        return extremes;
    }
    let mut first = [0.0; LANES];
    simd.store_f32(extremes, &mut first);
    for (first, x) in first.iter_mut().zip(x) {
        if *first != 0.0 {
            *first = *x.as_flattened().iter().find(|x| x.abs() == first.abs()).expect("it is one of them");
        }
    }
    simd.load_f32(&first)
}

impl Format<18> for Q4_0 {
    const LIMIT: f32 = 8.0;

    #[inline(always)]
    fn scales<S: Simd>(self, simd: S, x: &Sixteen) -> Scales<S> {
        Scales::halves(simd, simd.div_f32(extremes(simd, x), simd.splat_f32(-8.0)))
    }

    #[inline(always)]
    fn write<S: Simd>(self, simd: S, d: i32, multiples: [S::F32; 2], block: &mut [u8; 18]) {
        let [d0, d1, codes @ ..] = block;
        [*d0, *d1] = (d as u16).to_le_bytes();
        let [low, high] = both(
            multiples,
            #[inline(always)]
            |v| simd.min_i32(simd.trunc_to_i32(simd.add_f32(v, simd.splat_f32(8.5))), simd.splat_i32(15)),
        );
        simd.store_u8(simd.xor_i32(low, simd.shift_left::<4>(high)), codes);
    }

    #[inline(always)]
    fn read<S: Simd>(self, simd: S, block: &[u8; 18]) -> (f32, [S::I32; 2]) {
        let [d0, d1, codes @ ..] = block;
        let bytes = simd.load_u8(codes);
        let low = simd.and_i32(bytes, simd.splat_i32(15));
        let high = simd.shift_right_logical(bytes, simd.splat_i32(4));
        let eight = simd.splat_i32(8);
        (from_half(u16::from_le_bytes([*d0, *d1])), [simd.sub_i32(low, eight), simd.sub_i32(high, eight)])
    }
}
