//! A checked multiplication by weights in groups, in blocks of rows and pieces of panels.
//!
//! ```text
//! Job::run
//!   for blocks of rows      Rows::read: quantized or copied, with the sums of groups; on all threads
//!     for panels of W       PanelMemory::read: scales, offsets and zero points as f32 and i32; codes as bytes, for many rows
//!       for tiles of rows   GroupTile: totals, from the first group to the last
//!                           Job::finish: row scale, bias, bounds, store
//! ```

use core::ops::Range;
use core::ptr::null;
use core::slice::from_raw_parts_mut;

use bytemuck::cast_slice_mut;

use super::activations::Activations;
use super::packed::PackedWeights;
use super::panel::PanelMemory;
use super::rows::{RowLayout, Rows};
use super::stage::RealStage;
use super::tile::{GroupOperands, GroupUpdate};
use crate::error::Error;
use crate::exec::{Exec, PIECE};
use crate::half::{HalfKind, HalvesMut, narrow_piece};
use crate::kernel::{Kernel, Vectors};
use crate::matmul::output::Output;
use crate::matmul::split::Split;
use crate::matmul::tile::{MAX_COLUMNS, MAX_ROWS};
use crate::memory::Workspace;

/// A checked multiplication.
pub(super) struct Job<'a> {
    pub x: &'a Activations<'a>,
    pub weights: &'a PackedWeights,
    pub stage: &'a RealStage,
    pub out: Output<'a>,
    pub results: Results<'a>,
}

/// What results are made of real numbers.
#[derive(Clone, Copy)]
pub(super) enum Results<'a> {
    /// They are these, of f32.
    F32,
    /// Reals of 16 bits.
    Halves(HalfKind),
    /// Codes, whose bytes this function writes.
    Codes(&'a (dyn Fn(&[f32], &mut [u8]) + Sync)),
}

/// Bytes of activations that are prepared at a time, so that the memory of a call is bounded. Panels are read again for the next
/// ones, which costs little beside so many rows.
const PREPARED: usize = 64 << 20;

/// Products that a core computes in a nanosecond at most: an upper bound, so that work is shared only if every core gains by it.
const MULTIPLIED: usize = 512;

/// Weights that a core reads in a nanosecond at most: an upper bound, like [`MULTIPLIED`].
const READ: usize = 128;

/// Pieces that the result is divided in for every thread, so that all end at nearly the same time.
const PIECES_A_THREAD: usize = 8;

impl Job<'_> {
    /// Multiplies, on several threads if that is faster.
    pub fn run(&self, exec: Exec<'_>) -> Result<(), Error> {
        let (m, w) = (self.x.rows(), self.weights);
        if m == 0 || w.outputs() == 0 {
            return Ok(());
        }
        if w.depth() == 0 {
            for start in (0..w.outputs()).step_by(MAX_COLUMNS) {
                let columns = start..w.outputs().min(start + MAX_COLUMNS);
                for row in 0..m {
                    // SAFETY: nobody else has the result.
                    unsafe { self.finish(0, row..row + 1, columns.clone(), |_| 1.0, &mut [0.0; MAX_COLUMNS]) };
                }
            }
            return Ok(());
        }
        let most = (PREPARED / RowLayout::new(self.x, w).stride).max(MAX_ROWS);
        if m > most {
            // An error of any row is found before the first result is written.
            for start in (0..m).step_by(most) {
                Rows::read(exec, self.x, w, start..m.min(start + most))?;
            }
        }
        for start in (0..m).step_by(most) {
            let rows = Rows::read(exec, self.x, w, start..m.min(start + most))?;
            self.multiply(exec, &Block { job: self, first: start, rows: &rows });
        }
        Ok(())
    }

    fn multiply(&self, exec: Exec<'_>, block: &Block<'_>) {
        let (rows, w) = (block.rows.count, self.weights);
        let codes = w.outputs().saturating_mul(w.depth());
        // A few rows take as long as the weights take to be read.
        let nanoseconds = (rows.saturating_mul(codes) / MULTIPLIED).max(codes / READ);
        let team = exec.team_of(nanoseconds, PIECE);
        let panels = w.panels();
        if team.alone() {
            // SAFETY: it is the only piece.
            return unsafe { block.run(0..rows, 0..panels) };
        }
        // Panels are divided, and rows where there are few panels.
        let wanted = PIECES_A_THREAD * exec.threads();
        let across = wanted.min(panels);
        let tiles = rows.div_ceil(w.kernel.rows());
        let down = wanted.div_ceil(across).min(tiles);
        let (panel_parts, row_parts) = (parts(panels, across), parts(tiles, down));
        let piece = |i: usize| {
            let (tiles, panels) = (row_parts.part(i / panel_parts.parts()), panel_parts.part(i % panel_parts.parts()));
            (tiles.start * w.kernel.rows()..rows.min(tiles.end * w.kernel.rows()), panels)
        };
        let pieces = panel_parts.parts() * row_parts.parts();
        // SAFETY: every piece runs once, and no two share rows and panels.
        team.share((0..pieces).map(piece), |(rows, panels)| unsafe { block.run(rows, panels) });
    }
}

/// Units divided into some parts.
fn parts(units: usize, parts: usize) -> Split {
    Split::new(units, units.div_ceil(parts.max(1)).max(1))
}

/// Some rows that are prepared.
struct Block<'a> {
    job: &'a Job<'a>,
    /// The row of the result that the first of them is.
    first: usize,
    rows: &'a Rows<'a>,
}

impl Block<'_> {
    /// Computes some rows of some panels.
    ///
    /// # Safety
    /// No other piece with the same rows and panels of this result runs at the same time.
    unsafe fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        let w = self.job.weights;
        let (groups, steps) = (w.groups, w.steps());
        let (mut memory, mut totals) = (PanelMemory::default(), Workspace::default());
        let totals = totals.elements::<f32>(MAX_ROWS * MAX_COLUMNS);
        let has_zero_points = !self.rows.zero_points_from(0).is_null();
        for panel in panels {
            let columns = w.columns_of(panel..panel + 1);
            let panel = memory.read(w, panel, rows.len(), has_zero_points);
            for tile in Split::new(rows.len(), panel.kernel.rows()).iter() {
                let tile = rows.start + tile.start..rows.start + tile.end;
                let first = tile.start;
                let mut updates = [GroupUpdate { rows: null(), columns: null() }; 2];
                let mut count = 0;
                let terms = [
                    (self.rows.sums_from(first), panel.negative_zero_points),
                    (self.rows.zero_points_from(first), panel.negative_sums),
                ];
                for (rows, columns) in terms {
                    if !columns.is_empty() {
                        updates[count] = GroupUpdate { rows, columns: columns.as_ptr() };
                        count += 1;
                    }
                }
                let operands = GroupOperands {
                    groups,
                    steps: steps.each,
                    last_steps: steps.last,
                    a: self.rows.codes_from(first),
                    a_stride: self.rows.layout.stride,
                    w: panel.codes.as_ptr(),
                    row_terms: self.rows.terms_from(first),
                    updates: &updates[..count],
                    scales: panel.scales.as_ptr(),
                    row_scales: self.rows.group_scales_from(first),
                    offsets: panel.offsets.map_or(null(), <[f32]>::as_ptr),
                    row_sums: self.rows.real_sums_from(first),
                    totals: totals.as_mut_ptr(),
                    totals_stride: MAX_COLUMNS,
                    prefetch: first == rows.start,
                };
                // SAFETY: the panel was packed for this kernel on an ISA that the CPU has, or unpacked for it; rows, terms, scales,
                // sums, updates and offsets have a value for every group and row or column; totals are for the largest tile.
                unsafe { panel.kernel.tile(tile.len(), panel.vectors)(operands) };
                let scale = |row| self.rows.scale(row);
                // SAFETY: nobody else writes this part of the result.
                unsafe { self.job.finish(self.first, tile, columns.clone(), scale, totals) };
            }
        }
    }
}

impl Job<'_> {
    /// Writes the results of a tile from its totals. `rows` are those of a block whose first row is row `first` of the result.
    ///
    /// # Safety
    /// Nobody else has these rows and columns of the result.
    unsafe fn finish(
        &self,
        first: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        scale: impl Fn(usize) -> f32,
        totals: &mut [f32],
    ) {
        let isa = self.weights.isa;
        for (row, totals) in rows.zip(totals.chunks_mut(MAX_COLUMNS)) {
            let totals = &mut totals[..columns.len()];
            isa.run(Finish { stage: self.stage, scale: scale(row), column: columns.start, values: totals });
            let place = self.out.place(first + row, columns.start, 1, columns.len());
            let bytes = columns.len() * self.out.element_size();
            // SAFETY: `place` has these columns, of elements of this size; nobody else has them.
            let out = unsafe { from_raw_parts_mut(place.data, bytes) };
            match self.results {
                Results::F32 => cast_slice_mut(out).copy_from_slice(totals),
                Results::Halves(kind) => narrow_piece(isa, totals, HalvesMut { bits: cast_slice_mut(out), kind }),
                Results::Codes(to_codes) => to_codes(totals, out),
            }
        }
    }
}

/// Scales a row of totals, and applies bias and bounds.
struct Finish<'a> {
    stage: &'a RealStage,
    scale: f32,
    /// The column of the first value.
    column: usize,
    values: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        // Plain loops, vectorized by the compiler for the ISA they run on.
        let Finish { stage: RealStage { bias, min, max }, scale, column, values } = self;
        for value in &mut *values {
            *value *= scale;
        }
        if let Some(bias) = bias.get(column..column + values.len()) {
            for (value, bias) in values.iter_mut().zip(bias) {
                *value += bias;
            }
        }
        for value in values {
            let x = if *value < *min { *min } else { *value };
            let x = if x > *max { *max } else { x };
            *value = if x.is_nan() { f32::NAN } else { x };
        }
    }
}
