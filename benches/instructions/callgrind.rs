//! Instructions of warm calls, counted by valgrind: one group for every class of shapes, one function for every shape,
//! one benchmark for every ISA that valgrind has. A call that takes a twentieth more than `callgrind.csv` says fails.
//!
//! ```sh
//! .ci/run callgrind # installs what it takes, and writes the counts to target/callgrind.csv
//! cargo bench -p instructions -- '*cube*'
//! ```
//!
//! Neither load nor CPU matters: valgrind shows every program the same CPU, with AVX2 if the machine has it, never
//! with AVX-512, down to the sizes of its caches, by which this crate divides rows and the C library chooses how to copy.
//! (Where memory lies makes a difference of some dozens.)

#![allow(missing_docs, reason = "gungraun's macros make items that have none")]

use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, OutputFormat, library_benchmark, library_benchmark_group,
};
use zeropoint::calibrate::{Method, Observer};
use zeropoint::distance::{Cosine, Dot, Metric, SquaredEuclidean, between, nearest, pairwise};
use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::random::fill_words;
use zeropoint::report::quantization_error;
use zeropoint::training::{ClipBounds, ClipGradients, Gradients, clip_gradients, fake_quantize_gradients};
use zeropoint::{
    Accumulators, CodeRange, Granularity, Isa, Matrix, MatrixMut, PackedCodesMut, PackedMatrix, QuantParams, Rhs,
    Rounding, Rule, Scheme, Stage, Stream, abs_max, dequantize, fake_quantize, fake_quantize_in_place, min_max,
    quantize, ranges, raw,
};

/// What is counted: a second call, for which memory and the size of the cache are at hand.
type Call = Box<dyn FnMut()>;

fn warm(mut call: impl FnMut() + 'static) -> Call {
    call();
    Box::new(call)
}

/// Groups of functions, each with the call that it counts on every ISA.
macro_rules! groups {
    ($( $group:ident { $( $function:ident: $call:ident($($argument:expr),*) )+ } )+) => {
        $(
            $(
                #[library_benchmark]
                #[bench::scalar(
                    args = (on("scalar", |isa| $call(isa $(, $argument)*))),
                    config = limit(stringify!($function), "scalar"),
                )]
                #[bench::portable(
                    args = (on("portable", |isa| $call(isa $(, $argument)*))),
                    config = limit(stringify!($function), "portable"),
                )]
                #[bench::avx2(
                    args = (on("avx2", |isa| $call(isa $(, $argument)*))),
                    config = limit(stringify!($function), "avx2"),
                )]
                fn $function(mut call: Call) -> Call {
                    call();
                    call
                }
            )+
            library_benchmark_group!(name = $group, benchmarks = [$($function),+]);
        )+

        /// Gungraun's `main`, which nobody else can call.
        mod counts {
            use super::*;
            gungraun::main!(config = config(); library_benchmark_groups = $($group),+);
            pub fn run() {
                main();
            }
        }
    };
}

groups! {
    cubes {
        cube_64: packed([64, 64, 64])
        cube_128: packed([128, 128, 128])
        cube_256: packed([256, 256, 256])
    }
    odd {
        odd_17x33x65: packed([17, 33, 65])
        odd_10x84x120: packed([10, 84, 120])
    }
    thin {
        thin_1x512x512: packed([1, 512, 512])
        thin_8x512x512: packed([8, 512, 512])
    }
    convolution {
        convolution_196x64x288: packed([196, 64, 288])
    }
    zero_points {
        zero_points_64x64x64: with_zero_points([64, 64, 64])
    }
    requantized {
        requantized_64x64x64: requantized([64, 64, 64])
    }
    unpacked {
        unpacked_64x64x64: unpacked([64, 64, 64])
        unpacked_8x512x512: unpacked([8, 512, 512])
        unpacked_transposed_64x64x64: unpacked_transposed([64, 64, 64])
    }
    distances {
        dot_of_two_768: of_two(Dot)
        squared_difference_of_two_768: of_two(SquaredEuclidean)
        cosine_of_two_768: of_two(Cosine)
        dots_100x96: to_all(Dot)
        squared_differences_100x96: to_all(SquaredEuclidean)
        cosines_100x96: to_all(Cosine)
        nearest_10_100x96: ten_nearest()
    }
    elements {
        quantize_4096: quantized()
        quantize_16: quantized_few()
        quantize_rows_4096: quantized_by(Granularity::channel(&SHAPE, 0).unwrap())
        quantize_columns_4096: quantized_by(Granularity::channel(&SHAPE, 1).unwrap())
        quantize_sixteen_columns_4096: quantized_by(SIXTEEN_COLUMNS)
        quantize_blocks_4096: quantized_by(Granularity::block(&SHAPE, 32).unwrap())
        quantize_dynamic_4096: quantized_dynamically(Granularity::Tensor)
        quantize_dynamic_rows_4096: quantized_dynamically(Granularity::channel(&SHAPE, 0).unwrap())
        quantize_dynamic_blocks_4096: quantized_dynamically(Granularity::block(&SHAPE, 32).unwrap())
        quantize_stochastic_4096: quantized_stochastically()
        dequantize_4096: dequantized()
        fake_quantize_4096: fake_quantized()
        fake_quantize_with_mask_4096: fake_quantized_with_mask()
        fake_quantize_in_place_4096: fake_quantized_in_place()
        quantize_matrix_8x448: quantized_with_strides()
        min_max_4096: reduced()
        ranges_columns_4096: reduced_by(Granularity::channel(&SHAPE, 1).unwrap())
        ranges_sixteen_columns_4096: reduced_by(SIXTEEN_COLUMNS)
        histogram_4096: observed(Method::Percentile(99.9))
        moments_4096: observed(Method::Std(3.0))
        abs_max_4096: magnitude()
        words_4096: words()
        report_4096: reported()
        gradients_4096: differentiated(Granularity::Tensor, false)
        gradients_with_zero_point_4096: differentiated(Granularity::Tensor, true)
        gradients_columns_4096: differentiated(Granularity::channel(&SHAPE, 1).unwrap(), false)
        gradients_blocks_4096: differentiated(Granularity::block(&SHAPE, 32).unwrap(), false)
        gradients_of_clipping_4096: clipped()
        quantize_packed_4096: quantized_into_nibbles()
    }
    blocks {
        encode_mxint8_4096: encoded(BlockFormat::MxInt8)
        encode_q8_0_4096: encoded(BlockFormat::Q8_0)
        encode_q4_0_4096: encoded(BlockFormat::Q4_0)
        encode_q5_1_4096: encoded(BlockFormat::Q5_1)
        encode_q4_k_4096: encoded(BlockFormat::Q4_K)
        encode_q6_k_4096: encoded(BlockFormat::Q6_K)
        encode_mxfp4_4096: encoded(BlockFormat::MxFp4)
        encode_nvfp4_4096: encoded(BlockFormat::NvFp4)
        decode_q8_0_4096: decoded(BlockFormat::Q8_0)
        decode_q4_0_4096: decoded(BlockFormat::Q4_0)
        decode_q4_k_4096: decoded(BlockFormat::Q4_K)
        decode_mxfp4_4096: decoded(BlockFormat::MxFp4)
        groups_of_8_bits_1x512x512: weights_in_groups(8, [1, 512, 512])
        groups_of_4_bits_1x512x512: weights_in_groups(4, [1, 512, 512])
        groups_of_4_bits_64x64x64: weights_in_groups(4, [64, 64, 64])
    }
}

fn config() -> LibraryBenchmarkConfig {
    LibraryBenchmarkConfig::default()
        .output_format(OutputFormat::default().truncate_description(Some(0)).clone())
        .tool(Callgrind::with_args(["--cache-sim=no"]))
        .clone()
}

/// A twentieth more than what `callgrind.csv` says; none at all for what it does not have.
fn limit(function: &str, isa: &str) -> LibraryBenchmarkConfig {
    let start = format!("{function}.{isa},");
    let recorded = include_str!("callgrind.csv").lines().find_map(|line| line.strip_prefix(&start));
    let instructions: u64 = recorded.map_or(0, |count| count.parse().unwrap());
    let limits = [(EventKind::Ir, instructions + instructions / 20)];
    LibraryBenchmarkConfig::default().tool(Callgrind::default().hard_limits(limits).clone()).clone()
}

fn main() -> ExitCode {
    // Valgrind runs this program again, for one benchmark.
    let measured = std::env::args().nth(1).is_some_and(|argument| argument == "--gungraun-run");
    let missing = if measured { Vec::new() } else { missing() };
    if missing.is_empty() {
        counts::run();
    } else {
        println!("callgrind: nothing is counted without {}", missing.join(", "));
    }
    ExitCode::SUCCESS
}

/// What this machine lacks, and how to install it.
fn missing() -> Vec<String> {
    let runs = |program: &str| {
        let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let mut missing = Vec::new();
    if !runs("valgrind") {
        missing.push("valgrind (apt-get install valgrind)".to_owned());
    }
    if !runs(option_env!("GUNGRAUN_RUNNER").unwrap_or("gungraun-runner")) {
        let (_, locked) =
            include_str!("../../Cargo.lock").split_once("\nname = \"gungraun-runner\"\nversion = \"").unwrap();
        let (version, _) = locked.split_once('"').unwrap();
        missing.push(format!("gungraun-runner (cargo install --locked gungraun-runner --version {version})"));
    }
    if Isa::named("avx2").is_err() {
        missing.push("a CPU with AVX2".to_owned());
    }
    missing
}

fn on(isa: &str, call: impl FnOnce(Isa) -> Call) -> Call {
    call(Isa::named(isa).unwrap())
}

/// Bytes of every value, the same in every run.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn signed_bytes(count: usize) -> Vec<i8> {
    bytes(count).into_iter().map(|byte| byte as i8).collect()
}

/// M × N × K by any right operand to any elements.
fn product<S: Stage + 'static>(
    isa: Isa,
    [m, n, k]: [usize; 3],
    zero_point: i32,
    b: impl Rhs<u8> + 'static,
    stage: S,
) -> Call {
    let a = bytes(m * k);
    let mut out = vec![S::Element::default(); m * n];
    warm(move || {
        let out = MatrixMut::new(&mut out, m, n).unwrap();
        raw::matmul(isa, Matrix::new(&a, m, k).unwrap(), zero_point.into(), &b, &stage, out).unwrap();
    })
}

fn pack(isa: Isa, [_, n, k]: [usize; 3], zero_points: raw::ZeroPoints<'_>) -> PackedMatrix<u8, i8> {
    raw::pack(isa, Matrix::new(&signed_bytes(k * n), k, n).unwrap(), zero_points).unwrap()
}

fn packed(isa: Isa, shape: [usize; 3]) -> Call {
    product(isa, shape, 0, pack(isa, shape, 0.into()), Accumulators)
}

/// One of the left operand, one of every column of the right one.
fn with_zero_points(isa: Isa, shape: [usize; 3]) -> Call {
    let columns: Vec<i32> = (0..shape[1] as i32).map(|column| column % 7 - 3).collect();
    product(isa, shape, 117, pack(isa, shape, columns.as_slice().into()), Accumulators)
}

/// To u8.
fn requantized(isa: Isa, shape: [usize; 3]) -> Call {
    let stage = raw::requantize(Rule::Float, &[0.000_123], 117, u8::MIN..=u8::MAX).unwrap();
    product(isa, shape, 0, pack(isa, shape, 0.into()), stage)
}

fn unpacked(isa: Isa, shape: [usize; 3]) -> Call {
    let [_, n, k] = shape;
    let b = Matrix::new(signed_bytes(k * n).leak(), k, n).unwrap();
    product(isa, shape, 0, raw::unpacked(isa, b, 0.into()).unwrap(), Accumulators)
}

fn unpacked_transposed(isa: Isa, shape: [usize; 3]) -> Call {
    let [_, n, k] = shape;
    let b = Matrix::new(signed_bytes(k * n).leak(), n, k).unwrap();
    product(isa, shape, 0, raw::unpacked_transposed(isa, b, 0.into()).unwrap(), Accumulators)
}

fn of_two<M: Metric + Copy + 'static>(isa: Isa, metric: M) -> Call {
    let (a, b) = (signed_bytes(768), signed_bytes(769));
    warm(move || drop(black_box(between(isa, metric, &a, &b[1..]))))
}

fn to_all<M: Metric + Copy + 'static>(isa: Isa, metric: M) -> Call {
    let (query, rows) = (signed_bytes(96), signed_bytes(100 * 96));
    let mut out = vec![between(isa, metric, &query, &query).unwrap(); 100];
    warm(move || {
        let (rows, out) = (Matrix::new(&rows, 100, 96).unwrap(), MatrixMut::new(&mut out, 1, 100).unwrap());
        pairwise(isa, metric, &query, rows, out).unwrap();
    })
}

fn ten_nearest(isa: Isa) -> Call {
    let (query, rows) = (signed_bytes(96), signed_bytes(100 * 96));
    warm(move || drop(nearest(isa, Dot, &query, Matrix::new(&rows, 100, 96).unwrap(), 10)))
}

const ELEMENTS: usize = 4 << 10;

/// Numbers inside and outside the range, the same in every run.
fn reals() -> Vec<f32> {
    let reals = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0;
    (0..ELEMENTS as u32).map(reals).collect()
}

fn params() -> QuantParams<u8> {
    QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.0129, 117).unwrap()
}

fn quantized(isa: Isa) -> Call {
    let (x, params, mut codes) = (reals(), params(), vec![0; ELEMENTS]);
    warm(move || quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap())
}

fn quantized_few(isa: Isa) -> Call {
    let (x, params, mut codes) = (reals(), params(), vec![0; 16]);
    warm(move || quantize(isa, &x[..16], &params, Rounding::Nearest, &mut codes).unwrap())
}

/// Rows of [`ELEMENTS`].
const SHAPE: [usize; 2] = [8, ELEMENTS / 8];

/// Rows that are a block each.
const SIXTEEN_COLUMNS: Granularity = Granularity::Channel { channels: 16, inner: 1 };

fn quantized_by(isa: Isa, granularity: Granularity) -> Call {
    let groups = granularity.groups(ELEMENTS).unwrap();
    let scales = (0..groups).map(|group| 0.0129 + (group % 100) as f32 * 1e-5).collect();
    let codes = CodeRange::unsigned(8).unwrap();
    let params = QuantParams::new(codes, granularity, scales, vec![117; groups]).unwrap();
    let (x, mut codes) = (reals(), vec![0; ELEMENTS]);
    warm(move || quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap())
}

fn quantized_dynamically(isa: Isa, granularity: Granularity) -> Call {
    let (x, mut codes) = (reals(), vec![0; ELEMENTS]);
    let range = CodeRange::unsigned(8).unwrap();
    warm(move || {
        let params = QuantParams::fit(isa, &x, range, Scheme::ASYMMETRIC, granularity).unwrap();
        quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap();
        std::hint::black_box(&params);
    })
}

fn fake_quantized(isa: Isa) -> Call {
    let (x, params, mut out) = (reals(), params(), vec![0.0; ELEMENTS]);
    warm(move || fake_quantize(isa, &x, &params, Rounding::Nearest, &mut out).unwrap())
}

fn fake_quantized_with_mask(isa: Isa) -> Call {
    let (x, params, mut out, mut mask) = (reals(), params(), vec![0.0; ELEMENTS], vec![0; ELEMENTS]);
    warm(move || fake_quantize(isa, &x, &params, Rounding::Nearest, (&mut out, &mut mask)).unwrap())
}

fn fake_quantized_in_place(isa: Isa) -> Call {
    let (mut x, params) = (reals(), params());
    warm(move || fake_quantize_in_place(isa, &mut x, &params, Rounding::Nearest).unwrap())
}

/// Some columns of [`SHAPE`].
fn quantized_with_strides(isa: Isa) -> Call {
    let ([rows, stride], columns) = (SHAPE, 448);
    let (x, params, mut codes) = (reals(), params(), vec![0; ELEMENTS]);
    warm(move || {
        let x = Matrix::with_stride(&x, rows, columns, stride).unwrap();
        quantize(
            isa,
            x,
            &params,
            Rounding::Nearest,
            MatrixMut::with_stride(&mut codes, rows, columns, stride).unwrap(),
        )
        .unwrap();
    })
}

fn magnitude(isa: Isa) -> Call {
    let x = reals();
    warm(move || {
        std::hint::black_box(abs_max(isa, &x).unwrap());
    })
}

fn quantized_stochastically(isa: Isa) -> Call {
    let (x, params, mut codes) = (reals(), params(), vec![0; ELEMENTS]);
    warm(move || quantize(isa, &x, &params, Stream::new(1), &mut codes).unwrap())
}

fn dequantized(isa: Isa) -> Call {
    let (codes, params, mut out) = (bytes(ELEMENTS), params(), vec![0.0; ELEMENTS]);
    warm(move || dequantize(isa, &codes, &params, &mut out).unwrap())
}

fn reduced(isa: Isa) -> Call {
    let x = reals();
    warm(move || {
        std::hint::black_box(min_max(isa, &x).unwrap());
    })
}

fn reduced_by(isa: Isa, granularity: Granularity) -> Call {
    let x = reals();
    warm(move || {
        std::hint::black_box(ranges(isa, &x, granularity).unwrap());
    })
}

fn observed(isa: Isa, method: Method) -> Call {
    let (x, mut observer) =
        (reals(), method.observer(CodeRange::signed(8).unwrap(), Scheme::SYMMETRIC, ELEMENTS).unwrap());
    warm(move || observer.observe(isa.into(), &x).unwrap())
}

fn words(isa: Isa) -> Call {
    let mut out = vec![0; ELEMENTS];
    warm(move || fill_words(isa, Stream::new(1), &mut out).unwrap())
}

fn reported(isa: Isa) -> Call {
    let (x, params) = (reals(), params());
    warm(move || {
        std::hint::black_box(quantization_error(isa, &x, &params).unwrap());
    })
}

fn differentiated(isa: Isa, granularity: Granularity, with_zero_points: bool) -> Call {
    let groups = granularity.groups(ELEMENTS).unwrap();
    let scales = (0..groups).map(|group| 0.0129 + (group % 100) as f32 * 1e-5).collect();
    let params = QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, scales, vec![117; groups]).unwrap();
    let (x, gradient, mut out) = (reals(), reals(), vec![0.0; ELEMENTS]);
    let (mut scales, mut zero_points) = (vec![0.0; groups], vec![0.0; groups]);
    warm(move || {
        let zero_points = with_zero_points.then_some(&mut zero_points[..]);
        let gradients = Gradients { x: &mut out, scales: &mut scales, zero_points };
        fake_quantize_gradients(isa, &x, &gradient, &params, Rounding::Nearest, gradients).unwrap();
    })
}

fn clipped(isa: Isa) -> Call {
    let (x, gradient, mut out, mut bounds) = (reals(), reals(), vec![0.0; ELEMENTS], [0.0]);
    let clip = ClipBounds::symmetric(Granularity::Tensor, &[1.5]).unwrap();
    warm(move || {
        clip_gradients(isa, &x, &gradient, &clip, ClipGradients { x: &mut out, bounds: &mut bounds }).unwrap();
    })
}

fn quantized_into_nibbles(isa: Isa) -> Call {
    let params = QuantParams::per_tensor(CodeRange::unsigned(4).unwrap(), 0.21, 7).unwrap();
    let (x, mut bytes) = (reals(), vec![0; ELEMENTS / 2]);
    warm(move || {
        quantize(isa, &x, &params, Rounding::Nearest, PackedCodesMut::four_bits(&mut bytes, ELEMENTS).unwrap()).unwrap()
    })
}

fn encoded(isa: Isa, format: BlockFormat) -> Call {
    let (x, mut bytes) = (reals(), vec![0; format.bytes(ELEMENTS).unwrap()]);
    warm(move || encode_blocks(isa, format, &x, &mut bytes).unwrap())
}

fn decoded(isa: Isa, format: BlockFormat) -> Call {
    let (bytes, mut out) = (bytes(format.bytes(ELEMENTS).unwrap()), vec![0.0; ELEMENTS]);
    warm(move || decode_blocks(isa, format, &bytes, &mut out).unwrap())
}

fn weights_in_groups(isa: Isa, bits: u32, [m, n, k]: [usize; 3]) -> Call {
    let (x, scales) = (reals(), vec![0.01; n * k / 32]);
    let codes: Vec<u8> = bytes(n * k).into_iter().map(|byte| byte >> (8 - bits)).collect();
    let zero_points = vec![1 << (bits - 1); scales.len()];
    let weights = Weights::new(Matrix::new(&codes, n, k).unwrap(), CodeRange::unsigned(bits).unwrap(), 32, &scales);
    let packed = PackedWeights::pack(isa, &weights.unwrap().with_zero_points(&zero_points).unwrap()).unwrap();
    let mut out = vec![0.0; m * n];
    warm(move || {
        let x = Activations::reals(Matrix::new(&x[..m * k], m, k).unwrap(), Scheme::SYMMETRIC);
        groups::matmul(isa, &x, &packed, &RealStage::new(), &mut out).unwrap();
    })
}
