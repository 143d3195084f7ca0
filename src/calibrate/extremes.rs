//! Ranges made of minima and maxima: of everything, of samples, of batches.

use super::observer::{Gate, NOTHING_SEEN, NonFinite, Observer, check_merge, merged_counts, nothing_seen_of};
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::params::{Granularity, Range};
use crate::reduce::ranges::all_ranges;

/// The range of nothing, which any value widens.
const NOTHING: Range = Range { min: f32::INFINITY, max: f32::NEG_INFINITY };

/// The smallest and the largest element of every group.
///
/// ```
/// use zeropoint::calibrate::{MinMax, Observer};
/// use zeropoint::{Exec, Granularity, Range};
/// let exec = Exec::best()?;
/// let mut rows = MinMax::new(Granularity::channel(&[2, 2], 0)?);
/// rows.observe(exec, &[1.0, -2.0, 3.0, 4.0])?;
/// rows.observe(exec, &[5.0, 0.0, 3.5, 3.5])?;
/// assert_eq!(rows.ranges()?, [Range { min: -2.0, max: 5.0 }, Range { min: 3.0, max: 4.0 }]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MinMax {
    gate: Gate,
    granularity: Granularity,
    /// The range of every group; none before the first batch.
    ranges: Vec<Range>,
}

impl MinMax {
    /// An observer that has seen nothing.
    #[must_use]
    pub fn new(granularity: Granularity) -> Self {
        MinMax { gate: Gate::default(), granularity, ranges: Vec::new() }
    }

    /// This observer with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }

    /// The ranges of a batch, and what was skipped for them.
    fn batch(&self, exec: Exec<'_>, batch: &[f32]) -> Result<(Vec<Range>, u64), Error> {
        match all_ranges(exec, batch, self.granularity) {
            Err(Error::NonFinite { .. }) if self.gate.non_finite == NonFinite::Skip => {
                let mut ranges = vec![NOTHING; self.granularity.groups(batch.len())?];
                // (Once, not for every element: the compiler takes a match on the granularity out of the loop, and then compares
                // lengths that the granularity of a tensor does not have. That changes nothing, but valgrind reports it.)
                let (grouping, mut skipped) = (self.granularity.grouping(), 0);
                for (i, &x) in batch.iter().enumerate() {
                    if x.is_finite() {
                        let range = &mut ranges[grouping.group_of(i)];
                        // −0 + 0 = +0
                        *range = range.union(Range { min: x + 0.0, max: x + 0.0 });
                    } else {
                        skipped += 1;
                    }
                }
                Ok((ranges, skipped))
            }
            found => Ok((found?, 0)),
        }
    }

    fn add(&mut self, ranges: &[Range]) {
        if self.ranges.is_empty() {
            self.ranges = ranges.to_vec();
        }
        for (sum, &range) in self.ranges.iter_mut().zip(ranges) {
            *sum = sum.union(range);
        }
    }
}

impl Observer for MinMax {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (ranges, skipped) = self.batch(exec, batch)?;
        if !self.ranges.is_empty() {
            check_length("the batch's groups", self.ranges.len(), ranges.len())?;
        }
        self.add(&ranges);
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_merge(self.granularity == other.granularity, "their granularities differ")?;
        let groups = [self.ranges.len(), other.ranges.len()];
        check_merge(groups.contains(&0) || groups[0] == groups[1], "they saw tensors of different lengths")?;
        self.gate.skipped = self.gate.merged(&other.gate)?;
        self.add(&other.ranges);
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        match self.ranges.iter().position(|range| *range == NOTHING) {
            None if !self.ranges.is_empty() => Ok(self.ranges.clone()),
            Some(group) if self.ranges.iter().any(|range| *range != NOTHING) => Err(nothing_seen_of(group)),
            _ => Err(NOTHING_SEEN),
        }
    }

    fn skipped(&self) -> u64 {
        self.gate.skipped
    }
}

/// −amax … amax of every group, amax its largest magnitude; 0 … amax where nothing negative was seen, so that unsigned
/// codes without a zero point are possible there.
///
/// ```
/// use zeropoint::calibrate::{AbsMax, Observer};
/// use zeropoint::{Exec, Granularity, Range};
/// let mut observer = AbsMax::new(Granularity::Tensor);
/// observer.observe(Exec::best()?, &[1.0, -2.0])?;
/// assert_eq!(observer.range()?, Range::symmetric(2.0));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AbsMax(MinMax);

impl AbsMax {
    /// An observer that has seen nothing.
    #[must_use]
    pub fn new(granularity: Granularity) -> Self {
        AbsMax(MinMax::new(granularity))
    }

    /// This observer with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(self, non_finite: NonFinite) -> Self {
        AbsMax(self.0.non_finite(non_finite))
    }
}

impl Observer for AbsMax {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        self.0.observe(exec, batch)
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.0.merge(&other.0)
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        let symmetric = |range: Range| {
            let amax = range.min.abs().max(range.max.abs());
            if range.min < 0.0 { Range::symmetric(amax) } else { Range { min: 0.0, max: amax } }
        };
        Ok(self.0.ranges()?.into_iter().map(symmetric).collect())
    }

    fn skipped(&self) -> u64 {
        self.0.skipped()
    }
}

/// The mean of the samples' minima … the mean of their maxima: an outlier in one image of a thousand moves the range by a
/// thousandth of what it exceeds the others.
///
/// ```
/// use zeropoint::calibrate::{AverageMinMax, Observer};
/// use zeropoint::{Exec, Range};
/// let mut observer = AverageMinMax::new(3)?; // samples of three elements
/// observer.observe(Exec::best()?, &[-1.0, 0.0, 1.0, -2.0, 0.0, 4.0])?;
/// assert_eq!(observer.range()?, Range { min: -1.5, max: 2.5 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AverageMinMax {
    gate: Gate,
    sample: usize,
    samples: u64,
    /// Sums of the samples' minima and maxima in f64, sample after sample.
    min_sum: f64,
    max_sum: f64,
}

impl AverageMinMax {
    /// An observer of samples of this many elements; a batch is one or more samples.
    ///
    /// # Errors
    /// [`Error::Shape`] when a sample has no elements.
    pub fn new(sample: usize) -> Result<Self, Error> {
        if sample == 0 {
            return Err(Error::Shape { why: "a sample has no length", found: 0 });
        }
        Ok(AverageMinMax { gate: Gate::default(), sample, samples: 0, min_sum: 0.0, max_sum: 0.0 })
    }

    /// This observer with another treatment of NaN and infinity. A sample of nothing else does not count.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }
}

impl Observer for AverageMinMax {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        let samples = Granularity::Channel { channels: batch.len() / self.sample, inner: self.sample };
        if !batch.len().is_multiple_of(self.sample) {
            return Err(Error::Multiple { what: "the tensor", unit: self.sample, found: batch.len() });
        }
        let mut skipped = 0;
        let ranges = match all_ranges(exec, batch, samples) {
            Err(Error::NonFinite { .. }) if self.gate.non_finite == NonFinite::Skip => {
                let mut ranges = Vec::new();
                for sample in batch.chunks_exact(self.sample) {
                    let (admitted, some) = self.gate.admit(exec, sample)?;
                    skipped += some;
                    ranges.extend(admitted.map(|admitted| admitted.range));
                }
                ranges
            }
            ranges => ranges?,
        };
        for range in &ranges {
            self.min_sum += f64::from(range.min);
            self.max_sum += f64::from(range.max);
        }
        self.samples += ranges.len() as u64;
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_merge(self.sample == other.sample, "their samples have different lengths")?;
        let samples = merged_counts(self.samples, other.samples)?;
        self.gate.skipped = self.gate.merged(&other.gate)?;
        self.samples = samples;
        self.min_sum += other.min_sum;
        self.max_sum += other.max_sum;
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        if self.samples == 0 {
            return Err(NOTHING_SEEN);
        }
        let mean = |sum: f64| (sum / self.samples as f64) as f32;
        Ok(vec![Range { min: mean(self.min_sum), max: mean(self.max_sum) }])
    }

    fn skipped(&self) -> u64 {
        self.gate.skipped
    }
}

/// Moving averages of the batches' minima and maxima, in one of two ways:
///
/// ```text
/// Ema::new(d), Distiller's:          e := d·e + (1 − d)·v from 0 on;  e / (1 − dᵗ) after t batches: no bias to the beginning at 0
/// Ema::from_first_batch(c), torch's: e := e + c·(v − e) from the first batch on, in f32, as MovingAverageMinMaxObserver does
/// ```
///
/// With c = 1 − d both give every new batch the weight c, but torch's first batch counts as all batches before it would. The
/// last batches count most, so their order matters: two of these cannot be merged.
///
/// ```
/// use zeropoint::calibrate::{Ema, Observer};
/// use zeropoint::{Exec, Range};
/// let exec = Exec::best()?;
/// let (mut distiller, mut torch) = (Ema::new(0.9)?, Ema::from_first_batch(0.1)?);
/// for observer in [&mut distiller, &mut torch] {
///     observer.observe(exec, &[-1.0, 1.0])?;
///     observer.observe(exec, &[-1.0, 2.0])?;
/// }
/// assert_eq!(distiller.range()?, Range { min: -1.0, max: 1.5263158 });
/// assert_eq!(torch.range()?, Range { min: -1.0, max: 1.1 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ema {
    gate: Gate,
    averages: Averages,
}

#[derive(Clone, Debug)]
enum Averages {
    /// `beginning` is dᵗ.
    Debiased {
        decay: f64,
        min: f64,
        max: f64,
        beginning: f64,
    },
    FromFirst {
        constant: f32,
        range: Option<Range>,
    },
}

impl Ema {
    /// Distiller's, with a decay such as 0.999.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 0 ≤ decay < 1.
    pub fn new(decay: f64) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::Setting { what: "decay", found: decay, why: "not in 0 … 1" });
        }
        Ok(Ema::of(Averages::Debiased { decay, min: 0.0, max: 0.0, beginning: 1.0 }))
    }

    /// torch's, with an `averaging_constant` such as 0.01.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 0 < constant ≤ 1.
    pub fn from_first_batch(constant: f64) -> Result<Self, Error> {
        if !(constant > 0.0 && constant <= 1.0) {
            return Err(Error::Setting { what: "averaging constant", found: constant, why: "not in 0 … 1" });
        }
        Ok(Ema::of(Averages::FromFirst { constant: constant as f32, range: None }))
    }

    fn of(averages: Averages) -> Self {
        Ema { gate: Gate::default(), averages }
    }

    /// This observer with another treatment of NaN and infinity. A batch of nothing else does not count.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }
}

impl Averages {
    fn add(&mut self, batch: Range) {
        match self {
            Averages::Debiased { decay, min, max, beginning } => {
                let step = |average: f64, end: f32| *decay * average + (1.0 - *decay) * f64::from(end);
                (*min, *max) = (step(*min, batch.min), step(*max, batch.max));
                *beginning *= *decay;
            }
            Averages::FromFirst { constant, range } => {
                let step = |average: f32, end: f32| average + *constant * (end - average);
                *range = Some(match *range {
                    None => batch,
                    Some(Range { min, max }) => Range { min: step(min, batch.min), max: step(max, batch.max) },
                });
            }
        }
    }

    fn range(&self) -> Option<Range> {
        match *self {
            Averages::Debiased { beginning: 1.0, .. } => None,
            Averages::Debiased { min, max, beginning, .. } => {
                let mean = |sum: f64| (sum / (1.0 - beginning)) as f32;
                Some(Range { min: mean(min), max: mean(max) })
            }
            Averages::FromFirst { range, .. } => range,
        }
    }
}

impl Observer for Ema {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        let (admitted, skipped) = self.gate.admit(exec, batch)?;
        if let Some(admitted) = admitted {
            self.averages.add(admitted.range);
        }
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, _: &Self) -> Result<(), Error> {
        Err(Error::Merge { why: "a moving average depends on the order of all batches" })
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        self.averages.range().map(|range| vec![range]).ok_or(NOTHING_SEEN)
    }

    fn skipped(&self) -> u64 {
        self.gate.skipped
    }
}
