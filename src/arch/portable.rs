//! `portable`: the vectors of the [`wide`] crate at the target's baseline, which it chooses at compile time: SSE2 on
//! x86-64, NEON on aarch64, plain arrays elsewhere.

use wide::bytemuck::{cast, cast_ref};
use wide::{f32x16, i8x16, i16x8, i16x16, i32x8, i32x16, u8x16, u32x16};

use super::scalar::Scalar;
use crate::formats::vectors::FormatVectors;
use crate::kernel::Kernel;
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::matmul::tile::{
    Dot, DotRows, Microkernel, Operands, UnpackedOperands, dot_tile, dot_tile_unpacked, tile_table,
};
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::nibbles::NibbleVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::sign::Sign;
use crate::simd::memory::StreamVectors;
use crate::simd::{LANES, Simd};

/// Every CPU has its target's baseline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Portable(Scalar);

impl Portable {
    /// Always there.
    pub fn detect() -> Option<Self> {
        Scalar::detect().map(Portable)
    }

    /// Runs a kernel on baseline vectors. (A function of its own, as that of every ISA: registers are for the kernel alone.)
    #[inline(never)]
    pub fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    /// Pairs of products in 16 bits each (`pmaddwd` where the baseline is SSE2).
    pub fn microkernel(self, _: Sign) -> &'static Microkernel {
        &KERNEL
    }
}

impl Simd for Portable {
    type F32 = f32x16;
    type I32 = i32x16;
    type F64 = [f64; LANES];
    type Mask = f32x16;

    #[inline(always)]
    fn splat_f32(self, x: f32) -> f32x16 {
        f32x16::splat(x)
    }
    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> f32x16 {
        f32x16::new(*x)
    }
    #[inline(always)]
    fn store_f32(self, a: f32x16, out: &mut [f32; LANES]) {
        *out = a.to_array();
    }
    #[inline(always)]
    fn add_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        a + b
    }
    #[inline(always)]
    fn sub_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        a - b
    }
    #[inline(always)]
    fn mul_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        a * b
    }
    #[inline(always)]
    fn div_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        a / b
    }
    #[inline(always)]
    fn max_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        // `maxps` is this expression; other instructions have other rules for NaN.
        if cfg!(target_feature = "sse") { a.fast_max(b) } else { a.simd_gt(b).select(a, b) }
    }
    #[inline(always)]
    fn min_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        if cfg!(target_feature = "sse") { a.fast_min(b) } else { a.simd_lt(b).select(a, b) }
    }
    #[inline(always)]
    fn round_to_i32(self, a: f32x16) -> i32x16 {
        a.fast_round_int()
    }
    #[inline(always)]
    fn floor_to_i32(self, a: f32x16) -> i32x16 {
        let nearest = self.round_to_i32(a);
        // A mask is −1.
        nearest + cast::<f32x16, i32x16>(a.simd_lt(self.to_f32(nearest)))
    }
    #[inline(always)]
    fn trunc_to_i32(self, a: f32x16) -> i32x16 {
        a.fast_trunc_int()
    }
    #[inline(always)]
    fn of_bits(self, a: i32x16) -> f32x16 {
        cast(a)
    }
    #[inline(always)]
    fn to_f32(self, a: i32x16) -> f32x16 {
        f32x16::from_i32x16(a)
    }
    #[inline(always)]
    fn to_bits(self, a: f32x16) -> i32x16 {
        cast(a)
    }
    #[inline(always)]
    fn splat_f64(self, x: f64) -> [f64; LANES] {
        [x; LANES]
    }
    #[inline(always)]
    fn store_f64(self, a: [f64; LANES], out: &mut [f64; LANES]) {
        *out = a;
    }
    // `wide` does not widen floats; the compiler does, in pairs.
    #[inline(always)]
    fn add_square(self, a: [f64; LANES], x: f32x16) -> [f64; LANES] {
        self.0.add_square(a, x.to_array())
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> i32x16 {
        i32x16::splat(x)
    }
    #[inline(always)]
    fn load_i32(self, x: &[i32; LANES]) -> i32x16 {
        i32x16::new(*x)
    }
    #[inline(always)]
    fn store_i32(self, a: i32x16, out: &mut [i32; LANES]) {
        *out = a.to_array();
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; LANES]) -> i32x16 {
        i32x16::from_i16x16(i16x16::from(u8x16::new(*x)))
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> i32x16 {
        i32x16::from_i16x16(i16x16::from_i8x16(i8x16::new(*x)))
    }
    #[inline(always)]
    fn store_u8(self, a: i32x16, out: &mut [u8; LANES]) {
        let [low, high]: [i16x8; 2] = narrow(a);
        *out = u8x16::narrow_i16x8(low, high).to_array();
    }
    #[inline(always)]
    fn store_i8(self, a: i32x16, out: &mut [i8; LANES]) {
        *out = i8x16::from_i16x16_saturate(cast(narrow(a))).to_array();
    }
    #[inline(always)]
    fn add_i32(self, a: i32x16, b: i32x16) -> i32x16 {
        a + b
    }
    #[inline(always)]
    fn sub_i32(self, a: i32x16, b: i32x16) -> i32x16 {
        a - b
    }
    #[inline(always)]
    fn mul_i32(self, a: i32x16, b: i32x16) -> i32x16 {
        a * b
    }
    #[inline(always)]
    fn max_i32(self, a: i32x16, b: i32x16) -> i32x16 {
        a.max(b)
    }
    #[inline(always)]
    fn min_i32(self, a: i32x16, b: i32x16) -> i32x16 {
        a.min(b)
    }
    #[inline(always)]
    fn and_i32(self, a: i32x16, b: i32x16) -> i32x16 {
        a & b
    }
    #[inline(always)]
    fn xor_i32(self, a: i32x16, b: i32x16) -> i32x16 {
        a ^ b
    }
    #[inline(always)]
    fn shift_left<const N: i32>(self, a: i32x16) -> i32x16 {
        a << N as u32
    }
    // SSE2 has neither shifts by lane nor 64-bit products with sign: these three are lane by lane.
    #[inline(always)]
    fn shift_right(self, a: i32x16, shift: i32x16) -> i32x16 {
        i32x16::new(self.0.shift_right(a.to_array(), shift.to_array()))
    }
    #[inline(always)]
    fn shift_right_logical(self, a: i32x16, shift: i32x16) -> i32x16 {
        i32x16::new(self.0.shift_right_logical(a.to_array(), shift.to_array()))
    }
    #[inline(always)]
    fn is_nan(self, a: f32x16) -> f32x16 {
        a.is_nan()
    }
    #[inline(always)]
    fn less_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        a.simd_lt(b)
    }
    #[inline(always)]
    fn equal_f32(self, a: f32x16, b: f32x16) -> f32x16 {
        a.simd_eq(b)
    }
    #[inline(always)]
    fn less_i32(self, a: i32x16, b: i32x16) -> f32x16 {
        cast(a.simd_lt(b))
    }
    #[inline(always)]
    fn select_f32(self, mask: f32x16, a: f32x16, b: f32x16) -> f32x16 {
        mask.select(a, b)
    }
    #[inline(always)]
    fn select_i32(self, mask: f32x16, a: i32x16, b: i32x16) -> i32x16 {
        cast::<f32x16, i32x16>(mask).select(a, b)
    }
    #[inline(always)]
    fn any(self, mask: f32x16) -> bool {
        mask.any()
    }
}

impl FixedPointVectors for Portable {}

impl FormatVectors for Portable {}

impl InterleaveVectors for Portable {}

impl NibbleVectors for Portable {}

impl QuantizeVectors for Portable {}

impl RandomVectors for Portable {
    #[inline(always)]
    fn add_if_less(self, a: i32x16, x: f32x16, y: f32x16) -> i32x16 {
        a - cast::<f32x16, i32x16>(x.simd_lt(y))
    }
    #[inline(always)]
    fn rotate_left<const N: i32>(self, a: i32x16) -> i32x16 {
        let a: u32x16 = cast(a);
        cast((a << N as u32) | (a >> (32 - N) as u32))
    }
}

impl ReduceVectors for Portable {}

impl StreamVectors for Portable {}

/// Values that fit, to 16 bits.
#[inline(always)]
fn narrow(a: i32x16) -> [i16x8; 2] {
    let [low, high]: [i32x8; 2] = cast(a);
    [i16x8::from_i32x8_saturate(low), i16x8::from_i32x8_saturate(high)]
}

/// Eight columns, two k at a time, in 16 bits: exact, since `|a·b| ≤ 255·128`.
#[derive(Clone, Copy)]
struct Pairs;

impl Dot for Pairs {
    type StepA = [u8; 4];
    type StepB = [u8; 16];
    type A = i16x16;
    type B = i16x16;
    type Sums = i32x8;
    type Columns = [i32; 8];

    #[inline(always)]
    fn read(self, x: &[i32; 8]) -> i32x8 {
        i32x8::new(*x)
    }
    #[inline(always)]
    fn splat(self, x: i32) -> i32x8 {
        i32x8::splat(x)
    }
    #[inline(always)]
    fn add(self, a: i32x8, b: i32x8) -> i32x8 {
        a + b
    }
    #[inline(always)]
    fn add_product(self, sums: i32x8, factor: i32, columns: i32x8) -> i32x8 {
        sums + i32x8::splat(factor) * columns
    }
    #[inline(always)]
    fn broadcast(self, a: &[u8; 4]) -> i16x16 {
        cast(i32x8::splat(i32::from_ne_bytes(*a)))
    }
    #[inline(always)]
    fn load(self, b: &[u8; 16]) -> i16x16 {
        i16x16::from_i8x16(i8x16::new(*cast_ref(b)))
    }
    #[inline(always)]
    fn dot(self, sums: i32x8, a: i16x16, b: i16x16) -> i32x8 {
        sums + a.dot(b)
    }
    #[inline(always)]
    fn store(self, sums: i32x8, out: &mut [i32; 8]) {
        *out = sums.to_array();
    }
}

impl DotRows for Pairs {
    const DEPTH: usize = 2;

    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> i16x16 {
        // SAFETY: eight bytes may be read of each row.
        let (first, second) = unsafe { (*b.cast::<[u8; 8]>(), *b.add(stride).cast::<[u8; 8]>()) };
        let mut pairs = [0; 16];
        for ((pair, first), second) in pairs.as_chunks_mut().0.iter_mut().zip(first).zip(second) {
            *pair = [first ^ flip, second ^ flip];
        }
        self.load(&pairs)
    }
}

/// # Safety
/// As [`Tile`](crate::matmul::tile::Tile).
unsafe fn tile<const ROWS: usize, const VECTORS: usize>(operands: Operands<'_>) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile::<_, ROWS, VECTORS>(Pairs, operands) }
}

/// # Safety
/// As [`UnpackedTile`](crate::matmul::tile::UnpackedTile).
unsafe fn tile_unpacked<const ROWS: usize, const VECTORS: usize>(operands: UnpackedOperands) {
    // SAFETY: the caller's promise.
    unsafe { dot_tile_unpacked::<_, ROWS, VECTORS>(Pairs, operands) }
}

static KERNEL: Microkernel = Microkernel {
    name: "i16i8-4x8x2-portable",
    depth: 2,
    lanes: 8,
    b_sign: Sign::Signed,
    widen_a: true,
    tiles: tile_table!(tile [], vectors [1], rows [1 2 3 4]),
    unpacked_tiles: tile_table!(tile_unpacked [], vectors [1], rows [1 2 3 4]),
};
