//! Sums for distances: codes of 16 bits by `vpmaddwd`, and differences of bytes.

use core::arch::x86_64::*;

use super::Avx2;
use crate::distance::codes::Encoding;
use crate::distance::vectors::{Differences, Products, Vectors, Widened, flip};
use crate::sign::Sign;

impl Vectors for Avx2 {
    type Bytes = [u8; 32];
    type Codes = [__m256i; 2];
    type Sums = __m256i;
    type Decoding = Widened;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [Widened; 2] {
        encodings.map(Widened::new)
    }
    ops! { "avx2,fma,f16c"
        fn load(bytes: &[u8; 32], decoding: Widened) -> [__m256i; 2] {
            let (mask, zero_point) = (_mm256_set1_epi16(decoding.mask), _mm256_set1_epi16(decoding.zero_point));
            // SAFETY: 32 bytes may be read.
            let halves = unsafe {
                [_mm_loadu_si128(bytes.as_ptr().cast()), _mm_loadu_si128(bytes.as_ptr().add(16).cast())]
            };
            halves.map(|half| _mm256_sub_epi16(_mm256_and_si256(_mm256_cvtepi8_epi16(half), mask), zero_point))
        }
        fn keep(codes: [__m256i; 2], mask: &[u8; 32]) -> [__m256i; 2] {
            // SAFETY: 32 bytes may be read.
            let halves = unsafe {
                [_mm_loadu_si128(mask.as_ptr().cast()), _mm_loadu_si128(mask.as_ptr().add(16).cast())]
            };
            let masks = halves.map(|half| _mm256_cvtepi8_epi16(half));
            [_mm256_and_si256(codes[0], masks[0]), _mm256_and_si256(codes[1], masks[1])]
        }
        fn zero() -> __m256i { _mm256_setzero_si256() }
        fn merge(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi32(a, b) }
        fn sum(sums: __m256i) -> i32 {
            let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
        }
    }
}

impl Products for Avx2 {
    #[inline(always)]
    fn factor(self, _: [Encoding; 2]) -> i32 {
        0
    }
    ops! { "avx2,fma,f16c"
        fn ones() -> [__m256i; 2] { [_mm256_set1_epi16(1); 2] }
        fn add_products(sums: __m256i, query: [__m256i; 2], row: [__m256i; 2]) -> __m256i {
            let products = [_mm256_madd_epi16(query[0], row[0]), _mm256_madd_epi16(query[1], row[1])];
            _mm256_add_epi32(sums, _mm256_add_epi32(products[0], products[1]))
        }
    }
}

impl Differences for Avx2 {
    ops! { "avx2,fma,f16c"
        fn add_squares(sums: __m256i, query: [__m256i; 2], row: [__m256i; 2]) -> __m256i {
            let differences = [_mm256_sub_epi16(query[0], row[0]), _mm256_sub_epi16(query[1], row[1])];
            let squares = differences.map(|difference| _mm256_madd_epi16(difference, difference));
            _mm256_add_epi32(sums, _mm256_add_epi32(squares[0], squares[1]))
        }
    }
}

/// Differences of bytes without sign.
#[derive(Clone, Copy)]
pub(in crate::arch) struct ByteDifferences(pub Avx2);

impl Vectors for ByteDifferences {
    type Bytes = [u8; 32];
    type Codes = __m256i;
    type Sums = __m256i;
    type Decoding = u8;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [u8; 2] {
        encodings.map(|encoding| flip(encoding.sign, Sign::Unsigned))
    }
    ops! { "avx2,fma,f16c"
        fn load(bytes: &[u8; 32], flip: u8) -> __m256i {
            // SAFETY: 32 bytes may be read.
            _mm256_xor_si256(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }, _mm256_set1_epi8(flip as i8))
        }
        fn keep(codes: __m256i, mask: &[u8; 32]) -> __m256i {
            // SAFETY: 32 bytes may be read.
            _mm256_and_si256(codes, unsafe { _mm256_loadu_si256(mask.as_ptr().cast()) })
        }
    }
    #[inline(always)]
    fn zero(self) -> __m256i {
        self.0.zero()
    }
    #[inline(always)]
    fn merge(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.merge(a, b)
    }
    #[inline(always)]
    fn sum(self, sums: __m256i) -> i32 {
        Vectors::sum(self.0, sums)
    }
}

impl Differences for ByteDifferences {
    ops! { "avx2,fma,f16c"
        fn add_squares(sums: __m256i, query: __m256i, row: __m256i) -> __m256i {
            let difference = _mm256_sub_epi8(_mm256_max_epu8(query, row), _mm256_min_epu8(query, row));
            // (Every order of the codes will do.)
            let zero = _mm256_setzero_si256();
            let halves = [_mm256_unpacklo_epi8(difference, zero), _mm256_unpackhi_epi8(difference, zero)];
            let squares = halves.map(|half| _mm256_madd_epi16(half, half));
            _mm256_add_epi32(sums, _mm256_add_epi32(squares[0], squares[1]))
        }
    }
}

distance_kernel! { Avx2, "avx2,fma,f16c", |_| Avx2::witness(), Avx2::witness(), ByteDifferences(Avx2::witness()) }
