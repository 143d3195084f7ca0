//! The micro-kernel of `neon`, and what its tiers share with it.
//!
//! 8-bit codes of one sign are multiplied (`smull`, `umull`), and the 16-bit products are added in pairs to 32-bit
//! accumulators (`sadalp`, `uadalp`). That is exact for every code pair; `smlal` on 16-bit accumulators would overflow at
//! (−128)² + (−128)².

use core::arch::aarch64::*;
use core::arch::asm;

use super::Neon;
use crate::groups::dot::{GroupDot, Totals};
use crate::groups::tile::E2M1;
use crate::matmul::dot::{Accumulate, Dot, rows};
use crate::matmul::interleave::InterleaveVectors;
use crate::matmul::tile::MAX_VECTORS;

/// Four rows of four bytes, column by column.
const COLUMNS: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

impl Neon {
    ops! { "neon"
        fn flip_quads(quads: [int32x4_t; 4], flip: u8) -> [uint8x16_t; 4] {
            quads.map(|quads| veorq_u8(vreinterpretq_u8_s32(quads), vdupq_n_u8(flip)))
        }
        pub(in crate::arch) fn load_bytes(b: &[u8; 16]) -> uint8x16_t {
            // SAFETY: sixteen bytes may be read.
            unsafe { vld1q_u8(b.as_ptr()) }
        }
        pub(in crate::arch) fn extract_bits(b: uint8x16_t, shift: u32, bits: u32) -> uint8x16_t {
            // A shift to the left by a negative amount is one to the right.
            vandq_u8(vshlq_u8(b, vdupq_n_s8(-(shift as i8))), vdupq_n_u8((1 << bits) - 1))
        }
        pub(in crate::arch) fn look_up_bytes(table: &[u8; 16], b: uint8x16_t) -> uint8x16_t {
            // SAFETY: sixteen bytes may be read.
            vqtbl1q_u8(unsafe { vld1q_u8(table.as_ptr()) }, b)
        }
        fn quads_of_four(rows: [&[u8; 4]; 4], flip: u8) -> uint8x16_t {
            let rows = rows.map(|row| u32::from_le_bytes(*row));
            // SAFETY: sixteen bytes may be read of each.
            let (rows, columns) = unsafe { (vld1q_u32(rows.as_ptr()), vld1q_u8(COLUMNS.as_ptr())) };
            veorq_u8(vqtbl1q_u8(vreinterpretq_u8_u32(rows), columns), vdupq_n_u8(flip))
        }
    }

    /// Vectors of the columns of four rows of bytes, each byte XORed with `flip`: four columns a vector.
    ///
    /// # Safety
    /// At `first`, and at every multiple of `stride` bytes further for four rows, `4 · vectors` bytes may be read.
    #[inline(always)]
    pub(in crate::arch) unsafe fn quads(
        self,
        first: *const u8,
        stride: usize,
        flip: u8,
        vectors: usize,
    ) -> [uint8x16_t; MAX_VECTORS] {
        if vectors == MAX_VECTORS {
            // SAFETY: sixteen bytes of each of the four rows may be read.
            return self.flip_quads(self.load_interleaved(unsafe { rows(first, stride) }), flip);
        }
        // SAFETY: the bytes of the first vector may be read.
        let mut quads = [self.quads_of_four(unsafe { rows(first, stride) }, flip); MAX_VECTORS];
        for (v, quads) in quads.iter_mut().enumerate().take(vectors).skip(1) {
            // SAFETY: the bytes of vector v may be read.
            *quads = self.quads_of_four(unsafe { rows(first.wrapping_add(4 * v), stride) }, flip);
        }
        quads
    }
}

impl Accumulate for Neon {
    type Acc = int32x4_t;
    type Columns = [i32; 4];

    ops! { "neon"
        fn read(x: &[i32; 4]) -> int32x4_t {
            // SAFETY: four i32 may be read.
            unsafe { vld1q_s32(x.as_ptr()) }
        }
        fn splat(x: i32) -> int32x4_t { vdupq_n_s32(x) }
        fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t { vaddq_s32(a, b) }
        fn add_product(acc: int32x4_t, factor: i32, columns: int32x4_t) -> int32x4_t { vmlaq_n_s32(acc, columns, factor) }
        fn store(acc: int32x4_t, out: &mut [i32; 4]) {
            // SAFETY: four i32 may be written.
            unsafe { vst1q_s32(out.as_mut_ptr(), acc) }
        }
    }
}

/// The values of f16: an instruction whose intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon")]
fn widen(halves: uint16x4_t) -> float32x4_t {
    let reals: float32x4_t;
    // SAFETY: every CPU with NEON has the instruction.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) reals, in(vreg) halves, options(pure, nomem, nostack, preserves_flags));
    }
    reals
}

impl Totals for Neon {
    type Reals = float32x4_t;
    type RealColumns = [f32; 4];
    type HalfColumns = [u16; 4];

    ops! { "neon"
        fn splat_real(x: f32) -> float32x4_t { vdupq_n_f32(x) }
        fn read_reals(x: &[f32; 4]) -> float32x4_t {
            // SAFETY: four f32 may be read.
            unsafe { vld1q_f32(x.as_ptr()) }
        }
        fn read_halves(x: &[u16; 4]) -> float32x4_t {
            // SAFETY: four u16 may be read.
            widen(unsafe { vld1_u16(x.as_ptr()) })
        }
        fn to_reals(acc: int32x4_t) -> float32x4_t { vcvtq_f32_s32(acc) }
        fn add_reals(a: float32x4_t, b: float32x4_t) -> float32x4_t { vaddq_f32(a, b) }
        fn multiply_reals(a: float32x4_t, b: float32x4_t) -> float32x4_t { vmulq_f32(a, b) }
        fn store_reals(a: float32x4_t, out: &mut [f32; 4]) {
            // SAFETY: four f32 may be written.
            unsafe { vst1q_f32(out.as_mut_ptr(), a) }
        }
    }
}

/// Vectors of eight accumulators: two registers.
#[derive(Clone, Copy)]
struct Eight(Neon);

impl Accumulate for Eight {
    type Acc = [int32x4_t; 2];
    type Columns = [i32; 8];

    ops! { "neon"
        fn read(x: &[i32; 8]) -> [int32x4_t; 2] {
            // SAFETY: eight i32 may be read.
            unsafe { [vld1q_s32(x.as_ptr()), vld1q_s32(x.as_ptr().add(4))] }
        }
        fn splat(x: i32) -> [int32x4_t; 2] { [vdupq_n_s32(x); 2] }
        fn add(a: [int32x4_t; 2], b: [int32x4_t; 2]) -> [int32x4_t; 2] { [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])] }
        fn add_product(acc: [int32x4_t; 2], factor: i32, columns: [int32x4_t; 2]) -> [int32x4_t; 2] {
            [vmlaq_n_s32(acc[0], columns[0], factor), vmlaq_n_s32(acc[1], columns[1], factor)]
        }
        fn store(acc: [int32x4_t; 2], out: &mut [i32; 8]) {
            // SAFETY: eight i32 may be written.
            unsafe {
                vst1q_s32(out.as_mut_ptr(), acc[0]);
                vst1q_s32(out.as_mut_ptr().add(4), acc[1]);
            }
        }
    }
}

impl Totals for Eight {
    type Reals = [float32x4_t; 2];
    type RealColumns = [f32; 8];
    type HalfColumns = [u16; 8];

    ops! { "neon"
        fn splat_real(x: f32) -> [float32x4_t; 2] { [vdupq_n_f32(x); 2] }
        fn read_reals(x: &[f32; 8]) -> [float32x4_t; 2] {
            // SAFETY: eight f32 may be read.
            unsafe { [vld1q_f32(x.as_ptr()), vld1q_f32(x.as_ptr().add(4))] }
        }
        fn read_halves(x: &[u16; 8]) -> [float32x4_t; 2] {
            // SAFETY: eight u16 may be read.
            unsafe { [widen(vld1_u16(x.as_ptr())), widen(vld1_u16(x.as_ptr().add(4)))] }
        }
        fn to_reals(acc: [int32x4_t; 2]) -> [float32x4_t; 2] { [vcvtq_f32_s32(acc[0]), vcvtq_f32_s32(acc[1])] }
        fn add_reals(a: [float32x4_t; 2], b: [float32x4_t; 2]) -> [float32x4_t; 2] {
            [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])]
        }
        fn multiply_reals(a: [float32x4_t; 2], b: [float32x4_t; 2]) -> [float32x4_t; 2] {
            [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])]
        }
        fn store_reals(a: [float32x4_t; 2], out: &mut [f32; 8]) {
            // SAFETY: eight f32 may be written.
            unsafe {
                vst1q_f32(out.as_mut_ptr(), a[0]);
                vst1q_f32(out.as_mut_ptr().add(4), a[1]);
            }
        }
    }
}

/// Eight columns, two k at a time. The instructions multiply codes of one sign: B is packed with the sign that A has.
///
/// B is loaded in halves: out of one register, the compiler would take the high half with another instruction.
#[derive(Clone, Copy)]
struct Pairs {
    token: Neon,
    a_signed: bool,
}

impl Pairs {
    ops! { "neon"
        fn signed(acc: int32x4_t, a: uint8x8_t, b: uint8x8_t) -> int32x4_t {
            vpadalq_s16(acc, vmull_s8(vreinterpret_s8_u8(a), vreinterpret_s8_u8(b)))
        }
        fn unsigned(acc: int32x4_t, a: uint8x8_t, b: uint8x8_t) -> int32x4_t {
            vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(acc), vmull_u8(a, b)))
        }
        fn pairs(rows: [&[u8; 8]; 2], flip: u8) -> [uint8x8_t; 2] {
            // SAFETY: eight bytes may be read of each.
            let [a, b] = rows.map(|row| unsafe { veor_u8(vld1_u8(row.as_ptr()), vdup_n_u8(flip)) });
            [vzip1_u8(a, b), vzip2_u8(a, b)]
        }
    }
}

impl Dot for Pairs {
    type Vectors = Eight;
    type StepA = [u8; 2];
    type StepB = [u8; 16];
    type A = uint8x8_t;
    type B = [uint8x8_t; 2];
    const DEPTH: usize = 2;

    ops! { "neon"
        fn broadcast(a: &[u8; 2]) -> uint8x8_t { vreinterpret_u8_u16(vdup_n_u16(u16::from_ne_bytes(*a))) }
        fn load(b: &[u8; 16]) -> [uint8x8_t; 2] {
            // SAFETY: sixteen bytes may be read.
            unsafe { [vld1_u8(b.as_ptr()), vld1_u8(b.as_ptr().add(8))] }
        }
    }

    #[inline(always)]
    fn vectors(self) -> Eight {
        Eight(self.token)
    }
    #[inline(always)]
    fn dot(self, acc: [int32x4_t; 2], a: uint8x8_t, b: [uint8x8_t; 2]) -> [int32x4_t; 2] {
        if self.a_signed {
            [self.signed(acc[0], a, b[0]), self.signed(acc[1], a, b[1])]
        } else {
            [self.unsigned(acc[0], a, b[0]), self.unsigned(acc[1], a, b[1])]
        }
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> [uint8x8_t; 2] {
        // SAFETY: eight bytes, one for every column, may be read of each of the two rows.
        self.pairs(unsafe { rows(b, stride) }, flip)
    }
}

microkernels! {
    Neon = "neon", Pairs: |a_signed| Pairs { token: Neon::witness(), a_signed }, "neon", [u8 u8, i8 i8],
    tiles { [1 2] x [1 2 3 4] }, unpacked { [1 2] x [1 2 3 4] }
}

/// Eight columns, one k at a time, of left operands of i16: B is widened, and `smlal` multiplies to 32 bits.
#[derive(Clone, Copy)]
struct Wide(Neon);

impl Wide {
    ops! { "neon"
        fn widened(b: &[u8; 8], flip: u8) -> int16x8_t {
            // SAFETY: eight bytes may be read.
            vmovl_s8(vreinterpret_s8_u8(veor_u8(unsafe { vld1_u8(b.as_ptr()) }, vdup_n_u8(flip))))
        }
    }
}

impl Dot for Wide {
    type Vectors = Eight;
    type StepA = [u8; 2];
    type StepB = [u8; 8];
    type A = int16x8_t;
    type B = int16x8_t;
    const DEPTH: usize = 1;

    ops! { "neon"
        fn broadcast(a: &[u8; 2]) -> int16x8_t { vdupq_n_s16(i16::from_ne_bytes(*a)) }
        fn dot(acc: [int32x4_t; 2], a: int16x8_t, b: int16x8_t) -> [int32x4_t; 2] {
            [vmlal_s16(acc[0], vget_low_s16(a), vget_low_s16(b)), vmlal_high_s16(acc[1], a, b)]
        }
    }

    #[inline(always)]
    fn vectors(self) -> Eight {
        Eight(self.0)
    }
    #[inline(always)]
    fn load(self, b: &[u8; 8]) -> int16x8_t {
        self.widened(b, 0)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, _: usize, flip: u8) -> int16x8_t {
        // SAFETY: eight bytes, one for every column, may be read of the row.
        self.widened(unsafe { &*b.cast() }, flip)
    }
}

microkernels! {
    Neon = "neon", Wide: |_signed| Wide(Neon::witness()), "neon", [only i16 i8],
    tiles { [1 2] x [1 2 3 4] }, unpacked { [1 2] x [1] }
}

impl GroupDot for Pairs {
    ops! { "neon"
        fn extract(b: [uint8x8_t; 2], shift: u32, bits: u32) -> [uint8x8_t; 2] {
            // A shift to the left by a negative amount is one to the right.
            let (shift, mask) = (vdup_n_s8(-(shift as i8)), vdup_n_u8((1 << bits) - 1));
            [vand_u8(vshl_u8(b[0], shift), mask), vand_u8(vshl_u8(b[1], shift), mask)]
        }
        fn look_up(b: [uint8x8_t; 2]) -> [uint8x8_t; 2] {
            // SAFETY: sixteen bytes may be read.
            let table = unsafe { vld1q_u8(E2M1.as_ptr()) };
            [vqtbl1_u8(table, b[0]), vqtbl1_u8(table, b[1])]
        }
    }
}

group_kernels! {
    Neon, "neon", [2] x [1 2 3 4], Pairs = Pairs { token: Neon::witness(), a_signed: true }, [i8 i8]
}
