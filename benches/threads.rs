//! What is divided among threads: one group for every operation and size, one function for every number of threads, as a
//! parameter. The calls are made inside a rayon pool of that many threads; of the multiplication, from outside of one too.

use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rayon::{ThreadPool, ThreadPoolBuilder};
use zeropoint::calibrate::{Method, Observer};
use zeropoint::groups::{self, Activations, GroupScheme, PackedWeights, RealStage, StoredWeights};
use zeropoint::random::fill_words;
use zeropoint::{
    Accumulators, CodeRange, Exec, Isa, Matrix, MatrixMut, QuantParams, Rounding, Scheme, Stream, dequantize,
    fake_quantize, min_max, quantize, raw,
};

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

/// From what is hardly shared to what no cache holds.
const LENGTHS: [usize; 4] = [16 << 10, 64 << 10, 1 << 20, 16 << 20];

/// Pools of one thread, of two, four and so on, up to as many as there are.
fn pools() -> Vec<ThreadPool> {
    let available = std::thread::available_parallelism().unwrap().get();
    let threads = (0..).map(|doublings| 1 << doublings).take_while(|&threads| threads < available).chain([available]);
    threads.map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap()).collect()
}

/// A group of `call`, with every number of threads.
fn on_threads(c: &mut Criterion, name: &str, elements: usize, pools: &[ThreadPool], call: &mut (dyn FnMut() + Send)) {
    let mut group = c.benchmark_group(format!("threads {name}"));
    group.throughput(Throughput::Elements(elements as u64));
    for pool in pools {
        group.bench_function(BenchmarkId::from_parameter(pool.current_num_threads()), |bencher| {
            bencher.iter_custom(|calls| {
                pool.install(|| {
                    let begin = Instant::now();
                    (0..calls).for_each(|_| call());
                    begin.elapsed()
                })
            });
        });
    }
}

/// Bytes of every value, the same in every run.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn products(c: &mut Criterion) {
    let (isa, pools) = (Isa::best().unwrap(), pools());
    ThreadPoolBuilder::new().num_threads(pools[pools.len() - 1].current_num_threads()).build_global().unwrap();
    for [m, n, k] in SHAPES {
        let a = bytes(m * k);
        let a = Matrix::new(&a, m, k).unwrap();
        let b: Vec<i8> = bytes(k * n).into_iter().map(|byte| byte as i8).collect();
        let packed = raw::pack(isa, Matrix::new(&b, k, n).unwrap(), 0.into()).unwrap();
        let mut out = vec![0; m * n];
        let mut shared = || {
            let out = MatrixMut::new(&mut out, m, n).unwrap();
            raw::matmul(Exec::from(isa).rayon(), a, 0.into(), &packed, &Accumulators, out).unwrap();
        };
        let name = format!("u8×i8→i32 prepacked/{m}x{n}x{k}");
        on_threads(c, &name, m * n * k, &pools, &mut shared);
        let mut group = c.benchmark_group(format!("threads {name}"));
        group.bench_function("all, from outside", |bencher| bencher.iter(&mut shared));
        group.bench_function("none", |bencher| {
            bencher.iter(|| {
                raw::matmul(isa, a, 0.into(), &packed, &Accumulators, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
            });
        });
    }
}

/// f32 by weights of four bits in groups of 32.
fn in_groups(c: &mut Criterion) {
    let (isa, pools) = (Isa::best().unwrap(), pools());
    for [m, n, k] in [[1, 4096, 4096], [8, 4096, 4096], [64, 1024, 1024], [128, 4096, 4096]] {
        let weights: Vec<f32> = bytes(n * k).into_iter().map(|byte| f32::from(byte) / 128.0 - 1.0).collect();
        let scheme = GroupScheme::symmetric(4, 32).unwrap().f16_scales();
        let weights = StoredWeights::quantize(isa, Matrix::new(&weights, n, k).unwrap(), scheme).unwrap();
        let packed = PackedWeights::pack(isa, &weights.weights()).unwrap();
        let x: Vec<f32> = bytes(m * k).into_iter().map(|byte| f32::from(byte) / 64.0 - 2.0).collect();
        let x = Activations::reals(Matrix::new(&x, m, k).unwrap(), Scheme::SYMMETRIC);
        let mut out = vec![0.0; m * n];
        on_threads(c, &format!("f32×4 bits in groups of 32/{m}x{n}x{k}"), m * n * k, &pools, &mut || {
            groups::matmul(Exec::from(isa).rayon(), &x, &packed, &RealStage::new(), &mut out).unwrap();
        });
    }
}

fn elements(c: &mut Criterion) {
    let (isa, pools) = (Isa::best().unwrap(), pools());
    let range = CodeRange::<u8>::unsigned(8).unwrap();
    let params = QuantParams::per_tensor(range, 0.0129, 117).unwrap();
    for length in LENGTHS {
        let x: Vec<f32> = bytes(length).into_iter().map(|byte| f32::from(byte) / 64.0 - 2.0).collect();
        let (mut codes, mut out, mut words) = (bytes(length), vec![0.0; length], vec![0; length]);
        let mut each = |name: &str, call: &mut (dyn FnMut() + Send)| {
            on_threads(c, &format!("{name}/{length}"), length, &pools, call);
        };
        each("quantize", &mut || {
            quantize(Exec::from(isa).rayon(), &x, &params, Rounding::Nearest, &mut codes).unwrap()
        });
        each("quantize stochastically", &mut || {
            quantize(Exec::from(isa).rayon(), &x, &params, Stream::new(1), &mut codes).unwrap();
        });
        each("dequantize", &mut || dequantize(Exec::from(isa).rayon(), &codes, &params, &mut out).unwrap());
        each("fake-quantize", &mut || {
            fake_quantize(Exec::from(isa).rayon(), &x, &params, Rounding::Nearest, &mut out).unwrap()
        });
        each("words", &mut || fill_words(Exec::from(isa).rayon(), Stream::new(1), &mut words).unwrap());
        each("min-max", &mut || {
            std::hint::black_box(min_max(Exec::from(isa).rayon(), &x).unwrap());
        });
        let mut observer = Method::Percentile(99.9).observer(range, Scheme::SYMMETRIC, length).unwrap();
        each("histogram", &mut || observer.observe(Exec::from(isa).rayon(), &x).unwrap());
    }
}

criterion_group!(benches, products, in_groups, elements);
criterion_main!(benches);
