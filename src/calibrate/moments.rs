//! Mean, standard deviation and mean absolute deviation, and ranges made of them.
//!
//! Sums are f64, of chunks of [`CHUNK`] elements in sixteen lanes: a function of the batch alone, whoever adds up which
//! chunk. Squares are of differences from the chunk's own mean, and put together by Chan's formula, so that equal numbers
//! have no deviation and large means cost no digits.

use super::{Gate, NonFinite, Observer, Threads, check_merge};
use crate::codes::{Code, CodeRange};
use crate::error::Error;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::Range;
use crate::simd::LANES;

/// The elements of a chunk.
pub(crate) const CHUNK: usize = 4 << 10;

/// α of a normal distribution for 1 … 9 bits: the half-width in standard deviations with the least mean squared error.
///
/// From "Post training 4-bit quantization of convolutional networks for rapid-deployment" (ACIQ), as Distiller has them.
pub const GAUSS: [f64; 9] = [1.24, 1.71, 2.15, 2.55, 2.93, 3.28, 3.61, 3.92, 4.2];

/// The same of a Laplace distribution, in mean absolute deviations.
pub const LAPLACE: [f64; 9] = [1.86, 2.83, 3.89, 5.03, 6.2, 7.41, 8.64, 9.89, 11.16];

/// What range mean and deviation give. All are cut to the data's own.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Spread {
    /// mean ± N · standard deviation.
    Deviations(f64),
    /// mean ± α · standard deviation, α of [`GAUSS`] for so many bits.
    Gauss {
        /// 1 … 8.
        bits: u32,
        /// For numbers behind a ReLU, half of a symmetric distribution: α for a bit more, and a range of α deviations from
        /// its lower end on.
        half: bool,
    },
    /// mean ± α · mean absolute deviation, α of [`LAPLACE`] for so many bits.
    Laplace {
        /// 1 … 8.
        bits: u32,
        /// As for a normal distribution.
        half: bool,
    },
}

impl Spread {
    /// [`Spread::Gauss`] for these codes.
    #[must_use]
    pub fn gauss<C: Code>(codes: CodeRange<C>) -> Self {
        Spread::Gauss { bits: codes.bounds().bits(), half: false }
    }

    /// [`Spread::Laplace`] for these codes.
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
/// use zeropoint::{Isa, Range};
/// let mut observer = Moments::new(Isa::best()?, Spread::Deviations(1.0))?;
/// observer.observe(&[-4.0, -1.0, 0.0, 1.0, 4.0])?;
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
    /// That has seen nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] unless bits are 1 … 8, and N is positive.
    pub fn new(isa: Isa, spread: Spread) -> Result<Self, Error> {
        spread.check()?;
        Ok(Moments { gate: Gate::new(isa), spread, sums: Sums::default(), deviations: 0.0, range: None })
    }

    /// The same with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.gate.non_finite = non_finite;
        self
    }

    /// The same sums, for another range.
    ///
    /// # Errors
    /// As [`Moments::new`].
    pub fn choosing(self, spread: Spread) -> Result<Self, Error> {
        spread.check()?;
        Ok(Moments { spread, ..self })
    }

    /// The elements that were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sums.count
    }

    /// Their mean; NaN of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sums.mean()
    }

    /// Their unbiased standard deviation, `√(Σ(x − mean)² / (count − 1))`; 0 of a single one.
    #[must_use]
    pub fn std(&self) -> f64 {
        if self.sums.count < 2 { 0.0 } else { (self.sums.squares / (self.sums.count - 1) as f64).sqrt() }
    }

    /// Their mean absolute deviation, `Σ|x − mean| / count`, the b of a Laplace distribution: every batch's from its own
    /// mean, since that of all is not known before the end. Batches should be samples of the same data, or all of it.
    #[must_use]
    pub fn mean_deviation(&self) -> f64 {
        self.deviations / self.sums.count as f64
    }

    fn batch(&self, threads: Threads, x: &[f32]) -> (Sums, f64) {
        let isa = self.gate.isa;
        let chunks: Vec<Sums> = match threads {
            Threads::One => isa.run(ChunkMoments { x }),
            #[cfg(feature = "rayon")]
            Threads::Pool => crate::parallel::chunk_moments(isa, x),
        };
        let sums = chunks.into_iter().fold(Sums::default(), Sums::merge);
        let centre = sums.mean();
        let chunks: Vec<f64> = match threads {
            Threads::One => isa.run(ChunkDeviations { x, centre }),
            #[cfg(feature = "rayon")]
            Threads::Pool => crate::parallel::chunk_deviations(isa, x, centre),
        };
        (sums, chunks.into_iter().fold(0.0, |sum, chunk| sum + chunk))
    }
}

impl Observer for Moments {
    fn observe_on(&mut self, threads: Threads, batch: &[f32]) -> Result<(), Error> {
        let (admitted, skipped) = self.gate.admit(threads, batch)?;
        if let Some(admitted) = admitted {
            let (sums, deviations) = self.batch(threads, &admitted.x);
            self.sums = self.sums.merge(sums);
            self.deviations += deviations;
            self.range = self.range.into_iter().chain([admitted.range]).reduce(Range::union);
        }
        self.gate.skipped += skipped;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_merge(self.spread == other.spread, "they make ranges in different ways")?;
        self.sums = self.sums.merge(other.sums);
        self.deviations += other.deviations;
        self.range = self.range.into_iter().chain(other.range).reduce(Range::union);
        self.gate.skipped += other.gate.skipped;
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        let Some(Range { min, max }) = self.range else { return Err(Error::Empty { what: "what was observed" }) };
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

/// Count, sum, and sum of squared differences from the mean.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Sums {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn mean(self) -> f64 {
        self.sum / self.count as f64
    }

    /// Of both together.
    fn merge(self, other: Sums) -> Sums {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let apart = other.mean() - self.mean();
        Sums {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares + apart * apart * (n * m / (n + m)),
        }
    }
}

/// `Σ f(x)` of a chunk: lane l has the elements l, l + 16, …; then lane after lane.
#[inline(always)]
fn lane_sum(x: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += f(x.into());
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(tail) {
        *lane += f(x.into());
    }
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}

/// The [`Sums`] of every chunk.
pub(crate) struct ChunkMoments<'a> {
    pub x: &'a [f32],
}

impl Kernel for ChunkMoments<'_> {
    type Output = Vec<Sums>;

    #[inline(always)]
    fn run<S: Vectors>(self, _: S) -> Vec<Sums> {
        let mut chunks = Vec::with_capacity(self.x.len().div_ceil(CHUNK));
        for chunk in self.x.chunks(CHUNK) {
            let sum = lane_sum(
                chunk,
                #[inline(always)]
                |x| x,
            );
            let mean = sum / chunk.len() as f64;
            let squares = lane_sum(
                chunk,
                #[inline(always)]
                |x| (x - mean) * (x - mean),
            );
            chunks.push(Sums { count: chunk.len() as u64, sum, squares });
        }
        chunks
    }
}

/// `Σ|x − centre|` of every chunk.
pub(crate) struct ChunkDeviations<'a> {
    pub x: &'a [f32],
    pub centre: f64,
}

impl Kernel for ChunkDeviations<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<S: Vectors>(self, _: S) -> Vec<f64> {
        let mut chunks = Vec::with_capacity(self.x.len().div_ceil(CHUNK));
        for chunk in self.x.chunks(CHUNK) {
            chunks.push(lane_sum(
                chunk,
                #[inline(always)]
                |x| (x - self.centre).abs(),
            ));
        }
        chunks
    }
}
