//! Output stages as the engine sees them: without the types of their elements.

use core::ops::RangeInclusive;

use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::matmul::requantize::codes::check_bounds;

/// The scales of both operands.
#[derive(Clone, Copy)]
pub struct OperandScales<'a> {
    /// One, or one for every row.
    pub lhs: &'a [f32],
    /// One, or one for every column.
    pub rhs: &'a [f32],
}

/// A stage as the engine sees it. Values of columns are one for all, or one for every column.
#[derive(Clone, Copy)]
pub enum StageRef<'a> {
    Accumulators,
    Dequantize { scales: OperandScales<'a>, bias: Option<&'a [f32]> },
    Float { multipliers: &'a [f32], codes: ResultCodes },
    HalfAway { multipliers: &'a [f64], codes: ResultCodes },
    Reduced { multipliers: &'a [ReducedMultiplier], codes: ResultCodes },
}

impl StageRef<'_> {
    /// `Ok` when the stage has values for a result of this shape.
    pub fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        let one_or = |what, count, length| if length == 1 { Ok(()) } else { check_length(what, count, length) };
        match self {
            StageRef::Accumulators => Ok(()),
            StageRef::Dequantize { scales, bias } => {
                one_or("activation scales", rows, scales.lhs.len())?;
                bias.map_or(Ok(()), |bias| check_length("the bias", columns, bias.len()))
            }
            StageRef::Float { multipliers, .. } => one_or("multipliers", columns, multipliers.len()),
            StageRef::HalfAway { multipliers, .. } => one_or("multipliers", columns, multipliers.len()),
            StageRef::Reduced { multipliers, .. } => one_or("multipliers", columns, multipliers.len()),
        }
    }
}

/// A multiplier of [`Rule::Reduced`](super::requantize::Rule).
#[derive(Clone, Copy, Debug)]
pub struct ReducedMultiplier {
    pub multiplier: i64,
    /// 8 … 46.
    pub shift: i64,
}

/// The codes of a result: their zero point, the activation bounds and their bytes.
#[derive(Clone, Copy, Debug)]
pub struct ResultCodes {
    pub zero_point: i32,
    pub min: i32,
    pub max: i32,
    /// Bytes of a code, 1 or 2.
    pub size: usize,
}

impl ResultCodes {
    pub fn new<C: Code>(zero_point: i32, bounds: &RangeInclusive<C>) -> Result<Self, Error> {
        let [min, max] = check_bounds(zero_point, bounds)?;
        Ok(ResultCodes { zero_point, min, max, size: size_of::<C>() })
    }
}
