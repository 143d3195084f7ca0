//! Packing of one panel: rows of B are interleaved into steps of the micro-kernel, or columns of B copied.

use core::ops::Range;
use core::ptr::null;

use super::shape::Stored;
use super::tile::{AccRow, MAX_COLUMNS, Microkernel, Operands};
use crate::cache::{prefetch_line, prefetch_line_to_level2};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matrix::Matrix;
use crate::memory::{CACHE_LINE, Scratch};
use crate::simd::LANES;

/// Rows of B that are packed at a time: a multiple of every kernel's depth. Elements that are gathered take 4 KiB, which
/// stay in the level-1 cache.
pub(super) const SLICE: usize = 64;

/// Some rows of a panel, and where they go.
pub(super) struct PanelRows<'a> {
    /// Rows of B, of which the first begins a step. The last step is padded.
    pub rows: Range<usize>,
    /// The panel's columns of B.
    pub columns: Range<usize>,
    /// The columns of the panel with those that pad it.
    pub width: usize,
    /// Codes of a step: the kernel's.
    pub depth: usize,
    /// How the codes are stored.
    pub stored: Stored,
    /// The steps of the rows.
    pub out: &'a mut [u8],
}

/// Where the codes of B come from.
pub(super) trait Source {
    /// Rows of B that are packed at a time.
    const SLICE: usize = SLICE;

    /// Packs some rows of a panel. Columns that pad the panel may get any codes.
    fn pack(&self, isa: Isa, panel: PanelRows<'_>);
}

/// A matrix `[K, N]` in memory.
#[derive(Clone, Copy)]
pub(super) struct RowMajor<'b>(pub Matrix<'b, u8>);

impl Source for RowMajor<'_> {
    fn pack(&self, isa: Isa, panel: PanelRows<'_>) {
        let codes = &self.0.tail_from(panel.rows.start)[panel.columns.start..];
        isa.run(Interleave { codes: CodeRows { codes, stride: self.0.stride() }, panel });
    }
}

/// Codes by row and column: `at(k, j)`.
pub(super) struct Elements<F>(pub F);

impl<F: Fn(usize, usize) -> u8> Source for Elements<F> {
    fn pack(&self, isa: Isa, panel: PanelRows<'_>) {
        let mut gathered = Scratch::default();
        let codes = gathered.elements::<u8>(panel.rows.len() * MAX_COLUMNS);
        for (j, column) in panel.columns.clone().enumerate() {
            for (i, row) in panel.rows.clone().enumerate() {
                codes[i * MAX_COLUMNS + j] = (self.0)(row, column);
            }
        }
        isa.run(Interleave { codes: CodeRows { codes, stride: MAX_COLUMNS }, panel });
    }
}

/// A matrix `[N, K]` in memory.
#[derive(Clone, Copy)]
pub(super) struct Transposed<'b>(pub Matrix<'b, u8>);

impl Source for Transposed<'_> {
    /// Some cache lines of every row of the matrix, and no more steps than half of a level-1 cache holds.
    const SLICE: usize = 4 * SLICE;

    fn pack(&self, _: Isa, panel: PanelRows<'_>) {
        match panel.depth {
            1 => self.pack_steps::<1>(panel),
            2 => self.pack_steps::<2>(panel),
            4 => self.pack_steps::<4>(panel),
            #[cfg(not(target_arch = "x86_64"))]
            8 => self.pack_steps::<8>(panel),
            depth => unreachable!("no micro-kernel takes {depth} codes a step"),
        }
    }
}

impl Transposed<'_> {
    /// The codes of a column in a step lie beside each other, in the matrix as in the panel: they are copied together.
    fn pack_steps<const DEPTH: usize>(&self, panel: PanelRows<'_>) {
        let PanelRows { rows, columns, width, stored: Stored { flip, .. }, out, .. } = panel;
        let (steps, _) = out.as_chunks_mut::<DEPTH>();
        for (j, column) in columns.enumerate() {
            let codes = self.0.row(column);
            let (whole, rest) = codes[rows.clone()].as_chunks::<DEPTH>();
            // The next slice: rows are too many for the CPU's own prefetchers.
            for line in (0..rows.len()).step_by(CACHE_LINE) {
                prefetch_line_to_level2(codes.as_ptr().wrapping_add(rows.end + line));
            }
            for (step, codes) in steps.chunks_exact_mut(width).zip(whole) {
                step[j] = *codes;
            }
            if !rest.is_empty() {
                // Codes that pad the depth are stored as zeros.
                let mut codes = [flip; DEPTH];
                codes[..rest.len()].copy_from_slice(rest);
                steps[whole.len() * width + j] = codes;
            }
        }
        // (Apart, so that codes are copied as words, and this loop is one of vectors.)
        if flip != 0 {
            steps.as_flattened_mut().iter_mut().for_each(|code| *code ^= flip);
        }
    }
}

/// The codes of some rows of B from one column on.
#[derive(Clone, Copy)]
struct CodeRows<'a> {
    /// From the first row's first code to the end of the matrix.
    codes: &'a [u8],
    /// From a row to the next.
    stride: usize,
}

impl<'a> CodeRows<'a> {
    /// Row `row`, as far as a panel can be wide, through `buffer` near the end of the matrix. Codes behind the last column
    /// may have any value.
    #[inline(always)]
    fn row(&self, row: usize, buffer: &'a mut Row) -> &'a Row {
        let codes = &self.codes[row * self.stride..];
        codes.as_chunks().0.first_chunk().unwrap_or_else(|| {
            buffer.as_flattened_mut()[..codes.len()].copy_from_slice(codes);
            buffer
        })
    }

    /// Fetches the codes [`COLUMNS_AHEAD`] of a row's. There may be none.
    #[inline(always)]
    fn prefetch(&self, row: usize) {
        let row = self.codes.as_ptr().wrapping_add(row * self.stride + COLUMNS_AHEAD);
        prefetch_line(row);
        prefetch_line(row.wrapping_add(MAX_COLUMNS - 1));
    }
}

/// The codes of a row that a panel of any width reads.
type Row = [[u8; LANES]; MAX_COLUMNS / LANES];

/// Columns ahead of their use at which rows are fetched: panels beside each other are packed one slice of rows at a time.
const COLUMNS_AHEAD: usize = 256;

/// Interleaves some rows of a panel.
struct Interleave<'a> {
    /// The codes from the panel's first column on.
    codes: CodeRows<'a>,
    panel: PanelRows<'a>,
}

impl Kernel for Interleave<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        match self.panel.depth {
            1 => self.interleave::<V, 1>(simd),
            2 => self.interleave::<V, 2>(simd),
            4 => self.interleave::<V, 4>(simd),
            // On x86-64 no micro-kernel takes as many.
            #[cfg(not(target_arch = "x86_64"))]
            8 => self.interleave::<V, 8>(simd),
            depth => unreachable!("no micro-kernel takes {depth} codes a step"),
        }
    }
}

impl Interleave<'_> {
    #[inline(always)]
    fn interleave<V: Vectors, const DEPTH: usize>(self, simd: V) {
        let Interleave { codes: source, panel: PanelRows { rows, width, stored: Stored { flip, .. }, out, .. } } = self;
        let rows = rows.len();
        // Codes that pad the depth are stored as zeros.
        let zeros = [[flip; LANES]; MAX_COLUMNS / LANES];
        let mut buffers = [zeros; DEPTH];
        let (steps, _) = out.as_chunks_mut::<DEPTH>();
        for step in 0..rows.div_ceil(DEPTH) {
            let out = &mut steps[step * width..][..width];
            let mut codes = [&zeros; DEPTH];
            for (i, buffer) in buffers.iter_mut().enumerate() {
                let row = step * DEPTH + i;
                if row < rows {
                    codes[i] = source.row(row, buffer);
                    source.prefetch(row);
                }
            }
            let mut column = 0;
            while column < width {
                let mut block = [&zeros[0]; DEPTH];
                for i in 0..DEPTH {
                    block[i] = &codes[i][column / LANES];
                }
                match out[column..].first_chunk_mut() {
                    Some(out) => write_steps(simd, block, flip, out),
                    None => {
                        let mut padded = [[0; DEPTH]; LANES];
                        write_steps(simd, block, flip, &mut padded);
                        out[column..].copy_from_slice(&padded[..width - column]);
                    }
                }
                column += LANES;
            }
        }
    }
}

/// Writes a step of sixteen columns: DEPTH codes of every column, one of each row, XORed with `flip`.
#[inline(always)]
fn write_steps<V: Vectors, const DEPTH: usize>(
    simd: V,
    rows: [&[u8; LANES]; DEPTH],
    flip: u8,
    out: &mut [[u8; DEPTH]; LANES],
) {
    if DEPTH < 4 {
        let (mut first, mut last) = (*rows[0], *rows[DEPTH - 1]);
        for i in 0..LANES {
            first[i] ^= flip;
            last[i] ^= flip;
        }
        if let Some(out) = out.as_flattened_mut().as_chunks_mut().0.first_chunk_mut() {
            simd.store_interleaved([&first, &last], out);
        } else {
            out.as_flattened_mut().copy_from_slice(&first);
        }
        return;
    }
    let flip = simd.splat_i32(i32::from_ne_bytes([flip; 4]));
    let (quads, _) = rows.as_chunks();
    for quad in 0..quads.len() {
        let mut words = [0_i32; LANES];
        simd.store_i32(simd.xor_i32(simd.load_interleaved(quads[quad]), flip), &mut words);
        for i in 0..LANES {
            out[i][4 * quad..4 * quad + 4].copy_from_slice(&words[i].to_le_bytes());
        }
    }
}

/// A row of ones, as a micro-kernel reads it that widens A or does not.
pub(crate) fn ones(wide: bool, depth: usize, workspace: &mut Scratch) -> *const u8 {
    if wide {
        let ones = workspace.elements::<i16>(depth);
        ones.fill(1);
        ones.as_ptr().cast()
    } else {
        let ones = workspace.elements::<u8>(depth);
        ones.fill(1);
        ones.as_ptr()
    }
}

/// Adds the sums of the stored codes of a panel's columns to `sums`: the panel's product with a row of ones.
pub(super) fn sum_columns(kernel: &Microkernel, codes: &[u8], width: usize, sums: &mut AccRow) {
    let (mut workspace, depth) = (Scratch::default(), codes.len() / width);
    let ones = ones(kernel.widen_a, depth, &mut workspace);
    // Both pointers come from one borrow: a second one would end the first.
    let sums = sums.0.as_mut_ptr();
    let operands = Operands {
        steps: depth / kernel.depth,
        a: ones,
        a_stride: 0,
        b: codes.as_ptr(),
        initial: sums,
        initial_stride: 0,
        row_terms: null(),
        updates: &[],
        sums,
        sums_stride: 0,
        prefetch: false,
    };
    // SAFETY: a kernel is reached through its ISA's token only, so the CPU has its ISA; `codes` has `steps` steps of `width`
    // columns and `ones` the codes of as many steps; `sums`, which this function holds alone, has a row of any tile's width.
    unsafe { kernel.tiles[width / kernel.lanes - 1][0](operands) };
}
