//! Packing: B into the panels of a micro-kernel, once for many multiplications.

use core::ops::Range;
use core::ptr::null;

use super::columns::Columns;
use super::offsets::ColumnTerms;
use super::split::Split;
use super::tile::{AccRow, MAX_COLUMNS, Microkernel, Operands};
use crate::cache::prefetch_line;
use crate::error::{Error, elements_of};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matrix::{Matrix, ZeroPoints};
use crate::memory::{AlignedBuffer, Workspace};
use crate::sign::Sign;
use crate::simd::LANES;

/// B as its micro-kernel reads it, with what the offsets need of it: the types of the codes do not matter any more.
#[derive(Debug)]
pub struct Panels {
    pub shape: Shape,
    codes: AlignedBuffer,
    zero_points: StoredZeroPoints,
    /// `Σₖ (zb[j] − b[k][j])`
    negative_sums: Columns<i32>,
    bias: Columns<i32>,
}

/// Zero points of B's codes as stored.
#[derive(Debug)]
enum StoredZeroPoints {
    Uniform(i32),
    Each(Columns<i32>),
}

/// Some columns of B, at most as many as a tile has.
#[derive(Clone)]
pub struct Panel<'a> {
    /// `[steps][vectors · lanes][depth]`, in the layout of [`tile`](super::tile).
    pub codes: *const u8,
    pub steps: usize,
    /// Sums of products that are not among the steps.
    pub sums: Option<&'a [AccRow]>,
    pub vectors: usize,
    pub columns: Range<usize>,
    pub terms: ColumnTerms<'a>,
}

impl Panels {
    /// Packs the codes of a source, whose sign is `b`, for left operands of the sign `a`. Shape and zero points are checked.
    pub fn pack(
        isa: Isa,
        [a, b]: [Sign; 2],
        source: &impl Source,
        [depth, columns]: [usize; 2],
        zero_points: ZeroPoints<'_>,
    ) -> Self {
        let kernel = isa.microkernel(a);
        let shape = Shape::new(isa, kernel, depth, columns, kernel.panels(columns));
        let stored = Stored::new(shape.kernel, b);
        let mut codes = AlignedBuffer::default();
        let mut negative_sums = vec![0; columns];
        let mut rest = codes.elements(shape.panel_bytes(0..shape.panels()));
        for panel in 0..shape.panels() {
            let (out, behind) = rest.split_at_mut(shape.panel_bytes(panel..panel + 1));
            rest = behind;
            let columns = shape.columns_of(panel..panel + 1);
            let width = shape.vectors(panel) * shape.kernel.lanes;
            isa.run(PackPanel {
                source,
                rows: 0..depth,
                first: columns.start,
                width,
                depth: shape.kernel.depth,
                stored,
                out: &mut *out,
            });
            let mut codes = AccRow([0; MAX_COLUMNS]);
            sum_columns(shape.kernel, out, width, &mut codes);
            for (j, codes) in columns.zip(codes.0) {
                negative_sums[j] = stored.zero_point(zero_points.at(j)).wrapping_mul(depth as i32).wrapping_sub(codes);
            }
        }
        Panels {
            shape,
            codes,
            zero_points: StoredZeroPoints::new(stored, zero_points),
            negative_sums: Columns::each(negative_sums),
            bias: Columns::each(vec![0; columns]),
        }
    }

    /// Adds `bias[j]` to every accumulator of column j.
    pub fn set_bias(&mut self, bias: &[i32]) {
        self.bias = Columns::each(bias.iter().copied());
    }

    /// What the sums of A's rows are multiplied by when they are made: 0 when they are not needed.
    pub fn row_sum_factor(&self) -> i32 {
        match self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => -zero_point,
            StoredZeroPoints::Each(_) => -1,
        }
    }

    #[inline]
    pub fn at(&self, panel: usize) -> Panel<'_> {
        let (before, bytes) = (self.shape.panel_bytes(0..panel), self.shape.panel_bytes(0..panel + 1));
        let columns = self.shape.columns_of(panel..panel + 1);
        let terms = ColumnTerms {
            bias: self.bias.from(columns.start),
            negative_sums: self.negative_sums.from(columns.start),
            zero_points: match &self.zero_points {
                StoredZeroPoints::Uniform(_) => None,
                StoredZeroPoints::Each(each) => Some(each.from(columns.start)),
            },
        };
        let codes = self.codes.as_slice::<u8>(bytes)[before..].as_ptr();
        Panel { codes, steps: self.shape.steps, sums: None, vectors: self.shape.vectors(panel), columns, terms }
    }
}

/// The shape of B, and how it is divided.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub isa: Isa,
    pub kernel: &'static Microkernel,
    pub depth: usize,
    /// The depth in steps of the kernel.
    pub steps: usize,
    pub columns: usize,
    /// The columns in panels, by vectors.
    split: Split,
}

impl Shape {
    pub fn new(isa: Isa, kernel: &'static Microkernel, depth: usize, columns: usize, split: Split) -> Self {
        Shape { isa, kernel, depth, steps: depth.div_ceil(kernel.depth), columns, split }
    }

    /// How many panels there are.
    pub fn panels(&self) -> usize {
        self.split.parts()
    }

    /// The columns of some panels.
    #[inline]
    pub fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let column = |panel: usize| (self.split.part(panel).start * self.kernel.lanes).min(self.columns);
        column(panels.start)..column(panels.end)
    }

    /// The width of a panel.
    #[inline]
    pub fn vectors(&self, panel: usize) -> usize {
        self.split.part(panel).len()
    }

    /// The bytes of some panels, of all steps.
    #[inline]
    pub fn panel_bytes(&self, panels: Range<usize>) -> usize {
        let vectors = self.split.part(panels.end).start - self.split.part(panels.start).start;
        vectors * self.kernel.lanes * self.steps * self.kernel.depth
    }
}

/// How codes of B are stored for a kernel: what to XOR them with, and what that adds to their values. (The instruction
/// wants a sign: `x ^ 0x80` read as the other type is `x ∓ 128`, and the zero point moves along.)
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub flip: u8,
    moved: i32,
}

impl Stored {
    pub fn new(kernel: &Microkernel, b: Sign) -> Self {
        match b {
            _ if b == kernel.b_sign => Stored { flip: 0, moved: 0 },
            Sign::Unsigned => Stored { flip: 0x80, moved: -128 },
            Sign::Signed => Stored { flip: 0x80, moved: 128 },
        }
    }

    pub fn zero_point(self, zero_point: i32) -> i32 {
        zero_point + self.moved
    }
}

impl StoredZeroPoints {
    fn new(stored: Stored, zero_points: ZeroPoints<'_>) -> Self {
        match zero_points {
            ZeroPoints::Each([first, rest @ ..]) if rest.iter().any(|each| each != first) => {
                StoredZeroPoints::Each(Columns::each((0..=rest.len()).map(|j| stored.zero_point(zero_points.at(j)))))
            }
            ZeroPoints::Each([]) => StoredZeroPoints::Uniform(0),
            _ => StoredZeroPoints::Uniform(stored.zero_point(zero_points.at(0))),
        }
    }
}

/// Where codes of B come from.
pub trait Source: Sync {
    /// Row k from column `first` on. What lies behind the last column is of no importance.
    fn row<'a>(&'a self, k: usize, first: usize, buffer: &'a mut Row) -> &'a Row;
    /// Fetches the same, where it lies in memory, ahead of its use. There may be no such row or column.
    #[inline(always)]
    fn fetch(&self, _k: usize, _first: usize) {}
}

/// As many codes of a row of B as a panel can have.
pub type Row = [[u8; LANES]; MAX_COLUMNS / LANES];

/// Rows of B as they lie.
pub(super) struct RowMajor<'b>(pub Matrix<'b, u8>);

impl Source for RowMajor<'_> {
    #[inline(always)]
    fn row<'a>(&'a self, k: usize, first: usize, buffer: &'a mut Row) -> &'a Row {
        // What lies behind the row's end, if anything does.
        let row = &self.0.tail_from(k)[first..];
        row.as_chunks().0.first_chunk().unwrap_or_else(|| {
            buffer.as_flattened_mut()[..row.len()].copy_from_slice(row);
            buffer
        })
    }
    #[inline(always)]
    fn fetch(&self, k: usize, first: usize) {
        let row = self.0.tail_from(0).as_ptr().wrapping_add(k * self.0.stride() + first);
        prefetch_line(row.cast());
        prefetch_line(row.wrapping_add(MAX_COLUMNS - 1).cast());
    }
}

/// Codes by row and column.
pub(crate) struct Elements<F> {
    pub at: F,
    pub columns: usize,
}

impl<F: Fn(usize, usize) -> u8 + Sync> Source for Elements<F> {
    #[inline(always)]
    fn row<'a>(&'a self, k: usize, first: usize, buffer: &'a mut Row) -> &'a Row {
        for (j, code) in (first..self.columns).zip(buffer.as_flattened_mut()) {
            *code = (self.at)(k, j);
        }
        buffer
    }
}

/// How many columns ahead of their use rows are fetched: panels beside each other are packed some rows at a time.
const COLUMNS_AHEAD: usize = 256;

/// Packs some rows of a panel.
pub(super) struct PackPanel<'a, S> {
    pub source: &'a S,
    /// They begin with a step.
    pub rows: Range<usize>,
    /// The first column.
    pub first: usize,
    /// The columns of the panel, and those that pad it.
    pub width: usize,
    /// Codes of a step: the kernel's.
    pub depth: usize,
    pub stored: Stored,
    /// Steps of so many rows.
    pub out: &'a mut [u8],
}

impl<S: Source> Kernel for PackPanel<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        match self.depth {
            1 => self.interleave::<V, 1>(simd),
            2 => self.interleave::<V, 2>(simd),
            4 => self.interleave::<V, 4>(simd),
            8 => self.interleave::<V, 8>(simd),
            depth => unreachable!("no micro-kernel takes {depth} codes a step"),
        }
    }
}

impl<S: Source> PackPanel<'_, S> {
    #[inline(always)]
    fn interleave<V: Vectors, const DEPTH: usize>(self, simd: V) {
        let PackPanel { source, rows, first, width, stored: Stored { flip, .. }, out, .. } = self;
        let zeros = [[flip; LANES]; MAX_COLUMNS / LANES];
        let mut buffers = [zeros; DEPTH];
        let steps = rows.clone().step_by(DEPTH).zip(out.as_chunks_mut::<DEPTH>().0.chunks_exact_mut(width));
        for (row, out) in steps {
            let mut codes = [&zeros; DEPTH];
            for (i, (codes, buffer)) in codes.iter_mut().zip(&mut buffers).enumerate() {
                if row + i < rows.end {
                    *codes = source.row(row + i, first, buffer);
                    source.fetch(row + i, first + COLUMNS_AHEAD);
                }
            }
            let (blocks, rest) = out.as_chunks_mut();
            let count = blocks.len();
            for (block, out) in blocks.iter_mut().enumerate() {
                write_steps(simd, codes.map(|codes| &codes[block]), flip, out);
            }
            if !rest.is_empty() {
                let mut padded = [[0; DEPTH]; LANES];
                write_steps(simd, codes.map(|codes| &codes[count]), flip, &mut padded);
                rest.copy_from_slice(&padded[..rest.len()]);
            }
        }
    }
}

/// A step of sixteen columns: a row after the other in every column, all with `flip` in their bytes.
#[inline(always)]
fn write_steps<V: Vectors, const DEPTH: usize>(
    simd: V,
    rows: [&[u8; LANES]; DEPTH],
    flip: u8,
    out: &mut [[u8; DEPTH]; LANES],
) {
    if DEPTH < 4 {
        let (mut first, mut last) = (*rows[0], *rows[DEPTH - 1]);
        for (first, last) in first.iter_mut().zip(&mut last) {
            *first ^= flip;
            *last ^= flip;
        }
        if let Some(out) = out.as_flattened_mut().as_chunks_mut().0.first_chunk_mut() {
            simd.store_interleaved([&first, &last], out);
        } else {
            out.as_flattened_mut().copy_from_slice(&first);
        }
        return;
    }
    let flip = simd.splat_i32(i32::from_ne_bytes([flip; 4]));
    for (quad, rows) in rows.as_chunks().0.iter().enumerate() {
        let mut words = [0; LANES];
        simd.store_i32(simd.xor_i32(simd.load_interleaved(*rows), flip), &mut words);
        for (out, word) in out.iter_mut().zip(words) {
            out[4 * quad..4 * quad + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// The sums of the stored codes of a panel's columns: its product with a row of ones.
pub(super) fn sum_columns(kernel: &Microkernel, codes: &[u8], width: usize, sums: &mut AccRow) {
    let mut ones = Workspace::default();
    let depth = codes.len() / width;
    let ones = if kernel.widen_a {
        let ones = ones.elements::<i16>(depth);
        ones.fill(1);
        ones.as_ptr().cast()
    } else {
        let ones = ones.elements::<u8>(depth);
        ones.fill(1);
        ones.as_ptr()
    };
    let operands = Operands {
        steps: depth / kernel.depth,
        a: ones,
        a_stride: 0,
        b: codes.as_ptr(),
        initial: sums.0.as_ptr(),
        initial_stride: 0,
        row_terms: null(),
        updates: &[],
        sums: sums.0.as_mut_ptr(),
        sums_stride: 0,
        columns: width,
        prefetch: false,
    };
    // SAFETY: whoever has the kernel has its ISA; `codes` are steps of `width` columns, `ones` has as many steps, `sums`
    // takes every tile.
    unsafe { kernel.tiles[width / kernel.lanes - 1][0](operands) };
}

/// `Ok` when `depth · largest product + largest bias ≤ 2³¹ − 1`.
#[inline]
pub(crate) fn check_accumulator(depth: usize, largest_product: i64, largest_bias: i64) -> Result<(), Error> {
    let room = i64::from(i32::MAX) - largest_bias;
    let limit = usize::try_from(room.max(0) / largest_product.max(1)).unwrap_or(usize::MAX);
    if depth > limit || room < 0 { Err(Error::Depth { depth, limit }) } else { Ok(()) }
}

/// `Ok` for a matrix whose panels can be addressed.
pub(super) fn check_size(depth: usize, columns: usize) -> Result<(), Error> {
    if elements_of(&[columns, depth.max(1)]) > MOST_ELEMENTS {
        return Err(Error::Shape { why: "no memory holds the panels of so many columns", found: columns });
    }
    Ok(())
}

/// What can be packed: its padding and sums, counted in bytes, stay far below `isize::MAX`.
const MOST_ELEMENTS: usize = isize::MAX as usize >> 10;
