//! Clipping bounds, one for every group.

use core::fmt;

use crate::codes::{Code, CodeBounds, CodeRange};
use crate::error::Error;
use crate::params::{Granularity, Params, QuantParams, Range, Scheme};

/// A clipping bound α for every group of a tensor, which training learns: values are clipped to 0 … α, or to −α … α, and these
/// are the ranges that codes cover.
///
/// ```
/// use zeropoint::training::ClipBounds;
/// use zeropoint::{CodeRange, Granularity, Scheme};
/// let bounds = ClipBounds::one_sided(Granularity::Tensor, &[6.0])?; // behind a ReLU
/// let params = bounds.params(CodeRange::unsigned(4)?, Scheme::ASYMMETRIC)?;
/// assert_eq!((params.scales(), params.zero_points()), (&[0.4][..], &[0][..]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone)]
pub struct ClipBounds {
    /// The bounds are the scales. Nothing has these codes.
    inner: Params,
    symmetric: bool,
}

impl PartialEq for ClipBounds {
    fn eq(&self, other: &Self) -> bool {
        self.symmetric == other.symmetric
            && self.granularity() == other.granularity()
            && self.bounds() == other.bounds()
    }
}

impl fmt::Debug for ClipBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClipBounds")
            .field("granularity", &self.granularity())
            .field("bounds", &self.bounds())
            .field("symmetric", &self.symmetric)
            .finish()
    }
}

impl ClipBounds {
    /// Bounds of 0 … α, PACT's for activations behind a ReLU.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many bounds as groups (per tensor: one; per channel: one a channel);
    /// [`Error::Setting`] for a bound that is not finite or below `f32::MIN_POSITIVE`; [`Error::Shape`] for blocks without a
    /// length.
    pub fn one_sided(granularity: Granularity, bounds: &[f32]) -> Result<Self, Error> {
        Self::new(granularity, bounds, false)
    }

    /// Bounds of −α … α, for weights.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many bounds as groups (per tensor: one; per channel: one a channel);
    /// [`Error::Setting`] for a bound that is not finite or below `f32::MIN_POSITIVE`; [`Error::Shape`] for blocks without a
    /// length.
    pub fn symmetric(granularity: Granularity, bounds: &[f32]) -> Result<Self, Error> {
        Self::new(granularity, bounds, true)
    }

    fn new(granularity: Granularity, bounds: &[f32], symmetric: bool) -> Result<Self, Error> {
        let codes = CodeBounds { min: -1, max: 1 };
        let inner = Params::new(codes, granularity, bounds, &vec![0; bounds.len()]).map_err(|error| match error {
            Error::Scale { scale, .. } => {
                Error::Setting { what: "clipping bound", found: scale.into(), why: "not a positive number" }
            }
            Error::Length { expected, found, .. } => Error::Length { what: "clipping bounds", expected, found },
            other => other,
        })?;
        Ok(ClipBounds { inner, symmetric })
    }

    /// The bound of every group.
    #[must_use]
    pub fn bounds(&self) -> &[f32] {
        self.inner.scales()
    }

    /// Which elements share a bound.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.inner.granularity()
    }

    /// Whether values are clipped to −α … α, not to 0 … α.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.symmetric
    }

    /// The range of every group.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range> {
        let range = |&max: &f32| Range { min: if self.symmetric { -max } else { 0.0 }, max };
        self.bounds().iter().map(range).collect()
    }

    /// The parameters of codes that cover the ranges, for the forward pass.
    ///
    /// # Errors
    /// [`Error::Range`] for a range that has no parameters (see [`Scheme::parameters`]).
    pub fn params<C: Code>(&self, codes: CodeRange<C>, scheme: Scheme) -> Result<QuantParams<C>, Error> {
        QuantParams::from_ranges(codes, scheme, self.granularity(), &self.ranges())
    }

    pub(super) fn inner(&self) -> &Params {
        &self.inner
    }
}
