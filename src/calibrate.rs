//! Calibration: from data to ranges, batch by batch.
//!
//! An [`Observer`] is shown batches of a tensor and tells the range of real values that codes should cover, from which
//! [`QuantParams::from_ranges`](crate::QuantParams::from_ranges) makes scales and zero points of any of the eight types, for
//! codes of any width. It keeps sums and counts, never the data: a histogram of 64 KiB at most.
//!
//! ```
//! use zeropoint::calibrate::{Clip, Histogram, Observer};
//! use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Scheme};
//!
//! let exec = Exec::best()?;
//! let mut observer = Histogram::new(Clip::Percentile(99.0))?;
//! for batch in [[0.1_f32; 300], [0.2; 300], [0.3; 300]] {
//!     observer.observe(exec, &batch)?;
//! }
//! observer.observe(exec, &[7.0, -7.0])?; // two outliers in 902
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
//! | [`Ema::new`] `ema:0.9` | moving averages of the batches' minima and maxima, without bias to 0 | Distiller QAT's observer |
//! | [`Ema::from_first_batch`] `moving:0.01` | moving averages of minima and maxima that begin with the first batch | torch `MovingAverageMinMaxObserver`, its bits |
//! | [`Moments`] `std:3` | mean ± N · unbiased std | Distiller `ClipMode.N_STD`; `x.mean()`, `x.std()` of torch, `x.std(ddof=1)` of NumPy |
//! | `gauss`, `laplace` | mean ± α(n) · std, or · mean deviation | ACIQ; Distiller `ClipMode.GAUSS`, `LAPLACE` |
//! | [`Sawb`] | ± (c₁ · √E\[x²\] − c₂ · E\[\|x\|\]), coefficients by bits | SAWB |
//! | [`Histogram`] `percentile:99.99` | ± percentile of the magnitudes | NVIDIA `HistogramCalibrator`, `percentile`; `np.percentile(np.abs(x), p)` |
//! | `percentiles:99.99` | percentile 100 − p … p | `np.percentile(x, [100 - p, p])` |
//! | `entropy` | least Kullback–Leibler divergence | TensorRT, NVIDIA `compute_amax("entropy")`; "KL" |
//! | `mse` | least mean squared error | NVIDIA `compute_amax("mse")`; torch `HistogramObserver` searches for the same, moving one end at a time |
//! | [`percentile()`] | exact, of values in memory | `np.percentile`, `torch.quantile`, "linear" |
//!
//! Names elsewhere say what is meant, not that the bits are the same: NVIDIA's percentile is the lower edge of the bin that ours
//! lies in, Distiller's ranges may exceed the data. Bits are the same where it is said.
//!
//! Every range but that of `absmax` stays within the data's own (that of `moving` but for rounding). Ranges by magnitude are cut
//! to the side where the data lies: behind a ReLU they begin at 0, and an asymmetric scheme wastes nothing.
//!
//! `entropy` and `mse` count with the [`Levels`] of the scheme on the sides where the data lies. NVIDIA's calibrators take them from
//! the code type alone: [`Levels::by_code_type`].
//!
//! # Ranges that stop changing
//!
//! [`Freeze`] wraps any observer of training: once frozen, batches change nothing. [`training`](crate::training) has the gradients
//! of ranges that are learned.
//!
//! # Reproducible
//!
//! The same batches in the same order give the same bits on every ISA and any threads. Minima, maxima and
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
//! | ONNX `DynamicQuantizeLinear` from ranges | `S` and `Z` in f32 | S | Z | [`as_onnx`](crate::QuantParams::as_onnx) |
//! | ggml Q8_0 | `q = round(x / d)`, blocks of 32 | d | 0 | [`from_ggml_q8_0`](crate::QuantParams::from_ggml_q8_0) |
//!
//! Which calls stand for their operators, and with which bits, is in [`conventions`](crate::conventions).
//!
//! # Granularity
//!
//! [`MinMax`] and [`AbsMax`] stream by tensor, channel or block. For the others, [`group_ranges`] gives every group of a
//! tensor in memory, such as the output channels of weights, an observer of its own:
//!
//! ```
//! use zeropoint::calibrate::{Method, group_ranges};
//! use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Scheme};
//! let codes = CodeRange::narrow(4)?;
//! let mse = Method::Mse.observer(codes, Scheme::SYMMETRIC, 6)?;
//! let shape = [2, 6]; // of a linear layer: outputs × inputs
//! let weights = [0.1_f32, -0.2, 0.3, 0.1, -0.1, 0.2, 1.0, -2.0, 3.0, 1.0, -1.0, 2.0];
//! let per_output = Granularity::channel(&shape, 0)?; // axis 1 for a transposed convolution's [inputs, outputs, …]
//! let ranges = group_ranges(Exec::best()?, &weights, per_output, &mse)?;
//! let params = QuantParams::from_ranges(codes, Scheme::SYMMETRIC, per_output, &ranges)?;
//! # assert_eq!(params.scales().len(), 2);
//! # Ok::<(), zeropoint::Error>(())
//! ```
//!
//! Of small groups, [`mse_ranges`] finds the least squared error by quantizing them with every candidate, which is much faster
//! than a histogram of each.

mod bins;
mod clip;
mod extremes;
mod freeze;
mod groups;
mod histogram;
mod levels;
pub(crate) mod logarithm;
mod method;
mod moments;
mod observer;
mod sawb;
mod shrunk;
mod sums;

pub use clip::{clip_by_entropy, clip_by_mse, percentile, percentile_of_bins};
pub use extremes::{AbsMax, AverageMinMax, Ema, MinMax};
pub use freeze::Freeze;
pub use groups::group_ranges;
pub use histogram::{BINS, Clip, Histogram};
pub use levels::Levels;
pub use method::{Calibrator, Method};
pub use moments::{GAUSS, LAPLACE, Moments, Spread};
pub use observer::{NonFinite, Observer};
pub use sawb::{SAWB, Sawb};
pub use shrunk::mse_ranges;
