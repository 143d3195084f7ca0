//! Integer matrix multiplication: exact i32 sums of 8-bit products, for any zero points, on every ISA.
//!
//! ```text
//! C[i,j] = Σₖ (A[i,k] − za[i]) · (B[k,j] − zb[j]) + bias[j]
//! ```
//!
//! A micro-kernel computes the sums of products of codes; [`offsets`], the one place of the algebra of zero points, says
//! what these sums begin with. Then an output [`Stage`] makes i32, f32 or codes of them.
//!
//! ```text
//! matmul                      checks shapes, zero points and depth once
//!   for blocks of rows        RowBlock: A where it lies, or copied and widened; its row sums
//!     for panels of B
//!       for tiles of rows     Microkernel: sums, all in registers, from the first to the last product
//!                             Epilogue: stage, store; nothing when the sums are the elements
//! ```
//!
//! A block of rows and a panel of B stay in the level-2 cache while they meet. The depth is not divided: a panel of any
//! depth that occurs fits there too, and sums stay in registers from the first product to the output stage. A B that is
//! not packed ([`unpacked`]) is packed some panels at a time, or for a single tile of rows read where it lies.

mod blocks;
mod columns;
pub(crate) mod dot;
mod epilogue;
pub(crate) mod fixed_point;
pub(crate) mod interleave;
mod multiplier;
mod offsets;
mod pack;
mod pack_panel;
mod requantize;
mod rhs;
mod rows;
pub(crate) mod shape;
pub(crate) mod split;
mod stage;
pub(crate) mod tile;
mod unpacked;
mod words;

use core::marker::PhantomData;
use core::ops::Range;

use crate::cache::level2;
use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::kernel::{Kernel, Vectors};
use crate::matrix::{Matrix, MatrixMut, Pieces, ZeroPoints};
use dot::AHEAD;
use epilogue::Epilogue;
use offsets::Offsets;
use pack::{Panel, Panels};
use rhs::{RhsCodes, RhsRef};
use rows::{Placed, RowBlock, in_place};
use split::Split;
use tile::{AccRow, AccTile, MAX_COLUMNS, MAX_ROWS, Microkernel, Operands};
use unpacked::{DepthSlices, PanelBatch};

#[cfg(feature = "rayon")]
pub(crate) use blocks::BlocksJob;
pub use blocks::{BlockActivations, PackedBlocks, matmul_blocks};
pub(crate) use columns::Columns;
pub use multiplier::{multipliers, quantize_bias, quantize_multiplier};
pub use requantize::{FixedPoint, FloatMultiplier, Gemmlowp, Multiplier, Requantize, RequantizeStochastic, Shift};
#[allow(unused_imports)]
pub(crate) use rhs::EraseRhs;
pub(crate) use rhs::Weights;
pub use rhs::{PackedMatrix, Rhs, UnpackedMatrix};
pub(crate) use rows::Rows;
pub(crate) use shape::{Shape, check_accumulator};
pub use stage::{Accumulators, Dequantize, DequantizeRows, Stage};
pub(crate) use words::{FillRows, RowWords};

/// `out = stage(Σₖ (a − za) · (b − zb) + bias)` for an `[M, K]` matrix of activations and a right operand
/// `[K, N]`: packed weights, or a matrix as it lies. Calls that repeat do not allocate.
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
pub fn matmul<A: Code, S: Stage>(
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    b: &impl Rhs<A>,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    let job = Job::whole(&a, a_zero_points, b.erase(), stage, &mut out)?;
    job.run(0..a.rows(), 0..job.panels());
    Ok(())
}

/// A checked matrix multiplication, whose pieces may run in any order, on any thread.
pub(crate) struct Job<'a, A, R, S: Stage> {
    rows: &'a R,
    codes: PhantomData<fn(A)>,
    b: RhsRef<'a>,
    shape: Shape,
    row_sum_factor: i32,
    stage: &'a S,
    /// Where the columns of B begin in those of the stage and of `out`.
    first_column: usize,
    /// The columns of `out`.
    out_columns: usize,
    out: Pieces<'a, S::Element>,
    offsets: Offsets<'a>,
}

impl<'a, A: Code, R: Rows<A>, S: Stage> Job<'a, A, R, S> {
    /// A multiplication that makes all columns of `out`.
    pub fn whole(
        rows: &'a R,
        a_zero_points: ZeroPoints<'a>,
        b: RhsRef<'a>,
        stage: &'a S,
        out: &'a mut MatrixMut<'_, S::Element>,
    ) -> Result<Self, Error> {
        check_length("the result's columns", b.shape().columns, out.columns())?;
        Job::new(rows, a_zero_points, b, stage, 0, out)
    }

    /// A multiplication that makes the columns of `out` and of the stage from `first_column` on.
    pub fn new(
        rows: &'a R,
        a_zero_points: ZeroPoints<'a>,
        b: RhsRef<'a>,
        stage: &'a S,
        first_column: usize,
        out: &'a mut MatrixMut<'_, S::Element>,
    ) -> Result<Self, Error> {
        check_length("a row of A", b.shape().depth, rows.depth())?;
        check_length("the result's rows", rows.rows(), out.rows())?;
        stage.check(rows.rows(), out.columns())?;
        b.check_depth(a_zero_points.check::<A>(rows.rows())?)?;
        let offsets = match a_zero_points {
            ZeroPoints::Uniform(uniform) => Offsets { uniform, each: None },
            ZeroPoints::Each(each) => Offsets { uniform: 0, each: Some(each) },
        };
        Ok(Job {
            rows,
            codes: PhantomData,
            b,
            shape: *b.shape(),
            row_sum_factor: b.row_sum_factor(),
            stage,
            first_column,
            out_columns: out.columns(),
            out: out.pieces(),
            offsets,
        })
    }

    /// Panels of B: the unit in which columns are divided.
    pub fn panels(&self) -> usize {
        self.shape.panels()
    }

    /// The shape of B, and how it is divided.
    #[cfg(feature = "rayon")]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether the panels of B are there.
    #[cfg(feature = "rayon")]
    pub fn is_packed(&self) -> bool {
        matches!(self.b.codes, RhsCodes::Packed(_))
    }

    /// Whether the stage takes random words.
    #[cfg(feature = "rayon")]
    pub fn is_stochastic(&self) -> bool {
        self.stage.stream().is_some()
    }

    /// Computes some rows of some panels. Pieces that do not overlap may run at the same time.
    pub fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let kernel = self.shape.kernel;
        let columns = self.shape.columns_of(panels.clone());
        let columns = self.first_column + columns.start..self.first_column + columns.end;
        let mut words = RowWords::new(self.stage.stream(), self.out_columns, columns);
        for rows in words.blocks(rows, kernel.rows()) {
            if S::STOCHASTIC {
                self.shape.isa.run(FillRows(&mut words, rows.clone()));
            }
            self.run_with(&words, rows, panels.clone());
        }
    }

    /// The same for rows whose words are made.
    pub fn run_with(&self, words: &RowWords, rows: Range<usize>, panels: Range<usize>) {
        let mut block = RowBlock::default();
        let in_place = rows.start
            + match (in_place(self.rows, &self.shape, rows.clone()), self.b.codes) {
                // Once more through a B that is not packed would cost more than copying some rows.
                (count, RhsCodes::Unpacked(_)) if count < rows.len() => 0,
                (count, _) => count,
            };
        for (rows, in_place) in [(rows.start..in_place, true), (in_place..rows.end, false)] {
            for rows in self.blocks(rows) {
                let a = block.read(self.rows, &self.shape, self.row_sum_factor, rows.clone(), in_place);
                match self.b.codes {
                    RhsCodes::Packed(b) => self.multiply(words, &a, rows, Source::Packed(b, panels.clone())),
                    RhsCodes::Unpacked(b) if rows.len() <= self.shape.kernel.rows() => {
                        let mut stripes = DepthSlices::new(b, panels.clone(), &a, rows.len(), self.offsets.any());
                        for panel in panels.clone() {
                            self.multiply(words, &a, rows.clone(), Source::One(stripes.panel(panel)));
                        }
                    }
                    RhsCodes::Unpacked(b) => {
                        let mut group = PanelBatch::new(b, self.offsets.any());
                        for panel in panels.clone() {
                            self.multiply(words, &a, rows.clone(), Source::One(group.panel(panel, panels.end)));
                        }
                    }
                }
            }
        }
    }

    /// Some rows of A by some panels of B.
    fn multiply(&self, words: &RowWords, a: &Placed<'_>, rows: Range<usize>, panels: Source<'_>) {
        let Shape { isa, kernel, .. } = self.shape;
        let epilogue = Epilogue { stage: self.stage, out: &self.out, words, first_column: self.first_column };
        isa.run(Multiply { a, rows, kernel, panels, offsets: self.offsets, epilogue });
    }

    /// Rows in blocks, which are read again for every panel of B: of a size that leaves half of a level-2 cache to the
    /// panels and the result.
    #[inline]
    fn blocks(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<A, R, S> {
        let (tile, row) = (self.shape.kernel.rows(), RowBlock::copied_stride(&self.shape));
        let room = level2() / 2;
        // In tiles.
        let blocks = if rows.len() * row <= room {
            Split::new(rows.len().min(1), 1)
        } else {
            Split::new(rows.len().div_ceil(tile), (room / row / tile).max(1))
        };
        let whole = blocks.parts() == 1;
        blocks.iter().map(move |tiles| {
            let row = |tiles: usize| (rows.start + tiles * tile).min(rows.end);
            if whole { rows.clone() } else { row(tiles.start)..row(tiles.end) }
        })
    }
}

/// Panels of B.
enum Source<'a> {
    Packed(&'a Panels, Range<usize>),
    One(Panel<'a>),
}

impl<'a> Source<'a> {
    #[inline]
    fn count(&self) -> usize {
        match self {
            Source::Packed(_, panels) => panels.len(),
            Source::One(_) => 1,
        }
    }

    /// Whether there is anything to be fetched so far ahead.
    #[inline]
    fn prefetch(&self) -> bool {
        match self {
            Source::Packed(b, panels) => b.shape.panel_bytes(panels.clone()) > AHEAD,
            // It was just written.
            Source::One(_) => false,
        }
    }

    #[inline(always)]
    fn at(&self, panel: usize) -> Panel<'a> {
        match self {
            Source::Packed(b, panels) => b.at(panels.start + panel),
            Source::One(panel) => panel.clone(),
        }
    }
}

/// Some rows of A by some panels of B.
struct Multiply<'a, S: Stage> {
    a: &'a Placed<'a>,
    rows: Range<usize>,
    kernel: &'a Microkernel,
    panels: Source<'a>,
    offsets: Offsets<'a>,
    epilogue: Epilogue<'a, S>,
}

impl<S: Stage> Kernel for Multiply<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        let Multiply { a, rows, kernel, panels, offsets, epilogue } = self;
        let prefetch = panels.prefetch();
        let mut sums: AccTile = [AccRow([0; MAX_COLUMNS]); MAX_ROWS];
        for panel in 0..panels.count() {
            let Panel { codes, steps, sums: before, vectors, columns, terms } = panels.at(panel);
            let column_terms = offsets.column_terms(simd, &terms, columns.len());
            let (initial, initial_stride) = match before {
                None => (column_terms.0.as_ptr(), 0),
                Some(sums) => (sums.as_ptr().cast(), MAX_COLUMNS),
            };
            for tile in kernel.row_tiles(rows.len(), vectors).iter() {
                let first = tile.start;
                let tile = rows.start + tile.start..rows.start + tile.end;
                let (out, stride, width) = if S::RAW {
                    let column = epilogue.first_column + columns.start;
                    let (out, stride) = epilogue.out.block(tile.start, column, tile.len(), columns.len());
                    (out.cast(), stride, columns.len())
                } else {
                    (sums.as_mut_ptr().cast(), MAX_COLUMNS, vectors * kernel.lanes)
                };
                let row_terms = offsets.row_terms(
                    &terms,
                    tile.start,
                    a.sums.get(first..).unwrap_or_default(),
                    before.map(|_| &column_terms),
                );
                let operands = Operands {
                    steps,
                    a: a.a.wrapping_add(first * a.stride),
                    a_stride: a.stride,
                    b: codes,
                    initial,
                    initial_stride,
                    row_terms: row_terms.added,
                    updates: row_terms.updates(),
                    sums: out,
                    sums_stride: stride,
                    columns: width,
                    prefetch: prefetch && first == 0,
                };
                // SAFETY: `b` was packed for this kernel on an ISA that the CPU has, its panel has `steps` steps of
                // `vectors` vectors; `a` has the rows of the tile, of `steps` steps each; `initial` and `sums` are for
                // every tile, or `sums` is the tile of the result, whose elements are i32.
                unsafe { kernel.tiles[vectors - 1][tile.len() - 1](operands) };
                if !S::RAW {
                    epilogue.emit(simd, &sums, tile, columns.clone());
                }
            }
        }
    }
}
