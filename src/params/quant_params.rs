//! The public type of parameters.

use core::fmt;

use super::granularity::Granularity;
use super::range::Range;
use super::scheme::Scheme;
use super::storage::Params;
use crate::codes::{Code, CodeRange};
use crate::error::Error;

/// The parameters of a quantized tensor: the code range, the granularity, and a scale S and a zero point Z for every group,
/// so that code q stands for `S · (q − Z)`.
///
/// [`fit`](QuantParams::fit) finds them from data, [`from_ranges`](QuantParams::from_ranges) from ranges that were observed
/// before, [`new`](QuantParams::new) takes them as they are; what a range becomes is in the table of [`Scheme`].
///
/// ```
/// use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Rounding, Scheme, quantize};
/// let exec = Exec::best()?;
/// let weights = [0.5_f32, -1.0, 0.25, 8.0, -4.0, 2.0]; // [2, 3]
/// let per_row = Granularity::channel(&[2, 3], 0)?;
/// let params = QuantParams::fit(exec, &weights, CodeRange::narrow(8)?, Scheme::SYMMETRIC, per_row)?;
/// let mut codes = [0_i8; 6];
/// quantize(exec, &weights, &params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [64, -127, 32, 127, -64, 32]);
/// assert_eq!(params.scales(), [1.0 / 127.0, 8.0 / 127.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone)]
pub struct QuantParams<C> {
    codes: CodeRange<C>,
    inner: Params,
}

impl<C: PartialEq> PartialEq for QuantParams<C> {
    fn eq(&self, other: &Self) -> bool {
        self.codes == other.codes
            && self.granularity() == other.granularity()
            && self.scales() == other.scales()
            && self.zero_points() == other.zero_points()
    }
}

impl<C: fmt::Debug> fmt::Debug for QuantParams<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuantParams")
            .field("codes", &self.codes)
            .field("granularity", &self.granularity())
            .field("scales", &self.scales())
            .field("zero_points", &self.zero_points())
            .finish()
    }
}

impl<C> QuantParams<C> {
    /// The scale of every group.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        self.inner.scales()
    }

    /// The zero point of every group.
    #[must_use]
    pub fn zero_points(&self) -> &[i32] {
        self.inner.zero_points()
    }

    /// Which elements share a scale.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.inner.granularity()
    }

    /// The parameters without the type of the codes.
    pub(crate) fn inner(&self) -> &Params {
        &self.inner
    }
}

impl<C: Code> QuantParams<C> {
    /// Given scales and zero points, one of each for every group. They may be used with either rounding.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many of each as groups (per tensor: one; per channel: one a channel),
    /// [`Error::Scale`], [`Error::ZeroPoint`].
    pub fn new(
        codes: CodeRange<C>,
        granularity: Granularity,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
    ) -> Result<Self, Error> {
        Ok(QuantParams { codes, inner: Params::new(codes.bounds(), granularity, &scales, &zero_points)? })
    }

    /// One scale and one zero point for the whole tensor.
    ///
    /// # Errors
    /// [`Error::Scale`], [`Error::ZeroPoint`].
    pub fn per_tensor(codes: CodeRange<C>, scale: f32, zero_point: i32) -> Result<Self, Error> {
        Ok(QuantParams { codes, inner: Params::new(codes.bounds(), Granularity::Tensor, &[scale], &[zero_point])? })
    }

    /// The parameters that a scheme gives the range of every group. [`QuantParams::fit`] finds the ranges, too;
    /// [`QuantParams::as_onnx`] has the bits of ONNX, onnxruntime and PyTorch, which compute in f32: of −1 … 1 in u8 the zero point
    /// is 128 here, and 127 there.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a range for every group; [`Error::NonFinite`] and [`Error::Range`] for a range that has
    /// no parameters (see [`Scheme::parameters`]).
    pub fn from_ranges(
        codes: CodeRange<C>,
        scheme: Scheme,
        granularity: Granularity,
        ranges: &[Range],
    ) -> Result<Self, Error> {
        Ok(QuantParams { codes, inner: Params::from_ranges(codes.bounds(), scheme, granularity, ranges)? })
    }

    /// Parameters with this inside, made for these codes.
    pub(crate) fn of(codes: CodeRange<C>, inner: Params) -> Self {
        debug_assert_eq!(codes.bounds(), inner.bounds());
        QuantParams { codes, inner }
    }

    /// The code range.
    #[must_use]
    pub fn codes(&self) -> CodeRange<C> {
        self.codes
    }
}
