//! Operators of other programs: `golden/oracles.json`, which `golden/oracles.py` recorded. Every case runs on every ISA, and has
//! the recorded bits; or it differs from them where the file says so, by what it says: each difference was computed from our rules
//! by that script, and has a reason. The table is in the documentation of [`zeropoint::conventions`].

use crate::common::every_isa;
use serde_json::Value;
use std::collections::BTreeSet;
use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, StoredWeights};
use zeropoint::layers::{Conv2d, Window};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, ByteCode, Code, CodeRange, Dequantize, Granularity, Halves, HalvesMut, Isa, Matrix, MatrixMut,
    PackedCodes, PackedCodesMut, PackedMatrix, QuantParams, Quantized, Requantize, Rounding, Scheme, UnpackedMatrix,
    dequantize, fake_quantize, matmul, min_max, quantize, rescale,
};

#[derive(Clone, Copy)]
struct Case<'a>(&'a Value);

impl<'a> Case<'a> {
    fn text(self, name: &str) -> &'a str {
        self.0[name].as_str().unwrap()
    }

    fn is(self, name: &str) -> bool {
        self.0[name] == true
    }

    /// Integers; none where the case has no such entry, as it has none that is what most cases have.
    fn integers(self, name: &str) -> Vec<i32> {
        let integer = |x: &Value| x.as_i64().unwrap() as i32;
        self.0[name].as_array().map_or(vec![], |values| values.iter().map(integer).collect())
    }

    fn integer(self, name: &str) -> i32 {
        self.0.get(name).map_or(0, |value| value.as_i64().unwrap() as i32)
    }

    fn sizes<const N: usize>(self, name: &str, default: [usize; N]) -> [usize; N] {
        let sizes: Vec<usize> = self.integers(name).into_iter().map(|size| size as usize).collect();
        sizes.try_into().unwrap_or(default)
    }

    /// Numbers of so many bytes.
    fn words(self, name: &str, bytes: usize) -> Vec<u32> {
        let digits = self.0[name].as_str().unwrap_or_default().as_bytes();
        let word = |digits| u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        digits.chunks(2 * bytes).map(word).collect()
    }

    fn floats(self, name: &str) -> Vec<f32> {
        self.words(name, 4).into_iter().map(f32::from_bits).collect()
    }

    fn codes<C: Code>(self, name: &str) -> Vec<C> {
        let unused = 32 - 8 * size_of::<C>();
        let code = |word: u32| if C::MIN.into() < 0 { (word << unused) as i32 >> unused } else { word as i32 };
        self.words(name, size_of::<C>()).into_iter().map(|word| C::try_from(code(word)).ok().unwrap()).collect()
    }

    /// Scales or zero points, for one group or for each.
    fn params<C: Code>(
        self,
        codes: CodeRange<C>,
        granularity: Granularity,
        scales: &str,
        zeros: &str,
    ) -> QuantParams<C> {
        let (mut scales, mut zeros) = (self.floats(scales), self.integers(zeros));
        let groups = scales.len().max(zeros.len()).max(1);
        scales.resize(groups, scales.first().copied().unwrap_or(1.0));
        zeros.resize(groups, zeros.first().copied().unwrap_or(0));
        let granularity = if groups == 1 { Granularity::Tensor } else { granularity };
        QuantParams::new(codes, granularity, scales, zeros).unwrap()
    }

    /// The parameters of `QuantizeLinear`, for all its granularities.
    fn linear<C: Code>(self, codes: CodeRange<C>) -> QuantParams<C> {
        let shape: Vec<usize> = self.integers("shape").into_iter().map(|length| length as usize).collect();
        let [axis, block] = ["axis", "block"].map(|name| self.integer(name) as usize);
        let granularity = match (shape.len(), block) {
            (0, _) => Granularity::Tensor,
            (_, 0) => Granularity::channel(&shape, axis).unwrap(),
            _ => Granularity::block_along(&shape, axis, block).unwrap(),
        };
        self.params(codes, granularity, "scales", "zero_points")
    }

    /// The result differs from the recorded one at the recorded places only, and there by the recorded amount.
    fn check(self, isa: Isa, ours: &[i64], theirs: &[i64]) {
        assert_eq!(ours.len(), theirs.len(), "{isa} {}", self.0["name"]);
        let differs: Vec<[i64; 2]> =
            (0..ours.len()).filter(|&i| ours[i] != theirs[i]).map(|i| [i as i64, theirs[i] - ours[i]]).collect();
        let row = |row: &Value| [0, 1].map(|i| row[i].as_i64().unwrap());
        let recorded = self.0["differs"].as_array().map_or(vec![], |rows| rows.iter().map(row).collect());
        assert_eq!(differs, recorded, "{isa} {}", self.0["name"]);
        assert_eq!(recorded.is_empty(), self.0.get("why").is_none(), "a difference has a reason");
    }

    fn check_codes<C: Code>(self, isa: Isa, ours: &[C]) {
        self.check(isa, &integers(ours), &integers(&self.codes::<C>("y")));
    }

    fn check_sums(self, isa: Isa, ours: &[i32]) {
        let wide = |sums: &[i32]| -> Vec<i64> { sums.iter().map(|&sum| i64::from(sum)).collect() };
        let theirs: Vec<i32> = self.words("y", 4).into_iter().map(u32::cast_signed).collect();
        self.check(isa, &wide(ours), &wide(&theirs));
    }

    fn check_floats(self, isa: Isa, ours: &[f32]) {
        self.check(isa, &ordered(ours), &ordered(&self.floats("y")));
    }
}

fn integers<C: Code>(codes: &[C]) -> Vec<i64> {
    codes.iter().map(|&code| i64::from(code.into())).collect()
}

/// Integers whose neighbours are neighbouring floats: of −0.0 it is −1.
fn ordered(x: &[f32]) -> Vec<i64> {
    let magnitude = |x: f32| i64::from(x.abs().to_bits());
    x.iter().map(|&x| if x.is_sign_negative() { -1 - magnitude(x) } else { magnitude(x) }).collect()
}

fn full<C: Code>() -> CodeRange<C> {
    CodeRange::new(C::MIN, C::MAX).unwrap()
}

/// Products with the reciprocals of the scales, and a scale of 1 in their place: PyTorch's formula.
fn by_reciprocals<C: Code>(x: &[f32], params: &QuantParams<C>) -> (Vec<f32>, QuantParams<C>) {
    let scale = |i| params.scales()[params.granularity().group_of(i)];
    let x = x.iter().enumerate().map(|(i, &x)| x * (1.0 / scale(i))).collect();
    let (ones, zeros) = (vec![1.0; params.scales().len()], params.zero_points().to_vec());
    (x, QuantParams::new(params.codes(), params.granularity(), ones, zeros).unwrap())
}

fn quantized<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>) -> Vec<C> {
    let mut codes = vec![C::MIN; x.len()];
    quantize(isa, x, params, Rounding::Nearest, &mut codes).unwrap();
    codes
}

fn quantize_to<C: Code>(isa: Isa, case: Case<'_>, codes: CodeRange<C>) {
    let (params, x) = (case.linear(codes), case.floats("x"));
    if case.is("half") {
        let x = case.codes::<u16>("x");
        let mut codes = vec![C::MIN; x.len()];
        quantize(isa, Halves::f16(&x), &params, Rounding::Nearest, &mut codes).unwrap();
        return case.check_codes(isa, &codes);
    }
    case.check_codes(isa, &quantized(isa, &x, &params));
    if case.is("reciprocal") {
        let (x, params) = by_reciprocals(&x, &params);
        assert_eq!(quantized(isa, &x, &params), case.codes("y"), "{isa}");
    }
}

fn quantize_packed<C: ByteCode>(isa: Isa, case: Case<'_>, codes: CodeRange<C>) {
    quantize_to(isa, case, codes);
    let (x, want) = (case.floats("x"), case.codes::<u8>("packed"));
    let mut bytes = vec![0; want.len()];
    let out = match case.text("code").as_bytes()[1] {
        b'2' => PackedCodesMut::two_bits(&mut bytes, x.len()).unwrap(),
        _ => PackedCodesMut::four_bits(&mut bytes, x.len()).unwrap(),
    };
    quantize(isa, &x, &case.linear(codes), Rounding::Nearest, out).unwrap();
    assert_eq!(bytes, want, "{isa}");
}

fn fp8_params(case: Case<'_>) -> Fp8Params {
    let format = if case.text("code") == "e4m3" { Fp8::E4M3 } else { Fp8::E5M2 };
    let params = Fp8Params::per_tensor(format, case.floats("scales")[0]).unwrap();
    if case.0["saturates"] == false { params.without_saturation() } else { params }
}

/// Calls a function for whole codes or for packed ones by the type that a case names, else evaluates an expression.
macro_rules! by_code {
    ($isa:ident, $case:ident, $whole:ident, $packed:ident, $other:expr) => {
        match $case.text("code") {
            "u8" => $whole::<u8>($isa, $case, full()),
            "i8" => $whole::<i8>($isa, $case, full()),
            "u16" => $whole::<u16>($isa, $case, full()),
            "i16" => $whole::<i16>($isa, $case, full()),
            "u4" => $packed($isa, $case, CodeRange::unsigned(4).unwrap()),
            "i4" => $packed($isa, $case, CodeRange::signed(4).unwrap()),
            "u2" => $packed($isa, $case, CodeRange::unsigned(2).unwrap()),
            "i2" => $packed($isa, $case, CodeRange::signed(2).unwrap()),
            _ => $other,
        }
    };
}

fn quantize_fp8(isa: Isa, case: Case<'_>) {
    let x = case.floats("x");
    let mut codes = vec![0; x.len()];
    encode(isa, &x, &fp8_params(case), Rounding::Nearest, &mut codes).unwrap();
    case.check_codes(isa, &codes);
}

fn dequantize_from<C: Code>(isa: Isa, case: Case<'_>, range: CodeRange<C>) {
    let (params, codes) = (case.linear(range), case.codes::<C>("codes"));
    let mut out = vec![7.0; codes.len()];
    if case.is("half") {
        let mut out = vec![7; codes.len()];
        dequantize(isa, &codes, &params, HalvesMut::f16(&mut out)).unwrap();
        return assert_eq!(out, case.codes::<u16>("y"), "{isa}");
    }
    dequantize(isa, &codes, &params, &mut out).unwrap();
    case.check_floats(isa, &out);
}

fn dequantize_packed<C: ByteCode>(isa: Isa, case: Case<'_>, range: CodeRange<C>) {
    dequantize_from(isa, case, range);
    let (bytes, want) = (case.codes::<u8>("packed"), case.floats("y"));
    let codes = match case.text("code").as_bytes()[1] {
        b'2' => PackedCodes::<C>::two_bits(&bytes, want.len()).unwrap(),
        _ => PackedCodes::four_bits(&bytes, want.len()).unwrap(),
    };
    let mut out = vec![7.0; want.len()];
    dequantize(isa, codes, &case.linear(range), &mut out).unwrap();
    assert_eq!(out, want, "{isa}");
}

fn dequantize_fp8(isa: Isa, case: Case<'_>) {
    let codes: Vec<u8> = case.codes("codes");
    if case.is("half") {
        let mut out = vec![7; codes.len()];
        decode(isa, &codes, &fp8_params(case), HalvesMut::f16(&mut out)).unwrap();
        return assert_eq!(out, case.codes::<u16>("y"), "{isa}");
    }
    let mut out = vec![7.0; codes.len()];
    decode(isa, &codes, &fp8_params(case), &mut out).unwrap();
    case.check_floats(isa, &out);
}

/// u8 codes with the parameters of their own range.
fn dynamic(isa: Isa, x: &[f32]) -> (Vec<u8>, QuantParams<u8>) {
    let range = min_max(isa, x).unwrap();
    let params = QuantParams::as_onnx(full(), Granularity::Tensor, &[range]).unwrap();
    (quantized(isa, x, &params), params)
}

fn dynamic_quantize_linear(isa: Isa, case: Case<'_>) {
    let (codes, params) = dynamic(isa, &case.floats("x"));
    assert_eq!((params.scales(), params.zero_points()[0]), (&case.floats("scale")[..], case.integer("zero_point")));
    case.check_codes(isa, &codes);
}

/// A product, by a packed right operand and by one that is not.
fn product<A: ByteCode, B: ByteCode>(isa: Isa, case: Case<'_>, (a, a_params): (&[A], &QuantParams<A>)) {
    let [m, k, n] = case.sizes("shape", [0; 3]);
    let b: Vec<B> = case.codes("b");
    let b_params = case.params(full(), Granularity::channel(&[k, n], 1).unwrap(), "s_b", "zb");
    let a = Quantized::new(Matrix::new(a, m, k).unwrap(), a_params).unwrap();
    let b = Quantized::new(Matrix::new(&b, k, n).unwrap(), &b_params).unwrap();
    let (packed, unpacked) =
        (PackedMatrix::<A, B>::pack_columns(isa, b).unwrap(), UnpackedMatrix::new(isa, b).unwrap());
    let bias = case.floats("bias");
    match case.0["out"].as_str().unwrap_or("f32") {
        "i32" => {
            let (mut out, mut again) = (vec![7; m * n], vec![7; m * n]);
            matmul(isa, a, &packed, &Accumulators, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
            matmul(isa, a, &unpacked, &Accumulators, MatrixMut::new(&mut again, m, n).unwrap()).unwrap();
            case.check_sums(isa, &out);
            assert_eq!(out, again, "{isa}");
        }
        "f32" => {
            let mut out = vec![7.0; m * n];
            let stage = Dequantize::new().with_bias(&bias).unwrap();
            matmul(isa, a, &packed, &stage, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
            case.check_floats(isa, &out);
        }
        _ => {
            let packed = if bias.is_empty() { packed } else { packed.with_bias(&bias, a_params).unwrap() };
            let y_params = QuantParams::<A>::per_tensor(full(), case.floats("s_y")[0], case.integer("z_y")).unwrap();
            let stage = Requantize::onnxruntime(&packed, a_params, &y_params).unwrap();
            let mut out = vec![A::MIN; m * n];
            matmul(isa, a, &packed, &stage, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
            case.check_codes(isa, &out);
        }
    }
}

fn matmul_of<A: ByteCode, B: ByteCode>(isa: Isa, case: Case<'_>) {
    product::<A, B>(isa, case, (&case.codes("a"), &case.params(full(), Granularity::Tensor, "s_a", "za")));
}

fn dynamic_matmul(isa: Isa, case: Case<'_>) {
    let (codes, params) = dynamic(isa, &case.floats("x"));
    product::<u8, i8>(isa, case, (&codes, &params));
}

fn conv_of<A: ByteCode, B: ByteCode>(isa: Isa, case: Case<'_>) {
    let (images, weights): (Vec<A>, Vec<B>) = (case.codes("a"), case.codes("b"));
    let shape @ [outputs, channels, height, width] = case.sizes("weights_shape", [0; 4]);
    let window = Window {
        size: [height, width],
        stride: case.sizes("stride", [1; 2]),
        padding: case.sizes("padding", [0; 4]),
        dilation: case.sizes("dilation", [1; 2]),
    };
    let per_output = Granularity::channel(&[outputs, channels * height * width], 0).unwrap();
    let w_params = case.params(full(), per_output, "s_b", "zb");
    let scale = |name: &str| case.floats(name).first().copied().unwrap_or(1.0);
    let x_params = QuantParams::per_tensor(full(), scale("s_a"), case.integer("za")).unwrap();
    let groups = case.integer("groups").max(1) as usize;
    let conv = Conv2d::<A, B>::new(isa, &weights, shape, &w_params, window, groups).unwrap();
    let bias = case.integers("bias");
    let conv = if bias.is_empty() { conv } else { conv.with_accumulator_bias(&bias).unwrap() };
    let images_shape = case.sizes("shape", [0; 4]);
    let length = conv.output_shape(images_shape).unwrap().iter().product();
    if case.text("out") == "i32" {
        let mut out = vec![7; length];
        conv.forward(isa, &images, images_shape, &x_params, &Accumulators, &mut out).unwrap();
        return case.check_sums(isa, &out);
    }
    let y_params = QuantParams::<A>::per_tensor(full(), scale("s_y"), case.integer("z_y")).unwrap();
    let stage = Requantize::onnxruntime(&conv, &x_params, &y_params).unwrap();
    let mut out = vec![A::MIN; length];
    conv.forward(isa, &images, images_shape, &x_params, &stage, &mut out).unwrap();
    case.check_codes(isa, &out);
}

/// The four pairs of types.
fn by_types(isa: Isa, case: Case<'_>, [uu, ui, ii, iu]: [fn(Isa, Case<'_>); 4]) {
    let types = &case.0["codes"];
    match (types[0].as_str().unwrap(), types[1].as_str().unwrap()) {
        ("u8", "u8") => uu(isa, case),
        ("u8", _) => ui(isa, case),
        (_, "i8") => ii(isa, case),
        _ => iu(isa, case),
    }
}

fn matmul_nbits(isa: Isa, case: Case<'_>) {
    let [m, k, n] = case.sizes("shape", [0; 3]);
    let (codes, length) = (case.codes::<u8>("b"), case.integer("length") as usize);
    let stored = StoredWeights::matmul_nbits(4, length, &codes, &case.floats("scales"), None, [n, k]).unwrap();
    let packed = PackedWeights::pack(isa, &stored.weights()).unwrap();
    let x = case.floats("x");
    let x = Activations::reals(Matrix::new(&x, m, k).unwrap(), Scheme::SYMMETRIC);
    let x = if case.is("in_groups") { x.in_groups(length).unwrap() } else { x };
    let mut out = vec![7.0; m * n];
    groups::matmul(isa, &x, &packed, &RealStage::new(), &mut out).unwrap();
    case.check_floats(isa, &out);
}

fn add(isa: Isa, case: Case<'_>) {
    let (a, b): (Vec<u8>, Vec<u8>) = (case.codes("a"), case.codes("b"));
    let [a_params, b_params, y_params] = [("s_a", "za"), ("s_b", "zb"), ("s_y", "z_y")]
        .map(|(s, z)| QuantParams::<u8>::per_tensor(full(), case.floats(s)[0], case.integer(z)).unwrap());
    let mut out = vec![0_u8; a.len()];
    let row = |codes| Matrix::new(codes, 1, a.len()).unwrap();
    let (a, b) = (Quantized::new(row(&a), &a_params).unwrap(), Quantized::new(row(&b), &b_params).unwrap());
    rescale::add(isa, a, b, &y_params, Rounding::Nearest, &mut out).unwrap();
    case.check_codes(isa, &out);
}

/// PyTorch's codes are those of values and the code range; differences are in steps.
fn fake(isa: Isa, case: Case<'_>) {
    let [min, max] = <[i32; 2]>::try_from(case.integers("range")).unwrap();
    let (x, codes) = (case.floats("x"), CodeRange::new(min as i16, max as i16).unwrap());
    let params = case.linear(codes);
    let values = |x: &[f32], params: &QuantParams<i16>| {
        let (mut out, mut mask) = (vec![7.0; x.len()], vec![7; x.len()]);
        fake_quantize(isa, x, params, Rounding::Nearest, (&mut out, &mut mask)).unwrap();
        (out, mask)
    };
    let ((out, mask), codes) = (values(&x, &params), quantized(isa, &x, &params));
    case.check_codes(isa, &codes);
    let (reals, their_mask) = (case.floats("reals"), case.codes::<u8>("mask"));
    // Where the codes are the same, the values are.
    let theirs: Vec<i16> = case.codes("y");
    for i in (0..x.len()).filter(|&i| codes[i] == theirs[i]) {
        assert_eq!(out[i].to_bits(), reals[i].to_bits(), "{isa} {i}");
    }
    let differs: Vec<i32> = (0..x.len()).filter(|&i| mask[i] != their_mask[i]).map(|i| i as i32).collect();
    assert_eq!(differs, case.integers("mask_differs"), "{isa} {}", case.0["name"]);
    if case.is("reciprocal") {
        let (x, ones) = by_reciprocals(&x, &params);
        let (steps, mask) = values(&x, &ones);
        let scale = |i| params.scales()[params.granularity().group_of(i)];
        let values: Vec<f32> = steps.iter().enumerate().map(|(i, steps)| steps * scale(i)).collect();
        assert_eq!((values, mask), (reals, their_mask), "{isa}");
    }
}

fn run(isa: Isa, operator: &str, case: Case<'_>) {
    match operator {
        "Cast" if case.0.get("x").is_none() => dequantize_fp8(isa, case),
        "QuantizeLinear" | "Cast" | "quantize_per_tensor" | "quantize_per_channel" | "QUANTIZE" => {
            by_code!(isa, case, quantize_to, quantize_packed, quantize_fp8(isa, case))
        }
        "DequantizeLinear" | "dequantize" | "DEQUANTIZE" => {
            by_code!(isa, case, dequantize_from, dequantize_packed, dequantize_fp8(isa, case))
        }
        "DynamicQuantizeLinear" => dynamic_quantize_linear(isa, case),
        "MatMulInteger" | "QLinearMatMul" | "MatMulIntegerToFloat" | "quantized::linear" => {
            by_types(isa, case, [matmul_of::<u8, u8>, matmul_of::<u8, i8>, matmul_of::<i8, i8>, matmul_of::<i8, u8>])
        }
        "ConvInteger" | "QLinearConv" => {
            by_types(isa, case, [conv_of::<u8, u8>, conv_of::<u8, i8>, conv_of::<i8, i8>, conv_of::<i8, u8>]);
        }
        "DynamicQuantizeMatMul" => dynamic_matmul(isa, case),
        "MatMulNBits" => matmul_nbits(isa, case),
        "QLinearAdd" => add(isa, case),
        "fake_quantize_per_tensor_affine" | "fake_quantize_per_channel_affine" => fake(isa, case),
        _ => panic!("no test has the operator {operator}"),
    }
}

/// Every case of every program. With `--nocapture`, a table of what was compared.
#[test]
fn other_programs() {
    let golden: Value = serde_json::from_str(include_str!("golden/oracles.json")).unwrap();
    let documentation = include_str!("../../src/conventions.rs");
    let mut isas = vec![];
    every_isa(|isa| isas.push(isa.name()));
    let mut rows = vec![];
    for (program, operators) in golden["cases"].as_object().unwrap() {
        let version = golden["versions"][program].as_str().unwrap();
        for (operator, cases) in operators.as_object().unwrap() {
            assert!(documentation.contains(&format!("`{operator}`")), "the documentation has no row of {operator}");
            let cases = cases.as_array().unwrap();
            cases.iter().for_each(|case| every_isa(|isa| run(isa, operator, Case(case))));
            let different = |case: &&Value| case.get("differs").is_some();
            let reasons: BTreeSet<&str> = cases.iter().filter(different).map(|case| Case(case).text("why")).collect();
            let (count, differing) = (cases.len(), cases.iter().filter(different).count());
            let elements: usize = cases.iter().filter_map(|case| case["differs"].as_array()).map(Vec::len).sum();
            let reasons = reasons.into_iter().collect::<Vec<_>>().join("; also: ");
            rows.push(format!(
                "| {program} {version} | `{operator}` | {count} | {} | {elements} | {reasons} |",
                count - differing
            ));
        }
    }
    println!("Every case ran on {}.\n", isas.join(", "));
    println!(
        "| program | operator | cases | with the same bits | elements that differ | why |\n|---|---|---|---|---|---|"
    );
    println!("{}\n\nCases of onnx's conformance suite that are left out:\n", rows.join("\n"));
    golden["left_out"]
        .as_object()
        .unwrap()
        .iter()
        .for_each(|(case, why)| println!("- `{case}`: {}", why.as_str().unwrap()));
}
