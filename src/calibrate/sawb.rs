//! SAWB: clipping bounds of weights from their statistics.

use super::observer::{Gate, NOTHING_SEEN, NonFinite, Observer, check_merge, merged_counts};
use super::sums::{Sums, deviations};
use crate::error::Error;
use crate::exec::Exec;
use crate::params::Range;

/// The coefficients c₁ and c₂ of [`Sawb`] for codes of 2 … 8 bits.
///
/// The paper fits a line through the best bounds of six distributions: normal, Laplace, logistic, uniform, triangular and von
/// Mises (here of κ = 1). These are such fits for the levels of narrow codes, −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1. Those of the paper, and of
/// programs after it, belong to 2ⁿ levels of which none is 0: 3.212 and 2.178 of 2 bits, 12.68 and 12.80 of 4, 17.74 and 18.64 of
/// 5. From 6 bits on, the bounds of distributions with and without tails lie so far apart that a line hits none of them
/// well; [`Histogram`](super::Histogram) by the squared error does.
pub const SAWB: [[f64; 2]; 7] = [
    [2.532, 1.612],
    [6.935, 6.295],
    [11.812, 11.844],
    [16.931, 17.815],
    [22.177, 23.999],
    [27.606, 30.438],
    [32.995, 36.847],
];

/// The clipping bound `α = c₁ · √E[x²] − c₂ · E[|x|]` of all elements, from their mean magnitude to their largest one, with the
/// coefficients [`SAWB`], or others: "statistics-aware weight binning" (Choi et al., "Accurate and efficient 2-bit quantized neural networks",
/// 2019). The range is −α … α.
///
/// Training takes it anew of the weights of every step, in place of a bound that is learned.
/// [`clip_gradients`](crate::training::clip_gradients) has the gradient of a bound, and masks that of clipped weights.
///
/// ```
/// use zeropoint::calibrate::{Observer, Sawb, group_ranges};
/// use zeropoint::{Exec, Granularity, Range};
/// let exec = Exec::best()?;
/// let mut observer = Sawb::new(4)?;
/// observer.observe(exec, &[-4.0, -2.0, 0.0, 2.0, 4.0])?; // √E[x²] = √8, E[|x|] = 2.4
/// assert_eq!(observer.range()?, Range::symmetric(4.0)); // 4.98, but for the largest magnitude
/// let per_row = Granularity::channel(&[2, 2], 0)?;
/// let ranges = group_ranges(exec, &[1.0, -1.0, 0.5, 0.5], per_row, &Sawb::with_coefficients(2.5, 1.6)?)?;
/// assert_eq!(ranges, [Range::symmetric(1.0), Range::symmetric(0.5)]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sawb {
    gate: Gate,
    coefficients: [f64; 2],
    sums: Sums,
    magnitudes: f64,
    largest: f32,
}

impl Sawb {
    /// An observer that has seen nothing, for narrow codes of this many bits.
    ///
    /// # Errors
    /// [`Error::Setting`] unless bits are 2 … 8.
    pub fn new(bits: u32) -> Result<Self, Error> {
        match SAWB.get((bits as usize).wrapping_sub(2)) {
            Some(&[c1, c2]) => Self::with_coefficients(c1, c2),
            None => Err(Error::Setting { what: "bits", found: bits.into(), why: "not in 2 … 8" }),
        }
    }

    /// An observer that has seen nothing, with other coefficients.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that is not finite.
    pub fn with_coefficients(c1: f64, c2: f64) -> Result<Self, Error> {
        for (what, found) in [("coefficient c₁", c1), ("coefficient c₂", c2)] {
            if !found.is_finite() {
                return Err(Error::Setting { what, found, why: "not a finite number" });
            }
        }
        let (gate, sums) = (Gate::default(), Sums::default());
        Ok(Sawb { gate, coefficients: [c1, c2], sums, magnitudes: 0.0, largest: 0.0 })
    }

    /// This observer with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }
}

impl Observer for Sawb {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        let (admitted, skipped) = self.gate.admit(exec, batch)?;
        if let Some(admitted) = admitted {
            self.sums = self.sums.merge(Sums::of(exec, &admitted.x));
            self.magnitudes += deviations(exec, &admitted.x, 0.0);
            self.largest = self.largest.max(admitted.range.max.max(-admitted.range.min));
        }
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_merge(self.coefficients == other.coefficients, "their coefficients differ")?;
        merged_counts(self.sums.count, other.sums.count)?;
        self.gate.skipped = self.gate.merged(&other.gate)?;
        self.sums = self.sums.merge(other.sums);
        self.magnitudes += other.magnitudes;
        self.largest = self.largest.max(other.largest);
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        if self.sums.count == 0 {
            return Err(NOTHING_SEEN);
        }
        let (count, mean, [c1, c2]) = (self.sums.count as f64, self.sums.mean(), self.coefficients);
        let square = self.sums.squares / count + mean * mean;
        let magnitude = self.magnitudes / count;
        // (The mean of f32 numbers may be rounded beyond them all.)
        let bound = (c1 * square.sqrt() - c2 * magnitude).max(magnitude) as f32;
        Ok(vec![Range::symmetric(bound.min(self.largest))])
    }

    fn skipped(&self) -> u64 {
        self.gate.skipped
    }
}
