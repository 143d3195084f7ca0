//! Rows of the left operand (LHS) as a micro-kernel reads them: in place, or copied.
//!
//! They are copied when the kernel wants i16; when they come from the patches of a convolution; when their stride makes them
//! compete for the same sets of a cache; and the last few when reading whole steps of them would leave the matrix (all of
//! them, in one piece, when they are small). What a step reads behind a row's end does not matter: B is padded with zeros
//! there.

use core::ops::Range;

use super::shape::Shape;
use super::split::Split;
use crate::codes::ByteCode;
use crate::error::Error;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matrix::{Largest, Matrix, ZeroPoints};
use crate::memory::{CACHE_LINE, Scratch};
use crate::sign::Sign;
use crate::simd::LANES;
use crate::simd::walk::block;

/// A left operand: codes of either type, and their zero points.
#[derive(Clone, Copy)]
pub(crate) struct Lhs<'a> {
    pub source: RowSource<'a>,
    pub sign: Sign,
    /// One, or one for every row.
    pub zero_points: ZeroPoints<'a>,
}

/// Where the rows of a left operand come from.
#[derive(Clone, Copy)]
pub(crate) enum RowSource<'a> {
    Matrix(Matrix<'a, u8>),
    /// They are made when they are needed: the patches of a convolution.
    Made(&'a dyn MakeRow),
}

/// Makes rows of a left operand.
pub(crate) trait MakeRow: Sync {
    /// M.
    fn rows(&self) -> usize;
    /// K.
    fn depth(&self) -> usize;
    /// Writes row `row`, `depth` codes.
    fn make_row(&self, row: usize, out: &mut [u8]);
}

impl<'a> RowSource<'a> {
    /// M.
    pub fn rows(&self) -> usize {
        match self {
            RowSource::Matrix(matrix) => matrix.rows(),
            RowSource::Made(rows) => rows.rows(),
        }
    }

    /// K.
    pub fn depth(&self) -> usize {
        match self {
            RowSource::Matrix(matrix) => matrix.columns(),
            RowSource::Made(rows) => rows.depth(),
        }
    }

    fn matrix(&self) -> Option<Matrix<'a, u8>> {
        match self {
            RowSource::Matrix(matrix) => Some(*matrix),
            RowSource::Made(_) => None,
        }
    }

    /// Writes rows, `stride` bytes apart.
    fn copy(&self, rows: Range<usize>, out: &mut [u8], stride: usize) {
        let depth = self.depth();
        for (i, row) in rows.enumerate() {
            let out = &mut out[i * stride..][..depth];
            match self {
                RowSource::Matrix(matrix) => out.copy_from_slice(matrix.row(row)),
                RowSource::Made(rows) => rows.make_row(row, out),
            }
        }
    }
}

impl Lhs<'_> {
    /// The largest `|a − za|`.
    pub fn check(&self) -> Result<Largest, Error> {
        self.zero_points.check_for(self.sign, self.source.rows())
    }
}

/// Rows that begin at a multiple of this many bytes are copied if B is wide enough to pay for it: of a cache's sets they
/// would use only a few.
pub(super) const SETS: usize = 1024;

/// Columns of B that pay for copying rows of A that could be read in place.
pub(super) const MIN_COLUMNS_TO_COPY: usize = 256;

/// Bytes that are made before they are summed or widened: they are still in the level-1 cache then.
const MADE_AT_A_TIME: usize = 8 << 10;

/// How many of `rows` can be read in place: all before one.
#[inline]
pub(super) fn in_place(source: &RowSource<'_>, b: &Shape, rows: Range<usize>) -> usize {
    let kernel = b.kernel;
    let Some(matrix) = source.matrix().filter(|_| !kernel.widen_a) else { return 0 };
    let stride = matrix.stride();
    if stride.is_multiple_of(SETS) && rows.len() > 1 && b.columns >= MIN_COLUMNS_TO_COPY {
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

/// A few rows as one piece of memory, with what is between them: copied faster than row by row.
#[inline]
fn small<'a>(matrix: &Matrix<'a, u8>, rows: &Range<usize>) -> Option<&'a [u8]> {
    /// Bytes.
    const MOST: usize = 4096;
    let length = rows.len().checked_sub(1)?.checked_mul(matrix.stride())?.checked_add(matrix.columns())?;
    if length <= MOST { Some(&matrix.tail_from(rows.start)[..length]) } else { None }
}

/// Memory for a block of rows, and for their sums if B has zero points.
#[derive(Default)]
pub(super) struct LhsMemory {
    codes: Scratch,
    wide: Scratch,
    sums: Scratch,
}

/// A block of rows that a micro-kernel can read.
#[derive(Clone, Copy)]
pub(crate) struct LhsBlock<'a> {
    /// The first row.
    pub a: *const u8,
    /// From a row to the next, in bytes.
    pub stride: usize,
    /// The sums of the rows times the factor; none when that is 0.
    pub sums: &'a [i32],
}

impl<'a> LhsBlock<'a> {
    /// Rows of a matrix where they lie, which are not summed.
    #[inline]
    pub fn in_place(source: &RowSource<'a>, rows: Range<usize>) -> Self {
        let matrix = source.matrix().expect("rows that are made lie nowhere");
        LhsBlock { a: matrix.tail_from(rows.start).as_ptr(), stride: matrix.stride(), sums: &[] }
    }
}

impl LhsMemory {
    /// The bytes from a copied row to the next: an odd number of cache lines, so that rows do not compete for sets.
    #[inline]
    pub fn copied_stride(b: &Shape) -> usize {
        let bytes = b.steps * b.kernel.depth * if b.kernel.widen_a { 2 } else { 1 };
        (bytes.div_ceil(CACHE_LINE) | 1) * CACHE_LINE
    }

    /// Reads rows of the source, copies them unless they are read in place, and sums them unless `factor`, which multiplies
    /// the sums, is 0.
    pub fn read<'s>(
        &'s mut self,
        lhs: &Lhs<'s>,
        b: &Shape,
        factor: i32,
        rows: Range<usize>,
        in_place: bool,
    ) -> LhsBlock<'s> {
        let LhsMemory { codes, wide, sums } = self;
        let sums = sums.elements::<i32>(if factor == 0 { 0 } else { rows.len() });
        let stride = Self::copied_stride(b);
        let matrix = lhs.source.matrix();
        let wide = wide.elements::<i16>(if b.kernel.widen_a { rows.len() * stride / 2 } else { 0 });
        let mut read = Read { isa: b.isa, sign: lhs.sign, factor, sums, wide, wide_stride: stride / 2 };
        let reads_matrix = in_place || b.kernel.widen_a;
        let piece = if reads_matrix { None } else { matrix.and_then(|matrix| small(&matrix, &rows)) };
        if let Some(matrix) = matrix
            && (reads_matrix || piece.is_some())
        {
            let some = matrix.tail_from(rows.start);
            read.rows(0, rows.len(), some, matrix.columns(), matrix.stride());
            if in_place {
                return LhsBlock { sums: read.sums, ..LhsBlock::in_place(&lhs.source, rows) };
            }
            if let Some(piece) = piece {
                // What the last row's last step reads behind it counts too.
                let copy = codes.elements::<u8>(piece.len() + b.kernel.depth);
                copy[..piece.len()].copy_from_slice(piece);
                return LhsBlock { a: copy.as_ptr(), stride: matrix.stride(), sums: read.sums };
            }
        } else {
            let depth = lhs.source.depth();
            let most = (MADE_AT_A_TIME / stride).max(1);
            let widen = b.kernel.widen_a;
            let codes = codes.elements::<u8>(if widen { most.min(rows.len()) } else { rows.len() } * stride);
            for first in (0..rows.len()).step_by(most) {
                let count = most.min(rows.len() - first);
                let made = &mut codes[if widen { 0 } else { first * stride }..];
                lhs.source.copy(rows.start + first..rows.start + first + count, made, stride);
                read.rows(first, count, made, depth, stride);
            }
            if !widen {
                return LhsBlock { a: codes.as_ptr(), stride, sums: read.sums };
            }
        }
        LhsBlock { a: read.wide.as_ptr().cast(), stride, sums: read.sums }
    }
}

/// The widening and summing of [`LhsMemory::read`].
struct Read<'a> {
    isa: Isa,
    sign: Sign,
    factor: i32,
    sums: &'a mut [i32],
    wide: &'a mut [i16],
    /// In elements.
    wide_stride: usize,
}

impl Read<'_> {
    /// Reads `count` rows, the first of which is row `first` of the block, from `codes`, `stride` bytes apart.
    #[inline]
    fn rows(&mut self, first: usize, count: usize, codes: &[u8], depth: usize, stride: usize) {
        let Read { isa, sign, factor, .. } = *self;
        if factor != 0 {
            let sums = &mut self.sums[first..first + count];
            isa.run(SumRows { codes, depth, stride, sign, factor, sums });
        }
        if !self.wide.is_empty() {
            let wide = &mut self.wide[first * self.wide_stride..];
            isa.run(WidenRows { codes, depth, stride, sign, count, wide, wide_stride: self.wide_stride });
        }
    }
}

/// Sums rows of codes.
struct SumRows<'a> {
    codes: &'a [u8],
    depth: usize,
    stride: usize,
    sign: Sign,
    factor: i32,
    /// One for every row: its sum times the factor, which wraps.
    sums: &'a mut [i32],
}

impl Kernel for SumRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        for (i, out) in self.sums.iter_mut().enumerate() {
            let codes = &self.codes[i * self.stride..][..self.depth];
            *out = sum_codes(simd, self.sign, codes).wrapping_mul(self.factor);
        }
    }
}

/// The sum of codes of this sign, which wraps.
#[inline(always)]
pub(crate) fn sum_codes<V: Vectors>(v: V, sign: Sign, codes: &[u8]) -> i32 {
    match sign {
        Sign::Unsigned => sum_of::<V, u8>(v, codes),
        Sign::Signed => sum_of::<V, i8>(v, bytemuck::must_cast_slice(codes)),
    }
}

#[inline(always)]
fn sum_of<V: Vectors, C: ByteCode>(v: V, codes: &[C]) -> i32 {
    let mut sum = v.splat_i32(0);
    let (quads, rest) = codes.as_chunks();
    for quad in quads {
        sum = C::add_four(v, sum, quad);
    }
    // (Up to 63 more are not copied into a padded quad: a load that is wider than the stores before it waits for all of them.)
    let (vectors, rest) = rest.as_chunks();
    for vector in vectors {
        sum = v.add_i32(sum, C::load(v, vector));
    }
    // The last sixteen codes, under a mask: the first of them were added already.
    const LAST: [i32; 2 * LANES] = {
        let mut masks = [0; 2 * LANES];
        let mut i = LANES;
        while i < 2 * LANES {
            masks[i] = -1;
            i += 1;
        }
        masks
    };
    if !rest.is_empty() {
        let last = match (codes.last_chunk(), LAST[rest.len()..].first_chunk()) {
            (Some(last), Some(mask)) => v.and_i32(C::load(v, last), v.load_i32(mask)),
            _ => C::load(v, &block(rest, 0)),
        };
        sum = v.add_i32(sum, last);
    }
    v.sum_i32(sum)
}

/// Copies rows of codes as i16: plain loops, vectorized by the compiler for the ISA they run on.
struct WidenRows<'a> {
    codes: &'a [u8],
    depth: usize,
    stride: usize,
    sign: Sign,
    count: usize,
    wide: &'a mut [i16],
    wide_stride: usize,
}

impl Kernel for WidenRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, _: S) {
        for i in 0..self.count {
            let codes = &self.codes[i * self.stride..][..self.depth];
            let wide = &mut self.wide[i * self.wide_stride..][..self.depth];
            match self.sign {
                Sign::Unsigned => {
                    for (wide, &code) in wide.iter_mut().zip(codes) {
                        *wide = code.into();
                    }
                }
                Sign::Signed => {
                    for (wide, &code) in wide.iter_mut().zip(codes) {
                        *wide = code.cast_signed().into();
                    }
                }
            }
        }
    }
}
