//! Quantization of f32: one group for every operation, granularity and length, one function for every ISA, and beside them
//! minimal hand loops, which have no clamping, no rule for NaN, no zero point, and a reciprocal for a division.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
use zeropoint::{
    CodeRange, Granularity, Isa, Matrix, MatrixMut, QuantParams, Rounding, Scheme, Stream, abs_max, dequantize,
    fake_quantize, fake_quantize_in_place, min_max, quantize, ranges,
};

/// Small, in the level-1, -2 and -3 caches, and beyond.
const LENGTHS: [usize; 6] = [16, 256, 4 << 10, 64 << 10, 1 << 20, 16 << 20];

/// The elements of a row, where the tensor has more than one.
const ROW: usize = 1024;

const SCALE: f32 = 0.0129;

/// Numbers inside and outside the range, the same in every run.
fn reals(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn params(granularity: Granularity, length: usize) -> QuantParams<u8> {
    let groups = granularity.groups(length).unwrap();
    let scales = (0..groups).map(|group| SCALE + (group % 100) as f32 * 1e-5).collect();
    QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, scales, vec![117; groups]).unwrap()
}

fn elementwise(c: &mut Criterion) {
    for length in LENGTHS {
        let x = reals(length);
        let (mut codes, mut mask) = (vec![0_u8; length], vec![0_u8; length]);
        let mut out = vec![0.0_f32; length];
        let row = length.min(ROW);
        let shape = [length / row, row];
        let per_tensor = params(Granularity::Tensor, length);
        let codes_of = CodeRange::unsigned(8).unwrap();
        let mut each = |operation: &str, run: &mut dyn FnMut(Isa), hand: Option<&mut dyn FnMut()>| {
            let mut group = c.benchmark_group(format!("{operation}/{length}"));
            group.throughput(Throughput::Elements(length as u64));
            for isa in Isa::supported() {
                group.bench_function(BenchmarkId::from_parameter(isa), |bencher| bencher.iter(|| run(isa)));
            }
            if let Some(hand) = hand.filter(|_| hand::available()) {
                group.bench_function("hand loop avx512", |bencher| bencher.iter(&mut *hand));
            }
        };
        let mut hand_codes = vec![0; length];
        each(
            "quantize f32→u8",
            &mut |isa| quantize(isa, &x, &per_tensor, Rounding::Nearest, &mut codes).unwrap(),
            Some(&mut || hand::quantize(&x, SCALE, &mut hand_codes)),
        );
        let groups = [
            ("row", Granularity::channel(&shape, 0)),
            ("column", Granularity::channel(&shape, 1)),
            ("column of 16", Granularity::channel(&[length / 16, 16], 1)),
            ("block of 32", Granularity::block(&shape, 32)),
            ("block of 32 rows", Granularity::block_along(&shape, 0, 32)),
        ]
        .map(|(name, granularity)| (name, granularity.unwrap()));
        let longer_blocks = [("block of 64", 64), ("block of 128", 128)]
            .map(|(name, block)| (name, Granularity::block(&shape, block).unwrap()));
        for (name, granularity) in groups.into_iter().chain(longer_blocks) {
            let params = params(granularity, length);
            let name = format!("quantize f32→u8 per {name}");
            each(&name, &mut |isa| quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap(), None);
        }
        for (name, granularity) in [("tensor", Granularity::Tensor)].into_iter().chain(groups) {
            each(
                &format!("quantize f32→u8 by the ranges found per {name}"),
                &mut |isa| {
                    let params = QuantParams::fit(isa, &x, codes_of, Scheme::ASYMMETRIC, granularity).unwrap();
                    quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap();
                },
                None,
            );
        }
        let mut hand_out = vec![0.0; length];
        each(
            "dequantize u8→f32",
            &mut |isa| dequantize(isa, &codes, &per_tensor, &mut out).unwrap(),
            Some(&mut || hand::dequantize(&hand_codes, SCALE, &mut hand_out)),
        );
        each(
            "fake-quantize",
            &mut |isa| fake_quantize(isa, &x, &per_tensor, Rounding::Nearest, &mut out).unwrap(),
            Some(&mut || hand::fake_quantize(&x, SCALE, &mut hand_out)),
        );
        each(
            "fake-quantize with mask",
            &mut |isa| fake_quantize(isa, &x, &per_tensor, Rounding::Nearest, (&mut out, &mut mask)).unwrap(),
            None,
        );
        let eight_bits = Fp8Params::per_tensor(Fp8::E4M3, SCALE).unwrap();
        each("encode f32→E4M3", &mut |isa| encode(isa, &x, &eight_bits, Rounding::Nearest, &mut codes).unwrap(), None);
        each(
            "encode f32→E4M3 stochastically",
            &mut |isa| encode(isa, &x, &eight_bits, Stream::new(1), &mut codes).unwrap(),
            None,
        );
        each("decode E4M3→f32", &mut |isa| decode(isa, &codes, &eight_bits, &mut out).unwrap(), None);
        let mut place = x.clone();
        each(
            "fake-quantize in place",
            &mut |isa| fake_quantize_in_place(isa, &mut place, &per_tensor, Rounding::Nearest).unwrap(),
            None,
        );
        // A line lies between rows.
        let ([rows, columns], stride) = (shape, row + 16);
        let x_rows = reals(rows * stride);
        let x_rows = Matrix::with_stride(&x_rows, rows, columns, stride).unwrap();
        each(
            "quantize f32→u8 with row strides",
            &mut |isa| {
                let codes = MatrixMut::new(&mut codes, rows, columns).unwrap();
                quantize(isa, x_rows, &per_tensor, Rounding::Nearest, codes).unwrap();
            },
            None,
        );
        each(
            "min-max",
            &mut |isa| {
                std::hint::black_box(min_max(isa, &x).unwrap());
            },
            Some(&mut || {
                std::hint::black_box(hand::sum(&x));
            }),
        );
        for (name, granularity) in groups {
            each(
                &format!("min-max per {name}"),
                &mut |isa| {
                    std::hint::black_box(ranges(isa, &x, granularity).unwrap());
                },
                None,
            );
        }
        each(
            "abs-max",
            &mut |isa| {
                std::hint::black_box(abs_max(isa, &x).unwrap());
            },
            None,
        );
    }
}

/// The least that each could be.
#[cfg(target_arch = "x86_64")]
mod hand {
    use core::arch::x86_64::*;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
    }

    macro_rules! checked {
        ($(fn $name:ident($($argument:ident: $Type:ty),*) $(-> $Out:ty)? $body:block)*) => { $(
            pub fn $name($($argument: $Type),*) $(-> $Out)? {
                #[target_feature(enable = "avx512f,avx512bw")]
                fn run($($argument: $Type),*) $(-> $Out)? $body
                assert!(available());
                // SAFETY: as just checked.
                unsafe { run($($argument),*) }
            }
        )* };
    }

    checked! {
        fn quantize(x: &[f32], scale: f32, codes: &mut [u8]) {
            let reciprocal = _mm512_set1_ps(1.0 / scale);
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            for (x, codes) in x.as_chunks::<64>().0.iter().zip(codes.as_chunks_mut::<64>().0) {
                // SAFETY: 64 numbers may be read, and as many codes written.
                unsafe {
                    let q = |j: usize| _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x.as_ptr().add(16 * j)), reciprocal));
                    let (a, b) = (_mm512_packs_epi32(q(0), q(1)), _mm512_packs_epi32(q(2), q(3)));
                    let bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(a, b));
                    _mm512_storeu_si512(codes.as_mut_ptr().cast(), bytes);
                }
            }
        }
        fn dequantize(codes: &[u8], scale: f32, out: &mut [f32]) {
            let scale = _mm512_set1_ps(scale);
            for (codes, out) in codes.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<16>().0) {
                // SAFETY: sixteen codes may be read, and as many numbers written.
                unsafe {
                    let q = _mm512_cvtepu8_epi32(_mm_loadu_si128(codes.as_ptr().cast()));
                    _mm512_storeu_ps(out.as_mut_ptr(), _mm512_mul_ps(_mm512_cvtepi32_ps(q), scale));
                }
            }
        }
        fn fake_quantize(x: &[f32], scale: f32, out: &mut [f32]) {
            let (reciprocal, scale) = (_mm512_set1_ps(1.0 / scale), _mm512_set1_ps(scale));
            for (x, out) in x.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<16>().0) {
                // SAFETY: sixteen numbers may be read, and as many written.
                unsafe {
                    let q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x.as_ptr()), reciprocal));
                    _mm512_storeu_ps(out.as_mut_ptr(), _mm512_mul_ps(_mm512_cvtepi32_ps(q), scale));
                }
            }
        }
        fn sum(x: &[f32]) -> f32 {
            let mut sums = [_mm512_setzero_ps(); 4];
            for x in x.as_chunks::<64>().0 {
                for (j, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: 64 numbers may be read.
                    *sum = _mm512_add_ps(*sum, unsafe { _mm512_loadu_ps(x.as_ptr().add(16 * j)) });
                }
            }
            let [a, b, c, d] = sums;
            _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
        }
    }
}

/// They are written for one ISA.
#[cfg(not(target_arch = "x86_64"))]
mod hand {
    pub fn available() -> bool {
        false
    }
    pub fn quantize(_: &[f32], _: f32, _: &mut [u8]) {}
    pub fn dequantize(_: &[u8], _: f32, _: &mut [f32]) {}
    pub fn fake_quantize(_: &[f32], _: f32, _: &mut [f32]) {}
    pub fn sum(_: &[f32]) -> f32 {
        0.0
    }
}

criterion_group!(benches, elementwise);
criterion_main!(benches);
