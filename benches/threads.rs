//! Integer matmul on one thread and on two: one group for every shape, one function for every way to call.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::ThreadPoolBuilder;
use zeropoint::{Accumulators, Isa, Matrix, MatrixMut, PackedMatrix, matmul, parallel};

/// M × N × K: from what is too small to be shared to what hardly fits a cache; thin ones.
const SHAPES: [[usize; 3]; 7] = [
    [64, 64, 64],
    [128, 128, 128],
    [256, 256, 256],
    [512, 512, 512],
    [1024, 1024, 1024],
    [1, 4096, 4096],
    [8, 4096, 4096],
];

/// Bytes of every value, the same in every run.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn u8i8_to_i32_prepacked(c: &mut Criterion) {
    let isa = Isa::best().unwrap();
    ThreadPoolBuilder::new().num_threads(2).build_global().unwrap();
    let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for [m, n, k] in SHAPES {
        let a = bytes(m * k);
        let a = Matrix::new(&a, m, k).unwrap();
        let b: Vec<i8> = bytes(k * n).into_iter().map(|byte| byte as i8).collect();
        let packed = PackedMatrix::pack(isa, Matrix::new(&b, k, n).unwrap(), 0.into()).unwrap();
        let mut out = vec![0; m * n];
        let mut group = c.benchmark_group(format!("threads u8×i8→i32 prepacked/{m}x{n}x{k}"));
        group.throughput(Throughput::Elements((m * n * k) as u64));
        let mut serial = || {
            let out = MatrixMut::new(&mut out, m, n).unwrap();
            matmul(a, 0.into(), &packed, &Accumulators, out).unwrap();
        };
        group.bench_function("one", |bencher| bencher.iter(&mut serial));
        let mut shared = || {
            let out = MatrixMut::new(&mut out, m, n).unwrap();
            parallel::matmul(a, 0.into(), &packed, &Accumulators, out).unwrap();
        };
        group.bench_function("two, inside the pool", |bencher| {
            bencher.iter_custom(|calls| {
                pool.install(|| {
                    let begin = std::time::Instant::now();
                    (0..calls).for_each(|_| shared());
                    begin.elapsed()
                })
            });
        });
        group.bench_function("two, from outside", |bencher| bencher.iter(&mut shared));
    }
}

criterion_group!(benches, u8i8_to_i32_prepacked);
criterion_main!(benches);
