//! A histogram that grows with the data, and the ranges that can be chosen from it.
//!
//! The bins' width is a power of two, the smallest with which [`BINS`] of them reach the largest magnitude. So a value's
//! bin is a function of the value and the width, wider bins are sums of narrower ones, and the histogram of some data is
//! the same whatever order, split, or merging it came in.

use core::mem::take;

use super::bins::{SIDES, count, power_of_two};
use super::clip::{check_percentile, check_stride, least_divergence, least_error, percentile_of_bins};
use super::levels::{Levels, Sides};
use super::observer::{Gate, NOTHING_SEEN, NonFinite, Observer, check_merge, merged_counts};
use crate::error::Error;
use crate::exec::Exec;
use crate::params::Range;

pub use super::bins::BINS;

/// What range to choose from a histogram: all are cut to the data's own, widened to contain 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Clip {
    /// ± the percentile of the magnitudes, in a bin by linear interpolation; 100 is the largest magnitude itself.
    Percentile(f64),
    /// From percentile 100 − p to percentile p of the values with their signs; p is 50 at least.
    Percentiles(f64),
    /// ± the clip range of [`clip_by_entropy`](super::clip_by_entropy) of the magnitudes. For thousands of values at least: few
    /// leave most bins empty, and any clip range looks faithful; and so may values on a grid of their own, such as 8-bit pixels.
    Entropy {
        /// Of an asymmetric scheme, magnitudes have their share of all levels; of a symmetric one, those from 0 up.
        levels: Levels,
        /// The first candidate, in bins.
        start: usize,
        /// Bins from one candidate to the next.
        stride: usize,
    },
    /// ± the clip range with the least squared error of the values' codes, found as [`clip_by_mse`](super::clip_by_mse) does on
    /// both sides of 0.
    Mse {
        /// The codes on both sides, and the steps that the candidates are divided into.
        levels: Levels,
        /// The first candidate, in bins; later if a step of it is less than a bin.
        start: usize,
        /// Bins from one candidate to the next.
        stride: usize,
    },
}

impl Clip {
    /// [`Clip::Entropy`] for these levels, every bin a candidate from an eighth to a sixteenth of the largest magnitude on.
    #[must_use]
    pub fn entropy(levels: Levels) -> Self {
        Clip::Entropy { levels, start: BINS / 16, stride: 1 }
    }

    /// [`Clip::Mse`] for these levels, every bin a candidate from where a step is a bin on.
    #[must_use]
    pub fn mse(levels: Levels) -> Self {
        Clip::Mse { levels, start: 0, stride: 1 }
    }

    fn check(self) -> Result<(), Error> {
        match self {
            Clip::Percentiles(found) if found < 50.0 => {
                Err(Error::Setting { what: "upper percentile", found, why: "below 50" })
            }
            Clip::Percentile(p) | Clip::Percentiles(p) => check_percentile(p),
            Clip::Entropy { levels, stride, .. } | Clip::Mse { levels, stride, .. } => {
                levels.check()?;
                check_stride(stride)
            }
        }
    }
}

/// Counts of values in bins of equal width on both sides of 0.
///
/// ```
/// use zeropoint::calibrate::{Clip, Histogram, Observer};
/// use zeropoint::{Exec, Range};
/// let exec = Exec::best()?;
/// let mut observer = Histogram::new(Clip::Percentile(100.0))?;
/// observer.observe(exec, &[0.5, 1.0, -3.0])?;
/// assert_eq!(observer.bin_width(), 2.0 / 2048.0);
/// assert_eq!(observer.counts()[1][3 * 1024], 1); // −3
/// observer.observe(exec, &[4.0])?; // beyond the last bin: the bins become wider
/// assert_eq!(observer.bin_width(), 4.0 / 2048.0);
/// assert_eq!(observer.counts()[0][2048], 1);
/// assert_eq!(observer.range()?, Range { min: -3.0, max: 4.0 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Histogram {
    gate: Gate,
    clip: Clip,
    /// Counts of the values from 0 on, then of the magnitudes of those below 0. Nothing before the first batch.
    counts: Vec<u64>,
    /// The bins' width is two to the power of this.
    exponent: i32,
    range: Option<Range>,
}

impl Histogram {
    /// An observer that has seen nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Shape`] when no such range can be chosen.
    pub fn new(clip: Clip) -> Result<Self, Error> {
        clip.check()?;
        Ok(Histogram { gate: Gate::default(), clip, counts: Vec::new(), exponent: FINEST, range: None })
    }

    /// This observer with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }

    /// This observer with its counts, for another range.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Shape`] when no such range can be chosen.
    pub fn choosing(self, clip: Clip) -> Result<Self, Error> {
        clip.check()?;
        Ok(Histogram { clip, ..self })
    }

    /// How many values each bin has: from 0 up, and below 0 by magnitude. Both are empty before the first batch.
    #[must_use]
    pub fn counts(&self) -> [&[u64]; 2] {
        let (positive, negative) = self.counts.split_at(self.counts.len() / 2);
        [positive, negative]
    }

    /// How many magnitudes each bin has, to the last that has one.
    #[must_use]
    pub fn magnitudes(&self) -> Vec<u64> {
        let [positive, negative] = self.counts();
        let mut sums: Vec<u64> = positive.iter().zip(negative).map(|(a, b)| a + b).collect();
        sums.truncate(sums.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1));
        sums
    }

    /// The bins of each side on which there are values, up to the last that has one; that of the zeros, if there is nothing else.
    fn sides(&self, min: f32, max: f32) -> Sides<'_> {
        let [positive, negative] = self.counts();
        let used = |counts: &'_ [u64]| counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        let above = if max > 0.0 || min == 0.0 { used(positive) } else { 0 };
        Sides { above: &positive[..above], below: &negative[..used(negative)] }
    }

    /// The width of the bins, a power of two: `2ᵉ⁻¹¹` for a largest magnitude in `2ᵉ … 2ᵉ⁺¹`.
    #[must_use]
    pub fn bin_width(&self) -> f64 {
        power_of_two(self.exponent)
    }

    /// The range of all values, if there are any.
    #[must_use]
    pub fn min_max(&self) -> Option<Range> {
        self.range
    }

    /// Makes the bins wide enough for `range`; their counts stay.
    fn widen(&mut self, range: Range) {
        if self.counts.is_empty() {
            self.counts = vec![0; SIDES];
        }
        let exponent = exponent_for(range);
        if exponent <= self.exponent {
            return;
        }
        let narrow = take(&mut self.counts);
        self.counts = vec![0; SIDES];
        add_bins(&mut self.counts, &narrow, exponent - self.exponent);
        self.exponent = exponent;
    }

    fn add_range(&mut self, range: Range) {
        self.range = self.range.into_iter().chain([range]).reduce(Range::union);
    }
}

/// The width's exponent before anything but 0 was seen: no f32 needs a finer one.
const FINEST: i32 = -160;

/// The exponent of the smallest width with which all magnitudes lie below bin [`BINS`].
fn exponent_for(range: Range) -> i32 {
    let amax = f64::from(range.min.abs().max(range.max.abs()));
    // Every f32 is a normal f64.
    if amax == 0.0 { FINEST } else { (amax.to_bits() >> 52) as i32 - 1023 - 11 }
}

/// Adds bins to those that are 2^`doublings` as wide.
fn add_bins(wide: &mut [u64], narrow: &[u64], doublings: i32) {
    for (wide, narrow) in wide.chunks_exact_mut(BINS).zip(narrow.chunks_exact(BINS)) {
        for (i, count) in narrow.iter().enumerate() {
            wide[i >> doublings.min(12)] += count;
        }
    }
}

impl Observer for Histogram {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        let (admitted, skipped) = self.gate.admit(exec, batch)?;
        if let Some(admitted) = admitted {
            self.widen(admitted.range);
            self.add_range(admitted.range);
            count(exec, &admitted.x, self.exponent, &mut self.counts);
        }
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_merge(self.clip == other.clip, "they choose ranges in different ways")?;
        let values = |counts: &[u64]| counts.iter().sum();
        merged_counts(values(&self.counts), values(&other.counts))?;
        self.gate.skipped = self.gate.merged(&other.gate)?;
        if let Some(range) = other.range {
            self.widen(range);
            self.add_range(range);
            add_bins(&mut self.counts, &other.counts, self.exponent - other.exponent);
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        let Some(Range { min, max }) = self.range else { return Err(NOTHING_SEEN) };
        let (min, max) = (min.min(0.0), max.max(0.0));
        // To f32, but not to 0; and not beyond the data.
        let end = |bins: f64| ((bins * self.bin_width()) as f32).max(f32::from_bits(1));
        let within = |lower: f32, upper: f32| Ok(vec![Range { min: lower.max(min), max: upper.min(max) }]);
        let amax = match self.clip {
            Clip::Percentiles(p) => {
                // The end of one side, bins up to it counted from the other side. The percentile 100 − p is found from above as p is
                // from below: of a range mirrored, the range is the mirror image.
                let [positive, negative] = self.counts();
                let end = |from: &[u64], to: &[u64]| -> Result<f32, Error> {
                    let bins: Vec<u64> = from.iter().rev().chain(to).copied().collect();
                    let place = (percentile_of_bins(&bins, p)? - BINS as f64) * self.bin_width();
                    Ok(if p == 100.0 { f32::INFINITY } else { (place as f32).max(0.0) })
                };
                return within(-end(positive, negative)?, end(negative, positive)?);
            }
            Clip::Percentile(100.0) => f32::INFINITY,
            Clip::Percentile(p) => end(percentile_of_bins(&self.magnitudes(), p)?),
            Clip::Entropy { levels, start, stride } => {
                let sides = self.sides(min, max);
                let levels_of = |bins| sides.levels_of_magnitudes(levels, bins);
                end(least_divergence(&self.magnitudes(), &levels_of, start, stride)? as f64)
            }
            Clip::Mse { levels, start, stride } => {
                let (mut sides, magnitudes) = (self.sides(min, max), self.magnitudes());
                if levels.are_the_same_on_both_sides() {
                    // Magnitudes are half the work.
                    sides = Sides { above: &magnitudes, below: &[] };
                }
                let reaches_a_bin = |i: usize| {
                    let grid = sides.grid(levels, 2 * i as i64 + 1);
                    grid.span >= 2 * grid.steps
                };
                let first = (start..sides.bins()).find(|&i| reaches_a_bin(i)).unwrap_or(sides.bins());
                end(least_error(sides, levels, first, stride)? as f64 + 0.5)
            }
        };
        within(-amax, amax)
    }

    fn skipped(&self) -> u64 {
        self.gate.skipped
    }
}
