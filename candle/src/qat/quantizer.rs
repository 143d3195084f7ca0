//! A descriptor with the state that training gives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{ModuleT, Result, Tensor, Var};
use zeropoint::{
    Code, Error, Exec, Granularity, QuantParams, Range, Rounding, ScaleKind, Stream, fake_quantize, min_max, ranges,
};

use super::descriptor::{QuantDescriptor, RangeSource};
use super::fake::FakeQuantize;
use super::learned::{Begin, FakeQuantizeLearned, Learned};
use crate::error::{LibraryResult, wrapped};
use crate::linear::floats;

/// Fake-quantizes tensors of f32 as a descriptor says. A clone shares its state: the moving average of ranges, and the place in
/// the random stream.
///
/// Its gradient is straight through: that of an element whose code needs no clamping passes, that of another is 0.
/// `forward_t(x, false)` neither changes the state nor rounds stochastically.
#[derive(Clone, Debug)]
pub struct Quantizer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    descriptor: QuantDescriptor,
    exec: Exec<'static>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The moving averages, once there are any.
    ranges: Option<Vec<Range>>,
    /// The scales that are learned, once there are any.
    learned: Option<Learned>,
    stream: Stream,
}

/// The error of learned scales that no training call has made yet.
const NOTHING_LEARNED: Error = Error::Empty { what: "what scales are learned from", group: None };

/// The parameters of a tensor's codes.
#[derive(Clone, Debug, PartialEq)]
pub enum Params {
    /// Parameters of i8 codes, with zero point 0: from [`QuantDescriptor::symmetric`].
    Signed(QuantParams<i8>),
    /// Parameters of u8 codes, with zero points: from [`QuantDescriptor::asymmetric`].
    Unsigned(QuantParams<u8>),
}

impl Params {
    /// The scale of every group.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        match self {
            Params::Signed(params) => params.scales(),
            Params::Unsigned(params) => params.scales(),
        }
    }

    /// The zero point of every group.
    #[must_use]
    pub fn zero_points(&self) -> &[i32] {
        match self {
            Params::Signed(params) => params.zero_points(),
            Params::Unsigned(params) => params.zero_points(),
        }
    }

    /// The fake-quantized values, and the mask of the straight-through gradient.
    pub(super) fn fake(&self, exec: Exec<'_>, x: &[f32], rounding: Rounding) -> LibraryResult<(Vec<f32>, Vec<u8>)> {
        fn run<C: Code>(
            exec: Exec<'_>,
            x: &[f32],
            params: &QuantParams<C>,
            rounding: Rounding,
        ) -> LibraryResult<(Vec<f32>, Vec<u8>)> {
            let (mut out, mut mask) = (vec![0.0; x.len()], vec![0; x.len()]);
            fake_quantize(exec, x, params, rounding, (&mut out, &mut mask))?;
            Ok((out, mask))
        }
        match self {
            Params::Signed(params) => run(exec, x, params, rounding),
            Params::Unsigned(params) => run(exec, x, params, rounding),
        }
    }
}

impl Quantizer {
    /// A quantizer that has seen nothing yet.
    ///
    /// # Errors
    /// `ZEROPOINT_ISA` names an ISA that this CPU lacks; learned scales that are powers of two.
    pub fn new(descriptor: QuantDescriptor) -> Result<Self> {
        if descriptor.range == RangeSource::Learned && descriptor.scheme.scale == ScaleKind::PowerOfTwo {
            return Err(candle_core::Error::msg("Quantizer: a learned scale is no power of two").bt());
        }
        let stream = Stream::new(descriptor.seed.unwrap_or_default());
        let state = Mutex::new(State { ranges: None, learned: None, stream });
        Ok(Quantizer(Arc::new(Shared { descriptor, exec: descriptor.exec()?, state })))
    }

    /// The descriptor.
    #[must_use]
    pub fn descriptor(&self) -> &QuantDescriptor {
        &self.0.descriptor
    }

    /// The variables of learned scales, one value a group: `None` before the first training call, or if scales are not learned.
    #[must_use]
    pub fn scales(&self) -> Option<Var> {
        self.state().learned.as_ref().map(|learned| learned.scales.clone())
    }

    /// The parameters that evaluation uses for a tensor. Learned scales, given ranges and moving averages do not depend on the
    /// tensor; ranges in flight are its own.
    ///
    /// # Errors
    /// A moving average or learned scales before the first training call; NaN or infinity in the tensor; a tensor without the
    /// descriptor's axis.
    pub fn params(&self, x: &Tensor) -> Result<Params> {
        self.evaluation_params(&floats(x)?, x.dims()).map_err(wrapped(super::fake::OP))
    }

    pub(super) fn exec(&self) -> Exec<'static> {
        self.0.exec
    }

    pub(super) fn evaluation_params(&self, x: &[f32], dims: &[usize]) -> LibraryResult<Params> {
        let descriptor = &self.0.descriptor;
        if descriptor.range == RangeSource::Learned {
            let scales = self.scales().ok_or(NOTHING_LEARNED)?;
            let scales = floats(scales.as_tensor()).map_err(|_| NOTHING_LEARNED)?;
            return self.learned_params(&scales, dims);
        }
        let granularity = descriptor.granularity(dims)?;
        descriptor.params(granularity, &self.ranges(x, granularity, false)?)
    }

    /// The parameters with scales that were learned.
    pub(super) fn learned_params(&self, scales: &[f32], dims: &[usize]) -> LibraryResult<Params> {
        let descriptor = &self.0.descriptor;
        let learned = self.state().learned.clone().ok_or(NOTHING_LEARNED)?;
        let scales = scales.iter().map(|scale| scale.max(f32::MIN_POSITIVE)).collect();
        descriptor.params_of(descriptor.granularity(dims)?, scales, learned.zero_points)
    }

    /// Makes the first scales from the magnitudes of this tensor.
    pub(super) fn begin_learning(&self, x: &[f32], dims: &[usize]) -> Result<()> {
        let begin = || {
            let descriptor = &self.0.descriptor;
            let granularity = descriptor.granularity(dims)?;
            descriptor.params(granularity, &self.observed(x, granularity)?)
        };
        let learned = Learned::new(x, &begin().map_err(wrapped(super::fake::OP))?)?;
        self.state().learned.get_or_insert(learned);
        Ok(())
    }

    /// The rounding of a training call of this many elements; the stream moves on by a word for each.
    pub(super) fn take_rounding(&self, elements: usize) -> LibraryResult<Rounding> {
        if self.0.descriptor.seed.is_none() {
            return Ok(Rounding::Nearest);
        }
        let mut state = self.state();
        let stream = state.stream;
        state.stream = stream.skip(elements as u64)?;
        Ok(stream.into())
    }

    /// The parameters and the rounding of a training call, which changes the state.
    pub(super) fn training_params(&self, x: &[f32], dims: &[usize]) -> LibraryResult<(Params, Rounding)> {
        let descriptor = &self.0.descriptor;
        let granularity = descriptor.granularity(dims)?;
        let params = descriptor.params(granularity, &self.ranges(x, granularity, true)?)?;
        Ok((params, self.take_rounding(x.len())?))
    }

    /// The range of every group.
    fn ranges(&self, x: &[f32], granularity: Granularity, train: bool) -> LibraryResult<Vec<Range>> {
        match self.0.descriptor.range {
            RangeSource::InFlight | RangeSource::Learned => self.observed(x, granularity),
            RangeSource::Given(range) => Ok(vec![range; granularity.groups(x.len())?]),
            RangeSource::Average(_) if !train => {
                self.state().ranges.clone().ok_or(Error::Empty { what: "a moving average of ranges", group: None })
            }
            RangeSource::Average(weight) => {
                let observed = self.observed(x, granularity)?;
                let mut state = self.state();
                if x.is_empty() {
                    return Ok(state.ranges.clone().unwrap_or(observed));
                }
                let ranges = state.ranges.get_or_insert_with(|| observed.clone());
                for (range, new) in ranges.iter_mut().zip(&observed) {
                    range.min += (new.min - range.min) * weight;
                    range.max += (new.max - range.max) * weight;
                }
                Ok(ranges.clone())
            }
        }
    }

    /// The range that every group has in this tensor.
    fn observed(&self, x: &[f32], granularity: Granularity) -> LibraryResult<Vec<Range>> {
        match granularity {
            _ if x.is_empty() => Ok(vec![Range::default(); granularity.groups(0)?]),
            Granularity::Tensor => Ok(vec![min_max(self.0.exec, x)?]),
            by_axis => ranges(self.0.exec, x, by_axis),
        }
    }

    /// A poisoned lock is ignored: no change of the state can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleT for Quantizer {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if self.0.descriptor.range != RangeSource::Learned {
            return x.apply_op1(FakeQuantize::new(self.clone(), train));
        }
        // A tensor without elements has no magnitude to begin with.
        if train && self.scales().is_none() && x.elem_count() > 0 {
            x.apply_op1_no_bwd(&Begin(self))?;
        }
        let scales = self.scales().ok_or_else(|| wrapped(super::fake::OP)(NOTHING_LEARNED))?;
        x.apply_op2(scales.as_tensor(), FakeQuantizeLearned::new(self.clone(), train))
    }
}
