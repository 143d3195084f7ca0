//! The vector operations of distances.

use bytemuck::Pod;

use super::codes::Encoding;
use crate::sign::Sign;

/// Vectors of codes, and of sums.
pub trait Vectors: Copy {
    /// The bytes of a vector, at most [`LONGEST`](super::kernel::LONGEST).
    type Bytes: Pod;
    /// A vector of decoded codes.
    type Codes: Copy;
    /// A vector of i32 accumulators.
    type Sums: Copy;
    /// How bytes are decoded.
    type Decoding: Copy;

    /// The decodings of the query and of the rows.
    fn decodings(self, encodings: [Encoding; 2]) -> [Self::Decoding; 2];
    /// Loads and decodes a vector.
    fn load(self, bytes: &Self::Bytes, decoding: Self::Decoding) -> Self::Codes;
    /// `mask[i] == 0xff ? codes[i] : 0`, where a byte of the mask is 0xff or 0
    fn keep(self, codes: Self::Codes, mask: &Self::Bytes) -> Self::Codes;
    /// Accumulators that are all 0.
    fn zero(self) -> Self::Sums;
    /// `a[i] + b[i]`, modulo 2³²
    fn merge(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// The sum of all accumulators, modulo 2³².
    fn sum(self, sums: Self::Sums) -> i32;
}

/// Products: of codes widened to 16 bits ([`Widened`]), or of bytes ([`flip`]).
pub trait Products: Vectors {
    /// A factor by which the sum of the products is `Σ query[k] · row[k] + factor · Σ query[k]`, over decoded codes.
    fn factor(self, encodings: [Encoding; 2]) -> i32;
    /// Codes that are all 1.
    fn ones(self) -> Self::Codes;
    /// Adds `query[i] · row[i]` to the accumulators.
    fn add_products(self, sums: Self::Sums, query: Self::Codes, row: Self::Codes) -> Self::Sums;
}

/// Squared differences: of codes widened to 16 bits, or of bytes without sign, where query and rows have one encoding.
pub trait Differences: Vectors {
    /// Adds `(query[i] − row[i])²` to the accumulators.
    fn add_squares(self, sums: Self::Sums, query: Self::Codes, row: Self::Codes) -> Self::Sums;
}

/// Decodes a byte as `(sign-extended byte & mask) − zero_point`, in 16 bits: at most 255 in magnitude. A difference of two such codes
/// fits 16 bits, and so does the sum of two products of differences 32.
#[derive(Clone, Copy)]
pub struct Widened {
    /// −1 for i8, 0xff for u8.
    pub mask: i16,
    pub zero_point: i16,
}

impl Widened {
    #[inline(always)]
    pub fn new(Encoding { sign, zero_point }: Encoding) -> Widened {
        Widened { mask: if sign == Sign::Signed { -1 } else { 0xff }, zero_point: zero_point as i16 }
    }
}

/// What bytes are XORed with, so that they have the sign that an instruction wants: 0x80 turns a u8 into the i8 that is less by 128,
/// and an i8 into the u8 that is greater by 128.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub fn flip(sign: Sign, wanted: Sign) -> u8 {
    if sign == wanted { 0 } else { 0x80 }
}

/// [`Products::factor`] for a query whose zero point is 0 and rows that are flipped: `row[k] = flipped[k] ± 128 − zero point`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub fn factor_of_flipped(rows: Encoding, wanted: Sign) -> i32 {
    let offset = match (rows.sign, wanted) {
        (Sign::Unsigned, Sign::Signed) => 128,
        (Sign::Signed, Sign::Unsigned) => -128,
        (Sign::Unsigned, Sign::Unsigned) | (Sign::Signed, Sign::Signed) => 0,
    };
    offset - rows.zero_point
}
