//! Ranges of channels whose elements are neighbours: what a vector finds belongs to sixteen of them.
//!
//! A few rows are read together, so that what was found of their columns is loaded and stored once for all of them. Rows of
//! few channels are joined to longer ones, whose columns are brought together in the end.

use super::{DECIDED, ExtremeLanes, memory_of, ranges_of};
use crate::cache;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Workspace;
use crate::params::Range;
use crate::simd::LANES;
use crate::simd::memory::Memory;

/// The columns that make a row long enough.
const LONG_ROW: usize = 4 * LANES;

/// The elements that are read together, if that is a number of rows between these limits: more long rows would be in each
/// other's way in the caches.
const TILE: usize = 4096;
const LONG_ROWS: usize = 8;
const MOST_ROWS: usize = 64;

/// The same from memory, where elements are best read one after the other.
const TILE_FROM_MEMORY: usize = 256;

pub(super) struct ColumnRanges<'a> {
    pub x: &'a [f32],
    pub channels: usize,
    pub ranges: &'a mut [Range],
}

impl Kernel for ColumnRanges<'_> {
    /// The largest magnitude of all.
    type Output = i32;

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> i32 {
        let ColumnRanges { x, channels, ranges } = self;
        // Less than a vector: the first row again is nothing new.
        let mut padded = [0.0; 2 * LANES];
        let x = if x.len() < LANES {
            let padded = &mut padded[..channels * LANES.div_ceil(channels)];
            for (i, padded) in padded.iter_mut().enumerate() {
                *padded = x[if i < x.len() { i } else { i % channels }];
            }
            padded
        } else {
            x
        };
        let row = (channels * LONG_ROW.div_ceil(channels)).min(x.len());
        let mut workspace = Workspace::default();
        let mut columns = Columns::new(simd, row, &mut workspace);
        let (rows, rest) = x.split_at(x.len() / row * row);
        // Until all columns have numbers of both kinds.
        let (mut rows, mut length, mut other_end) = (rows, DECIDED.next_multiple_of(LONG_ROWS * row), true);
        while !rows.is_empty() {
            let (piece, behind) = rows.split_at(if other_end { length.min(rows.len()) } else { rows.len() });
            // (Two loops, each of which knows it.)
            if other_end {
                columns.observe(simd, piece, memory_of(x), true);
            } else {
                columns.observe(simd, piece, memory_of(x), false);
            }
            (rows, length) = (behind, 2 * length);
            other_end = other_end && (rows.is_empty() || !columns.have_both(simd));
        }
        // Of a row that is joined, less than all of it.
        let (blocks, tail) = rest.as_chunks();
        for (i, block) in blocks.iter().enumerate() {
            columns.observe_block(simd, i * LANES, block);
        }
        if let (Some(last), false) = (x.last_chunk(), tail.is_empty()) {
            columns.observe_block(simd, (x.len() - LANES) % channels, last);
        }
        columns.ranges(simd, ranges)
    }
}

/// [`ExtremeLanes`] for every column of a row.
struct Columns<'a> {
    row: usize,
    /// Three parts of whole blocks.
    lanes: &'a mut [i32],
}

impl<'a> Columns<'a> {
    #[inline(always)]
    fn new<S: Vectors>(simd: S, row: usize, workspace: &'a mut Workspace) -> Self {
        let part = row.next_multiple_of(LANES);
        let lanes = workspace.elements(3 * part);
        for (none, lanes) in ExtremeLanes::none(simd).0.into_iter().zip(lanes.chunks_exact_mut(part)) {
            for block in lanes.as_chunks_mut().0 {
                simd.store_i32(none, block);
            }
        }
        Columns { row, lanes }
    }

    /// Where blocks of columns begin, the last of which may overlap the one before.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = usize> + use<> {
        let row = self.row;
        (0..row).step_by(LANES).map(
            #[inline(always)]
            move |column| column.min(row - LANES),
        )
    }

    /// Sixteen columns from one on.
    #[inline(always)]
    fn sixteen(&mut self, column: usize) -> [&mut [i32; LANES]; 3] {
        let part = self.lanes.len() / 3;
        let (first, rest) = self.lanes.split_at_mut(part);
        let (second, third) = rest.split_at_mut(part);
        let sixteen = "as many columns";
        [
            first[column..].first_chunk_mut().expect(sixteen),
            second[column..].first_chunk_mut().expect(sixteen),
            third[column..].first_chunk_mut().expect(sixteen),
        ]
    }

    #[inline(always)]
    fn load<S: Vectors>(&mut self, simd: S, column: usize) -> ExtremeLanes<S> {
        let [a, b, c] = self.sixteen(column);
        ExtremeLanes([simd.load_i32(a), simd.load_i32(b), simd.load_i32(c)])
    }

    #[inline(always)]
    fn store<S: Vectors>(&mut self, simd: S, column: usize, lanes: ExtremeLanes<S>, other_end: bool) {
        let ([a, b, c], ExtremeLanes([x, y, z])) = (self.sixteen(column), lanes);
        simd.store_i32(x, a);
        simd.store_i32(y, b);
        // (Without integers it tells of NaN.)
        if other_end || !S::HAS_INTEGER_MIN_MAX {
            simd.store_i32(z, c);
        }
    }

    /// Whole rows.
    #[inline(always)]
    fn observe<S: Vectors>(&mut self, simd: S, x: &[f32], memory: Memory, other_end: bool) {
        let row = self.row;
        let together = match memory {
            Memory::Cached => (TILE / row).clamp(LONG_ROWS, MOST_ROWS),
            Memory::Beyond | Memory::Streamed => (TILE_FROM_MEMORY / row).max(1),
        };
        for rows in x.chunks(together * row) {
            for column in self.blocks() {
                let mut lanes = self.load(simd, column);
                for start in (column..rows.len()).step_by(row) {
                    let x: &[f32; LANES] = rows[start..].first_chunk().expect("a whole row");
                    if memory != Memory::Cached {
                        cache::prefetch_ahead(x);
                    }
                    lanes = lanes.observe(simd, x, other_end);
                }
                self.store(simd, column, lanes, other_end);
            }
        }
    }

    #[inline(always)]
    fn observe_block<S: Vectors>(&mut self, simd: S, column: usize, x: &[f32; LANES]) {
        let lanes = self.load(simd, column).observe(simd, x, true);
        self.store(simd, column, lanes, true);
    }

    /// Whether every column has numbers with a sign and numbers without.
    #[inline(always)]
    fn have_both<S: Vectors>(&mut self, simd: S) -> bool {
        let mut all = simd.splat_i32(0);
        for column in self.blocks() {
            let [signed, unsigned, _] = self.load(simd, column).integers(simd);
            all = simd.min_i32(all, simd.min_i32(signed, unsigned));
        }
        !simd.any_negative(all)
    }

    /// Writes the range of every channel. Returns the largest magnitude of all.
    #[inline(always)]
    fn ranges<S: Vectors>(mut self, simd: S, ranges: &mut [Range]) -> i32 {
        let part = self.lanes.len() / 3;
        for block in (0..part).step_by(LANES) {
            let integers = self.load(simd, block).integers(simd);
            self.store(simd, block, ExtremeLanes(integers), true);
        }
        let mut parts = self.lanes.chunks_exact_mut(part).map(
            #[inline(always)]
            |part| largest_of_each(&mut part[..self.row], ranges.len()),
        );
        let mut next = || parts.next().expect("three");
        ranges_of([next(), next(), next()], ranges)
    }
}

/// The largest of those that are as many elements apart, for so many.
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
