//! Convolutions of every kind, and pooling.

use super::{Guarded, Place, call, codes, scattered};
use crate::common::every_isa;
use zeropoint::layers::{AvgPool2d, Convolve, MaxPool2d, Window};
use zeropoint::raw::{AccumulatorBias, ImageZeroPoints, Images};
use zeropoint::*;

/// Every number of channels up to four vectors and more.
const CHANNELS: std::ops::Range<usize> = 1..68;

/// A layer on images whose channels have zero points of their own, with three stages.
fn convolve(place: Place, isa: Isa, layer: impl Convolve<u8>, images: Images<'_, u8>, outputs: [usize; 4]) {
    let length = outputs.iter().product();
    let mut sums = Guarded::of(place, length, 0_i32);
    let (mut bytes, mut real) = (Guarded::of(place, length, 0_u8), Guarded::of(place, length, 0.0_f32));
    let multipliers = Guarded::of(place, outputs[3], 0.001_f64);
    let stage = raw::requantize(Rule::Float, &multipliers, 3, 0_u8..=255).unwrap();
    let floats = raw::DequantizeColumns::new(&Guarded::of(place, outputs[3], 0.5_f32), None).unwrap();
    let scales = Guarded::of(place, length / outputs[3], 0.5_f32);
    call(place, || {
        raw::convolve(isa, &layer, images, &Accumulators, &mut sums).unwrap();
        raw::convolve(isa, &layer, images, &stage, &mut bytes).unwrap();
        raw::convolve(isa, &layer, images, &floats.rows(&scales).unwrap(), &mut real).unwrap();
    });
}

/// One group, two, and as many as channels: products of patches, and depthwise kernels.
#[test]
fn convolutions() {
    let cases = CHANNELS.flat_map(|channels| [1, 2, channels].map(|groups| (channels, groups)));
    let cases = cases.filter(|(channels, groups)| channels.is_multiple_of(*groups));
    scattered(31, cases, |place, (channels, groups), number| {
        let shape = [2, 4, 5, channels];
        let images = Guarded::new(place, &codes::<u8>(shape.iter().product()));
        let outputs = if groups == channels { channels } else { groups * (1 + number % 20) };
        let size = [1 + number % 3, 1 + number % 2];
        let taps = size[0] * size[1];
        let weights = Guarded::new(place, &codes::<i8>(outputs * channels / groups * taps));
        let bias = Guarded::of(place, outputs, 5_i32);
        let zero_points = Guarded::of(place, channels, 3_i32);
        let each = [ImageZeroPoints::PerChannel(&zero_points), 9.into()][number % 2];
        let images = Images { codes: &images[..], shape, zero_points: each };
        let window = Window { stride: [1 + number % 2, 1], padding: [number % 2, 0, 1, 2], ..Window::new(size) };
        every_isa(|isa| {
            let weights_shape = [outputs, channels / groups, size[0], size[1]];
            let layer = raw::conv2d::<u8, i8>(isa, &weights, weights_shape, 1.into(), window, groups).unwrap();
            let out = layer.output_shape(shape).unwrap();
            convolve(place, isa, layer.with_accumulator_bias(&bias).unwrap(), images, out);
            let weights_shape = [channels, outputs / groups, size[0], size[1]];
            let window = Window { padding: [0; 4], ..window };
            let layer = raw::conv_transpose2d::<u8, i8>(isa, &weights, weights_shape, 1.into(), window, groups);
            let layer = layer.unwrap().with_accumulator_bias(&bias).unwrap();
            let out = layer.output_shape(shape).unwrap();
            convolve(place, isa, layer, images, out);
        });
    });
}

#[test]
fn pooling() {
    scattered(1, CHANNELS, |place, channels, number| {
        let shape = [1, 3, 4, channels];
        let images = Guarded::new(place, &codes::<u8>(shape.iter().product()));
        let window = Window { padding: [number % 2, 0, 0, 1], ..Window::new([2, 2]) };
        let (max, average) = (MaxPool2d::new(window), AvgPool2d::new(window));
        let length = max.output_shape(shape).unwrap().iter().product();
        let (mut out, mut one) = (Guarded::of(place, length, 0_u8), Guarded::of(place, channels, 0_u8));
        every_isa(|isa| {
            max.forward(isa, &images, shape, &mut out).unwrap();
            let images = Images { codes: &images[..], shape, zero_points: 3.into() };
            raw::average_pool2d(isa, &average, images, &mut out).unwrap();
            raw::average_pool2d(isa, &average.counting_padding(), images, &mut out).unwrap();
            raw::average_pool2d(isa, &AvgPool2d::global(), images, &mut one).unwrap();
        });
    });
}
