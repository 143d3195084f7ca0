//! The random words of a result's rows, for stages that round stochastically.
//!
//! Element (row, column) of a result of N columns takes the word `row · N + column` of its stage's stream: the rows of a
//! block lie together in the stream, whatever order tiles come in.

use core::ops::Range;

use crate::kernel::{Kernel, Vectors};
use crate::memory::Workspace;
use crate::random::fill::Fill;
use crate::random::stream::Stream;
use crate::simd::LANES;

/// About so many words are made at a time, those of a tile's rows at least: a level-2 cache holds them.
const WORDS: usize = 64 << 10;

/// The words of a block of rows; of a stage without a stream, nothing.
pub struct RowWords {
    stream: Option<Stream>,
    /// The columns of the result, and those of them that are needed.
    all_columns: usize,
    columns: Range<usize>,
    first_row: usize,
    words: Workspace,
    /// Those of every element, and sixteen more that a row's last block may read.
    length: usize,
}

impl RowWords {
    /// Of some columns of a result that has so many.
    #[inline]
    pub fn new(stream: Option<Stream>, all_columns: usize, columns: Range<usize>) -> Self {
        RowWords { stream, all_columns, columns, first_row: 0, words: Workspace::default(), length: 0 }
    }

    /// The blocks, of a multiple of `unit` rows, that are best made at a time; without a stream all rows.
    #[inline]
    pub fn blocks(&self, rows: Range<usize>, unit: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let step = match self.stream {
            Some(_) => (WORDS / self.columns.len().max(1)).max(1).next_multiple_of(unit),
            None => rows.len().max(1),
        };
        rows.clone().step_by(step).map(move |start| start..rows.end.min(start + step))
    }

    /// Makes the words of these rows.
    #[inline(always)]
    pub fn fill<S: Vectors>(&mut self, simd: S, rows: Range<usize>) {
        let Some(stream) = self.stream else { return };
        let width = self.columns.len();
        self.length = rows.len() * width + LANES;
        self.first_row = rows.start;
        // Whole rows lie together.
        let (pieces, length) = if width == self.all_columns { (1, rows.len() * width) } else { (rows.len(), width) };
        for (row, words) in
            (rows.start..).zip(self.words.elements::<i32>(self.length).chunks_mut(length.max(1)).take(pieces))
        {
            // The stage checked that the words of the whole result exist.
            let offset = stream.offset + (row * self.all_columns + self.columns.start) as u64;
            Fill { stream: Stream { offset, ..stream }, out: &mut words[..length], uniform: false }.run(simd);
        }
    }

    /// The words of sixteen columns of a row.
    #[inline(always)]
    pub fn at<S: Vectors>(&self, simd: S, row: usize, column: usize) -> S::I32 {
        let start = (row - self.first_row) * self.columns.len() + column - self.columns.start;
        simd.load_i32(self.words.as_slice(self.length)[start..].first_chunk().expect("sixteen more than elements"))
    }
}

/// [`RowWords::fill`] as a kernel.
pub struct FillRows<'a>(pub &'a mut RowWords, pub Range<usize>);

impl Kernel for FillRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        self.0.fill(simd, self.1);
    }
}
