//! Matrix multiplication by weights that have a scale for every 32 of them: integers inside a block, f32 across blocks.
//!
//! ```text
//! acc[b] = Σₖ (A[i,k] − za[i]) · W[j,k]              k of block b: exact, in i32
//! C[i,j] = Σ_b acc[b] as f32 · (S_a[i,b] · S_w[j,b])   from block 0 on, each product and each sum rounded once
//! ```
//!
//! The f32 order is this for every ISA, so the bytes are the same: multiply-adds are not fused, and a vector holds outputs
//! that lie beside each other, never parts of one sum. The sums of a block are one call of the micro-kernel that other
//! matrices have, 32 deep, on the same panels: blocks are whole steps of every kernel. What it begins with comes from
//! [`offsets`](super::offsets), block by block.

use core::ops::Range;

use super::offsets::{ColumnTerms, Offsets};
use super::pack::Panel;
use super::rhs::PackedMatrix;
use super::rows::{Placed, RowBlock, in_place};
use super::shape::Shape;
use super::tile::{AccRow, AccTile, MAX_COLUMNS, MAX_ROWS, Operands};
use crate::cache::level2;
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::formats::decode::split_blocks;
use crate::formats::format::{BLOCK, BlockFormat};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matrix::{Matrix, MatrixMut, Pieces, ZeroPoints};
use crate::simd::LANES;

/// Weights with a scale for every block of 32 along the depth, prepared for one ISA and for activations of type `A`.
#[derive(Debug)]
pub struct PackedBlocks<A> {
    packed: PackedMatrix<A, i8>,
    /// Of every panel, block and column, in this order.
    scales: Vec<f32>,
    /// `−Σ W` over the block, in the same order, and as many more as one may read.
    negative_sums: Vec<i32>,
}

/// The columns that a block's scales have room for: whole vectors of every ISA.
#[inline(always)]
fn room(shape: &Shape, panels: Range<usize>) -> usize {
    panels.map(|panel| (shape.vectors(panel) * shape.kernel.lanes).next_multiple_of(LANES)).sum()
}

impl<A: Code> PackedBlocks<A> {
    /// Packs i8 codes `[N, K]`, a row for every output, with a scale for every 32 of a row: `[N, K / 32]`.
    ///
    /// # Errors
    /// [`Error::Multiple`] when K is not whole blocks; [`Error::Length`] of the scales.
    pub fn pack(isa: Isa, codes: Matrix<'_, i8>, scales: &[f32]) -> Result<Self, Error> {
        let (outputs, depth) = (codes.rows(), codes.columns());
        if !depth.is_multiple_of(BLOCK) {
            return Err(Error::Multiple { what: "the depth", unit: BLOCK, found: depth });
        }
        let blocks = depth / BLOCK;
        check_length("the scales", elements_of(&[outputs, blocks]), scales.len())?;
        let packed = PackedMatrix::pack_transposed(isa, codes, 0.into())?;
        let shape = packed.panels().shape;
        let room = room(&shape, 0..shape.panels()) * blocks;
        let (mut packed_scales, mut negative_sums) = (Vec::with_capacity(room), Vec::with_capacity(room + MAX_COLUMNS));
        for panel in 0..shape.panels() {
            let columns = shape.columns_of(panel..panel + 1);
            for block in 0..blocks {
                let end = packed_scales.len() + self::room(&shape, panel..panel + 1);
                packed_scales.extend(columns.clone().map(|output| scales[output * blocks + block]));
                packed_scales.resize(end, 0.0);
                negative_sums.extend(columns.clone().map(|output| {
                    let codes = &codes.row(output)[block * BLOCK..][..BLOCK];
                    -codes.iter().map(|&code| i32::from(code)).sum::<i32>()
                }));
                negative_sums.resize(end, 0);
            }
        }
        negative_sums.resize(packed_scales.len() + MAX_COLUMNS, 0);
        Ok(PackedBlocks { packed, scales: packed_scales, negative_sums })
    }

    /// Packs encoded weights `[outputs, depth]`, as [`encode_blocks`](crate::formats::encode_blocks) writes them.
    ///
    /// ```
    /// use zeropoint::{BlockActivations, BlockFormat, Isa, Matrix, MatrixMut, PackedBlocks, encode_blocks, matmul_blocks};
    /// let isa = Isa::best()?;
    /// let weights: Vec<f32> = (0..2 * 32).map(|i| i as f32 / 64.0).collect(); // 2 outputs of depth 32
    /// let mut bytes = [0; 2 * 34];
    /// encode_blocks(isa, BlockFormat::Q8_0, &weights, &mut bytes)?;
    /// let packed = PackedBlocks::<u8>::from_format(isa, BlockFormat::Q8_0, &bytes, 2, 32)?;
    ///
    /// let codes = [130_u8; 32]; // 0.5 · (130 − 128) = 1 each
    /// let a = BlockActivations::per_row(Matrix::new(&codes, 1, 32)?, 128.into(), &[0.5])?;
    /// let mut out = [0.0; 2];
    /// matmul_blocks(&a, &packed, MatrixMut::new(&mut out, 1, 2)?)?;
    /// assert!((out[0] - 7.75).abs() < 0.05 && (out[1] - 23.75).abs() < 0.1);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Multiple`] when the depth is not whole blocks; [`Error::Length`] of the bytes.
    pub fn from_format(
        isa: Isa,
        format: BlockFormat,
        bytes: &[u8],
        outputs: usize,
        depth: usize,
    ) -> Result<Self, Error> {
        if !depth.is_multiple_of(BLOCK) {
            return Err(Error::Multiple { what: "the depth", unit: BLOCK, found: depth });
        }
        let blocks = elements_of(&[outputs, depth / BLOCK]);
        check_length("the blocks", elements_of(&[blocks, format.block_bytes()]), bytes.len())?;
        let (mut codes, mut scales) = (vec![0; blocks * BLOCK], vec![0.0; blocks]);
        split_blocks(isa, format, bytes, &mut codes, &mut scales)?;
        Self::pack(isa, Matrix::new(&codes, outputs, depth)?, &scales)
    }

    /// The ISA they are packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.packed.isa()
    }

    /// K.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.packed.depth()
    }

    /// N.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.packed.columns()
    }
}

/// Activations `[M, K]` in codes, with their scales.
#[derive(Clone, Copy, Debug)]
pub struct BlockActivations<'a, A> {
    codes: Matrix<'a, A>,
    zero_points: ZeroPoints<'a>,
    scales: &'a [f32],
    /// From a row's scale to that of the next, and from a block's to that of the next.
    strides: [usize; 2],
}

impl<'a, A: Code> BlockActivations<'a, A> {
    /// With one scale for all, or one for every row.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`]; [`Error::Length`] of zero points and scales.
    pub fn per_row(codes: Matrix<'a, A>, zero_points: ZeroPoints<'a>, scales: &'a [f32]) -> Result<Self, Error> {
        zero_points.check::<A>(codes.rows())?;
        if scales.len() != 1 {
            check_length("the scales", codes.rows(), scales.len())?;
        }
        Ok(BlockActivations { codes, zero_points, scales, strides: [usize::from(scales.len() != 1), 0] })
    }

    /// With a scale for every 32 of a row, `[M, K / 32]`, and the zero point 0: such as
    /// [`split_blocks`](crate::formats::split_blocks) makes of an encoded tensor.
    ///
    /// # Errors
    /// [`Error::Multiple`] when K is not whole blocks; [`Error::Length`] of the scales.
    pub fn per_block(codes: Matrix<'a, A>, scales: &'a [f32]) -> Result<Self, Error> {
        if !codes.columns().is_multiple_of(BLOCK) {
            return Err(Error::Multiple { what: "the depth", unit: BLOCK, found: codes.columns() });
        }
        let blocks = codes.columns() / BLOCK;
        check_length("the scales", elements_of(&[codes.rows(), blocks]), scales.len())?;
        Ok(BlockActivations { codes, zero_points: 0.into(), scales, strides: [blocks, 1] })
    }
}

/// `out[i,j] = Σ_b (Σₖ (A[i,k] − za[i]) · W[j,k]) as f32 · (S_a[i,b] · S_w[j,b])`, `[M, N]`: the sums of a block are
/// exact; then from block 0 on each product and each sum is rounded once. A NaN is `f32::NAN`.
///
/// With activations per block, Q8_0 beside Q8_0 or Q4_0, this is the dot product of ggml's scalar code.
///
/// # Errors
/// [`Error::Length`] when the shapes do not go together. Then `out` is untouched.
pub fn matmul_blocks<A: Code>(
    a: &BlockActivations<'_, A>,
    weights: &PackedBlocks<A>,
    mut out: MatrixMut<'_, f32>,
) -> Result<(), Error> {
    let job = BlocksJob::new(a, weights, &mut out)?;
    job.run(0..job.panels());
    Ok(())
}

/// A checked multiplication, whose panels may be multiplied in any order, on any thread.
pub(crate) struct BlocksJob<'a, A> {
    a: &'a BlockActivations<'a, A>,
    weights: &'a PackedBlocks<A>,
    shape: Shape,
    out: Pieces<'a, f32>,
}

impl<'a, A: Code> BlocksJob<'a, A> {
    pub fn new(
        a: &'a BlockActivations<'a, A>,
        weights: &'a PackedBlocks<A>,
        out: &'a mut MatrixMut<'_, f32>,
    ) -> Result<Self, Error> {
        check_length("a row of A", weights.depth(), a.codes.columns())?;
        check_length("the result's rows", a.codes.rows(), out.rows())?;
        check_length("the result's columns", weights.outputs(), out.columns())?;
        Ok(BlocksJob { a, weights, shape: weights.packed.panels().shape, out: out.pieces() })
    }

    pub fn panels(&self) -> usize {
        self.shape.panels()
    }

    /// Computes the columns of some panels.
    pub fn run(&self, panels: Range<usize>) {
        let shape = &self.shape;
        let (m, tile) = (self.a.codes.rows(), shape.kernel.rows());
        if m == 0 || panels.is_empty() {
            return;
        }
        let mut block = RowBlock::default();
        // Half of a level-2 cache for the rows that meet every panel.
        let most = (level2() / 2 / RowBlock::copied_stride(shape) / tile).max(1) * tile;
        for start in (0..m).step_by(most) {
            let rows = start..m.min(start + most);
            let lies = in_place(&self.a.codes, shape, rows.clone()) == rows.len();
            let a = block.read(&self.a.codes, shape, 0, rows.clone(), lies);
            shape.isa.run(MultiplyBlocks { job: self, a: &a, rows, panels: panels.clone() });
        }
    }
}

/// Some rows by some panels.
struct MultiplyBlocks<'a, A> {
    job: &'a BlocksJob<'a, A>,
    a: &'a Placed<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
}

impl<A: Code> Kernel for MultiplyBlocks<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        let MultiplyBlocks { job: BlocksJob { a: activations, weights, shape, out }, a, rows, panels } = self;
        let kernel = shape.kernel;
        let blocks = shape.depth / BLOCK;
        let [row_stride, block_stride] = activations.strides;
        let offsets = match activations.zero_points {
            ZeroPoints::Uniform(uniform) => Offsets { uniform, each: None },
            ZeroPoints::Each(each) => Offsets { uniform: 0, each: Some(&each[rows.start..rows.end]) },
        };
        let (right, factor) = (weights.packed.panels(), weights.packed.panels().row_sum_factor());
        let bytes = if kernel.widen_a { 2 * BLOCK } else { BLOCK };
        // The sums of every row's blocks, where the stored weights have a zero point.
        let mut row_sums = vec![0; if factor == 0 { 0 } else { blocks * rows.len() }];
        if factor != 0 {
            for (i, row) in rows.clone().enumerate() {
                for (b, codes) in activations.codes.row(row).chunks_exact(BLOCK).enumerate() {
                    let sum = simd.sum_i32(A::add_four_some(simd, simd.splat_i32(0), codes));
                    row_sums[b * rows.len() + i] = sum * factor;
                }
            }
        }
        let no_bias = [0; MAX_COLUMNS + LANES];
        let mut sums: AccTile = [AccRow([0; MAX_COLUMNS]); MAX_ROWS];
        let mut before = room(shape, 0..panels.start) * blocks;
        for panel in panels {
            let Panel { codes, vectors, columns, .. } = right.at(panel);
            let width = vectors * kernel.lanes;
            let room = room(shape, panel..panel + 1);
            for tile in kernel.row_tiles(rows.len(), vectors).iter() {
                let mut totals = [[0.0_f32; MAX_COLUMNS]; MAX_ROWS];
                for block in 0..blocks {
                    let place = before + block * room;
                    let negative_sums = &weights.negative_sums[place..place + MAX_COLUMNS];
                    let terms = ColumnTerms { bias: &no_bias, negative_sums, zero_points: None };
                    let initial = if offsets.uniform == 0 {
                        AccRow([0; MAX_COLUMNS])
                    } else {
                        offsets.column_terms(simd, &terms, width)
                    };
                    let block_sums = row_sums.get(block * rows.len() + tile.start..).unwrap_or_default();
                    let row_terms = offsets.row_terms(&terms, tile.start, block_sums, None);
                    let operands = Operands {
                        steps: BLOCK / kernel.depth,
                        a: a.a.wrapping_add(tile.start * a.stride + block * bytes),
                        a_stride: a.stride,
                        b: codes.wrapping_add(block * BLOCK * width),
                        initial: initial.0.as_ptr(),
                        initial_stride: 0,
                        row_terms: row_terms.added,
                        updates: row_terms.updates(),
                        sums: sums.as_mut_ptr().cast(),
                        sums_stride: MAX_COLUMNS,
                        columns: width,
                        prefetch: tile.start == 0,
                    };
                    // SAFETY: the panel was packed for this kernel on an ISA that the CPU has, and a block of it is so many
                    // steps of `vectors` vectors; `a` has the rows of the tile, each with the codes of the block;
                    // `initial`, terms, columns of outer products and `sums` are for every tile.
                    unsafe { kernel.tiles[vectors - 1][tile.len() - 1](operands) };
                    let scales = weights.scales[place..place + room].as_chunks::<LANES>().0;
                    for (r, (sums, totals)) in sums.iter().zip(&mut totals).enumerate().take(tile.len()) {
                        let row = rows.start + tile.start + r;
                        let scale = simd.splat_f32(activations.scales[row * row_stride + block * block_stride]);
                        let (sums, totals) = (sums.0.as_chunks::<LANES>().0, totals.as_chunks_mut::<LANES>().0);
                        for ((sums, total), scales) in sums.iter().zip(totals).zip(scales) {
                            let both = simd.mul_f32(scale, simd.load_f32(scales));
                            let term = simd.mul_f32(simd.to_f32(simd.load_i32(sums)), both);
                            simd.store_f32(simd.add_f32(simd.load_f32(total), term), total);
                        }
                    }
                }
                for (r, totals) in totals.iter().enumerate().take(tile.len()) {
                    // SAFETY: no other panel has these columns.
                    let out = unsafe { out.piece(rows.start + tile.start + r, columns.start, columns.len()) };
                    for (out, &total) in out.iter_mut().zip(totals) {
                        *out = if total.is_nan() { f32::NAN } else { total };
                    }
                }
            }
            before += room * blocks;
        }
    }
}
