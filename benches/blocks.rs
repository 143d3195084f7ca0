//! Block formats, packed codes, error reports and products with weights in groups: one group for every operation and
//! shape, one function for every ISA.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks, encode_blocks_with};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::report::{quantization_error, reconstruction_error};
use zeropoint::{
    CodeRange, Granularity, Halves, Isa, Matrix, PackedCodes, PackedCodesMut, QuantParams, Rounding, Scheme, Stream,
    dequantize, quantize,
};

const LENGTH: usize = 64 << 10;

/// Numbers inside and outside the range, the same in every run.
fn reals(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn each(c: &mut Criterion, group: String, throughput: Throughput, run: &mut dyn FnMut(Isa)) {
    let mut group = c.benchmark_group(group);
    group.throughput(throughput);
    for isa in Isa::supported() {
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| bencher.iter(|| run(isa)));
    }
}

fn elementwise(c: &mut Criterion) {
    let x = reals(LENGTH);
    let (mut codes, mut out) = (vec![0_u8; LENGTH], vec![0.0; LENGTH]);
    let elements = || Throughput::Elements(LENGTH as u64);
    // What the others are measured by.
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.0129, 117).unwrap();
    each(c, "quantize f32→u8".into(), elements(), &mut |isa| {
        quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap()
    });
    for format in BlockFormat::ALL {
        let mut bytes = vec![0; format.bytes(LENGTH).unwrap()];
        each(c, format!("encode {format:?}"), elements(), &mut |isa| {
            encode_blocks(isa, format, &x, &mut bytes).unwrap();
        });
        each(c, format!("decode {format:?}"), elements(), &mut |isa| {
            decode_blocks(isa, format, &bytes, &mut out).unwrap();
        });
    }
    for format in [BlockFormat::MxFp4, BlockFormat::NvFp4] {
        let mut bytes = vec![0; format.bytes(LENGTH).unwrap()];
        each(c, format!("encode {format:?} stochastically"), elements(), &mut |isa| {
            encode_blocks_with(isa, format, Stream::new(7), &x, &mut bytes).unwrap();
        });
    }
    let nibbles = QuantParams::per_tensor(CodeRange::unsigned(4).unwrap(), 0.21, 7).unwrap();
    let bytes = &mut codes[..LENGTH / 2];
    each(c, "quantize f32→u4".into(), elements(), &mut |isa| {
        let codes = PackedCodesMut::four_bits(bytes, LENGTH).unwrap();
        quantize(isa, &x, &nibbles, Rounding::Nearest, codes).unwrap();
    });
    each(c, "dequantize u4→f32".into(), elements(), &mut |isa| {
        dequantize(isa, PackedCodes::four_bits(bytes, LENGTH).unwrap(), &nibbles, &mut out).unwrap();
    });
    let blocks = Granularity::block(&[LENGTH], 32).unwrap();
    let per_block =
        QuantParams::new(CodeRange::signed(8).unwrap(), blocks, vec![0.015; LENGTH / 32], vec![0; LENGTH / 32])
            .unwrap();
    each(c, "error of u8 per tensor".into(), elements(), &mut |isa| {
        std::hint::black_box(quantization_error(isa, &x, &params).unwrap());
    });
    each(c, "error of i8 per block".into(), elements(), &mut |isa| {
        std::hint::black_box(quantization_error(isa, &x, &per_block).unwrap());
    });
    each(c, "error of a reconstruction".into(), elements(), &mut |isa| {
        std::hint::black_box(reconstruction_error(isa, &x, &out).unwrap());
    });
}

/// M rows of f32, N outputs, depth K, groups of 32; the throughput is products a second.
fn products(c: &mut Criterion) {
    for [m, n, k] in [[1, 4096, 4096], [1, 11008, 4096], [8, 4096, 4096], [64, 1024, 1024], [128, 4096, 4096]] {
        for bits in [2, 4, 8] {
            let x = reals(m * k);
            let x = Activations::reals(Matrix::new(&x, m, k).unwrap(), Scheme::SYMMETRIC);
            let codes: Vec<u8> =
                (0..(n * k) as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> (32 - bits)) as u8).collect();
            let scales = vec![0x2000; n * k / 32];
            let zero_points = vec![1 << (bits - 1); scales.len()];
            let range = CodeRange::unsigned(bits).unwrap();
            let weights = Weights::new(Matrix::new(&codes, n, k).unwrap(), range, 32, Halves::f16(&scales)).unwrap();
            let weights = weights.with_zero_points(&zero_points).unwrap();
            let (mut out, products) = (vec![0.0; m * n], Throughput::Elements((m * n * k) as u64));
            let mut packed: Option<PackedWeights> = None;
            each(c, format!("{bits} bits in groups, {m}×{n}×{k}"), products, &mut |isa| {
                let packed = match &mut packed {
                    Some(packed) if packed.isa() == isa => packed,
                    other => other.insert(PackedWeights::pack(isa, &weights).unwrap()),
                };
                groups::matmul(isa, &x, packed, &RealStage::new(), &mut out).unwrap();
            });
        }
    }
}

criterion_group!(benches, elementwise, products);
criterion_main!(benches);
