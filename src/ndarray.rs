//! Arrays of the crate `ndarray` as arguments, without copies. Needs the feature `ndarray`.
//!
//! An operation that takes a slice gets one from [`slice()`] or [`slice_mut`], an array of any number of axes; one that takes a
//! [`Matrix`] or a [`MatrixMut`], from `TryFrom` of a view with two. Elements have to lie together in the order of the axes
//! (C order): other layouts are [`Error::Shape`], and `as_standard_layout` copies where it must.
//!
//! ```
//! use ndarray::{Array1, Array2, Array3, array};
//! use zeropoint::ndarray::{slice, slice_mut};
//! use zeropoint::{CodeRange, Exec, Granularity, Matrix, QuantParams, Rounding, Scheme, dequantize, quantize};
//! let exec = Exec::best()?;
//! let x = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (i + j) as f32 - k as f32);
//! let channels = Granularity::channel(x.shape(), 1)?;
//! let params = QuantParams::fit(exec, slice(&x)?, CodeRange::signed(8)?, Scheme::SYMMETRIC, channels)?;
//! let mut codes = Array3::<i8>::zeros(x.raw_dim());
//! quantize(exec, slice(&x)?, &params, Rounding::Nearest, slice_mut(&mut codes)?)?;
//!
//! // Columns 1 to 3 of a matrix: the part keeps the row stride of the whole.
//! let whole = array![[1_i8, 2, 3, 4], [5, 6, 7, 8]];
//! let part = Matrix::try_from(whole.view())?.part(0..2, 1..3)?;
//! assert_eq!((part.row(1), part.stride()), (&[6, 7][..], 4));
//! let mut reals = Array2::<f32>::zeros((2, 2));
//! dequantize(exec, part, &QuantParams::per_tensor(CodeRange::signed(8)?, 0.5, 0)?, slice_mut(&mut reals)?)?;
//! assert_eq!(reals, array![[1.0, 1.5], [3.0, 3.5]]);
//!
//! // Its transpose is in another order.
//! assert!(Matrix::try_from(whole.t()).is_err() && slice(&whole.column(0)).is_err());
//! # let _: Array1<f32> = Array1::zeros(0);
//! # Ok::<(), zeropoint::Error>(())
//! ```
//!
//! # Why views with gaps are refused
//!
//! Between the rows of `array.slice(s![.., 1..3])` lie elements that may belong to somebody else: `split_at` and
//! `multi_slice_mut` hand out both sides of a row, each with the right to write. A [`Matrix`] borrows what lies between its rows,
//! and kernels may read it. So a part is taken of the matrix, with [`Matrix::part`], whose borrow covers the gaps; not the matrix
//! of a part.

use ::ndarray::{ArrayBase, ArrayView2, ArrayViewMut2, Data, DataMut, Dimension};

use crate::error::Error;
use crate::matrix::{Matrix, MatrixMut};

/// The elements of an array, in the order of its axes.
///
/// # Errors
/// [`Error::Shape`] for an array whose elements do not lie together in this order.
pub fn slice<S: Data, D: Dimension>(array: &ArrayBase<S, D>) -> Result<&[S::Elem], Error> {
    array.as_slice().ok_or_else(|| layout(array.len()))
}

/// The elements of an array, in the order of its axes, to be written.
///
/// # Errors
/// [`Error::Shape`] for an array whose elements do not lie together in this order.
pub fn slice_mut<S: DataMut, D: Dimension>(array: &mut ArrayBase<S, D>) -> Result<&mut [S::Elem], Error> {
    let length = array.len();
    array.as_slice_mut().ok_or_else(|| layout(length))
}

fn layout(found: usize) -> Error {
    Error::Shape { why: "the elements of an array do not lie together in the order of its axes", found }
}

/// A matrix of the rows and columns of a view.
///
/// # Errors
/// [`Error::Shape`] for a view whose elements do not lie together, row after row: [`Matrix::part`] takes a part of a matrix.
impl<'a, T> TryFrom<ArrayView2<'a, T>> for Matrix<'a, T> {
    type Error = Error;

    fn try_from(view: ArrayView2<'a, T>) -> Result<Self, Error> {
        let (rows, columns) = view.dim();
        Matrix::new(view.to_slice().ok_or_else(|| layout(view.len()))?, rows, columns)
    }
}

/// A matrix to be written, of the rows and columns of a view.
///
/// # Errors
/// [`Error::Shape`] for a view whose elements do not lie together, row after row: [`MatrixMut::part`] takes a part of a matrix.
impl<'a, T> TryFrom<ArrayViewMut2<'a, T>> for MatrixMut<'a, T> {
    type Error = Error;

    fn try_from(view: ArrayViewMut2<'a, T>) -> Result<Self, Error> {
        let ((rows, columns), length) = (view.dim(), view.len());
        MatrixMut::new(view.into_slice().ok_or_else(|| layout(length))?, rows, columns)
    }
}
