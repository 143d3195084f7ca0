//! Vectors of codes as arguments.

use crate::codes::ByteCode;
use crate::error::Error;
use crate::matrix::{Matrix, ZeroPoints};
use crate::sign::Sign;

/// Vectors of codes, the rows of a matrix, with the zero point of all of them: 0, unless [`with_zero_point`](Codes::with_zero_point)
/// gives another one. A slice is one vector.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a, C> {
    codes: Matrix<'a, C>,
    zero_point: i32,
}

impl<'a, C: ByteCode> Codes<'a, C> {
    /// Vectors of codes that stand for `code − zero_point`.
    ///
    /// ```
    /// use zeropoint::distance::{Codes, Dot, between};
    /// use zeropoint::{Exec, Matrix};
    /// let (a, b) = (Matrix::new(&[130_u8, 127], 1, 2)?, [5_i8, 6]); // a stands for 2 and −1
    /// assert_eq!(between(Exec::best()?, Dot, Codes::with_zero_point(a, 128)?, &b)?, 2 * 5 - 6);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ZeroPoint`] when the code type does not have it.
    pub fn with_zero_point(codes: Matrix<'a, C>, zero_point: i32) -> Result<Self, Error> {
        ZeroPoints::Uniform(zero_point).check::<C>(1)?;
        Ok(Codes { codes, zero_point })
    }

    /// What does not depend on the type of the codes.
    pub(super) fn operand(&self) -> Operand<'a> {
        Operand { codes: self.codes.bytes(), encoding: Encoding { sign: C::SIGN, zero_point: self.zero_point } }
    }
}

impl<'a, C: ByteCode> From<Matrix<'a, C>> for Codes<'a, C> {
    fn from(codes: Matrix<'a, C>) -> Self {
        Codes { codes, zero_point: 0 }
    }
}

impl<'a, C: ByteCode> From<&'a [C]> for Codes<'a, C> {
    fn from(codes: &'a [C]) -> Self {
        let codes = Matrix::new(codes, 1, codes.len()).expect("a slice is a matrix of one row");
        Codes { codes, zero_point: 0 }
    }
}

impl<'a, C: ByteCode, const N: usize> From<&'a [C; N]> for Codes<'a, C> {
    fn from(codes: &'a [C; N]) -> Self {
        codes.as_slice().into()
    }
}

impl<'a, C: ByteCode> From<&'a Vec<C>> for Codes<'a, C> {
    fn from(codes: &'a Vec<C>) -> Self {
        codes.as_slice().into()
    }
}

/// Vectors of codes of any type.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    pub codes: Matrix<'a, u8>,
    pub encoding: Encoding,
}

/// The type and zero point of codes: a byte stands for `code − zero point`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    pub sign: Sign,
    pub zero_point: i32,
}
