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

/// The scales of activations `[M, K]`: which one a row has, or a group of a row.
pub enum GroupScales<'a> {
    /// Of a row.
    Rows(&'a dyn Fn(usize) -> f32),
    /// Of a row and a group.
    Groups(&'a dyn Fn(usize, usize) -> f32),
}

/// [`groups::matmul`](crate::groups::matmul()) of activations `[M, K]` and weights `[N, K]` in groups of this length, without a
/// bias: `a(i, k)` is a code of A less its zero point, `w(j, k)` one of W, `scales` and `offsets` tell those of an output and a
/// group.
#[must_use]
pub fn matmul_groups(
    [m, n, depth]: [usize; 3],
    length: usize,
    a: impl Fn(usize, usize) -> i32,
    a_scales: GroupScales<'_>,
    w: impl Fn(usize, usize) -> i32,
    scales: impl Fn(usize, usize) -> f32,
    offsets: Option<&dyn Fn(usize, usize) -> f32>,
) -> Vec<f32> {
    let mut c = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let mut total = 0.0;
            for group in 0..depth.div_ceil(length) {
                let (mut acc, mut sum) = (0, 0);
                for k in length * group..depth.min(length * (group + 1)) {
                    acc += a(i, k) * w(j, k);
                    sum += a(i, k);
                }
                let of_group = |x: f32| match a_scales {
                    GroupScales::Rows(_) => x,
                    GroupScales::Groups(scale) => scale(i, group) * x,
                };
                total += acc as f32 * of_group(scales(j, group));
                if let Some(offset) = offsets {
                    total += sum as f32 * of_group(offset(j, group));
                }
            }
            // (Without depth there is nothing to scale.)
            if let GroupScales::Rows(scale) = a_scales
                && depth > 0
            {
                total *= scale(i);
            }
            c.push(if total.is_nan() { f32::NAN } else { total });
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
