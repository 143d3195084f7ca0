//! The unpacked right operand: for matrices that are multiplied only once, such as the keys and values of attention.
//!
//! Panels are packed into the thread's workspace right before they are multiplied, a batch at a time, and then dropped. So is every
//! panel of a matrix `[N, K]`, whose rows are columns of B.
//!
//! For a few tiles of rows of A and a matrix `[K, N]`, packing would write and read panels for too little. Then the micro-kernel
//! makes its vectors of the rows of B in place, and B is read once, from its first row to its last, a slice of some rows at a time:
//!
//! ```text
//! for slices of 8 to 64 rows of B:
//!     for tiles of rows of A:
//!         for panels of columns:      accumulators += A · slice       in registers; then kept, in level 2
//! ```
//!
//! Every line of B comes from memory once, and what it costs decides: the rows of a slice lie in as many pages, more than
//! hardware prefetchers follow, and where they lie a multiple of [`SETS`] bytes apart they fall into the same few sets of a
//! cache. So slices of a matrix beyond level 2 are low, the next slice is fetched into level 2 while one is read, and each row
//! some lines ahead into level 1 (`Slices` says how low, as measured). The lower the slice, the more often accumulators are read
//! and written.
//!
//! An incomplete last step, and vectors that reach behind the end of the matrix, cannot be read in place: they are packed into a
//! buffer that the level-1 cache holds.

use core::ops::Range;
use core::ptr::null;

use super::lhs::{LhsBlock, SETS};
use super::offsets::ColumnTerms;
use super::pack::Panel;
use super::pack_panel::{PanelRows, RowMajor, SLICE, Source, Transposed, sum_columns};
use super::shape::{Shape, Stored, largest_of};
use super::split::Split;
use super::tile::{AccRow, MAX_COLUMNS, Microkernel, Operands, UnpackedOperands};
use crate::cache::level2;
use crate::isa::Isa;
use crate::matrix::{Largest, Matrix, ZeroPoints};
use crate::memory::Scratch;
use crate::sign::Sign;
use crate::simd::LANES;

/// An unpacked right operand of either type, for left operands of either type.
#[derive(Clone, Copy, Debug)]
pub struct Unpacked<'a> {
    shape: Shape,
    b: Matrix<'a, u8>,
    order: Order,
    stored: Stored,
    zero_points: ZeroPoints<'a>,
    bias: Option<&'a [i32]>,
}

/// How a right operand lies in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// `[K, N]`
    Rows,
    /// `[N, K]`
    Columns,
}

/// Room for [`ColumnTerms`].
pub struct TermRows {
    bias: [i32; MAX_COLUMNS + LANES],
    negative_sums: [i32; MAX_COLUMNS + LANES],
    zero_points: [i32; MAX_COLUMNS + LANES],
    uniform: bool,
}

impl TermRows {
    fn new() -> Self {
        let zeros = [0; MAX_COLUMNS + LANES];
        TermRows { bias: zeros, negative_sums: zeros, zero_points: zeros, uniform: true }
    }

    fn terms(&self) -> ColumnTerms<'_> {
        ColumnTerms {
            bias: &self.bias,
            negative_sums: &self.negative_sums,
            zero_points: (!self.uniform).then_some(&self.zero_points[..]),
        }
    }
}

impl<'a> Unpacked<'a> {
    /// A matrix of codes of the sign `b`, for left operands of the sign `a`. Its caller checks the zero points.
    pub fn new(isa: Isa, [a, b]: [Sign; 2], codes: Matrix<'a, u8>, order: Order, zero_points: ZeroPoints<'a>) -> Self {
        let kernel = isa.microkernel(a);
        let shape = match order {
            Order::Rows => {
                Shape::new(isa, kernel, codes.rows(), codes.columns(), kernel.unpacked_panels(codes.columns()))
            }
            Order::Columns => Shape::new(isa, kernel, codes.columns(), codes.rows(), kernel.panels(codes.rows())),
        };
        Unpacked { shape, b: codes, order, stored: Stored::new(kernel, b), zero_points, bias: None }
    }

    /// Adds `bias[j]`, one for every column, to every accumulator of column j.
    pub fn set_bias(&mut self, bias: &'a [i32]) {
        self.bias = Some(bias);
    }

    /// The largest `|bias|`.
    pub fn largest_bias(&self) -> Largest {
        largest_of(self.bias.unwrap_or_default())
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The factor of the LHS row sums: 0 when they are not needed.
    pub fn row_sum_factor(&self) -> i32 {
        match self.zero_points {
            ZeroPoints::Uniform(zero_point) => -self.stored.zero_point(zero_point),
            ZeroPoints::Each(_) => -1,
        }
    }

    /// Packs some rows of a panel, of which the first begins a step.
    fn pack(&self, panel: usize, rows: Range<usize>, out: &mut [u8]) {
        let Shape { isa, kernel, .. } = self.shape;
        let columns = self.shape.columns_of(panel..panel + 1);
        let width = self.shape.vectors(panel) * kernel.lanes;
        let rows = PanelRows { rows, columns, width, depth: kernel.depth, stored: self.stored, out };
        match self.order {
            Order::Rows => RowMajor(self.b).pack(isa, rows),
            Order::Columns => Transposed(self.b).pack(isa, rows),
        }
    }

    /// Rows of B that are packed at a time.
    fn slice(&self) -> usize {
        match self.order {
            Order::Rows => RowMajor::SLICE,
            Order::Columns => Transposed::SLICE,
        }
    }

    /// Panels from one on that are packed together. Rows of B, which are side by side in all panels, are read once for many; columns
    /// of B are in one panel.
    fn panels_together(&self, panel: usize) -> usize {
        match self.order {
            Order::Rows => (level2() * 2 / self.shape.panel_bytes(panel..panel + 1).max(1)).max(1),
            Order::Columns => 1,
        }
    }

    /// Whether all rows fall into the same few sets of a cache.
    fn aliases_cache_sets(&self) -> bool {
        self.b.stride().is_multiple_of(SETS)
    }

    /// Whether the level-2 cache holds the codes.
    fn is_near(&self) -> bool {
        self.b.rows().saturating_mul(self.b.columns()) <= level2()
    }

    /// The most rows of A for which B is read in place, which only rows of B can be. With more of them, packing is faster on a Zen 4.
    pub fn most_sliced_rows(&self) -> usize {
        /// Codes of B that are packed in less time than accumulators are cleared, kept and read again.
        const FEW: usize = 64 * 64;
        /// The least depth at which 16 rows of A, and not only 8, pay for their accumulators.
        const DEEP: usize = 256;
        let Shape { kernel, columns, depth, .. } = self.shape;
        if self.order == Order::Columns {
            return 0;
        }
        // A single panel that is not whole would be packed all the same, slice by slice.
        let is_packed = columns < self.shape.vectors(0) * kernel.lanes;
        if self.is_near() {
            return match depth {
                _ if is_packed || depth * columns <= FEW => 0,
                ..DEEP => 8,
                _ => 16,
            };
        }
        let tiles = if is_packed {
            1
        } else if self.aliases_cache_sets() {
            3
        } else {
            4
        };
        tiles * kernel.rows()
    }

    /// Some rows of panels of one width in place, if whole vectors of them may be read there: the address, the bytes from a
    /// row to the next, and the byte with which every code is XORed.
    fn in_place(&self, panels: Range<usize>, rows: Range<usize>) -> Option<(*const u8, usize, u8)> {
        let Shape { kernel, .. } = self.shape;
        let first = self.shape.columns_of(panels.clone()).start;
        let width = panels.len() * self.shape.vectors(panels.start) * kernel.lanes;
        let inside = self.b.tail_from(rows.end - 1)[first..].len() >= width;
        let b = self.b.tail_from(rows.start)[first..].as_ptr().cast();
        inside.then_some((b, self.b.stride(), self.stored.flip))
    }

    /// Writes the terms of the columns of a panel, given the sums of their stored codes.
    fn terms(&self, columns: Range<usize>, sums: &AccRow, out: &mut TermRows) {
        let stored = self.stored;
        if let Some(bias) = self.bias {
            out.bias[..columns.len()].copy_from_slice(&bias[columns.clone()]);
        }
        out.uniform = matches!(self.zero_points, ZeroPoints::Uniform(_));
        for (i, j) in columns.enumerate() {
            let zero_point = stored.zero_point(self.zero_points.at(j));
            out.zero_points[i] = zero_point;
            out.negative_sums[i] = zero_point.wrapping_mul(self.shape.depth as i32).wrapping_sub(sums.0[i]);
        }
    }
}

/// A row of A that is all ones, for a slice.
fn ones(kernel: &Microkernel) -> *const u8 {
    static NARROW: [u8; SLICE] = [1; SLICE];
    static WIDE: [i16; SLICE] = [1; SLICE];
    if kernel.widen_a { WIDE.as_ptr().cast() } else { NARROW.as_ptr() }
}

/// A batch of panels that are packed together, row by row: a row of a large matrix is in a page of its own, and the page
/// walk takes longer than reading one panel's part of the row. Batches of twice the level-2 cache were the fastest.
pub(super) struct PanelBatch<'a> {
    b: &'a Unpacked<'a>,
    codes: Scratch,
    /// The panels that are packed.
    panels: Range<usize>,
    terms: TermRows,
    /// Whether the sums of B's columns are needed.
    sum: bool,
}

impl<'a> PanelBatch<'a> {
    pub fn new(b: &'a Unpacked<'a>, sum: bool) -> Self {
        PanelBatch { b, codes: Scratch::default(), panels: 0..0, terms: TermRows::new(), sum }
    }

    /// A panel, which is packed if it is not yet, with others that come before `end`.
    pub fn panel(&mut self, panel: usize, end: usize) -> Panel<'_> {
        let shape = *self.b.shape();
        if !self.panels.contains(&panel) {
            self.panels = panel..end.min(panel + self.b.panels_together(panel));
            self.pack();
        }
        let bytes = shape.panel_bytes(self.panels.start..panel)..shape.panel_bytes(self.panels.start..panel + 1);
        let codes = &self.codes.as_slice::<u8>(shape.panel_bytes(self.panels.clone()))[bytes];
        let (columns, vectors) = (shape.columns_of(panel..panel + 1), shape.vectors(panel));
        let mut column_sums = AccRow([0; MAX_COLUMNS]);
        if self.sum {
            sum_columns(shape.kernel, codes, vectors * shape.kernel.lanes, &mut column_sums);
        }
        self.b.terms(columns.clone(), &column_sums, &mut self.terms);
        Panel { codes: codes.as_ptr(), steps: shape.steps, sums: None, vectors, columns, terms: self.terms.terms() }
    }

    fn pack(&mut self) {
        let shape = *self.b.shape();
        let codes = self.codes.elements::<u8>(shape.panel_bytes(self.panels.clone()));
        let slice = self.b.slice();
        for rows in (0..shape.depth).step_by(slice).map(|first| first..shape.depth.min(first + slice)) {
            let steps = rows.start / shape.kernel.depth..rows.end.div_ceil(shape.kernel.depth);
            for panel in self.panels.clone() {
                let step = shape.vectors(panel) * shape.kernel.lanes * shape.kernel.depth;
                let before = shape.panel_bytes(self.panels.start..panel);
                self.b.pack(panel, rows.clone(), &mut codes[before + steps.start * step..before + steps.end * step]);
            }
        }
    }
}

/// How B is cut into slices.
struct Slices {
    /// The rows of a slice: whole steps.
    rows: usize,
    /// Whether lines are fetched ahead of their use.
    prefetch: bool,
}

impl Slices {
    /// For `rows` rows of A.
    fn new(b: &Unpacked<'_>, rows: usize) -> Self {
        if b.is_near() {
            return Slices { rows: SLICE, prefetch: false };
        }
        let rows = if b.aliases_cache_sets() {
            // No more than the lines that one set of a level-1 cache keeps.
            8
        } else if rows <= 8 {
            // As many as prefetchers follow at least: of 8, 16, 32 and 64 rows the fastest on a Zen 4.
            16
        } else {
            // More accumulators are read and written for a slice: they pay for sixteen steps, whose rows are fetched in time.
            (16 * b.shape.kernel.depth).clamp(16, SLICE)
        };
        Slices { rows, prefetch: true }
    }
}

/// The accumulators of a few tiles of rows of A and the columns of some panels, made in slices of the depth of B.
pub(super) struct DepthSlices<'a> {
    b: &'a Unpacked<'a>,
    panels: Range<usize>,
    /// The rows of A.
    rows: usize,
    // Given back in the reverse of the order they are taken in, so that each gets the same memory in the next call.
    /// A slice of a panel that is packed.
    codes: Scratch,
    /// The accumulators: `rows` rows for every panel.
    sums: Scratch,
    /// The sums of B's columns, a row for every panel, if they are needed.
    column_sums: Scratch,
    terms: TermRows,
}

impl<'a> DepthSlices<'a> {
    /// The most panels for `rows` rows of A: their accumulators take no more than half of the level-2 cache.
    pub fn most_panels(rows: usize) -> usize {
        (level2() / 2 / (rows * size_of::<AccRow>()).max(1)).max(16)
    }

    /// Multiplies `rows` rows of A by all slices.
    pub fn new(b: &'a Unpacked<'a>, panels: Range<usize>, a: &LhsBlock<'_>, rows: usize, sum: bool) -> Self {
        let mut slices = DepthSlices {
            b,
            panels,
            rows,
            sums: Scratch::default(),
            column_sums: Scratch::default(),
            codes: Scratch::default(),
            terms: TermRows::new(),
        };
        let count = slices.panels.len();
        let zeros = AccRow([0; MAX_COLUMNS]);
        slices.column_sums.elements(count).fill(zeros);
        slices.sums.elements(count * rows).fill(zeros);
        let depth = b.shape().depth;
        let runs = slices.runs();
        let Slices { rows: step, prefetch } = Slices::new(b, rows);
        for first in (0..depth).step_by(step) {
            for run in runs.iter().filter(|run| !run.is_empty()) {
                slices.add(first..depth.min(first + step), run.clone(), a, sum, prefetch);
            }
        }
        slices
    }

    /// Runs of panels of one width; and the last panel alone if its vectors reach behind the last column, where nothing may
    /// be read.
    fn runs(&self) -> [Range<usize>; 3] {
        let Range { start, end } = self.panels;
        let shape = self.b.shape();
        let whole = shape.columns_of(end - 1..end).len() == shape.vectors(end - 1) * shape.kernel.lanes;
        let last = if whole { end } else { end - 1 };
        let narrower = (start..last).find(|&panel| shape.vectors(panel) < shape.vectors(start)).unwrap_or(last);
        [start..narrower, narrower..last, last..end]
    }

    /// Adds the products of a slice of rows of B, in a run of panels.
    fn add(&mut self, slice: Range<usize>, run: Range<usize>, a: &LhsBlock<'_>, sum: bool, prefetch: bool) {
        let Shape { kernel, .. } = *self.b.shape();
        let rows = self.rows;
        let count = self.panels.len();
        let place = run.start - self.panels.start;
        let sums: *mut i32 = self.sums.elements::<AccRow>(count * rows)[place * rows..].as_mut_ptr().cast();
        let column_sums = &mut self.column_sums.elements::<AccRow>(count)[place..];
        let a_stride = a.stride;
        let a = a.a.wrapping_add(slice.start * if kernel.widen_a { 2 } else { 1 });
        let vectors = self.b.shape().vectors(run.start);
        let steps = slice.len() / kernel.depth;
        let whole = steps * kernel.depth == slice.len();
        if whole && let Some((b, b_stride, flip)) = self.b.in_place(run.clone(), slice.clone()) {
            let tiles = kernel.unpacked_tiles[vectors - 1];
            let sums_stride = rows * MAX_COLUMNS;
            let panels = run.len();
            let next_slice = if prefetch { slice.len() * b_stride } else { 0 };
            let operands =
                UnpackedOperands { steps, a, a_stride, b, b_stride, flip, panels, sums, sums_stride, next_slice };
            for tile in Split::new(rows, tiles.len()).iter() {
                let a = a.wrapping_add(tile.start * a_stride);
                let sums = sums.wrapping_add(tile.start * MAX_COLUMNS);
                // (The first tile has fetched for all.)
                let next_slice = if tile.start == 0 { next_slice } else { 0 };
                let operands = UnpackedOperands { a, sums, next_slice, ..operands };
                // SAFETY: a kernel is reached through its ISA's token only, so the CPU has its ISA; `a` has the rows of the
                // tile, of all steps; whole vectors of the run's rows may be read; `sums`, which is borrowed mutably, has a row
                // for each of them in each of the run's panels.
                unsafe { tiles[tile.len() - 1](operands) };
            }
            if sum {
                let sums = column_sums.as_mut_ptr().cast();
                // SAFETY: the CPU has the kernel's ISA; `ones` has a row of SLICE codes, no fewer than the slice; whole vectors
                // of the run's rows may be read; `column_sums`, which is borrowed mutably, has a row for each panel.
                unsafe {
                    tiles[0](UnpackedOperands {
                        a: ones(kernel),
                        sums,
                        sums_stride: MAX_COLUMNS,
                        next_slice: 0,
                        ..operands
                    })
                };
            }
            return;
        }
        for (i, panel) in run.enumerate() {
            let steps = slice.len().div_ceil(kernel.depth);
            let width = vectors * kernel.lanes;
            let codes = self.codes.elements(steps * kernel.depth * width);
            self.b.pack(panel, slice.clone(), codes);
            if sum {
                sum_columns(kernel, codes, width, &mut column_sums[i]);
            }
            let sums = sums.wrapping_add(i * rows * MAX_COLUMNS);
            for tile in kernel.row_tiles(rows, vectors).iter() {
                let sums = sums.wrapping_add(tile.start * MAX_COLUMNS);
                let operands = Operands {
                    steps,
                    a: a.wrapping_add(tile.start * a_stride),
                    a_stride,
                    b: codes.as_ptr(),
                    initial: sums,
                    initial_stride: MAX_COLUMNS,
                    row_terms: null(),
                    updates: &[],
                    sums,
                    sums_stride: MAX_COLUMNS,
                    prefetch: false,
                };
                // SAFETY: the CPU has the kernel's ISA; `a` has the rows of the tile, of all steps; `codes` has `steps` steps,
                // `vectors` wide; `sums`, which is borrowed mutably, has a row of MAX_COLUMNS for each of them in the panel.
                unsafe { kernel.tiles[vectors - 1][tile.len() - 1](operands) };
            }
        }
    }

    /// The accumulators of a panel, as a panel that has no steps left.
    pub fn panel(&mut self, panel: usize) -> Panel<'_> {
        let shape = self.b.shape();
        let (columns, i, count) = (shape.columns_of(panel..panel + 1), panel - self.panels.start, self.panels.len());
        self.b.terms(columns.clone(), &self.column_sums.as_slice(count)[i], &mut self.terms);
        let sums = Some(&self.sums.as_slice(count * self.rows)[i * self.rows..]);
        Panel { codes: null(), steps: 0, sums, vectors: shape.vectors(panel), columns, terms: self.terms.terms() }
    }
}
