//! Observers of f32: one group for every method and kind of data, one function for every ISA.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zeropoint::calibrate::{Calibrator, Method, Observer};
use zeropoint::{CodeRange, Isa, Scheme};

const LENGTH: usize = 1 << 20;

/// Normally distributed, or behind a ReLU; the same in every run.
fn reals(relu: bool) -> Vec<f32> {
    let uniform = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
    let normal = |i: usize| (0..12).map(|j| uniform(12 * i + j)).sum::<f32>() - 6.0;
    (0..LENGTH).map(|i| if relu { normal(i).max(0.0) } else { normal(i) }).collect()
}

fn observers(c: &mut Criterion) {
    let codes = CodeRange::narrow(8).unwrap();
    for (name, x) in [("normal", reals(false)), ("relu", reals(true))] {
        let observer = |method: Method| method.observer(codes, Scheme::SYMMETRIC, LENGTH).unwrap();
        let mut each = |what: &str, elements: usize, method: Method, run: &dyn Fn(Isa, &mut Calibrator)| {
            let mut group = c.benchmark_group(format!("calibrate {what}/{name}"));
            group.throughput(Throughput::Elements(elements as u64));
            for isa in Isa::supported() {
                let mut observer = observer(method);
                observer.observe(isa.into(), &x).unwrap();
                group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
                    bencher.iter(|| run(isa, &mut observer))
                });
            }
        };
        let observe = |isa: Isa, observer: &mut Calibrator| observer.observe(isa.into(), &x).unwrap();
        let choose = |_: Isa, observer: &mut Calibrator| {
            std::hint::black_box(observer.range().unwrap());
        };
        each("histogram", LENGTH, Method::Percentile(99.9), &observe);
        each("min-max", LENGTH, Method::MinMax, &observe);
        each("moments", LENGTH, Method::Std(3.0), &observe);
        each("percentile", 1, Method::Percentile(99.9), &choose);
        each("entropy", 1, Method::Entropy, &choose);
        each("mse", 1, Method::Mse, &choose);
    }
}

criterion_group!(benches, observers);
criterion_main!(benches);
