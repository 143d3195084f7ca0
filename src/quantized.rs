//! Codes and what they mean: a matrix with the parameters that it was quantized with, as one value.

use core::ops::Range;

use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::matrix::{Matrix, ZeroPoints};
use crate::params::{Granularity, QuantParams};

/// A matrix of codes with their scales and zero points, so that the two cannot be mixed up.
///
/// ```
/// use zeropoint::{CodeRange, Granularity, Matrix, QuantParams, Quantized};
/// let codes = [130_u8, 126, 128, 255];
/// let per_row = Granularity::channel(&[2, 2], 0)?;
/// let params = QuantParams::new(CodeRange::unsigned(8)?, per_row, vec![0.5, 0.25], vec![128, 0])?;
/// let x = Quantized::new(Matrix::new(&codes, 2, 2)?, &params)?;
/// assert_eq!(x.codes().row(0), [130, 126]); // 1.0 and −1.0
/// assert!(Quantized::new(Matrix::new(&codes, 4, 1)?, &params).is_err());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Quantized<'a, C> {
    codes: Matrix<'a, C>,
    params: &'a QuantParams<C>,
}

/// Zero points and scales, one each, or one for every row or column.
pub(crate) type PerLine<'a> = (ZeroPoints<'a>, &'a [f32]);

/// The zero points and scales of some rows or columns, given those of all.
pub(crate) fn part_of((zero_points, scales): PerLine<'_>, lines: Range<usize>) -> PerLine<'_> {
    match zero_points {
        ZeroPoints::Uniform(_) => (zero_points, scales),
        ZeroPoints::Each(each) => (each[lines.clone()].into(), &scales[lines]),
    }
}

impl<'a, C: Code> Quantized<'a, C> {
    /// Codes with their parameters: per tensor, per row, per column, or per group along a row or along a column.
    ///
    /// # Errors
    /// [`Error::Shape`] when the parameters are of another granularity; [`Error::Length`] when they have another number of
    /// groups.
    #[inline]
    pub fn new(codes: Matrix<'a, C>, params: &'a QuantParams<C>) -> Result<Self, Error> {
        // (Those per tensor go with any matrix. This much is inlined, and only a copy is checked through a reference, so that the
        // result stays in registers.)
        if !matches!(params.granularity(), Granularity::Tensor) {
            Quantized { codes, params }.check()?;
        }
        Ok(Quantized { codes, params })
    }

    /// `Ok` when the parameters are those of rows, columns or groups of the matrix.
    fn check(&self) -> Result<(), Error> {
        if self.by_row().is_err() && self.by_column().is_err() {
            self.column_group_length().or_else(|_| self.group_length())?;
        }
        Ok(())
    }

    /// The codes.
    #[must_use]
    pub fn codes(&self) -> Matrix<'a, C> {
        self.codes
    }

    /// Their parameters.
    #[must_use]
    pub fn params(&self) -> &'a QuantParams<C> {
        self.params
    }

    /// Zero points and scales of a matrix that is quantized per tensor or per row.
    #[inline]
    pub(crate) fn by_row(&self) -> Result<PerLine<'a>, Error> {
        if let Granularity::Tensor = self.params.granularity() { Ok(self.one()) } else { self.by_rows() }
    }

    /// Zero points and scales of a matrix that is quantized per row.
    fn by_rows(&self) -> Result<PerLine<'a>, Error> {
        let (rows, columns) = (self.codes.rows(), self.codes.columns());
        let by_row = match self.params.granularity() {
            Granularity::Channel { channels, inner } => channels == rows && inner == columns,
            Granularity::Block { length, axis, inner: 1 } => {
                axis == columns && length >= axis && self.params.scales().len() == rows
            }
            Granularity::Tensor | Granularity::Block { .. } => false,
        };
        let why = "the parameters are neither per tensor nor per row";
        if by_row { Ok(self.each()) } else { Err(Error::Shape { why, found: self.params.scales().len() }) }
    }

    /// Zero points and scales of a matrix that is quantized per tensor or per column.
    pub(crate) fn by_column(&self) -> Result<PerLine<'a>, Error> {
        let columns = self.codes.columns();
        match self.params.granularity() {
            Granularity::Tensor => Ok(self.one()),
            Granularity::Channel { channels, inner: 1 } if channels == columns => Ok(self.each()),
            _ => {
                let why = "the parameters are neither per tensor nor per column";
                Err(Error::Shape { why, found: self.params.scales().len() })
            }
        }
    }

    /// The length of the groups along a row, the last of which may be shorter.
    pub(crate) fn group_length(&self) -> Result<usize, Error> {
        let (rows, columns) = (self.codes.rows(), self.codes.columns());
        match self.params.granularity() {
            Granularity::Block { length, axis, inner: 1 } if axis == columns => {
                check_length("scales", rows.saturating_mul(axis.div_ceil(length)), self.params.scales().len())?;
                Ok(length)
            }
            _ => self.of_another_shape(),
        }
    }

    /// The length of the groups along a column, the last of which may be shorter.
    pub(crate) fn column_group_length(&self) -> Result<usize, Error> {
        let (rows, columns) = (self.codes.rows(), self.codes.columns());
        match self.params.granularity() {
            Granularity::Block { length, axis, inner } if [axis, inner] == [rows, columns] => {
                check_length("scales", axis.div_ceil(length).saturating_mul(inner), self.params.scales().len())?;
                Ok(length)
            }
            _ => self.of_another_shape(),
        }
    }

    fn of_another_shape(&self) -> Result<usize, Error> {
        let why = "the parameters are not those of a matrix of this shape";
        Err(Error::Shape { why, found: self.params.scales().len() })
    }

    #[inline]
    fn one(&self) -> PerLine<'a> {
        (self.params.zero_points()[0].into(), self.params.scales())
    }

    #[inline]
    fn each(&self) -> PerLine<'a> {
        (self.params.zero_points().into(), self.params.scales())
    }
}

impl<C: Code> QuantParams<C> {
    /// These scales and zero points for a tensor of another shape with as many groups: of images after a pooling, for
    /// example.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Granularity, QuantParams};
    /// let per_image = |elements| Granularity::channel(&[2, elements], 0);
    /// let params = QuantParams::new(CodeRange::unsigned(8)?, per_image(784)?, vec![0.5, 0.25], vec![3, 4])?;
    /// let pooled = params.with_granularity(per_image(196)?)?;
    /// assert_eq!((pooled.scales(), pooled.zero_points()), (&[0.5, 0.25][..], &[3, 4][..]));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] when the granularity has another number of groups.
    pub fn with_granularity(&self, granularity: Granularity) -> Result<Self, Error> {
        QuantParams::new(self.codes(), granularity, self.scales().to_vec(), self.zero_points().to_vec())
    }

    /// The scale and the zero point of parameters per tensor.
    pub(crate) fn one_group(&self) -> Result<(f32, i32), Error> {
        match self.granularity() {
            Granularity::Tensor => Ok((self.scales()[0], self.zero_points()[0])),
            _ => {
                let why = "the parameters are not per tensor";
                Err(Error::Shape { why, found: self.scales().len() })
            }
        }
    }
}
