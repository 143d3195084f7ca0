//! The random words of a result's rows, for stages that round stochastically.
//!
//! Element (row, column) of a result of N columns takes the word `row · N + column` of its stage's stream: the rows of a
//! block lie together in the stream, whatever order tiles come in.

use core::ops::Range;

use crate::random::{Fill, Stream};
use crate::simd::{Kernel, LANES, Simd};

/// The words of some rows, made at a time: they stay in a level-2 cache.
const WORDS: usize = 64 << 10;

/// The words of a block of rows; of a stage without a stream, nothing.
#[derive(Default)]
pub struct RowWords {
    stream: Option<Stream>,
    columns: usize,
    first_row: usize,
    /// Those of every element, and sixteen more that a row's last block may read.
    words: Vec<i32>,
}

impl RowWords {
    /// Of a result of so many columns.
    pub fn new(stream: Option<Stream>, columns: usize) -> Self {
        RowWords { stream, columns, ..RowWords::default() }
    }

    /// How many rows are best made at a time; at most so many when there is a stream.
    pub fn block_rows(&self, rows: usize) -> usize {
        if self.stream.is_some() { rows.min((WORDS / self.columns.max(1)).max(1)) } else { rows }
    }

    /// Makes the words of these rows.
    #[inline(always)]
    pub fn fill<S: Simd>(&mut self, simd: S, rows: Range<usize>) {
        let Some(stream) = self.stream else { return };
        let elements = rows.len() * self.columns;
        self.words.resize(elements + LANES, 0);
        self.first_row = rows.start;
        // The stage checked that the words of the whole result exist.
        let offset = stream.offset + (rows.start * self.columns) as u64;
        Fill { stream: Stream { offset, ..stream }, out: &mut self.words[..elements] }.run(simd);
    }

    /// The words of sixteen columns of a row.
    #[inline(always)]
    pub fn at<S: Simd>(&self, simd: S, row: usize, column: usize) -> S::I32 {
        let start = (row - self.first_row) * self.columns + column;
        simd.load_i32(self.words[start..].first_chunk().expect("sixteen more than elements"))
    }
}

/// [`RowWords::fill`] as a kernel.
pub struct FillRows<'a>(pub &'a mut RowWords, pub Range<usize>);

impl Kernel for FillRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.fill(simd, self.1);
    }
}
