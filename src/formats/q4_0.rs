//! ggml's Q4_0, as its scalar code (`quantize_row_q4_0_ref`) has it. The number of the largest magnitude gets the code −8 of
//! sixteen, so the scale has the other sign; codes are made with the scale before it is rounded to f16.

use super::half::{from_half, to_half};
use super::{Format, both};
use crate::simd::{LANES, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Q4_0;

/// The first number of the largest magnitude; 0 for zeros.
#[inline(always)]
fn extreme<S: Simd>(simd: S, x: [S::F32; 2]) -> f32 {
    // As integers, bits of positive numbers order as these do, and with the sign turned over those of negative ones.
    let [a, b] = [simd.to_bits(x[0]), simd.to_bits(x[1])];
    let sign = simd.splat_i32(i32::MIN);
    let positive = simd.max_of_i32(simd.max_i32(a, b));
    let negative = simd.max_of_i32(simd.max_i32(simd.xor_i32(a, sign), simd.xor_i32(b, sign)));
    let largest = f32::from_bits(positive.max(negative) as u32);
    match positive.cmp(&negative) {
        core::cmp::Ordering::Greater => largest,
        core::cmp::Ordering::Less if largest != 0.0 => -largest,
        _ => {
            let mut both = [[0.0; LANES]; 2];
            simd.store_f32(x[0], &mut both[0]);
            simd.store_f32(x[1], &mut both[1]);
            let first = both.as_flattened().iter().find(|x| x.abs() == largest);
            if largest == 0.0 { 0.0 } else { *first.expect("it is one of them") }
        }
    }
}

impl Format<18> for Q4_0 {
    #[inline(always)]
    fn encode<S: Simd>(self, simd: S, x: [S::F32; 2], block: &mut [u8; 18]) {
        let d = extreme(simd, x) / -8.0;
        let reciprocal = simd.splat_f32(if d == 0.0 { 0.0 } else { 1.0 / d });
        let [d0, d1, codes @ ..] = block;
        [*d0, *d1] = to_half(d).to_le_bytes();
        // The reciprocal of the smallest scales is infinite.
        let (min, max) = (simd.splat_f32(-8.0), simd.splat_f32(8.0));
        let [low, high] = both(
            x,
            #[inline(always)]
            |x| {
                let v = simd.clamp_f32(simd.mul_f32(x, reciprocal), min, max);
                simd.min_i32(simd.floor_to_i32(simd.add_f32(v, simd.splat_f32(8.5))), simd.splat_i32(15))
            },
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
