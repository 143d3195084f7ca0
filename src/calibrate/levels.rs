//! How the levels of codes lie around 0: what a search for a clip range divides the candidates by.

use crate::codes::{Code, CodeRange};
use crate::error::Error;
use crate::params::{OffsetKind, RoundingKind, Scheme};

/// The levels that codes have for a clip range, for the searches of [`Clip::Mse`](super::Clip::Mse) and
/// [`Clip::Entropy`](super::Clip::Entropy).
///
/// An asymmetric scheme has all its levels on the sides of 0 where data lies: all 2ⁿ behind a ReLU, and 2ⁿ⁻¹ of them on each side
/// of a range −a … a, whatever the code type. A symmetric scheme has the same on both sides, even if one has no data.
///
/// A search takes up to 255 steps, those of 8 bits. Codes of more have about as many levels as a [histogram](super::Histogram) has
/// bins, or more, so it does not tell them apart, and they lose little by a wide range: for them an observer of these levels is an
/// [`Error::Setting`]. Take minimum and maximum, or percentiles.
///
/// ```
/// use zeropoint::calibrate::{Clip, Histogram, Levels};
/// use zeropoint::{CodeRange, Scheme};
/// let codes = CodeRange::unsigned(4)?;
/// assert_eq!(Levels::of(codes, Scheme::ASYMMETRIC), Levels::Asymmetric { steps: 15 });
/// // NVIDIA's calibrators, whatever the scheme and the data:
/// assert_eq!(Levels::by_code_type(codes), Levels::Symmetric { steps: 30, below: 15, above: 15 });
/// let observer = Histogram::new(Clip::mse(Levels::by_code_type(codes)))?;
/// # let _ = observer;
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Levels {
    /// So many steps from the lower end of the range to the upper one, both cut to the data and 0 in between.
    Asymmetric {
        /// 2ⁿ − 1.
        steps: u32,
    },
    /// So many steps from −a to a, of codes on both sides of 0. Values beyond the last code of their side are clipped.
    Symmetric {
        /// Steps from −a to a: 2ⁿ − 1 of signed codes, 2ⁿ − 2 of narrow ones, twice the largest code of unsigned ones.
        steps: u32,
        /// The codes below 0.
        below: u32,
        /// The codes above 0.
        above: u32,
    },
}

impl Levels {
    /// The levels that a scheme has in these codes. (A power-of-two scale is counted as a float one.)
    #[must_use]
    pub fn of<C: Code>(codes: CodeRange<C>, scheme: Scheme) -> Self {
        let (bounds, headroom) = (codes.bounds(), scheme.rounding == RoundingKind::Stochastic);
        let zero_point = match scheme.offset {
            OffsetKind::Integer => {
                return Levels::Asymmetric { steps: (bounds.steps() - i32::from(headroom)) as u32 };
            }
            OffsetKind::Zero => 0,
            OffsetKind::Middle => bounds.middle(),
        };
        let codes = bounds.around(zero_point);
        let steps = (2.0 * codes.symmetric_steps(headroom)) as u32;
        Levels::Symmetric { steps, below: codes.min.unsigned_abs(), above: codes.max as u32 }
    }

    /// The convention of NVIDIA's calibrators: those of the largest code, `S = a / qmax`, for magnitudes of either sign. It suits
    /// symmetric schemes of narrow codes, and unsigned codes of data without negative values.
    #[must_use]
    pub fn by_code_type<C: Code>(codes: CodeRange<C>) -> Self {
        let largest: i32 = codes.max().into();
        Levels::of_magnitudes(largest as u32)
    }

    /// The levels of magnitudes in codes 0 … `largest_code`, with either sign.
    pub(super) fn of_magnitudes(largest_code: u32) -> Self {
        Levels::Symmetric { steps: 2 * largest_code, below: largest_code, above: largest_code }
    }

    pub(super) fn are_the_same_on_both_sides(self) -> bool {
        matches!(self, Levels::Symmetric { below, above, .. } if below == above)
    }

    pub(super) fn check(self) -> Result<(), Error> {
        let (steps, codes) = match self {
            Levels::Asymmetric { steps } => (steps, [steps, 1]),
            Levels::Symmetric { steps, below, above } => (steps.div_ceil(2), [below, above]),
        };
        let refused = |what, found: u32, why| Err(Error::Setting { what, found: found.into(), why });
        match codes.into_iter().max() {
            _ if !(1..=255).contains(&steps) => refused("steps of a range", steps, "not in 1 … 255"),
            Some(most @ (0 | 256..)) => refused("codes on a side of 0", most, "not in 1 … 255"),
            _ => Ok(()),
        }
    }
}

/// A histogram's bins on both sides of 0, up to the last that has a value: above 0 and below.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub above: &'a [u64],
    pub below: &'a [u64],
}

/// What the values between two levels are divided by, and where codes end. Half a bin is the unit.
pub(super) struct Grid {
    /// A step is `span / steps`.
    pub span: i64,
    pub steps: i64,
    /// The codes below 0 and above.
    pub below: i64,
    pub above: i64,
}

impl Sides<'_> {
    /// The bins of magnitudes that have a value.
    pub fn bins(self) -> usize {
        self.above.len().max(self.below.len())
    }

    /// The levels for the candidate whose magnitude is so many half bins.
    pub fn grid(self, levels: Levels, magnitude: i64) -> Grid {
        match levels {
            Levels::Symmetric { steps, below, above } => {
                Grid { span: 2 * magnitude, steps: steps.into(), below: below.into(), above: above.into() }
            }
            Levels::Asymmetric { steps } => {
                let [lower, upper] = [self.below, self.above].map(|bins| magnitude.min(2 * bins.len() as i64));
                let (span, steps) = ((lower + upper).max(1), i64::from(steps));
                // The zero point: RNE(lower · steps / span).
                let (below, twice_rest) = (lower * steps / span, 2 * (lower * steps % span));
                let up = twice_rest > span || (twice_rest == span && below % 2 == 1);
                let below = below + i64::from(up);
                Grid { span, steps, below, above: steps - below }
            }
        }
    }

    /// How many levels the candidate of so many bins has for their magnitudes.
    pub fn levels_of_magnitudes(self, levels: Levels, bins: usize) -> usize {
        match levels {
            Levels::Symmetric { above, .. } => above as usize + 1,
            Levels::Asymmetric { steps } => {
                let span = bins.min(self.below.len()) + bins.min(self.above.len());
                let all = (steps as usize + 1) * bins;
                // (Candidates do not exceed the data on both sides.)
                ((2 * all + span) / (2 * span).max(1)).max(2)
            }
        }
    }
}
