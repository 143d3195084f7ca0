//! `neon-i8mm`: NEON with `smmla` and `ummla`: a 2 × 2 block of sums, eight exact products each, an instruction.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::Neon;
use super::neon::distance::{ByteDifferences, ByteDot, ByteRows};
use crate::groups::dot::GroupDot;
use crate::groups::tile::{E2M1, PanelCodes};
use crate::matmul::dot::{Accs, Depth, Dot, Layout, load_step};
use crate::matmul::tile::{MAX_ROWS, MAX_VECTORS, Microkernel};
use crate::sign::Sign;

token! {
    /// The CPU has NEON and the matrix multiplication extension for codes.
    NeonI8mm: Neon, is_aarch64_feature_detected, ["neon", "i8mm"], "neon,i8mm"
}

/// Two rows and two columns, eight k at a time. The instructions multiply codes of one sign: B is packed with the sign
/// that A has. They are written in assembly since their intrinsics are unstable.
#[derive(Clone, Copy)]
struct Blocks {
    token: NeonI8mm,
    a_signed: bool,
}

/// The instruction `$name` as a function.
macro_rules! matrix_multiply {
    ($name:literal, $acc:ident, $a:ident, $b:ident) => {{
        let out;
        // SAFETY: the instruction reads and writes these registers only; the function is compiled for CPUs that have it.
        unsafe {
            asm!(
                concat!($name, " {acc:v}.4s, {a:v}.16b, {b:v}.16b"),
                acc = inout(vreg) $acc => out, a = in(vreg) $a, b = in(vreg) $b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        out
    }};
}

impl Blocks {
    ops! { "neon,i8mm"
        fn signed(acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t { matrix_multiply!("smmla", acc, a, b) }
        fn unsigned(acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t { matrix_multiply!("ummla", acc, a, b) }
        fn pair(first: &[u8; 8], second: &[u8; 8]) -> uint8x16_t {
            // SAFETY: eight bytes may be read of each.
            unsafe { vcombine_u8(vld1_u8(first.as_ptr()), vld1_u8(second.as_ptr())) }
        }
        fn octets(first: uint8x16_t, second: uint8x16_t) -> [uint8x16_t; 2] {
            let (first, second) = (vreinterpretq_u32_u8(first), vreinterpretq_u32_u8(second));
            [vreinterpretq_u8_u32(vzip1q_u32(first, second)), vreinterpretq_u8_u32(vzip2q_u32(first, second))]
        }
        // The first halves, and the second: of two rows of four columns, two blocks; of two blocks, the rows again.
        fn halves(first: int32x4_t, second: int32x4_t) -> [int32x4_t; 2] {
            let (first, second) = (vreinterpretq_s64_s32(first), vreinterpretq_s64_s32(second));
            [vreinterpretq_s32_s64(vtrn1q_s64(first, second)), vreinterpretq_s32_s64(vtrn2q_s64(first, second))]
        }
    }

    /// `acc[2i + j] + Σ a[8i + k]·b[8j + k]`
    #[inline(always)]
    fn block(self, acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        if self.a_signed { self.signed(acc, a, b) } else { self.unsigned(acc, a, b) }
    }

    /// Turns every two rows of accumulators into blocks, or back.
    #[inline(always)]
    fn transpose(self, acc: &mut Accs<Self>, [rows, vectors]: [usize; 2]) {
        for i in 0..rows / 2 {
            for v in 0..vectors {
                [acc[2 * i][v], acc[2 * i + 1][v]] = self.halves(acc[2 * i][v], acc[2 * i + 1][v]);
            }
        }
    }
}

/// A single row goes beside zeros: above them for the first block, so that its products are added to the first two
/// accumulators, and below them for the second.
impl Dot for Blocks {
    type Vectors = Neon;
    type StepA = [u8; 8];
    type StepB = [u8; 32];
    type A = [uint8x16_t; 2];
    type B = [uint8x16_t; 2];
    const DEPTH: usize = 8;

    ops! { "neon,i8mm"
        fn broadcast(a: &[u8; 8]) -> [uint8x16_t; 2] {
            // SAFETY: eight bytes may be read.
            let (codes, zeros) = (unsafe { vld1_u8(a.as_ptr()) }, vdup_n_u8(0));
            [vcombine_u8(codes, zeros), vcombine_u8(zeros, codes)]
        }
        fn load(b: &[u8; 32]) -> [uint8x16_t; 2] {
            // SAFETY: 32 bytes may be read.
            unsafe { [vld1q_u8(b.as_ptr()), vld1q_u8(b.as_ptr().add(16))] }
        }
    }

    #[inline(always)]
    fn vectors(self) -> Neon {
        self.token.0
    }
    #[inline(always)]
    fn dot(self, acc: int32x4_t, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> int32x4_t {
        self.block(self.block(acc, a[0], b[0]), a[1], b[1])
    }

    #[inline(always)]
    unsafe fn load_vectors(
        self,
        b: *const u8,
        stride: usize,
        flip: u8,
        vectors: usize,
    ) -> [[uint8x16_t; 2]; MAX_VECTORS] {
        // SAFETY: a byte for every column of the vectors may be read of each of the first four rows.
        let first = unsafe { self.vectors().quads(b, stride, flip, vectors) };
        // SAFETY: and of each of the last four rows.
        let last = unsafe { self.vectors().quads(b.wrapping_add(4 * stride), stride, flip, vectors) };
        let mut all = [self.octets(first[0], last[0]); MAX_VECTORS];
        for v in 1..vectors {
            all[v] = self.octets(first[v], last[v]);
        }
        all
    }

    #[inline(always)]
    unsafe fn add_products(self, acc: &mut Accs<Self>, size: [usize; 2], depth: Depth, layout: Layout) {
        // SAFETY: the requirements are those of bytes.
        unsafe { self.add_blocks(acc, size, depth, layout, PanelCodes::Bits(8)) }
    }
}

impl Blocks {
    /// Two rows at a time, and a single last one. Vectors of B are outermost: each is dead when it has met all rows, whose
    /// codes take half as many registers. Codes of B of fewer than eight bits share bytes.
    ///
    /// # Safety
    /// Every row of A has the bytes of `depth.steps` steps that may be read, and so has B for the vectors.
    #[inline(always)]
    unsafe fn add_blocks(
        self,
        acc: &mut Accs<Self>,
        size: [usize; 2],
        depth: Depth,
        layout: Layout,
        codes: PanelCodes,
    ) {
        let [rows, vectors] = size;
        let Depth { steps, mut a, a_stride, mut b } = depth;
        let sharing = 8 / codes.bits();
        self.transpose(acc, size);
        for _ in 0..steps / sharing as usize {
            // SAFETY: B has the bytes of `sharing` steps more, of `vectors` vectors.
            let bytes = unsafe { load_step(self, &mut b, layout, vectors) };
            for s in 0..sharing {
                // SAFETY: row r of A has a step more.
                let row = |r: usize| unsafe { &*a.add(r * a_stride).cast() };
                let mut pairs = [self.pair(&[0; 8], &[0; 8]); MAX_ROWS / 2];
                for i in 0..rows / 2 {
                    pairs[i] = self.pair(row(2 * i), row(2 * i + 1));
                }
                let last = self.broadcast(row(rows - 1));
                for v in 0..vectors {
                    let codes_b = self.unpack(bytes[v], s, codes);
                    for i in 0..rows / 2 {
                        acc[2 * i][v] = self.block(acc[2 * i][v], pairs[i], codes_b[0]);
                        acc[2 * i + 1][v] = self.block(acc[2 * i + 1][v], pairs[i], codes_b[1]);
                    }
                    if rows % 2 == 1 {
                        acc[rows - 1][v] = self.dot(acc[rows - 1][v], last, codes_b);
                    }
                }
                a = a.wrapping_add(8);
            }
        }
        self.transpose(acc, size);
    }
}

microkernels! {
    NeonI8mm = "neon-i8mm", Blocks: |a_signed| Blocks { token: NeonI8mm::witness(), a_signed },
    "neon,i8mm", [u8 u8, i8 i8],
    tiles { [1 2 3 4] x [1 2 3 4 5 6] }, unpacked { [1 2 3 4] x [1 2 3 4 5 6] }
}

impl NeonI8mm {
    /// The micro-kernel for left operands of i16, of the ISA that this one adds to.
    pub fn microkernel_i16(self) -> &'static Microkernel {
        self.0.microkernel_i16()
    }
}

impl GroupDot for Blocks {
    #[inline(always)]
    fn extract(self, b: [uint8x16_t; 2], shift: u32, bits: u32) -> [uint8x16_t; 2] {
        [self.vectors().extract_bits(b[0], shift, bits), self.vectors().extract_bits(b[1], shift, bits)]
    }
    #[inline(always)]
    fn look_up(self, b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        [self.vectors().look_up_bytes(&E2M1, b[0]), self.vectors().look_up_bytes(&E2M1, b[1])]
    }

    #[inline(always)]
    unsafe fn add_steps(self, acc: &mut Accs<Self>, size: [usize; 2], depth: Depth, codes: PanelCodes) {
        // SAFETY: the requirements are those of a panel.
        unsafe { self.add_blocks(acc, size, depth, Layout::Panel { prefetch: false }, codes) }
    }
}

group_kernels! {
    NeonI8mm, "neon,i8mm", [4] x [1 2 3 4], Blocks = Blocks { token: NeonI8mm::witness(), a_signed: true }, [i8 i8]
}

impl NeonI8mm {
    ops! { "neon,i8mm"
        fn mixed(acc: int32x4_t, u: uint8x16_t, i: uint8x16_t) -> int32x4_t { matrix_multiply!("usdot", acc, u, i) }
    }
}

impl ByteDot for NeonI8mm {
    #[inline(always)]
    fn vectors(self) -> Neon {
        self.0
    }
    #[inline(always)]
    fn row_sign(query: Sign) -> Sign {
        match query {
            Sign::Signed => Sign::Unsigned,
            Sign::Unsigned => Sign::Signed,
        }
    }
    #[inline(always)]
    fn dot(self, query_sign: Sign, sums: int32x4_t, query: uint8x16_t, row: uint8x16_t) -> int32x4_t {
        match query_sign {
            Sign::Signed => self.mixed(sums, row, query),
            Sign::Unsigned => self.mixed(sums, query, row),
        }
    }
}

distance_kernel! {
    NeonI8mm, "neon,i8mm", |query| ByteRows { token: NeonI8mm::witness(), query }, Neon::witness(),
    ByteDifferences(Neon::witness())
}
