//! Codes of accumulators of i64.

use core::marker::PhantomData;
use core::ops::RangeInclusive;
use std::sync::Arc;

use super::erased::{OperandScales, ReducedMultiplier, ResultCodes, StageRef};
use super::packed::PackedMatrix;
use super::stage::{EraseStage, Stage};
use crate::codes::Code;
use crate::error::Error;
use crate::matmul::multiplier::{check_multipliers, multipliers, quantize_multiplier, quantize_multipliers};
use crate::matmul::weights::check_one_scale;
use crate::params::QuantParams;

/// How a [`Requantize`] multiplies an accumulator by the real multiplier M of its column. RNE rounds to nearest, ties to even.
///
/// M₀ and e are M as [`raw::quantize_multiplier`](crate::raw::quantize_multiplier) makes it: `M = M₀ · 2^(e − 31)`.
///
/// | LiteRT (TFLite) kernel for int16 by int8, whatever its resolver | rule |
/// |---|---|
/// | fully connected | `HalfAway` |
/// | convolution: `MultiplyByQuantizedMultiplier` of an int64 accumulator | `Reduced` |
///
/// Both rows are tested by what LiteRT 2.3 computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rule {
    /// `RNE(acc as f32 · M)`. M is rounded once to f32.
    Float,
    /// `acc · M` in f64, rounded to the nearest integer, halves away from zero.
    HalfAway,
    /// `(acc · m + 2^(14 − e)) >> (15 − e)`, in integers alone, halves toward +∞, where m is M₀ reduced to 16 bits:
    /// `(M₀ + 2¹⁵) >> 16`, at most 0x7fff.
    Reduced,
}

/// The multipliers of a rule, one or one for every column.
#[derive(Debug)]
enum Multipliers {
    Float(Vec<f32>),
    HalfAway(Vec<f64>),
    Reduced(Vec<ReducedMultiplier>),
}

impl Multipliers {
    fn new(rule: Rule, multipliers: &[f64]) -> Result<Self, Error> {
        match rule {
            Rule::Float => {
                let accept = |m: f64| m >= 0.0 && (m as f32).is_finite();
                check_multipliers(multipliers, "not a finite f32 of at least 0", accept)?;
                Ok(Multipliers::Float(multipliers.iter().map(|&m| m as f32).collect()))
            }
            Rule::HalfAway => {
                let accept = |m: f64| m >= 0.0 && m.is_finite();
                check_multipliers(multipliers, "not finite and at least 0", accept)?;
                Ok(Multipliers::HalfAway(multipliers.to_vec()))
            }
            Rule::Reduced => {
                let accept = |m: f64| m < 128.0 && quantize_multiplier(m).is_ok_and(|(_, exponent)| exponent <= 7);
                check_multipliers(multipliers, "not in 0 … 2⁷", accept)?;
                let (mantissas, exponents) = quantize_multipliers(multipliers)?;
                let reduced = |(&mantissa, &exponent): (&i32, &i32)| ReducedMultiplier {
                    multiplier: ((i64::from(mantissa) + (1 << 15)) >> 16).min(0x7fff),
                    shift: i64::from(15 - exponent),
                };
                Ok(Multipliers::Reduced(mantissas.iter().zip(&exponents).map(reduced).collect()))
            }
        }
    }
}

/// Codes again, of any type: multiplied, rounded, `+ Z_out`, and saturated to the activation bounds (a ReLU is a bound at Z_out).
#[derive(Clone, Debug)]
pub struct Requantize<C> {
    multipliers: Arc<Multipliers>,
    codes: ResultCodes,
    /// The scales that the multipliers are made for: of the activations, and of the weights.
    scales: Option<(f32, Arc<[f32]>)>,
    element: PhantomData<fn() -> C>,
}

impl<C: Code> Requantize<C> {
    /// The stage that makes codes with the parameters `y` of products of `weights` and of activations with the parameters `x`:
    /// multipliers `S_x · S_w / S_y`, all codes of `y` as bounds.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` or `y` is not per tensor; [`Error::Multiplier`] for a multiplier that the rule does not have.
    pub fn new(weights: &PackedMatrix, x: &QuantParams<i16>, y: &QuantParams<C>, rule: Rule) -> Result<Self, Error> {
        let (lhs_scale, _) = x.one_group()?;
        let (scale, zero_point) = y.one_group()?;
        let real = multipliers(lhs_scale, weights.scales(), scale);
        let stage = Self::with_multipliers(rule, &real, zero_point, y.codes().min()..=y.codes().max())?;
        Ok(Requantize { scales: Some((lhs_scale, weights.scales().into())), ..stage })
    }

    /// The stage with these multipliers, one or one for every column, whatever the scales of the operands.
    ///
    /// # Errors
    /// [`Error::Multiplier`] for a multiplier that the rule does not have; [`Error::Empty`] without multipliers;
    /// [`Error::ZeroPoint`] outside the type; [`Error::Bounds`] when they are empty.
    pub fn with_multipliers(
        rule: Rule,
        multipliers: &[f64],
        zero_point: i32,
        bounds: RangeInclusive<C>,
    ) -> Result<Self, Error> {
        let codes = ResultCodes::new(zero_point, &bounds)?;
        let multipliers = Arc::new(Multipliers::new(rule, multipliers)?);
        Ok(Requantize { multipliers, codes, scales: None, element: PhantomData })
    }

    /// With a ReLU: no result below the zero point, which stands for 0 (unless the bounds end before it).
    #[must_use]
    pub fn relu(mut self) -> Self {
        let ResultCodes { zero_point, min, max, .. } = self.codes;
        self.codes.min = min.max(zero_point).min(max);
        self
    }

    /// With these activation bounds: the codes of the smallest and the largest result.
    ///
    /// # Errors
    /// [`Error::Bounds`] when they are empty.
    pub fn bounds(self, bounds: RangeInclusive<C>) -> Result<Self, Error> {
        Ok(Requantize { codes: ResultCodes::new(self.codes.zero_point, &bounds)?, ..self })
    }
}

impl<C: Code> Stage for Requantize<C> {
    type Element = C;
}

impl<C: Code> EraseStage for Requantize<C> {
    fn erase<'s>(&'s self, OperandScales { lhs, rhs }: OperandScales<'s>) -> Result<StageRef<'s>, Error> {
        if let Some((lhs_scale, rhs_scales)) = &self.scales {
            check_one_scale(lhs, *lhs_scale, "the stage was made for activations of another scale")?;
            if rhs != &rhs_scales[..] {
                let index = rhs.iter().zip(&**rhs_scales).position(|(found, scale)| found != scale).unwrap_or(0);
                return Err(Error::Operand { index, why: "the stage was made for weights of other scales" });
            }
        }
        let codes = self.codes;
        Ok(match &*self.multipliers {
            Multipliers::Float(multipliers) => StageRef::Float { multipliers, codes },
            Multipliers::HalfAway(multipliers) => StageRef::HalfAway { multipliers, codes },
            Multipliers::Reduced(multipliers) => StageRef::Reduced { multipliers, codes },
        })
    }
}
