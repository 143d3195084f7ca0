//! The loops over panels, tiles and slices of the depth, compiled once for every ISA.
//!
//! ```text
//! for blocks of rows          A in place, or copied
//!   for panels of B
//!     for tiles of rows
//!       for slices of K       Microkernel: sums in i32, in registers; added to totals in i64
//!       stage, store
//! ```

use core::ops::Range;
use core::ptr::null;
use core::slice::from_raw_parts_mut;

use super::erased::{OperandScales, ResultCodes, StageRef};
use super::packed::PackedMatrix;
use crate::cache::level2;
use crate::exec::{Exec, PIECE};
use crate::kernel::{Kernel, Vectors};
use crate::matmul::dot::AHEAD;
use crate::matmul::lhs::{LhsMemory, MIN_COLUMNS_TO_COPY, SETS};
use crate::matmul::output::Output;
use crate::matmul::pack::Panel;
use crate::matmul::partition::least_nanoseconds;
use crate::matmul::shape::Shape;
use crate::matmul::tile::{AccRow, MAX_COLUMNS, MAX_ROWS, Operands};
use crate::matrix::Matrix;
use crate::memory::Scratch;
use crate::simd::LANES;

/// Values of k whose products are summed in i32: 504 · 2¹⁵ · 2⁷ is less than 2³¹. A multiple of what any micro-kernel takes in a
/// step.
const SLICE: usize = 504;

/// Pieces that the result is divided in: up to eight threads share them evenly.
const PIECES: usize = 16;

/// A checked multiplication.
pub(super) struct Job<'a> {
    pub a: Matrix<'a, i16>,
    pub weights: &'a PackedMatrix,
    pub stage: &'a StageRef<'a>,
    /// Of the stage's elements.
    pub out: &'a Output<'a>,
}

impl Job<'_> {
    fn shape(&self) -> &Shape {
        &self.weights.panels().shape
    }

    /// Computes the result, on several threads if that is faster.
    pub fn run(&self, exec: Exec<'_>) {
        let (rows, shape) = (self.a.rows(), self.shape());
        let panels = shape.panels();
        let team = exec.team_of(least_nanoseconds(rows, shape, true), PIECE);
        if team.alone() {
            // SAFETY: it is the only piece.
            return unsafe { self.run_piece(0..rows, 0..panels) };
        }
        // Whoever takes some rows reads all of B, whoever takes some panels all of A.
        let tiles = rows.div_ceil(shape.kernel.rows());
        let by_rows = rows >= shape.columns || panels < tiles && panels < PIECES;
        let count = if by_rows { tiles } else { panels };
        let piece = |i: usize| i * count / PIECES..(i + 1) * count / PIECES;
        team.share((0..PIECES).map(piece), |piece| {
            let row = |tile: usize| (tile * shape.kernel.rows()).min(rows);
            let (rows, panels) = if by_rows { (row(piece.start)..row(piece.end), 0..panels) } else { (0..rows, piece) };
            // SAFETY: every piece runs once, and pieces share no row, or no panel.
            unsafe { self.run_piece(rows, panels) };
        });
    }

    /// Computes some rows of some panels.
    ///
    /// # Safety
    /// No other piece with the same rows and panels of this result runs at the same time.
    unsafe fn run_piece(&self, rows: Range<usize>, panels: Range<usize>) {
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let shape = self.shape();
        let mut copy = Scratch::default();
        let tile = shape.kernel.rows();
        // Half of a level-2 cache for the rows that meet every panel.
        let most = (level2() / 2 / LhsMemory::copied_stride(shape) / tile).max(1) * tile;
        for start in rows.clone().step_by(most) {
            let rows = start..rows.end.min(start + most);
            let a = self.read(rows.clone(), &mut copy);
            shape.isa.run(Multiply { job: self, a, rows, panels: panels.clone() });
        }
    }

    /// Some rows of A, in place where every step can be read there and the rows do not compete for the sets of a cache.
    fn read<'s>(&'s self, rows: Range<usize>, copy: &'s mut Scratch) -> Rows<'s> {
        let (shape, a) = (self.shape(), &self.a);
        // What a step reads behind the end of a row is multiplied by zeros.
        let inside = a.tail_from(rows.end - 1).len() >= shape.steps * shape.kernel.depth;
        let aliases = a.stride().is_multiple_of(SETS / size_of::<i16>())
            && rows.len() > 1
            && shape.columns >= MIN_COLUMNS_TO_COPY;
        if inside && !aliases {
            return Rows { codes: a.tail_from(rows.start), stride: a.stride() };
        }
        let stride = LhsMemory::copied_stride(shape) / size_of::<i16>();
        let codes = copy.elements::<i16>(rows.len() * stride);
        for (row, copy) in rows.zip(codes.chunks_exact_mut(stride)) {
            copy[..a.columns()].copy_from_slice(a.row(row));
        }
        Rows { codes, stride }
    }
}

/// Rows of A that a micro-kernel can read, to the end of their last step.
#[derive(Clone, Copy)]
struct Rows<'a> {
    codes: &'a [i16],
    /// From a row to the next.
    stride: usize,
}

/// Some rows by some panels.
///
/// Whoever makes one vouches that no other thread writes the same rows and columns of the result.
struct Multiply<'a> {
    job: &'a Job<'a>,
    a: Rows<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
}

/// The accumulators of a row of a tile.
type Totals = [i64; MAX_COLUMNS];

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        let (weights, shape) = (self.job.weights, self.job.shape());
        let prefetch = shape.panel_bytes(self.panels.clone()) > AHEAD;
        let (mut acc, mut totals) = (Scratch::default(), Scratch::default());
        let (acc, totals) = (acc.elements::<AccRow>(MAX_ROWS), totals.elements::<Totals>(MAX_ROWS));
        for panel in self.panels.clone() {
            let panel = weights.panels().at(panel);
            let mut initial = [0; MAX_COLUMNS];
            if let Some(bias) = weights.bias().get(panel.columns.clone()) {
                initial[..bias.len()].copy_from_slice(bias);
            }
            let values = ColumnValues::new(self.job.stage, panel.columns.clone());
            for tile in shape.kernel.row_tiles(self.rows.len(), panel.vectors).iter() {
                let totals = &mut totals[..tile.len()];
                totals.fill(initial);
                for first in (0..panel.steps).step_by(SLICE / shape.kernel.depth) {
                    let steps = first..panel.steps.min(first + SLICE / shape.kernel.depth);
                    let prefetch = prefetch && tile.start == 0;
                    self.add_slice(&panel, tile.clone(), steps, prefetch, (acc, totals));
                }
                let first_row = self.rows.start + tile.start;
                for (row, totals) in (first_row..).zip(&*totals) {
                    values.store(simd, self.job, row, panel.columns.clone(), totals);
                }
            }
        }
    }
}

/// The accumulators of an empty sum.
static ZEROS: AccRow = AccRow([0; MAX_COLUMNS]);

impl Multiply<'_> {
    /// Adds the products of some steps of a tile of rows to the totals.
    #[inline(always)]
    fn add_slice(
        &self,
        panel: &Panel<'_>,
        tile: Range<usize>,
        steps: Range<usize>,
        prefetch: bool,
        (acc, totals): (&mut [AccRow], &mut [Totals]),
    ) {
        let Rows { codes, stride } = self.a;
        let kernel = self.job.shape().kernel;
        let k = steps.start * kernel.depth;
        // Inside of A, to the end of the last row's last step.
        let a = &codes[tile.start * stride + k..];
        assert!(a.len() >= (tile.len() - 1) * stride + steps.len() * kernel.depth);
        let operands = Operands {
            steps: steps.len(),
            a: a.as_ptr().cast(),
            // (Beyond every address only where a single row does not use it.)
            a_stride: stride.wrapping_mul(size_of::<i16>()),
            b: panel.codes.wrapping_add(k * panel.vectors * kernel.lanes),
            initial: ZEROS.0.as_ptr(),
            initial_stride: 0,
            row_terms: null(),
            updates: &[],
            sums: acc.as_mut_ptr().cast(),
            sums_stride: MAX_COLUMNS,
            prefetch,
        };
        // SAFETY: the panel was packed for this kernel on an ISA that the CPU has, and has these steps of `vectors` vectors; `a`
        // has the rows of the tile, each with these steps, by the assertion; `initial` and `acc`, which is borrowed mutably and
        // has MAX_ROWS rows, are for every tile.
        unsafe { kernel.tiles[panel.vectors - 1][tile.len() - 1](operands) };
        let vectors = (panel.vectors * kernel.lanes).div_ceil(LANES);
        for (totals, acc) in totals.iter_mut().zip(acc) {
            let acc = &acc.0.as_chunks::<LANES>().0[..vectors];
            for (totals, acc) in totals.as_chunks_mut::<LANES>().0.iter_mut().zip(acc) {
                for i in 0..LANES {
                    totals[i] += i64::from(acc[i]);
                }
            }
        }
    }
}

/// What a stage has for the columns of a panel.
struct ColumnValues {
    /// Scales or float multipliers.
    scales: [f32; MAX_COLUMNS],
    bias: [f32; MAX_COLUMNS],
    reals: [f64; MAX_COLUMNS],
    multipliers: [i64; MAX_COLUMNS],
    shifts: [i64; MAX_COLUMNS],
}

/// Copies the values of some columns, of one value for all or of one for every column.
#[inline(always)]
fn copy_columns<T: Copy, U>(values: &[T], columns: Range<usize>, out: &mut [U; MAX_COLUMNS], of: impl Fn(T) -> U) {
    for (j, out) in columns.zip(out) {
        *out = of(if let [one] = *values { one } else { values[j] });
    }
}

/// A vector of values from a column of a panel on.
#[inline(always)]
fn lanes<T>(values: &[T; MAX_COLUMNS], first: usize) -> &[T; LANES] {
    values[first..].first_chunk().expect("vectors of columns are whole")
}

impl ColumnValues {
    #[inline(always)]
    fn new(stage: &StageRef<'_>, columns: Range<usize>) -> Self {
        let mut values = ColumnValues {
            scales: [0.0; MAX_COLUMNS],
            // Adding it changes no float.
            bias: [-0.0; MAX_COLUMNS],
            reals: [0.0; MAX_COLUMNS],
            multipliers: [0; MAX_COLUMNS],
            shifts: [1; MAX_COLUMNS],
        };
        match *stage {
            StageRef::Accumulators => {}
            StageRef::Dequantize { scales: OperandScales { rhs, .. }, bias } => {
                copy_columns(rhs, columns.clone(), &mut values.scales, |scale| scale);
                if let Some(bias) = bias {
                    values.bias[..columns.len()].copy_from_slice(&bias[columns]);
                }
            }
            StageRef::Float { multipliers, .. } => copy_columns(multipliers, columns, &mut values.scales, |m| m),
            StageRef::HalfAway { multipliers, .. } => copy_columns(multipliers, columns, &mut values.reals, |m| m),
            StageRef::Reduced { multipliers, .. } => {
                copy_columns(multipliers, columns.clone(), &mut values.multipliers, |m| m.multiplier);
                copy_columns(multipliers, columns, &mut values.shifts, |m| m.shift);
            }
        }
        values
    }

    /// Makes the elements of some columns of a row of their accumulators, a vector of columns after the other.
    #[inline(always)]
    fn store<V: Vectors>(&self, simd: V, job: &Job<'_>, row: usize, columns: Range<usize>, totals: &Totals) {
        for first in (0..columns.len()).step_by(LANES) {
            let width = LANES.min(columns.len() - first);
            let out = job.out.place(row, columns.start + first, 1, width).data;
            let some = lanes(totals, first);
            let (bounds, codes) = match *job.stage {
                StageRef::Accumulators => {
                    // SAFETY: `place` has this many elements of the stage's type, i64, and no other thread has them.
                    unsafe { from_raw_parts_mut(out.cast(), width) }.copy_from_slice(&some[..width]);
                    continue;
                }
                StageRef::Dequantize { scales: OperandScales { lhs, .. }, .. } => {
                    let scale = if let [one] = *lhs { one } else { lhs[row] };
                    let floats = self.dequantized(some, first, scale);
                    // SAFETY: `place` has this many elements of the stage's type, f32, and no other thread has them.
                    unsafe { from_raw_parts_mut(out.cast(), width) }.copy_from_slice(&floats[..width]);
                    continue;
                }
                StageRef::Float { codes, .. } => (codes, self.float(simd, some, first, &codes)),
                StageRef::HalfAway { codes, .. } => (codes, self.half_away(some, first, &codes)),
                StageRef::Reduced { codes, .. } => (codes, self.reduced(some, first, &codes)),
            };
            // SAFETY: `place` has this many codes of the bounds' size, and no other thread has them.
            unsafe { store_codes(&codes[..width], bounds.size, out) }
        }
    }

    #[inline(always)]
    fn dequantized(&self, totals: &[i64; LANES], first: usize, row_scale: f32) -> [f32; LANES] {
        let (scales, bias) = (lanes(&self.scales, first), lanes(&self.bias, first));
        let mut floats = [0.0; LANES];
        for i in 0..LANES {
            floats[i] = totals[i] as f32 * (row_scale * scales[i]) + bias[i];
        }
        floats
    }

    /// [`Rule::Float`](super::requantize::Rule).
    #[inline(always)]
    fn float<V: Vectors>(&self, simd: V, totals: &[i64; LANES], first: usize, bounds: &ResultCodes) -> [i32; LANES] {
        let ResultCodes { zero_point, min, max, .. } = *bounds;
        let (low, high) = (simd.splat_f32((min - zero_point) as f32), simd.splat_f32((max - zero_point) as f32));
        let multipliers = lanes(&self.scales, first);
        let (mut products, mut codes) = ([0.0; LANES], [0; LANES]);
        for i in 0..LANES {
            products[i] = totals[i] as f32 * multipliers[i];
        }
        let clamped = simd.min_f32(simd.max_f32(simd.load_f32(&products), low), high);
        simd.store_i32(simd.add_i32(simd.round_to_i32(clamped), simd.splat_i32(zero_point)), &mut codes);
        codes
    }

    /// [`Rule::HalfAway`](super::requantize::Rule).
    #[inline(always)]
    fn half_away(&self, totals: &[i64; LANES], first: usize, bounds: &ResultCodes) -> [i32; LANES] {
        let ResultCodes { zero_point, min, max, .. } = *bounds;
        let [low, high] = [min - zero_point, max - zero_point].map(f64::from);
        let multipliers = lanes(&self.reals, first);
        let mut codes = [0; LANES];
        for i in 0..LANES {
            // Accumulators are exact as f64, and bounds are integers.
            let product = (totals[i] as f64 * multipliers[i]).max(low).min(high);
            let whole = product.abs() as i32;
            let rounded = whole + i32::from(product.abs() - f64::from(whole) >= 0.5);
            codes[i] = if product < 0.0 { -rounded } else { rounded } + zero_point;
        }
        codes
    }

    /// [`Rule::Reduced`](super::requantize::Rule).
    #[inline(always)]
    fn reduced(&self, totals: &[i64; LANES], first: usize, bounds: &ResultCodes) -> [i32; LANES] {
        let [zero_point, min, max] = [bounds.zero_point, bounds.min, bounds.max].map(i64::from);
        let (multipliers, shifts) = (lanes(&self.multipliers, first), lanes(&self.shifts, first));
        let mut codes = [0; LANES];
        for i in 0..LANES {
            // Inside i64: accumulators are below 2⁴⁷, multipliers below 2¹⁵. (Behind the last column multipliers are 0.)
            let product = (totals[i] * multipliers[i] + (1 << (shifts[i] - 1))) >> shifts[i];
            codes[i] = (product + zero_point).clamp(min, max) as i32;
        }
        codes
    }
}

/// Stores codes of 1 or 2 bytes of either sign: the low bytes.
///
/// # Safety
/// As many codes of this size may be written at `out`, aligned for them, and no other thread has them.
#[inline(always)]
unsafe fn store_codes(codes: &[i32], size: usize, out: *mut u8) {
    if size == 1 {
        // SAFETY: as many bytes may be written.
        let out = unsafe { from_raw_parts_mut(out, codes.len()) };
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = code as u8;
        }
    } else {
        // SAFETY: as many codes of two bytes may be written, at an aligned address.
        let out = unsafe { from_raw_parts_mut(out.cast::<u16>(), codes.len()) };
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = code as u16;
        }
    }
}
