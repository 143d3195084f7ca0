//! Codes of few bits: the vector operation of unpacking.

use bytemuck::must_cast_mut;

use crate::simd::{LANES, Simd};

/// Looking bytes up in a table.
pub trait GroupVectors: Simd {
    /// `table[b]` for each of the four bytes b of every lane, which are less than 16
    #[inline(always)]
    fn look_up(self, table: &[u8; 16], a: Self::I32) -> Self::I32 {
        let mut lanes = [0; LANES];
        self.store_i32(a, &mut lanes);
        let bytes: &mut [u8; 4 * LANES] = must_cast_mut(&mut lanes);
        for byte in bytes {
            *byte = table[usize::from(*byte & 15)];
        }
        self.load_i32(&lanes)
    }
}
