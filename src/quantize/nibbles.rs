//! Two 4-bit codes a byte: the vector operations of packing.

use crate::simd::{LANES, Simd};

/// Packing and unpacking nibbles, the first of two in the low half.
pub trait NibbleVectors: Simd {
    /// `out[i] = (x[2i] & 15) | x[2i + 1] << 4`
    #[inline(always)]
    fn pack_nibbles(self, x: &[u8; 2 * LANES], out: &mut [u8; LANES]) {
        // Stored at once: the compiler need not prove that `x` and `out` do not overlap.
        let mut bytes = [0; LANES];
        for i in 0..LANES {
            bytes[i] = (x[2 * i] & 15) | x[2 * i + 1] << 4;
        }
        *out = bytes;
    }
    /// `out[2i] = ((x[i] & 15) ^ flip) - flip; out[2i + 1] = ((x[i] >> 4) ^ flip) - flip`, which wraps: a `flip` of 8 extends the
    /// sign of nibbles
    #[inline(always)]
    fn unpack_nibbles(self, x: &[u8; LANES], flip: u8, out: &mut [u8; 2 * LANES]) {
        for i in 0..LANES {
            out[2 * i] = ((x[i] & 15) ^ flip).wrapping_sub(flip);
            out[2 * i + 1] = ((x[i] >> 4) ^ flip).wrapping_sub(flip);
        }
    }
}
