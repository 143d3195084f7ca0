//! Codes from codes, and stages on accumulators that are given: what their parts make one after the other.

use crate::common::{Ranges, bits, every_isa, scales, streams};
use proptest::prelude::*;
use zeropoint::{
    Accumulators, ByteCode, CodeRange, Dequantize, Error, Granularity, Matrix, MatrixMut, PackedCodes, PackedCodesMut,
    QuantParams, Quantized, Rounding, Rule, Stream, raw, reference, rescale,
};

/// A matrix with parameters of any granularity that goes with one, its rows further apart than they are long.
#[derive(Debug, Clone)]
struct Operand<C: ByteCode> {
    rows: usize,
    columns: usize,
    stride: usize,
    codes: Vec<C>,
    params: QuantParams<C>,
}

fn params<C: Ranges>(rows: usize, columns: usize, codes: Vec<CodeRange<C>>) -> impl Strategy<Value = QuantParams<C>> {
    let granularities = if rows * columns == 0 {
        vec![Granularity::Tensor]
    } else {
        let shape = [rows, columns];
        let channel = |axis| Granularity::channel(&shape, axis).unwrap();
        vec![
            Granularity::Tensor,
            channel(0),
            channel(1),
            Granularity::block(&shape, 16).unwrap(),
            Granularity::block(&shape, 7).unwrap(),
            Granularity::block_along(&shape, 0, 3).unwrap(),
        ]
    };
    (prop::sample::select(granularities), prop::sample::select(codes)).prop_flat_map(move |(granularity, codes)| {
        let groups = granularity.groups(rows * columns).unwrap();
        let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
        let scales = prop::collection::vec(prop_oneof![4 => 0.01_f32..0.2, 1 => scales()], groups);
        (scales, prop::collection::vec(min..=max, groups))
            .prop_map(move |(scales, zero_points)| QuantParams::new(codes, granularity, scales, zero_points).unwrap())
    })
}

fn operand<C: Ranges + ByteCode>(rows: usize, columns: usize) -> impl Strategy<Value = Operand<C>> {
    (0_usize..3, params::<C>(rows, columns, C::all())).prop_flat_map(move |(gap, params)| {
        let stride = columns + gap;
        prop::collection::vec(any::<C>(), rows * stride).prop_map(move |codes| {
            let params = params.clone();
            Operand { rows, columns, stride, codes, params }
        })
    })
}

impl<C: ByteCode> Operand<C> {
    fn quantized(&self) -> Quantized<'_, C> {
        let codes = Matrix::with_stride(&self.codes, self.rows, self.columns, self.stride).unwrap();
        Quantized::new(codes, &self.params).unwrap()
    }

    fn reals(&self) -> Vec<f32> {
        let dense: Vec<C> = (0..self.rows * self.columns)
            .map(|i| self.codes[i / self.columns * self.stride + i % self.columns])
            .collect();
        reference::dequantize(&dense, &self.params)
    }
}

/// `write` makes what the reference makes of `reals`, to nearest and stochastically: in a slice, in rows with gaps, and in
/// nibbles if the codes fit.
fn check<C: ByteCode>(
    [rows, columns]: [usize; 2],
    reals: &[f32],
    y: &QuantParams<C>,
    stream: Stream,
    slice: &dyn Fn(zeropoint::Isa, Rounding, &mut [C]),
    matrix: &dyn Fn(zeropoint::Isa, Rounding, MatrixMut<'_, C>),
    nibbles: &dyn Fn(zeropoint::Isa, Rounding, PackedCodesMut<'_, C>),
) {
    for rounding in [Rounding::Nearest, stream.into()] {
        let want = match rounding {
            Rounding::Nearest => reference::quantize(reals, y),
            Rounding::Stochastic(stream) => reference::quantize_stochastic(reals, y, stream),
        };
        every_isa(|isa| {
            let mut out = vec![C::MAX; want.len()];
            slice(isa, rounding, &mut out);
            assert_eq!(out, want, "{isa} {rounding:?}");
            let stride = columns + 2;
            let mut out = vec![C::MAX; rows * stride];
            matrix(isa, rounding, MatrixMut::with_stride(&mut out, rows, columns, stride).unwrap());
            for row in 0..rows {
                assert_eq!(out[row * stride..][..columns], want[row * columns..][..columns], "{isa} {rounding:?}");
                assert_eq!(out[row * stride + columns..][..2], [C::MAX; 2]);
            }
            let (min, max): (i32, i32) = (y.codes().min().into(), y.codes().max().into());
            if max - min < 16 && (min == 0 || min >= -8) {
                let mut bytes = vec![0; want.len().div_ceil(2)];
                nibbles(isa, rounding, PackedCodesMut::four_bits(&mut bytes, want.len()).unwrap());
                let mut out = vec![C::MAX; want.len()];
                raw::unpack_codes(isa, PackedCodes::four_bits(&bytes, out.len()).unwrap(), &mut out).unwrap();
                assert_eq!(out, want, "{isa} {rounding:?}, in nibbles");
            }
        });
    }
}

/// Three matrices of as many rows, the first two of one shape, and parameters of three results.
type Operands = (Operand<u8>, Operand<i8>, Operand<u8>, QuantParams<i8>, QuantParams<u8>);

fn operands() -> impl Strategy<Value = Operands> {
    (0_usize..5, prop_oneof![0_usize..9, 30_usize..150], 0_usize..70).prop_flat_map(|(rows, columns, more)| {
        (
            operand::<u8>(rows, columns),
            operand::<i8>(rows, columns),
            operand::<u8>(rows, more),
            params(rows, columns, i8::all()),
            params(rows, 2 * columns + more, u8::all()),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn codes_from_codes((a, b, c, y, wide_y) in operands(), stream in streams(2_000)) {
        let shape = [a.rows, a.columns];
        let (qa, qb, qc) = (a.quantized(), b.quantized(), c.quantized());
        check(
            shape, &a.reals(), &y, stream,
            &|isa, rounding, out| rescale::requantize(isa, qa, &y, rounding, out).unwrap(),
            &|isa, rounding, out| rescale::requantize(isa, qa, &y, rounding, out).unwrap(),
            &|isa, rounding, out| rescale::requantize(isa, qa, &y, rounding, out).unwrap(),
        );
        let sums: Vec<f32> = a.reals().iter().zip(b.reals()).map(|(a, b)| a + b).collect();
        check(
            shape, &sums, &y, stream,
            &|isa, rounding, out| rescale::add(isa, qa, qb, &y, rounding, out).unwrap(),
            &|isa, rounding, out| rescale::add(isa, qa, qb, &y, rounding, out).unwrap(),
            &|isa, rounding, out| rescale::add(isa, qa, qb, &y, rounding, out).unwrap(),
        );
        let (reals_a, reals_c, width) = (a.reals(), c.reals(), 2 * a.columns + c.columns);
        let mut together = Vec::new();
        for row in 0..a.rows {
            together.extend_from_slice(&reals_a[row * a.columns..][..a.columns]);
            together.extend_from_slice(&reals_c[row * c.columns..][..c.columns]);
            together.extend_from_slice(&reals_a[row * a.columns..][..a.columns]);
        }
        let parts = [qa, qc, qa];
        check(
            [a.rows, width], &together, &wide_y, stream,
            &|isa, rounding, out| rescale::concat(isa, &parts, &wide_y, rounding, out).unwrap(),
            &|isa, rounding, out| rescale::concat(isa, &parts, &wide_y, rounding, out).unwrap(),
            &|isa, rounding, out| rescale::concat(isa, &parts, &wide_y, rounding, out).unwrap(),
        );
    }

    /// Stages of every kind on accumulators with gaps between their rows.
    #[test]
    fn stages_on_given_accumulators(
        (m, n) in prop_oneof![(0_usize..20, 0_usize..140), (1_usize..3, 500_usize..1200)],
        gap in 0_usize..3,
        seed in any::<i32>(),
        stream in streams(4_000),
    ) {
        let stride = n + gap;
        let given: Vec<i32> =
            (0..(m * stride) as i32).map(|i| (i ^ seed).wrapping_mul(-1_640_531_527) >> (i as u32 % 24)).collect();
        let accumulators = Matrix::with_stride(&given, m, n, stride).unwrap();
        let each = || (0..m * n).map(|i| (i, accumulators.row(i / n)[i % n]));
        let row_scales: Vec<f32> = (0..m).map(|i| 0.25 + i as f32).collect();
        let column_scales: Vec<f32> = (0..n).map(|j| 0.01 + j as f32 * 1e-4).collect();
        let multipliers: Vec<f64> = column_scales.iter().map(|&scale| scale.into()).collect();
        let words = reference::words(stream, m * n);
        every_isa(|isa| {
            let mut out = vec![7; m * n];
            raw::apply(isa, accumulators, &Accumulators, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
            assert!(each().all(|(i, acc)| out[i] == acc), "{isa}");
            if m * n == 0 {
                return;
            }
            let columns = raw::DequantizeColumns::new(&column_scales, Some(&column_scales)).unwrap();
            let mut real = vec![0.0; m * n];
            let stage = columns.rows(&row_scales).unwrap();
            raw::apply(isa, accumulators, &stage, MatrixMut::new(&mut real, m, n).unwrap()).unwrap();
            let want: Vec<f32> = each()
                .map(|(i, acc)| {
                    let scale = column_scales[i % n];
                    reference::dequantize_accumulator(acc, row_scales[i / n], scale, Some(scale))
                })
                .collect();
            assert_eq!(bits(&real), bits(&want), "{isa}");
            let stage = raw::requantize(Rule::Float, &multipliers, 9, 3..=250_u8).unwrap().stochastic(stream).unwrap();
            let mut codes = vec![0; m * n];
            raw::apply(isa, accumulators, &stage, MatrixMut::new(&mut codes, m, n).unwrap()).unwrap();
            let code = |(i, acc)| reference::requantize_stochastic(acc, multipliers[i % n], 9, (3, 250), words[i]);
            assert_eq!(codes, each().map(code).collect::<Vec<u8>>(), "{isa}");
        });
    }
}

/// The smallest i32 counts as the next one where codes are made.
#[test]
fn the_smallest_accumulator() {
    // −0.5, and a little less than that.
    let multiplier = 2_f64.powi(-32);
    every_isa(|isa| {
        for rule in [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp] {
            let stage = raw::requantize(rule, &[multiplier], 0, i8::MIN..=i8::MAX).unwrap();
            let mut out = [7; 2];
            let given = [i32::MIN, -i32::MAX];
            let given = Matrix::new(&given, 1, 2).unwrap();
            raw::apply(isa, given, &stage, MatrixMut::new(&mut out, 1, 2).unwrap()).unwrap();
            assert_eq!(out[0], out[1], "{isa} {rule:?}");
        }
    });
}

/// Pieces of several threads.
#[cfg(feature = "rayon")]
#[test]
fn several_threads() {
    use zeropoint::Exec;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let exec = Exec::from(zeropoint::Isa::best().unwrap());
    for [m, n] in [[1, 700_001], [7, 100_003], [997, 701]] {
        let given: Vec<i32> =
            (0..m * n).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 12) as i32 % 30_000 - 15_000).collect();
        let given = Matrix::new(&given, m, n).unwrap();
        let stage = raw::requantize(Rule::Float, &[0.01], 100, 0..=255_u8).unwrap();
        let a: Vec<u8> = (0..m * n).map(|i| (i * 37 / 8) as u8).collect();
        let a_params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.031, 99).unwrap();
        let y = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.07, -3).unwrap();
        let a = Quantized::new(Matrix::new(&a, m, n).unwrap(), &a_params).unwrap();
        let run = |exec: Exec<'_>| {
            let mut codes = [vec![0_u8; m * n], vec![0; m * n]];
            raw::apply(exec, given, &stage, MatrixMut::new(&mut codes[0], m, n).unwrap()).unwrap();
            let stochastic = stage.stochastic(Stream::new(4)).unwrap();
            raw::apply(exec, given, &stochastic, MatrixMut::new(&mut codes[1], m, n).unwrap()).unwrap();
            let mut rescaled = [vec![0_i8; m * n], vec![0; m * n], vec![0; 2 * m * n]];
            rescale::requantize(exec, a, &y, Rounding::Nearest, &mut rescaled[0]).unwrap();
            rescale::add(exec, a, a, &y, Stream { seed: 1, offset: 77 }, &mut rescaled[1]).unwrap();
            rescale::concat(exec, &[a, a], &y, Stream::new(2), &mut rescaled[2]).unwrap();
            (codes, rescaled)
        };
        assert!(pool.install(|| run(exec.rayon())) == run(exec), "{m} × {n}");
    }
}

#[test]
fn what_does_not_go_together() {
    let y = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 3).unwrap();
    let codes = [1_u8; 6];
    let matrix =
        |rows, columns| Quantized::new(Matrix::new(&codes[..rows * columns], rows, columns).unwrap(), &y).unwrap();
    let length = |what, expected, found| Err(Error::Length { what, expected, found });
    every_isa(|isa| {
        let mut out = [7_u8; 6];
        let short = rescale::requantize(isa, matrix(2, 3), &y, Rounding::Nearest, &mut out[..5]);
        assert_eq!(short, length("the output", 6, 5));
        let turned = MatrixMut::with_stride(&mut out, 3, 1, 2).unwrap();
        assert!(rescale::requantize(isa, matrix(1, 3), &y, Rounding::Nearest, turned).is_err());
        let add = rescale::add(isa, matrix(2, 3), matrix(3, 2), &y, Rounding::Nearest, &mut out);
        assert_eq!(add, length("the rows of the second term", 2, 3));
        let add = rescale::add(isa, matrix(2, 2), matrix(2, 3), &y, Rounding::Nearest, &mut out);
        assert_eq!(add, length("the columns of the second term", 2, 3));
        let concat = rescale::concat(isa, &[matrix(2, 1), matrix(3, 1)], &y, Rounding::Nearest, &mut out);
        assert_eq!(concat, length("the rows of a part", 2, 3));
        let none: [Quantized<'_, u8>; 0] = [];
        let concat = rescale::concat(isa, &none, &y, Rounding::Nearest, &mut out);
        assert_eq!(concat, Err(Error::Empty { what: "the list of parts", group: None }));
        let late = Stream { seed: 0, offset: u64::MAX - 2 };
        assert!(matches!(rescale::requantize(isa, matrix(2, 2), &y, late, &mut out[..4]), Err(Error::Stream { .. })));

        let given = Matrix::new(&[5, 6, 7, 8], 2, 2).unwrap();
        let stage = raw::requantize(Rule::Float, &[0.5; 2], 3, 0..=255_u8).unwrap();
        let apply = raw::apply(isa, given, &stage, MatrixMut::new(&mut out[..2], 1, 2).unwrap());
        assert_eq!(apply, length("the result's rows", 2, 1));
        let apply = raw::apply(isa, given, &stage, MatrixMut::new(&mut out[..6], 2, 3).unwrap());
        assert_eq!(apply, length("the result's columns", 2, 3));
        let three = raw::requantize(Rule::Float, &[0.5; 3], 3, 0..=255_u8).unwrap();
        let apply = raw::apply(isa, given, &three, MatrixMut::new(&mut out[..4], 2, 2).unwrap());
        assert_eq!(apply, length("multipliers", 2, 3));
        let apply =
            raw::apply(isa, given, &stage.stochastic(late).unwrap(), MatrixMut::new(&mut out[..4], 2, 2).unwrap());
        assert!(matches!(apply, Err(Error::Stream { .. })));
        let mut real = [7.0; 4];
        let apply = raw::apply(isa, given, &Dequantize::new(), MatrixMut::new(&mut real, 2, 2).unwrap());
        assert_eq!(apply, Err(Error::Empty { what: "scales", group: None }));
        assert_eq!((out, real), ([7; 6], [7.0; 4]), "untouched");
    });
}
