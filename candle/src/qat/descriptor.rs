//! How a tensor is quantized.

use candle_core::{Error, Result};
use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Range, ScaleKind, Scheme};

use super::quantizer::Params;
use crate::error::{LibraryResult, wrapped};

/// How a tensor is fake-quantized, and where that runs.
///
/// | | codes | range |
/// |---|---|---|
/// | [`symmetric`](QuantDescriptor::symmetric) | i8, −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1, zero point 0 | −amax … amax |
/// | [`asymmetric`](QuantDescriptor::asymmetric) | u8, 0 … 2ⁿ − 1, any zero point | min … max |
///
/// The range is that of the tensor in each call, one for the whole tensor, unless the other methods say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct QuantDescriptor {
    pub(super) bits: u32,
    pub(super) scheme: Scheme,
    pub(super) unsigned: bool,
    pub(super) axis: Option<usize>,
    pub(super) range: RangeSource,
    pub(super) seed: Option<u64>,
    exec: Option<Exec<'static>>,
}

/// Where ranges come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RangeSource {
    /// The tensor of the call.
    InFlight,
    /// The tensors of all training calls, the newest with this weight.
    Average(f32),
    /// The descriptor.
    Given(Range),
    /// Scales that are variables.
    Learned,
}

impl QuantDescriptor {
    /// Narrow signed codes with the zero point 0, for −amax … amax.
    ///
    /// # Errors
    /// Other bits than 2 to 8.
    pub fn symmetric(bits: u32) -> Result<Self> {
        Self::new(bits, Scheme::SYMMETRIC, false)
    }

    /// Unsigned codes with a zero point, for min … max, widened to contain 0: one bit more than
    /// [`symmetric`](QuantDescriptor::symmetric) has where values are mostly of one sign, as behind a ReLU.
    ///
    /// # Errors
    /// Other bits than 2 to 8.
    pub fn asymmetric(bits: u32) -> Result<Self> {
        Self::new(bits, Scheme::ASYMMETRIC, true)
    }

    fn new(bits: u32, scheme: Scheme, unsigned: bool) -> Result<Self> {
        CodeRange::<u8>::unsigned(bits).map_err(wrapped("QuantDescriptor"))?;
        Ok(QuantDescriptor { bits, scheme, unsigned, axis: None, range: RangeSource::InFlight, seed: None, exec: None })
    }

    /// With a range, and so a scale, for every index of this axis.
    #[must_use]
    pub fn per_axis(self, axis: usize) -> Self {
        QuantDescriptor { axis: Some(axis), ..self }
    }

    /// With scales that are powers of two.
    #[must_use]
    pub fn power_of_two(self) -> Self {
        QuantDescriptor { scheme: Scheme { scale: ScaleKind::PowerOfTwo, ..self.scheme }, ..self }
    }

    /// Rounds stochastically in training, by the stream of this seed: every call takes the words that follow those of the call
    /// before it. Scales leave the headroom that this needs. Evaluation rounds to nearest, with the same scales.
    #[must_use]
    pub fn stochastic(self, seed: u64) -> Self {
        QuantDescriptor { scheme: self.scheme.stochastic(), seed: Some(seed), ..self }
    }

    /// With a range that is a moving average over training calls: `range + (range of the tensor − range) · weight`, from the
    /// first tensor's on. Evaluation uses the average and does not change it; tensors without elements do not either.
    ///
    /// # Errors
    /// A weight that is not above 0 and at most 1.
    pub fn moving_average(self, weight: f32) -> Result<Self> {
        if !(weight > 0.0 && weight <= 1.0) {
            return Err(Error::msg(format!("QuantDescriptor: {weight} is no weight of a moving average")).bt());
        }
        Ok(QuantDescriptor { range: RangeSource::Average(weight), ..self })
    }

    /// With the range of the tensor in the first training call, for all later calls too.
    #[must_use]
    pub fn frozen(self) -> Self {
        QuantDescriptor { range: RangeSource::Average(0.0), ..self }
    }

    /// With scales that are learned, as LSQ's (Esser et al., 2020): [`Quantizer::scales`](super::Quantizer::scales) are variables
    /// for the optimizer. The first training call makes them: twice the mean magnitude over the square root of the largest code.
    /// Zero points are those of the first tensor. Gradients of scales are multiplied by LSQ's `1 / √(n · qmax)`. A scale that an
    /// optimizer leaves below `f32::MIN_POSITIVE` counts as that.
    ///
    /// A learned scale is any float: with [`power_of_two`](QuantDescriptor::power_of_two) too, layers and quantizers refuse the
    /// descriptor.
    #[must_use]
    pub fn learned(self) -> Self {
        QuantDescriptor { range: RangeSource::Learned, ..self }
    }

    /// With this range, for all tensors.
    ///
    /// # Errors
    /// Ends that are not finite or not in order.
    pub fn within(self, range: Range) -> Result<Self> {
        let descriptor = QuantDescriptor { range: RangeSource::Given(range), ..self };
        descriptor.params(Granularity::Tensor, &[range]).map_err(wrapped("QuantDescriptor"))?;
        Ok(descriptor)
    }

    /// Runs on this ISA and these threads; by default on the best ISA, on the calling thread.
    #[must_use]
    pub fn on(self, exec: Exec<'static>) -> Self {
        QuantDescriptor { exec: Some(exec), ..self }
    }

    /// The bits of a code.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    pub(super) fn exec(&self) -> Result<Exec<'static>> {
        crate::scheme::exec(self.exec)
    }

    /// Which elements of a tensor share a scale.
    pub(super) fn granularity(&self, dims: &[usize]) -> LibraryResult<Granularity> {
        self.axis.map_or(Ok(Granularity::Tensor), |axis| Granularity::channel(dims, axis))
    }

    /// The parameters that the scheme gives these ranges.
    pub(super) fn params(&self, granularity: Granularity, ranges: &[Range]) -> LibraryResult<Params> {
        let (bits, scheme) = (self.bits, self.scheme);
        Ok(if self.unsigned {
            let codes = CodeRange::unsigned(bits)?;
            Params::Unsigned(QuantParams::from_ranges(codes, scheme, granularity, ranges)?)
        } else {
            Params::Signed(QuantParams::from_ranges(CodeRange::narrow(bits)?, scheme, granularity, ranges)?)
        })
    }

    /// The parameters with these scales and zero points.
    pub(super) fn params_of(
        &self,
        granularity: Granularity,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
    ) -> LibraryResult<Params> {
        Ok(if self.unsigned {
            Params::Unsigned(QuantParams::new(CodeRange::unsigned(self.bits)?, granularity, scales, zero_points)?)
        } else {
            Params::Signed(QuantParams::new(CodeRange::narrow(self.bits)?, granularity, scales, zero_points)?)
        })
    }
}

/// How the input and the weights of a layer are quantized. A bias stays in f32.
#[derive(Clone, Copy, Debug)]
pub struct QuantScheme {
    pub(super) input: QuantDescriptor,
    pub(super) weights: QuantDescriptor,
}

impl QuantScheme {
    /// Symmetric codes of 8 bits with ranges in flight: per tensor for the input, per output for the weights.
    #[must_use]
    pub fn int8() -> Self {
        let descriptor = QuantDescriptor::symmetric(8).expect("8 bits are a width of codes");
        Self::new(descriptor, descriptor.per_axis(0))
    }

    /// The descriptor of the input and that of the weights.
    #[must_use]
    pub fn new(input: QuantDescriptor, weights: QuantDescriptor) -> Self {
        QuantScheme { input, weights }
    }

    /// Runs on this ISA and these threads.
    #[must_use]
    pub fn on(self, exec: Exec<'static>) -> Self {
        QuantScheme { input: self.input.on(exec), weights: self.weights.on(exec) }
    }
}
