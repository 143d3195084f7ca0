//! `portable`: the vectors of the [`wide`] crate at the target's baseline, which it chooses at compile time: SSE2 on
//! x86-64, NEON on aarch64, plain arrays elsewhere.

use wide::bytemuck::{cast, cast_ref};
use wide::{f32x8, f32x16, i8x16, i16x8, i16x16, i32x8, i32x16, u8x16, u32x16};

use super::scalar::Scalar;
use crate::distance::codes::Encoding;
use crate::distance::vectors::{Differences, Products, Vectors, Widened};
use crate::formats::vectors::FormatVectors;
use crate::groups::dot::{GroupDot, Totals};
use crate::groups::tile::E2M1;
use crate::groups::vectors::GroupVectors;
use crate::half::f16::from_half;
use crate::half::vectors::HalfVectors;
use crate::kernel::{Kernel, Outline};
use crate::matmul::dot::{Accumulate, Dot, rows};
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::packing::PackVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::memory::StreamVectors;
use crate::simd::{LANES, Simd};

/// The token of an ISA that every CPU has: its target's baseline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Portable(Scalar);

impl Portable {
    /// The token: every CPU runs this ISA.
    pub fn detect() -> Option<Self> {
        Scalar::detect().map(Portable)
    }

    /// Runs a kernel on baseline vectors. (Not inlined, so that the kernel has all registers.)
    #[inline(never)]
    pub fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

impl Outline for Portable {
    #[inline(always)]
    fn outlined<K: Kernel>(self, kernel: K) -> K::Output {
        self.enter(kernel)
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
    fn load_f64(self, x: &[f64; LANES]) -> [f64; LANES] {
        *x
    }
    #[inline(always)]
    fn store_f64(self, a: [f64; LANES], out: &mut [f64; LANES]) {
        *out = a;
    }
    // `wide` does not widen floats; the compiler does, in pairs.
    #[inline(always)]
    fn add_product_f64(self, a: [f64; LANES], x: f32x16, y: f32x16) -> [f64; LANES] {
        self.0.add_product_f64(a, x.to_array(), y.to_array())
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
    // SSE2 has no shifts by lane.
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

impl GroupVectors for Portable {}

impl HalfVectors for Portable {}

impl InterleaveVectors for Portable {}

impl PackVectors for Portable {}

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

impl Accumulate for Portable {
    type Acc = i32x8;
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
    fn add_product(self, acc: i32x8, factor: i32, columns: i32x8) -> i32x8 {
        acc + i32x8::splat(factor) * columns
    }
    #[inline(always)]
    fn store(self, acc: i32x8, out: &mut [i32; 8]) {
        *out = acc.to_array();
    }
}

/// Eight columns, two k at a time, in 16 bits: exact, since the sum of two products is no more than 2 · 2¹⁵ · 2⁷.
#[derive(Clone, Copy)]
struct Pairs(Portable);

impl Dot for Pairs {
    type Vectors = Portable;
    type StepA = [u8; 4];
    type StepB = [u8; 16];
    type A = i16x16;
    type B = i16x16;
    const DEPTH: usize = 2;

    #[inline(always)]
    fn vectors(self) -> Portable {
        self.0
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
    fn dot(self, acc: i32x8, a: i16x16, b: i16x16) -> i32x8 {
        acc + a.dot(b)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> i16x16 {
        // SAFETY: eight bytes, one for every column, may be read of each of the two rows.
        let [first, second]: [&[u8; 8]; 2] = unsafe { rows(b, stride) };
        let mut pairs = [[0; 2]; 8];
        for j in 0..8 {
            pairs[j] = [first[j] ^ flip, second[j] ^ flip];
        }
        self.load(&cast(pairs))
    }
}

microkernels! {
    Portable = "portable", Pairs: |_signed| Pairs(Portable(Scalar::witness())), [i16 i8],
    tiles { [1] x [1 2 3 4] }, unpacked { [1] x [1 2 3 4] }
}

impl Vectors for Portable {
    type Bytes = [u8; 16];
    type Codes = i16x16;
    type Sums = i32x8;
    type Decoding = Widened;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [Widened; 2] {
        encodings.map(Widened::new)
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; 16], decoding: Widened) -> i16x16 {
        let codes = i16x16::from_i8x16(i8x16::new(*cast_ref(bytes)));
        (codes & i16x16::splat(decoding.mask)) - i16x16::splat(decoding.zero_point)
    }
    #[inline(always)]
    fn keep(self, codes: i16x16, mask: &[u8; 16]) -> i16x16 {
        codes & i16x16::from_i8x16(i8x16::new(*cast_ref(mask)))
    }
    #[inline(always)]
    fn zero(self) -> i32x8 {
        i32x8::splat(0)
    }
    #[inline(always)]
    fn merge(self, a: i32x8, b: i32x8) -> i32x8 {
        a + b
    }
    #[inline(always)]
    fn sum(self, sums: i32x8) -> i32 {
        sums.reduce_add()
    }
}

impl Products for Portable {
    #[inline(always)]
    fn factor(self, _: [Encoding; 2]) -> i32 {
        0
    }
    #[inline(always)]
    fn ones(self) -> i16x16 {
        i16x16::splat(1)
    }
    #[inline(always)]
    fn add_products(self, sums: i32x8, query: i16x16, row: i16x16) -> i32x8 {
        sums + query.dot(row)
    }
}

impl Differences for Portable {
    #[inline(always)]
    fn add_squares(self, sums: i32x8, query: i16x16, row: i16x16) -> i32x8 {
        let difference = query - row;
        sums + difference.dot(difference)
    }
}

distance_kernel! { Portable, |_| Portable(Scalar::witness()), Portable(Scalar::witness()), Portable(Scalar::witness()) }

impl Totals for Portable {
    type Reals = f32x8;
    type RealColumns = [f32; 8];
    type HalfColumns = [u16; 8];
    const WIDENS_HALVES: bool = false;

    #[inline(always)]
    fn splat_real(self, x: f32) -> f32x8 {
        f32x8::splat(x)
    }
    #[inline(always)]
    fn read_reals(self, x: &[f32; 8]) -> f32x8 {
        f32x8::new(*x)
    }
    #[inline(always)]
    fn read_halves(self, x: &[u16; 8]) -> f32x8 {
        f32x8::new(x.map(from_half))
    }
    #[inline(always)]
    fn to_reals(self, acc: i32x8) -> f32x8 {
        f32x8::from_i32x8(acc)
    }
    #[inline(always)]
    fn add_reals(self, a: f32x8, b: f32x8) -> f32x8 {
        a + b
    }
    #[inline(always)]
    fn multiply_reals(self, a: f32x8, b: f32x8) -> f32x8 {
        a * b
    }
    #[inline(always)]
    fn store_reals(self, a: f32x8, out: &mut [f32; 8]) {
        *out = a.to_array();
    }
}

impl GroupDot for Pairs {
    #[inline(always)]
    fn extract(self, b: i16x16, shift: u32, bits: u32) -> i16x16 {
        (b >> shift as i32) & i16x16::splat((1 << bits) - 1)
    }
    #[inline(always)]
    fn look_up(self, b: i16x16) -> i16x16 {
        i16x16::new(b.to_array().map(|b| E2M1[b as usize & 15].into()))
    }
}

group_kernels! { Portable, [1] x [1 2 3 4], Pairs = Pairs(Portable(Scalar::witness())), [i16 i8] }
