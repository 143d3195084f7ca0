//! Convolutions, ordinary, grouped, depthwise and transposed, and pools, under any window: what has a result equals the
//! reference, everything else is an error, from the constructor on where no image could have one.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::layers::{AvgPool2d, Conv2d, ConvTranspose2d, Convolve, MaxPool2d, TransposedWindow, Window};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{Accumulators, ByteCode, CodeRange, Error, Isa, QuantParams, Rule, raw, reference};
use zeropoint_fuzz::{CodeTexture, Data, IsaInput, guarded, of_signs};

#[derive(Arbitrary, Debug)]
struct Input {
    isa: IsaInput,
    signs: [bool; 2],
    axes: [Axis; 2],
    images: u8,
    groups: u8,
    group_channels: u8,
    group_outputs: u8,
    codes: Data<CodeTexture>,
    weights: Data<CodeTexture>,
    zero_points: Data<CodeTexture>,
    bias: Data<CodeTexture>,
    per: Per,
    layer: Layer,
    offset: u8,
}

/// An axis of the window and of the image.
#[derive(Arbitrary, Debug)]
struct Axis {
    size: u8,
    stride: u8,
    padding: [u8; 2],
    dilation: u8,
    length: u8,
    output_padding: u8,
    /// A number of any size in place of one of the others.
    wild: Option<(u8, usize)>,
}

#[derive(Arbitrary, Debug)]
enum Per {
    Tensor(u8),
    Image,
    Channel,
}

#[derive(Arbitrary, Debug)]
enum Layer {
    Convolution,
    Requantized,
    Transposed,
    MaxPool,
    AveragePool { counts_padding: bool },
}

fuzz_target!(|input: Input| of_signs!(input.signs, run(&input)));

/// The numbers of an axis: size, stride, padding before and behind, dilation, length of the image, output padding.
fn axis(axis: &Axis) -> [usize; 7] {
    let small = |byte: u8, most: usize| usize::from(byte) % (most + 1);
    // Seldom 0, which no window may have: with one of six numbers, most windows would be refused.
    let some = |byte: u8, most: usize| if byte < 250 { usize::from(byte) % most + 1 } else { 0 };
    let [before, behind] = axis.padding;
    let mut numbers = [
        some(axis.size, 6),
        some(axis.stride, 5),
        small(before, 7),
        small(behind, 7),
        some(axis.dilation, 4),
        small(axis.length, 17),
        small(axis.output_padding, 4),
    ];
    if let Some((which, number)) = axis.wild {
        numbers[usize::from(which) % 7] = number;
    }
    numbers
}

fn run<A: ByteCode, B: ByteCode>(input: &Input) {
    let isa = input.isa.isa();
    let [y, x] = [axis(&input.axes[0]), axis(&input.axes[1])];
    let window =
        Window { size: [y[0], x[0]], stride: [y[1], x[1]], padding: [y[2], x[2], y[3], x[3]], dilation: [y[4], x[4]] };
    let [groups, group_channels, group_outputs] =
        [input.groups, input.group_channels, input.group_outputs].map(usize::from);
    let [groups, group_channels, group_outputs] = match input.groups % 4 {
        0 => [1, group_channels % 24, group_outputs % 70],
        // (The remainder by 4, which chose the case, is not used again.)
        1 => [groups / 4 % 64 + 1, 1, 1],
        2 => [groups / 4 % 5, group_channels % 6, group_outputs % 20],
        _ => [groups / 4 % 9, 1, group_outputs % 4],
    };
    let (channels, outputs) = (groups * group_channels, groups * group_outputs);
    let shape = [usize::from(input.images % 4), y[5], x[5], channels];
    // An image that no memory holds has no codes: it is only asked for the shape of its result.
    let elements = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n)).filter(|&n| n <= 40_000);
    let images: Vec<A> = input.codes.codes(elements.unwrap_or(0));
    let count = match input.per {
        Per::Tensor(_) => 1,
        Per::Image => shape[0],
        Per::Channel => channels,
    };
    let each: Vec<i32> = input.zero_points.codes::<A>(count).into_iter().map(Into::into).collect();
    let zero_points = match input.per {
        Per::Tensor(code) => (A::MIN.into() + i32::from(code)).into(),
        Per::Image => raw::ImageZeroPoints::PerImage(&each),
        Per::Channel => raw::ImageZeroPoints::PerChannel(&each),
    };
    let images = raw::Images { codes: &images[..], shape, zero_points };
    let weight_zero_points: Vec<i32> = input.zero_points.codes::<B>(outputs).into_iter().map(Into::into).collect();
    let case = Case { input, isa, images, fits: elements.is_some(), window };
    let taps = window.size[0].checked_mul(window.size[1]).filter(|&taps| taps <= 400);
    let weights: Vec<B> = input.weights.codes(taps.unwrap_or(0) * channels * group_outputs);
    let is_usual = input.axes.iter().all(|axis| axis.wild.is_none()) && channels > 0 && outputs > 0;
    let bias = input.bias.integers(outputs, 100_000);
    let params = QuantParams::per_tensor(CodeRange::new(B::MIN, B::MAX).unwrap(), 0.5, 0).unwrap();
    match input.layer {
        Layer::Convolution | Layer::Requantized => {
            let weights_shape = [outputs, group_channels, window.size[0], window.size[1]];
            let conv = raw::conv2d::<A, B>(isa, &weights, weights_shape, weight_zero_points[..].into(), window, groups);
            let new = Conv2d::<A, B>::new(isa, &weights, weights_shape, &params, window, groups);
            let Some(conv) = checked(conv, &new, window, is_usual) else { return };
            let conv = conv.with_accumulator_bias(&bias).unwrap();
            case.convolution(&conv, outputs, taps, |zero_points| {
                let of_weights = weight_zero_points[..].into();
                let Case { images: raw::Images { codes, shape, .. }, .. } = case;
                reference::conv2d(codes, shape, zero_points, &weights, weights_shape, of_weights, Some(&bias), &window)
            });
        }
        Layer::Transposed => {
            let weights_shape = [channels, group_outputs, window.size[0], window.size[1]];
            let transposed = TransposedWindow { window, output_padding: [y[6], x[6]] };
            let conv = raw::conv_transpose2d::<A, B>(
                isa,
                &weights,
                weights_shape,
                weight_zero_points[..].into(),
                transposed,
                groups,
            );
            let new = ConvTranspose2d::<A, B>::new(isa, &weights, weights_shape, &params, transposed, groups);
            let Some(conv) = checked(conv, &new, window, is_usual) else { return };
            let conv = conv.with_accumulator_bias(&bias).unwrap();
            case.convolution(&conv, outputs, taps, |zero_points| {
                let of_weights = weight_zero_points[..].into();
                let Case { images: raw::Images { codes, shape, .. }, .. } = case;
                reference::conv_transpose2d(
                    codes,
                    shape,
                    zero_points,
                    &weights,
                    weights_shape,
                    of_weights,
                    Some(&bias),
                    &transposed,
                    groups,
                )
            });
        }
        Layer::MaxPool => {
            let pool = MaxPool2d::new(window);
            let Some(length) = case.small(pool.output_shape(shape), taps) else { return };
            let out = guarded(length, input.offset, A::MIN, |out| {
                pool.forward(isa, images.codes, shape, out).unwrap();
            });
            assert_eq!(out, reference::max_pool2d(images.codes, shape, &window), "{isa}");
        }
        Layer::AveragePool { counts_padding } => {
            let pool = AvgPool2d::new(window);
            let pool = if counts_padding { pool.counting_padding() } else { pool };
            let Some(length) = case.small(pool.output_shape(shape), taps) else { return };
            let out = guarded(length, input.offset, A::MIN, |out| {
                raw::average_pool2d(isa, &pool, images, out).unwrap();
            });
            let want = reference::average_pool2d(images.codes, shape, zero_points, &window, counts_padding);
            assert!(out.iter().map(|&code| code.into()).eq(want), "{isa}");
        }
    }
}

/// A convolution, unless it was refused: always for a window that no image goes with, never for any other of usual sizes.
/// `new` is the constructor with parameters, which refuses the same shapes.
fn checked<T: core::fmt::Debug>(
    conv: Result<T, Error>,
    new: &Result<T, Error>,
    window: Window,
    is_usual: bool,
) -> Option<T> {
    let impossible = [window.size, window.stride, window.dilation].concat().contains(&0);
    assert!(conv.is_err() || !impossible, "{window:?}");
    assert!(conv.is_ok() || impossible || !is_usual, "{conv:?}");
    assert_eq!(new.is_err(), conv.is_err(), "{new:?}");
    conv.ok()
}

#[derive(Clone, Copy)]
struct Case<'a, A> {
    input: &'a Input,
    isa: Isa,
    images: raw::Images<'a, A>,
    /// Whether the images' codes are there.
    fits: bool,
    window: Window,
}

impl<A: ByteCode> Case<'_, A> {
    /// The elements of a result, if it is small enough for the reference.
    fn small(&self, output: Result<[usize; 4], Error>, taps: Option<usize>) -> Option<usize> {
        let length = output.ok()?.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))?;
        let work = length.checked_mul(taps?)?.checked_mul(self.images.shape[3].max(1))?;
        (self.fits && work <= 400_000 && self.window.padding.iter().all(|&n| n < 100)).then_some(length)
    }

    fn convolution(
        &self,
        conv: &impl Convolve2d<A>,
        outputs: usize,
        taps: Option<usize>,
        want: impl Fn(raw::ImageZeroPoints<'_>) -> Vec<i64>,
    ) {
        let Case { input, isa, images, .. } = *self;
        let Some(length) = self.small(conv.output_shape(images.shape), taps) else { return };
        let found = |out: &mut [i32]| raw::convolve(isa, conv.convolve(), images, &Accumulators, out);
        let want = want(images.zero_points);
        let out = guarded(length, input.offset, i32::MIN, |out| found(out).unwrap());
        assert!(out.iter().map(|&sum| i64::from(sum)).eq(want.iter().copied()), "{isa}: {out:?} for {want:?}");
        if let Layer::Requantized = input.layer {
            let multipliers: Vec<f64> = (0..outputs).map(|output| 0.001 + output as f64 * 0.0001).collect();
            let stage = raw::requantize(Rule::FixedPoint, &multipliers, 100, 0..=255_u8).unwrap();
            let codes = guarded(length, input.offset, 7, |out| {
                raw::convolve(isa, conv.convolve(), images, &stage, out).unwrap();
            });
            for (i, (&acc, code)) in out.iter().zip(codes).enumerate() {
                let product = reference::fixed_point_product(acc, multipliers[i % outputs]);
                assert_eq!(code, reference::saturate::<u8>(product, 100, (0, 255)), "{isa}");
            }
        }
    }
}

/// Either kind of convolution.
trait Convolve2d<A: ByteCode> {
    type Conv: Convolve<A>;
    fn convolve(&self) -> &Self::Conv;
    fn output_shape(&self, images: [usize; 4]) -> Result<[usize; 4], Error>;
}

impl<A: ByteCode, B: ByteCode> Convolve2d<A> for Conv2d<A, B> {
    type Conv = Self;
    fn convolve(&self) -> &Self {
        self
    }
    fn output_shape(&self, images: [usize; 4]) -> Result<[usize; 4], Error> {
        self.output_shape(images)
    }
}

impl<A: ByteCode, B: ByteCode> Convolve2d<A> for ConvTranspose2d<A, B> {
    type Conv = Self;
    fn convolve(&self) -> &Self {
        self
    }
    fn output_shape(&self, images: [usize; 4]) -> Result<[usize; 4], Error> {
        self.output_shape(images)
    }
}
