//! The grid: ranges by every method, then the error of every type with them.

use indicatif::ProgressBar;
use rayon::prelude::*;
use zeropoint::calibrate::{BINS, Clip, Histogram, Levels, Method, Moments, Observer, Spread};
use zeropoint::report::{ErrorReport, quantization_error, reconstruction_error};
use zeropoint::{
    Code, CodeRange, Error, Granularity, Isa, OffsetKind, QuantParams, Range, RoundingKind, ScaleKind, Scheme, Stream,
    fake_quantize, ranges,
};

use crate::stored::{Storage, Stored};
use zeropoint_tools::tensors::Tensor;

/// Bins of a channel's histogram from one candidate for its clip range to the next.
const CHANNEL_STRIDE: usize = 32;

/// What is tried on a tensor.
pub struct Grid<'a> {
    pub isa: Isa,
    /// Whether schemes are tried at all.
    pub schemes: bool,
    pub storage: Storage<'a>,
    pub bits: &'a [u32],
    pub methods: &'a [Method],
    pub axis: usize,
    pub block: usize,
    /// The axis that blocks lie along; none for the innermost.
    pub block_axis: Option<usize>,
}

/// Which elements share a scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    Tensor,
    Channel,
    Block,
}

impl Sharing {
    pub fn name(self) -> &'static str {
        match self {
            Sharing::Tensor => "tensor",
            Sharing::Channel => "channel",
            Sharing::Block => "block",
        }
    }
}

/// One scheme, and what it made of the tensor.
#[derive(Clone, Copy)]
pub struct Outcome {
    pub sharing: Sharing,
    pub method: Method,
    pub scheme: Scheme,
    pub bits: u32,
    /// The bits of the codes, and their share of the scales and zero points.
    pub bits_per_number: f64,
    pub error: ErrorReport,
}

/// All outcomes, and what the tensor is like.
pub struct Results {
    /// None if schemes are not compared.
    pub outcomes: Vec<Outcome>,
    pub stored: Vec<Stored>,
    pub range: Range,
    /// The largest magnitude of a channel over the smallest, where there are channels.
    pub channel_spread: Option<f32>,
}

impl Grid<'_> {
    /// Why a tensor cannot be compared as it was asked for.
    pub fn misfit(&self, tensor: &Tensor) -> Option<String> {
        let shape = &tensor.shape;
        let of_channels = (shape.len() > 1).then_some(self.axis);
        let of_blocks = self.block_axis.filter(|_| !shape.is_empty());
        let missing = [of_channels, of_blocks].into_iter().flatten().find(|&axis| axis >= shape.len());
        missing.map(|axis| format!("its shape {shape:?} has no axis {axis}"))
    }

    /// What a tensor takes, in numbers that are quantized.
    pub fn work(&self, tensor: &Tensor) -> u64 {
        let shapes = tensor.shape.len().min(2) * self.methods.len() + 1;
        let schemes = tensor.x.len() * shapes * self.bits.len() * Scheme::ALL.len();
        self.storage.work(tensor) + if self.schemes { schemes as u64 } else { 0 }
    }

    /// Those that differ for this shape.
    fn granularities(&self, tensor: &Tensor) -> Result<Vec<(Sharing, Granularity)>, Error> {
        if !self.schemes {
            return Ok(Vec::new());
        }
        let mut all = vec![(Sharing::Tensor, Granularity::Tensor)];
        if tensor.shape.len() > 1 {
            all.push((Sharing::Channel, Granularity::channel(&tensor.shape, self.axis)?));
        }
        if let Some(innermost) = tensor.shape.len().checked_sub(1) {
            let axis = self.block_axis.unwrap_or(innermost);
            all.push((Sharing::Block, Granularity::block_along(&tensor.shape, axis, self.block)?));
        }
        Ok(all)
    }

    pub fn run(&self, tensor: &Tensor, progress: &ProgressBar) -> Result<Results, Error> {
        let whole = zeropoint::min_max(self.isa, &tensor.x)?;
        let mut jobs = Vec::new();
        let mut channel_spread = None;
        for (sharing, granularity) in self.granularities(tensor)? {
            if sharing == Sharing::Block {
                let ranges = ranges(self.isa, &tensor.x, granularity)?;
                let ranges: Vec<[Range; 2]> = ranges.into_iter().map(|range| [range; 2]).collect();
                jobs.extend(self.bits.iter().map(|&bits| (sharing, granularity, Method::MinMax, bits, ranges.clone())));
                continue;
            }
            let groups = gather(&tensor.x, granularity);
            let unsigned = whole.min >= 0.0;
            let stride = if sharing == Sharing::Channel { CHANNEL_STRIDE } else { 1 };
            let all = groups.par_iter().map(|group| self.group(group, unsigned, stride));
            let all: Vec<Vec<[Range; 2]>> = all.collect::<Result<_, Error>>()?;
            let cells = self.methods.iter().flat_map(|&method| self.bits.iter().map(move |&bits| (method, bits)));
            for (i, (method, bits)) in cells.enumerate() {
                jobs.push((sharing, granularity, method, bits, all.iter().map(|ranges| ranges[i]).collect()));
            }
            if sharing == Sharing::Channel {
                let amax = |group: &Vec<f32>| group.iter().fold(0.0, |amax: f32, x| amax.max(x.abs()));
                let (least, most) = groups.iter().map(amax).fold((f32::MAX, 0.0), |(a, b), x| (x.min(a), x.max(b)));
                channel_spread = (least > 0.0).then(|| most / least);
            }
        }
        let outcomes = jobs.par_iter().map(|(sharing, granularity, method, bits, ranges)| {
            let mut outcomes = Vec::new();
            for scheme in Scheme::ALL {
                let cell = Cell { sharing: *sharing, granularity: *granularity, method: *method, scheme, bits: *bits };
                let symmetric = usize::from(scheme.offset != OffsetKind::Integer);
                let ranges: Vec<Range> = ranges.iter().map(|both| both[symmetric]).collect();
                let outcome = match (scheme.offset, whole.min < 0.0) {
                    (_, false) => cell.measure(self.isa, &tensor.x, CodeRange::unsigned(*bits)?, &ranges),
                    (OffsetKind::Integer, _) => cell.measure(self.isa, &tensor.x, CodeRange::signed(*bits)?, &ranges),
                    _ => cell.measure(self.isa, &tensor.x, CodeRange::narrow(*bits)?, &ranges),
                };
                progress.inc(tensor.x.len() as u64);
                outcomes.push(outcome?);
            }
            Ok(outcomes)
        });
        let outcomes: Vec<Vec<Outcome>> = outcomes.collect::<Result<_, Error>>()?;
        let stored = self.storage.run(tensor, progress)?;
        Ok(Results { outcomes: outcomes.concat(), stored, range: whole, channel_spread })
    }

    /// The ranges of a group, by method and bits, each for asymmetric and for symmetric schemes. Its numbers are counted once for
    /// all of them.
    fn group(&self, x: &[f32], unsigned: bool, stride: usize) -> Result<Vec<[Range; 2]>, Error> {
        let mut histogram = Histogram::new(Clip::Percentile(100.0))?;
        let mut moments = Moments::new(Spread::Deviations(1.0))?;
        histogram.observe(self.isa.into(), x)?;
        moments.observe(self.isa.into(), x)?;
        let mut ranges: Vec<[Range; 2]> = Vec::new();
        for &method in self.methods {
            let of_bits = matches!(method, Method::Mse | Method::Entropy | Method::Gauss | Method::Laplace);
            for (i, &bits) in self.bits.iter().enumerate() {
                if i > 0 && !of_bits {
                    ranges.push(ranges[ranges.len() - 1]);
                    continue;
                }
                let mut both = [Range::default(); 2];
                for (range, scheme) in both.iter_mut().zip([Scheme::ASYMMETRIC, Scheme::SYMMETRIC]) {
                    let levels = levels(scheme, unsigned, bits)?;
                    let (clip, spread) = match method {
                        Method::Percentile(p) => (Some(Clip::Percentile(p)), None),
                        Method::Percentiles(p) => (Some(Clip::Percentiles(p)), None),
                        Method::Mse => (Some(Clip::Mse { levels, start: 0, stride }), None),
                        Method::Entropy => (Some(Clip::Entropy { levels, start: BINS / 16, stride }), None),
                        Method::Std(n) => (None, Some(Spread::Deviations(n))),
                        Method::Gauss => (None, Some(Spread::Gauss { bits, half: unsigned })),
                        Method::Laplace => (None, Some(Spread::Laplace { bits, half: unsigned })),
                        Method::MinMax | Method::AbsMax | Method::Average | Method::Ema(_) | Method::Moving(_) => {
                            (None, None)
                        }
                    };
                    *range = if let Some(clip) = clip {
                        histogram = histogram.choosing(clip)?;
                        histogram.range()?
                    } else if let Some(spread) = spread {
                        moments = moments.choosing(spread)?;
                        moments.range()?
                    } else {
                        let mut observer = method.observer(CodeRange::narrow(bits)?, scheme, x.len())?;
                        observer.observe(self.isa.into(), x)?;
                        observer.range()?
                    };
                }
                ranges.push(both);
            }
        }
        Ok(ranges)
    }
}

/// The levels of the codes that a scheme is tried with.
fn levels(scheme: Scheme, unsigned: bool, bits: u32) -> Result<Levels, Error> {
    Ok(if unsigned {
        Levels::of(CodeRange::unsigned(bits)?, scheme)
    } else if scheme.offset == OffsetKind::Integer {
        Levels::of(CodeRange::signed(bits)?, scheme)
    } else {
        Levels::of(CodeRange::narrow(bits)?, scheme)
    })
}

/// The elements of every group.
fn gather(x: &[f32], granularity: Granularity) -> Vec<Vec<f32>> {
    let groups = granularity.groups(x.len()).expect("the granularity is of the tensor's shape");
    let mut all = vec![Vec::with_capacity(x.len() / groups); groups];
    for (i, &x) in x.iter().enumerate() {
        all[granularity.group_of(i)].push(x);
    }
    all
}

/// One scheme.
struct Cell {
    sharing: Sharing,
    granularity: Granularity,
    method: Method,
    scheme: Scheme,
    bits: u32,
}

impl Cell {
    fn measure<C: Code>(&self, isa: Isa, x: &[f32], codes: CodeRange<C>, ranges: &[Range]) -> Result<Outcome, Error> {
        let params = QuantParams::from_ranges(codes, self.scheme, self.granularity, ranges)?;
        let error = match self.scheme.rounding {
            RoundingKind::Nearest => quantization_error(isa, x, &params)?,
            RoundingKind::Stochastic => {
                let mut real = vec![0.0; x.len()];
                fake_quantize(isa, x, &params, Stream::new(42), &mut real)?;
                reconstruction_error(isa, x, &real)?
            }
        };
        let group_bits = if self.scheme.scale == ScaleKind::Float { 32.0 } else { 8.0 }
            + if self.scheme.offset == OffsetKind::Integer { 8.0 } else { 0.0 };
        Ok(Outcome {
            sharing: self.sharing,
            method: self.method,
            scheme: self.scheme,
            bits: self.bits,
            bits_per_number: f64::from(self.bits) + group_bits * ranges.len() as f64 / x.len() as f64,
            error,
        })
    }
}
