//! What is plain f32: sums, layer norm, softmax and GELU. Every sum has a fixed order, and no function of a C library
//! is called, so that all architectures give the same bits. Loops are written for compilers that make vectors of them.

use std::f32::consts::LOG2_E;

/// Partial results of a sum or a maximum.
const LANES: usize = 16;

/// Combines `f` of all values: that of value i goes to partial result i mod 16, and these are combined in pairs.
#[inline(always)]
fn reduce(values: &[f32], start: f32, f: impl Fn(f32) -> f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = combine(lanes[i], f(chunk[i]));
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = combine(*lane, f(value));
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// The sum of `f` over all values.
fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    reduce(values, 0.0, f, |a, b| a + b)
}

/// Layer norm: `(x − mean) / √(variance + ε) · w + b`.
pub struct Norm {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub epsilon: f32,
}

impl Norm {
    /// Normalizes a token.
    pub fn apply(&self, x: &mut [f32]) {
        let length = x.len() as f32;
        let mean = sum(x, |x| x) / length;
        let variance = sum(x, |x| (x - mean) * (x - mean)) / length;
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        for ((x, weight), bias) in x.iter_mut().zip(&self.weights).zip(&self.bias) {
            *x = (*x - mean) * inverse * weight + bias;
        }
    }

    /// Adds, and normalizes.
    pub fn add(&self, x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
        self.apply(x);
    }
}

/// `exp(x)` for `x ≤ 0`, within two units in the last place; below −87, where it is no longer normal, that of −87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding it rounds to an integer, which is then in the low bits.
    const ROUNDER: f32 = 12_582_912.0; // 1.5 · 2²³
    // ln 2 in two parts: the product of an integer of eight bits and the first is exact.
    const HIGH: f32 = 355.0 / 512.0;
    const LOW: f32 = (std::f64::consts::LN_2 - 355.0 / 512.0) as f32;
    let x = if x < -87.0 { -87.0 } else { x }; // NaN stays
    let shifted = x * LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (x - n * HIGH) - n * LOW;
    // The series of exp: |r| ≤ ln 2 / 2, so what follows r⁷ / 7! is below 2⁻²⁷.
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * r + coefficient;
    }
    // 2ⁿ by its exponent.
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// Replaces scores by `exp(x − max) / Σ exp(x − max)`.
pub fn softmax(scores: &mut [f32]) {
    let max = reduce(scores, f32::NEG_INFINITY, |score| score, |a, b| if b > a { b } else { a });
    for score in scores.iter_mut() {
        *score = exp(*score - max);
    }
    let inverse = 1.0 / sum(scores, |score| score);
    for score in scores {
        *score *= inverse;
    }
}

/// Replaces values by `x · Φ(x)`, Φ the cumulative distribution of the normal distribution, within 3e-7 · |x|.
///
/// `Φ(−|x|) = ½ · (a₁t + … + a₅t⁵) · exp(−x² / 2)`, `t = 1 / (1 + p|x| / √2)`: formula 7.1.26 of Abramowitz and Stegun,
/// Handbook of Mathematical Functions.
pub fn gelu(values: &mut [f32]) {
    const P: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
    const HALVES: [f32; 5] =
        [0.5 * 1.061_405_4, 0.5 * -1.453_152, 0.5 * 1.421_413_7, 0.5 * -0.284_496_74, 0.5 * 0.254_829_6];
    for x in values {
        let magnitude = x.abs();
        let t = 1.0 / (1.0 + P * magnitude);
        let mut series = HALVES[0];
        for coefficient in &HALVES[1..] {
            series = series * t + coefficient;
        }
        let tail = series * t * exp(-0.5 * (magnitude * magnitude));
        *x = x.max(0.0) - magnitude * tail;
    }
}

/// The products of a row by the columns of a matrix with rows `stride` apart, each summed from its first row on.
pub fn multiply_row(row: &[f32], matrix: &[f32], stride: usize, out: &mut [f32]) {
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    let whole = chunks.len() * LANES;
    for (i, chunk) in chunks.iter_mut().enumerate() {
        let mut sums = [0.0; LANES];
        for (x, columns) in row.iter().zip(matrix.chunks(stride)) {
            let columns: &[f32; LANES] = columns[i * LANES..].first_chunk().expect("as many columns as results");
            for j in 0..LANES {
                sums[j] += x * columns[j];
            }
        }
        *chunk = sums;
    }
    for (j, out) in rest.iter_mut().enumerate() {
        *out = row.iter().zip(matrix.chunks(stride)).fold(0.0, |sum, (x, columns)| sum + x * columns[whole + j]);
    }
}
