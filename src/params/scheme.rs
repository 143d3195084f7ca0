//! The eight types of quantization. What each makes of a range is in [`formula`](super::formula).

/// Which values a scale may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ScaleKind {
    /// Any f32.
    Float,
    /// A power of two (a block exponent): rescaling is a shift, and no float operation is left.
    PowerOfTwo,
}

/// Which values a zero point may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum OffsetKind {
    /// Any code: asymmetric quantization.
    Integer,
    /// Zero: symmetric quantization.
    Zero,
}

/// How values between two codes are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum RoundingKind {
    /// To the nearest code, ties to even: the smallest error.
    Nearest,
    /// Up with the probability of the fraction: no bias.
    Stochastic,
}

/// A type of quantization, one of eight: what its scale and its zero point may be, and which rounding they make room for.
///
/// ```
/// use zeropoint::{CodeRange, Range, Scheme};
/// let (scale, zero_point) = Scheme::ASYMMETRIC.parameters(CodeRange::unsigned(8)?, Range { min: -2.1104, max: 1.5283 })?;
/// assert_eq!((scale, zero_point), (0.014269412, 148));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Scheme {
    /// Float or power-of-two scale.
    pub scale: ScaleKind,
    /// Integer or zero offset.
    pub offset: OffsetKind,
    /// Nearest or stochastic rounding.
    pub rounding: RoundingKind,
}

impl Scheme {
    /// Float scale, integer offset, nearest.
    pub const ASYMMETRIC: Scheme = Scheme::nearest(ScaleKind::Float, OffsetKind::Integer);
    /// Float scale, zero offset, nearest.
    pub const SYMMETRIC: Scheme = Scheme::nearest(ScaleKind::Float, OffsetKind::Zero);
    /// Power-of-two scale, integer offset, nearest.
    pub const SHIFT_ASYMMETRIC: Scheme = Scheme::nearest(ScaleKind::PowerOfTwo, OffsetKind::Integer);
    /// Power-of-two scale, zero offset, nearest.
    pub const SHIFT_SYMMETRIC: Scheme = Scheme::nearest(ScaleKind::PowerOfTwo, OffsetKind::Zero);
    /// All eight types.
    pub const ALL: [Scheme; 8] = [
        Scheme::ASYMMETRIC,
        Scheme::SYMMETRIC,
        Scheme::SHIFT_ASYMMETRIC,
        Scheme::SHIFT_SYMMETRIC,
        Scheme::ASYMMETRIC.stochastic(),
        Scheme::SYMMETRIC.stochastic(),
        Scheme::SHIFT_ASYMMETRIC.stochastic(),
        Scheme::SHIFT_SYMMETRIC.stochastic(),
    ];

    const fn nearest(scale: ScaleKind, offset: OffsetKind) -> Self {
        Scheme { scale, offset, rounding: RoundingKind::Nearest }
    }

    /// This scheme with headroom for stochastic rounding.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Range, Scheme};
    /// let (codes, range) = (CodeRange::signed(8)?, Range { min: -2.1104, max: 1.5283 });
    /// // One step of headroom: 254 steps for the range instead of 255, and its middle on code 0.
    /// assert_eq!(Scheme::ASYMMETRIC.stochastic().parameters(codes, range)?, (0.014325591, 20));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    #[must_use]
    pub const fn stochastic(self) -> Self {
        Scheme { rounding: RoundingKind::Stochastic, ..self }
    }
}
