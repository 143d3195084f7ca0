//! Static ranges: calibration fixes every scale beforehand, by any method, and only integers lead from the input's codes to
//! the last accumulators. With scales that are powers of two, requantization is a shift.

use zeropoint::calibrate::{Method, Observer};
use zeropoint::layers::{Conv2d, Linear};
use zeropoint::{
    Accumulators, CodeRange, Error, Isa, QuantParams, Requantize, Rounding, Rule, ScaleKind, Scheme, quantize,
};

use crate::data::Weights;
use crate::float::Activations;
use crate::network::{HEIGHT, Network, Outputs, PIXELS, QuantizedLayer, WIDTH, convolve, max_pool, multiply};

/// The network in integers.
pub struct StaticNetwork {
    isa: Isa,
    /// The parameters of every layer's input.
    inputs: [QuantParams<u8>; 4],
    conv1: Conv2d<u8, i8>,
    conv2: Conv2d<u8, i8>,
    fc1: Linear<u8, i8>,
    fc2: Linear<u8, i8>,
    /// From the accumulators of every layer but the last to codes.
    stages: [Requantize<u8>; 3],
    /// The scale of every class's accumulators.
    logit_scales: Vec<f32>,
}

/// How many bits the codes of a static network have, and how the ranges of its activations are chosen.
#[derive(Clone, Copy)]
pub struct Calibration {
    /// The bits of weights and activations.
    pub bits: u32,
    /// How the ranges of activations are chosen.
    pub method: Method,
}

/// The digits of a batch that an observer is shown.
const BATCH: usize = 32;

impl StaticNetwork {
    /// Scales of this kind, and output stages with this rule.
    ///
    /// # Errors
    /// Weights, activations or bits that have no parameters.
    pub fn new(
        isa: Isa,
        weights: &Weights,
        activations: &Activations,
        Calibration { bits, method }: Calibration,
        scale: ScaleKind,
        rule: Rule,
    ) -> Result<Self, Error> {
        let codes = CodeRange::unsigned(bits)?;
        let images = activations.conv1.len() / PIXELS;
        let input = |activations: &[f32]| {
            let image = activations.len() / images;
            let scheme = Scheme { scale, ..Scheme::ASYMMETRIC };
            let mut observer = method.observer(codes, scheme, image)?;
            activations.chunks(BATCH * image).try_for_each(|batch| observer.observe(isa.into(), batch))?;
            let (scale, zero_point) = scheme.parameters(codes, observer.range()?)?;
            QuantParams::per_tensor(codes, scale, zero_point)
        };
        let inputs = [
            input(&activations.conv1)?,
            input(&activations.conv2)?,
            input(&activations.fc1)?,
            input(&activations.fc2)?,
        ];
        let scheme = Scheme { scale, ..Scheme::SYMMETRIC };
        let layers = [&weights.conv1, &weights.conv2, &weights.fc1, &weights.fc2];
        let [conv1, conv2, fc1, fc2] = layers.map(|layer| layer.quantize(isa, scheme, bits));
        Self::of_layers(isa, inputs, [&conv1?, &conv2?, &fc1?, &fc2?], rule)
    }

    /// A network of quantized layers, with the parameters of every layer's input, and output stages with this rule. `fc1`
    /// is for an input that is flattened channels last.
    ///
    /// # Errors
    /// Parameters that the rule does not have.
    pub fn of_layers(
        isa: Isa,
        inputs: [QuantParams<u8>; 4],
        [conv1, conv2, fc1, fc2]: [&QuantizedLayer; 4],
        rule: Rule,
    ) -> Result<Self, Error> {
        let [conv1_input, conv2_input, fc1_input, fc2_input] = &inputs;
        let logit_scales = fc2.params.scales().iter().map(|scale| fc2_input.scales()[0] * scale).collect();
        let conv1 = conv1.conv()?.with_bias(&conv1.bias, conv1_input)?;
        let conv2 = conv2.conv()?.with_bias(&conv2.bias, conv2_input)?;
        let fc1 = fc1.linear()?.with_bias(&fc1.bias, fc1_input)?;
        let fc2 = fc2.linear()?.with_bias(&fc2.bias, fc2_input)?;
        let stages = [
            Requantize::new(&conv1, conv1_input, conv2_input, rule)?.relu(),
            Requantize::new(&conv2, conv2_input, fc1_input, rule)?.relu(),
            Requantize::new(&fc1, fc1_input, fc2_input, rule)?.relu(),
        ];
        Ok(StaticNetwork { isa, inputs, conv1, conv2, fc1, fc2, stages, logit_scales })
    }
}

impl Network for StaticNetwork {
    fn forward(&self, images: &[f32]) -> Result<Outputs, Error> {
        let (isa, count) = (self.isa, images.len() / PIXELS);
        let [conv1_input, conv2_input, fc1_input, fc2_input] = &self.inputs;
        let [conv1_stage, conv2_stage, fc1_stage] = &self.stages;
        let mut pixels = vec![0; images.len()];
        quantize(isa, images, conv1_input, Rounding::Nearest, &mut pixels)?;
        let (conv1, shape) = convolve(isa, &self.conv1, &pixels, [count, HEIGHT, WIDTH, 1], conv1_input, conv1_stage)?;
        let (pool1, shape) = max_pool(isa, &conv1, shape)?;
        let (conv2, shape) = convolve(isa, &self.conv2, &pool1, shape, conv2_input, conv2_stage)?;
        let (pool2, _) = max_pool(isa, &conv2, shape)?;
        let fc1 = multiply(isa, &self.fc1, &pool2, count, fc1_input, fc1_stage)?;
        let accumulators = multiply(isa, &self.fc2, &fc1, count, fc2_input, &Accumulators)?;
        let scales = self.logit_scales.iter().cycle();
        let logits = accumulators.iter().zip(scales).map(|(&accumulator, scale)| accumulator as f32 * scale).collect();
        Ok(Outputs { codes: vec![pixels, conv1, pool1, conv2, pool2, fc1], accumulators: Some(accumulators), logits })
    }
}
