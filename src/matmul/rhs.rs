//! The right operand (RHS) of a multiplication as the engine sees it: it knows the signs of the codes, not their types.

use super::pack::Panels;
use super::shape::{Shape, check_accumulator};
use super::unpacked::Unpacked;
use super::weights::WeightScales;
use crate::error::Error;
use crate::isa::Isa;
use crate::matrix::Largest;

/// The right operand of a [`matmul`](crate::matmul()) by activations of type `A`: a
/// [`PackedMatrix`](crate::PackedMatrix) or an [`UnpackedMatrix`](crate::UnpackedMatrix).
pub trait Rhs<A>: Sync + EraseRhs {}

mod sealed {
    /// How a right operand is handed to the engine.
    pub trait EraseRhs {
        fn erase(&self) -> super::RhsRef<'_>;
    }
}
pub(crate) use sealed::EraseRhs;

/// A right operand of either type, for left operands of either type.
#[derive(Clone, Copy)]
pub struct RhsRef<'a> {
    pub codes: RhsCodes<'a>,
    pub scales: &'a WeightScales,
    /// The largest `|b − zb|`.
    pub largest: Largest,
    /// The largest `|bias|`.
    pub largest_bias: Largest,
}

/// The codes of a right operand.
#[derive(Clone, Copy)]
pub enum RhsCodes<'a> {
    /// In panels.
    Packed(&'a Panels),
    /// Where they are: panels are made when they are needed.
    Unpacked(&'a Unpacked<'a>),
}

impl<'a> RhsRef<'a> {
    /// Its shape, and how it is divided.
    #[inline]
    pub fn shape(&self) -> &'a Shape {
        match self.codes {
            RhsCodes::Packed(panels) => &panels.shape,
            RhsCodes::Unpacked(b) => b.shape(),
        }
    }

    /// `Ok` when no accumulator can leave i32, whatever the codes, for this largest `|a − za|`. The columns are those of the
    /// result from `first_column` on.
    pub fn check_depth(&self, largest_a: Largest, first_column: usize) -> Result<(), Error> {
        check_accumulator(self.shape().depth, first_column, [largest_a, self.largest], self.largest_bias)
    }

    /// The factor of the LHS row sums: 0 when they are not needed.
    #[inline]
    pub fn row_sum_factor(&self) -> i32 {
        match self.codes {
            RhsCodes::Packed(panels) => panels.row_sum_factor(),
            RhsCodes::Unpacked(b) => b.row_sum_factor(),
        }
    }
}

/// `Ok` when the ISA of a call is the one that its weights are packed for.
pub(crate) fn check_isa(packed: Isa, exec: Isa) -> Result<(), Error> {
    if packed == exec { Ok(()) } else { Err(Error::PackedIsa { packed: packed.name(), exec: exec.name() }) }
}
