//! The public functions, which hand the types of codes on as values.

use super::codes::Codes;
use super::metric::Metric;
use super::search::Neighbor;
use crate::codes::ByteCode;
use crate::error::Error;
use crate::exec::Exec;
use crate::matrix::MatrixMut;

/// The distance of two vectors, on the calling thread.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::distance::{SquaredEuclidean, between};
/// assert_eq!(between(Exec::best()?, SquaredEuclidean, &[250_u8, 3], &[-2_i8, 3])?, 252 * 252);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] when they are not two vectors of one length; [`Error::Depth`] when a sum could leave i32.
pub fn between<'a, 'b, 'e, M: Metric, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    metric: M,
    a: impl Into<Codes<'a, A>>,
    b: impl Into<Codes<'b, B>>,
) -> Result<M::Value, Error> {
    metric.between(exec.into(), &a.into().operand(), &b.into().operand())
}

/// The distance of every query `[M, K]` to every row `[N, K]`, into `[M, N]`.
///
/// ```
/// use zeropoint::distance::{Dot, pairwise};
/// use zeropoint::{Exec, Matrix, MatrixMut};
/// let (query, rows) = ([1_i8, 2], [3_u8, 4, 5, 6, 7, 8]);
/// let mut out = [0; 3];
/// pairwise(Exec::best()?, Dot, &query, Matrix::new(&rows, 3, 2)?, MatrixMut::new(&mut out, 1, 3)?)?;
/// assert_eq!(out, [11, 17, 23]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] when the lengths or the shape of `out` do not go together; [`Error::Depth`] when a sum could leave i32.
pub fn pairwise<'a, 'b, 'e, M: Metric, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    metric: M,
    queries: impl Into<Codes<'a, A>>,
    rows: impl Into<Codes<'b, B>>,
    out: MatrixMut<'_, M::Value>,
) -> Result<(), Error> {
    metric.pairwise(exec.into(), queries.into().operand(), rows.into().operand(), out)
}

/// The `k` nearest rows of every query, nearest first; all rows where there are fewer. Of equally near ones, the first.
///
/// The neighbours of query i are `[i * n..][..n]`, n the smaller one of `k` and the number of rows. Every distance is computed: what
/// is found is exact. Besides the result, memory for k rows a query is allocated.
///
/// ```
/// use zeropoint::distance::{Cosine, nearest};
/// use zeropoint::{Exec, Matrix};
/// let rows = [1_i8, 0, 0, 1, -3, -3, 2, 2];
/// let found = nearest(Exec::best()?, Cosine, Matrix::new(&[5_i8, 5, 0, -1], 2, 2)?, Matrix::new(&rows, 4, 2)?, 1)?;
/// assert_eq!((found[0].row, found[0].value), (3, 1.0)); // of 5, 5
/// assert_eq!((found[1].row, found[1].value), (2, 0.70710678)); // of 0, −1
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] when queries and rows are not as long; [`Error::Depth`] when a sum could leave i32.
pub fn nearest<'a, 'b, 'e, M: Metric, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    metric: M,
    queries: impl Into<Codes<'a, A>>,
    rows: impl Into<Codes<'b, B>>,
    k: usize,
) -> Result<Vec<Neighbor<M::Value>>, Error> {
    metric.nearest(exec.into(), queries.into().operand(), rows.into().operand(), k)
}
