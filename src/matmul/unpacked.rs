//! The right operand as it lies: for matrices that are multiplied but once, such as the keys and values of attention.
//!
//! Panels are packed into memory of the thread right before they are multiplied, a group at a time, and forgotten behind
//! that. When all rows of A fit one tile, that would write and read panels for nothing: then the micro-kernel makes its
//! vectors of the rows of B where they lie, some rows at a time ([`SLICE`]), so that B is read once, from its first row to
//! its last, and the sums of all columns are kept. What it cannot read there, a step that has not all its rows or the end
//! of the matrix, goes through a buffer that the level-1 cache holds.

use core::ops::Range;
use core::ptr::null;

use super::offsets::ColumnTerms;
use super::pack::Panel;
use super::pack_panel::{PackPanel, RowMajor, SLICE, Source, sum_columns};
use super::rhs::largest_of;
use super::rows::{Placed, SETS};
use super::shape::{Shape, Stored};
use super::tile::{AccRow, MAX_COLUMNS, Microkernel, Operands, UnpackedOperands};
use crate::cache::level2;
use crate::isa::Isa;
use crate::matrix::{Matrix, ZeroPoints};
use crate::memory::Workspace;
use crate::sign::Sign;
use crate::simd::LANES;

/// A right operand of either type where it is in memory, for left operands of either type.
#[derive(Clone, Copy, Debug)]
pub struct Unpacked<'a> {
    shape: Shape,
    b: Matrix<'a, u8>,
    stored: Stored,
    zero_points: ZeroPoints<'a>,
    bias: Option<&'a [i32]>,
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
    /// A matrix `[K, N]` of codes of the sign `b`, for left operands of the sign `a`. Size and zero points are checked.
    pub fn new(isa: Isa, [a, b]: [Sign; 2], codes: Matrix<'a, u8>, zero_points: ZeroPoints<'a>) -> Self {
        let kernel = isa.microkernel(a);
        let split = kernel.unpacked_panels(codes.columns());
        let shape = Shape::new(isa, kernel, codes.rows(), codes.columns(), split);
        Unpacked { shape, b: codes, stored: Stored::new(kernel, b), zero_points, bias: None }
    }

    /// Adds `bias[j]`, one for every column, to every accumulator of column j.
    pub fn set_bias(&mut self, bias: &'a [i32]) {
        self.bias = Some(bias);
    }

    /// The largest `|bias|`.
    pub fn largest_bias(&self) -> i64 {
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

    /// Packs some rows, which begin with a step, of a panel.
    fn pack(&self, panel: usize, rows: Range<usize>, out: &mut [u8]) {
        let Shape { isa, kernel, .. } = self.shape;
        let first = self.shape.columns_of(panel..panel + 1).start;
        isa.run(PackPanel {
            codes: RowMajor(self.b).rows(rows.clone(), first, &mut Workspace::default()),
            rows: rows.len(),
            width: self.shape.vectors(panel) * kernel.lanes,
            depth: kernel.depth,
            stored: self.stored,
            out,
        });
    }

    /// Whether the rows fall into few of a cache's sets.
    fn aliases_cache_sets(&self) -> bool {
        self.b.stride().is_multiple_of(SETS)
    }

    /// The rows of some panels of one width where they are and from a row to the next, if whole vectors of them may be read there; and
    /// what their bytes are to be XORed with.
    fn in_place(&self, panels: Range<usize>, rows: Range<usize>) -> Option<(*const u8, usize, u8)> {
        let Shape { kernel, .. } = self.shape;
        let first = self.shape.columns_of(panels.clone()).start;
        let width = panels.len() * self.shape.vectors(panels.start) * kernel.lanes;
        let inside = self.b.tail_from(rows.end - 1)[first..].len() >= width;
        let b = self.b.tail_from(rows.start)[first..].as_ptr().cast();
        inside.then_some((b, self.b.stride(), self.stored.flip))
    }

    /// The terms of the columns of a panel, the sums of whose stored codes are these.
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

/// A row of A that is all ones, for a stripe.
fn ones(kernel: &Microkernel) -> *const u8 {
    static NARROW: [u8; SLICE] = [1; SLICE];
    static WIDE: [i16; SLICE] = [1; SLICE];
    if kernel.widen_a { WIDE.as_ptr().cast() } else { NARROW.as_ptr() }
}

/// Makes panels, a group at a time, whose rows are read together: a row of a large matrix lies in a page of its own, and
/// finding that takes longer than reading a panel's part of it. Groups of twice the level-2 cache were the fastest.
pub(super) struct PanelBatch<'a> {
    b: &'a Unpacked<'a>,
    codes: Workspace,
    /// Those that are packed.
    panels: Range<usize>,
    terms: TermRows,
    /// Whether the sums of B's columns are needed.
    sum: bool,
}

impl<'a> PanelBatch<'a> {
    pub fn new(b: &'a Unpacked<'a>, sum: bool) -> Self {
        PanelBatch { b, codes: Workspace::default(), panels: 0..0, terms: TermRows::new(), sum }
    }

    /// A panel, which is packed if it is not yet, with others that come before `end`.
    pub fn panel(&mut self, panel: usize, end: usize) -> Panel<'_> {
        let shape = *self.b.shape();
        if !self.panels.contains(&panel) {
            let most = level2() * 2 / shape.panel_bytes(panel..panel + 1).max(1);
            self.panels = panel..end.min(panel + most.max(1));
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
        for rows in (0..shape.depth).step_by(SLICE).map(|first| first..shape.depth.min(first + SLICE)) {
            let steps = rows.start / shape.kernel.depth..rows.end.div_ceil(shape.kernel.depth);
            for panel in self.panels.clone() {
                let step = shape.vectors(panel) * shape.kernel.lanes * shape.kernel.depth;
                let before = shape.panel_bytes(self.panels.start..panel);
                self.b.pack(panel, rows.clone(), &mut codes[before + steps.start * step..before + steps.end * step]);
            }
        }
    }
}

/// The same for a single tile of rows of A, of rows that fall into few of a cache's sets: as many as these keep a line of.
const SLICE_WHEN_ALIASED: usize = 8;

/// The sums of a single tile of rows of A with the columns of some panels, made in stripes of B.
pub(super) struct DepthSlices<'a> {
    b: &'a Unpacked<'a>,
    panels: Range<usize>,
    /// The rows of A.
    rows: usize,
    // Given back in the reverse of the order they are taken in, so that each gets the same memory in the next call.
    /// A stripe of a panel that is packed.
    codes: Workspace,
    /// `rows` for every panel.
    sums: Workspace,
    /// A row for every panel, if they are needed.
    column_sums: Workspace,
    terms: TermRows,
}

impl<'a> DepthSlices<'a> {
    /// Adds up the products of `rows` rows of A.
    pub fn new(b: &'a Unpacked<'a>, panels: Range<usize>, a: &Placed<'_>, rows: usize, sum: bool) -> Self {
        let mut stripes = DepthSlices {
            b,
            panels,
            rows,
            sums: Workspace::default(),
            column_sums: Workspace::default(),
            codes: Workspace::default(),
            terms: TermRows::new(),
        };
        let count = stripes.panels.len();
        let zeros = AccRow([0; MAX_COLUMNS]);
        stripes.column_sums.elements(count).fill(zeros);
        stripes.sums.elements(count * rows).fill(zeros);
        let depth = b.shape().depth;
        let runs = stripes.runs();
        let step = if b.aliases_cache_sets() { SLICE_WHEN_ALIASED } else { SLICE };
        for first in (0..depth).step_by(step) {
            for run in runs.iter().filter(|run| !run.is_empty()) {
                stripes.add(first..depth.min(first + step), run.clone(), a, sum);
            }
        }
        stripes
    }

    /// Panels of one width; and the last one, if its vectors reach behind the last column, where nothing may be read.
    fn runs(&self) -> [Range<usize>; 3] {
        let Range { start, end } = self.panels;
        let shape = self.b.shape();
        let whole = shape.columns_of(end - 1..end).len() == shape.vectors(end - 1) * shape.kernel.lanes;
        let last = if whole { end } else { end - 1 };
        let narrower = (start..last).find(|&panel| shape.vectors(panel) < shape.vectors(start)).unwrap_or(last);
        [start..narrower, narrower..last, last..end]
    }

    /// Adds the products of a stripe of rows of B, in a run of panels.
    fn add(&mut self, stripe: Range<usize>, run: Range<usize>, a: &Placed<'_>, sum: bool) {
        let Shape { kernel, .. } = *self.b.shape();
        let rows = self.rows;
        let count = self.panels.len();
        let place = run.start - self.panels.start;
        let sums: *mut i32 = self.sums.elements::<AccRow>(count * rows)[place * rows..].as_mut_ptr().cast();
        let column_sums = &mut self.column_sums.elements::<AccRow>(count)[place..];
        // In bytes of A.
        let a_stride = a.stride;
        let a = a.a.wrapping_add(stripe.start * if kernel.widen_a { 2 } else { 1 });
        let vectors = self.b.shape().vectors(run.start);
        let steps = stripe.len() / kernel.depth;
        let whole = steps * kernel.depth == stripe.len();
        if whole && let Some((b, b_stride, flip)) = self.b.in_place(run.clone(), stripe.clone()) {
            let tiles = kernel.unpacked_tiles[vectors - 1];
            let sums_stride = rows * MAX_COLUMNS;
            let panels = run.len();
            let operands = UnpackedOperands { steps, a, a_stride, b, b_stride, flip, panels, sums, sums_stride };
            // SAFETY: B's ISA is the CPU's; `a` has `rows` rows, no more than a tile, of all steps; whole vectors of the
            // run's rows may be read; the sums are of every tile.
            unsafe { tiles[rows - 1](operands) };
            if sum {
                let sums = column_sums.as_mut_ptr().cast();
                // SAFETY: as above; there are as many ones as rows of a stripe.
                unsafe { tiles[0](UnpackedOperands { a: ones(kernel), sums, sums_stride: MAX_COLUMNS, ..operands }) };
            }
            return;
        }
        for (i, panel) in run.enumerate() {
            let steps = stripe.len().div_ceil(kernel.depth);
            let width = vectors * kernel.lanes;
            let codes = self.codes.elements(steps * kernel.depth * width);
            self.b.pack(panel, stripe.clone(), codes);
            if sum {
                sum_columns(kernel, codes, width, &mut column_sums[i]);
            }
            let sums = sums.wrapping_add(i * rows * MAX_COLUMNS);
            let operands = Operands {
                steps,
                a,
                a_stride,
                b: codes.as_ptr(),
                initial: sums,
                initial_stride: MAX_COLUMNS,
                row_terms: null(),
                updates: &[],
                sums,
                sums_stride: MAX_COLUMNS,
                columns: width,
                prefetch: false,
            };
            // SAFETY: B's ISA is the CPU's; `a` has `rows` rows, no more than a tile, of all steps; the buffer has
            // `steps` of them, `vectors` wide; the sums are of every tile.
            unsafe { kernel.tiles[vectors - 1][rows - 1](operands) };
        }
    }

    /// The sums of a panel, as a panel that has no steps left.
    pub fn panel(&mut self, panel: usize) -> Panel<'_> {
        let shape = self.b.shape();
        let (columns, i, count) = (shape.columns_of(panel..panel + 1), panel - self.panels.start, self.panels.len());
        self.b.terms(columns.clone(), &self.column_sums.as_slice(count)[i], &mut self.terms);
        let sums = Some(&self.sums.as_slice(count * self.rows)[i * self.rows..]);
        Panel { codes: null(), steps: 0, sums, vectors: shape.vectors(panel), columns, terms: self.terms.terms() }
    }
}
