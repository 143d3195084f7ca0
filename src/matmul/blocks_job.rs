//! Matrix multiplication by weights that have a scale for every block of them: integers inside a block, f32 across blocks.
//!
//! ```text
//! acc[b] = Σₖ (A[i,k] − za[i]) · W[j,k]              k of block b: exact, in i32
//! C[i,j] = Σ_b acc[b] as f32 · (S_a[i,b] · S_w[j,b])   from block 0 on, each product and each sum rounded once
//! ```
//!
//! The f32 order is this for every ISA, so the bytes are the same: multiply-adds are not fused, and a vector holds outputs
//! that are neighbours, never parts of one sum. The sums of a block are one call of the micro-kernel that other matrices
//! have, a block deep, on the same panels: blocks are whole steps of every kernel. The accumulators start with what
//! [`offsets`](super::offsets) says, block by block.

use core::ops::Range;
use core::slice::from_raw_parts_mut;

use super::lhs::{Lhs, LhsBlock, LhsMemory, in_place, sum_codes};
use super::offsets::{ColumnTerms, NO_TERMS, Offsets};
use super::output::Output;
use super::pack::Panel;
use super::packed::Packed;
use super::shape::Shape;
use super::tile::{AccRow, MAX_COLUMNS, MAX_ROWS, Operands};
use crate::cache::level2;
use crate::error::{Error, check_length};
use crate::exec::{Exec, PIECE};
use crate::kernel::{Kernel, Vectors};
use crate::matrix::{Matrix, ZeroPoints};
use crate::memory::Workspace;
use crate::simd::LANES;

/// Packed weights with a scale for every block.
#[derive(Debug)]
pub(super) struct BlockWeights {
    pub packed: Packed,
    /// Values of a block: whole steps of every micro-kernel.
    pub length: usize,
    /// Of every panel, block and column, in this order.
    pub scales: Vec<f32>,
    /// `−Σ W` over the block, in the same order, and [`MAX_COLUMNS`] more, which may be read.
    pub negative_sums: Vec<i32>,
}

/// Activations of either type, with their scales.
#[derive(Clone, Copy)]
pub(super) struct BlockLhs<'a> {
    pub codes: Matrix<'a, u8>,
    pub lhs: Lhs<'a>,
    pub scales: &'a [f32],
    /// From the scale of a row to that of the next, and from the scale of a block to that of the next.
    pub strides: [usize; 2],
}

/// The columns that the scales of a block have room for: whole vectors of every ISA.
#[inline(always)]
pub(super) fn room(shape: &Shape, panels: Range<usize>) -> usize {
    let mut columns = 0;
    for panel in panels {
        columns += (shape.vectors(panel) * shape.kernel.lanes).next_multiple_of(LANES);
    }
    columns
}

/// A checked multiplication, whose panels may be multiplied in any order, on any thread.
pub(super) struct BlocksJob<'a> {
    a: BlockLhs<'a>,
    weights: &'a BlockWeights,
    out: Output<'a>,
}

/// Multiply instructions times codes a nanosecond that no core exceeds.
const MULTIPLIED: usize = 512;

/// Bytes of weights a nanosecond that no core reads more of.
const READ: usize = 128;

/// Pieces that the panels are divided in.
const PIECES: usize = 16;

impl<'a> BlocksJob<'a> {
    /// `out` is of f32.
    pub fn new(a: BlockLhs<'a>, weights: &'a BlockWeights, out: Output<'a>) -> Result<Self, Error> {
        let shape = &weights.packed.panels().shape;
        assert_eq!(out.element_size(), size_of::<f32>());
        check_length("the depth of the activations", shape.depth, a.codes.columns())?;
        check_length("the result's rows", a.codes.rows(), out.rows())?;
        check_length("the result's columns", shape.columns, out.columns())?;
        Ok(BlocksJob { a, weights, out })
    }

    fn shape(&self) -> &'a Shape {
        &self.weights.packed.panels().shape
    }

    /// Multiplies all panels, on several threads if that is faster.
    pub fn run(&self, exec: Exec<'_>) {
        let (rows, shape) = (self.a.codes.rows(), self.shape());
        let codes = shape.columns.saturating_mul(shape.depth);
        // A few rows take as long as the weights take to be read.
        let nanoseconds = (rows.saturating_mul(codes) / MULTIPLIED).max(codes / READ);
        let team = exec.team_of(nanoseconds, PIECE);
        let panels = shape.panels();
        if team.alone() {
            // SAFETY: it is the only piece.
            return unsafe { self.run_panels(0..panels) };
        }
        let piece = |i: usize| i * panels / PIECES..(i + 1) * panels / PIECES;
        // SAFETY: every piece runs once, and pieces share no panel.
        team.share((0..PIECES).map(piece), |panels| unsafe { self.run_panels(panels) });
    }

    /// Computes the columns of some panels.
    ///
    /// # Safety
    /// No other piece with the same panels of this result runs at the same time.
    unsafe fn run_panels(&self, panels: Range<usize>) {
        let shape = self.shape();
        let (m, tile) = (self.a.codes.rows(), shape.kernel.rows());
        if m == 0 || panels.is_empty() {
            return;
        }
        let mut memory = LhsMemory::default();
        // Half of a level-2 cache for the rows that meet every panel.
        let most = (level2() / 2 / LhsMemory::copied_stride(shape) / tile).max(1) * tile;
        for start in (0..m).step_by(most) {
            let rows = start..m.min(start + most);
            let in_place = in_place(&self.a.lhs.source, shape, rows.clone()) == rows.len();
            let a = memory.read(&self.a.lhs, shape, 0, rows.clone(), in_place);
            let mut row_sums = Workspace::default();
            let needed = if self.weights.packed.panels().row_sum_factor() == 0 { 0 } else { rows.len() };
            let row_sums = row_sums.elements(shape.depth / self.weights.length * needed);
            shape.isa.run(MultiplyBlocks { job: self, a, rows, panels: panels.clone(), row_sums });
        }
    }
}

/// Some rows by some panels.
///
/// Whoever makes one vouches that no other thread writes the same columns of the result.
struct MultiplyBlocks<'a> {
    job: &'a BlocksJob<'a>,
    a: LhsBlock<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    /// Room for the sums of the blocks of every row, where the stored weights have a zero point.
    row_sums: &'a mut [i32],
}

/// Room for a tile of the result of any kernel.
struct Tile<'a> {
    /// Of one block.
    acc: &'a mut [AccRow; MAX_ROWS],
    /// Of all blocks before.
    totals: &'a mut [[f32; MAX_COLUMNS]; MAX_ROWS],
}

impl Kernel for MultiplyBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(mut self, simd: V) {
        self.sum_rows(simd);
        let MultiplyBlocks { job, rows, panels, .. } = &self;
        let shape = job.shape();
        let kernel = shape.kernel;
        let blocks = shape.depth / job.weights.length;
        let mut place = room(shape, 0..panels.start) * blocks;
        let (mut acc, mut totals) = (Workspace::default(), Workspace::default());
        let mut out = Tile {
            acc: acc.elements(MAX_ROWS).first_chunk_mut().expect("a tile"),
            totals: totals.elements(MAX_ROWS).first_chunk_mut().expect("a tile"),
        };
        for panel in panels.clone() {
            let room = room(shape, panel..panel + 1);
            let panel = job.weights.packed.panels().at(panel);
            for tile in kernel.row_tiles(rows.len(), panel.vectors).iter() {
                out.totals[..tile.len()].fill([0.0; MAX_COLUMNS]);
                for block in 0..blocks {
                    let place = place + block * room;
                    self.add_block(simd, &panel, tile.clone(), [block, place], &mut out);
                }
                self.store(&panel, tile, out.totals);
            }
            place += room * blocks;
        }
    }
}

impl MultiplyBlocks<'_> {
    /// Makes the sums of the codes of every block and row, times the factor, if they are needed.
    #[inline(always)]
    fn sum_rows<V: Vectors>(&mut self, simd: V) {
        if self.row_sums.is_empty() {
            return;
        }
        let factor = self.job.weights.packed.panels().row_sum_factor();
        let (codes, sign) = (&self.job.a.codes, self.job.a.lhs.sign);
        let count = self.rows.len();
        for i in 0..count {
            let row = codes.row(self.rows.start + i).chunks_exact(self.job.weights.length);
            for (b, block) in row.enumerate() {
                self.row_sums[b * count + i] = sum_codes(simd, sign, block) * factor;
            }
        }
    }

    /// Adds the products of a block of a tile of rows, times the scales at `place`, to the totals.
    #[inline(always)]
    fn add_block<V: Vectors>(
        &self,
        simd: V,
        panel: &Panel<'_>,
        tile: Range<usize>,
        [block, place]: [usize; 2],
        Tile { acc, totals }: &mut Tile<'_>,
    ) {
        let MultiplyBlocks { job, a, rows, row_sums, .. } = self;
        let BlocksJob { a: activations, weights, .. } = job;
        let kernel = job.shape().kernel;
        let offsets = match activations.lhs.zero_points {
            ZeroPoints::Uniform(uniform) => Offsets { uniform, each: None },
            ZeroPoints::Each(each) => Offsets { uniform: 0, each: Some(&each[rows.start..rows.end]) },
        };
        let width = panel.vectors * kernel.lanes;
        let negative_sums = &weights.negative_sums[place..place + MAX_COLUMNS];
        let terms = ColumnTerms { bias: &NO_TERMS, negative_sums, zero_points: None };
        let initial =
            if offsets.uniform == 0 { AccRow([0; MAX_COLUMNS]) } else { offsets.column_terms(simd, &terms, width) };
        let block_sums = row_sums.get(block * rows.len() + tile.start..).unwrap_or_default();
        let row_terms = offsets.row_terms(&terms, tile.start, block_sums, None);
        let length = weights.length;
        let bytes = if kernel.widen_a { 2 * length } else { length };
        let operands = Operands {
            steps: length / kernel.depth,
            a: a.a.wrapping_add(tile.start * a.stride + block * bytes),
            a_stride: a.stride,
            b: panel.codes.wrapping_add(block * length * width),
            initial: initial.0.as_ptr(),
            initial_stride: 0,
            row_terms: row_terms.added,
            updates: row_terms.updates(),
            sums: acc.as_mut_ptr().cast(),
            sums_stride: MAX_COLUMNS,
            prefetch: tile.start == 0,
        };
        // SAFETY: the panel was packed for this kernel on an ISA that the CPU has, and a block of it is `steps` steps of
        // `vectors` vectors; `a` has the rows of the tile, each with the codes of the block; `initial`, terms, columns of
        // rank-one updates and `acc` are for every tile.
        unsafe { kernel.tiles[panel.vectors - 1][tile.len() - 1](operands) };
        let scales = weights.scales[place..place + width.next_multiple_of(LANES)].as_chunks::<LANES>().0;
        let [row_stride, block_stride] = activations.strides;
        for r in 0..tile.len() {
            let row = rows.start + tile.start + r;
            let scale = simd.splat_f32(activations.scales[row * row_stride + block * block_stride]);
            let (acc, totals) = (acc[r].0.as_chunks::<LANES>().0, totals[r].as_chunks_mut::<LANES>().0);
            for ((acc, total), scales) in acc.iter().zip(totals).zip(scales) {
                let both = simd.mul_f32(scale, simd.load_f32(scales));
                let term = simd.mul_f32(simd.to_f32(simd.load_i32(acc)), both);
                simd.store_f32(simd.add_f32(simd.load_f32(total), term), total);
            }
        }
    }

    /// Writes the totals of a tile of rows.
    #[inline(always)]
    fn store(&self, panel: &Panel<'_>, tile: Range<usize>, totals: &[[f32; MAX_COLUMNS]; MAX_ROWS]) {
        let (row, columns) = (self.rows.start + tile.start, &panel.columns);
        let place = self.job.out.place(row, columns.start, tile.len(), columns.len());
        for (r, totals) in totals[..tile.len()].iter().enumerate() {
            let row = place.data.wrapping_add(r * place.stride).cast::<f32>();
            // SAFETY: `place` is of f32 and has these rows and columns; no other thread has them.
            let out = unsafe { from_raw_parts_mut(row, columns.len()) };
            for (out, &total) in out.iter_mut().zip(totals) {
                *out = if total.is_nan() { f32::NAN } else { total };
            }
        }
    }
}
