//! Bytes of operands on their way into panels: interleaved rows, and sums of four neighbours.

use crate::simd::{LANES, Simd};

/// Interleaving and summing 8-bit codes.
pub trait InterleaveVectors: Simd {
    /// `i32::from_le_bytes([x[0][i], x[1][i], x[2][i], x[3][i]])`
    #[inline(always)]
    fn load_interleaved(self, x: [&[u8; LANES]; 4]) -> Self::I32 {
        let [a, b, c, d] = x;
        let first = self.xor_i32(self.load_u8(a), self.shift_left::<8>(self.load_u8(b)));
        let second = self.xor_i32(self.shift_left::<16>(self.load_u8(c)), self.shift_left::<24>(self.load_u8(d)));
        self.xor_i32(first, second)
    }
    /// `out[i] = [x[0][i], x[1][i]]`
    #[inline(always)]
    fn store_interleaved(self, x: [&[u8; LANES]; 2], out: &mut [[u8; 2]; LANES]) {
        for i in 0..LANES {
            out[i] = [x[0][i], x[1][i]];
        }
    }
    /// `a[i] + x[4i] as i32 + … + x[4i + 3] as i32`
    #[inline(always)]
    fn add_four_u8(self, a: Self::I32, x: &[u8; 4 * LANES]) -> Self::I32 {
        let mut sums = [0; LANES];
        for i in 0..LANES {
            sums[i] = i32::from(x[4 * i]) + i32::from(x[4 * i + 1]) + i32::from(x[4 * i + 2]) + i32::from(x[4 * i + 3]);
        }
        self.add_i32(a, self.load_i32(&sums))
    }
    /// `a[i] + x[4i] as i32 + … + x[4i + 3] as i32`
    #[inline(always)]
    fn add_four_i8(self, a: Self::I32, x: &[i8; 4 * LANES]) -> Self::I32 {
        let mut sums = [0; LANES];
        for i in 0..LANES {
            sums[i] = i32::from(x[4 * i]) + i32::from(x[4 * i + 1]) + i32::from(x[4 * i + 2]) + i32::from(x[4 * i + 3]);
        }
        self.add_i32(a, self.load_i32(&sums))
    }
}
