//! The nearest rows of every query.

use std::collections::BinaryHeap;
use std::sync::Mutex;

use super::codes::Operand;
use super::measure::Measure;
use super::pairs::Pairs;
use crate::error::Error;
use crate::exec::Exec;
use crate::memory::Scratch;

/// A row that was found, and its distance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Neighbor<T> {
    /// The row.
    pub row: usize,
    /// Its value by the metric.
    pub value: T,
}

/// Ranks and rows, the furthest on top. No two candidates are equal, so the k smallest are the same in whatever order they are found.
type Nearest = BinaryHeap<(i64, usize)>;

/// The `k` nearest rows of every query.
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
            let end = (first + block).min(length);
            let mut memory = Scratch::default();
            let ranks = memory.elements::<i64>(end - first);
            pairs.values::<M>(query, &squares, first..end, |i, value| ranks[i] = M::rank(value));
            let mut found = found.lock().expect("heaps are changed without panic");
            for candidate in ranks.iter().copied().zip(first..) {
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
