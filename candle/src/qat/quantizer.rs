//! A descriptor with the state that training gives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{ModuleT, Result, Tensor};
use zeropoint::{Code, Error, Exec, Granularity, QuantParams, Range, Rounding, Stream, fake_quantize, min_max, ranges};

use super::descriptor::{QuantDescriptor, RangeSource};
use super::fake::FakeQuantize;
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
    stream: Stream,
}

/// The parameters of a tensor's codes.
#[derive(Clone, Debug, PartialEq)]
pub enum Params {
    /// Those of [`QuantDescriptor::symmetric`].
    Signed(QuantParams<i8>),
    /// Those of [`QuantDescriptor::asymmetric`].
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
    /// `ZEROPOINT_ISA` names an ISA that this CPU lacks.
    pub fn new(descriptor: QuantDescriptor) -> Result<Self> {
        let stream = Stream::new(descriptor.seed.unwrap_or_default());
        let state = Mutex::new(State { ranges: None, stream });
        Ok(Quantizer(Arc::new(Shared { descriptor, exec: descriptor.exec()?, state })))
    }

    /// The descriptor.
    #[must_use]
    pub fn descriptor(&self) -> &QuantDescriptor {
        &self.0.descriptor
    }

    /// The parameters that evaluation takes for a tensor: of a moving average or a given range whatever the tensor, else its own.
    ///
    /// # Errors
    /// A moving average of nothing; NaN or infinity in the tensor; an axis that it does not have.
    pub fn params(&self, x: &Tensor) -> Result<Params> {
        self.evaluation_params(&floats(x)?, x.dims()).map_err(wrapped(super::fake::OP))
    }

    pub(super) fn exec(&self) -> Exec<'static> {
        self.0.exec
    }

    pub(super) fn evaluation_params(&self, x: &[f32], dims: &[usize]) -> LibraryResult<Params> {
        let descriptor = &self.0.descriptor;
        let granularity = descriptor.granularity(dims)?;
        descriptor.params(granularity, &self.ranges(x, granularity, false)?)
    }

    /// The parameters and the rounding of a training call, which changes the state.
    pub(super) fn training_params(&self, x: &[f32], dims: &[usize]) -> LibraryResult<(Params, Rounding)> {
        let descriptor = &self.0.descriptor;
        let granularity = descriptor.granularity(dims)?;
        let params = descriptor.params(granularity, &self.ranges(x, granularity, true)?)?;
        if descriptor.seed.is_none() {
            return Ok((params, Rounding::Nearest));
        }
        let mut state = self.state();
        let stream = state.stream;
        state.stream = stream.skip(x.len() as u64)?;
        Ok((params, stream.into()))
    }

    /// The range of every group.
    fn ranges(&self, x: &[f32], granularity: Granularity, train: bool) -> LibraryResult<Vec<Range>> {
        let observed = || match granularity {
            _ if x.is_empty() => Ok(vec![Range::default(); granularity.groups(0)?]),
            Granularity::Tensor => Ok(vec![min_max(self.0.exec, x)?]),
            by_axis => ranges(self.0.exec, x, by_axis),
        };
        match self.0.descriptor.range {
            RangeSource::InFlight => observed(),
            RangeSource::Given(range) => Ok(vec![range; granularity.groups(x.len())?]),
            RangeSource::Average(_) if !train => {
                self.state().ranges.clone().ok_or(Error::Empty { what: "a moving average of ranges", group: None })
            }
            RangeSource::Average(weight) => {
                let observed = observed()?;
                let mut state = self.state();
                if x.is_empty() && state.ranges.is_some() {
                    return Ok(state.ranges.clone().unwrap_or_default());
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

    /// The state is whole after every change, so that a panic elsewhere cannot have left half of one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleT for Quantizer {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        x.apply_op1(FakeQuantize::new(self.clone(), train))
    }
}
