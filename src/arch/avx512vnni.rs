//! `avx512vnni`: AVX-512 with `vpdpbusd`: four exact u8 × i8 products a column and instruction.

use core::arch::x86_64::*;

use super::avx512::Avx512;
use crate::matmul::interleave::InterleaveVectors;
use crate::matmul::tile::{
    Dot, DotRows, Microkernel, Operands, UnpackedOperands, dot_tile, dot_tile_unpacked, tile_table,
};
use crate::sign::Sign;
use crate::simd::Simd;

token! {
    /// The CPU has AVX-512 (F, BW, VL, DQ) and AVX512-VNNI.
    Avx512Vnni: Avx512, is_x86_feature_detected,
    ["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni"], "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
}

impl Avx512Vnni {
    /// `vpdpbusd` on sixteen columns.
    pub fn microkernel(self, a: Sign) -> &'static Microkernel {
        match a {
            Sign::Unsigned => &KERNEL_U8,
            Sign::Signed => &KERNEL_I8,
        }
    }
}

/// Sixteen columns, four k at a time. The instruction multiplies u8 by i8: B is packed with the sign that A has not.
#[derive(Clone, Copy)]
struct Quads<const A_SIGNED: bool>(Avx512Vnni);

impl<const A_SIGNED: bool> Quads<A_SIGNED> {
    ops! { "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
        fn unsigned_by_signed(sums: __m512i, u: __m512i, i: __m512i) -> __m512i {
            _mm512_dpbusd_epi32(sums, u, i)
        }
    }
}

impl<const A_SIGNED: bool> Dot for Quads<A_SIGNED> {
    type StepA = [u8; 4];
    type StepB = [u8; 64];
    type A = __m512i;
    type B = __m512i;
    type Sums = __m512i;
    type Columns = [i32; 16];

    ops! { "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
        fn read(x: &[i32; 16]) -> __m512i {
            // SAFETY: sixteen i32 may be read.
            unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
        }
        fn splat(x: i32) -> __m512i { _mm512_set1_epi32(x) }
        fn add(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
        fn add_product(sums: __m512i, factor: i32, columns: __m512i) -> __m512i {
            _mm512_add_epi32(sums, _mm512_mullo_epi32(_mm512_set1_epi32(factor), columns))
        }
        fn broadcast(a: &[u8; 4]) -> __m512i { _mm512_set1_epi32(i32::from_ne_bytes(*a)) }
        fn load(b: &[u8; 64]) -> __m512i {
            // SAFETY: 64 bytes may be read.
            unsafe { _mm512_loadu_si512(b.as_ptr().cast()) }
        }
        fn store_some(sums: __m512i, out: &mut [i32]) {
            let mask = ((1_u32 << out.len()) - 1) as __mmask16;
            // SAFETY: the mask leaves as many i32 as may be written.
            unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, sums) }
        }
        fn store(sums: __m512i, out: &mut [i32; 16]) {
            // SAFETY: sixteen i32 may be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
        }
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        if A_SIGNED { self.unsigned_by_signed(sums, b, a) } else { self.unsigned_by_signed(sums, a, b) }
    }
}

impl<const A_SIGNED: bool> DotRows for Quads<A_SIGNED> {
    const DEPTH: usize = 4;

    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m512i {
        // SAFETY: sixteen bytes may be read of each row.
        let rows =
            unsafe { [&*b.cast(), &*b.add(stride).cast(), &*b.add(2 * stride).cast(), &*b.add(3 * stride).cast()] };
        let avx512 = self.0.0;
        avx512.xor_i32(avx512.load_interleaved(rows), avx512.splat_i32(i32::from_ne_bytes([flip; 4])))
    }
}

/// # Safety
/// As [`Tile`](crate::matmul::tile::Tile).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn tile<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: Operands<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile::<_, ROWS, VECTORS>(Quads::<A_SIGNED>(Avx512Vnni::witness()), operands) }
}

/// # Safety
/// As [`UnpackedTile`](crate::matmul::tile::UnpackedTile).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn tile_unpacked<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: UnpackedOperands) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile_unpacked::<_, ROWS, VECTORS>(Quads::<A_SIGNED>(Avx512Vnni::witness()), operands) }
}

static KERNEL_U8: Microkernel = Microkernel {
    name: "u8i8-8x48x4-avx512vnni",
    depth: 4,
    lanes: 16,
    b_sign: Sign::Signed,
    widen_a: false,
    tiles: tile_table!(tile [false], vectors [1 2 3], rows [1 2 3 4 5 6 7 8]; vectors [4], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [false], vectors [1 2 3], rows [1 2 3 4 5 6 7 8]),
};

static KERNEL_I8: Microkernel = Microkernel {
    name: "i8u8-8x48x4-avx512vnni",
    b_sign: Sign::Unsigned,
    tiles: tile_table!(tile [true], vectors [1 2 3], rows [1 2 3 4 5 6 7 8]; vectors [4], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [true], vectors [1 2 3], rows [1 2 3 4 5 6 7 8]),
    ..KERNEL_U8
};
