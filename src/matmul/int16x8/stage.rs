//! Output stages of accumulators of i64.

use super::erased::{OperandScales, StageRef};
use crate::error::Error;
use crate::matmul::erased::largest;
use crate::matmul::stage::check_bias;

/// An output stage of a [`matmul`](super::matmul()): how accumulators of i64 become elements of the result. The table of stages is
/// in the documentation of [`int16x8`](crate::int16x8).
pub trait Stage: Sync + EraseStage {
    /// The type of the result's elements.
    type Element: Copy + Default + Send + Sync;
}

mod sealed {
    use super::{Error, OperandScales, StageRef};

    /// How a stage is handed to the engine.
    pub trait EraseStage {
        /// The stage for operands of these scales.
        fn erase<'s>(&'s self, scales: OperandScales<'s>) -> Result<StageRef<'s>, Error>;
    }
}
pub(super) use sealed::EraseStage;

/// The accumulators themselves, as i64.
#[derive(Clone, Copy, Debug)]
pub struct Accumulators;

impl Stage for Accumulators {
    type Element = i64;
}

impl EraseStage for Accumulators {
    fn erase<'s>(&'s self, _: OperandScales<'s>) -> Result<StageRef<'s>, Error> {
        Ok(StageRef::Accumulators)
    }
}

/// Float results, `acc as f32 · (S_a · S_w) + bias`, by the scales of both operands; the accumulator is rounded once to f32.
#[derive(Clone, Debug, Default)]
pub struct Dequantize {
    bias: Option<Vec<f32>>,
}

impl Dequantize {
    /// Without a bias.
    #[must_use]
    pub fn new() -> Self {
        Dequantize { bias: None }
    }

    /// With a bias for every column, in real numbers: added to the product, besides a bias that the weights may have.
    ///
    /// # Errors
    /// [`Error::NonFinite`]. A length that is not that of the columns is an error of the operation.
    pub fn with_bias(self, bias: &[f32]) -> Result<Self, Error> {
        check_bias(bias)?;
        Ok(Dequantize { bias: Some(bias.to_vec()) })
    }
}

impl Stage for Dequantize {
    type Element = f32;
}

impl EraseStage for Dequantize {
    fn erase<'s>(&'s self, scales: OperandScales<'s>) -> Result<StageRef<'s>, Error> {
        let column = largest(scales.rhs);
        if let Some(index) = scales.lhs.iter().position(|row| (row * column).is_infinite()) {
            return Err(Error::Scale { index, scale: scales.lhs[index] * column });
        }
        Ok(StageRef::Dequantize { scales, bias: self.bias.as_deref() })
    }
}
