//! The loops over panels and tiles, compiled once for every ISA.

use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::null;

use super::dot::AHEAD;
use super::epilogue::{Epilogue, StageKind, ToAccumulators, ToCodes, ToFloats};
use super::erased::StageRef;
use super::lhs::LhsBlock;
use super::offsets::{ColumnTerms, Offsets};
use super::pack::{Panel, Panels};
use super::tile::{AccRow, MAX_COLUMNS, MAX_ROWS, Microkernel, Operands};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;

/// Where the accumulators of panels come from.
pub(crate) enum PanelSource<'a> {
    /// Products with packed panels.
    Packed(&'a Panels, Range<usize>),
    /// Products with one panel.
    One(Panel<'a>),
    /// They are given, for every panel of [`MAX_COLUMNS`] columns a row for every row of the result.
    Given { accumulators: &'a [AccRow], columns: usize },
}

impl<'a> PanelSource<'a> {
    #[inline]
    fn count(&self) -> usize {
        match self {
            PanelSource::Packed(_, panels) => panels.len(),
            PanelSource::One(_) => 1,
            PanelSource::Given { columns, .. } => columns.div_ceil(MAX_COLUMNS),
        }
    }

    /// Whether there is anything to be fetched so far ahead.
    #[inline]
    pub fn prefetch(&self) -> bool {
        match self {
            PanelSource::Packed(b, panels) => b.shape.panel_bytes(panels.clone()) > AHEAD,
            // It was just written.
            PanelSource::One(_) | PanelSource::Given { .. } => false,
        }
    }

    /// A panel, for `rows` rows of the result; given accumulators are a panel without codes.
    #[inline(always)]
    fn at(&self, panel: usize, rows: usize) -> Panel<'a> {
        match self {
            PanelSource::Packed(b, panels) => b.at(panels.start + panel),
            PanelSource::One(panel) => panel.clone(),
            PanelSource::Given { accumulators, columns } => {
                let first = panel * MAX_COLUMNS;
                Panel {
                    codes: null(),
                    steps: 0,
                    sums: Some(&accumulators[panel * rows..][..rows]),
                    vectors: 1,
                    columns: first..(first + MAX_COLUMNS).min(*columns),
                    terms: ColumnTerms { bias: &[], negative_sums: &[], zero_points: None },
                }
            }
        }
    }
}

/// Some rows of A by some panels of B.
///
/// Whoever makes one vouches that no other thread writes the same rows and columns of the result, whose elements are those of
/// the stage.
pub(crate) struct Multiply<'a> {
    pub a: &'a LhsBlock<'a>,
    /// The rows of the result.
    pub rows: Range<usize>,
    pub kernel: &'a Microkernel,
    pub panels: &'a PanelSource<'a>,
    /// Whether panels are fetched ahead of their use.
    pub prefetch: bool,
    pub offsets: &'a Offsets<'a>,
    pub epilogue: Epilogue<'a>,
}

/// A kernel for stages of one kind.
pub(crate) type MultiplyFn = fn(Isa, &Multiply<'_>);

/// The kernel for stages whose elements are the accumulators.
///
/// (This one and the two that follow are no generic functions, so that no other crate compiles the kernels again.)
pub(crate) fn multiply_to_accumulators(isa: Isa, multiply: &Multiply<'_>) {
    isa.run(MultiplyTo { multiply, kind: ToAccumulators });
}

/// The kernel for stages whose elements are floats.
pub(crate) fn multiply_to_floats(isa: Isa, multiply: &Multiply<'_>) {
    isa.run(MultiplyTo { multiply, kind: ToFloats });
}

/// The kernel for stages whose elements are codes.
pub(crate) fn multiply_to_codes(isa: Isa, multiply: &Multiply<'_>) {
    isa.run(MultiplyTo { multiply, kind: ToCodes });
}

struct MultiplyTo<'a, K> {
    multiply: &'a Multiply<'a>,
    kind: K,
}

impl<K: StageKind> Kernel for MultiplyTo<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        self.multiply.run(simd, self.kind);
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn run<V: Vectors, K: StageKind>(&self, simd: V, _: K) {
        let Multiply { rows, kernel, panels, offsets, epilogue, .. } = self;
        let given = matches!(panels, PanelSource::Given { .. });
        // (On the stack, since taking a thread's memory costs a tenth of a product of 16³.)
        let mut acc = MaybeUninit::<[AccRow; MAX_ROWS]>::uninit();
        let acc = acc.as_mut_ptr().cast::<AccRow>();
        for panel in 0..panels.count() {
            let panel = panels.at(panel, rows.len());
            let columns = &panel.columns;
            // Whole vectors of accumulators that are the result go there at once.
            let whole = !given && columns.len() == panel.vectors * kernel.lanes;
            let stores_accumulators = whole && matches!(epilogue.stage, StageRef::Accumulators);
            // Given accumulators have no terms.
            let width = if given { 0 } else { columns.len() };
            let column_terms = offsets.column_terms(simd, &panel.terms, width);
            if panel.vectors * kernel.lanes < LANES {
                // A stage loads whole vectors. No kernel writes the last lanes of the only one.
                for row in 0..MAX_ROWS {
                    // SAFETY: there are as many rows, each at least a vector wide.
                    unsafe { acc.add(row).cast::<[i32; LANES]>().write([0; LANES]) };
                }
            }
            for tile in kernel.row_tiles(rows.len(), panel.vectors).iter() {
                let row = rows.start + tile.start;
                let out = if stores_accumulators {
                    let column = epilogue.first_column + columns.start;
                    let place = epilogue.out.place(row, column, tile.len(), columns.len());
                    (place.data.cast(), place.stride / size_of::<i32>())
                } else {
                    (acc.cast(), MAX_COLUMNS)
                };
                let accumulators = match panel.sums {
                    Some(sums) if given => sums[tile.start..].as_ptr(),
                    _ => {
                        // SAFETY: the accumulators are a tile of every kernel; or the tile of the result, whose elements
                        // are i32 and which no other thread has.
                        unsafe { self.accumulate(&panel, &column_terms, tile.clone(), out) };
                        acc.cast_const()
                    }
                };
                if !stores_accumulators {
                    // SAFETY: there are accumulators of every row of the tile; no other thread has the elements.
                    unsafe { epilogue.emit::<V, K>(simd, accumulators, row..row + tile.len(), columns.clone()) };
                }
            }
        }
    }

    /// Computes the accumulators of a tile of rows of the block: into `sums`, in rows that begin `sums_stride` elements apart.
    ///
    /// (A function of its own, without the features of an ISA: with 512-bit vectors, the compiler clears and copies the operands
    /// by them, and a product of 128³ takes a tenth longer.)
    ///
    /// # Safety
    /// The rows of `sums` may be written, as wide as the vectors of the panel, and no other thread has them.
    #[inline(never)]
    unsafe fn accumulate(
        &self,
        panel: &Panel<'_>,
        column_terms: &AccRow,
        tile: Range<usize>,
        (sums, sums_stride): (*mut i32, usize),
    ) {
        let Multiply { a, kernel, .. } = self;
        let (initial, initial_stride) = match panel.sums {
            None => (column_terms.0.as_ptr(), 0),
            Some(sums) => (sums[tile.start..].as_ptr().cast(), MAX_COLUMNS),
        };
        let row_sums = a.sums.get(tile.start..).unwrap_or_default();
        let more = panel.sums.map(|_| column_terms);
        let row_terms = self.offsets.row_terms(&panel.terms, self.rows.start + tile.start, row_sums, more);
        let operands = Operands {
            steps: panel.steps,
            a: a.a.wrapping_add(tile.start * a.stride),
            a_stride: a.stride,
            b: panel.codes,
            initial,
            initial_stride,
            row_terms: row_terms.added,
            updates: row_terms.updates(),
            sums,
            sums_stride,
            prefetch: self.prefetch && tile.start == 0,
        };
        // SAFETY: the panel was packed for this kernel on an ISA that the CPU has, and has `steps` steps of `vectors` vectors;
        // `a` has the rows of the tile, of `steps` steps each; `initial` is for every tile; the caller vouches for `sums`.
        unsafe { kernel.tiles[panel.vectors - 1][tile.len() - 1](operands) };
    }
}
