//! `neon-i8mm`: NEON with `smmla` and `ummla`: a 2 × 2 block of sums, eight exact products each, an instruction.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::Neon;
use crate::matmul::tile::{
    Dot, DotRows, MAX_ROWS, Microkernel, Operands, Steps, UnpackedOperands, dot_tile, dot_tile_unpacked, tile_table,
};
use crate::sign::Sign;

token! {
    /// The CPU has NEON and the matrix multiplication extension for codes.
    NeonI8mm: Neon, is_aarch64_feature_detected, ["neon", "i8mm"], "neon,i8mm"
}

impl NeonI8mm {
    /// `ummla` or `smmla` on two rows and two columns.
    pub fn microkernel(self, a: Sign) -> &'static Microkernel {
        match a {
            Sign::Unsigned => &KERNEL_U8,
            Sign::Signed => &KERNEL_I8,
        }
    }
}

/// Two rows and two columns, eight k at a time. The instructions multiply codes of one sign: B is packed with the sign
/// that A has. They are written in assembly since their intrinsics are unstable.
#[derive(Clone, Copy)]
struct Blocks<const A_SIGNED: bool>(NeonI8mm);

impl<const A_SIGNED: bool> Blocks<A_SIGNED> {
    ops! { "neon,i8mm"
        fn signed(sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
            let out;
            // SAFETY: the instruction reads and writes these registers only, and the function is compiled for CPUs
            // that have it.
            unsafe {
                asm!(
                    "smmla {sums:v}.4s, {a:v}.16b, {b:v}.16b",
                    sums = inout(vreg) sums => out, a = in(vreg) a, b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            out
        }
        fn unsigned(sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
            let out;
            // SAFETY: as above.
            unsafe {
                asm!(
                    "ummla {sums:v}.4s, {a:v}.16b, {b:v}.16b",
                    sums = inout(vreg) sums => out, a = in(vreg) a, b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            out
        }
        fn pair(first: &[u8; 8], second: &[u8; 8]) -> uint8x16_t {
            // SAFETY: eight bytes may be read of each.
            unsafe { vcombine_u8(vld1_u8(first.as_ptr()), vld1_u8(second.as_ptr())) }
        }
        fn octets(first: uint8x16_t, second: uint8x16_t) -> [uint8x16_t; 2] {
            let (first, second) = (vreinterpretq_u32_u8(first), vreinterpretq_u32_u8(second));
            [vreinterpretq_u8_u32(vzip1q_u32(first, second)), vreinterpretq_u8_u32(vzip2q_u32(first, second))]
        }
        // The first halves, and the second: of two rows of four columns, two blocks; of these, the rows again.
        fn halves(first: int32x4_t, second: int32x4_t) -> [int32x4_t; 2] {
            let (first, second) = (vreinterpretq_s64_s32(first), vreinterpretq_s64_s32(second));
            [vreinterpretq_s32_s64(vtrn1q_s64(first, second)), vreinterpretq_s32_s64(vtrn2q_s64(first, second))]
        }
    }

    /// `sums[2i + j] + Σ a[8i + k]·b[8j + k]`
    #[inline(always)]
    fn block(self, sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        if A_SIGNED { self.signed(sums, a, b) } else { self.unsigned(sums, a, b) }
    }

    /// Turns the sums of every two rows into blocks, or back.
    #[inline(always)]
    fn turn<const ROWS: usize, const VECTORS: usize>(self, sums: &mut [[int32x4_t; VECTORS]; ROWS]) {
        for [first, second] in sums.as_chunks_mut().0 {
            for (first, second) in first.iter_mut().zip(second) {
                [*first, *second] = self.halves(*first, *second);
            }
        }
    }
}

/// A single row goes beside zeros: above them for the first block, so that its products are added to the first two sums,
/// and below them for the second.
impl<const A_SIGNED: bool> Dot for Blocks<A_SIGNED> {
    type StepA = [u8; 8];
    type StepB = [u8; 32];
    type A = [uint8x16_t; 2];
    type B = [uint8x16_t; 2];
    type Sums = int32x4_t;
    type Columns = [i32; 4];

    ops! { "neon,i8mm"
        fn read(x: &[i32; 4]) -> int32x4_t {
            // SAFETY: four i32 may be read.
            unsafe { vld1q_s32(x.as_ptr()) }
        }
        fn splat(x: i32) -> int32x4_t { vdupq_n_s32(x) }
        fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t { vaddq_s32(a, b) }
        fn add_product(sums: int32x4_t, factor: i32, columns: int32x4_t) -> int32x4_t {
            vmlaq_n_s32(sums, columns, factor)
        }
        fn broadcast(a: &[u8; 8]) -> [uint8x16_t; 2] {
            // SAFETY: eight bytes may be read.
            let (codes, zeros) = (unsafe { vld1_u8(a.as_ptr()) }, vdup_n_u8(0));
            [vcombine_u8(codes, zeros), vcombine_u8(zeros, codes)]
        }
        fn load(b: &[u8; 32]) -> [uint8x16_t; 2] {
            // SAFETY: 32 bytes may be read.
            unsafe { [vld1q_u8(b.as_ptr()), vld1q_u8(b.as_ptr().add(16))] }
        }
        fn store(sums: int32x4_t, out: &mut [i32; 4]) {
            // SAFETY: four i32 may be written.
            unsafe { vst1q_s32(out.as_mut_ptr(), sums) }
        }
    }

    #[inline(always)]
    fn dot(self, sums: int32x4_t, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> int32x4_t {
        self.block(self.block(sums, a[0], b[0]), a[1], b[1])
    }

    /// Two rows at a time, as far as they go. Vectors of B are outermost: each can go when it has met all rows, whose codes
    /// take half as many registers.
    #[inline(always)]
    unsafe fn add_products<const ROWS: usize, const VECTORS: usize>(
        self,
        sums: &mut [[int32x4_t; VECTORS]; ROWS],
        steps: usize,
        mut a: *const u8,
        a_stride: usize,
        mut b: impl Steps<Self>,
    ) {
        self.turn(sums);
        for _ in 0..steps {
            // SAFETY: the caller vouches for `steps` steps of ROWS rows of A.
            let row = |r: usize| unsafe { &*a.add(r * a_stride).cast() };
            let mut codes = [self.pair(&[0; 8], &[0; 8]); MAX_ROWS / 2];
            for (i, codes) in codes[..ROWS / 2].iter_mut().enumerate() {
                *codes = self.pair(row(2 * i), row(2 * i + 1));
            }
            let last = self.broadcast(row(ROWS - 1));
            // SAFETY: and for as many of B.
            let vectors = unsafe { b.next::<VECTORS>(self) };
            let (pairs, single) = sums.as_chunks_mut();
            for (v, &vector) in vectors.iter().enumerate() {
                for ([first, second], &codes) in pairs.iter_mut().zip(&codes) {
                    first[v] = self.block(first[v], codes, vector[0]);
                    second[v] = self.block(second[v], codes, vector[1]);
                }
                for row in &mut *single {
                    row[v] = self.dot(row[v], last, vector);
                }
            }
            a = a.wrapping_add(8);
        }
        self.turn(sums);
    }
}

impl<const A_SIGNED: bool> DotRows for Blocks<A_SIGNED> {
    const DEPTH: usize = 8;

    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> [uint8x16_t; 2] {
        // SAFETY: the caller's promise.
        let [vector] = unsafe { self.load_vectors(b, stride, flip) };
        vector
    }

    #[inline(always)]
    unsafe fn load_vectors<const VECTORS: usize>(
        self,
        b: *const u8,
        stride: usize,
        flip: u8,
    ) -> [[uint8x16_t; 2]; VECTORS] {
        // SAFETY: the caller's promise: four rows, and four more.
        let (first, second) = unsafe {
            (
                self.0.0.quads::<VECTORS>(b, stride, flip),
                self.0.0.quads::<VECTORS>(b.wrapping_add(4 * stride), stride, flip),
            )
        };
        let mut vectors = first.map(|quads| [quads; 2]);
        for (vector, second) in vectors.iter_mut().zip(second) {
            *vector = self.octets(vector[0], second);
        }
        vectors
    }
}

/// # Safety
/// As [`Tile`](crate::matmul::tile::Tile).
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: Operands<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile::<_, ROWS, VECTORS>(Blocks::<A_SIGNED>(NeonI8mm::witness()), operands) }
}

/// # Safety
/// As [`UnpackedTile`](crate::matmul::tile::UnpackedTile).
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile_unpacked<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: UnpackedOperands) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile_unpacked::<_, ROWS, VECTORS>(Blocks::<A_SIGNED>(NeonI8mm::witness()), operands) }
}

static KERNEL_U8: Microkernel = Microkernel {
    name: "u8u8-6x16x8-neon-i8mm",
    depth: 8,
    lanes: 4,
    b_sign: Sign::Unsigned,
    widen_a: false,
    tiles: tile_table!(tile [false], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [false], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
};

static KERNEL_I8: Microkernel = Microkernel {
    name: "i8i8-6x16x8-neon-i8mm",
    b_sign: Sign::Signed,
    tiles: tile_table!(tile [true], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    unpacked_tiles: tile_table!(tile_unpacked [true], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    ..KERNEL_U8
};
