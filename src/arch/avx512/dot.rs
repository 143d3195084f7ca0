//! The micro-kernel of `avx512`: B is widened to 16 bits and `vpmaddwd` multiplies pairs, which is exact for every code pair.

use core::arch::x86_64::*;

use super::Avx512;
use crate::arch::byte_products::{ByteProducts, SmallQuads};
use crate::groups::dot::{GroupDot, Totals};
use crate::groups::tile::E2M1;
use crate::matmul::dot::{Accumulate, Dot, rows};

impl Accumulate for Avx512 {
    type Acc = __m512i;
    type Columns = [i32; 16];

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn read(x: &[i32; 16]) -> __m512i {
            // SAFETY: sixteen i32 may be read.
            unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
        }
        fn splat(x: i32) -> __m512i { _mm512_set1_epi32(x) }
        fn add(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
        fn add_product(acc: __m512i, factor: i32, columns: __m512i) -> __m512i {
            _mm512_add_epi32(acc, _mm512_mullo_epi32(_mm512_set1_epi32(factor), columns))
        }
        fn store(acc: __m512i, out: &mut [i32; 16]) {
            // SAFETY: sixteen i32 may be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), acc) }
        }
    }
}

impl Totals for Avx512 {
    type Reals = __m512;
    type RealColumns = [f32; 16];
    type HalfColumns = [u16; 16];

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn splat_real(x: f32) -> __m512 { _mm512_set1_ps(x) }
        fn read_reals(x: &[f32; 16]) -> __m512 {
            // SAFETY: sixteen f32 may be read.
            unsafe { _mm512_loadu_ps(x.as_ptr()) }
        }
        fn read_halves(x: &[u16; 16]) -> __m512 {
            // SAFETY: sixteen u16 may be read.
            _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(x.as_ptr().cast()) })
        }
        fn to_reals(acc: __m512i) -> __m512 { _mm512_cvtepi32_ps(acc) }
        fn add_reals(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn multiply_reals(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn store_reals(a: __m512, out: &mut [f32; 16]) {
            // SAFETY: sixteen f32 may be written.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), a) }
        }
    }
}

/// Sixteen columns, two k at a time.
#[derive(Clone, Copy)]
struct Pairs(Avx512);

impl Pairs {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn pairs(rows: [&[u8; 16]; 2], flip: u8) -> __m512i {
            // SAFETY: sixteen bytes may be read of each.
            let [a, b] = rows.map(|row| unsafe { _mm_loadu_si128(row.as_ptr().cast()) });
            let pairs = _mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b));
            _mm512_cvtepi8_epi16(_mm256_xor_si256(pairs, _mm256_set1_epi8(flip as i8)))
        }
    }
}

impl Dot for Pairs {
    type Vectors = Avx512;
    type StepA = [u8; 4];
    type StepB = [u8; 32];
    type A = __m512i;
    type B = __m512i;
    const DEPTH: usize = 2;

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn broadcast(a: &[u8; 4]) -> __m512i { _mm512_set1_epi32(i32::from_ne_bytes(*a)) }
        fn load(b: &[u8; 32]) -> __m512i {
            // SAFETY: 32 bytes may be read.
            _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(b.as_ptr().cast()) })
        }
        fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn vectors(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m512i {
        // SAFETY: sixteen bytes, one for every column, may be read of each of the two rows.
        self.pairs(unsafe { rows(b, stride) }, flip)
    }
}

impl ByteProducts for Avx512 {
    type Vectors = Avx512;
    type Bytes = [u8; 64];

    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn load(bytes: &[u8; 64]) -> __m512i {
            // SAFETY: 64 bytes may be read.
            unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
        }
        fn multiply(u: __m512i, i: __m512i) -> __m512i { _mm512_maddubs_epi16(u, i) }
        fn add_16(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi16(a, b) }
        fn add_pairs(acc: __m512i, sums: __m512i) -> __m512i {
            _mm512_add_epi32(acc, _mm512_madd_epi16(sums, _mm512_set1_epi16(1)))
        }
        fn extract(b: __m512i, shift: u32, bits: u32) -> __m512i {
            let mask = _mm512_set1_epi8(((1_u32 << bits) - 1) as i8);
            _mm512_and_si512(_mm512_srl_epi16(b, _mm_cvtsi32_si128(shift as i32)), mask)
        }
        fn look_up(table: &[u8; 16], b: __m512i) -> __m512i {
            // SAFETY: sixteen bytes may be read.
            let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), b)
        }
    }

    #[inline(always)]
    fn vectors(self) -> Avx512 {
        self
    }
}

microkernels! {
    Avx512 = "avx512", Pairs: |_signed| Pairs(Avx512::witness()), "avx512f,avx512bw,avx512vl,avx512dq", [i16 i8],
    tiles { [1 2 3] x [1 2 3 4 5 6 7 8], [4] x [1 2 3 4 5 6] }, unpacked { [1 2 3] x [1 2 3 4 5 6 7 8] }
}

impl GroupDot for Pairs {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq"
        fn extract(b: __m512i, shift: u32, bits: u32) -> __m512i {
            let mask = _mm512_set1_epi16((1 << bits) - 1);
            _mm512_and_si512(_mm512_srl_epi16(b, _mm_cvtsi32_si128(shift as i32)), mask)
        }
    }

    #[inline(always)]
    fn look_up(self, b: __m512i) -> __m512i {
        // The upper bytes are 0, and so is what they are looked up as.
        self.0.look_up(&E2M1, b)
    }
}

group_kernels! {
    Avx512, "avx512f,avx512bw,avx512vl,avx512dq", [2 3] x [1 2 3 4],
    two SmallQuads<Avx512, 2> = SmallQuads::<_, 2>(Avx512::witness()),
    four SmallQuads<Avx512, 4> = SmallQuads::<_, 4>(Avx512::witness()),
    e2m1 SmallQuads<Avx512, 5> = SmallQuads::<_, 5>(Avx512::witness()),
    six SmallQuads<Avx512, 6> = SmallQuads::<_, 6>(Avx512::witness()), [i8 u8],
    eight Pairs = Pairs(Avx512::witness()), [i16 i8]
}
