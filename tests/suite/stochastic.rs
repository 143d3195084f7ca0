//! Stochastic rounding equals its formula on every ISA, for any piece of a tensor; and it has no bias.

use crate::common::{Ranges, SPECIALS, bits, every_isa, guarded, part, schemes, streams, tensors};
use proptest::prelude::*;
#[cfg(feature = "rayon")]
use zeropoint::Exec;
use zeropoint::layers::Window;
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    ByteCode, Code, CodeRange, Granularity, Isa, Matrix, MatrixMut, OffsetKind, QuantParams, Range, Rule, Scheme,
    Stream, fake_quantize, quantize, raw, reference,
};

fn equals_reference<C: Ranges>(x: &[f32], params: &QuantParams<C>, stream: Stream) {
    let codes = reference::quantize_stochastic(x, params, stream);
    let real = bits(&reference::fake_quantize_stochastic(x, params, stream));
    every_isa(|isa| {
        let out = guarded(x.len(), 1, C::MIN, |out| quantize(isa, x, params, stream, out).unwrap());
        assert_eq!(out, codes, "{isa} {stream:?}");
        let out = guarded(x.len(), 1, -0.5, |out| fake_quantize(isa, x, params, stream, out).unwrap());
        assert_eq!(bits(&out), real, "{isa} {stream:?}");
    });
}

fn tensors_and_streams<C: Ranges>() -> impl Strategy<Value = ((Vec<f32>, QuantParams<C>), Stream)> {
    tensors::<C>().prop_flat_map(|tensor| {
        let stream = streams(tensor.0.len());
        (Just(tensor), stream)
    })
}

proptest! {
    #![proptest_config(crate::common::cases(400))]

    #[test]
    fn unsigned(((x, params), stream) in tensors_and_streams::<u8>()) {
        equals_reference(&x, &params, stream);
    }

    #[test]
    fn signed(((x, params), stream) in tensors_and_streams::<i8>()) {
        equals_reference(&x, &params, stream);
    }

    #[test]
    fn wide_unsigned(((x, params), stream) in tensors_and_streams::<u16>()) {
        equals_reference(&x, &params, stream);
    }

    #[test]
    fn wide_signed(((x, params), stream) in tensors_and_streams::<i16>()) {
        equals_reference(&x, &params, stream);
    }
}

/// Runs of elements with one scale, or one row of channels, around the lengths at which words come another way, in turns.
#[test]
fn long_and_short_runs() {
    let granularities = [
        Granularity::block(&[2, 5001], 700),
        Granularity::block(&[3, 1400], 511),
        Granularity::block(&[3, 1400], 512),
        Granularity::block(&[2, 2000], 1999),
        Granularity::channel(&[2, 3, 513], 1),
        Granularity::channel(&[3, 1100], 1),
        Granularity::channel(&[40, 33], 1),
        Granularity::block_along(&[3, 1100], 0, 2),
        Granularity::block_along(&[2, 60, 33], 1, 50),
    ];
    for (granularity, length) in granularities.into_iter().zip([10_002, 4200, 4200, 4000, 3078, 3300, 1320, 3300, 3960])
    {
        let granularity = granularity.unwrap();
        let groups = granularity.groups(length).unwrap();
        let scales = (0..groups).map(|group| 0.02 + group as f32 * 1e-3).collect();
        let zero_points = (0..groups).map(|group| group as i32 % 100 - 50).collect();
        let params = QuantParams::new(CodeRange::signed(8).unwrap(), granularity, scales, zero_points).unwrap();
        let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 4e6 - 2.0).collect();
        for offset in [0, 7, 512, 16_384 - 1300] {
            equals_reference(&x, &params, Stream { seed: 4, offset });
        }
    }
}

/// Numbers whose fractions are equal to the comparison's other side, or one step from it, for their own words.
#[test]
fn fractions_at_their_words() {
    let stream = Stream { seed: 77, offset: 16_380 };
    let words = reference::words(stream, 4096);
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 1.0, -3).unwrap();
    let x: Vec<f32> = (0..words.len())
        .map(|i| {
            let fraction = ((words[i] >> 8) as f32 + [0.0, 0.5, 1.0, -1.0][i % 4]) / 16_777_216.0;
            fraction + [0.0, -1.0, 1.0, -2.0, 5.0, -100.0][i / 4 % 6]
        })
        .collect();
    equals_reference(&x, &params, stream);
    let ups = x.iter().zip(&words).filter(|&(&x, &word)| reference::round_stochastically(x, word) > x.floor() as i32);
    assert!((1000..3000).contains(&ups.count()), "both outcomes occur");
}

/// A tensor in arbitrary pieces, each on another ISA, has the codes of the whole.
#[test]
fn pieces_of_a_tensor() {
    let isas = Isa::supported();
    let length = 3 * 16_384 + 1000;
    let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0).collect();
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.07, 100).unwrap();
    for offset in [0, 11, 16_370, u64::MAX - length as u64 + 1] {
        let stream = Stream { seed: 5, offset };
        let whole = reference::quantize_stochastic(&x, &params, stream);
        for seed in 0..4_usize {
            let mut codes = vec![0; length];
            let (mut start, mut piece) = (0, 0);
            while start < length {
                let end = length.min(start + [1, 5, 16, 100, 1023, 4096, 16_384, 20_000][(piece * 5 + seed) % 8]);
                let isa = isas[(piece + seed) % isas.len()];
                let stream = stream.skip(start as u64).unwrap();
                quantize(isa, &x[start..end], &params, stream, &mut codes[start..end]).unwrap();
                (start, piece) = (end, piece + 1);
            }
            assert!(codes == whole, "{stream:?}");
        }
    }
}

/// Every element has a word of its own: what the others are, NaN and infinities among them, moves no code.
#[test]
fn every_element_takes_one_word() {
    let stream = Stream { seed: 8, offset: 3 };
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.5, 4).unwrap();
    let x: Vec<f32> = (0..500).map(|i| i as f32 * 0.11 - 20.0).collect();
    let mut special = x.clone();
    for (i, x) in special.iter_mut().enumerate().step_by(3) {
        *x = SPECIALS[i / 3 % SPECIALS.len()];
    }
    every_isa(|isa| {
        let (mut codes, mut others) = (vec![0; x.len()], vec![0; x.len()]);
        quantize(isa, &x, &params, stream, &mut codes).unwrap();
        quantize(isa, &special, &params, stream, &mut others).unwrap();
        for (i, (code, other)) in codes.iter().zip(&others).enumerate() {
            assert!(i % 3 == 0 || code == other, "{isa}: element {i}");
            assert!(!special[i].is_nan() || *other == 4, "{isa}: NaN has the code of 0");
            assert!(special[i] != f32::INFINITY || *other == 127, "{isa}");
            assert!(special[i] != f32::NEG_INFINITY || *other == -128, "{isa}");
        }
    });
}

#[test]
fn integers_never_move() {
    fn check<C: Ranges>() {
        for codes in C::all() {
            let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
            for zero_point in [min, max, 0, (min + max) / 2] {
                // Through scales that divide exactly.
                for scale in [1.0, 0.125, 2_f32.powi(-100), 3.0] {
                    let params = QuantParams::per_tensor(codes, scale, zero_point).unwrap();
                    let step = ((max - min) / 500).max(1) as usize;
                    let codes: Vec<i32> = (min..=max).step_by(step).chain([max]).collect();
                    let x: Vec<f32> = codes.iter().map(|code| (code - zero_point) as f32 * scale).collect();
                    for seed in 0..8 {
                        every_isa(|isa| {
                            let mut out = vec![C::MIN; x.len()];
                            quantize(isa, &x, &params, Stream::new(seed), &mut out).unwrap();
                            let same = |(&code, &want): (&C, &i32)| code.into() == want;
                            assert!(out.iter().zip(&codes).all(same), "{isa} {min}…{max}");
                        });
                    }
                }
            }
        }
    }
    check::<u8>();
    check::<i8>();
    check::<u16>();
    check::<i16>();
}

/// Sums of `repetitions` codes of every element, each with words of its own, and of their squared errors.
fn repeat<C: Code>(x: &[f32], params: &QuantParams<C>, repetitions: usize) -> (Vec<i64>, f64) {
    let isa = Isa::best().unwrap();
    let v = exact(x, params);
    let (mut sums, mut squares) = (vec![0; x.len()], 0.0);
    let mut codes = vec![C::MIN; x.len()];
    for repetition in 0..repetitions {
        let stream = Stream { seed: 1234, offset: (repetition * x.len()) as u64 };
        quantize(isa, x, params, stream, &mut codes).unwrap();
        for ((&code, sum), v) in codes.iter().zip(&mut sums).zip(&v) {
            let code: i32 = code.into();
            *sum += i64::from(code);
            squares += (f64::from(code) - v).powi(2);
        }
    }
    (sums, squares)
}

/// `x / S + Z`, as f64.
fn exact<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<f64> {
    let (scale, zero_point) = (params.scales()[0], params.zero_points()[0]);
    x.iter().map(|&x| f64::from(x) / f64::from(scale) + f64::from(zero_point)).collect()
}

/// Over the whole range of a scheme, its ends included, the mean code is `x / S + Z` and its variance
/// `fraction · (1 − fraction)`, within five standard deviations.
fn is_unbiased<C: Ranges>(codes: CodeRange<C>, scheme: Scheme, range: Range) {
    const ELEMENTS: usize = 101;
    const REPETITIONS: usize = 1024;
    let params = QuantParams::from_ranges(codes, scheme, Granularity::Tensor, &[range]).unwrap();
    let x: Vec<f32> = (0..ELEMENTS)
        .map(|i| {
            let share = i as f64 / (ELEMENTS - 1) as f64;
            (f64::from(range.min) + (f64::from(range.max) - f64::from(range.min)) * share) as f32
        })
        .collect();
    let (sums, squares) = repeat(&x, &params, REPETITIONS);
    let (mut error, mut variance) = (0.0, 0.0);
    for (i, (&sum, v)) in sums.iter().zip(exact(&x, &params)).enumerate() {
        let fraction = v - v.floor();
        let difference = sum as f64 - REPETITIONS as f64 * v;
        let deviation = (REPETITIONS as f64 * fraction * (1.0 - fraction)).sqrt();
        // One count more: a fraction of 10⁻⁵ has next to no deviation, and goes up once in a while.
        assert!(difference.abs() < 5.0 * deviation + 1.0, "{scheme:?} {codes:?}: element {i}, {v}: {difference}");
        error += difference;
        variance += fraction * (1.0 - fraction);
    }
    let all = REPETITIONS as f64;
    assert!(error.abs() < 5.0 * (all * variance).sqrt() + 1.0, "{scheme:?} {codes:?}: {error}");
    // The squared error of an element has a standard deviation of at most half a step.
    let spread = 5.0 * (all * ELEMENTS as f64).sqrt() / 2.0;
    assert!((squares - all * variance).abs() < spread, "{scheme:?} {codes:?}: {squares} and {}", all * variance);
}

#[test]
fn every_stochastic_type_is_unbiased() {
    fn check<C: Ranges>() {
        // The fewest bits, where an end is near every number, and the most.
        for codes in C::all().into_iter().filter(|codes| [1, 3, 127, 255, 32_767, 65_535].contains(&codes.max().into()))
        {
            for scheme in schemes().into_iter().filter(|scheme| *scheme == scheme.stochastic()) {
                for (min, max) in part([(-1.7, 2.3), (-0.013, 0.0), (0.0, 900.0), (-1.0, 1.0), (3.0, 5.0)]) {
                    let no_negatives = scheme.offset == OffsetKind::Zero && codes.min().into() == 0_i32;
                    if min >= 0.0 || !no_negatives {
                        is_unbiased(codes, scheme, Range { min, max });
                    }
                }
            }
        }
    }
    check::<u8>();
    check::<i8>();
    check::<u16>();
    check::<i16>();
}

/// With zero points for every row and column, a bias, and rows of the result apart.
fn product_equals_reference<C: Ranges + ByteCode>(
    [m, n, k]: [usize; 3],
    bounds: (C, C),
    zero_point: i32,
    stream: Stream,
) {
    let a: Vec<u8> = (0..m * k).map(|i| (i * 31 % 251) as u8).collect();
    let b: Vec<i8> = (0..k * n).map(|i| (i * 17 % 253) as u8 as i8).collect();
    let (za, zb): (Vec<i32>, Vec<i32>) =
        ((0..m as i32).map(|i| i % 200).collect(), (0..n as i32).map(|j| j % 9).collect());
    let bias: Vec<i32> = (0..n as i32).map(|j| j * 100 - 500).collect();
    let multipliers: Vec<f64> = (0..n).map(|j| 0.7 / (k * 40 + j + 1) as f64).collect();
    let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, k, n).unwrap());
    let sums = reference::matmul(a, za.as_slice().into(), b, zb.as_slice().into(), Some(&bias));
    let words = reference::words(stream, m * n);
    let code =
        |i: usize| reference::requantize_stochastic(sums[i] as i32, multipliers[i % n], zero_point, bounds, words[i]);
    let want: Vec<C> = (0..m * n).map(code).collect();
    let multipliers = if n > 0 { &multipliers[..] } else { &[1.0] };
    let stage = raw::requantize(Rule::Float, multipliers, zero_point, bounds.0..=bounds.1).unwrap();
    every_isa(|isa| {
        let packed = raw::pack(isa, b, zb.as_slice().into()).unwrap().with_accumulator_bias(&bias).unwrap();
        let run = |multiply: &dyn Fn(MatrixMut<'_, C>)| {
            let stride = n + 3;
            let mut out = vec![C::MIN; m * stride];
            multiply(MatrixMut::with_stride(&mut out, m, n, stride).unwrap());
            let rows = out.chunks_exact(stride).flat_map(|row| &row[..n]);
            assert!(rows.eq(&want), "{isa} {m}×{n}×{k} {stream:?}");
        };
        let stage = stage.stochastic(stream).unwrap();
        run(&|c| raw::matmul(isa, a, za.as_slice().into(), &packed, &stage, c).unwrap());
        #[cfg(feature = "rayon")]
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            run(&|c| {
                pool.install(|| {
                    zeropoint::raw::matmul(Exec::from(isa).rayon(), a, za.as_slice().into(), &packed, &stage, c)
                })
                .unwrap()
            });
        }
    });
}

#[test]
fn products() {
    // Small and odd; many rows of few columns; few rows of many; more words than are made at a time; nothing.
    let shapes = [[3, 17, 5], [9, 50, 33], [3000, 23, 4], [2, 5000, 300], [40, 2100, 16], [131, 129, 127]];
    for (i, shape) in shapes.into_iter().chain([[0, 5, 3], [4, 0, 3], [4, 5, 0]]).enumerate() {
        let offsets = [0, 16_383, u64::MAX - (shape[0] * shape[1]) as u64];
        product_equals_reference::<u8>(shape, (0, 255), 120, Stream { seed: 21, offset: offsets[i % 3] });
        product_equals_reference::<i8>(shape, (-100, 90), -7, Stream { seed: 22, offset: offsets[(i + 1) % 3] });
    }
}

/// Convolutions, grouped and depthwise ones too: the element's index is that of the result, channels last.
#[test]
fn convolutions() {
    // The last one has more words than are made at a time.
    for (size, channels, outputs, groups) in
        [([9, 8], 3, 5, 1), ([9, 8], 4, 6, 2), ([9, 8], 18, 18, 18), ([64, 29], 18, 18, 18)]
    {
        let (shape, weights_shape) = ([2, size[0], size[1], channels], [outputs, channels / groups, 3, 3]);
        let images: Vec<u8> = (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 256) as u8).collect();
        let weights: Vec<i8> =
            (0..weights_shape.iter().product::<usize>()).map(|i| (i * 29 % 255) as u8 as i8).collect();
        let window = Window { padding: [1; 4], ..Window::new([3, 3]) };
        let sums = reference::conv2d(&images, shape, 90, &weights, weights_shape, 0.into(), None, &window);
        let multipliers: Vec<f64> = (0..outputs).map(|output| 0.002 + output as f64 * 1e-4).collect();
        let stream = Stream { seed: 2, offset: 16_000 };
        let words = reference::words(stream, sums.len());
        let code = |(i, (&sum, &word)): (usize, (&i64, &u32))| -> u8 {
            reference::requantize_stochastic(sum as i32, multipliers[i % outputs], 128, (0, 255), word)
        };
        let want: Vec<u8> = sums.iter().zip(&words).enumerate().map(code).collect();
        let stage = raw::requantize(Rule::Float, &multipliers, 128, 0..=255).unwrap();
        every_isa(|isa| {
            let conv = raw::conv2d::<u8, i8>(isa, &weights, weights_shape, 0.into(), window, groups).unwrap();
            let mut out = vec![0; want.len()];
            raw::convolve(
                isa,
                &conv,
                raw::Images { codes: &images, shape, zero_points: 90.into() },
                &stage.stochastic(stream).unwrap(),
                &mut out,
            )
            .unwrap();
            assert!(out == want, "{isa} {groups} groups");
        });
    }
}

/// The mean of requantized accumulators is `acc · M`.
#[test]
fn requantization_is_unbiased() {
    const REPETITIONS: u64 = 4096;
    let accumulators: Vec<i32> = (-60..60).map(|i| i * 17).collect();
    let multiplier = 0.12;
    let isa = Isa::best().unwrap();
    let none = Matrix::<i8>::new(&[], 0, accumulators.len()).unwrap();
    let packed = raw::pack::<u8, i8>(isa, none, 0.into()).unwrap().with_accumulator_bias(&accumulators).unwrap();
    let stage = raw::requantize(Rule::Float, &[multiplier], -3, i8::MIN..=i8::MAX).unwrap();
    let mut sums = vec![0_i64; accumulators.len()];
    let mut codes = vec![0; accumulators.len()];
    for seed in 0..REPETITIONS {
        let out = MatrixMut::new(&mut codes, 1, accumulators.len()).unwrap();
        raw::matmul(
            isa,
            Matrix::new(&[], 1, 0).unwrap(),
            0.into(),
            &packed,
            &stage.stochastic(Stream::new(seed)).unwrap(),
            out,
        )
        .unwrap();
        sums.iter_mut().zip(&codes).for_each(|(sum, &code)| *sum += i64::from(code));
    }
    for (&acc, &sum) in accumulators.iter().zip(&sums) {
        let v = f64::from(acc) * f64::from(multiplier as f32) - 3.0;
        let fraction = v - v.floor();
        let deviation = (REPETITIONS as f64 * fraction * (1.0 - fraction)).sqrt();
        let difference = sum as f64 - REPETITIONS as f64 * v;
        assert!(difference.abs() < 5.0 * deviation + 1.0, "{acc}: {difference}");
    }
}
