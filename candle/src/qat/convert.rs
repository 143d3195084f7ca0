//! Trained layers as layers of integers.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Module, Result, Shape, Tensor};
use candle_nn::Conv2dConfig;
use zeropoint::layers::{Conv2d, Linear};
use zeropoint::{ByteCode, Dequantize, Matrix, MatrixMut, QuantParams, Quantized, Rounding, quantize};

use super::layers::Parts;
use super::quantizer::{Params, Quantizer};
use crate::conv::{transpose_each, window_of};
use crate::error::{LibraryResult, too_large, wrapped};
use crate::input::only_f32;
use crate::linear::{bias_of, dequantize, floats};

/// A layer for the codes of its input, which are signed or unsigned.
#[derive(Debug)]
enum BySign<S, U> {
    Signed(S),
    Unsigned(U),
}

/// The input's quantizer and the bias of a layer.
#[derive(Debug)]
struct Common {
    input: Quantizer,
    /// The bias.
    stage: Dequantize,
}

/// A trained layer with its weights as codes.
struct Converted {
    codes: Vec<i8>,
    params: QuantParams<i8>,
    common: Common,
}

fn converted(op: &'static str, parts: &Parts) -> Result<Converted> {
    let refused = |why: &str| Error::msg(format!("{op}: {why}")).bt();
    if parts.input.descriptor().axis.is_some() {
        return Err(refused("an integer product has one scale for its input"));
    }
    if !matches!(parts.weights.descriptor().axis, None | Some(0)) {
        return Err(refused("an integer product has a scale for every output, or one for all weights"));
    }
    let Params::Signed(params) = parts.weights.params(&parts.weight)? else {
        return Err(refused("weights are of signed codes"));
    };
    let values = floats(&parts.weight)?;
    let bias = parts.bias.as_ref().map(|bias| bias_of(op, bias, parts.weight.dims()[0])).transpose()?;
    let convert = || {
        let mut codes = vec![0_i8; values.len()];
        quantize(parts.weights.exec(), &values, &params, Rounding::Nearest, &mut codes)?;
        let stage = dequantize(bias.as_deref())?;
        Ok(Converted { codes, params, common: Common { input: parts.input.clone(), stage } })
    };
    convert().map_err(wrapped(op))
}

impl Common {
    /// The codes of an input.
    fn codes<C: ByteCode>(&self, x: &[f32], params: &QuantParams<C>) -> LibraryResult<Vec<C>> {
        let mut codes = vec![C::default(); x.len()];
        quantize(self.input.exec(), x, params, Rounding::Nearest, &mut codes)?;
        Ok(codes)
    }
}

const LINEAR: &str = "zeropoint-integer-linear";

/// A trained [`QuantLinear`](super::QuantLinear), computed by an integer product. The sum of products is exact; then come one
/// multiplication by `S_x · S_w` and the bias, each rounded once. So results differ from those of the fake-quantized layer by the
/// rounding of its sums alone.
#[derive(Clone, Debug)]
pub struct IntegerLinear(Arc<LinearParts>);

#[derive(Debug)]
struct LinearParts {
    layer: BySign<Linear<i8, i8>, Linear<u8, i8>>,
    shape: [usize; 2],
    common: Common,
}

impl IntegerLinear {
    pub(super) fn new(parts: &Parts) -> Result<Self> {
        let Converted { codes, params, common } = converted(LINEAR, parts)?;
        let shape @ [outputs, inputs]: [usize; 2] = parts.weight.dims2()?.into();
        let exec = common.input.exec();
        let pack = || {
            let weights = Quantized::new(Matrix::new(&codes, outputs, inputs)?, &params)?;
            Ok(if common.input.descriptor().unsigned {
                BySign::Unsigned(Linear::new(exec, weights)?)
            } else {
                BySign::Signed(Linear::new(exec, weights)?)
            })
        };
        let layer = pack().map_err(wrapped(LINEAR))?;
        Ok(IntegerLinear(Arc::new(LinearParts { layer, shape, common })))
    }
}

impl LinearParts {
    fn run(&self, x: &[f32], dims: &[usize], rows: usize) -> LibraryResult<Vec<f32>> {
        let mut out = vec![0.0; rows * self.shape[0]];
        match (&self.layer, self.common.input.evaluation_params(x, dims)?) {
            (BySign::Signed(layer), Params::Signed(params)) => self.product(layer, x, &params, rows, &mut out)?,
            (BySign::Unsigned(layer), Params::Unsigned(params)) => self.product(layer, x, &params, rows, &mut out)?,
            _ => unreachable!("the sign is that of the quantizer"),
        }
        Ok(out)
    }

    fn product<A: ByteCode>(
        &self,
        layer: &Linear<A, i8>,
        x: &[f32],
        params: &QuantParams<A>,
        rows: usize,
        out: &mut [f32],
    ) -> LibraryResult<()> {
        let [outputs, inputs] = self.shape;
        let codes = self.common.codes(x, params)?;
        let x = Quantized::new(Matrix::new(&codes, rows, inputs)?, params)?;
        layer.forward(self.common.input.exec(), x, &self.common.stage, MatrixMut::new(out, rows, outputs)?)
    }
}

impl CustomOp1 for IntegerLinear {
    fn name(&self) -> &'static str {
        LINEAR
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let [outputs, inputs] = self.0.shape;
        let (rows, depth) = match layout.dims() {
            [rows @ .., depth] => (rows, *depth),
            [] => return Err(Error::msg(format!("{LINEAR}: a scalar has no axis of inputs")).bt()),
        };
        if depth != inputs {
            let expected = [rows, &[inputs]].concat().into();
            return Err(Error::UnexpectedShape { msg: LINEAR.to_owned(), expected, got: layout.shape().clone() }.bt());
        }
        let count = rows.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim));
        let count = count.filter(|count| count.checked_mul(outputs).is_some()).ok_or_else(|| too_large(LINEAR))?;
        let x = only_f32(LINEAR, storage, layout)?;
        let out = self.0.run(&x, layout.dims(), count).map_err(wrapped(LINEAR))?;
        Ok((CpuStorage::F32(out), [rows, &[outputs]].concat().into()))
    }
}

impl Module for IntegerLinear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1(self.clone())
    }
}

const CONV: &str = "zeropoint-integer-conv2d";

/// A trained [`QuantConv2d`](super::QuantConv2d), computed by an integer product: exact sums, one multiplication by `S_x · S_w`,
/// and the bias, each rounded once. Padding is the code of 0.
#[derive(Clone, Debug)]
pub struct IntegerConv2d(Arc<ConvParts>);

#[derive(Debug)]
struct ConvParts {
    layer: BySign<Conv2d<i8, i8>, Conv2d<u8, i8>>,
    common: Common,
}

impl IntegerConv2d {
    pub(super) fn new(parts: &Parts, config: Conv2dConfig) -> Result<Self> {
        let Converted { codes, params, common } = converted(CONV, parts)?;
        let (outputs, channels, height, width) = parts.weight.dims4()?;
        let shape = [outputs, channels, height, width];
        let (window, groups) = (window_of(CONV, [height, width], config)?, config.groups);
        let exec = common.input.exec();
        let pack = || {
            Ok(if common.input.descriptor().unsigned {
                BySign::Unsigned(Conv2d::new(exec, &codes, shape, &params, window, groups)?)
            } else {
                BySign::Signed(Conv2d::new(exec, &codes, shape, &params, window, groups)?)
            })
        };
        let layer = pack().map_err(wrapped(CONV))?;
        Ok(IntegerConv2d(Arc::new(ConvParts { layer, common })))
    }
}

impl ConvParts {
    /// The result, channels-last, and its shape.
    fn run(&self, x: &[f32], dims: [usize; 4]) -> LibraryResult<(Vec<f32>, [usize; 4])> {
        match (&self.layer, self.common.input.evaluation_params(x, &dims)?) {
            (BySign::Signed(layer), Params::Signed(params)) => self.convolve(layer, x, dims, &params),
            (BySign::Unsigned(layer), Params::Unsigned(params)) => self.convolve(layer, x, dims, &params),
            _ => unreachable!("the sign is that of the quantizer"),
        }
    }

    fn convolve<A: ByteCode>(
        &self,
        layer: &Conv2d<A, i8>,
        x: &[f32],
        [images, channels, height, width]: [usize; 4],
        params: &QuantParams<A>,
    ) -> LibraryResult<(Vec<f32>, [usize; 4])> {
        let shape = [images, height, width, channels];
        let output = layer.output_shape(shape)?;
        let planes = self.common.codes(x, params)?;
        let mut codes = vec![A::default(); planes.len()];
        transpose_each(&planes, [channels, height * width], &mut codes);
        let length = output.iter().try_fold(1_usize, |length, &dim| length.checked_mul(dim));
        let length = length.ok_or(zeropoint::Error::Shape { why: "the result is too large", found: images })?;
        let mut out = vec![0.0; length];
        layer.forward(self.common.input.exec(), &codes, shape, params, &self.common.stage, &mut out)?;
        Ok((out, output))
    }
}

impl CustomOp1 for IntegerConv2d {
    fn name(&self) -> &'static str {
        CONV
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels, height, width) = layout.shape().dims4()?;
        let x = only_f32(CONV, storage, layout)?;
        let run = self.0.run(&x, [images, channels, height, width]);
        let (last, [_, height, width, outputs]) = run.map_err(wrapped(CONV))?;
        let mut out = vec![0.0; last.len()];
        transpose_each(&last, [height * width, outputs], &mut out);
        Ok((CpuStorage::F32(out), (images, outputs, height, width).into()))
    }
}

impl Module for IntegerConv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1(self.clone())
    }
}
