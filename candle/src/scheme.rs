//! How layers are quantized, and where they run.

use candle_core::Result;
use zeropoint::groups::GroupScheme;
use zeropoint::{Exec, Scheme};

use crate::error::wrapped;

/// How activations of a [`Linear`](crate::Linear) layer are quantized in the call, and where it runs: to 8 bits, symmetrically,
/// with a scale for every row, on the calling thread, unless its methods say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct ActivationScheme {
    pub(crate) scheme: Scheme,
    /// The length of groups that have a scale of their own.
    pub(crate) length: Option<usize>,
    exec: Option<Exec<'static>>,
}

impl ActivationScheme {
    /// A scale for every row.
    #[must_use]
    pub fn symmetric() -> Self {
        ActivationScheme { scheme: Scheme::SYMMETRIC, length: None, exec: None }
    }

    /// With zero points: more accurate where activations are mostly of one sign, as behind a ReLU.
    #[must_use]
    pub fn asymmetric(self) -> Self {
        ActivationScheme { scheme: Scheme::ASYMMETRIC, ..self }
    }

    /// With a scale for every group of `length`, which has to be the length of the groups of the weights.
    #[must_use]
    pub fn in_groups(self, length: usize) -> Self {
        ActivationScheme { length: Some(length), ..self }
    }

    /// Runs on this ISA and these threads: `Exec::best()?.rayon()` takes those of the rayon pool that a call is in, as candle's
    /// own operations do. By default the best ISA, on the calling thread.
    #[must_use]
    pub fn on(self, exec: Exec<'static>) -> Self {
        ActivationScheme { exec: Some(exec), ..self }
    }

    pub(crate) fn exec(&self) -> Result<Exec<'static>> {
        exec(self.exec)
    }
}

/// How a [`Linear`](crate::Linear) layer is quantized, and where it runs.
///
/// | weights | |
/// |---|---|
/// | [`int8`](LinearScheme::int8) | 8 bits, a scale for every output |
/// | [`groups`](LinearScheme::groups) | 2 to 8 bits, an f16 scale and a zero point for every group along the inputs |
/// | [`new`](LinearScheme::new) | any [`GroupScheme`]: without zero points, ranges of least squared error, scales of f32 |
///
/// Activations are quantized in the call to 8 bits with a scale for every row, symmetrically, unless
/// [`asymmetric`](LinearScheme::asymmetric) or [`activations_in_groups`](LinearScheme::activations_in_groups) say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct LinearScheme {
    pub(crate) weights: GroupScheme,
    pub(crate) activations: ActivationScheme,
}

impl LinearScheme {
    /// Weights of 8 bits with a scale for every output.
    #[must_use]
    pub fn int8() -> Self {
        // Groups of any depth.
        Self::new(GroupScheme::symmetric(8, usize::MAX).expect("8 bits are a width of codes"))
    }

    /// Weights of 2 to 8 bits, with an f16 scale and a zero point for every group of `length` along the inputs, a multiple of 16.
    /// Their ranges are minimum and maximum; those of least squared error ([`GroupScheme::least_error`], for
    /// [`new`](LinearScheme::new)) are a little better and take long to find.
    ///
    /// # Errors
    /// Bits or a length that no group has.
    pub fn groups(bits: u32, length: usize) -> Result<Self> {
        let scheme = GroupScheme::with_zero_points(bits, length).map_err(wrapped("zeropoint groups"))?;
        Ok(Self::new(scheme.f16_scales()))
    }

    /// Weights in groups by a scheme.
    #[must_use]
    pub fn new(weights: GroupScheme) -> Self {
        LinearScheme { weights, activations: ActivationScheme::symmetric() }
    }

    /// With zero points for activations: more accurate where they are mostly of one sign, as behind a ReLU.
    #[must_use]
    pub fn asymmetric(self) -> Self {
        LinearScheme { activations: self.activations.asymmetric(), ..self }
    }

    /// With a scale for every group of `length` activations, which has to be the length of the groups of the weights.
    #[must_use]
    pub fn activations_in_groups(self, length: usize) -> Self {
        LinearScheme { activations: self.activations.in_groups(length), ..self }
    }

    /// Runs on this ISA and these threads, as [`ActivationScheme::on`].
    #[must_use]
    pub fn on(self, exec: Exec<'static>) -> Self {
        LinearScheme { activations: self.activations.on(exec), ..self }
    }
}

/// How a [`Conv2d`](crate::Conv2d) layer is quantized, and where it runs: weights of 8 bits with a scale for every output;
/// activations are quantized in the call to 8 bits with a scale and a zero point for every image, unless
/// [`symmetric`](ConvScheme::symmetric) says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct ConvScheme {
    pub(crate) activations: Scheme,
    exec: Option<Exec<'static>>,
}

impl ConvScheme {
    /// Weights of 8 bits with a scale for every output.
    #[must_use]
    pub fn int8() -> Self {
        ConvScheme { activations: Scheme::ASYMMETRIC, exec: None }
    }

    /// Without zero points: all images have that of the middle code.
    #[must_use]
    pub fn symmetric(self) -> Self {
        ConvScheme { activations: Scheme::MIDDLE, ..self }
    }

    /// As [`ActivationScheme::on`].
    #[must_use]
    pub fn on(self, exec: Exec<'static>) -> Self {
        ConvScheme { exec: Some(exec), ..self }
    }

    pub(crate) fn exec(&self) -> Result<Exec<'static>> {
        exec(self.exec)
    }
}

pub(crate) fn exec(chosen: Option<Exec<'static>>) -> Result<Exec<'static>> {
    chosen.map_or_else(|| Exec::best().map_err(wrapped("zeropoint")), Ok)
}
