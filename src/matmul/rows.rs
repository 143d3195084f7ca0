//! Rows of A as a micro-kernel reads them: where they lie, or copied.
//!
//! They are copied when the kernel wants i16; when they come from the patches of a convolution; when so many bytes lie
//! between them that they would fight for the same sets of a cache; and the last few when reading whole steps of them
//! would leave the matrix (all of them, in one piece, when they are small). What a step reads behind a row's end does not matter: B is padded with zeros there.

use core::marker::PhantomData;
use core::ops::Range;

use super::shape::Shape;
use super::split::Split;
use crate::codes::Code;
use crate::kernel::{Kernel, Vectors};
use crate::matrix::Matrix;
use crate::memory::{CACHE_LINE, Workspace};

/// Where the rows of A come from: a matrix, or the patches of a convolution.
pub(crate) trait Rows<A>: Sync {
    /// M.
    fn rows(&self) -> usize;
    /// K.
    fn depth(&self) -> usize;
    /// Writes row `row`, `depth` codes.
    fn copy_row(&self, row: usize, out: &mut [A]);
    /// The same rows where they lie in memory, if they do.
    fn matrix(&self) -> Option<Matrix<'_, A>>;
}

impl<A: Code> Rows<A> for Matrix<'_, A> {
    fn rows(&self) -> usize {
        Matrix::rows(self)
    }
    fn depth(&self) -> usize {
        self.columns()
    }
    #[inline(always)]
    fn copy_row(&self, row: usize, out: &mut [A]) {
        out.copy_from_slice(self.row(row));
    }
    fn matrix(&self) -> Option<Matrix<'_, A>> {
        Some(*self)
    }
}

/// Rows that begin at a multiple of this many bytes are copied if B is wide enough to pay for it: of a cache's sets they
/// would use but few.
pub(super) const SETS: usize = 1024;

/// How many columns of B pay for copying rows of A that need not be copied.
const WIDE: usize = 256;

/// The rows that can be read where they lie: the first so many of `rows`.
#[inline]
pub(super) fn in_place<A: Code>(source: &impl Rows<A>, b: &Shape, rows: Range<usize>) -> usize {
    let kernel = b.kernel;
    let Some(matrix) = source.matrix().filter(|_| !kernel.widen_a) else { return 0 };
    let stride = matrix.stride();
    if stride.is_multiple_of(SETS) && rows.len() > 1 && b.columns >= WIDE {
        return 0;
    }
    let read = b.steps * kernel.depth;
    let inside = |row: usize| matrix.tail_from(row).len() >= read;
    match rows.clone().last() {
        Some(last) if !inside(last) => {
            if small(&matrix, &rows).is_some() {
                return 0;
            }
            // Usually it is the last row alone, which leaves all tiles but one.
            let tiles = Split::new(rows.len(), kernel.rows());
            let count = tiles.part(tiles.parts() - 1).start;
            if count > 0 && inside(rows.start + count - 1) { count } else { 0 }
        }
        _ => rows.len(),
    }
}

/// A few rows as one piece of memory, with what lies between them: copied faster than row by row.
#[inline]
fn small<'a, A: Code>(matrix: &Matrix<'a, A>, rows: &Range<usize>) -> Option<&'a [A]> {
    const MOST: usize = 4096;
    let length = rows.len().checked_sub(1)?.checked_mul(matrix.stride())?.checked_add(matrix.columns())?;
    if length <= MOST { Some(&matrix.tail_from(rows.start)[..length]) } else { None }
}

/// Rows of A, copied or not, and their sums if B has zero points.
#[derive(Default)]
pub(super) struct RowBlock {
    /// One row, when it is widened; all otherwise.
    codes: Workspace,
    wide: Workspace,
    sums: Workspace,
}

/// Where the rows of a block lie.
pub(super) struct Placed<'a> {
    /// The first row.
    pub a: *const u8,
    /// From a row to the next, in bytes.
    pub stride: usize,
    /// The sums of the rows times `factor`; none when that is 0.
    pub sums: &'a [i32],
}

impl RowBlock {
    /// The bytes of a row that is copied, with what keeps the next one off its sets: an odd number of lines.
    #[inline]
    pub fn copied_stride(b: &Shape) -> usize {
        let bytes = b.steps * b.kernel.depth * if b.kernel.widen_a { 2 } else { 1 };
        (bytes.div_ceil(CACHE_LINE) | 1) * CACHE_LINE
    }

    /// Reads rows of the source, copies them if they are not `in_place`, and sums them if `factor`, which multiplies the
    /// sums, is not 0.
    pub fn read<'s, A: Code, R: Rows<A>>(
        &'s mut self,
        source: &'s R,
        b: &Shape,
        factor: i32,
        rows: Range<usize>,
        in_place: bool,
    ) -> Placed<'s> {
        let sum = factor != 0;
        let widen = b.kernel.widen_a;
        let matrix = source.matrix();
        let piece = match matrix {
            Some(matrix) if !in_place && !widen => small(&matrix, &rows).map(|piece| (piece, matrix.stride())),
            _ => None,
        };
        let stride = Self::copied_stride(b);
        let copy = !in_place && piece.is_none();
        if copy || sum {
            let rows = rows.clone();
            let block = &mut *self;
            b.isa.run(ReadRows { block, source, rows, stride, copy, widen, factor, codes: PhantomData });
        }
        // What the last row's last step reads behind it counts too.
        let padded = |piece: &[A]| piece.len() + b.kernel.depth;
        if let Some((piece, _)) = piece {
            self.codes.elements(padded(piece))[..piece.len()].copy_from_slice(piece);
        }
        let sums = self.sums.as_slice(if sum { rows.len() } else { 0 });
        match (matrix, piece) {
            (Some(matrix), None) if in_place => {
                Placed { a: matrix.tail_from(rows.start).as_ptr().cast(), stride: matrix.stride(), sums }
            }
            (_, Some((piece, stride))) => {
                Placed { a: self.codes.as_slice::<A>(padded(piece)).as_ptr().cast(), stride, sums }
            }
            _ => {
                let copied = if widen { &self.wide } else { &self.codes };
                Placed { a: copied.as_slice::<u8>(rows.len() * stride).as_ptr(), stride, sums }
            }
        }
    }
}

/// The copying and summing of [`RowBlock::read`]. Copying is a plain loop, vectorized by the compiler for the ISA it runs on.
struct ReadRows<'a, A, R> {
    block: &'a mut RowBlock,
    source: &'a R,
    rows: Range<usize>,
    stride: usize,
    copy: bool,
    widen: bool,
    /// What sums are multiplied by; 0 when they are not needed.
    factor: i32,
    codes: PhantomData<A>,
}

impl<A: Code, R: Rows<A>> Kernel for ReadRows<'_, A, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let ReadRows { block, source, rows, stride, copy, widen, factor, .. } = self;
        let depth = source.depth();
        let count = rows.len();
        let sums = block.sums.elements::<i32>(if factor == 0 { 0 } else { count });
        let copied = if copy { count } else { 0 };
        let codes = block.codes.elements::<A>(if widen { depth } else { copied * stride });
        let wide = block.wide.elements::<i16>(if widen { copied * stride / 2 } else { 0 });
        for (i, row) in rows.enumerate() {
            let codes = match source.matrix() {
                Some(matrix) if !copy || widen => matrix.row(row),
                _ => {
                    let codes = &mut codes[if widen { 0 } else { i * stride }..][..depth];
                    source.copy_row(row, codes);
                    &*codes
                }
            };
            if widen {
                for (wide, &code) in wide[i * (stride / 2)..][..depth].iter_mut().zip(codes) {
                    let code: i32 = code.into();
                    *wide = code as i16;
                }
            }
            if factor != 0 {
                let (blocks, rest) = codes.as_chunks();
                let mut sum = simd.splat_i32(0);
                for block in blocks {
                    sum = A::add_four(simd, sum, block);
                }
                if !rest.is_empty() {
                    sum = A::add_four_some(simd, sum, rest);
                }
                sums[i] = simd.sum_i32(sum).wrapping_mul(factor);
            }
        }
    }
}
