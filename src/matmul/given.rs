//! An output stage on accumulators that are given: the epilogue of a multiplication alone.

use core::ops::Range;
use core::ptr::null;

use super::epilogue::Epilogue;
use super::erased_stage::{EraseStage, ErasedStage, OperandScales};
use super::lhs::LhsBlock;
use super::multiply::{Multiply, PanelSource};
use super::offsets::Offsets;
use super::output::Output;
use super::stage::Stage;
use super::tile::{AccRow, MAX_COLUMNS, MAX_ROWS};
use super::weights::WeightScales;
use super::words::RowWords;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::memory::Scratch;
use crate::sign::Sign;

/// Applies a stage to accumulators that are given, `[M, N]`: those of another program, of a sum of products, or kept from an
/// earlier [`matmul`](crate::raw::matmul()) with [`Accumulators`](crate::Accumulators). Zero points and an integer bias are
/// already in them.
///
/// The stage is one that knows its scales: [`raw::requantize`](crate::raw::requantize()), [`Requantize::new`](crate::Requantize::new),
/// or [`DequantizeRows`](crate::raw::DequantizeRows). The result is the one that a multiplication with this stage and these
/// accumulators has, bit for bit. (−2³¹, which no product has, is requantized as −2³¹ + 1.)
///
/// ```
/// use zeropoint::{Exec, Matrix, MatrixMut, Rule, raw};
/// let accumulators = [100, -60, 1151, 7, 0, -2000]; // 2 × 3
/// let stage = raw::requantize(Rule::Float, &[0.25, 0.5, 0.125], 10, 0_u8..=255)?;
/// let mut codes = [0; 6];
/// raw::apply(Exec::best()?, Matrix::new(&accumulators, 2, 3)?, &stage, MatrixMut::new(&mut codes, 2, 3)?)?;
/// assert_eq!(codes, [35, 0, 154, 12, 10, 0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] when the shapes, or the values of the stage, do not go together; [`Error::Empty`] for a
/// [`Dequantize`](crate::Dequantize), whose scales are those of operands; [`Error::Stream`] when a stochastic stage has too few
/// words. Then `out` is untouched.
pub fn apply<'e, S: Stage>(
    exec: impl Into<Exec<'e>>,
    accumulators: Matrix<'_, i32>,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    apply_erased(exec.into(), accumulators, stage, Output::new(&mut out))
}

/// Accumulators that a core turns into elements in a nanosecond at most: an upper bound, so that work is shared only if every
/// core gains by it.
const APPLIED: usize = 16;

/// The elements of `out` are those of the stage.
fn apply_erased(
    exec: Exec<'_>,
    accumulators: Matrix<'_, i32>,
    stage: &dyn EraseStage,
    out: Output<'_>,
) -> Result<(), Error> {
    let (rows, columns) = (accumulators.rows(), accumulators.columns());
    check_length("the result's rows", rows, out.rows())?;
    check_length("the result's columns", columns, out.columns())?;
    let no_scales = WeightScales::default();
    let stage = stage.erase(OperandScales::new(&[], &no_scales)?)?;
    stage.values.check(rows, columns)?;
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    let job = GivenJob { isa: exec.isa(), accumulators, stage: &stage, out: &out };
    let team = exec.team(rows.saturating_mul(columns) / APPLIED);
    if team.alone() {
        // SAFETY: it is the only piece.
        unsafe { job.run(0..rows, 0..columns) };
        return Ok(());
    }
    // Sixteen pieces are divided evenly by up to eight threads: of rows, or of columns where there are fewer rows.
    const PIECES: usize = 16;
    let by_rows = rows >= PIECES;
    let (length, unit) = if by_rows { (rows, 1) } else { (columns, MAX_COLUMNS) };
    let unit = length.div_ceil(PIECES).next_multiple_of(unit);
    let pieces = (0..length.div_ceil(unit)).map(|i| i * unit..length.min((i + 1) * unit));
    team.share(pieces, |piece| {
        let (rows, columns) = if by_rows { (piece, 0..columns) } else { (0..rows, piece) };
        // SAFETY: every piece runs once, and pieces share no row, or no column.
        unsafe { job.run(rows, columns) };
    });
    Ok(())
}

/// A checked application of a stage.
struct GivenJob<'a> {
    isa: Isa,
    accumulators: Matrix<'a, i32>,
    stage: &'a ErasedStage<'a>,
    out: &'a Output<'a>,
}

/// Columns of a block of accumulators: with eight rows, they take half of a level-1 cache at most.
const BLOCK_COLUMNS: usize = 8 * MAX_COLUMNS;

impl GivenJob<'_> {
    /// Makes some rows and columns of the result.
    ///
    /// # Safety
    /// No other piece with the same rows and columns of this result runs at the same time.
    unsafe fn run(&self, rows: Range<usize>, columns: Range<usize>) {
        let mut words = RowWords::new(self.stage.values.words(), self.out.columns(), columns.clone());
        let mut workspace = Scratch::default();
        let step = words.rows_at_a_time(rows.len(), MAX_ROWS);
        for start in rows.clone().step_by(step) {
            let some = start..rows.end.min(start + step);
            words.fill(self.isa, some.clone());
            for start in some.clone().step_by(MAX_ROWS) {
                let rows = start..some.end.min(start + MAX_ROWS);
                for start in columns.clone().step_by(BLOCK_COLUMNS) {
                    let columns = start..columns.end.min(start + BLOCK_COLUMNS);
                    let panels = columns.len().div_ceil(MAX_COLUMNS);
                    let block = workspace.elements::<AccRow>(panels * rows.len());
                    for (i, row) in rows.clone().enumerate() {
                        let accumulators = &self.accumulators.row(row)[columns.clone()];
                        for (panel, accumulators) in accumulators.chunks(MAX_COLUMNS).enumerate() {
                            block[panel * rows.len() + i].0[..accumulators.len()].copy_from_slice(accumulators);
                        }
                    }
                    let given = Given { accumulators: block, rows: rows.clone(), columns };
                    // SAFETY: the rows and columns are some of those that the caller vouches for.
                    unsafe { given.emit(self.isa, self.stage, self.out, &words) };
                }
            }
        }
    }
}

/// Accumulators of some rows and columns of a result.
pub(crate) struct Given<'a> {
    /// For every panel of [`MAX_COLUMNS`] columns, a row for every row.
    pub accumulators: &'a [AccRow],
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Given<'_> {
    /// Makes the elements of these accumulators by a stage, whose words of these rows and columns are made.
    ///
    /// # Safety
    /// No other thread writes the same rows and columns of `out`, whose elements are those of the stage.
    pub unsafe fn emit(&self, isa: Isa, stage: &ErasedStage<'_>, out: &Output<'_>, words: &RowWords) {
        let multiply = Multiply {
            a: &LhsBlock { a: null(), stride: 0, sums: &[] },
            rows: self.rows.clone(),
            // Any kernel: nothing is multiplied.
            kernel: isa.microkernel(Sign::Unsigned),
            panels: &PanelSource::Given { accumulators: self.accumulators, columns: self.columns.len() },
            prefetch: false,
            offsets: &Offsets { uniform: 0, each: None },
            epilogue: Epilogue { stage: &stage.values, out, words, first_column: self.columns.start },
        };
        (stage.multiply)(isa, &multiply);
    }
}
