//! No kernel reads or writes past a slice: every operand lies against a page that nobody may touch, first behind it,
//! then before it.

use crate::common::every_isa;
use region::{Allocation, Protection};
use zeropoint::layers::{AvgPool2d, MaxPool2d, Window};
use zeropoint::random::fill_uniform;
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::training::{Gradients, fake_quantize_gradients};
use zeropoint::{
    Accumulators, CodeRange, Granularity, Matrix, MatrixMut, QuantParams, Rounding, Rule, Stream, dequantize,
    fake_quantize, min_max, quantize, ranges, raw, straight_through,
};

/// Which end of a slice touches the forbidden page.
#[derive(Clone, Copy)]
enum Against {
    Start,
    End,
}

/// A slice against a forbidden page.
struct Guarded<T> {
    memory: Allocation,
    offset: usize,
    length: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Copy> Guarded<T> {
    fn new(against: Against, values: &[T]) -> Self {
        let page = region::page::size();
        let bytes = size_of_val(values);
        let inside = bytes.next_multiple_of(page);
        let mut memory = region::alloc(inside + 2 * page, Protection::READ_WRITE).unwrap();
        let start = memory.as_mut_ptr::<u8>();
        for guard in [start, start.wrapping_add(page + inside)] {
            // SAFETY: both pages belong to this allocation, and nothing of it is in use yet.
            unsafe { region::protect(guard, page, Protection::NONE).unwrap() };
        }
        let offset = match against {
            Against::Start => page,
            Against::End => page + inside - bytes,
        };
        let mut guarded = Guarded { memory, offset, length: values.len(), element: std::marker::PhantomData };
        guarded.get_mut().copy_from_slice(values);
        guarded
    }

    fn get(&self) -> &[T] {
        // SAFETY: `length` elements lie between the pages; both ends are aligned as pages and `T`'s size are.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr::<u8>().add(self.offset).cast(), self.length) }
    }

    fn get_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the memory is this value's alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr::<u8>().add(self.offset).cast(), self.length) }
    }
}

const BOTH: [Against; 2] = [Against::Start, Against::End];

#[test]
fn elementwise() {
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.1, 7).unwrap();
    for against in BOTH {
        for length in 0..70 {
            let x = Guarded::new(against, &vec![1.5_f32; length]);
            let mut codes = Guarded::new(against, &vec![0_u8; length]);
            let mut real = Guarded::new(against, &vec![0.0_f32; length]);
            let last_axis = Granularity::channel(&[1, length.max(1)], 1).unwrap();
            let in_bands = (length.is_multiple_of(3)).then(|| {
                let bands = Granularity::block_along(&[3, length / 3], 0, 2).unwrap();
                let groups = bands.groups(length).unwrap();
                QuantParams::new(CodeRange::unsigned(8).unwrap(), bands, vec![0.1; groups], vec![7; groups]).unwrap()
            });
            every_isa(|isa| {
                quantize(isa, x.get(), &params, Rounding::Nearest, codes.get_mut()).unwrap();
                dequantize(isa, codes.get(), &params, real.get_mut()).unwrap();
                fake_quantize(isa, x.get(), &params, Rounding::Nearest, real.get_mut()).unwrap();
                straight_through(isa, x.get(), x.get(), &params, real.get_mut()).unwrap();
                let gradients = Gradients { x: real.get_mut(), scales: &mut [0.0], zero_points: None };
                fake_quantize_gradients(isa, x.get(), x.get(), &params, Rounding::Nearest, gradients).unwrap();
                let stream = Stream { seed: 1, offset: 16_379 };
                quantize(isa, x.get(), &params, stream, codes.get_mut()).unwrap();
                fake_quantize(isa, x.get(), &params, stream, real.get_mut()).unwrap();
                fill_uniform(isa, stream, real.get_mut()).unwrap();
                if let Some(params) = &in_bands {
                    let mut scales = vec![0.0; params.scales().len()];
                    let gradients = Gradients { x: real.get_mut(), scales: &mut scales, zero_points: None };
                    fake_quantize_gradients(isa, x.get(), x.get(), params, stream, gradients).unwrap();
                    quantize(isa, x.get(), params, Rounding::Nearest, codes.get_mut()).unwrap();
                    dequantize(isa, codes.get(), params, real.get_mut()).unwrap();
                    fake_quantize(isa, x.get(), params, stream, real.get_mut()).unwrap();
                    ranges(isa, x.get(), params.granularity()).unwrap();
                }
                if length > 0 {
                    min_max(isa, x.get()).unwrap();
                    ranges(isa, x.get(), last_axis).unwrap();
                }
            });
        }
    }
}

#[test]
fn products() {
    for against in BOTH {
        for m in [1, 2, 5, 6, 7, 8, 9] {
            for (n, k) in [(1, 1), (3, 4), (16, 8), (17, 64), (49, 33), (48, 32), (5, 127)] {
                let a = Guarded::new(against, &vec![255_u8; m * k]);
                let b = Guarded::new(against, &vec![-128_i8; k * n]);
                let bias = Guarded::new(against, &vec![1_i32; n]);
                let mut c = Guarded::new(against, &vec![0_i32; m * n]);
                let mut codes = Guarded::new(against, &vec![0_u8; m * n]);
                let stage = raw::requantize(Rule::FixedPoint, &vec![0.01; n], 3, 0..=255_u8).unwrap();
                let stochastic = raw::requantize(Rule::Float, &vec![0.01; n], 3, 0..=255_u8).unwrap();
                every_isa(|isa| {
                    let packed = raw::pack(isa, Matrix::new(b.get(), k, n).unwrap(), 1.into()).unwrap();
                    let packed = packed.with_accumulator_bias(bias.get()).unwrap();
                    let unpacked = raw::unpacked(isa, Matrix::new(b.get(), k, n).unwrap(), 1.into()).unwrap();
                    let a = Matrix::new(a.get(), m, k).unwrap();
                    let out = MatrixMut::new(c.get_mut(), m, n).unwrap();
                    raw::matmul(isa, a, 9.into(), &unpacked, &Accumulators, out).unwrap();
                    let out = MatrixMut::new(c.get_mut(), m, n).unwrap();
                    raw::matmul(isa, a, 9.into(), &packed, &Accumulators, out).unwrap();
                    let out = MatrixMut::new(codes.get_mut(), m, n).unwrap();
                    raw::matmul(isa, a, 9.into(), &packed, &stage, out).unwrap();
                    let out = MatrixMut::new(codes.get_mut(), m, n).unwrap();
                    raw::matmul(isa, a, 9.into(), &packed, &stochastic.stochastic(Stream::new(0)).unwrap(), out)
                        .unwrap();
                });
            }
        }
    }
}

#[test]
fn layers() {
    for against in BOTH {
        for (channels, groups) in [(1, 1), (4, 1), (16, 1), (5, 5), (17, 17), (6, 2)] {
            let shape = [2, 5, 6, channels];
            let images = Guarded::new(against, &vec![200_u8; shape.iter().product()]);
            let window = Window { padding: [1, 0, 1, 2], ..Window::new([3, 2]) };
            let weights_shape = [channels, channels / groups, 3, 2];
            let weights = Guarded::new(against, &vec![-3_i8; weights_shape.iter().product()]);
            every_isa(|isa| {
                let conv = raw::conv2d(isa, weights.get(), weights_shape, 1.into(), window, groups).unwrap();
                let length = conv.output_shape(shape).unwrap().iter().product();
                let mut out = Guarded::new(against, &vec![0_i32; length]);
                raw::convolve(
                    isa,
                    &conv,
                    raw::Images { codes: images.get(), shape, zero_points: 3.into() },
                    &Accumulators,
                    out.get_mut(),
                )
                .unwrap();
                let pool = MaxPool2d::new(Window::new([2, 2]));
                let length = pool.output_shape(shape).unwrap().iter().product();
                let mut out = Guarded::new(against, &vec![0_u8; length]);
                pool.forward(isa, images.get(), shape, out.get_mut()).unwrap();
                let codes = raw::Images { codes: images.get(), shape, zero_points: 3.into() };
                raw::average_pool2d(isa, &AvgPool2d::new(Window::new([2, 2])), codes, out.get_mut()).unwrap();
                for size in [1, 2, 3] {
                    let window = Window { stride: [2, 2], ..Window::new([size, size]) };
                    let shape_of_weights = [channels, channels / groups, size, size];
                    let weights = &weights.get()[..channels * (channels / groups)].repeat(size * size);
                    let weights = Guarded::new(against, weights);
                    let conv = raw::conv_transpose2d(isa, weights.get(), shape_of_weights, 1.into(), window, groups);
                    let conv = conv.unwrap();
                    let length = conv.output_shape(shape).unwrap().iter().product();
                    let mut out = Guarded::new(against, &vec![0_i32; length]);
                    raw::convolve(isa, &conv, codes, &Accumulators, out.get_mut()).unwrap();
                }
            });
        }
    }
}
