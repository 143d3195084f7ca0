//! Sixteen bits in memory, 32 in a lane.

use super::f16::{from_half_lanes, to_any_half};
use crate::reduce::vectors::ReduceVectors;
use crate::simd::LANES;

/// Loading and storing integers and reals of 16 bits.
pub trait HalfVectors: ReduceVectors {
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
    /// The values of f16, exactly; NaN keep their bits.
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> Self::F32 {
        from_half_lanes(self, self.load_u16(x))
    }
    /// The nearest f16, ties to even: infinity from 65520 on, and 0x7e00 for NaN.
    #[inline(always)]
    fn store_f16(self, a: Self::F32, out: &mut [u16; LANES]) {
        self.store_u16(to_any_half(self, a), out);
    }
}
