//! What the extension traits gain by AVX2 instructions.

use core::arch::x86_64::*;

use bytemuck::cast_ref;

use super::Avx2;
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

impl FixedPointVectors for Avx2 {
    register_ops! { "avx2,fma,f16c", 2
        fn mul_shift_round(a: __m256i, b: __m256i, shift: __m256i) -> __m256i {
            // AVX2 has no arithmetic 64-bit shift: shift p + 2⁶³ logically, then take 2⁶³ >> shift away again. The low 32
            // bits, all that is kept, are right since shift ≤ 62.
            #[inline]
            #[target_feature(enable = "avx2,fma,f16c")]
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
        fn mul_shift_round_add(a: __m256i, b: __m256i, shift: __m256i, c: __m256i) -> __m256i {
            // Sums are not negative: a logical shift does.
            #[inline]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn sums(a: __m256i, b: __m256i, shift: __m256i, c: __m256i) -> __m256i {
                let half = _mm256_sllv_epi64(_mm256_set1_epi64x(1), _mm256_sub_epi64(shift, _mm256_set1_epi64x(1)));
                _mm256_add_epi64(_mm256_mul_epi32(a, b), _mm256_add_epi64(_mm256_sllv_epi64(c, shift), half))
            }
            let even_shift = _mm256_and_si256(shift, _mm256_set1_epi64x(0xffff_ffff));
            let even = _mm256_srlv_epi64(sums(a, b, even_shift, c), even_shift);
            // The sums of odd lanes are shifted to the upper half only.
            let odd_shift = _mm256_srli_epi64::<32>(shift);
            let (a, b, c) = (_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b), _mm256_srli_epi64::<32>(c));
            let odd = sums(a, b, odd_shift, c);
            let odd = _mm256_srlv_epi64(odd, _mm256_sub_epi64(odd_shift, _mm256_set1_epi64x(32)));
            _mm256_blend_epi32::<0b1010_1010>(even, odd)
        }
    }
}

impl FormatVectors for Avx2 {
    ops! { "avx2,fma,f16c"
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

/// Sums of pairs of 16-bit integers, added.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_pairs(a: __m256i, x: __m256i) -> __m256i {
    _mm256_add_epi32(a, _mm256_madd_epi16(x, _mm256_set1_epi16(1)))
}

/// Two halves of 64 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_halves(x: &[u8; QUAD * LANES]) -> [__m256i; 2] {
    let x: *const __m256i = x.as_ptr().cast();
    // SAFETY: 64 bytes may be read.
    unsafe { [_mm256_loadu_si256(x), _mm256_loadu_si256(x.add(1))] }
}

impl GroupVectors for Avx2 {
    #[inline(always)]
    fn look_up(self, table: &[u8; 16], a: [__m256i; 2]) -> [__m256i; 2] {
        [ByteProducts::look_up(self, table, a[0]), ByteProducts::look_up(self, table, a[1])]
    }
}

impl HalfVectors for Avx2 {
    ops! { "avx2,fma,f16c"
        fn load_u16(x: &[u16; LANES]) -> [__m256i; 2] {
            // SAFETY: sixteen u16 may be read.
            let words = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
            let [low, high] = [_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words)];
            [_mm256_cvtepu16_epi32(low), _mm256_cvtepu16_epi32(high)]
        }
        fn store_u16(a: [__m256i; 2], out: &mut [u16; LANES]) {
            // Of both registers, first the lower halves, then the upper ones.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a[0], a[1]));
            // SAFETY: sixteen u16 may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), words) }
        }
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> [__m256; 2] {
        // The instruction changes signalling NaN.
        let reals = self.widen_f16(x);
        if self.any(self.is_nan(reals)) { from_half_lanes(self, self.load_u16(x)) } else { reals }
    }
    #[inline(always)]
    fn store_f16(self, a: [__m256; 2], out: &mut [u16; LANES]) {
        // The instruction makes other NaN.
        if self.any(self.is_nan(a)) {
            self.store_u16(to_any_half(self, a), out);
        } else {
            self.narrow_to_f16(a, out);
        }
    }
}

impl Avx2 {
    ops! { "avx2,fma,f16c"
        fn widen_f16(x: &[u16; LANES]) -> [__m256; 2] {
            // SAFETY: sixteen u16 may be read.
            let halves = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
            [_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves))]
        }
        fn narrow_to_f16(a: [__m256; 2], out: &mut [u16; LANES]) {
            let low = _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(a[0]);
            let high = _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(a[1]);
            // SAFETY: sixteen u16 may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_set_m128i(high, low)) }
        }
    }
}

impl InterleaveVectors for Avx2 {
    ops! { "avx2,fma,f16c"
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
            // Sums of two are 510 at most: nothing saturates.
            let ([low, high], one) = (load_halves(x), _mm256_set1_epi8(1));
            [add_pairs(a[0], _mm256_maddubs_epi16(low, one)), add_pairs(a[1], _mm256_maddubs_epi16(high, one))]
        }
        fn add_four_i8(a: [__m256i; 2], x: &[i8; 4 * LANES]) -> [__m256i; 2] {
            let ([low, high], one) = (load_halves(cast_ref(x)), _mm256_set1_epi8(1));
            [add_pairs(a[0], _mm256_maddubs_epi16(one, low)), add_pairs(a[1], _mm256_maddubs_epi16(one, high))]
        }
    }
}

impl PackVectors for Avx2 {
    ops! { "avx2,fma,f16c"
        fn pack_pairs[BITS](x: &[u8; 2 * LANES], out: &mut [u8; LANES]) {
            // SAFETY: 32 bytes may be read.
            let codes = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
            let codes = _mm256_and_si256(codes, _mm256_set1_epi8((1 << BITS) - 1));
            // Every first one, and 2^BITS times every second one.
            let pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi16((1 << BITS << 8) | 1));
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
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

/// A quad as 16-bit integers, saturated: in every half of a register, four lanes of each of two.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn to_i16(a: [[__m256i; 2]; QUAD]) -> [__m256i; QUAD] {
    quad(
        #[inline(always)]
        |j| _mm256_packs_epi32(a[j][0], a[j][1]),
    )
}

/// A quad rounded, as [`to_i16`], plus zero points, saturated; and the sticky mask: what has no i32 becomes `i32::MIN`, which
/// saturates to `i16::MIN`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn round_to_i16(
    a: [[__m256; 2]; QUAD],
    b: [[__m256i; 2]; 2],
    invalid: [__m256i; 2],
) -> ([__m256i; QUAD], [__m256i; 2]) {
    let a = to_i16(quad(
        #[inline(always)]
        |j| [_mm256_cvtps_epi32(a[j][0]), _mm256_cvtps_epi32(a[j][1])],
    ));
    let smallest = _mm256_min_epi16(_mm256_min_epi16(a[0], a[1]), _mm256_min_epi16(a[2], a[3]));
    let sums = quad(
        #[inline(always)]
        |j| _mm256_adds_epi16(a[j], b[j / 2][j % 2]),
    );
    (sums, [_mm256_min_epi16(invalid[0], smallest), invalid[1]])
}

/// Bytes in the order that two vectors of [`to_i16`] have when they are narrowed again.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn as_narrowed(bytes: __m256i) -> __m256i {
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7))
}

/// Bytes that were narrowed from two vectors of [`to_i16`], in order.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn in_order(bytes: __m256i) -> __m256i {
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// Stores bytes that were narrowed from a quad.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_narrowed<T>([low, high]: [__m256i; 2], out: &mut [[T; LANES]; QUAD]) {
    const { assert!(size_of::<T>() == 1) };
    let out: *mut __m256i = out.as_mut_ptr().cast();
    // SAFETY: 64 bytes may be written.
    unsafe {
        _mm256_storeu_si256(out, in_order(low));
        _mm256_storeu_si256(out.add(1), in_order(high));
    }
}

impl QuantizeVectors for Avx2 {
    const HAS_FAST_DIVISION: bool = true;

    ops! { "avx2,fma,f16c"
        fn reorder(b: [[__m256i; 2]; QUAD]) -> [[__m256i; 2]; 2] {
            let [a, b, c, d] = to_i16(b);
            [[a, b], [c, d]]
        }
        fn reorder_u8(x: &[u8; QUAD * LANES]) -> [[__m256i; 2]; 2] {
            load_halves(x).map(|bytes| {
                let (bytes, zero) = (as_narrowed(bytes), _mm256_setzero_si256());
                [_mm256_unpacklo_epi8(bytes, zero), _mm256_unpackhi_epi8(bytes, zero)]
            })
        }
        fn reorder_i8(x: &[i8; QUAD * LANES]) -> [[__m256i; 2]; 2] {
            load_halves(cast_ref(x)).map(|bytes| {
                let (bytes, zero) = (as_narrowed(bytes), _mm256_setzero_si256());
                let upper = [_mm256_unpacklo_epi8(zero, bytes), _mm256_unpackhi_epi8(zero, bytes)];
                [_mm256_srai_epi16::<8>(upper[0]), _mm256_srai_epi16::<8>(upper[1])]
            })
        }
        fn narrow_quad_u8(
            a: [[__m256; 2]; QUAD], b: [[__m256i; 2]; 2], bounds: [u8; 2], out: &mut [[u8; LANES]; QUAD], invalid: [__m256i; 2]
        ) -> [__m256i; 2] {
            let ([a, b, c, d], invalid) = round_to_i16(a, b, invalid);
            let mut codes = [_mm256_packus_epi16(a, b), _mm256_packus_epi16(c, d)];
            // Saturation has clamped to the whole range.
            if bounds != [u8::MIN, u8::MAX] {
                let [min, max] = [_mm256_set1_epi8(bounds[0] as i8), _mm256_set1_epi8(bounds[1] as i8)];
                codes[0] = _mm256_min_epu8(_mm256_max_epu8(codes[0], min), max);
                codes[1] = _mm256_min_epu8(_mm256_max_epu8(codes[1], min), max);
            }
            store_narrowed(codes, out);
            invalid
        }
        fn narrow_quad_i8(
            a: [[__m256; 2]; QUAD], b: [[__m256i; 2]; 2], bounds: [i8; 2], out: &mut [[i8; LANES]; QUAD], invalid: [__m256i; 2]
        ) -> [__m256i; 2] {
            let ([a, b, c, d], invalid) = round_to_i16(a, b, invalid);
            let mut codes = [_mm256_packs_epi16(a, b), _mm256_packs_epi16(c, d)];
            // Saturation has clamped to the whole range.
            if bounds != [i8::MIN, i8::MAX] {
                let [min, max] = [_mm256_set1_epi8(bounds[0]), _mm256_set1_epi8(bounds[1])];
                codes[0] = _mm256_min_epi8(_mm256_max_epi8(codes[0], min), max);
                codes[1] = _mm256_min_epi8(_mm256_max_epi8(codes[1], min), max);
            }
            store_narrowed(codes, out);
            invalid
        }
        fn mark_nan(a: [[__m256; 2]; QUAD], invalid: [__m256i; 2]) -> [__m256i; 2] {
            let [a, b, c, d] = quad(#[inline(always)] |j| _mm256_cmp_ps::<_CMP_UNORD_Q>(a[j][0], a[j][1]));
            let any = _mm256_castps_si256(_mm256_or_ps(_mm256_or_ps(a, b), _mm256_or_ps(c, d)));
            [_mm256_min_epi16(invalid[0], _mm256_slli_epi32::<31>(any)), invalid[1]]
        }
        fn any_invalid(a: [__m256i; 2]) -> bool {
            let marked = _mm256_set1_epi16(i16::MIN);
            let any = _mm256_or_si256(_mm256_cmpeq_epi16(a[0], marked), _mm256_cmpeq_epi16(a[1], marked));
            _mm256_testz_si256(any, any) == 0
        }
        fn store_equal_quad(a: [[__m256; 2]; QUAD], b: [[__m256; 2]; QUAD], out: &mut [[u8; LANES]; QUAD]) {
            let equal = |a, b| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b));
            let [a, b, c, d] = to_i16(quad(
                #[inline(always)]
                |j| [equal(a[j][0], b[j][0]), equal(a[j][1], b[j][1])],
            ));
            let one = _mm256_set1_epi8(1);
            let [low, high] = [_mm256_packs_epi16(a, b), _mm256_packs_epi16(c, d)];
            store_narrowed([_mm256_and_si256(low, one), _mm256_and_si256(high, one)], out);
        }
    }
}

impl RandomVectors for Avx2 {
    register_ops! { "avx2,fma,f16c", 2
        // A mask is −1.
        fn add_if_less(a: __m256i, x: __m256, y: __m256) -> __m256i {
            _mm256_sub_epi32(a, _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(x, y)))
        }
        // (A shift by a vector of one constant: 32 − N cannot be an immediate.)
        fn rotate_left[N](a: __m256i) -> __m256i {
            _mm256_or_si256(_mm256_slli_epi32::<N>(a), _mm256_srlv_epi32(a, _mm256_set1_epi32(32 - N)))
        }
    }
}

impl ReduceVectors for Avx2 {
    const HAS_INTEGER_MIN_MAX: bool = true;
    const UNROLL: usize = 2;

    register_ops! { "avx2,fma,f16c", 2
        fn max_u32(a: __m256i, b: __m256i) -> __m256i { _mm256_max_epu32(a, b) }
        fn min_u32(a: __m256i, b: __m256i) -> __m256i { _mm256_min_epu32(a, b) }
    }

    ops! { "avx2,fma,f16c"
        // In every half of the first register, a lane for every vector.
        fn quad_maxima(a: [[__m256i; 2]; QUAD]) -> [__m256i; 2] {
            let [a, b, c, d] = quad(#[inline(always)] |i| _mm256_max_epi32(a[i][0], a[i][1]));
            let ab = _mm256_max_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let cd = _mm256_max_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            [_mm256_max_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd)); 2]
        }
        fn join_maxima(a: [[__m256i; 2]; QUAD]) -> [__m256i; 2] {
            let halves = |a, b| {
                _mm256_max_epi32(_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b))
            };
            [halves(a[0][0], a[1][0]), halves(a[2][0], a[3][0])]
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
    }
}

impl StreamVectors for Avx2 {
    const HAS_NON_TEMPORAL_STORES: bool = true;

    #[inline(always)]
    unsafe fn stream(self, x: &Line, out: &mut Line) {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn op(x: &Line, out: &mut Line) {
            let (x, out): (*const __m256i, *mut __m256i) =
                (core::ptr::from_ref(x).cast(), core::ptr::from_mut(out).cast());
            // SAFETY: a line is 64 bytes, and begins at a multiple of 64; the caller fences before `out` is touched again.
            unsafe {
                _mm256_stream_si256(out, _mm256_load_si256(x));
                _mm256_stream_si256(out.add(1), _mm256_load_si256(x.add(1)));
            }
        }
        // SAFETY: `self` exists only where the CPU has the features; the caller vouches for the fence.
        unsafe { op(x, out) }
    }

    ops! { "avx2,fma,f16c"
        fn fence() {
            #[allow(unused_unsafe, reason = "an unsafe function in older releases that we support")]
            // SAFETY: every x86-64 CPU has the instruction.
            unsafe { _mm_sfence() }
        }
    }
}
