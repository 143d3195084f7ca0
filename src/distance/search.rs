//! The nearest rows of every query.

use std::collections::BinaryHeap;
use std::sync::Mutex;

use super::codes::{Codes, Operand};
use super::metric::{Measure, Metric};
use super::pairs::Pairs;
use crate::codes::ByteCode;
use crate::error::Error;
use crate::exec::Exec;

/// A row that was found, and its distance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Neighbor<T> {
    /// The row.
    pub row: usize,
    /// Its value by the metric.
    pub value: T,
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

/// Ranks and rows, the furthest one on top. (Ranks and rows order all candidates, so that no order of finding them matters.)
type Nearest = BinaryHeap<(i64, usize)>;

/// [`nearest`] for a metric.
pub fn find<M: Measure>(
    exec: Exec<'_>,
    queries: Operand<'_>,
    rows: Operand<'_>,
    k: usize,
) -> Result<Vec<Neighbor<M::Value>>, Error> {
    let pairs = Pairs::new::<M>(exec.isa(), queries, rows)?;
    let (count, length) = (queries.codes.rows(), rows.codes.rows());
    let k = k.min(length);
    if count == 0 || k == 0 {
        return Ok(Vec::new());
    }
    let (team, squares, block) = (pairs.team(exec), pairs.squares::<M>(), pairs.block());
    let found: Vec<Mutex<Nearest>> = (0..count).map(|_| Mutex::new(Nearest::new())).collect();
    team.share((0..length).step_by(block), |first| {
        for (query, found) in found.iter().enumerate() {
            let mut candidates = [(0, 0); Pairs::MOST_ROWS];
            let end = (first + block).min(length);
            pairs.values::<M>(query, &squares, first..end, |i, value| candidates[i] = (M::rank(value), first + i));
            let mut found = found.lock().expect("heaps are changed without panic");
            for &candidate in &candidates[..end - first] {
                if found.len() < k {
                    found.push(candidate);
                } else if let Some(mut furthest) = found.peek_mut()
                    && candidate < *furthest
                {
                    *furthest = candidate;
                }
            }
        }
    });
    let sorted = found.into_iter().flat_map(|found| {
        let found = found.into_inner().expect("heaps are changed without panic").into_sorted_vec();
        found.into_iter().map(|(rank, row)| Neighbor { row, value: M::of_rank(rank) })
    });
    Ok(sorted.collect())
}
