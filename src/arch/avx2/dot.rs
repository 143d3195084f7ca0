//! The micro-kernel of `avx2`: B is widened to 16 bits and `vpmaddwd` multiplies pairs, which is exact for every code pair, also
//! where A is of i16; `vpmaddubsw` would saturate.

use core::arch::x86_64::*;

use super::Avx2;
use crate::arch::byte_products::{ByteProducts, SmallQuads};
use crate::groups::dot::{GroupDot, Totals};
use crate::groups::tile::E2M1;
use crate::matmul::dot::{Accumulate, Dot, rows};

impl Accumulate for Avx2 {
    type Acc = __m256i;
    type Columns = [i32; 8];

    ops! { "avx2,fma,f16c"
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

impl Totals for Avx2 {
    type Reals = __m256;
    type RealColumns = [f32; 8];
    type HalfColumns = [u16; 8];

    ops! { "avx2,fma,f16c"
        fn splat_real(x: f32) -> __m256 { _mm256_set1_ps(x) }
        fn read_reals(x: &[f32; 8]) -> __m256 {
            // SAFETY: eight f32 may be read.
            unsafe { _mm256_loadu_ps(x.as_ptr()) }
        }
        fn read_halves(x: &[u16; 8]) -> __m256 {
            // SAFETY: eight u16 may be read.
            _mm256_cvtph_ps(unsafe { _mm_loadu_si128(x.as_ptr().cast()) })
        }
        fn to_reals(acc: __m256i) -> __m256 { _mm256_cvtepi32_ps(acc) }
        fn add_reals(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        fn multiply_reals(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn store_reals(a: __m256, out: &mut [f32; 8]) {
            // SAFETY: eight f32 may be written.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), a) }
        }
    }
}

impl Avx2 {
    ops! { "avx2,fma,f16c"
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
    ops! { "avx2,fma,f16c"
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

    ops! { "avx2,fma,f16c"
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

impl ByteProducts for Avx2 {
    type Vectors = Avx2;
    type Bytes = [u8; 32];

    ops! { "avx2,fma,f16c"
        fn load(bytes: &[u8; 32]) -> __m256i {
            // SAFETY: 32 bytes may be read.
            unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
        }
        fn multiply(u: __m256i, i: __m256i) -> __m256i { _mm256_maddubs_epi16(u, i) }
        fn add_16(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi16(a, b) }
        fn add_pairs(acc: __m256i, sums: __m256i) -> __m256i {
            _mm256_add_epi32(acc, _mm256_madd_epi16(sums, _mm256_set1_epi16(1)))
        }
        fn extract(b: __m256i, shift: u32, bits: u32) -> __m256i {
            let mask = _mm256_set1_epi8(((1_u32 << bits) - 1) as i8);
            _mm256_and_si256(_mm256_srl_epi16(b, _mm_cvtsi32_si128(shift as i32)), mask)
        }
        fn look_up(table: &[u8; 16], b: __m256i) -> __m256i {
            // SAFETY: sixteen bytes may be read.
            let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
            _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), b)
        }
    }

    #[inline(always)]
    fn vectors(self) -> Avx2 {
        self
    }
}

microkernels! {
    Avx2 = "avx2", Pairs: |_signed| Pairs(Avx2::witness()), "avx2,fma,f16c", [i16 i8],
    tiles { [1 2] x [1 2 3 4 5 6] }, unpacked { [1 2] x [1 2 3 4 5 6] }
}

impl GroupDot for Pairs {
    ops! { "avx2,fma,f16c"
        fn extract(b: __m256i, shift: u32, bits: u32) -> __m256i {
            let mask = _mm256_set1_epi16((1 << bits) - 1);
            _mm256_and_si256(_mm256_srl_epi16(b, _mm_cvtsi32_si128(shift as i32)), mask)
        }
    }

    #[inline(always)]
    fn look_up(self, b: __m256i) -> __m256i {
        // The upper bytes are 0, and so is what they are looked up as.
        self.0.look_up(&E2M1, b)
    }
}

group_kernels! {
    Avx2, "avx2,fma,f16c", [2] x [1 2 3 4 5 6],
    two SmallQuads<Avx2, 2> = SmallQuads::<_, 2>(Avx2::witness()),
    four SmallQuads<Avx2, 4> = SmallQuads::<_, 4>(Avx2::witness()),
    e2m1 SmallQuads<Avx2, 5> = SmallQuads::<_, 5>(Avx2::witness()),
    six SmallQuads<Avx2, 6> = SmallQuads::<_, 6>(Avx2::witness()), [i8 u8],
    eight Pairs = Pairs(Avx2::witness()), [i16 i8]
}
