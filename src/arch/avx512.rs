//! `avx512`: AVX-512 F, BW, VL and DQ; a block is one 512-bit vector.

pub(super) mod distance;
mod dot;
mod extensions;

use core::arch::x86_64::*;

use super::avx2::sum_of_four;
use crate::simd::{LANES, Simd};

token! {
    /// The CPU has AVX-512 F, BW, VL and DQ.
    Avx512, is_x86_feature_detected, ["avx512f", "avx512bw", "avx512vl", "avx512dq"], "avx512f,avx512bw,avx512vl,avx512dq"
}

/// Sixteen f32 as f64.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn widen(x: __m512) -> [__m512d; 2] {
    [_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(x))]
}

impl Simd for Avx512 {
    type F32 = __m512;
    type I32 = __m512i;
    type F64 = [__m512d; 2];
    type Mask = __mmask16;
    const REGISTERS: usize = 32;

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn splat_f32(x: f32) -> __m512 { _mm512_set1_ps(x) }
        fn load_f32(x: &[f32; LANES]) -> __m512 {
            // SAFETY: sixteen f32 may be read.
            unsafe { _mm512_loadu_ps(x.as_ptr()) }
        }
        fn store_f32(a: __m512, out: &mut [f32; LANES]) {
            // SAFETY: sixteen f32 may be written.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), a) }
        }
        fn add_f32(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn sub_f32(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        fn mul_f32(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn mul_add_f32(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        fn div_f32(a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
        fn max_f32(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        fn min_f32(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(a, b) }
        fn clamp_f32(a: __m512, min: __m512, max: __m512) -> __m512 {
            let ordered = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(a, a);
            _mm512_min_ps(_mm512_maskz_max_ps(ordered, a, min), max)
        }
        fn round_to_i32(a: __m512) -> __m512i { _mm512_cvtps_epi32(a) }
        fn round_f32(a: __m512) -> __m512 {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
        }
        fn floor_f32(a: __m512) -> __m512 {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a)
        }
        fn floor_to_i32(a: __m512) -> __m512i {
            _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a)
        }
        fn trunc_to_i32(a: __m512) -> __m512i { _mm512_cvttps_epi32(a) }
        fn of_bits(a: __m512i) -> __m512 { _mm512_castsi512_ps(a) }
        fn to_f32(a: __m512i) -> __m512 { _mm512_cvtepi32_ps(a) }
        fn to_bits(a: __m512) -> __m512i { _mm512_castps_si512(a) }
        fn splat_f64(x: f64) -> [__m512d; 2] { [_mm512_set1_pd(x); 2] }
        fn load_f64(x: &[f64; LANES]) -> [__m512d; 2] {
            // SAFETY: sixteen f64 may be read.
            unsafe { [_mm512_loadu_pd(x.as_ptr()), _mm512_loadu_pd(x.as_ptr().add(8))] }
        }
        fn store_f64(a: [__m512d; 2], out: &mut [f64; LANES]) {
            // SAFETY: sixteen f64 may be written.
            unsafe {
                _mm512_storeu_pd(out.as_mut_ptr(), a[0]);
                _mm512_storeu_pd(out.as_mut_ptr().add(8), a[1]);
            }
        }
        fn add_product_f64(a: [__m512d; 2], x: __m512, y: __m512) -> [__m512d; 2] {
            let (x, y) = (widen(x), widen(y));
            [_mm512_fmadd_pd(x[0], y[0], a[0]), _mm512_fmadd_pd(x[1], y[1], a[1])]
        }
        fn sum_f64(a: [__m512d; 2]) -> f64 {
            let sum = _mm512_add_pd(a[0], a[1]);
            sum_of_four(_mm256_add_pd(_mm512_castpd512_pd256(sum), _mm512_extractf64x4_pd::<1>(sum)))
        }
        fn splat_i32(x: i32) -> __m512i { _mm512_set1_epi32(x) }
        fn load_i32(x: &[i32; LANES]) -> __m512i {
            // SAFETY: sixteen i32 may be read.
            unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
        }
        fn store_i32(a: __m512i, out: &mut [i32; LANES]) {
            // SAFETY: sixteen i32 may be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), a) }
        }
        fn load_u8(x: &[u8; LANES]) -> __m512i {
            // SAFETY: sixteen bytes may be read.
            _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(x.as_ptr().cast()) })
        }
        fn load_i8(x: &[i8; LANES]) -> __m512i {
            // SAFETY: sixteen bytes may be read.
            _mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(x.as_ptr().cast()) })
        }
        fn store_u8(a: __m512i, out: &mut [u8; LANES]) {
            // SAFETY: sixteen bytes may be written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(a)) }
        }
        fn store_i8(a: __m512i, out: &mut [i8; LANES]) {
            // SAFETY: sixteen bytes may be written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(a)) }
        }
        fn sum_i32(a: __m512i) -> i32 { _mm512_reduce_add_epi32(a) }
        fn add_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
        fn sub_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_sub_epi32(a, b) }
        fn mul_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_mullo_epi32(a, b) }
        fn max_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_max_epi32(a, b) }
        fn min_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_min_epi32(a, b) }
        fn and_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
        fn xor_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
        fn shift_left[N](a: __m512i) -> __m512i { _mm512_sllv_epi32(a, _mm512_set1_epi32(N)) }
        fn shift_right(a: __m512i, shift: __m512i) -> __m512i { _mm512_srav_epi32(a, shift) }
        fn shift_right_logical(a: __m512i, shift: __m512i) -> __m512i { _mm512_srlv_epi32(a, shift) }
        fn is_nan(a: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a) }
        fn less_f32(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
        fn equal_f32(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
        fn less_i32(a: __m512i, b: __m512i) -> __mmask16 { _mm512_cmplt_epi32_mask(a, b) }
        fn select_f32(mask: __mmask16, a: __m512, b: __m512) -> __m512 { _mm512_mask_mov_ps(b, mask, a) }
        fn select_i32(mask: __mmask16, a: __m512i, b: __m512i) -> __m512i { _mm512_mask_mov_epi32(b, mask, a) }
        fn any(mask: __mmask16) -> bool { mask != 0 }
    }
}
