//! Stochastic gradient descent with momentum.

use candle_core::{Device, Result, Tensor, Var};
use lenet::network::{PIXELS, top};
use rand::seq::SliceRandom;
use zeropoint::random::StreamRng;
use zeropoint::{Exec, QuantParams, Rounding, Stream, fake_quantize_in_place};
use zeropoint_candle::qat::{Params, Quantizer};

use crate::data::Images;
use crate::network::Network;
use crate::ops::cross_entropy;
use crate::recipe::{Quantized, Recipe, Variant};

/// How long a network is trained, and with what learning rate.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Images that are shown, a multiple of `batch`: the training set again and again, each time in another order.
    pub images: usize,
    /// Images in a step.
    pub batch: usize,
    /// The learning rate of the first step, from where it falls linearly to 0.
    pub rate: f32,
}

impl Schedule {
    /// As many whole batches as `images` has.
    #[must_use]
    pub fn new(images: usize, batch: usize, rate: f32) -> Self {
        Schedule { images: images / batch * batch, batch, rate }
    }
}

/// The part of a velocity that stays for the next step.
const MOMENTUM: f32 = 0.9;

/// Trains a network. Returns `false` if it diverged, which ends the training. The stream of `seed` gives the order of the
/// images, that of `seed + 1` the rounding of updates.
///
/// # Errors
/// Gradients that are not finite, where they are quantized.
pub fn train(
    network: &Network,
    recipe: Recipe,
    images: &Images,
    schedule: Schedule,
    exec: Exec<'static>,
    seed: u64,
) -> Result<bool> {
    let mut descent = Descent::new(network, recipe, exec, seed + 1)?;
    let mut order: Vec<usize> = (0..images.count()).collect();
    let mut rng = StreamRng::new(exec.isa(), Stream::new(seed));
    let steps = schedule.images / schedule.batch;
    let mut next = order.len();
    for step in 0..steps {
        if next + schedule.batch > order.len() {
            order.shuffle(&mut rng);
            next = 0;
        }
        let batch = &order[next..next + schedule.batch];
        next += schedule.batch;
        let pixels: Vec<f32> = batch.iter().flat_map(|&i| &images.pixels[i * PIXELS..][..PIXELS]).copied().collect();
        let classes: Vec<u8> = batch.iter().map(|&i| images.classes[i]).collect();
        let Some(logits) = network.forward(&pixels, true)? else { return Ok(false) };
        let loss = cross_entropy(&logits, &classes)?;
        let rate = schedule.rate * (1.0 - step as f32 / steps as f32);
        descent.step(network, &loss, rate)?;
    }
    Ok(true)
}

/// Gradient descent with momentum.
struct Descent {
    velocities: Vec<Vec<f32>>,
    /// The codes of the weights, where they are stored as codes.
    codes: Option<Codes>,
    exec: Exec<'static>,
}

/// How weights that are stored as codes are rounded after a step. An update beyond the range is clamped.
struct Codes {
    /// The parameters of every layer.
    params: Vec<QuantParams<i8>>,
    /// Where the next stochastic rounding begins; `None` rounds to nearest.
    stream: Option<Stream>,
}

impl Codes {
    fn new(network: &Network, quantized: Quantized, seed: u64) -> Result<Option<Self>> {
        if !quantized.variant.has_codes_only() {
            return Ok(None);
        }
        let mut params = Vec::new();
        for layer in network.layers() {
            let [_, weights] = layer.quantizers().expect("a quantized network");
            match weights.params(layer.weight.as_tensor())? {
                Params::Signed(layer) => {
                    // Parameters for either rounding: weights are clamped to their range, as nearest rounding does.
                    let (codes, granularity) = (layer.codes(), layer.granularity());
                    let (scales, zero_points) = (layer.scales().to_vec(), layer.zero_points().to_vec());
                    let params_of_layer = QuantParams::new(codes, granularity, scales, zero_points);
                    params.push(params_of_layer.map_err(candle_core::Error::wrap)?);
                }
                Params::Unsigned(_) => unreachable!("the codes of weights are signed"),
            }
        }
        let stream = (quantized.variant == Variant::UpdateStochastic).then(|| Stream::new(seed));
        Ok(Some(Codes { params, stream }))
    }

    fn round(
        &mut self,
        exec: Exec<'_>,
        layer: usize,
        weights: &mut [f32],
    ) -> std::result::Result<(), zeropoint::Error> {
        let rounding = match &mut self.stream {
            None => Rounding::Nearest,
            Some(stream) => {
                let here = *stream;
                *stream = stream.skip(weights.len() as u64)?;
                here.into()
            }
        };
        fake_quantize_in_place(exec, weights, &self.params[layer], rounding)
    }
}

impl Descent {
    fn new(network: &Network, recipe: Recipe, exec: Exec<'static>, seed: u64) -> Result<Self> {
        let codes = match recipe {
            Recipe::Float | Recipe::Integer { .. } => None,
            Recipe::Quantized(quantized) => Codes::new(network, quantized, seed)?,
        };
        Ok(Descent { velocities: Vec::new(), codes, exec })
    }

    fn step(&mut self, network: &Network, loss: &Tensor, rate: f32) -> Result<()> {
        let gradients = loss.backward()?;
        let mut vars: Vec<(Var, Option<usize>)> = Vec::new();
        for (i, layer) in network.layers().iter().enumerate() {
            vars.extend([(layer.weight.clone(), Some(i)), (layer.bias.clone(), None)]);
            let learned = layer.quantizers().into_iter().flatten().filter_map(Quantizer::scales);
            vars.extend(learned.map(|scales| (scales, None)));
        }
        self.velocities.resize(vars.len(), Vec::new());
        for ((var, layer), velocity) in vars.into_iter().zip(&mut self.velocities) {
            let Some(gradient) = gradients.get(&var) else { continue };
            let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
            let mut values: Vec<f32> = var.flatten_all()?.to_vec1()?;
            velocity.resize(values.len(), 0.0);
            for ((value, velocity), gradient) in values.iter_mut().zip(velocity).zip(gradient) {
                *velocity = MOMENTUM * *velocity + gradient;
                *value -= rate * *velocity;
            }
            if let (Some(codes), Some(layer)) = (&mut self.codes, layer) {
                codes.round(self.exec, layer, &mut values).map_err(candle_core::Error::wrap)?;
            }
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}

/// Images in a batch of evaluation.
pub const EVALUATION_BATCH: usize = 100;

/// The class that the network predicts for every image. Where a batch makes it [diverge](Network::forward), that is class 0.
///
/// # Errors
/// A network that was never trained, and so has no ranges.
pub fn classify(network: &Network, images: &Images) -> Result<Vec<usize>> {
    let mut classes = Vec::with_capacity(images.count());
    for pixels in images.pixels.chunks(EVALUATION_BATCH * PIXELS) {
        match network.forward(pixels, false)? {
            Some(logits) => classes.extend(top(&logits.flatten_all()?.to_vec1::<f32>()?)),
            None => classes.resize(classes.len() + pixels.len() / PIXELS, 0),
        }
    }
    Ok(classes)
}

/// How many classes are right.
#[must_use]
pub fn correct(classes: &[usize], images: &Images) -> usize {
    classes.iter().zip(&images.classes).filter(|&(&class, &right)| class == usize::from(right)).count()
}
