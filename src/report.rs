//! What quantization costs: the differences between real numbers and what their codes stand for, as sums and as decibels.
//!
//! ```text
//! e = x − r                       the reconstruction r = S · (q − Z); rounded once to f32
//! SSE = Σ e²                      MSE = SSE / n
//! SQNR = 10 · log₁₀(Σ x² / SSE)   signal to quantization noise, in dB
//! bits = ½ · log₂(Σ x² / SSE)     effective bits: SQNR / 6.02 dB
//! ```
//!
//! The difference of two f32 within a factor of two of each other is exact (Sterbenz), so e is, but for numbers that
//! saturate. Its square in f64 is exact for any e, and the sums are in f64 over fixed chunks: in each of [`CHUNK`]
//! elements, sixteen sums of every sixteenth element, added from the first to the last; then the chunks in order. So every
//! ISA and any number of threads makes the same bits, with fused multiply-adds or without.

use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::{Grouping, Params, QuantParams};
use crate::quantize::VecParams;
use crate::reduce::magnitude_bits;
use crate::simd::LANES;
use crate::simd::walk::block;

/// The elements whose sums are made together.
pub(crate) const CHUNK: usize = 16 << 10;

/// How far a reconstruction is from real numbers.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, quantization_error};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// // To 0.5, −1.5, 1 and the largest code, 3.5.
/// let report = quantization_error(Isa::best()?, &[0.25 + 0.125, -1.5, 1.0, 4.0], &params)?;
/// assert_eq!((report.sse(), report.mse()), (0.265625, 0.06640625));
/// assert_eq!((report.max_error(), report.saturated()), (0.5, Some(1)));
/// assert_eq!(report.signal(), 19.390625);
/// assert!((report.sqnr() - 18.633).abs() < 1e-3 && (report.effective_bits() - 3.095).abs() < 1e-3);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ErrorReport {
    elements: usize,
    sums: Sums,
}

impl ErrorReport {
    /// How many numbers there are.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Σ x²: the sum of the squares of the real numbers.
    #[must_use]
    pub fn signal(&self) -> f64 {
        self.sums.signal
    }

    /// Σ (x − r)²: the sum of squared errors.
    #[must_use]
    pub fn sse(&self) -> f64 {
        self.sums.noise
    }

    /// The mean squared error.
    #[must_use]
    pub fn mse(&self) -> f64 {
        self.sse() / self.elements as f64
    }

    /// The signal-to-quantization-noise ratio in dB; infinity when there is no noise.
    #[must_use]
    pub fn sqnr(&self) -> f64 {
        10.0 * self.ratio().log10()
    }

    /// The bits of the codes with which numbers spread evenly over the range have this ratio of signal to noise, 6.02 dB a
    /// bit; infinity when there is no noise. (The ENOB of converters is 0.29 lower: it begins with a sine, of half a
    /// bit more power.)
    #[must_use]
    pub fn effective_bits(&self) -> f64 {
        0.5 * self.ratio().log2()
    }

    fn ratio(&self) -> f64 {
        if self.sse() == 0.0 { f64::INFINITY } else { self.signal() / self.sse() }
    }

    /// The largest |x − r|.
    #[must_use]
    pub fn max_error(&self) -> f32 {
        f32::from_bits(self.sums.max_error_bits as u32)
    }

    /// How many numbers have a code, `RNE(x / S) + Z`, outside the code range; `None` when only a reconstruction is known.
    #[must_use]
    pub fn saturated(&self) -> Option<u64> {
        self.sums.saturated
    }
}

/// What [`quantize`](crate::quantize()) with these parameters costs: the report of `x` and what
/// [`fake_quantize`](crate::fake_quantize()) makes of it, which is not stored.
///
/// # Errors
/// [`Error::Multiple`] and [`Error::Length`] when the length does not go with the parameters, [`Error::Empty`],
/// [`Error::NonFinite`].
pub fn quantization_error<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>) -> Result<ErrorReport, Error> {
    report(x, chunks(x, Codes::new(x, params.inner())?).map(|chunk| isa.run(chunk)))
}

/// What is lost between `x` and its reconstruction, by whatever method it was made.
///
/// ```
/// use zeropoint::{Isa, reconstruction_error};
/// let report = reconstruction_error(Isa::best()?, &[1.0, 2.0, 3.0], &[1.0, 2.5, 3.0])?;
/// assert_eq!((report.sse(), report.max_error(), report.saturated()), (0.25, 0.5, None));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`], [`Error::Empty`], [`Error::NonFinite`].
pub fn reconstruction_error(isa: Isa, x: &[f32], reconstruction: &[f32]) -> Result<ErrorReport, Error> {
    report(x, chunks(x, Given::new(x, reconstruction)?).map(|chunk| isa.run(chunk)))
}

/// The report of chunks, in order.
pub(crate) fn report(x: &[f32], chunks: impl Iterator<Item = Sums>) -> Result<ErrorReport, Error> {
    let sums = chunks.reduce(Sums::add).ok_or(Error::Empty { what: "the tensor" })?;
    // Sums of finite squares are finite: 2¹²⁸ · 2¹²⁸ · 2⁶⁴ is far below the largest f64.
    if !sums.signal.is_finite() {
        let found = x.iter().copied().find(|x| !x.is_finite()).expect("a square is not finite");
        return Err(Error::NonFinite { what: "the tensor", found });
    }
    if !sums.noise.is_finite() {
        return Err(Error::NonFinite { what: "the difference", found: f32::from_bits(sums.max_error_bits as u32) });
    }
    Ok(ErrorReport { elements: x.len(), sums })
}

/// The sums of some elements.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sums {
    signal: f64,
    noise: f64,
    /// The bits of the largest |e|, which order as magnitudes do.
    max_error_bits: i32,
    saturated: Option<u64>,
}

impl Sums {
    #[cfg(feature = "rayon")]
    pub const NONE: Sums = Sums { signal: 0.0, noise: 0.0, max_error_bits: 0, saturated: None };

    fn add(self, next: Sums) -> Sums {
        Sums {
            signal: self.signal + next.signal,
            noise: self.noise + next.noise,
            max_error_bits: self.max_error_bits.max(next.max_error_bits),
            saturated: self.saturated.zip(next.saturated).map(|(a, b)| a + b),
        }
    }
}

/// Where the reconstruction of a tensor comes from.
pub(crate) trait Reconstruction: Copy + Send + Sync {
    /// Whether it can tell saturation.
    const SATURATES: bool;
    /// What whole blocks that lie together are reconstructed by.
    type Blocks<S: Vectors>;

    /// The first of so many blocks from element `start` on, and how many they are.
    fn blocks<S: Vectors>(self, simd: S, start: usize, most: usize) -> (Self::Blocks<S>, usize);
    /// What block `i` of them, x, is reconstructed as; and ±1 where it saturates, else 0.
    fn block<S: Vectors>(blocks: &Self::Blocks<S>, simd: S, i: usize, x: S::F32) -> (S::F32, S::I32);
    /// The same for a last, incomplete block from element `start` on, which zeros fill up.
    fn tail<S: Vectors>(self, simd: S, start: usize, x: S::F32) -> (S::F32, S::I32);
}

/// From memory.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(&'a [f32]);

impl<'a> Given<'a> {
    pub fn new(x: &[f32], reconstruction: &'a [f32]) -> Result<Self, Error> {
        check_length("the reconstruction", x.len(), reconstruction.len())?;
        Ok(Given(reconstruction))
    }
}

impl<'a> Reconstruction for Given<'a> {
    const SATURATES: bool = false;
    type Blocks<S: Vectors> = &'a [[f32; LANES]];

    #[inline(always)]
    fn blocks<S: Vectors>(self, _: S, start: usize, most: usize) -> (Self::Blocks<S>, usize) {
        (&self.0[start..].as_chunks().0[..most], most)
    }

    #[inline(always)]
    fn block<S: Vectors>(blocks: &Self::Blocks<S>, simd: S, i: usize, _: S::F32) -> (S::F32, S::I32) {
        (simd.load_f32(&blocks[i]), simd.splat_i32(0))
    }

    #[inline(always)]
    fn tail<S: Vectors>(self, simd: S, start: usize, _: S::F32) -> (S::F32, S::I32) {
        (simd.load_f32(&block(self.0, start)), simd.splat_i32(0))
    }
}

/// From the codes, as they are made.
#[derive(Clone, Copy)]
pub(crate) struct Codes<'a> {
    params: &'a Params,
    elements: usize,
}

impl<'a> Codes<'a> {
    pub fn new(x: &[f32], params: &'a Params) -> Result<Self, Error> {
        params.check_elements(x.len())?;
        Ok(Codes { params, elements: x.len() })
    }

    /// The parameters of the block from `start` on, whose elements may belong to several groups.
    #[inline(always)]
    fn mixed<S: Vectors>(self, simd: S, start: usize) -> VecParams<S> {
        let grouping = self.params.grouping();
        if let Grouping::Interleaved { .. } = grouping {
            let all = self.params.all().slice(start % self.params.period(), LANES);
            let (Some(scales), Some(zero_points)) = (all.scales.first_chunk(), all.zero_points.first_chunk()) else {
                unreachable!("arrays of parameters are padded")
            };
            return VecParams::new(simd, self.params.bounds(), simd.load_f32(scales), simd.load_i32(zero_points));
        }
        let (all_scales, all_zero_points) = (self.params.scales(), self.params.zero_points());
        let (mut scales, mut zero_points) = ([1.0; LANES], [0; LANES]);
        let lanes = LANES.min(self.elements - start);
        let mut lane = 0;
        while lane < lanes {
            let run = grouping.run_length(start + lane, self.elements).min(lanes - lane);
            let group = grouping.group_of(start + lane);
            scales[lane..lane + run].fill(all_scales[group]);
            zero_points[lane..lane + run].fill(all_zero_points[group]);
            lane += run;
        }
        // What pads the last block is 0, which has the code 0.
        VecParams::new(simd, self.params.bounds(), simd.load_f32(&scales), simd.load_i32(&zero_points))
    }
}

impl Reconstruction for Codes<'_> {
    const SATURATES: bool = true;
    type Blocks<S: Vectors> = VecParams<S>;

    #[inline(always)]
    fn blocks<S: Vectors>(self, simd: S, start: usize, most: usize) -> (VecParams<S>, usize) {
        let grouping = self.params.grouping();
        let run = grouping.run_length(start, self.elements);
        if run < LANES || matches!(grouping, Grouping::Interleaved { .. }) {
            return (self.mixed(simd, start), 1);
        }
        let group = grouping.group_of(start);
        let scale = simd.splat_f32(self.params.scales()[group]);
        let zero_point = simd.splat_i32(self.params.zero_points()[group]);
        (VecParams::new(simd, self.params.bounds(), scale, zero_point), most.min(run / LANES))
    }

    #[inline(always)]
    fn block<S: Vectors>(lanes: &VecParams<S>, simd: S, _: usize, x: S::F32) -> (S::F32, S::I32) {
        let (q, excess) = lanes.code_and_excess(simd, x);
        (lanes.real(simd, q), excess)
    }

    #[inline(always)]
    fn tail<S: Vectors>(self, simd: S, start: usize, x: S::F32) -> (S::F32, S::I32) {
        Self::block(&self.mixed(simd, start), simd, 0, x)
    }
}

/// A chunk of a tensor.
pub(crate) struct Chunk<'a, R> {
    x: &'a [f32],
    /// Where it begins in the tensor.
    first: usize,
    reconstruction: R,
}

/// The chunks of a tensor.
pub(crate) fn chunks<R: Reconstruction>(
    x: &[f32],
    reconstruction: R,
) -> impl DoubleEndedIterator<Item = Chunk<'_, R>> + ExactSizeIterator + Send {
    x.chunks(CHUNK).enumerate().map(move |(i, x)| Chunk { x, first: i * CHUNK, reconstruction })
}

/// [`Sums`] of sixteen lanes.
#[derive(Clone, Copy)]
struct SumLanes<S: Vectors> {
    signal: S::F64,
    noise: S::F64,
    max_error_bits: S::I32,
    saturated: S::I32,
}

impl<S: Vectors> SumLanes<S> {
    #[inline(always)]
    fn none(simd: S) -> Self {
        let (sum, count) = (simd.splat_f64(0.0), simd.splat_i32(0));
        SumLanes { signal: sum, noise: sum, max_error_bits: count, saturated: count }
    }

    #[inline(always)]
    fn observe(self, simd: S, x: S::F32, (r, excess): (S::F32, S::I32)) -> Self {
        let error = simd.sub_f32(x, r);
        SumLanes {
            signal: simd.add_square(self.signal, x),
            noise: simd.add_square(self.noise, error),
            max_error_bits: simd.max_i32(self.max_error_bits, magnitude_bits(simd, error)),
            saturated: simd.add_i32(self.saturated, simd.and_i32(excess, simd.splat_i32(1))),
        }
    }
}

impl<R: Reconstruction> Kernel for Chunk<'_, R> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> Sums {
        let Chunk { x, first, reconstruction } = self;
        let mut sums = SumLanes::none(simd);
        let (mut blocks, tail) = x.as_chunks();
        let mut start = first;
        while !blocks.is_empty() {
            let (reconstructed, count) = reconstruction.blocks(simd, start, blocks.len());
            let (these, others) = blocks.split_at(count);
            for (i, x) in these.iter().enumerate() {
                let x = simd.load_f32(x);
                sums = sums.observe(simd, x, R::block(&reconstructed, simd, i, x));
            }
            start += count * LANES;
            blocks = others;
        }
        if !tail.is_empty() {
            let x = simd.load_f32(&block(tail, 0));
            sums = sums.observe(simd, x, reconstruction.tail(simd, start, x));
        }
        let (mut signals, mut noises, mut bits) = ([0.0; LANES], [0.0; LANES], [0; LANES]);
        simd.store_f64(sums.signal, &mut signals);
        simd.store_f64(sums.noise, &mut noises);
        simd.store_i32(sums.max_error_bits, &mut bits);
        Sums {
            signal: signals.into_iter().sum(),
            noise: noises.into_iter().sum(),
            max_error_bits: bits.into_iter().fold(0, i32::max),
            saturated: R::SATURATES.then(|| simd.sum_i32(sums.saturated) as u64),
        }
    }
}
