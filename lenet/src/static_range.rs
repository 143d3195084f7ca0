//! Static ranges: calibration fixes every scale beforehand, by any method, and only integers lead from the input's codes to
//! the last accumulators. With scales that are powers of two, requantization is a shift.

use zeropoint::calibrate::{Method, Observer};
use zeropoint::{
    Accumulators, CodeRange, Conv2d, Error, Isa, Linear, Multiplier, QuantParams, Requantize, Rounding, ScaleKind,
    Scheme, multipliers, quantize, quantize_bias,
};

use crate::data::Weights;
use crate::float::Activations;
use crate::network::{HEIGHT, Network, Outputs, PIXELS, QuantizedLayer, WIDTH, convolve, max_pool, multiply};

/// The network in integers, whose output stages multiply with `M`.
pub struct StaticNetwork<M> {
    isa: Isa,
    pixels: QuantParams<u8>,
    conv1: Conv2d<u8, i8>,
    conv2: Conv2d<u8, i8>,
    fc1: Linear<u8, i8>,
    fc2: Linear<u8, i8>,
    /// The zero point of every layer's input.
    zero_points: [i32; 4],
    /// From the accumulators of every layer but the last to codes.
    stages: [Requantize<u8, M>; 3],
    /// The scale of every class's accumulators.
    logit_scales: Vec<f32>,
}

/// How many bits the codes of a static network have, and how the ranges of its activations are chosen.
#[derive(Clone, Copy)]
pub struct Calibration {
    pub bits: u32,
    pub method: Method,
}

/// The digits of a batch that an observer is shown.
const BATCH: usize = 32;

/// The scale and the zero point of a layer's input.
#[derive(Clone, Copy)]
struct Input {
    scale: f32,
    zero_point: i32,
}

impl<M: Multiplier> StaticNetwork<M> {
    /// Scales of this kind, and output stages with what `multiplier` makes of their real multipliers.
    pub fn new(
        isa: Isa,
        weights: &Weights,
        activations: &Activations,
        Calibration { bits, method }: Calibration,
        scale: ScaleKind,
        multiplier: impl Fn(&[f64]) -> Result<M, Error>,
    ) -> Result<Self, Error> {
        let codes = CodeRange::unsigned(bits)?;
        let images = activations.conv1.len() / PIXELS;
        let input = |activations: &[f32]| {
            let image = activations.len() / images;
            let mut observer = method.observer(codes, image)?;
            activations.chunks(BATCH * image).try_for_each(|batch| observer.observe(isa.into(), batch))?;
            let scheme = Scheme { scale, ..Scheme::ASYMMETRIC };
            let (scale, zero_point) = scheme.parameters(codes, observer.range()?)?;
            Ok(Input { scale, zero_point })
        };
        let conv1_input = input(&activations.conv1)?;
        let conv2_input = input(&activations.conv2)?;
        let fc1_input = input(&activations.fc1)?;
        let fc2_input = input(&activations.fc2)?;

        let scheme = Scheme { scale, ..Scheme::SYMMETRIC };
        let conv1 = weights.conv1.quantize(isa, scheme, bits)?;
        let conv2 = weights.conv2.quantize(isa, scheme, bits)?;
        let fc1 = weights.fc1.quantize(isa, scheme, bits)?;
        let fc2 = weights.fc2.quantize(isa, scheme, bits)?;

        let stage = |input: Input, layer: &QuantizedLayer, output: Input| {
            let multiplier = multiplier(&multipliers(input.scale, &layer.scales, output.scale))?;
            Ok(Requantize::new(multiplier, output.zero_point, codes.min()..=codes.max())?.relu())
        };
        Ok(StaticNetwork {
            isa,
            pixels: QuantParams::per_tensor(codes, conv1_input.scale, conv1_input.zero_point)?,
            conv1: conv1.conv()?.with_bias(&quantize_bias(&conv1.bias, conv1_input.scale, &conv1.scales)?)?,
            conv2: conv2.conv()?.with_bias(&quantize_bias(&conv2.bias, conv2_input.scale, &conv2.scales)?)?,
            fc1: fc1.linear()?.with_bias(&quantize_bias(&fc1.bias, fc1_input.scale, &fc1.scales)?)?,
            fc2: fc2.linear()?.with_bias(&quantize_bias(&fc2.bias, fc2_input.scale, &fc2.scales)?)?,
            zero_points: [conv1_input, conv2_input, fc1_input, fc2_input].map(|input| input.zero_point),
            stages: [
                stage(conv1_input, &conv1, conv2_input)?,
                stage(conv2_input, &conv2, fc1_input)?,
                stage(fc1_input, &fc1, fc2_input)?,
            ],
            logit_scales: fc2.scales.iter().map(|scale| fc2_input.scale * scale).collect(),
        })
    }
}

impl<M: Multiplier> Network for StaticNetwork<M> {
    fn forward(&self, images: &[f32]) -> Result<Outputs, Error> {
        let count = images.len() / PIXELS;
        let [conv1_zero, conv2_zero, fc1_zero, fc2_zero] = self.zero_points;
        let [conv1_stage, conv2_stage, fc1_stage] = &self.stages;
        let mut pixels = vec![0; images.len()];
        quantize(self.isa, images, &self.pixels, Rounding::Nearest, &mut pixels)?;
        let (conv1, shape) = convolve(&self.conv1, &pixels, [count, HEIGHT, WIDTH, 1], conv1_zero, conv1_stage)?;
        let (pool1, shape) = max_pool(self.isa, &conv1, shape)?;
        let (conv2, shape) = convolve(&self.conv2, &pool1, shape, conv2_zero, conv2_stage)?;
        let (pool2, _) = max_pool(self.isa, &conv2, shape)?;
        let fc1 = multiply(&self.fc1, &pool2, count, fc1_zero.into(), fc1_stage)?;
        let accumulators = multiply(&self.fc2, &fc1, count, fc2_zero.into(), &Accumulators)?;
        let scales = self.logit_scales.iter().cycle();
        let logits = accumulators.iter().zip(scales).map(|(&accumulator, scale)| accumulator as f32 * scale).collect();
        Ok(Outputs { codes: vec![pixels, conv1, pool1, conv2, pool2, fc1], accumulators: Some(accumulators), logits })
    }
}
