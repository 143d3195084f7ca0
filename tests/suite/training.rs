//! The backward pass of fake-quantization and clipping equals its formulas on every ISA, bit for bit, for any threads and any
//! layout of its operands; and these formulas are the derivatives of what they say.

#[cfg(feature = "rayon")]
use crate::common::slowest_and_fastest;
use crate::common::{
    Ranges, bits, emulated, every_isa, granularities, guarded, part, reals, reals_within, schemes, streams, tensors,
};
use proptest::prelude::*;
use zeropoint::training::{
    ClipBounds, ClipGradients, Gradients, clip_gradients, clip_gradients_in_place, fake_quantize_gradients,
    fake_quantize_gradients_in_place,
};
use zeropoint::{
    Code, CodeRange, Error, Exec, Granularity, Halves, HalvesMut, Matrix, MatrixMut, QuantParams, Range, Rounding,
    Scheme, Stream, fake_quantize, reference, straight_through,
};

/// The bits, so that NaN equals itself and −0 differs from 0.
fn bits64(x: &[f64]) -> Vec<u64> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// The gradients of x, scales and zero points, which operations without zero points agree with, and the one in place.
fn all_gradients<'t, C: Code>(
    exec: impl Into<Exec<'t>>,
    x: &[f32],
    gradient: &[f32],
    params: &QuantParams<C>,
    rounding: Rounding,
) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
    let exec = exec.into();
    let groups = params.scales().len();
    let (mut scales, mut zero_points) = (vec![7.0; groups], vec![7.0; groups]);
    let of_x = guarded(x.len(), 3, 7.5, |out| {
        let gradients = Gradients { x: out, scales: &mut scales, zero_points: Some(&mut zero_points) };
        fake_quantize_gradients(exec, x, gradient, params, rounding, gradients).unwrap();
    });
    let (mut place, mut in_place) = (gradient.to_vec(), vec![7.0; groups]);
    let gradients = Gradients { x: &mut place, scales: &mut in_place, zero_points: None };
    fake_quantize_gradients_in_place(exec, x, params, rounding, gradients).unwrap();
    assert_eq!((bits(&place), bits64(&in_place)), (bits(&of_x), bits64(&scales)), "{exec:?}");
    (of_x, scales, zero_points)
}

fn equal((x, scales, zero_points): &(Vec<f32>, Vec<f64>, Vec<f64>), want: &(Vec<f32>, Vec<f64>, Vec<f64>), what: &str) {
    assert_eq!(bits(x), bits(&want.0), "{what}");
    assert_eq!(bits64(scales), bits64(&want.1), "scales {what}: {scales:?}, not {:?}", want.1);
    assert_eq!(bits64(zero_points), bits64(&want.2), "zero points {what}");
}

fn everything_equals_reference<C: Ranges>(x: &[f32], gradient: &[f32], params: &QuantParams<C>, stream: Stream) {
    for rounding in [Rounding::Nearest, stream.into()] {
        let want = reference::fake_quantize_gradients(x, gradient, params, rounding);
        every_isa(|isa| {
            equal(&all_gradients(isa, x, gradient, params, rounding), &want, &format!("{isa} {rounding:?}"))
        });
    }
}

/// A tensor with parameters and an incoming gradient, finite for the most part.
fn passes<C: Ranges>() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, QuantParams<C>, Stream)> {
    tensors::<C>().prop_flat_map(|(x, params)| {
        let (length, finite) = (x.len(), prop::collection::vec(-10_f32..10.0, x.len()));
        let gradient = prop_oneof![3 => finite, 1 => prop::collection::vec(reals(0.01), length)];
        (Just(x), gradient, Just(params), streams(length))
    })
}

/// A tensor with clipping bounds and an incoming gradient.
fn clips() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, ClipBounds)> {
    (granularities(), any::<bool>()).prop_flat_map(|((granularity, length), symmetric)| {
        let groups = granularity.groups(length).unwrap();
        // Values that are bounds, and their neighbours.
        let bound = prop_oneof![1 => prop::sample::select(vec![2.5_f32, 0.5, f32::MAX]), 1 => 0.1_f32..300.0];
        let clip = prop::collection::vec(bound, groups).prop_map(move |bounds| {
            let clip = if symmetric { ClipBounds::symmetric } else { ClipBounds::one_sided };
            clip(granularity, &bounds).unwrap()
        });
        let finite = prop::collection::vec(-10_f32..10.0, length);
        let gradient = prop_oneof![3 => finite, 1 => prop::collection::vec(reals(0.01), length)];
        (prop::collection::vec(reals_within(1.0, 4), length), gradient, clip)
    })
}

proptest! {
    #![proptest_config(crate::common::cases(300))]

    #[test]
    fn unsigned((x, gradient, params, stream) in passes::<u8>()) {
        everything_equals_reference(&x, &gradient, &params, stream);
    }

    #[test]
    fn signed((x, gradient, params, stream) in passes::<i8>()) {
        everything_equals_reference(&x, &gradient, &params, stream);
    }

    #[test]
    fn wide((x, gradient, params, stream) in passes::<u16>(), (y, of_y, signed, of_signed) in passes::<i16>()) {
        everything_equals_reference(&x, &gradient, &params, stream);
        everything_equals_reference(&y, &of_y, &signed, of_signed);
    }

    /// x has the bytes of the straight-through gradient, which is given where its scale is learned and where it is not.
    #[test]
    fn gradients_of_x_are_straight_through((x, gradient, params, stream) in passes::<i8>()) {
        every_isa(|isa| {
            let mut want = vec![0.0; x.len()];
            straight_through(isa, &x, &gradient, &params, &mut want).unwrap();
            for rounding in [Rounding::Nearest, stream.into()] {
                assert_eq!(bits(&all_gradients(isa, &x, &gradient, &params, rounding).0), bits(&want), "{isa}");
            }
        });
    }

    #[test]
    fn clipping((x, gradient, clip) in clips()) {
        let want = reference::clip_gradients(&x, &gradient, &clip);
        every_isa(|isa| {
            let mut bounds = vec![7.0; clip.bounds().len()];
            let of_x = guarded(x.len(), 1, 7.5, |out| {
                clip_gradients(isa, &x, &gradient, &clip, ClipGradients { x: out, bounds: &mut bounds }).unwrap();
            });
            assert_eq!((bits(&of_x), bits64(&bounds)), (bits(&want.0), bits64(&want.1)), "{isa}");
            let mut place = gradient.clone();
            bounds.fill(7.0);
            clip_gradients_in_place(isa, &x, &clip, ClipGradients { x: &mut place, bounds: &mut bounds }).unwrap();
            assert_eq!((bits(&place), bits64(&bounds)), (bits(&want.0), bits64(&want.1)), "in place {isa}");
        });
    }
}

/// Tensors of several chunks, whose groups are cut by them in every way: by tensor, channels of one element and of many, more
/// channels than a chunk has elements, blocks with and without a shorter last one, and blocks along an outer axis, of few long
/// rows and many short ones.
fn large() -> Vec<(Granularity, usize)> {
    let shapes: [(&[usize], usize, usize); 11] = [
        (&[40_000], usize::MAX, 0),
        (&[9_000, 5], 1, 0),
        (&[500, 100], 1, 0),
        (&[3, 17_001], 1, 0),
        (&[5, 3, 2_777], 1, 0),
        (&[3_001, 7, 2], 1, 0),
        (&[7, 6_001], 1, 32),
        (&[2, 20_000], 1, 17_000),
        (&[70, 640], 0, 32),
        (&[20_000, 2], 0, 3),
        (&[2, 9, 2_500], 1, 4),
    ];
    let granularity = |(shape, axis, length): (&[usize], usize, usize)| match (axis, length) {
        (usize::MAX, _) => Granularity::Tensor,
        (axis, 0) => Granularity::channel(shape, axis).unwrap(),
        (axis, length) => Granularity::block_along(shape, axis, length).unwrap(),
    };
    let longer_than_a_chunk = (Granularity::block_along(&[3, 16_500], 0, 2).unwrap(), 3 * 16_500);
    shapes
        .map(|shape| (granularity(shape), shape.0.iter().product()))
        .into_iter()
        .chain([longer_than_a_chunk])
        .collect()
}

/// Values, a gradient, and parameters that clamp some of them.
fn large_pass(granularity: Granularity, length: usize) -> (Vec<f32>, Vec<f32>, QuantParams<i8>) {
    let mut words = vec![0.0; 2 * length];
    zeropoint::random::fill_uniform(Exec::best().unwrap(), Stream::new(length as u64), &mut words).unwrap();
    words.iter_mut().for_each(|x| *x = *x * 2.0 - 1.0);
    let gradient = words.split_off(length);
    let groups = granularity.groups(length).unwrap();
    let scales = (0..groups).map(|group| 0.005 + (group % 7) as f32 * 0.001).collect();
    let zero_points = (0..groups).map(|group| (group % 19) as i32 - 9).collect();
    (words, gradient, QuantParams::new(CodeRange::signed(8).unwrap(), granularity, scales, zero_points).unwrap())
}

#[test]
fn chunks() {
    for (granularity, length) in part(large()) {
        let (x, gradient, params) = large_pass(granularity, length);
        for rounding in [Rounding::Nearest, Stream { seed: 1, offset: 77 }.into()] {
            let want = reference::fake_quantize_gradients(&x, &gradient, &params, rounding);
            every_isa(|isa| {
                let what = format!("{isa} {granularity:?} {rounding:?}");
                equal(&all_gradients(isa, &x, &gradient, &params, rounding), &want, &what);
            });
        }
    }
}

/// Any number of threads, each with other chunks.
#[cfg(feature = "rayon")]
#[test]
fn threads() {
    for threads in part([2, 3, 7]) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for (granularity, length) in part(large()) {
            // (Enough for helpers to be woken.)
            let length = length * 25;
            let (x, gradient, params) = large_pass(granularity, length);
            for rounding in [Rounding::Nearest, Stream::new(3).into()] {
                slowest_and_fastest(|isa| {
                    let exec = Exec::from(isa);
                    let want = all_gradients(exec, &x, &gradient, &params, rounding);
                    let all = pool.install(|| all_gradients(exec.rayon(), &x, &gradient, &params, rounding));
                    equal(&all, &want, &format!("{isa} {granularity:?} {threads} threads"));
                });
            }
        }
    }
}

/// Rows of operands lie apart, each by another stride.
#[test]
fn rows_that_lie_apart() {
    for (granularity, length) in part(large()) {
        let (x, gradient, params) = large_pass(granularity, length);
        let columns = (1..=200).rev().find(|columns| length % columns == 0).unwrap();
        let rows = length / columns;
        let apart = |dense: &[f32], stride: usize| {
            let mut data = vec![7.5; (rows - 1) * stride + columns];
            for (i, row) in dense.chunks(columns).enumerate() {
                data[i * stride..][..columns].copy_from_slice(row);
            }
            data
        };
        let strides = [columns + 3, columns, columns + 1];
        let (x_rows, gradient_rows) = (apart(&x, strides[0]), apart(&gradient, strides[1]));
        let x_rows = Matrix::with_stride(&x_rows, rows, columns, strides[0]).unwrap();
        every_isa(|isa| {
            let (of_x, scales, zero_points) = all_gradients(isa, &x, &gradient, &params, Rounding::Nearest);
            let (mut out, mut of_scales) = (vec![7.5; (rows - 1) * strides[2] + columns], vec![7.0; scales.len()]);
            let mut of_zero_points = of_scales.clone();
            let into = MatrixMut::with_stride(&mut out, rows, columns, strides[2]).unwrap();
            let gradients = Gradients { x: into, scales: &mut of_scales, zero_points: Some(&mut of_zero_points) };
            let gradient_rows = Matrix::with_stride(&gradient_rows, rows, columns, strides[1]).unwrap();
            fake_quantize_gradients(isa, x_rows, gradient_rows, &params, Rounding::Nearest, gradients).unwrap();
            assert_eq!(bits(&out), bits(&apart(&of_x, strides[2])), "{isa} {granularity:?}");
            assert_eq!((bits64(&of_scales), bits64(&of_zero_points)), (bits64(&scales), bits64(&zero_points)), "{isa}");

            let (mut place, mut in_place) = (apart(&gradient, strides[2]), vec![7.0; scales.len()]);
            let into = MatrixMut::with_stride(&mut place, rows, columns, strides[2]).unwrap();
            let gradients = Gradients { x: into, scales: &mut in_place, zero_points: None };
            fake_quantize_gradients_in_place(isa, x_rows, &params, Rounding::Nearest, gradients).unwrap();
            assert_eq!((bits(&place), bits64(&in_place)), (bits(&out), bits64(&scales)), "in place {isa}");
        });
    }
}

/// Reals of 16 bits give what their values in f32 do.
#[test]
fn halves() {
    for (granularity, length) in part(large()) {
        let (x, gradient, params) = large_pass(granularity, length);
        let (x, gradient) = (reference::narrow_to_f16(&x), reference::narrow_to_bf16(&gradient));
        let wide = [Halves::f16(&x), Halves::bf16(&gradient)].map(reference::widen);
        every_isa(|isa| {
            let (of_x, scales, zero_points) = all_gradients(isa, &wide[0], &wide[1], &params, Rounding::Nearest);
            let (mut out, mut of_scales) = (vec![7; length], vec![7.0; scales.len()]);
            let mut of_zero_points = of_scales.clone();
            let into = HalvesMut::f16(&mut out);
            let gradients = Gradients { x: into, scales: &mut of_scales, zero_points: Some(&mut of_zero_points) };
            let (x, gradient) = (Halves::f16(&x), Halves::bf16(&gradient));
            fake_quantize_gradients(isa, x, gradient, &params, Rounding::Nearest, gradients).unwrap();
            assert_eq!(out, reference::narrow_to_f16(&of_x), "{isa} {granularity:?}");
            assert_eq!((bits64(&of_scales), bits64(&of_zero_points)), (bits64(&scales), bits64(&zero_points)), "{isa}");
            let (mut place, mut in_place) = (reference::narrow_to_bf16(&wide[1]), vec![7.0; scales.len()]);
            let gradients = Gradients { x: HalvesMut::bf16(&mut place), scales: &mut in_place, zero_points: None };
            fake_quantize_gradients_in_place(isa, x, &params, Rounding::Nearest, gradients).unwrap();
            assert_eq!((place, bits64(&in_place)), (reference::narrow_to_bf16(&of_x), bits64(&scales)), "{isa}");
        });
    }
}

/// For tensors that no cache holds, the gradient of another buffer is that in place, bit for bit: by tensor and by column, and
/// wherever the buffer begins.
#[test]
fn larger_than_the_caches() {
    // (Their size is the machine's, and an emulator would take minutes.)
    if emulated() {
        return;
    }
    let length = (96 << 20) / 4;
    let row = 1 << 10;
    for granularity in [Granularity::Tensor, Granularity::channel(&[length / row, row], 1).unwrap()] {
        let (x, gradient, params) = large_pass(granularity, length);
        let mut in_place = gradient.clone();
        let groups = params.scales().len();
        let (mut scales, mut of_place) = (vec![0.0; groups], vec![0.0; groups]);
        let isa = zeropoint::Isa::best().unwrap();
        let gradients = Gradients { x: &mut in_place, scales: &mut of_place, zero_points: None };
        fake_quantize_gradients_in_place(isa, &x, &params, Rounding::Nearest, gradients).unwrap();
        for offset in [0, 3] {
            let out = guarded(length, offset, 7.5, |out| {
                let gradients = Gradients { x: out, scales: &mut scales, zero_points: None };
                fake_quantize_gradients(isa, &x, &gradient, &params, Rounding::Nearest, gradients).unwrap();
            });
            assert!(out.iter().zip(&in_place).all(|(a, b)| a.to_bits() == b.to_bits()), "{granularity:?} {offset}");
            assert_eq!(bits64(&scales), bits64(&of_place), "{granularity:?} {offset}");
        }
    }
}

/// The derivative of f at x, towards the side that is given, or both.
fn derivative(f: impl Fn(f64) -> f64, x: f64, side: i32) -> f64 {
    let h = 1e-6 * x.abs().max(1.0);
    let (from, to) = match side {
        0 => (x - h, x + h),
        1.. => (x, x + h),
        _ => (x - h, x),
    };
    (f(to) - f(from)) / (to - from)
}

/// Every gradient of fake-quantization is the derivative of the straight-through function, whose rounding is a constant of every
/// element: found by finite differences in f64. (Where the code is the first or the last, that function has a kink, and the
/// derivative is that of the inner side.)
#[test]
fn finite_differences() {
    let codes = CodeRange::signed(4).unwrap();
    let (min, max) = (f64::from(codes.min()), f64::from(codes.max()));
    for (granularity, length) in [
        (Granularity::Tensor, 500),
        (Granularity::channel(&[40, 5], 1).unwrap(), 200),
        (Granularity::channel(&[4, 50], 0).unwrap(), 200),
        (Granularity::block(&[6, 50], 32).unwrap(), 300),
    ] {
        let (x, gradient, _) = large_pass(granularity, length);
        let groups = granularity.groups(length).unwrap();
        let scales: Vec<f32> = (0..groups).map(|group| 0.1 + 0.01 * group as f32).collect();
        let zero_points: Vec<i32> = (0..groups as i32).map(|group| group % 5 - 2).collect();
        let params = QuantParams::new(codes, granularity, scales.clone(), zero_points.clone()).unwrap();
        let stream = Stream::new(5);
        for rounding in [Rounding::Nearest, stream.into()] {
            let quantized = match rounding {
                Rounding::Nearest => reference::quantize(&x, &params),
                Rounding::Stochastic(stream) => reference::quantize_stochastic(&x, &params, stream),
            };
            let mask = reference::straight_through_mask(&x, &params);
            let (mut of_scales, mut of_zero_points) = (vec![0.0; groups], vec![0.0; groups]);
            let (of_x, by_scales, by_zero_points) =
                all_gradients(Exec::best().unwrap(), &x, &gradient, &params, rounding);
            let mut clamped = [0, 0];
            for i in 0..length {
                let group = granularity.group_of(i);
                let (x, s, z) = (f64::from(x[i]), f64::from(scales[group]), f64::from(zero_points[group]));
                let g = f64::from(gradient[i]);
                let rounded = if mask[i] == 1 { f64::from(quantized[i]) - z } else { (x / s).round_ties_even() };
                let delta = rounded - x / s;
                let f = |x: f64, s: f64, z: f64| s * (x / s + delta).clamp(min - z, max - z);
                // Which way leads inside.
                let end = if mask[i] == 0 { 0 } else { i32::from(rounded == min - z) - i32::from(rounded == max - z) };
                let outwards = if end == 0 { 0 } else { 1 };
                clamped[usize::from(mask[i])] += 1;
                let by_x = g * derivative(|x| f(x, s, z), x, end);
                assert!((by_x - f64::from(of_x[i])).abs() < 1e-5, "∂x {i}: {by_x}, not {}", of_x[i]);
                of_scales[group] += g * derivative(|s| f(x, s, z), s, outwards);
                of_zero_points[group] += g * derivative(|z| f(x, s, z), z, end);
            }
            assert!(clamped[0] > 5 && clamped[1] > 100, "{clamped:?}");
            let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
            assert!(close(&of_scales, &by_scales), "{granularity:?} {rounding:?}: {of_scales:?}, not {by_scales:?}");
            assert!(close(&of_zero_points, &by_zero_points), "{of_zero_points:?}, not {by_zero_points:?}");
        }
    }
}

/// The gradients of clipping are the derivatives of clipped values with the rounding as a constant.
#[test]
fn finite_differences_of_clipping() {
    let length = 400;
    for granularity in [Granularity::Tensor, Granularity::channel(&[100, 4], 1).unwrap()] {
        let (x, gradient, _) = large_pass(granularity, length);
        let groups = granularity.groups(length).unwrap();
        let bounds: Vec<f32> = (0..groups).map(|group| 0.3 + 0.1 * group as f32).collect();
        for clip in [ClipBounds::one_sided(granularity, &bounds), ClipBounds::symmetric(granularity, &bounds)] {
            let clip = clip.unwrap();
            let (mut of_x, mut of_bounds) = (vec![0.0; length], vec![0.0; groups]);
            let gradients = ClipGradients { x: &mut of_x, bounds: &mut of_bounds };
            clip_gradients(Exec::best().unwrap(), &x, &gradient, &clip, gradients).unwrap();
            let mut want = vec![0.0; groups];
            for i in 0..length {
                let (group, g) = (granularity.group_of(i), f64::from(gradient[i]));
                let lower = |bound: f64| if clip.is_symmetric() { -bound } else { 0.0 };
                let f = |x: f64, bound: f64| x.clamp(lower(bound), bound) + 0.01;
                let (x, bound) = (f64::from(x[i]), f64::from(bounds[group]));
                let by_x = g * derivative(|x| f(x, bound), x, 0);
                assert!((by_x - f64::from(of_x[i])).abs() < 1e-5, "{i}: {by_x}, not {}", of_x[i]);
                want[group] += g * derivative(|bound| f(x, bound), bound, 0);
            }
            assert!(want.iter().zip(&of_bounds).all(|(a, b)| (a - b).abs() < 1e-6), "{want:?}, not {of_bounds:?}");
        }
    }
}

/// The eight types, of 2 to 8 bits: parameters of a range, whose gradients are those of the reference.
#[test]
fn every_type_and_width() {
    let (x, gradient, _) = large_pass(Granularity::Tensor, 700);
    for scheme in schemes() {
        for bits in 2..=8 {
            let granularity = Granularity::block(&[7, 100], 32).unwrap();
            let ranges = vec![Range { min: -0.3, max: 0.5 }; granularity.groups(700).unwrap()];
            let codes = CodeRange::unsigned(bits).unwrap();
            let Ok(params) = QuantParams::from_ranges(codes, scheme, granularity, &ranges) else { continue };
            let stochastic = scheme.rounding == zeropoint::RoundingKind::Stochastic;
            let rounding = if stochastic { Stream::new(9).into() } else { Rounding::Nearest };
            let want = reference::fake_quantize_gradients(&x, &gradient, &params, rounding);
            every_isa(|isa| {
                let what = format!("{isa} {scheme:?} {bits}");
                equal(&all_gradients(isa, &x, &gradient, &params, rounding), &want, &what);
            });
        }
    }
}

/// On an error nothing is written; of nothing, sums are 0.
#[test]
fn errors_and_empty_tensors() {
    let params = QuantParams::per_tensor(CodeRange::signed(4).unwrap(), 0.5, 0).unwrap();
    let nearest = Scheme::ASYMMETRIC;
    let range = [Range { min: -1.0, max: 1.0 }];
    let no_headroom = QuantParams::from_ranges(CodeRange::signed(4).unwrap(), nearest, Granularity::Tensor, &range);
    let no_headroom = no_headroom.unwrap();
    every_isa(|isa| {
        let refused = |params: &QuantParams<i8>,
                       rounding: Rounding,
                       [x, gradient, out, scales, zero_points]: [usize; 5]| {
            let (mut of_x, mut of_scales, mut of_zero_points) =
                (vec![7.5; out], vec![7.0; scales], vec![7.0; zero_points]);
            let gradients = Gradients { x: &mut of_x, scales: &mut of_scales, zero_points: Some(&mut of_zero_points) };
            let (x, gradient) = (vec![1.0; x], vec![1.0; gradient]);
            let error = fake_quantize_gradients(isa, &x, &gradient, params, rounding, gradients).unwrap_err();
            assert!(of_x.iter().all(|&x| x == 7.5) && of_scales.iter().chain(&of_zero_points).all(|&x| x == 7.0));
            error
        };
        let length = |what, expected, found| Error::Length { what, expected, found };
        assert_eq!(refused(&params, Rounding::Nearest, [3, 2, 3, 1, 1]), length("the gradient", 3, 2));
        assert_eq!(refused(&params, Rounding::Nearest, [3, 3, 4, 1, 1]), length("the output", 3, 4));
        assert_eq!(refused(&params, Rounding::Nearest, [3, 3, 3, 2, 1]), length("the gradients of scales", 1, 2));
        assert_eq!(refused(&params, Rounding::Nearest, [3, 3, 3, 1, 0]), length("the gradients of zero points", 1, 0));
        let stream = Rounding::Stochastic(Stream { seed: 0, offset: u64::MAX - 1 });
        assert!(matches!(refused(&params, stream, [3, 3, 3, 1, 1]), Error::Stream { words: 3, .. }));
        let stream = Rounding::Stochastic(Stream::new(0));
        assert!(matches!(refused(&no_headroom, stream, [3, 3, 3, 1, 1]), Error::Rounding { .. }));

        let (mut scales, mut zero_points) = ([7.0; 3], [7.0; 3]);
        let channels = Granularity::channel(&[0, 3], 1).unwrap();
        let params = QuantParams::new(CodeRange::signed(4).unwrap(), channels, vec![0.5; 3], vec![0; 3]).unwrap();
        let gradients = Gradients { x: &mut [], scales: &mut scales, zero_points: Some(&mut zero_points) };
        fake_quantize_gradients(isa, &[], &[], &params, Rounding::Nearest, gradients).unwrap();
        assert_eq!((bits64(&scales), bits64(&zero_points)), (vec![0; 3], vec![0; 3]), "{isa}");
        let gradients = Gradients { x: &mut [0.0; 4], scales: &mut scales, zero_points: None };
        let error = fake_quantize_gradients(isa, &[1.0; 4], &[1.0; 4], &params, Rounding::Nearest, gradients);
        assert_eq!(error, Err(Error::Multiple { what: "the tensor", unit: 3, found: 4 }));
    });
    let bound = |bounds: &[f32]| ClipBounds::symmetric(Granularity::Tensor, bounds).unwrap_err();
    for found in [0.0, -1.0, f32::INFINITY] {
        let error = Error::Setting { what: "clipping bound", found: found.into(), why: "not a positive number" };
        assert_eq!(bound(&[found]), error);
    }
    assert_eq!(bound(&[1.0, 1.0]), Error::Length { what: "clipping bounds", expected: 1, found: 2 });
}

/// The gradients of PyTorch, element by element: every one has a scale of its own. Its backward pass rounds the quotient with the
/// zero point added: where the quotient is a tie and the zero point odd, to the other integer.
#[test]
fn pytorch() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/training.json")).unwrap();
    let floats = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let codes = floats(&golden["codes"]);
    let codes = CodeRange::new(codes[0] as i8, codes[1] as i8).unwrap();
    let x: Vec<f32> = floats(&golden["x"]).iter().map(|&x| x as f32).collect();
    let incoming = golden["gradient"].as_f64().unwrap();
    let gradient = vec![incoming as f32; x.len()];
    let each = Granularity::channel(&[x.len()], 0).unwrap();
    let mut ties = 0;
    for case in golden["cases"].as_array().unwrap() {
        let (scale, zero_point) = (case["scale"].as_f64().unwrap() as f32, case["zero_point"].as_i64().unwrap() as i32);
        let params = QuantParams::new(codes, each, vec![scale; x.len()], vec![zero_point; x.len()]).unwrap();
        let [y, of_x, of_scale, of_zero_point] =
            ["y", "of_x", "of_scale", "of_zero_point"].map(|name| floats(&case[name]));
        every_isa(|isa| {
            let (by_x, by_scale, by_zero_point) = all_gradients(isa, &x, &gradient, &params, Rounding::Nearest);
            let mut real = vec![0.0; x.len()];
            fake_quantize(isa, &x, &params, Rounding::Nearest, &mut real).unwrap();
            for i in 0..x.len() {
                let quotient = f64::from(x[i] / scale);
                assert_eq!(f64::from(real[i]), y[i], "{isa} {i}");
                if quotient.fract().abs() == 0.5 && zero_point % 2 != 0 {
                    ties += 1;
                    let code = (quotient + f64::from(zero_point)).round_ties_even();
                    let inside = code >= codes.min().into() && code <= codes.max().into();
                    let slope = code - f64::from(zero_point) - quotient;
                    assert_eq!((of_x[i] != 0.0, slope.abs()), (inside, 0.5), "a tie: {i}");
                    assert!(!inside || of_scale[i] == incoming * slope, "a tie: {i}");
                    continue;
                }
                let found = (f64::from(by_x[i]), by_scale[i], by_zero_point[i]);
                assert_eq!(found, (of_x[i], of_scale[i], of_zero_point[i]), "{isa} {i}");
            }
        });
    }
    assert!(ties > 0);
}
