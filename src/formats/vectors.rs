//! Codes of block formats: the vector operations that store four vectors at once: two blocks of 32, or one of 64.

use crate::simd::{LANES, Simd};

/// Narrowing integers to the codes of block formats. `a[j][k]` is vector k of the output `out[j]`.
pub trait FormatVectors: Simd {
    /// `out[j][16k + i] = a[j][k][i].clamp(-127, 127) as i8`, for `|a[j][k][i]| < 2¹⁵`
    #[inline(always)]
    fn store_symmetric_i8(self, a: [[Self::I32; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
        let (min, max) = (self.splat_i32(-127), self.splat_i32(127));
        for (a, out) in a.into_iter().zip(out) {
            for (a, out) in a.into_iter().zip(out.as_chunks_mut().0) {
                self.store_i8(self.max_i32(self.min_i32(a, max), min), out);
            }
        }
    }
    /// `out[j][16k + i] = (a[j][k][i] as f32 / 2.0).round() as i8`, halves away from zero, for `|a[j][k][i]| ≤ 254`
    #[inline(always)]
    fn store_halved_i8(self, a: [[Self::I32; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
        let (one, sign) = (self.splat_i32(1), self.splat_i32(31));
        for (a, out) in a.into_iter().zip(out) {
            for (a, out) in a.into_iter().zip(out.as_chunks_mut().0) {
                let up = self.add_i32(one, self.shift_right(a, sign));
                self.store_i8(self.shift_right(self.add_i32(a, up), one), out);
            }
        }
    }
}
