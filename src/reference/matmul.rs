//! Matrix multiplication.

use crate::codes::Code;
use crate::matrix::{Matrix, ZeroPoints};

/// The accumulators of [`matmul`](crate::matmul()) for B `[K, N]`: `Σₖ (a − za) · (b − zb) + bias`, row-major.
#[must_use]
pub fn matmul<A: Code, B: Code>(
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    b: Matrix<'_, B>,
    b_zero_points: ZeroPoints<'_>,
    bias: Option<&[i32]>,
) -> Vec<i64> {
    let mut c = Vec::with_capacity(a.rows() * b.columns());
    for i in 0..a.rows() {
        for j in 0..b.columns() {
            let mut sum = bias.map_or(0, |bias| i64::from(bias[j]));
            for k in 0..a.columns() {
                let (a, b): (i32, i32) = (a.row(i)[k].into(), b.row(k)[j].into());
                sum += i64::from(a - a_zero_points.at(i)) * i64::from(b - b_zero_points.at(j));
            }
            c.push(sum);
        }
    }
    c
}

/// [`matmul_blocks`](crate::formats::matmul_blocks()) for weights `[N, K]` in blocks of this length: `scales_a` and `scales_w`
/// tell the scale of a row and a block.
#[must_use]
pub fn matmul_blocks<A: Code>(
    length: usize,
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    scales_a: impl Fn(usize, usize) -> f32,
    weights: Matrix<'_, i8>,
    scales_w: impl Fn(usize, usize) -> f32,
) -> Vec<f32> {
    let mut c = Vec::with_capacity(a.rows() * weights.rows());
    for i in 0..a.rows() {
        for j in 0..weights.rows() {
            let mut sum = 0.0;
            for block in 0..a.columns() / length {
                let mut acc = 0;
                for k in length * block..length * (block + 1) {
                    let (a, w): (i32, i32) = (a.row(i)[k].into(), weights.row(j)[k].into());
                    acc += (a - a_zero_points.at(i)) * w;
                }
                sum += acc as f32 * (scales_a(i, block) * scales_w(j, block));
            }
            c.push(if sum.is_nan() { f32::NAN } else { sum });
        }
    }
    c
}

/// The stage [`Dequantize`](crate::Dequantize): `acc as f32 · (S_a · S_b) + bias`.
#[must_use]
pub fn dequantize_accumulator(acc: i32, activation_scale: f32, weight_scale: f32, bias: Option<f32>) -> f32 {
    let product = acc as f32 * (activation_scale * weight_scale);
    bias.map_or(product, |bias| product + bias)
}

/// The accumulators of [`int16x8::matmul`](crate::int16x8::matmul()) for weights `[N, K]`: `Σₖ a · w + bias`, row-major.
#[must_use]
pub fn matmul_int16x8(a: Matrix<'_, i16>, weights: Matrix<'_, i8>, bias: Option<&[i64]>) -> Vec<i64> {
    let mut c = Vec::with_capacity(a.rows() * weights.rows());
    for i in 0..a.rows() {
        for j in 0..weights.rows() {
            let products = a.row(i).iter().zip(weights.row(j)).map(|(&a, &w)| i64::from(a) * i64::from(w));
            c.push(products.sum::<i64>() + bias.map_or(0, |bias| bias[j]));
        }
    }
    c
}
