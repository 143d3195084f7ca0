//! What the float and the quantized networks have in common: convolution 1→10, 5×5 · max-pool 2×2 · ReLU · convolution
//! 10→20, 5×5 · max-pool 2×2 · ReLU · linear 320→50 · ReLU · linear 50→10, on channels-last images.
//!
//! A ReLU and a max-pool give the same in either order, so the quantized networks have the ReLU first: it costs nothing
//! in the output stage of the convolution.

use zeropoint::layers::{Conv2d, Linear, MaxPool2d, Window};
use zeropoint::{
    CodeRange, Error, Granularity, Isa, Matrix, MatrixMut, QuantParams, Quantized, Rounding, Scheme, Stage, quantize,
    ranges,
};

/// The height of an image.
pub const HEIGHT: usize = 28;
/// The width of an image.
pub const WIDTH: usize = 28;
/// The pixels of an image.
pub const PIXELS: usize = HEIGHT * WIDTH;
/// The digits.
pub const CLASSES: usize = 10;

/// A network for any number of images at a time.
pub trait Network {
    /// What it makes of `images`, `[images, height, width]`.
    ///
    /// # Errors
    /// Pixels that are not finite.
    fn forward(&self, images: &[f32]) -> Result<Outputs, Error>;
}

/// All that a quantized network computes for some images.
pub struct Outputs {
    /// The codes from layer to layer, the input's first.
    pub codes: Vec<Vec<u8>>,
    /// The accumulators of the last layer, if nothing but integers led to them.
    pub accumulators: Option<Vec<i32>>,
    /// The logits, `[images, classes]`.
    pub logits: Vec<f32>,
}

/// The class of the largest logit of every image, the first of several.
#[must_use]
pub fn top(logits: &[f32]) -> Vec<usize> {
    let class =
        |logits: &[f32]| (0..CLASSES).fold(0, |top, class| if logits[class] > logits[top] { class } else { top });
    logits.chunks_exact(CLASSES).map(class).collect()
}

/// The weights `[outputs, channels, height, width]` and the biases of a layer. A linear layer's window is 1×1.
pub struct Layer {
    /// `[outputs, channels, height, width]`
    pub shape: [usize; 4],
    /// The weights.
    pub weights: Vec<f32>,
    /// The biases.
    pub bias: Vec<f32>,
}

impl Layer {
    /// A linear layer of the same sums, for an input flattened to `[height, width, channels]`.
    #[must_use]
    pub fn flattened(&self) -> Layer {
        let [outputs, channels, height, width] = self.shape;
        let taps = height * width;
        let mut weights = Vec::with_capacity(self.weights.len());
        for output in self.weights.chunks_exact(channels * taps) {
            weights.extend((0..taps).flat_map(|tap| output.iter().skip(tap).step_by(taps)));
        }
        Layer { shape: [outputs, channels * taps, 1, 1], weights, bias: self.bias.clone() }
    }

    /// The weights as narrow codes of `bits` bits, with a scale for every output.
    ///
    /// # Errors
    /// Weights or bits that have no codes.
    pub fn quantize(&self, isa: Isa, scheme: Scheme, bits: u32) -> Result<QuantizedLayer, Error> {
        let per_output = Granularity::channel(&self.shape, 0)?;
        let ranges = ranges(isa, &self.weights, per_output)?;
        self.quantize_by(isa, QuantParams::from_ranges(CodeRange::narrow(bits)?, scheme, per_output, &ranges)?)
    }

    /// The weights as codes with these parameters, a scale for every output and the zero point 0.
    ///
    /// # Errors
    /// Parameters of other granularity.
    pub fn quantize_by(&self, isa: Isa, params: QuantParams<i8>) -> Result<QuantizedLayer, Error> {
        let mut codes = vec![0; self.weights.len()];
        quantize(isa, &self.weights, &params, Rounding::Nearest, &mut codes)?;
        Ok(QuantizedLayer { isa, shape: self.shape, codes, params, bias: self.bias.clone() })
    }
}

/// A layer whose weights are codes with zero point 0.
pub struct QuantizedLayer {
    isa: Isa,
    /// `[outputs, channels, height, width]`
    pub shape: [usize; 4],
    /// The codes of the weights.
    pub codes: Vec<i8>,
    /// A scale for every output.
    pub params: QuantParams<i8>,
    /// The biases.
    pub bias: Vec<f32>,
}

impl QuantizedLayer {
    /// The layer as a convolution.
    ///
    /// # Errors
    /// A sum that an i32 cannot hold.
    pub fn conv(&self) -> Result<Conv2d<u8, i8>, Error> {
        let shape @ [_, _, height, width] = self.shape;
        Conv2d::new(self.isa, &self.codes, shape, &self.params, Window::new([height, width]), 1)
    }

    /// The layer as a linear one.
    ///
    /// # Errors
    /// A sum that an i32 cannot hold.
    pub fn linear(&self) -> Result<Linear<u8, i8>, Error> {
        let [outputs, inputs, ..] = self.shape;
        Linear::new(self.isa, Quantized::new(Matrix::new(&self.codes, outputs, inputs)?, &self.params)?)
    }
}

/// A convolution of images of codes, whose parameters are per tensor or per image: the result and its shape.
///
/// # Errors
/// Codes of another shape.
pub fn convolve<S: Stage>(
    isa: Isa,
    conv: &Conv2d<u8, i8>,
    codes: &[u8],
    shape: [usize; 4],
    params: &QuantParams<u8>,
    stage: &S,
) -> Result<(Vec<S::Element>, [usize; 4]), Error> {
    let output = conv.output_shape(shape)?;
    let mut out = vec![S::Element::default(); output.iter().product()];
    conv.forward(isa, codes, shape, params, stage, &mut out)?;
    Ok((out, output))
}

/// Max-pooling 2×2 of images of codes: the result and its shape.
///
/// # Errors
/// Codes of another shape.
pub fn max_pool(isa: Isa, codes: &[u8], shape: [usize; 4]) -> Result<(Vec<u8>, [usize; 4]), Error> {
    let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
    let output = pool.output_shape(shape)?;
    let mut out = vec![0; output.iter().product()];
    pool.forward(isa, codes, shape, &mut out)?;
    Ok((out, output))
}

/// A linear layer of a row of codes for every image, whose parameters are per tensor or per image.
///
/// # Errors
/// Codes of another shape.
pub fn multiply<S: Stage>(
    isa: Isa,
    layer: &Linear<u8, i8>,
    codes: &[u8],
    images: usize,
    params: &QuantParams<u8>,
    stage: &S,
) -> Result<Vec<S::Element>, Error> {
    let mut out = vec![S::Element::default(); images * layer.outputs()];
    let input = Quantized::new(Matrix::new(codes, images, layer.inputs())?, params)?;
    layer.forward(isa, input, stage, MatrixMut::new(&mut out, images, layer.outputs())?)?;
    Ok(out)
}
