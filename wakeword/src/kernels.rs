//! TensorFlow Lite's sets of kernels, and how each makes codes of accumulators.
//!
//! | kernels | convolution | depthwise | fully connected |
//! |---|---|---|---|
//! | reference | [`Rule::Gemmlowp`](zeropoint::Rule) | `Rule::Gemmlowp` | [`Rule::HalfAway`](zeropoint::Rule) |
//! | XNNPACK | [`Requantize::onnxruntime`](zeropoint::Requantize::onnxruntime) | the same | the same |
//! | built-in | [`TwiceUp`] | `TwiceUp` of eight channels at once, `Rule::Gemmlowp` of those that are left | `TwiceUp`, with S_x · S_w rounded to f32 |

use core::fmt;

use serde::Deserialize;
use zeropoint::raw::quantize_multiplier;
use zeropoint::{Error, QuantParams};

/// A set of kernels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernels {
    /// What the library runs without a delegate: ruy's products, and depthwise convolutions for SSE and NEON.
    #[serde(rename = "built-in")]
    BuiltIn,
    /// What the library runs with the delegate that LiteRT has by default.
    Xnnpack,
    /// Plain loops, which TensorFlow Lite Micro has, too.
    Reference,
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kernels::BuiltIn => "built-in",
            Kernels::Xnnpack => "XNNPACK",
            Kernels::Reference => "reference",
        })
    }
}

/// Two roundings, halves up in both: `((acc · M₀ + 2³⁰) >> 31) + 2ˢ⁻¹ >> s`, for the real multiplier `M₀ · 2^(−31 − s)`.
pub struct TwiceUp {
    columns: Vec<(i32, u32)>,
    zero_point: i32,
    least: i32,
}

impl TwiceUp {
    /// With one real multiplier, or one for each of the outputs, to codes with the parameters `y`.
    ///
    /// # Errors
    /// A multiplier of 1 or more.
    pub fn new(multipliers: &[f64], outputs: usize, y: &QuantParams<i8>, relu: bool) -> Result<Self, Error> {
        let column = |(index, &multiplier)| {
            let (m0, exponent) = quantize_multiplier(multiplier)?;
            let why = "not below 1";
            let shift = u32::try_from(-exponent).map_err(|_| Error::Multiplier { index, multiplier, why })?;
            Ok((m0, shift))
        };
        let each = multipliers.iter().cycle().take(outputs).enumerate();
        let columns = each.map(column).collect::<Result<_, Error>>()?;
        let zero_point = y.zero_points()[0];
        Ok(TwiceUp { columns, zero_point, least: if relu { zero_point } else { i8::MIN.into() } })
    }

    /// The codes of the first `columns` of every row.
    pub fn apply(&self, accumulators: &[i32], columns: usize, codes: &mut [i8]) {
        let outputs = self.columns.len();
        for (accumulators, codes) in accumulators.chunks_exact(outputs).zip(codes.chunks_exact_mut(outputs)) {
            for ((code, &acc), &(m0, shift)) in codes.iter_mut().zip(accumulators).zip(&self.columns).take(columns) {
                let high = (i64::from(acc) * i64::from(m0) + (1 << 30)) >> 31;
                let rounded = ((high + (1 << shift >> 1)) >> shift) as i32;
                *code = rounded.saturating_add(self.zero_point).clamp(self.least, i8::MAX.into()) as i8;
            }
        }
    }
}
