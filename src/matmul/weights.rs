//! What is known of weights besides their codes.

use super::multiplier::quantize_bias;
use super::per_column::PerColumn;
use crate::error::Error;

/// Weights for activations of type `A`: a [`PackedMatrix`](crate::PackedMatrix), an
/// [`UnpackedMatrix`](crate::UnpackedMatrix), or a layer.
pub trait Weights<A>: Sealed {
    /// The scale of all weights, or one for every output; none when the weights came with zero points alone
    /// ([`raw`](crate::raw)).
    fn scales(&self) -> &[f32];
}

/// The scales of weights, and of the activations that their bias is for.
#[derive(Clone, Debug, Default)]
pub struct WeightScales {
    /// One, or one for every output; `None` when only zero points are known.
    per_output: Option<PerColumn<f32>>,
    /// The scale of the activations that the bias is quantized for; `None` where there is none, or an integer one.
    bias_for: Option<f32>,
}

impl WeightScales {
    /// One scale for all weights, or one for every output.
    pub fn new(scales: &[f32]) -> Self {
        WeightScales { per_output: Some(PerColumn::broadcast(scales.to_vec())), bias_for: None }
    }

    /// One scale, or one for every output; none when only zero points are known.
    pub fn values(&self) -> &[f32] {
        self.per_output.as_ref().map_or(&[], PerColumn::values)
    }

    /// The scales by output, if they are known.
    pub fn per_output(&self) -> Option<&PerColumn<f32>> {
        self.per_output.as_ref()
    }

    /// The scale of the activations that the bias is quantized for.
    pub fn bias_for(&self) -> Option<f32> {
        self.bias_for
    }

    /// Quantizes a bias for activations of this scale.
    pub fn quantize_bias(&self, bias: &[f32], activation_scale: f32) -> Result<Vec<i32>, Error> {
        quantize_bias(bias, activation_scale, self.values())
    }

    /// Remembers the scale of the activations that the bias is quantized for; `None` for a bias of integers given by hand.
    pub fn set_bias_for(&mut self, activation_scale: Option<f32>) {
        self.bias_for = activation_scale;
    }

    /// `Ok` when the bias is for activations of these scales, as far as they are known.
    pub fn check_bias(&self, activation_scales: &[f32]) -> Result<(), Error> {
        let Some(scale) = self.bias_for else { return Ok(()) };
        check_one_scale(activation_scales, scale, "the bias was quantized for activations of another scale")
    }
}

/// `Ok` when all activations have this scale; `why` says what was made for it.
pub(super) fn check_one_scale(activation_scales: &[f32], scale: f32, why: &'static str) -> Result<(), Error> {
    let other = activation_scales.iter().position(|&found| found != scale);
    other.map_or(Ok(()), |index| Err(Error::Operand { index, why }))
}

mod sealed {
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;
