//! The trained network in integers, compared with the fake-quantized one code by code.
//!
//! The integer network is that of the program `lenet`: codes of 8 bits, exact sums, a bias that is rounded to the scale of
//! the sum, and an output stage from sums to codes. Two evaluations of the fake-quantized network stand beside them.
//!
//! - **In the order of the integers**: the fake-quantized operands are divided by their scales, so that they
//!   are integers in f32; sums below 2²⁴ of these are exact in any order. The bias is rounded to the scale of the sum, and the sum
//!   is multiplied once. The float-multiplier stage does just that: every code has to be equal.
//! - **As trained**: sums of real numbers in f32, a bias in f32, a division by the next scale. A code may differ where the value
//!   before rounding lies at a tie, no farther from it than the roundings that only one of the two has:
//!
//! ```text
//! |v − tie| ≤ M/2 + (K + 4)·2⁻²⁴·(Σ|x̂·ŵ| + |bias|)/S_out + 4·2⁻²⁴·|v|
//!     M/2       the bias, rounded to a multiple of S_x·S_w, in steps of the output: M = S_x·S_w / S_out
//!     K + 4     roundings of a sum of K products in f32, of the operands, and of the bias
//! ```
//!
//! The bound is checked for every layer alone: its input is the codes of the integer network, so that differences of one layer do
//! not reach the next.

use candle_core::{Device, Tensor};
use lenet::network::{CLASSES, HEIGHT, Network as _, Outputs, PIXELS, QuantizedLayer, WIDTH, top};
use lenet::static_range::StaticNetwork;
use serde::{Deserialize, Serialize};
use zeropoint::{Exec, QuantParams, Rule};
use zeropoint_candle::qat::Params;

use crate::Failure;
use crate::data::Images;
use crate::network::{Network, SHAPES};
use crate::ops::{conv2d, linear};
use crate::products::Products;
use crate::recipe::Quantized;
use crate::train::{EVALUATION_BATCH, correct};

/// The name of the output stage that multiplies a sum by one float.
pub const FLOAT_STAGE: &str = "float multiplier";

/// How the integer network with one output stage compares with the fake-quantized one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Equality {
    /// The output stage.
    pub stage: String,
    /// Test images whose class is right in integers.
    pub correct: usize,
    /// Images of which the fake-quantized network, as trained, predicts another class.
    pub predictions: usize,
    /// How many results are compared: the codes of the first three layers, before pooling, and the sums of the last one.
    pub codes: usize,
    /// Results that differ from the fake-quantized evaluation in the order of the integers. Codes count for the
    /// float-multiplier stage alone, which rounds as that evaluation does.
    pub in_order: usize,
    /// Codes that differ from the fake-quantized layer as trained.
    pub as_trained: usize,
    /// The largest distance of such a code's value from a tie, divided by its bound: above 1, roundings do not explain the
    /// difference.
    pub of_bound: f64,
    /// The largest difference between two codes that differ, in steps.
    pub steps: u32,
}

/// The parameters of one layer's codes.
struct LayerParams {
    input: QuantParams<u8>,
    weights: QuantParams<i8>,
}

/// Compares the integer network, with every output stage that the scales allow, with the fake-quantized one, whose
/// predictions are `classes`.
///
/// # Errors
/// A network that is not quantized, or has no integer form.
pub fn compare(
    network: &Network,
    quantized: Quantized,
    classes: &[usize],
    images: &Images,
    exec: Exec<'static>,
) -> Result<Vec<Equality>, Failure> {
    let params = params(network)?;
    let layers = network.parameters()?.layers();
    let mut quantized_layers = Vec::new();
    for (i, (layer, params)) in layers.iter().zip(&params).enumerate() {
        // The first linear layer has an input that is flattened channels last.
        let layer = if i == 2 { &layer.flattened() } else { layer };
        quantized_layers.push(layer.quantize_by(exec.isa(), params.weights.clone())?);
    }
    let quantized_layers: [&QuantizedLayer; 4] = std::array::from_fn(|i| &quantized_layers[i]);
    let stages: &[(&str, Rule)] =
        &[(FLOAT_STAGE, Rule::Float), ("fixed point", Rule::FixedPoint), ("shift", Rule::Shift)];
    let stages = if quantized.power_of_two { stages } else { &stages[..2] };
    let mut rows = Vec::new();
    for &(stage, rule) in stages {
        let inputs = std::array::from_fn(|i| params[i].input.clone());
        let integers = match StaticNetwork::of_layers(exec.isa(), inputs, quantized_layers, rule) {
            Ok(integers) => integers,
            // A ratio of scales may be no shift to the right.
            Err(_) if rule == Rule::Shift => continue,
            Err(error) => return Err(error.into()),
        };
        rows.push(beside(stage, &integers, network, &params, classes, images)?);
    }
    Ok(rows)
}

fn params(network: &Network) -> Result<Vec<LayerParams>, Failure> {
    let layers = network.params()?.ok_or("a float network has no codes")?;
    let params = layers.into_iter().map(|[input, weights]| match (input, weights) {
        (Params::Unsigned(input), Params::Signed(weights)) => Ok(LayerParams { input, weights }),
        _ => Err("codes of activations are unsigned, and those of weights signed".into()),
    });
    params.collect()
}

fn beside(
    stage: &str,
    integers: &StaticNetwork,
    network: &Network,
    params: &[LayerParams],
    classes: &[usize],
    images: &Images,
) -> Result<Equality, Failure> {
    let mut row = Equality {
        stage: stage.to_owned(),
        correct: 0,
        predictions: 0,
        codes: 0,
        in_order: 0,
        as_trained: 0,
        of_bound: 0.0,
        steps: 0,
    };
    let mut found = Vec::with_capacity(classes.len());
    let evaluation = Evaluation::new(network, params)?;
    for pixels in images.pixels.chunks(EVALUATION_BATCH * PIXELS) {
        let outputs = integers.forward(pixels)?;
        found.extend(top(&outputs.logits));
        evaluation.count(&outputs, &mut row)?;
    }
    row.correct = correct(&found, images);
    row.predictions = found.iter().zip(classes).filter(|(found, class)| found != class).count();
    Ok(row)
}

/// The layers of a fake-quantized network, to be evaluated one by one.
struct Evaluation<'a> {
    products: Products,
    params: &'a [LayerParams],
    /// Of every layer, the weights and the bias in three forms: fake-quantized; their magnitudes; in integers, the bias in
    /// steps of the scale of the sum.
    weights: Vec<[[Tensor; 2]; 3]>,
}

impl<'a> Evaluation<'a> {
    fn new(network: &Network, params: &'a [LayerParams]) -> Result<Self, Failure> {
        let mut weights = Vec::new();
        for (layer, params) in network.layers().iter().zip(params) {
            let [_, quantizer] = layer.quantizers().ok_or("a float network has no codes")?;
            let w_hat = candle_core::ModuleT::forward_t(quantizer, layer.weight.as_tensor(), false)?.detach();
            let bias = layer.bias.as_detached_tensor();
            let scales = params.weights.scales();
            let values: Vec<f32> = w_hat.flatten_all()?.to_vec1()?;
            let depth = values.len() / scales.len();
            let codes =
                values.chunks(depth).zip(scales).flat_map(|(w, scale)| w.iter().map(move |w| (w / scale).round()));
            let codes = Tensor::from_iter(codes, &Device::Cpu)?.reshape(w_hat.shape())?;
            let input = f64::from(params.input.scales()[0]);
            let b: Vec<f32> = bias.to_vec1()?;
            let b =
                b.iter().zip(scales).map(|(&b, &w)| (f64::from(b) / (input * f64::from(w))).round_ties_even() as f32);
            let b = Tensor::from_iter(b, &Device::Cpu)?;
            weights.push([[w_hat.clone(), bias.clone()], [w_hat.abs()?, bias.abs()?], [codes, b]]);
        }
        Ok(Evaluation { products: network.products(), params, weights })
    }

    fn product(&self, layer: usize, x: &Tensor, form: usize) -> Result<Vec<f32>, Failure> {
        let [w, b] = &self.weights[layer][form];
        let operation = if layer < 2 { conv2d } else { linear };
        Ok(operation(self.products, x, w, b)?.flatten_all()?.to_vec1()?)
    }

    /// Adds the differences of a batch to `row`.
    fn count(&self, outputs: &Outputs, row: &mut Equality) -> Result<(), Failure> {
        let [pixels, conv1, pool1, conv2, pool2, fc1] = &outputs.codes[..] else {
            return Err("the integer network has other layers".into());
        };
        let images = pixels.len() / PIXELS;
        let inputs = [pixels, pool1, pool2, fc1];
        let found = [conv1, conv2, fc1];
        let sizes = [[1, HEIGHT, WIDTH], [10, 12, 12], [20, 4, 4], [50, 1, 1]];
        for layer in 0..SHAPES.len() {
            let params = &self.params[layer];
            let zero = params.input.zero_points()[0] as f32;
            let scale = params.input.scales()[0];
            let codes = channels_first(inputs[layer], sizes[layer]);
            let codes: Vec<f32> = codes.iter().map(|&code| f32::from(code) - zero).collect();
            let shape = match layer {
                0 | 1 => [&[images], &sizes[layer][..]].concat(),
                _ => vec![images, sizes[layer].iter().product()],
            };
            let codes = Tensor::from_vec(codes, shape, &Device::Cpu)?;
            let x_hat = (&codes * f64::from(scale))?;
            let sums = self.product(layer, &codes, 2)?;
            if layer == 3 {
                let expected = outputs.accumulators.as_deref().ok_or("the integer network has no accumulators")?;
                row.in_order += sums.iter().zip(expected).filter(|&(&sum, &expected)| sum != expected as f32).count();
                row.codes += expected.len();
                debug_assert_eq!(expected.len(), images * CLASSES);
                continue;
            }
            let trained = self.product(layer, &x_hat, 0)?;
            let magnitudes = self.product(layer, &x_hat.abs()?, 1)?;
            let out_channels = SHAPES[layer][0];
            let out_pixels = found[layer].len() / images / out_channels;
            let found = channels_first(found[layer], [out_channels, out_pixels, 1]);
            let next = &self.params[layer + 1].input;
            let stage = Stage::new(params, next, row.stage == FLOAT_STAGE, SHAPES[layer]);
            for (i, &code) in found.iter().enumerate() {
                stage.count(i / out_pixels % out_channels, [trained[i], magnitudes[i], sums[i]], code, row);
            }
            row.codes += found.len();
        }
        Ok(())
    }
}

/// The output stage of the fake-quantized evaluation: from the sums of a layer to codes.
struct Stage<'a> {
    params: &'a LayerParams,
    out_scale: f32,
    zero: i32,
    max: i32,
    depth: usize,
    is_float: bool,
}

impl<'a> Stage<'a> {
    fn new(params: &'a LayerParams, next: &QuantParams<u8>, is_float: bool, shape: [usize; 4]) -> Self {
        Stage {
            params,
            out_scale: next.scales()[0],
            zero: next.zero_points()[0],
            max: next.codes().max().into(),
            depth: shape[1..].iter().product(),
            is_float,
        }
    }

    /// The code of a value in steps, behind a ReLU.
    fn code(&self, steps: f32) -> i32 {
        (steps.clamp(-1e6, 1e6).round_ties_even() as i32 + self.zero).clamp(self.zero, self.max)
    }

    fn count(&self, channel: usize, [trained, magnitude, sum]: [f32; 3], code: u8, row: &mut Equality) {
        let scale = f64::from(self.params.input.scales()[0]) * f64::from(self.params.weights.scales()[channel]);
        let multiplier = scale / f64::from(self.out_scale);
        // Only the float-multiplier stage promises the codes of this order.
        if self.is_float && self.code(sum * multiplier as f32) != i32::from(code) {
            row.in_order += 1;
        }
        let steps = trained / self.out_scale;
        let difference = self.code(steps).abs_diff(code.into());
        if difference == 0 {
            return;
        }
        row.as_trained += 1;
        row.steps = row.steps.max(difference);
        let steps = f64::from(steps);
        let distance = (steps - steps.floor() - 0.5).abs();
        let rounding = 0.5_f64.powi(24);
        let sums = (self.depth + 4) as f64 * rounding * f64::from(magnitude) / f64::from(self.out_scale);
        let bound = multiplier / 2.0 + sums + 4.0 * rounding * steps.abs();
        row.of_bound = row.of_bound.max(distance / bound);
    }
}

/// Images of codes `[height, width, channels]` as `[channels, height, width]`.
fn channels_first(codes: &[u8], [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let pixels = height * width;
    let image = |image: &[u8]| -> Vec<u8> {
        (0..channels * pixels).map(|i| image[i % pixels * channels + i / pixels]).collect()
    };
    codes.chunks_exact(channels * pixels).flat_map(image).collect()
}
