//! The worked numbers of the sources: `golden/seeds.json`, its conventions translated to `r = S · (q − Z)`.
//!
//! Where a source rounds exact ties to odd (its largest element then becomes −127 instead of −128), the difference is
//! stated beside the expectation.

use crate::common::{every_isa, requantized};
use serde_json::Value;
use zeropoint::calibrate::{
    AverageMinMax, Ema, GAUSS, LAPLACE, Moments, Observer, Spread, clip_by_entropy, clip_by_mse, percentile,
    percentile_of_bins,
};
use zeropoint::formats::BlockFormat;
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::layers::{AvgPool2d, Linear, TransposedWindow, Window};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, ByteCode, Code, CodeRange, Granularity, Matrix, MatrixMut, PackedMatrix, QuantParams, Quantized,
    Range, Requantize, Rounding, Rule, Scheme, Stream, dequantize, quantize, ranges, raw, reference,
};

fn seeds() -> Value {
    serde_json::from_str(include_str!("golden/seeds.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

/// Integers of an array of any depth.
fn integers(value: &Value) -> Vec<i32> {
    match value {
        Value::Array(values) => values.iter().flat_map(integers).collect(),
        value => vec![value.as_i64().unwrap() as i32],
    }
}

fn seed_tensor() -> Vec<f32> {
    floats(&seeds()["seed_tensor"])
}

fn codes_of<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<i32> {
    let mut expected: Option<Vec<i32>> = None;
    every_isa(|isa| {
        let mut codes = vec![C::MIN; x.len()];
        quantize(isa, x, params, Rounding::Nearest, &mut codes).unwrap();
        let codes: Vec<i32> = codes.into_iter().map(Into::into).collect();
        assert_eq!(*expected.get_or_insert_with(|| codes.clone()), codes, "{isa}");
    });
    expected.unwrap()
}

/// Parameters of a tensor or its rows, from its own range.
fn params_of<C: Code>(x: &[f32], codes: CodeRange<C>, scheme: Scheme, granularity: Granularity) -> QuantParams<C> {
    let isa = zeropoint::Isa::best().unwrap();
    QuantParams::from_ranges(codes, scheme, granularity, &ranges(isa, x, granularity).unwrap()).unwrap()
}

fn sum_of_squared_errors<C: Code>(x: &[f32], params: &QuantParams<C>) -> f64 {
    let isa = zeropoint::Isa::best().unwrap();
    let (mut codes, mut real) = (vec![C::MIN; x.len()], vec![0.0; x.len()]);
    quantize(isa, x, params, Rounding::Nearest, &mut codes).unwrap();
    dequantize(isa, &codes, params, &mut real).unwrap();
    x.iter().zip(&real).map(|(x, real)| (f64::from(*x) - f64::from(*real)).powi(2)).sum()
}

/// The rows of `golden/stochastic.json`; and those of `seeds.json` whose words another seeding made, derived anew.
#[test]
fn the_tensor_rounded_stochastically() {
    let golden: Value = serde_json::from_str(include_str!("golden/stochastic.json")).unwrap();
    let x = seed_tensor();
    let narrow = params_of(&x, CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC.stochastic(), Granularity::Tensor);
    assert_scale(narrow.scales()[0], golden["seed_tensor_symmetric_i8_scale"].as_f64().unwrap());
    let codes_of = |params: &QuantParams<i8>, seed: u64| -> Vec<i32> {
        let codes = reference::quantize_stochastic(&x, params, Stream::new(seed));
        every_isa(|isa| {
            let mut out = vec![0; x.len()];
            quantize(isa, &x, params, Stream::new(seed), &mut out).unwrap();
            assert_eq!(out, codes, "{isa}");
        });
        codes.into_iter().map(Into::into).collect()
    };
    for row in golden["rows"].as_array().unwrap() {
        assert_eq!(codes_of(&narrow, row["seed"].as_u64().unwrap()), integers(&row["q"]));
    }
    // The four stochastic types, seed 42: a = 254 / (max − min) or 127 / amax, or the power of two below that; b.
    // v = a·x + b by hand, and up where word >> 8 is below the fraction · 2²⁴.
    let words = integers_u32(&golden["words"][1]["words"]);
    let signed = CodeRange::signed(8).unwrap();
    let types = [
        (Scheme::ASYMMETRIC, 254.0 / (1.5283 + 2.1104), 20),
        (Scheme::SYMMETRIC, 127.0 / 2.1104, 0),
        (Scheme::SHIFT_ASYMMETRIC, 64.0, 18),
        (Scheme::SHIFT_SYMMETRIC, 32.0, 0),
    ];
    for (scheme, a, b) in types {
        let params = params_of(&x, signed, scheme.stochastic(), Granularity::Tensor);
        assert_scale(params.scales()[0], 1.0 / a);
        assert_eq!(params.zero_points()[0], b);
        let by_hand: Vec<i32> = x
            .iter()
            .zip(&words)
            .map(|(&x, &word)| {
                // The largest number is 127 steps to f64, and could be the next one down.
                let v = (f64::from(x) * a * 1e9).round() / 1e9;
                v.floor() as i32 + i32::from(f64::from(word >> 8) < (v - v.floor()) * 16_777_216.0) + b
            })
            .collect();
        assert_eq!(codes_of(&params, 42), by_hand, "{scheme:?}");
    }
}

fn integers_u32(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

/// `S` is the golden scale, or its reciprocal, to f32.
#[track_caller]
fn assert_scale(scale: f32, golden: f64) {
    assert!((f64::from(scale) / golden - 1.0).abs() < 1.2e-7, "{scale} is not {golden}");
}

#[test]
fn flexible_quantization() {
    let (seeds, x) = (seeds(), seed_tensor());
    for (name, bits) in [("n8", 8), ("n4", 4)] {
        let golden = &seeds["flexible"][name];
        let signed = CodeRange::signed(bits).unwrap();
        let schemes = [
            ("float_sym_RHO", Scheme::SYMMETRIC),
            ("blk_asym", Scheme::SHIFT_ASYMMETRIC),
            ("blk_sym", Scheme::SHIFT_SYMMETRIC),
            ("float_asym", Scheme::ASYMMETRIC),
        ];
        for (name, scheme) in schemes {
            let params = params_of(&x, signed, scheme, Granularity::Tensor);
            assert_scale(params.scales()[0], 1.0 / golden[name]["a"].as_f64().unwrap());
            assert_eq!(params.zero_points()[0], golden[name]["b"].as_i64().unwrap() as i32, "{name} of {bits} bits");
            let mut expected = integers(&golden[name]["q"]);
            if name == "float_sym_RHO" && bits == 8 {
                // Its smallest element is the tie −127.5: to odd there, to even here. (In 4 bits S, rounded up to f32,
                // breaks the tie.)
                expected[0] = -128;
            }
            assert_eq!(codes_of(&x, &params), expected, "{name} of {bits} bits");
        }
    }
    // log₂ would give 5.
    let trap = &seeds["flexible"]["exponent_trap_f32"];
    let amax = trap["amax"].as_f64().unwrap() as f32;
    let (scale, _) = Scheme::SHIFT_SYMMETRIC.parameters(CodeRange::signed(8).unwrap(), Range::symmetric(amax)).unwrap();
    assert_eq!(scale, 0.5_f32.powi(trap["true_k"].as_i64().unwrap() as i32));
}

#[test]
fn the_tensor_of_the_third_document() {
    let (golden, x) = (&seeds()["seed3"], seed_tensor());
    let check = |name: &str, codes: Vec<i32>, scale: f32, sse: f64| {
        assert_eq!(codes, integers(&golden[name]["q"]), "{name}");
        if let Some(golden_scale) = golden[name]["S"].as_f64() {
            assert_scale(scale, golden_scale);
        }
        assert!((sse / golden[name]["sse"].as_f64().unwrap() - 1.0).abs() < 1e-4, "{name}: {sse}");
    };
    let tensor = Granularity::Tensor;
    let asym_u8 = params_of(&x, CodeRange::unsigned(8).unwrap(), Scheme::ASYMMETRIC, tensor);
    check("asym_u8", codes_of(&x, &asym_u8), asym_u8.scales()[0], sum_of_squared_errors(&x, &asym_u8));
    assert_eq!(asym_u8.zero_points()[0], 148);
    let asym_i8 = params_of(&x, CodeRange::signed(8).unwrap(), Scheme::ASYMMETRIC, tensor);
    check("asym_i8", codes_of(&x, &asym_i8), asym_i8.scales()[0], sum_of_squared_errors(&x, &asym_i8));
    assert_eq!(asym_i8.zero_points()[0], 20);
    let narrow = params_of(&x, CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC, tensor);
    check("sym_restricted", codes_of(&x, &narrow), narrow.scales()[0], sum_of_squared_errors(&x, &narrow));
    let full = params_of(&x, CodeRange::signed(8).unwrap(), Scheme::SYMMETRIC, tensor);
    check("sym_full_clamped", codes_of(&x, &full), full.scales()[0], sum_of_squared_errors(&x, &full));
    // Clipped ranges, as a percentile would give them.
    let range = Range::symmetric(2.103_996_8);
    let clipped = QuantParams::from_ranges(CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC, tensor, &[range]).unwrap();
    check(
        "percentile999_abs_clamped",
        codes_of(&x, &clipped),
        clipped.scales()[0],
        sum_of_squared_errors(&x, &clipped),
    );
    let range = Range { min: -2.093_568_8, max: 1.526_088 };
    let two_sided =
        QuantParams::from_ranges(CodeRange::unsigned(8).unwrap(), Scheme::ASYMMETRIC, tensor, &[range]).unwrap();
    check(
        "percentile_two_sided_u8",
        codes_of(&x, &two_sided),
        two_sided.scales()[0],
        sum_of_squared_errors(&x, &two_sided),
    );
    assert_eq!(two_sided.zero_points()[0], 147);

    let rows = Granularity::channel(&[3, 4], 0).unwrap();
    let symmetric = params_of(&x, CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC, rows);
    let asymmetric = params_of(&x, CodeRange::signed(8).unwrap(), Scheme::ASYMMETRIC, rows);
    assert_eq!(codes_of(&x, &symmetric), integers(&golden["per_row_sym"]["q"]));
    assert_eq!(codes_of(&x, &asymmetric), integers(&golden["per_row_asym_i8"]["q"]));
    assert_eq!(asymmetric.zero_points(), integers(&golden["per_row_asym_i8"]["Z"]));
    for (params, name) in [(symmetric.scales(), "per_row_sym"), (asymmetric.scales(), "per_row_asym_i8")] {
        for (&scale, golden) in params.iter().zip(golden[name]["S"].as_array().unwrap()) {
            assert_scale(scale, golden.as_f64().unwrap());
        }
    }
}

#[test]
fn distiller_parameters() {
    let golden = &seeds()["distiller"];
    for case in golden["asym_params"].as_array().unwrap() {
        let range = Range { min: case["min"].as_f64().unwrap() as f32, max: case["max"].as_f64().unwrap() as f32 };
        // Distiller's zp is −Z, its q_x is 1 / S.
        let (scale, zero_point) = Scheme::ASYMMETRIC.parameters(CodeRange::unsigned(8).unwrap(), range).unwrap();
        assert_scale(scale, 1.0 / case["q_x"].as_f64().unwrap());
        assert_eq!(zero_point, -case["zp"].as_i64().unwrap() as i32);
        if let Some(signed) = case["zp_signed"].as_i64() {
            let (_, zero_point) = Scheme::ASYMMETRIC.parameters(CodeRange::signed(8).unwrap(), range).unwrap();
            assert_eq!(zero_point, -signed as i32);
        }
    }
    for case in golden["sym_params"].as_array().unwrap() {
        let range = Range::symmetric(case["sat"].as_f64().unwrap() as f32);
        let (full, _) = Scheme::SYMMETRIC.parameters(CodeRange::signed(8).unwrap(), range).unwrap();
        let (narrow, _) = Scheme::SYMMETRIC.parameters(CodeRange::narrow(8).unwrap(), range).unwrap();
        assert_scale(full, 1.0 / case["full"].as_f64().unwrap());
        assert_scale(narrow, 1.0 / case["restricted"].as_f64().unwrap());
    }
}

#[test]
fn nvidia_tensor_quant() {
    let golden = &seeds()["nvidia"];
    let x = floats(&golden["guide_x"]);
    let params = params_of(&x, CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC, Granularity::Tensor);
    assert_scale(params.scales()[0], 1.0 / golden["guide_scale_f32"].as_f64().unwrap());
    assert_eq!(codes_of(&x, &params), integers(&golden["guide_q"]));
    // Unsigned codes of relu(T).
    let relu: Vec<f32> = seed_tensor().into_iter().map(|x| x.max(0.0)).collect();
    let params = params_of(&relu, CodeRange::unsigned(8).unwrap(), Scheme::SYMMETRIC, Granularity::Tensor);
    assert_eq!(codes_of(&relu, &params), [0, 173, 0, 255, 0, 79, 0, 0, 181, 44, 0, 221]);
}

#[test]
fn offset_decomposition() {
    let golden = &seeds()["gemm"]["offset"];
    let bytes = |name: &str| -> Vec<u8> { integers(&golden[name]).into_iter().map(|code| code as u8).collect() };
    let (a, b) = (bytes("A"), bytes("B"));
    every_isa(|isa| {
        for (za, zb, name) in [(0, 0, "AB"), (100, 7, "result")] {
            let packed = raw::pack(isa, Matrix::new(&b, 3, 2).unwrap(), zb.into()).unwrap();
            let mut c = [0; 4];
            let a = Matrix::new(&a, 2, 3).unwrap();
            raw::matmul(isa, a, za.into(), &packed, &Accumulators, MatrixMut::new(&mut c, 2, 2).unwrap()).unwrap();
            assert_eq!(c.to_vec(), integers(&golden[name]), "{name} {isa}");
        }
    });
}

/// The codes of accumulators, with zero point 0.
fn i8_codes(isa: zeropoint::Isa, accumulators: &[i32], multiplier: (Rule, &[f64])) -> Vec<i32> {
    requantized(isa, accumulators, multiplier, 0, (i8::MIN, i8::MAX)).into_iter().map(i32::from).collect()
}

#[test]
fn requantizers() {
    let golden = &seeds()["gemm"];
    for case in golden["quantize_multiplier"].as_array().unwrap() {
        let multiplier = case[0].as_f64().unwrap();
        let expected = (case[1].as_i64().unwrap() as i32, case[2].as_i64().unwrap() as i32);
        assert_eq!(raw::quantize_multiplier(multiplier).unwrap(), expected, "{multiplier}");
    }
    assert_eq!(raw::quantize_multiplier(1.0 - 2_f64.powi(-33)).unwrap(), (1 << 30, 1));
    let ties = &golden["requant_M0.25"];
    let x = integers(&ties["x"]);
    every_isa(|isa| {
        assert_eq!(i8_codes(isa, &x, (Rule::Gemmlowp, &[0.25])), integers(&ties["double"]), "{isa}");
        assert_eq!(i8_codes(isa, &x, (Rule::FixedPoint, &[0.25])), integers(&ties["single_rhu"]), "{isa}");
        assert_eq!(i8_codes(isa, &x, (Rule::Float, &[0.25])), integers(&ties["fp32_rne"]), "{isa}");
    });
    // −899.4, which no code reaches.
    let apart = &golden["requant_M0.3_x-2998"];
    assert_eq!(reference::gemmlowp_product(-2998, 0.3), apart["double"].as_i64().unwrap());
    assert_eq!(reference::fixed_point_product(-2998, 0.3), apart["single"].as_i64().unwrap());
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("golden/requantize.json")).unwrap()
}

/// The table of [`Rule`], row by row: what kernels of LiteRT made of accumulators.
#[test]
fn rules_have_the_bits_of_litert() {
    let golden = &recorded()["litert"];
    let (s_x, z_y) = (golden["s_x"].as_f64().unwrap() as f32, golden["z_y"].as_i64().unwrap() as i32);
    let rows = [
        // (With these scales multipliers are the same in f32 and in f64.)
        ("xnnpack_conv", Rule::Float),
        ("xnnpack_depthwise", Rule::Float),
        ("xnnpack_fully_connected", Rule::Float),
        ("reference_conv", Rule::Gemmlowp),
        ("reference_depthwise", Rule::Gemmlowp),
        ("reference_fully_connected", Rule::HalfAway),
    ];
    let rules = [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp];
    let mut differs_from_ruy = [false; 4];
    for case in golden["cases"].as_array().unwrap() {
        let (s_w, s_y) = (case["s_w"].as_f64().unwrap() as f32, case["s_y"].as_f64().unwrap() as f32);
        let (accumulators, multiplier) = (integers(&case["acc"]), raw::multipliers(s_x, &[s_w], s_y));
        every_isa(|isa| {
            let codes = |rule| -> Vec<i32> {
                let codes = requantized(isa, &accumulators, (rule, &multiplier), z_y, (i8::MIN, i8::MAX));
                codes.into_iter().map(i32::from).collect()
            };
            for (kernel, rule) in rows {
                assert_eq!(codes(rule), integers(&case[kernel]), "{kernel} {rule:?} {isa}");
            }
            for (rule, differs) in rules.into_iter().zip(&mut differs_from_ruy) {
                *differs |= codes(rule) != integers(&case["ruy_conv"]);
            }
        });
    }
    assert_eq!(differs_from_ruy, [true; 4], "the row of ruy has a rule");
}

/// The row that has no rule: two roundings, halves toward +∞ in both.
#[test]
fn roundings_of_ruy() {
    let golden = &recorded()["litert"];
    let (s_x, z_y) = (golden["s_x"].as_f64().unwrap() as f32, golden["z_y"].as_i64().unwrap());
    for case in golden["cases"].as_array().unwrap() {
        let (s_w, s_y) = (case["s_w"].as_f64().unwrap() as f32, case["s_y"].as_f64().unwrap() as f32);
        let (m0, exponent) = raw::quantize_multiplier(raw::multipliers(s_x, &[s_w], s_y)[0]).unwrap();
        let code = |acc: i32| {
            let high = (i64::from(acc) * i64::from(m0) + (1 << 30)) >> 31;
            let product = (high + (1 << -exponent >> 1)) >> -exponent;
            (product + z_y).clamp(i8::MIN.into(), i8::MAX.into()) as i32
        };
        let codes: Vec<i32> = integers(&case["acc"]).into_iter().map(code).collect();
        assert_eq!(codes, integers(&case["ruy_conv"]), "{s_w} {s_y}");
    }
}

/// 4.496 by the multiplier 2⁻⁸: one rounding, and two.
#[test]
fn one_rounding_half_away() {
    every_isa(|isa| {
        let codes = |rule| i8_codes(isa, &[1151, -1151, 1152, -1152], (rule, &[2_f64.powi(-8)]));
        assert_eq!(codes(Rule::HalfAway), [4, -4, 5, -5], "{isa}");
        assert_eq!(codes(Rule::Gemmlowp), [5, -4, 5, -5], "{isa}");
        assert_eq!(codes(Rule::FixedPoint), [4, -4, 5, -4], "{isa}");
    });
}

/// QLinearMatMul and QLinearConv, where multipliers that are computed in f32 and in f64 make other codes.
#[test]
fn multipliers_of_onnxruntime() {
    f32_multipliers(&recorded()["onnxruntime"], CodeRange::unsigned(8).unwrap(), &["matmul", "conv"]);
}

/// LiteRT's default kernels, whose multipliers are those of onnxruntime. `golden/xnnpack.py` recorded them.
#[test]
fn multipliers_of_xnnpack() {
    let golden = serde_json::from_str(include_str!("golden/xnnpack.json")).unwrap();
    f32_multipliers(&golden, CodeRange::signed(8).unwrap(), &["conv", "depthwise", "fully_connected"]);
}

fn f32_multipliers<C: ByteCode>(golden: &Value, codes: CodeRange<C>, kernels: &[&str]) {
    let z_y = golden["z_y"].as_i64().unwrap() as i32;
    for case in golden["cases"].as_array().unwrap() {
        let [s_x, s_w, s_y] = ["s_x", "s_w", "s_y"].map(|name| case[name].as_f64().unwrap() as f32);
        let accumulators = integers(&case["acc"]);
        let n = accumulators.len();
        let x = QuantParams::per_tensor(codes, s_x, 0).unwrap();
        let w = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), s_w, 0).unwrap();
        let y = QuantParams::per_tensor(codes, s_y, z_y).unwrap();
        every_isa(|isa| {
            let weights = Quantized::new(Matrix::new(&[], n, 0).unwrap(), &w).unwrap();
            let weights: PackedMatrix<C, i8> = PackedMatrix::pack(isa, weights).unwrap();
            let weights = weights.with_accumulator_bias(&accumulators).unwrap();
            let product = |stage: &Requantize<C>| -> Vec<i32> {
                let mut out = vec![C::default(); n];
                let a = Quantized::new(Matrix::new(&[], 1, 0).unwrap(), &x).unwrap();
                zeropoint::matmul(isa, a, &weights, stage, MatrixMut::new(&mut out, 1, n).unwrap()).unwrap();
                out.into_iter().map(Into::into).collect()
            };
            for kernel in kernels {
                let made = integers(&case[kernel]);
                assert_eq!(product(&Requantize::onnxruntime(&weights, &x, &y).unwrap()), made, "{kernel} {isa}");
                assert_ne!(product(&Requantize::new(&weights, &x, &y, Rule::Float).unwrap()), made, "{kernel} {isa}");
            }
        });
    }
}

/// Q8_0 beside Q4_0: one rounding less than ggml's scalar code, which computes `(acc · S_w) · S_a`.
#[test]
fn a_block_of_q4_0_and_ggml() {
    let scale = 2047.0 / 1024.0;
    let mut weights = [-8_i8; 32];
    weights[31] = -7;
    every_isa(|isa| {
        let scales = [scale];
        let w = Matrix::new(&weights, 1, 32).unwrap();
        let w = Weights::new(w, BlockFormat::Q4_0.codes(), 32, &scales).unwrap();
        let packed = PackedWeights::pack(isa, &w).unwrap();
        let a = [127_i8; 32];
        let a = Activations::per_group(Matrix::new(&a, 1, 32).unwrap(), 32, 0.into(), &scales).unwrap();
        let mut out = [0.0];
        groups::matmul(isa, &a, &packed, &RealStage::new(), &mut out).unwrap();
        let ggml = -32_385.0_f32 * scale * scale;
        assert_eq!((out[0], ggml), (-129_413.52, -129_413.53), "{isa}");
    });
}

#[test]
fn fully_connected_layer() {
    let golden = &seeds()["gemm"]["fc_i8"];
    let codes = |name: &str| -> Vec<i8> { integers(&golden[name]).into_iter().map(|code| code as i8).collect() };
    let (x, w) = (codes("xq"), codes("wq"));
    let (zx, zy) = (golden["Zx"].as_i64().unwrap() as i32, golden["Zy"].as_i64().unwrap() as i32);
    let multipliers = [0.004_724_41 / 0.8, 0.003_937_01 / 0.8]; // S_x / S_y = 0.0117647059 / 0.0094117647 = 1 / 0.8
    every_isa(|isa| {
        let layer =
            Linear::from(raw::pack_transposed::<i8, i8>(isa, Matrix::new(&w, 2, 3).unwrap(), 0.into()).unwrap());
        let layer = layer.with_accumulator_bias(&integers(&golden["bq"])).unwrap();
        let x = Matrix::new(&x, 2, 3).unwrap();
        let mut acc = [0; 4];
        raw::matmul(isa, x, zx.into(), layer.weights(), &Accumulators, MatrixMut::new(&mut acc, 2, 2).unwrap())
            .unwrap();
        assert_eq!(acc.to_vec(), integers(&golden["acc"]), "{isa}");
        let stage = raw::requantize(Rule::FixedPoint, &multipliers, zy, -128..=127_i8).unwrap();
        let mut y = [0; 4];
        raw::matmul(isa, x, zx.into(), layer.weights(), &stage, MatrixMut::new(&mut y, 2, 2).unwrap()).unwrap();
        assert_eq!(y.map(i32::from).to_vec(), integers(&golden["yq"]), "{isa}");
    });
}

/// Distiller's clip modes on its own tensor of 6×6.
#[test]
fn clipped_ranges() {
    let golden = &seeds()["distiller"];
    let x = floats(&golden["clip_tensor_6x6"]);
    let clip = &golden["clip"];
    let number = |name: &str| clip[name].as_f64().unwrap();
    let close =
        |found: f64, golden: f64| assert!((found - golden).abs() < 1e-5 * golden.abs(), "{found} is not {golden}");
    every_isa(|isa| {
        let mut average = AverageMinMax::new(6).unwrap();
        average.observe(isa.into(), &x).unwrap();
        let Range { min, max } = average.range().unwrap();
        assert_eq!(vec![min, max], floats(&clip["avg"]));

        let moments = |spread| {
            let mut moments = Moments::new(spread).unwrap();
            moments.observe(isa.into(), &x).unwrap();
            moments
        };
        let one = moments(Spread::Deviations(1.0));
        assert_eq!(one.mean(), number("mean"));
        close(one.std(), number("std_unbiased"));
        close(one.mean_deviation(), number("laplace_b"));
        let Range { min, max } = one.range().unwrap();
        let golden_range = floats(&clip["nstd1"]);
        close(min.into(), golden_range[0].into());
        close(max.into(), golden_range[1].into());
        assert_eq!(moments(Spread::Deviations(2.0)).range().unwrap(), Range { min: -95.0, max: 87.0 });
        // Distiller's symmetric range is |mean| + α · deviation, however far that is beyond the data; ours ends with it.
        let gauss = |bits: usize| one.mean().abs() + GAUSS[bits - 1] * one.std();
        let laplace = |bits: usize| one.mean().abs() + LAPLACE[bits - 1] * one.mean_deviation();
        close(gauss(8), number("gauss8_sym"));
        close(gauss(4), number("gauss4_sym"));
        close(laplace(8), number("laplace8_sym"));
        close(laplace(4), number("laplace4_sym"));
        let half = false;
        for spread in [Spread::Gauss { bits: 4, half }, Spread::Laplace { bits: 8, half }] {
            assert_eq!(moments(spread).range().unwrap(), Range { min: -95.0, max: 87.0 });
        }
        // Where the data goes on beyond it, the range is Distiller's: its mean −16 and its deviations are kept here.
        let Range { min, max } = moments(Spread::Gauss { bits: 1, half }).range().unwrap();
        close(min.into(), (-16.0 - 1.24 * one.std()).max(-95.0));
        close(max.into(), -16.0 + 1.24 * one.std());
        // Half a distribution has an α for a bit more, from its lower end on.
        let Range { min, max } = moments(Spread::Gauss { bits: 1, half: true }).range().unwrap();
        assert_eq!(min, -95.0);
        close(max.into(), -95.0 + 1.71 * one.std());

        // Moving averages of 1, 2, 4.
        let mut ema = Ema::new(0.9).unwrap();
        for (batch, want) in [1.0_f32, 2.0, 4.0].into_iter().zip(golden["ema_d0.9_[1,2,4]"].as_array().unwrap()) {
            ema.observe(isa.into(), &[batch]).unwrap();
            close(ema.range().unwrap().max.into(), want.as_f64().unwrap());
        }
    });
}

/// NVIDIA's calibrators on its bins, which have any width; ours choose the same.
#[test]
fn clipped_histograms() {
    let golden = &seeds()["nvidia"];
    for (name, percentiles) in [("H1", &[95.0, 99.0, 100.0][..]), ("H2", &[99.0, 99.9])] {
        let golden = &golden[name];
        let bits = golden["n"].as_u64().unwrap() as u32;
        let levels = 1 << (bits - 1);
        let start = golden["start"].as_u64().unwrap() as usize;
        let counts: Vec<u64> = integers(&golden["hist"]).into_iter().map(|count| count as u64).collect();
        let number = |name: &str| golden[name].as_f64().unwrap();
        assert_eq!(clip_by_entropy(&counts, levels, start, 1).unwrap() as f64, number("kl_amax"));
        assert_eq!(reference::clip_by_entropy(&counts, levels, start, 1) as f64, number("kl_amax"));
        assert_eq!(clip_by_mse(&counts, levels - 1, start, 1).unwrap() as f64 + 0.5, number("mse_amax"));
        assert_eq!(reference::clip_by_mse(&counts, levels - 1, start, 1) as f64 + 0.5, number("mse_amax"));
        for &p in percentiles {
            // Theirs is the lower edge of the bin that ours lies in.
            let found = percentile_of_bins(&counts, p).unwrap();
            assert_eq!(found.ceil() - 1.0, number(&format!("pct{p}")), "{name} {p}");
        }
    }
    // 0 … 99 in 2048 bins up to 99.
    let mut counts = vec![0; 2048];
    (0..100).for_each(|x| counts[(x * 2048 / 99).min(2047)] += 1);
    for (p, golden) in golden["percentile_arange100_2048bins"].as_object().unwrap() {
        let found = percentile_of_bins(&counts, p.parse().unwrap()).unwrap() / 2048.0 * 99.0;
        let golden = golden.as_f64().unwrap();
        assert!(
            found > golden && found <= golden + 99.0 / 2048.0 + 1e-5,
            "{p}: {found} is not in the bin from {golden}"
        );
    }
}

/// The percentiles of the third document's tensor, exact, and the ranges it should have had.
#[test]
fn percentiles() {
    let (golden, x) = (&seeds()["seed3"], seed_tensor());
    let magnitudes: Vec<f32> = x.iter().map(|x| x.abs()).collect();
    let signed = percentile(&x, 99.9).unwrap();
    assert_scale(signed, golden["percentile999_signed_noclamp"]["alpha"].as_f64().unwrap());
    assert_scale(
        percentile(&magnitudes, 99.9).unwrap(),
        golden["percentile999_abs_clamped"]["alpha"].as_f64().unwrap(),
    );
    let two_sided = &golden["percentile_two_sided_u8"];
    assert_scale(signed, two_sided["alpha"].as_f64().unwrap());
    assert_scale(percentile(&x, 0.1).unwrap(), two_sided["beta"].as_f64().unwrap());
    // What the document's scale makes of the outlier when its codes are kept inside i8.
    for (codes, name) in [
        (CodeRange::signed(8).unwrap(), "percentile999_signed_clamped_-128"),
        (CodeRange::narrow(8).unwrap(), "percentile999_signed_clamped_-127"),
    ] {
        let scale = golden["percentile999_signed_noclamp"]["S"].as_f64().unwrap() as f32;
        let params = QuantParams::per_tensor(codes, scale, 0).unwrap();
        let sse = sum_of_squared_errors(&x, &params);
        assert!((sse / golden[name]["sse"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{name}: {sse}");
    }
}

/// One tensor's parameters in all conventions are the same ones.
#[test]
fn conventions() {
    let (seeds, signed) = (seeds(), CodeRange::signed(8).unwrap());
    let whole = Granularity::Tensor;
    let asymmetric = params_of(&seed_tensor(), signed, Scheme::ASYMMETRIC, whole);
    let golden = &seeds["flexible"]["n8"]["float_asym"];
    let (a, b) = (golden["a"].as_f64().unwrap(), golden["b"].as_i64().unwrap() as i32);
    let step = seeds["seed3"]["asym_i8"]["S"].as_f64().unwrap() as f32;
    for params in [
        QuantParams::from_multiplier_and_offset(signed, whole, &[a], &[b]),
        QuantParams::from_distiller(signed, whole, &[a], &[-b]),
        QuantParams::from_subtracted(signed, whole, &[step], &[-b]),
        QuantParams::from_onnx(signed, whole, &[step], &[b as i8]),
    ] {
        assert_eq!(params.unwrap(), asymmetric);
    }
    for case in seeds["distiller"]["asym_params"].as_array().unwrap() {
        let integer = |name: &str| case[name].as_i64().map(|integer| integer as i32);
        let range = Range { min: integer("min").unwrap() as f32, max: integer("max").unwrap() as f32 };
        let (q_x, unsigned) = (case["q_x"].as_f64().unwrap(), CodeRange::unsigned(8).unwrap());
        let params = QuantParams::from_distiller(unsigned, whole, &[q_x], &[integer("zp").unwrap()]);
        assert_eq!(params, QuantParams::from_ranges(unsigned, Scheme::ASYMMETRIC, whole, &[range]));
        if let Some(zp) = integer("zp_signed") {
            let params = QuantParams::from_distiller(signed, whole, &[q_x], &[zp]);
            assert_eq!(params, QuantParams::from_ranges(signed, Scheme::ASYMMETRIC, whole, &[range]));
        }
    }
    // amax / qmax, whatever the codes.
    let guide = &seeds["nvidia"];
    let amax = floats(&guide["guide_x"]).into_iter().fold(0.0, f32::max);
    for codes in [CodeRange::narrow(8).unwrap(), signed] {
        let params = QuantParams::from_amax(codes, whole, &[amax]).unwrap();
        assert_scale(params.scales()[0], 1.0 / guide["guide_scale_f32"].as_f64().unwrap());
        assert_eq!(codes_of(&floats(&guide["guide_x"]), &params), integers(&guide["guide_q"]));
    }
    let unsigned = QuantParams::from_amax(CodeRange::unsigned(8).unwrap(), whole, &[1.5283]).unwrap();
    assert_scale(unsigned.scales()[0], 1.0 / 166.85205);
    assert_eq!(QuantParams::from_amax(signed, whole, &[0.0]).unwrap().scales(), [1.0]);
    assert!(QuantParams::from_amax(signed, whole, &[-1.0]).is_err());
}

fn sizes<const N: usize>(value: &Value) -> [usize; N] {
    let sizes: Vec<usize> = integers(value).into_iter().map(|size| size as usize).collect();
    sizes.try_into().unwrap()
}

/// onnxruntime's transposed convolutions (of integers as floats, whose sums are exact) and quantized average pooling:
/// `golden/layers.json` names version and operators. Under a window, but not globally, it adds the zero point before it rounds.
/// That is our rule for zero point 0, and the same one for even zero points.
#[test]
fn layers_of_onnxruntime() {
    let golden: Value = serde_json::from_str(include_str!("golden/layers.json")).unwrap();
    for case in golden["conv_transpose"].as_array().unwrap() {
        let codes: Vec<u8> = integers(&case["images"]).into_iter().map(|code| code as u8).collect();
        let weights: Vec<i8> = integers(&case["weights"]).into_iter().map(|code| code as i8).collect();
        let (shape, weights_shape) = (sizes(&case["shape"]), sizes::<4>(&case["weights_shape"]));
        let [_, _, height, width] = weights_shape;
        let window = Window {
            size: [height, width],
            stride: sizes(&case["stride"]),
            padding: sizes(&case["padding"]),
            dilation: sizes(&case["dilation"]),
        };
        let window = TransposedWindow { window, output_padding: sizes(&case["output_padding"]) };
        let (zero_point, groups) =
            (case["weight_zero_point"].as_i64().unwrap() as i32, case["groups"].as_u64().unwrap() as usize);
        let images =
            raw::Images { codes: &codes, shape, zero_points: (case["zero_point"].as_i64().unwrap() as i32).into() };
        let want = integers(&case["accumulators"]);
        every_isa(|isa| {
            let conv = raw::conv_transpose2d::<u8, i8>(isa, &weights, weights_shape, zero_point.into(), window, groups);
            let conv = conv.unwrap().with_accumulator_bias(&integers(&case["bias"])).unwrap();
            assert_eq!(conv.output_shape(shape), Ok(sizes(&case["output_shape"])));
            let mut out = vec![0; want.len()];
            raw::convolve(isa, &conv, images, &Accumulators, &mut out).unwrap();
            assert_eq!(out, want, "{isa}");
        });
    }
    for case in golden["average_pool"].as_array().unwrap() {
        let pool = match case.get("size") {
            None => AvgPool2d::global(),
            Some(size) => {
                let pool = AvgPool2d::new(Window {
                    stride: sizes(&case["stride"]),
                    padding: sizes(&case["padding"]),
                    ..Window::new(sizes(size))
                });
                if case["count_include_pad"] == 1 { pool.counting_padding() } else { pool }
            }
        };
        if case["signed"] == true { averages::<i8>(case, pool) } else { averages::<u8>(case, pool) }
    }
}

fn averages<C: ByteCode>(case: &Value, pool: AvgPool2d) {
    let (images, want): (Vec<C>, _) = (codes_from(&case["images"]), codes_from::<C>(&case["codes"]));
    let shape = sizes(&case["shape"]);
    assert_eq!(pool.output_shape(shape), Ok(sizes(&case["output_shape"])));
    every_isa(|isa| {
        let zero_point = case["zero_point"].as_i64().unwrap() as i32;
        let zero_points = if case.get("size").is_some() && zero_point % 2 != 0 { 0 } else { zero_point }.into();
        let mut out = vec![C::MIN; want.len()];
        raw::average_pool2d(isa, &pool, raw::Images { codes: &images, shape, zero_points }, &mut out).unwrap();
        assert_eq!(out, want, "{isa}");
    });
}

/// Blocks along any axis are those of ONNX's `QuantizeLinear` and `DequantizeLinear` with a `block_size`.
#[test]
fn blocks_as_onnxruntime() {
    let golden: Value = serde_json::from_str(include_str!("golden/blocks.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        if case["signed"] == true { blocks::<i8>(case) } else { blocks::<u8>(case) }
    }
}

fn blocks<C: Code>(case: &Value) {
    let floats = |name: &str| -> Vec<f32> {
        let bits = case[name].as_array().unwrap().iter();
        bits.map(|bits| f32::from_bits(bits.as_u64().unwrap() as u32)).collect()
    };
    let shape: Vec<usize> = integers(&case["shape"]).into_iter().map(|length| length as usize).collect();
    let [axis, block] = ["axis", "block"].map(|name| case[name].as_u64().unwrap() as usize);
    let granularity = Granularity::block_along(&shape, axis, block).unwrap();
    let range = CodeRange::new(C::MIN, C::MAX).unwrap();
    let zero_points: Vec<C> = codes_from(&case["zero_points"]);
    let params = QuantParams::from_onnx(range, granularity, &floats("scales"), &zero_points).unwrap();
    let (want, reals) = (integers(&case["codes"]), floats("reals"));
    let x: Vec<f32> = (0..want.len() as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 4e6 - 2.0).collect();
    assert_eq!(codes_of(&x, &params), want, "{shape:?}");
    let codes: Vec<C> = codes_from(&case["codes"]);
    every_isa(|isa| {
        let mut out = vec![7.0; reals.len()];
        dequantize(isa, &codes, &params, &mut out).unwrap();
        assert_eq!(out, reals, "{isa} {shape:?}");
    });
}

fn codes_from<C: Code>(value: &Value) -> Vec<C> {
    integers(value).into_iter().map(|code| C::try_from(code).ok().unwrap()).collect()
}
