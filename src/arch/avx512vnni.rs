//! `avx512vnni`: AVX-512 with `vpdpbusd`: four exact u8 × i8 products a column and instruction.

use core::arch::x86_64::*;

use super::avx512::Avx512;
use crate::matmul::dot::{Accumulate, Dot, rows};
use crate::matmul::interleave::InterleaveVectors;
use crate::simd::Simd;

token! {
    /// The CPU has AVX-512 (F, BW, VL, DQ) and AVX512-VNNI.
    Avx512Vnni: Avx512, is_x86_feature_detected,
    ["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni"], "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
}

/// Sixteen columns, four k at a time. The instruction multiplies u8 by i8: B is packed with the sign that A has not.
#[derive(Clone, Copy)]
struct Quads {
    token: Avx512Vnni,
    a_signed: bool,
}

impl Quads {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
        fn dpbusd(acc: __m512i, u: __m512i, i: __m512i) -> __m512i { _mm512_dpbusd_epi32(acc, u, i) }
    }
}

impl Dot for Quads {
    type Vectors = Avx512;
    type StepA = [u8; 4];
    type StepB = [u8; 64];
    type A = __m512i;
    type B = __m512i;
    const DEPTH: usize = 4;

    #[inline(always)]
    fn vectors(self) -> Avx512 {
        self.token.0
    }
    #[inline(always)]
    fn broadcast(self, a: &[u8; 4]) -> __m512i {
        self.vectors().splat(i32::from_ne_bytes(*a))
    }
    #[inline(always)]
    fn load(self, b: &[u8; 64]) -> __m512i {
        self.vectors().read(&bytemuck::cast(*b))
    }
    #[inline(always)]
    fn dot(self, acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        let (u, i) = if self.a_signed { (b, a) } else { (a, b) };
        self.dpbusd(acc, u, i)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m512i {
        // SAFETY: sixteen bytes, one for every column, may be read of each of the four rows.
        let quads = self.vectors().load_interleaved(unsafe { rows(b, stride) });
        self.vectors().xor_i32(quads, self.vectors().splat(i32::from_ne_bytes([flip; 4])))
    }
}

microkernels! {
    Avx512Vnni = "avx512vnni", Quads: |a_signed| Quads { token: Avx512Vnni::witness(), a_signed },
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni", [u8 i8, i8 u8],
    tiles { [1 2 3] x [1 2 3 4 5 6 7 8], [4] x [1 2 3 4 5 6] }, unpacked { [1 2 3] x [1 2 3 4 5 6 7 8] }
}
