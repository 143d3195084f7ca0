//! The panels of a packed matrix.

use core::ops::Range;

use super::offsets::ColumnTerms;
use super::pack_panel::{PanelRows, Source, sum_columns};
use super::per_column::PerColumn;
use super::shape::{Shape, Stored};
use super::tile::{AccRow, MAX_COLUMNS, Microkernel};
use crate::error::Error;
use crate::isa::Isa;
use crate::matrix::ZeroPoints;
use crate::memory::AlignedBuffer;
use crate::shared::SharedBytes;
use crate::sign::Sign;

/// B as its micro-kernel reads it, and the terms of its columns: the types of the codes do not matter any more.
#[derive(Clone, Debug)]
pub struct Panels {
    pub shape: Shape,
    pub(super) codes: SharedBytes,
    pub(super) zero_points: StoredZeroPoints,
    /// `Σₖ (zb[j] − b[k][j])`; a single 0 where there is no k.
    pub(super) negative_sums: PerColumn<i32>,
    /// A single 0 until one is given.
    pub(super) bias: PerColumn<i32>,
}

/// Zero points of B's codes as they are stored.
#[derive(Clone, Debug)]
pub(super) enum StoredZeroPoints {
    Uniform(i32),
    Each(PerColumn<i32>),
}

/// Some columns of B, no more than a tile has.
#[derive(Clone)]
pub struct Panel<'a> {
    /// `[steps][vectors · lanes][depth]`, in the layout of [`tile`](super::tile).
    pub codes: *const u8,
    /// Steps of the kernel.
    pub steps: usize,
    /// Accumulators of products that are not among the steps.
    pub sums: Option<&'a [AccRow]>,
    /// The width in vectors.
    pub vectors: usize,
    /// The columns of B.
    pub columns: Range<usize>,
    /// The terms of these columns.
    pub terms: ColumnTerms<'a>,
}

impl Panels {
    /// Packs the codes of a source, whose sign is `b`, for a micro-kernel of the ISA. The zero points are checked.
    ///
    /// What is allocated is bounded by the codes, not by the columns: there may be any number of these where the depth is 0.
    pub(super) fn pack<S: Source>(
        isa: Isa,
        kernel: &'static Microkernel,
        b: Sign,
        source: &S,
        [depth, columns]: [usize; 2],
        zero_points: ZeroPoints<'_>,
    ) -> Result<Self, Error> {
        let shape = Shape::new(isa, kernel, depth, columns, kernel.panels(columns));
        let stored = Stored::new(shape.kernel, b);
        let mut codes = AlignedBuffer::default();
        let (panels, columns) = if depth == 0 { (0, 0) } else { (shape.panels(), columns) };
        let mut negative_sums = vec![0; columns];
        let mut rest = codes.try_bytes(shape.all_bytes())?;
        for panel in 0..panels {
            let (out, behind) = rest.split_at_mut(shape.panel_bytes(panel..panel + 1));
            rest = behind;
            let columns = shape.columns_of(panel..panel + 1);
            let width = shape.vectors(panel) * shape.kernel.lanes;
            let step = width * kernel.depth;
            for slice in (0..depth).step_by(S::SLICE) {
                let rows = slice..depth.min(slice + S::SLICE);
                let steps = rows.start / kernel.depth..rows.end.div_ceil(kernel.depth);
                let out = &mut out[steps.start * step..steps.end * step];
                source.pack(isa, PanelRows { rows, columns: columns.clone(), width, depth: kernel.depth, stored, out });
            }
            // Columns that pad a panel are zeros, whatever lay behind the last column: files of packed weights have them.
            if columns.len() < width {
                out.chunks_exact_mut(step).for_each(|step| step[columns.len() * kernel.depth..].fill(0));
            }
            let mut codes = AccRow([0; MAX_COLUMNS]);
            sum_columns(shape.kernel, out, width, &mut codes);
            for (j, codes) in columns.zip(codes.0) {
                negative_sums[j] = stored.zero_point(zero_points.at(j)).wrapping_mul(depth as i32).wrapping_sub(codes);
            }
        }
        Ok(Panels {
            shape,
            codes: codes.into(),
            zero_points: StoredZeroPoints::new(stored, zero_points),
            negative_sums: if depth > 0 { PerColumn::each(negative_sums) } else { PerColumn::uniform(0, MAX_COLUMNS) },
            bias: PerColumn::uniform(0, MAX_COLUMNS),
        })
    }

    /// Adds `bias[j]` to every accumulator of column j.
    pub fn set_bias(&mut self, bias: &[i32]) {
        self.bias = PerColumn::each(bias.to_vec());
    }

    /// The factor of the LHS row sums: 0 when they are not needed.
    pub fn row_sum_factor(&self) -> i32 {
        match self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => -zero_point,
            StoredZeroPoints::Each(_) => -1,
        }
    }

    /// A panel.
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

impl StoredZeroPoints {
    pub fn new(stored: Stored, zero_points: ZeroPoints<'_>) -> Self {
        match zero_points {
            ZeroPoints::Each([first, rest @ ..]) if rest.iter().any(|each| each != first) => StoredZeroPoints::Each(
                PerColumn::each((0..=rest.len()).map(|j| stored.zero_point(zero_points.at(j))).collect()),
            ),
            ZeroPoints::Each([]) => StoredZeroPoints::Uniform(stored.zero_point(0)),
            _ => StoredZeroPoints::Uniform(stored.zero_point(zero_points.at(0))),
        }
    }
}
