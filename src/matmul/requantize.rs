//! Codes again: an accumulator times a real multiplier, rounded, `+ Z_out`, saturated to the activation bounds. How it is
//! multiplied is a [`Rule`].

pub mod codes;
pub mod integer;
pub mod rule;

use core::marker::PhantomData;
use core::ops::RangeInclusive;
use std::sync::Arc;

use bytemuck::cast_slice;

use self::codes::CodeBounds;
use self::rule::{Multipliers, RequantizeRef, Rule};
use super::erased::StageRef;
use super::erased_stage::{EraseStage, ErasedStage, OperandScales};
use super::multiplier::{f32_multipliers, multipliers};
use super::multiply::multiply_to_codes;
use super::per_column::PerColumn;
use super::stage::Stage;
use super::weights::{Weights, check_one_scale};
use crate::codes::ByteCode;
use crate::error::Error;
use crate::params::QuantParams;
use crate::random::fill::WordSource;
use crate::random::stream::Stream;

/// Codes again: multiplied, rounded, `+ Z_out`, and saturated to the activation bounds (a ReLU is a bound at Z_out).
///
/// ```
/// use zeropoint::*;
/// let exec = Exec::best()?;
/// let (x, w) = ([130_u8, 126], [4_i8, 6]); // 1 row and 1 output of depth 2
/// let (x_params, w_params, y_params) = (
///     QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 128)?,
///     QuantParams::per_tensor(CodeRange::narrow(8)?, 0.25, 0)?,
///     QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.125, 10)?,
/// );
/// let weights = PackedMatrix::pack(exec, Quantized::new(Matrix::new(&w, 1, 2)?, &w_params)?)?;
/// let weights = weights.with_bias(&[3.0], &x_params)?;
/// let stage = Requantize::new(&weights, &x_params, &y_params, Rule::Float)?.relu();
/// let mut y = [0];
/// matmul(exec, Quantized::new(Matrix::new(&x, 1, 2)?, &x_params)?, &weights, &stage, MatrixMut::new(&mut y, 1, 1)?)?;
/// assert_eq!(y, [10 + 20]); // 1.0 · 1.0 − 1.0 · 1.5 + 3.0 = 2.5 = 20 · 0.125
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Requantize<C> {
    rule: Rule,
    /// One real multiplier, or one for every column.
    real: Arc<[f64]>,
    multipliers: Arc<Multipliers>,
    codes: CodeBounds,
    /// The scales that the multipliers are made for: of the activations, and of the weights.
    scales: Option<(f32, Arc<[f32]>)>,
    stream: Option<Stream>,
    element: PhantomData<fn() -> C>,
}

impl<C: ByteCode> Requantize<C> {
    /// The stage that makes codes with the parameters `y` of products of `weights` and of activations with the parameters
    /// `x`: multipliers `S_x · S_w / S_y`, all codes of `y` as bounds.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` or `y` is not per tensor; [`Error::Multiplier`] for a multiplier that the rule does not have.
    pub fn new<A: ByteCode>(
        weights: &impl Weights<A>,
        x: &QuantParams<A>,
        y: &QuantParams<C>,
        rule: Rule,
    ) -> Result<Self, Error> {
        Self::of_scales(weights, x, y, rule, multipliers)
    }

    /// Requantizes by [`Rule::Float`] with the bits of onnxruntime in `QLinearMatMul` and `QLinearConv`, and of LiteRT's default
    /// kernels (XNNPACK): both compute the multipliers in f32, `(S_x · S_w) / S_y` with two roundings, which for some scales is not
    /// the f32 that is nearest to the ratio. With these, a few codes in a million are the next ones.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Exec, Matrix, PackedMatrix, QuantParams, Quantized, Requantize};
    /// let exec = Exec::best()?;
    /// let x_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.1, 0)?;
    /// let w_params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.007, 0)?;
    /// let y_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.3, 0)?;
    /// let weights = PackedMatrix::pack(exec, Quantized::new(Matrix::new(&[3_i8, -4], 1, 2)?, &w_params)?)?;
    /// let stage = Requantize::onnxruntime(&weights, &x_params, &y_params)?;
    /// # let _ = stage;
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` or `y` is not per tensor; [`Error::Multiplier`] for a multiplier beyond every f32.
    pub fn onnxruntime<A: ByteCode>(
        weights: &impl Weights<A>,
        x: &QuantParams<A>,
        y: &QuantParams<C>,
    ) -> Result<Self, Error> {
        Self::of_scales(weights, x, y, Rule::Float, f32_multipliers)
    }

    fn of_scales<A: ByteCode>(
        weights: &impl Weights<A>,
        x: &QuantParams<A>,
        y: &QuantParams<C>,
        rule: Rule,
        multipliers: fn(f32, &[f32], f32) -> Vec<f64>,
    ) -> Result<Self, Error> {
        let (lhs_scale, _) = x.one_group()?;
        let (scale, zero_point) = y.one_group()?;
        let real = multipliers(lhs_scale, weights.scales(), scale);
        let stage = Self::with_multipliers(rule, &real, zero_point, y.codes().min()..=y.codes().max())?;
        Ok(Requantize { scales: Some((lhs_scale, weights.scales().into())), ..stage })
    }

    /// The stage with these multipliers, one or one for every column.
    pub(crate) fn with_multipliers(
        rule: Rule,
        real: &[f64],
        zero_point: i32,
        bounds: RangeInclusive<C>,
    ) -> Result<Self, Error> {
        let codes = CodeBounds::new(zero_point, bounds)?;
        let multipliers = Arc::new(Multipliers::new(rule, real, codes)?);
        Ok(Requantize { rule, real: real.into(), multipliers, codes, scales: None, stream: None, element: PhantomData })
    }

    /// These multipliers with other codes.
    fn with_codes(self, codes: CodeBounds) -> Self {
        let multipliers = Multipliers::new(self.rule, &self.real, codes).expect("they were accepted before");
        Requantize { multipliers: Arc::new(multipliers), codes, ..self }
    }

    /// With a ReLU: no result below the zero point, which stands for 0 (unless the bounds end before it).
    #[must_use]
    pub fn relu(self) -> Self {
        let CodeBounds { zero_point, min, max, .. } = self.codes;
        let codes = CodeBounds { min: min.max(zero_point).min(max), ..self.codes };
        self.with_codes(codes)
    }

    /// With these activation bounds: the codes of the smallest and the largest result.
    ///
    /// # Errors
    /// [`Error::Bounds`] when they are empty.
    pub fn bounds(self, bounds: RangeInclusive<C>) -> Result<Self, Error> {
        let codes = CodeBounds::new(self.codes.zero_point, bounds)?;
        Ok(self.with_codes(codes))
    }

    /// With stochastic rounding: element (row, column) of a result of N columns takes the word
    /// `offset + row · N + column` of the stream, whatever is computed when and where. (For rows from r on, of a larger
    /// result, [`skip`](Stream::skip) `r · N` words.) Inside the bounds, the mean over many streams is `acc · M + Z`, so
    /// results that are stored and accumulated again and again in 8 bits do not drift.
    ///
    /// The stage that is returned shares the multipliers with this one: nothing is allocated, so every call can have a stream
    /// of its own. When the stream has fewer words than the result has elements, the operation that uses the stage returns
    /// [`Error::Stream`].
    ///
    /// ```
    /// use zeropoint::{Exec, Matrix, MatrixMut, Rule, Stream, raw};
    /// let exec = Exec::best()?;
    /// let (a, b) = ([5_u8; 4], [1_i8; 4]); // 4 × 1 and 1 × 4
    /// let packed = raw::pack(exec, Matrix::new(&b, 1, 4)?, 0.into())?;
    /// let stage = raw::requantize(Rule::Float, &[0.25], 0, i8::MIN..=i8::MAX)?.stochastic(Stream::new(3))?;
    /// let mut c = [0_i8; 16];
    /// raw::matmul(exec, Matrix::new(&a, 4, 1)?, 0.into(), &packed, &stage, MatrixMut::new(&mut c, 4, 4)?)?;
    /// assert_eq!(c, [1, 1, 1, 1, 1, 1, 2, 2, 1, 2, 1, 1, 1, 2, 1, 1]); // 1.25 on average
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Rounding`] for a rule other than [`Rule::Float`].
    pub fn stochastic(&self, stream: Stream) -> Result<Self, Error> {
        if self.rule != Rule::Float {
            return Err(Error::Rounding { why: "stochastic rounding of a result needs Rule::Float" });
        }
        Ok(Requantize { stream: Some(stream), ..self.clone() })
    }
}

impl<C: ByteCode> Stage for Requantize<C> {
    type Element = C;
}

impl<C: ByteCode> EraseStage for Requantize<C> {
    fn erase<'s>(&'s self, scales: OperandScales<'s>) -> Result<ErasedStage<'s>, Error> {
        self.stage(scales)
    }
}

impl<C> Requantize<C> {
    fn stage(&self, OperandScales { lhs, rhs }: OperandScales<'_>) -> Result<ErasedStage<'_>, Error> {
        let Requantize { ref multipliers, codes, ref scales, stream, .. } = *self;
        // (Operands whose zero points are given by hand have no scales.)
        if let Some((lhs_scale, rhs_scales)) = scales {
            check_one_scale(lhs, *lhs_scale, "the stage was made for activations of another scale")?;
            if let Some(found) = rhs.map(PerColumn::values)
                && cast_slice::<_, u8>(found) != cast_slice::<_, u8>(rhs_scales)
            {
                // (Where one has more scales than the other, the first of these.)
                let index = found.iter().zip(rhs_scales.iter()).take_while(|(found, scale)| found == scale).count();
                return Err(Error::Operand { index, why: "the stage was made for weights of other scales" });
            }
        }
        let words = stream.map(WordSource::new);
        let values = StageRef::Requantize(RequantizeRef { multipliers, codes, words });
        Ok(ErasedStage { values, multiply: multiply_to_codes })
    }
}
