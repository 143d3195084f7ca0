//! Products of matrices of codes: packed and as they are, with every output stage.

use super::{Guarded, call, codes, scattered};
use crate::common::every_isa;
use bytemuck::Pod;
use zeropoint::distance::{Codes, Cosine, Dot, SquaredEuclidean, nearest, pairwise};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::*;

/// Every number of columns up to four vectors of results and more, and every depth up to a cache line of codes; 131 cases.
fn shapes() -> impl Iterator<Item = [usize; 3]> {
    let columns = (0..67).map(|i| [1 + i % 13, 1 + i, [1, 4, 33, 64, 127][i % 5]]);
    columns.chain((0..64).map(|k| [1 + k % 13, [1, 3, 16, 17, 49][k % 5], k]))
}

/// A result whose rows have one element between them.
fn out<T>(elements: &mut [T], [m, n]: [usize; 2]) -> MatrixMut<'_, T> {
    MatrixMut::with_stride(elements, m, n, n + 1).unwrap()
}

fn of_codes<A: ByteCode + Pod, B: ByteCode + Pod>() {
    scattered(9, shapes(), |place, [m, n, k], _| {
        let (shape, out_length) = ([m, n], m * (n + 1) - 1);
        let a = Guarded::new(place, &codes::<A>(if k == 0 { 0 } else { m * (k + 1) - 1 }));
        let b = Guarded::new(place, &codes::<B>(k * n));
        let (a_zero_points, b_zero_points) = (Guarded::of(place, m, 3_i32), Guarded::of(place, n, 5_i32));
        let bias = Guarded::of(place, n, 1_i32);
        let row_scales = Guarded::of(place, m, 0.5_f32);
        let mut sums = Guarded::of(place, out_length, 0_i32);
        let (mut bytes, mut real) = (Guarded::of(place, out_length, 0_u8), Guarded::of(place, out_length, 0.0_f32));
        let multipliers = Guarded::of(place, n, 0.01_f64);
        let stages = [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp, Rule::Shift].map(|rule| {
            let powers = vec![1.0 / 64.0; n];
            let multipliers = if rule == Rule::Shift { &powers[..] } else { &multipliers[..] };
            raw::requantize(rule, multipliers, 3, 0..=255_u8).unwrap()
        });
        let stochastic = stages[0].stochastic(Stream::new(0)).unwrap();
        let floats = raw::DequantizeColumns::new(&Guarded::of(place, n, 0.5), Some(&real[..n])).unwrap();
        let a = Matrix::with_stride(&a, m, k, k + 1).unwrap();
        every_isa(|isa| {
            let b_zero_points = raw::ZeroPoints::from(&b_zero_points[..]);
            let columns = Matrix::new(&b, k, n).unwrap();
            let packed = raw::pack::<A, B>(isa, columns, b_zero_points).unwrap();
            let packed = packed.with_accumulator_bias(&bias).unwrap();
            let rows = raw::pack_transposed::<A, B>(isa, Matrix::new(&b, n, k).unwrap(), 1.into()).unwrap();
            let unpacked = raw::unpacked::<A, B>(isa, columns, b_zero_points).unwrap();
            let unpacked = unpacked.with_accumulator_bias(&bias).unwrap();
            let transposed =
                raw::unpacked_transposed::<A, B>(isa, Matrix::new(&b, n, k).unwrap(), b_zero_points).unwrap();
            call(place, || {
                let each = raw::ZeroPoints::from(&a_zero_points[..]);
                raw::matmul(isa, a, each, &packed, &Accumulators, out(&mut sums, shape)).unwrap();
                raw::matmul(isa, a, 9.into(), &rows, &Accumulators, out(&mut sums, shape)).unwrap();
                raw::matmul(isa, a, 9.into(), &unpacked, &Accumulators, out(&mut sums, shape)).unwrap();
                raw::matmul(isa, a, each, &transposed, &Accumulators, out(&mut sums, shape)).unwrap();
                let sums = Matrix::with_stride(&sums, m, n, n + 1).unwrap();
                for stage in stages.iter().chain([&stochastic]) {
                    raw::matmul(isa, a, 9.into(), &packed, stage, out(&mut bytes, shape)).unwrap();
                    raw::apply(isa, sums, stage, out(&mut bytes, shape)).unwrap();
                }
                raw::matmul(isa, a, each, &unpacked, &stages[1], out(&mut bytes, shape)).unwrap();
                let floats = floats.rows(&row_scales).unwrap();
                raw::matmul(isa, a, each, &packed, &floats, out(&mut real, shape)).unwrap();
                raw::apply(isa, sums, &floats, out(&mut real, shape)).unwrap();
            });
        });
    });
}

#[test]
fn matrices() {
    of_codes::<u8, i8>();
    of_codes::<u8, u8>();
    of_codes::<i8, i8>();
    of_codes::<i8, u8>();
}

#[test]
fn activations_of_16_bits() {
    scattered(3, shapes(), |place, [m, n, k], _| {
        let a = Guarded::new(place, &codes::<i16>(m * k));
        let w = Guarded::new(place, &codes::<i8>(k * n));
        let bias = Guarded::of(place, n, 1_i64);
        let mut sums = Guarded::of(place, m * n, 0_i64);
        let (mut wide, mut real) = (Guarded::of(place, m * n, 0_i16), Guarded::of(place, m * n, 0.0_f32));
        let x_params = QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), 1e-4, 0).unwrap();
        let w_params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.01, 0).unwrap();
        every_isa(|isa| {
            let rows = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
            let columns = Quantized::new(Matrix::new(&w, k, n).unwrap(), &w_params).unwrap();
            let columns = int16x8::PackedMatrix::pack_columns(isa, columns).unwrap();
            let all = [int16x8::PackedMatrix::pack(isa, rows).unwrap(), columns.with_accumulator_bias(&bias).unwrap()];
            for weights in &all {
                call(place, || {
                    let x = Quantized::new(Matrix::new(&a, m, k).unwrap(), &x_params).unwrap();
                    let out = MatrixMut::new(&mut sums, m, n).unwrap();
                    int16x8::matmul(isa, x, weights, &int16x8::Accumulators, out).unwrap();
                    let out = MatrixMut::new(&mut real, m, n).unwrap();
                    int16x8::matmul(isa, x, weights, &int16x8::Dequantize::new(), out).unwrap();
                    for rule in [int16x8::Rule::Float, int16x8::Rule::HalfAway, int16x8::Rule::Reduced] {
                        let stage = int16x8::Requantize::new(weights, &x_params, &x_params, rule).unwrap();
                        let out = MatrixMut::new(&mut wide, m, n).unwrap();
                        int16x8::matmul(isa, x, weights, &stage, out).unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn distances() {
    scattered(5, (0..260).map(|depth| [1 + depth % 6, depth]), |place, [rows, depth], _| {
        let a = Guarded::new(place, &codes::<i8>(depth));
        let b = Guarded::new(place, &codes::<u8>(rows * depth));
        let (mut sums, mut cosines) = (Guarded::of(place, rows, 0_i32), Guarded::of(place, rows, 0.0_f32));
        let rows_of_b = Matrix::new(&b, rows, depth).unwrap();
        every_isa(|isa| {
            call(place, || {
                pairwise(isa, Dot, &a[..], rows_of_b, MatrixMut::new(&mut sums, 1, rows).unwrap()).unwrap();
                pairwise(isa, SquaredEuclidean, &a[..], rows_of_b, MatrixMut::new(&mut sums, 1, rows).unwrap())
                    .unwrap();
                pairwise(isa, Cosine, &a[..], rows_of_b, MatrixMut::new(&mut cosines, 1, rows).unwrap()).unwrap();
                let reversed = Codes::with_zero_point(rows_of_b, 9).unwrap();
                nearest(isa, Dot, reversed, &a[..], 1).unwrap();
            });
        });
    });
}
