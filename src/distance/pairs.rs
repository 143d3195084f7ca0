//! Queries and rows, and the values of some of them.

use core::ops::Range;

use super::codes::{Encoding, Operand};
use super::kernel::{Query, RowSums, Summed, Sums};
use super::measure::Measure;
use crate::error::{Error, check_length};
use crate::exec::{Exec, Team};
use crate::isa::Isa;
use crate::memory::Scratch;

/// Bytes that a core reads in a nanosecond at most: an upper bound, so that work is shared only if every core gains by it.
const READ: usize = 64;

/// Bytes of a block of rows that several queries read in turn: what level 1 holds.
const BLOCK: usize = 32 << 10;

/// Bytes of a block of rows that one query reads, so that each of its four streams is some pages long.
const BLOCK_OF_ONE: usize = 256 << 10;

/// `Ok` when the vectors are of one length, and no sum can leave i32.
#[inline]
pub fn check_vectors<M: Measure>(encodings: [Encoding; 2], of_query: usize, of_row: usize) -> Result<(), Error> {
    check_length("a row", of_query, of_row)?;
    M::check_depth(encodings, of_query)
}

/// Queries and rows of one length.
#[derive(Clone, Copy)]
pub struct Pairs<'a> {
    isa: Isa,
    queries: Operand<'a>,
    rows: Operand<'a>,
}

impl<'a> Pairs<'a> {
    /// Rows of a block, at most: their sums and squares, 8 KiB, stay in level 1, and a stream of rows of 96 codes is 24 KiB long.
    const MOST_ROWS: usize = 1024;

    /// Queries and rows, if they are of one length and no sum can leave i32.
    pub fn new<M: Measure>(isa: Isa, queries: Operand<'a>, rows: Operand<'a>) -> Result<Self, Error> {
        check_vectors::<M>([queries.encoding, rows.encoding], queries.codes.columns(), rows.codes.columns())?;
        Ok(Pairs { isa, queries, rows })
    }

    /// The threads that share the work.
    pub fn team<'t>(&self, exec: Exec<'t>) -> Team<'t> {
        let bytes = self.queries.codes.rows().saturating_mul(self.rows.codes.rows()).saturating_mul(self.depth());
        exec.team(bytes / READ)
    }

    fn depth(&self) -> usize {
        self.queries.codes.columns()
    }

    /// The rows of a block.
    pub fn block(&self) -> usize {
        let bytes = if self.queries.codes.rows() == 1 { BLOCK_OF_ONE } else { BLOCK };
        (bytes / self.depth().max(1)).clamp(1, Self::MOST_ROWS)
    }

    /// A query of a metric.
    fn query<M: Measure>(&self, query: usize) -> Query<'a> {
        let encodings = [self.queries.encoding, self.rows.encoding];
        Query { codes: self.queries.codes.row(query), encodings, summed: M::SUMMED }
    }

    /// The sums of every query's squares, if the metric has them.
    pub fn squares<M: Measure>(&self) -> Vec<i32> {
        let square = |query| {
            let encodings = [self.queries.encoding; 2];
            let query = Query { encodings, summed: Summed::Products, ..self.query::<M>(query) };
            self.isa.pair_sums(&query, query.codes).sum
        };
        match M::SUMMED {
            Summed::ProductsAndSquares => (0..self.queries.codes.rows()).map(square).collect(),
            Summed::Products | Summed::SquaredDifferences => Vec::new(),
        }
    }

    /// Calls `put(i, value)` for the i-th of some rows, no more than a block. `squares` are those of all queries.
    pub fn values<M: Measure>(
        &self,
        query: usize,
        squares: &[i32],
        rows: Range<usize>,
        mut put: impl FnMut(usize, M::Value),
    ) {
        let (mut memory, mut memory_of_squares, count) = (Scratch::default(), Scratch::default(), rows.len());
        let (codes, has_squares) = (self.rows.codes, M::SUMMED == Summed::ProductsAndSquares);
        let rows = codes.part(rows, 0..codes.columns()).expect("they are rows of the matrix");
        let sums = memory.elements::<i32>(count);
        let row_squares = memory_of_squares.elements::<i32>(if has_squares { count } else { 0 });
        self.isa.row_sums(&self.query::<M>(query), rows, RowSums { sums, squares: row_squares });
        for i in 0..count {
            let squares = if has_squares { [squares[query], row_squares[i]] } else { [0; 2] };
            put(i, M::value(Sums { sum: sums[i], squares }));
        }
    }
}
