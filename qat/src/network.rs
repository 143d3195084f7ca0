//! The LeNet on candle: convolution 1→10, 5×5 · max-pool 2×2 · ReLU · convolution 10→20, 5×5 · max-pool 2×2 · ReLU · linear
//! 320→50 · ReLU · linear 50→10. The program `lenet` has the same network; NVIDIA's example for pytorch-quantization adds
//! dropout.

use std::sync::Arc;

use candle_core::{Device, ModuleT, Result, Tensor, Var};
use candle_nn::Conv2dConfig;
use lenet::data::Weights;
use lenet::network::{HEIGHT, Layer as PlainLayer, PIXELS, WIDTH};
use sha2::{Digest, Sha256};
use zeropoint::{Exec, Stream};
use zeropoint_candle::qat::{Params, QuantConv2d, QuantLinear, Quantizer, quantize_gradient};

use crate::integer::{self, Integers};
use crate::ops::{conv2d, linear, pool_relu};
use crate::products::Products;
use crate::random::uniform;
use crate::recipe::Recipe;

/// The shape of every layer's weights, `[outputs, channels, height, width]`. Linear layers are flattened: `[50, 320]` and
/// `[10, 50]`.
pub const SHAPES: [[usize; 4]; 4] = [[10, 1, 5, 5], [20, 10, 5, 5], [50, 20, 4, 4], [10, 50, 1, 1]];

/// The names of the layers.
pub const NAMES: [&str; 4] = ["conv1", "conv2", "fc1", "fc2"];

/// The weights and biases of a network.
#[derive(Clone)]
pub struct Parameters(pub [[Vec<f32>; 2]; 4]);

impl Parameters {
    /// Uniform in ±1/√fan-in, as PyTorch's layers begin.
    ///
    /// # Errors
    /// None, unless the stream ends.
    pub fn random(exec: Exec<'_>, seed: u64) -> std::result::Result<Self, zeropoint::Error> {
        let mut stream = Stream::new(seed);
        let mut draw = |count: usize, fan_in: usize| {
            let values = uniform(exec, stream, count)?;
            stream = stream.skip(count as u64)?;
            let bound = 1.0 / (fan_in as f32).sqrt();
            Ok::<_, zeropoint::Error>(values.into_iter().map(|value| value * bound).collect())
        };
        let mut layers = <[[Vec<f32>; 2]; 4]>::default();
        for (layer, shape @ [outputs, ..]) in layers.iter_mut().zip(SHAPES) {
            let fan_in = shape[1..].iter().product();
            *layer = [draw(outputs * fan_in, fan_in)?, draw(outputs, fan_in)?];
        }
        Ok(Parameters(layers))
    }

    /// The weights for the program `lenet`, whose first linear layer takes an input that is flattened channels last.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let [conv1, conv2, fc1, fc2] = self.layers();
        Weights { conv1, conv2, fc1: fc1.flattened(), fc2 }
    }

    /// The layers, with the shapes that they are trained with.
    #[must_use]
    pub fn layers(&self) -> [PlainLayer; 4] {
        std::array::from_fn(|i| {
            let [weights, bias] = self.0[i].clone();
            PlainLayer { shape: SHAPES[i], weights, bias }
        })
    }
}

/// Training stops beyond this magnitude, far above the values of a network that learns. Gradients are sums of products of
/// two such values, which stay below f32's 3·10³⁸.
const LARGEST: f32 = 1e15;

/// A network that is trained.
pub struct Network {
    products: Products,
    layers: [Layer; 4],
}

/// A layer: its variables, and the quantizers of its operands and of the gradient of its result.
pub struct Layer {
    /// The weights.
    pub weight: Var,
    /// The biases.
    pub bias: Var,
    kind: Kind,
    gradient: Option<Quantizer>,
}

enum Kind {
    Float,
    Conv(QuantConv2d),
    Linear(QuantLinear),
    Integer(Arc<Integers>),
}

impl Layer {
    fn new(i: usize, [weights, bias]: &[Vec<f32>; 2], recipe: Recipe, exec: Exec<'static>, seed: u64) -> Result<Self> {
        let [outputs, channels, height, width] = SHAPES[i];
        let is_conv = i < 2;
        let shape =
            if is_conv { vec![outputs, channels, height, width] } else { vec![outputs, channels * height * width] };
        let weight = Var::from_tensor(&Tensor::from_slice(weights, shape, &Device::Cpu)?)?;
        let bias = Var::from_tensor(&Tensor::from_slice(bias, outputs, &Device::Cpu)?)?;
        let (kind, gradient) = match recipe {
            Recipe::Float => (Kind::Float, None),
            Recipe::Integer { stochastic } => {
                (Kind::Integer(Arc::new(Integers::new(exec, stochastic.then_some(seed)))), None)
            }
            Recipe::Quantized(quantized) => {
                let (w, b) = (weight.as_tensor().clone(), Some(bias.as_tensor().clone()));
                let scheme = quantized.layer(exec, seed)?;
                let kind = if is_conv {
                    Kind::Conv(QuantConv2d::new(w, b, Conv2dConfig::default(), scheme)?)
                } else {
                    Kind::Linear(QuantLinear::new(w, b, scheme)?)
                };
                (kind, quantized.gradient(exec, seed + 2)?.map(Quantizer::new).transpose()?)
            }
        };
        Ok(Layer { weight, bias, kind, gradient })
    }

    /// The input and the weights, fake-quantized if the recipe says so.
    ///
    /// # Errors
    /// An input with NaN or infinity; evaluation of a network that was never trained.
    pub fn operands(&self, x: &Tensor, train: bool) -> Result<[Tensor; 2]> {
        match &self.kind {
            Kind::Float | Kind::Integer(_) => Ok([x.clone(), self.weight.as_tensor().clone()]),
            Kind::Conv(layer) => layer.operands(x, train),
            Kind::Linear(layer) => layer.operands(x, train),
        }
    }

    /// The quantizers of the input and of the weights.
    #[must_use]
    pub fn quantizers(&self) -> Option<[&Quantizer; 2]> {
        match &self.kind {
            Kind::Float | Kind::Integer(_) => None,
            Kind::Conv(layer) => Some([layer.input_quantizer(), layer.weight_quantizer()]),
            Kind::Linear(layer) => Some([layer.input_quantizer(), layer.weight_quantizer()]),
        }
    }

    /// The product of the operands, plus the bias.
    ///
    /// # Errors
    /// Operands of other shapes than the layer's.
    pub fn product(&self, products: Products, [x, w]: &[Tensor; 2]) -> Result<Tensor> {
        let (is_conv, bias) = (w.rank() == 4, self.bias.as_tensor());
        let y = match &self.kind {
            Kind::Integer(integers) if is_conv => integer::conv2d(integers, x, w, bias),
            Kind::Integer(integers) => integer::linear(integers, x, w, bias),
            _ if is_conv => conv2d(products, x, w, bias),
            _ => linear(products, x, w, bias),
        }?;
        match &self.gradient {
            Some(quantizer) => quantize_gradient(&y, quantizer),
            None => Ok(y),
        }
    }
}

impl Network {
    /// A network that begins with these parameters. Its layers take random words from streams of the seeds `seed`, `seed + 1`, …
    ///
    /// # Errors
    /// Bits that no code has.
    pub fn new(parameters: &Parameters, recipe: Recipe, exec: Exec<'static>, seed: u64) -> Result<Self> {
        let layer = |i: usize| Layer::new(i, &parameters.0[i], recipe, exec, seed + 10 * i as u64);
        let network =
            Network { products: Products::new(exec.isa()), layers: [layer(0)?, layer(1)?, layer(2)?, layer(3)?] };
        if let Recipe::Quantized(quantized) = recipe
            && quantized.variant.has_codes_only()
        {
            // The first call of a frozen quantizer takes the ranges; the weights become what they are multiplied as.
            for layer in &network.layers {
                let [_, quantizer] = layer.quantizers().expect("a quantized network");
                layer.weight.set(&quantizer.forward_t(&layer.weight.detach(), true)?.detach())?;
            }
        }
        Ok(network)
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> &[Layer; 4] {
        &self.layers
    }

    /// The f32 products of the layers.
    #[must_use]
    pub fn products(&self) -> Products {
        self.products
    }

    /// The logits of images `[images, height, width]`; `None` if the network diverged: a value beyond ±10¹⁵, or NaN.
    ///
    /// # Errors
    /// Pixels that are not finite.
    pub fn forward(&self, pixels: &[f32], train: bool) -> Result<Option<Tensor>> {
        let mut x = Tensor::from_slice(pixels, (pixels.len() / PIXELS, 1, HEIGHT, WIDTH), &Device::Cpu)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = activate(i, &layer.product(self.products, &layer.operands(&x, train)?)?)?;
            if !x.flatten_all()?.to_vec1::<f32>()?.iter().all(|x| x.abs() <= LARGEST) {
                return Ok(None);
            }
        }
        Ok(Some(x))
    }

    /// The parameters as they are now.
    ///
    /// # Errors
    /// Variables that are not f32.
    pub fn parameters(&self) -> Result<Parameters> {
        let mut all = <[[Vec<f32>; 2]; 4]>::default();
        for (values, layer) in all.iter_mut().zip(&self.layers) {
            *values = [layer.weight.flatten_all()?.to_vec1()?, layer.bias.to_vec1()?];
        }
        Ok(Parameters(all))
    }

    /// The first eight bytes of SHA-256 of all weights, biases and scales, in hexadecimal.
    ///
    /// # Errors
    /// A network that was never trained, and so has no ranges.
    pub fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut update = |values: &[f32]| values.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
        for [weights, bias] in &self.parameters()?.0 {
            update(weights);
            update(bias);
        }
        for layer in &self.layers {
            if let Some([input, weights]) = layer.quantizers() {
                update(input.params(layer.weight.as_tensor())?.scales());
                update(weights.params(layer.weight.as_tensor())?.scales());
            }
        }
        Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The parameters of the codes of every layer's input and weights.
    ///
    /// # Errors
    /// A network that was never trained, and so has no ranges.
    pub fn params(&self) -> Result<Option<[[Params; 2]; 4]>> {
        let mut all = Vec::new();
        for layer in &self.layers {
            let Some([input, weights]) = layer.quantizers() else { return Ok(None) };
            // The input's parameters do not depend on the tensor: its range is a moving average, or its scale is learned.
            all.push([input.params(layer.weight.as_tensor())?, weights.params(layer.weight.as_tensor())?]);
        }
        Ok(all.try_into().ok())
    }
}

/// What stands between layer `i` and the next one: max-pooling and ReLU, flattened before the first linear layer; ReLU
/// alone behind that; nothing behind the last one.
///
/// # Errors
/// Other shapes.
pub fn activate(i: usize, y: &Tensor) -> Result<Tensor> {
    match i {
        0 => pool_relu(y),
        1 => pool_relu(y)?.flatten_from(1),
        2 => y.relu(),
        _ => Ok(y.clone()),
    }
}
