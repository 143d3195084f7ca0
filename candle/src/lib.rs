//! Layers for [candle](candle_core) with weights of 4 and 8 bits, on [`zeropoint`]'s kernels: [`Linear`] and [`Conv2d`] take
//! the place of those of `candle_nn`, made by one call over a `VarBuilder` with a scheme more.
//!
//! ```
//! use candle_core::{DType, Device, Module, Tensor};
//! use candle_nn::{VarBuilder, VarMap};
//! use zeropoint_candle::{LinearScheme, linear};
//! let weights = VarMap::new();
//! let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
//! let exact = candle_nn::linear(64, 32, vb.pp("dense"))?;
//! let layer = linear(64, 32, vb.pp("dense"), LinearScheme::int8())?; // the same weights, in 8 bits
//! let x = Tensor::randn(0_f32, 1.0, (2, 5, 64), &Device::Cpu)?;
//! let error = (layer.forward(&x)? - exact.forward(&x)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
//! assert!(error < 0.1);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! Weights are packed once, inside a `CustomOp1`; activations of f32, f16 or bf16 are quantized in every call, and results have
//! their type. Inputs may lie in memory in any way: those that are not contiguous are copied first. A layer's bytes are the same
//! on every ISA and for every number of threads, and those of a row, or an image, do not depend on its batch.
//!
//! [`qat`] has layers to train, whose operands are fake-quantized, with straight-through gradients.
//!
//! Layers run on the CPU, on the calling thread unless their scheme says otherwise, and never start threads. Those of integers
//! have no gradient: `backward` through one is candle's error. NaN and infinity in activations are errors, since no code stands for them.

mod conv;
mod error;
mod input;
mod linear;
pub mod qat;
mod scheme;

pub use conv::{Conv2d, conv2d, conv2d_no_bias};
pub use linear::{Linear, linear, linear_b, linear_no_bias};
pub use scheme::{ActivationScheme, ConvScheme, LinearScheme};
