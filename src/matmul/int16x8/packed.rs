//! i8 weights that are packed for left operands of i16.

use super::limits::{ACCUMULATORS, check_depth, check_symmetric};
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matmul::multiplier::bias_codes;
use crate::matmul::pack::Panels;
use crate::matmul::pack_panel::{RowMajor, Source, Transposed};
use crate::matmul::weights::check_one_scale;
use crate::matrix::{Largest, ZeroPoints};
use crate::params::QuantParams;
use crate::quantized::Quantized;
use crate::sign::Sign;

/// i8 weights, prepared for one ISA and for activations of i16, with their scales, and with a bias if
/// [`with_bias`](PackedMatrix::with_bias) adds one.
///
/// It remembers the ISA it was packed for: with another one, operations return [`Error::PackedIsa`].
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    panels: Panels,
    /// One, or one for every column.
    scales: Vec<f32>,
    /// One for every column, or none.
    bias: Vec<i64>,
    /// The scale of the activations that the bias is quantized for.
    bias_for: Option<f32>,
}

impl PackedMatrix {
    /// Packs weights `[outputs, depth]`, a row for every output, as linear layers keep them, with parameters per tensor or per
    /// row and zero points 0.
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity; [`Error::ZeroPoint`]; [`Error::Depth`] beyond 2²⁵ − 1;
    /// [`Error::Memory`].
    pub fn pack<'e>(exec: impl Into<Exec<'e>>, weights: Quantized<'_, i8>) -> Result<Self, Error> {
        let codes = weights.codes().bytes();
        Self::of(exec.into().isa(), &Transposed(codes), [codes.columns(), codes.rows()], weights.by_row()?)
    }

    /// Packs weights `[depth, outputs]`, a column for every output, with parameters per tensor or per column and zero points 0.
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity; [`Error::ZeroPoint`]; [`Error::Depth`] beyond 2²⁵ − 1;
    /// [`Error::Memory`].
    pub fn pack_columns<'e>(exec: impl Into<Exec<'e>>, weights: Quantized<'_, i8>) -> Result<Self, Error> {
        let codes = weights.codes().bytes();
        Self::of(exec.into().isa(), &RowMajor(codes), [codes.rows(), codes.columns()], weights.by_column()?)
    }

    fn of(
        isa: Isa,
        source: &impl Source,
        shape: [usize; 2],
        (zero_points, scales): (ZeroPoints<'_>, &[f32]),
    ) -> Result<Self, Error> {
        check_symmetric(zero_points)?;
        check_depth(shape[0], Largest::default())?;
        let panels = Panels::pack(isa, isa.microkernel_i16(), Sign::Signed, source, shape, 0.into())?;
        Ok(PackedMatrix { panels, scales: scales.to_vec(), bias: Vec::new(), bias_for: None })
    }

    /// With a bias for every output, as real numbers, in place of any earlier one. It is quantized at the scale of the
    /// accumulators, `RNE(bias[j] / (S_x · S_w[j]))` in f64, where `x` are the parameters of the activations: so these need the
    /// scale of `x` ([`Error::Operand`] otherwise).
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`] when `x` is not per tensor; [`Error::NonFinite`]; [`Error::Bias`] and [`Error::Depth`]
    /// for a bias with which accumulators could reach 2⁴⁷.
    pub fn with_bias(self, bias: &[f32], x: &QuantParams<i16>) -> Result<Self, Error> {
        check_length("the bias", self.columns(), bias.len())?;
        let (activation_scale, _) = x.one_group()?;
        let codes = bias_codes(bias, activation_scale, &self.scales, (ACCUMULATORS - 1) as f64)?;
        let weights = self.with_accumulator_bias(&codes)?;
        Ok(PackedMatrix { bias_for: Some(activation_scale), ..weights })
    }

    /// With a bias in units of the accumulators, `S_x · S_w[j]`, in place of any earlier one: TFLite's bias of int64.
    ///
    /// # Errors
    /// [`Error::Length`]: one for every output; [`Error::Depth`] when accumulators could reach 2⁴⁷.
    pub fn with_accumulator_bias(self, bias: &[i64]) -> Result<Self, Error> {
        check_length("the bias", self.columns(), bias.len())?;
        let each = bias.iter().enumerate().map(|(index, bias)| Largest { value: bias.saturating_abs(), index });
        check_depth(self.depth(), each.fold(Largest::default(), Largest::max))?;
        Ok(PackedMatrix { bias: bias.to_vec(), bias_for: None, ..self })
    }

    /// The ISA it is packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.panels.shape.isa
    }

    /// The name of the micro-kernel that multiplies it, such as `i16i8-8x48x2-avx512`.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.panels.shape.kernel.name
    }

    /// K, the depth of the product.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.panels.shape.depth
    }

    /// N, the columns of the product: the outputs.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.panels.shape.columns
    }

    /// One scale, or one for every output.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub(super) fn panels(&self) -> &Panels {
        &self.panels
    }

    /// One for every column, or none.
    pub(super) fn bias(&self) -> &[i64] {
        &self.bias
    }

    /// `Ok` when the bias is for activations of these scales, as far as they are known.
    pub(super) fn check_bias(&self, activation_scales: &[f32]) -> Result<(), Error> {
        let why = "the bias was quantized for activations of another scale";
        self.bias_for.map_or(Ok(()), |scale| check_one_scale(activation_scales, scale, why))
    }
}
