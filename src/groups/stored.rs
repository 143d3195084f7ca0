//! Weights as other programs store them, taken apart into what [`Weights`] are made of.
//!
//! | layout | bits | groups | besides a scale |
//! |---|---|---|---|
//! | [block formats](StoredWeights::from_format) Q4_0, Q5_0, Q8_0, MXINT8 | 4, 5, 8, 8 | 32 | the middle code is 0 |
//! | Q4_1, Q5_1, Q4_K, Q5_K | 4, 5, 4, 5 | 32 | a real offset |
//! | Q2_K | 2 | 16 | a real offset |
//! | Q6_K | 6 | 16 | the middle code is 0 |
//! | MXFP4, NVFP4 | 4, E2M1 | 32, 16 | |
//! | [ONNX `MatMulNBits`](StoredWeights::matmul_nbits), [and back](StoredWeights::to_matmul_nbits) | 2, 4, 8 | 16, 32, … | a zero point, or the middle code |
//! | [GPTQ](StoredWeights::gptq), [and back](StoredWeights::to_gptq) | 4 | any, also of weights that are not neighbours | a zero point |
//! | [AWQ](StoredWeights::awq), [and back](StoredWeights::to_awq) | 4 | any | a zero point |
//! | [this crate](StoredWeights::quantize), of f32 weights | 2 to 8 | any | a zero point, or the middle code |
//!
//! Each layout is one file's.

pub(super) mod awq;
mod blocks;
pub(super) mod gptq;
pub(super) mod nbits;
pub(super) mod quantized;

use super::reals::{Reals, Values};
use super::weights::{Coding, Weights, check_group_length};
use crate::codes::CodeBounds;
use crate::error::{Error, check_length, elements_of};
use crate::formats::nvfp4::half_scale;
use crate::formats::powers::power;
use crate::half::Halves;
use crate::matrix::Matrix;
use crate::sign::Sign;

/// Weights `[N, K]` of another program's layout, or [quantized](StoredWeights::quantize) here, as codes without a sign or
/// E2M1, scales, and zero points or real offsets.
///
/// ```
/// use zeropoint::formats::BlockFormat;
/// use zeropoint::groups::{Activations, PackedWeights, RealStage, StoredWeights, matmul};
/// use zeropoint::{Exec, Matrix, Scheme};
/// // One block of Q4_1: d = 0.5, m = −1, and the codes 0, 1, 2, … 15, twice.
/// let mut block = vec![0x00, 0x38, 0x00, 0xbc];
/// block.extend((0..16).map(|code| code | code << 4));
/// let exec = Exec::best()?;
/// let weights = StoredWeights::from_format(exec, BlockFormat::Q4_1, &block, 1, 32)?;
/// let packed = PackedWeights::pack(exec, &weights.weights())?;
/// let x = [1.0; 32];
/// let mut out = [0.0];
/// let x = Activations::reals(Matrix::new(&x, 1, 32)?, Scheme::SYMMETRIC);
/// matmul(exec, &x, &packed, &RealStage::new(), &mut out)?;
/// assert!((out[0] - (0.5 * 240.0 - 32.0)).abs() < 1e-4);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StoredWeights {
    outputs: usize,
    depth: usize,
    /// `[outputs, depth]`
    codes: Vec<u8>,
    coding: Coding,
    /// Codes of a group.
    length: usize,
    scales: Stored,
    /// One for every group, `[outputs, groups]`.
    zero_points: Vec<i32>,
    offsets: Option<Stored>,
    /// The places that the codes of a row have in a row of activations, unless they are in order.
    order: Option<Vec<u32>>,
}

/// Values `[outputs, groups]`.
#[derive(Clone, Debug)]
enum Stored {
    F32(Vec<f32>),
    F16(Vec<u16>),
    /// Powers of two, `2^(E − 127 − point)`; 255 is NaN.
    E8m0 {
        exponents: Vec<u8>,
        point: i32,
    },
    /// Half of an E4M3, times the scale of the tensor.
    E4m3 {
        patterns: Vec<u8>,
        tensor_scale: f32,
    },
}

impl Stored {
    fn reals(&self) -> Reals<'_> {
        match self {
            Stored::F32(values) => values.into(),
            Stored::F16(bits) => Halves::f16(bits).into(),
            Stored::E8m0 { exponents, point } => Reals(Values::E8m0 { exponents, point: *point }),
            Stored::E4m3 { patterns, tensor_scale } => Reals(Values::E4m3 { patterns, tensor_scale: *tensor_scale }),
        }
    }
}

impl StoredWeights {
    /// The weights, to be packed.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        let parts = || {
            let codes = Matrix::new(&self.codes, self.outputs, self.depth)?;
            let weights = Weights::erased(codes, false, self.coding, self.length, self.scales.reals())?;
            let weights = match &self.offsets {
                Some(offsets) => weights.with_offsets(offsets.reals())?,
                None => weights.with_zero_points(&self.zero_points)?,
            };
            Ok::<_, Error>(Weights { order: self.order.as_deref(), ..weights })
        };
        parts().expect("the parts were made for each other")
    }

    /// The real value of every weight, `[outputs, depth]`: `S · (q − Z)`, or `S · q + B` with each product and sum rounded
    /// once.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        let groups = self.groups();
        let scales = widened(&self.scales);
        let offsets = self.offsets.as_ref().map(widened);
        let mut values = vec![0.0; self.codes.len()];
        for (i, &code) in self.codes.iter().enumerate() {
            let code = self.coding.value(code);
            let (output, k) = (i / self.depth, i % self.depth);
            let group = output * groups + k / self.length;
            let value = match &offsets {
                Some(offsets) => scales[group] * code as f32 + offsets[group],
                None => scales[group] * (code - self.zero_points[group]) as f32,
            };
            let k = self.order.as_ref().map_or(k, |order| order[k] as usize);
            values[output * self.depth + k] = value;
        }
        values
    }

    /// Groups of a row.
    fn groups(&self) -> usize {
        self.depth.div_ceil(self.length.max(1))
    }

    /// The bits of f16 scales, `[groups, outputs]`, of weights that programs can have which keep four bits by groups: with codes
    /// 0…15 and zero points from `first` on, as many.
    fn four_bits(&self, first: i32) -> Result<Vec<u16>, Error> {
        if !self.outputs.is_multiple_of(8) {
            return Err(Error::Multiple { what: "the outputs", unit: 8, found: self.outputs });
        }
        let refused = |why, found| Err(Error::Shape { why, found });
        let Coding::Integers(Sign::Unsigned, CodeBounds { max: 0..=15, .. }) = self.coding else {
            return refused("the codes have another type than four bits", self.coding.bounds().max as usize);
        };
        let Stored::F16(scales) = &self.scales else {
            return refused("the scales are not f16", self.groups());
        };
        if self.offsets.is_some() {
            return refused("such layers have no real offsets", scales.len());
        }
        let stored = first..first + 16;
        if let Some(index) = self.zero_points.iter().position(|point| !stored.contains(point)) {
            return refused("the zero point of this group cannot be stored", index);
        }
        Ok(transposed(scales, self.outputs, self.groups()))
    }
}

fn widened(values: &Stored) -> Vec<f32> {
    match values {
        Stored::F32(values) => values.clone(),
        Stored::F16(bits) => bits.iter().map(|&half| crate::half::f16::from_half(half)).collect(),
        Stored::E8m0 { exponents, point } => exponents.iter().map(|&exponent| power(exponent, *point)).collect(),
        Stored::E4m3 { patterns, tensor_scale } => {
            patterns.iter().map(|&pattern| half_scale(pattern) * tensor_scale).collect()
        }
    }
}

/// Codes of `bits` bits, the first in the lowest.
fn bits_of(word: u32, bits: u32) -> impl Iterator<Item = u8> {
    (0..32 / bits).map(move |i| (word >> (i * bits) & ((1 << bits) - 1)) as u8)
}

/// A word of eight codes of four bits, the first in the lowest.
fn word_of(code: impl Fn(usize) -> u8) -> i32 {
    (0..8).fold(0, |word, i| word | u32::from(code(i)) << (4 * i)).cast_signed()
}

/// Values `[rows, columns]` as `[columns, rows]`.
fn transposed<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut transposed = Vec::with_capacity(values.len());
    for column in 0..if rows == 0 { 0 } else { columns } {
        transposed.extend((0..rows).map(|row| values[row * columns + column]));
    }
    transposed
}

/// `Ok` with the groups of a row, when a group length is one that weights may have and the lengths of a layout with its scales
/// by groups, `[groups, outputs]`, are those of its shape.
fn check_by_groups(
    outputs: usize,
    depth: usize,
    length: usize,
    scales: &[u16],
    zero_points: &[i32],
) -> Result<usize, Error> {
    check_group_length(length, depth)?;
    if !outputs.is_multiple_of(8) {
        return Err(Error::Multiple { what: "the outputs", unit: 8, found: outputs });
    }
    let groups = depth.div_ceil(length);
    check_length("the scales", elements_of(&[groups, outputs]), scales.len())?;
    check_length("the zero points", elements_of(&[groups, outputs / 8]), zero_points.len())?;
    Ok(groups)
}
