//! Quantization-aware training.

use candle_core::{Device, Module, ModuleT, Result, Tensor, Var};
use candle_nn::{Conv2dConfig, Linear};
use zeropoint::{Code, CodeRange, Granularity, QuantParams, Range, Scheme, Stream, reference};
use zeropoint_candle::qat::{Params, QuantConv2d, QuantDescriptor, QuantLinear, QuantScheme, Quantizer};
use zeropoint_candle::qat::{quant_conv2d, quant_linear, quantize_gradient};

use crate::{bits, everywhere, floats, integers, tensor, with_two_threads};

/// A descriptor, and the library's scheme and code range that it stands for.
type Case = (QuantDescriptor, Scheme, bool, u32);

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in [2, 3, 4, 8] {
        let symmetric = QuantDescriptor::symmetric(bits).unwrap();
        let asymmetric = QuantDescriptor::asymmetric(bits).unwrap();
        cases.push((symmetric, Scheme::SYMMETRIC, false, bits));
        cases.push((symmetric.power_of_two(), Scheme::SHIFT_SYMMETRIC, false, bits));
        cases.push((asymmetric, Scheme::ASYMMETRIC, true, bits));
        cases.push((asymmetric.power_of_two(), Scheme::SHIFT_ASYMMETRIC, true, bits));
    }
    cases
}

/// Fake-quantization and its mask by the plain loops of the reference.
fn expected<C: Code>(x: &[f32], params: &QuantParams<C>) -> (Vec<f32>, Vec<f32>) {
    let mask = reference::straight_through_mask(x, params).into_iter().map(f32::from).collect();
    (reference::fake_quantize(x, params), mask)
}

fn expected_by(case: Case, x: &[f32], granularity: Granularity, ranges: &[Range]) -> (Vec<f32>, Vec<f32>) {
    let (_, scheme, unsigned, bits) = case;
    if unsigned {
        expected(x, &QuantParams::from_ranges(CodeRange::unsigned(bits).unwrap(), scheme, granularity, ranges).unwrap())
    } else {
        expected(x, &QuantParams::from_ranges(CodeRange::narrow(bits).unwrap(), scheme, granularity, ranges).unwrap())
    }
}

fn range(x: &[f32]) -> Range {
    let (min, max) = x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &x| (min.min(x), max.max(x)));
    Range { min, max }
}

#[test]
fn layers_are_candles_of_fake_quantized_operands() -> Result<()> {
    let (rows, inputs, outputs) = (5, 19, 6);
    let (x, w) = (floats(rows * inputs, 1), floats(outputs * inputs, 2));
    let by_output = Granularity::channel(&[outputs, inputs], 0).unwrap();
    let ranges: Vec<Range> = w.chunks(inputs).map(range).collect();
    let bias = tensor(floats(outputs, 3), &[outputs])?;
    for case in cases() {
        let (x_hat, _) = expected_by(case, &x, Granularity::Tensor, &[range(&x)]);
        let (w_hat, _) = expected_by(case, &w, by_output, &ranges);
        let (x_hat, w_hat) = (tensor(x_hat, &[rows, inputs])?, tensor(w_hat, &[outputs, inputs])?);
        let y = Linear::new(w_hat.clone(), Some(bias.clone())).forward(&x_hat)?;
        for exec in everywhere() {
            let scheme = QuantScheme::new(case.0, case.0.per_axis(0)).on(exec);
            let layer = QuantLinear::new(tensor(w.clone(), &[outputs, inputs])?, Some(bias.clone()), scheme)?;
            let x = tensor(x.clone(), &[rows, inputs])?;
            let [x_found, w_found] = with_two_threads(|| layer.operands(&x, true))?;
            assert_eq!((bits(&x_found), bits(&w_found)), (bits(&x_hat), bits(&w_hat)));
            assert_eq!(bits(&layer.forward_t(&x, true)?), bits(&y));
            assert_eq!(bits(&layer.forward(&x)?), bits(&y));
        }
    }
    Ok(())
}

/// The gradients of a layer are candle's at the fake-quantized operands, where codes need no clamping, and 0 elsewhere.
#[test]
fn gradients_are_candles_behind_the_mask() -> Result<()> {
    let config = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
    let (x_dims, w_dims) = ([2, 3, 6, 5], [4, 3, 3, 3]);
    let within = Range { min: -0.6, max: 0.7 };
    for case in cases() {
        let descriptor = case.0.within(within)?;
        let x = Var::from_tensor(&(tensor(floats(180, 1), &x_dims)? * 2.0)?)?;
        let w = Var::from_tensor(&(tensor(floats(108, 2), &w_dims)? * 2.0)?)?;
        let b = Var::from_tensor(&tensor(floats(4, 3), &[4])?)?;
        let upstream = tensor(floats(2 * 4 * 30, 4), &[2, 4, 6, 5])?;
        let hat = |x: &Var| -> Result<(Var, Tensor)> {
            let (out, mask) = expected_by(case, &x.flatten_all()?.to_vec1()?, Granularity::Tensor, &[within]);
            assert!(mask.contains(&0.0) && mask.contains(&1.0));
            Ok((Var::from_tensor(&tensor(out, x.dims())?)?, tensor(mask, x.dims())?))
        };
        let ((x_hat, x_mask), (w_hat, w_mask)) = (hat(&x)?, hat(&w)?);
        let exact = candle_nn::Conv2d::new(w_hat.as_tensor().clone(), Some(b.as_tensor().clone()), config);
        let expected = (exact.forward(&x_hat)? * &upstream)?.sum_all()?.backward()?;

        let scheme = QuantScheme::new(descriptor, descriptor);
        let layer = QuantConv2d::new(w.as_tensor().clone(), Some(b.as_tensor().clone()), config, scheme)?;
        let found = (layer.forward_t(&x, true)? * &upstream)?.sum_all()?.backward()?;
        let both = [(&x, &x_hat, &x_mask), (&w, &w_hat, &w_mask)];
        for (var, hat, mask) in both {
            let expected = (expected.get(hat).expect("a gradient") * mask)?;
            assert_eq!(found.get(var).expect("a gradient").to_vec_f32()?, expected.to_vec_f32()?);
        }
        assert_eq!(bits(found.get(&b).expect("a gradient")), bits(expected.get(&b).expect("a gradient")));
    }
    Ok(())
}

trait ToVec {
    fn to_vec_f32(&self) -> Result<Vec<f32>>;
}

impl ToVec for Tensor {
    /// Values that compare as numbers do: −0 = 0.
    fn to_vec_f32(&self) -> Result<Vec<f32>> {
        self.flatten_all()?.to_vec1()
    }
}

/// With scales that are powers of two every sum of products is exact in f32, in any order: so the integer layers have the bits of
/// the fake-quantized ones.
#[test]
fn integer_layers_have_the_bits_where_sums_are_exact() -> Result<()> {
    let (x, w) = (tensor(floats(2 * 3 * 40, 1), &[2, 3, 8, 5])?, tensor(floats(4 * 27, 2), &[4, 3, 3, 3])?);
    let bias = tensor(integers(4, 3, 64.0).iter().map(|b| b / 64.0).collect(), &[4])?;
    let weights = QuantDescriptor::symmetric(8)?.power_of_two();
    for input in [QuantDescriptor::symmetric(8)?, QuantDescriptor::asymmetric(6)?] {
        for weights in [weights, weights.per_axis(0)] {
            for exec in everywhere() {
                let scheme = QuantScheme::new(input.power_of_two().moving_average(0.5)?, weights).on(exec);
                let config = Conv2dConfig { padding: 1, stride: 2, ..Conv2dConfig::default() };
                let conv = QuantConv2d::new(w.clone(), Some(bias.clone()), config, scheme)?;
                conv.forward_t(&(&x * 0.75)?, true)?;
                let y = with_two_threads(|| conv.convert()?.forward(&x))?;
                assert_eq!(bits(&y), bits(&conv.forward(&x)?));
                let linear = QuantLinear::new(w.reshape((4, 27))?, Some(bias.clone()), scheme)?;
                let x = x.flatten_all()?.narrow(0, 0, 27 * 8)?.reshape((2, 4, 27))?;
                linear.forward_t(&x, true)?;
                let y = with_two_threads(|| linear.convert()?.forward(&x))?;
                assert_eq!(bits(&y), bits(&linear.forward(&x)?));
            }
        }
    }
    Ok(())
}

/// The scheme that layers have by default, against its definition: `amax / 127` per tensor and per output.
#[test]
fn int8_is_symmetric_with_amax_in_flight() -> Result<()> {
    let vars = candle_nn::VarMap::new();
    let vb = candle_nn::VarBuilder::from_varmap(&vars, candle_core::DType::F32, &Device::Cpu);
    let linear = quant_linear(7, 3, vb.pp("fc"), QuantScheme::int8())?;
    let conv = quant_conv2d(2, 3, 3, Conv2dConfig::default(), vb.pp("conv"), QuantScheme::int8())?;
    let mut names: Vec<String> = vars.data().lock().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["conv.bias", "conv.weight", "fc.bias", "fc.weight"]);
    let amax = |x: &[f32]| x.iter().fold(0.0_f32, |amax, x| amax.max(x.abs()));
    for (weight, quantizer) in [(linear.weight(), linear.weight_quantizer()), (conv.weight(), conv.weight_quantizer())]
    {
        let values = weight.to_vec_f32()?;
        let scales: Vec<f32> = values.chunks(values.len() / 3).map(|w| (f64::from(amax(w)) / 127.0) as f32).collect();
        let params = quantizer.params(weight)?;
        assert_eq!((params.scales(), params.zero_points()), (&*scales, [0; 3].as_slice()));
    }
    for seed in [1, 2] {
        let x = floats(14, seed);
        let params = linear.input_quantizer().params(&tensor(x.clone(), &[2, 7])?)?;
        assert_eq!(
            (params.scales(), params.zero_points()),
            ([(f64::from(amax(&x)) / 127.0) as f32].as_slice(), [0].as_slice())
        );
    }
    Ok(())
}

#[test]
fn stochastic_calls_take_one_stream() -> Result<()> {
    let values = floats(1000, 1);
    let x = tensor(values.clone(), &[1000])?;
    for exec in everywhere() {
        let quantizer = Quantizer::new(QuantDescriptor::symmetric(3)?.stochastic(7).on(exec))?;
        let Params::Signed(params) = quantizer.params(&x)? else { panic!("symmetric codes are signed") };
        for call in 0..3 {
            let stream = Stream { seed: 7, offset: 1000 * call };
            let expected = reference::fake_quantize_stochastic(&values, &params, stream);
            assert_eq!(with_two_threads(|| quantizer.forward_t(&x, true))?.to_vec_f32()?, expected);
            assert_eq!(quantizer.forward_t(&x, false)?.to_vec_f32()?, reference::fake_quantize(&values, &params));
        }
    }
    Ok(())
}

#[test]
fn moving_averages_follow_training_alone() -> Result<()> {
    let quantizer = Quantizer::new(QuantDescriptor::asymmetric(8)?.moving_average(0.25)?)?;
    let batch = |max: f32| tensor(vec![0.0, max], &[2]);
    let unseen = quantizer.forward_t(&batch(1.0)?, false).unwrap_err().to_string();
    assert!(unseen.contains("a moving average of ranges is empty"), "{unseen}");
    // Tensors without elements count nowhere, not even as the first.
    quantizer.forward_t(&Tensor::zeros(0, candle_core::DType::F32, &Device::Cpu)?, true)?;
    for (max, average) in [(2.0, 2.0), (4.0, 2.5), (0.5, 2.0)] {
        quantizer.clone().forward_t(&batch(max)?, true)?;
        quantizer.forward_t(&batch(100.0)?, false)?;
        quantizer.forward_t(&Tensor::zeros(0, candle_core::DType::F32, &Device::Cpu)?, true)?;
        assert_eq!(quantizer.params(&batch(9.0)?)?.scales(), [average / 255.0]);
    }
    Ok(())
}

#[test]
fn gradients_are_quantized_on_their_way_back() -> Result<()> {
    for descriptor in [QuantDescriptor::symmetric(3)?, QuantDescriptor::symmetric(3)?.stochastic(5)] {
        let upstream = tensor(floats(60, 1), &[4, 15])?;
        let x = Var::from_tensor(&tensor(floats(60, 2), &[4, 15])?)?;
        let y = quantize_gradient(&x, &Quantizer::new(descriptor)?)?;
        assert_eq!(bits(&y), bits(&x));
        let gradients = (y * &upstream)?.sum_all()?.backward()?;
        let expected = Quantizer::new(descriptor)?.forward_t(&upstream, true)?;
        assert_eq!(bits(gradients.get(&x).expect("a gradient")), bits(&expected));
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_said() -> Result<()> {
    #[track_caller]
    fn refused<T>(result: Result<T>, message: &str) {
        let Err(error) = result else { panic!("no error: {message}") };
        assert!(error.to_string().contains(message), "{error}");
    }
    let eight = QuantDescriptor::symmetric(8)?;
    refused(QuantDescriptor::symmetric(9), "QuantDescriptor");
    refused(QuantDescriptor::asymmetric(1), "QuantDescriptor");
    refused(eight.moving_average(0.0), "no weight of a moving average");
    refused(eight.within(Range { min: 1.0, max: f32::INFINITY }), "QuantDescriptor");
    let quantizer = Quantizer::new(eight.per_axis(1))?;
    refused(quantizer.forward_t(&tensor(floats(3, 1), &[3])?, true), "no such axis");
    refused(quantizer.forward_t(&tensor(vec![1.0, f32::NAN], &[1, 2])?, true), "NaN");
    refused(
        quantizer.forward_t(&Tensor::zeros((1, 2), candle_core::DType::F16, &Device::Cpu)?, true),
        "unsupported dtype",
    );
    let layer = |input, weights| {
        QuantLinear::new(tensor(floats(6, 1), &[2, 3])?, None, QuantScheme::new(input, weights))?.convert()
    };
    refused(layer(eight.per_axis(1), eight), "one scale for its input");
    refused(layer(eight, eight.per_axis(1)), "a scale for every output");
    refused(layer(eight, QuantDescriptor::asymmetric(8)?), "weights are of signed codes");
    let integer = layer(eight, eight)?;
    refused(integer.forward(&tensor(floats(4, 1), &[1, 4])?), "expected: [1, 3], got: [1, 4]");
    refused(integer.forward(&Tensor::zeros((1, 3), candle_core::DType::F64, &Device::Cpu)?), "unsupported dtype");
    refused(QuantLinear::new(tensor(floats(6, 1), &[6])?, None, QuantScheme::int8()), "unexpected rank");
    Ok(())
}

#[test]
fn frozen_ranges_are_those_of_the_first_tensor() -> Result<()> {
    let quantizer = Quantizer::new(QuantDescriptor::symmetric(8)?.per_axis(0).frozen())?;
    for factor in [1.0, 5.0, 0.1] {
        let x = (tensor(vec![1.0, -2.0, 3.0, 0.5], &[2, 2])? * factor)?;
        quantizer.forward_t(&x, true)?;
        assert_eq!(quantizer.params(&x)?.scales(), [2.0 / 127.0, 3.0 / 127.0]);
    }
    Ok(())
}

/// The gradients of learned scales against finite differences of the straight-through function in f64, in which the rounding of
/// every element is the constant that it is at the scale of the forward pass.
#[test]
fn learned_scales_have_the_gradients_of_finite_differences() -> Result<()> {
    let values: Vec<f32> = floats(60, 1).iter().map(|x| x * x * x * 2.0).collect();
    let upstream = floats(60, 2);
    for bits in [2, 4, 8] {
        let cases = [
            (QuantDescriptor::symmetric(bits)?.per_axis(0), 15, -f64::from((1 << (bits - 1)) - 1)),
            (QuantDescriptor::asymmetric(bits)?, 60, 0.0),
        ];
        for (descriptor, group, symmetric) in cases {
            let x = Var::from_tensor(&tensor(values.clone(), &[4, 15])?)?;
            let quantizer = Quantizer::new(descriptor.learned())?;
            let empty = Tensor::zeros((4, 0), candle_core::DType::F32, &Device::Cpu)?;
            assert!(quantizer.forward_t(&x, false).is_err() && quantizer.forward_t(&empty, true).is_err());
            assert!(quantizer.scales().is_none());
            quantizer.forward_t(&x, true)?;
            let scales = quantizer.scales().expect("scales of the first call");
            let max = if group == 60 { (1 << bits) - 1 } else { (1 << (bits - 1)) - 1 };
            for (i, scale) in scales.to_vec1::<f32>()?.into_iter().enumerate() {
                let sum: f64 = values[i * group..][..group].iter().map(|x| f64::from(x.abs())).sum();
                assert_eq!(scale, (2.0 * sum / (group as f64 * f64::from(max).sqrt())) as f32);
            }
            // A part is clamped.
            let factor = if group == 60 { 1.0 } else { 0.6 } / max as f32;
            let amax = |x: &[f32]| x.iter().fold(0.0_f32, |amax, x| amax.max(x.abs()));
            let shorter: Vec<f32> = values.chunks(group).map(|x| amax(x) * factor).collect();
            scales.set(&tensor(shorter, &[60 / group])?)?;
            let zero = f64::from(quantizer.params(&x)?.zero_points()[0]);
            let (low, high) = if group == 60 { (-zero, f64::from(max) - zero) } else { (symmetric, f64::from(max)) };
            let y = quantizer.forward_t(&x, true)?;
            let store = (&y * &tensor(upstream.clone(), &[4, 15])?)?.sum_all()?.backward()?;
            let (dx, ds) = (store.get(&x).expect("a gradient"), store.get(&scales).expect("a gradient"));
            let (dx, ds): (Vec<f32>, Vec<f32>) = (dx.flatten_all()?.to_vec1()?, ds.to_vec1()?);
            let mut clamped = 0;
            for (i, scale) in scales.to_vec1::<f32>()?.into_iter().enumerate() {
                let scale = f64::from(scale);
                let elements = i * group..(i + 1) * group;
                let loss = |s: f64| -> f64 {
                    let element = |k: usize| {
                        let v = f64::from(values[k]) / scale;
                        let rounding = v.round_ties_even() - v;
                        // Whether it is clamped is a matter of the forward pass, too.
                        let steps = if (low..=high).contains(&v.round_ties_even()) {
                            f64::from(values[k]) / s + rounding
                        } else {
                            v.clamp(low, high)
                        };
                        f64::from(upstream[k]) * s * steps
                    };
                    elements.clone().map(element).sum()
                };
                let step = scale * 1e-4;
                let difference = (loss(scale + step) - loss(scale - step)) / (2.0 * step);
                let factor = 1.0 / (group as f64 * f64::from(max)).sqrt();
                assert!((f64::from(ds[i]) - difference * factor).abs() < 1e-5, "{bits}, {i}: {ds:?}, {difference}");
                for k in elements {
                    let inside = (low..=high).contains(&(f64::from(values[k] / scale as f32)).round_ties_even());
                    clamped += usize::from(!inside);
                    assert_eq!(dx[k], if inside { upstream[k] } else { 0.0 });
                }
            }
            assert!(clamped > 0 && clamped < 60);
            // The integer layer takes the learned scales.
            let layer = QuantLinear::new(
                x.as_tensor().clone(),
                None,
                QuantScheme::new(descriptor.learned(), descriptor.learned()),
            );
            if group == 15 {
                let error = layer?.convert().unwrap_err().to_string();
                assert!(error.contains("one scale for its input"), "{error}");
            }
        }
    }
    let power_of_two = Quantizer::new(QuantDescriptor::symmetric(8)?.learned().power_of_two());
    assert!(power_of_two.unwrap_err().to_string().contains("no power of two"));
    Ok(())
}

/// A layer with learned scales fits better than it did, and its integers are the layer.
#[test]
fn learned_scales_learn() -> Result<()> {
    let w = Var::from_tensor(&tensor(floats(6 * 9, 1), &[6, 9])?)?;
    let x = tensor(floats(40 * 9, 2), &[40, 9])?;
    let target = Linear::new(w.as_detached_tensor().copy()?, None).forward(&x)?;
    let scheme = QuantScheme::new(
        QuantDescriptor::symmetric(4)?.learned(),
        QuantDescriptor::symmetric(3)?.per_axis(0).learned().stochastic(3),
    );
    let layer = QuantLinear::new(w.as_tensor().clone(), None, scheme)?;
    let loss = |layer: &QuantLinear| -> Result<f32> { (layer.forward(&x)? - &target)?.sqr()?.mean_all()?.to_scalar() };
    layer.forward_t(&x, true)?;
    let before = loss(&layer)?;
    for _ in 0..60 {
        let store = (layer.forward_t(&x, true)? - &target)?.sqr()?.mean_all()?.backward()?;
        for var in [Some(w.clone()), layer.input_quantizer().scales(), layer.weight_quantizer().scales()] {
            let var = var.expect("a variable");
            var.set(&(var.as_tensor() - (store.get(&var).expect("a gradient") * 0.05)?)?)?;
        }
    }
    assert!(loss(&layer)? < 0.9 * before, "{before}, then {}", loss(&layer)?);
    let difference = (layer.convert()?.forward(&x)? - layer.forward(&x)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
    // Nine products, each rounded to f32, of sums below 4.
    assert!(difference <= 9.0 * 4.0 * f32::EPSILON, "{difference}");
    Ok(())
}
