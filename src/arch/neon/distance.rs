//! Sums for distances: codes of 16 bits by `smlal`, differences of bytes by `uabd`, and products of bytes by what the tiers bring.

use core::arch::aarch64::*;

use super::Neon;
use crate::distance::codes::Encoding;
use crate::distance::vectors::{Differences, Products, Vectors, Widened, factor_of_flipped, flip};
use crate::sign::Sign;

impl Vectors for Neon {
    type Bytes = [u8; 16];
    type Codes = [int16x8_t; 2];
    type Sums = [int32x4_t; 2];
    type Decoding = Widened;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [Widened; 2] {
        encodings.map(Widened::new)
    }
    ops! { "neon"
        fn load(bytes: &[u8; 16], decoding: Widened) -> [int16x8_t; 2] {
            // SAFETY: sixteen bytes may be read.
            let bytes = unsafe { vld1q_s8(bytes.as_ptr().cast()) };
            let (mask, zero_point) = (vdupq_n_s16(decoding.mask), vdupq_n_s16(decoding.zero_point));
            [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)].map(|half| vsubq_s16(vandq_s16(half, mask), zero_point))
        }
        fn keep(codes: [int16x8_t; 2], mask: &[u8; 16]) -> [int16x8_t; 2] {
            // SAFETY: sixteen bytes may be read.
            let mask = unsafe { vld1q_s8(mask.as_ptr().cast()) };
            [vandq_s16(codes[0], vmovl_s8(vget_low_s8(mask))), vandq_s16(codes[1], vmovl_high_s8(mask))]
        }
        fn zero() -> [int32x4_t; 2] { [vdupq_n_s32(0); 2] }
        fn merge(a: [int32x4_t; 2], b: [int32x4_t; 2]) -> [int32x4_t; 2] {
            [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])]
        }
        fn sum(sums: [int32x4_t; 2]) -> i32 { vaddvq_s32(vaddq_s32(sums[0], sums[1])) }
    }
}

impl Products for Neon {
    #[inline(always)]
    fn factor(self, _: [Encoding; 2]) -> i32 {
        0
    }
    ops! { "neon"
        fn ones() -> [int16x8_t; 2] { [vdupq_n_s16(1); 2] }
        fn add_products(sums: [int32x4_t; 2], query: [int16x8_t; 2], row: [int16x8_t; 2]) -> [int32x4_t; 2] {
            let mut sums = sums;
            for i in 0..2 {
                sums[0] = vmlal_s16(sums[0], vget_low_s16(query[i]), vget_low_s16(row[i]));
                sums[1] = vmlal_high_s16(sums[1], query[i], row[i]);
            }
            sums
        }
    }
}

impl Differences for Neon {
    #[inline(always)]
    fn add_squares(self, sums: [int32x4_t; 2], query: [int16x8_t; 2], row: [int16x8_t; 2]) -> [int32x4_t; 2] {
        let difference = self.subtract_words(query, row);
        self.add_products(sums, difference, difference)
    }
}

/// Differences of bytes without sign.
#[derive(Clone, Copy)]
pub(in crate::arch) struct ByteDifferences(pub Neon);

impl Vectors for ByteDifferences {
    type Bytes = [u8; 16];
    type Codes = uint8x16_t;
    type Sums = int32x4_t;
    type Decoding = u8;

    #[inline(always)]
    fn decodings(self, encodings: [Encoding; 2]) -> [u8; 2] {
        encodings.map(|encoding| flip(encoding.sign, Sign::Unsigned))
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; 16], flip: u8) -> uint8x16_t {
        self.0.load_flipped(bytes, flip)
    }
    #[inline(always)]
    fn keep(self, codes: uint8x16_t, mask: &[u8; 16]) -> uint8x16_t {
        self.0.and_bytes(codes, mask)
    }
    ops! { "neon"
        fn zero() -> int32x4_t { vdupq_n_s32(0) }
        fn merge(a: int32x4_t, b: int32x4_t) -> int32x4_t { vaddq_s32(a, b) }
        fn sum(sums: int32x4_t) -> i32 { vaddvq_s32(sums) }
    }
}

impl Differences for ByteDifferences {
    ops! { "neon"
        fn add_squares(sums: int32x4_t, query: uint8x16_t, row: uint8x16_t) -> int32x4_t {
            let difference = vabdq_u8(query, row);
            let low = vmull_u8(vget_low_u8(difference), vget_low_u8(difference));
            let sums = vpadalq_u16(vreinterpretq_u32_s32(sums), low);
            vreinterpretq_s32_u32(vpadalq_u16(sums, vmull_high_u8(difference, difference)))
        }
    }
}

distance_kernel! { Neon, "neon", |_| Neon::witness(), Neon::witness(), ByteDifferences(Neon::witness()) }

/// An instruction that sums products of bytes.
pub(in crate::arch) trait ByteDot: Copy {
    /// The vectors that hold the sums.
    fn vectors(self) -> Neon;
    /// The sign that rows must have for a query of a sign.
    fn row_sign(query: Sign) -> Sign;
    /// `sums[j] + Σ query[4j + k]·row[4j + k]`, for a query of a sign, and rows of the sign that goes with it
    fn dot(self, query_sign: Sign, sums: int32x4_t, query: uint8x16_t, row: uint8x16_t) -> int32x4_t;
}

/// Products of bytes by a token's instruction, for a query of a sign.
#[derive(Clone, Copy)]
pub(in crate::arch) struct ByteRows<T> {
    pub token: T,
    pub query: Sign,
}

impl Neon {
    ops! { "neon"
        fn subtract_words(a: [int16x8_t; 2], b: [int16x8_t; 2]) -> [int16x8_t; 2] {
            [vsubq_s16(a[0], b[0]), vsubq_s16(a[1], b[1])]
        }
        fn load_flipped(bytes: &[u8; 16], flip: u8) -> uint8x16_t {
            // SAFETY: sixteen bytes may be read.
            veorq_u8(unsafe { vld1q_u8(bytes.as_ptr()) }, vdupq_n_u8(flip))
        }
        fn and_bytes(a: uint8x16_t, b: &[u8; 16]) -> uint8x16_t {
            // SAFETY: sixteen bytes may be read.
            vandq_u8(a, unsafe { vld1q_u8(b.as_ptr()) })
        }
    }
}

impl<T: ByteDot> Vectors for ByteRows<T> {
    type Bytes = [u8; 16];
    type Codes = uint8x16_t;
    type Sums = int32x4_t;
    type Decoding = u8;

    #[inline(always)]
    fn decodings(self, [_, rows]: [Encoding; 2]) -> [u8; 2] {
        [0, flip(rows.sign, T::row_sign(self.query))]
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; 16], flip: u8) -> uint8x16_t {
        self.token.vectors().load_flipped(bytes, flip)
    }
    #[inline(always)]
    fn keep(self, codes: uint8x16_t, mask: &[u8; 16]) -> uint8x16_t {
        self.token.vectors().and_bytes(codes, mask)
    }
    #[inline(always)]
    fn zero(self) -> int32x4_t {
        ByteDifferences(self.token.vectors()).zero()
    }
    #[inline(always)]
    fn merge(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        ByteDifferences(self.token.vectors()).merge(a, b)
    }
    #[inline(always)]
    fn sum(self, sums: int32x4_t) -> i32 {
        ByteDifferences(self.token.vectors()).sum(sums)
    }
}

impl<T: ByteDot> Products for ByteRows<T> {
    #[inline(always)]
    fn factor(self, [_, rows]: [Encoding; 2]) -> i32 {
        factor_of_flipped(rows, T::row_sign(self.query))
    }
    #[inline(always)]
    fn ones(self) -> uint8x16_t {
        self.token.vectors().load_flipped(&[1; 16], 0)
    }
    #[inline(always)]
    fn add_products(self, sums: int32x4_t, query: uint8x16_t, row: uint8x16_t) -> int32x4_t {
        self.token.dot(self.query, sums, query, row)
    }
}
