//! The random words of a result's rows, for stages that round stochastically.
//!
//! Element (row, column) of a result of N columns takes the word `row · N + column` of its stage's stream: the words of a
//! row are neighbours, and those of the next row follow, whatever order tiles come in.

use core::ops::Range;

use crate::isa::Isa;
use crate::kernel::Vectors;
use crate::memory::Scratch;
use crate::random::fill::WordSource;
use crate::simd::LANES;

/// Words that are made at a time (those of a tile's rows at least): 256 KiB, which a level-2 cache holds.
const WORDS: usize = 64 << 10;

/// The words of a block of rows; of a stage without a stream, nothing.
pub(crate) struct RowWords {
    source: Option<WordSource>,
    /// The columns of the result.
    all_columns: usize,
    /// The columns whose words are needed.
    columns: Range<usize>,
    first_row: usize,
    words: Scratch,
    /// A word for every element, and [`LANES`] more that the last vector of a row may read.
    length: usize,
}

impl RowWords {
    /// For some columns of a result that has `all_columns`.
    #[inline]
    pub fn new(source: Option<WordSource>, all_columns: usize, columns: Range<usize>) -> Self {
        RowWords { source, all_columns, columns, first_row: 0, words: Scratch::default(), length: 0 }
    }

    /// Whether there are words.
    #[inline]
    pub fn any(&self) -> bool {
        self.source.is_some()
    }

    /// The number of rows, a multiple of `unit`, whose words are best made at a time; without a stream all rows.
    #[inline]
    pub fn rows_at_a_time(&self, rows: usize, unit: usize) -> usize {
        match self.source {
            Some(_) => (WORDS / self.columns.len().max(1)).max(1).next_multiple_of(unit),
            None => rows.max(1),
        }
    }

    /// Makes the words of these rows.
    pub fn fill(&mut self, isa: Isa, rows: Range<usize>) {
        let Some(source) = self.source else { return };
        let width = self.columns.len();
        self.length = rows.len() * width + LANES;
        self.first_row = rows.start;
        // The words of whole rows are one piece.
        let (pieces, length) = if width == self.all_columns { (1, rows.len() * width) } else { (rows.len(), width) };
        let words = self.words.elements::<i32>(self.length);
        for (row, words) in (rows.start..).zip(words.chunks_mut(length.max(1)).take(pieces)) {
            // The stage checked that the words of the whole result exist.
            let offset = source.stream.offset + (row * self.all_columns + self.columns.start) as u64;
            source.fill(isa, offset, &mut words[..length]);
        }
    }

    /// The words of a vector of columns of a row.
    #[inline(always)]
    pub fn at<S: Vectors>(&self, simd: S, row: usize, column: usize) -> S::I32 {
        let start = (row - self.first_row) * self.columns.len() + column - self.columns.start;
        simd.load_i32(self.words.as_slice(self.length)[start..].first_chunk().expect("a vector more than elements"))
    }
}
