//! Quantization after training, by the library of `lenet`, for comparison with quantization-aware training.

use lenet::float::FloatNetwork;
use lenet::network::{Network as _, PIXELS, top};
use lenet::static_range::{Calibration, StaticNetwork};
use serde::{Deserialize, Serialize};
use zeropoint::calibrate::Method;
use zeropoint::{Exec, Rule, ScaleKind};

use crate::Failure;
use crate::data::Dataset;
use crate::network::Parameters;
use crate::train::{EVALUATION_BATCH, correct};

/// A network that was quantized after training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostTraining {
    /// The bits of weights and activations.
    pub bits: u32,
    /// Whether scales are powers of two.
    pub power_of_two: bool,
    /// Whether the ranges of activations are those of the least squared error, or else minimum and maximum.
    pub least_error: bool,
    /// Test images whose class is right.
    pub correct: usize,
}

/// How many training images the ranges of activations are taken from. (MNIST and Fashion-MNIST are shuffled: the first ones do.)
const CALIBRATION: usize = 512;

/// The accuracy of a float network that is quantized after training: for all bits, kinds of scales and kinds of ranges.
///
/// # Errors
/// Activations that have no range.
pub fn quantize(
    parameters: &Parameters,
    bits: &[u32],
    data: &Dataset,
    exec: Exec<'static>,
) -> Result<Vec<PostTraining>, Failure> {
    let weights = parameters.weights();
    let calibration = &data.train.pixels[..CALIBRATION.min(data.train.count()) * PIXELS];
    let activations = FloatNetwork::new(&weights).activations(calibration);
    let mut rows = Vec::new();
    for &bits in bits {
        for power_of_two in [false, true] {
            for least_error in [false, true] {
                let method = if least_error { Method::Mse } else { Method::MinMax };
                let scale = if power_of_two { ScaleKind::PowerOfTwo } else { ScaleKind::Float };
                let calibration = Calibration { bits, method };
                let network = StaticNetwork::new(exec.isa(), &weights, &activations, calibration, scale, Rule::Float)?;
                let mut classes = Vec::new();
                for pixels in data.test.pixels.chunks(EVALUATION_BATCH * PIXELS) {
                    classes.extend(top(&network.forward(pixels)?.logits));
                }
                rows.push(PostTraining { bits, power_of_two, least_error, correct: correct(&classes, &data.test) });
            }
        }
    }
    Ok(rows)
}
