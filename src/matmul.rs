//! Integer matrix multiplication: exact i32 sums of 8-bit products, for any zero points, on every ISA.
//!
//! ```text
//! C[i,j] = Σₖ (A[i,k] − za[i]) · (B[k,j] − zb[j]) + bias[j]
//!        = Σₖ A[i,k]·B[k,j]  −  zb[j] · Σₖ A[i,k]  −  za[i] · Σₖ (B[k,j] − zb[j])  +  bias[j]
//! ```
//!
//! The first term is all that a micro-kernel computes; the sums of the others come from packing, and [`Epilogue`], the
//! one place of this algebra, puts them together. The terms wrap in i32; the result is exact because the depth is
//! checked against the largest products that the zero points allow. Then an output [`Stage`] makes i32, f32 or codes of
//! it.
//!
//! ```text
//! matmul                      checks shapes, zero points and depth once
//!   for blocks of rows        RowBlock: A where it lies, or copied and widened; its row sums
//!     for panels of B
//!       for tiles of rows     Microkernel: raw sums, all in registers
//!                             Epilogue: offsets, bias, stage, store
//! ```

mod columns;
mod multiplier;
mod pack;
mod stage;
pub(crate) mod tile;
mod words;

use core::ops::Range;

use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::matrix::{Matrix, MatrixMut, Pieces, ZeroPoints};
use crate::simd::{Kernel, LANES, Simd};
use pack::RowBlock;
use tile::{MAX_COLUMNS, MAX_ROWS, Operands, Sums};

pub(crate) use columns::Columns;
pub use multiplier::{multipliers, quantize_bias, quantize_multiplier};
pub use pack::PackedMatrix;
pub(crate) use pack::{Rows, check_accumulator};
pub use stage::{
    Accumulators, Dequantize, DequantizeRows, FixedPoint, FloatMultiplier, Gemmlowp, Multiplier, Requantize,
    RequantizeStochastic, Shift, Stage,
};
pub(crate) use words::{FillRows, RowWords};

/// `out = stage(Σₖ (a − za) · (b − zb) + bias)` for an `[M, K]` matrix of activations and packed `[K, N]` weights.
///
/// ```
/// use zeropoint::{Accumulators, Isa, Matrix, MatrixMut, PackedMatrix, matmul};
/// let a = [12_u8, 200, 255, 0, 37, 128]; // 2 × 3, zero point 100
/// let b = [3_u8, 250, 77, 0, 255, 19]; // 3 × 2, zero point 7
/// let packed = PackedMatrix::pack(Isa::best()?, Matrix::new(&b, 3, 2)?, 7.into())?;
/// let mut c = [0; 4];
/// matmul(Matrix::new(&a, 2, 3)?, 100.into(), &packed, &Accumulators, MatrixMut::new(&mut c, 2, 2)?)?;
/// assert_eq!(c, [45792, -20224, 2934, -23523]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] when the shapes do not go together, [`Error::ZeroPoint`], [`Error::Depth`] when a sum could leave
/// i32, [`Error::Stream`] when a stochastic stage has too few words. Then `out` is untouched.
pub fn matmul<A: Code, B: Code, S: Stage>(
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    b: &PackedMatrix<A, B>,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    let job = Job::whole(&a, a_zero_points, b, stage, &mut out)?;
    job.run(0..a.rows(), 0..job.panels());
    Ok(())
}

/// A checked matrix multiplication, whose pieces may run in any order, on any thread.
pub(crate) struct Job<'a, A, B, R, S: Stage> {
    rows: &'a R,
    b: &'a PackedMatrix<A, B>,
    stage: &'a S,
    /// Where the columns of B begin in those of the stage and of `out`.
    first_column: usize,
    /// The columns of `out`.
    out_columns: usize,
    out: Pieces<'a, S::Element>,
    /// What is added to every row of a column: `bias − za·Σ(b − zb)`, or the bias when za differs by row.
    column_terms: Columns<i32>,
    /// Zero points that differ by row.
    row_zero_points: Option<&'a [i32]>,
}

/// The codes of a block of rows of A, which is read again for every panel of B: well inside a level-2 cache, widened too.
const ROW_BLOCK_CODES: usize = 128 << 10;

impl<'a, A: Code, B: Code, R: Rows<A>, S: Stage> Job<'a, A, B, R, S> {
    /// A multiplication that makes all columns of `out`.
    pub fn whole(
        rows: &'a R,
        a_zero_points: ZeroPoints<'a>,
        b: &'a PackedMatrix<A, B>,
        stage: &'a S,
        out: &'a mut MatrixMut<'_, S::Element>,
    ) -> Result<Self, Error> {
        check_length("the result's columns", b.columns(), out.columns())?;
        Job::new(rows, a_zero_points, b, stage, 0, out)
    }

    /// A multiplication that makes the columns of `out` and of the stage from `first_column` on.
    pub fn new(
        rows: &'a R,
        a_zero_points: ZeroPoints<'a>,
        b: &'a PackedMatrix<A, B>,
        stage: &'a S,
        first_column: usize,
        out: &'a mut MatrixMut<'_, S::Element>,
    ) -> Result<Self, Error> {
        check_length("a row of A", b.depth(), rows.depth())?;
        check_length("the result's rows", rows.rows(), out.rows())?;
        stage.check(rows.rows(), out.columns())?;
        b.check_depth(a_zero_points.check::<A>(rows.rows())?)?;
        let (uniform, row_zero_points) = match a_zero_points {
            ZeroPoints::Uniform(zero_point) => (zero_point, None),
            ZeroPoints::Each(zero_points) => (0, Some(zero_points)),
        };
        let column_terms = b.column_terms(uniform);
        let out_columns = out.columns();
        Ok(Job { rows, b, stage, first_column, out_columns, out: out.pieces(), column_terms, row_zero_points })
    }

    /// Panels of B: the unit in which columns are divided.
    pub fn panels(&self) -> usize {
        self.b.columns().div_ceil(self.b.microkernel().columns())
    }

    /// Rows of a tile: the unit in which rows are best divided.
    #[cfg(feature = "rayon")]
    pub fn tile_rows(&self) -> usize {
        self.b.microkernel().rows()
    }

    /// Computes some rows of some panels. Pieces that do not overlap may run at the same time.
    pub fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let kernel = self.b.microkernel();
        let end = self.b.columns().min(panels.end * kernel.columns());
        let columns = self.first_column + panels.start * kernel.columns()..self.first_column + end;
        let mut words = RowWords::new(self.stage.stream(), self.out_columns, columns);
        for rows in words.blocks(rows, kernel.rows()) {
            self.b.isa().run(FillRows(&mut words, rows.clone()));
            self.run_with(&words, rows, panels.clone());
        }
    }

    /// The same for rows whose words are made.
    pub fn run_with(&self, words: &RowWords, rows: Range<usize>, panels: Range<usize>) {
        let kernel = self.b.microkernel();
        let steps = self.b.depth().div_ceil(kernel.depth);
        let block_rows = (ROW_BLOCK_CODES / (steps * kernel.depth).max(1)).max(1).next_multiple_of(kernel.rows());
        let mut block = RowBlock::default();
        let mut sums: Sums = [[0; MAX_COLUMNS]; MAX_ROWS];
        for start in rows.clone().step_by(block_rows) {
            let block_rows = block_rows.min(rows.end - start);
            let (a, a_stride) = block.fill(self.b, self.rows, start..start + block_rows);
            for panel in panels.clone() {
                let (b, vectors) = self.b.panel(panel);
                let first_column = panel * kernel.columns();
                for row in (0..block_rows).step_by(kernel.rows()) {
                    let tile_rows = kernel.rows().min(block_rows - row);
                    let a = a.wrapping_add(row * a_stride);
                    let operands = Operands { steps, a, a_stride, b, sums: sums.as_flattened_mut().as_mut_ptr() };
                    // SAFETY: `b` was packed for this kernel on an ISA that the CPU has, its panel has `steps` steps of
                    // `vectors` vectors; the block holds (or lies in a matrix that holds) `block_rows` rows of `steps`
                    // steps; `sums` takes every tile.
                    unsafe { kernel.tiles[vectors - 1][tile_rows - 1](operands) };
                    self.b.isa().run(Epilogue {
                        job: self,
                        sums: &sums,
                        row: start + row,
                        rows: tile_rows,
                        row_sums: block.sums.get(row..).unwrap_or_default(),
                        words,
                        column: first_column,
                        columns: (vectors * kernel.lanes).min(self.b.columns() - first_column),
                    });
                }
            }
        }
    }
}

impl<A: Code, B: Code> PackedMatrix<A, B> {
    /// `bias[j] − za · Σₖ (b[k][j] − zb[j])`
    fn column_terms(&self, a_zero_point: i32) -> Columns<i32> {
        if a_zero_point == 0 {
            return self.bias.clone();
        }
        self.bias.zip(&self.sums, |bias, sum| bias.wrapping_sub(a_zero_point.wrapping_mul(sum)))
    }
}

/// From the raw sums of a tile to elements of the result.
struct Epilogue<'a, 'j, A, B, R, S: Stage> {
    job: &'a Job<'j, A, B, R, S>,
    sums: &'a Sums,
    /// The tile's first row, and how many it has.
    row: usize,
    rows: usize,
    /// Sums of the tile's rows of A; empty when B has no zero points.
    row_sums: &'a [i32],
    words: &'a RowWords,
    /// The tile's first column, and how many it has.
    column: usize,
    columns: usize,
}

impl<A: Code, B: Code, R: Rows<A>, S: Stage> Kernel for Epilogue<'_, '_, A, B, R, S> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let Epilogue { job, sums, row: first_row, rows, row_sums, words, column: first_column, columns } = self;
        for (r, sums) in sums[..rows].iter().enumerate() {
            let row = first_row + r;
            for first in (0..columns).step_by(LANES) {
                let column = first_column + first;
                let sums: &[i32; LANES] =
                    sums[first..].first_chunk().expect("a row of sums is a multiple of sixteen wide");
                let mut acc = simd.add_i32(simd.load_i32(sums), simd.load_i32(job.column_terms.at(column)));
                if let Some(zero_points) = &job.b.zero_points {
                    let term = simd.mul_i32(simd.splat_i32(row_sums[r]), simd.load_i32(zero_points.at(column)));
                    acc = simd.sub_i32(acc, term);
                }
                if let Some(zero_points) = job.row_zero_points {
                    let term = simd.mul_i32(simd.splat_i32(zero_points[row]), simd.load_i32(job.b.sums.at(column)));
                    acc = simd.sub_i32(acc, term);
                }
                let count = LANES.min(columns - first);
                let column = job.first_column + column;
                // SAFETY: tiles do not overlap, and pieces of a job that run at the same time share no tile.
                let out = unsafe { job.out.piece(row, column, count) };
                job.stage.emit_some(simd, row, column, acc, words, out);
            }
        }
    }
}
