//! From the sums of a tile to elements of the result: the algebra of zero points and bias, and the output stage.
//!
//! ```text
//! Σₖ (a − za[i])·(b − zb[j]) + bias[j]  =  Σₖ a·b  +  (bias[j] − za[i]·Σₖ (b − zb[j]))  −  zb[j]·Σₖ a
//! ```
//!
//! What is the same for all rows ([`Offsets::column_terms`]) is what a tile's sums begin with; what is not is taken away
//! in [`Epilogue::emit`]. All of it wraps in i32: the result is exact because the depth was checked.

use core::ops::Range;

use super::stage::Stage;
use super::tile::{MAX_COLUMNS, Sums, TileRow};
use super::words::RowWords;
use crate::matrix::Pieces;
use crate::simd::{LANES, Simd};

/// What the columns of a panel bring along: slices from its first column on, sixteen longer than the panel.
#[derive(Clone, Copy)]
pub(super) struct ColumnTerms<'a> {
    pub bias: &'a [i32],
    /// `Σₖ (b[k][j] − zb[j])`
    pub sums: &'a [i32],
    /// Zero points of B's codes as stored, unless all are 0.
    pub zero_points: Option<&'a [i32]>,
}

/// The zero points of A.
#[derive(Clone, Copy)]
pub(super) struct Offsets<'a> {
    /// That of all rows, or 0.
    pub uniform: i32,
    /// Those of the rows.
    pub each: Option<&'a [i32]>,
}

impl Offsets<'_> {
    /// `bias[j] − za · Σₖ (b[k][j] − zb[j])` for sixteen columns of a panel; the bias alone when za differs by row.
    #[inline(always)]
    fn column_term<V: Simd>(&self, simd: V, terms: &ColumnTerms<'_>, column: usize) -> V::I32 {
        let product = simd.mul_i32(simd.splat_i32(self.uniform), simd.load_i32(sixteen(terms.sums, column)));
        simd.sub_i32(simd.load_i32(sixteen(terms.bias, column)), product)
    }

    /// The column terms of a panel.
    #[inline(always)]
    pub fn column_terms<V: Simd>(&self, simd: V, terms: &ColumnTerms<'_>, columns: usize) -> TileRow {
        let mut row = TileRow([0; MAX_COLUMNS]);
        for (first, row) in (0..columns).step_by(LANES).zip(row.0.as_chunks_mut().0) {
            simd.store_i32(self.column_term(simd, terms, first), row);
        }
        row
    }
}

/// Sixteen values from `first` on.
#[inline(always)]
fn sixteen(values: &[i32], first: usize) -> &[i32; LANES] {
    values[first..].first_chunk().expect("padded by sixteen")
}

/// A tile's place in the result, and what its rows bring along.
pub(super) struct Epilogue<'a, S: Stage> {
    pub stage: &'a S,
    pub out: &'a Pieces<'a, S::Element>,
    pub words: &'a RowWords,
    pub offsets: Offsets<'a>,
    /// Where the columns of B begin in those of the stage and of `out`.
    pub first_column: usize,
}

impl<S: Stage> Epilogue<'_, S> {
    /// Whether a tile's sums are its elements: then it may write them where they belong.
    pub fn is_nothing(&self, terms: &ColumnTerms<'_>) -> bool {
        S::RAW && terms.zero_points.is_none() && self.offsets.each.is_none()
    }

    /// Makes elements of the sums of some rows and columns of B.
    #[inline(always)]
    pub fn emit<V: Simd>(
        &self,
        simd: V,
        sums: &Sums,
        (rows, row_sums): (Range<usize>, &[i32]),
        (columns, terms): (Range<usize>, &ColumnTerms<'_>),
    ) {
        let width = columns.len();
        let mut first = 0;
        while first < width {
            // The last block overlaps the one before, if there is one, rather than being short.
            first = first.min(width.saturating_sub(LANES));
            let count = LANES.min(width - first);
            let column = self.first_column + columns.start + first;
            let parameters = self.stage.parameters(simd, column);
            let zero_points = terms.zero_points.map(
                #[inline(always)]
                |zero_points| simd.load_i32(sixteen(zero_points, first)),
            );
            let column_sums = simd.load_i32(sixteen(terms.sums, first));
            for (r, row) in rows.clone().enumerate() {
                let mut acc = simd.load_i32(sixteen(&sums[r].0, first));
                if let Some(zero_points) = zero_points {
                    acc = simd.sub_i32(acc, simd.mul_i32(simd.splat_i32(row_sums[r]), zero_points));
                }
                if let Some(each) = self.offsets.each {
                    acc = simd.sub_i32(acc, simd.mul_i32(simd.splat_i32(each[row]), column_sums));
                }
                // SAFETY: tiles do not overlap, and pieces of a job that run at the same time share no tile.
                let out = unsafe { self.out.piece(row, column, count) };
                let words = if S::STOCHASTIC { self.words.at(simd, row, column) } else { simd.splat_i32(0) };
                self.stage.emit_some(simd, &parameters, row, acc, words, out);
            }
            first += LANES;
        }
    }
}
