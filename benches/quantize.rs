//! Quantization of f32: one group for every operation and length, one function for every ISA.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zeropoint::{CodeRange, Isa, QuantParams, dequantize, min_max, quantize};

const LENGTHS: [usize; 2] = [4 << 10, 64 << 10];

/// Numbers inside and outside the range, the same in every run.
fn reals(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn elementwise(c: &mut Criterion) {
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.0129, 117).unwrap();
    for length in LENGTHS {
        let x = reals(length);
        let mut codes = vec![0_u8; length];
        let mut out = vec![0.0_f32; length];
        let mut each = |operation: &str, run: &mut dyn FnMut(Isa)| {
            let mut group = c.benchmark_group(format!("{operation}/{length}"));
            group.throughput(Throughput::Elements(length as u64));
            for isa in Isa::supported() {
                group.bench_function(BenchmarkId::from_parameter(isa), |bencher| bencher.iter(|| run(isa)));
            }
        };
        each("quantize f32→u8", &mut |isa| quantize(isa, &x, &params, &mut codes).unwrap());
        each("dequantize u8→f32", &mut |isa| dequantize(isa, &codes, &params, &mut out).unwrap());
        each("min-max", &mut |isa| {
            std::hint::black_box(min_max(isa, &x).unwrap());
        });
    }
}

criterion_group!(benches, elementwise);
criterion_main!(benches);
