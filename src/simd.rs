//! Sixteen lanes on every ISA: the vector operations that every kernel is written in.
//!
//! The unit is a block of [`LANES`] elements everywhere (one zmm, two ymm, four q registers, an array), so that every ISA
//! walks the data, its tail and its reductions in the same order. Each operation *is* the scalar expression in its
//! comment, lane by lane, NaN included: that, not the instruction behind it, is what makes results equal bit for bit.
//! (Which NaN an operation makes is the CPU's: kernels replace it before they store.)
//!
//! What only one family of kernels needs is an extension trait beside these kernels, with defaults made of the operations
//! here; [`Vectors`](crate::kernel::Vectors) is all of them together.
//!
//! A generic body has no target features of its own: it gets them by being inlined into the ISA's `enter`. So every
//! function here, in the extension traits and in the kernels is `#[inline(always)]`; one that is not would turn each of
//! these operations into a call.

pub mod memory;
#[cfg(test)]
pub(crate) mod tests;
pub mod walk;

/// Elements of a block, on every ISA.
pub const LANES: usize = 16;

/// Vectors of a quad: what is narrowed and stored together, since 64 codes fill one or two registers.
pub const QUAD: usize = 4;

/// `[f(0), f(1), f(2), f(3)]`, inlined as kernels have to be: `core::array::from_fn` may be left a call.
#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub fn quad<T>(f: impl Fn(usize) -> T) -> [T; QUAD] {
    [f(0), f(1), f(2), f(3)]
}

/// Sixteen-lane operations. `a[i]` stands for lane i; integers wrap.
pub trait Simd: Copy {
    /// Sixteen f32.
    type F32: Copy;
    /// Sixteen i32.
    type I32: Copy;
    /// Sixteen f64.
    type F64: Copy;
    /// Sixteen truth values.
    type Mask: Copy;
    /// How many vectors of f32 all registers hold.
    const REGISTERS: usize = 8;

    /// `x`
    fn splat_f32(self, x: f32) -> Self::F32;
    /// `x[i]`
    fn load_f32(self, x: &[f32; LANES]) -> Self::F32;
    /// `out[i] = a[i]`
    fn store_f32(self, a: Self::F32, out: &mut [f32; LANES]);
    /// `a[i] + b[i]`
    fn add_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i] - b[i]`
    fn sub_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i] * b[i]`
    fn mul_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i].mul_add(b[i], c[i])`, rounded once
    #[inline(always)]
    fn mul_add_f32(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        let mut lanes = [[0.0; LANES]; 3];
        self.store_f32(a, &mut lanes[0]);
        self.store_f32(b, &mut lanes[1]);
        self.store_f32(c, &mut lanes[2]);
        let mut sums = [0.0; LANES];
        for i in 0..LANES {
            sums[i] = lanes[0][i].mul_add(lanes[1][i], lanes[2][i]);
        }
        self.load_f32(&sums)
    }
    /// `a[i] / b[i]`, correctly rounded
    fn div_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] > b[i] { a[i] } else { b[i] }`, so NaN in `a` gives `b`
    fn max_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] < b[i] { a[i] } else { b[i] }`, so NaN in `a` gives `b`
    fn min_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i].is_nan() { 0.0 } else { min_f32(max_f32(a[i], min[i]), max[i]) }`, for `min[i] ≤ 0 ≤ max[i]`
    #[inline(always)]
    fn clamp_f32(self, a: Self::F32, min: Self::F32, max: Self::F32) -> Self::F32 {
        let a = self.select_f32(self.is_nan(a), self.splat_f32(0.0), a);
        self.min_f32(self.max_f32(a, min), max)
    }
    /// `a[i].round_ties_even() as i32`, for `|a[i]| < 2²²`
    fn round_to_i32(self, a: Self::F32) -> Self::I32;
    /// `a[i].round_ties_even()`, for `|a[i]| < 2²²`; 0 of any sign; of NaN, where `HAS_FAST_DIVISION` is true, NaN
    #[inline(always)]
    fn round_f32(self, a: Self::F32) -> Self::F32 {
        self.to_f32(self.round_to_i32(a))
    }
    /// `a[i].floor()`, for `|a[i]| < 2²²`; 0 of any sign
    #[inline(always)]
    fn floor_f32(self, a: Self::F32) -> Self::F32 {
        self.to_f32(self.floor_to_i32(a))
    }
    /// `a[i].floor() as i32`, for `|a[i]| < 2²²`
    fn floor_to_i32(self, a: Self::F32) -> Self::I32;
    /// `a[i] as i32`, towards zero, for `|a[i]| < 2²²`
    fn trunc_to_i32(self, a: Self::F32) -> Self::I32;
    /// `a[i] as f32`, ties to even
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// `a[i].to_bits() as i32`
    fn to_bits(self, a: Self::F32) -> Self::I32;
    /// `f32::from_bits(a[i] as u32)`
    fn of_bits(self, a: Self::I32) -> Self::F32;

    /// `a[i].is_nan()`
    fn is_nan(self, a: Self::F32) -> Self::Mask;
    /// `a[i] < b[i]`
    fn less_f32(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a[i] == b[i]`
    fn equal_f32(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a[i] < b[i]`
    fn less_i32(self, a: Self::I32, b: Self::I32) -> Self::Mask;
    /// `if mask[i] { a[i] } else { b[i] }`
    fn select_f32(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if mask[i] { a[i] } else { 0.0 }`
    #[inline(always)]
    fn keep_f32(self, mask: Self::Mask, a: Self::F32) -> Self::F32 {
        self.select_f32(mask, a, self.splat_f32(0.0))
    }
    /// `if mask[i] { a[i] } else { b[i] }`
    fn select_i32(self, mask: Self::Mask, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `mask[0] || … || mask[15]`
    fn any(self, mask: Self::Mask) -> bool;

    /// `x`
    fn splat_f64(self, x: f64) -> Self::F64;
    /// `x[i]`
    fn load_f64(self, x: &[f64; LANES]) -> Self::F64;
    /// `out[i] = a[i]`
    fn store_f64(self, a: Self::F64, out: &mut [f64; LANES]);
    /// `a[i] + f64::from(x[i]) * f64::from(y[i])`: the product is exact, so fused or not
    fn add_product_f64(self, a: Self::F64, x: Self::F32, y: Self::F32) -> Self::F64;
    /// The sum of all lanes, by halves: `a[i] + a[i + 8]`, of these sums `s[i] + s[i + 4]`, and so on
    #[inline(always)]
    fn sum_f64(self, a: Self::F64) -> f64 {
        let mut lanes = [0.0; LANES];
        self.store_f64(a, &mut lanes);
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// `x`
    fn splat_i32(self, x: i32) -> Self::I32;
    /// `x[i]`
    fn load_i32(self, x: &[i32; LANES]) -> Self::I32;
    /// `out[i] = a[i]`
    fn store_i32(self, a: Self::I32, out: &mut [i32; LANES]);
    /// `x[i] as i32`
    fn load_u8(self, x: &[u8; LANES]) -> Self::I32;
    /// `x[i] as i32`
    fn load_i8(self, x: &[i8; LANES]) -> Self::I32;
    /// `out[i] = a[i] as u8`, for `a[i]` in 0…255
    fn store_u8(self, a: Self::I32, out: &mut [u8; LANES]);
    /// `out[i] = a[i] as i8`, for `a[i]` in −128…127
    fn store_i8(self, a: Self::I32, out: &mut [i8; LANES]);
    /// `a[0] + … + a[15]`
    #[inline(always)]
    fn sum_i32(self, a: Self::I32) -> i32 {
        let mut lanes = [0; LANES];
        self.store_i32(a, &mut lanes);
        let mut sum = 0_i32;
        for lane in lanes {
            sum = sum.wrapping_add(lane);
        }
        sum
    }
    /// `a[i] + b[i]`
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] - b[i]`
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] * b[i]`, the low 32 bits
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i].max(b[i])`
    fn max_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i].min(b[i])`
    fn min_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] & b[i]`
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] ^ b[i]`
    fn xor_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] << N`, for N in 1…31
    fn shift_left<const N: i32>(self, a: Self::I32) -> Self::I32;
    /// `a[i] >> shift[i]`, arithmetic, for shifts 0…31
    fn shift_right(self, a: Self::I32, shift: Self::I32) -> Self::I32;
    /// `(a[i] as u32 >> shift[i]) as i32`, logical, for shifts 0…31
    fn shift_right_logical(self, a: Self::I32, shift: Self::I32) -> Self::I32;
}
