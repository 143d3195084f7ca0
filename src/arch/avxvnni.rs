//! `avxvnni`: AVX2 with the VEX form of `vpdpbusd`: four exact u8 × i8 products a column and instruction.

use core::arch::x86_64::*;

use super::avx2::Avx2;
use crate::matmul::tile::{
    Dot, DotRows, Microkernel, Operands, UnpackedOperands, dot_tile, dot_tile_unpacked, tile_table,
};
use crate::sign::Sign;

token! {
    /// The CPU has AVX2 and AVX-VNNI.
    AvxVnni: Avx2, is_x86_feature_detected, ["avx2", "fma", "avxvnni"], "avx2,fma,avxvnni"
}

impl AvxVnni {
    /// `vpdpbusd` on eight columns.
    pub fn microkernel(self, a: Sign) -> &'static Microkernel {
        match a {
            Sign::Unsigned => &KERNEL_U8,
            Sign::Signed => &KERNEL_I8,
        }
    }
}

/// Eight columns, four k at a time. The instruction multiplies u8 by i8: B is packed with the sign that A has not.
#[derive(Clone, Copy)]
struct Quads<const A_SIGNED: bool>(AvxVnni);

impl<const A_SIGNED: bool> Quads<A_SIGNED> {
    ops! { "avx2,fma,avxvnni"
        fn unsigned_by_signed(sums: __m256i, u: __m256i, i: __m256i) -> __m256i {
            _mm256_dpbusd_avx_epi32(sums, u, i)
        }
        fn quads(rows: [&[u8; 8]; 4], flip: u8) -> __m256i {
            // SAFETY: eight bytes may be read of each.
            let [a, b, c, d] = rows.map(|row| unsafe { _mm_loadl_epi64(row.as_ptr().cast()) });
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            let quads = _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd));
            _mm256_xor_si256(quads, _mm256_set1_epi8(flip as i8))
        }
    }
}

impl<const A_SIGNED: bool> Dot for Quads<A_SIGNED> {
    type StepA = [u8; 4];
    type StepB = [u8; 32];
    type A = __m256i;
    type B = __m256i;
    type Sums = __m256i;
    type Columns = [i32; 8];

    ops! { "avx2,fma,avxvnni"
        fn read(x: &[i32; 8]) -> __m256i {
            // SAFETY: eight i32 may be read.
            unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
        }
        fn splat(x: i32) -> __m256i { _mm256_set1_epi32(x) }
        fn add(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi32(a, b) }
        fn add_product(sums: __m256i, factor: i32, columns: __m256i) -> __m256i {
            _mm256_add_epi32(sums, _mm256_mullo_epi32(_mm256_set1_epi32(factor), columns))
        }
        fn broadcast(a: &[u8; 4]) -> __m256i { _mm256_set1_epi32(i32::from_ne_bytes(*a)) }
        fn load(b: &[u8; 32]) -> __m256i {
            // SAFETY: 32 bytes may be read.
            unsafe { _mm256_loadu_si256(b.as_ptr().cast()) }
        }
        fn store(sums: __m256i, out: &mut [i32; 8]) {
            // SAFETY: eight i32 may be written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) }
        }
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        if A_SIGNED { self.unsigned_by_signed(sums, b, a) } else { self.unsigned_by_signed(sums, a, b) }
    }
}

impl<const A_SIGNED: bool> DotRows for Quads<A_SIGNED> {
    const DEPTH: usize = 4;

    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> __m256i {
        // SAFETY: eight bytes may be read of each row.
        let rows =
            unsafe { [&*b.cast(), &*b.add(stride).cast(), &*b.add(2 * stride).cast(), &*b.add(3 * stride).cast()] };
        self.quads(rows, flip)
    }
}

/// # Safety
/// As [`Tile`](crate::matmul::tile::Tile).
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn tile<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: Operands<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile::<_, ROWS, VECTORS>(Quads::<A_SIGNED>(AvxVnni::witness()), operands) }
}

/// # Safety
/// As [`UnpackedTile`](crate::matmul::tile::UnpackedTile).
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn tile_unpacked<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: UnpackedOperands) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile_unpacked::<_, ROWS, VECTORS>(Quads::<A_SIGNED>(AvxVnni::witness()), operands) }
}

static KERNEL_U8: Microkernel = Microkernel {
    name: "u8i8-6x16x4-avxvnni",
    depth: 4,
    lanes: 8,
    b_sign: Sign::Signed,
    widen_a: false,
    tiles: tile_table!(tile [false], vectors [1 2], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [false], vectors [1 2], rows [1 2 3 4 5 6]),
};

static KERNEL_I8: Microkernel = Microkernel {
    name: "i8u8-6x16x4-avxvnni",
    b_sign: Sign::Unsigned,
    tiles: tile_table!(tile [true], vectors [1 2], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [true], vectors [1 2], rows [1 2 3 4 5 6]),
    ..KERNEL_U8
};
