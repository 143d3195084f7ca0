//! `neon-i8mm`: NEON with `smmla` and `ummla`: a 2 × 2 block of sums, eight exact products each, an instruction.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::Neon;
use crate::matmul::tile::{MAX_ROWS, Microkernel, Operands, Sign, fetch_ahead, tile_table};

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
    }

    /// `sums[2i + j] + Σ a[8i + k]·b[8j + k]`
    #[inline(always)]
    fn dot(self, sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        if A_SIGNED { self.signed(sums, a, b) } else { self.unsigned(sums, a, b) }
    }
}

/// The bytes of a row of A, or of a column of B, that a step reads.
const DEPTH: usize = 8;

/// Columns of a vector of B: two registers of two.
const LANES: usize = 4;

/// As [`dot_tile`](crate::matmul::tile::dot_tile), in blocks of two rows and two columns. The second row of a last
/// block that has but one is zeros.
///
/// # Safety
/// As [`Tile`](crate::matmul::tile::Tile).
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: Operands<'_>) {
    let Operands {
        steps,
        mut a,
        a_stride,
        mut b,
        initial,
        initial_stride,
        row_terms,
        outer,
        sums: out,
        sums_stride,
        columns,
        prefetch,
    } = operands;
    let blocks = Blocks::<A_SIGNED>(NeonI8mm::witness());
    let pairs = const { ROWS.div_ceil(2) };
    let mut sums = [[[vdupq_n_s32(0); 2]; VECTORS]; MAX_ROWS / 2];
    for (pair, sums) in sums[..pairs].iter_mut().enumerate() {
        for (v, sums) in sums.iter_mut().enumerate() {
            let mut rows = [vdupq_n_s64(0); 2];
            for (row, sums) in (2 * pair..ROWS).zip(&mut rows) {
                // SAFETY: `initial` has ROWS rows of VECTORS vectors of LANES columns.
                let mut columns = unsafe { vld1q_s32(initial.add(row * initial_stride + v * LANES)) };
                if !row_terms.is_null() {
                    // SAFETY: `row_terms` has ROWS terms.
                    columns = vaddq_s32(columns, vdupq_n_s32(unsafe { *row_terms.add(row) }));
                }
                for outer in outer {
                    // SAFETY: an outer product has ROWS rows and VECTORS vectors of LANES columns.
                    columns =
                        unsafe { vmlaq_n_s32(columns, vld1q_s32(outer.columns.add(v * LANES)), *outer.rows.add(row)) };
                }
                *sums = vreinterpretq_s64_s32(columns);
            }
            let [first, second] = rows;
            *sums = [vtrn1q_s64(first, second), vtrn2q_s64(first, second)].map(|sums| vreinterpretq_s32_s64(sums));
        }
    }
    for _ in 0..steps {
        if prefetch {
            fetch_ahead::<[u8; LANES * DEPTH], VECTORS>(b.cast());
        }
        let mut codes = [vdupq_n_u8(0); MAX_ROWS / 2];
        for (pair, codes) in codes[..pairs].iter_mut().enumerate() {
            let row = 2 * pair;
            // SAFETY: the caller vouches for `steps` steps of ROWS rows of A, DEPTH bytes each.
            let first = unsafe { vld1_u8(a.add(row * a_stride)) };
            let second = if row + 1 < ROWS {
                // SAFETY: as above.
                unsafe { vld1_u8(a.add((row + 1) * a_stride)) }
            } else {
                vdup_n_u8(0)
            };
            *codes = vcombine_u8(first, second);
        }
        for v in 0..VECTORS {
            for half in 0..2 {
                // SAFETY: the caller vouches for `steps` steps of the panel, VECTORS vectors of two registers each.
                let columns = unsafe { vld1q_u8(b.add((2 * v + half) * 2 * DEPTH)) };
                for (sums, &codes) in sums[..pairs].iter_mut().zip(&codes) {
                    sums[v][half] = blocks.dot(sums[v][half], codes, columns);
                }
            }
        }
        // SAFETY: at most one past the last step.
        unsafe {
            a = a.add(DEPTH);
            b = b.add(VECTORS * LANES * DEPTH);
        }
    }
    for (pair, sums) in sums[..pairs].iter().enumerate() {
        for (v, sums) in sums.iter().enumerate() {
            let (left, right) = (vreinterpretq_s64_s32(sums[0]), vreinterpretq_s64_s32(sums[1]));
            let rows = [vtrn1q_s64(left, right), vtrn2q_s64(left, right)];
            for (row, &sums) in (2 * pair..ROWS).zip(&rows) {
                let (out, sums) = (out.wrapping_add(row * sums_stride + v * LANES), vreinterpretq_s32_s64(sums));
                if (v + 1) * LANES <= columns {
                    // SAFETY: `out` takes ROWS rows of all columns of this vector.
                    unsafe { vst1q_s32(out, sums) };
                } else {
                    let mut all = [0; LANES];
                    // SAFETY: an array of LANES.
                    unsafe { vst1q_s32(all.as_mut_ptr(), sums) };
                    // SAFETY: `out` takes ROWS rows of so many columns of the last vector, fewer than LANES.
                    unsafe { out.copy_from_nonoverlapping(all.as_ptr(), columns - v * LANES) };
                }
            }
        }
    }
}

static KERNEL_U8: Microkernel = Microkernel {
    name: "u8u8-6x16x8-neon-i8mm",
    depth: DEPTH,
    lanes: LANES,
    b_sign: Sign::Unsigned,
    widen_a: false,
    tiles: tile_table!(tile [false], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    tiles_as_it_lies: &[],
};

static KERNEL_I8: Microkernel = Microkernel {
    name: "i8i8-6x16x8-neon-i8mm",
    b_sign: Sign::Signed,
    tiles: tile_table!(tile [true], vectors [1 2 3 4], rows [1 2 3 4 5 6]),
    ..KERNEL_U8
};
