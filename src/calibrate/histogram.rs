//! A histogram that grows with the data, and the ranges that can be chosen from it.
//!
//! The bins' width is a power of two, the smallest with which [`BINS`] of them reach the largest magnitude. So a number's
//! bin is a function of the number and the width, wider bins are sums of narrower ones, and the histogram of some data is
//! the same whatever order, split, or merging it came in.

use core::mem::take;

use super::clip::check_percentile;
use super::{Gate, NonFinite, Observer, Threads, check_merge, clip_by_entropy, clip_by_mse, percentile_of_bins};
use crate::codes::{Code, CodeRange};
use crate::error::Error;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::Range;
use crate::simd::LANES;
use crate::simd::walk::block;

/// The bins on each side of 0, of which more than half are in use on the side of the largest magnitude.
pub const BINS: usize = 1 << 12;

/// The bins on both sides.
const SIDES: usize = 2 * BINS;

/// What range to choose from a histogram: all are cut to the data's own, widened to contain 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Clip {
    /// ± the percentile of the magnitudes, in a bin by linear interpolation; 100 is the largest magnitude itself.
    Percentile(f64),
    /// From percentile 100 − p to percentile p of the numbers with their signs; p is 50 at least.
    Percentiles(f64),
    /// ± the clip range of [`clip_by_entropy`]. For thousands of numbers at least: those of few leave most bins empty, and
    /// any clip range looks faithful; and so may those that lie on a grid of their own, such as 8-bit pixels.
    Entropy {
        /// 2ⁿ⁻¹ of signed codes, 2ⁿ of unsigned ones.
        levels: u32,
        /// The first candidate, in bins.
        start: usize,
        /// One candidate in so many bins.
        stride: usize,
    },
    /// ± the clip range of [`clip_by_mse`].
    Mse {
        /// The largest code without a zero point: 2ⁿ⁻¹ − 1 of signed codes, 2ⁿ − 1 of unsigned ones.
        largest_code: u32,
        /// The first candidate, in bins.
        start: usize,
        /// One candidate in so many bins.
        stride: usize,
    },
}

impl Clip {
    /// [`Clip::Entropy`] for these codes, every bin a candidate from an eighth to a sixteenth of the largest magnitude on.
    #[must_use]
    pub fn entropy<C: Code>(codes: CodeRange<C>) -> Self {
        Clip::Entropy { levels: codes.max().into() as u32 + 1, start: BINS / 16, stride: 1 }
    }

    /// [`Clip::Mse`] for these codes, every bin a candidate from where a step is a bin on.
    #[must_use]
    pub fn mse<C: Code>(codes: CodeRange<C>) -> Self {
        let largest_code = codes.max().into() as u32;
        Clip::Mse { largest_code, start: largest_code as usize, stride: 1 }
    }

    fn check(self) -> Result<(), Error> {
        match self {
            Clip::Percentiles(found) if found < 50.0 => {
                Err(Error::Setting { what: "upper percentile", found, why: "below 50" })
            }
            Clip::Percentile(p) | Clip::Percentiles(p) => check_percentile(p),
            Clip::Entropy { levels, start, stride } => clip_by_entropy(&[1], levels, start, stride).map(|_| ()),
            Clip::Mse { largest_code, start, stride } => clip_by_mse(&[1], largest_code, start, stride).map(|_| ()),
        }
    }
}

/// Counts of numbers in bins of equal width on both sides of 0.
///
/// ```
/// use zeropoint::calibrate::{Clip, Histogram, Observer};
/// use zeropoint::{Isa, Range};
/// let mut observer = Histogram::new(Isa::best()?, Clip::Percentile(100.0))?;
/// observer.observe(&[0.5, 1.0, -3.0])?;
/// assert_eq!(observer.bin_width(), 2.0 / 2048.0);
/// assert_eq!(observer.counts()[1][3 * 1024], 1); // −3
/// observer.observe(&[4.0])?; // beyond the last bin: the bins become wider
/// assert_eq!(observer.bin_width(), 4.0 / 2048.0);
/// assert_eq!(observer.counts()[0][2048], 1);
/// assert_eq!(observer.range()?, Range { min: -3.0, max: 4.0 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Histogram {
    gate: Gate,
    clip: Clip,
    /// The numbers from 0 on, then the magnitudes of those below 0. Nothing before the first batch.
    counts: Vec<u64>,
    /// The bins' width is two to the power of this.
    exponent: i32,
    range: Option<Range>,
}

impl Histogram {
    /// That has seen nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Shape`] when no such range can be chosen.
    pub fn new(isa: Isa, clip: Clip) -> Result<Self, Error> {
        clip.check()?;
        Ok(Histogram { gate: Gate::new(isa), clip, counts: Vec::new(), exponent: FINEST, range: None })
    }

    /// The same with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }

    /// The same counts, for another range.
    ///
    /// # Errors
    /// As [`Histogram::new`].
    pub fn choosing(self, clip: Clip) -> Result<Self, Error> {
        clip.check()?;
        Ok(Histogram { clip, ..self })
    }

    /// How many numbers lie in each bin: from 0 up, and below 0 by magnitude. Both are empty before the first batch.
    #[must_use]
    pub fn counts(&self) -> [&[u64]; 2] {
        let (positive, negative) = self.counts.split_at(self.counts.len() / 2);
        [positive, negative]
    }

    /// How many magnitudes lie in each bin, to the last that has one.
    #[must_use]
    pub fn magnitudes(&self) -> Vec<u64> {
        let [positive, negative] = self.counts();
        let mut sums: Vec<u64> = positive.iter().zip(negative).map(|(a, b)| a + b).collect();
        sums.truncate(sums.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1));
        sums
    }

    /// The width of the bins, a power of two: `2ᵉ⁻¹¹` for a largest magnitude in `2ᵉ … 2ᵉ⁺¹`.
    #[must_use]
    pub fn bin_width(&self) -> f64 {
        power_of_two(self.exponent)
    }

    /// The range of all numbers, if there are any.
    #[must_use]
    pub fn min_max(&self) -> Option<Range> {
        self.range
    }

    /// Bins that `range` fits into, with their numbers.
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

/// The width's exponent before anything but 0 was seen: no number needs a finer one.
const FINEST: i32 = -160;

/// The exponent of the smallest width with which all magnitudes lie below bin [`BINS`].
fn exponent_for(range: Range) -> i32 {
    let amax = f64::from(range.min.abs().max(range.max.abs()));
    // Every f32 is a normal f64.
    if amax == 0.0 { FINEST } else { (amax.to_bits() >> 52) as i32 - 1023 - 11 }
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
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
    fn observe_on(&mut self, threads: Threads, batch: &[f32]) -> Result<(), Error> {
        let (admitted, skipped) = self.gate.admit(threads, batch)?;
        if let Some(admitted) = admitted {
            self.widen(admitted.range);
            self.add_range(admitted.range);
            let count = Count::new(&admitted.x, self.exponent);
            match threads {
                Threads::One => self.gate.isa.run(count.into(&mut self.counts)),
                #[cfg(feature = "rayon")]
                Threads::Pool => crate::parallel::count(self.gate.isa, count, &mut self.counts),
            }
        }
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_merge(self.clip == other.clip, "they choose ranges in different ways")?;
        if let Some(range) = other.range {
            self.widen(range);
            self.add_range(range);
            add_bins(&mut self.counts, &other.counts, self.exponent - other.exponent);
        }
        self.gate.skipped += other.gate.skipped;
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        let Some(Range { min, max }) = self.range else { return Err(Error::Empty { what: "what was observed" }) };
        let (min, max) = (min.min(0.0), max.max(0.0));
        // To f32, but not to 0; and not beyond the data.
        let end = |bins: f64| ((bins * self.bin_width()) as f32).max(f32::from_bits(1));
        let within = |lower: f32, upper: f32| Ok(vec![Range { min: lower.max(min), max: upper.min(max) }]);
        let amax = match self.clip {
            Clip::Percentiles(p) => {
                let [positive, negative] = self.counts();
                let ascending: Vec<u64> = negative.iter().rev().chain(positive).copied().collect();
                let place = |p| Ok((percentile_of_bins(&ascending, p)? - BINS as f64) * self.bin_width());
                let lower = if p == 100.0 { min } else { place(100.0 - p)? as f32 };
                let upper = if p == 100.0 { max } else { place(p)? as f32 };
                return within(lower.min(0.0), upper.max(0.0));
            }
            Clip::Percentile(100.0) => f32::INFINITY,
            Clip::Percentile(p) => end(percentile_of_bins(&self.magnitudes(), p)?),
            Clip::Entropy { levels, start, stride } => {
                end(clip_by_entropy(&self.magnitudes(), levels, start, stride)? as f64)
            }
            Clip::Mse { largest_code, start, stride } => {
                end(clip_by_mse(&self.magnitudes(), largest_code, start, stride)? as f64 + 0.5)
            }
        };
        within(-amax, amax)
    }

    fn skipped(&self) -> u64 {
        self.gate.skipped
    }
}

/// Numbers to be counted: those in bins up to [`BINS`] of this width.
#[derive(Clone, Copy)]
pub(crate) struct Count<'a> {
    x: &'a [f32],
    /// Factors whose product is one over the width, which may be beyond f32.
    factors: [f32; 2],
}

impl<'a> Count<'a> {
    fn new(x: &'a [f32], exponent: i32) -> Self {
        // x · 2⁻ᵏ is exact where it is 1 or more, whatever becomes of it below.
        let first = (-exponent).clamp(-126, 127);
        Count { x, factors: [first, -exponent - first].map(|exponent| power_of_two(exponent) as f32) }
    }

    pub fn into(self, counts: &mut [u64]) -> Counting<'a, '_> {
        Counting { count: self, counts }
    }
}

#[cfg(feature = "rayon")]
impl<'a> Count<'a> {
    /// Pieces for which counting takes much longer than to add up their counts.
    pub fn pieces(self) -> impl DoubleEndedIterator<Item = Count<'a>> + Send {
        const LENGTH: usize = 64 << 10;
        let factors = self.factors;
        self.x.chunks(LENGTH).map(move |x| Count { x, factors })
    }

    pub fn elements(self) -> usize {
        self.x.len()
    }

    /// The counts alone.
    pub fn counts(self, isa: Isa) -> Vec<u64> {
        let mut counts = vec![0; SIDES];
        isa.run(self.into(&mut counts));
        counts
    }
}

/// No more of these can be counted in the lanes' own tables.
const PIECE: usize = TABLES * u16::MAX as usize / LANES * LANES;

/// What neighbouring lanes count in: an increment has to wait for one of the same number. Equal numbers are usual, zeros
/// behind a ReLU.
const TABLES: usize = 4;

/// Fewer numbers are counted at once: to add up the tables would take longer.
const FEW: usize = 4 << 10;

pub(crate) struct Counting<'a, 'b> {
    count: Count<'a>,
    counts: &'b mut [u64],
}

impl Kernel for Counting<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let Counting { count: Count { x, factors }, counts } = self;
        let factors = factors.map(
            #[inline(always)]
            |factor| simd.splat_f32(factor),
        );
        let counts: &mut [u64; SIDES] = counts.try_into().expect("bins on both sides");
        if x.len() < FEW {
            each_bin(
                simd,
                x,
                factors,
                #[inline(always)]
                |_, bin| counts[bin % SIDES] += 1,
            );
            return;
        }
        let mut tables = vec![0_u16; TABLES * SIDES];
        let tables: &mut [u16; TABLES * SIDES] = tables.as_mut_slice().try_into().expect("as many");
        for piece in x.chunks(PIECE) {
            each_bin(
                simd,
                piece,
                factors,
                #[inline(always)]
                |lane, bin| tables[lane % TABLES * SIDES + bin % SIDES] += 1,
            );
            for table in tables.chunks_exact_mut(SIDES) {
                for (sum, count) in counts.iter_mut().zip(table) {
                    *sum += u64::from(take(count));
                }
            }
        }
    }
}

/// `floor(|x| / width)`, [`BINS`] more if x is below 0.
#[inline(always)]
fn bins<S: Vectors>(simd: S, x: &[f32; LANES], factors: [S::F32; 2]) -> [i32; LANES] {
    let x = simd.load_f32(x);
    let zero = simd.splat_f32(0.0);
    let scaled = simd.mul_f32(simd.mul_f32(x, factors[0]), factors[1]);
    let magnitude = simd.max_f32(scaled, simd.sub_f32(zero, scaled));
    let negative = simd.shift_left::<12>(simd.add_if_less(simd.splat_i32(0), x, zero));
    let mut bins = [0; LANES];
    simd.store_i32(simd.add_i32(simd.floor_to_i32(magnitude), negative), &mut bins);
    bins
}

/// Calls `f(lane, bin)` for every number.
#[inline(always)]
fn each_bin<S: Vectors>(simd: S, x: &[f32], factors: [S::F32; 2], mut f: impl FnMut(usize, usize)) {
    let (blocks, tail) = x.as_chunks();
    for x in blocks {
        for (lane, bin) in bins(simd, x, factors).into_iter().enumerate() {
            f(lane, bin as usize);
        }
    }
    if !tail.is_empty() {
        let bins = bins(simd, &block(tail, 0), factors);
        for (lane, &bin) in bins.iter().enumerate().take(tail.len()) {
            f(lane, bin as usize);
        }
    }
}
