//! Mean, standard deviation and mean absolute deviation, and ranges made of them.
//!
//! Sums are f64, of chunks of 4096 elements in sixteen lanes: a function of the batch alone, whoever adds up which
//! chunk. Squares are of differences from the chunk's own mean, and put together by Chan's formula, so that equal values
//! have no deviation and large means cost no digits.

use super::observer::{Gate, NOTHING_SEEN, NonFinite, Observer, check_merge, merged_counts};
use super::sums::{Sums, deviations};
use crate::codes::{Code, CodeRange};
use crate::error::Error;
use crate::exec::Exec;
use crate::params::Range;

/// α of a normal distribution for 1 … 9 bits: the half-width in standard deviations with the least mean squared error.
///
/// From "Post training 4-bit quantization of convolutional networks for rapid-deployment" (ACIQ), as Distiller has them.
pub const GAUSS: [f64; 9] = [1.24, 1.71, 2.15, 2.55, 2.93, 3.28, 3.61, 3.92, 4.2];

/// α of a Laplace distribution for 1 … 9 bits: the half-width in mean absolute deviations with the least mean squared error.
pub const LAPLACE: [f64; 9] = [1.86, 2.83, 3.89, 5.03, 6.2, 7.41, 8.64, 9.89, 11.16];

/// What range mean and deviation give. All are cut to the data's own.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Spread {
    /// mean ± N · standard deviation.
    Deviations(f64),
    /// mean ± α · standard deviation, α of [`GAUSS`] for codes of this many bits.
    Gauss {
        /// 1 … 8.
        bits: u32,
        /// For values behind a ReLU, half of a symmetric distribution: α for a bit more, and a range of α deviations from
        /// its lower end on.
        half: bool,
    },
    /// mean ± α · mean absolute deviation, α of [`LAPLACE`] for codes of this many bits.
    Laplace {
        /// 1 … 8.
        bits: u32,
        /// For values behind a ReLU, half of a symmetric distribution: α for a bit more, and a range of α deviations from
        /// its lower end on.
        half: bool,
    },
}

impl Spread {
    /// [`Spread::Gauss`] for these codes. (Codes of more than 8 bits have no α: an observer of them is an [`Error::Setting`].)
    #[must_use]
    pub fn gauss<C: Code>(codes: CodeRange<C>) -> Self {
        Spread::Gauss { bits: codes.bounds().bits(), half: false }
    }

    /// [`Spread::Laplace`] for these codes. (Codes of more than 8 bits have no α: an observer of them is an [`Error::Setting`].)
    #[must_use]
    pub fn laplace<C: Code>(codes: CodeRange<C>) -> Self {
        Spread::Laplace { bits: codes.bounds().bits(), half: false }
    }

    fn check(self) -> Result<(), Error> {
        match self {
            Spread::Deviations(n) if n > 0.0 && n.is_finite() => Ok(()),
            Spread::Deviations(found) => {
                Err(Error::Setting { what: "standard deviations", found, why: "not a positive number" })
            }
            Spread::Gauss { bits: 1..=8, .. } | Spread::Laplace { bits: 1..=8, .. } => Ok(()),
            Spread::Gauss { bits, .. } | Spread::Laplace { bits, .. } => {
                Err(Error::Setting { what: "bits", found: bits.into(), why: "not in 1 … 8" })
            }
        }
    }
}

/// Mean and deviations of all elements, and a range of them.
///
/// ```
/// use zeropoint::calibrate::{Moments, Observer, Spread};
/// use zeropoint::{Exec, Range};
/// let mut observer = Moments::new(Spread::Deviations(1.0))?;
/// observer.observe(Exec::best()?, &[-4.0, -1.0, 0.0, 1.0, 4.0])?;
/// assert_eq!((observer.mean(), observer.mean_deviation()), (0.0, 2.0));
/// assert_eq!(observer.range()?, Range::symmetric(8.5_f32.sqrt())); // 34 / (5 − 1)
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Moments {
    gate: Gate,
    spread: Spread,
    sums: Sums,
    deviations: f64,
    range: Option<Range>,
}

impl Moments {
    /// An observer that has seen nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] unless bits are 1 … 8, and N is positive.
    pub fn new(spread: Spread) -> Result<Self, Error> {
        spread.check()?;
        Ok(Moments { gate: Gate::default(), spread, sums: Sums::default(), deviations: 0.0, range: None })
    }

    /// This observer with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }

    /// This observer with its sums, for another range.
    ///
    /// # Errors
    /// [`Error::Setting`] unless bits are 1 … 8, and N is positive.
    pub fn choosing(self, spread: Spread) -> Result<Self, Error> {
        spread.check()?;
        Ok(Moments { spread, ..self })
    }

    /// The elements that were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sums.count
    }

    /// The mean of all elements; NaN of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sums.mean()
    }

    /// The unbiased standard deviation of all elements, `√(Σ(x − mean)² / (count − 1))`; 0 of a single one.
    #[must_use]
    pub fn std(&self) -> f64 {
        if self.sums.count < 2 { 0.0 } else { (self.sums.squares / (self.sums.count - 1) as f64).sqrt() }
    }

    /// The mean absolute deviation of all elements, `Σ|x − mean| / count`, the b of a Laplace distribution: every batch's from its own
    /// mean, since that of all is not known before the end. Batches should be samples of the same data, or all of it.
    #[must_use]
    pub fn mean_deviation(&self) -> f64 {
        self.deviations / self.sums.count as f64
    }
}

impl Observer for Moments {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        let (admitted, skipped) = self.gate.admit(exec, batch)?;
        if let Some(admitted) = admitted {
            let sums = Sums::of(exec, &admitted.x);
            self.sums = self.sums.merge(sums);
            self.deviations += deviations(exec, &admitted.x, sums.mean());
            self.range = self.range.into_iter().chain([admitted.range]).reduce(Range::union);
        }
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_merge(self.spread == other.spread, "they make ranges in different ways")?;
        merged_counts(self.sums.count, other.sums.count)?;
        self.gate.skipped = self.gate.merged(&other.gate)?;
        self.sums = self.sums.merge(other.sums);
        self.deviations += other.deviations;
        self.range = self.range.into_iter().chain(other.range).reduce(Range::union);
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        let Some(Range { min, max }) = self.range else { return Err(NOTHING_SEEN) };
        let bit = |bits: u32, half: bool| bits as usize - 1 + usize::from(half);
        let (distance, half) = match self.spread {
            Spread::Deviations(n) => (n * self.std(), false),
            Spread::Gauss { bits, half } => (GAUSS[bit(bits, half)] * self.std(), half),
            Spread::Laplace { bits, half } => (LAPLACE[bit(bits, half)] * self.mean_deviation(), half),
        };
        // The mean of f32 numbers may be rounded beyond them all.
        let lower = ((self.mean() - distance) as f32).clamp(min, max);
        let upper = if half { f64::from(lower) + distance } else { self.mean() + distance };
        Ok(vec![Range { min: lower, max: (upper as f32).clamp(lower, max) }])
    }

    fn skipped(&self) -> u64 {
        self.gate.skipped
    }
}
