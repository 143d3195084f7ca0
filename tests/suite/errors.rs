//! Every error once, and the output as it was.

use crate::common::{every_isa, quantize_dynamic};
#[cfg(feature = "rayon")]
use zeropoint::Exec;
use zeropoint::fp8::{Fp8, Fp8Params};
use zeropoint::layers::{ConvTranspose2d, Linear, MaxPool2d, Window};
use zeropoint::random::{fill_uniform, fill_words};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, CodeRange, Error, Granularity, Isa, Matrix, MatrixMut, PackedCodesMut, PackedMatrix, QuantParams,
    Quantized, Range, Requantize, Rounding, Rule, Scheme, Stream, abs_max, dequantize, fake_quantize,
    fake_quantize_in_place, min_max, quantize, ranges, raw, straight_through, straight_through_in_place,
};

/// The error, and its one line for people.
#[track_caller]
fn refused<T>(result: Result<T, Error>, expected: &Error) {
    let error = result.err().expect("refused");
    // NaN differs from itself: compare the text.
    assert_eq!(format!("{error:?}"), format!("{expected:?}"));
    assert!(!error.to_string().contains('\n'));
}

fn per_tensor() -> QuantParams<u8> {
    QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 10).unwrap()
}

#[test]
fn lengths_of_tensors() {
    let rows = Granularity::channel(&[2, 3], 1).unwrap();
    let by_channel = QuantParams::new(CodeRange::unsigned(8).unwrap(), rows, vec![1.0; 3], vec![0; 3]).unwrap();
    every_isa(|isa| {
        let (mut codes, mut out) = ([7_u8; 4], [7.0_f32; 4]);
        let length = |what, expected, found| Error::Length { what, expected, found };
        refused(quantize(isa, &[1.0; 5], &per_tensor(), Rounding::Nearest, &mut codes), &length("the output", 5, 4));
        refused(dequantize(isa, &[1; 5], &per_tensor(), &mut out), &length("the output", 5, 4));
        refused(fake_quantize(isa, &[1.0; 3], &per_tensor(), Rounding::Nearest, &mut out), &length("the output", 3, 4));
        refused(straight_through(isa, &[1.0; 4], &[1.0; 3], &per_tensor(), &mut out), &length("the gradient", 4, 3));
        let masked = fake_quantize(isa, &[1.0; 4], &per_tensor(), Rounding::Nearest, (&mut out, &mut [0; 5]));
        refused(masked, &length("the mask", 4, 5));
        let mut bytes = [7; 2];
        let packed = PackedCodesMut::<u8>::four_bits(&mut bytes, 4).unwrap();
        let masked = fake_quantize(isa, &[1.0; 4], &per_tensor(), Rounding::Nearest, (&mut out, packed));
        refused(masked, &Error::Shape { why: "a mask has a byte for every element", found: 4 });
        assert_eq!(bytes, [7; 2]);
        let mut dynamic = |x: &[f32]| {
            let range = CodeRange::unsigned(8).unwrap();
            quantize_dynamic(isa, x, range, Scheme::ASYMMETRIC, Granularity::Tensor, &mut codes)
        };
        refused(dynamic(&[1.0; 5]), &length("the output", 5, 4));
        let found = f32::INFINITY;
        refused(dynamic(&[1.0, 2.0, found, 1.0]), &Error::NonFinite { what: "the tensor", index: 2, found });
        let multiple = Error::Multiple { what: "the tensor", unit: 3, found: 4 };
        refused(quantize(isa, &[1.0; 4], &by_channel, Rounding::Nearest, &mut codes), &multiple);
        refused(ranges(isa, &[1.0; 4], rows), &multiple);
        let blocks = Granularity::block(&[2, 4], 2).unwrap();
        let blocks = QuantParams::new(CodeRange::unsigned(8).unwrap(), blocks, vec![1.0; 3], vec![0; 3]).unwrap();
        refused(quantize(isa, &[1.0; 4], &blocks, Rounding::Nearest, &mut codes), &length("scales", 2, 3));
        refused(fake_quantize_in_place(isa, &mut out, &by_channel, Rounding::Nearest), &multiple);
        refused(straight_through_in_place(isa, &[1.0; 3], &mut out, &per_tensor()), &length("the gradient", 3, 4));
        let x = Matrix::with_stride(&[1.0; 6], 2, 2, 4).unwrap();
        let narrow = MatrixMut::new(&mut codes[..2], 2, 1).unwrap();
        refused(quantize(isa, x, &per_tensor(), Rounding::Nearest, narrow), &length("the columns of the output", 2, 1));
        let low = MatrixMut::new(&mut out[..2], 1, 2).unwrap();
        refused(fake_quantize(isa, x, &per_tensor(), Rounding::Nearest, low), &length("the rows of the output", 2, 1));
        let whole = MatrixMut::new(&mut out, 2, 2).unwrap();
        refused(fake_quantize(isa, x, &by_channel, Rounding::Nearest, whole), &multiple);
        assert_eq!((codes, out), ([7; 4], [7.0; 4]), "untouched");
    });
}

#[test]
fn ends_of_streams() {
    let at = |offset| Stream { seed: 1, offset };
    let past = |offset, words| Error::Stream { offset, words };
    let stage = raw::requantize(Rule::Float, &[1.0], 0, 0_u8..=255).unwrap();
    every_isa(|isa| {
        let (mut codes, mut out, mut words) = ([7_u8; 4], [7.0_f32; 4], [7_u32; 4]);
        for offset in [u64::MAX, u64::MAX - 1, u64::MAX - 2] {
            let error = past(offset, 4);
            refused(quantize(isa, &[1.0; 4], &per_tensor(), at(offset), &mut codes), &error);
            refused(fake_quantize(isa, &[1.0; 4], &per_tensor(), at(offset), &mut out), &error);
            refused(fake_quantize_in_place(isa, &mut out, &per_tensor(), at(offset)), &error);
            refused(fill_words(isa, at(offset), &mut words), &error);
            refused(fill_uniform(isa, at(offset), &mut out), &error);
            let packed = raw::pack::<u8, i8>(isa, Matrix::new(&[1, 2], 1, 2).unwrap(), 0.into()).unwrap();
            let (a, c) = (Matrix::new(&[1, 2], 2, 1).unwrap(), MatrixMut::new(&mut codes, 2, 2).unwrap());
            refused(raw::matmul(isa, a, 0.into(), &packed, &stage.stochastic(at(offset)).unwrap(), c), &error);
            for groups in [1, 4] {
                let weights = vec![1_i8; 16 / groups];
                let shape = [4, 4 / groups, 1, 1];
                let conv = raw::conv2d::<u8, i8>(isa, &weights, shape, 0.into(), Window::new([1, 1]), groups).unwrap();
                let stage = stage.stochastic(at(offset)).unwrap();
                refused(
                    raw::convolve(
                        isa,
                        &conv,
                        raw::Images { codes: &[1; 4], shape: [1, 1, 1, 4], zero_points: 0.into() },
                        &stage,
                        &mut codes,
                    ),
                    &error,
                );
            }
            #[cfg(feature = "rayon")]
            {
                refused(quantize(Exec::from(isa).rayon(), &[1.0; 4], &per_tensor(), at(offset), &mut codes), &error);
                refused(fake_quantize(Exec::from(isa).rayon(), &[1.0; 4], &per_tensor(), at(offset), &mut out), &error);
                refused(fill_words(Exec::from(isa).rayon(), at(offset), &mut words), &error);
                refused(fill_uniform(Exec::from(isa).rayon(), at(offset), &mut out), &error);
                let c = MatrixMut::new(&mut codes, 2, 2).unwrap();
                refused(
                    raw::matmul(
                        Exec::from(isa).rayon(),
                        a,
                        0.into(),
                        &packed,
                        &stage.stochastic(at(offset)).unwrap(),
                        c,
                    ),
                    &error,
                );
            }
        }
        assert_eq!((codes, out, words), ([7; 4], [7.0; 4], [7; 4]), "untouched");
        // The lengths come first, and nothing needs no words.
        let length = Error::Length { what: "the output", expected: 5, found: 4 };
        refused(quantize(isa, &[1.0; 5], &per_tensor(), at(0), &mut codes), &length);
        refused(fake_quantize(isa, &[1.0; 5], &per_tensor(), at(0), &mut out), &length);
        assert_eq!(fill_words(isa, at(u64::MAX), &mut []), Ok(()));
        assert_eq!(fill_words(isa, at(u64::MAX), &mut words[..1]), Ok(()));
        assert_eq!(fill_words(isa, at(u64::MAX - 3), &mut words), Ok(()));
    });
    refused(at(u64::MAX - 1).skip(2), &past(u64::MAX - 1, 2));
    assert_eq!(at(u64::MAX - 1).skip(1), Ok(at(u64::MAX)));
}

#[test]
fn ranges_of_data() {
    every_isa(|isa| {
        refused(min_max(isa, &[]), &Error::Empty { what: "the tensor", group: None });
        refused(abs_max(isa, &[]), &Error::Empty { what: "the tensor", group: None });
        for found in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (at, number) in [0, 5, 17, 39].into_iter().flat_map(|at| [(at, 1.0), (at, -1.0)]) {
                let mut x = [number; 40];
                x[at] = found;
                let granularity = Granularity::channel(&[8, 5], 1).unwrap();
                refused(min_max(isa, &x), &Error::NonFinite { what: "the tensor", index: at, found });
                refused(abs_max(isa, &x), &Error::NonFinite { what: "the tensor", index: at, found });
                refused(ranges(isa, &x, granularity), &Error::NonFinite { what: "the tensor", index: at, found });
                // In short groups, and in the pieces of long ones.
                for (at, other) in [100, 1500, 4000].into_iter().flat_map(|at| [(at, number), (at, -number)]) {
                    let mut x = [number; 4096];
                    (x[at], x[0]) = (found, other);
                    refused(min_max(isa, &x), &Error::NonFinite { what: "the tensor", index: at, found });
                    let block = |length| Granularity::block(&[2, 2048], length).unwrap();
                    let columns = |channels| Granularity::channel(&[4096 / channels, channels], 1).unwrap();
                    for granularity in [block(32), block(48), block(2048), columns(8), columns(64), columns(1024)] {
                        refused(
                            ranges(isa, &x, granularity),
                            &Error::NonFinite { what: "the tensor", index: at, found },
                        );
                    }
                    // Every column had numbers of both kinds before.
                    for (i, x) in x[..at].iter_mut().enumerate() {
                        *x = if i / 64 % 2 == 0 { 1.0 } else { -1.0 };
                    }
                    refused(ranges(isa, &x, columns(8)), &Error::NonFinite { what: "the tensor", index: at, found });
                }
            }
        }
    });
}

#[test]
fn parameters() {
    let codes = CodeRange::unsigned(8).unwrap();
    for bits in [0, 1, 9, u32::MAX] {
        refused(CodeRange::unsigned(bits), &Error::Bits { bits, most: 8 });
        refused(CodeRange::signed(bits), &Error::Bits { bits, most: 8 });
        refused(CodeRange::narrow(bits), &Error::Bits { bits, most: 8 });
    }
    for bits in [0, 1, 17, 32, u32::MAX] {
        refused(CodeRange::unsigned16(bits), &Error::Bits { bits, most: 16 });
        refused(CodeRange::signed16(bits), &Error::Bits { bits, most: 16 });
        refused(CodeRange::narrow16(bits), &Error::Bits { bits, most: 16 });
    }
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
        refused(QuantParams::per_tensor(codes, scale, 0), &Error::Scale { index: 0, scale });
        let rows = Granularity::channel(&[3, 2], 0).unwrap();
        refused(QuantParams::new(codes, rows, vec![1.0, 2.0, scale], vec![0; 3]), &Error::Scale { index: 2, scale });
        refused(raw::DequantizeColumns::new(&[1.0, scale], None), &Error::Scale { index: 1, scale });
        let columns = raw::DequantizeColumns::new(&[1.0], None).unwrap();
        refused(columns.rows(&[1.0, scale]), &Error::Scale { index: 1, scale });
    }
    for zero_point in [-1, 256, i32::MIN] {
        let outside = |index| Error::ZeroPoint { index, zero_point, min: 0, max: 255 };
        refused(QuantParams::per_tensor(codes, 1.0, zero_point), &outside(0));
        let rows = Granularity::channel(&[3, 2], 0).unwrap();
        refused(QuantParams::new(codes, rows, vec![1.0; 3], vec![0, zero_point, zero_point]), &outside(1));
    }
    let narrow = CodeRange::narrow(4).unwrap();
    refused(QuantParams::per_tensor(narrow, 1.0, -8), &Error::ZeroPoint { index: 0, zero_point: -8, min: -7, max: 7 });
    let rows = Granularity::channel(&[4, 2], 0).unwrap();
    refused(
        QuantParams::new(codes, rows, vec![1.0; 3], vec![0; 4]),
        &Error::Length { what: "scales", expected: 4, found: 3 },
    );
    refused(
        QuantParams::new(codes, rows, vec![1.0; 4], vec![0; 5]),
        &Error::Length { what: "zero points", expected: 4, found: 5 },
    );
    for range in [Range { min: f32::NAN, max: 1.0 }, Range { min: 0.0, max: f32::INFINITY }] {
        let found = if range.min.is_nan() { range.min } else { range.max };
        refused(Scheme::ASYMMETRIC.parameters(codes, range), &Error::NonFinite { what: "the range", index: 0, found });
    }
    let (min, max) = (1.0, -1.0);
    let why = "the minimum is above the maximum";
    refused(Scheme::ASYMMETRIC.parameters(codes, Range { min, max }), &Error::Range { index: 0, min, max, why });
    let (min, max) = (-1.0, 1.0);
    let why = "unsigned codes with zero offset cannot represent negative numbers";
    refused(Scheme::SYMMETRIC.parameters(codes, Range { min, max }), &Error::Range { index: 0, min, max, why });
    let (min, max) = (-f32::MAX, f32::MAX);
    let why = "its scale is above the largest f32";
    let two_bits = CodeRange::signed(2).unwrap();
    refused(
        Scheme::SHIFT_SYMMETRIC.parameters(two_bits, Range { min, max }),
        &Error::Range { index: 0, min, max, why },
    );

    refused(Granularity::channel(&[2, 3], 2), &Error::Shape { why: "the shape has no such axis", found: 2 });
    refused(Granularity::block(&[], 2), &Error::Shape { why: "the shape has no innermost axis", found: 0 });
    let why = "a block has no length";
    refused(Granularity::block(&[2, 4], 0), &Error::Shape { why, found: 0 });
    refused(Granularity::block_along(&[2, 4], 0, 0), &Error::Shape { why, found: 0 });
    refused(Granularity::block_along(&[2, 4], 2, 1), &Error::Shape { why: "the shape has no such axis", found: 2 });
    let no_length = Granularity::Block { length: 0, axis: 1, inner: 1 };
    refused(QuantParams::new(codes, no_length, vec![], vec![]), &Error::Shape { why, found: 0 });
    refused(no_length.groups(4), &Error::Shape { why, found: 0 });
    every_isa(|isa| refused(ranges(isa, &[1.0; 4], no_length), &Error::Shape { why, found: 0 }));
    // Axes without length are for empty tensors.
    for empty in [
        Granularity::Channel { channels: 0, inner: 1 },
        Granularity::Channel { channels: 1, inner: 0 },
        Granularity::Block { length: 1, axis: 0, inner: 1 },
        Granularity::Block { length: 1, axis: 0, inner: 3 },
        Granularity::Block { length: 1, axis: 3, inner: 0 },
    ] {
        let multiple = Error::Multiple { what: "the tensor", unit: 0, found: 4 };
        refused(empty.groups(4), &multiple);
        every_isa(|isa| refused(ranges(isa, &[1.0; 4], empty), &multiple));
    }
    let huge = Granularity::channel(&[2, usize::MAX, usize::MAX], 1).unwrap();
    let multiple = Error::Multiple { what: "the tensor", unit: usize::MAX, found: 4 };
    refused(huge.groups(4), &multiple);
    every_isa(|isa| {
        let codes = CodeRange::unsigned(8).unwrap();
        refused(quantize_dynamic(isa, &[1.0; 4], codes, Scheme::ASYMMETRIC, huge, &mut [0; 4]), &multiple);
        // (An empty tensor of so many channels would have as many scales, which no data bounds.)
        for found in [usize::MAX, 1 << 21, (1 << 20) + 1] {
            let codes_of_none: &mut [u8] = &mut [];
            let many = Granularity::channel(&[0, found], 1).unwrap();
            let none = quantize_dynamic(isa, &[], codes, Scheme::ASYMMETRIC, many, codes_of_none);
            let error = Error::Shape { why: "an empty tensor has more than 2²⁰ groups", found };
            refused(none, &error);
            refused(Fp8Params::fit(isa, &[], Fp8::E4M3, many), &error);
        }
    });
}

#[test]
fn stages() {
    let of_bytes = |rule, multipliers: &[f64]| raw::requantize(rule, multipliers, 0, 0_u8..=255);
    let bad = [f64::NAN, f64::INFINITY, -1.0];
    // The last one is below 2³⁰ and rounds up to it.
    let too_large = [2_f64.powi(30), 2_f64.powi(30) - 0.12];
    for multiplier in bad.into_iter().chain(too_large) {
        let error = |index| Error::Multiplier { index, multiplier, why: "not in 0 … 2³⁰" };
        refused(raw::quantize_multiplier(multiplier), &error(0));
        refused(of_bytes(Rule::FixedPoint, &[0.5, multiplier]), &error(1));
        refused(of_bytes(Rule::HalfAway, &[multiplier]), &error(0));
        refused(of_bytes(Rule::Gemmlowp, &[multiplier]), &error(0));
    }
    for multiplier in bad.into_iter().chain([1e39]) {
        let why = "not a finite f32 of at least 0";
        refused(of_bytes(Rule::Float, &[0.5, 1.0, multiplier]), &Error::Multiplier { index: 2, multiplier, why });
    }
    for multiplier in bad.into_iter().chain([0.0, 2.0, 0.75, 2_f64.powi(-32)]) {
        let why = "not a power of two in 2⁻³¹ … 1";
        refused(of_bytes(Rule::Shift, &[0.5, multiplier]), &Error::Multiplier { index: 1, multiplier, why });
    }
    for rule in [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp, Rule::Shift] {
        refused(of_bytes(rule, &[]), &Error::Empty { what: "multipliers", group: None });
        let stochastic = of_bytes(rule, &[0.5]).unwrap().stochastic(Stream::new(1));
        let why = "stochastic rounding of a result needs Rule::Float";
        assert_eq!(stochastic.err(), if rule == Rule::Float { None } else { Some(Error::Rounding { why }) });
    }
    let huge = raw::DequantizeColumns::new(&[1.0, f32::MAX], None).unwrap();
    refused(huge.rows(&[0.5, 2.0]), &Error::Scale { index: 1, scale: f32::INFINITY });
    // A product that underflows is a number all the same.
    assert!(raw::DequantizeColumns::new(&[1e-30], None).unwrap().rows(&[1e-30]).is_ok());
    refused(raw::DequantizeColumns::new(&[], None), &Error::Empty { what: "scales", group: None });
    refused(
        raw::DequantizeColumns::new(&[1.0], Some(&[0.0, f32::INFINITY])),
        &Error::NonFinite { what: "the bias", index: 1, found: f32::INFINITY },
    );
    refused(
        raw::requantize(Rule::Float, &[0.5], 300, 0_u8..=255),
        &Error::ZeroPoint { index: 0, zero_point: 300, min: 0, max: 255 },
    );
    #[allow(clippy::reversed_empty_ranges, reason = "what is refused")]
    let empty = 9_u8..=3;
    refused(raw::requantize(Rule::Float, &[0.5], 3, empty.clone()), &Error::Bounds { min: 9, max: 3 });
    refused(of_bytes(Rule::Float, &[0.5]).unwrap().bounds(empty), &Error::Bounds { min: 9, max: 3 });
}

#[test]
fn products() {
    let length = |what, expected, found| Error::Length { what, expected, found };
    refused(Matrix::new(&[0_u8; 5], 2, 3), &length("the matrix", 6, 5));
    refused(Matrix::new(&[0_u8; 5], usize::MAX, 3), &length("the matrix", usize::MAX, 5));
    refused(Matrix::with_stride(&[0_u8; 5], 2, 2, 4), &length("the matrix", 6, 5));
    refused(Matrix::with_stride(&[0_u8; 5], 2, 2, 1), &Error::Stride { stride: 1, columns: 2 });
    refused(MatrixMut::new(&mut [0_u8; 5], 2, 3), &length("the matrix", 6, 5));
    refused(MatrixMut::with_stride(&mut [0_u8; 5], 2, 2, 1), &Error::Stride { stride: 1, columns: 2 });
    every_isa(|isa| {
        let b = Matrix::new(&[1_i8; 6], 3, 2).unwrap();
        let pack = |zero_points: raw::ZeroPoints<'_>| raw::pack::<u8, i8>(isa, b, zero_points);
        refused(pack(200.into()), &Error::ZeroPoint { index: 0, zero_point: 200, min: -128, max: 127 });
        refused(
            pack([0, -129].as_slice().into()),
            &Error::ZeroPoint { index: 1, zero_point: -129, min: -128, max: 127 },
        );
        refused(pack([0; 3].as_slice().into()), &length("zero points", 2, 3));
        refused(pack(0.into()).unwrap().with_accumulator_bias(&[1; 3]), &length("the bias", 2, 3));

        let packed = pack(0.into()).unwrap();
        let mut c = [7; 4];
        let mut run = |a: Matrix<'_, u8>,
                       zero_points: raw::ZeroPoints<'_>,
                       packed: &PackedMatrix<u8, i8>,
                       rows,
                       columns,
                       error: &Error| {
            let out = MatrixMut::with_stride(&mut c, rows, columns, columns).unwrap();
            refused(raw::matmul(isa, a, zero_points, packed, &Accumulators, out), error);
        };
        let a = Matrix::new(&[1_u8; 6], 2, 3).unwrap();
        run(
            Matrix::new(&[1_u8; 8], 2, 4).unwrap(),
            0.into(),
            &packed,
            2,
            2,
            &length("the depth of the activations", 3, 4),
        );
        run(a, 0.into(), &packed, 1, 2, &length("the result's rows", 2, 1));
        run(a, 0.into(), &packed, 2, 1, &length("the result's columns", 2, 1));
        run(a, (-1).into(), &packed, 2, 2, &Error::ZeroPoint { index: 0, zero_point: -1, min: 0, max: 255 });
        run(a, [0; 1].as_slice().into(), &packed, 2, 2, &length("zero points", 2, 1));

        // The depth: K · 255 · 128 stays inside i32 to K = 65 793; zero points at the far end and a bias cost some.
        let deep = |depth: usize, zero_point: i32, bias: i32| {
            let b = vec![0_i8; depth];
            let packed = raw::pack::<u8, i8>(isa, Matrix::new(&b, depth, 1).unwrap(), zero_point.into()).unwrap();
            packed.with_accumulator_bias(&[bias]).unwrap()
        };
        let zeros = vec![0_u8; 70_000];
        for (zero_point, bias, limit) in
            [(0, 0, 65_793), (-128, 0, 33_025), (0, i32::MAX, 0), (0, i32::MIN, 0), (0, -65_280, 65_791)]
        {
            let a = Matrix::new(&zeros[..limit + 1], 1, limit + 1).unwrap();
            let error = Error::Depth { row: 0, channel: 0, depth: limit + 1, limit };
            run(a, 0.into(), &deep(limit + 1, zero_point, bias), 1, 1, &error);
            if bias != i32::MIN {
                let a = Matrix::new(&zeros[..limit], 1, limit).unwrap();
                let mut sum = [0];
                let out = MatrixMut::new(&mut sum, 1, 1).unwrap();
                raw::matmul(isa, a, 0.into(), &deep(limit, zero_point, bias), &Accumulators, out).unwrap();
            }
        }
        // The row and the channel at fault: by their zero points, or by the bias.
        let (zeros, none) = (vec![0_u8; 2 * 40_000], [0_i8; 2 * 40_000]);
        let (rows, b) = (Matrix::new(&zeros, 2, 40_000).unwrap(), Matrix::new(&none, 40_000, 2).unwrap());
        let by_zero_point = raw::pack::<u8, i8>(isa, b, [0, -128].as_slice().into()).unwrap();
        let error = |row| Error::Depth { row, channel: 1, depth: 40_000, limit: 33_025 };
        run(rows, [255, 0].as_slice().into(), &by_zero_point, 2, 2, &error(0));
        run(rows, [128, 255].as_slice().into(), &by_zero_point, 2, 2, &error(1));
        let by_bias = raw::pack::<u8, i8>(isa, b, 0.into()).unwrap().with_accumulator_bias(&[5, i32::MIN]).unwrap();
        run(
            rows,
            [128, 0].as_slice().into(),
            &by_bias,
            2,
            2,
            &Error::Depth { row: 1, channel: 1, depth: 40_000, limit: 0 },
        );
        let unpacked = raw::unpacked::<u8, i8>(isa, b, [0, -128].as_slice().into()).unwrap();
        let out = MatrixMut::new(&mut c, 2, 2).unwrap();
        refused(raw::matmul(isa, rows, [128, 255].as_slice().into(), &unpacked, &Accumulators, out), &error(1));
        assert_eq!(c, [7; 4], "untouched");

        let mut codes = [7_u8; 4];
        let out = MatrixMut::new(&mut codes, 2, 2).unwrap();
        let stage = raw::requantize(Rule::FixedPoint, &[0.5; 3], 0, 0_u8..=255).unwrap();
        refused(raw::matmul(isa, a, 0.into(), &packed, &stage, out), &length("multipliers", 2, 3));
        assert_eq!(codes, [7; 4], "untouched");
        let mut real = [7.0; 4];
        let columns = raw::DequantizeColumns::new(&[1.0, 1.0], Some(&[0.0; 3])).unwrap();
        let out = MatrixMut::new(&mut real, 2, 2).unwrap();
        refused(raw::matmul(isa, a, 0.into(), &packed, &columns.rows(&[1.0]).unwrap(), out), &length("the bias", 2, 3));
        let out = MatrixMut::new(&mut real, 2, 2).unwrap();
        refused(
            raw::matmul(isa, a, 0.into(), &packed, &columns.rows(&[1.0; 3]).unwrap(), out),
            &length("activation scales", 2, 3),
        );
        assert_eq!(real, [7.0; 4], "untouched");

        let linear = Linear::from(
            raw::pack_transposed::<u8, i8>(isa, Matrix::new(&[0_i8; 6], 2, 3).unwrap(), 0.into()).unwrap(),
        );
        refused(linear.with_accumulator_bias(&[0; 3]), &length("the bias", 2, 3));
    });
}

#[test]
fn layers() {
    let window = Window::new([2, 2]);
    let shape = |why, found| Error::Shape { why, found };
    every_isa(|isa| {
        let conv = |weights: &[i8], weights_shape, window, groups| {
            raw::conv2d::<u8, i8>(isa, weights, weights_shape, 0.into(), window, groups)
        };
        refused(conv(&[0; 3], [1, 1, 2, 2], window, 1), &Error::Length { what: "weights", expected: 4, found: 3 });
        let why = "the weights' height and width are the window's";
        refused(conv(&[0; 9], [1, 1, 3, 3], window, 1), &shape(why, 3));
        let why = "the outputs are not a multiple of the groups";
        refused(conv(&[0; 12], [3, 1, 2, 2], window, 2), &shape(why, 2));
        refused(conv(&[0; 12], [3, 1, 2, 2], window, 0), &shape(why, 0));
        for (channels, groups) in [(2, 1), (1, 3)] {
            let weights = vec![1; 3 * channels * 4];
            let conv = conv(&weights, [3, channels, 2, 2], window, groups).unwrap();
            let channels = channels * groups;
            let images = vec![1_u8; 9 * channels];
            let mut out = vec![7; 4 * 3];
            let mut run = |images: &[u8], image: [usize; 4], zero_point: i32, error: &Error| {
                refused(
                    raw::convolve(
                        isa,
                        &conv,
                        raw::Images { codes: images, shape: image, zero_points: zero_point.into() },
                        &Accumulators,
                        &mut out,
                    ),
                    error,
                );
            };
            let why = "the image's channels are not the weights'";
            run(&images, [1, 3, 3, channels + 1], 0, &shape(why, channels + 1));
            run(&images, [1, 1, 3, channels], 0, &shape("the window is larger than the padded image", 1));
            let expected = 9 * channels;
            run(
                &images[1..],
                [1, 3, 3, channels],
                0,
                &Error::Length { what: "the images", expected, found: expected - 1 },
            );
            run(&images, [1, 3, 3, channels], 256, &Error::ZeroPoint { index: 0, zero_point: 256, min: 0, max: 255 });
            let found = 4 * 3;
            let two = [images.as_slice(), &images].concat();
            run(&two, [2, 3, 3, channels], 0, &Error::Length { what: "the matrix", expected: 2 * found, found });
            let stage = raw::requantize(Rule::FixedPoint, &[0.5; 2], 0, 0_u8..=255).unwrap();
            let mut codes = vec![7; found];
            let error = Error::Length { what: "multipliers", expected: 3, found: 2 };
            refused(
                raw::convolve(
                    isa,
                    &conv,
                    raw::Images { codes: &images, shape: [1, 3, 3, channels], zero_points: 0.into() },
                    &stage,
                    &mut codes,
                ),
                &error,
            );
            assert!(out.iter().all(|&sum| sum == 7) && codes.iter().all(|&code| code == 7), "untouched");
            refused(conv.with_accumulator_bias(&[0; 2]), &Error::Length { what: "the bias", expected: 3, found: 2 });
        }
        // A sum too deep in the second group leaves the first group's outputs alone too.
        let (weights, point) = (vec![0_i8; 80_000], Window::new([1, 1]));
        let zero_points = [0, -128].as_slice().into();
        let conv = raw::conv2d::<u8, i8>(isa, &weights, [2, 40_000, 1, 1], zero_points, point, 2).unwrap();
        let mut out = [7; 2];
        let error = Error::Depth { row: 0, channel: 1, depth: 40_000, limit: 33_025 };
        refused(
            raw::convolve(
                isa,
                &conv,
                raw::Images { codes: &vec![0_u8; 80_000], shape: [1, 1, 1, 80_000], zero_points: 0.into() },
                &Accumulators,
                &mut out,
            ),
            &error,
        );
        // Depthwise sums have a limit too.
        let conv = raw::conv2d::<u8, i8>(isa, &[1, 1], [2, 1, 1, 1], 0.into(), point, 2).unwrap();
        let conv = conv.with_accumulator_bias(&[0, i32::MAX]).unwrap();
        let error = Error::Depth { row: 0, channel: 1, depth: 1, limit: 0 };
        refused(
            raw::convolve(
                isa,
                &conv,
                raw::Images { codes: &[1, 1], shape: [1, 1, 1, 2], zero_points: 0.into() },
                &Accumulators,
                &mut out,
            ),
            &error,
        );
        // Of two images of two pixels each, the second, by its first pixel. (Channels have zero points for all images.)
        let images = |zero_points| raw::Images { codes: &[1; 8], shape: [2, 1, 2, 2], zero_points };
        let by_image = raw::ImageZeroPoints::PerImage(&[128, 0]);
        refused(
            raw::convolve(isa, &conv, images(by_image), &Accumulators, &mut [7; 8]),
            &Error::Depth { row: 2, channel: 1, depth: 1, limit: 0 },
        );
        let by_channel = raw::ImageZeroPoints::PerChannel(&[128, 0]);
        refused(raw::convolve(isa, &conv, images(by_channel), &Accumulators, &mut [7; 8]), &error);
        assert_eq!(out, [7; 2], "untouched");
        for (weights_shape, size, groups) in [([0, 1, usize::MAX, 2], [3, 3], 1), ([0, 0, 1, 1], [1, 1], usize::MAX)] {
            let why = "an axis of the weights has no length";
            let result = raw::conv2d::<u8, i8>(isa, &[], weights_shape, 0.into(), Window::new(size), groups);
            refused(result, &shape(why, 0));
        }
        let transposed = |weights_shape: [usize; 4], window, groups| {
            let weights = vec![1; weights_shape.iter().product()];
            raw::conv_transpose2d::<u8, i8>(isa, &weights, weights_shape, 0.into(), window, groups)
        };
        refused(transposed([3, 1, 2, 2], window, 2), &shape("the channels are not a multiple of the groups", 2));
        refused(transposed([2, 1, 2, 2], window, 0), &shape("the channels are not a multiple of the groups", 0));
        refused(transposed([1, 1, 2, 3], window, 1), &shape("the weights' height and width are the window's", 2));
        // Windows that no image goes with, of either kind.
        let conv = |window| raw::conv2d::<u8, i8>(isa, &[1; 4], [1, 1, 2, 2], 0.into(), window, 1);
        let at_least_one = "a window's size, stride and dilation are at least 1";
        for (window, why, found) in [
            (Window { stride: [0, 1], ..window }, at_least_one, 0),
            (Window { stride: [1, 0], ..window }, at_least_one, 0),
            (Window { dilation: [0, 1], ..window }, at_least_one, 0),
            (Window { dilation: [1, 0], ..window }, at_least_one, 0),
            (Window { dilation: [1, usize::MAX], ..window }, "the window is longer than isize::MAX", usize::MAX),
            (
                Window { dilation: [1 << (usize::BITS - 1), 1], ..window },
                "the window is longer than isize::MAX",
                (1 << (usize::BITS - 1)) + 1,
            ),
            (
                Window { padding: [0, usize::MAX / 2, 0, 1], ..window },
                "the padding is longer than isize::MAX",
                1 << (usize::BITS - 1),
            ),
            (Window { padding: [1, 0, usize::MAX, 0], ..window }, "the padding is longer than isize::MAX", usize::MAX),
        ] {
            refused(conv(window), &shape(why, found));
            refused(transposed([1, 1, 2, 2], window, 1), &shape(why, found));
        }
        let trimmed = transposed([1, 1, 2, 2], Window { padding: [0, 2, 0, 1], ..window }, 1).unwrap();
        refused(trimmed.output_shape([1, 2, 2, 1]), &shape("the padding trims the whole result", 3));
        refused(trimmed.output_shape([1, 2, 2, 2]), &shape("the image's channels are not the weights'", 2));
        let strides = transposed([1, 1, 2, 2], Window { stride: [usize::MAX / 8, 1], ..window }, 1).unwrap();
        refused(strides.output_shape([1, 100, 2, 1]), &shape("the result is longer than isize::MAX", usize::MAX));
        refused(trimmed.with_accumulator_bias(&[0; 2]), &Error::Length { what: "the bias", expected: 1, found: 2 });
        let by_input = Granularity::channel(&[2, 1, 2, 2], 0).unwrap();
        let params = QuantParams::new(CodeRange::narrow(8).unwrap(), by_input, vec![1.0; 2], vec![0; 2]).unwrap();
        let result = ConvTranspose2d::<u8, i8>::new(isa, &[1; 8], [2, 1, 2, 2], &params, window, 1);
        refused(result, &shape("the parameters are neither per tensor nor per output", 2));
        let deep = transposed([40_000, 2, 1, 1], point, 1).unwrap().with_accumulator_bias(&[0, i32::MAX]).unwrap();
        let mut sums = [7; 2];
        let images = raw::Images { codes: &vec![0_u8; 40_000], shape: [1, 1, 1, 40_000], zero_points: 0.into() };
        let error = Error::Depth { row: 0, channel: 1, depth: 40_000, limit: 0 };
        refused(raw::convolve(isa, &deep, images, &Accumulators, &mut sums), &error);
        assert_eq!(sums, [7; 2], "untouched");

        let pool = MaxPool2d::new(window);
        let mut out = [7_u8; 3];
        refused(
            pool.forward(isa, &[0; 9], [1, 3, 3, 1], &mut out),
            &Error::Length { what: "out", expected: 4, found: 3 },
        );
        refused(
            pool.forward(isa, &[0; 8], [1, 3, 3, 1], &mut out),
            &Error::Length { what: "the images", expected: 9, found: 8 },
        );
        assert_eq!(out, [7; 3], "untouched");
    });
    for zero in [Window { stride: [0, 1], ..window }, Window { dilation: [1, 0], ..window }, Window::new([0, 1])] {
        let why = "a window's size, stride and dilation are at least 1";
        refused(zero.output_size([4, 4]), &shape(why, 0));
    }
    let padded = MaxPool2d::new(Window { padding: [0, 0, 0, 2], ..window });
    refused(padded.output_shape([1, 3, 3, 1]), &shape("a window lies in the padding alone", 3));
    let dilated = MaxPool2d::new(Window { padding: [1, 0, 1, 0], dilation: [4, 1], ..window });
    refused(dilated.output_shape([1, 3, 3, 1]), &shape("a window lies in the padding alone", 3));
    let beyond = MaxPool2d::new(Window { stride: [3, 3], padding: [1, 1, 3, 3], ..Window::new([3, 3]) });
    let mut out = [7_u8; 9];
    let error = shape("a window lies in the padding alone", 5);
    every_isa(|isa| refused(beyond.forward(isa, &[1; 25], [1, 5, 5, 1], &mut out), &error));
    assert_eq!(out, [7; 9], "untouched");
    let far = Window { padding: [usize::MAX, 0, 1, 0], ..window };
    refused(far.output_size([1, 2]), &shape("the padded image is longer than isize::MAX", usize::MAX));
    let pool = MaxPool2d::new(Window::new([1, 1]));
    let (expected, mut out) = (usize::MAX / 4, [0_u8]);
    let error = Error::Length { what: "the images", expected, found: 1 };
    every_isa(|isa| refused(pool.forward(isa, &[0], [1, expected, 1, 1], &mut out), &error));
}

/// Scales that a bias, or a stage, was not made for: the first row, or channel, that has one.
#[test]
fn operands() {
    let u8_params = |granularity, scales: &[f32]| {
        QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, scales.to_vec(), vec![0; scales.len()]).unwrap()
    };
    let w_params = |scales: &[f32]| {
        let rows = Granularity::channel(&[3, 2], 0).unwrap();
        QuantParams::new(CodeRange::signed(8).unwrap(), rows, scales.to_vec(), vec![0; 3]).unwrap()
    };
    let x = u8_params(Granularity::Tensor, &[0.5]);
    let by_row = u8_params(Granularity::channel(&[2, 2], 0).unwrap(), &[0.5, 0.25]);
    let operand = |index, why| Error::Operand { index, why };
    let of_bias = operand(1, "the bias was quantized for activations of another scale");
    let of_activations = operand(1, "the stage was made for activations of another scale");
    let of_weights = operand(2, "the stage was made for weights of other scales");
    every_isa(|isa| {
        let linear = |scales: &[f32]| {
            let params = w_params(scales);
            Linear::<u8, i8>::new(isa, Quantized::new(Matrix::new(&[1; 6], 3, 2).unwrap(), &params).unwrap()).unwrap()
        };
        let (layer, other) = (linear(&[0.5, 0.25, 1.0]), linear(&[0.5, 0.25, 2.0]));
        let stage = Requantize::new(&layer, &x, &x, Rule::Float).unwrap();
        let mut out = [7; 6];
        let mut run = |layer: &Linear<u8, i8>, params: &QuantParams<u8>, error: &Error| {
            let x = Quantized::new(Matrix::new(&[1; 4], 2, 2).unwrap(), params).unwrap();
            refused(layer.forward(isa, x, &stage, MatrixMut::new(&mut out, 2, 3).unwrap()), error);
        };
        run(&layer, &by_row, &of_activations);
        run(&other, &x, &of_weights);
        run(&layer.clone().with_bias(&[1.0; 3], &x).unwrap(), &by_row, &of_bias);
        assert_eq!(out, [7; 6], "untouched");
    });
}

/// Groups of which nothing finite was seen, where others have a range.
#[test]
fn empty_groups() {
    use zeropoint::calibrate::{AbsMax, MinMax, Moments, NonFinite, Observer, Spread, group_ranges};
    let empty = |group| Error::Empty { what: "what was observed", group };
    let rows = Granularity::channel(&[3, 2], 0).unwrap();
    let x = [1.0, f32::NAN, f32::NAN, f32::INFINITY, f32::NAN, f32::NAN];
    every_isa(|isa| {
        let mut min_max = MinMax::new(rows).non_finite(NonFinite::Skip);
        refused(min_max.ranges(), &empty(None));
        min_max.observe(isa.into(), &x).unwrap();
        refused(min_max.ranges(), &empty(Some(1)));
        refused(min_max.range(), &empty(Some(1)));
        let mut abs_max = AbsMax::new(rows).non_finite(NonFinite::Skip);
        abs_max.observe(isa.into(), &[f32::NAN; 6]).unwrap();
        refused(abs_max.ranges(), &empty(None));
        abs_max.observe(isa.into(), &[1.0, 2.0, 3.0, 4.0, f32::NAN, f32::NAN]).unwrap();
        refused(abs_max.ranges(), &empty(Some(2)));
        let observer = Moments::new(Spread::Deviations(3.0)).unwrap().non_finite(NonFinite::Skip);
        refused(group_ranges(isa, &x, rows, &observer), &empty(Some(1)));
        refused(group_ranges(isa, &[f32::NAN], Granularity::Tensor, &observer), &empty(None));
    });
    assert!(empty(Some(2)).to_string().contains("group 2"));
}

#[test]
fn isas() {
    let supported = Isa::supported().into_iter().map(Isa::name).collect();
    let name = "avx9".to_owned();
    let error = Error::Isa { name, supported };
    refused(Isa::named("avx9"), &error);
    assert!(Isa::supported().iter().all(|isa| error.to_string().contains(isa.name())));
}

#[test]
fn biases() {
    refused(raw::quantize_bias(&[1.0], 0.0, &[1.0]), &Error::Scale { index: 0, scale: 0.0 });
    refused(raw::quantize_bias(&[1.0; 2], 1.0, &[1.0, f32::NAN]), &Error::Scale { index: 1, scale: f32::NAN });
    refused(raw::quantize_bias(&[1.0], 1.0, &[]), &Error::Length { what: "weight scales", expected: 1, found: 0 });
    let error = Error::Length { what: "weight scales", expected: 3, found: 2 };
    refused(raw::quantize_bias(&[1.0; 3], 1.0, &[1.0; 2]), &error);
    let found = f32::NAN;
    refused(raw::quantize_bias(&[0.0, found], 1.0, &[1.0]), &Error::NonFinite { what: "the bias", index: 1, found });
    refused(raw::quantize_bias(&[-1e10], 1.0, &[1.0]), &Error::Bias { index: 0, bias: -1e10, code: -1e10 });
    // A channel of weights that are almost nothing (onnxruntime#22020).
    let error = raw::quantize_bias(&[1.0, 5.0], 0.1, &[0.1, 7.843e-10]).unwrap_err();
    assert!(
        matches!(error, Error::Bias { index: 1, bias: 5.0, .. }) && error.to_string().contains("channel 1"),
        "{error}"
    );
    // Ties to even, in units of 0.5 · 0.5.
    assert_eq!(raw::quantize_bias(&[0.125, 0.375, -0.625], 0.5, &[0.5]), Ok(vec![0, 2, -2]));
}
