//! `avxvnni`: AVX2 with the VEX form of `vpdpbusd`.

use core::arch::x86_64::*;

use super::avx2::Avx2;
use super::avx2::distance::ByteDifferences;
use super::byte_products::ByteProducts;
use super::vnni::{Quads, Vnni};
use crate::matmul::dot::{Accumulate, rows};
use crate::matmul::tile::Microkernel;
use crate::sign::Sign;

token! {
    /// The CPU has AVX2 and AVX-VNNI.
    AvxVnni: Avx2, is_x86_feature_detected, ["avx2", "fma", "f16c", "avxvnni"], "avx2,fma,f16c,avxvnni"
}

impl Vnni for AvxVnni {
    type Vectors = Avx2;
    type Bytes = [u8; 32];

    ops! { "avx2,fma,f16c,avxvnni"
        fn dpbusd(acc: __m256i, u: __m256i, i: __m256i) -> __m256i { _mm256_dpbusd_avx_epi32(acc, u, i) }
        fn and(a: __m256i, b: __m256i) -> __m256i { _mm256_and_si256(a, b) }
        fn xor(a: __m256i, b: __m256i) -> __m256i { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn vectors(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; 32]) -> __m256i {
        self.0.read(&bytemuck::cast(*bytes))
    }
    #[inline(always)]
    fn extract(self, b: __m256i, shift: u32, bits: u32) -> __m256i {
        ByteProducts::extract(self.0, b, shift, bits)
    }
    #[inline(always)]
    fn look_up(self, table: &[u8; 16], b: __m256i) -> __m256i {
        ByteProducts::look_up(self.0, table, b)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m256i {
        // SAFETY: eight bytes, one for every column, may be read of each of the four rows.
        self.0.quads_of_eight(unsafe { rows(b, stride) }, flip)
    }
}

microkernels! {
    AvxVnni = "avxvnni", Quads<AvxVnni>: |a_signed| Quads { token: AvxVnni::witness(), a_signed }, "avx2,fma,f16c,avxvnni",
    [u8 i8, i8 u8], tiles { [1 2] x [1 2 3 4 5 6] }, unpacked { [1 2] x [1 2 3 4 5 6] }
}

impl AvxVnni {
    /// The micro-kernel for left operands of i16, of the ISA that this one adds to.
    pub fn microkernel_i16(self) -> &'static Microkernel {
        self.0.microkernel_i16()
    }
}

group_kernels! {
    AvxVnni, "avx2,fma,f16c,avxvnni", [2] x [1 2 3 4 5 6],
    Quads<AvxVnni> = Quads { token: AvxVnni::witness(), a_signed: true }, [i8 u8]
}

distance_kernel! {
    AvxVnni, "avx2,fma,f16c,avxvnni",
    |query| Quads { token: AvxVnni::witness(), a_signed: query == Sign::Signed }, Avx2::witness(),
    ByteDifferences(Avx2::witness())
}
