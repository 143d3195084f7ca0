//! Views of row-major matrices, and the zero points that go with their rows or columns.

use core::ops::Range;

use crate::codes::ByteCode;
use crate::error::{Error, check_length, elements_of};
use crate::sign::Sign;

/// How the rows of a matrix lie in a slice.
#[derive(Clone, Copy, Debug)]
struct Layout {
    rows: usize,
    columns: usize,
    stride: usize,
}

impl Layout {
    /// Row after row, nothing else.
    #[inline]
    fn dense(length: usize, rows: usize, columns: usize) -> Result<Self, Error> {
        check_length("the matrix", elements_of(&[rows, columns]), length)?;
        Ok(Layout { rows, columns, stride: columns })
    }

    /// `stride` elements from a row to the next.
    #[inline]
    fn strided(length: usize, rows: usize, columns: usize, stride: usize) -> Result<Self, Error> {
        if stride < columns {
            return Err(Error::Stride { stride, columns });
        }
        let needed = rows.checked_sub(1).map_or(0, |last| last.saturating_mul(stride).saturating_add(columns));
        if length < needed {
            return Err(Error::Length { what: "the matrix", expected: needed, found: length });
        }
        Ok(Layout { rows, columns, stride })
    }

    /// Where some rows and columns begin, and how they lie: with the same stride.
    fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Result<(usize, Self), Error> {
        let check = |range: &Range<usize>, length: usize, why| match range.start <= range.end && range.end <= length {
            true => Ok(()),
            false => Err(Error::Shape { why, found: range.end.max(range.start) }),
        };
        check(&rows, self.rows, "a part has rows that the matrix has not")?;
        check(&columns, self.columns, "a part has columns that the matrix has not")?;
        let part = Layout { rows: rows.len(), columns: columns.len(), stride: self.stride };
        // Behind the last row there may be nothing, where a part without rows could begin.
        let start = if rows.is_empty() { 0 } else { rows.start * self.stride + columns.start };
        Ok((start, part))
    }

    /// The elements from the first to the last, with what lies between the rows.
    fn extent(&self) -> usize {
        self.rows.checked_sub(1).map_or(0, |last| last * self.stride + self.columns)
    }
}

/// A row-major matrix; rows may lie further apart than they are long.
#[derive(Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    layout: Layout,
}

impl<T> Clone for Matrix<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Matrix<'_, T> {}

impl<'a, T> Matrix<'a, T> {
    /// Exactly `rows · columns` elements, row after row.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Result<Self, Error> {
        Ok(Matrix { data, layout: Layout::dense(data.len(), rows, columns)? })
    }

    /// Rows that begin `stride` elements apart. Whatever lies behind the last row is ignored.
    ///
    /// # Errors
    /// [`Error::Stride`] below `columns`, [`Error::Length`] when the last row does not fit.
    pub fn with_stride(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Result<Self, Error> {
        Ok(Matrix { data, layout: Layout::strided(data.len(), rows, columns, stride)? })
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.layout.columns
    }

    /// From a row to the next, in elements.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.layout.stride
    }

    /// Some rows and columns, which lie as far apart as those of the whole.
    ///
    /// ```
    /// use zeropoint::Matrix;
    /// let x: Vec<i32> = (0..12).collect();
    /// let part = Matrix::new(&x, 3, 4)?.part(1..3, 2..4)?;
    /// assert_eq!([part.row(0), part.row(1)], [[6, 7], [10, 11]]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for rows or columns that the matrix has not.
    pub fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Result<Self, Error> {
        let (start, layout) = self.layout.part(rows, columns)?;
        Ok(Matrix { data: &self.data[start..], layout })
    }

    /// The elements `data`, which are as many, in the places of these.
    pub(crate) fn with_elements<'b, U>(&self, data: &'b [U]) -> Matrix<'b, U> {
        assert_eq!(data.len(), self.data.len());
        Matrix { data, layout: self.layout }
    }

    /// The memory from the first element to the last, with what lies between the rows.
    pub(crate) fn into_slice(self) -> &'a [T] {
        &self.data[..self.layout.extent()]
    }

    /// Everything from the beginning of a row on.
    pub(crate) fn tail_from(&self, row: usize) -> &'a [T] {
        &self.data[row * self.layout.stride..]
    }

    /// A row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [T] {
        let Layout { rows, columns, stride } = self.layout;
        assert!(row < rows, "row {row} of {rows}");
        &self.data[row * stride..][..columns]
    }
}

impl<'a, C: ByteCode> Matrix<'a, C> {
    /// The codes as bytes.
    pub(crate) fn bytes(&self) -> Matrix<'a, u8> {
        self.with_elements(bytemuck::cast_slice(self.data))
    }
}

/// A row-major matrix to be written; what lies between its rows is left alone.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    layout: Layout,
}

impl<'a, T> MatrixMut<'a, T> {
    /// Exactly `rows · columns` elements, row after row.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn new(data: &'a mut [T], rows: usize, columns: usize) -> Result<Self, Error> {
        let layout = Layout::dense(data.len(), rows, columns)?;
        Ok(MatrixMut { data, layout })
    }

    /// Rows that begin `stride` elements apart.
    ///
    /// # Errors
    /// [`Error::Stride`] below `columns`, [`Error::Length`] when the last row does not fit.
    pub fn with_stride(data: &'a mut [T], rows: usize, columns: usize, stride: usize) -> Result<Self, Error> {
        let layout = Layout::strided(data.len(), rows, columns, stride)?;
        Ok(MatrixMut { data, layout })
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.layout.columns
    }

    /// From a row to the next, in elements.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.layout.stride
    }

    /// The memory from the first element to the last, with what lies between the rows.
    pub(crate) fn into_slice(self) -> &'a mut [T] {
        let extent = self.layout.extent();
        &mut self.data[..extent]
    }

    /// Some rows and columns, as [`Matrix::part`].
    ///
    /// # Errors
    /// [`Error::Shape`] for rows or columns that the matrix has not.
    pub fn part(self, rows: Range<usize>, columns: Range<usize>) -> Result<Self, Error> {
        let (start, layout) = self.layout.part(rows, columns)?;
        Ok(MatrixMut { data: &mut self.data[start..], layout })
    }

    /// Another view of the matrix, for as long as this one is borrowed.
    pub(crate) fn reborrow(&mut self) -> MatrixMut<'_, T> {
        MatrixMut { data: self.data, layout: self.layout }
    }

    /// The first element.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.data.as_mut_ptr()
    }

    /// A row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        let Layout { rows, columns, stride } = self.layout;
        assert!(row < rows, "row {row} of {rows}");
        &mut self.data[row * stride..][..columns]
    }
}

/// The zero points of a matrix operand: one for all, or one for every row of A or column of B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ZeroPoints<'a> {
    /// One zero point for all rows or columns.
    Uniform(i32),
    /// One for every row of A, or for every column of B.
    Each(&'a [i32]),
}

impl From<i32> for ZeroPoints<'_> {
    fn from(zero_point: i32) -> Self {
        ZeroPoints::Uniform(zero_point)
    }
}

impl<'a> From<&'a [i32]> for ZeroPoints<'a> {
    fn from(zero_points: &'a [i32]) -> Self {
        ZeroPoints::Each(zero_points)
    }
}

/// The largest of some magnitudes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Largest {
    pub value: i64,
    /// The first that has it; 0 of none.
    pub index: usize,
}

impl Largest {
    /// The larger one; of equals this one.
    pub fn max(self, next: Self) -> Self {
        if next.value > self.value { next } else { self }
    }
}

impl ZeroPoints<'_> {
    /// The zero point of row or column `i`.
    ///
    /// # Panics
    /// When there is no such row or column.
    #[must_use]
    pub fn at(&self, i: usize) -> i32 {
        match self {
            ZeroPoints::Uniform(zero_point) => *zero_point,
            ZeroPoints::Each(zero_points) => zero_points[i],
        }
    }

    /// The largest `|code − zero point|` over every code of `C`, for `count` rows or columns.
    pub(crate) fn check<C: ByteCode>(&self, count: usize) -> Result<Largest, Error> {
        self.check_for(C::SIGN, count)
    }

    /// The largest `|code − zero point|` over every 8-bit code of this sign, for `count` rows or columns.
    pub(crate) fn check_for(&self, sign: Sign, count: usize) -> Result<Largest, Error> {
        let (min, max) = match sign {
            Sign::Unsigned => (0, 255),
            Sign::Signed => (-128, 127),
        };
        let largest = |(index, &zero_point): (usize, &i32)| {
            if (min..=max).contains(&zero_point) {
                Ok(Largest { value: i64::from((max - zero_point).max(zero_point - min)), index })
            } else {
                Err(Error::ZeroPoint { index, zero_point, min, max })
            }
        };
        match self {
            ZeroPoints::Uniform(zero_point) => largest((0, zero_point)),
            ZeroPoints::Each(zero_points) => {
                check_length("zero points", count, zero_points.len())?;
                zero_points
                    .iter()
                    .enumerate()
                    .map(largest)
                    .try_fold(Largest::default(), |most, each| Ok(most.max(each?)))
            }
        }
    }
}
