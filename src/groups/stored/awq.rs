//! Weights of AWQ, as AutoAWQ stores four bits: eight outputs of a row in an i32, first the even ones, then the odd ones.

use super::{Stored, StoredWeights, bits_of, check_by_groups, transposed, word_of};
use crate::codes::CodeRange;
use crate::error::{Error, check_length, elements_of};
use crate::groups::weights::Coding;

/// The outputs of an i32, from its lowest bits on.
const OUTPUTS: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// The tensors of a linear layer of AWQ, as [`StoredWeights::awq`] takes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Awq {
    /// `group_size` of the layer's configuration.
    pub group_size: usize,
    /// `[depth, outputs / 8]`
    pub qweight: Vec<i32>,
    /// `[groups, outputs / 8]`
    pub qzeros: Vec<i32>,
    /// The bits of f16, `[groups, outputs]`.
    pub scales: Vec<u16>,
}

impl StoredWeights {
    /// These weights as a four-bit linear layer of AWQ keeps them.
    ///
    /// ```
    /// use zeropoint::groups::{GroupScheme, StoredWeights};
    /// use zeropoint::{Exec, Matrix};
    /// let w: Vec<f32> = (0..8 * 64).map(|i| (i as f32).sin()).collect(); // 8 outputs of depth 64
    /// let scheme = GroupScheme::with_zero_points(4, 32)?.f16_scales();
    /// let w = StoredWeights::quantize(Exec::best()?, Matrix::new(&w, 8, 64)?, scheme)?;
    /// let awq = w.to_awq()?;
    /// let back = StoredWeights::awq(32, &awq.qweight, &awq.qzeros, &awq.scales, [8, 64])?;
    /// assert_eq!(back.values(), w.values());
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] of weights that such a layer cannot have: codes of more than four bits, real offsets, scales that are
    /// not f16, zero points outside 0…15, another order than that of the activations; [`Error::Multiple`] unless outputs
    /// are a multiple of 8.
    pub fn to_awq(&self) -> Result<Awq, Error> {
        if self.order.is_some() {
            return Err(Error::Shape { why: "AWQ has its weights in order", found: self.depth });
        }
        let scales = self.four_bits(0)?;
        let codes = transposed(&self.codes, self.outputs, self.depth);
        let zero_points = transposed(&self.zero_points, self.outputs, self.groups());
        let qweight = codes.as_chunks::<8>().0.iter().map(|codes| word_of(|i| codes[OUTPUTS[i]]));
        let qzeros = zero_points.as_chunks::<8>().0.iter().map(|zeros| word_of(|i| zeros[OUTPUTS[i]] as u8));
        Ok(Awq { group_size: self.length, qweight: qweight.collect(), qzeros: qzeros.collect(), scales })
    }

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
