//! Quantizes a tensor again and again, and follows the error of the mean.

use std::iter::{once, successors};

use indicatif::ProgressBar;
use rayon::prelude::*;
use zeropoint::{Error, Granularity, Isa, QuantParams, Rounding, RoundingKind, Scheme, Stream, fake_quantize, min_max};

use crate::types;

/// What is quantized, how, and how often.
pub struct Experiment<'a> {
    pub isa: Isa,
    pub bits: u32,
    pub repetitions: u64,
    pub seed: u64,
    pub x: &'a [f32],
}

/// One type of quantization: its parameters, and the error of its mean against the number of repetitions.
pub struct Curve {
    pub scheme: Scheme,
    pub scale: f32,
    pub zero_point: i32,
    /// For N = 1, 2, 4, … and the last.
    pub points: Vec<Point>,
}

/// The error of the mean of `n` quantizations, relative to the RMS of the tensor.
#[derive(Clone, Copy)]
pub struct Point {
    pub n: u64,
    pub error: f64,
}

impl Experiment<'_> {
    /// All eight types, on as many threads as the pool has: each is one thread's work from its first repetition to its
    /// last, so that its sums do not depend on their number.
    pub fn run(&self, progress: &ProgressBar) -> Result<Vec<Curve>, Error> {
        Scheme::ALL.par_iter().map(|&scheme| self.curve(scheme, progress)).collect()
    }

    /// The quantizations that the progress bar sees.
    pub fn work(&self) -> u64 {
        Scheme::ALL.iter().map(|&scheme| self.distinct(scheme)).sum()
    }

    /// How many repetitions differ: of nearest rounding, each is the same as the first.
    fn distinct(&self, scheme: Scheme) -> u64 {
        match scheme.rounding {
            RoundingKind::Nearest => 1,
            RoundingKind::Stochastic => self.repetitions,
        }
    }

    fn curve(&self, scheme: Scheme, progress: &ProgressBar) -> Result<Curve, Error> {
        let range = min_max(self.isa, self.x)?;
        let params = QuantParams::from_ranges(types::codes(scheme, self.bits)?, scheme, Granularity::Tensor, &[range])?;
        let distinct = self.distinct(scheme);
        let (mut sums, mut out) = (vec![0.0; self.x.len()], vec![0.0; self.x.len()]);
        let (mut done, mut points) = (0, Vec::new());
        for n in counts(self.repetitions) {
            while done < n.min(distinct) {
                self.repeat(scheme, &params, done, &mut out)?;
                sums.iter_mut().zip(&out).for_each(|(sum, &x)| *sum += f64::from(x));
                done += 1;
                progress.inc(1);
            }
            points.push(Point { n, error: relative_error(&sums, done as f64, self.x) });
        }
        Ok(Curve { scheme, scale: params.scales()[0], zero_point: params.zero_points()[0], points })
    }

    /// A repetition: what its codes stand for. Each has words of the stream to itself.
    fn repeat(&self, scheme: Scheme, params: &QuantParams<i8>, r: u64, out: &mut [f32]) -> Result<(), Error> {
        match scheme.rounding {
            RoundingKind::Nearest => fake_quantize(self.isa, self.x, params, Rounding::Nearest, out),
            RoundingKind::Stochastic => {
                let stream = Stream::new(self.seed).skip(r * self.x.len() as u64)?;
                fake_quantize(self.isa, self.x, params, stream, out)
            }
        }
    }
}

/// 1, 2, 4, … below the number of repetitions, and that.
fn counts(repetitions: u64) -> impl Iterator<Item = u64> {
    successors(Some(1), |n| Some(2 * n)).take_while(move |&n| n < repetitions).chain(once(repetitions))
}

/// `RMS(sums / n − x) / RMS(x)`
fn relative_error(sums: &[f64], n: f64, x: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let noise: f64 = sums.iter().zip(x).map(|(sum, &x)| square(sum / n - f64::from(x))).sum();
    let signal: f64 = x.iter().map(|&x| square(x.into())).sum();
    (noise / signal).sqrt()
}

impl Curve {
    pub fn first(&self) -> Point {
        self.points[0]
    }

    pub fn last(&self) -> Point {
        self.points[self.points.len() - 1]
    }

    pub fn is_stochastic(&self) -> bool {
        self.scheme.rounding == RoundingKind::Stochastic
    }

    /// The exponent k of the power law `error ∝ Nᵏ` through the points: least squares of the logarithms. None through a
    /// single point.
    pub fn slope(&self) -> Option<f64> {
        let logarithms = || self.points.iter().map(|point| ((point.n as f64).ln(), point.error.ln()));
        let count = self.points.len() as f64;
        let (x, y) = logarithms().fold((0.0, 0.0), |(x, y), (a, b)| (x + a / count, y + b / count));
        let covariance: f64 = logarithms().map(|(a, b)| (a - x) * (b - y)).sum();
        let variance: f64 = logarithms().map(|(a, _)| (a - x) * (a - x)).sum();
        (variance > 0.0).then(|| covariance / variance)
    }
}
