//! `avx512vnni`: AVX-512 with `vpdpbusd`.

use core::arch::x86_64::*;

use super::avx512::Avx512;
use super::avx512::distance::ByteDifferences;
use super::byte_products::ByteProducts;
use super::vnni::{Quads, Vnni};
use crate::matmul::dot::{Accumulate, rows};
use crate::matmul::interleave::InterleaveVectors;
use crate::matmul::tile::Microkernel;
use crate::sign::Sign;
use crate::simd::Simd;

token! {
    /// The CPU has AVX-512 (F, BW, VL, DQ) and AVX512-VNNI.
    Avx512Vnni: Avx512, is_x86_feature_detected,
    ["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni"], "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
}

impl Vnni for Avx512Vnni {
    type Vectors = Avx512;
    type Bytes = [u8; 64];

    ops! { "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
        fn dpbusd(acc: __m512i, u: __m512i, i: __m512i) -> __m512i { _mm512_dpbusd_epi32(acc, u, i) }
        fn and(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
        fn xor(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn vectors(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> __m512i {
        self.0.read(&bytemuck::cast(*bytes))
    }
    #[inline(always)]
    fn extract(self, b: __m512i, shift: u32, bits: u32) -> __m512i {
        ByteProducts::extract(self.0, b, shift, bits)
    }
    #[inline(always)]
    fn look_up(self, table: &[u8; 16], b: __m512i) -> __m512i {
        ByteProducts::look_up(self.0, table, b)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m512i {
        // SAFETY: sixteen bytes, one for every column, may be read of each of the four rows.
        let quads = self.0.load_interleaved(unsafe { rows(b, stride) });
        self.0.xor_i32(quads, self.0.splat(i32::from_ne_bytes([flip; 4])))
    }
}

microkernels! {
    Avx512Vnni = "avx512vnni", Quads<Avx512Vnni>: |a_signed| Quads { token: Avx512Vnni::witness(), a_signed },
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni", [u8 i8, i8 u8],
    tiles { [1 2 3] x [1 2 3 4 5 6 7 8], [4] x [1 2 3 4 5 6] }, unpacked { [1 2 3] x [1 2 3 4 5 6 7 8] }
}

impl Avx512Vnni {
    /// The micro-kernel for left operands of i16, of the ISA that this one adds to.
    pub fn microkernel_i16(self) -> &'static Microkernel {
        self.0.microkernel_i16()
    }
}

group_kernels! {
    Avx512Vnni, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni", [2 3] x [1 2 3 4 5 6 7 8],
    Quads<Avx512Vnni> = Quads { token: Avx512Vnni::witness(), a_signed: true }, [i8 u8]
}

distance_kernel! {
    Avx512Vnni, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni",
    |query| Quads { token: Avx512Vnni::witness(), a_signed: query == Sign::Signed }, Avx512::witness(),
    ByteDifferences(Avx512::witness())
}
