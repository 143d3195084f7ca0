//! A claim of the README of `lixilinx/Flexible_quantization`, which defines eight types of quantization: "for a quadratic
//! cost, the gradients of stochastically quantized coefficients are unbiased as well, while the ones of deterministically
//! quantized coefficients are biased".
//!
//! ```text
//! J(w) = ½·wᵀ·H·w − bᵀ·w      gradient g(w) = H·w − b, known exactly
//! g(Q(w)) = H·Q(w) − b         what training sees when w is quantized
//! ```
//!
//! `g` is linear, so that `E g(Q(w)) = g(E Q(w))`, which is `g(w)` if Q is unbiased. Here w has 64 coefficients, H is
//! A·Aᵀ/64 of a random A, so that coefficients depend on each other, and Q is drawn N times. Of every component of the mean
//! a 95 % confidence interval is made by its own spread. A rounding to nearest gives the same gradient every time, and no
//! interval.
//!
//! The cost itself is not linear: `E J(Q(w)) = J(w) + ½·tr(H·Cov)`, so stochastic rounding makes it larger. That is measured too.

use serde::{Deserialize, Serialize};
use zeropoint::{CodeRange, Exec, Granularity, OffsetKind, QuantParams, RoundingKind, ScaleKind, Scheme, Stream};
use zeropoint::{Rounding, fake_quantize, min_max};

use crate::Failure;
use crate::random::uniform;

/// The number of coefficients w.
pub const COEFFICIENTS: usize = 64;

/// The two-sided 95 % point of the normal distribution.
const NORMAL_95: f64 = 1.959_964;

/// What was measured with one scheme.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The bits.
    pub bits: u32,
    /// The type of quantization, in words.
    pub scheme: String,
    /// Whether it rounds stochastically.
    pub stochastic: bool,
    /// ‖mean gradient − exact gradient‖ / ‖exact gradient‖ of N = 1, 2, 4, … draws.
    pub errors: Vec<(u64, f64)>,
    /// ‖gradient − exact‖ / ‖exact‖ of a single draw, as a root mean square.
    pub single: f64,
    /// The standard error of the mean gradient, relative to the exact gradient: about what `errors` ends with if there is
    /// no bias.
    pub expected: f64,
    /// Components whose 95 % confidence interval has the exact one inside, of 64.
    pub covered: usize,
    /// The mean cost above the exact one, as a part of the cost's magnitude.
    pub cost: f64,
}

/// The cost function.
struct Quadratic {
    h: Vec<f64>,
    b: Vec<f64>,
}

impl Quadratic {
    fn new(exec: Exec<'_>, seed: u64) -> Result<Self, Failure> {
        let a = uniform(exec, Stream::new(seed), COEFFICIENTS * COEFFICIENTS)?;
        let row = |i: usize| &a[i * COEFFICIENTS..][..COEFFICIENTS];
        let dot = |i, j| row(i).iter().zip(row(j)).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
        let h = (0..COEFFICIENTS * COEFFICIENTS).map(|i| dot(i / COEFFICIENTS, i % COEFFICIENTS) / COEFFICIENTS as f64);
        let b = uniform(exec, Stream::new(seed + 1), COEFFICIENTS)?.into_iter().map(f64::from).collect();
        Ok(Quadratic { h: h.collect(), b })
    }

    /// The gradient and the cost.
    fn at(&self, w: &[f32]) -> (Vec<f64>, f64) {
        let products: Vec<f64> = self
            .h
            .chunks_exact(COEFFICIENTS)
            .map(|row| row.iter().zip(w).map(|(h, &w)| h * f64::from(w)).sum())
            .collect();
        let gradient = products.iter().zip(&self.b).map(|(p, b)| p - b).collect();
        let terms = products.iter().zip(&self.b).zip(w).map(|((p, b), &w)| (0.5 * p - b) * f64::from(w));
        (gradient, terms.sum())
    }
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

/// Measures all types of quantization at some bits, with N = `draws`.
///
/// # Errors
/// Bits that no code has.
pub fn measure(exec: Exec<'_>, bits: &[u32], draws: u64, seed: u64) -> Result<Vec<Measured>, Failure> {
    let cost = Quadratic::new(exec, seed)?;
    let w = uniform(exec, Stream::new(seed + 2), COEFFICIENTS)?;
    let mut all = Vec::new();
    for &bits in bits {
        for scheme in Scheme::ALL {
            all.push(one(exec, &cost, &w, bits, scheme, draws, seed + 3)?);
        }
    }
    Ok(all)
}

fn one(
    exec: Exec<'_>,
    cost: &Quadratic,
    w: &[f32],
    bits: u32,
    scheme: Scheme,
    draws: u64,
    seed: u64,
) -> Result<Measured, Failure> {
    let codes = if scheme.offset == OffsetKind::Integer { CodeRange::signed(bits)? } else { CodeRange::narrow(bits)? };
    let params = QuantParams::from_ranges(codes, scheme, Granularity::Tensor, &[min_max(exec, w)?])?;
    let stochastic = scheme.rounding == RoundingKind::Stochastic;
    let (exact, exact_cost) = cost.at(w);
    let size = norm(exact.iter().copied());
    let (mut sums, mut squares) = (vec![0.0; COEFFICIENTS], vec![0.0; COEFFICIENTS]);
    let (mut cost_sum, mut single, mut errors) = (0.0, 0.0, Vec::new());
    let mut quantized = vec![0.0; COEFFICIENTS];
    // Rounding to nearest, all draws are equal: one is enough.
    let count = if stochastic { draws } else { 1 };
    let mut stream = Stream::new(seed);
    for n in 1..=count {
        let rounding = if stochastic { stream.into() } else { Rounding::Nearest };
        fake_quantize(exec, w, &params, rounding, &mut quantized)?;
        stream = stream.skip(COEFFICIENTS as u64)?;
        let (gradient, value) = cost.at(&quantized);
        cost_sum += value;
        for i in 0..COEFFICIENTS {
            let error = gradient[i] - exact[i];
            sums[i] += error;
            squares[i] += error * error;
            single += error * error;
        }
        if n.is_power_of_two() {
            errors.push((n, norm(sums.iter().map(|sum| sum / n as f64)) / size));
        }
    }
    if !stochastic {
        errors = (0..=draws.ilog2()).map(|k| (1 << k, errors[0].1)).collect();
    }
    let n = count as f64;
    let spread = |i: usize| ((squares[i] - sums[i] * sums[i] / n) / (n - 1.0).max(1.0) / n).max(0.0).sqrt();
    // Far above the rounding of the sums in f64, and far below any bias.
    let tiny = 1e-12 * size;
    let covered = (0..COEFFICIENTS).filter(|&i| (sums[i] / n).abs() <= NORMAL_95 * spread(i) + tiny).count();
    let scale = if scheme.scale == ScaleKind::Float { "float scale" } else { "power-of-two scale" };
    let offset = if scheme.offset == OffsetKind::Integer { "asymmetric" } else { "symmetric" };
    Ok(Measured {
        bits,
        scheme: format!("{scale}, {offset}"),
        stochastic,
        errors,
        single: (single / n).sqrt() / size,
        expected: norm((0..COEFFICIENTS).map(spread)) / size,
        covered,
        cost: (cost_sum / n - exact_cost) / exact_cost.abs(),
    })
}
