//! `neon-dotprod`: NEON with `sdot` and `udot`: four exact products a column and instruction.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::Neon;
use crate::matmul::tile::{
    Dot, DotRows, Microkernel, Operands, UnpackedOperands, dot_tile, dot_tile_unpacked, tile_table,
};
use crate::sign::Sign;

token! {
    /// The CPU has NEON and the dot product extension.
    NeonDotprod: Neon, is_aarch64_feature_detected, ["neon", "dotprod"], "neon,dotprod"
}

impl NeonDotprod {
    /// `udot` or `sdot` on four columns.
    pub fn microkernel(self, a: Sign) -> &'static Microkernel {
        match a {
            Sign::Unsigned => &KERNEL_U8,
            Sign::Signed => &KERNEL_I8,
        }
    }
}

/// Four columns, four k at a time. The instructions multiply codes of one sign: B is packed with the sign that A has.
///
/// They are written in assembly since their intrinsics are unstable. They repeat A's codes themselves, out of the low
/// four bytes of a register: the f32 is no number, but what a plain load, without an arithmetic slot, leaves there.
#[derive(Clone, Copy)]
struct Quads<const A_SIGNED: bool>(NeonDotprod);

impl<const A_SIGNED: bool> Quads<A_SIGNED> {
    ops! { "neon,dotprod"
        fn signed(sums: int32x4_t, a: f32, b: uint8x16_t) -> int32x4_t {
            let out;
            // SAFETY: the instruction reads and writes these registers only, and the function is compiled for CPUs
            // that have it.
            unsafe {
                asm!(
                    "sdot {sums:v}.4s, {b:v}.16b, {a:v}.4b[0]",
                    sums = inout(vreg) sums => out, a = in(vreg) a, b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            out
        }
        fn unsigned(sums: int32x4_t, a: f32, b: uint8x16_t) -> int32x4_t {
            let out;
            // SAFETY: as above.
            unsafe {
                asm!(
                    "udot {sums:v}.4s, {b:v}.16b, {a:v}.4b[0]",
                    sums = inout(vreg) sums => out, a = in(vreg) a, b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            out
        }
    }
}

impl<const A_SIGNED: bool> Dot for Quads<A_SIGNED> {
    type StepA = [u8; 4];
    type StepB = [u8; 16];
    type A = f32;
    type B = uint8x16_t;
    type Sums = int32x4_t;
    type Columns = [i32; 4];

    ops! { "neon,dotprod"
        fn read(x: &[i32; 4]) -> int32x4_t {
            // SAFETY: four i32 may be read.
            unsafe { vld1q_s32(x.as_ptr()) }
        }
        fn splat(x: i32) -> int32x4_t { vdupq_n_s32(x) }
        fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t { vaddq_s32(a, b) }
        fn add_product(sums: int32x4_t, factor: i32, columns: int32x4_t) -> int32x4_t {
            vmlaq_n_s32(sums, columns, factor)
        }
        fn broadcast(a: &[u8; 4]) -> f32 { f32::from_le_bytes(*a) }
        fn load(b: &[u8; 16]) -> uint8x16_t {
            // SAFETY: sixteen bytes may be read.
            unsafe { vld1q_u8(b.as_ptr()) }
        }
        fn store(sums: int32x4_t, out: &mut [i32; 4]) {
            // SAFETY: four i32 may be written.
            unsafe { vst1q_s32(out.as_mut_ptr(), sums) }
        }
    }

    #[inline(always)]
    fn dot(self, sums: int32x4_t, a: f32, b: uint8x16_t) -> int32x4_t {
        if A_SIGNED { self.signed(sums, a, b) } else { self.unsigned(sums, a, b) }
    }
}

impl<const A_SIGNED: bool> DotRows for Quads<A_SIGNED> {
    const DEPTH: usize = 4;

    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> uint8x16_t {
        // SAFETY: the caller's promise.
        let [vector] = unsafe { self.load_vectors(b, stride, flip) };
        vector
    }

    #[inline(always)]
    unsafe fn load_vectors<const VECTORS: usize>(self, b: *const u8, stride: usize, flip: u8) -> [uint8x16_t; VECTORS] {
        // SAFETY: the caller's promise.
        unsafe { self.0.0.quads(b, stride, flip) }
    }
}

/// # Safety
/// As [`Tile`](crate::matmul::tile::Tile).
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: Operands<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile::<_, ROWS, VECTORS>(Quads::<A_SIGNED>(NeonDotprod::witness()), operands) }
}

/// # Safety
/// As [`UnpackedTile`](crate::matmul::tile::UnpackedTile).
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile_unpacked<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: UnpackedOperands) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile_unpacked::<_, ROWS, VECTORS>(Quads::<A_SIGNED>(NeonDotprod::witness()), operands) }
}

static KERNEL_U8: Microkernel = Microkernel {
    name: "u8u8-6x16x4-neon-dotprod",
    depth: 4,
    lanes: 4,
    b_sign: Sign::Unsigned,
    widen_a: false,
    tiles: tile_table!(tile [false], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [false], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
};

static KERNEL_I8: Microkernel = Microkernel {
    name: "i8i8-6x16x4-neon-dotprod",
    b_sign: Sign::Signed,
    tiles: tile_table!(tile [true], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [true], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    ..KERNEL_U8
};
