//! `avx2`: a block is two 256-bit vectors.

pub(super) mod distance;
mod dot;
mod extensions;

use core::arch::x86_64::*;

use bytemuck::cast_ref;

use crate::simd::{LANES, Simd, quad};

token! {
    /// The CPU has AVX2, and what came before or with it: fused multiply-add (FMA) and conversion of f16 (F16C).
    Avx2, is_x86_feature_detected, ["avx2", "fma", "f16c"], "avx2,fma,f16c"
}

/// Sixteen values that fit 16 bits, in order.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn narrow([low, high]: [__m256i; 2]) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high))
}

/// A block of bytes in two halves, for the instructions that widen eight.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_bytes(x: &[u8; LANES]) -> [__m128i; 2] {
    // SAFETY: sixteen bytes may be read.
    let bytes = unsafe { _mm_loadu_si128(x.as_ptr().cast()) };
    [bytes, _mm_unpackhi_epi64(bytes, bytes)]
}

/// The sum of four lanes, by halves.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum_of_four(a: __m256d) -> f64 {
    let half = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd::<1>(a));
    _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)))
}

/// Sixteen f32 as f64.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen([low, high]: [__m256; 2]) -> [__m256d; 4] {
    [
        _mm256_cvtps_pd(_mm256_castps256_ps128(low)),
        _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(low)),
        _mm256_cvtps_pd(_mm256_castps256_ps128(high)),
        _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(high)),
    ]
}

impl Simd for Avx2 {
    type F32 = [__m256; 2];
    type I32 = [__m256i; 2];
    type F64 = [__m256d; 4];
    type Mask = [__m256; 2];

    register_ops! { "avx2,fma,f16c", 2
        fn add_f32(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        fn sub_f32(a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
        fn mul_f32(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn mul_add_f32(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
        fn div_f32(a: __m256, b: __m256) -> __m256 { _mm256_div_ps(a, b) }
        fn max_f32(a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
        fn min_f32(a: __m256, b: __m256) -> __m256 { _mm256_min_ps(a, b) }
        fn clamp_f32(a: __m256, min: __m256, max: __m256) -> __m256 {
            // 0 for NaN by a mask, where a selection would be two operations.
            let a = _mm256_and_ps(a, _mm256_cmp_ps::<_CMP_ORD_Q>(a, a));
            _mm256_min_ps(_mm256_max_ps(a, min), max)
        }
        fn round_to_i32(a: __m256) -> __m256i { _mm256_cvtps_epi32(a) }
        fn round_f32(a: __m256) -> __m256 { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        fn floor_f32(a: __m256) -> __m256 { _mm256_floor_ps(a) }
        fn floor_to_i32(a: __m256) -> __m256i { _mm256_cvttps_epi32(_mm256_floor_ps(a)) }
        fn trunc_to_i32(a: __m256) -> __m256i { _mm256_cvttps_epi32(a) }
        fn of_bits(a: __m256i) -> __m256 { _mm256_castsi256_ps(a) }
        fn to_f32(a: __m256i) -> __m256 { _mm256_cvtepi32_ps(a) }
        fn to_bits(a: __m256) -> __m256i { _mm256_castps_si256(a) }
        fn is_nan(a: __m256) -> __m256 { _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a) }
        fn less_f32(a: __m256, b: __m256) -> __m256 { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
        fn equal_f32(a: __m256, b: __m256) -> __m256 { _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b) }
        fn less_i32(a: __m256i, b: __m256i) -> __m256 { _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)) }
        fn select_f32(mask: __m256, a: __m256, b: __m256) -> __m256 { _mm256_blendv_ps(b, a, mask) }
        fn keep_f32(mask: __m256, a: __m256) -> __m256 { _mm256_and_ps(mask, a) }
        fn select_i32(mask: __m256, a: __m256i, b: __m256i) -> __m256i {
            _mm256_blendv_epi8(b, a, _mm256_castps_si256(mask))
        }
        fn add_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi32(a, b) }
        fn sub_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_sub_epi32(a, b) }
        fn mul_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_mullo_epi32(a, b) }
        fn max_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_max_epi32(a, b) }
        fn min_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_min_epi32(a, b) }
        fn and_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_and_si256(a, b) }
        fn xor_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_xor_si256(a, b) }
        fn shift_left[N](a: __m256i) -> __m256i { _mm256_slli_epi32::<N>(a) }
        fn shift_right(a: __m256i, shift: __m256i) -> __m256i { _mm256_srav_epi32(a, shift) }
        fn shift_right_logical(a: __m256i, shift: __m256i) -> __m256i { _mm256_srlv_epi32(a, shift) }
    }

    ops! { "avx2,fma,f16c"
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
        fn any(mask: [__m256; 2]) -> bool { _mm256_movemask_ps(_mm256_or_ps(mask[0], mask[1])) != 0 }
        fn splat_f64(x: f64) -> [__m256d; 4] { [_mm256_set1_pd(x); 4] }
        fn load_f64(x: &[f64; LANES]) -> [__m256d; 4] {
            let x = x.as_ptr();
            // SAFETY: sixteen f64 may be read.
            unsafe {
                [_mm256_loadu_pd(x), _mm256_loadu_pd(x.add(4)), _mm256_loadu_pd(x.add(8)), _mm256_loadu_pd(x.add(12))]
            }
        }
        fn store_f64(a: [__m256d; 4], out: &mut [f64; LANES]) {
            for (a, out) in a.into_iter().zip(out.as_chunks_mut::<4>().0) {
                // SAFETY: four f64 may be written.
                unsafe { _mm256_storeu_pd(out.as_mut_ptr(), a) }
            }
        }
        fn add_product_f64(a: [__m256d; 4], x: [__m256; 2], y: [__m256; 2]) -> [__m256d; 4] {
            let (x, y) = (widen(x), widen(y));
            quad(#[inline(always)] |i| _mm256_fmadd_pd(x[i], y[i], a[i]))
        }
        fn sum_f64(a: [__m256d; 4]) -> f64 {
            sum_of_four(_mm256_add_pd(_mm256_add_pd(a[0], a[2]), _mm256_add_pd(a[1], a[3])))
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
            let [low, high] = load_bytes(cast_ref(x));
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
    }
}
