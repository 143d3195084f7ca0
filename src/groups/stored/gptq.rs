//! Weights of GPTQ, as AutoGPTQ and its heirs store four bits: eight codes of a column in an i32, the first in its lowest bits.

use super::{Stored, StoredWeights, bits_of, check_by_groups, transposed, word_of};
use crate::codes::CodeRange;
use crate::error::{Error, check_length, elements_of};
use crate::groups::weights::Coding;

/// The tensors of a four-bit linear layer of GPTQ, as [`StoredWeights::gptq`] takes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gptq {
    /// `group_size` of the layer's configuration.
    pub group_size: usize,
    /// `[depth / 8, outputs]`
    pub qweight: Vec<i32>,
    /// `[groups, outputs / 8]`: zero points less one.
    pub qzeros: Vec<i32>,
    /// The bits of f16, `[groups, outputs]`.
    pub scales: Vec<u16>,
    /// `[depth]`: the group of every k.
    pub g_idx: Vec<i32>,
}

impl StoredWeights {
    /// These weights as a four-bit linear layer of GPTQ keeps them.
    ///
    /// ```
    /// use zeropoint::groups::{GroupScheme, StoredWeights};
    /// use zeropoint::{Exec, Matrix};
    /// let w: Vec<f32> = (0..8 * 64).map(|i| (i as f32).sin()).collect(); // 8 outputs of depth 64
    /// let scheme = GroupScheme::symmetric(4, 32)?.f16_scales();
    /// let w = StoredWeights::quantize(Exec::best()?, Matrix::new(&w, 8, 64)?, scheme)?;
    /// let gptq = w.to_gptq()?;
    /// assert_eq!((gptq.qweight.len(), gptq.qzeros.len(), gptq.scales.len()), (64 / 8 * 8, 2, 2 * 8));
    /// let back = StoredWeights::gptq(32, &gptq.qweight, &gptq.qzeros, &gptq.scales, Some(&gptq.g_idx), [8, 64])?;
    /// assert_eq!(back.values(), w.values());
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] of weights that such a layer cannot have: codes of more than four bits, real offsets, scales that are
    /// not f16, zero points outside 1…16; [`Error::Multiple`] unless depth and outputs are multiples of 8.
    pub fn to_gptq(&self) -> Result<Gptq, Error> {
        if !self.depth.is_multiple_of(8) {
            return Err(Error::Multiple { what: "the depth", unit: 8, found: self.depth });
        }
        let (outputs, scales) = (self.outputs, self.four_bits(1)?);
        let mut places: Vec<usize> = (0..self.depth).collect();
        for (place, &k) in self.order.iter().flatten().enumerate() {
            places[k as usize] = place;
        }
        let code = |output: usize, k: usize| self.codes[output * self.depth + places[k]];
        let words = (0..self.depth / 8 * outputs).map(|i| word_of(|j| code(i % outputs, i / outputs * 8 + j)));
        let zero_points = transposed(&self.zero_points, outputs, self.groups());
        let qzeros = zero_points.as_chunks::<8>().0.iter().map(|zeros| word_of(|j| (zeros[j] - 1) as u8));
        Ok(Gptq {
            group_size: self.length,
            qweight: words.collect(),
            qzeros: qzeros.collect(),
            scales,
            g_idx: places.iter().map(|place| (place / self.length) as i32).collect(),
        })
    }

    /// Four-bit weights of GPTQ: `qweight` `[depth / 8, outputs]`, `qzeros` `[groups, outputs / 8]` that are one less than the
    /// zero points, f16 `scales` `[groups, outputs]`, and with activation order `g_idx` `[depth]`, the group of every k: `length`
    /// of each group. Activations are brought to the order of groups in the product.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the length is a multiple of 16 or the depth, or for groups of other lengths in `g_idx`;
    /// [`Error::Multiple`] unless depth and outputs are multiples of 8; [`Error::Length`].
    pub fn gptq(
        length: usize,
        qweight: &[i32],
        qzeros: &[i32],
        scales: &[u16],
        g_idx: Option<&[i32]>,
        [outputs, depth]: [usize; 2],
    ) -> Result<Self, Error> {
        if !depth.is_multiple_of(8) {
            return Err(Error::Multiple { what: "the depth", unit: 8, found: depth });
        }
        let groups = check_by_groups(outputs, depth, length, scales, qzeros)?;
        check_length("the codes", elements_of(&[depth / 8, outputs]), qweight.len())?;
        let order = g_idx.map(|g_idx| order_of(g_idx, length, depth)).transpose()?.flatten();
        let code = |output: usize, k: usize| (qweight[k / 8 * outputs + output] >> (k % 8 * 4) & 15) as u8;
        let mut codes = Vec::with_capacity(qweight.len() * 8);
        for i in 0..qweight.len() * 8 {
            let k = order.as_ref().map_or(i % depth, |order| order[i % depth] as usize);
            codes.push(code(i / depth, k));
        }
        let zero_points: Vec<i32> =
            qzeros.iter().flat_map(|&word| bits_of(word.cast_unsigned(), 4).map(|zero| i32::from(zero) + 1)).collect();
        Ok(StoredWeights {
            outputs,
            depth,
            codes,
            coding: Coding::of(CodeRange::unsigned(4)?),
            length,
            scales: Stored::F16(transposed(scales, groups, outputs)),
            zero_points: transposed(&zero_points, groups, outputs),
            offsets: None,
            order,
        })
    }
}

/// The k of every place, group by group; those of a group in their own order. None where that is the order of the depth.
fn order_of(g_idx: &[i32], length: usize, depth: usize) -> Result<Option<Vec<u32>>, Error> {
    check_length("the groups of the depth", depth, g_idx.len())?;
    let mut order: Vec<u32> = (0..depth as u32).collect();
    order.sort_by_key(|&k| g_idx[k as usize]);
    for (place, &k) in order.iter().enumerate() {
        if g_idx[k as usize] != (place / length) as i32 {
            return Err(Error::Shape { why: "a group of g_idx has another length", found: k as usize });
        }
    }
    Ok((!order.is_sorted()).then_some(order))
}
