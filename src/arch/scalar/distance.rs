//! Sums for distances, one code at a time.

use super::{Array, LANES, Scalar, map, zip};
use crate::distance::codes::Encoding;
use crate::distance::vectors::{Differences, Products, Vectors, Widened};
use crate::simd::Simd;

impl Vectors for Scalar {
    type Bytes = [u8; LANES];
    type Codes = Array<i16>;
    type Sums = Array<i32>;
    type Decoding = Widened;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [Widened; 2] {
        encodings.map(Widened::new)
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; LANES], decoding: Widened) -> Array<i16> {
        map(*bytes, |byte| (i16::from(byte as i8) & decoding.mask) - decoding.zero_point)
    }
    #[inline(always)]
    fn keep(self, codes: Array<i16>, mask: &[u8; LANES]) -> Array<i16> {
        zip(codes, *mask, |code, mask| code & i16::from(mask as i8))
    }
    #[inline(always)]
    fn zero(self) -> Array<i32> {
        [0; LANES]
    }
    #[inline(always)]
    fn merge(self, a: Array<i32>, b: Array<i32>) -> Array<i32> {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn sum(self, sums: Array<i32>) -> i32 {
        self.sum_i32(sums)
    }
}

impl Products for Scalar {
    #[inline(always)]
    fn factor(self, _: [Encoding; 2]) -> i32 {
        0
    }
    #[inline(always)]
    fn ones(self) -> Array<i16> {
        [1; LANES]
    }
    #[inline(always)]
    fn add_products(self, sums: Array<i32>, query: Array<i16>, row: Array<i16>) -> Array<i32> {
        zip(sums, zip(query, row, |a, b| i32::from(a) * i32::from(b)), i32::wrapping_add)
    }
}

impl Differences for Scalar {
    #[inline(always)]
    fn add_squares(self, sums: Array<i32>, query: Array<i16>, row: Array<i16>) -> Array<i32> {
        let difference = zip(query, row, |a, b| a - b);
        self.add_products(sums, difference, difference)
    }
}
