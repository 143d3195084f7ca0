//! The linear layer: a matrix multiplication whose weights are given a row an output.

use crate::codes::ByteCode;
use crate::error::Error;
use crate::exec::Exec;
use crate::matmul::packed::PackedMatrix;
use crate::matmul::product::matmul;
use crate::matmul::stage::Stage;
use crate::matmul::weights::{Sealed, Weights};
use crate::matrix::MatrixMut;
use crate::params::QuantParams;
use crate::quantized::Quantized;

/// `y = stage((x − zx) · (W − zw)ᵀ + bias)` for weights `[outputs, inputs]`. A batch of no rows has an empty result; everything
/// else about it is checked as usual. Without inputs, the sums are the bias.
///
/// ```
/// use zeropoint::layers::Linear;
/// use zeropoint::{CodeRange, Exec, Granularity, Matrix, MatrixMut, QuantParams, Quantized, Requantize, Rule};
/// let exec = Exec::best()?;
/// let codes = [42_i8, -85, 127, -25, 76, 127]; // 2 outputs × 3 inputs, symmetric
/// let per_output = Granularity::channel(&[2, 3], 0)?;
/// let weights = QuantParams::new(CodeRange::narrow(8)?, per_output, vec![0.0236, 0.0197], vec![0, 0])?;
/// let (x_params, y_params) = (
///     QuantParams::per_tensor(CodeRange::signed(8)?, 0.0125, -43)?,
///     QuantParams::per_tensor(CodeRange::signed(8)?, 0.05, -59)?,
/// );
/// let layer = Linear::new(exec, Quantized::new(Matrix::new(&codes, 2, 3)?, &weights)?)?;
/// let layer = layer.with_bias(&[0.27, -1.06], &x_params)?;
/// let stage = Requantize::new(&layer, &x_params, &y_params, Rule::FixedPoint)?;
/// let (x, mut y) = ([-1_i8, -128, 127], [0_i8; 2]);
/// layer.forward(exec, Quantized::new(Matrix::new(&x, 1, 3)?, &x_params)?, &stage, MatrixMut::new(&mut y, 1, 2)?)?;
/// assert_eq!(y, [127, -11]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Linear<A, B> {
    weights: PackedMatrix<A, B>,
}

impl<A: ByteCode, B: ByteCode> Linear<A, B> {
    /// Weights `[outputs, inputs]`, with parameters per tensor or per output.
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity.
    pub fn new<'e>(exec: impl Into<Exec<'e>>, weights: Quantized<'_, B>) -> Result<Self, Error> {
        Ok(Linear { weights: PackedMatrix::pack(exec, weights)? })
    }

    /// With a bias for every output, as [`PackedMatrix::with_bias`]: for activations of the scale of `x`.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`] when `x` is not per tensor; [`Error::NonFinite`]; [`Error::Bias`] for a bias that no
    /// i32 reaches.
    pub fn with_bias(self, bias: &[f32], x: &QuantParams<A>) -> Result<Self, Error> {
        Ok(Linear { weights: self.weights.with_bias(bias, x)? })
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

    /// The packed weights.
    #[must_use]
    pub fn weights(&self) -> &PackedMatrix<A, B> {
        &self.weights
    }

    /// The packed weights, without the layer.
    #[must_use]
    pub fn into_weights(self) -> PackedMatrix<A, B> {
        self.weights
    }

    /// The outputs `[batch, outputs]` for inputs `[batch, inputs]`.
    ///
    /// # Errors
    /// Every error of [`matmul`](crate::matmul()).
    pub fn forward<'e, S: Stage>(
        &self,
        exec: impl Into<Exec<'e>>,
        x: Quantized<'_, A>,
        stage: &S,
        out: MatrixMut<'_, S::Element>,
    ) -> Result<(), Error> {
        matmul(exec, x, &self.weights, stage, out)
    }
}

/// A layer of weights that are packed already, for example by [`raw`](crate::raw).
impl<A, B> From<PackedMatrix<A, B>> for Linear<A, B> {
    fn from(weights: PackedMatrix<A, B>) -> Self {
        Linear { weights }
    }
}

impl<A, B> Sealed for Linear<A, B> {}

impl<A: ByteCode, B: ByteCode> Weights<A> for Linear<A, B> {
    fn scales(&self) -> &[f32] {
        self.weights.scales()
    }
}
