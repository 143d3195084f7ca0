//! Products of all four sign pairs and of 16-bit activations, packed both ways and unpacked, with strides, zero points, bias and
//! every output stage, equal the reference.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::raw::AccumulatorBias;
use zeropoint::{
    Accumulators, ByteCode, CodeRange, Error, Granularity, Isa, Matrix, MatrixMut, QuantParams, Quantized, Rhs, Rule,
    Stage, int16x8, raw, reference,
};
use zeropoint_fuzz::{CodeTexture, Data, IsaInput, ScaleTexture, StreamInput, bits, groups_scales, of_signs};

#[derive(Arbitrary, Debug)]
struct Input {
    isa: IsaInput,
    signs: [bool; 2],
    sizes: [u16; 3],
    gaps: [u8; 2],
    a: Data<CodeTexture>,
    b: Data<CodeTexture>,
    /// Of A, of B.
    zero_points: [ZeroPoints; 2],
    bias: Data<CodeTexture>,
    form: Form,
    stage: StageInput,
    int16: bool,
}

#[derive(Arbitrary, Debug)]
enum ZeroPoints {
    One(u8),
    Each(Data<CodeTexture>),
    /// Of any size, most of which are an error.
    Wild(i32),
}

#[derive(Arbitrary, Debug)]
enum Form {
    Rows,
    Columns,
    Unpacked,
    UnpackedTransposed,
}

#[derive(Arbitrary, Debug)]
enum StageInput {
    Accumulators,
    Dequantize { scales: (u32, ScaleTexture), bias: bool },
    Requantize { rule: u8, exponents: u32, zero_point: u8, bounds: [u8; 2] },
    Stochastic { exponents: u32, zero_point: u8, bounds: [u8; 2], stream: StreamInput },
}

fuzz_target!(|input: Input| if input.int16 { of_int16(&input) } else { of_signs!(input.signs, run(&input)) });

/// Rows, columns and the depth: any two may be small, and none but the depth is large.
fn sizes(input: &Input) -> [usize; 3] {
    let [m, n, k] = input.sizes.map(usize::from);
    let [m, n, k] = [m % 41, n % 200, k % 1400];
    let most = 60_000;
    let n = n.min(most / m.max(1));
    [m, n, k.min(most / (m * n).max(1))]
}

fn run<A: ByteCode, B: ByteCode>(input: &Input) {
    let [m, n, k] = sizes(input);
    let isa = input.isa.isa();
    let stride = k + usize::from(input.gaps[0] % 20);
    // The last row ends the allocation.
    let a: Vec<A> = input.a.codes(if m == 0 { 0 } else { (m - 1) * stride + k });
    let b: Vec<B> = input.b.codes(k * n);
    let a = Matrix::with_stride(&a, m, k, stride).unwrap();
    let b = Matrix::new(&b, k, n).unwrap();
    let bias = input.bias.integers(n, 1_000_000);
    let [mut of_a, mut of_b] = [Vec::new(), Vec::new()];
    let za = zero_points::<A>(&input.zero_points[0], m, &mut of_a);
    let zb = zero_points::<B>(&input.zero_points[1], n, &mut of_b);
    let [valid_a, valid_b] = [is_valid::<A>(&input.zero_points[0]), is_valid::<B>(&input.zero_points[1])];
    let transposed: Vec<B> = (0..n * k).map(|i| b.row(i % k)[i / k]).collect();
    let transposed = Matrix::new(&transposed, n, k).unwrap();
    let case = Case { input, isa, a, za, valid_a, b, zb, valid_b, bias: &bias };
    match input.form {
        Form::Rows => case.check(raw::pack_transposed::<A, B>(isa, transposed, zb)),
        Form::Columns => case.check(raw::pack::<A, B>(isa, b, zb)),
        Form::Unpacked => case.check(raw::unpacked::<A, B>(isa, b, zb)),
        Form::UnpackedTransposed => case.check(raw::unpacked_transposed::<A, B>(isa, transposed, zb)),
    }
}

/// Operands of a product, and whether their zero points are codes.
struct Case<'a, A, B> {
    input: &'a Input,
    isa: Isa,
    a: Matrix<'a, A>,
    za: raw::ZeroPoints<'a>,
    valid_a: bool,
    b: Matrix<'a, B>,
    zb: raw::ZeroPoints<'a>,
    valid_b: bool,
    bias: &'a [i32],
}

impl<'b, A: ByteCode, B: ByteCode> Case<'b, A, B> {
    /// Checks the products by a right operand; or that it was refused, if its zero points are no codes.
    fn check<R: Rhs<A> + AccumulatorBias<'b> + core::fmt::Debug>(&self, made: Result<R, Error>) {
        let Case { input, isa, a, za, valid_a, b, zb, valid_b, bias } = *self;
        let n = b.columns();
        match made {
            Ok(made) if valid_b => {
                let made = made.with_accumulator_bias(bias).unwrap();
                if valid_a {
                    let want = reference::matmul(a, za, b, zb, Some(bias));
                    stages(input, isa, &Product { a, za, b: &made, n, want });
                } else {
                    refused(isa, a, za, &made, n);
                }
            }
            // (Without columns, no zero point is read.)
            made => assert!(!valid_b && (n == 0 || matches!(made, Err(Error::ZeroPoint { .. }))), "{isa}: {made:?}"),
        }
    }
}

/// A zero point outside the codes of A is refused, where there is a result, and nothing is written.
fn refused<A: ByteCode>(isa: Isa, a: Matrix<'_, A>, za: raw::ZeroPoints<'_>, b: &impl Rhs<A>, n: usize) {
    if a.rows() == 0 || n == 0 {
        return;
    }
    let mut out = vec![7; a.rows() * n];
    let found = raw::matmul(isa, a, za, b, &Accumulators, MatrixMut::new(&mut out, a.rows(), n).unwrap());
    assert!(matches!(found, Err(Error::ZeroPoint { .. })), "{isa}: {found:?}");
    assert!(out.iter().all(|&out| out == 7));
}

fn zero_points<'a, C: ByteCode>(input: &ZeroPoints, count: usize, each: &'a mut Vec<i32>) -> raw::ZeroPoints<'a> {
    match input {
        ZeroPoints::One(code) => (C::MIN.into() + i32::from(*code)).into(),
        ZeroPoints::Each(data) => {
            each.extend(data.codes::<C>(count).into_iter().map(Into::<i32>::into));
            each[..].into()
        }
        ZeroPoints::Wild(zero_point) => (*zero_point).into(),
    }
}

fn is_valid<C: ByteCode>(input: &ZeroPoints) -> bool {
    !matches!(input, ZeroPoints::Wild(zero_point) if !(C::MIN.into()..=C::MAX.into()).contains(zero_point))
}

/// A product, and its accumulators.
struct Product<'a, A, B> {
    a: Matrix<'a, A>,
    za: raw::ZeroPoints<'a>,
    b: &'a B,
    n: usize,
    want: Vec<i64>,
}

impl<A: ByteCode, B: Rhs<A>> Product<'_, A, B> {
    /// The result of a stage, whose rows lie apart.
    fn run<S: Stage>(&self, isa: Isa, stage: &S, gap: u8, canary: S::Element) -> Vec<S::Element>
    where
        S::Element: PartialEq + core::fmt::Debug,
    {
        let (m, n) = (self.a.rows(), self.n);
        let stride = n + usize::from(gap % 20);
        let mut out = vec![canary; if m == 0 { 0 } else { (m - 1) * stride + n }].into_boxed_slice();
        let view = MatrixMut::with_stride(&mut out, m, n, stride).unwrap();
        raw::matmul(isa, self.a, self.za, self.b, stage, view).unwrap();
        let mut dense = Vec::new();
        for i in 0..m {
            dense.extend_from_slice(&out[i * stride..][..n]);
            let between = &out[(i * stride + n).min(out.len())..((i + 1) * stride).min(out.len())];
            assert!(between.iter().all(|&x| x == canary), "wrote between the rows");
        }
        dense
    }
}

fn stages<A: ByteCode>(input: &Input, isa: Isa, product: &Product<'_, A, impl Rhs<A>>) {
    let (n, gap) = (product.n, input.gaps[1]);
    let accumulators: Vec<i32> = product.want.iter().map(|&sum| i32::try_from(sum).expect("32 bits")).collect();
    match input.stage {
        // (Stages have a scale at least.)
        _ if n == 0 => {}
        StageInput::Accumulators => assert_eq!(product.run(isa, &Accumulators, gap, i32::MIN), accumulators, "{isa}"),
        StageInput::Dequantize { scales, bias } => {
            let (rows, columns) = (groups_scales(&scales, product.a.rows()), groups_scales(&scales, n));
            let bias = bias.then_some(&columns[..]);
            let stage = raw::DequantizeColumns::new(&columns, bias).unwrap();
            if rows.is_empty() {
                return;
            }
            let beyond = rows.iter().any(|row| columns.iter().any(|column| !(row * column).is_finite()));
            let stage = match stage.rows(&rows) {
                Ok(stage) => stage,
                Err(error) => return assert!(beyond && matches!(error, Error::Scale { .. }), "{error}"),
            };
            assert!(!beyond, "a product of scales is infinite");
            let out = product.run(isa, &stage, gap, f32::INFINITY);
            for (i, (&acc, out)) in accumulators.iter().zip(out).enumerate() {
                let (row, column) = (i / n, i % n);
                let want = reference::dequantize_accumulator(acc, rows[row], columns[column], bias.map(|b| b[column]));
                // (Which NaN: ∞ − ∞.)
                assert!(want.to_bits() == out.to_bits() || want.is_nan() && out.is_nan(), "{isa}: {want:e}, {out:e}");
            }
        }
        StageInput::Requantize { rule, exponents, zero_point, bounds } => {
            let bounds = (bounds[0].min(bounds[1]), bounds[0].max(bounds[1]));
            let multipliers = multipliers(exponents, n, rule % 5 == 4);
            let rule =
                [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp, Rule::Shift][usize::from(rule % 5)];
            let zero_point = zero_point.into();
            let stage = raw::requantize(rule, &multipliers, zero_point, bounds.0..=bounds.1).unwrap();
            let code = |(i, &acc): (usize, &i32)| {
                let multiplier = multipliers[i % n];
                let code = match rule {
                    Rule::Float => reference::float_product(acc, multiplier),
                    Rule::FixedPoint => reference::fixed_point_product(acc, multiplier),
                    Rule::HalfAway => reference::half_away_product(acc, multiplier),
                    Rule::Gemmlowp => reference::gemmlowp_product(acc, multiplier),
                    _ => reference::shift_product(acc, -multiplier.log2() as u32),
                };
                reference::saturate(code, zero_point, bounds)
            };
            let want: Vec<u8> = accumulators.iter().enumerate().map(code).collect();
            assert_eq!(product.run(isa, &stage, gap, 77), want, "{isa} {rule:?}");
        }
        StageInput::Stochastic { exponents, zero_point, bounds, stream } => {
            let bounds = (bounds[0].min(bounds[1]), bounds[0].max(bounds[1]));
            let (multipliers, zero_point) = (multipliers(exponents, n, false), zero_point.into());
            let stream = stream.stream(accumulators.len());
            let stage = raw::requantize(Rule::Float, &multipliers, zero_point, bounds.0..=bounds.1).unwrap();
            let stage = stage.stochastic(stream).unwrap();
            let words = reference::words(stream, accumulators.len());
            let code = |(i, (&acc, word)): (usize, (&i32, u32))| {
                reference::requantize_stochastic(acc, multipliers[i % n], zero_point, bounds, word)
            };
            let want: Vec<u8> = accumulators.iter().zip(words).enumerate().map(code).collect();
            assert_eq!(product.run(isa, &stage, gap, 77), want, "{isa}");
        }
    }
}

/// Multipliers from 2⁻³¹ to 2, or powers of two up to 1.
fn multipliers(exponents: u32, n: usize, powers: bool) -> Vec<f64> {
    let scales = groups_scales(&(exponents, ScaleTexture::Ordinary), n);
    let real = |(j, &scale): (usize, &f32)| {
        let exponent = (exponents.rotate_left(j as u32) % 31) as i32;
        if powers { 2_f64.powi(-exponent) } else { (f64::from(scale) / 6.0).clamp(0.5, 1.0) * 2_f64.powi(1 - exponent) }
    };
    scales.iter().enumerate().map(real).collect()
}

/// Activations of 16 bits.
fn of_int16(input: &Input) {
    let [m, n, k] = sizes(input);
    if n == 0 || k == 0 || m == 0 {
        return;
    }
    let isa = input.isa.isa();
    let stride = k + usize::from(input.gaps[0] % 20);
    let (a, w) = (input.a.codes::<i16>((m - 1) * stride + k), input.b.codes::<i8>(n * k));
    let a = Matrix::with_stride(&a, m, k, stride).unwrap();
    let w = Matrix::new(&w, n, k).unwrap();
    let scales = (input.sizes[0].into(), ScaleTexture::Ordinary);
    let by_row = |rows| Granularity::channel(&[rows, k], 0).unwrap();
    let x =
        QuantParams::new(CodeRange::signed16(16).unwrap(), by_row(m), groups_scales(&scales, m), vec![0; m]).unwrap();
    let y = QuantParams::new(CodeRange::signed(8).unwrap(), by_row(n), groups_scales(&scales, n), vec![0; n]).unwrap();
    let bias: Vec<i64> = input.bias.integers(n, i32::MAX).into_iter().map(|bias| i64::from(bias) << 12).collect();
    let weights = int16x8::PackedMatrix::pack(isa, Quantized::new(w, &y).unwrap()).unwrap();
    let weights = weights.with_accumulator_bias(&bias).unwrap();
    let want = reference::matmul_int16x8(a, w, Some(&bias));
    let a = Quantized::new(a, &x).unwrap();
    match input.stage {
        StageInput::Accumulators | StageInput::Stochastic { .. } => {
            assert_eq!(product16(isa, a, &weights, &int16x8::Accumulators), want, "{isa}");
        }
        StageInput::Dequantize { .. } => {
            let float = |(i, &acc): (usize, &i64)| acc as f32 * (x.scales()[i / n] * y.scales()[i % n]);
            let want: Vec<f32> = want.iter().enumerate().map(float).collect();
            assert_eq!(bits(&product16(isa, a, &weights, &int16x8::Dequantize::new())), bits(&want), "{isa}");
        }
        StageInput::Requantize { rule, exponents, zero_point, bounds } => {
            let multipliers = multipliers(exponents, n, false);
            let (rule, product_of) = [
                (int16x8::Rule::Float, reference::float_product_i64 as fn(i64, f64) -> i64),
                (int16x8::Rule::HalfAway, reference::half_away_product_i64),
                (int16x8::Rule::Reduced, reference::reduced_product_i64),
            ][usize::from(rule % 3)];
            let bounds = (bounds[0].min(bounds[1]), bounds[0].max(bounds[1]));
            let stage =
                int16x8::Requantize::with_multipliers(rule, &multipliers, zero_point.into(), bounds.0..=bounds.1);
            let code = |(i, &acc): (usize, &i64)| {
                reference::saturate(product_of(acc, multipliers[i % n]), zero_point.into(), bounds)
            };
            let want: Vec<u8> = want.iter().enumerate().map(code).collect();
            assert_eq!(product16(isa, a, &weights, &stage.unwrap()), want, "{isa} {rule:?}");
        }
    }
}

fn product16<S: int16x8::Stage>(
    isa: Isa,
    a: Quantized<'_, i16>,
    weights: &int16x8::PackedMatrix,
    stage: &S,
) -> Vec<S::Element> {
    let (m, n) = (a.codes().rows(), weights.columns());
    let mut out = vec![S::Element::default(); m * n].into_boxed_slice();
    int16x8::matmul(isa, a, weights, stage, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
    out.into_vec()
}
