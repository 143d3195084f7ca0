//! The types of quantization. What each makes of a range is in [`formula`](super::formula).

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
    /// The middle of the codes: symmetric quantization to unsigned codes too, where it is 2ⁿ⁻¹ (128 of u8). Of signed and narrow
    /// codes it is 0, and the same as [`Zero`](OffsetKind::Zero).
    Middle,
}

/// The rounding that parameters leave room for. (How an operation rounds is its argument [`Rounding`](crate::Rounding).)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum RoundingKind {
    /// To nearest: the range takes all codes.
    Nearest,
    /// Stochastic, to either neighbour: the range leaves one step of headroom, so that clamping never biases.
    Stochastic,
}

/// A type of quantization: what its scale and its zero point may be, and which rounding they make room for.
///
/// From an f32 range, computed in f64, with `Z` from the unrounded scale and RNE for rounding to nearest, ties to even:
///
/// | scheme | codes | S | Z |
/// |---|---|---|---|
/// | asymmetric (integer offset), range widened to contain 0 | all | `(max − min) / (qmax − qmin)` | `RNE(qmin − min / S)` |
/// | the same, stochastic | all | `(max − min) / (qmax − qmin − 1)` | centred |
/// | symmetric (zero offset) | narrow | `amax / (2ⁿ⁻¹ − 1)` | 0 |
/// | | signed | `amax / ((2ⁿ − 1) / 2)` | 0 |
/// | | signed, stochastic | as narrow | 0 |
/// | | unsigned | `max / (2ⁿ − 1)` | 0 |
/// | symmetric around the middle code | all | as signed, of any codes | c |
/// | power-of-two scale | all | the smallest `2ᵏ` ≥ that S | 0, c, or centred |
///
/// The centred zero point is `c + floor(−(min + max) / (2S))`, which puts the middle of the range on c, the middle of the
/// codes: 0 signed, 2ⁿ⁻¹ unsigned, `floor((qmin + qmax + 1) / 2)` of any range. Codes that are not those of n bits have as many
/// steps for amax as there are codes on the shorter side of 0 (or c), and half a step more if the sides differ: as signed.
///
/// Stochastic rounding goes to both neighbours of a number, so its scales leave one step of headroom: then both neighbours
/// of every number of the range are codes, and clamping never biases. (An odd number of codes, as narrow ones are, has as many
/// below the middle as above, so the middle between those neighbours is half a code further: c + ½, inside the floor.)
///
/// # Where other programs round otherwise
///
/// Everything is computed in f64 and rounded once. ONNX's `DynamicQuantizeLinear`, onnxruntime and PyTorch compute in f32, so
/// scales differ in their last bit, and zero points where `−min / S` is near a half: for −1 … 1 in u8 it is 127.5, which is
/// 128 here, and 127 there, since their S is rounded first. [`QuantParams::as_onnx`](crate::QuantParams::as_onnx) has their
/// bits.
///
/// ```
/// use zeropoint::{CodeRange, Granularity, QuantParams, Range, Scheme};
/// let (codes, range) = (CodeRange::unsigned(8)?, Range { min: -1.0, max: 1.0 });
/// assert_eq!(Scheme::ASYMMETRIC.parameters(codes, range)?.1, 128);
/// assert_eq!(QuantParams::as_onnx(codes, Granularity::Tensor, &[range])?.zero_points(), [127]);
/// // The middle of the codes, whatever the range: the symmetric scheme for unsigned codes.
/// assert_eq!(Scheme::MIDDLE.parameters(codes, Range { min: -0.5, max: 1.0 })?, (1.0 / 127.5, 128));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # At the ends
///
/// The exponent k is read from the bits of S: a logarithm is wrong just below powers of two. An all-zero range has
/// S = 1, Z = 0 (c around the middle); S is at least `f32::MIN_POSITIVE`.
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
    /// Float scale, symmetric around the middle of the codes, nearest: u8 codes with the zero point 128.
    pub const MIDDLE: Scheme = Scheme::nearest(ScaleKind::Float, OffsetKind::Middle);
    /// Power-of-two scale, symmetric around the middle of the codes, nearest.
    pub const SHIFT_MIDDLE: Scheme = Scheme::nearest(ScaleKind::PowerOfTwo, OffsetKind::Middle);
    /// The eight types of {float, power-of-two scale} × {integer, zero offset} × {nearest, stochastic}. (Around the middle, signed
    /// codes have the same parameters as with zero offset.)
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
