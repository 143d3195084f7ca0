//! E2M1, the floats of four bits: 0, ½, 1, 1½, 2, 3, 4, 6 with a sign. Doubled they are integers.
//!
//! Codes 0…4 are one doubled step apart, 4…6 two, and 6 and 7 four. So a doubled magnitude y is divided by the step where
//! it lies, rounded as an integer, and the codes below the step added:
//!
//! | y | code |
//! |---|---|
//! | below 4 | `round(y)` |
//! | below 8 | `round(y / 2) + 2` |
//! | at most 12 | `round(y / 4) + 4` |
//!
//! The quotients are exact. To nearest, ties go to the even code, as IEEE 754 has it: even numbers of steps are even codes.
//! Rounded stochastically, the magnitude goes up with the probability of its distance to the lower neighbour over the gap
//! between both, by the rule for integers: `(w >> 8) as f32 < (t − floor(t)) · 2²⁴` with the word w of the element and the
//! quotient t. The sign is put back afterwards.

use super::block::BlockVectors;
use super::doubled::DOUBLED;
use crate::quantize::ops::Round;

/// The codes, 0…15, of values whose doubled magnitudes are given.
#[inline(always)]
pub(super) fn codes<V: BlockVectors>(v: V, x: V::F32, doubled: V::F32, round: impl Round<V>) -> V::I32 {
    let y = v.min_f32(doubled, v.splat_f32(12.0));
    let (below_four, below_eight) = (v.less_f32(y, v.splat_f32(4.0)), v.less_f32(y, v.splat_f32(8.0)));
    let inverse = v.select_f32(below_eight, v.splat_f32(0.5), v.splat_f32(0.25));
    let inverse = v.select_f32(below_four, v.splat_f32(1.0), inverse);
    let below = v.select_i32(below_eight, v.splat_i32(2), v.splat_i32(4));
    let below = v.select_i32(below_four, v.splat_i32(0), below);
    let code = v.add_i32(round.round(v, v.mul_f32(y, inverse)), below);
    v.xor_i32(code, v.shift_left::<3>(v.shift_right_logical(v.to_bits(x), v.splat_i32(31))))
}

/// The doubled values of codes.
#[inline(always)]
pub(super) fn doubled<V: BlockVectors>(v: V, codes: V::I32) -> V::I32 {
    let code = v.and_i32(codes, v.splat_i32(7));
    // Three lines of slope 1, 2 and 4, each the largest where it is right.
    let two = v.sub_i32(v.shift_left::<1>(code), v.splat_i32(4));
    let four = v.sub_i32(v.shift_left::<2>(code), v.splat_i32(16));
    let magnitude = v.max_i32(v.max_i32(code, two), four);
    let sign = v.shift_right(v.shift_left::<28>(codes), v.splat_i32(31));
    v.sub_i32(v.xor_i32(magnitude, sign), sign)
}

/// The doubled values of bytes: those of all low halves, then those of all high ones.
#[inline(always)]
pub(super) fn split<const BYTES: usize>(bytes: &[u8; BYTES], codes: &mut [i8]) {
    let (low, high) = codes.split_at_mut(BYTES);
    for j in 0..BYTES {
        (low[j], high[j]) = (DOUBLED[usize::from(bytes[j] & 15)], DOUBLED[usize::from(bytes[j] >> 4)]);
    }
}
