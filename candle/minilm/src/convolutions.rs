//! Convolutions of common shapes: candle's, ours, and the library's alone, without quantizing and transposing images.

use candle_core::{Device, Module, Tensor};
use candle_nn::Conv2dConfig;
use serde::{Deserialize, Serialize};
use zeropoint::layers::{self, Window};
use zeropoint::{CodeRange, Dequantize, Exec, QuantParams};
use zeropoint_candle::{Conv2d, ConvScheme};

use crate::model::Wrong;
use crate::speed::{Figure, rounds};

/// Images, channels, side, outputs, side of the window, groups.
const SHAPES: [[usize; 6]; 4] =
    [[1, 64, 56, 64, 3, 1], [1, 256, 14, 256, 3, 1], [1, 256, 56, 64, 1, 1], [1, 96, 56, 96, 3, 96]];

/// A convolution.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub shape: [usize; 6],
    /// candle's, ours, and the library's on codes that are channels-last already: calls a second.
    pub figures: Vec<Figure>,
}

/// Takes turns of all shapes.
pub fn take(count: u32) -> Result<Vec<Row>, Wrong> {
    SHAPES.into_iter().map(|shape| row(shape, count)).collect()
}

fn row(shape: [usize; 6], count: u32) -> Result<Row, Wrong> {
    let [images, channels, side, outputs, size, groups] = shape;
    let exec = Exec::best()?.rayon();
    let config = Conv2dConfig { padding: size / 2, groups, ..Conv2dConfig::default() };
    let weight = Tensor::randn(0_f32, 0.1, (outputs, channels / groups, size, size), &Device::Cpu)?;
    let x = Tensor::randn(0_f32, 1.0, (images, channels, side, side), &Device::Cpu)?;
    let exact = candle_nn::Conv2d::new(weight, None, config);
    let ours = Conv2d::quantize(&exact, ConvScheme::int8().on(exec))?;

    let window = Window { padding: [size / 2; 4], ..Window::new([size; 2]) };
    let params = QuantParams::per_tensor(CodeRange::narrow(8)?, 0.01, 0)?;
    let weights = vec![1_i8; outputs * channels / groups * size * size];
    let alone = layers::Conv2d::<u8, i8>::new(
        exec,
        &weights,
        [outputs, channels / groups, size, size],
        &params,
        window,
        groups,
    )?;
    let codes = vec![1_u8; images * side * side * channels];
    let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.01, 128)?;
    let mut out = vec![0.0; images * side * side * outputs];
    let image_shape = [images, side, side, channels];
    let times = rounds(count, 3, |i| {
        match i {
            0 => drop(exact.forward(&x)?),
            1 => drop(ours.forward(&x)?),
            _ => alone.forward(exec, &codes, image_shape, &params, &Dequantize::new(), &mut out)?,
        }
        Ok::<_, Wrong>(())
    })?;
    Ok(Row { shape, figures: Figure::all(&times, 1.0) })
}
