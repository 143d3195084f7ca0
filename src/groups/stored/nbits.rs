//! Weights of ONNX's `MatMulNBits`: `[N, blocks of K, bytes]`, the first code in the lowest bits of a byte.

use super::{Stored, StoredWeights, bits_of, widened};
use crate::codes::{CodeBounds, CodeRange};
use crate::error::{Error, check_length, elements_of};
use crate::groups::weights::Coding;

/// The attributes and inputs of a `MatMulNBits`, as [`StoredWeights::matmul_nbits`] takes them.
#[derive(Clone, PartialEq, Debug)]
pub struct MatMulNBits {
    /// The attribute `bits`: 2, 4 or 8.
    pub bits: u32,
    /// The attribute `block_size`: a power of two.
    pub block_size: usize,
    /// The input `B`, `[N, blocks, block_size · bits / 8]`; zeros pad a last block.
    pub codes: Vec<u8>,
    /// The input `scales`, `[N, blocks]`.
    pub scales: Vec<f32>,
    /// The input `zero_points`, `[N, blocks · bits / 8 rounded up]`; none where all are the middle code.
    pub zero_points: Option<Vec<u8>>,
}

impl StoredWeights {
    /// These weights for a `MatMulNBits` of another program: codes of 3 bits in 4, of 5 to 7 in 8, without a sign.
    ///
    /// ```
    /// use zeropoint::groups::{GroupScheme, StoredWeights};
    /// use zeropoint::{Exec, Matrix};
    /// let w: Vec<f32> = (0..2 * 64).map(|i| (i as f32).sin()).collect();
    /// let w = StoredWeights::quantize(Exec::best()?, Matrix::new(&w, 2, 64)?, GroupScheme::symmetric(4, 32)?)?;
    /// let onnx = w.to_matmul_nbits()?;
    /// assert_eq!((onnx.bits, onnx.block_size, onnx.codes.len(), onnx.scales.len()), (4, 32, 2 * 32, 2 * 2));
    /// assert_eq!(onnx.zero_points, None);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] of weights that a `MatMulNBits` cannot have: with real offsets, in another order than that of the
    /// activations, floats, with zero points that are no codes, or in groups of another length than a power of two.
    pub fn to_matmul_nbits(&self) -> Result<MatMulNBits, Error> {
        let refused = |why, found| Err(Error::Shape { why, found });
        let Coding::Integers(_, CodeBounds { max, .. }) = self.coding else {
            return refused("floats are no codes of MatMulNBits", 4);
        };
        if self.offsets.is_some() {
            return refused("MatMulNBits has no real offsets", self.scales.reals().len());
        }
        if self.order.is_some() {
            return refused("MatMulNBits has its weights in order", self.depth);
        }
        // A single block may be padded to any length.
        let blocks = self.depth.div_ceil(self.length.max(1));
        let block_size = if blocks > 1 { self.length } else { self.depth.next_power_of_two().max(16) };
        if !block_size.is_power_of_two() {
            return refused("the length of a block is no power of two", block_size);
        }
        let bits = (32 - max.leading_zeros()).max(2).next_power_of_two();
        let largest = (1 << bits) - 1;
        if let Some(index) = self.zero_points.iter().position(|&point| !(0..=largest).contains(&point)) {
            return refused("the zero point of this group is no code", index);
        }
        // Each row of codes begins a byte.
        let pack = |codes: &mut dyn Iterator<Item = i32>, bytes: usize, packed: &mut Vec<u8>| {
            let start = packed.len();
            packed.resize(start + bytes, 0);
            for (i, code) in codes.enumerate() {
                let bit = i * bits as usize;
                packed[start + bit / 8] |= (code << (bit % 8)) as u8;
            }
        };
        let (mut codes, mut zero_points) = (Vec::new(), Vec::new());
        for row in self.codes.chunks(self.depth.max(1)) {
            let values = &mut row.iter().map(|&code| self.coding.value(code));
            pack(values, blocks * block_size * bits as usize / 8, &mut codes);
        }
        let is_middle = |&point: &i32| point == 1 << (bits - 1);
        let default = self.zero_points.iter().all(is_middle);
        for row in self.zero_points.chunks(blocks.max(1)).take(if default { 0 } else { self.outputs }) {
            pack(&mut row.iter().copied(), (blocks * bits as usize).div_ceil(8), &mut zero_points);
        }
        let zero_points = (!default).then_some(zero_points);
        Ok(MatMulNBits { bits, block_size, codes, scales: widened(&self.scales), zero_points })
    }

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
        for row in bytes.chunks_exact(elements_of(&[blocks, length / sharing]).max(1)) {
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
