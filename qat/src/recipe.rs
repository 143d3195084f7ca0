//! What is quantized in training, and how.

use candle_core::Result;
use serde::{Deserialize, Serialize};
use zeropoint::{Exec, ScaleKind};
use zeropoint_candle::qat::{QuantDescriptor, QuantScheme};

/// How a network is trained.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Recipe {
    /// In float.
    Float,
    /// With fake-quantized weights and activations.
    Quantized(Quantized),
    /// With products of 8-bit codes, of gradients too.
    Integer {
        /// Whether gradients are rounded stochastically, or else to nearest.
        stochastic: bool,
    },
}

/// How a network is quantized in training.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Quantized {
    /// The bits of weights, activations, and whatever else is quantized.
    pub bits: u32,
    /// Whether scales are powers of two.
    pub power_of_two: bool,
    /// The rounding, and what is quantized beside weights and activations.
    pub variant: Variant,
}

/// A variant of quantized training. Weights and activations are rounded to nearest, with scales of their ranges; gradients and
/// updates of weights are not quantized; unless the variant says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Variant {
    /// Only weights and activations are quantized, to nearest.
    Nearest,
    /// Weights and activations are rounded stochastically in the forward pass.
    ForwardStochastic,
    /// The gradients of the results of all layers are quantized, to nearest.
    GradientNearest,
    /// The gradients of the results of all layers are quantized, stochastically, as in DoReFa-Net (Zhou et al., 2016).
    GradientStochastic,
    /// Weights are stored as codes: every updated weight is rounded, to nearest.
    UpdateNearest,
    /// Weights are stored as codes: every updated weight is rounded, stochastically, as in Gupta et al. (2015).
    UpdateStochastic,
    /// Scales are variables of the optimizer, as in LSQ (Esser et al., 2020).
    Learned,
}

impl Variant {
    /// All variants, in the order of the tables' columns.
    pub const ALL: [Variant; 7] = [
        Variant::Nearest,
        Variant::ForwardStochastic,
        Variant::GradientNearest,
        Variant::GradientStochastic,
        Variant::UpdateNearest,
        Variant::UpdateStochastic,
        Variant::Learned,
    ];

    /// The heading of the variant's column in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Variant::Nearest => "trained",
            Variant::ForwardStochastic => "forward stochastic",
            Variant::GradientNearest => "gradient nearest",
            Variant::GradientStochastic => "gradient stochastic",
            Variant::UpdateNearest => "update nearest",
            Variant::UpdateStochastic => "update stochastic",
            Variant::Learned => "learned scales",
        }
    }

    /// Whether weights are stored as codes.
    #[must_use]
    pub fn has_codes_only(self) -> bool {
        matches!(self, Variant::UpdateNearest | Variant::UpdateStochastic)
    }
}

/// The weight of the newest batch in the moving average of the ranges of activations, which so goes back some twenty batches.
const NEWEST: f32 = 0.05;

impl Quantized {
    /// Scales of this kind.
    #[must_use]
    pub fn scale(self) -> ScaleKind {
        if self.power_of_two { ScaleKind::PowerOfTwo } else { ScaleKind::Float }
    }

    fn descriptor(self, descriptor: QuantDescriptor, exec: Exec<'static>) -> QuantDescriptor {
        let descriptor = descriptor.on(exec);
        if self.power_of_two { descriptor.power_of_two() } else { descriptor }
    }

    /// How a layer is quantized: activations are asymmetric, with one range that is a moving average; weights symmetric, with a
    /// range for every output, in flight. (Weights that are stored as codes keep their first ranges.)
    ///
    /// # Errors
    /// Bits that no code has.
    pub fn layer(self, exec: Exec<'static>, seed: u64) -> Result<QuantScheme> {
        let input = self.descriptor(QuantDescriptor::asymmetric(self.bits)?.moving_average(NEWEST)?, exec);
        let weights = self.descriptor(QuantDescriptor::symmetric(self.bits)?.per_axis(0), exec);
        let weights = if self.variant.has_codes_only() { weights.frozen() } else { weights };
        Ok(match self.variant {
            Variant::ForwardStochastic => QuantScheme::new(input.stochastic(seed), weights.stochastic(seed + 1)),
            Variant::Learned => QuantScheme::new(input.learned(), weights.learned()),
            _ => QuantScheme::new(input, weights),
        })
    }

    /// How the gradient of a layer's result is quantized: symmetrically, with one range in flight.
    ///
    /// # Errors
    /// Bits that no code has.
    pub fn gradient(self, exec: Exec<'static>, seed: u64) -> Result<Option<QuantDescriptor>> {
        let descriptor = self.descriptor(QuantDescriptor::symmetric(self.bits)?, exec);
        Ok(match self.variant {
            Variant::GradientNearest => Some(descriptor),
            Variant::GradientStochastic => Some(descriptor.stochastic(seed)),
            _ => None,
        })
    }
}
