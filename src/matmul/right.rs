//! The right operand of a multiplication: packed once for many, or as it lies.

use super::pack::{Panels, Shape};
use super::unpacked::PackPart;
use crate::error::Error;

/// The right operand of a [`matmul`](crate::matmul()) by activations of type `A`: a
/// [`PackedMatrix`](crate::PackedMatrix) or an [`UnpackedMatrix`](crate::UnpackedMatrix).
pub trait RightOperand<A>: Sync + sealed::Sealed {
    #[doc(hidden)]
    fn shape(&self) -> &Shape;
    /// `Ok` when no accumulator can leave i32, whatever the codes, for this largest `|a − za|`.
    #[doc(hidden)]
    fn check_depth(&self, largest_a: i64) -> Result<(), Error>;
    /// What the sums of A's rows are multiplied by when they are made: 0 when they are not needed.
    #[doc(hidden)]
    fn row_sum_factor(&self) -> i32;
    #[doc(hidden)]
    fn right(&self) -> Right<'_>;
}

mod sealed {
    pub trait Sealed {}
    impl<A, B> Sealed for crate::PackedMatrix<A, B> {}
    impl<A, B> Sealed for crate::UnpackedMatrix<'_, A, B> {}
}

/// The panels of a right operand.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// They are there.
    Packed(&'a Panels),
    /// They are made when they are needed.
    Unpacked(&'a dyn PackPart),
}
