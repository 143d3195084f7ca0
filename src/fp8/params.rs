//! What codes stand for: a format, and scales.

use core::fmt;

use super::format::Fp8;
use crate::codes::CodeBounds;
use crate::error::Error;
use crate::exec::Exec;
use crate::params::{Granularity, Params, Scheme};
use crate::quantize::fit;

/// The parameters of a tensor in FP8: the format, the granularity, and a scale S for every group, so that a code stands for
/// `S · value`; and what becomes of values beyond the largest.
///
/// ```
/// use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
/// use zeropoint::{Exec, Granularity, Rounding};
/// let exec = Exec::best()?;
/// let weights = [0.5, -1.0, 0.25, 8.0, -4.0, 2.1]; // [2, 3]
/// let params = Fp8Params::fit(exec, &weights, Fp8::E4M3, Granularity::channel(&[2, 3], 0)?)?;
/// assert_eq!(params.scales(), [1.0 / 448.0, 8.0 / 448.0]);
/// let (mut codes, mut back) = ([0; 6], [0.0; 6]);
/// encode(exec, &weights, &params, Rounding::Nearest, &mut codes)?;
/// decode(exec, &codes, &params, &mut back)?;
/// assert_eq!(codes, [0x76, 0xfe, 0x6e, 0x7e, 0xf6, 0x6f]);
/// assert!(weights.iter().zip(back).all(|(x, back)| (x - back).abs() <= x.abs() / 16.0));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone)]
pub struct Fp8Params {
    format: Fp8,
    saturates: bool,
    inner: Params,
}

impl PartialEq for Fp8Params {
    fn eq(&self, other: &Self) -> bool {
        let same =
            (self.format, self.saturates, self.granularity()) == (other.format, other.saturates, other.granularity());
        same && self.scales() == other.scales()
    }
}

impl fmt::Debug for Fp8Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fp8Params")
            .field("format", &self.format)
            .field("saturates", &self.saturates)
            .field("granularity", &self.granularity())
            .field("scales", &self.scales())
            .finish()
    }
}

impl Fp8Params {
    /// A scale for every group.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a scale for every group (per tensor: one; per channel: one a channel),
    /// [`Error::Scale`].
    pub fn new(format: Fp8, granularity: Granularity, scales: &[f32]) -> Result<Self, Error> {
        Ok(Self::of(format, Params::new(bounds(format), granularity, scales, &vec![0; scales.len()])?))
    }

    /// One scale for the whole tensor.
    ///
    /// # Errors
    /// [`Error::Scale`].
    pub fn per_tensor(format: Fp8, scale: f32) -> Result<Self, Error> {
        Self::new(format, Granularity::Tensor, &[scale])
    }

    /// The scale 1: a code stands for its value.
    #[must_use]
    pub fn unscaled(format: Fp8) -> Self {
        Self::per_tensor(format, 1.0).expect("1 is a scale")
    }

    /// The scales by which the largest magnitude of every group becomes the largest value: `S = amax / max`, computed in
    /// f64 and rounded once, at least `f32::MIN_POSITIVE`; 1 for groups of zeros and of an empty tensor.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first NaN or infinity; [`Error::Multiple`] when the length does not go with the
    /// granularity; [`Error::Shape`] for more groups of an empty tensor than memory has scales for.
    pub fn fit<'e>(exec: impl Into<Exec<'e>>, x: &[f32], format: Fp8, granularity: Granularity) -> Result<Self, Error> {
        // Both neighbours of every value within the largest are codes, so the scheme leaves room for either rounding.
        let scheme = Scheme::SYMMETRIC.stochastic();
        Ok(Self::of(format, fit::params_of(exec.into(), x, bounds(format), scheme, granularity)?))
    }

    fn of(format: Fp8, inner: Params) -> Self {
        Fp8Params { format, saturates: true, inner }
    }

    /// These parameters for codes that do not saturate: what is rounded beyond the largest value becomes infinity, in E4M3
    /// NaN, with its sign. To nearest that begins above 464 (E4M3) and at 61440 (E5M2).
    ///
    /// ```
    /// use zeropoint::fp8::{Fp8, Fp8Params, encode};
    /// use zeropoint::{Exec, Rounding};
    /// let mut codes = [0; 4];
    /// let params = Fp8Params::unscaled(Fp8::E4M3).without_saturation();
    /// encode(Exec::best()?, &[448.0, -464.0, -464.1, f32::INFINITY], &params, Rounding::Nearest, &mut codes)?;
    /// assert_eq!(codes, [0x7e, 0xfe, 0xff, 0x7f]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    #[must_use]
    pub fn without_saturation(self) -> Self {
        Fp8Params { saturates: false, ..self }
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Fp8 {
        self.format
    }

    /// Whether values beyond the largest become it.
    #[must_use]
    pub fn saturates(&self) -> bool {
        self.saturates
    }

    /// Which elements share a scale.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.inner.granularity()
    }

    /// The scale of every group.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        self.inner.scales()
    }

    pub(super) fn inner(&self) -> &Params {
        &self.inner
    }
}

/// The values as a range of codes, whose largest one a symmetric scheme gives to the largest magnitude.
fn bounds(format: Fp8) -> CodeBounds {
    let max = format.max() as i32;
    CodeBounds { min: -max, max }
}
