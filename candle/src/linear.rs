//! The linear layer.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, DType, Error, Layout, Module, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use zeropoint::formats::BlockFormat;
use zeropoint::groups::{Activations, PackedWeights, RealStage, StoredWeights, matmul};
use zeropoint::{Dequantize, Destination, Exec, Matrix};

use crate::error::{LibraryResult, too_large, wrapped};
use crate::input::Input;
use crate::scheme::{ActivationScheme, LinearScheme};

const OP: &str = "zeropoint-linear";

/// `x · Wᵀ + bias` with weights of few bits, in place of `candle_nn::Linear`. A clone shares its weights.
///
/// Inputs are `[…, inputs]` of f32, f16 or bf16, of one axis or more; results `[…, outputs]` of the same type.
#[derive(Clone, Debug)]
pub struct Linear(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    weights: PackedWeights,
    /// The bias.
    stage: RealStage,
    activations: ActivationScheme,
    exec: Exec<'static>,
}

impl Linear {
    /// Quantizes weights `[outputs, inputs]`, and a bias of as many values as there are outputs: of any type and device.
    ///
    /// # Errors
    /// Other shapes; values that are not finite; a scheme whose groups these weights cannot have.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, scheme: LinearScheme) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let values = floats(weight)?;
        Self::packed(outputs, bias, scheme.activations, |exec| {
            let stored = StoredWeights::quantize(exec, Matrix::new(&values, outputs, inputs)?, scheme.weights)?;
            PackedWeights::pack(exec, &stored.weights())
        })
    }

    /// Weights `[outputs, inputs]` of a `.gguf` file (`candle_core::quantized::gguf_file`) as they are stored there: Q4_0, Q4_1,
    /// Q5_0, Q5_1, Q8_0, Q2_K, Q4_K, Q5_K or Q6_K, multiplied at their width. Reals are quantized by [`new`](Linear::new).
    ///
    /// # Errors
    /// Other shapes and types.
    pub fn from_qtensor(weight: &QTensor, bias: Option<&Tensor>, activations: ActivationScheme) -> Result<Self> {
        let (outputs, inputs) = weight.shape().dims2()?;
        let format = format_of(weight.dtype())?;
        let bytes = weight.data()?;
        Self::packed(outputs, bias, activations, |exec| {
            PackedWeights::from_format(exec, format, &bytes, outputs, inputs)
        })
    }

    /// Weights that `pack` makes, and their bias.
    fn packed(
        outputs: usize,
        bias: Option<&Tensor>,
        activations: ActivationScheme,
        pack: impl Fn(Exec<'static>) -> LibraryResult<PackedWeights>,
    ) -> Result<Self> {
        let bias = bias.map(|bias| bias_of(OP, bias, outputs)).transpose()?;
        let exec = activations.exec()?;
        let parts = || {
            let stage = RealStage::new();
            let stage = if let Some(bias) = &bias { stage.with_bias(bias)? } else { stage };
            let parts = Parts { weights: pack(exec)?, stage, activations, exec };
            // What a scheme has wrong for these weights, a batch without rows finds.
            parts.product(Input::F32([].as_slice().into()), 0, 0)?;
            Ok(parts)
        };
        Ok(Linear(Arc::new(parts().map_err(wrapped(OP))?)))
    }

    /// Quantizes a layer of `candle_nn`.
    ///
    /// # Errors
    /// As [`new`](Linear::new).
    pub fn quantize(layer: &candle_nn::Linear, scheme: LinearScheme) -> Result<Self> {
        Self::new(layer.weight(), layer.bias(), scheme)
    }

    /// The inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.0.weights.depth()
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.0.weights.outputs()
    }

    /// The bytes of the packed weights, their scales included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.weights.bytes()
    }
}

impl Parts {
    /// The product.
    fn multiply(&self, x: Activations<'_>, out: impl Destination<f32>) -> LibraryResult<()> {
        let x = self.activations.length.map_or(Ok(x), |length| x.in_groups(length))?;
        matmul(self.exec, &x, &self.weights, &self.stage, out)
    }

    /// The product of `rows` rows, a storage of `length` elements.
    fn product(&self, x: Input<'_>, rows: usize, length: usize) -> LibraryResult<CpuStorage> {
        let (depth, scheme) = (self.weights.depth(), self.activations.scheme);
        match x {
            Input::F32(x) => {
                let mut out = vec![0.0; length];
                self.multiply(Activations::reals(Matrix::new(&x, rows, depth)?, scheme), &mut out)?;
                Ok(CpuStorage::F32(out))
            }
            Input::Halves(x, half) => {
                let mut out = vec![0; length];
                let x = Activations::halves(half.view(&x), rows, depth, scheme)?;
                self.multiply(x, half.view_mut(&mut out))?;
                Ok(half.storage(out))
            }
        }
    }
}

impl CustomOp1 for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let [rows @ .., depth] = layout.dims() else {
            return Err(Error::msg(format!("{OP}: a scalar has no axis of inputs")).bt());
        };
        if *depth != self.inputs() {
            let expected = [rows, &[self.inputs()]].concat().into();
            return Err(Error::UnexpectedShape { msg: OP.to_owned(), expected, got: layout.shape().clone() }.bt());
        }
        let outputs = self.outputs();
        let count = rows.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim));
        let sizes = count.and_then(|count| Some((count, count.checked_mul(outputs)?)));
        let (count, length) = sizes.ok_or_else(|| too_large(OP))?;
        let x = Input::new(OP, storage, layout)?;
        let product = self.0.product(x, count, length).map_err(wrapped(OP))?;
        Ok((product, [rows, &[outputs]].concat().into()))
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1(self.clone())
    }
}

/// The block format of a type of `.gguf` files.
fn format_of(dtype: GgmlDType) -> Result<BlockFormat> {
    Ok(match dtype {
        GgmlDType::Q4_0 => BlockFormat::Q4_0,
        GgmlDType::Q4_1 => BlockFormat::Q4_1,
        GgmlDType::Q5_0 => BlockFormat::Q5_0,
        GgmlDType::Q5_1 => BlockFormat::Q5_1,
        GgmlDType::Q8_0 => BlockFormat::Q8_0,
        GgmlDType::Q2K => BlockFormat::Q2_K,
        GgmlDType::Q4K => BlockFormat::Q4_K,
        GgmlDType::Q5K => BlockFormat::Q5_K,
        GgmlDType::Q6K => BlockFormat::Q6_K,
        other => return Err(Error::msg(format!("{OP}: weights of {other:?} have no product of integers")).bt()),
    })
}

/// The elements of a tensor as f32.
pub fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// A bias for so many outputs.
pub fn bias_of(op: &'static str, bias: &Tensor, outputs: usize) -> Result<Vec<f32>> {
    if bias.dims() != [outputs] {
        let (expected, got) = ((&[outputs]).into(), bias.shape().clone());
        return Err(Error::UnexpectedShape { msg: format!("{op}: the bias"), expected, got }.bt());
    }
    floats(bias)
}

/// The output stage with this bias, if there is one.
pub fn dequantize(bias: Option<&[f32]>) -> LibraryResult<Dequantize> {
    bias.map_or_else(|| Ok(Dequantize::new()), |bias| Dequantize::new().with_bias(bias))
}

/// [`candle_nn::linear()`] of few bits.
///
/// # Errors
/// Errors of the `VarBuilder`; errors of [`Linear::new`].
pub fn linear(in_dim: usize, out_dim: usize, vb: VarBuilder<'_>, scheme: LinearScheme) -> Result<Linear> {
    linear_b(in_dim, out_dim, true, vb, scheme)
}

/// [`candle_nn::linear_no_bias`] of few bits.
///
/// # Errors
/// As [`linear`].
pub fn linear_no_bias(in_dim: usize, out_dim: usize, vb: VarBuilder<'_>, scheme: LinearScheme) -> Result<Linear> {
    linear_b(in_dim, out_dim, false, vb, scheme)
}

/// [`candle_nn::linear_b`] of few bits.
///
/// # Errors
/// As [`linear`].
pub fn linear_b(in_dim: usize, out_dim: usize, bias: bool, vb: VarBuilder<'_>, scheme: LinearScheme) -> Result<Linear> {
    Linear::quantize(&candle_nn::linear_b(in_dim, out_dim, bias, vb)?, scheme)
}
