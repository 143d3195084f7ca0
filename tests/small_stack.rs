//! Every public operation on a thread with [`STACK`] bytes of stack. It counts for unoptimised builds, whose frames are
//! largest: `cargo test --profile dev --test small_stack`. An overflow ends the process with a message that has the
//! thread's name: the operation and its ISA.

use std::thread;

use zeropoint::calibrate::{Method, Observer, group_ranges, mse_ranges};
use zeropoint::distance::{Cosine, Dot, SquaredEuclidean, between, nearest, pairwise};
use zeropoint::formats::{BlockFormat, block_offsets, decode_blocks, encode_blocks, encode_blocks_with, split_blocks};
use zeropoint::fp8::{self, Fp8, Fp8Params};
use zeropoint::groups::{self, Activations, GroupScheme, PackedWeights, RealStage, StoredWeights, Weights};
use zeropoint::layers::{AvgPool2d, Conv2d, Linear, MaxPool2d, Window};
use zeropoint::random::{StreamRng, fill_uniform, fill_words};
use zeropoint::raw::AccumulatorBias;
use zeropoint::report::{quantization_error, reconstruction_error};
use zeropoint::training::{
    ClipBounds, ClipGradients, Gradients, clip_gradients, fake_quantize_gradients, fake_quantize_gradients_in_place,
};
use zeropoint::*;

const STACK: usize = 128 << 10;

/// [`STACK`], or what the environment says, in KiB: to find how much an operation takes.
fn stack() -> usize {
    std::env::var("ZEROPOINT_STACK_KIB").map_or(STACK, |kib| kib.parse::<usize>().unwrap() << 10)
}

/// A row, a few vectors and a rest; large enough for every granularity.
const SHAPE: [usize; 2] = [12, 1107];

const ELEMENTS: usize = SHAPE[0] * SHAPE[1];

/// Calls an operation on a thread of its own, on every ISA.
fn small(name: &str, operation: impl Fn(Isa) + Sync) {
    for isa in Isa::supported() {
        thread::scope(|scope| {
            let thread = thread::Builder::new().name(format!("{name} on {isa}")).stack_size(stack());
            let running = thread.spawn_scoped(scope, || operation(isa)).unwrap();
            running.join().unwrap_or_else(|_| panic!("{name} on {isa}"));
        });
    }
}

fn reals(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn codes<C: Code>(count: usize) -> Vec<C> {
    let span = C::MAX.into() - C::MIN.into() + 1;
    (0..count as i32).map(|i| C::try_from(C::MIN.into() + i * 37 % span).ok().unwrap()).collect()
}

fn granularities() -> [(&'static str, Granularity); 10] {
    let [rows, row] = SHAPE;
    let channel = |shape: &[usize], axis| Granularity::channel(shape, axis).unwrap();
    [
        ("per tensor", Granularity::Tensor),
        ("per row", channel(&SHAPE, 0)),
        ("per column", channel(&SHAPE, 1)),
        ("per channel of 3", channel(&[rows * row / 3, 3], 1)),
        ("per channel of 16", channel(&[ELEMENTS / 16, 16], 1)),
        ("per middle axis", channel(&[rows, row / 9, 9], 1)),
        ("per block of 5", Granularity::block(&SHAPE, 5).unwrap()),
        ("per block of 32", Granularity::block(&SHAPE, 32).unwrap()),
        ("per block of 1000", Granularity::block(&SHAPE, 1000).unwrap()),
        ("per block of 32 along the rows", Granularity::block_along(&SHAPE, 0, 32).unwrap()),
    ]
}

/// The elements that a granularity's shape has.
fn elements(granularity: Granularity) -> usize {
    if granularity == (Granularity::Channel { channels: 16, inner: 1 }) { ELEMENTS / 16 * 16 } else { ELEMENTS }
}

fn params<C: Code>(codes: CodeRange<C>, granularity: Granularity) -> QuantParams<C> {
    let groups = granularity.groups(elements(granularity)).unwrap();
    let scales = (0..groups).map(|group| 0.0129 + (group % 100) as f32 * 1e-5).collect();
    QuantParams::new(codes, granularity, scales, vec![codes.max().into() / 2; groups]).unwrap()
}

fn elementwise<C: Code>(range: CodeRange<C>) {
    let stream = Stream::new(7);
    for (name, granularity) in granularities() {
        let n = elements(granularity);
        let (x, params) = (&reals(n)[..], &params(range, granularity));
        let name = |operation: &str| format!("{operation} {name}");
        small(&name("quantize"), |isa| {
            quantize(isa, x, params, Rounding::Nearest, &mut vec![C::default(); n]).unwrap()
        });
        small(&name("dynamic"), |isa| {
            QuantParams::fit(isa, x, range, Scheme::ASYMMETRIC, granularity).unwrap();
        });
        small(&name("stochastic"), |isa| {
            quantize(isa, x, params, stream, &mut vec![C::default(); n]).unwrap();
        });
        small(&name("dequantize"), |isa| dequantize(isa, &codes::<C>(n), params, &mut vec![0.0; n]).unwrap());
        small(&name("fake"), |isa| {
            fake_quantize(isa, x, params, Rounding::Nearest, &mut vec![0.0; n]).unwrap();
            fake_quantize(isa, x, params, stream, &mut vec![0.0; n]).unwrap();
            fake_quantize(isa, x, params, Rounding::Nearest, (&mut vec![0.0; n], &mut vec![0; n])).unwrap();
            fake_quantize_in_place(isa, &mut x.to_vec(), params, Rounding::Nearest).unwrap();
            fake_quantize_in_place(isa, &mut x.to_vec(), params, stream).unwrap();
        });
        small(&name("straight-through"), |isa| {
            straight_through(isa, x, x, params, &mut vec![0.0; n]).unwrap();
            straight_through_in_place(isa, x, &mut x.to_vec(), params).unwrap();
        });
        small(&name("gradients"), |isa| {
            let groups = params.scales().len();
            let (mut scales, mut zero_points) = (vec![0.0; groups], vec![0.0; groups]);
            for rounding in [Rounding::Nearest, stream.into()] {
                let (mut out, zero_points) = (x.to_vec(), Some(&mut zero_points[..]));
                let gradients = Gradients { x: &mut out, scales: &mut scales, zero_points };
                fake_quantize_gradients(isa, x, x, params, rounding, gradients).unwrap();
                let gradients = Gradients { x: &mut out, scales: &mut scales, zero_points: None };
                fake_quantize_gradients_in_place(isa, x, params, rounding, gradients).unwrap();
            }
            for clip in [ClipBounds::one_sided, ClipBounds::symmetric] {
                let clip = clip(granularity, &vec![0.5; groups]).unwrap();
                let gradients = ClipGradients { x: &mut vec![0.0; n], bounds: &mut scales };
                clip_gradients(isa, x, x, &clip, gradients).unwrap();
            }
        });
        small(&name("error"), |isa| {
            quantization_error(isa, x, params).unwrap();
        });
    }
}

#[test]
fn batches() {
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.25, 3).unwrap();
    let (x, b) = (codes::<i8>(40 * 4 * 70), codes::<i8>(4 * 70 * 90));
    let x = Batch::side_by_side(Quantized::new(Matrix::new(&x, 40, 280).unwrap(), &params).unwrap(), 4);
    let rows = Batch::stacked(Quantized::new(Matrix::new(&b, 360, 70).unwrap(), &params).unwrap(), 4);
    let columns = Batch::stacked(Quantized::new(Matrix::new(&b, 280, 90).unwrap(), &params).unwrap(), 4);
    small("batches", |isa| {
        let out = &mut vec![0.0; 40 * 360];
        for b in [UnpackedMatrix::batch_transposed(isa, rows).unwrap(), UnpackedMatrix::batch(isa, columns).unwrap()] {
            let out = Batch::side_by_side(MatrixMut::new(out, 40, 360).unwrap(), 4);
            matmul_batch(isa, x, &b, &Dequantize::new(), out).unwrap();
        }
    });
}

#[test]
fn distances() {
    let (queries, rows) = (codes::<i8>(3 * 70), codes::<u8>(500 * 70));
    let (queries, rows) = (Matrix::new(&queries, 3, 70).unwrap(), Matrix::new(&rows, 500, 70).unwrap());
    small("distances", |isa| {
        between(isa, Dot, queries.row(0), rows.row(0)).unwrap();
        between(isa, SquaredEuclidean, rows.row(0), rows.row(0)).unwrap();
        between(isa, Cosine, queries.row(0), &[1_i8; 70]).unwrap();
        pairwise(isa, Dot, queries, rows, MatrixMut::new(&mut [0; 1500], 3, 500).unwrap()).unwrap();
        nearest(isa, SquaredEuclidean, queries, queries, 3).unwrap();
        nearest(isa, Cosine, queries, rows, 300).unwrap();
    });
}

#[test]
fn eight_bit_floats() {
    for (name, granularity) in granularities() {
        let n = elements(granularity);
        let x = &reals(n)[..];
        small(&format!("FP8 {name}"), |isa| {
            let params = &Fp8Params::fit(isa, x, Fp8::E4M3, granularity).unwrap();
            let mut codes = vec![0; n];
            fp8::encode(isa, x, params, Rounding::Nearest, &mut codes).unwrap();
            fp8::encode(isa, x, params, Stream::new(7), &mut codes).unwrap();
            fp8::decode(isa, &codes, params, &mut vec![0.0; n]).unwrap();
            let mut halves = vec![0; n];
            fp8::decode(isa, &codes, params, HalvesMut::f16(&mut halves)).unwrap();
            fp8::encode(isa, Halves::f16(&halves), params, Rounding::Nearest, &mut codes).unwrap();
        });
    }
}

fn strided<C: Code>(range: CodeRange<C>) {
    let [rows, row] = SHAPE;
    let columns = row - 7;
    let (x, codes) = (&reals(ELEMENTS)[..], &codes::<C>(ELEMENTS)[..]);
    let per_column = Granularity::channel(&[rows, columns], 1).unwrap();
    let per_block = Granularity::block(&[rows, columns], 32).unwrap();
    for granularity in [Granularity::Tensor, Granularity::channel(&[rows, columns], 0).unwrap(), per_column, per_block]
    {
        let groups = granularity.groups(rows * columns).unwrap();
        let params = &QuantParams::new(range, granularity, vec![0.01; groups], vec![3; groups]).unwrap();
        small(&format!("matrix {granularity:?}"), |isa| {
            let x = Matrix::with_stride(x, rows, columns, row).unwrap();
            let mut out = vec![C::default(); ELEMENTS];
            quantize(isa, x, params, Rounding::Nearest, MatrixMut::with_stride(&mut out, rows, columns, row).unwrap())
                .unwrap();
            let codes = Matrix::with_stride(codes, rows, columns, row).unwrap();
            let mut out = vec![0.0; ELEMENTS];
            dequantize(isa, codes, params, MatrixMut::with_stride(&mut out, rows, columns, row).unwrap()).unwrap();
            fake_quantize(
                isa,
                x,
                params,
                Rounding::Nearest,
                MatrixMut::with_stride(&mut out, rows, columns, row).unwrap(),
            )
            .unwrap();
        });
    }
}

fn nibbles<C: ByteCode>(range: CodeRange<C>) {
    for (name, granularity) in granularities() {
        let n = elements(granularity);
        let (x, params) = (&reals(n)[..], &params(range, granularity));
        small(&format!("nibbles {name}"), |isa| {
            let mut bytes = vec![0; n.div_ceil(2)];
            // Rows of an odd length have no packed form by blocks.
            if quantize(isa, x, params, Rounding::Nearest, PackedCodesMut::four_bits(&mut bytes, n).unwrap()).is_ok() {
                quantize(isa, x, params, Stream::new(7), PackedCodesMut::four_bits(&mut bytes, n).unwrap()).unwrap();
                dequantize(isa, PackedCodes::four_bits(&bytes, n).unwrap(), params, &mut vec![0.0; n]).unwrap();
            }
            let mut codes = vec![C::default(); n];
            raw::unpack_codes(isa, PackedCodes::four_bits(&bytes, n).unwrap(), &mut codes).unwrap();
            raw::pack_codes(isa, &codes, C::default(), PackedCodesMut::four_bits(&mut bytes, n).unwrap()).unwrap();
        });
    }
}

fn halves<C: Code>(range: CodeRange<C>) {
    for (name, granularity) in granularities() {
        let n = elements(granularity);
        let (bits, params) = (&vec![0x3c01; n][..], &params(range, granularity));
        small(&format!("16 bits {name}"), |isa| {
            let (mut codes, mut mask, mut out) = (vec![C::default(); n], vec![0; n], vec![0; n]);
            for rounding in [Rounding::Nearest, Stream::new(7).into()] {
                quantize(isa, Halves::f16(bits), params, rounding, &mut codes).unwrap();
                fake_quantize(isa, Halves::f16(bits), params, rounding, (HalvesMut::bf16(&mut out), &mut mask))
                    .unwrap();
                fake_quantize_in_place(isa, HalvesMut::bf16(&mut out), params, rounding).unwrap();
            }
            dequantize(isa, &codes, params, HalvesMut::f16(&mut out)).unwrap();
            let gradient = HalvesMut::f16(&mut out);
            straight_through_in_place(isa, Halves::bf16(bits), gradient, params).unwrap();
        });
    }
}

#[test]
fn elements_of_tensors() {
    elementwise(CodeRange::unsigned(8).unwrap());
    elementwise(CodeRange::narrow(8).unwrap());
    elementwise(CodeRange::signed(3).unwrap());
    elementwise(CodeRange::unsigned16(16).unwrap());
    elementwise(CodeRange::signed16(16).unwrap());
    strided(CodeRange::unsigned(8).unwrap());
    strided(CodeRange::signed(8).unwrap());
    nibbles(CodeRange::unsigned(4).unwrap());
    nibbles(CodeRange::signed(4).unwrap());
    halves(CodeRange::unsigned(8).unwrap());
    halves(CodeRange::signed(8).unwrap());
}

#[test]
fn reductions_words_and_formats() {
    for (name, granularity) in granularities() {
        let x = &reals(elements(granularity))[..];
        small(&format!("ranges {name}"), |isa| drop(ranges(isa, x, granularity).unwrap()));
        small(&format!("observed ranges {name}"), |isa| {
            let observer =
                Method::MinMax.observer(CodeRange::unsigned(8).unwrap(), Scheme::ASYMMETRIC, ELEMENTS).unwrap();
            group_ranges(isa, x, granularity, &observer).unwrap();
            mse_ranges(isa, x, granularity, CodeRange::<i8>::signed(4).unwrap(), Scheme::ASYMMETRIC).unwrap();
        });
    }
    let x = &reals(ELEMENTS / 256 * 256)[..];
    let n = x.len();
    small("min_max", |isa| {
        min_max(isa, x).unwrap();
    });
    small("abs_max", |isa| {
        abs_max(isa, x).unwrap();
    });
    small("reconstruction_error", |isa| {
        reconstruction_error(isa, x, x).unwrap();
    });
    small("fill", |isa| {
        fill_words(isa, Stream::new(7).skip(13).unwrap(), &mut vec![0; n]).unwrap();
        fill_uniform(isa, Stream::new(7), &mut vec![0.0; n]).unwrap();
    });
    small("StreamRng", |isa| {
        let mut rng = StreamRng::new(isa, Stream::new(7));
        assert_ne!(rand_core::Rng::next_u64(&mut rng), rand_core::Rng::next_u64(&mut rng));
    });
    for format in BlockFormat::ALL {
        let length = format.bytes(n).unwrap();
        small(&format!("{format:?}"), |isa| {
            let (mut bytes, mut out) = (vec![0; length], vec![0.0; n]);
            encode_blocks(isa, format, x, &mut bytes).unwrap();
            decode_blocks(isa, format, &bytes, &mut out).unwrap();
            let mut groups = vec![0.0; n / format.group_length()];
            split_blocks(isa, format, &bytes, &mut vec![0; n], &mut groups).unwrap();
            block_offsets(isa, format, &bytes, &mut groups).unwrap();
            if matches!(format, BlockFormat::MxFp4 | BlockFormat::NvFp4) {
                encode_blocks_with(isa, format, Stream::new(7), x, &mut bytes).unwrap();
            }
        });
    }
}

#[test]
fn calibration() {
    let x = &reals(ELEMENTS)[..];
    for name in [
        "minmax",
        "absmax",
        "average",
        "ema:0.9",
        "moving:0.1",
        "std:3",
        "gauss",
        "laplace",
        "percentile:99.9",
        "percentiles:99.9",
        "entropy",
        "mse",
    ] {
        small(name, |isa| {
            let method: Method = name.parse().unwrap();
            let mut observer = method.observer(CodeRange::unsigned(8).unwrap(), Scheme::ASYMMETRIC, SHAPE[1]).unwrap();
            for batch in x.chunks(4 * SHAPE[1]) {
                observer.observe(isa.into(), batch).unwrap();
            }
            observer.range().unwrap();
        });
    }
}

#[test]
fn products_of_i16() {
    for [m, n, k] in [[1, 70, 130], [23, 70, 600]] {
        let a = vec![-7_i16; m * k];
        let w = vec![3_i8; n * k];
        let x_params = QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), 1e-4, 0).unwrap();
        let w_params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.01, 0).unwrap();
        small(&format!("int16x8 {m} × {n} × {k}"), |isa| {
            let x = Quantized::new(Matrix::new(&a, m, k).unwrap(), &x_params).unwrap();
            let weights = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
            let weights = int16x8::PackedMatrix::pack(isa, weights).unwrap();
            let mut sums = vec![0; m * n];
            let out = MatrixMut::new(&mut sums, m, n).unwrap();
            int16x8::matmul(isa, x, &weights, &int16x8::Accumulators, out).unwrap();
            let mut floats = vec![0.0; m * n];
            let out = MatrixMut::new(&mut floats, m, n).unwrap();
            int16x8::matmul(isa, x, &weights, &int16x8::Dequantize::new(), out).unwrap();
            for rule in [int16x8::Rule::Float, int16x8::Rule::HalfAway, int16x8::Rule::Reduced] {
                let stage = int16x8::Requantize::new(&weights, &x_params, &x_params, rule).unwrap();
                let mut codes = vec![0; m * n];
                let out = MatrixMut::new(&mut codes, m, n).unwrap();
                int16x8::matmul(isa, x, &weights, &stage, out).unwrap();
            }
        });
    }
}

/// Every stage on a packed and an unpacked right operand.
fn products<A: ByteCode, B: ByteCode>() {
    let name = |name: &str| format!("{name} of {} by {}", std::any::type_name::<A>(), std::any::type_name::<B>());
    for [m, n, k] in [[1, 70, 130], [23, 70, 130]] {
        let (a, b) = (&codes::<A>(m * k)[..], &codes::<B>(n * k)[..]);
        let a = || Matrix::new(a, m, k).unwrap();
        let b = || Matrix::new(b, k, n).unwrap();
        let (columns, rows) = (vec![5; n], vec![3; m]);
        let packed = |isa| {
            let packed = raw::pack::<A, B>(isa, b(), columns.as_slice().into()).unwrap();
            packed.with_accumulator_bias(&vec![9; n]).unwrap()
        };
        small(&name("accumulators"), |isa| {
            let mut out = vec![0; m * n];
            let out = &mut out;
            raw::matmul(
                isa,
                a(),
                rows.as_slice().into(),
                &packed(isa),
                &Accumulators,
                MatrixMut::new(out, m, n).unwrap(),
            )
            .unwrap();
            let unpacked = raw::unpacked::<A, B>(isa, b(), 0.into()).unwrap();
            raw::matmul(isa, a(), 0.into(), &unpacked, &Accumulators, MatrixMut::new(out, m, n).unwrap()).unwrap();
        });
        small(&name("dequantized"), |isa| {
            let stage = raw::DequantizeColumns::new(&vec![0.01; n], Some(&vec![1.0; n])).unwrap();
            let scales = vec![0.02; m];
            let mut out = vec![0.0; m * n];
            let out = MatrixMut::new(&mut out, m, n).unwrap();
            raw::matmul(isa, a(), rows.as_slice().into(), &packed(isa), &stage.rows(&scales).unwrap(), out).unwrap();
        });
        let multipliers = &vec![0.000_123; n][..];
        small(&name("requantized"), |isa| {
            let (packed, mut out) = (packed(isa), vec![0; m * n]);
            for rule in [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp, Rule::Shift] {
                let multiplier = if matches!(rule, Rule::Shift) { 1.0 / 1024.0 } else { 0.000_123 };
                let stage = raw::requantize(rule, &vec![multiplier; n], 3, 0_u8..=255).unwrap().relu();
                let out = MatrixMut::new(&mut out, m, n).unwrap();
                raw::matmul(isa, a(), 0.into(), &packed, &stage, out).unwrap();
            }
            let stage = raw::requantize(Rule::Float, multipliers, 3, i8::MIN..=i8::MAX).unwrap();
            let mut out = vec![0_i8; m * n];
            let out = MatrixMut::new(&mut out, m, n).unwrap();
            raw::matmul(isa, a(), 0.into(), &packed, &stage.stochastic(Stream::new(7)).unwrap(), out).unwrap();
        });
    }
}

/// Stages on accumulators that are given, and codes from codes.
#[test]
fn accumulators_and_codes() {
    let [rows, columns] = SHAPE;
    let given: Vec<i32> = (0..ELEMENTS as i32).map(|i| i * 7919 % 60_000 - 30_000).collect();
    let x = &codes::<u8>(ELEMENTS)[..];
    for (name, granularity) in granularities().into_iter().filter(|(_, granularity)| elements(*granularity) == ELEMENTS)
    {
        let (from, to) =
            (params(CodeRange::unsigned(8).unwrap(), granularity), params(CodeRange::signed(8).unwrap(), granularity));
        let Ok(x) = Quantized::new(Matrix::new(x, rows, columns).unwrap(), &from) else { continue };
        for rounding in [Rounding::Nearest, Stream::new(7).into()] {
            small(&format!("rescale {name}"), |isa| {
                let mut out = vec![0_i8; ELEMENTS];
                rescale::requantize(isa, x, &to, rounding, &mut out).unwrap();
                rescale::add(isa, x, x, &to, rounding, &mut out).unwrap();
                let y = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.1, 0).unwrap();
                rescale::concat(isa, &[x, x], &y, rounding, &mut vec![0; 2 * ELEMENTS]).unwrap();
            });
        }
    }
    small("a stage on accumulators", |isa| {
        let stage = raw::requantize(Rule::Float, &[0.01], 100, 0..=255_u8).unwrap();
        let given = || Matrix::new(&given, rows, columns).unwrap();
        let mut out = vec![0; ELEMENTS];
        raw::apply(isa, given(), &stage, MatrixMut::new(&mut out, rows, columns).unwrap()).unwrap();
        let stage = stage.stochastic(Stream::new(7)).unwrap();
        raw::apply(isa, given(), &stage, MatrixMut::new(&mut out, rows, columns).unwrap()).unwrap();
    });
}

#[test]
fn multiplication() {
    products::<u8, i8>();
    products::<u8, u8>();
    products::<i8, i8>();
    products::<i8, u8>();
}

/// Operands that carry their parameters.
#[test]
fn operands_with_parameters() {
    let [m, n, k] = [23, 70, 128];
    let (x, w) = (&codes::<u8>(m * k)[..], &codes::<i8>(n * k)[..]);
    let per_tensor = |scale| QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), scale, 117).unwrap();
    let (px, py) = (&per_tensor(0.02), &per_tensor(0.4));
    let weights = |granularity: Granularity| {
        let groups = granularity.groups(n * k).unwrap();
        QuantParams::new(CodeRange::signed(8).unwrap(), granularity, vec![0.01; groups], vec![0; groups]).unwrap()
    };
    let by_row = &weights(Granularity::channel(&[n, k], 0).unwrap());
    let by_column = &weights(Granularity::channel(&[k, n], 1).unwrap());
    let by_block = &weights(Granularity::block(&[n, k], 32).unwrap());
    let bias = &vec![1.0; n][..];
    let x = || Quantized::new(Matrix::new(x, m, k).unwrap(), px).unwrap();
    let rows = |params| Quantized::new(Matrix::new(w, n, k).unwrap(), params).unwrap();
    let columns = || Quantized::new(Matrix::new(w, k, n).unwrap(), by_column).unwrap();
    small("fit", |isa| {
        let range = CodeRange::signed(8).unwrap();
        QuantParams::fit(isa, &reals(n * k)[..], range, Scheme::SYMMETRIC, by_row.granularity()).unwrap();
    });
    small("matmul", |isa| {
        let (mut reals, mut codes) = (vec![0.0; m * n], vec![0_u8; m * n]);
        let packed = PackedMatrix::<u8, i8>::pack(isa, rows(by_row)).unwrap().with_bias(bias, px).unwrap();
        let out = MatrixMut::new(&mut reals, m, n).unwrap();
        matmul(isa, x(), &packed, &Dequantize::new().with_bias(bias).unwrap(), out).unwrap();
        let stage = Requantize::new(&packed, px, py, Rule::FixedPoint).unwrap().relu();
        matmul(isa, x(), &packed, &stage, MatrixMut::new(&mut codes, m, n).unwrap()).unwrap();
        let packed = PackedMatrix::<u8, i8>::pack_columns(isa, columns()).unwrap();
        let out = MatrixMut::new(&mut reals, m, n).unwrap();
        matmul(isa, x(), &packed, &Dequantize::new(), out).unwrap();
        let unpacked = UnpackedMatrix::<u8, i8>::new(isa, columns()).unwrap();
        let out = MatrixMut::new(&mut reals, m, n).unwrap();
        matmul(isa, x(), &unpacked, &Dequantize::new(), out).unwrap();
        let packed = PackedWeights::pack(isa, &Weights::quantized(rows(by_block)).unwrap()).unwrap();
        let activations = Activations::quantized(x()).unwrap();
        groups::matmul(isa, &activations, &packed, &RealStage::new(), &mut reals).unwrap();
        let layer = Linear::<u8, i8>::new(isa, rows(by_row)).unwrap().with_bias(bias, px).unwrap();
        let out = MatrixMut::new(&mut reals, m, n).unwrap();
        layer.forward(isa, x(), &Dequantize::new(), out).unwrap();
    });
    let shape = [2, 9, 8, 6];
    let images = &codes::<u8>(shape.iter().product())[..];
    let kernels = &codes::<i8>(10 * 6 * 9)[..];
    let by_output = &QuantParams::new(
        CodeRange::signed(8).unwrap(),
        Granularity::channel(&[10, 54], 0).unwrap(),
        vec![0.01; 10],
        vec![0; 10],
    )
    .unwrap();
    let by_image = &QuantParams::new(
        CodeRange::unsigned(8).unwrap(),
        Granularity::channel(&[2, 432], 0).unwrap(),
        vec![0.02, 0.03],
        vec![117, 99],
    )
    .unwrap();
    small("Conv2d", |isa| {
        let layer = Conv2d::<u8, i8>::new(isa, kernels, [10, 6, 3, 3], by_output, Window::new([3, 3]), 1).unwrap();
        let output = layer.output_shape(shape).unwrap().iter().product();
        let stage = Dequantize::new().with_bias(&[1.0; 10]).unwrap();
        layer.forward(isa, images, shape, by_image, &stage, &mut vec![0.0; output]).unwrap();
    });
}

fn by_groups<A: ByteCode>() {
    let [m, n, k] = [9, 40, 256];
    let (a, weights) = (&codes::<A>(m * k)[..], &codes::<u8>(n * k)[..]);
    let (per_row, per_group) = (&vec![0.02; m][..], &vec![0.02; m * k / 32][..]);
    let (x, zero_points) = (&reals(m * k)[..], &(0..n * k / 32).map(|i| i as i32 % 3).collect::<Vec<_>>()[..]);
    let few_bits = &weights.iter().map(|code| code % 4).collect::<Vec<_>>()[..];
    small(&format!("groups by {}", std::any::type_name::<A>()), |isa| {
        let (mut out, stage) = (vec![0.0; m * n], RealStage::new());
        let a = Matrix::new(a, m, k).unwrap();
        let rows = Activations::per_row(a, 7.into(), per_row).unwrap();
        let in_groups = Activations::per_group(a, 32, 7.into(), per_group).unwrap();
        let real = Activations::reals(Matrix::new(x, m, k).unwrap(), Scheme::ASYMMETRIC);
        let scales = vec![0.01; n * k / 32];
        let mut all = Vec::new();
        for (codes, bits) in [(few_bits, 2), (few_bits, 4), (few_bits, 6), (weights, 8)] {
            let range = CodeRange::unsigned(bits).unwrap();
            let weights = Weights::new(Matrix::new(codes, n, k).unwrap(), range, 32, &scales).unwrap();
            all.push(PackedWeights::pack(isa, &weights.with_zero_points(zero_points).unwrap()).unwrap());
            all.push(PackedWeights::pack(isa, &weights.with_offsets(&scales).unwrap()).unwrap());
        }
        for scheme in [GroupScheme::symmetric(3, 32), GroupScheme::with_zero_points(5, 32)] {
            let scheme = scheme.unwrap().least_error().f16_scales();
            let weights = StoredWeights::quantize(isa, Matrix::new(&reals(n * k), n, k).unwrap(), scheme).unwrap();
            all.push(PackedWeights::pack(isa, &weights.weights()).unwrap());
        }
        for format in BlockFormat::ALL {
            let mut bytes = vec![0; format.bytes(n * k).unwrap()];
            encode_blocks(isa, format, &reals(n * k), &mut bytes).unwrap();
            let packed = PackedWeights::from_format(isa, format, &bytes, n, k).unwrap();
            if format.group_length() == 32 {
                all.push(packed);
            } else {
                groups::matmul(isa, &rows, &packed, &stage, &mut out).unwrap();
                let in_groups = real.in_groups(format.group_length()).unwrap();
                groups::matmul(isa, &in_groups, &packed, &stage, &mut out).unwrap();
            }
        }
        for packed in &all {
            for x in [&rows, &in_groups, &real, &real.in_groups(32).unwrap()] {
                groups::matmul(isa, x, packed, &stage, &mut out).unwrap();
            }
        }
    });
}

#[test]
fn weights_in_groups() {
    by_groups::<u8>();
    by_groups::<i8>();
}

#[test]
fn network_layers() {
    let (images, shape) = (&codes::<u8>(2 * 9 * 8 * 6)[..], [2, 9, 8, 6]);
    let window = Window { stride: [1, 2], padding: [1; 4], ..Window::new([3, 3]) };
    for (outputs, groups) in [(10, 1), (9, 3), (6, 6)] {
        let weights = &codes::<i8>(outputs * 6 / groups * 9)[..];
        small(&format!("convolution of {groups} groups"), |isa| {
            let layer = raw::conv2d::<u8, i8>(isa, weights, [outputs, 6 / groups, 3, 3], 0.into(), window, groups);
            let layer = layer.unwrap().with_accumulator_bias(&vec![5; outputs]).unwrap();
            let output = layer.output_shape(shape).unwrap().iter().product();
            raw::convolve(
                isa,
                &layer,
                raw::Images { codes: images, shape, zero_points: 117.into() },
                &Accumulators,
                &mut vec![0; output],
            )
            .unwrap();
            let stage = raw::requantize(Rule::Float, &[0.001], 3, 0_u8..=255).unwrap();
            raw::convolve(
                isa,
                &layer,
                raw::Images { codes: images, shape, zero_points: 117.into() },
                &stage,
                &mut vec![0; output],
            )
            .unwrap();
        });
    }
    for (outputs, groups) in [(10, 1), (9, 3), (6, 6)] {
        let weights = &codes::<i8>(6 * outputs / groups * 9)[..];
        for zero_points in [117.into(), raw::ImageZeroPoints::PerChannel(&[0, 1, 117, 128, 254, 255])] {
            small(&format!("transposed convolution of {groups} groups"), |isa| {
                let weights_shape = [6, outputs / groups, 3, 3];
                let layer = raw::conv_transpose2d::<u8, i8>(isa, weights, weights_shape, 0.into(), window, groups);
                let layer = layer.unwrap().with_accumulator_bias(&vec![5; outputs]).unwrap();
                let output = layer.output_shape(shape).unwrap().iter().product();
                let images = raw::Images { codes: images, shape, zero_points };
                raw::convolve(isa, &layer, images, &Accumulators, &mut vec![0; output]).unwrap();
                let stage = raw::requantize(Rule::Float, &[0.001], 3, 0_u8..=255).unwrap();
                raw::convolve(isa, &layer, images, &stage, &mut vec![0; output]).unwrap();
            });
        }
    }
    small("linear", |isa| {
        let layer = Linear::from(
            raw::pack_transposed::<u8, i8>(isa, Matrix::new(&codes::<i8>(12 * 54), 12, 54).unwrap(), 0.into()).unwrap(),
        );
        let mut out = vec![0; 16 * 12];
        let out = MatrixMut::new(&mut out, 16, 12).unwrap();
        raw::matmul(isa, Matrix::new(images, 16, 54).unwrap(), 117.into(), layer.weights(), &Accumulators, out)
            .unwrap();
    });
    small("max-pooling", |isa| {
        let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
        let output = pool.output_shape(shape).unwrap().iter().product();
        pool.forward(isa, images, shape, &mut vec![0_u8; output]).unwrap();
    });
    small("average pooling", |isa| {
        let large = &codes::<u8>(70_000 * 3)[..];
        for (codes, shape) in [(images, shape), (large, [1, 7, 10_000, 3])] {
            let pool = AvgPool2d::global();
            let output = pool.output_shape(shape).unwrap().iter().product();
            let images = raw::Images { codes, shape, zero_points: 117.into() };
            raw::average_pool2d(isa, &pool, images, &mut vec![0_u8; output]).unwrap();
        }
    });
}

/// Operations on the threads of a pool whose stacks are as small.
#[cfg(feature = "rayon")]
#[test]
fn threads() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).stack_size(stack()).build().unwrap();
    let n = 1 << 18;
    let x = &reals(n)[..];
    let params = &QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.0129, 117).unwrap();
    for isa in Isa::supported() {
        pool.install(|| {
            let mut codes = vec![0_u8; n];
            quantize(Exec::from(isa).rayon(), x, params, Rounding::Nearest, &mut codes).unwrap();
            quantize(Exec::from(isa).rayon(), x, params, Stream::new(7), &mut codes).unwrap();
            dequantize(Exec::from(isa).rayon(), &codes, params, &mut vec![0.0; n]).unwrap();
            fake_quantize(Exec::from(isa).rayon(), x, params, Rounding::Nearest, &mut vec![0.0; n]).unwrap();
            min_max(Exec::from(isa).rayon(), x).unwrap();
            quantization_error(Exec::from(isa).rayon(), x, params).unwrap();
            fill_words(Exec::from(isa).rayon(), Stream::new(7), &mut vec![0; n]).unwrap();
            let [m, n, k] = [64, 256, 256];
            let packed = raw::pack::<u8, u8>(isa, Matrix::new(&codes[..k * n], k, n).unwrap(), 0.into());
            let mut out = vec![0; m * n];
            let out = MatrixMut::new(&mut out, m, n).unwrap();
            let a = Matrix::new(&codes[..m * k], m, k).unwrap();
            raw::matmul(Exec::from(isa).rayon(), a, 3.into(), &packed.unwrap(), &Accumulators, out).unwrap();
        });
    }
}
