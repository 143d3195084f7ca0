//! Sixteen bits in memory, 32 in a lane.

use crate::simd::{LANES, Simd};

/// Loading and storing integers of 16 bits.
pub trait HalfVectors: Simd {
    /// `x[i] as i32`
    #[inline(always)]
    fn load_u16(self, x: &[u16; LANES]) -> Self::I32 {
        let mut lanes = [0; LANES];
        for i in 0..LANES {
            lanes[i] = x[i].into();
        }
        self.load_i32(&lanes)
    }
    /// `out[i] = a[i] as u16`, for `a[i]` in 0…65535
    #[inline(always)]
    fn store_u16(self, a: Self::I32, out: &mut [u16; LANES]) {
        let mut lanes = [0; LANES];
        self.store_i32(a, &mut lanes);
        for i in 0..LANES {
            out[i] = lanes[i] as u16;
        }
    }
}
