//! Products with weights in groups equal the reference on every ISA, bit for bit.

use crate::common::{Ranges, bits, every_isa, part};
use crate::stored_reals::{RealType, StoredReals};
use proptest::prelude::*;
use serde_json::Value;
use zeropoint::formats::{BlockFormat, NvFp4, TensorFormat, decode_blocks, encode_blocks, split_blocks};
use zeropoint::groups::{
    Activations, Awq, Gptq, GroupScheme, MatMulNBits, PackedWeights, RealStage, StoredWeights, Weights, matmul,
};
use zeropoint::reference::{self, GroupScales};
use zeropoint::{
    ByteCode, CodeRange, Error, Exec, Granularity, Halves, HalvesMut, Isa, Matrix, MatrixMut, PackedCodesMut,
    QuantParams, Quantized, Rounding, Scheme, quantize,
};

/// What weights have besides scales.
#[derive(Clone, Copy, Debug)]
enum Offset {
    None,
    One,
    Each,
    Real,
}

#[derive(Debug)]
struct Problem {
    /// M, N, K.
    shape: [usize; 3],
    /// The length of a group.
    length: usize,
    offset: Offset,
    scales: StoredReals,
    offsets: StoredReals,
    /// Random bytes, which make codes and zero points.
    weights: Vec<u8>,
    zero_points: Vec<u8>,
    a: Vec<u8>,
    a_zero_points: Vec<u8>,
    a_scales: Vec<f32>,
}

fn reals() -> impl Strategy<Value = f32> {
    prop_oneof![
        12 => 1e-3_f32..2.0,
        2 => -1.0_f32..1.0,
        1 => Just(0.0),
        1 => any::<u32>().prop_map(f32::from_bits)
    ]
}

fn types() -> impl Strategy<Value = RealType> {
    prop::sample::select(RealType::ALL.to_vec())
}

fn bytes(count: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(0), 1 => Just(255), 1 => Just(128)], count)
}

fn problems() -> impl Strategy<Value = Problem> {
    let length = prop_oneof![
        4 => Just(32_usize),
        2 => Just(16),
        1 => Just(48),
        2 => Just(64),
        1 => Just(128),
        1 => Just(272),
        1 => Just(usize::MAX)
    ];
    let depth = prop_oneof![Just(64_usize), Just(96), 1_usize..200, 1_usize..600];
    let offset = prop_oneof![Just(Offset::None), Just(Offset::One), Just(Offset::Each), Just(Offset::Real)];
    let rows = prop_oneof![Just(1_usize), 1_usize..5, 1_usize..20];
    (rows, 1_usize..70, depth, length, offset, types(), types()).prop_flat_map(
        |(m, n, depth, length, offset, scale, offset_type)| {
            let groups = depth.div_ceil(length);
            (
                prop::collection::vec(reals(), n * groups),
                prop::collection::vec(reals(), n * groups),
                (bytes(n * depth), bytes(n * groups), bytes(m * depth), bytes(m * groups)),
                prop::collection::vec(reals(), m * groups),
            )
                .prop_map(move |(scales, offsets, (weights, zero_points, a, a_zero_points), a_scales)| {
                    Problem {
                        shape: [m, n, depth],
                        length,
                        offset,
                        scales: StoredReals::new(scale, &scales),
                        offsets: StoredReals::new(offset_type, &offsets),
                        weights,
                        zero_points,
                        a,
                        a_zero_points,
                        a_scales,
                    }
                })
        },
    )
}

fn product(isa: Isa, a: &Activations<'_>, packed: &PackedWeights) -> Vec<u32> {
    let mut out = vec![7.0; a.rows() * packed.outputs()];
    matmul(isa, a, packed, &RealStage::new(), &mut out).unwrap();
    bits(&out)
}

/// A random byte as one of the codes.
fn code<C: Ranges>(range: CodeRange<C>, byte: u8) -> C {
    let (min, max): (i32, i32) = (range.min().into(), range.max().into());
    let Ok(code) = C::try_from(min + i32::from(byte) % (max - min + 1)) else { unreachable!() };
    code
}

/// Weights in codes of W by activations in codes of A.
fn product_equals_reference<A: Ranges + ByteCode, W: Ranges + ByteCode>(problem: &Problem, range: CodeRange<W>) {
    let Problem { shape, length, offset, scales, weights, zero_points, .. } = problem;
    let ([_, n, depth], &length) = (*shape, length);
    let groups = depth.div_ceil(length);
    let weights: Vec<W> = weights.iter().map(|&byte| code(range, byte)).collect();
    let zero_points: Vec<i32> = zero_points
        .iter()
        .map(|&byte| match offset {
            Offset::None | Offset::Real => 0,
            Offset::One => code(range, zero_points[0]).into(),
            Offset::Each => code(range, byte).into(),
        })
        .collect();
    let w = |j: usize, k: usize| weights[j * depth + k].into() - zero_points[j * groups + k / length];
    let given = Weights::new(Matrix::new(&weights, n, depth).unwrap(), range, length, scales.given()).unwrap();
    equals_reference::<A>(problem, given, &zero_points, w);
}

/// Weights of E2M1 by activations in codes of A.
fn floats_equal_reference<A: Ranges + ByteCode>(problem: &Problem) {
    let Problem { shape: [_, n, depth], length, offset, scales, weights, zero_points, .. } = problem;
    let groups = depth.div_ceil(*length);
    let weights: Vec<u8> = weights.iter().map(|&byte| byte % 16).collect();
    let zero_points: Vec<i32> = zero_points
        .iter()
        .map(|&byte| match offset {
            Offset::None | Offset::Real => 0,
            Offset::One => i32::from(zero_points[0] % 25) - 12,
            Offset::Each => i32::from(byte % 25) - 12,
        })
        .collect();
    let w = |j: usize, k: usize| twice_e2m1(weights[j * depth + k]) - zero_points[j * groups + k / length];
    let given = Weights::e2m1(Matrix::new(&weights, *n, *depth).unwrap(), *length, scales.given()).unwrap();
    equals_reference::<A>(problem, given, &zero_points, w);
}

/// Twice the float of four bits that has these: a sign, two of exponent, one of mantissa.
fn twice_e2m1(bits: u8) -> i32 {
    let (exponent, mantissa) = (bits >> 1 & 3, i32::from(bits & 1));
    let magnitude = if exponent == 0 { mantissa } else { (2 + mantissa) << (exponent - 1) };
    if bits < 8 { magnitude } else { -magnitude }
}

/// Weights by activations in codes of A, per tensor, per row and per group. `w` has the codes less their zero points.
fn equals_reference<A: Ranges + ByteCode>(
    problem: &Problem,
    given: Weights<'_>,
    zero_points: &[i32],
    w: impl Fn(usize, usize) -> i32,
) {
    let Problem { shape, length, offset, scales, offsets, a, a_zero_points, a_scales, .. } = problem;
    let ([m, _, depth], &length) = (*shape, length);
    let groups = depth.div_ceil(length);
    let a: Vec<A> = a.iter().map(|&byte| code(CodeRange::new(A::MIN, A::MAX).unwrap(), byte)).collect();
    let a_zero_points: Vec<i32> =
        a_zero_points.iter().map(|&byte| code(CodeRange::new(A::MIN, A::MAX).unwrap(), byte).into()).collect();
    let scale = |j: usize, g: usize| scales.reals[j * groups + g];
    let real_offset = |j: usize, g: usize| offsets.reals[j * groups + g];
    let real_offset: Option<&dyn Fn(usize, usize) -> f32> =
        if matches!(offset, Offset::Real) { Some(&real_offset) } else { None };
    let a_code = |i: usize, k: usize| -> i32 { a[i * depth + k].into() };
    let want = |zero_point: &dyn Fn(usize, usize) -> i32, scales: GroupScales<'_>| {
        bits(&reference::matmul_groups(
            *shape,
            length,
            |i, k| a_code(i, k) - zero_point(i, k / length),
            scales,
            &w,
            scale,
            real_offset,
        ))
    };
    let per_tensor = want(&|_, _| a_zero_points[0], GroupScales::Rows(&|_| a_scales[0]));
    let per_row = want(&|i, _| a_zero_points[i], GroupScales::Rows(&|i| a_scales[i]));
    let per_group = want(&|i, g| a_zero_points[i * groups + g], GroupScales::Groups(&|i, g| a_scales[i * groups + g]));
    let symmetric = want(&|_, _| 0, GroupScales::Groups(&|i, g| a_scales[i * groups + g]));
    let rows = Matrix::new(&a, m, depth).unwrap();
    let given = match offset {
        Offset::None => given,
        Offset::One | Offset::Each => given.with_zero_points(zero_points).unwrap(),
        Offset::Real => given.with_offsets(offsets.given()).unwrap(),
    };
    every_isa(|isa| {
        let packed = PackedWeights::pack(isa, &given).unwrap();
        let tensor = Activations::per_row(rows, a_zero_points[0].into(), &a_scales[..1]).unwrap();
        assert_eq!(product(isa, &tensor, &packed), per_tensor, "{isa}, per tensor");
        let each_row = Activations::per_row(rows, a_zero_points[..m].into(), &a_scales[..m]).unwrap();
        assert_eq!(product(isa, &each_row, &packed), per_row, "{isa}, per row");
        let each = Activations::per_group(rows, length, a_zero_points[..].into(), a_scales).unwrap();
        assert_eq!(product(isa, &each, &packed), per_group, "{isa}, per group");
        let each = Activations::per_group(rows, length, 0.into(), a_scales).unwrap();
        assert_eq!(product(isa, &each, &packed), symmetric, "{isa}, per group, symmetric");
    });
}

proptest! {
    #![proptest_config(crate::common::cases(150))]

    #[test]
    fn unsigned(problem in problems(), bits in 2_u32..=8, signed in any::<bool>()) {
        let range = CodeRange::unsigned(bits).unwrap();
        if signed {
            product_equals_reference::<i8, u8>(&problem, range);
        } else {
            product_equals_reference::<u8, u8>(&problem, range);
        }
    }

    #[test]
    fn signed(problem in problems(), bits in 2_u32..=8, signed in any::<bool>()) {
        let range = CodeRange::signed(bits).unwrap();
        if signed {
            product_equals_reference::<i8, i8>(&problem, range);
        } else {
            product_equals_reference::<u8, i8>(&problem, range);
        }
    }
}

proptest! {
    #![proptest_config(crate::common::cases(300))]

    #[test]
    fn floats_of_four_bits(problem in problems(), signed in any::<bool>()) {
        if signed {
            floats_equal_reference::<i8>(&problem);
        } else {
            floats_equal_reference::<u8>(&problem);
        }
    }
}

/// Numbers between −1 and 1.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let number = |i: u32| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    (0..count as u32).map(number).collect()
}

/// Weights of some bits in groups of 32, symmetric.
fn weights(isa: Isa, n: usize, depth: usize, bits: u32) -> PackedWeights {
    let per_group = Granularity::block(&[n, depth], 32).unwrap();
    let (range, w) = (CodeRange::signed(bits).unwrap(), numbers(n * depth, 77));
    let params = QuantParams::fit(isa, &w, range, Scheme::SYMMETRIC, per_group).unwrap();
    let mut codes = vec![0_i8; w.len()];
    quantize(isa, &w, &params, Rounding::Nearest, &mut codes).unwrap();
    let quantized = Quantized::new(Matrix::new(&codes, n, depth).unwrap(), &params).unwrap();
    PackedWeights::pack(isa, &Weights::quantized(quantized).unwrap()).unwrap()
}

/// Real activations are those codes that two calls give, of f32 and of 16 bits, per row and in groups.
#[test]
fn reals_are_quantized_in_the_call() {
    let (m, n, depth) = (5, 37, 208);
    let x = numbers(m * depth, 1);
    let halves = reference::narrow_to_f16(&x);
    let widened = reference::widen(Halves::f16(&halves));
    every_isa(|isa| {
        let packed = weights(isa, n, depth, 4);
        for scheme in [Scheme::SYMMETRIC, Scheme::ASYMMETRIC, Scheme::SHIFT_SYMMETRIC] {
            let range = if scheme == Scheme::ASYMMETRIC { CodeRange::signed(8) } else { CodeRange::narrow(8) }.unwrap();
            let two_calls = |x: &[f32], granularity: Granularity| {
                let params = QuantParams::fit(isa, x, range, scheme, granularity).unwrap();
                let mut codes = vec![0_i8; x.len()];
                quantize(isa, x, &params, Rounding::Nearest, &mut codes).unwrap();
                let quantized = Quantized::new(Matrix::new(&codes, m, depth).unwrap(), &params).unwrap();
                product(isa, &Activations::quantized(quantized).unwrap(), &packed)
            };
            let per_row = Granularity::channel(&[m, depth], 0).unwrap();
            let per_group = Granularity::block(&[m, depth], 32).unwrap();
            let reals = Activations::reals(Matrix::new(&x, m, depth).unwrap(), scheme);
            assert_eq!(product(isa, &reals, &packed), two_calls(&x, per_row), "{isa} {scheme:?}");
            let in_groups = reals.in_groups(32).unwrap();
            assert_eq!(product(isa, &in_groups, &packed), two_calls(&x, per_group), "{isa} {scheme:?}");
            let reals = Activations::halves(Halves::f16(&halves), m, depth, scheme).unwrap();
            assert_eq!(product(isa, &reals, &packed), two_calls(&widened, per_row), "{isa} {scheme:?}");
        }
    });
}

/// A row has the same bytes alone, in any batch, and on any number of threads.
#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (n, depth) = (101, 160);
    let x = numbers(64 * depth, 3);
    every_isa(|isa| {
        for bits in [2, 4, 8] {
            let packed = weights(isa, n, depth, bits);
            let of = |exec: Exec<'_>, rows: core::ops::Range<usize>| {
                let x = Matrix::new(&x[rows.start * depth..rows.end * depth], rows.len(), depth).unwrap();
                let mut out = vec![0.0; rows.len() * n];
                matmul(exec, &Activations::reals(x, Scheme::SYMMETRIC), &packed, &RealStage::new(), &mut out).unwrap();
                crate::common::bits(&out)
            };
            let alone = of(isa.into(), 7..8);
            for m in part(8..=64) {
                assert_eq!(of(isa.into(), 0..m)[7 * n..8 * n], alone, "{isa}, {bits} bits, {m} rows");
            }
            #[cfg(feature = "rayon")]
            let all = of(isa.into(), 0..64);
            #[cfg(feature = "rayon")]
            assert_eq!(of(Exec::from(isa).rayon(), 0..64), all, "{isa}, {bits} bits");
        }
    });
}

/// Bias and bounds, results of 16 bits, and matrices with gaps.
#[test]
fn results() {
    let (m, n, depth) = (3, 21, 64);
    let (x, bias) = (numbers(m * depth, 5), numbers(n, 9));
    every_isa(|isa| {
        let packed = weights(isa, n, depth, 4);
        let a = Activations::reals(Matrix::new(&x, m, depth).unwrap(), Scheme::SYMMETRIC);
        let stage = RealStage::new().with_bias(&bias).unwrap().with_bounds(-0.25, 0.75).unwrap();
        let plain: Vec<f32> = product(isa, &a, &packed).into_iter().map(f32::from_bits).collect();
        let want: Vec<f32> = plain.iter().enumerate().map(|(i, x)| (x + bias[i % n]).clamp(-0.25, 0.75)).collect();
        assert!(want.contains(&-0.25) && want.contains(&0.75));
        let mut out = vec![9.0; m * (n + 2)];
        matmul(isa, &a, &packed, &stage, MatrixMut::with_stride(&mut out, m, n, n + 2).unwrap()).unwrap();
        for (i, row) in out.chunks(n + 2).enumerate() {
            assert_eq!(bits(&row[..n]), bits(&want[i * n..][..n]), "{isa}");
            assert_eq!(row[n..], [9.0; 2], "{isa}: between rows");
        }
        let mut halves = vec![0; m * n];
        matmul(isa, &a, &packed, &stage, HalvesMut::bf16(&mut halves)).unwrap();
        assert_eq!(halves, reference::narrow_to_bf16(&want), "{isa}");
        let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.01, 30).unwrap();
        let mut codes = vec![0_u8; m * n];
        matmul(isa, &a, &packed, &stage.quantized(&params).unwrap(), &mut codes).unwrap();
        assert_eq!(codes, reference::quantize(&want, &params), "{isa}");
    });
}

/// Codes keep their width: what packed weights take is what their codes, scales and zero points do.
#[test]
fn packed_memory() {
    let (n, depth) = (1536, 1024);
    every_isa(|isa| {
        for (bits, width) in [(2, 2), (3, 4), (4, 4), (5, 8), (8, 8)] {
            let codes = vec![1_u8; n * depth];
            let scales = vec![0x3c00; n * depth / 32];
            let codes = Matrix::new(&codes, n, depth).unwrap();
            let given = Weights::new(codes, CodeRange::unsigned(bits).unwrap(), 32, Halves::f16(&scales)).unwrap();
            let zero_points: Vec<i32> = (0..n * depth / 32).map(|i| (i % 3) as i32).collect();
            let packed = PackedWeights::pack(isa, &given).unwrap();
            assert_eq!(packed.bytes(), n * depth * width / 8 + 2 * scales.len(), "{isa}, {bits} bits");
            let packed = PackedWeights::pack(isa, &given.with_zero_points(&zero_points).unwrap()).unwrap();
            assert_eq!(packed.bytes(), n * depth * width / 8 + 3 * scales.len(), "{isa}, {bits} bits");
        }
    });
}

#[test]
fn shapes_that_do_not_fit() {
    every_isa(|isa| {
        let (codes, range) = ([0_i8; 96], CodeRange::signed(8).unwrap());
        let rows = |count: usize| Matrix::new(&codes[..count * 32], count, 32).unwrap();
        for length in [0, 8, 24] {
            let refused = Weights::new(rows(2), range, length, &[1.0; 8]).unwrap_err();
            assert!(matches!(refused, Error::Shape { found, .. } if found == length), "{refused:?}");
        }
        assert!(matches!(Weights::new(rows(2), range, 32, &[1.0]), Err(Error::Length { expected: 2, found: 1, .. })));
        let narrow = [0_u8, 0, 16, 0].repeat(8);
        let narrow = Matrix::new(&narrow, 1, 32).unwrap();
        let refused = Weights::new(narrow, CodeRange::unsigned(4).unwrap(), 32, &[1.0]).unwrap_err();
        assert_eq!(refused, Error::Code { index: 2, code: 16, min: 0, max: 15 });
        let weights = Weights::new(rows(3), range, 32, &[1.0; 3]).unwrap();
        assert!(weights.with_zero_points(&[0; 2]).is_err());
        let refused = weights.with_zero_points(&[0, 0, 128]).unwrap_err();
        assert_eq!(refused, Error::ZeroPoint { index: 2, zero_point: 128, min: -128, max: 127 });
        let ones = [1_u8; 32];
        for (bits, max) in [(4, 16), (7, 128), (8, 255)] {
            let range = CodeRange::unsigned(bits).unwrap();
            let weights = Weights::new(Matrix::new(&ones, 1, 32).unwrap(), range, 16, &[1.0; 2]).unwrap();
            weights.with_zero_points(&[0, max]).unwrap();
            let refused = weights.with_zero_points(&[0, max + 1]).unwrap_err();
            assert_eq!(refused, Error::ZeroPoint { index: 1, zero_point: max + 1, min: 0, max });
        }
        assert!(Activations::per_row(rows(2), 0.into(), &[1.0; 3]).is_err());
        assert!(Activations::per_row(rows(2), 200.into(), &[1.0]).is_err());
        assert!(Activations::per_group(rows(2), 32, 0.into(), &[1.0]).is_err());
        let a = Activations::per_row(rows(2), 0.into(), &[1.0]).unwrap();
        assert!(matches!(a.in_groups(32), Err(Error::Shape { found: 32, .. })));

        let packed = PackedWeights::pack(isa, &weights).unwrap();
        let a = Activations::per_row(rows(2), 0.into(), &[1.0]).unwrap();
        let mut out = [5.0; 6];
        let stage = RealStage::new();
        assert!(matmul(isa, &a, &packed, &stage, MatrixMut::new(&mut out, 3, 2).unwrap()).is_err());
        assert!(matmul(isa, &a, &packed, &stage, &mut out[..5]).is_err());
        let params = QuantParams::per_tensor(CodeRange::unsigned(4).unwrap(), 1.0, 0).unwrap();
        let mut bytes = [5; 3];
        let no_matrix = PackedCodesMut::four_bits(&mut bytes, 6).unwrap();
        let refused = matmul(isa, &a, &packed, &stage.clone().quantized(&params).unwrap(), no_matrix).unwrap_err();
        assert!(matches!(refused, Error::Shape { found: 6, .. }), "{refused:?}");
        assert!(matmul(isa, &a, &packed, &stage.clone().with_bias(&[0.0; 2]).unwrap(), &mut out).is_err());
        let deeper = Matrix::new(&codes[..64], 1, 64).unwrap();
        let deeper = Activations::per_row(deeper, 0.into(), &[1.0]).unwrap();
        assert!(matmul(isa, &deeper, &packed, &stage, &mut out[..3]).is_err());
        let others = Activations::per_group(rows(2), 16, 0.into(), &[1.0; 4]).unwrap();
        let refused = matmul(isa, &others, &packed, &stage, &mut out).unwrap_err();
        assert!(matches!(refused, Error::Shape { found: 16, .. }), "{refused:?}");
        let bad = [1.0, f32::NAN].repeat(32);
        let bad = Activations::reals(Matrix::new(&bad, 2, 32).unwrap(), Scheme::SYMMETRIC);
        let refused = matmul(isa, &bad, &packed, &stage, &mut out).unwrap_err();
        assert!(matches!(refused, Error::NonFinite { index: 1, .. }), "{refused:?}");
        assert_eq!(out, [5.0; 6], "untouched");
    });
}

/// The largest products of every width, all of one sign, in a group that is far deeper than sums of 16 bits are: for tiles of
/// codes that share bytes, and for those that are unpacked.
#[test]
fn extremes() {
    let (n, depth) = (33, 512);
    for bits in 2..=8 {
        let range = CodeRange::unsigned(bits).unwrap();
        for (code, a) in [(range.max(), -128_i8), (range.max(), 127), (0, -128)] {
            let (w, zero_point) = (vec![code; n * depth], i32::from(range.max() / 2));
            let given = Weights::new(Matrix::new(&w, n, depth).unwrap(), range, depth, &[1.0; 33]).unwrap();
            let zero_points = [zero_point; 33];
            for (given, zero_point) in [(given, 0), (given.with_zero_points(&zero_points).unwrap(), zero_point)] {
                let want = i32::from(a) * (i32::from(code) - zero_point) * depth as i32;
                for m in [1, 3, 8, 9, 17] {
                    let x = vec![a; m * depth];
                    let x = Activations::per_row(Matrix::new(&x, m, depth).unwrap(), 0.into(), &[1.0]).unwrap();
                    every_isa(|isa| {
                        let packed = PackedWeights::pack(isa, &given).unwrap();
                        let out = product(isa, &x, &packed);
                        assert_eq!(out, vec![(want as f32).to_bits(); m * n], "{isa}, {bits} bits, {m} rows");
                    });
                }
            }
        }
    }
}

/// Every float of four bits by the largest activations, in a group that is far deeper than sums of 16 bits are, and that is not
/// whole steps.
#[test]
fn extremes_of_floats() {
    let (n, depth) = (33, 509);
    for code in 0..16 {
        let w = vec![code; n * depth];
        let given = Weights::e2m1(Matrix::new(&w, n, depth).unwrap(), depth, &[1.0; 33]).unwrap();
        for (a, zero_point) in [(-128_i8, 0), (127, 0), (-128, 127), (127, -128)] {
            let want = (i32::from(a) - zero_point) * twice_e2m1(code) * depth as i32;
            for m in [1, 2, 9] {
                let x = vec![a; m * depth];
                let x = Activations::per_row(Matrix::new(&x, m, depth).unwrap(), zero_point.into(), &[1.0]).unwrap();
                every_isa(|isa| {
                    let packed = PackedWeights::pack(isa, &given).unwrap();
                    let out = product(isa, &x, &packed);
                    assert_eq!(out, vec![(want as f32).to_bits(); m * n], "{isa}, {code} by {a}, {m} rows");
                });
            }
        }
    }
}

/// Blocks of floats of four bits take four bits a weight, and a byte for every scale. They have the products of their doubled values.
#[test]
fn blocks_of_floats() {
    let (n, depth) = (96, 192);
    let (x, a) = (numbers(n * depth, 21), numbers(5 * depth, 22));
    let scaled = NvFp4::fit(Exec::best().unwrap(), &x).unwrap();
    for format in [BlockFormat::MxFp4.into(), BlockFormat::NvFp4.into(), TensorFormat::from(scaled)] {
        let (exec, of) = (Exec::best().unwrap(), format.block_format());
        let mut bytes = vec![0; of.bytes(x.len()).unwrap()];
        encode_blocks(exec, format, &x, &mut bytes).unwrap();
        // Every scale there is.
        let scales = if of == BlockFormat::MxFp4 { 1 } else { 4 };
        let places = bytes.chunks_mut(of.block_bytes()).flat_map(|block| &mut block[..scales]);
        places.zip((0..=255).cycle()).for_each(|(place, scale)| *place = scale);
        let stored = StoredWeights::from_format(exec, format, &bytes, n, depth).unwrap();
        let length = of.group_length();
        let (mut doubled, mut scales) = (vec![0; x.len()], vec![0.0; x.len() / length]);
        split_blocks(exec, format, &bytes, &mut doubled, &mut scales).unwrap();
        let doubled = Matrix::new(&doubled, n, depth).unwrap();
        let doubled = Weights::new(doubled, CodeRange::new(-12, 12).unwrap(), length, &scales).unwrap();
        every_isa(|isa| {
            let packed = PackedWeights::pack(isa, &stored.weights()).unwrap();
            assert_eq!(packed.bytes(), n * depth / 2 + n * depth / length, "{isa} {of:?}");
            let in_bytes = PackedWeights::pack(isa, &doubled).unwrap();
            for m in [1, 5] {
                for scheme in [Scheme::SYMMETRIC, Scheme::ASYMMETRIC] {
                    let x = Activations::reals(Matrix::new(&a[..m * depth], m, depth).unwrap(), scheme);
                    assert_eq!(product(isa, &x, &packed), product(isa, &x, &in_bytes), "{isa} {of:?}, {m} rows");
                    let x = x.in_groups(length).unwrap();
                    assert_eq!(product(isa, &x, &packed), product(isa, &x, &in_bytes), "{isa} {of:?}, {m} rows");
                }
            }
        });
    }
    let refused = Weights::e2m1(Matrix::new(&[0, 16], 1, 2).unwrap(), 2, &[1.0]);
    assert!(matches!(refused, Err(Error::Code { index: 1, code: 16, min: 0, max: 15 })), "{refused:?}");
}

/// The deepest group whose sums fit, at the extremes; one more is refused.
#[test]
fn the_deepest_group() {
    // 255 · 255 · 33025 < 2³¹
    let limit = 33_025;
    every_isa(|isa| {
        for (depth, fits) in [(limit, true), (limit + 1, false)] {
            let (w, a) = (vec![255_u8; depth], vec![255_u8; depth]);
            let w = Weights::new(Matrix::new(&w, 1, depth).unwrap(), CodeRange::unsigned(8).unwrap(), depth, &[1.0]);
            let packed = PackedWeights::pack(isa, &w.unwrap()).unwrap();
            let a = Activations::per_row(Matrix::new(&a, 1, depth).unwrap(), 0.into(), &[1.0]).unwrap();
            let mut out = [0.0];
            let result = matmul(isa, &a, &packed, &RealStage::new(), &mut out);
            if fits {
                result.unwrap();
                assert_eq!(out, [(255_i32 * 255 * limit as i32) as f32], "{isa}");
            } else {
                assert_eq!(result, Err(Error::Depth { row: 0, channel: 0, depth, limit }), "{isa}");
            }
        }
    });
}

/// Rows that have a 1 in one place each take the weights out of a product, every one of them exactly.
fn products_are_the_weights(stored: &StoredWeights, [n, depth]: [usize; 2]) -> Vec<f32> {
    let values = stored.values();
    let mut ones = vec![0_i8; depth * depth];
    ones.iter_mut().step_by(depth + 1).for_each(|one| *one = 1);
    let rows = Matrix::new(&ones, depth, depth).unwrap();
    let want: Vec<f32> = (0..depth * n).map(|i| values[i % n * depth + i / n]).collect();
    every_isa(|isa| {
        let packed = PackedWeights::pack(isa, &stored.weights()).unwrap();
        let out = product(isa, &Activations::per_row(rows, 0.into(), &[1.0]).unwrap(), &packed);
        // (A zero may have another sign: a group adds to 0.)
        let out: Vec<f32> = out.into_iter().map(f32::from_bits).collect();
        assert_eq!(out, want, "{isa}");
    });
    values
}

/// Blocks of ggml as its Python package reads them, and weights of `MatMulNBits` as onnxruntime multiplies by them.
#[test]
fn weights_of_other_programs() {
    let golden: Value = serde_json::from_str(include_str!("golden/groups.json")).unwrap();
    let numbers = |value: &Value| -> Vec<u32> {
        value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as u32).collect()
    };
    let bytes = |value: &Value| -> Vec<u8> { numbers(value).into_iter().map(|byte| byte as u8).collect() };
    let reals = |value: &Value| -> Vec<f32> { numbers(value).into_iter().map(f32::from_bits).collect() };
    let (recorded, exec) = (golden["gguf"].as_object().unwrap(), Exec::best().unwrap());
    assert_eq!(recorded.len(), 11);
    for (name, golden) in recorded {
        let named = |format: &BlockFormat| format!("{format:?}").eq_ignore_ascii_case(name);
        let format = BlockFormat::ALL.into_iter().find(named).unwrap();
        let (shape @ [n, depth], bytes) = ([2, format.block_length()], bytes(&golden["bytes"]));
        let stored = StoredWeights::from_format(exec, format, &bytes, n, depth).unwrap();
        assert_eq!(products_are_the_weights(&stored, shape), reals(&golden["values"]), "{format:?}");
        every_isa(|isa| {
            let mut out = vec![9.0; n * depth];
            decode_blocks(isa, format, &bytes, &mut out).unwrap();
            assert_eq!(out, reals(&golden["values"]), "{isa} {format:?}");
        });
    }
    // Every format, whether a program of others reads it or not, and a scale of the tensor.
    let x: Vec<f32> = (0..512).map(|i| (i as f32 * 0.37).sin() * 1e3).collect();
    let scaled = NvFp4::fit(exec, &x).unwrap();
    for format in BlockFormat::ALL.into_iter().map(TensorFormat::from).chain([scaled.into()]) {
        let (depth, size) = (format.block_format().block_length(), format.block_format().block_bytes());
        let mut bytes = vec![0; 2 * size];
        encode_blocks(exec, format, &x[..2 * depth], &mut bytes).unwrap();
        let stored = StoredWeights::from_format(exec, format, &bytes, 2, depth).unwrap();
        assert_eq!(products_are_the_weights(&stored, [2, depth]), reference::decode_blocks(format, &bytes));
    }
    for golden in golden["matmul_nbits"].as_array().unwrap() {
        let size = |name: &str| golden[name].as_u64().unwrap() as usize;
        let shape = [0, 1].map(|axis| golden["shape"][axis].as_u64().unwrap() as usize);
        let zero_points = golden["zero_points"].as_array().map(|_| bytes(&golden["zero_points"]));
        let (codes, scales) = (bytes(&golden["bytes"]), reals(&golden["scales"]));
        let (bits, length) = (size("bits") as u32, size("length"));
        let stored = StoredWeights::matmul_nbits(bits, length, &codes, &scales, zero_points.as_deref(), shape).unwrap();
        assert_eq!(products_are_the_weights(&stored, shape), reals(&golden["values"]), "{bits} bits");
        let again = stored.to_matmul_nbits().unwrap();
        assert_eq!((again.bits, again.block_size, &again.scales), (bits, length, &scales));
        // Bits that no code has may be anything.
        let (blocks, sharing) = (shape[1].div_ceil(length), 8 / bits as usize);
        if shape[1].is_multiple_of(length) {
            assert_eq!(again.codes, codes);
        }
        if blocks.is_multiple_of(sharing) {
            assert_eq!(again.zero_points, zero_points);
        }
        let MatMulNBits { codes, scales, zero_points, .. } = &again;
        let back = StoredWeights::matmul_nbits(bits, length, codes, scales, zero_points.as_deref(), shape).unwrap();
        assert_eq!(back.values(), reals(&golden["values"]));
    }
}

/// Blocks that no memory holds, of no outputs.
#[test]
fn nothing_of_any_depth() {
    for depth in [usize::MAX, usize::MAX - 7, 1 << (usize::BITS - 1)] {
        for (length, bits) in [(16, 4), (32, 2), (64, 8), (usize::MAX - 15, 8), (1 << (usize::BITS - 1), 4)] {
            for zero_points in [None, Some(&[][..])] {
                let stored = StoredWeights::matmul_nbits(bits, length, &[], &[], zero_points, [0, depth]).unwrap();
                assert!(stored.values().is_empty());
            }
        }
    }
}

/// Weights of every width that the library quantizes, for `MatMulNBits` and back; and those that it cannot have.
#[test]
fn to_matmul_nbits() {
    let exec = Exec::best().unwrap();
    let w: Vec<f32> = (0..3 * 80).map(|i| ((i * i) as f32 * 0.37).sin() + 0.2).collect();
    let w = Matrix::new(&w, 3, 80).unwrap();
    for bits in 2..=8 {
        for length in [16, 32, 80] {
            for symmetric in [true, false] {
                let scheme = match symmetric {
                    true => GroupScheme::symmetric(bits, length).unwrap(),
                    false => GroupScheme::with_zero_points(bits, length).unwrap(),
                };
                let stored = StoredWeights::quantize(exec, w, scheme).unwrap();
                let MatMulNBits { bits: kept, block_size, codes, scales, zero_points } =
                    stored.to_matmul_nbits().unwrap();
                assert_eq!((kept, block_size), (bits.next_power_of_two(), length.next_power_of_two()));
                assert_eq!(zero_points.is_none(), symmetric && kept == bits, "{bits} bits");
                let back =
                    StoredWeights::matmul_nbits(kept, block_size, &codes, &scales, zero_points.as_deref(), [3, 80]);
                assert_eq!(back.unwrap().values(), stored.values(), "{bits} bits in groups of {length}");
            }
        }
    }
    // Block formats without offsets, whose zero point is the middle code.
    for format in [BlockFormat::Q4_0, BlockFormat::Q5_0, BlockFormat::Q8_0] {
        let mut bytes = vec![0; format.bytes(64).unwrap()];
        encode_blocks(exec, format, w.row(0)[..64].as_ref(), &mut bytes).unwrap();
        let stored = StoredWeights::from_format(exec, format, &bytes, 2, 32).unwrap();
        let MatMulNBits { bits, block_size, codes, scales, zero_points } = stored.to_matmul_nbits().unwrap();
        let back = StoredWeights::matmul_nbits(bits, block_size, &codes, &scales, zero_points.as_deref(), [2, 32]);
        assert_eq!(back.unwrap().values(), stored.values(), "{format:?}");
    }
    let refused = |stored: StoredWeights| assert!(matches!(stored.to_matmul_nbits(), Err(Error::Shape { .. })));
    refused(StoredWeights::quantize(exec, w, GroupScheme::symmetric(4, 48).unwrap()).unwrap());
    for format in [BlockFormat::Q4_1, BlockFormat::MxFp4] {
        refused(StoredWeights::from_format(exec, format, &vec![0; format.bytes(64).unwrap()], 2, 32).unwrap());
    }
}

/// Words of eight codes by their formulas, with groups in order and not.
#[test]
fn weights_of_gptq_and_awq() {
    let shape @ [n, depth] = [16, 64];
    let (length, groups) = (32, 2);
    let code = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 28;
    let word = |codes: [u32; 8]| {
        codes.into_iter().enumerate().fold(0_u32, |word, (i, code)| word | code << (4 * i)).cast_signed()
    };
    let scales: Vec<f32> = (0..groups * n).map(|i| (i + 1) as f32 / 64.0).collect();
    let halves = reference::narrow_to_f16(&scales);
    let weight = |output: usize, k: usize| code(output * depth + k);
    let zero = |group: usize, output: usize| code(7 + group * n + output);
    for order in [false, true] {
        let group_of = |k: usize| if order { k % groups } else { k / length };
        let qweight: Vec<i32> =
            (0..depth / 8 * n).map(|i| word([0, 1, 2, 3, 4, 5, 6, 7].map(|j| weight(i % n, i / n * 8 + j)))).collect();
        let qzeros: Vec<i32> = (0..groups * n / 8)
            .map(|i| word([0, 1, 2, 3, 4, 5, 6, 7].map(|j| zero(i / (n / 8), i % (n / 8) * 8 + j))))
            .collect();
        let g_idx: Vec<i32> = (0..depth).map(|k| group_of(k) as i32).collect();
        let g_idx = order.then_some(&g_idx[..]);
        let stored = StoredWeights::gptq(length, &qweight, &qzeros, &halves, g_idx, shape).unwrap();
        let want: Vec<f32> = (0..n * depth)
            .map(|i| {
                let (output, k) = (i / depth, i % depth);
                let group = group_of(k);
                scales[group * n + output] * (weight(output, k) as f32 - (zero(group, output) + 1) as f32)
            })
            .collect();
        assert_eq!(products_are_the_weights(&stored, shape), want, "order {order}");
        let g_idx_of_all: Vec<i32> = (0..depth).map(|k| group_of(k) as i32).collect();
        let again = Gptq {
            group_size: length,
            qweight: qweight.clone(),
            qzeros: qzeros.clone(),
            scales: halves.clone(),
            g_idx: g_idx_of_all.clone(),
        };
        assert_eq!(stored.to_gptq().unwrap(), again, "order {order}");
        let is_in_order = |stored: &StoredWeights| {
            !matches!(stored.to_awq(), Err(Error::Shape { why: "AWQ has its weights in order", .. }))
        };
        assert_eq!(is_in_order(&stored), !order);
        let with_index = StoredWeights::gptq(length, &qweight, &qzeros, &halves, Some(&g_idx_of_all), shape).unwrap();
        assert_eq!(is_in_order(&with_index), !order, "an index in order is none");
        if order {
            let mut odd = g_idx.unwrap().to_vec();
            odd[0] = 1;
            let refused = StoredWeights::gptq(length, &qweight, &qzeros, &halves, Some(&odd), shape);
            assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
            // The element that is at fault has its own place in the row.
            let mut x = vec![1.0; depth];
            x[3] = f32::INFINITY;
            let x = Activations::reals(Matrix::new(&x, 1, depth).unwrap(), Scheme::SYMMETRIC);
            every_isa(|isa| {
                let packed = PackedWeights::pack(isa, &stored.weights()).unwrap();
                let refused = matmul(isa, &x, &packed, &RealStage::new(), &mut [0.0; 16]);
                assert!(matches!(refused, Err(Error::NonFinite { index: 3, .. })), "{refused:?}");
            });
        }
    }
    let columns = [0, 2, 4, 6, 1, 3, 5, 7];
    let qweight: Vec<i32> =
        (0..depth * n / 8).map(|i| word(columns.map(|j| weight(i % (n / 8) * 8 + j, i / (n / 8))))).collect();
    let qzeros: Vec<i32> =
        (0..groups * n / 8).map(|i| word(columns.map(|j| zero(i / (n / 8), i % (n / 8) * 8 + j)))).collect();
    let stored = StoredWeights::awq(length, &qweight, &qzeros, &halves, shape).unwrap();
    assert_eq!(stored.to_awq().unwrap(), Awq { group_size: length, qweight, qzeros, scales: halves });
    let want: Vec<f32> = (0..n * depth)
        .map(|i| {
            let (output, k) = (i / depth, i % depth);
            let group = k / length;
            scales[group * n + output] * (weight(output, k) as f32 - zero(group, output) as f32)
        })
        .collect();
    assert_eq!(products_are_the_weights(&stored, shape), want);
}

/// Weights that were quantized or encoded here, for the four-bit layers of GPTQ and AWQ and back; and those that these cannot
/// have.
#[test]
fn to_gptq_and_awq() {
    let exec = Exec::best().unwrap();
    let w: Vec<f32> = (0..8 * 96).map(|i| ((i * i) as f32 * 0.37).sin() - 0.2).collect();
    let quantized = |scheme| StoredWeights::quantize(exec, Matrix::new(&w, 8, 96).unwrap(), scheme).unwrap();
    let symmetric = |bits, length| GroupScheme::symmetric(bits, length).unwrap();
    let mut bytes = vec![0; BlockFormat::Q4_0.bytes(w.len()).unwrap()];
    encode_blocks(exec, BlockFormat::Q4_0, &w, &mut bytes).unwrap();
    for (stored, length) in [
        (quantized(symmetric(4, 32).f16_scales()), 32),
        (quantized(symmetric(3, 64).f16_scales()), 64), // the last group is shorter
        (quantized(GroupScheme::with_zero_points(4, 96).unwrap().f16_scales()), 96),
        (StoredWeights::from_format(exec, BlockFormat::Q4_0, &bytes, 8, 96).unwrap(), 32),
    ] {
        let Gptq { group_size, qweight, qzeros, scales, g_idx } = stored.to_gptq().unwrap();
        let back = StoredWeights::gptq(group_size, &qweight, &qzeros, &scales, Some(&g_idx), [8, 96]).unwrap();
        assert_eq!((back.values(), group_size), (stored.values(), length));
        let Awq { group_size, qweight, qzeros, scales } = stored.to_awq().unwrap();
        let back = StoredWeights::awq(group_size, &qweight, &qzeros, &scales, [8, 96]).unwrap();
        assert_eq!((back.values(), group_size), (stored.values(), length));
    }
    let refused = |stored: StoredWeights| {
        assert!(matches!(stored.to_gptq(), Err(Error::Shape { .. } | Error::Multiple { .. })));
        assert!(matches!(stored.to_awq(), Err(Error::Shape { .. } | Error::Multiple { .. })));
    };
    refused(quantized(symmetric(5, 32).f16_scales()));
    refused(quantized(symmetric(4, 32)));
    for format in [BlockFormat::Q4_1, BlockFormat::MxFp4] {
        refused(StoredWeights::from_format(exec, format, &vec![0; format.bytes(8 * 96).unwrap()], 8, 96).unwrap());
    }
    refused(StoredWeights::from_format(exec, BlockFormat::Q4_0, &bytes, 4, 192).unwrap()); // 4 outputs
    // Without negative weights the zero point is 0, which GPTQ cannot store: its zero points are one less.
    let positive: Vec<f32> = w.iter().map(|w| w.abs()).collect();
    let scheme = GroupScheme::with_zero_points(4, 32).unwrap().f16_scales();
    let stored = StoredWeights::quantize(exec, Matrix::new(&positive, 8, 96).unwrap(), scheme).unwrap();
    assert!(matches!(stored.to_gptq(), Err(Error::Shape { found: 0, .. })));
    assert_eq!(stored.to_awq().unwrap().qzeros, [0; 3]);
}

/// Weights that are grouped along their columns, `[K, N]`, have the products of those that are grouped along rows.
#[test]
fn groups_along_columns() {
    let (m, n, depth, length) = (3, 37, 128, 32);
    let groups = depth / length;
    let weight = |k: usize, j: usize| ((k * 37 + j * 101) % 16) as u8;
    let by_row: Vec<u8> = (0..n).flat_map(|j| (0..depth).map(move |k| weight(k, j))).collect();
    let by_column: Vec<u8> = (0..depth).flat_map(|k| (0..n).map(move |j| weight(k, j))).collect();
    let (scale, zero) =
        (|g: usize, j: usize| 0.001 * (1 + g * n + j) as f32, |g: usize, j: usize| ((g + j) % 16) as i32);
    let rows = || (0..n).flat_map(|j| (0..groups).map(move |g| (g, j)));
    let columns = || (0..groups).flat_map(|g| (0..n).map(move |j| (g, j)));
    let codes = CodeRange::unsigned(4).unwrap();
    let params = |granularity: Granularity, places: Vec<(usize, usize)>| {
        let scales = places.iter().map(|&(g, j)| scale(g, j)).collect();
        QuantParams::new(codes, granularity, scales, places.iter().map(|&(g, j)| zero(g, j)).collect()).unwrap()
    };
    let along_rows = params(Granularity::block(&[n, depth], length).unwrap(), rows().collect());
    let along_columns = params(Granularity::block_along(&[depth, n], 0, length).unwrap(), columns().collect());
    let by_rows = Quantized::new(Matrix::new(&by_row, n, depth).unwrap(), &along_rows).unwrap();
    let by_columns = Quantized::new(Matrix::new(&by_column, depth, n).unwrap(), &along_columns).unwrap();
    let x = numbers(m * depth, 1);
    let x = Activations::reals(Matrix::new(&x, m, depth).unwrap(), Scheme::ASYMMETRIC);
    every_isa(|isa| {
        let packed = PackedWeights::pack(isa, &Weights::quantized(by_rows).unwrap()).unwrap();
        let want = product(isa, &x, &packed);
        let packed = PackedWeights::pack(isa, &Weights::quantized_columns(by_columns).unwrap()).unwrap();
        assert_eq!(product(isa, &x, &packed), want, "{isa}");
    });
    assert!(matches!(Weights::quantized(by_columns), Err(Error::Shape { .. })));
    assert!(matches!(Weights::quantized_columns(by_rows), Err(Error::Shape { .. })));
}
