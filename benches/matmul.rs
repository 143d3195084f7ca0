//! Integer matmul: one group for every operation and shape, one function for every ISA.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, ByteCode, CodeRange, Isa, Matrix, MatrixMut, PackedMatrix, QuantParams, Quantized, Rhs, Rule, Stage,
    int16x8, raw,
};

/// M × N × K: cubes, thin ones, convolutions, odd sizes, a layer of a language model.
const SHAPES: [[usize; 3]; 12] = [
    [64, 64, 64],
    [128, 128, 128],
    [256, 256, 256],
    [512, 512, 512],
    [1, 4096, 4096],
    [4, 4096, 4096],
    [8, 4096, 4096],
    [784, 128, 1152],
    [49, 512, 4608],
    [17, 33, 65],
    [10, 84, 120],
    [128, 4096, 4096],
];

/// Shapes for what differs by operation: small, odd, large.
const FEW_SHAPES: [[usize; 3]; 4] = [[64, 64, 64], [256, 256, 256], [17, 33, 65], [8, 1024, 1024]];

/// Codes of every value, the same in every run.
fn codes<C: ByteCode>(count: usize) -> Vec<C> {
    let span = C::MAX.into() - C::MIN.into() + 1;
    let code = |i: u32| C::MIN.into() + (i.wrapping_mul(2_654_435_761) >> 13) as i32 % span;
    (0..count as u32).map(|i| C::try_from(code(i)).ok().expect("inside the type")).collect()
}

/// A group of an operation: `A · right(B)` by an output stage, on every ISA.
fn group<'b, A: ByteCode, B: ByteCode, R: Rhs<A>, S: Stage>(
    c: &mut Criterion,
    name: &str,
    [m, n, k]: [usize; 3],
    a_zero_point: i32,
    b: &'b [B],
    right: impl Fn(Isa, Matrix<'b, B>) -> R,
    stage: &S,
) {
    let a = codes::<A>(m * k);
    let mut out = vec![S::Element::default(); m * n];
    let mut group = c.benchmark_group(format!("matmul {name}/{m}x{n}x{k}"));
    group.throughput(Throughput::Elements((m * n * k) as u64));
    for isa in Isa::supported() {
        let right = right(isa, Matrix::new(b, k, n).unwrap());
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
            bencher.iter(|| {
                let a = Matrix::new(&a, m, k).unwrap();
                let out = MatrixMut::new(black_box(&mut out), m, n).unwrap();
                raw::matmul(isa, a, a_zero_point.into(), &right, stage, out).unwrap();
            });
        });
    }
}

fn pack<A: ByteCode, B: ByteCode>(isa: Isa, b: Matrix<'_, B>, zero_points: raw::ZeroPoints<'_>) -> PackedMatrix<A, B> {
    raw::pack(isa, b, zero_points).unwrap()
}

fn prepacked(c: &mut Criterion) {
    for shape @ [_, n, k] in SHAPES {
        let b = codes::<i8>(k * n);
        group(c, "u8×i8→i32 prepacked", shape, 0, &b, |isa, b| pack::<u8, i8>(isa, b, 0.into()), &Accumulators);
    }
}

fn signs_and_zero_points(c: &mut Criterion) {
    for shape @ [_, n, k] in FEW_SHAPES {
        let (signed, unsigned) = (codes::<i8>(k * n), codes::<u8>(k * n));
        let zero_points: Vec<i32> = (0..n as i32).map(|j| j % 256 - 128).collect();
        let each = |isa, b: Matrix<'_, i8>| pack::<u8, i8>(isa, b, zero_points.as_slice().into());
        group(c, "i8×i8→i32", shape, 0, &signed, |isa, b| pack::<i8, i8>(isa, b, 0.into()), &Accumulators);
        group(c, "u8×u8→i32", shape, 0, &unsigned, |isa, b| pack::<u8, u8>(isa, b, 0.into()), &Accumulators);
        group(c, "u8×i8→i32 zero points by column", shape, 131, &signed, each, &Accumulators);
    }
}

fn requantized(c: &mut Criterion) {
    for shape @ [_, n, k] in FEW_SHAPES {
        let multipliers: Vec<f64> = (0..n).map(|j| (1.0 + j as f64 / n as f64) / 4096.0).collect();
        let stage = raw::requantize(Rule::Float, &multipliers, 3, 0_u8..=255).unwrap();
        let b = codes::<i8>(k * n);
        let right =
            |isa, b: Matrix<'_, i8>| pack::<u8, i8>(isa, b, 0.into()).with_accumulator_bias(&vec![77; n]).unwrap();
        group(c, "u8×i8→u8 bias, multiplier by column", shape, 131, &b, right, &stage);
    }
}

fn unpacked(c: &mut Criterion) {
    for shape @ [_, n, k] in [[256, 256, 256], [1, 1024, 1024], [8, 1024, 1024]] {
        let b = codes::<i8>(k * n);
        let right = |isa, b| raw::unpacked::<u8, i8>(isa, b, 0.into()).unwrap();
        group(c, "u8×i8→i32 unpacked", shape, 0, &b, right, &Accumulators);
    }
}

/// Activations of 16 bits, requantized as they came.
fn int16x8_requantized(c: &mut Criterion) {
    let x_params = QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), 1e-4, 0).unwrap();
    let w_params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.01, 0).unwrap();
    for [m, n, k] in FEW_SHAPES {
        let x: Vec<i16> = (0..(m * k) as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i16).collect();
        let (w, mut out) = (codes::<i8>(n * k), vec![0_i16; m * n]);
        let x = Quantized::new(Matrix::new(&x, m, k).unwrap(), &x_params).unwrap();
        let w = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
        let mut group = c.benchmark_group(format!("matmul i16×i8→i16 prepacked/{m}x{n}x{k}"));
        group.throughput(Throughput::Elements((m * n * k) as u64));
        for isa in Isa::supported() {
            let packed = int16x8::PackedMatrix::pack(isa, w).unwrap();
            let stage = int16x8::Requantize::new(&packed, &x_params, &x_params, int16x8::Rule::Float).unwrap();
            group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
                bencher.iter(|| {
                    let out = MatrixMut::new(black_box(&mut out), m, n).unwrap();
                    int16x8::matmul(isa, x, &packed, &stage, out).unwrap();
                });
            });
        }
    }
}

criterion_group!(benches, prepacked, signs_and_zero_points, requantized, unpacked, int16x8_requantized);
criterion_main!(benches);
