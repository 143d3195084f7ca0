//! From the sums of a tile to elements of the result, by an output stage.

use core::ops::Range;

use super::stage::Stage;
use super::tile::AccTile;
use super::words::RowWords;
use crate::kernel::Vectors;
use crate::matrix::Pieces;
use crate::simd::LANES;

/// Where the elements of a multiplication go, and how they are made.
pub(super) struct Epilogue<'a, S: Stage> {
    pub stage: &'a S,
    pub out: &'a Pieces<'a, S::Element>,
    pub words: &'a RowWords,
    /// Where the columns of B begin in those of the stage and of `out`.
    pub first_column: usize,
}

impl<S: Stage> Epilogue<'_, S> {
    /// Makes elements of the sums of some rows and columns of B.
    #[inline(always)]
    pub fn emit<V: Vectors>(&self, simd: V, sums: &AccTile, rows: Range<usize>, columns: Range<usize>) {
        let width = columns.len();
        let column = self.first_column + columns.start;
        let tile = Tile { rows: rows.clone(), column, place: self.out.block(rows.start, column, rows.len(), width) };
        if width < LANES {
            self.emit_block::<V, false>(simd, sums, &tile, 0, width);
            return;
        }
        for first in (0..width).step_by(LANES) {
            // The last block overlaps the one before rather than being short.
            self.emit_block::<V, true>(simd, sums, &tile, first.min(width - LANES), LANES);
        }
    }

    /// Makes elements of sixteen columns, the `first` of the tile's and those behind it; of `width` when they are not
    /// `FULL`.
    #[inline(always)]
    fn emit_block<V: Vectors, const FULL: bool>(
        &self,
        simd: V,
        sums: &AccTile,
        tile: &Tile<S::Element>,
        first: usize,
        width: usize,
    ) {
        let column = tile.column + first;
        let parameters = self.stage.parameters(simd, column);
        let (out, stride) = tile.place;
        for (r, (row, sums)) in tile.rows.clone().zip(sums).enumerate() {
            let acc = simd.load_i32(sums.0[first..].first_chunk().expect("blocks lie inside a tile"));
            let words = if S::STOCHASTIC { self.words.at(simd, row, column) } else { simd.splat_i32(0) };
            let out = out.wrapping_add(r * stride + first);
            if FULL {
                // SAFETY: the block has sixteen columns; tiles do not overlap, and pieces of a job that run at the same
                // time share no tile.
                self.stage.emit(simd, &parameters, row, acc, words, unsafe { &mut *out.cast() });
            } else {
                // SAFETY: as above, with so many columns.
                let out = unsafe { core::slice::from_raw_parts_mut(out, width) };
                self.stage.emit_some(simd, &parameters, row, acc, words, out);
            }
        }
    }
}

/// A tile of the result.
struct Tile<T> {
    rows: Range<usize>,
    /// Its first column.
    column: usize,
    /// Where it begins, and the elements from a row to the next.
    place: (*mut T, usize),
}
