//! The parallel forms give the serial bytes, for any number of threads.

use std::cell::RefCell;
use std::sync::{LazyLock, mpsc};
use std::thread;

use crate::common::{emulated, part, slowest_and_fastest};
use rayon::{ThreadPool, ThreadPoolBuilder};
use zeropoint::calibrate::{Clip, Histogram, Moments, Observer, Spread, mse_ranges};
use zeropoint::distance::{Cosine, SquaredEuclidean, nearest, pairwise};
use zeropoint::formats::{BlockFormat, block_offsets, decode_blocks, encode_blocks_with, split_blocks};
use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::random::{fill_uniform, fill_words};
use zeropoint::report::{quantization_error, reconstruction_error};
use zeropoint::{
    Accumulators, Batch, Code, CodeRange, Error, Exec, Granularity, Isa, Matrix, MatrixMut, QuantParams, Quantized,
    Rhs, Rounding, Rule, Scheme, Stage, Stream, UnpackedMatrix, dequantize, fake_quantize, matmul_batch, min_max,
    quantize, ranges, raw, reference,
};

/// The elements of a piece of a tensor: tests go beyond twenty.
const PIECE: usize = 16 << 10;

/// In pools, which stay: a thread's helpers of one call are there at the next. And outside, where the global pool helps. An
/// emulated CPU has the threads of the machine, which tests all of them: there, one pool is enough.
fn with_threads(mut check: impl FnMut() + Send) {
    static POOLS: LazyLock<Vec<ThreadPool>> = LazyLock::new(|| {
        ThreadPoolBuilder::new().num_threads(3).build_global().unwrap();
        let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let sizes: &[usize] = if emulated() { &[3] } else { &[1, 2, 3, 7] };
        sizes.iter().copied().map(pool).collect()
    });
    for pool in &*POOLS {
        pool.install(&mut check);
    }
    check();
}

/// Calls that follow each other are shared, also those that are not worth waking a helper each.
fn repeated(times: usize, mut call: impl FnMut()) {
    part(0..times).for_each(|_| call());
}

#[test]
fn tensors() {
    tensors_of(CodeRange::signed(8).unwrap(), 1.0);
    tensors_of(CodeRange::signed16(16).unwrap(), 1e-2);
}

fn tensors_of<C: Code>(codes: CodeRange<C>, unit: f32) {
    let length = 20 * PIECE + 840;
    let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0).collect();
    let granularities = [
        Granularity::Tensor,
        Granularity::channel(&[length / 8, 8], 1).unwrap(),
        Granularity::block(&[8, length / 8], 100).unwrap(),
        Granularity::block_along(&[length / 40, 40], 0, 100).unwrap(),
        Granularity::block_along(&[8, length / 8], 0, 3).unwrap(),
    ];
    for granularity in part(granularities) {
        let groups = granularity.groups(length).unwrap();
        let scales = (0..groups).map(|group| (0.02 + group as f32 * 1e-4) * unit).collect();
        let zero_points = (0..groups).map(|group| group as i32 % 100 - 50).collect();
        let params = QuantParams::new(codes, granularity, scales, zero_points).unwrap();
        slowest_and_fastest(|isa| {
            let (mut want, mut want_real, mut want_fake) = (vec![C::MIN; length], vec![0.0; length], vec![0.0; length]);
            let (mut want_stochastic, mut want_both) = (vec![C::MIN; length], vec![0.0; length]);
            let want_range = min_max(isa, &x);
            let stream = Stream { seed: 1, offset: 16_384 * 9 - 701 };
            quantize(isa, &x, &params, stream, &mut want_stochastic).unwrap();
            fake_quantize(isa, &x, &params, stream, &mut want_both).unwrap();
            quantize(isa, &x, &params, Rounding::Nearest, &mut want).unwrap();
            dequantize(isa, &want, &params, &mut want_real).unwrap();
            fake_quantize(isa, &x, &params, Rounding::Nearest, &mut want_fake).unwrap();
            let want_report = quantization_error(isa, &x, &params);
            let want_given = reconstruction_error(isa, &x, &want_real);
            with_threads(|| {
                let (mut out, mut real) = (vec![C::MIN; length], vec![0.0; length]);
                repeated(4, || quantize(Exec::from(isa).rayon(), &x, &params, Rounding::Nearest, &mut out).unwrap());
                assert!(out == want, "{isa} {granularity:?}");
                repeated(8, || dequantize(Exec::from(isa).rayon(), &out, &params, &mut real).unwrap());
                assert!(real == want_real, "{isa} {granularity:?}");
                repeated(4, || {
                    fake_quantize(Exec::from(isa).rayon(), &x, &params, Rounding::Nearest, &mut real).unwrap()
                });
                assert!(real == want_fake, "{isa} {granularity:?}");
                repeated(4, || quantize(Exec::from(isa).rayon(), &x, &params, stream, &mut out).unwrap());
                assert!(out == want_stochastic, "{isa} {granularity:?}");
                repeated(4, || fake_quantize(Exec::from(isa).rayon(), &x, &params, stream, &mut real).unwrap());
                assert!(real == want_both, "{isa} {granularity:?}");
                repeated(8, || assert_eq!(min_max(Exec::from(isa).rayon(), &x), want_range, "{isa}"));
                repeated(4, || {
                    assert_eq!(quantization_error(Exec::from(isa).rayon(), &x, &params), want_report, "{isa}")
                });
                repeated(4, || {
                    assert_eq!(reconstruction_error(Exec::from(isa).rayon(), &x, &want_real), want_given, "{isa}")
                });
            });
        });
    }
}

#[test]
fn words() {
    let length = 20 * PIECE + 840;
    for offset in [0, 1, 16_383, 16_384, u64::MAX - length as u64 + 1] {
        let stream = Stream { seed: 6, offset };
        let (want, want_uniform) = (reference::words(stream, length), reference::uniform(stream, length));
        slowest_and_fastest(|isa| {
            with_threads(|| {
                let (mut words, mut numbers) = (vec![0; length], vec![0.0; length]);
                repeated(4, || fill_words(Exec::from(isa).rayon(), stream, &mut words).unwrap());
                assert!(words == want, "{isa} {offset}");
                repeated(4, || fill_uniform(Exec::from(isa).rayon(), stream, &mut numbers).unwrap());
                assert!(numbers == want_uniform, "{isa} {offset}");
            });
        });
    }
}

/// Blocks of several pieces, and a last piece of fewer than sixteen: with magnitudes that every block has of its own.
#[test]
fn formats() {
    for format in part(BlockFormat::ALL) {
        // (Scales of super-blocks are searched for, in pieces of sixteen.)
        let blocks = if format.block_length() == 256 { 40 * 16 + 5 } else { 60 * 512 + 5 };
        let length = blocks * format.block_length();
        let groups = length / format.group_length();
        let stochastic = matches!(format, BlockFormat::MxFp4 | BlockFormat::NvFp4);
        let rounding = if stochastic { Stream { seed: 3, offset: 12_345 }.into() } else { Rounding::Nearest };
        let x: Vec<f32> =
            (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 * 1e-9 * (1 + i / 32 % 977) as f32).collect();
        let bytes = reference::encode_blocks_with(format, rounding, &x);
        let values = reference::decode_blocks(format, &bytes);
        slowest_and_fastest(|isa| {
            let (mut codes, mut scales, mut offsets) = (vec![0; length], vec![0.0; groups], vec![0.0; groups]);
            split_blocks(isa, format, &bytes, &mut codes, &mut scales).unwrap();
            block_offsets(isa, format, &bytes, &mut offsets).unwrap();
            with_threads(|| {
                let exec = Exec::from(isa).rayon();
                let (mut encoded, mut decoded) = (vec![0; bytes.len()], vec![0.0; length]);
                repeated(4, || encode_blocks_with(exec, format, rounding, &x, &mut encoded).unwrap());
                assert!(encoded == bytes, "{isa} {format:?}");
                repeated(4, || decode_blocks(exec, format, &bytes, &mut decoded).unwrap());
                assert!(decoded == values, "{isa} {format:?}");
                let (mut split, mut split_scales, mut found) = (vec![0; length], vec![0.0; groups], vec![9.0; groups]);
                repeated(4, || split_blocks(exec, format, &bytes, &mut split, &mut split_scales).unwrap());
                assert!((&split, &split_scales) == (&codes, &scales), "{isa} {format:?}");
                repeated(4, || block_offsets(exec, format, &bytes, &mut found).unwrap());
                assert!(found == offsets, "{isa} {format:?}");
            });
        });
    }
}

#[test]
fn products_of_groups() {
    for [m, n, k] in [[1, 1500, 640], [40, 300, 256]] {
        let a: Vec<i8> = (0..m * k).map(|i| (i * 31 % 251) as u8 as i8).collect();
        let weights: Vec<i8> = (0..n * k).map(|i| (i * 17 % 253) as u8 as i8).collect();
        let scales: Vec<f32> = (0..n * k / 32).map(|i| 0.001 + (i % 89) as f32 * 1e-4).collect();
        slowest_and_fastest(|isa| {
            let weights = Matrix::new(&weights, n, k).unwrap();
            let weights = Weights::new(weights, CodeRange::signed(8).unwrap(), 32, &scales).unwrap();
            let packed = PackedWeights::pack(isa, &weights).unwrap();
            let a = Activations::per_row(Matrix::new(&a, m, k).unwrap(), 5.into(), &[0.3]).unwrap();
            let mut want = vec![0.0; m * n];
            groups::matmul(isa, &a, &packed, &RealStage::new(), &mut want).unwrap();
            with_threads(|| {
                let mut out = vec![0.0; m * n];
                repeated(8, || {
                    out.fill(0.0);
                    groups::matmul(Exec::from(isa).rayon(), &a, &packed, &RealStage::new(), &mut out).unwrap();
                });
                assert!(out == want, "{isa} {m}×{n}×{k}");
            });
        });
    }
}

/// One side divided, or both; in many pieces, or in fewer than threads.
#[test]
fn products() {
    for [m, n, k] in [
        [1, 4099, 300],
        [131, 129, 127],
        [3, 2000, 201],
        [2001, 9, 70],
        [50, 150, 2100],
        [100, 40, 3000],
        [257, 300, 300],
    ] {
        let a: Vec<u8> = (0..m * k).map(|i| (i * 31 % 251) as u8).collect();
        let b: Vec<i8> = (0..k * n).map(|i| (i * 17 % 253) as u8 as i8).collect();
        let row_zero_points: Vec<i32> = (0..m as i32).map(|i| i % 256).collect();
        slowest_and_fastest(|isa| {
            let packed = raw::pack(isa, Matrix::new(&b, k, n).unwrap(), 3.into()).unwrap();
            let a = Matrix::new(&a, m, k).unwrap();
            let zero_points = || row_zero_points.as_slice().into();
            let mut want = vec![0; m * n];
            raw::matmul(isa, a, zero_points(), &packed, &Accumulators, MatrixMut::new(&mut want, m, n).unwrap())
                .unwrap();
            let unpacked = raw::unpacked(isa, Matrix::new(&b, k, n).unwrap(), 3.into()).unwrap();
            let transposed: Vec<_> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
            let transposed = Matrix::new(&transposed, n, k).unwrap();
            let transposed = raw::unpacked_transposed(isa, transposed, 3.into()).unwrap();
            with_threads(|| {
                let mut out = vec![0; m * n];
                repeated(4, || {
                    raw::matmul(
                        Exec::from(isa).rayon(),
                        a,
                        zero_points(),
                        &packed,
                        &Accumulators,
                        MatrixMut::new(&mut out, m, n).unwrap(),
                    )
                    .unwrap()
                });
                assert!(out == want, "{isa} {m}x{n}x{k}");
                for b in [&unpacked, &transposed] {
                    out.fill(0);
                    repeated(4, || {
                        raw::matmul(
                            Exec::from(isa).rayon(),
                            a,
                            zero_points(),
                            b,
                            &Accumulators,
                            MatrixMut::new(&mut out, m, n).unwrap(),
                        )
                        .unwrap()
                    });
                    assert!(out == want, "unpacked {isa} {m}x{n}x{k}");
                }
            });
        });
    }
}

/// Many calls at once and one after the other, of all sizes: helpers come late, linger, and go.
#[test]
fn calls_that_meet() {
    let (n, k) = (130, 520);
    let a: Vec<u8> = (0..400 * k).map(|i| (i * 31 % 251) as u8).collect();
    let b: Vec<i8> = (0..k * n).map(|i| (i * 17 % 253) as u8 as i8).collect();
    let isa = Isa::best().unwrap();
    let packed = raw::pack(isa, Matrix::new(&b, k, n).unwrap(), 3.into()).unwrap();
    let mut want = vec![0; 400 * n];
    let whole = Matrix::new(&a, 400, k).unwrap();
    raw::matmul(isa, whole, 9.into(), &packed, &Accumulators, MatrixMut::new(&mut want, 400, n).unwrap()).unwrap();
    let calls = || {
        for i in part(0..30) {
            let m = i * 97 % 400;
            let mut out = vec![0; m * n];
            let (a, c) = (Matrix::new(&a[..m * k], m, k).unwrap(), MatrixMut::new(&mut out, m, n).unwrap());
            raw::matmul(Exec::from(isa).rayon(), a, 9.into(), &packed, &Accumulators, c).unwrap();
            assert!(out == want[..m * n], "call {i}, {m} rows");
        }
    };
    with_threads(|| {
        rayon::join(calls, || rayon::join(calls, calls));
        std::thread::scope(|scope| {
            scope.spawn(calls);
            scope.spawn(calls);
        });
    });
}

fn product<S: Stage>(isa: Isa, a: Matrix<u8>, b: &impl Rhs<u8>, stage: &S, [m, n]: [usize; 2]) -> [Vec<S::Element>; 2]
where
    S::Element: Clone + Default,
{
    let (mut serial, mut shared) = (vec![S::Element::default(); m * n], vec![S::Element::default(); m * n]);
    raw::matmul(isa, a, 5.into(), b, stage, MatrixMut::new(&mut serial, m, n).unwrap()).unwrap();
    repeated(4, || {
        raw::matmul(Exec::from(isa).rayon(), a, 5.into(), b, stage, MatrixMut::new(&mut shared, m, n).unwrap()).unwrap()
    });
    [serial, shared]
}

#[test]
fn stages() {
    for [m, n, k] in [[5, 2000, 500], [61, 150, 1100], [301, 260, 150]] {
        let a: Vec<u8> = (0..m * k).map(|i| (i * 31 % 251) as u8).collect();
        let b: Vec<i8> = (0..k * n).map(|i| (i * 17 % 253) as u8 as i8).collect();
        let scales: Vec<f64> = (0..n).map(|j| 1e-4 + j as f64 * 1e-8).collect();
        let stage = raw::requantize(Rule::Float, &scales, 3, i8::MIN..=i8::MAX).unwrap();
        let stochastic = stage.stochastic(Stream { seed: 3, offset: 16_384 * 5 - 77 }).unwrap();
        slowest_and_fastest(|isa| {
            let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, k, n).unwrap());
            let packed = raw::pack(isa, b, 3.into()).unwrap();
            let unpacked = raw::unpacked(isa, b, 3.into()).unwrap();
            with_threads(|| {
                let all = [
                    product(isa, a, &packed, &stage, [m, n]),
                    product(isa, a, &packed, &stochastic, [m, n]),
                    product(isa, a, &unpacked, &stage, [m, n]),
                    product(isa, a, &unpacked, &stochastic, [m, n]),
                ];
                for (i, [serial, shared]) in all.iter().enumerate() {
                    assert!(serial == shared, "{isa} {m}x{n}x{k} {i}");
                }
            });
        });
    }
}

/// Nothing to write, or nothing to add up.
#[test]
fn empty() {
    for [m, n, k] in [[0, 4096, 4096], [4096, 0, 4096], [2048, 2048, 0]] {
        let (a, b) = (vec![1_u8; m * k], vec![1_i8; k * n]);
        slowest_and_fastest(|isa| {
            let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, k, n).unwrap());
            let packed = raw::pack(isa, b, 3.into()).unwrap();
            let unpacked = raw::unpacked(isa, b, 3.into()).unwrap();
            let mut out = vec![7; m * n];
            with_threads(|| {
                raw::matmul(
                    Exec::from(isa).rayon(),
                    a,
                    9.into(),
                    &packed,
                    &Accumulators,
                    MatrixMut::new(&mut out, m, n).unwrap(),
                )
                .unwrap();
                assert!(out.iter().all(|&sum| sum == 0), "{isa}");
                out.fill(7);
                raw::matmul(
                    Exec::from(isa).rayon(),
                    a,
                    9.into(),
                    &unpacked,
                    &Accumulators,
                    MatrixMut::new(&mut out, m, n).unwrap(),
                )
                .unwrap();
                assert!(out.iter().all(|&sum| sum == 0), "unpacked {isa}");
            });
        });
    }
}

/// Groups in one place each, in many places, and in bands that are divided themselves.
#[test]
fn ranges_of_groups() {
    let length = 2_400_000;
    let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0).collect();
    let granularities = [
        Granularity::channel(&[100, length / 100], 0),
        Granularity::channel(&[length / 100, 100], 1),
        Granularity::channel(&[30, 8, length / 240], 1),
        Granularity::block(&[1000, 2400], 32),
        Granularity::block(&[1000, 2400], 100),
        Granularity::block(&[1000, 2400], 77),
        Granularity::block_along(&[2, 120_000, 10], 1, 110_000),
        Granularity::block_along(&[1000, 2400], 0, 125),
        Granularity::block_along(&[1000, 2400], 0, 77),
        Granularity::block_along(&[5, 4000, 120], 1, 32),
        Granularity::block_along(&[5, 4000, 120], 1, 3),
    ];
    for granularity in granularities.map(Result::unwrap) {
        let want = reference::ranges(&x, granularity, granularity.groups(length).unwrap());
        slowest_and_fastest(|isa| {
            with_threads(|| {
                let found = ranges(Exec::from(isa).rayon(), &x, granularity).unwrap();
                assert!(found == want, "{isa} {granularity:?}");
            });
        });
        let mut x = x.clone();
        x[2_345_678] = f32::NAN;
        slowest_and_fastest(|isa| {
            let refused = ranges(Exec::from(isa).rayon(), &x, granularity);
            assert!(matches!(refused, Err(Error::NonFinite { index: 2_345_678, .. })), "{isa} {granularity:?}");
        });
    }
}

/// Codes of FP8, and ranges of least error, which take longer.
#[test]
fn eight_bit_floats_and_ranges_of_least_error() {
    let length = 20 * PIECE + 800;
    let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0).collect();
    let stream = Stream { seed: 1, offset: 16_384 * 9 - 701 };
    for granularity in [Granularity::Tensor, Granularity::block(&[length / 80, 80], 32).unwrap()] {
        let params = Fp8Params::fit(Isa::supported()[0], &x, Fp8::E4M3, granularity).unwrap();
        let want = [reference::encode_fp8(&x, &params), reference::encode_fp8_stochastic(&x, &params, stream)];
        let want_real = reference::decode_fp8(&want[0], &params);
        slowest_and_fastest(|isa| {
            with_threads(|| {
                let (mut out, mut real) = (vec![0; length], vec![0.0; length]);
                let exec = Exec::from(isa).rayon();
                for (rounding, want) in [Rounding::Nearest, stream.into()].into_iter().zip(&want) {
                    repeated(4, || encode(exec, &x, &params, rounding, &mut out).unwrap());
                    assert!(out == *want, "{isa} {granularity:?} {rounding:?}");
                }
                repeated(8, || decode(exec, &want[0], &params, &mut real).unwrap());
                assert!(real == want_real, "{isa} {granularity:?}");
            });
        });
    }
    let codes = CodeRange::<u8>::unsigned(4).unwrap();
    let x = &x[..240 * 80];
    for granularity in [Granularity::block(&[240, 80], 32), Granularity::channel(&[1920, 10], 1)].map(Result::unwrap) {
        let groups = granularity.groups(x.len()).unwrap();
        let want = reference::mse_ranges(x, granularity, groups, codes, Scheme::ASYMMETRIC);
        slowest_and_fastest(|isa| {
            with_threads(|| {
                let exec = Exec::from(isa).rayon();
                repeated(2, || {
                    assert_eq!(mse_ranges(exec, x, granularity, codes, Scheme::ASYMMETRIC).unwrap(), want, "{isa}");
                });
            });
        });
    }
}

/// Observers give the serial bits.
#[test]
fn observers() {
    let length = 20 * PIECE + 840;
    // Every other number is 0, as behind a ReLU: it fills a bin of 16 bits.
    let number =
        |i: usize| if i.is_multiple_of(2) { 0.0 } else { ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0 };
    let x: Vec<f32> = (0..length).map(number).collect();
    let (exponent, counts) = reference::histogram(&x);
    let [mean, std, mean_deviation] = reference::moments(&x);
    slowest_and_fastest(|isa| {
        with_threads(|| {
            let mut histogram = Histogram::new(Clip::Percentile(99.9)).unwrap();
            let mut moments = Moments::new(Spread::Deviations(3.0)).unwrap();
            moments.observe(Exec::from(isa).rayon(), &x).unwrap();
            assert_eq!([moments.mean(), moments.std(), moments.mean_deviation()], [mean, std, mean_deviation], "{isa}");
            (0..4).for_each(|_| histogram.observe(Exec::from(isa).rayon(), &x).unwrap());
            assert_eq!(histogram.bin_width(), 2_f64.powi(exponent));
            for (counts, want) in histogram.counts().into_iter().zip(&counts) {
                assert!(counts.iter().zip(want).all(|(&count, want)| count == 4 * want), "{isa}");
            }
        });
    });
}

/// A thread-local value that computes when it is destroyed, after what the library keeps for the thread is gone.
#[test]
fn calls_work_when_their_thread_ends() {
    struct AtTheEnd(Option<Box<dyn FnOnce()>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            if let Some(call) = self.0.take() {
                call();
            }
        }
    }
    thread_local! {
        static LAST: RefCell<AtTheEnd> = const { RefCell::new(AtTheEnd(None)) };
    }
    with_threads(|| {
        slowest_and_fastest(|isa| {
            for exec in [isa.into(), Exec::from(isa).rayon()] {
                let sums = move || {
                    let (a, b) = (vec![200_u8; 60 * 700], vec![-3_i8; 700 * 200]);
                    let mut sums = vec![0_i32; 60 * 200];
                    let packed = raw::pack(isa, Matrix::new(&b, 700, 200).unwrap(), 5.into()).unwrap();
                    let out = MatrixMut::new(&mut sums, 60, 200).unwrap();
                    raw::matmul(exec, Matrix::new(&a, 60, 700).unwrap(), 9.into(), &packed, &Accumulators, out)
                        .unwrap();
                    sums
                };
                let (sender, receiver) = mpsc::channel();
                thread::spawn(move || {
                    // Thread-local values are destroyed in the reverse of the order of their first use.
                    LAST.with_borrow_mut(|last| last.0 = Some(Box::new(move || sender.send(sums()).unwrap())));
                    sums();
                })
                .join()
                .unwrap();
                assert!(receiver.recv().unwrap() == sums(), "{isa}");
            }
        });
    });
}

/// Products of a batch: more than threads, which share them, and fewer, which all threads share.
#[test]
fn batches() {
    for [count, m, n, k] in [[24, 64, 200, 64], [2, 300, 400, 256]] {
        let a: Vec<u8> = (0..count * m * k).map(|i| (i * 37) as u8).collect();
        let b: Vec<i8> = (0..count * n * k).map(|i| (i * 91) as i8).collect();
        let a_params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 7).unwrap();
        let b_params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.25, -3).unwrap();
        let a = Quantized::new(Matrix::new(&a, m, count * k).unwrap(), &a_params).unwrap();
        let b = Quantized::new(Matrix::new(&b, count * n, k).unwrap(), &b_params).unwrap();
        slowest_and_fastest(|isa| {
            let b = UnpackedMatrix::batch_transposed(isa, Batch::stacked(b, count)).unwrap();
            let run = |exec: Exec<'_>, out: &mut [i32]| {
                let out = Batch::side_by_side(MatrixMut::new(out, m, count * n).unwrap(), count);
                matmul_batch(exec, Batch::side_by_side(a, count), &b, &Accumulators, out).unwrap();
            };
            let mut want = vec![0; m * count * n];
            run(isa.into(), &mut want);
            with_threads(|| {
                let mut out = vec![0; m * count * n];
                repeated(8, || run(Exec::from(isa).rayon(), &mut out));
                assert!(out == want, "{isa} {count}");
            });
        });
    }
}

/// Rows of many blocks, for some queries: more neighbours than a block has rows, and many that are equally near.
#[test]
fn distances() {
    let (queries, rows, depth) = (3, 20_000, 130);
    let a: Vec<i8> = (0..queries * depth).map(|i| ((i * 2_654_435_761) >> 7) as i8).collect();
    let b: Vec<u8> = (0..rows * depth).map(|i| (i / depth % 700 + (i % depth) * 11) as u8).collect();
    let a = Matrix::new(&a, queries, depth).unwrap();
    let b = Matrix::new(&b, rows, depth).unwrap();
    slowest_and_fastest(|isa| {
        let mut want = vec![0; queries * rows];
        pairwise(isa, SquaredEuclidean, a, b, MatrixMut::new(&mut want, queries, rows).unwrap()).unwrap();
        let want_nearest = nearest(isa, Cosine, a, b, 1000).unwrap();
        with_threads(|| {
            let exec = Exec::from(isa).rayon();
            let mut out = vec![0; queries * rows];
            repeated(8, || {
                pairwise(exec, SquaredEuclidean, a, b, MatrixMut::new(&mut out, queries, rows).unwrap()).unwrap();
            });
            assert!(out == want, "{isa}");
            repeated(8, || assert!(nearest(exec, Cosine, a, b, 1000).unwrap() == want_nearest, "{isa}"));
        });
    });
}
