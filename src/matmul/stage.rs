//! Output stages: what becomes of an exact i32 accumulator.
//!
//! | stage | value; of codes before `+ Z_out` and saturation to the activation bounds ([`requantize`](super::requantize)) |
//! |---|---|
//! | [`Accumulators`] | the accumulator itself |
//! | [`Dequantize`] | `acc as f32 · (S_a · S_b) + bias`, every operation rounded once |
//! | [`Requantize`](super::requantize::Requantize), [`Rule::Float`](super::requantize::rule::Rule) | `RNE(clamp(acc as f32 · M))`, as ONNX, MLAS, XNNPACK and FBGEMM do |
//! | [`Requantize::stochastic`](super::requantize::Requantize::stochastic) | `clamp(acc as f32 · M)`, rounded stochastically |
//! | [`Rule::FixedPoint`](super::requantize::rule::Rule) | `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`: one rounding, halves up |
//! | [`Rule::HalfAway`](super::requantize::rule::Rule) | the same product, halves away from zero |
//! | [`Rule::Gemmlowp`](super::requantize::rule::Rule) | gemmlowp's two roundings |
//! | [`Rule::Shift`](super::requantize::rule::Rule) | `RNE(acc · 2⁻ˢ)` in integers, for power-of-two scales |

use super::erased::{DequantizeRef, StageRef, largest};
use super::erased_stage::{EraseStage, ErasedStage, OperandScales};
use super::multiplier::check_scales;
use super::multiply::{multiply_to_accumulators, multiply_to_floats};
use super::per_column::PerColumn;
use crate::error::Error;
use crate::params::check_each_scale;

/// An output stage of a [`matmul`](crate::matmul()): how accumulators become elements of the result.
///
/// | stage | element |
/// |---|---|
/// | [`Accumulators`] | the accumulator itself, i32 |
/// | [`Dequantize`] | f32: `acc as f32 · (S_a · S_b) + bias`, every operation rounded once |
/// | [`Requantize`](crate::Requantize) | codes: the accumulator times `S_a · S_b / S_out` by a [`Rule`](crate::Rule), `+ Z_out`, saturated to activation bounds |
///
/// The stages of [`raw`](crate::raw) have scales that are given by hand.
pub trait Stage: Sync + EraseStage {
    /// The type of the result's elements.
    type Element: Copy + Default + Send + Sync;
}

/// The accumulators themselves, as i32.
#[derive(Clone, Copy, Debug)]
pub struct Accumulators;

impl Stage for Accumulators {
    type Element = i32;
}

impl EraseStage for Accumulators {
    fn erase<'s>(&'s self, _: OperandScales<'s>) -> Result<ErasedStage<'s>, Error> {
        Ok(ErasedStage { values: StageRef::Accumulators, multiply: multiply_to_accumulators })
    }
}

/// Float results, `acc as f32 · (S_a · S_b) + bias`, by the scales of both operands. (They have no bounds: apply a ReLU to the
/// floats.)
///
/// ```
/// use zeropoint::*;
/// let exec = Exec::best()?;
/// let (x, w) = ([130_u8, 126], [4_i8, 6]); // 1 row and 1 output of depth 2
/// let (x_params, w_params) = (
///     QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 128)?,
///     QuantParams::per_tensor(CodeRange::narrow(8)?, 0.25, 0)?,
/// );
/// let weights = PackedMatrix::pack(exec, Quantized::new(Matrix::new(&w, 1, 2)?, &w_params)?)?;
/// let mut y = [0.0];
/// let x = Quantized::new(Matrix::new(&x, 1, 2)?, &x_params)?;
/// matmul(exec, x, &weights, &Dequantize::new().with_bias(&[3.0])?, MatrixMut::new(&mut y, 1, 1)?)?;
/// assert_eq!(y, [1.0 * 1.0 + -1.0 * 1.5 + 3.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dequantize {
    bias: Option<PerColumn<f32>>,
}

impl Dequantize {
    /// Without a bias.
    #[must_use]
    pub fn new() -> Self {
        Dequantize { bias: None }
    }

    /// With a bias for every column, in real numbers: added to the product, besides a bias that the weights may have.
    ///
    /// # Errors
    /// [`Error::NonFinite`]. A length that is not that of the columns is an error of the operation.
    pub fn with_bias(self, bias: &[f32]) -> Result<Self, Error> {
        Ok(Dequantize { bias: Some(float_bias(bias)?) })
    }
}

impl Stage for Dequantize {
    type Element = f32;
}

impl EraseStage for Dequantize {
    fn erase<'s>(&'s self, scales: OperandScales<'s>) -> Result<ErasedStage<'s>, Error> {
        let columns = scales.rhs.ok_or(Error::Empty { what: "scales", group: None })?;
        let stage = DequantizeRef { rows: scales.lhs, columns, bias: self.bias.as_ref() };
        stage.check_scales(largest(columns.values()))?;
        Ok(ErasedStage { values: StageRef::Dequantize(stage), multiply: multiply_to_floats })
    }
}

/// A bias of finite values.
fn float_bias(bias: &[f32]) -> Result<PerColumn<f32>, Error> {
    check_bias(bias)?;
    Ok(PerColumn::each(bias.to_vec()))
}

/// `Ok` for a bias of finite values.
pub(super) fn check_bias(bias: &[f32]) -> Result<(), Error> {
    match bias.iter().position(|bias| !bias.is_finite()) {
        Some(index) => Err(Error::NonFinite { what: "the bias", index, found: bias[index] }),
        None => Ok(()),
    }
}

/// The weights' half of a float result whose scales are given by hand: their scales and a float bias.
/// [`rows`](DequantizeColumns::rows) adds the activations' scales, which may differ from call to call, and makes it a
/// [`Stage`].
#[derive(Clone, Debug)]
pub struct DequantizeColumns {
    scales: PerColumn<f32>,
    largest_scale: f32,
    bias: Option<PerColumn<f32>>,
}

impl DequantizeColumns {
    /// One scale for all weights or one for every column, and a bias for every column.
    ///
    /// # Errors
    /// [`Error::Scale`]; [`Error::NonFinite`] in the bias; [`Error::Empty`] without scales.
    pub fn new(weight_scales: &[f32], bias: Option<&[f32]>) -> Result<Self, Error> {
        check_scales(weight_scales)?;
        let bias = bias.map(float_bias).transpose()?;
        let scales = PerColumn::broadcast(weight_scales.to_vec());
        Ok(DequantizeColumns { scales, largest_scale: largest(weight_scales), bias })
    }

    /// The stage for activations of these scales: one, or one for every row of the result (in a convolution, for every
    /// output pixel).
    ///
    /// # Errors
    /// [`Error::Scale`], also for a product of scales beyond every f32.
    pub fn rows<'a>(&'a self, activation_scales: &'a [f32]) -> Result<DequantizeRows<'a>, Error> {
        // (None are those of a batch without rows.)
        check_each_scale(activation_scales)?;
        let stage = DequantizeRef { rows: activation_scales, columns: &self.scales, bias: self.bias.as_ref() };
        stage.check_scales(self.largest_scale)?;
        Ok(DequantizeRows { stage })
    }
}

/// Float results by scales that are given by hand: `acc as f32 · (S_a · S_b) + bias`. Made by [`DequantizeColumns::rows`].
#[derive(Clone, Copy, Debug)]
pub struct DequantizeRows<'a> {
    stage: DequantizeRef<'a>,
}

impl Stage for DequantizeRows<'_> {
    type Element = f32;
}

impl EraseStage for DequantizeRows<'_> {
    fn erase<'s>(&'s self, _: OperandScales<'s>) -> Result<ErasedStage<'s>, Error> {
        Ok(ErasedStage { values: StageRef::Dequantize(self.stage), multiply: multiply_to_floats })
    }
}
