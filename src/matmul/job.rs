//! A checked multiplication in pieces of rows and panels, which may run in any order, on any thread.
//!
//! ```text
//! Job::check                  shapes, zero points and depth, once
//!   for blocks of rows        LhsMemory: A in place, or copied and widened; its row sums
//!     for panels of B
//!       for tiles of rows     Microkernel: sums, all in registers, from the first to the last product
//!                             Epilogue: stage, store; nothing when the sums are the elements
//! ```

use core::ops::Range;

use super::epilogue::Epilogue;
use super::erased_stage::ErasedStage;
use super::lhs::{Lhs, LhsBlock, LhsMemory, in_place};
use super::multiply::{Multiply, PanelSource};
use super::offsets::Offsets;
use super::output::Output;
use super::rhs::{RhsCodes, RhsRef};
use super::shape::Shape;
use super::split::Split;
use super::unpacked::{DepthSlices, PanelBatch};
use super::words::RowWords;
use crate::cache::level2;
use crate::error::{Error, check_length};
use crate::matrix::ZeroPoints;

/// A matrix multiplication, to be [checked](Job::check) before it runs.
///
/// It refers to its operands: what is copied right after it was made waits for the stores that made it, and a small product
/// takes no longer than some of these.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    lhs: &'a Lhs<'a>,
    rhs: &'a RhsRef<'a>,
    stage: &'a ErasedStage<'a>,
    out: &'a Output<'a>,
    /// The column of `out` and of the stage where the columns of the RHS begin.
    first_column: usize,
    offsets: Offsets<'a>,
}

impl<'a> Job<'a> {
    /// A multiplication that makes the columns of `out` and of the stage from `first_column` on.
    #[inline]
    pub fn new(
        lhs: &'a Lhs<'a>,
        rhs: &'a RhsRef<'a>,
        stage: &'a ErasedStage<'a>,
        out: &'a Output<'a>,
        first_column: usize,
    ) -> Self {
        let offsets = match lhs.zero_points {
            ZeroPoints::Uniform(uniform) => Offsets { uniform, each: None },
            ZeroPoints::Each(each) => Offsets { uniform: 0, each: Some(each) },
        };
        Job { lhs, rhs, stage, out, first_column, offsets }
    }

    /// `Ok` when the operands, the stage and the result go together, and no sum can leave i32.
    pub fn check(&self) -> Result<(), Error> {
        let Job { lhs, rhs, stage, out, first_column, .. } = *self;
        let rows = lhs.source.rows();
        assert_eq!(stage.values.element_size(), out.element_size(), "a result of the stage's type");
        check_length("the depth of the activations", rhs.shape().depth, lhs.source.depth())?;
        check_length("the result's rows", rows, out.rows())?;
        stage.values.check(rows, out.columns())?;
        rhs.check_depth(lhs.check()?, first_column)
    }

    /// M.
    pub fn rows(&self) -> usize {
        self.out.rows()
    }

    /// The shape of the RHS, and how it is divided.
    pub fn shape(&self) -> &'a Shape {
        self.rhs.shape()
    }

    /// Whether the panels of the RHS exist.
    pub fn is_packed(&self) -> bool {
        matches!(self.rhs.codes, RhsCodes::Packed(_))
    }

    /// Whether the stage takes random words.
    pub fn is_stochastic(&self) -> bool {
        self.stage.values.words().is_some()
    }

    /// Computes some rows of some panels.
    ///
    /// # Safety
    /// No other piece with the same rows and panels of this result runs at the same time.
    pub unsafe fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let shape = self.shape();
        let columns = shape.columns_of(panels.clone());
        let columns = self.first_column + columns.start..self.first_column + columns.end;
        let mut words = RowWords::new(self.stage.values.words(), self.out.columns(), columns);
        let step = words.rows_at_a_time(rows.len(), shape.kernel.rows());
        for start in rows.clone().step_by(step) {
            let rows = start..rows.end.min(start + step);
            words.fill(shape.isa, rows.clone());
            // SAFETY: the rows are some of those that the caller vouches for.
            unsafe { self.run_with(&words, rows, panels.clone()) };
        }
    }

    /// Computes some rows, whose words are made, of some panels.
    ///
    /// # Safety
    /// No other piece with the same rows and panels of this result runs at the same time.
    pub unsafe fn run_with(&self, words: &RowWords, rows: Range<usize>, panels: Range<usize>) {
        let shape = self.shape();
        let in_place = match (in_place(&self.lhs.source, shape, rows.clone()), self.rhs.codes) {
            // Once more through a B that is not packed would cost more than copying some rows.
            (count, RhsCodes::Unpacked(_)) if count < rows.len() => 0,
            (count, _) => count,
        };
        let (split, factor) = (rows.start + in_place, self.rhs.row_sum_factor());
        // Rows that are read where they lie and not summed need no memory and no division into blocks. (Finding that out in the
        // loops below takes a sixth of a product of 16³.)
        if split == rows.end && factor == 0 && self.rows_at_a_time(rows.len()).parts() == 1 {
            let a = LhsBlock::in_place(&self.lhs.source, rows.clone());
            return self.multiply_block(words, &a, rows, panels);
        }
        let mut memory = LhsMemory::default();
        for (rows, in_place) in [(rows.start..split, true), (split..rows.end, false)] {
            let step = self.rows_at_a_time(rows.len());
            for part in step.iter() {
                let unit = if step.parts() == 1 { rows.len() } else { shape.kernel.rows() };
                let row = |part: usize| (rows.start + part * unit).min(rows.end);
                let rows = row(part.start)..row(part.end);
                let a = memory.read(self.lhs, shape, factor, rows.clone(), in_place);
                self.multiply_block(words, &a, rows, panels.clone());
            }
        }
    }

    /// A block of rows of A by some panels of B.
    #[inline(never)]
    fn multiply_block(&self, words: &RowWords, a: &LhsBlock<'_>, rows: Range<usize>, panels: Range<usize>) {
        match self.rhs.codes {
            RhsCodes::Packed(b) => self.multiply(words, a, rows, PanelSource::Packed(b, panels)),
            RhsCodes::Unpacked(b) if rows.len() <= b.most_sliced_rows() => {
                let together = DepthSlices::most_panels(rows.len());
                for first in panels.clone().step_by(together) {
                    let panels = first..panels.end.min(first + together);
                    let mut slices = DepthSlices::new(b, panels.clone(), a, rows.len(), self.offsets.any());
                    for panel in panels {
                        self.multiply(words, a, rows.clone(), PanelSource::One(slices.panel(panel)));
                    }
                }
            }
            RhsCodes::Unpacked(b) => {
                let mut batch = PanelBatch::new(b, self.offsets.any());
                for panel in panels.clone() {
                    self.multiply(words, a, rows.clone(), PanelSource::One(batch.panel(panel, panels.end)));
                }
            }
        }
    }

    fn multiply(&self, words: &RowWords, a: &LhsBlock<'_>, rows: Range<usize>, panels: PanelSource<'_>) {
        let Shape { isa, kernel, .. } = *self.shape();
        let epilogue = Epilogue { stage: &self.stage.values, out: self.out, words, first_column: self.first_column };
        let (panels, prefetch) = (&panels, panels.prefetch());
        (self.stage.multiply)(isa, &Multiply { a, rows, kernel, panels, prefetch, offsets: &self.offsets, epilogue });
    }

    /// Rows in blocks, which are read again for every panel of B: of a size that leaves half of a level-2 cache to the
    /// panels and the result. A single block is one unit; of several, tiles are the units.
    #[inline]
    fn rows_at_a_time(&self, rows: usize) -> Split {
        let (tile, row) = (self.shape().kernel.rows(), LhsMemory::copied_stride(self.shape()));
        let room = level2() / 2;
        if rows.saturating_mul(row) <= room {
            return Split::new(rows.min(1), 1);
        }
        Split::new(rows.div_ceil(tile), (room / row / tile).max(1))
    }
}
