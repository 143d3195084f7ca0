//! Parameters in the conventions of other tools: reciprocal scales, subtracted zero points, magnitudes. The table is in the
//! documentation of [`calibrate`](crate::calibrate).

use super::granularity::Granularity;
use super::quant_params::QuantParams;
use super::range::Range;
use super::scheme::Scheme;
use crate::codes::{Code, CodeRange};
use crate::error::Error;

impl<C: Code> QuantParams<C> {
    /// The convention of ONNX's `QuantizeLinear`, TFLite and PyTorch: `q = round(x / scale) + zero_point`, where the zero
    /// point is a code. The full range of `C` is that of ONNX's `uint8` and `int8`.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Granularity, QuantParams};
    /// let params = QuantParams::from_onnx(CodeRange::unsigned(8)?, Granularity::Tensor, &[0.1], &[128])?;
    /// assert_eq!((params.scales()[0], params.zero_points()[0]), (0.1, 128));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many of each as groups; [`Error::Scale`] for a scale that is not a normal, finite
    /// f32; [`Error::ZeroPoint`] for a zero point outside of the code range.
    pub fn from_onnx(
        codes: CodeRange<C>,
        granularity: Granularity,
        scale: &[f32],
        zero_point: &[C],
    ) -> Result<Self, Error> {
        QuantParams::new(codes, granularity, scale.to_vec(), zero_point.iter().map(|&code| code.into()).collect())
    }

    /// From a multiplier and an added offset, `q = round(a·x + b)`: `S = 1 / a`, `Z = b`. The convention of
    /// Flexible_quantization (a, b) and of arXiv 2004.09602 (s, z).
    ///
    /// ```
    /// use zeropoint::{CodeRange, Granularity, QuantParams};
    /// let codes = CodeRange::signed(8)?;
    /// let params = QuantParams::from_multiplier_and_offset(codes, Granularity::Tensor, &[70.07997361695111], &[20])?;
    /// assert_eq!((params.scales()[0], params.zero_points()[0]), (0.014269412, 20));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many of each as groups; [`Error::Scale`] for a scale that is not a normal, finite
    /// f32; [`Error::ZeroPoint`] for a zero point outside of the code range.
    pub fn from_multiplier_and_offset(
        codes: CodeRange<C>,
        granularity: Granularity,
        a: &[f64],
        b: &[i32],
    ) -> Result<Self, Error> {
        QuantParams::new(codes, granularity, a.iter().map(|a| (1.0 / a) as f32).collect(), b.to_vec())
    }

    /// The convention of Distiller, `q = round(q_x·x − zp)`: `S = 1 / q_x`, `Z = −zp`.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Granularity, QuantParams};
    /// // Distiller's values for the range [−2, 10].
    /// let params = QuantParams::from_distiller(CodeRange::unsigned(8)?, Granularity::Tensor, &[21.25], &[-42])?;
    /// assert_eq!((params.scales()[0], params.zero_points()[0]), (1.0 / 21.25, 42));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many of each as groups; [`Error::Scale`] for a scale that is not a normal, finite
    /// f32; [`Error::ZeroPoint`] for a zero point outside of the code range.
    pub fn from_distiller(
        codes: CodeRange<C>,
        granularity: Granularity,
        q_x: &[f64],
        zp: &[i32],
    ) -> Result<Self, Error> {
        QuantParams::from_multiplier_and_offset(codes, granularity, q_x, &negated(zp))
    }

    /// From a step and a subtracted zero point, `q = round(x / step) − zero`: `S = step`, `Z = −zero`. The convention of
    /// NVIDIA's `fake_affine_tensor_quant` (quant_zero), of slides that write `r = (q + Z)·S`, and of gemmlowp (lhs_offset,
    /// rhs_offset).
    ///
    /// ```
    /// use zeropoint::{CodeRange, Granularity, QuantParams};
    /// let params = QuantParams::from_subtracted(CodeRange::signed(8)?, Granularity::Tensor, &[0.014269412], &[-20])?;
    /// assert_eq!(params.zero_points(), [20]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many of each as groups; [`Error::Scale`] for a scale that is not a normal, finite
    /// f32; [`Error::ZeroPoint`] for a zero point outside of the code range.
    pub fn from_subtracted(
        codes: CodeRange<C>,
        granularity: Granularity,
        step: &[f32],
        zero: &[i32],
    ) -> Result<Self, Error> {
        QuantParams::new(codes, granularity, step.to_vec(), negated(zero))
    }

    /// From largest magnitudes, `q = round(x · qmax / amax)`: `S = amax / qmax`, `Z = 0`, where qmax is the largest code, full,
    /// narrow or unsigned. An amax of 0 gives S = 1. The convention of NVIDIA's `tensor_quant`.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Granularity, QuantParams};
    /// let params = QuantParams::from_amax(CodeRange::narrow(8)?, Granularity::Tensor, &[2.1104])?;
    /// assert_eq!(params.scales(), [0.016617322]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many as groups; [`Error::NonFinite`], and [`Error::Range`] for a negative amax.
    pub fn from_amax(codes: CodeRange<C>, granularity: Granularity, amax: &[f32]) -> Result<Self, Error> {
        // With headroom, the steps of a symmetric scheme are those up to the largest code, also for full ranges.
        let scheme = Scheme::SYMMETRIC.stochastic();
        let ranges: Vec<Range> = amax.iter().map(|&amax| Range { min: 0.0, max: amax }).collect();
        QuantParams::from_ranges(codes, scheme, granularity, &ranges)
    }
}

impl QuantParams<i8> {
    /// From ggml's Q8_0, blocks of 32 with a scale each, `x = d·q`: `S = d`, `Z = 0`. A d of 0, the scale of a block of zeros,
    /// gives S = 1.
    ///
    /// ```
    /// use zeropoint::{Granularity, QuantParams};
    /// let params = QuantParams::from_ggml_q8_0(64, &[0.25, 0.0])?; // a row of 64, in two blocks
    /// assert_eq!(params.scales(), [0.25, 1.0]);
    /// assert_eq!(params.granularity(), Granularity::block(&[64], 32)?);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Scale`] for a d that is negative, not finite or, but for 0, not normal; [`Error::Shape`] for an empty row.
    pub fn from_ggml_q8_0(row: usize, d: &[f32]) -> Result<Self, Error> {
        let scales = d.iter().map(|&d| if d == 0.0 { 1.0 } else { d }).collect();
        QuantParams::new(CodeRange::signed(8)?, Granularity::block(&[row], 32)?, scales, vec![0; d.len()])
    }
}

/// Zero points with the other sign. (The smallest i32 has no negative, and is no valid zero point with either sign.)
fn negated(zero_points: &[i32]) -> Vec<i32> {
    zero_points.iter().map(|zero_point| zero_point.saturating_neg()).collect()
}
