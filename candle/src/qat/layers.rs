//! Layers with fake-quantized operands.

use candle_core::{Module, ModuleT, Result, Tensor};
use candle_nn::{Conv2dConfig, VarBuilder};

use super::convert::{IntegerConv2d, IntegerLinear};
use super::descriptor::QuantScheme;
use super::quantizer::Quantizer;

/// The weights, bias and quantizers of a layer.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub input: Quantizer,
    pub weights: Quantizer,
}

impl Parts {
    fn new(weight: Tensor, bias: Option<Tensor>, scheme: QuantScheme) -> Result<Self> {
        Ok(Parts { weight, bias, input: Quantizer::new(scheme.input)?, weights: Quantizer::new(scheme.weights)? })
    }

    fn operands(&self, x: &Tensor, train: bool) -> Result<[Tensor; 2]> {
        Ok([self.input.forward_t(x, train)?, self.weights.forward_t(&self.weight, train)?])
    }
}

macro_rules! accessors {
    () => {
        /// The weights, in f32.
        #[must_use]
        pub fn weight(&self) -> &Tensor {
            &self.parts.weight
        }

        /// The bias.
        #[must_use]
        pub fn bias(&self) -> Option<&Tensor> {
            self.parts.bias.as_ref()
        }

        /// The quantizer of inputs.
        #[must_use]
        pub fn input_quantizer(&self) -> &Quantizer {
            &self.parts.input
        }

        /// The quantizer of weights.
        #[must_use]
        pub fn weight_quantizer(&self) -> &Quantizer {
            &self.parts.weights
        }

        /// The fake-quantized input and weights, for a product other than candle's.
        ///
        /// # Errors
        /// An input that is not f32, or has NaN or infinity; evaluation before the first training call where ranges are a moving
        /// average or scales are learned; a random stream that ends.
        pub fn operands(&self, x: &Tensor, train: bool) -> Result<[Tensor; 2]> {
            self.parts.operands(x, train)
        }
    };
}

/// `x̂ · ŵᵀ + bias` of a fake-quantized input and fake-quantized weights, in place of `candle_nn::Linear`.
///
/// `forward` evaluates; `forward_t(x, true)` trains: moving averages of ranges and random streams go on.
#[derive(Clone, Debug)]
pub struct QuantLinear {
    parts: Parts,
}

impl QuantLinear {
    /// A layer of weights `[outputs, inputs]`: to train them, pass the tensor of a `Var`.
    ///
    /// # Errors
    /// Weights of other than two axes; `ZEROPOINT_ISA` names an ISA that this CPU lacks; learned scales that are powers of two.
    pub fn new(weight: Tensor, bias: Option<Tensor>, scheme: QuantScheme) -> Result<Self> {
        weight.dims2()?;
        Ok(QuantLinear { parts: Parts::new(weight, bias, scheme)? })
    }

    accessors!();

    /// The layer by an integer product, with weights as they are now.
    ///
    /// # Errors
    /// A scheme without an integer product: unsigned weights; weights with scales along another axis than 0, the outputs; inputs
    /// with scales along an axis.
    pub fn convert(&self) -> Result<IntegerLinear> {
        IntegerLinear::new(&self.parts)
    }

    /// Evaluates: `forward_t(x, false)`.
    ///
    /// # Errors
    /// An input of another shape or type than the layer's, or with NaN or infinity; ranges that are a moving average, or scales
    /// that are learned, before the first training call.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_t(x, false)
    }
}

impl ModuleT for QuantLinear {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let [x, weight] = self.operands(x, train)?;
        candle_nn::Linear::new(weight, self.parts.bias.clone()).forward(&x)
    }
}

/// The convolution of fake-quantized images with fake-quantized weights, in place of `candle_nn::Conv2d`.
///
/// `forward` evaluates; `forward_t(x, true)` trains: moving averages of ranges and random streams go on.
#[derive(Clone, Debug)]
pub struct QuantConv2d {
    parts: Parts,
    config: Conv2dConfig,
}

impl QuantConv2d {
    /// A layer of weights `[outputs, channels / groups, height, width]`: to train them, pass the tensor of a `Var`.
    ///
    /// # Errors
    /// Weights of other than four axes; `ZEROPOINT_ISA` names an ISA that this CPU lacks; learned scales that are powers of two.
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv2dConfig, scheme: QuantScheme) -> Result<Self> {
        weight.dims4()?;
        Ok(QuantConv2d { parts: Parts::new(weight, bias, scheme)?, config })
    }

    accessors!();

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Conv2dConfig {
        &self.config
    }

    /// The layer by an integer product, with weights as they are now.
    ///
    /// # Errors
    /// A scheme without an integer product: unsigned weights; weights with scales along another axis than 0, the outputs; inputs
    /// with scales along an axis. A configuration that is none of a convolution.
    pub fn convert(&self) -> Result<IntegerConv2d> {
        IntegerConv2d::new(&self.parts, self.config)
    }

    /// Evaluates: `forward_t(x, false)`.
    ///
    /// # Errors
    /// An input of another shape or type than the layer's, or with NaN or infinity; ranges that are a moving average, or scales
    /// that are learned, before the first training call.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_t(x, false)
    }
}

impl ModuleT for QuantConv2d {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let [x, weight] = self.operands(x, train)?;
        candle_nn::Conv2d::new(weight, self.parts.bias.clone(), self.config).forward(&x)
    }
}

/// [`candle_nn::linear()`] with fake-quantized operands: variables of the same names.
///
/// # Errors
/// Errors of the `VarBuilder`; errors of [`QuantLinear::new`].
pub fn quant_linear(in_dim: usize, out_dim: usize, vb: VarBuilder<'_>, scheme: QuantScheme) -> Result<QuantLinear> {
    let layer = candle_nn::linear(in_dim, out_dim, vb)?;
    QuantLinear::new(layer.weight().clone(), layer.bias().cloned(), scheme)
}

/// [`candle_nn::conv2d()`] with fake-quantized operands: variables of the same names.
///
/// # Errors
/// Errors of the `VarBuilder`; errors of [`QuantConv2d::new`].
pub fn quant_conv2d(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: Conv2dConfig,
    vb: VarBuilder<'_>,
    scheme: QuantScheme,
) -> Result<QuantConv2d> {
    let layer = candle_nn::conv2d(in_channels, out_channels, kernel_size, cfg, vb)?;
    QuantConv2d::new(layer.weight().clone(), layer.bias().cloned(), cfg, scheme)
}
