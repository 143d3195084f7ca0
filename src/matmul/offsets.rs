//! The algebra of zero points and bias: what a tile's accumulators start with, and what is added to them.
//!
//! ```text
//! Σₖ (a − za[i])·(b − zb[j]) + bias[j]  =  Σₖ a·b  +  bias[j]  +  za[i]·Σₖ (zb[j] − b)  −  zb[j]·Σₖ a
//! ```
//!
//! The column sums of B come from packing, the row sums of A from reading its rows. Terms that are equal in all rows make
//! one row, with which the accumulators start. Terms that differ by row are one value a row when zb is the same for all
//! columns, a rank-one update otherwise. All of it wraps in i32: the result is exact because the depth was checked.

use core::ptr::null;

use super::tile::{AccRow, MAX_COLUMNS, MAX_ROWS, RankOneUpdate};
use crate::kernel::Vectors;
use crate::simd::LANES;

/// The terms of the columns of a panel: slices from its first column on, sixteen elements longer than the panel.
#[derive(Clone, Copy)]
pub struct ColumnTerms<'a> {
    pub bias: &'a [i32],
    /// `Σₖ (zb[j] − b[k][j])`
    pub negative_sums: &'a [i32],
    /// Zero points of B's codes as they are stored, when they differ.
    pub zero_points: Option<&'a [i32]>,
}

/// The zero points of A.
#[derive(Clone, Copy)]
pub(crate) struct Offsets<'a> {
    /// The zero point of all rows, or 0.
    pub uniform: i32,
    /// A zero point for every row, when they differ.
    pub each: Option<&'a [i32]>,
}

impl Offsets<'_> {
    /// `bias[j] + za·Σₖ (zb[j] − b)` for the columns of a panel; the bias alone when za differs by row.
    #[inline(always)]
    pub fn column_terms<V: Vectors>(&self, simd: V, terms: &ColumnTerms<'_>, columns: usize) -> AccRow {
        let mut row = AccRow([0; MAX_COLUMNS]);
        for (first, row) in (0..columns).step_by(LANES).zip(row.0.as_chunks_mut().0) {
            let sums = simd.load_i32(sixteen(terms.negative_sums, first));
            let term = simd.mul_i32(simd.splat_i32(self.uniform), sums);
            simd.store_i32(simd.add_i32(simd.load_i32(sixteen(terms.bias, first)), term), row);
        }
        row
    }

    /// The terms of the rows from `row` on; with `column_terms`, if the accumulators do not start with them. `row_sums` are
    /// the sums of their codes, negated, and multiplied by the zero point of B when that is the same for all columns.
    #[inline(always)]
    pub fn row_terms(
        &self,
        terms: &ColumnTerms<'_>,
        row: usize,
        row_sums: &[i32],
        column_terms: Option<&AccRow>,
    ) -> RowTerms {
        let mut row_terms =
            RowTerms { added: null(), updates: [RankOneUpdate { rows: null(), columns: null() }; 3], count: 0 };
        match terms.zero_points {
            _ if row_sums.is_empty() => {}
            Some(zero_points) => row_terms.push(row_sums.as_ptr(), zero_points.as_ptr()),
            None => row_terms.added = row_sums.as_ptr(),
        }
        if let Some(each) = self.each {
            row_terms.push(each[row..].as_ptr(), terms.negative_sums.as_ptr());
        }
        if let Some(column_terms) = column_terms {
            const ONES: [i32; MAX_ROWS] = [1; MAX_ROWS];
            row_terms.push(ONES.as_ptr(), column_terms.0.as_ptr());
        }
        row_terms
    }

    /// Whether the column sums of B are needed.
    pub fn any(&self) -> bool {
        self.uniform != 0 || self.each.is_some()
    }
}

/// Terms that are added to the accumulators of some rows, as [`Operands`](super::tile::Operands) has them.
pub struct RowTerms {
    /// A term for every row; or null.
    pub added: *const i32,
    updates: [RankOneUpdate; 3],
    count: usize,
}

impl RowTerms {
    #[inline(always)]
    fn push(&mut self, rows: *const i32, columns: *const i32) {
        self.updates[self.count] = RankOneUpdate { rows, columns };
        self.count += 1;
    }

    #[inline(always)]
    pub fn updates(&self) -> &[RankOneUpdate] {
        &self.updates[..self.count]
    }
}

/// Sixteen values from `first` on.
#[inline(always)]
fn sixteen(values: &[i32], first: usize) -> &[i32; LANES] {
    values[first..].first_chunk().expect("padded by sixteen")
}
