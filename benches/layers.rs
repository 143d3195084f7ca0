//! Layers to u8 codes: one group for every layer, one function for every ISA.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zeropoint::layers::{AvgPool2d, Linear, MaxPool2d, Window};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{Isa, Matrix, MatrixMut, Requantize, Rule, raw};

/// Bytes of every value, the same in every run.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn signed_bytes(count: usize) -> Vec<i8> {
    bytes(count).into_iter().map(|byte| byte as i8).collect()
}

fn stage() -> Requantize<u8> {
    raw::requantize(Rule::Float, &[1.0 / 4096.0], 3, 0..=255).unwrap()
}

/// A group of a layer: `make` prepares its call for an ISA.
fn group<F: FnMut()>(c: &mut Criterion, name: &str, throughput: Throughput, make: impl Fn(Isa) -> F) {
    let mut group = c.benchmark_group(name);
    group.throughput(throughput);
    for isa in Isa::supported() {
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| bencher.iter(make(isa)));
    }
}

fn linear(c: &mut Criterion) {
    // A batch of images at the end of a residual network, and a token of a small language model.
    for [batch, inputs, outputs] in [[32, 512, 1000], [1, 768, 3072]] {
        let name = format!("linear u8×i8→u8/{batch}x{inputs}→{outputs}");
        group(c, &name, Throughput::Elements((batch * inputs * outputs) as u64), |isa| {
            let weights = signed_bytes(outputs * inputs);
            let layer = Linear::from(
                raw::pack_transposed::<u8, i8>(isa, Matrix::new(&weights, outputs, inputs).unwrap(), 0.into()).unwrap(),
            );
            let layer = layer.with_accumulator_bias(&vec![77; outputs]).unwrap();
            let (x, stage, mut y) = (bytes(batch * inputs), stage(), vec![0; batch * outputs]);
            move || {
                let (x, y) = (Matrix::new(&x, batch, inputs).unwrap(), MatrixMut::new(&mut y, batch, outputs).unwrap());
                raw::matmul(isa, x, 131.into(), layer.weights(), &stage, y).unwrap();
            }
        });
    }
}

fn convolution(c: &mut Criterion) {
    let three = Window { padding: [1; 4], ..Window::new([3, 3]) };
    let halving = Window { stride: [2, 2], ..three };
    // Of a residual network: its first blocks, one that halves the image, a pointwise one; and a depthwise one.
    for (name, [side, channels, outputs], window, groups) in [
        ("3×3", [56, 64, 64], three, 1),
        ("3×3, stride 2", [28, 128, 256], halving, 1),
        ("1×1", [28, 128, 512], Window::new([1, 1]), 1),
        ("depthwise 3×3", [56, 144, 144], three, 144),
    ] {
        let [height, width] = window.output_size([side, side]).unwrap();
        let taps = window.size[0] * window.size[1] * channels / groups;
        let name = format!("conv u8×i8→u8 {name}/{side}x{side}x{channels}→{outputs}");
        group(c, &name, Throughput::Elements((height * width * taps * outputs) as u64), |isa| {
            let (weights, shape) =
                (signed_bytes(outputs * taps), [outputs, channels / groups, window.size[0], window.size[1]]);
            let layer = raw::conv2d::<u8, i8>(isa, &weights, shape, 0.into(), window, groups).unwrap();
            let (x, stage, mut y) = (bytes(side * side * channels), stage(), vec![0; height * width * outputs]);
            move || {
                raw::convolve(
                    isa,
                    &layer,
                    raw::Images { codes: &x, shape: [1, side, side, channels], zero_points: 131.into() },
                    &stage,
                    &mut y,
                )
                .unwrap()
            }
        });
    }
}

fn pooling(c: &mut Criterion) {
    let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
    let (shape @ [_, side, _, channels], count) = ([1, 112, 112, 64], 112 * 112 * 64);
    let name = format!("max-pool u8 2×2/{side}x{side}x{channels}");
    group(c, &name, Throughput::Bytes(count as u64), |isa| {
        let (x, mut y) = (bytes(count), vec![0; count / 4]);
        let pool = &pool;
        move || pool.forward(isa, &x, shape, &mut y).unwrap()
    });
    for (name, pool, shape) in [
        ("average-pool u8 3×3", AvgPool2d::new(Window { padding: [1; 4], ..Window::new([3, 3]) }), [1, 56, 56, 64]),
        ("global average-pool u8", AvgPool2d::global(), [1, 7, 7, 2048]),
    ] {
        let [_, height, width, channels] = shape;
        let count = height * width * channels;
        let outputs = pool.output_shape(shape).unwrap().iter().product();
        group(c, &format!("{name}/{height}x{width}x{channels}"), Throughput::Bytes(count as u64), |isa| {
            let (x, mut y) = (bytes(count), vec![0; outputs]);
            move || {
                let images = raw::Images { codes: &x, shape, zero_points: 131.into() };
                raw::average_pool2d(isa, &pool, images, &mut y).unwrap()
            }
        });
    }
}

/// The upsampling of a segmentation network, and one with overlapping windows.
fn transposed_convolution(c: &mut Criterion) {
    for (size, padding) in [(2, [0; 4]), (4, [1; 4])] {
        let (side, channels, outputs) = (28, 128, 64);
        let window = Window { stride: [2, 2], padding, ..Window::new([size, size]) };
        let products = side * side * channels * outputs * size * size;
        let name = format!("transposed conv u8×i8→u8 {size}×{size}, stride 2/{side}x{side}x{channels}→{outputs}");
        group(c, &name, Throughput::Elements(products as u64), |isa| {
            let (weights, shape) = (signed_bytes(channels * outputs * size * size), [channels, outputs, size, size]);
            let layer = raw::conv_transpose2d::<u8, i8>(isa, &weights, shape, 0.into(), window, 1).unwrap();
            let (x, stage, mut y) = (bytes(side * side * channels), stage(), vec![0; 4 * side * side * outputs]);
            move || {
                let shape = [1, side, side, channels];
                let images = raw::Images { codes: &x, shape, zero_points: 131.into() };
                raw::convolve(isa, &layer, images, &stage, &mut y).unwrap()
            }
        });
    }
}

criterion_group!(benches, linear, convolution, transposed_convolution, pooling);
criterion_main!(benches);
