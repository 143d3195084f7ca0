//! Sums for distances: codes of 16 bits by `vpmaddwd`, and differences of bytes.

use core::arch::x86_64::*;

use super::Avx512;
use crate::distance::codes::Encoding;
use crate::distance::vectors::{Differences, Products, Vectors, Widened, flip};
use crate::sign::Sign;

impl Vectors for Avx512 {
    type Bytes = [u8; 64];
    type Codes = [__m512i; 2];
    type Sums = __m512i;
    type Decoding = Widened;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [Widened; 2] {
        encodings.map(Widened::new)
    }
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn load(bytes: &[u8; 64], decoding: Widened) -> [__m512i; 2] {
            let (mask, zero_point) = (_mm512_set1_epi16(decoding.mask), _mm512_set1_epi16(decoding.zero_point));
            // SAFETY: 64 bytes may be read.
            let halves = unsafe {
                [_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_loadu_si256(bytes.as_ptr().add(32).cast())]
            };
            halves.map(|half| _mm512_sub_epi16(_mm512_and_si512(_mm512_cvtepi8_epi16(half), mask), zero_point))
        }
        fn keep(codes: [__m512i; 2], mask: &[u8; 64]) -> [__m512i; 2] {
            // SAFETY: 64 bytes may be read.
            let mask = unsafe { _mm512_movepi8_mask(_mm512_loadu_si512(mask.as_ptr().cast())) };
            [_mm512_maskz_mov_epi16(mask as u32, codes[0]), _mm512_maskz_mov_epi16((mask >> 32) as u32, codes[1])]
        }
        fn zero() -> __m512i { _mm512_setzero_si512() }
        fn merge(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
        fn sum(sums: __m512i) -> i32 { _mm512_reduce_add_epi32(sums) }
    }
}

impl Products for Avx512 {
    #[inline(always)]
    fn factor(self, _: [Encoding; 2]) -> i32 {
        0
    }
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn ones() -> [__m512i; 2] { [_mm512_set1_epi16(1); 2] }
        fn add_products(sums: __m512i, query: [__m512i; 2], row: [__m512i; 2]) -> __m512i {
            let products = [_mm512_madd_epi16(query[0], row[0]), _mm512_madd_epi16(query[1], row[1])];
            _mm512_add_epi32(sums, _mm512_add_epi32(products[0], products[1]))
        }
    }
}

impl Differences for Avx512 {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn add_squares(sums: __m512i, query: [__m512i; 2], row: [__m512i; 2]) -> __m512i {
            let differences = [_mm512_sub_epi16(query[0], row[0]), _mm512_sub_epi16(query[1], row[1])];
            let squares = differences.map(|difference| _mm512_madd_epi16(difference, difference));
            _mm512_add_epi32(sums, _mm512_add_epi32(squares[0], squares[1]))
        }
    }
}

/// Differences of bytes without sign.
#[derive(Clone, Copy)]
pub(in crate::arch) struct ByteDifferences(pub Avx512);

impl Vectors for ByteDifferences {
    type Bytes = [u8; 64];
    type Codes = __m512i;
    type Sums = __m512i;
    type Decoding = u8;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [u8; 2] {
        encodings.map(|encoding| flip(encoding.sign, Sign::Unsigned))
    }
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn load(bytes: &[u8; 64], flip: u8) -> __m512i {
            // SAFETY: 64 bytes may be read.
            _mm512_xor_si512(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }, _mm512_set1_epi8(flip as i8))
        }
        fn keep(codes: __m512i, mask: &[u8; 64]) -> __m512i {
            // SAFETY: 64 bytes may be read.
            _mm512_and_si512(codes, unsafe { _mm512_loadu_si512(mask.as_ptr().cast()) })
        }
    }
    #[inline(always)]
    fn zero(self) -> __m512i {
        self.0.zero()
    }
    #[inline(always)]
    fn merge(self, a: __m512i, b: __m512i) -> __m512i {
        self.0.merge(a, b)
    }
    #[inline(always)]
    fn sum(self, sums: __m512i) -> i32 {
        Vectors::sum(self.0, sums)
    }
}

impl Differences for ByteDifferences {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn add_squares(sums: __m512i, query: __m512i, row: __m512i) -> __m512i {
            let difference = _mm512_sub_epi8(_mm512_max_epu8(query, row), _mm512_min_epu8(query, row));
            // (Every order of the codes will do.)
            let zero = _mm512_setzero_si512();
            let halves = [_mm512_unpacklo_epi8(difference, zero), _mm512_unpackhi_epi8(difference, zero)];
            let squares = halves.map(|half| _mm512_madd_epi16(half, half));
            _mm512_add_epi32(sums, _mm512_add_epi32(squares[0], squares[1]))
        }
    }
}

distance_kernel! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq", |_| Avx512::witness(), Avx512::witness(), ByteDifferences(Avx512::witness()) }
