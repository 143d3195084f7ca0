//! Scales and zero points: `r = S · (q − Z)`, where Z is the code of real 0; which elements share them; and how a
//! range of real numbers becomes a pair of them.
//!
//! A [`Scheme`] is one of the eight types of quantization: {float, power-of-two scale} × {integer, zero offset} ×
//! {nearest, stochastic rounding}. In f64, from an f32 range, with `Z` from the unrounded scale:
//!
//! | scheme | codes | S | Z |
//! |---|---|---|---|
//! | asymmetric (integer offset), range widened to contain 0 | all | `(max − min) / (qmax − qmin)` | `RNE(qmin − min / S)` |
//! | the same, stochastic | all | `(max − min) / (qmax − qmin − 1)` | centred |
//! | symmetric (zero offset) | narrow | `amax / (2ⁿ⁻¹ − 1)` | 0 |
//! | | signed | `amax / ((2ⁿ − 1) / 2)` | 0 |
//! | | signed, stochastic | as narrow | 0 |
//! | | unsigned | `max / (2ⁿ − 1)` | 0 |
//! | power-of-two scale | all | the smallest `2ᵏ` ≥ that S | 0, or centred |
//!
//! The centred zero point is `c + floor(−(min + max) / (2S))`, which puts the middle of the range on c, the middle of the
//! codes: 0 signed, 2ⁿ⁻¹ unsigned.
//!
//! Stochastic rounding goes to both neighbours of a number, so its scales leave one step of headroom: then both neighbours
//! of every number of the range are codes, and clamping never biases. (Narrow codes have as many below 0 as above, so the
//! middle between those neighbours is half a code further: c = ½, inside the floor.)
//!
//! Parameters in other conventions enter by constructors of their own: [`QuantParams::from_distiller`] and its neighbours.
//!
//! The exponent k is read from the bits of S: a logarithm is wrong just below powers of two. An all-zero range has
//! S = 1, Z = 0; S is at least `f32::MIN_POSITIVE`.

mod conventions;
mod formula;
mod granularity;
mod quant_params;
mod range;
mod reciprocal;
mod scheme;
mod storage;

pub use granularity::Granularity;
pub(crate) use granularity::{Grouping, Run};
pub use quant_params::QuantParams;
pub use range::Range;
pub use scheme::{OffsetKind, RoundingKind, ScaleKind, Scheme};
pub(crate) use storage::{GroupParams, Params, check_scale};
