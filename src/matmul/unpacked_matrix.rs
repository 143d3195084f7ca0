//! A right operand that is multiplied only once.

use core::marker::PhantomData;

use super::rhs::{EraseRhs, Rhs, RhsCodes, RhsRef};
use super::unpacked::{Order, Unpacked};
use super::weights::{Sealed, WeightScales, Weights};
use crate::codes::ByteCode;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matrix::{Largest, Matrix, ZeroPoints};
use crate::quantized::Quantized;

/// The right operand of a [`matmul`](crate::matmul()) where it is in memory, `[K, N]` or `[N, K]`: for a matrix that is multiplied
/// only once. For weights, which are multiplied again and again, a [`PackedMatrix`](crate::PackedMatrix) is faster.
///
/// ```
/// use zeropoint::{Accumulators, CodeRange, Exec, Matrix, MatrixMut, QuantParams, Quantized, UnpackedMatrix, matmul};
/// let exec = Exec::best()?;
/// let (a, b) = ([1_u8, 2, 3, 4], [5_i8, 6, 7, 8]);
/// let a_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 0)?;
/// let b_params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.25, 0)?;
/// let b = UnpackedMatrix::new(exec, Quantized::new(Matrix::new(&b, 2, 2)?, &b_params)?)?;
/// let mut c = [0; 4];
/// let a = Quantized::new(Matrix::new(&a, 2, 2)?, &a_params)?;
/// matmul(exec, a, &b, &Accumulators, MatrixMut::new(&mut c, 2, 2)?)?;
/// assert_eq!(c, [19, 22, 43, 50]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct UnpackedMatrix<'a, A, B> {
    b: Unpacked<'a>,
    scales: WeightScales,
    /// The largest `|b − zb|`.
    largest: Largest,
    operands: PhantomData<fn(A) -> B>,
}

impl<'a, A: ByteCode, B: ByteCode> UnpackedMatrix<'a, A, B> {
    /// A matrix `[K, N]` with parameters per tensor or per column.
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity.
    pub fn new<'e>(exec: impl Into<Exec<'e>>, b: Quantized<'a, B>) -> Result<Self, Error> {
        let (zero_points, scales) = b.by_column()?;
        Self::in_order(exec.into().isa(), b.codes(), Order::Rows, zero_points, Some(scales))
    }

    /// A matrix `[N, K]`, a row for every column of the result, with parameters per tensor or per row: such as the keys of
    /// attention, whose product with the queries is `q · kᵀ`. It is packed a panel at a time inside the call, which pays from some
    /// eight rows of activations on. For fewer, the feature `distance` has dot products of rows as they lie.
    ///
    /// ```
    /// use zeropoint::{Accumulators, CodeRange, Exec, Matrix, MatrixMut, QuantParams, Quantized, UnpackedMatrix, matmul};
    /// let exec = Exec::best()?;
    /// let params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.5, 0)?;
    /// let (queries, keys) = ([1_i8, 2], [3_i8, 4, 5, 6, 7, 8]); // a query, three keys
    /// let keys = UnpackedMatrix::transposed(exec, Quantized::new(Matrix::new(&keys, 3, 2)?, &params)?)?;
    /// let mut scores = [0; 3];
    /// let queries = Quantized::new(Matrix::new(&queries, 1, 2)?, &params)?;
    /// matmul(exec, queries, &keys, &Accumulators, MatrixMut::new(&mut scores, 1, 3)?)?;
    /// assert_eq!(scores, [11, 17, 23]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity.
    pub fn transposed<'e>(exec: impl Into<Exec<'e>>, b: Quantized<'a, B>) -> Result<Self, Error> {
        let (zero_points, scales) = b.by_row()?;
        Self::in_order(exec.into().isa(), b.codes(), Order::Columns, zero_points, Some(scales))
    }

    /// A matrix whose scales may not be known.
    pub(crate) fn in_order(
        isa: Isa,
        b: Matrix<'a, B>,
        order: Order,
        zero_points: ZeroPoints<'a>,
        scales: Option<&[f32]>,
    ) -> Result<Self, Error> {
        let b = Unpacked::new(isa, [A::SIGN, B::SIGN], b.bytes(), order, zero_points);
        let largest = zero_points.check_for(B::SIGN, b.shape().columns)?;
        let scales = scales.map_or_else(WeightScales::default, WeightScales::new);
        Ok(UnpackedMatrix { b, scales, largest, operands: PhantomData })
    }

    /// Adds `bias[j]` to every accumulator of column j.
    pub(crate) fn set_bias(&mut self, bias: &'a [i32]) -> Result<(), Error> {
        check_length("the bias", self.b.shape().columns, bias.len())?;
        self.b.set_bias(bias);
        Ok(())
    }
}

impl<A: ByteCode, B: ByteCode> Rhs<A> for UnpackedMatrix<'_, A, B> {}

impl<A: ByteCode, B: ByteCode> EraseRhs for UnpackedMatrix<'_, A, B> {
    fn erase(&self) -> RhsRef<'_> {
        RhsRef {
            codes: RhsCodes::Unpacked(&self.b),
            scales: &self.scales,
            largest: self.largest,
            largest_bias: self.b.largest_bias(),
        }
    }
}

impl<A, B> Sealed for UnpackedMatrix<'_, A, B> {}

impl<A: ByteCode, B: ByteCode> Weights<A> for UnpackedMatrix<'_, A, B> {
    fn scales(&self) -> &[f32] {
        self.scales.values()
    }
}
