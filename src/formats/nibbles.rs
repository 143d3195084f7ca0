//! Codes of four bits, two in a byte, and of five, whose highest bits lie before them in 32 bits: value j is in the low
//! half of byte j, value j + 16 in its high half.

use super::block::BlockVectors;
use crate::simd::LANES;

/// The four bytes of highest bits and the sixteen of low ones.
const FIVE_BITS: usize = 4 + LANES;

const SIZE: &str = "as many bytes as the codes of a block take";

/// The codes of a block, of four or five bits.
#[inline(always)]
pub(super) fn load_codes<V: BlockVectors, const BITS: u32>(v: V, bytes: &[u8]) -> [V::I32; 2] {
    match BITS {
        4 => nibbles(v, bytes.try_into().expect(SIZE)),
        _ => five_bits(v, bytes.try_into().expect(SIZE)),
    }
}

/// Writes the codes of a block, of four or five bits.
#[inline(always)]
pub(super) fn store_codes<V: BlockVectors, const BITS: u32>(v: V, codes: [V::I32; 2], bytes: &mut [u8]) {
    match BITS {
        4 => store_nibbles(v, codes, bytes.try_into().expect(SIZE)),
        _ => store_five_bits(v, codes, bytes.try_into().expect(SIZE)),
    }
}

/// The codes of a block, of four or five bits, less their zero point.
#[inline(always)]
pub(super) fn split_codes<const BITS: u32>(bytes: &[u8], zero_point: i8) -> [[i8; LANES]; 2] {
    match BITS {
        4 => split_nibbles(bytes.try_into().expect(SIZE), zero_point),
        _ => split_five_bits(bytes.try_into().expect(SIZE), zero_point),
    }
}

/// `min(largest, trunc(multiple + offset))`
#[inline(always)]
pub(super) fn truncated<V: BlockVectors>(v: V, [a, b]: [V::F32; 2], offset: f32, largest: i32) -> [V::I32; 2] {
    let (offset, largest) = (v.splat_f32(offset), v.splat_i32(largest));
    let low = v.min_i32(v.trunc_to_i32(v.add_f32(a, offset)), largest);
    let high = v.min_i32(v.trunc_to_i32(v.add_f32(b, offset)), largest);
    [low, high]
}

/// The codes of four bits.
#[inline(always)]
pub(super) fn nibbles<V: BlockVectors>(v: V, bytes: &[u8; LANES]) -> [V::I32; 2] {
    let bytes = v.load_u8(bytes);
    [v.and_i32(bytes, v.splat_i32(15)), v.shift_right_logical(bytes, v.splat_i32(4))]
}

/// Writes codes of four bits.
#[inline(always)]
pub(super) fn store_nibbles<V: BlockVectors>(v: V, [low, high]: [V::I32; 2], bytes: &mut [u8; LANES]) {
    v.store_u8(v.xor_i32(low, v.shift_left::<4>(high)), bytes);
}

/// The codes of four bits less their zero point.
#[inline(always)]
fn split_nibbles(bytes: &[u8; LANES], zero_point: i8) -> [[i8; LANES]; 2] {
    let mut codes = [[0; LANES]; 2];
    for j in 0..LANES {
        (codes[0][j], codes[1][j]) = ((bytes[j] & 15) as i8 - zero_point, (bytes[j] >> 4) as i8 - zero_point);
    }
    codes
}

/// The indices of lanes.
#[inline(always)]
fn indices<V: BlockVectors>(v: V) -> V::I32 {
    const INDICES: [i32; LANES] = {
        let mut indices = [0; LANES];
        let mut i = 0;
        while i < LANES {
            indices[i] = i as i32;
            i += 1;
        }
        indices
    };
    v.load_i32(&INDICES)
}

/// The codes of five bits.
#[inline(always)]
fn five_bits<V: BlockVectors>(v: V, bytes: &[u8; FIVE_BITS]) -> [V::I32; 2] {
    let [b0, b1, b2, b3, bytes @ ..] = bytes;
    let bits = i32::from_le_bytes([*b0, *b1, *b2, *b3]);
    let (mut codes, one) = (nibbles(v, bytes), v.splat_i32(1));
    for k in 0..2 {
        let fifth = v.and_i32(v.shift_right(v.splat_i32(bits >> (LANES * k)), indices(v)), one);
        codes[k] = v.xor_i32(codes[k], v.shift_left::<4>(fifth));
    }
    codes
}

/// Writes codes of five bits.
#[inline(always)]
fn store_five_bits<V: BlockVectors>(v: V, codes: [V::I32; 2], bytes: &mut [u8; FIVE_BITS]) {
    const POWERS: [i32; LANES] = {
        let mut powers = [0; LANES];
        let mut i = 0;
        while i < LANES {
            powers[i] = 1 << i;
            i += 1;
        }
        powers
    };
    let [b0, b1, b2, b3, bytes @ ..] = bytes;
    let (four, fifteen, powers) = (v.splat_i32(4), v.splat_i32(15), v.load_i32(&POWERS));
    let fifth = v.add_i32(
        v.mul_i32(v.shift_right(codes[0], four), powers),
        v.shift_left::<16>(v.mul_i32(v.shift_right(codes[1], four), powers)),
    );
    // (Every bit is of one lane, so that their sum is all of them.)
    [*b0, *b1, *b2, *b3] = v.sum_i32(fifth).to_le_bytes();
    store_nibbles(v, [v.and_i32(codes[0], fifteen), v.and_i32(codes[1], fifteen)], bytes);
}

/// The codes of five bits less their zero point.
#[inline(always)]
fn split_five_bits(bytes: &[u8; FIVE_BITS], zero_point: i8) -> [[i8; LANES]; 2] {
    let [b0, b1, b2, b3, bytes @ ..] = bytes;
    let bits = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
    let mut codes = split_nibbles(bytes, zero_point);
    for (i, code) in codes.as_flattened_mut().iter_mut().enumerate() {
        *code += (bits >> i & 1) as i8 * 16;
    }
    codes
}
