//! Dynamic ranges: every layer gives floats, which become codes again with the range of their own image. Nothing is
//! calibrated; the sums of products are sums of integers all the same.

use zeropoint::layers::{Conv2d, Linear};
use zeropoint::{
    CodeRange, Dequantize, Error, Granularity, Isa, QuantParams, Range, Rounding, Scheme, quantize, ranges,
};

use lenet::data::Weights;
use lenet::network::{HEIGHT, Layer, Network, Outputs, PIXELS, QuantizedLayer, WIDTH, convolve, max_pool, multiply};

/// The network with integer layers between floats.
pub struct DynamicNetwork {
    isa: Isa,
    conv1: Dynamic<Conv2d<u8, i8>>,
    conv2: Dynamic<Conv2d<u8, i8>>,
    fc1: Dynamic<Linear<u8, i8>>,
    fc2: Dynamic<Linear<u8, i8>>,
}

/// A layer, and what makes floats of its accumulators.
struct Dynamic<L> {
    isa: Isa,
    layer: L,
    stage: Dequantize,
}

impl<L> Dynamic<L> {
    fn new(isa: Isa, layer: &Layer, pack: fn(&QuantizedLayer) -> Result<L, Error>) -> Result<Self, Error> {
        let layer = layer.quantize(isa, Scheme::SYMMETRIC, 8)?;
        Ok(Dynamic { isa, layer: pack(&layer)?, stage: Dequantize::new().with_bias(&layer.bias)? })
    }
}

impl DynamicNetwork {
    pub fn new(isa: Isa, weights: &Weights) -> Result<Self, Error> {
        Ok(DynamicNetwork {
            isa,
            conv1: Dynamic::new(isa, &weights.conv1, QuantizedLayer::conv)?,
            conv2: Dynamic::new(isa, &weights.conv2, QuantizedLayer::conv)?,
            fc1: Dynamic::new(isa, &weights.fc1, QuantizedLayer::linear)?,
            fc2: Dynamic::new(isa, &weights.fc2, QuantizedLayer::linear)?,
        })
    }

    /// The codes of a batch, and the scale and the zero point of every image in it.
    ///
    /// A range that begins at 0 makes it the ReLU too: what is below saturates to the code of 0.
    fn quantize(&self, x: &[f32], images: usize) -> Result<(Vec<u8>, QuantParams<u8>), Error> {
        let per_image = Granularity::channel(&[images, x.len() / images], 0)?;
        let ranges = ranges(self.isa, x, per_image)?;
        let ranges: Vec<_> = ranges.iter().map(|range| Range { min: 0.0, max: range.max.max(0.0) }).collect();
        let params = QuantParams::from_ranges(CodeRange::unsigned(8)?, Scheme::ASYMMETRIC, per_image, &ranges)?;
        let mut codes = vec![0; x.len()];
        quantize(self.isa, x, &params, Rounding::Nearest, &mut codes)?;
        Ok((codes, params))
    }
}

/// Parameters per image, for images of a given number of codes: a max-pool leaves fewer.
fn per_image(params: &QuantParams<u8>, images: usize, codes: &[u8]) -> Result<QuantParams<u8>, Error> {
    params.with_granularity(Granularity::channel(&[images, codes.len() / images], 0)?)
}

impl Dynamic<Conv2d<u8, i8>> {
    /// The floats of a batch: every image has a zero point of its own.
    fn forward(
        &self,
        codes: &[u8],
        shape: [usize; 4],
        params: &QuantParams<u8>,
    ) -> Result<(Vec<f32>, [usize; 4]), Error> {
        convolve(self.isa, &self.layer, codes, shape, &per_image(params, shape[0], codes)?, &self.stage)
    }
}

impl Dynamic<Linear<u8, i8>> {
    /// The floats of a batch.
    fn forward(&self, codes: &[u8], images: usize, params: &QuantParams<u8>) -> Result<Vec<f32>, Error> {
        multiply(self.isa, &self.layer, codes, images, &per_image(params, images, codes)?, &self.stage)
    }
}

impl Network for DynamicNetwork {
    fn forward(&self, images: &[f32]) -> Result<Outputs, Error> {
        let count = images.len() / PIXELS;
        let (pixels, params) = self.quantize(images, count)?;
        let (conv1, shape) = self.conv1.forward(&pixels, [count, HEIGHT, WIDTH, 1], &params)?;
        let (conv1, params) = self.quantize(&conv1, count)?;
        let (pool1, shape) = max_pool(self.isa, &conv1, shape)?;
        let (conv2, shape) = self.conv2.forward(&pool1, shape, &params)?;
        let (conv2, params) = self.quantize(&conv2, count)?;
        let (pool2, _) = max_pool(self.isa, &conv2, shape)?;
        let fc1 = self.fc1.forward(&pool2, count, &params)?;
        let (fc1, params) = self.quantize(&fc1, count)?;
        let logits = self.fc2.forward(&fc1, count, &params)?;
        Ok(Outputs { codes: vec![pixels, conv1, pool1, conv2, pool2, fc1], accumulators: None, logits })
    }
}
