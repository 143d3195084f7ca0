//! ggml's Q4_0, as its scalar code (`quantize_row_q4_0_ref`) has it. The number of the largest magnitude gets the code −8 of
//! sixteen, so the scale has the other sign; codes are made with the scale before it is rounded to f16.

use super::half::{FINITE, from_half};
use super::{Format, Scales, Sixteen, both};
use crate::kernel::Vectors;
use crate::simd::LANES;

#[derive(Clone, Copy)]
pub(crate) struct Q4_0;

/// The first number of the largest magnitude of every block; 0 for zeros.
#[inline(always)]
fn extremes<S: Vectors>(simd: S, x: &Sixteen) -> S::I32 {
    let (zero, sign) = (simd.splat_i32(0), simd.splat_i32(i32::MIN));
    // As integers, bits of positive numbers order as these do, and with the sign turned over those of negative ones.
    let [positive, negative] = simd.max_of_each(
        #[inline(always)]
        |i| {
            let [a, b] = both(
                [&x[i][0], &x[i][1]],
                #[inline(always)]
                |x| simd.to_bits(simd.load_f32(x)),
            );
            [simd.max_i32(a, b), simd.max_i32(simd.xor_i32(a, sign), simd.xor_i32(b, sign))]
        },
    );
    let (positive, negative) = (simd.max_i32(positive, zero), simd.max_i32(negative, zero));
    let largest = simd.max_i32(positive, negative);
    let sign_bits = simd.and_i32(simd.sub_i32(positive, negative), sign);
    let extremes = simd.xor_i32(largest, sign_bits);
    // Where both are there, as rarely (but for zeros), the first one counts.
    let different = simd.sub_i32(simd.xor_i32(positive, negative), simd.splat_i32(1));
    if !simd.any_negative(different) {
        return extremes;
    }
    let mut first = [0.0; LANES];
    simd.store_f32(simd.of_bits(extremes), &mut first);
    for (first, x) in first.iter_mut().zip(x) {
        if *first != 0.0 {
            // (Bits, as NaN is not equal to itself.)
            let largest = first.abs().to_bits();
            *first = *x.as_flattened().iter().find(|x| x.abs().to_bits() == largest).expect("it is one of them");
        }
    }
    simd.to_bits(simd.load_f32(&first))
}

impl Format<18> for Q4_0 {
    const LIMIT: f32 = 8.0;

    const LARGEST: Option<f32> = Some(8.0 * FINITE);

    #[inline(always)]
    fn largest<S: Vectors>(self, simd: S, x: &Sixteen) -> S::I32 {
        extremes(simd, x)
    }

    #[inline(always)]
    fn scales<S: Vectors>(self, simd: S, extremes: S::I32) -> Scales<S> {
        Scales::halves(simd, simd.div_f32(simd.of_bits(extremes), simd.splat_f32(-8.0)), 1.0)
    }

    #[inline(always)]
    fn write<S: Vectors>(self, simd: S, d: [i32; 2], multiples: [[S::F32; 2]; 2], blocks: &mut [[u8; 18]; 2]) {
        for ((block, d), multiples) in blocks.iter_mut().zip(d).zip(multiples) {
            let [d0, d1, codes @ ..] = block;
            [*d0, *d1] = (d as u16).to_le_bytes();
            let [low, high] = both(
                multiples,
                #[inline(always)]
                |v| simd.min_i32(simd.trunc_to_i32(simd.add_f32(v, simd.splat_f32(8.5))), simd.splat_i32(15)),
            );
            simd.store_u8(simd.xor_i32(low, simd.shift_left::<4>(high)), codes);
        }
    }

    #[inline(always)]
    fn read<S: Vectors>(self, simd: S, block: &[u8; 18]) -> (f32, [S::I32; 2]) {
        let [d0, d1, codes @ ..] = block;
        let bytes = simd.load_u8(codes);
        let low = simd.and_i32(bytes, simd.splat_i32(15));
        let high = simd.shift_right_logical(bytes, simd.splat_i32(4));
        let eight = simd.splat_i32(8);
        (from_half(u16::from_le_bytes([*d0, *d1])), [simd.sub_i32(low, eight), simd.sub_i32(high, eight)])
    }
}
