//! The 2-D convolution.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Module, Result, Shape, Tensor};
use candle_nn::{Conv2dConfig, VarBuilder};
use zeropoint::layers::{self, Window};
use zeropoint::{CodeRange, Dequantize, Exec, Granularity, QuantParams, Rounding, Scheme, quantize, raw};

use crate::error::{LibraryResult, too_large, wrapped};
use crate::input::Input;
use crate::linear::{bias_of, dequantize, floats};
use crate::scheme::ConvScheme;

const OP: &str = "zeropoint-conv2d";

/// A 2-D convolution with weights of 8 bits, in place of `candle_nn::Conv2d`. A clone shares its weights.
///
/// Images are `[images, channels, height, width]` of f32, f16 or bf16, and so is the result, contiguous and of the same type.
/// The library's layers are channels-last: the codes of the images are transposed, a byte an element, and the f32 of the result
/// back.
#[derive(Clone, Debug)]
pub struct Conv2d(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    conv: layers::Conv2d<u8, i8>,
    /// The bias.
    stage: Dequantize,
    activations: Scheme,
    config: Conv2dConfig,
    exec: Exec<'static>,
}

impl Conv2d {
    /// Quantizes weights `[outputs, channels / groups, height, width]`, and a bias of as many values as there are outputs: of
    /// any type and device. (`cudnn_fwd_algo` says nothing to a CPU.)
    ///
    /// # Errors
    /// Other shapes; values that are not finite; a configuration that is none of a convolution.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, config: Conv2dConfig, scheme: ConvScheme) -> Result<Self> {
        let (outputs, channels, height, width) = weight.dims4()?;
        let values = floats(weight)?;
        let bias = bias.map(|bias| bias_of(OP, bias, outputs)).transpose()?;
        let exec = scheme.exec()?;
        let window = window_of(OP, [height, width], config)?;
        let parts = || {
            let by_output = Granularity::channel(&[outputs, channels, height, width], 0)?;
            let params = QuantParams::fit(exec, &values, CodeRange::narrow(8)?, Scheme::SYMMETRIC, by_output)?;
            let mut codes = vec![0_i8; values.len()];
            quantize(exec, &values, &params, Rounding::Nearest, &mut codes)?;
            let shape = [outputs, channels, height, width];
            let conv = layers::Conv2d::new(exec, &codes, shape, &params, window, config.groups)?;
            let stage = dequantize(bias.as_deref())?;
            Ok(Parts { conv, stage, activations: scheme.activations, config, exec })
        };
        Ok(Conv2d(Arc::new(parts().map_err(wrapped(OP))?)))
    }

    /// Quantizes a layer of `candle_nn`.
    ///
    /// # Errors
    /// As [`new`](Conv2d::new).
    pub fn quantize(layer: &candle_nn::Conv2d, scheme: ConvScheme) -> Result<Self> {
        Self::new(layer.weight(), layer.bias(), *layer.config(), scheme)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Conv2dConfig {
        &self.0.config
    }
}

impl Parts {
    /// The convolution of images of this shape, channels-last, whose planes lie channel by channel; the result, channels-last.
    fn convolve(&self, x: &[f32], shape: [usize; 4], out: &mut [f32]) -> LibraryResult<()> {
        let [images, height, width, channels] = shape;
        let pixels = height.saturating_mul(width);
        let by_image = Granularity::channel(&[images, pixels.saturating_mul(channels)], 0)?;
        let params = QuantParams::fit(self.exec, x, CodeRange::unsigned(8)?, self.activations, by_image)?;
        let mut planes = vec![0_u8; x.len()];
        quantize(self.exec, x, &params, Rounding::Nearest, &mut planes)?;
        let mut codes = vec![0_u8; x.len()];
        transpose_each(&planes, [channels, pixels], &mut codes);
        self.conv.forward(self.exec, &codes, shape, &params, &self.stage, out)
    }

    /// The elements as f32.
    fn widened<'a>(&self, x: Input<'a>) -> LibraryResult<Cow<'a, [f32]>> {
        match x {
            Input::F32(x) => Ok(x),
            Input::Halves(x, half) => {
                let mut wide = vec![0.0; x.len()];
                raw::widen(self.exec, half.view(&x), &mut wide)?;
                Ok(wide.into())
            }
        }
    }
}

impl CustomOp1 for Conv2d {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels, height, width) = layout.shape().dims4()?;
        let shape = [images, height, width, channels];
        let [_, out_height, out_width, outputs] = self.0.conv.output_shape(shape).map_err(wrapped(OP))?;
        let pixels = out_height.checked_mul(out_width);
        let length = pixels.and_then(|pixels| pixels.checked_mul(outputs)?.checked_mul(images));
        let (pixels, length) = pixels.zip(length).ok_or_else(|| too_large(OP))?;
        let x = Input::new(OP, storage, layout)?;
        let half = if let Input::Halves(_, half) = x { Some(half) } else { None };
        let run = || {
            let mut last = vec![0.0; length];
            self.0.convolve(&self.0.widened(x)?, shape, &mut last)?;
            let mut out = vec![0.0; length];
            transpose_each(&last, [pixels, outputs], &mut out);
            let Some(half) = half else { return Ok(CpuStorage::F32(out)) };
            let mut bits = vec![0; length];
            raw::narrow(self.0.exec, &out, half.view_mut(&mut bits))?;
            Ok(half.storage(bits))
        };
        Ok((run().map_err(wrapped(OP))?, (images, outputs, out_height, out_width).into()))
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1(self.clone())
    }
}

/// The window of a convolution with weights of this height and width.
pub(crate) fn window_of(op: &'static str, size: [usize; 2], config: Conv2dConfig) -> Result<Window> {
    let Conv2dConfig { padding, stride, dilation, .. } = config;
    if stride == 0 || dilation == 0 {
        return Err(Error::msg(format!("{op}: stride and dilation are at least 1")).bt());
    }
    Ok(Window { size, stride: [stride; 2], padding: [padding; 4], dilation: [dilation; 2] })
}

/// Transposes every matrix of this shape, in squares whose lines stay in the level-1 cache.
pub(crate) fn transpose_each<T: Copy>(from: &[T], [rows, columns]: [usize; 2], to: &mut [T]) {
    const SIDE: usize = 32;
    let size = rows.saturating_mul(columns).max(1);
    for (from, to) in from.chunks_exact(size).zip(to.chunks_exact_mut(size)) {
        for row in (0..rows).step_by(SIDE) {
            for column in (0..columns).step_by(SIDE) {
                let row_end = rows.min(row + SIDE);
                for c in column..columns.min(column + SIDE) {
                    for (to, r) in to[c * rows + row..c * rows + row_end].iter_mut().zip(row..) {
                        *to = from[r * columns + c];
                    }
                }
            }
        }
    }
}

/// [`candle_nn::conv2d()`] of 8 bits.
///
/// # Errors
/// Errors of the `VarBuilder`; errors of [`Conv2d::new`].
pub fn conv2d(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: Conv2dConfig,
    vb: VarBuilder<'_>,
    scheme: ConvScheme,
) -> Result<Conv2d> {
    Conv2d::quantize(&candle_nn::conv2d(in_channels, out_channels, kernel_size, cfg, vb)?, scheme)
}

/// [`candle_nn::conv2d_no_bias`] of 8 bits.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_no_bias(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: Conv2dConfig,
    vb: VarBuilder<'_>,
    scheme: ConvScheme,
) -> Result<Conv2d> {
    Conv2d::quantize(&candle_nn::conv2d_no_bias(in_channels, out_channels, kernel_size, cfg, vb)?, scheme)
}
