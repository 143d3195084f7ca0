//! Fake-quantization as an operation of candle, with its gradient; and the quantization of gradients.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, Error, Layout, ModuleT, Result, Shape, Tensor};
use zeropoint::Rounding;

use super::quantizer::Quantizer;
use crate::error::{LibraryResult, wrapped};
use crate::input::only_f32;

pub(super) const OP: &str = "zeropoint-fake-quantize";

/// One call of a quantizer. Its backward pass needs nothing of the input but the mask, a byte an element.
pub(super) struct FakeQuantize {
    quantizer: Quantizer,
    train: bool,
    mask: OnceLock<Vec<u8>>,
}

impl FakeQuantize {
    pub fn new(quantizer: Quantizer, train: bool) -> Self {
        FakeQuantize { quantizer, train, mask: OnceLock::new() }
    }

    fn run(&self, x: &[f32], dims: &[usize]) -> LibraryResult<(Vec<f32>, Vec<u8>)> {
        let (params, rounding) = if self.train {
            self.quantizer.training_params(x, dims)?
        } else {
            (self.quantizer.evaluation_params(x, dims)?, Rounding::Nearest)
        };
        params.fake(self.quantizer.exec(), x, rounding)
    }
}

impl CustomOp1 for FakeQuantize {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = only_f32(OP, storage, layout)?;
        let (out, mask) = self.run(&x, layout.dims()).map_err(wrapped(OP))?;
        self.mask.set(mask).map_err(|_| Error::msg(format!("{OP}: a call is one forward pass")).bt())?;
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let mask = self.mask.get().ok_or_else(|| Error::msg(format!("{OP}: backward before forward")).bt())?;
        gradient.apply_op1_no_bwd(&Masked(mask)).map(Some)
    }
}

/// `x` where the mask is 1, else 0.
struct Masked<'a>(&'a [u8]);

impl CustomOp1 for Masked<'_> {
    fn name(&self) -> &'static str {
        "zeropoint-straight-through"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = only_f32(self.name(), storage, layout)?;
        let out = x.iter().zip(self.0).map(|(&x, &mask)| if mask == 1 { x } else { 0.0 }).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

/// The identity, whose gradient is quantized: the backward pass fake-quantizes the gradient of the result, as in training, and
/// passes that on. Applied to a layer's result, it makes all gradients of the layer those of a quantized gradient.
///
/// # Errors
/// A tensor that is not f32. The backward pass fails on gradients with NaN or infinity.
pub fn quantize_gradient(x: &Tensor, quantizer: &Quantizer) -> Result<Tensor> {
    x.apply_op1(QuantizeGradient(quantizer.clone()))
}

struct QuantizeGradient(Quantizer);

impl CustomOp1 for QuantizeGradient {
    fn name(&self) -> &'static str {
        "zeropoint-quantize-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = only_f32(self.name(), storage, layout)?;
        Ok((CpuStorage::F32(x.into_owned()), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.0.forward_t(&gradient.detach(), true).map(|gradient| Some(gradient.detach()))
    }
}
