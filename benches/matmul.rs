//! Integer matmul: one group for every shape, one function for every ISA.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zeropoint::{Accumulators, Isa, Matrix, MatrixMut, PackedMatrix, UnpackedMatrix, matmul};

/// M × N × K: cubes, thin ones, a convolution, odd sizes.
const SHAPES: [[usize; 3]; 7] =
    [[64, 64, 64], [256, 256, 256], [512, 512, 512], [1, 4096, 4096], [8, 4096, 4096], [784, 128, 1152], [17, 33, 65]];

/// Bytes of every value, the same in every run.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn u8i8_to_i32_prepacked(c: &mut Criterion) {
    for [m, n, k] in SHAPES {
        let a = bytes(m * k);
        let b: Vec<i8> = bytes(k * n).into_iter().map(|byte| byte as i8).collect();
        let mut out = vec![0; m * n];
        let mut group = c.benchmark_group(format!("matmul u8×i8→i32 prepacked/{m}x{n}x{k}"));
        group.throughput(Throughput::Elements((m * n * k) as u64));
        for isa in Isa::supported() {
            let packed = PackedMatrix::pack(isa, Matrix::new(&b, k, n).unwrap(), 0.into()).unwrap();
            group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
                bencher.iter(|| {
                    let a = Matrix::new(&a, m, k).unwrap();
                    matmul(a, 0.into(), &packed, &Accumulators, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
                });
            });
        }
    }
}

fn u8i8_to_i32_unpacked(c: &mut Criterion) {
    for [m, n, k] in [[256, 256, 256], [8, 1024, 1024]] {
        let a = bytes(m * k);
        let b: Vec<i8> = bytes(k * n).into_iter().map(|byte| byte as i8).collect();
        let mut out = vec![0; m * n];
        let mut group = c.benchmark_group(format!("matmul u8×i8→i32 unpacked/{m}x{n}x{k}"));
        group.throughput(Throughput::Elements((m * n * k) as u64));
        for isa in Isa::supported() {
            let b = UnpackedMatrix::new(isa, Matrix::new(&b, k, n).unwrap(), 0.into()).unwrap();
            group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
                bencher.iter(|| {
                    let a = Matrix::new(&a, m, k).unwrap();
                    matmul(a, 0.into(), &b, &Accumulators, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
                });
            });
        }
    }
}

criterion_group!(benches, u8i8_to_i32_prepacked, u8i8_to_i32_unpacked);
criterion_main!(benches);
