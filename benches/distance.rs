//! Distances of i8 vectors: one group for every call and metric, one function for every ISA and shape. (Beside another library:
//! `benches/peers`.)

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use zeropoint::distance::{Cosine, Dot, Metric, SquaredEuclidean, between, nearest, pairwise};
use zeropoint::{Isa, Matrix, MatrixMut};

/// Lengths of vectors.
const LENGTHS: [usize; 3] = [96, 384, 1024];

/// Rows that one query meets.
const ROWS: usize = 10_000;

fn codes(count: usize) -> Vec<i8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as i8).collect()
}

fn metric<M: Metric + Copy>(c: &mut Criterion, name: &str, metric: M) {
    for length in LENGTHS {
        let (query, rows) = (codes(length), codes(length * ROWS));
        let matrix = Matrix::new(&rows, ROWS, length).unwrap();
        for isa in Isa::supported() {
            let mut group = c.benchmark_group(format!("distance {name}"));
            let mut bench = |call: &str, bytes: usize, run: &mut dyn FnMut()| {
                group.throughput(Throughput::Bytes(bytes as u64));
                group.bench_function(BenchmarkId::new(format!("{call} {length}"), isa), |bencher| {
                    bencher.iter(&mut *run)
                });
            };
            bench("between", length, &mut || {
                black_box(between(isa, metric, black_box(&query), &rows[..length]).unwrap());
            });
            let mut out = vec![between(isa, metric, &query, &query).unwrap(); ROWS];
            bench("pairwise", rows.len(), &mut || {
                pairwise(isa, metric, &query, matrix, MatrixMut::new(&mut out, 1, ROWS).unwrap()).unwrap();
            });
            bench("nearest 10", rows.len(), &mut || {
                black_box(nearest(isa, metric, &query, matrix, 10).unwrap());
            });
        }
    }
}

fn distances(c: &mut Criterion) {
    metric(c, "dot", Dot);
    metric(c, "squared Euclidean", SquaredEuclidean);
    metric(c, "cosine", Cosine);
}

criterion_group!(benches, distances);
criterion_main!(benches);
