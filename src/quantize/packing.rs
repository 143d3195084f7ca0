//! Several codes in a byte: the vector operations of packing.

use crate::simd::{LANES, Simd};

/// Packing pairs of 2 or 4 bits, the first of two in the lower bits.
pub trait PackVectors: Simd {
    /// `out[i] = (x[2i] & mask) | (x[2i + 1] & mask) << BITS`, where `mask = 2^BITS − 1`; for 2 or 4 bits
    #[inline(always)]
    fn pack_pairs<const BITS: i32>(self, x: &[u8; 2 * LANES], out: &mut [u8; LANES]) {
        let mask = (1 << BITS) - 1;
        // Stored at once: the compiler need not prove that `x` and `out` do not overlap.
        let mut bytes = [0; LANES];
        for i in 0..LANES {
            bytes[i] = (x[2 * i] & mask) | (x[2 * i + 1] & mask) << BITS;
        }
        *out = bytes;
    }
    /// `out[2i] = ((x[i] & mask) ^ flip) - flip; out[2i + 1] = ((x[i] >> BITS & mask) ^ flip) - flip`, which wraps: a `flip` of
    /// `2^(BITS − 1)` extends the sign; for 2 or 4 bits
    #[inline(always)]
    fn unpack_pairs<const BITS: i32>(self, x: &[u8; LANES], flip: u8, out: &mut [u8; 2 * LANES]) {
        let mask = (1 << BITS) - 1;
        for i in 0..LANES {
            out[2 * i] = ((x[i] & mask) ^ flip).wrapping_sub(flip);
            out[2 * i + 1] = ((x[i] >> BITS & mask) ^ flip).wrapping_sub(flip);
        }
    }
}
