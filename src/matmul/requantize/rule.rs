//! The rules of requantization, and their multipliers in the form that each uses.

use super::codes::CodeBounds;
use super::integer::{FixedPoint, Gemmlowp, HalfAway, Shift};
use crate::error::{Error, elements_of};
use crate::matmul::multiplier::check_multipliers;
use crate::matmul::per_column::PerColumn;
use crate::random::fill::WordSource;

/// How a [`Requantize`](crate::Requantize) multiplies an accumulator by the real multiplier M of its column.
///
/// Take `Float` unless you want integers alone (`FixedPoint`; `Shift` for power-of-two scales), or the bits of another program.
/// Only `Float` can be rounded [stochastically](crate::Requantize::stochastic). RNE rounds to nearest, ties to even.
///
/// M₀ and s are M as [`raw::quantize_multiplier`](crate::raw::quantize_multiplier) makes it: `M = M₀ · 2^(−31 − s)`.
///
/// Whose bits a rule has, for the accumulators that are given to it:
///
/// | program, kernel | rule |
/// |---|---|
/// | onnxruntime: `QLinearMatMul`, `QLinearConv` | `Float`, with multipliers that are computed in f32: [`Requantize::onnxruntime`](crate::Requantize::onnxruntime) |
/// | LiteRT (TFLite), default kernels on x86-64 (XNNPACK): convolution, depthwise, fully connected | that of onnxruntime |
/// | LiteRT, reference kernels: convolution, depthwise | `Gemmlowp` |
/// | LiteRT, reference kernel: fully connected | `HalfAway` |
/// | LiteRT, built-in kernels without XNNPACK (ruy) | none: two roundings, halves toward +∞ in both |
/// | gemmlowp: `SaturatingRoundingDoublingHighMul`, then `RoundingDivideByPOT` | `Gemmlowp` |
///
/// The rows of onnxruntime 1.32 and LiteRT 2.3 are tested by what these programs computed, that of gemmlowp by its definition.
/// Other operators are in [`conventions`](crate::conventions).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rule {
    /// `RNE(acc as f32 · M)`, as ONNX, MLAS, XNNPACK and FBGEMM do. M is rounded once to f32.
    Float,
    /// `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`: one rounding of a 64-bit product, halves toward +∞.
    FixedPoint,
    /// `acc · M₀ / 2³¹⁺ˢ`: one rounding of a 64-bit product, halves away from zero.
    HalfAway,
    /// `(acc · M₀ + 2³⁰) >> 31`, then a rounding division by 2ˢ, halves away from zero: two roundings, gemmlowp's.
    Gemmlowp,
    /// `RNE(acc · 2⁻ˢ)` in integers alone, for multipliers that are powers of two, 2⁻³¹ … 1.
    Shift,
}

/// The multipliers of a rule, in the form that it uses.
#[derive(Debug)]
pub enum Multipliers {
    Float(PerColumn<f32>),
    FixedPoint(FixedPoint),
    HalfAway(HalfAway),
    Gemmlowp(Gemmlowp),
    Shift(Shift),
}

impl Multipliers {
    /// One multiplier, or one for every column, for these codes.
    pub fn new(rule: Rule, multipliers: &[f64], codes: CodeBounds) -> Result<Self, Error> {
        Ok(match rule {
            Rule::Float => {
                let accept = |m: f64| m >= 0.0 && (m as f32).is_finite();
                check_multipliers(multipliers, "not a finite f32 of at least 0", accept)?;
                Multipliers::Float(PerColumn::broadcast(multipliers.iter().map(|&m| m as f32).collect()))
            }
            Rule::FixedPoint => Multipliers::FixedPoint(FixedPoint::new(multipliers, codes)?),
            Rule::HalfAway => Multipliers::HalfAway(HalfAway::new(multipliers, codes)?),
            Rule::Gemmlowp => Multipliers::Gemmlowp(Gemmlowp::new(multipliers, codes)?),
            Rule::Shift => Multipliers::Shift(Shift::new(multipliers, codes)?),
        })
    }

    fn check(&self, columns: usize) -> Result<(), Error> {
        match self {
            Multipliers::Float(multipliers) => multipliers.check("multipliers", columns),
            Multipliers::FixedPoint(multipliers) => multipliers.check(columns),
            Multipliers::HalfAway(multipliers) => multipliers.check(columns),
            Multipliers::Gemmlowp(multipliers) => multipliers.check(columns),
            Multipliers::Shift(multipliers) => multipliers.check(columns),
        }
    }
}

/// What codes are made of.
#[derive(Clone, Copy)]
pub struct RequantizeRef<'a> {
    pub multipliers: &'a Multipliers,
    pub codes: CodeBounds,
    /// The random words of stochastic rounding.
    pub(crate) words: Option<WordSource>,
}

impl RequantizeRef<'_> {
    pub fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        if let Some(words) = self.words {
            words.stream.check(elements_of(&[rows, columns]))?;
        }
        self.multipliers.check(columns)
    }
}
