//! Products of i16 activations with i8 weights equal the reference on every ISA, bit for bit, and LiteRT.

use crate::common::{bits, codes, every_isa};
use proptest::prelude::*;
use serde_json::Value;
use zeropoint::int16x8::{Accumulators, Dequantize, PackedMatrix, Requantize, Rule, Stage, matmul};
use zeropoint::{Code, CodeRange, Error, Granularity, Isa, Matrix, MatrixMut, QuantParams, Quantized, reference};

/// Rows of A with gaps, weights `[N, K]`, and a bias in units of the accumulators.
#[derive(Debug)]
struct Case {
    shape: [usize; 3],
    stride: usize,
    a: Vec<i16>,
    w: Vec<i8>,
    bias: Vec<i64>,
}

fn cases() -> impl Strategy<Value = Case> {
    let depths = prop_oneof![3 => 0_usize..70, 2 => prop::sample::select(vec![503, 504, 505, 507, 1008, 1009, 1300])];
    ([1_usize..20, 1_usize..70], depths, 0_usize..4).prop_flat_map(|([m, n], k, gap)| {
        let stride = k + gap;
        let a = prop::collection::vec(codes::<i16>(), m * stride);
        let w = prop::collection::vec(codes::<i8>(), n * k);
        let bias = prop::collection::vec(prop_oneof![-1_000_000_i64..1_000_000, -(1_i64 << 45)..1 << 45], n);
        (a, w, bias).prop_map(move |(a, w, bias)| Case { shape: [m, n, k], stride, a, w, bias })
    })
}

fn a_params(rows: usize, columns: usize, each: bool) -> QuantParams<i16> {
    let codes = CodeRange::signed16(16).unwrap();
    if !each {
        return QuantParams::per_tensor(codes, 1.0 / 32_768.0, 0).unwrap();
    }
    let scales = (0..rows).map(|row| (1 + row) as f32 * 1e-5).collect();
    QuantParams::new(codes, Granularity::channel(&[rows, columns], 0).unwrap(), scales, vec![0; rows]).unwrap()
}

fn w_params(rows: usize, columns: usize) -> QuantParams<i8> {
    let scales = (0..rows).map(|row| (3 + row) as f32 * 1e-3).collect();
    let by_row = Granularity::channel(&[rows, columns], 0).unwrap();
    QuantParams::new(CodeRange::signed(8).unwrap(), by_row, scales, vec![0; rows]).unwrap()
}

/// A result whose rows lie apart, without what is between them.
fn product<S: Stage>(isa: Isa, x: Quantized<'_, i16>, weights: &PackedMatrix, stage: &S) -> Vec<S::Element> {
    let (m, n) = (x.codes().rows(), weights.columns());
    let mut out = vec![S::Element::default(); m * (n + 3)];
    matmul(isa, x, weights, stage, MatrixMut::with_stride(&mut out, m, n, n + 3).unwrap()).unwrap();
    out.chunks(n + 3).flat_map(|row| row[..n].to_vec()).collect()
}

fn requantized<C: Code>(
    isa: Isa,
    x: Quantized<'_, i16>,
    weights: &PackedMatrix,
    want: &[i64],
    bounds: (C, C),
    zero_point: i32,
) {
    let n = weights.columns();
    let multipliers: Vec<f64> = (0..n).map(|j| 1e-7 * (1 + j * j) as f64).collect();
    let products = [reference::float_product_i64, reference::half_away_product_i64, reference::reduced_product_i64];
    for (rule, product_of) in [Rule::Float, Rule::HalfAway, Rule::Reduced].into_iter().zip(products) {
        let stage = Requantize::with_multipliers(rule, &multipliers, zero_point, bounds.0..=bounds.1).unwrap();
        let code =
            |(i, &acc): (usize, &i64)| reference::saturate(product_of(acc, multipliers[i % n]), zero_point, bounds);
        let codes: Vec<C> = want.iter().enumerate().map(code).collect();
        assert_eq!(product(isa, x, weights, &stage), codes, "{isa} {rule:?}");
    }
}

proptest! {
    #![proptest_config(crate::common::cases(150))]

    #[test]
    fn equals_reference(case in cases(), each in any::<bool>()) {
        let Case { shape: [m, n, k], stride, a, w, bias } = &case;
        let [m, n, k] = [*m, *n, *k];
        let a = Matrix::with_stride(a, m, k, *stride).unwrap();
        let w = Matrix::new(w, n, k).unwrap();
        let transposed: Vec<i8> = (0..k * n).map(|i| w.row(i % n)[i / n]).collect();
        let (a_params, w_params) = (a_params(m, k, each), w_params(n, k));
        let by_column = w_params.with_granularity(Granularity::channel(&[k, n], 1).unwrap()).unwrap();
        let x = Quantized::new(a, &a_params).unwrap();
        let (plain, want) = (reference::matmul_int16x8(a, w, None), reference::matmul_int16x8(a, w, Some(bias)));
        let scale = |row: usize| a_params.scales()[if each { row } else { 0 }];
        let float_bias: Vec<f32> = bias.iter().map(|&bias| bias as f32 * 1e-6).collect();
        let floats = |want: &[i64], bias: Option<&[f32]>| -> Vec<f32> {
            let float = |(i, &acc): (usize, &i64)| {
                let product = acc as f32 * (scale(i / n) * w_params.scales()[i % n]);
                bias.map_or(product, |bias| product + bias[i % n])
            };
            want.iter().enumerate().map(float).collect()
        };
        every_isa(|isa| {
            let weights = PackedMatrix::pack(isa, Quantized::new(w, &w_params).unwrap()).unwrap();
            assert_eq!(product(isa, x, &weights, &Accumulators), plain, "{isa}");
            let columns = Matrix::new(&transposed, k, n).unwrap();
            let columns = PackedMatrix::pack_columns(isa, Quantized::new(columns, &by_column).unwrap()).unwrap();
            let weights = columns.with_accumulator_bias(bias).unwrap();
            assert_eq!(product(isa, x, &weights, &Accumulators), want, "{isa}");
            assert_eq!(bits(&product(isa, x, &weights, &Dequantize::new())), bits(&floats(&want, None)), "{isa}");
            let stage = Dequantize::new().with_bias(&float_bias).unwrap();
            assert_eq!(bits(&product(isa, x, &weights, &stage)), bits(&floats(&want, Some(&float_bias))), "{isa}");
            requantized::<i16>(isa, x, &weights, &want, (i16::MIN, i16::MAX), 0);
            requantized::<u16>(isa, x, &weights, &want, (7, 60_000), 30_000);
            requantized::<i8>(isa, x, &weights, &want, (-100, 127), -5);
            requantized::<u8>(isa, x, &weights, &want, (0, 255), 128);
        });
    }
}

/// Products of the largest magnitude, of depths at which sums of 32 bits would wrap many times.
#[test]
fn extremes() {
    for (a, w) in [(i16::MIN, i8::MIN), (i16::MIN, i8::MAX), (i16::MAX, i8::MIN), (i16::MAX, i8::MAX)] {
        for k in [504, 511, 512, 513, 1023, 1024, 5000, 70_001] {
            let (m, n) = (3, 19);
            let (a_codes, w_codes) = (vec![a; m * k], vec![w; n * k]);
            let (a_params, w_params) = (a_params(m, k, false), w_params(n, k));
            let x = Quantized::new(Matrix::new(&a_codes, m, k).unwrap(), &a_params).unwrap();
            let want = k as i64 * i64::from(a) * i64::from(w);
            every_isa(|isa| {
                let weights = Quantized::new(Matrix::new(&w_codes, n, k).unwrap(), &w_params).unwrap();
                let weights = PackedMatrix::pack(isa, weights).unwrap();
                assert_eq!(
                    product(isa, x, &weights, &Accumulators),
                    vec![want; m * n],
                    "{isa} {k} {}",
                    weights.kernel()
                );
            });
        }
    }
}

/// Rows that compete for the sets of a cache, and more of them than a level-2 cache holds at a time; a row without a next one.
#[test]
fn rows_in_memory() {
    let number = |i: usize| (i * 7919 % 65_537) as u16 as i16;
    for [m, n, k, stride] in [[9, 300, 512, 512], [700, 5, 1024, 1024], [2, 257, 1023, 2048], [1, 40, 77, usize::MAX]] {
        let a: Vec<i16> = (0..(m - 1) * stride.min(1 << 20) + k).map(number).collect();
        let w: Vec<i8> = (0..n * k).map(|i| number(i) as i8).collect();
        let a = Matrix::with_stride(&a, m, k, stride).unwrap();
        let w = Matrix::new(&w, n, k).unwrap();
        let (a_params, w_params) = (a_params(m, k, false), w_params(n, k));
        let want = reference::matmul_int16x8(a, w, None);
        every_isa(|isa| {
            let weights = PackedMatrix::pack(isa, Quantized::new(w, &w_params).unwrap()).unwrap();
            let found = product(isa, Quantized::new(a, &a_params).unwrap(), &weights, &Accumulators);
            assert!(found == want, "{isa} {m} × {n} × {k}");
        });
    }
}

/// Any number of threads makes the bytes of one.
#[test]
#[cfg(feature = "rayon")]
fn threads() {
    use crate::common::{part, slowest_and_fastest};
    let pools = [2, 3, 8].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let number = |i: usize| (i * 7919 % 65_537) as u16 as i16;
    for [m, n, k] in part([[37, 700, 505], [1, 2000, 600], [300, 40, 700], [64, 64, 2000]]) {
        let a: Vec<i16> = (0..m * k).map(number).collect();
        let w: Vec<i8> = (0..n * k).map(|i| number(i) as i8).collect();
        let (a_params, w_params) = (a_params(m, k, false), w_params(n, k));
        let x = Quantized::new(Matrix::new(&a, m, k).unwrap(), &a_params).unwrap();
        slowest_and_fastest(|isa| {
            let weights = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
            let weights = PackedMatrix::pack(isa, weights).unwrap();
            let want = product(isa, x, &weights, &Accumulators);
            for pool in &pools {
                pool.install(|| {
                    for _ in 0..3 {
                        let mut out = vec![0; m * n];
                        let into = MatrixMut::new(&mut out, m, n).unwrap();
                        matmul(zeropoint::Exec::from(isa).rayon(), x, &weights, &Accumulators, into).unwrap();
                        assert!(out == want, "{isa} {m} × {n} × {k}");
                    }
                });
            }
        });
    }
}

/// LiteRT's layers of int16 activations: `golden/int16x8.py` recorded them.
#[test]
fn litert() {
    let golden: Value = serde_json::from_str(include_str!("golden/int16x8.json")).unwrap();
    let float = |value: &Value| value.as_f64().unwrap() as f32;
    let x_params = QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), float(&golden["s_x"]), 0).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let [m, n, k]: [usize; 3] = serde_json::from_value(case["shape"].clone()).unwrap();
        let extremes = case["extremes"].as_bool().unwrap();
        let a = |i: usize| if extremes { -32_768 } else { ((i * 7919 % 65_536) as i32 - 32_768) as i16 };
        let w = |i: usize| if extremes { -127 } else { ((i * 37 % 255) as i32 - 127) as i8 };
        let (a, w): (Vec<i16>, Vec<i8>) = ((0..m * k).map(a).collect(), (0..n * k).map(w).collect());
        let bias: Vec<i64> = match &case["bias"] {
            Value::Null => (0..n as i64).map(|j| (j - n as i64 / 2) * case["bias_unit"].as_i64().unwrap()).collect(),
            bias => serde_json::from_value(bias.clone()).unwrap(),
        };
        let few: Vec<f32> = case["s_w"].as_array().unwrap().iter().map(float).collect();
        let scales = (0..n).map(|j| few[j % few.len()]).collect();
        let by_row = Granularity::channel(&[n, k], 0).unwrap();
        let w_params = QuantParams::new(CodeRange::signed(8).unwrap(), by_row, scales, vec![0; n]).unwrap();
        let y_params = QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), float(&case["s_y"]), 0).unwrap();
        let rule = if case["conv"].as_bool().unwrap() { Rule::Reduced } else { Rule::HalfAway };
        let want: Vec<i16> = serde_json::from_value(case["y"].clone()).unwrap();
        every_isa(|isa| {
            let weights = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
            let weights = PackedMatrix::pack(isa, weights).unwrap().with_accumulator_bias(&bias).unwrap();
            let stage = Requantize::new(&weights, &x_params, &y_params, rule).unwrap();
            let stage = if case["relu"].as_bool().unwrap() { stage.relu() } else { stage };
            let x = Quantized::new(Matrix::new(&a, m, k).unwrap(), &x_params).unwrap();
            assert_eq!(product(isa, x, &weights, &stage), want, "{isa} {rule:?} {m} × {n} × {k}");
        });
    }
}

/// A bias of real numbers in units of the accumulators.
#[test]
fn real_bias() {
    let (a, w) = ([30_000_i16, -20_000, 7], [100_i8, -128, 3, 0, 0, 0]);
    let x_params = a_params(1, 3, false);
    let x = Quantized::new(Matrix::new(&a, 1, 3).unwrap(), &x_params).unwrap();
    let w_params = w_params(2, 3);
    let bias = [1.25_f32, -1e6];
    let codes = |j: usize| f64::from(bias[j]) / (f64::from(x_params.scales()[0]) * f64::from(w_params.scales()[j]));
    let want =
        [30_000 * 100 + 20_000 * 128 + 21 + codes(0).round_ties_even() as i64, codes(1).round_ties_even() as i64];
    assert!(want[1] < i64::from(i32::MIN));
    every_isa(|isa| {
        let weights = Quantized::new(Matrix::new(&w, 2, 3).unwrap(), &w_params).unwrap();
        let weights = PackedMatrix::pack(isa, weights).unwrap().with_bias(&bias, &x_params).unwrap();
        assert_eq!(product(isa, x, &weights, &Accumulators), want, "{isa}");
        let other = a_params(1, 3, true);
        let x = Quantized::new(x.codes(), &other).unwrap();
        let refused = matmul(isa, x, &weights, &Accumulators, MatrixMut::new(&mut [0; 2], 1, 2).unwrap());
        assert_eq!(
            refused,
            Err(Error::Operand { index: 0, why: "the bias was quantized for activations of another scale" })
        );
    });
}

#[test]
fn errors() {
    let isa = Isa::best().unwrap();
    let (a, w) = ([1_i16, 2, 3, 4], [1_i8, 2, 3, 4]);
    let (a, w) = (Matrix::new(&a, 2, 2).unwrap(), Matrix::new(&w, 2, 2).unwrap());
    let (x_params, w_params) = (a_params(2, 2, false), w_params(2, 2));
    let (x, quantized) = (Quantized::new(a, &x_params).unwrap(), Quantized::new(w, &w_params).unwrap());
    let weights = PackedMatrix::pack(isa, quantized).unwrap();
    let run = |x, weights: &PackedMatrix, rows, columns| {
        let mut out = vec![7; rows * columns];
        let result = matmul(isa, x, weights, &Accumulators, MatrixMut::new(&mut out, rows, columns).unwrap());
        assert!(result.is_ok() || out.iter().all(|&out| out == 7), "untouched");
        result.unwrap_err()
    };
    let length = |what, expected, found| Error::Length { what, expected, found };
    assert_eq!(run(x, &weights, 3, 2), length("the result's rows", 2, 3));
    assert_eq!(run(x, &weights, 2, 1), length("the result's columns", 2, 1));
    let deep = Quantized::new(Matrix::new(&[1_i16; 6], 2, 3).unwrap(), &x_params).unwrap();
    assert_eq!(run(deep, &weights, 2, 2), length("the depth of the activations", 2, 3));
    let moved = QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), 1.0, 5).unwrap();
    let zero_point = |index, zero_point| Error::ZeroPoint { index, zero_point, min: 0, max: 0 };
    assert_eq!(run(Quantized::new(a, &moved).unwrap(), &weights, 2, 2), zero_point(0, 5));
    let rows = Granularity::channel(&[2, 2], 0).unwrap();
    let moved = QuantParams::new(CodeRange::signed(8).unwrap(), rows, vec![1.0; 2], vec![0, -3]).unwrap();
    assert_eq!(PackedMatrix::pack(isa, Quantized::new(w, &moved).unwrap()).unwrap_err(), zero_point(1, -3));
    let other = PackedMatrix::pack(Isa::named("scalar").unwrap(), quantized).unwrap();
    if isa.name() != "scalar" {
        assert_eq!(run(x, &other, 2, 2), Error::PackedIsa { packed: "scalar", exec: isa.name() });
    }

    // Accumulators of 48 bits: 2 · 2²² of them for the products.
    let most = (1_i64 << 47) - 1 - 2 * (1 << 22);
    let bias = |bias| weights.clone().with_accumulator_bias(&[0, bias]);
    assert!(bias(most).is_ok() && bias(-most).is_ok());
    assert_eq!(bias(most + 1).unwrap_err(), Error::Depth { row: 0, channel: 1, depth: 2, limit: 1 });
    assert_eq!(bias(i64::MIN).unwrap_err(), Error::Depth { row: 0, channel: 1, depth: 2, limit: 0 });
    assert_eq!(weights.clone().with_accumulator_bias(&[0]).unwrap_err(), length("the bias", 2, 1));
    assert!(matches!(weights.clone().with_bias(&[0.0, 1e30], &x_params), Err(Error::Bias { index: 1, .. })));
    let no_depth = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 1.0, 0).unwrap();
    let deep = Quantized::new(Matrix::new(&[], 0, 1 << 25).unwrap(), &no_depth).unwrap();
    assert_eq!(
        PackedMatrix::pack(isa, deep).unwrap_err(),
        Error::Depth { row: 0, channel: 0, depth: 1 << 25, limit: (1 << 25) - 1 }
    );

    let reduced = |multiplier| Requantize::with_multipliers(Rule::Reduced, &[multiplier], 0, i16::MIN..=i16::MAX);
    assert!([0.0, 1e-30, 1.0, 127.999].into_iter().all(|multiplier| reduced(multiplier).is_ok()));
    for multiplier in [-1.0, f64::NAN, f64::INFINITY, 128.0, 128.0 - 1e-12] {
        assert!(matches!(reduced(multiplier), Err(Error::Multiplier { index: 0, .. })), "{multiplier}");
    }
    let refused = Requantize::with_multipliers(Rule::Float, &[1.0], 40_000, i16::MIN..=i16::MAX).unwrap_err();
    assert_eq!(refused, Error::ZeroPoint { index: 0, zero_point: 40_000, min: -32_768, max: 32_767 });
    let three = Requantize::with_multipliers(Rule::Float, &[1.0; 3], 0, i16::MIN..=i16::MAX).unwrap();
    let refused = matmul(isa, x, &weights, &three, MatrixMut::new(&mut [0; 4], 2, 2).unwrap());
    assert_eq!(refused, Err(length("multipliers", 2, 3)));
    let y = QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), 1.0, 0).unwrap();
    let stage = Requantize::new(&weights, &y, &y, Rule::Float).unwrap();
    let refused = matmul(isa, x, &weights, &stage, MatrixMut::new(&mut [0; 4], 2, 2).unwrap());
    assert_eq!(refused, Err(Error::Operand { index: 0, why: "the stage was made for activations of another scale" }));

    // No rows, no columns, no depth.
    let empty = |m: usize, n: usize, k: usize| {
        let (a, w) = (vec![1_i16; m * k], vec![1_i8; n * k]);
        let (a, w) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&w, n, k).unwrap());
        let w_params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 1.0, 0).unwrap();
        let weights = PackedMatrix::pack(isa, Quantized::new(w, &w_params).unwrap()).unwrap();
        product(isa, Quantized::new(a, &y).unwrap(), &weights, &Accumulators)
    };
    assert_eq!((empty(0, 3, 2), empty(3, 0, 2), empty(2, 2, 0)), (vec![], vec![], vec![0; 4]));
}
