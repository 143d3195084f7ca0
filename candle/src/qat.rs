//! Quantization-aware training: layers that compute with fake-quantized operands, their straight-through gradients, and the
//! integer layers that a trained one becomes.
//!
//! ```text
//! x̂ = S · (clamp(round(x / S) + Z) − Z)     every operand of a product, in f32: scale S, zero point Z
//! y = x̂ · ŵᵀ + bias                  candle's own product
//! ∂x = ∂x̂ where the code of x needs no clamping, else 0: straight through the rounding, for weights too
//! ```
//!
//! [`QuantLinear`] and [`QuantConv2d`] follow the layers of these names in NVIDIA's pytorch-quantization.
//! [`QuantScheme::int8`] is their default: signed symmetric codes of 8 bits, whose range is the largest magnitude, measured
//! in every call (in flight): per tensor for inputs, per output for weights. A [`QuantDescriptor`] can have 2 to 8 bits,
//! unsigned codes with zero points, scales that are powers of two, stochastic rounding; ranges that are given, frozen or a
//! moving average; scales that are learned.
//!
//! ```
//! use candle_core::{DType, Device, Module, ModuleT, Tensor};
//! use candle_nn::{Optimizer, SGD, VarBuilder, VarMap};
//! use zeropoint_candle::qat::{QuantDescriptor, QuantScheme, quant_linear};
//! let weights = VarMap::new();
//! let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
//! let scheme = QuantScheme::new(QuantDescriptor::symmetric(4)?, QuantDescriptor::symmetric(4)?.per_axis(0));
//! let layer = quant_linear(8, 3, vb.pp("dense"), scheme)?;
//! let x = Tensor::randn(0_f32, 1.0, (5, 8), &Device::Cpu)?;
//! let mut optimizer = SGD::new(weights.all_vars(), 0.1)?;
//! let before = layer.forward_t(&x, true)?.sqr()?.mean_all()?;
//! optimizer.backward_step(&before)?;
//! let after = layer.forward(&x)?.sqr()?.mean_all()?;
//! assert!(after.to_scalar::<f32>()? < before.to_scalar::<f32>()?);
//! let integers = layer.convert()?; // an integer product: other results only by the rounding of sums
//! assert_eq!(integers.forward(&x)?.dims(), [5, 3]);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! Fake-quantized operands have the same bytes on every ISA and for every number of threads. candle's product of them has not:
//! it chooses its kernel by the CPU. [`QuantLinear::operands`] and [`QuantConv2d::operands`] return the operands, for a product
//! in a fixed order.

mod convert;
mod descriptor;
mod fake;
mod layers;
mod learned;
mod quantizer;

pub use convert::{IntegerConv2d, IntegerLinear};
pub use descriptor::{QuantDescriptor, QuantScheme};
pub use fake::quantize_gradient;
pub use layers::{QuantConv2d, QuantLinear, quant_conv2d, quant_linear};
pub use quantizer::{Params, Quantizer};
