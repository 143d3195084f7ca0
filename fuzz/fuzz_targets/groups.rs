//! Products with weights of few bits in groups: codes of either sign and E2M1, scales and offsets of every type, activations in
//! codes per tensor, row and group and as reals, every form of the result.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::groups::{Activations, PackedWeights, RealStage, Weights, matmul};
use zeropoint::reference::{self, GroupScales};
use zeropoint::{
    ByteCode, CodeRange, Error, Granularity, Halves, HalvesMut, Isa, Matrix, MatrixMut, QuantParams, Quantized,
    Rounding, Scheme, quantize,
};
use zeropoint_fuzz::stored_reals::{RealType, StoredReals};
use zeropoint_fuzz::{CodeTexture, Data, IsaInput, RangeInput, Reals, bits, of_signs};

#[derive(Arbitrary, Debug)]
struct Input {
    isa: IsaInput,
    /// Whether activations and weights have a sign.
    signs: [bool; 2],
    sizes: [u16; 3],
    length: u8,
    /// The range of the weights' codes; none of E2M1.
    range: Option<RangeInput>,
    columns: bool,
    offset: Offset,
    /// Each by the index of its type.
    scales: (u8, Reals),
    offsets: (u8, Reals),
    weights: Data<CodeTexture>,
    zero_points: Data<CodeTexture>,
    a: Data<CodeTexture>,
    a_zero_points: Data<CodeTexture>,
    a_scales: Reals,
    activations: ActivationInput,
    result: ResultInput,
}

/// What weights have besides scales.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Offset {
    None,
    One,
    Each,
    Real,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum ActivationInput {
    Tensor,
    Rows,
    Groups,
    /// Reals that the call quantizes.
    Reals {
        scheme: u8,
        in_groups: bool,
        bf16: bool,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum ResultInput {
    Plain,
    OneRow(u8),
    Strided(u8),
    Halves { bf16: bool },
    Bounds { bias: bool },
    Codes { zero_point: u8 },
}

fuzz_target!(|input: Input| of_signs!(input.signs, run(&input)));

fn run<A: ByteCode, W: ByteCode>(input: &Input) {
    let [m, n, depth] = input.sizes.map(usize::from);
    let (m, n, depth) = (m % 34 + 1, n % 100 + 1, depth % 700 + 1);
    let n = n.min(30_000 / m).max(1);
    let depth = depth.min(60_000 / (m * n)).max(1);
    let length = match input.length % 12 {
        0..5 => 32,
        5 => 16,
        6 => 48,
        7 => 64,
        8 => 128,
        9 => 272,
        10 => depth,
        _ => usize::MAX,
    };
    let groups = depth.div_ceil(length);
    let w = match input.range {
        Some(range) => {
            let range = range.range::<W>();
            let codes = input.weights.codes_within::<W>(n * depth, range.min(), range.max());
            let zero_points = zero_points(input, n * groups, |count| {
                let (min, max): (i32, i32) = (range.min().into(), range.max().into());
                let codes = input.zero_points.codes_within::<W>(count, range.min(), range.max());
                codes.into_iter().map(|code| Into::<i32>::into(code).clamp(min, max)).collect()
            });
            WeightInput {
                codes: codes.iter().map(|&code| code.into()).collect(),
                zero_points,
                of: Of::Codes(codes, range),
            }
        }
        None => {
            let codes = input.weights.codes_within::<u8>(n * depth, 0, 15);
            let zero_points = zero_points(input, n * groups, |count| input.zero_points.integers(count, 12));
            WeightInput {
                codes: codes.iter().map(|&code| twice_e2m1(code)).collect(),
                zero_points,
                of: Of::E2m1(codes),
            }
        }
    };
    product::<A, W>(input, [m, n, depth], length, &w);
}

/// Weights `[N, K]`, as what they count, with a zero point for every group; and as they are given.
struct WeightInput<W> {
    codes: Vec<i32>,
    zero_points: Vec<i32>,
    of: Of<W>,
}

enum Of<W> {
    Codes(Vec<W>, CodeRange<W>),
    E2m1(Vec<u8>),
}

fn zero_points(input: &Input, count: usize, any: impl Fn(usize) -> Vec<i32>) -> Vec<i32> {
    match input.offset {
        Offset::None | Offset::Real => vec![0; count],
        Offset::One => vec![any(1)[0]; count],
        Offset::Each => any(count),
    }
}

/// Twice the float of four bits that has these: a sign, two of exponent, one of mantissa.
fn twice_e2m1(bits: u8) -> i32 {
    let (exponent, mantissa) = (bits >> 1 & 3, i32::from(bits & 1));
    let magnitude = if exponent == 0 { mantissa } else { (2 + mantissa) << (exponent - 1) };
    if bits < 8 { magnitude } else { -magnitude }
}

/// `[rows, columns]` as `[columns, rows]`.
fn transposed<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect()
}

fn product<A: ByteCode, W: ByteCode>(input: &Input, shape: [usize; 3], length: usize, w: &WeightInput<W>) {
    let [m, n, depth] = shape;
    let (isa, groups) = (input.isa.isa(), depth.div_ceil(length));
    let [scales, offsets] = [&input.scales, &input.offsets].map(|(of, reals)| {
        let of = RealType::ALL[usize::from(*of) % RealType::ALL.len()];
        StoredReals::new(of, &reals.reals(n * groups, 0.01, 100))
    });
    // Weights by columns have their groups by columns, too.
    let columns = input.columns && matches!(w.of, Of::Codes(..));
    let by_columns = |given: &StoredReals| StoredReals {
        of: given.of,
        reals: transposed(&given.reals, n, groups),
        halves: if given.halves.is_empty() { Vec::new() } else { transposed(&given.halves, n, groups) },
        exponents: if given.exponents.is_empty() { Vec::new() } else { transposed(&given.exponents, n, groups) },
    };
    let (scales_given, offsets_given, points_given);
    let (codes_given, e2m1);
    let given = match &w.of {
        Of::Codes(codes, range) if columns => {
            (scales_given, offsets_given) = (by_columns(&scales), by_columns(&offsets));
            points_given = transposed(&w.zero_points, n, groups);
            codes_given = transposed(codes, n, depth);
            let codes = Matrix::new(&codes_given, depth, n).unwrap();
            Weights::columns(codes, *range, length, scales_given.given())
        }
        Of::Codes(codes, range) => {
            (scales_given, offsets_given) = (scales.clone(), offsets.clone());
            points_given = w.zero_points.clone();
            codes_given = codes.clone();
            Weights::new(Matrix::new(&codes_given, n, depth).unwrap(), *range, length, scales_given.given())
        }
        Of::E2m1(codes) => {
            (scales_given, offsets_given) = (scales.clone(), offsets.clone());
            points_given = w.zero_points.clone();
            e2m1 = codes.clone();
            Weights::e2m1(Matrix::new(&e2m1, n, depth).unwrap(), length, scales_given.given())
        }
    };
    let given = given.unwrap();
    let given = match input.offset {
        Offset::None => given,
        Offset::One | Offset::Each => match given.with_zero_points(&points_given) {
            Ok(given) => given,
            // Codes are zero points; what E2M1 counts may be beyond them.
            Err(error) => {
                let e2m1 = matches!(w.of, Of::E2m1(..));
                return assert!(e2m1 && matches!(error, Error::ZeroPoint { .. }), "{error}");
            }
        },
        Offset::Real => given.with_offsets(offsets_given.given()).unwrap(),
    };
    let packed = PackedWeights::pack(isa, &given).unwrap();
    assert_eq!((packed.outputs(), packed.depth()), (n, depth));

    let real_offset = |j: usize, g: usize| offsets.reals[j * groups + g];
    let real_offset: Option<&dyn Fn(usize, usize) -> f32> =
        if matches!(input.offset, Offset::Real) { Some(&real_offset) } else { None };
    let want = |a: &dyn Fn(usize, usize) -> i32, a_scales: GroupScales<'_>| {
        reference::matmul_groups(
            shape,
            length,
            a,
            a_scales,
            |j, k| w.codes[j * depth + k] - w.zero_points[j * groups + k / length],
            |j, g| scales.reals[j * groups + g],
            real_offset,
        )
    };
    let a: Vec<A> = input.a.codes(m * depth);
    let points: Vec<i32> = input.a_zero_points.codes::<A>(m * groups).into_iter().map(Into::into).collect();
    let a_scales = input.a_scales.reals(m * groups, 0.01, 100);
    let code = |i: usize, k: usize| -> i32 { a[i * depth + k].into() };
    let rows = Matrix::new(&a, m, depth).unwrap();
    let (activations, want) = match input.activations {
        ActivationInput::Tensor => (
            Activations::per_row(rows, points[0].into(), &a_scales[..1]),
            want(&|i, k| code(i, k) - points[0], GroupScales::Rows(&|_| a_scales[0])),
        ),
        ActivationInput::Rows => (
            Activations::per_row(rows, points[..m].into(), &a_scales[..m]),
            want(&|i, k| code(i, k) - points[i], GroupScales::Rows(&|i| a_scales[i])),
        ),
        ActivationInput::Groups => (
            Activations::per_group(rows, length, points[..].into(), &a_scales),
            want(
                &|i, k| code(i, k) - points[i * groups + k / length],
                GroupScales::Groups(&|i, g| a_scales[i * groups + g]),
            ),
        ),
        ActivationInput::Reals { scheme, in_groups, bf16 } => {
            return reals(input, isa, &packed, shape, (in_groups, length), scheme, bf16);
        }
    };
    result(input, isa, &packed, &activations.unwrap(), &want);
}

/// The result of a product in a form that the input says.
fn result(input: &Input, isa: Isa, packed: &PackedWeights, x: &Activations<'_>, want: &[f32]) {
    let (m, n) = (x.rows(), packed.outputs());
    let plain = || {
        let mut out = vec![7.0; m * n].into_boxed_slice();
        matmul(isa, x, packed, &RealStage::new(), &mut out[..]).unwrap();
        out
    };
    match input.result {
        ResultInput::Plain | ResultInput::OneRow(_) => assert_eq!(bits(&plain()), bits(want), "{isa}"),
        ResultInput::Strided(gap) => {
            let stride = n + usize::from(gap % 20);
            let mut out = vec![9.0; (m - 1) * stride + n].into_boxed_slice();
            let view = MatrixMut::with_stride(&mut out, m, n, stride).unwrap();
            matmul(isa, x, packed, &RealStage::new(), view).unwrap();
            for (row, want) in out.chunks(stride).zip(want.chunks(n)) {
                assert_eq!(bits(&row[..n]), bits(want), "{isa}");
                assert!(row[n..].iter().all(|&x| x == 9.0), "{isa}: wrote between the rows");
            }
        }
        ResultInput::Halves { bf16 } => {
            let mut out = vec![7; m * n].into_boxed_slice();
            let view = if bf16 { HalvesMut::bf16(&mut out) } else { HalvesMut::f16(&mut out) };
            matmul(isa, x, packed, &RealStage::new(), view).unwrap();
            let narrow = if bf16 { reference::narrow_to_bf16 } else { reference::narrow_to_f16 };
            assert_eq!(*out, narrow(want), "{isa}");
        }
        ResultInput::Bounds { .. } | ResultInput::Codes { .. } => {
            let bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.37 - 3.0).collect();
            let stage = RealStage::new().with_bounds(-2.5, 100.0).unwrap();
            let with_bias = !matches!(input.result, ResultInput::Bounds { bias: false });
            let stage = if with_bias { stage.with_bias(&bias).unwrap() } else { stage };
            let want: Vec<f32> = want
                .iter()
                .enumerate()
                .map(|(i, x)| if with_bias { x + bias[i % n] } else { *x })
                .map(|x| if x.is_nan() { f32::NAN } else { x.clamp(-2.5, 100.0) })
                .collect();
            if let ResultInput::Codes { zero_point } = input.result {
                let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.25, zero_point.into()).unwrap();
                let mut out = vec![7_u8; m * n].into_boxed_slice();
                matmul(isa, x, packed, &stage.quantized(&params).unwrap(), &mut out[..]).unwrap();
                assert_eq!(*out, reference::quantize(&want, &params), "{isa}");
            } else {
                let mut out = vec![7.0; m * n].into_boxed_slice();
                matmul(isa, x, packed, &stage, &mut out[..]).unwrap();
                let one_nan =
                    |x: &[f32]| bits(&x.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }).collect::<Vec<_>>());
                assert_eq!(one_nan(&out), one_nan(&want), "{isa}");
            }
        }
    }
}

/// Real activations are those codes that two calls give, and a row has the bytes that it has alone.
fn reals(
    input: &Input,
    isa: Isa,
    packed: &PackedWeights,
    [m, n, depth]: [usize; 3],
    (in_groups, length): (bool, usize),
    scheme: u8,
    bf16: bool,
) {
    let scheme = [Scheme::SYMMETRIC, Scheme::ASYMMETRIC, Scheme::SHIFT_SYMMETRIC, Scheme::SHIFT_ASYMMETRIC]
        [usize::from(scheme % 4)];
    let integer = scheme.offset == zeropoint::OffsetKind::Integer;
    let range = if integer { CodeRange::signed(8) } else { CodeRange::narrow(8) }.unwrap();
    let x = input.a_scales.reals(m * depth, 0.01, 100);
    let halves = reference::narrow_to_bf16(&x);
    let x = if bf16 { reference::widen(Halves::bf16(&halves)) } else { x };
    let granularity = if in_groups {
        Granularity::block(&[m, depth], length.min(depth)).unwrap()
    } else {
        Granularity::channel(&[m, depth], 0).unwrap()
    };
    let product = |x: &Activations<'_>| {
        let mut out = vec![7.0; m * n].into_boxed_slice();
        matmul(isa, x, packed, &RealStage::new(), &mut out[..]).map(|()| out)
    };
    let activations = if bf16 {
        Activations::halves(Halves::bf16(&halves), m, depth, scheme).unwrap()
    } else {
        Activations::reals(Matrix::new(&x, m, depth).unwrap(), scheme)
    };
    let activations = if in_groups { activations.in_groups(length).unwrap() } else { activations };
    let found = product(&activations);
    let params = match QuantParams::fit(isa, &x, range, scheme, granularity) {
        Ok(params) => params,
        // (NaN of an error is not equal to itself.)
        Err(error) => return assert_eq!(format!("{:?}", found.unwrap_err()), format!("{error:?}"), "{isa}"),
    };
    let mut codes = vec![0_i8; x.len()];
    quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap();
    let codes = Matrix::new(&codes, m, depth).unwrap();
    // (A block that is a whole row would be taken for parameters of the row, by which a product is rounded in another order.)
    let quantized = if in_groups {
        Activations::per_group(codes, length, params.zero_points().into(), params.scales())
    } else {
        Activations::quantized(Quantized::new(codes, &params).unwrap())
    };
    let want = product(&quantized.unwrap()).unwrap();
    let found = found.unwrap();
    assert_eq!(bits(&found), bits(&want), "{isa} {scheme:?}");
    if let ResultInput::OneRow(row) = input.result {
        let row = usize::from(row) % m;
        let alone = Matrix::new(&x[row * depth..][..depth], 1, depth).unwrap();
        let alone = Activations::reals(alone, scheme);
        let alone = if in_groups { alone.in_groups(length).unwrap() } else { alone };
        let mut out = vec![7.0; n].into_boxed_slice();
        matmul(isa, &alone, packed, &RealStage::new(), &mut out[..]).unwrap();
        assert_eq!(bits(&out), bits(&found[row * n..][..n]), "{isa}: row {row} alone");
    }
}
