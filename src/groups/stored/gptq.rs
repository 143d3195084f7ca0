//! Weights of GPTQ, as AutoGPTQ and its heirs store four bits: eight codes of a column in an i32, the first in its lowest bits.

use super::{Stored, StoredWeights, bits_of, check_by_groups, transposed};
use crate::codes::CodeRange;
use crate::error::{Error, check_length, elements_of};
use crate::groups::weights::Coding;

impl StoredWeights {
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
        let order = g_idx.map(|g_idx| order_of(g_idx, length, depth)).transpose()?;
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

/// The k of every place, group by group; those of a group in their own order.
fn order_of(g_idx: &[i32], length: usize, depth: usize) -> Result<Vec<u32>, Error> {
    check_length("the groups of the depth", depth, g_idx.len())?;
    let mut order: Vec<u32> = (0..depth as u32).collect();
    order.sort_by_key(|&k| g_idx[k as usize]);
    for (place, &k) in order.iter().enumerate() {
        if g_idx[k as usize] != (place / length) as i32 {
            return Err(Error::Shape { why: "a group of g_idx has another length", found: k as usize });
        }
    }
    Ok(order)
}
