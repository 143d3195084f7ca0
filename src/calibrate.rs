//! Calibration: from data to ranges, batch by batch.
//!
//! An [`Observer`] is shown batches of a tensor and tells the range of real numbers that codes should cover, of which
//! [`QuantParams::from_ranges`](crate::QuantParams::from_ranges) makes scales and zero points of any of the eight types and
//! any number of bits. It keeps sums and counts, never the data: a histogram of 64 KiB at most.
//!
//! ```
//! use zeropoint::calibrate::{Clip, Histogram, Observer};
//! use zeropoint::{CodeRange, Granularity, Isa, QuantParams, Scheme};
//!
//! let mut observer = Histogram::new(Isa::best()?, Clip::Percentile(99.0))?;
//! for batch in [[0.1_f32; 300], [0.2; 300], [0.3; 300]] {
//!     observer.observe(&batch)?;
//! }
//! observer.observe(&[7.0, -7.0])?; // two outliers in 902
//! let range = observer.range()?;
//! assert!(range.max < 0.31 && range.min > -0.31);
//! let codes = CodeRange::signed(8)?;
//! let params = QuantParams::from_ranges(codes, Scheme::SYMMETRIC, Granularity::Tensor, &[range])?;
//! # assert!(params.scales()[0] < 0.0025);
//! # Ok::<(), zeropoint::Error>(())
//! ```
//!
//! # Every method, and its names elsewhere
//!
//! | here ([`Method`]) | range | elsewhere |
//! |---|---|---|
//! | [`MinMax`] `minmax` | smallest … largest | `numpy.min`, `max`; torch `MinMaxObserver`, `PerChannelMinMaxObserver`; Distiller `ClipMode.NONE` |
//! | [`AbsMax`] `absmax` | ± largest magnitude | `np.abs(x).max()`; NVIDIA `MaxCalibrator`, amax; Distiller symmetric `sat` |
//! | [`AverageMinMax`] `average` | means of the samples' minima and maxima | Distiller `ClipMode.AVG`, "clipping with averaging" |
//! | [`Ema`] `ema:0.9` | moving averages of the batches' minima and maxima | torch `MovingAverageMinMaxObserver`; Distiller QAT's observer |
//! | [`Moments`] `std:3` | mean ± N · unbiased std | Distiller `ClipMode.N_STD`; `x.mean()`, `x.std()` of torch, `x.std(ddof=1)` of NumPy |
//! | `gauss`, `laplace` | mean ± α(n) · std, or · mean deviation | ACIQ; Distiller `ClipMode.GAUSS`, `LAPLACE` |
//! | [`Histogram`] `percentile:99.99` | ± percentile of the magnitudes | NVIDIA `HistogramCalibrator`, `percentile`; `np.percentile(np.abs(x), p)` |
//! | `percentiles:99.99` | percentile 100 − p … p | `np.percentile(x, [100 - p, p])` |
//! | `entropy` | least Kullback–Leibler divergence | TensorRT, NVIDIA `compute_amax("entropy")`; "KL" |
//! | `mse` | least mean squared error | NVIDIA `compute_amax("mse")`; torch `HistogramObserver` searches for the same with another norm |
//! | [`percentile()`] | exact, of numbers in memory | `np.percentile`, `torch.quantile`, "linear" |
//!
//! Every range but those of `minmax` and `absmax` stays within the data's own. Ranges by magnitude are cut to the side where
//! the data lies: behind a ReLU they begin at 0, and an asymmetric scheme wastes nothing.
//!
//! # Reproducible
//!
//! The same batches in the same order give the same bits on every ISA and for any number of threads. Minima, maxima and
//! histograms do not even depend on order and split: merged in any way, they have the same bits. Sums are made in f64, in
//! chunks of a fixed length of each batch, in order ([`reference::moments`](crate::reference::moments) says how), so there
//! the split into batches matters in the last bits. A moving average depends on the order by nature and cannot be merged.
//!
//! # Parameters of other tools
//!
//! Scales and zero points that are calibrated already enter by constructors with their conventions:
//!
//! | theirs | forward | S here | Z here | constructor |
//! |---|---|---|---|---|
//! | ONNX, TFLite, PyTorch | `q = round(x / S) + Z` | S | Z | [`from_onnx`](crate::QuantParams::from_onnx), or [`new`](crate::QuantParams::new) |
//! | Flexible quantization; arXiv 2004.09602 | `q = round(a·x + b)` | 1 / a | b | [`from_multiplier_and_offset`](crate::QuantParams::from_multiplier_and_offset) |
//! | Distiller | `q = round(q_x·x − zp)` | 1 / q_x | −zp | [`from_distiller`](crate::QuantParams::from_distiller) |
//! | NVIDIA `tensor_quant`, amax | `q = round(x · qmax / amax)` | amax / qmax | 0 | [`from_amax`](crate::QuantParams::from_amax) |
//! | NVIDIA `fake_affine_tensor_quant` | `q = round(x / step) − quant_zero` | step | −quant_zero | [`from_subtracted`](crate::QuantParams::from_subtracted) |
//! | slides, `r = (q + Z)·S` | `q = round(x / S) − Z` | S | −Z | [`from_subtracted`](crate::QuantParams::from_subtracted) |
//! | gemmlowp | adds `lhs_offset` to codes | S | −lhs_offset | [`from_subtracted`](crate::QuantParams::from_subtracted) |
//! | ggml Q8_0 | `q = round(x / d)`, blocks of 32 | d | 0 | [`from_ggml_q8_0`](crate::QuantParams::from_ggml_q8_0) |
//!
//! # Granularity
//!
//! [`MinMax`] and [`AbsMax`] stream by tensor, channel or block. For the others, [`group_ranges`] gives every group of a
//! tensor in memory, such as the output channels of weights, an observer of its own:
//!
//! ```
//! use zeropoint::calibrate::{Method, group_ranges};
//! use zeropoint::{CodeRange, Granularity, Isa, QuantParams, Scheme};
//! let codes = CodeRange::narrow(4)?;
//! let mse = Method::Mse.observer(Isa::best()?, codes, 6)?;
//! let shape = [2, 6]; // of a linear layer: outputs × inputs
//! let weights = [0.1_f32, -0.2, 0.3, 0.1, -0.1, 0.2, 1.0, -2.0, 3.0, 1.0, -1.0, 2.0];
//! let per_output = Granularity::channel(&shape, 0)?; // axis 1 for a transposed convolution's [inputs, outputs, …]
//! let ranges = group_ranges(&weights, per_output, &mse)?;
//! let params = QuantParams::from_ranges(codes, Scheme::SYMMETRIC, per_output, &ranges)?;
//! # assert_eq!(params.scales().len(), 2);
//! # Ok::<(), zeropoint::Error>(())
//! ```

mod clip;
mod extremes;
mod histogram;
mod method;
mod moments;

use std::borrow::Cow;

use crate::error::Error;
use crate::isa::Isa;
use crate::params::{Granularity, Range};

pub(crate) use clip::ln;
pub use clip::{clip_by_entropy, clip_by_mse, percentile, percentile_of_bins};
pub use extremes::{AbsMax, AverageMinMax, Ema, MinMax};
pub use histogram::{BINS, Clip, Histogram};
pub use method::{Calibrator, Method};
pub use moments::{GAUSS, LAPLACE, Moments, Spread};
#[cfg(feature = "rayon")]
pub(crate) use {
    histogram::Count,
    moments::{CHUNK, ChunkDeviations, ChunkMoments, Sums},
};

/// Watches batches of a tensor, and tells the ranges that codes should cover.
pub trait Observer {
    /// Records a batch. On an error nothing of it is recorded.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::NonFinite`] with the first NaN or infinity, unless they are skipped; [`Error::Multiple`]
    /// when the length does not go with the granularity or the samples.
    fn observe(&mut self, batch: &[f32]) -> Result<(), Error> {
        self.observe_on(Threads::One, batch)
    }

    /// The same on several threads; [`parallel::observe`](crate::parallel::observe) calls it.
    ///
    /// # Errors
    /// The same.
    fn observe_on(&mut self, threads: Threads, batch: &[f32]) -> Result<(), Error>;

    /// Adds what another observer with the same settings saw.
    ///
    /// # Errors
    /// [`Error::Merge`] when the settings differ, or where the order of batches matters. Nothing is added then.
    fn merge(&mut self, other: &Self) -> Result<(), Error>
    where
        Self: Sized;

    /// The range of every group; one where nothing else is said.
    ///
    /// # Errors
    /// [`Error::Empty`] when no number was seen.
    fn ranges(&self) -> Result<Vec<Range>, Error>;

    /// The range of the whole tensor: of all groups together.
    ///
    /// # Errors
    /// As [`ranges`](Observer::ranges).
    fn range(&self) -> Result<Range, Error> {
        Ok(self.ranges()?.into_iter().reduce(Range::union).expect("an observer has a group"))
    }

    /// NaN and infinities that were skipped.
    fn skipped(&self) -> u64;
}

/// Which threads work for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    /// The caller's.
    One,
    /// Those of the caller's current rayon pool too.
    #[cfg(feature = "rayon")]
    Pool,
}

/// What an observer makes of NaN and infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NonFinite {
    /// An error.
    #[default]
    Refuse,
    /// It counts them, and sees the other numbers only.
    Skip,
}

/// The ISA an observer runs on, and what it lets in.
#[derive(Clone, Debug)]
struct Gate {
    isa: Isa,
    non_finite: NonFinite,
    skipped: u64,
}

/// Finite numbers of a batch, in order, and their range.
struct Admitted<'a> {
    x: Cow<'a, [f32]>,
    range: Range,
}

impl Gate {
    fn new(isa: Isa) -> Self {
        Gate { isa, non_finite: NonFinite::Refuse, skipped: 0 }
    }

    /// The finite numbers, if any, and how many others are to be skipped.
    fn admit<'a>(&self, threads: Threads, batch: &'a [f32]) -> Result<(Option<Admitted<'a>>, u64), Error> {
        match min_max(self.isa, threads, batch) {
            Err(Error::NonFinite { .. }) if self.non_finite == NonFinite::Skip => {
                let finite: Vec<f32> = batch.iter().copied().filter(|x| x.is_finite()).collect();
                let skipped = (batch.len() - finite.len()) as u64;
                if finite.is_empty() {
                    return Ok((None, skipped));
                }
                let range = min_max(self.isa, threads, &finite)?;
                Ok((Some(Admitted { x: finite.into(), range }), skipped))
            }
            range => Ok((Some(Admitted { x: batch.into(), range: range? }), 0)),
        }
    }
}

fn min_max(isa: Isa, threads: Threads, x: &[f32]) -> Result<Range, Error> {
    match threads {
        Threads::One => crate::min_max(isa, x),
        #[cfg(feature = "rayon")]
        Threads::Pool => crate::parallel::min_max(isa, x),
    }
}

/// `why`, unless two observers may be merged.
fn check_merge(same: bool, why: &'static str) -> Result<(), Error> {
    if same { Ok(()) } else { Err(Error::Merge { why }) }
}

/// The range of every group of a tensor, each seen by an observer of its own that begins as this one.
///
/// The observers come one after the other: the memory is that of one, and of the elements of a group where they do not lie
/// together.
///
/// # Errors
/// As [`Observer::observe`] and [`Observer::ranges`]; [`Error::Multiple`] and [`Error::Shape`] when the length does not go
/// with the granularity.
pub fn group_ranges<O: Observer + Clone>(
    x: &[f32],
    granularity: Granularity,
    observer: &O,
) -> Result<Vec<Range>, Error> {
    let groups = granularity.groups(x.len())?;
    if x.is_empty() {
        return Err(Error::Empty { what: "the tensor" });
    }
    let see = |group: &[f32]| {
        let mut observer = observer.clone();
        observer.observe(group)?;
        observer.range()
    };
    match granularity {
        Granularity::Tensor => Ok(vec![see(x)?]),
        Granularity::Channel { channels, inner } if x.len() == channels * inner => {
            x.chunks_exact(inner).map(see).collect()
        }
        Granularity::Channel { channels, inner } => {
            let mut group = Vec::with_capacity(x.len() / channels);
            let mut ranges = Vec::with_capacity(groups);
            for channel in 0..channels {
                group.clear();
                group.extend(x.chunks_exact(channels * inner).flat_map(|outer| &outer[channel * inner..][..inner]));
                ranges.push(see(&group)?);
            }
            Ok(ranges)
        }
        Granularity::Block { length, row } => x.chunks_exact(row).flat_map(|row| row.chunks(length)).map(see).collect(),
    }
}
