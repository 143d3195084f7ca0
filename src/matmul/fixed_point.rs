//! Products of accumulators with fixed-point multipliers: the vector operations of integer requantization.

use crate::simd::{LANES, Simd};

/// Rounding 64-bit products.
pub trait FixedPointVectors: Simd {
    /// `((a[i] as i64 * b[i] as i64 + (1 << (shift[i] - 1))) >> shift[i]) as i32`, for `b[i] ≥ 0` and shifts 1…62
    #[inline(always)]
    fn mul_shift_round(self, a: Self::I32, b: Self::I32, shift: Self::I32) -> Self::I32 {
        let mut lanes = [[0; LANES]; 3];
        self.store_i32(a, &mut lanes[0]);
        self.store_i32(b, &mut lanes[1]);
        self.store_i32(shift, &mut lanes[2]);
        let mut products = [0; LANES];
        for i in 0..LANES {
            let (product, shift) = (i64::from(lanes[0][i]) * i64::from(lanes[1][i]), lanes[2][i]);
            products[i] = ((product + (1 << (shift - 1))) >> shift) as i32;
        }
        self.load_i32(&products)
    }
    /// `((a[i] as i64 * b[i] as i64 + (1 << (shift[i] - 1))) >> shift[i]) as i32 + c[i]`, for `b[i] ≥ 0`, shifts 32…54,
    /// `|c[i]| < 2⁶³⁻ˢʰⁱᶠᵗ` and a sum of at least 0
    #[inline(always)]
    fn mul_shift_round_add(self, a: Self::I32, b: Self::I32, shift: Self::I32, c: Self::I32) -> Self::I32 {
        self.add_i32(self.mul_shift_round(a, b, shift), c)
    }
}
