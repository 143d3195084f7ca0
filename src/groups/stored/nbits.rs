//! Weights of ONNX's `MatMulNBits`: `[N, blocks of K, bytes]`, the first code in the lowest bits of a byte.

use super::{Stored, StoredWeights, bits_of};
use crate::codes::CodeRange;
use crate::error::{Error, check_length, elements_of};
use crate::groups::weights::Coding;

impl StoredWeights {
    /// Weights of `MatMulNBits`: codes of 2, 4 or 8 bits, `[outputs, blocks, length · bits / 8]`, where `blocks` is
    /// `depth / length`, rounded up, and the last block is padded; f32 scales `[outputs, blocks]`; and zero points that are packed
    /// as codes are, every output in whole bytes, or the middle code 2ᵇⁱᵗˢ⁻¹.
    ///
    /// # Errors
    /// [`Error::Bits`]; [`Error::Shape`] unless the length is a multiple of 16; [`Error::Length`].
    pub fn matmul_nbits(
        bits: u32,
        length: usize,
        bytes: &[u8],
        scales: &[f32],
        zero_points: Option<&[u8]>,
        [outputs, depth]: [usize; 2],
    ) -> Result<Self, Error> {
        if !matches!(bits, 2 | 4 | 8) {
            return Err(Error::Bits { bits, most: 8 });
        }
        if length == 0 || !length.is_multiple_of(16) {
            return Err(Error::Shape { why: "the length of a block is not a multiple of 16", found: length });
        }
        let (blocks, sharing) = (depth.div_ceil(length), 8 / bits as usize);
        check_length("the codes", elements_of(&[outputs, blocks, length / sharing]), bytes.len())?;
        check_length("the scales", elements_of(&[outputs, blocks]), scales.len())?;
        let codes_of = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().flat_map(|&byte| bits_of(byte.into(), bits).take(sharing)).collect()
        };
        // (Rows of nothing may be of any number.)
        let rows = if blocks == 0 { 0 } else { outputs };
        let mut codes = Vec::with_capacity(rows * depth);
        for row in bytes.chunks_exact((blocks * length / sharing).max(1)) {
            codes.extend_from_slice(&codes_of(row)[..depth]);
        }
        let zero_points = match zero_points {
            None => vec![1 << (bits - 1); rows * blocks],
            Some(packed) => {
                let bytes = blocks.div_ceil(sharing);
                check_length("the zero points", elements_of(&[outputs, bytes]), packed.len())?;
                let rows = packed.chunks_exact(bytes.max(1));
                rows.flat_map(|row| codes_of(row).into_iter().take(blocks).map(i32::from)).collect()
            }
        };
        Ok(StoredWeights {
            outputs,
            depth,
            codes,
            coding: Coding::of(CodeRange::unsigned(bits)?),
            length,
            scales: Stored::F32(scales.to_vec()),
            zero_points,
            offsets: None,
            order: None,
        })
    }
}
