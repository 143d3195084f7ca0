//! The micro-kernel of `avx2`: B is widened to 16 bits and `vpmaddwd` multiplies pairs, which is exact for every code pair, also
//! where A is of i16; `vpmaddubsw` would saturate.

use core::arch::x86_64::*;

use super::Avx2;
use crate::matmul::dot::{Accumulate, Dot, rows};

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
        pub(in crate::arch) fn quads_of_eight(rows: [&[u8; 8]; 4], flip: u8) -> __m256i {
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
