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

    /// The parameters that ONNX's `DynamicQuantizeLinear` and onnxruntime make of ranges, bit for bit, in f32 where
    /// [`from_ranges`](QuantParams::from_ranges) computes in f64:
    ///
    /// ```text
    /// S = (max − min) / (qmax − qmin)     Z = RNE(clamp(qmin − min / S))     of the range widened to contain 0; S = 1 of zeros
    /// ```
    ///
    /// An S below `f32::MIN_POSITIVE`, which is subnormal or 0 there, is that here. PyTorch's observers have the same bits where
    /// `quant_min` is even and S is above their `eps`.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Exec, Granularity, QuantParams, min_max};
    /// let x = [-1.0, 0.25, 1.0];
    /// let range = min_max(Exec::best()?, &x)?;
    /// let params = QuantParams::as_onnx(CodeRange::unsigned(8)?, Granularity::Tensor, &[range])?;
    /// assert_eq!((params.scales()[0], params.zero_points()[0]), (0.007843138, 127)); // not 128
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a range for every group; [`Error::NonFinite`], and [`Error::Range`] for a range whose
    /// ends are out of order or whose span is above the largest f32.
    pub fn as_onnx(codes: CodeRange<C>, granularity: Granularity, ranges: &[Range]) -> Result<Self, Error> {
        let bounds = codes.bounds();
        let (qmin, qmax, steps) = (bounds.min as f32, bounds.max as f32, bounds.steps() as f32);
        let (mut scales, mut zero_points) = (Vec::with_capacity(ranges.len()), Vec::with_capacity(ranges.len()));
        for (index, range) in ranges.iter().enumerate() {
            range.check(index)?;
            let (min, max) = (range.min.min(0.0), range.max.max(0.0));
            let scale = if min == max { 1.0 } else { ((max - min) / steps).max(f32::MIN_POSITIVE) };
            if scale.is_infinite() {
                let why = "its span is above the largest f32";
                return Err(Error::Range { index, min: range.min, max: range.max, why });
            }
            scales.push(scale);
            zero_points.push((qmin - min / scale).clamp(qmin, qmax).round_ties_even() as i32);
        }
        QuantParams::new(codes, granularity, scales, zero_points)
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
    /// narrow or unsigned; of a [range](CodeRange::new) with fewer codes below 0, the largest magnitude of both signs. An amax of
    /// 0 gives S = 1. The convention of NVIDIA's `tensor_quant`.
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
    /// [`Error::Scale`] for a d that is negative, not finite or, but for 0, not normal.
    pub fn from_ggml_q8_0(row: usize, d: &[f32]) -> Result<Self, Error> {
        let scales = d.iter().map(|&d| if d == 0.0 { 1.0 } else { d }).collect();
        QuantParams::new(CodeRange::signed(8)?, Granularity::block(&[row], 32)?, scales, vec![0; d.len()])
    }
}

/// Zero points with the other sign. (The smallest i32 has no negative, and is no valid zero point with either sign.)
fn negated(zero_points: &[i32]) -> Vec<i32> {
    zero_points.iter().map(|zero_point| zero_point.saturating_neg()).collect()
}
