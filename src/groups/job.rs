//! A checked multiplication by weights in groups, in blocks of rows and pieces of panels.
//!
//! ```text
//! Job::run
//!   for blocks of rows      Rows::read: quantized or copied, with the sums of groups; on all threads
//!     for panels of W
//!       for some tiles      whose totals stay in the level-1 or level-2 cache
//!         for slices        SliceMemory::read: some groups, whose codes and values stay in the level-1 cache
//!           for tiles       GroupTile: the products of these groups are added to the totals
//!         for tiles         Job::finish: row scale, bias, bounds, store
//! ```

use core::ops::Range;
use core::ptr::null;
use core::slice::from_raw_parts_mut;

use bytemuck::cast_slice_mut;

use super::activations::Activations;
use super::packed::PackedWeights;
use super::panel::{PanelSlice, SliceMemory, slices};
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
use crate::memory::Scratch;
use crate::simd::LANES;

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

/// The totals of a tile.
type TileTotals = [[f32; MAX_COLUMNS]; MAX_ROWS];

/// Tiles whose totals are kept while slices of weights go by.
const TILES: usize = 16;

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
                    unsafe {
                        self.finish(0, row..row + 1, columns.clone(), |_| 1.0, &mut [[0.0; MAX_COLUMNS]; MAX_ROWS])
                    };
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
        let (mut memory, mut totals) = (SliceMemory::default(), Scratch::default());
        let totals = totals.elements::<TileTotals>(TILES);
        let has_zero_points = !self.rows.zero_points_from(0, 0).is_null();
        for panel in panels {
            let columns = w.columns_of(panel..panel + 1);
            let (kernel, length) = slices(w, panel, rows.len());
            for some in (rows.start..rows.end).step_by(TILES * kernel.rows()) {
                let count = (rows.end - some).min(TILES * kernel.rows());
                let tiles = Split::new(count, kernel.rows());
                let tiles = || tiles.iter().map(|tile| some + tile.start..some + tile.end);
                for start in (0..w.groups).step_by(length) {
                    let groups = start..w.groups.min(start + length);
                    let slice =
                        memory.read(w, panel, groups.clone(), kernel, [rows.len() <= kernel.rows(), has_zero_points]);
                    for (tile, totals) in tiles().zip(&mut *totals) {
                        // The first tile reads codes from memory, unless they were unpacked.
                        let prefetch = tile.start == rows.start && kernel.codes == w.kernel.codes;
                        self.multiply(&slice, groups.clone(), tile, prefetch, totals);
                    }
                }
                for (tile, totals) in tiles().zip(&mut *totals) {
                    // SAFETY: nobody else writes this part of the result.
                    unsafe { self.job.finish(self.first, tile, columns.clone(), |row| self.rows.scale(row), totals) };
                }
            }
        }
    }

    /// Adds the products of some groups to the totals of a tile.
    fn multiply(
        &self,
        slice: &PanelSlice<'_>,
        groups: Range<usize>,
        tile: Range<usize>,
        prefetch: bool,
        totals: &mut TileTotals,
    ) {
        let (w, rows, first) = (self.job.weights, self.rows, groups.start);
        let steps = w.steps();
        let mut updates = [GroupUpdate { rows: null(), columns: null() }; 2];
        let mut count = 0;
        let terms = [
            (rows.sums_from(tile.start, first), slice.negative_zero_points),
            (rows.zero_points_from(tile.start, first), slice.negative_sums),
        ];
        for (rows, columns) in terms {
            if !columns.is_empty() {
                updates[count] = GroupUpdate { rows, columns: columns.as_ptr() };
                count += 1;
            }
        }
        let operands = GroupOperands {
            groups: groups.len(),
            group_stride: w.groups,
            steps: steps.each,
            last_steps: if groups.end == w.groups { steps.last } else { steps.each },
            a: rows.codes_from(tile.start, first),
            a_stride: rows.layout.stride,
            w: slice.codes.as_ptr(),
            row_terms: rows.terms_from(tile.start, first),
            updates: &updates[..count],
            scales: slice.scales,
            row_scales: rows.group_scales_from(tile.start, first),
            offsets: slice.offsets.map_or(null(), <[f32]>::as_ptr),
            row_sums: rows.real_sums_from(tile.start, first),
            totals: totals.as_flattened_mut().as_mut_ptr(),
            totals_stride: MAX_COLUMNS,
            has_totals: first > 0,
            prefetch,
        };
        // SAFETY: the slice was packed for this kernel on an ISA that the CPU has, or unpacked for it; rows, terms, scales, sums,
        // updates and offsets have a value for every group and row or column; totals are for the largest tile.
        unsafe { slice.kernel.tile(tile.len(), slice.vectors)(operands) };
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
        totals: &mut TileTotals,
    ) {
        let isa = self.weights.isa;
        let mut scales = [0.0; MAX_ROWS];
        for (out, row) in scales.iter_mut().zip(rows.clone()) {
            *out = scale(row);
        }
        isa.run(Finish { stage: self.stage, scales: &scales[..rows.len()], columns: columns.clone(), totals });
        for (row, totals) in rows.zip(&*totals) {
            let totals = &totals[..columns.len()];
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

/// Scales the totals of a tile, and applies bias and bounds.
struct Finish<'a> {
    stage: &'a RealStage,
    /// Of every row.
    scales: &'a [f32],
    columns: Range<usize>,
    /// Those behind the columns may be anything.
    totals: &'a mut TileTotals,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Finish { stage: RealStage { bias, min, max }, scales, columns, totals } = self;
        let (min, max, nan) = (v.splat_f32(*min), v.splat_f32(*max), v.splat_f32(f32::NAN));
        let mut biases = [[0.0; LANES]; MAX_COLUMNS / LANES];
        let bias = bias.get(columns.clone());
        if let Some(bias) = bias {
            biases.as_flattened_mut()[..bias.len()].copy_from_slice(bias);
        }
        for (totals, &scale) in totals.iter_mut().zip(scales) {
            let scale = v.splat_f32(scale);
            for (totals, added) in totals.as_chunks_mut().0.iter_mut().zip(&biases).take(columns.len().div_ceil(LANES))
            {
                let mut x = v.mul_f32(v.load_f32(totals), scale);
                if bias.is_some() {
                    x = v.add_f32(x, v.load_f32(added));
                }
                // (The bounds come first, so that a value that is equal to one of them stays, whatever the sign of a zero.)
                let clamped = v.min_f32(max, v.max_f32(min, x));
                v.store_f32(v.select_f32(v.is_nan(x), nan, clamped), totals);
            }
        }
    }
}
