//! Distances of two vectors, and of every query to every row.

use super::codes::Operand;
use super::kernel::Query;
use super::measure::Measure;
use super::pairs::{Pairs, check_vectors};
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::matrix::MatrixMut;

/// The distance of two vectors.
pub fn value_between<M: Measure>(exec: Exec<'_>, a: &Operand<'_>, b: &Operand<'_>) -> Result<M::Value, Error> {
    check_length("vectors of a", 1, a.codes.rows())?;
    check_length("vectors of b", 1, b.codes.rows())?;
    // (Fields one by one: copies of a whole operand would wait until its fields are stored.)
    let encodings = [a.encoding, b.encoding];
    check_vectors::<M>(encodings, a.codes.columns(), b.codes.columns())?;
    let query = Query { codes: a.codes.row(0), encodings, summed: M::SUMMED };
    Ok(M::value(exec.isa().pair_sums(&query, b.codes.row(0))))
}

/// The distances of every query to every row.
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
