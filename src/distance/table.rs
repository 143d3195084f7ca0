//! Distances of two vectors, and of every query to every row.

use super::codes::{Codes, Operand};
use super::kernel::Query;
use super::metric::{Measure, Metric};
use super::pairs::{Pairs, check_vectors};
use crate::codes::ByteCode;
use crate::error::{Error, check_length};
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

/// [`between`] for a metric.
pub fn value_between<M: Measure>(exec: Exec<'_>, a: &Operand<'_>, b: &Operand<'_>) -> Result<M::Value, Error> {
    check_length("vectors of a", 1, a.codes.rows())?;
    check_length("vectors of b", 1, b.codes.rows())?;
    // (Fields one by one: copies of a whole operand would wait until its fields are stored.)
    let encodings = [a.encoding, b.encoding];
    check_vectors::<M>(encodings, a.codes.columns(), b.codes.columns())?;
    let query = Query { codes: a.codes.row(0), encodings, summed: M::SUMMED };
    Ok(M::value(exec.isa().pair_sums(&query, b.codes.row(0))))
}

/// [`pairwise`] for a metric.
pub fn fill<M: Measure>(
    exec: Exec<'_>,
    queries: Operand<'_>,
    rows: Operand<'_>,
    mut out: MatrixMut<'_, M::Value>,
) -> Result<(), Error> {
    let pairs = Pairs::new::<M>(exec.isa(), queries, rows)?;
    let (count, length) = (queries.codes.rows(), rows.codes.rows());
    check_length("rows of the result", count, out.rows())?;
    check_length("columns of the result", length, out.columns())?;
    if count == 0 || length == 0 {
        return Ok(());
    }
    let (team, squares, block) = (pairs.team(exec), pairs.squares::<M>(), pairs.block());
    let run = |query: usize, first: usize, out: &mut [M::Value]| {
        pairs.values::<M>(query, &squares, first..first + out.len(), |i, value| out[i] = value);
    };
    // Block by block, each for all queries.
    if team.alone() {
        for first in (0..length).step_by(block) {
            for query in 0..count {
                run(query, first, &mut out.row_mut(query)[first..(first + block).min(length)]);
            }
        }
        return Ok(());
    }
    let stride = out.stride();
    let mut of_queries: Vec<_> =
        out.into_slice().chunks_mut(stride).map(|row| row[..length].chunks_mut(block)).collect();
    let mut pieces = Vec::new();
    for first in (0..length).step_by(block) {
        for (query, blocks) in of_queries.iter_mut().enumerate() {
            pieces.push((query, first, blocks.next().expect("every row has as many blocks")));
        }
    }
    team.share(pieces.into_iter(), |(query, first, out)| run(query, first, out));
    Ok(())
}
