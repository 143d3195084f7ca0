//! `neon-dotprod`: NEON with `sdot` and `udot`: four exact products a column and instruction.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::Neon;
use super::neon::distance::{ByteDifferences, ByteDot, ByteRows};
use crate::groups::dot::GroupDot;
use crate::groups::tile::E2M1;
use crate::matmul::dot::Dot;
use crate::matmul::tile::{MAX_VECTORS, Microkernel};
use crate::sign::Sign;

token! {
    /// The CPU has NEON and the dot product extension.
    NeonDotprod: Neon, is_aarch64_feature_detected, ["neon", "dotprod"], "neon,dotprod"
}

/// Four columns, four k at a time. The instructions multiply codes of one sign: B is packed with the sign that A has.
///
/// They are written in assembly since their intrinsics are unstable. They repeat A's codes themselves, out of the low
/// four bytes of a register: the f32 is no number, but what a plain load, without an arithmetic slot, leaves there.
#[derive(Clone, Copy)]
struct Quads {
    token: NeonDotprod,
    a_signed: bool,
}

/// The instruction `$name` as a function: the register `$a` in its form `$form`.
macro_rules! dot {
    ($name:literal, $acc:ident, $a:ident $form:literal, $b:ident) => {{
        let out;
        // SAFETY: the instruction reads and writes these registers only; the function is compiled for CPUs that have it.
        unsafe {
            asm!(
                concat!($name, " {acc:v}.4s, {b:v}.16b, {a:v}", $form),
                acc = inout(vreg) $acc => out, a = in(vreg) $a, b = in(vreg) $b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        out
    }};
}

impl Quads {
    ops! { "neon,dotprod"
        fn signed(acc: int32x4_t, a: f32, b: uint8x16_t) -> int32x4_t { dot!("sdot", acc, a ".4b[0]", b) }
        fn unsigned(acc: int32x4_t, a: f32, b: uint8x16_t) -> int32x4_t { dot!("udot", acc, a ".4b[0]", b) }
    }
}

impl Dot for Quads {
    type Vectors = Neon;
    type StepA = [u8; 4];
    type StepB = [u8; 16];
    type A = f32;
    type B = uint8x16_t;
    const DEPTH: usize = 4;

    #[inline(always)]
    fn vectors(self) -> Neon {
        self.token.0
    }
    #[inline(always)]
    fn broadcast(self, a: &[u8; 4]) -> f32 {
        f32::from_le_bytes(*a)
    }
    #[inline(always)]
    fn load(self, b: &[u8; 16]) -> uint8x16_t {
        self.vectors().load_bytes(b)
    }
    #[inline(always)]
    fn dot(self, acc: int32x4_t, a: f32, b: uint8x16_t) -> int32x4_t {
        if self.a_signed { self.signed(acc, a, b) } else { self.unsigned(acc, a, b) }
    }
    #[inline(always)]
    unsafe fn load_vectors(self, b: *const u8, stride: usize, flip: u8, vectors: usize) -> [uint8x16_t; MAX_VECTORS] {
        // SAFETY: a byte for every column of the vectors may be read of each of the four rows.
        unsafe { self.vectors().quads(b, stride, flip, vectors) }
    }
}

microkernels! {
    NeonDotprod = "neon-dotprod", Quads: |a_signed| Quads { token: NeonDotprod::witness(), a_signed },
    "neon,dotprod", [u8 u8, i8 i8],
    tiles { [1 2 3 4] x [1 2 3 4 5 6] }, unpacked { [1 2 3 4] x [1 2 3 4 5 6] }
}

impl NeonDotprod {
    /// The micro-kernel for left operands of i16, of the ISA that this one adds to.
    pub fn microkernel_i16(self) -> &'static Microkernel {
        self.0.microkernel_i16()
    }
}

impl GroupDot for Quads {
    #[inline(always)]
    fn extract(self, b: uint8x16_t, shift: u32, bits: u32) -> uint8x16_t {
        self.vectors().extract_bits(b, shift, bits)
    }
    #[inline(always)]
    fn look_up(self, b: uint8x16_t) -> uint8x16_t {
        self.vectors().look_up_bytes(&E2M1, b)
    }
}

group_kernels! {
    NeonDotprod, "neon,dotprod", [4] x [1 2 3 4],
    Quads = Quads { token: NeonDotprod::witness(), a_signed: true }, [i8 i8]
}

impl NeonDotprod {
    ops! { "neon,dotprod"
        fn signed(acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t { dot!("sdot", acc, a ".16b", b) }
        fn unsigned(acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t { dot!("udot", acc, a ".16b", b) }
    }
}

impl ByteDot for NeonDotprod {
    #[inline(always)]
    fn vectors(self) -> Neon {
        self.0
    }
    #[inline(always)]
    fn row_sign(query: Sign) -> Sign {
        query
    }
    #[inline(always)]
    fn dot(self, query_sign: Sign, sums: int32x4_t, query: uint8x16_t, row: uint8x16_t) -> int32x4_t {
        match query_sign {
            Sign::Signed => self.signed(sums, query, row),
            Sign::Unsigned => self.unsigned(sums, query, row),
        }
    }
}

distance_kernel! {
    NeonDotprod, "neon,dotprod", |query| ByteRows { token: NeonDotprod::witness(), query }, Neon::witness(),
    ByteDifferences(Neon::witness())
}
