//! The reference: plain f32 loops. Sums are made in a fixed order, so that every CPU gives the same bits.

use zeropoint::Error;

use crate::data::Weights;
use crate::network::{HEIGHT, Layer, Network, Outputs, PIXELS, WIDTH};

/// The network in float.
pub struct FloatNetwork {
    conv1: Affine,
    conv2: Affine,
    fc1: Affine,
    fc2: Affine,
}

/// The inputs of every layer, and the logits, image after image.
#[derive(Default)]
pub struct Activations {
    /// The input of the first convolution: the images.
    pub conv1: Vec<f32>,
    /// The input of the second convolution, channels last.
    pub conv2: Vec<f32>,
    /// The input of the first linear layer, channels last.
    pub fc1: Vec<f32>,
    /// The input of the second linear layer.
    pub fc2: Vec<f32>,
    /// A logit for every class.
    pub logits: Vec<f32>,
}

impl FloatNetwork {
    /// The network with these weights.
    #[must_use]
    pub fn new(weights: &Weights) -> Self {
        let Weights { conv1, conv2, fc1, fc2 } = weights;
        FloatNetwork {
            conv1: Affine::new(conv1),
            conv2: Affine::new(conv2),
            fc1: Affine::new(fc1),
            fc2: Affine::new(fc2),
        }
    }

    /// Runs the network on `[images, height, width]`.
    #[must_use]
    pub fn activations(&self, images: &[f32]) -> Activations {
        let mut all = Activations::default();
        for image in images.chunks_exact(PIXELS) {
            let (conv1, [height, width]) = self.conv1.conv(image, [HEIGHT, WIDTH]);
            let (conv2_input, size) = max_pool_relu(&conv1, [height, width, self.conv1.bias.len()]);
            let (conv2, [height, width]) = self.conv2.conv(&conv2_input, size);
            let (fc1_input, _) = max_pool_relu(&conv2, [height, width, self.conv2.bias.len()]);
            let mut fc2_input = self.fc1.apply(fc1_input.iter());
            for x in &mut fc2_input {
                *x = relu(*x);
            }
            all.logits.extend(self.fc2.apply(fc2_input.iter()));
            all.conv1.extend(image);
            all.conv2.extend(conv2_input);
            all.fc1.extend(fc1_input);
            all.fc2.extend(fc2_input);
        }
        all
    }
}

impl Network for FloatNetwork {
    fn forward(&self, images: &[f32]) -> Result<Outputs, Error> {
        Ok(Outputs { codes: Vec::new(), accumulators: None, logits: self.activations(images).logits })
    }
}

/// A layer with its weights as `[window, channels, outputs]`: the sums of all outputs advance together.
struct Affine {
    window: [usize; 2],
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Affine {
    fn new(layer: &Layer) -> Self {
        let [_, _, height, width] = layer.shape;
        let Layer { shape: [_, depth, ..], weights, bias } = layer.flattened();
        let column = |k: usize| weights.iter().copied().skip(k).step_by(depth);
        Affine { window: [height, width], weights: (0..depth).flat_map(column).collect(), bias }
    }

    fn apply<'a>(&self, x: impl Iterator<Item = &'a f32>) -> Vec<f32> {
        let mut sums = self.bias.clone();
        for (x, weights) in x.zip(self.weights.chunks_exact(sums.len())) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += x * weight;
            }
        }
        sums
    }

    /// The layer at every position of its window, and how many there are.
    fn conv(&self, image: &[f32], [height, width]: [usize; 2]) -> (Vec<f32>, [usize; 2]) {
        let channels = image.len() / (height * width);
        let size = [height + 1 - self.window[0], width + 1 - self.window[1]];
        let mut out = Vec::with_capacity(size[0] * size[1] * self.bias.len());
        for (y, x) in (0..size[0]).flat_map(|y| (0..size[1]).map(move |x| (y, x))) {
            let row = |row: usize| &image[((y + row) * width + x) * channels..][..self.window[1] * channels];
            out.extend(self.apply((0..self.window[0]).flat_map(row)));
        }
        (out, size)
    }
}

fn relu(x: f32) -> f32 {
    if x > 0.0 { x } else { 0.0 }
}

/// Max-pooling 2×2, then the ReLU: no maximum is below 0.
fn max_pool_relu(image: &[f32], [height, width, channels]: [usize; 3]) -> (Vec<f32>, [usize; 2]) {
    let size = [height / 2, width / 2];
    let mut out = vec![0.0; size[0] * size[1] * channels];
    for (i, out) in out.iter_mut().enumerate() {
        let (channel, x, y) = (i % channels, i / channels % size[1], i / channels / size[1]);
        for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let element = image[((2 * y + dy) * width + 2 * x + dx) * channels + channel];
            if element > *out {
                *out = element;
            }
        }
    }
    (out, size)
}
