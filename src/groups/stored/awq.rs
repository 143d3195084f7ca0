//! Weights of AWQ, as AutoAWQ stores four bits: eight outputs of a row in an i32, first the even ones, then the odd ones.

use super::{Stored, StoredWeights, bits_of, check_by_groups, transposed};
use crate::codes::CodeRange;
use crate::error::{Error, check_length, elements_of};
use crate::groups::weights::Coding;

/// The outputs of an i32, from its lowest bits on.
const OUTPUTS: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

impl StoredWeights {
    /// Four-bit weights of AWQ: `qweight` `[depth, outputs / 8]`, `qzeros` `[groups, outputs / 8]` and f16 `scales`
    /// `[groups, outputs]`, for groups of `length` along the depth.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the length is a multiple of 16 or the depth; [`Error::Multiple`] unless outputs are a multiple of
    /// 8; [`Error::Length`].
    pub fn awq(
        length: usize,
        qweight: &[i32],
        qzeros: &[i32],
        scales: &[u16],
        [outputs, depth]: [usize; 2],
    ) -> Result<Self, Error> {
        let groups = check_by_groups(outputs, depth, length, scales, qzeros)?;
        check_length("the codes", elements_of(&[depth, outputs / 8]), qweight.len())?;
        let zero_points: Vec<i32> = unpacked(qzeros).into_iter().map(i32::from).collect();
        Ok(StoredWeights {
            outputs,
            depth,
            codes: transposed(&unpacked(qweight), depth, outputs),
            coding: Coding::of(CodeRange::unsigned(4)?),
            length,
            scales: Stored::F16(transposed(scales, groups, outputs)),
            zero_points: transposed(&zero_points, groups, outputs),
            offsets: None,
            order: None,
        })
    }
}

/// The codes of packed words, in order of the outputs.
fn unpacked(words: &[i32]) -> Vec<u8> {
    let mut codes = vec![0; words.len() * 8];
    for (word, codes) in words.iter().zip(codes.chunks_exact_mut(8)) {
        for (code, output) in bits_of(word.cast_unsigned(), 4).zip(OUTPUTS) {
            codes[output] = code;
        }
    }
    codes
}
