//! Convolution, depthwise and grouped too, linear layers and pooling equal their formulas on every ISA.

use crate::common::{codes, every_isa, part, zero_points};
use proptest::prelude::*;
use zeropoint::layers::{AvgPool2d, Conv2d, ConvTranspose2d, Convolve, Linear, MaxPool2d, TransposedWindow, Window};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::reference::{dequantize_accumulator, fixed_point_product, saturate};
use zeropoint::{
    Accumulators, ByteCode, CodeRange, Error, Granularity, Isa, Matrix, MatrixMut, QuantParams, Quantized, Requantize,
    Rule, Stream, raw, reference,
};

#[derive(Debug, Clone)]
struct Case<A, B> {
    shape: [usize; 4],
    images: Vec<A>,
    zero_point: i32,
    channel_zero_points: Vec<i32>,
    weights_shape: [usize; 4],
    weights: Vec<B>,
    weight_zero_points: Vec<i32>,
    bias: Vec<i32>,
    window: Window,
    groups: usize,
}

fn windows(kernel: impl Strategy<Value = [usize; 2]>) -> impl Strategy<Value = Window> {
    (kernel, [1_usize..4, 1_usize..4], [0_usize..3, 0..3, 0..3, 0..3], [1_usize..3, 1_usize..3])
        .prop_map(|(size, stride, padding, dilation)| Window { size, stride, padding, dilation })
}

fn cases<A: ByteCode + Arbitrary, B: ByteCode + Arbitrary>() -> impl Strategy<Value = Case<A, B>> {
    // Groups, channels and outputs of a group: ordinary, grouped, depthwise (also wider than a vector).
    let channels = prop_oneof![
        (Just(1_usize), 1_usize..20, 1_usize..40),
        (2_usize..4, 1_usize..6, 1_usize..20),
        (1_usize..40, Just(1_usize), Just(1_usize)),
        (1_usize..5, Just(1_usize), Just(2_usize)),
    ];
    let kernel = prop_oneof![Just([1, 1]), [1_usize..4, 1_usize..4]];
    (channels, windows(kernel), 0_usize..3, [0_usize..6, 0_usize..6]).prop_flat_map(
        |((groups, group_channels, group_outputs), window, count, [more_y, more_x])| {
            let extent = |axis: usize| window.dilation[axis] * (window.size[axis] - 1) + 1;
            let shape = [count, extent(0) + more_y, extent(1) + more_x, groups * group_channels];
            let weights_shape = [groups * group_outputs, group_channels, window.size[0], window.size[1]];
            let outputs = groups * group_outputs;
            (
                prop::collection::vec(codes::<A>(), shape.iter().product::<usize>()),
                (zero_points::<A>(), prop::collection::vec(zero_points::<A>(), shape[3])),
                prop::collection::vec(codes::<B>(), weights_shape.iter().product::<usize>()),
                prop::collection::vec(zero_points::<B>(), outputs),
                prop::collection::vec(-100_000..100_000, outputs),
            )
                .prop_map(
                    move |(images, (zero_point, channel_zero_points), weights, weight_zero_points, bias)| Case {
                        shape,
                        images,
                        zero_point,
                        channel_zero_points,
                        weights_shape,
                        weights,
                        weight_zero_points,
                        bias,
                        window,
                        groups,
                    },
                )
        },
    )
}

impl<A, B> Case<A, B> {
    /// One zero point, and one for every channel.
    fn zero_points(&self) -> [raw::ImageZeroPoints<'_>; 2] {
        [self.zero_point.into(), raw::ImageZeroPoints::PerChannel(&self.channel_zero_points)]
    }
}

fn equals_reference<A: ByteCode, B: ByteCode>(case: &Case<A, B>) {
    let Case { shape, images, weights_shape, weights, weight_zero_points, bias, window, groups, .. } = case;
    let of_weights = weight_zero_points.as_slice().into();
    for zero_points in case.zero_points() {
        let want =
            reference::conv2d(images, *shape, zero_points, weights, *weights_shape, of_weights, Some(bias), window);
        every_isa(|isa| {
            let conv = raw::conv2d::<A, B>(isa, weights, *weights_shape, of_weights, *window, *groups).unwrap();
            let conv = conv.with_accumulator_bias(bias).unwrap();
            assert_eq!(conv.output_shape(*shape).unwrap().iter().product::<usize>(), want.len());
            every_stage(isa, &conv, raw::Images { codes: images, shape: *shape, zero_points }, &want, bias.len());
        });
    }
}

/// The accumulators, and stages whose constants differ by output.
fn every_stage<A: ByteCode>(
    isa: Isa,
    conv: &impl Convolve<A>,
    images: raw::Images<'_, A>,
    want: &[i64],
    outputs: usize,
) {
    let mut out = vec![i32::MIN; want.len()];
    raw::convolve(isa, conv, images, &Accumulators, &mut out).unwrap();
    assert!(out.iter().map(|&sum| i64::from(sum)).eq(want.iter().copied()), "{isa}: {out:?} for {want:?}");

    let scales: Vec<f32> = (0..outputs).map(|output| 0.001 + output as f32 * 0.0001).collect();
    let multipliers: Vec<f64> = scales.iter().map(|&scale| scale.into()).collect();
    let stage = raw::requantize(Rule::FixedPoint, &multipliers, 100, 0..=255_u8).unwrap();
    let mut codes = vec![0; want.len()];
    raw::convolve(isa, conv, images, &stage, &mut codes).unwrap();
    let dequantize = raw::DequantizeColumns::new(&scales, Some(&scales)).unwrap();
    let mut real = vec![0.0; want.len()];
    raw::convolve(isa, conv, images, &dequantize.rows(&[0.5]).unwrap(), &mut real).unwrap();
    for (i, &acc) in out.iter().enumerate() {
        let output = i % outputs;
        let code: u8 = saturate(fixed_point_product(acc, multipliers[output]), 100, (0, 255));
        assert_eq!(codes[i], code, "{isa}");
        let float = dequantize_accumulator(acc, 0.5, scales[output], Some(scales[output]));
        assert_eq!(real[i].to_bits(), float.to_bits(), "{isa}");
    }
}

fn transposed_cases<A: ByteCode + Arbitrary, B: ByteCode + Arbitrary>()
-> impl Strategy<Value = (Case<A, B>, TransposedWindow)> {
    let channels = prop_oneof![
        (Just(1_usize), 1_usize..12, 1_usize..80),
        (2_usize..4, 1_usize..6, 1_usize..20),
        (1_usize..80, Just(1_usize), Just(1_usize)),
    ];
    let axis = || (1_usize..5, 1_usize..5, 0_usize..4, 0_usize..4, 1_usize..5, 0_usize..3);
    (channels, [axis(), axis()], [1_usize..6, 1_usize..6], 0_usize..3).prop_flat_map(
        |((groups, group_channels, group_outputs), [y, x], [height, width], count)| {
            // What is left out of the result leaves something.
            let trimmed =
                |(size, stride, before, after, dilation, more): (usize, usize, usize, usize, usize, usize), length| {
                    let left = (length - 1) * stride + (size - 1) * dilation + more;
                    let before = before.min(left);
                    [before, after.min(left - before)]
                };
            let ([top, bottom], [left, right]) = (trimmed(y, height), trimmed(x, width));
            let window = Window {
                size: [y.0, x.0],
                stride: [y.1, x.1],
                padding: [top, left, bottom, right],
                dilation: [y.4, x.4],
            };
            let transposed = TransposedWindow { window, output_padding: [y.5, x.5] };
            let shape = [count, height, width, groups * group_channels];
            let weights_shape = [groups * group_channels, group_outputs, y.0, x.0];
            let outputs = groups * group_outputs;
            (
                prop::collection::vec(codes::<A>(), shape.iter().product::<usize>()),
                (zero_points::<A>(), prop::collection::vec(zero_points::<A>(), shape[3])),
                prop::collection::vec(codes::<B>(), weights_shape.iter().product::<usize>()),
                prop::collection::vec(zero_points::<B>(), outputs),
                prop::collection::vec(-100_000..100_000, outputs),
            )
                .prop_map(
                    move |(images, (zero_point, channel_zero_points), weights, weight_zero_points, bias)| {
                        let case = Case {
                            shape,
                            images,
                            zero_point,
                            channel_zero_points,
                            weights_shape,
                            weights,
                            weight_zero_points,
                            bias,
                            window,
                            groups,
                        };
                        (case, transposed)
                    },
                )
        },
    )
}

fn transposed_equals_reference<A: ByteCode, B: ByteCode>(case: &Case<A, B>, window: TransposedWindow) {
    let Case { shape, images, weights_shape, weights, weight_zero_points, bias, groups, .. } = case;
    let (weights_shape, of_weights) = (*weights_shape, weight_zero_points.as_slice().into());
    for zero_points in case.zero_points() {
        let want = reference::conv_transpose2d(
            images,
            *shape,
            zero_points,
            weights,
            weights_shape,
            of_weights,
            Some(bias),
            &window,
            *groups,
        );
        every_isa(|isa| {
            let conv = raw::conv_transpose2d::<A, B>(isa, weights, weights_shape, of_weights, window, *groups).unwrap();
            let conv = conv.with_accumulator_bias(bias).unwrap();
            assert_eq!(conv.output_shape(*shape).unwrap().iter().product::<usize>(), want.len());
            let outputs = groups * weights_shape[1];
            every_stage(isa, &conv, raw::Images { codes: images, shape: *shape, zero_points }, &want, outputs);
        });
    }
}

fn averages_equal_reference<C: ByteCode>(images: &[C], shape: [usize; 4], zero_point: i32, window: Window) {
    let (min, max): (i32, i32) = (C::MIN.into(), C::MAX.into());
    let each: Vec<i32> = (0..shape[3] as i32).map(|c| (zero_point - min + 77 * c) % (max - min + 1) + min).collect();
    for (counts, zero_points) in [
        (false, zero_point.into()),
        (true, zero_point.into()),
        (false, raw::ImageZeroPoints::PerChannel(&each)),
        (true, raw::ImageZeroPoints::PerChannel(&each)),
    ] {
        let pool = AvgPool2d::new(window);
        let pool = if counts { pool.counting_padding() } else { pool };
        let Ok(output) = pool.output_shape(shape) else { continue };
        let want = reference::average_pool2d(images, shape, zero_points, &window, counts);
        every_isa(|isa| {
            let mut out = vec![C::MIN; output.iter().product()];
            raw::average_pool2d(isa, &pool, raw::Images { codes: images, shape, zero_points }, &mut out).unwrap();
            assert!(out.iter().map(|&code| code.into()).eq(want.iter().copied()), "{isa}: {out:?} for {want:?}");
        });
    }
}

proptest! {
    #![proptest_config(crate::common::cases(200))]

    #[test]
    fn convolution_u8_by_i8(case in cases::<u8, i8>()) {
        equals_reference(&case);
    }

    #[test]
    fn convolution_i8_by_i8(case in cases::<i8, i8>()) {
        equals_reference(&case);
    }

    #[test]
    fn convolution_u8_by_u8(case in cases::<u8, u8>()) {
        equals_reference(&case);
    }

    #[test]
    fn convolution_i8_by_u8(case in cases::<i8, u8>()) {
        equals_reference(&case);
    }

    #[test]
    fn transposed_convolution_u8_by_i8((case, window) in transposed_cases::<u8, i8>()) {
        transposed_equals_reference(&case, window);
    }

    #[test]
    fn transposed_convolution_i8_by_u8((case, window) in transposed_cases::<i8, u8>()) {
        transposed_equals_reference(&case, window);
    }

    #[test]
    fn average_pooling(
        window in windows([1_usize..5, 1_usize..5]),
        shape in [0_usize..3, 6_usize..12, 6_usize..12, 0_usize..150],
        zero_point in zero_points::<i8>(),
        seed in any::<u32>(),
        coarse in any::<bool>(),
    ) {
        // Coarse codes have more ties.
        let codes = (0..shape.iter().product::<usize>() as u32).map(|i| (i ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        let codes: Vec<u8> = codes.map(|code| if coarse { code & 0x83 } else { code }).collect();
        let signed: Vec<i8> = codes.iter().map(|&code| code as i8).collect();
        averages_equal_reference(&codes, shape, zero_point + 128, window);
        averages_equal_reference(&signed, shape, zero_point, window);
    }

    #[test]
    fn max_pooling(
        window in windows([1_usize..4, 1_usize..4]),
        shape in [0_usize..3, 6_usize..12, 6_usize..12, 0_usize..40],
        seed in any::<u32>(),
    ) {
        let images: Vec<i8> =
            (0..shape.iter().product::<usize>() as u32).map(|i| (i ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()[0] as i8).collect();
        let pool = MaxPool2d::new(window);
        if pool.output_shape(shape).is_ok() {
            let want = reference::max_pool2d(&images, shape, &window);
            every_isa(|isa| {
                let mut out = vec![0_i8; pool.output_shape(shape).unwrap().iter().product()];
                pool.forward(isa, &images, shape, &mut out).unwrap();
                assert_eq!(out, want, "{isa}");
            });
        }
    }

    #[test]
    fn linear(
        x in prop::collection::vec(codes::<i8>(), 3 * 37),
        weights in prop::collection::vec(codes::<i8>(), 21 * 37),
        bias in prop::collection::vec(-1000..1000, 21),
        zero_point in zero_points::<i8>(),
    ) {
        let x = Matrix::new(&x, 3, 37).unwrap();
        let transposed: Vec<i8> = (0..37 * 21).map(|i| weights[i % 21 * 37 + i / 21]).collect();
        let want = reference::matmul(x, zero_point.into(), Matrix::new(&transposed, 37, 21).unwrap(), 5.into(), Some(&bias));
        every_isa(|isa| {
            let layer = Linear::from(raw::pack_transposed::<i8, i8>(isa, Matrix::new(&weights, 21, 37).unwrap(), 5.into()).unwrap());
            let mut out = vec![0; 3 * 21];
            let layer = layer.with_accumulator_bias(&bias).unwrap();
            raw::matmul(isa, x, zero_point.into(), layer.weights(), &Accumulators, MatrixMut::new(&mut out, 3, 21).unwrap()).unwrap();
            assert!(out.iter().map(|&sum| i64::from(sum)).eq(want.iter().copied()), "{isa}");
        });
    }
}

/// One axis of a window.
#[derive(Debug, Clone, Copy)]
struct Axis {
    size: usize,
    stride: usize,
    padding: [usize; 2],
    dilation: usize,
}

fn window([y, x]: [Axis; 2]) -> Window {
    Window {
        size: [y.size, x.size],
        stride: [y.stride, x.stride],
        padding: [y.padding[0], x.padding[0], y.padding[1], x.padding[1]],
        dilation: [y.dilation, x.dilation],
    }
}

/// Whether every window on an axis of this length has a tap on it, by visiting all; `None` if the window does not fit.
fn all_touch(axis: Axis, length: usize) -> Option<bool> {
    let Axis { size, stride, padding: [before, after], dilation } = axis;
    let last = (before + length + after).checked_sub((size - 1) * dilation + 1)?;
    let touches = |start: usize| (0..size).any(|tap| (before..before + length).contains(&(start + tap * dilation)));
    Some((0..=last).step_by(stride).all(touches))
}

/// Every axis with lengths and steps up to these.
fn axes(sizes: usize, steps: usize, paddings: usize) -> Vec<Axis> {
    let mut all = Vec::new();
    for size in 1..=sizes {
        for stride in 1..=steps {
            for dilation in 1..=steps {
                for before in 0..=paddings {
                    all.extend((0..=paddings).map(|after| Axis { size, stride, padding: [before, after], dilation }));
                }
            }
        }
    }
    all
}

/// A pooling is refused if a window has no tap on the image, and only then; otherwise it equals the reference.
fn pools_if_all_touch(axes: [Axis; 2], [height, width]: [usize; 2]) {
    let [y, x] = [all_touch(axes[0], height), all_touch(axes[1], width)];
    let (window, shape) = (window(axes), [1, height, width, 1]);
    let pool = MaxPool2d::new(window);
    let output = pool.output_shape(shape);
    assert_eq!(output.is_ok(), y == Some(true) && x == Some(true), "{window:?} on {height}×{width}");
    if let Ok(output) = output {
        let image: Vec<u8> = (0..height * width).map(|i| (i * 37 % 251) as u8).collect();
        let want = reference::max_pool2d(&image, shape, &window);
        let mut out = vec![0; output.iter().product()];
        pool.forward(zeropoint::Isa::best().unwrap(), &image, shape, &mut out).unwrap();
        assert_eq!(out, want, "{window:?} on {height}×{width}");
    }
}

#[test]
fn pooling_refuses_only_windows_without_a_tap_on_the_image() {
    let one = Axis { size: 1, stride: 1, padding: [0; 2], dilation: 1 };
    for axis in axes(4, 5, 5) {
        for length in 0..=5 {
            pools_if_all_touch([axis, one], [length, 1]);
            pools_if_all_touch([one, axis], [1, length]);
        }
    }
    for y in axes(2, 3, 2) {
        for x in axes(2, 3, 2) {
            pools_if_all_touch([y, x], [1, 2]);
            pools_if_all_touch([y, x], [2, 1]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn pooling_refuses_only_windows_without_a_tap_on_the_image_when_they_are_large(
        size in 1_usize..30,
        stride in 1_usize..60,
        before in 0_usize..400,
        after in 0_usize..60,
        dilation in 1_usize..60,
        length in 1_usize..60,
    ) {
        let axis = Axis { size, stride, padding: [before, after], dilation };
        pools_if_all_touch([axis, Axis { size: 1, stride: 1, padding: [0; 2], dilation: 1 }], [length, 1]);
    }
}

/// Windows far larger than the image, and paddings far larger than both: what is not on the image takes no time.
#[test]
fn sizes_that_only_a_caller_can_name() {
    const FAR: usize = 1 << (usize::BITS - 24);
    let plain = Window::new([1, 1]);
    let pooled = |isa, window: Window, image: &[u8], width: usize| {
        let (shape, mut out) = ([1, image.len() / width, width, 1], [0; 9]);
        let pool = MaxPool2d::new(window);
        let length = pool.output_shape(shape)?.iter().product::<usize>();
        pool.forward(isa, image, shape, &mut out[..length]).map(|()| out[..length].to_vec())
    };
    every_isa(|isa| {
        let wide = Window { size: [1, FAR], padding: [0, FAR - 1, 0, 0], ..plain };
        assert_eq!(pooled(isa, wide, &[3], 1), Ok(vec![3]));
        let high = Window { size: [FAR, 1], padding: [0, 0, FAR - 1, 0], ..plain };
        assert_eq!(pooled(isa, high, &[3], 1), Ok(vec![3]));
        // Three windows, whose only taps on the image are the last, one in the middle and the first.
        let window = Window { size: [1, 3], stride: [1, FAR], padding: [0, 2 * FAR, 0, 2 * FAR], dilation: [1, FAR] };
        assert_eq!(pooled(isa, window, &[9], 1), Ok(vec![9; 3]));
        // One window of 2²⁰ steps over the image.
        let window = Window { size: [1, FAR / 3], padding: [0, 1, 0, FAR], dilation: [1, 3], ..plain };
        let padded = Window { stride: [1, FAR], ..window };
        assert_eq!(pooled(isa, padded, &[5], 1).map_err(|error| error.to_string()), Err(IN_THE_PADDING.into()));
        let padded = Window { padding: [0, 3, 0, FAR], ..padded };
        assert_eq!(pooled(isa, padded, &[5], 1), Ok(vec![5]));
        // 2³⁹ windows, the last of which begins at an element that decides.
        let window = Window { size: [1, 3], padding: [0, FAR, 0, 1], dilation: [1, FAR / 2], ..plain };
        assert!(MaxPool2d::new(window).output_shape([1, 1, FAR / 2, 1]).is_ok());
        let refused = MaxPool2d::new(window).output_shape([1, 1, FAR / 2 - 1, 1]);
        assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");

        // A convolution, ordinary and depthwise, whose windows lie in the padding but for one: padding is the zero point.
        for outputs in [1, 2] {
            let (weights, window) = ([2_i8, 3], Window { stride: [1, FAR], padding: [0, FAR, 0, FAR], ..plain });
            let conv =
                raw::conv2d::<u8, i8>(isa, &weights[..outputs], [outputs, 1, 1, 1], 0.into(), window, 1).unwrap();
            let conv = conv.with_accumulator_bias(&[7, 8][..outputs]).unwrap();
            let mut sums = vec![0; 3 * outputs];
            let image = raw::Images { codes: &[15], shape: [1, 1, 1, 1], zero_points: 5.into() };
            raw::convolve(isa, &conv, image, &Accumulators, &mut sums).unwrap();
            assert_eq!(sums, if outputs == 1 { vec![7, 27, 7] } else { vec![7, 8, 27, 38, 7, 8] }, "{isa}");
        }
        // Transposed: strides and dilations far larger than the image, whose outputs are cut out of the result.
        let window =
            Window { stride: [1, FAR], padding: [0, FAR - 1, 0, 0], dilation: [1, FAR], ..Window::new([1, 3]) };
        let conv = raw::conv_transpose2d::<u8, i8>(isa, &[1, 2, 3], [1, 1, 1, 3], 0.into(), window, 1).unwrap();
        assert_eq!(conv.output_shape([1, 1, 2, 1]), Ok([1, 1, 2 * FAR + 2, 1]));
        let cut = Window { padding: [0, FAR - 1, 0, 2 * FAR - 1], ..window };
        let conv = raw::conv_transpose2d::<u8, i8>(isa, &[1, 2, 3], [1, 1, 1, 3], 0.into(), cut, 1).unwrap();
        let (mut sums, image) = ([7; 3], raw::Images { codes: &[10, 20], shape: [1, 1, 2, 1], zero_points: 0.into() });
        raw::convolve(isa, &conv, image, &Accumulators, &mut sums).unwrap();
        assert_eq!(sums, [0, 2 * 10 + 20, 0], "{isa}");
        let one = Window { stride: [usize::MAX; 2], ..Window::new([1, 2]) };
        let conv = raw::conv_transpose2d::<u8, i8>(isa, &[1, 2], [1, 1, 1, 2], 0.into(), one, 1).unwrap();
        let image = raw::Images { codes: &[10], shape: [1; 4], zero_points: 0.into() };
        raw::convolve(isa, &conv, image, &Accumulators, &mut sums[..2]).unwrap();
        assert_eq!(sums, [10, 20, 0], "{isa}");
        // No weights, whatever the shape says.
        let params = QuantParams::per_tensor(CodeRange::narrow(8).unwrap(), 0.5, 0).unwrap();
        for shape in [[FAR, 0, 1, 1], [0, FAR, 1, 1], [0, FAR, FAR, FAR], [1, FAR, FAR, 0]] {
            for groups in [1, FAR, usize::MAX] {
                let refused =
                    Conv2d::<u8, i8>::new(isa, &[], shape, &params, Window::new([shape[2], shape[3]]), groups);
                assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
                let window = Window::new([shape[2], shape[3]]);
                let refused = ConvTranspose2d::<u8, i8>::new(isa, &[], shape, &params, window, groups);
                assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
            }
        }
    });
}

const IN_THE_PADDING: &str = "a window lies in the padding alone (found 1)";

/// A batch of no images, or of no rows, is no error, and the errors of everything else are those of other batches.
#[test]
fn empty_batches() {
    let px = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 10).unwrap();
    let pw = QuantParams::per_tensor(CodeRange::narrow(8).unwrap(), 0.5, 0).unwrap();
    let window = Window { padding: [2; 4], ..Window::new([3, 3]) };
    let huge = 1 << (usize::BITS - 16);
    every_isa(|isa| {
        for groups in [1, 2, 4] {
            let weights = vec![1_i8; 4 * 4 / groups * 9];
            let shape = [4, 4 / groups, 3, 3];
            let conv = Conv2d::<u8, i8>::new(isa, &weights, shape, &pw, window, groups).unwrap();
            let stage = Requantize::new(&conv, &px, &px, Rule::Float).unwrap();
            for [height, width] in [[5, 6], [0, 2], [huge, huge]] {
                let shape = [0, height, width, 4];
                assert_eq!(conv.output_shape(shape), Ok([0, height + 2, width + 2, 4]));
                conv.forward(isa, &[], shape, &px, &stage, &mut []).unwrap();
                let each = raw::Images { codes: &[], shape, zero_points: [].as_slice().into() };
                raw::convolve(isa, &conv, each, &stage, &mut []).unwrap();
            }
            for images in [0, 1] {
                let run = |channels: usize, stage: &Requantize<u8>| {
                    let shape = [images, 5, 6, channels];
                    let (x, mut out) = (vec![0; shape.iter().product()], vec![0; images * 7 * 8 * 4]);
                    conv.forward(isa, &x, shape, &px, stage, &mut out)
                };
                run(4, &stage).unwrap();
                let three = raw::requantize(Rule::Float, &[0.5; 3], 0, 0..=255).unwrap();
                assert!(matches!(run(4, &three), Err(Error::Length { what: "multipliers", .. })));
                assert!(matches!(run(3, &stage), Err(Error::Shape { .. })));
                // Images of no height are all padding.
                let mut sums = vec![7; images * 2 * 4 * 4];
                conv.forward(isa, &[], [images, 0, 2, 4], &px, &Accumulators, &mut sums).unwrap();
                assert_eq!(sums, vec![0; images * 2 * 4 * 4]);
            }
        }
        let pool = MaxPool2d::new(window);
        for shape in [[0, 5, 6, 4], [3, 5, 6, 0], [0, huge, huge, 4], [huge, huge, huge, 0]] {
            pool.forward::<u8>(isa, &[], shape, &mut []).unwrap();
        }
        for shape in [[0, 0, 6, 4], [1, 0, 6, 4], [1, 5, 0, 4], [0, 5, 0, 0]] {
            let refused = pool.forward::<u8>(isa, &[], shape, &mut []);
            assert!(
                matches!(refused, Err(Error::Shape { why, found: 0 }) if why.contains("padding alone")),
                "{refused:?}"
            );
        }
        for pool in [AvgPool2d::new(window), AvgPool2d::new(window).counting_padding(), AvgPool2d::global()] {
            for shape in [[0, 5, 6, 4], [3, 5, 6, 0], [0, huge, huge, 4], [huge, huge, huge, 0]] {
                pool.forward::<u8>(isa, &[], shape, &px, &mut []).unwrap();
            }
            let rows =
                QuantParams::new(px.codes(), Granularity::channel(&[5, 4], 0).unwrap(), vec![0.5; 5], vec![0; 5]);
            for images in [0, 1] {
                let (x, mut out) = (vec![0; images * 24], vec![0; images * 96]);
                let refused = pool.forward(isa, &x, [images, 3, 2, 4], rows.as_ref().unwrap(), &mut out);
                assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
            }
        }
        for images in [0, 1] {
            let refused = AvgPool2d::global().forward::<u8>(isa, &[], [images, 0, 6, 4], &px, &mut []);
            assert!(
                matches!(refused, Err(Error::Shape { why, .. }) if why.contains("without elements")),
                "{refused:?}"
            );
        }
        // Windows in the padding alone have an average when padding counts: its zero point.
        let mut out = vec![7; 2 * 8 * 4];
        AvgPool2d::new(window).counting_padding().forward(isa, &[], [1, 0, 6, 4], &px, &mut out).unwrap();
        assert_eq!(out, vec![10; 2 * 8 * 4]);
        for groups in [1, 2, 4] {
            let weights = vec![1_i8; 4 * 4 / groups * 9];
            let window = Window { stride: [2, 3], ..Window::new([3, 3]) };
            let conv =
                ConvTranspose2d::<u8, i8>::new(isa, &weights, [4, 4 / groups, 3, 3], &pw, window, groups).unwrap();
            let stage = Requantize::new(&conv, &px, &px, Rule::Float).unwrap();
            for [height, width] in [[5, 6], [huge, huge]] {
                conv.forward(isa, &[], [0, height, width, 4], &px, &stage, &mut []).unwrap();
            }
            for images in [0, 1] {
                let mut out = vec![0; images * 11 * 18 * 4];
                let three = raw::requantize(Rule::Float, &[0.5; 3], 0, 0..=255_u8).unwrap();
                let x = vec![0; images * 5 * 6 * 4];
                let refused = conv.forward(isa, &x, [images, 5, 6, 4], &px, &three, &mut out);
                assert!(matches!(refused, Err(Error::Length { what: "multipliers", .. })), "{refused:?}");
                let refused = conv.forward(isa, &[], [images, 0, 6, 4], &px, &stage, &mut []);
                assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
            }
        }
        let weights = Matrix::new(&[1_i8; 6], 2, 3).unwrap();
        let linear = Linear::<u8, i8>::new(isa, Quantized::new(weights, &pw).unwrap()).unwrap();
        let run = |rows: usize, columns: usize, outputs: usize| {
            let (x, mut out) = (vec![0; rows * columns], vec![0; rows * outputs]);
            let x = Quantized::new(Matrix::new(&x, rows, columns).unwrap(), &px)?;
            linear.forward(isa, x, &Accumulators, MatrixMut::new(&mut out, rows, outputs).unwrap())
        };
        for rows in [0, 1] {
            run(rows, 3, 2).unwrap();
            assert!(matches!(run(rows, 4, 2), Err(Error::Length { .. })));
            assert!(matches!(run(rows, 3, 3), Err(Error::Length { .. })));
        }
    });
}

/// Averages of 2¹⁶ taps and more, of the largest and smallest codes, around ties; and of windows far larger than the image.
#[test]
fn averages_of_many_codes() {
    // Sums that differ by one around every half: n taps of which k are 255.
    for (height, width) in part([(1, 65_536), (257, 255), (257, 256), (1, 131_072), (1, 65_535), (3, 50_000)]) {
        let n = height * width;
        for channels in [1, 3] {
            for (k, last) in [(n / 510, 0), (n / 510, 127), (n / 510, 128), (n / 2, 0), (n, 255), (0, 0)] {
                let mut images = vec![0_u8; n * channels];
                images[..k * channels].fill(255);
                images[n * channels - 1] = last;
                let (shape, global) = ([1, height, width, channels], AvgPool2d::global());
                let sums = (0..channels)
                    .map(|c| images[c..].iter().step_by(channels).map(|&code| i64::from(code)).sum::<i64>());
                let sums: Vec<i64> = sums.collect();
                for zero_point in [0, 1, 255] {
                    let want =
                        reference::average_pool2d(&images, shape, zero_point, &Window::new([height, width]), false);
                    every_isa(|isa| {
                        let mut out = vec![7; channels];
                        let images = raw::Images { codes: &images, shape, zero_points: zero_point.into() };
                        raw::average_pool2d(isa, &global, images, &mut out).unwrap();
                        assert!(
                            out.iter().map(|&code| i32::from(code)).eq(want.iter().copied()),
                            "{isa}: {sums:?} / {n}"
                        );
                    });
                }
            }
        }
    }
    const FAR: usize = 1 << (usize::BITS - 24);
    let window = Window { size: [FAR, FAR], padding: [0, FAR - 1, FAR - 1, 0], ..Window::new([1, 1]) };
    every_isa(|isa| {
        let (images, mut out) = (raw::Images { codes: &[200_u8], shape: [1; 4], zero_points: 3.into() }, [7]);
        raw::average_pool2d(isa, &AvgPool2d::new(window), images, &mut out).unwrap();
        assert_eq!(out, [200]);
        raw::average_pool2d(isa, &AvgPool2d::new(window).counting_padding(), images, &mut out).unwrap();
        assert_eq!(out, [3]);
    });
}

/// Transposed convolutions of images with their own parameters, on threads, in blocks of lines, with random words: element i of
/// the result takes word i.
#[test]
fn transposed_convolutions_of_batches() {
    for (size, stride, channels, outputs, groups, dilation) in [
        ([2, 2], [2, 2], 9, 70, 1, 1),
        ([3, 3], [2, 1], 6, 4, 2, 1),
        ([3, 2], [2, 3], 20, 20, 20, 2),
        ([1, 1], [1, 1], 5, 3, 1, 1),
    ] {
        let shape @ [images, height, width, _] = [3, 21, 13, channels];
        let (image, weights_shape) = (height * width * channels, [channels, outputs / groups, size[0], size[1]]);
        let window = Window { stride, dilation: [dilation; 2], ..Window::new(size) };
        let window = TransposedWindow { window, output_padding: [1, 0] };
        let x: Vec<u8> = (0..images * image).map(|i| (i * 37 % 251) as u8).collect();
        let weights: Vec<i8> = (0..weights_shape.iter().product()).map(|i: usize| (i * 29 % 253) as u8 as i8).collect();
        let per_output = Granularity::channel(&weights_shape, 1).unwrap();
        let scales = (0..outputs / groups).map(|i| 0.01 + i as f32 * 1e-3).collect();
        let pw =
            QuantParams::new(CodeRange::signed(8).unwrap(), per_output, scales, vec![-3; outputs / groups]).unwrap();
        let per_image = Granularity::channel(&[images, image], 0).unwrap();
        let px = QuantParams::new(CodeRange::unsigned(8).unwrap(), per_image, vec![0.5, 0.25, 0.75], vec![0, 90, 255]);
        let (px, stream) = (px.unwrap(), Stream { seed: 3, offset: 1000 });
        let sums: Vec<i64> = (0..images)
            .flat_map(|i| {
                let (x, shape) = (&x[i * image..][..image], [1, height, width, channels]);
                let zero_point = px.zero_points()[i];
                reference::conv_transpose2d(
                    x,
                    shape,
                    zero_point,
                    &weights,
                    weights_shape,
                    (-3).into(),
                    None,
                    &window,
                    groups,
                )
            })
            .collect();
        let words = reference::words(stream, sums.len());
        let multiplier = 1.0 / 4096.0;
        every_isa(|isa| {
            let conv = ConvTranspose2d::<u8, i8>::new(isa, &weights, weights_shape, &pw, window, groups).unwrap();
            let mut reals = vec![0.0; sums.len()];
            conv.forward(isa, &x, shape, &px, &zeropoint::Dequantize::new(), &mut reals).unwrap();
            let stage =
                raw::requantize(Rule::Float, &[multiplier], 128, 0..=255_u8).unwrap().stochastic(stream).unwrap();
            let (mut codes, mut shared) = (vec![0; sums.len()], vec![0; sums.len()]);
            let images_by_hand = raw::Images { codes: &x, shape, zero_points: px.zero_points().into() };
            raw::convolve(isa, &conv, images_by_hand, &stage, &mut codes).unwrap();
            raw::convolve(zeropoint::Exec::from(isa).on(&Many), &conv, images_by_hand, &stage, &mut shared).unwrap();
            assert!(codes == shared, "{isa}");
            for (i, &sum) in sums.iter().enumerate() {
                let (output, image) = (i % outputs % (outputs / groups), i / (sums.len() / images));
                let real = dequantize_accumulator(sum as i32, px.scales()[image], pw.scales()[output], None);
                assert_eq!(reals[i].to_bits(), real.to_bits(), "{isa}");
                let code = reference::requantize_stochastic(sum as i32, multiplier, 128, (0, 255), words[i]);
                assert_eq!(codes[i], code, "{isa}");
            }
        });
    }
}

/// Three threads, started anew for every call.
struct Many;

impl zeropoint::Threads for Many {
    fn count(&self) -> usize {
        3
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
    }
}

/// Parameters per channel: of one scale where channels are summed, of any where they are not.
#[test]
fn images_quantized_per_channel() {
    let shape = [2, 3, 4, 3];
    let x: Vec<u8> = (0..72).map(|i| (i * 37 % 251) as u8).collect();
    let per_channel = |scales: [f32; 3]| {
        let granularity = Granularity::channel(&shape, 3).unwrap();
        QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, scales.to_vec(), vec![0, 100, 255]).unwrap()
    };
    let (equal, different) = (per_channel([0.5; 3]), per_channel([0.5, 0.25, 0.5]));
    let zero_points = raw::ImageZeroPoints::PerChannel(equal.zero_points());
    let pw = QuantParams::per_tensor(CodeRange::narrow(8).unwrap(), 0.25, 0).unwrap();
    let window = Window { padding: [1; 4], ..Window::new([2, 2]) };
    every_isa(|isa| {
        let weights = [1_i8, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12];
        let conv = Conv2d::<u8, i8>::new(isa, &weights, [1, 3, 2, 2], &pw, window, 1).unwrap();
        let transposed =
            ConvTranspose2d::<u8, i8>::new(isa, &weights, [3, 1, 2, 2], &pw, Window::new([2, 2]), 1).unwrap();
        let want = reference::conv2d(&x, shape, zero_points, &weights, [1, 3, 2, 2], 0.into(), None, &window);
        let mut reals = vec![7.0; want.len()];
        let stage = zeropoint::Dequantize::new();
        conv.forward(isa, &x, shape, &equal, &stage, &mut reals).unwrap();
        for (real, &sum) in reals.iter().zip(&want) {
            assert_eq!(real.to_bits(), dequantize_accumulator(sum as i32, 0.5, 0.25, None).to_bits(), "{isa}");
        }
        let refused = conv.forward(isa, &x, shape, &different, &stage, &mut reals);
        assert!(matches!(refused, Err(Error::Shape { found: 3, .. })), "{refused:?}");
        let refused = transposed.forward(isa, &x, shape, &different, &stage, &mut [0.0; 2 * 4 * 5]);
        assert!(matches!(refused, Err(Error::Shape { found: 3, .. })), "{refused:?}");
        let mut codes = vec![7; 6];
        AvgPool2d::global().forward(isa, &x, shape, &different, &mut codes).unwrap();
        let window = Window::new([3, 4]);
        let want = reference::average_pool2d(&x, shape, zero_points, &window, false);
        assert!(codes.iter().map(|&code| i32::from(code)).eq(want), "{isa}");
        for (zero_points, error) in [
            (&[0, 0][..], Error::Length { what: "zero points", expected: 3, found: 2 }),
            (&[0, 0, 256], Error::ZeroPoint { index: 2, zero_point: 256, min: 0, max: 255 }),
        ] {
            let images = raw::Images { codes: &x, shape, zero_points: raw::ImageZeroPoints::PerChannel(zero_points) };
            let mut sums = vec![7; 2 * 4 * 5];
            assert_eq!(raw::convolve(isa, &conv, images, &Accumulators, &mut sums).as_ref(), Err(&error));
            assert_eq!(raw::convolve(isa, &transposed, images, &Accumulators, &mut sums).as_ref(), Err(&error));
            assert_eq!(raw::average_pool2d(isa, &AvgPool2d::global(), images, &mut codes).as_ref(), Err(&error));
            assert_eq!(sums, [7; 40], "untouched");
        }
        // The limit of the depth is that of codes less their zero points: 2³¹ / (128 · 127), not 2³¹ / (255 · 127).
        let (depth, deep) = (100_000, vec![-127_i8; 100_000]);
        let conv = raw::conv2d::<u8, i8>(isa, &deep, [1, depth, 1, 1], 0.into(), Window::new([1, 1]), 1).unwrap();
        let zero_points = vec![128; depth];
        let (codes, mut sum) = (vec![0_u8; depth], [7]);
        let images = |zero_points| raw::Images { codes: &codes[..], shape: [1, 1, 1, depth], zero_points };
        let each = images(raw::ImageZeroPoints::PerChannel(&zero_points));
        raw::convolve(isa, &conv, each, &Accumulators, &mut sum).unwrap();
        assert_eq!(sum, [127 * 128 * 100_000], "{isa}");
        let refused = raw::convolve(isa, &conv, images(0.into()), &Accumulators, &mut sum);
        assert_eq!(refused, Err(Error::Depth { row: 0, channel: 0, depth, limit: i32::MAX as usize / (255 * 128) }));
    });
}
