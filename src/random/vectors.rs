//! Random words and what is rounded with them: the vector operations of the generator and of stochastic rounding.

use crate::simd::Simd;

/// The generator's bit operations, and comparisons with random words.
pub trait RandomVectors: Simd {
    /// `a[i].rotate_left(N)`, for N in 1…31
    #[inline(always)]
    fn rotate_left<const N: i32>(self, a: Self::I32) -> Self::I32 {
        self.xor_i32(self.shift_left::<N>(a), self.shift_right_logical(a, self.splat_i32(32 - N)))
    }
    /// `a[i] ^ b[i] ^ c[i]`
    #[inline(always)]
    fn xor3_i32(self, a: Self::I32, b: Self::I32, c: Self::I32) -> Self::I32 {
        self.xor_i32(self.xor_i32(a, b), c)
    }
    /// `a[i] + (x[i] < y[i]) as i32`
    #[inline(always)]
    fn add_if_less(self, a: Self::I32, x: Self::F32, y: Self::F32) -> Self::I32 {
        self.select_i32(self.less_f32(x, y), self.add_i32(a, self.splat_i32(1)), a)
    }
    /// `(a[i] as u32 >> 8) as f32`: as many bits as an f32 holds exactly
    #[inline(always)]
    fn upper_bits(self, a: Self::I32) -> Self::F32 {
        self.to_f32(self.shift_right_logical(a, self.splat_i32(8)))
    }
    /// Stochastic rounding, up with the probability of the fraction: with `f = a[i].floor()`, `|a[i]| < 2²²`,
    /// `f as i32 + (((words[i] as u32 >> 8) as f32) < (a[i] - f) * 2²⁴) as i32`
    #[inline(always)]
    fn round_stochastically(self, a: Self::F32, words: Self::I32) -> Self::I32 {
        let fraction = self.mul_f32(self.sub_f32(a, self.floor_f32(a)), self.splat_f32((1 << 24) as f32));
        self.add_if_less(self.floor_to_i32(a), self.upper_bits(words), fraction)
    }
}
