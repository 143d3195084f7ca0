//! Convolution, depthwise and grouped too, linear layers and max-pooling equal their formulas on every ISA.

use crate::common::{codes, every_isa, zero_points};
use proptest::prelude::*;
use zeropoint::layers::{Linear, MaxPool2d, Window};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::reference::{dequantize_accumulator, fixed_point_product, saturate};
use zeropoint::{Accumulators, Code, Matrix, MatrixMut, Rule, raw, reference};

#[derive(Debug, Clone)]
struct Case<A, B> {
    shape: [usize; 4],
    images: Vec<A>,
    zero_point: i32,
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

fn cases<A: Code + Arbitrary, B: Code + Arbitrary>() -> impl Strategy<Value = Case<A, B>> {
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
                zero_points::<A>(),
                prop::collection::vec(codes::<B>(), weights_shape.iter().product::<usize>()),
                prop::collection::vec(zero_points::<B>(), outputs),
                prop::collection::vec(-100_000..100_000, outputs),
            )
                .prop_map(move |(images, zero_point, weights, weight_zero_points, bias)| Case {
                    shape,
                    images,
                    zero_point,
                    weights_shape,
                    weights,
                    weight_zero_points,
                    bias,
                    window,
                    groups,
                })
        },
    )
}

fn equals_reference<A: Code, B: Code>(case: &Case<A, B>) {
    let Case { shape, images, zero_point, weights_shape, weights, weight_zero_points, bias, window, groups } = case;
    let zero_points = weight_zero_points.as_slice().into();
    let want = reference::conv2d(images, *shape, *zero_point, weights, *weights_shape, zero_points, Some(bias), window);
    let want: Vec<i32> = want.into_iter().map(|sum| sum.try_into().unwrap()).collect();
    every_isa(|isa| {
        let conv = raw::conv2d::<A, B>(isa, weights, *weights_shape, zero_points, *window, *groups).unwrap();
        let conv = conv.with_accumulator_bias(bias).unwrap();
        let mut out = vec![i32::MIN; conv.output_shape(*shape).unwrap().iter().product()];
        raw::convolve(
            isa,
            &conv,
            raw::Images { codes: images, shape: *shape, zero_points: (*zero_point).into() },
            &Accumulators,
            &mut out,
        )
        .unwrap();
        assert_eq!(out, want, "{isa}");

        // Stages whose constants differ by output.
        let scales: Vec<f32> = (0..bias.len()).map(|output| 0.001 + output as f32 * 0.0001).collect();
        let multipliers: Vec<f64> = scales.iter().map(|&scale| scale.into()).collect();
        let stage = raw::requantize(Rule::FixedPoint, &multipliers, 100, 0..=255_u8).unwrap();
        let mut codes = vec![0; out.len()];
        raw::convolve(
            isa,
            &conv,
            raw::Images { codes: images, shape: *shape, zero_points: (*zero_point).into() },
            &stage,
            &mut codes,
        )
        .unwrap();
        let dequantize = raw::DequantizeColumns::new(&scales, Some(&scales)).unwrap();
        let mut real = vec![0.0; out.len()];
        raw::convolve(
            isa,
            &conv,
            raw::Images { codes: images, shape: *shape, zero_points: (*zero_point).into() },
            &dequantize.rows(&[0.5]).unwrap(),
            &mut real,
        )
        .unwrap();
        for (i, &acc) in want.iter().enumerate() {
            let output = i % bias.len();
            let code: u8 = saturate(fixed_point_product(acc, multipliers[output]), 100, (0, 255));
            assert_eq!(codes[i], code, "{isa}");
            let float = dequantize_accumulator(acc, 0.5, scales[output], Some(scales[output]));
            assert_eq!(real[i].to_bits(), float.to_bits(), "{isa}");
        }
    });
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
