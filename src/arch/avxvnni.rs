//! `avxvnni`: AVX2 with the VEX form of `vpdpbusd`: four exact u8 × i8 products a column and instruction.

use core::arch::x86_64::*;

use super::avx2::Avx2;
use crate::matmul::dot::{Accumulate, Dot, rows};

token! {
    /// The CPU has AVX2 and AVX-VNNI.
    AvxVnni: Avx2, is_x86_feature_detected, ["avx2", "fma", "avxvnni"], "avx2,fma,avxvnni"
}

/// Eight columns, four k at a time. The instruction multiplies u8 by i8: B is packed with the sign that A has not.
#[derive(Clone, Copy)]
struct Quads {
    token: AvxVnni,
    a_signed: bool,
}

impl Quads {
    ops! { "avx2,fma,avxvnni"
        fn dpbusd(acc: __m256i, u: __m256i, i: __m256i) -> __m256i { _mm256_dpbusd_avx_epi32(acc, u, i) }
    }
}

impl Dot for Quads {
    type Vectors = Avx2;
    type StepA = [u8; 4];
    type StepB = [u8; 32];
    type A = __m256i;
    type B = __m256i;
    const DEPTH: usize = 4;

    #[inline(always)]
    fn vectors(self) -> Avx2 {
        self.token.0
    }
    #[inline(always)]
    fn broadcast(self, a: &[u8; 4]) -> __m256i {
        self.vectors().splat(i32::from_ne_bytes(*a))
    }
    #[inline(always)]
    fn load(self, b: &[u8; 32]) -> __m256i {
        self.vectors().read(&bytemuck::cast(*b))
    }
    #[inline(always)]
    fn dot(self, acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        let (u, i) = if self.a_signed { (b, a) } else { (a, b) };
        self.dpbusd(acc, u, i)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m256i {
        // SAFETY: eight bytes, one for every column, may be read of each of the four rows.
        self.vectors().quads_of_eight(unsafe { rows(b, stride) }, flip)
    }
}

microkernels! {
    AvxVnni = "avxvnni", Quads: |a_signed| Quads { token: AvxVnni::witness(), a_signed }, "avx2,fma,avxvnni",
    [u8 i8, i8 u8], tiles { [1 2] x [1 2 3 4 5 6] }, unpacked { [1 2] x [1 2 3 4 5 6] }
}
