//! What the extension traits gain by AVX-512 instructions.

use core::arch::asm;
use core::arch::x86_64::*;

use bytemuck::cast_slice;

use super::Avx512;
use crate::arch::byte_products::ByteProducts;
use crate::formats::vectors::FormatVectors;
use crate::groups::vectors::GroupVectors;
use crate::half::f16::{from_half_lanes, to_any_half};
use crate::half::vectors::HalfVectors;
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::packing::PackVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::memory::{Line, StreamVectors};
use crate::simd::{LANES, QUAD, Simd, quad};

/// Eight 64-bit products, rounded and shifted; the low 32 bits count.
#[inline]
#[target_feature(enable = "avx512f")]
fn mul_shift_round(a: __m512i, b: __m512i, shift: __m512i) -> __m512i {
    let half = _mm512_sllv_epi64(_mm512_set1_epi64(1), _mm512_sub_epi64(shift, _mm512_set1_epi64(1)));
    _mm512_srav_epi64(_mm512_add_epi64(_mm512_mul_epi32(a, b), half), shift)
}

/// `(a·b + half a unit) + c units`: eight 64-bit sums that are not negative.
#[inline]
#[target_feature(enable = "avx512f")]
fn mul_round_add(a: __m512i, b: __m512i, shift: __m512i, c: __m512i) -> __m512i {
    let half = _mm512_sllv_epi64(_mm512_set1_epi64(1), _mm512_sub_epi64(shift, _mm512_set1_epi64(1)));
    let offset = _mm512_add_epi64(_mm512_sllv_epi64(c, shift), half);
    _mm512_add_epi64(_mm512_mul_epi32(a, b), offset)
}

/// Hides from the compiler how a vector was made: else it replaces two shuffles by several.
#[inline]
#[target_feature(enable = "avx512f")]
fn opaque(mut a: __m512i) -> __m512i {
    // SAFETY: the assembly is a comment.
    unsafe { asm!("/* {0} */", inout(zmm_reg) a, options(pure, nomem, nostack, preserves_flags)) };
    a
}

/// Up to 64 bytes, followed by zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn load_some(x: &[u8]) -> __m512i {
    assert!(x.len() <= 64);
    let mask = if x.is_empty() { 0 } else { u64::MAX >> (64 - x.len()) };
    // SAFETY: the mask has a bit for every byte of `x`, and no other byte is read.
    unsafe { _mm512_maskz_loadu_epi8(mask, x.as_ptr().cast()) }
}

/// Sums of two u8: 510 at most, so that none saturates.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn pairs_u8(x: __m512i) -> __m512i {
    _mm512_maddubs_epi16(x, _mm512_set1_epi8(1))
}

/// Sums of two i8.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn pairs_i8(x: __m512i) -> __m512i {
    _mm512_maddubs_epi16(_mm512_set1_epi8(1), x)
}

/// Sums of two 16-bit integers, added.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn add_pairs(a: __m512i, pairs: __m512i) -> __m512i {
    _mm512_add_epi32(a, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
}

/// A quad as 16-bit integers, saturated: in every quarter of a register, four lanes of each of two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn to_i16([a, b, c, d]: [__m512i; QUAD]) -> [__m512i; 2] {
    [_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)]
}

/// A quad rounded, as [`to_i16`], plus zero points, saturated; and the sticky mask: what has no i32 becomes `i32::MIN`, which
/// saturates to `i16::MIN`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn round_to_i16(a: [__m512; QUAD], [b, d]: [__m512i; 2], invalid: __m512i) -> ([__m512i; 2], __m512i) {
    let [a, c] = to_i16(quad(
        #[inline(always)]
        |j| _mm512_cvtps_epi32(a[j]),
    ));
    ([_mm512_adds_epi16(a, b), _mm512_adds_epi16(c, d)], _mm512_min_epi16(invalid, _mm512_min_epi16(a, c)))
}

/// Bytes that were narrowed from [`to_i16`], in order; and the other way round.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn in_order(bytes: __m512i) -> __m512i {
    _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes)
}

/// Stores the codes of two blocks that were narrowed from a quad.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn store_both(codes: __m512i, [first, second]: [&mut [i8; 2 * LANES]; 2]) {
    let codes = in_order(codes);
    // SAFETY: 32 bytes may be written to each.
    unsafe {
        _mm256_storeu_si256(first.as_mut_ptr().cast(), _mm512_castsi512_si256(codes));
        _mm256_storeu_si256(second.as_mut_ptr().cast(), _mm512_extracti64x4_epi64::<1>(codes));
    }
}

impl FixedPointVectors for Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn mul_shift_round(a: __m512i, b: __m512i, shift: __m512i) -> __m512i {
            let even = mul_shift_round(a, b, _mm512_and_si512(shift, _mm512_set1_epi64(0xffff_ffff)));
            let odd = mul_shift_round(
                _mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b), _mm512_srli_epi64::<32>(shift));
            _mm512_mask_mov_epi32(even, 0b1010_1010_1010_1010, _mm512_slli_epi64::<32>(odd))
        }
        fn mul_shift_round_add(a: __m512i, b: __m512i, shift: __m512i, c: __m512i) -> __m512i {
            let shift_even = _mm512_and_si512(shift, _mm512_set1_epi64(0xffff_ffff));
            let even = mul_round_add(a, b, shift_even, c);
            let shift_odd = _mm512_srli_epi64::<32>(shift);
            let odd = mul_round_add(
                _mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b), shift_odd, _mm512_srli_epi64::<32>(c));
            // The sums of odd lanes are shifted to the upper half only.
            let to_upper = _mm512_sub_epi64(shift_odd, _mm512_set1_epi64(32));
            let odd = _mm512_srlv_epi64(odd, to_upper);
            _mm512_mask_mov_epi32(_mm512_srlv_epi64(even, shift_even), 0b1010_1010_1010_1010, odd)
        }
    }
}

impl FormatVectors for Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn store_symmetric_i8(a: [[__m512i; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
            let [first, second] = [_mm512_packs_epi32(a[0][0], a[0][1]), _mm512_packs_epi32(a[1][0], a[1][1])];
            store_both(_mm512_max_epi8(_mm512_packs_epi16(first, second), _mm512_set1_epi8(-127)), out);
        }
        fn store_halved_i8(a: [[__m512i; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
            let [first, second] = [_mm512_packs_epi32(a[0][0], a[0][1]), _mm512_packs_epi32(a[1][0], a[1][1])];
            let magnitudes = _mm512_packus_epi16(_mm512_abs_epi16(first), _mm512_abs_epi16(second));
            let halves = _mm512_avg_epu8(magnitudes, _mm512_setzero_si512());
            let negative = _mm512_movepi8_mask(_mm512_packs_epi16(first, second));
            store_both(_mm512_mask_sub_epi8(halves, negative, _mm512_setzero_si512(), halves), out);
        }
    }
}

impl GroupVectors for Avx512 {
    #[inline(always)]
    fn look_up(self, table: &[u8; 16], a: __m512i) -> __m512i {
        ByteProducts::look_up(self, table, a)
    }
}

impl HalfVectors for Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn load_u16(x: &[u16; LANES]) -> __m512i {
            // SAFETY: sixteen u16 may be read.
            _mm512_cvtepu16_epi32(unsafe { _mm256_loadu_si256(x.as_ptr().cast()) })
        }
        fn store_u16(a: __m512i, out: &mut [u16; LANES]) {
            // SAFETY: sixteen u16 may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(a)) }
        }
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> __m512 {
        // The instruction changes signalling NaN.
        let reals = self.widen_f16(x);
        if self.any(self.is_nan(reals)) { from_half_lanes(self, self.load_u16(x)) } else { reals }
    }
    #[inline(always)]
    fn store_f16(self, a: __m512, out: &mut [u16; LANES]) {
        // The instruction makes other NaN.
        if self.any(self.is_nan(a)) {
            self.store_u16(to_any_half(self, a), out);
        } else {
            self.narrow_to_f16(a, out);
        }
    }
}

impl Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn widen_f16(x: &[u16; LANES]) -> __m512 {
            // SAFETY: sixteen u16 may be read.
            _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(x.as_ptr().cast()) })
        }
        fn narrow_to_f16(a: __m512, out: &mut [u16; LANES]) {
            let halves = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(a);
            // SAFETY: sixteen u16 may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), halves) }
        }
    }
}

impl InterleaveVectors for Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn load_interleaved(x: [&[u8; LANES]; 4]) -> __m512i {
            // SAFETY: sixteen bytes may be read of each.
            let [a, b, c, d] = x.map(|x| unsafe { _mm_loadu_si128(x.as_ptr().cast()) });
            let rows = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
            let rows = opaque(_mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(rows, c), d));
            // Four columns of every row to a quarter, then in there the rows of every column to a lane.
            let columns = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let rows_of_column = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let quarters = opaque(_mm512_permutexvar_epi32(columns, rows));
            _mm512_shuffle_epi8(quarters, _mm512_broadcast_i32x4(rows_of_column))
        }
        fn store_interleaved(x: [&[u8; LANES]; 2], out: &mut [[u8; 2]; LANES]) {
            // SAFETY: sixteen bytes may be read of each.
            let [a, b] = x.map(|x| unsafe { _mm_loadu_si128(x.as_ptr().cast()) });
            let pairs = _mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b));
            // SAFETY: 32 bytes may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), pairs) }
        }
        fn add_four_u8(a: __m512i, x: &[u8; 4 * LANES]) -> __m512i { add_pairs(a, pairs_u8(load_some(x))) }
        fn add_four_i8(a: __m512i, x: &[i8; 4 * LANES]) -> __m512i { add_pairs(a, pairs_i8(load_some(cast_slice(x)))) }
    }
}

impl PackVectors for Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn pack_pairs[BITS](x: &[u8; 2 * LANES], out: &mut [u8; LANES]) {
            // SAFETY: 32 bytes may be read.
            let codes = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
            let codes = _mm256_and_si256(codes, _mm256_set1_epi8((1 << BITS) - 1));
            // Every first one, and 2^BITS times every second one.
            let pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi16((1 << BITS << 8) | 1));
            let bytes = _mm256_cvtepi16_epi8(pairs);
            // SAFETY: sixteen bytes may be written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) }
        }
        fn unpack_pairs[BITS](x: &[u8; LANES], flip: u8, out: &mut [u8; 2 * LANES]) {
            // SAFETY: sixteen bytes may be read.
            let (bytes, mask) = (unsafe { _mm_loadu_si128(x.as_ptr().cast()) }, _mm_set1_epi8((1 << BITS) - 1));
            let (low, high) = (_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16::<BITS>(bytes), mask));
            let flip = _mm256_set1_epi8(flip as i8);
            let codes = _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
            let codes = _mm256_sub_epi8(_mm256_xor_si256(codes, flip), flip);
            // SAFETY: 32 bytes may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), codes) }
        }
    }
}

impl QuantizeVectors for Avx512 {
    const HAS_FAST_DIVISION: bool = true;

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn reorder(b: [__m512i; QUAD]) -> [__m512i; 2] { to_i16(b) }
        fn reorder_u8(x: &[u8; QUAD * LANES]) -> [__m512i; 2] {
            let (bytes, zero) = (in_order(load_some(x)), _mm512_setzero_si512());
            [_mm512_unpacklo_epi8(bytes, zero), _mm512_unpackhi_epi8(bytes, zero)]
        }
        fn reorder_i8(x: &[i8; QUAD * LANES]) -> [__m512i; 2] {
            let (bytes, zero) = (in_order(load_some(cast_slice(x))), _mm512_setzero_si512());
            [
                _mm512_srai_epi16::<8>(_mm512_unpacklo_epi8(zero, bytes)),
                _mm512_srai_epi16::<8>(_mm512_unpackhi_epi8(zero, bytes)),
            ]
        }
        fn narrow_quad_u8(
            a: [__m512; QUAD], b: [__m512i; 2], bounds: [u8; 2], out: &mut [[u8; LANES]; QUAD], invalid: __m512i
        ) -> __m512i {
            let ([low, high], invalid) = round_to_i16(a, b, invalid);
            let mut bytes = _mm512_packus_epi16(low, high);
            // Saturation has clamped to the whole range.
            if bounds != [u8::MIN, u8::MAX] {
                let (min, max) = (_mm512_set1_epi8(bounds[0] as i8), _mm512_set1_epi8(bounds[1] as i8));
                bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, min), max);
            }
            // SAFETY: 64 bytes may be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), in_order(bytes)) }
            invalid
        }
        fn narrow_quad_i8(
            a: [__m512; QUAD], b: [__m512i; 2], bounds: [i8; 2], out: &mut [[i8; LANES]; QUAD], invalid: __m512i
        ) -> __m512i {
            let ([low, high], invalid) = round_to_i16(a, b, invalid);
            let mut bytes = _mm512_packs_epi16(low, high);
            // Saturation has clamped to the whole range.
            if bounds != [i8::MIN, i8::MAX] {
                let (min, max) = (_mm512_set1_epi8(bounds[0]), _mm512_set1_epi8(bounds[1]));
                bytes = _mm512_min_epi8(_mm512_max_epi8(bytes, min), max);
            }
            // SAFETY: 64 bytes may be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), in_order(bytes)) }
            invalid
        }
        fn mark_nan(a: [__m512; QUAD], invalid: __m512i) -> __m512i {
            let marked = _mm512_set1_epi32(i32::MIN);
            let invalid = _mm512_mask_mov_epi32(invalid, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a[0], a[1]), marked);
            _mm512_mask_mov_epi32(invalid, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a[2], a[3]), marked)
        }
        fn any_invalid(a: __m512i) -> bool { _mm512_cmpeq_epi16_mask(a, _mm512_set1_epi16(i16::MIN)) != 0 }
        fn store_equal_quad(a: [__m512; QUAD], b: [__m512; QUAD], out: &mut [[u8; LANES]; QUAD]) {
            let [a, b, c, d] = quad(#[inline(always)] |j| u32::from(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a[j], b[j])));
            let equal = _mm512_kunpackd(u64::from(_mm512_kunpackw(d, c)), u64::from(_mm512_kunpackw(b, a)));
            // SAFETY: 64 bytes may be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_maskz_set1_epi8(equal, 1)) }
        }
    }
}

impl RandomVectors for Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn xor3_i32(a: __m512i, b: __m512i, c: __m512i) -> __m512i { _mm512_ternarylogic_epi32::<0b1001_0110>(a, b, c) }
        fn add_if_less(a: __m512i, x: __m512, y: __m512) -> __m512i {
            _mm512_mask_add_epi32(a, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, y), a, _mm512_set1_epi32(1))
        }
        fn round_stochastically(a: __m512, words: __m512i) -> __m512i {
            // ceil(f + (a − f − u)) for u = (w >> 8) · 2⁻²⁴: the difference is positive exactly if u is below the fraction, and
            // a sum that is rounded up stays on its side of f. Two operations fewer than a comparison.
            let floor = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
            let upper_bits = _mm512_cvtepi32_ps(_mm512_srli_epi32::<8>(words));
            let above = _mm512_fnmadd_ps(upper_bits, _mm512_set1_ps(1.0 / (1 << 24) as f32), _mm512_sub_ps(a, floor));
            let sum = _mm512_add_round_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(floor, above);
            _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(sum)
        }
        fn rotate_left[N](a: __m512i) -> __m512i { _mm512_rol_epi32::<N>(a) }
    }
}

impl ReduceVectors for Avx512 {
    const UNROLL: usize = QUAD;
    const HAS_INTEGER_MIN_MAX: bool = true;

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        // In every quarter, a lane for every vector.
        fn quad_maxima(a: [__m512i; QUAD]) -> __m512i {
            let ab = _mm512_max_epi32(_mm512_unpacklo_epi32(a[0], a[1]), _mm512_unpackhi_epi32(a[0], a[1]));
            let cd = _mm512_max_epi32(_mm512_unpacklo_epi32(a[2], a[3]), _mm512_unpackhi_epi32(a[2], a[3]));
            _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
        }
        fn join_maxima(a: [__m512i; QUAD]) -> __m512i {
            let halves = |a, b| {
                let (even, odd) =
                    (_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b));
                _mm512_max_epi32(even, odd)
            };
            halves(halves(a[0], a[1]), halves(a[2], a[3]))
        }
        fn any_negative(a: __m512i) -> bool { _mm512_movepi32_mask(a) != 0 }
        fn max_of_i32(a: __m512i) -> i32 { _mm512_reduce_max_epi32(a) }
        fn max_u32(a: __m512i, b: __m512i) -> __m512i { _mm512_max_epu32(a, b) }
        fn min_u32(a: __m512i, b: __m512i) -> __m512i { _mm512_min_epu32(a, b) }
    }
}

impl StreamVectors for Avx512 {
    const HAS_NON_TEMPORAL_STORES: bool = true;

    #[inline(always)]
    unsafe fn stream(self, x: &Line, out: &mut Line) {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
        unsafe fn op(x: &Line, out: &mut Line) {
            // SAFETY: a line is 64 bytes, and begins at a multiple of 64; the caller fences before `out` is touched again.
            unsafe {
                let x = _mm512_load_si512(core::ptr::from_ref(x).cast());
                _mm512_stream_si512(core::ptr::from_mut(out).cast(), x);
            }
        }
        // SAFETY: `self` exists only where the CPU has the features; the caller vouches for the fence.
        unsafe { op(x, out) }
    }

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn fence() {
            #[allow(unused_unsafe, reason = "an unsafe function in older releases that we support")]
            // SAFETY: every x86-64 CPU has the instruction.
            unsafe { _mm_sfence() }
        }
    }
}
