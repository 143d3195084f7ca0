//! How a stage is handed to the engine: its values, and the kernel whose epilogue has stages of its kind only.

use super::erased::StageRef;
use super::multiply::MultiplyFn;
use super::per_column::PerColumn;
use super::weights::WeightScales;
use crate::error::Error;

mod sealed {
    use super::{ErasedStage, Error, OperandScales};

    /// How a stage is handed to the engine.
    pub trait EraseStage {
        /// The stage for operands of these scales.
        fn erase<'s>(&'s self, scales: OperandScales<'s>) -> Result<ErasedStage<'s>, Error>;
    }
}
pub use sealed::EraseStage;

/// The scales of both operands; none where only zero points are known.
#[derive(Clone, Copy)]
pub struct OperandScales<'a> {
    /// One, or one for every row of the LHS.
    pub lhs: &'a [f32],
    /// One, or one for every column of the RHS.
    pub rhs: Option<&'a PerColumn<f32>>,
}

impl<'a> OperandScales<'a> {
    /// The scales of both operands, if the bias of the weights is for such activations.
    pub fn new(lhs: &'a [f32], rhs: &'a WeightScales) -> Result<Self, Error> {
        rhs.check_bias(lhs)?;
        Ok(OperandScales { lhs, rhs: rhs.per_output() })
    }
}

/// A stage without the type of its elements.
#[derive(Clone, Copy)]
pub struct ErasedStage<'a> {
    pub values: StageRef<'a>,
    /// The kernel for its kind: through this pointer, so that a program has only the kernels of stages that it names.
    pub(crate) multiply: MultiplyFn,
}
