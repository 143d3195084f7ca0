//! Ranges of channels whose elements are neighbours: the lanes of a vector belong to sixteen channels.
//!
//! A few rows are read together, so that the extremes of their columns are loaded and stored once for all of them. Rows of
//! few channels are joined to longer ones, whose columns of the same channel are brought together in the end.

use super::extremes::{DECIDED, ExtremeLanes, memory_of, write_ranges};
use crate::cache;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Scratch;
use crate::params::Range;
use crate::simd::LANES;
use crate::simd::memory::Memory;

/// Columns that make a row long enough.
const LONG_ROW: usize = 4 * LANES;

/// Elements that are read together, if that makes from [`LONG_ROWS`] to [`MOST_ROWS`] rows: more long rows would compete for
/// the same sets of the caches.
const TILE: usize = 4096;
const LONG_ROWS: usize = 8;
const MOST_ROWS: usize = 64;

/// Elements that are read together from memory, which is fastest at elements that follow each other.
const TILE_FROM_MEMORY: usize = 256;

pub(super) struct ColumnRanges<'a> {
    pub x: &'a [f32],
    pub channels: usize,
    pub ranges: &'a mut [Range],
}

impl Kernel for ColumnRanges<'_> {
    /// The bits of the largest magnitude of all.
    type Output = i32;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> i32 {
        let ColumnRanges { x, channels, ranges } = self;
        // Less than a vector is filled up with the first row: that adds no value.
        let mut padded = [0.0; 2 * LANES];
        let x = if x.len() < LANES {
            let padded = &mut padded[..channels * LANES.div_ceil(channels)];
            for i in 0..padded.len() {
                padded[i] = x[if i < x.len() { i } else { i % channels }];
            }
            padded
        } else {
            x
        };
        let memory = memory_of(x);
        let row = (channels * LONG_ROW.div_ceil(channels)).min(x.len());
        let mut workspace = Scratch::default();
        let mut columns = Columns::new(v, row, &mut workspace);
        let (mut rows, rest) = x.split_at(x.len() / row * row);
        // The other ends are looked for until all columns have values of both signs.
        let (mut length, mut other_end) = (DECIDED.next_multiple_of(LONG_ROWS * row), true);
        while !rows.is_empty() {
            let (piece, behind) = rows.split_at(if other_end { length.min(rows.len()) } else { rows.len() });
            // (Two calls, in each of which the compiler knows it.)
            if other_end {
                columns.observe(v, piece, memory, true);
            } else {
                columns.observe(v, piece, memory, false);
            }
            (rows, length) = (behind, 2 * length);
            other_end = other_end && (rows.is_empty() || !columns.have_both_signs(v));
        }
        // Of a joined row, whole rows may be left that do not fill it.
        let (blocks, tail) = rest.as_chunks();
        for i in 0..blocks.len() {
            columns.observe_block(v, i * LANES, &blocks[i]);
        }
        if let (Some(last), false) = (x.last_chunk(), tail.is_empty()) {
            columns.observe_block(v, (x.len() - LANES) % channels, last);
        }
        columns.write_ranges(v, ranges)
    }
}

/// [`ExtremeLanes`] for every column of a row.
struct Columns<'a> {
    row: usize,
    /// Elements of each of the three arrays in `lanes`: whole blocks.
    length: usize,
    lanes: &'a mut [i32],
}

impl<'a> Columns<'a> {
    #[inline(always)]
    fn new<V: Vectors>(v: V, row: usize, workspace: &'a mut Scratch) -> Self {
        let length = row.next_multiple_of(LANES);
        let mut columns = Columns { row, length, lanes: workspace.elements(3 * length) };
        let mut column = 0;
        while column < length {
            columns.store(v, column, ExtremeLanes::none(v), true);
            column += LANES;
        }
        columns
    }

    /// The extremes of sixteen columns, field by field.
    #[inline(always)]
    fn sixteen(&mut self, column: usize) -> [&mut [i32; LANES]; 3] {
        let (first, rest) = self.lanes.split_at_mut(self.length);
        let (second, third) = rest.split_at_mut(self.length);
        let sixteen = "sixteen columns from this one on";
        [
            first[column..].first_chunk_mut().expect(sixteen),
            second[column..].first_chunk_mut().expect(sixteen),
            third[column..].first_chunk_mut().expect(sixteen),
        ]
    }

    #[inline(always)]
    fn load<V: Vectors>(&mut self, v: V, column: usize) -> ExtremeLanes<V> {
        let [a, b, c] = self.sixteen(column);
        ExtremeLanes([v.load_i32(a), v.load_i32(b), v.load_i32(c)])
    }

    #[inline(always)]
    fn store<V: Vectors>(&mut self, v: V, column: usize, lanes: ExtremeLanes<V>, other_end: bool) {
        let ([a, b, c], ExtremeLanes([x, y, z])) = (self.sixteen(column), lanes);
        v.store_i32(x, a);
        v.store_i32(y, b);
        // (Without integers the third field tells of NaN.)
        if other_end || !V::HAS_INTEGER_MIN_MAX {
            v.store_i32(z, c);
        }
    }

    /// Adds whole rows.
    #[inline(always)]
    fn observe<V: Vectors>(&mut self, v: V, x: &[f32], memory: Memory, other_end: bool) {
        let row = self.row;
        let together = match memory {
            Memory::Cached => (TILE / row).clamp(LONG_ROWS, MOST_ROWS),
            Memory::Beyond | Memory::Streamed => (TILE_FROM_MEMORY / row).max(1),
        };
        for rows in x.chunks(together * row) {
            let mut start = 0;
            while start < row {
                // The last sixteen columns may overlap those before.
                let column = start.min(row - LANES);
                let mut lanes = self.load(v, column);
                for at in (column..rows.len()).step_by(row) {
                    let x: &[f32; LANES] = rows[at..].first_chunk().expect("a whole row");
                    if memory != Memory::Cached {
                        cache::prefetch_ahead(x);
                    }
                    lanes = lanes.observe(v, x, other_end);
                }
                self.store(v, column, lanes, other_end);
                start += LANES;
            }
        }
    }

    #[inline(always)]
    fn observe_block<V: Vectors>(&mut self, v: V, column: usize, x: &[f32; LANES]) {
        let lanes = self.load(v, column).observe(v, x, true);
        self.store(v, column, lanes, true);
    }

    /// Whether every column has values with a sign and values without.
    #[inline(always)]
    fn have_both_signs<V: Vectors>(&mut self, v: V) -> bool {
        let mut all = v.splat_i32(0);
        let mut start = 0;
        while start < self.row {
            let [max_as_i32, max_as_u32, _] = self.load(v, start.min(self.row - LANES)).integers(v);
            all = v.min_i32(all, v.min_i32(max_as_i32, max_as_u32));
            start += LANES;
        }
        !v.any_negative(all)
    }

    /// Writes the range of every channel. Returns the bits of the largest magnitude of all.
    #[inline(always)]
    fn write_ranges<V: Vectors>(mut self, v: V, ranges: &mut [Range]) -> i32 {
        let mut column = 0;
        while column < self.length {
            let integers = self.load(v, column).integers(v);
            self.store(v, column, ExtremeLanes(integers), true);
            column += LANES;
        }
        let (max_as_i32, rest) = self.lanes.split_at_mut(self.length);
        let (max_as_u32, inverted_min) = rest.split_at_mut(self.length);
        write_ranges(
            [
                largest_of_each(&mut max_as_i32[..self.row], ranges.len()),
                largest_of_each(&mut max_as_u32[..self.row], ranges.len()),
                largest_of_each(&mut inverted_min[..self.row], ranges.len()),
            ],
            ranges,
        )
    }
}

/// `period` values: value i is the largest of `x[i]`, `x[i + period]`, ….
#[inline(always)]
fn largest_of_each(x: &mut [i32], period: usize) -> &[i32] {
    let mut rows = x.len() / period;
    while rows > 1 {
        // The upper half onto the lower one; the middle, if there is one, stays.
        let upper = rows / 2 * period;
        rows -= rows / 2;
        let (low, high) = x[..rows * period + upper].split_at_mut(rows * period);
        for (low, &high) in low.iter_mut().zip(&*high) {
            *low = high.max(*low);
        }
    }
    &x[..period]
}
