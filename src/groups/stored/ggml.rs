//! Blocks of ggml.
//!
//! | type | values | bytes | layout | value |
//! |---|---|---|---|---|
//! | Q4_0 | 32 | 18 | d, 16 × u8 | `(q − 8) · d`; byte j has value j low, j + 16 high |
//! | Q4_1 | 32 | 20 | d, m, 16 × u8 | `q · d + m` |
//! | Q5_0 | 32 | 22 | d, u32 with bit 4 of every code, 16 × u8 | `(q − 16) · d` |
//! | Q5_1 | 32 | 24 | d, m, u32 with bit 4 of every code, 16 × u8 | `q · d + m` |
//! | Q8_0 | 32 | 34 | d, 32 × i8 | `q · d` |
//! | Q2_K | 256 | 84 | 16 × (4 bits s, 4 bits m), 64 × u8, d, dmin | `q · (d · s) − dmin · m`, by groups of 16 |
//! | Q4_K | 256 | 144 | d, dmin, 8 × (6 bits s, 6 bits m), 128 × u8 | `q · (d · s) − dmin · m`, by groups of 32 |
//! | Q5_K | 256 | 176 | as Q4_K, with 32 × u8 of bit 4 before the low bits | as Q4_K |
//! | Q6_K | 256 | 210 | 128 × low 4 bits, 64 × high 2 bits, 16 × i8 s, d | `(q − 32) · (d · s)`, by groups of 16 |
//! | MXFP4 | 32 | 17 | e, 16 × u8 | `v · 2^(e − 128)` |
//! | NVFP4 | 64 | 36 | 4 × e4m3, 32 × u8 | `v · e4m3 / 2`, by groups of 16; byte j of a group has value j low, j + 8 high |
//!
//! v is E2M1 doubled, an integer of −12 … 12, so that its products are exact: 12 is added to make it a code. (These take eight
//! bits in panels.)
//!
//! d, m and dmin are f16, little-endian. The products of d or dmin with s or m have at most 19 bits: f32 has them exactly.

use super::{Stored, StoredWeights};
use crate::codes::CodeRange;
use crate::error::{Error, check_length, elements_of};
use crate::half::f16::from_half;

/// The types of ggml's blocks that weights are read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
#[allow(non_camel_case_types, reason = "the names that ggml gives them")]
pub enum GgmlType {
    /// Four bits, symmetric.
    Q4_0,
    /// Four bits and an offset.
    Q4_1,
    /// Five bits, symmetric.
    Q5_0,
    /// Five bits and an offset.
    Q5_1,
    /// Eight bits, symmetric.
    Q8_0,
    /// Two bits and an offset, whose scales have four bits.
    Q2_K,
    /// Four bits and an offset, whose scales have six bits.
    Q4_K,
    /// Five bits and an offset, whose scales have six bits.
    Q5_K,
    /// Six bits, symmetric, whose scales have eight bits.
    Q6_K,
    /// OCP Microscaling FP4: E2M1 with a power of two.
    MXFP4,
    /// E2M1 with a scale of E4M3. The scale of the tensor, which files keep apart, is not in it.
    NVFP4,
}

impl GgmlType {
    /// All types.
    pub const ALL: [GgmlType; 11] = [
        GgmlType::Q4_0,
        GgmlType::Q4_1,
        GgmlType::Q5_0,
        GgmlType::Q5_1,
        GgmlType::Q8_0,
        GgmlType::Q2_K,
        GgmlType::Q4_K,
        GgmlType::Q5_K,
        GgmlType::Q6_K,
        GgmlType::MXFP4,
        GgmlType::NVFP4,
    ];

    /// Values of a block.
    #[must_use]
    pub const fn block_length(self) -> usize {
        match self {
            GgmlType::Q2_K | GgmlType::Q4_K | GgmlType::Q5_K | GgmlType::Q6_K => 256,
            GgmlType::NVFP4 => 64,
            _ => 32,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            GgmlType::Q4_0 => 18,
            GgmlType::Q4_1 => 20,
            GgmlType::Q5_0 => 22,
            GgmlType::Q5_1 => 24,
            GgmlType::Q8_0 => 34,
            GgmlType::Q2_K => 84,
            GgmlType::Q4_K => 144,
            GgmlType::Q5_K => 176,
            GgmlType::Q6_K => 210,
            GgmlType::MXFP4 => 17,
            GgmlType::NVFP4 => 36,
        }
    }

    /// The largest code, the codes of a group, and the zero point; none of a type with offsets.
    const fn codes(self) -> (u8, usize, Option<i32>) {
        match self {
            GgmlType::Q4_0 => (15, 32, Some(8)),
            GgmlType::Q5_0 => (31, 32, Some(16)),
            GgmlType::Q8_0 => (255, 32, Some(128)),
            GgmlType::Q4_1 | GgmlType::Q4_K => (15, 32, None),
            GgmlType::Q5_1 | GgmlType::Q5_K => (31, 32, None),
            GgmlType::Q2_K => (3, 16, None),
            GgmlType::Q6_K => (63, 16, Some(32)),
            GgmlType::MXFP4 => (24, 32, Some(12)),
            GgmlType::NVFP4 => (24, 16, Some(12)),
        }
    }
}

/// What a block is taken apart into.
#[derive(Default)]
struct Parts {
    codes: Vec<u8>,
    halves: Vec<u16>,
    /// Scales, where they are products.
    products: Vec<f32>,
    half_offsets: Vec<u16>,
    product_offsets: Vec<f32>,
}

impl StoredWeights {
    /// Blocks of ggml, row after row of `depth` values, as its files have a matrix of `outputs` rows.
    ///
    /// # Errors
    /// [`Error::Multiple`] when the depth is not whole blocks; [`Error::Length`] of the bytes.
    pub fn ggml(ggml: GgmlType, bytes: &[u8], outputs: usize, depth: usize) -> Result<Self, Error> {
        if !depth.is_multiple_of(ggml.block_length()) {
            return Err(Error::Multiple { what: "the depth", unit: ggml.block_length(), found: depth });
        }
        let blocks = elements_of(&[outputs, depth / ggml.block_length()]);
        check_length("the blocks", elements_of(&[blocks, ggml.block_bytes()]), bytes.len())?;
        let mut parts = Parts::default();
        for block in bytes.chunks_exact(ggml.block_bytes()) {
            parts.take_apart(ggml, block);
        }
        let (largest, length, zero_point) = ggml.codes();
        let scales = if parts.products.is_empty() { Stored::F16(parts.halves) } else { Stored::F32(parts.products) };
        let offsets = if parts.product_offsets.is_empty() {
            Stored::F16(parts.half_offsets)
        } else {
            Stored::F32(parts.product_offsets)
        };
        let groups = parts.codes.len() / length;
        Ok(StoredWeights {
            outputs,
            depth,
            codes: parts.codes,
            range: CodeRange::new(0, largest)?,
            length,
            scales,
            zero_points: zero_point.map_or_else(Vec::new, |zero_point| vec![zero_point; groups]),
            offsets: zero_point.is_none().then_some(offsets),
            order: None,
        })
    }
}

/// The f16 at an index, in bytes.
fn half(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

impl Parts {
    fn take_apart(&mut self, ggml: GgmlType, block: &[u8]) {
        match ggml {
            GgmlType::Q4_0 => self.nibbles(&block[2..], [0; 4]),
            GgmlType::Q4_1 => self.nibbles(&block[4..], [0; 4]),
            GgmlType::Q5_0 => self.nibbles(&block[6..], [block[2], block[3], block[4], block[5]]),
            GgmlType::Q5_1 => self.nibbles(&block[8..], [block[4], block[5], block[6], block[7]]),
            GgmlType::Q8_0 => self.codes.extend(block[2..].iter().map(|code| code ^ 0x80)),
            GgmlType::Q2_K => return self.q2_k(block),
            GgmlType::Q4_K => return self.q4_k(block, &block[16..], &[0; 32]),
            GgmlType::Q5_K => return self.q4_k(block, &block[48..], &block[16..48]),
            GgmlType::Q6_K => return self.q6_k(block),
            GgmlType::MXFP4 => return self.mxfp4(block),
            GgmlType::NVFP4 => return self.nvfp4(block),
        }
        self.halves.push(half(block, 0));
        if matches!(ggml, GgmlType::Q4_1 | GgmlType::Q5_1) {
            self.half_offsets.push(half(block, 2));
        }
    }

    /// Codes whose low four bits are in sixteen bytes, and bit 4 in 32 bits.
    fn nibbles(&mut self, bytes: &[u8], fifth: [u8; 4]) {
        let fifth = u32::from_le_bytes(fifth);
        for j in 0..32 {
            let low = bytes[j % 16] >> (j / 16 * 4) & 15;
            self.codes.push(low | ((fifth >> j & 1) as u8) << 4);
        }
    }

    fn q2_k(&mut self, block: &[u8]) {
        let (d, dmin) = (from_half(half(block, 80)), from_half(half(block, 82)));
        self.products.extend(block[..16].iter().map(|scale| d * f32::from(scale & 15)));
        self.product_offsets.extend(block[..16].iter().map(|min| -(dmin * f32::from(min >> 4))));
        for k in 0..256 {
            self.codes.push(block[16 + k / 128 * 32 + k % 32] >> (k / 32 % 4 * 2) & 3);
        }
    }

    /// Codes of four bits, or of five whose bit 4 is elsewhere, group by group in the bits of a byte.
    fn q4_k(&mut self, block: &[u8], low: &[u8], fifth: &[u8]) {
        let (d, dmin) = (from_half(half(block, 0)), from_half(half(block, 2)));
        let packed = &block[4..16];
        for g in 0..8 {
            // Six bits each: of the first four groups in one byte, of the others in four bits and the two that those leave.
            let (scale, min) = if g < 4 {
                (packed[g] & 63, packed[g + 4] & 63)
            } else {
                let low = packed[g + 4];
                (low & 15 | packed[g - 4] >> 6 << 4, low >> 4 | packed[g] >> 6 << 4)
            };
            self.products.push(d * f32::from(scale));
            self.product_offsets.push(-(dmin * f32::from(min)));
            let codes = low[g / 2 * 32..].iter().zip(fifth);
            self.codes.extend(codes.map(|(low, fifth)| low >> (g % 2 * 4) & 15 | (fifth >> g & 1) << 4));
        }
    }

    fn q6_k(&mut self, block: &[u8]) {
        let d = from_half(half(block, 208));
        self.products.extend(block[192..208].iter().map(|&scale| d * f32::from(scale.cast_signed())));
        for k in 0..256 {
            let (half, quarter, j) = (k / 128, k / 32 % 4, k % 32);
            let low = block[half * 64 + quarter % 2 * 32 + j] >> (quarter / 2 * 4) & 15;
            let high = block[128 + half * 32 + j] >> (2 * quarter) & 3;
            self.codes.push(low | high << 4);
        }
    }

    fn mxfp4(&mut self, block: &[u8]) {
        // 2^(e − 128), which is subnormal for the smallest two.
        let bits = if block[0] < 2 { 1 << (21 + block[0]) } else { u32::from(block[0] - 1) << 23 };
        self.products.push(f32::from_bits(bits));
        self.doubled(&block[1..]);
    }

    fn nvfp4(&mut self, block: &[u8]) {
        for (&scale, bytes) in block[..4].iter().zip(block[4..].chunks(8)) {
            // Without a sign. The largest pattern is no number, which ggml takes for 0.
            let (exponent, mantissa) = (i32::from(scale >> 3 & 15), f32::from(scale & 7));
            let scale = match scale & 127 {
                127 => 0.0,
                0..8 => mantissa / 512.0,
                _ => (8.0 + mantissa) / 8.0 * 2_f32.powi(exponent - 7),
            };
            self.products.push(scale / 2.0);
            self.doubled(bytes);
        }
    }

    /// Values of E2M1, all low ones first.
    fn doubled(&mut self, bytes: &[u8]) {
        const MAGNITUDES: [u8; 8] = [0, 1, 2, 3, 4, 6, 8, 12];
        let code = |nibble: u8| {
            let magnitude = MAGNITUDES[usize::from(nibble & 7)];
            if nibble & 8 == 0 { 12 + magnitude } else { 12 - magnitude }
        };
        self.codes.extend(bytes.iter().map(|byte| code(byte & 15)));
        self.codes.extend(bytes.iter().map(|byte| code(byte >> 4)));
    }
}
