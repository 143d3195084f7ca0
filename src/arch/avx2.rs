//! `avx2`: a block is two 256-bit vectors.
//!
//! The micro-kernel widens B to 16 bits and multiplies pairs with `vpmaddwd`, which is exact for every code pair;
//! `vpmaddubsw` would saturate.

use core::arch::x86_64::*;

use wide::bytemuck::cast_slice;

use crate::formats::vectors::FormatVectors;
use crate::matmul::dot::{Accumulate, Dot, rows};
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::nibbles::NibbleVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::memory::Line;
use crate::simd::memory::StreamVectors;
use crate::simd::{LANES, QUAD, Simd, quad};

token! {
    /// The CPU has AVX2, and the fused multiply-add that came with it.
    Avx2, is_x86_feature_detected, ["avx2", "fma"], "avx2,fma"
}

/// Eight products, low halves then high halves of each 64-bit lane, rounded and shifted.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn mul_shift_round(a: __m256i, b: __m256i, shift: __m256i) -> __m256i {
    // AVX2 has no arithmetic 64-bit shift: shift p + 2⁶³ logically, then take 2⁶³ >> shift away again. The low 32 bits,
    // all that is kept, are right since shift ≤ 62.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn lane(a: __m256i, b: __m256i, shift: __m256i) -> __m256i {
        let bias = _mm256_set1_epi64x(i64::MIN);
        let half = _mm256_sllv_epi64(_mm256_set1_epi64x(1), _mm256_sub_epi64(shift, _mm256_set1_epi64x(1)));
        let rounded = _mm256_add_epi64(_mm256_mul_epi32(a, b), half);
        let shifted = _mm256_srlv_epi64(_mm256_xor_si256(rounded, bias), shift);
        _mm256_sub_epi64(shifted, _mm256_srlv_epi64(bias, shift))
    }
    let even_shift = _mm256_and_si256(shift, _mm256_set1_epi64x(0xffff_ffff));
    let even = lane(a, b, even_shift);
    let odd = lane(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b), _mm256_srli_epi64::<32>(shift));
    _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd))
}

/// The same plus `c`, for sums that are not negative: a logical shift does.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn mul_shift_round_add(a: __m256i, b: __m256i, shift: __m256i, c: __m256i) -> __m256i {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sums(a: __m256i, b: __m256i, shift: __m256i, c: __m256i) -> __m256i {
        let half = _mm256_sllv_epi64(_mm256_set1_epi64x(1), _mm256_sub_epi64(shift, _mm256_set1_epi64x(1)));
        _mm256_add_epi64(_mm256_mul_epi32(a, b), _mm256_add_epi64(_mm256_sllv_epi64(c, shift), half))
    }
    let even_shift = _mm256_and_si256(shift, _mm256_set1_epi64x(0xffff_ffff));
    let even = _mm256_srlv_epi64(sums(a, b, even_shift, c), even_shift);
    // The sums of odd lanes are shifted to the upper half only.
    let odd_shift = _mm256_srli_epi64::<32>(shift);
    let odd = sums(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b), odd_shift, _mm256_srli_epi64::<32>(c));
    let odd = _mm256_srlv_epi64(odd, _mm256_sub_epi64(odd_shift, _mm256_set1_epi64x(32)));
    _mm256_blend_epi32::<0b1010_1010>(even, odd)
}

/// Eight rotations by N.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn rotate_left<const N: i32>(a: __m256i) -> __m256i {
    // Shifts by a vector of one constant: those by an immediate cannot be given 32 − N.
    let back = _mm256_srlv_epi32(a, _mm256_set1_epi32(32 - N));
    _mm256_or_si256(_mm256_slli_epi32::<N>(a), back)
}

/// Eight clamped values, 0 for NaN: a mask, where selecting would be two operations.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn clamp_f32(a: __m256, min: __m256, max: __m256) -> __m256 {
    let a = _mm256_and_ps(a, _mm256_cmp_ps::<_CMP_ORD_Q>(a, a));
    _mm256_min_ps(_mm256_max_ps(a, min), max)
}

/// Sixteen values that fit 16 bits, in order.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn narrow([low, high]: [__m256i; 2]) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high))
}

/// In every half, the largest of each.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn quad_maxima([a, b, c, d]: [[__m256i; 2]; 4]) -> __m256i {
    /// The larger ones of neighbours: in every half, two of each.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn two(a: [__m256i; 2], b: [__m256i; 2]) -> __m256i {
        let (a, b) = (_mm256_max_epi32(a[0], a[1]), _mm256_max_epi32(b[0], b[1]));
        _mm256_max_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b))
    }
    let (ab, cd) = (two(a, b), two(c, d));
    _mm256_max_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
}

/// The largest of both halves of each.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn max_of_halves(a: __m256i, b: __m256i) -> __m256i {
    _mm256_max_epi32(_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b))
}

/// Four squares, added.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_square(a: __m256d, x: __m128) -> __m256d {
    let x = _mm256_cvtps_pd(x);
    _mm256_add_pd(a, _mm256_mul_pd(x, x))
}

/// Two halves of sixteen bytes, each widened by the caller's instruction.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_bytes(x: &[u8; LANES]) -> [__m128i; 2] {
    // SAFETY: sixteen bytes may be read.
    let bytes = unsafe { _mm_loadu_si128(x.as_ptr().cast()) };
    [bytes, _mm_unpackhi_epi64(bytes, bytes)]
}

/// Sums of pairs of 16-bit numbers, added.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_pairs(a: __m256i, x: __m256i) -> __m256i {
    _mm256_add_epi32(a, _mm256_madd_epi16(x, _mm256_set1_epi16(1)))
}

/// Four times sixteen numbers as 16-bit ones, saturated: in every half, four of each vector.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn words(a: [[__m256i; 2]; QUAD]) -> [__m256i; QUAD] {
    quad(
        #[inline(always)]
        |j| _mm256_packs_epi32(a[j][0], a[j][1]),
    )
}

/// Four times sixteen numbers rounded, as [`words`], and others added, saturated; and the invalid: what has no i32 becomes the
/// smallest one.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn rounded_words(a: [[__m256; 2]; QUAD], b: [[__m256i; 2]; 2], invalid: __m256i) -> ([__m256i; QUAD], __m256i) {
    let a = words(quad(
        #[inline(always)]
        |j| [_mm256_cvtps_epi32(a[j][0]), _mm256_cvtps_epi32(a[j][1])],
    ));
    let smallest = _mm256_min_epi16(_mm256_min_epi16(a[0], a[1]), _mm256_min_epi16(a[2], a[3]));
    let sums = quad(
        #[inline(always)]
        |j| _mm256_adds_epi16(a[j], b[j / 2][j % 2]),
    );
    (sums, _mm256_min_epi16(invalid, smallest))
}

/// The order of bytes of two [`words`] that were packed again.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn as_packed(bytes: &[u8; 2 * LANES]) -> __m256i {
    // SAFETY: 32 bytes may be read.
    let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7))
}

/// The bytes of [`words`] that were packed again, in order.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn in_order(bytes: __m256i) -> __m256i {
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

impl Simd for Avx2 {
    type F32 = [__m256; 2];
    type I32 = [__m256i; 2];
    type F64 = [__m256d; 4];
    type Mask = [__m256; 2];

    ops! { "avx2,fma"
        fn splat_f32(x: f32) -> [__m256; 2] { [_mm256_set1_ps(x); 2] }
        fn load_f32(x: &[f32; LANES]) -> [__m256; 2] {
            // SAFETY: sixteen f32 may be read.
            unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
        }
        fn store_f32(a: [__m256; 2], out: &mut [f32; LANES]) {
            // SAFETY: sixteen f32 may be written.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), a[0]);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), a[1]);
            }
        }
        fn add_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])]
        }
        fn sub_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])]
        }
        fn mul_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])]
        }
        fn mul_add_f32(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])]
        }
        fn div_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])]
        }
        fn max_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])]
        }
        fn min_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])]
        }
        fn clamp_f32(a: [__m256; 2], min: [__m256; 2], max: [__m256; 2]) -> [__m256; 2] {
            [clamp_f32(a[0], min[0], max[0]), clamp_f32(a[1], min[1], max[1])]
        }
        fn round_to_i32(a: [__m256; 2]) -> [__m256i; 2] { [_mm256_cvtps_epi32(a[0]), _mm256_cvtps_epi32(a[1])] }
        fn round_f32(a: [__m256; 2]) -> [__m256; 2] {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            [_mm256_round_ps::<NEAREST>(a[0]), _mm256_round_ps::<NEAREST>(a[1])]
        }
        fn floor_f32(a: [__m256; 2]) -> [__m256; 2] { [_mm256_floor_ps(a[0]), _mm256_floor_ps(a[1])] }
        fn floor_to_i32(a: [__m256; 2]) -> [__m256i; 2] {
            [_mm256_cvttps_epi32(_mm256_floor_ps(a[0])), _mm256_cvttps_epi32(_mm256_floor_ps(a[1]))]
        }
        fn trunc_to_i32(a: [__m256; 2]) -> [__m256i; 2] { [_mm256_cvttps_epi32(a[0]), _mm256_cvttps_epi32(a[1])] }
        fn of_bits(a: [__m256i; 2]) -> [__m256; 2] { [_mm256_castsi256_ps(a[0]), _mm256_castsi256_ps(a[1])] }
        fn to_f32(a: [__m256i; 2]) -> [__m256; 2] { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
        fn to_bits(a: [__m256; 2]) -> [__m256i; 2] { [_mm256_castps_si256(a[0]), _mm256_castps_si256(a[1])] }
        fn splat_f64(x: f64) -> [__m256d; 4] { [_mm256_set1_pd(x); 4] }
        fn store_f64(a: [__m256d; 4], out: &mut [f64; LANES]) {
            for (a, out) in a.into_iter().zip(out.as_chunks_mut::<4>().0) {
                // SAFETY: four f64 may be written.
                unsafe { _mm256_storeu_pd(out.as_mut_ptr(), a) }
            }
        }
        fn add_square(a: [__m256d; 4], x: [__m256; 2]) -> [__m256d; 4] {
            [
                add_square(a[0], _mm256_castps256_ps128(x[0])),
                add_square(a[1], _mm256_extractf128_ps::<1>(x[0])),
                add_square(a[2], _mm256_castps256_ps128(x[1])),
                add_square(a[3], _mm256_extractf128_ps::<1>(x[1])),
            ]
        }
        fn splat_i32(x: i32) -> [__m256i; 2] { [_mm256_set1_epi32(x); 2] }
        fn load_i32(x: &[i32; LANES]) -> [__m256i; 2] {
            // SAFETY: sixteen i32 may be read.
            unsafe { [_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(8).cast())] }
        }
        fn store_i32(a: [__m256i; 2], out: &mut [i32; LANES]) {
            // SAFETY: sixteen i32 may be written.
            unsafe {
                _mm256_storeu_si256(out.as_mut_ptr().cast(), a[0]);
                _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), a[1]);
            }
        }
        fn load_u8(x: &[u8; LANES]) -> [__m256i; 2] {
            let [low, high] = load_bytes(x);
            [_mm256_cvtepu8_epi32(low), _mm256_cvtepu8_epi32(high)]
        }
        fn load_i8(x: &[i8; LANES]) -> [__m256i; 2] {
            let [low, high] = load_bytes(&x.map(|x| x as u8));
            [_mm256_cvtepi8_epi32(low), _mm256_cvtepi8_epi32(high)]
        }
        fn store_u8(a: [__m256i; 2], out: &mut [u8; LANES]) {
            let words = narrow(a);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            // SAFETY: sixteen bytes may be written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) }
        }
        fn store_i8(a: [__m256i; 2], out: &mut [i8; LANES]) {
            let words = narrow(a);
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            // SAFETY: sixteen bytes may be written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) }
        }
        fn add_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])]
        }
        fn sub_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])]
        }
        fn mul_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_mullo_epi32(a[0], b[0]), _mm256_mullo_epi32(a[1], b[1])]
        }
        fn max_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_max_epi32(a[0], b[0]), _mm256_max_epi32(a[1], b[1])]
        }
        fn min_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_min_epi32(a[0], b[0]), _mm256_min_epi32(a[1], b[1])]
        }
        fn and_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])]
        }
        fn xor_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])]
        }
        fn shift_left[N](a: [__m256i; 2]) -> [__m256i; 2] { [_mm256_slli_epi32::<N>(a[0]), _mm256_slli_epi32::<N>(a[1])] }
        fn shift_right(a: [__m256i; 2], shift: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_srav_epi32(a[0], shift[0]), _mm256_srav_epi32(a[1], shift[1])]
        }
        fn shift_right_logical(a: [__m256i; 2], shift: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_srlv_epi32(a[0], shift[0]), _mm256_srlv_epi32(a[1], shift[1])]
        }
        fn is_nan(a: [__m256; 2]) -> [__m256; 2] {
            [_mm256_cmp_ps::<_CMP_UNORD_Q>(a[0], a[0]), _mm256_cmp_ps::<_CMP_UNORD_Q>(a[1], a[1])]
        }
        fn less_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])]
        }
        fn equal_f32(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_cmp_ps::<_CMP_EQ_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_EQ_OQ>(a[1], b[1])]
        }
        fn less_i32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256; 2] {
            let less = [_mm256_cmpgt_epi32(b[0], a[0]), _mm256_cmpgt_epi32(b[1], a[1])];
            [_mm256_castsi256_ps(less[0]), _mm256_castsi256_ps(less[1])]
        }
        fn select_f32(mask: [__m256; 2], a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [_mm256_blendv_ps(b[0], a[0], mask[0]), _mm256_blendv_ps(b[1], a[1], mask[1])]
        }
        fn select_i32(mask: [__m256; 2], a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            let mask = [_mm256_castps_si256(mask[0]), _mm256_castps_si256(mask[1])];
            [_mm256_blendv_epi8(b[0], a[0], mask[0]), _mm256_blendv_epi8(b[1], a[1], mask[1])]
        }
        fn any(mask: [__m256; 2]) -> bool { _mm256_movemask_ps(_mm256_or_ps(mask[0], mask[1])) != 0 }
    }
}

impl FixedPointVectors for Avx2 {
    ops! { "avx2,fma"
        fn mul_shift_round(a: [__m256i; 2], b: [__m256i; 2], shift: [__m256i; 2]) -> [__m256i; 2] {
            [mul_shift_round(a[0], b[0], shift[0]), mul_shift_round(a[1], b[1], shift[1])]
        }
        fn mul_shift_round_add(a: [__m256i; 2], b: [__m256i; 2], shift: [__m256i; 2], c: [__m256i; 2]) -> [__m256i; 2] {
            [mul_shift_round_add(a[0], b[0], shift[0], c[0]), mul_shift_round_add(a[1], b[1], shift[1], c[1])]
        }
    }
}

impl FormatVectors for Avx2 {
    ops! { "avx2,fma"
        fn store_symmetric_i8(a: [[[__m256i; 2]; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
            for (a, out) in a.into_iter().zip(out) {
                let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a[0][0], a[0][1]), _mm256_packs_epi32(a[1][0], a[1][1]));
                let codes = in_order(_mm256_max_epi8(bytes, _mm256_set1_epi8(-127)));
                // SAFETY: 32 bytes may be written.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), codes) }
            }
        }
        fn store_halved_i8(a: [[[__m256i; 2]; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
            for (a, out) in a.into_iter().zip(out) {
                let [first, second] = [_mm256_packs_epi32(a[0][0], a[0][1]), _mm256_packs_epi32(a[1][0], a[1][1])];
                let magnitudes = _mm256_packus_epi16(_mm256_abs_epi16(first), _mm256_abs_epi16(second));
                let halves = _mm256_avg_epu8(magnitudes, _mm256_setzero_si256());
                let codes = in_order(_mm256_sign_epi8(halves, _mm256_packs_epi16(first, second)));
                // SAFETY: 32 bytes may be written.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), codes) }
            }
        }
    }
}

impl InterleaveVectors for Avx2 {
    ops! { "avx2,fma"
        fn load_interleaved(x: [&[u8; LANES]; 4]) -> [__m256i; 2] {
            // SAFETY: sixteen bytes may be read of each.
            let [a, b, c, d] = x.map(|x| unsafe { _mm_loadu_si128(x.as_ptr().cast()) });
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            let (more_ab, more_cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
            [
                _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd)),
                _mm256_set_m128i(_mm_unpackhi_epi16(more_ab, more_cd), _mm_unpacklo_epi16(more_ab, more_cd)),
            ]
        }
        fn store_interleaved(x: [&[u8; LANES]; 2], out: &mut [[u8; 2]; LANES]) {
            // SAFETY: sixteen bytes may be read of each.
            let [a, b] = x.map(|x| unsafe { _mm_loadu_si128(x.as_ptr().cast()) });
            let pairs = _mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b));
            // SAFETY: 32 bytes may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), pairs) }
        }
        fn add_four_u8(a: [__m256i; 2], x: &[u8; 4 * LANES]) -> [__m256i; 2] {
            let one = _mm256_set1_epi8(1);
            // Pairs are 510 at most.
            // SAFETY: 64 bytes may be read.
            let [low, high] = unsafe {
                [_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(32).cast())]
            };
            [add_pairs(a[0], _mm256_maddubs_epi16(low, one)), add_pairs(a[1], _mm256_maddubs_epi16(high, one))]
        }
        fn add_four_i8(a: [__m256i; 2], x: &[i8; 4 * LANES]) -> [__m256i; 2] {
            let one = _mm256_set1_epi8(1);
            // SAFETY: 64 bytes may be read.
            let [low, high] = unsafe {
                [_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(32).cast())]
            };
            [add_pairs(a[0], _mm256_maddubs_epi16(one, low)), add_pairs(a[1], _mm256_maddubs_epi16(one, high))]
        }
    }
}

impl NibbleVectors for Avx2 {
    ops! { "avx2,fma"
        fn pack_nibbles(x: &[u8; 2 * LANES], out: &mut [u8; LANES]) {
            // SAFETY: 32 bytes may be read.
            let codes = _mm256_and_si256(unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }, _mm256_set1_epi8(15));
            // Every first one, and sixteen times every second one.
            let pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi16(0x1001));
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            // SAFETY: sixteen bytes may be written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) }
        }
        fn unpack_nibbles(x: &[u8; LANES], flip: u8, out: &mut [u8; 2 * LANES]) {
            // SAFETY: sixteen bytes may be read.
            let (bytes, fifteen) = (unsafe { _mm_loadu_si128(x.as_ptr().cast()) }, _mm_set1_epi8(15));
            let (low, high) = (_mm_and_si128(bytes, fifteen), _mm_and_si128(_mm_srli_epi16::<4>(bytes), fifteen));
            let flip = _mm256_set1_epi8(flip as i8);
            let codes = _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
            let codes = _mm256_sub_epi8(_mm256_xor_si256(codes, flip), flip);
            // SAFETY: 32 bytes may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), codes) }
        }
    }
}

impl QuantizeVectors for Avx2 {
    const HAS_FAST_DIVISION: bool = true;

    ops! { "avx2,fma"
        fn reorder(b: [[__m256i; 2]; QUAD]) -> [[__m256i; 2]; 2] {
            let [a, b, c, d] = words(b);
            [[a, b], [c, d]]
        }
        fn reorder_u8(x: &[u8; QUAD * LANES]) -> [[__m256i; 2]; 2] {
            let words = |bytes| {
                let (bytes, zero) = (as_packed(bytes), _mm256_setzero_si256());
                [_mm256_unpacklo_epi8(bytes, zero), _mm256_unpackhi_epi8(bytes, zero)]
            };
            let ([low, high], _) = x.as_chunks() else { unreachable!("two halves") };
            [words(low), words(high)]
        }
        fn reorder_i8(x: &[i8; QUAD * LANES]) -> [[__m256i; 2]; 2] {
            let words = |bytes| {
                let (bytes, zero) = (as_packed(bytes), _mm256_setzero_si256());
                let words = [_mm256_unpacklo_epi8(zero, bytes), _mm256_unpackhi_epi8(zero, bytes)];
                [_mm256_srai_epi16::<8>(words[0]), _mm256_srai_epi16::<8>(words[1])]
            };
            let ([low, high], _) = cast_slice::<i8, u8>(x).as_chunks() else { unreachable!("two halves") };
            [words(low), words(high)]
        }
        fn narrow_quad_u8(
            a: [[__m256; 2]; QUAD], b: [[__m256i; 2]; 2], bounds: [u8; 2], out: &mut [[u8; LANES]; QUAD], invalid: [__m256i; 2]
        ) -> [__m256i; 2] {
            let ([a, b, c, d], smallest) = rounded_words(a, b, invalid[0]);
            let (mut low, mut high) = (_mm256_packus_epi16(a, b), _mm256_packus_epi16(c, d));
            // Saturated already.
            if bounds != [u8::MIN, u8::MAX] {
                let (min, max) = (_mm256_set1_epi8(bounds[0] as i8), _mm256_set1_epi8(bounds[1] as i8));
                low = _mm256_min_epu8(_mm256_max_epu8(low, min), max);
                high = _mm256_min_epu8(_mm256_max_epu8(high, min), max);
            }
            // SAFETY: 64 bytes may be written.
            unsafe {
                _mm256_storeu_si256(out.as_mut_ptr().cast(), in_order(low));
                _mm256_storeu_si256(out.as_mut_ptr().add(2).cast(), in_order(high));
            }
            [smallest, invalid[1]]
        }
        fn narrow_quad_i8(
            a: [[__m256; 2]; QUAD], b: [[__m256i; 2]; 2], bounds: [i8; 2], out: &mut [[i8; LANES]; QUAD], invalid: [__m256i; 2]
        ) -> [__m256i; 2] {
            let ([a, b, c, d], smallest) = rounded_words(a, b, invalid[0]);
            let (mut low, mut high) = (_mm256_packs_epi16(a, b), _mm256_packs_epi16(c, d));
            // Saturated already.
            if bounds != [i8::MIN, i8::MAX] {
                let (min, max) = (_mm256_set1_epi8(bounds[0]), _mm256_set1_epi8(bounds[1]));
                low = _mm256_min_epi8(_mm256_max_epi8(low, min), max);
                high = _mm256_min_epi8(_mm256_max_epi8(high, min), max);
            }
            // SAFETY: 64 bytes may be written.
            unsafe {
                _mm256_storeu_si256(out.as_mut_ptr().cast(), in_order(low));
                _mm256_storeu_si256(out.as_mut_ptr().add(2).cast(), in_order(high));
            }
            [smallest, invalid[1]]
        }
        fn mark_nan(a: [[__m256; 2]; QUAD], invalid: [__m256i; 2]) -> [__m256i; 2] {
            let [a, b, c, d] = quad(#[inline(always)] |j| _mm256_cmp_ps::<_CMP_UNORD_Q>(a[j][0], a[j][1]));
            let any = _mm256_or_ps(_mm256_or_ps(a, b), _mm256_or_ps(c, d));
            [_mm256_or_si256(invalid[0], _mm256_slli_epi32::<31>(_mm256_castps_si256(any))), invalid[1]]
        }
        fn any_invalid(a: [__m256i; 2]) -> bool {
            let smallest = _mm256_set1_epi16(i16::MIN);
            let any = _mm256_or_si256(_mm256_cmpeq_epi16(a[0], smallest), _mm256_cmpeq_epi16(a[1], smallest));
            _mm256_testz_si256(any, any) == 0
        }
        fn store_equal_quad(a: [[__m256; 2]; QUAD], b: [[__m256; 2]; QUAD], out: &mut [[u8; LANES]; QUAD]) {
            let equal = |a, b| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b));
            let [a, b, c, d] = words(quad(
                #[inline(always)]
                |j| [equal(a[j][0], b[j][0]), equal(a[j][1], b[j][1])],
            ));
            let one = _mm256_set1_epi8(1);
            // SAFETY: 64 bytes may be written.
            unsafe {
                _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_and_si256(in_order(_mm256_packs_epi16(a, b)), one));
                _mm256_storeu_si256(out.as_mut_ptr().add(2).cast(), _mm256_and_si256(in_order(_mm256_packs_epi16(c, d)), one));
            }
        }
    }
}

impl RandomVectors for Avx2 {
    ops! { "avx2,fma"
        fn add_if_less(a: [__m256i; 2], x: [__m256; 2], y: [__m256; 2]) -> [__m256i; 2] {
            // A mask is −1.
            [
                _mm256_sub_epi32(a[0], _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(x[0], y[0]))),
                _mm256_sub_epi32(a[1], _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(x[1], y[1]))),
            ]
        }
        fn rotate_left[N](a: [__m256i; 2]) -> [__m256i; 2] { [rotate_left::<N>(a[0]), rotate_left::<N>(a[1])] }
    }
}

impl ReduceVectors for Avx2 {
    const UNROLL: usize = 2;
    const HAS_INTEGER_MIN_MAX: bool = true;

    ops! { "avx2,fma"
        fn quad_maxima(a: [[__m256i; 2]; QUAD]) -> [__m256i; 2] { [quad_maxima(a); 2] }
        fn join_maxima(a: [[__m256i; 2]; QUAD]) -> [__m256i; 2] {
            [max_of_halves(a[0][0], a[1][0]), max_of_halves(a[2][0], a[3][0])]
        }
        fn any_negative(a: [__m256i; 2]) -> bool {
            _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(a[0], a[1]))) != 0
        }
        fn max_of_i32(a: [__m256i; 2]) -> i32 {
            let eight = _mm256_max_epi32(a[0], a[1]);
            let four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
            let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b11_10_11_10>(four));
            _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32::<0b01_01_01_01>(two)))
        }
        fn max_u32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_max_epu32(a[0], b[0]), _mm256_max_epu32(a[1], b[1])]
        }
        fn min_u32(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_min_epu32(a[0], b[0]), _mm256_min_epu32(a[1], b[1])]
        }
    }
}

impl StreamVectors for Avx2 {
    ops! { "avx2,fma"
        fn stream(x: &Line, out: &mut Line) {
            let (x, out): (*const __m256i, *mut __m256i) = (core::ptr::from_ref(x).cast(), core::ptr::from_mut(out).cast());
            // SAFETY: a line is 64 bytes, and begins at a multiple of 64.
            unsafe {
                _mm256_stream_si256(out, _mm256_load_si256(x));
                _mm256_stream_si256(out.add(1), _mm256_load_si256(x.add(1)));
            }
        }
        fn fence() { _mm_sfence() }
    }
}

impl Accumulate for Avx2 {
    type Acc = __m256i;
    type Columns = [i32; 8];

    ops! { "avx2,fma"
        fn read(x: &[i32; 8]) -> __m256i {
            // SAFETY: eight i32 may be read.
            unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
        }
        fn splat(x: i32) -> __m256i { _mm256_set1_epi32(x) }
        fn add(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi32(a, b) }
        fn add_product(acc: __m256i, factor: i32, columns: __m256i) -> __m256i {
            _mm256_add_epi32(acc, _mm256_mullo_epi32(_mm256_set1_epi32(factor), columns))
        }
        fn store(acc: __m256i, out: &mut [i32; 8]) {
            // SAFETY: eight i32 may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), acc) }
        }
    }
}

impl Avx2 {
    ops! { "avx2,fma"
        // The columns of four rows, each byte XORed with `flip`.
        pub(super) fn quads_of_eight(rows: [&[u8; 8]; 4], flip: u8) -> __m256i {
            // SAFETY: eight bytes may be read of each.
            let [a, b, c, d] = rows.map(|row| unsafe { _mm_loadl_epi64(row.as_ptr().cast()) });
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            let quads = _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd));
            _mm256_xor_si256(quads, _mm256_set1_epi8(flip as i8))
        }
    }
}

/// Eight columns, two k at a time.
#[derive(Clone, Copy)]
struct Pairs(Avx2);

impl Pairs {
    ops! { "avx2,fma"
        fn pairs(rows: [&[u8; 8]; 2], flip: u8) -> __m256i {
            // SAFETY: eight bytes may be read of each.
            let [a, b] = rows.map(|row| unsafe { _mm_loadl_epi64(row.as_ptr().cast()) });
            _mm256_cvtepi8_epi16(_mm_xor_si128(_mm_unpacklo_epi8(a, b), _mm_set1_epi8(flip as i8)))
        }
    }
}

impl Dot for Pairs {
    type Vectors = Avx2;
    type StepA = [u8; 4];
    type StepB = [u8; 16];
    type A = __m256i;
    type B = __m256i;
    const DEPTH: usize = 2;

    ops! { "avx2,fma"
        fn broadcast(a: &[u8; 4]) -> __m256i { _mm256_set1_epi32(i32::from_ne_bytes(*a)) }
        fn load(b: &[u8; 16]) -> __m256i {
            // SAFETY: sixteen bytes may be read.
            _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(b.as_ptr().cast()) })
        }
        fn dot(acc: __m256i, a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn vectors(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m256i {
        // SAFETY: eight bytes, one for every column, may be read of each of the two rows.
        self.pairs(unsafe { rows(b, stride) }, flip)
    }
}

microkernels! {
    Avx2 = "avx2", Pairs: |_signed| Pairs(Avx2::witness()), "avx2,fma", [i16 i8],
    tiles { [1 2] x [1 2 3 4 5 6] }, unpacked { [1 2] x [1 2 3 4 5 6] }
}
