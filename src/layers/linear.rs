//! The linear layer: a matrix multiplication whose weights are given a row an output.

use crate::codes::Code;
use crate::error::Error;
use crate::isa::Isa;
use crate::matmul::{PackedMatrix, Stage, matmul};
use crate::matrix::{Matrix, MatrixMut, ZeroPoints};

/// `y = stage((x − zx) · (W − zw)ᵀ + bias)` for weights `[outputs, inputs]`.
///
/// ```
/// use zeropoint::{FixedPoint, Isa, Linear, Matrix, MatrixMut, Requantize};
/// let weights = [42_i8, -85, 127, -25, 76, 127]; // 2 outputs × 3 inputs, symmetric
/// let layer = Linear::<i8, i8>::new(Isa::best()?, Matrix::new(&weights, 2, 3)?, 0.into())?.with_bias(&[900, -4318])?;
/// let stage = Requantize::new(FixedPoint::new(&[0.0059055118, 0.0049212598])?, -59, -128_i8..=127)?;
/// let (x, mut y) = ([-1_i8, -128, 127], [0_i8; 2]);
/// layer.forward(Matrix::new(&x, 1, 3)?, (-43).into(), &stage, MatrixMut::new(&mut y, 1, 2)?)?;
/// assert_eq!(y, [127, -11]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct Linear<A, B> {
    weights: PackedMatrix<A, B>,
}

impl<A: Code, B: Code> Linear<A, B> {
    /// Weights `[outputs, inputs]` with one zero point, or one for every output.
    ///
    /// # Errors
    /// As [`PackedMatrix::pack_transposed`].
    pub fn new(isa: Isa, weights: Matrix<'_, B>, zero_points: ZeroPoints<'_>) -> Result<Self, Error> {
        Ok(Linear { weights: PackedMatrix::pack_transposed(isa, weights, zero_points)? })
    }

    /// Adds a bias for every output, at scale `S_x · S_w`.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn with_bias(self, bias: &[i32]) -> Result<Self, Error> {
        Ok(Linear { weights: self.weights.with_bias(bias)? })
    }

    /// The inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.weights.depth()
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.weights.columns()
    }

    /// The outputs `[batch, outputs]` for inputs `[batch, inputs]`.
    ///
    /// # Errors
    /// As [`matmul`].
    pub fn forward<S: Stage>(
        &self,
        input: Matrix<'_, A>,
        zero_points: ZeroPoints<'_>,
        stage: &S,
        out: MatrixMut<'_, S::Element>,
    ) -> Result<(), Error> {
        matmul(input, zero_points, &self.weights, stage, out)
    }
}
