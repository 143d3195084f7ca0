//! The loop of every micro-kernel of weights in groups, over the few operations that an ISA brings: [`Totals`] for its vectors
//! of f32, [`GroupDot`] for how it takes codes of few bits out of a vector.

use super::tile::{ColumnScales, GroupOperands, PanelCodes};
use crate::cache::prefetch_line;
use crate::matmul::dot::{AHEAD, Accs, Accumulate, Depth, Dot, Layout, lanes, load_step};
use crate::matmul::tile::{MAX_ROWS, MAX_VECTORS};
use crate::memory::CACHE_LINE;

/// The vectors of an ISA that hold totals, an f32 for every column of a vector of accumulators.
pub trait Totals: Accumulate {
    /// A vector of totals.
    type Reals: Copy;
    /// The totals of a vector in memory.
    type RealColumns;
    /// As many f16 in memory.
    type HalfColumns;
    /// Whether an instruction widens them.
    const WIDENS_HALVES: bool = true;

    /// `x`
    fn splat_real(self, x: f32) -> Self::Reals;
    /// `x[j]`
    fn read_reals(self, x: &Self::RealColumns) -> Self::Reals;
    /// The values of f16, exactly; NaN of any bits.
    fn read_halves(self, x: &Self::HalfColumns) -> Self::Reals;
    /// `acc[j] as f32`, ties to even
    fn to_reals(self, acc: Self::Acc) -> Self::Reals;
    /// `a[j] + b[j]`
    fn add_reals(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    /// `a[j] · b[j]`
    fn multiply_reals(self, a: Self::Reals, b: Self::Reals) -> Self::Reals;
    /// Writes all totals of a vector.
    fn store_reals(self, a: Self::Reals, out: &mut Self::RealColumns);
}

/// The vectors of totals of a row.
type RowTotals<D> = [<<D as Dot>::Vectors as Totals>::Reals; MAX_VECTORS];

/// The totals of a vector in memory.
type RealColumns<D> = <<D as Dot>::Vectors as Totals>::RealColumns;

/// A dot-product instruction for codes of few bits.
pub trait GroupDot: Dot<Vectors: Totals> {
    /// The codes of one step out of those that share bytes: `(b >> shift) & (2ᵇⁱᵗˢ − 1)` for each byte.
    fn extract(self, b: Self::B, shift: u32, bits: u32) -> Self::B;

    /// [`E2M1[b]`](super::tile::E2M1) for each byte, of four bits.
    fn look_up(self, b: Self::B) -> Self::B;

    /// The codes of step s of those that share bytes, as they are multiplied.
    #[inline(always)]
    fn unpack(self, b: Self::B, s: u32, codes: PanelCodes) -> Self::B {
        match codes {
            PanelCodes::Bits(8) => b,
            PanelCodes::Bits(bits) => self.extract(b, s * bits, bits),
            PanelCodes::E2m1 => self.look_up(self.extract(b, 4 * s, 4)),
        }
    }

    /// `acc[r][v] + Σₖ a[r][k]·w[k][v]` over some steps of a group: a multiple of the steps that share bytes.
    ///
    /// # Safety
    /// Every row of A has the bytes of `depth.steps` steps that may be read, and so has W for `vectors` vectors.
    #[inline(always)]
    unsafe fn add_steps(self, acc: &mut Accs<Self>, size: [usize; 2], depth: Depth, codes: PanelCodes) {
        // SAFETY: the requirements are those of this function.
        unsafe { add_shared_steps(self, acc, size, depth, codes) }
    }
}

/// [`GroupDot::add_steps`], a row at a time.
///
/// # Safety
/// The requirements of [`GroupDot::add_steps`].
#[cfg_attr(not(unoptimized), inline(always))]
pub unsafe fn add_shared_steps<D: GroupDot>(
    dot: D,
    acc: &mut Accs<D>,
    [rows, vectors]: [usize; 2],
    depth: Depth,
    codes: PanelCodes,
) {
    let layout = Layout::Panel { prefetch: false };
    let Depth { steps, mut a, a_stride, b: mut w } = depth;
    let sharing = 8 / codes.bits();
    for _ in 0..steps / sharing as usize {
        // SAFETY: W has the bytes of `sharing` steps more, of `vectors` vectors.
        let bytes = unsafe { load_step(dot, &mut w, layout, vectors) };
        for s in 0..sharing {
            let mut codes_w = bytes;
            for v in 0..vectors {
                codes_w[v] = dot.unpack(bytes[v], s, codes);
            }
            for r in 0..rows {
                // SAFETY: row r of A has a step more; StepA is an array of bytes.
                let codes_a = dot.broadcast(unsafe { &*a.add(r * a_stride).cast::<D::StepA>() });
                for v in 0..vectors {
                    acc[r][v] = dot.dot(acc[r][v], codes_a, codes_w[v]);
                }
            }
            a = a.wrapping_add(size_of::<D::StepA>());
        }
    }
}

/// Steps between prefetches: all those of a group of 32 or 64 codes, whose lines are fetched together; deeper groups are fetched
/// in parts, since a core has room for some dozens of lines that are on their way.
const SLICE: usize = 16;

/// The tile of `rows` rows and `vectors` vectors, of codes that are stored in some way.
///
/// # Safety
/// The requirements of [`GroupTile`](super::tile::GroupTile) for this number of rows and vectors, 1 at least and
/// [`MAX_ROWS`] × [`MAX_VECTORS`] at most.
#[cfg_attr(not(unoptimized), inline(always))]
pub unsafe fn group_tile<D: GroupDot>(dot: D, size: [usize; 2], codes: PanelCodes, operands: GroupOperands<'_>) {
    let ([rows, vectors], simd) = (size, dot.vectors());
    let zero = simd.splat_real(0.0);
    if rows > 1 {
        if !operands.has_totals {
            for r in 0..rows {
                for v in 0..vectors {
                    // SAFETY: the tile has this row and vector of totals.
                    simd.store_reals(zero, unsafe { total::<D>(&operands, r, v) });
                }
            }
        }
        // SAFETY: the requirements are those of this function; totals are there.
        unsafe { add_groups(dot, size, codes, operands, None) };
        return;
    }
    // A single row would wait for what it has just stored, and has registers to spare.
    let mut totals = [zero; MAX_VECTORS];
    if operands.has_totals {
        for v in 0..vectors {
            // SAFETY: the tile has this vector of totals.
            totals[v] = simd.read_reals(unsafe { total::<D>(&operands, 0, v) });
        }
    }
    // SAFETY: the requirements are those of this function.
    unsafe { add_groups(dot, size, codes, operands, Some(&mut totals)) };
    for v in 0..vectors {
        // SAFETY: the tile has this vector of totals.
        simd.store_reals(totals[v], unsafe { total::<D>(&operands, 0, v) });
    }
}

/// Adds the products of all groups to the totals: of a single row, which are in registers, or of rows in memory.
///
/// # Safety
/// The requirements of [`group_tile`].
#[cfg_attr(not(unoptimized), inline(always))]
unsafe fn add_groups<D: GroupDot>(
    dot: D,
    size: [usize; 2],
    codes: PanelCodes,
    operands: GroupOperands<'_>,
    mut of_row: Option<&mut RowTotals<D>>,
) {
    let GroupOperands { groups, group_stride, steps, last_steps, mut a, a_stride, mut w, row_terms, updates, .. } =
        operands;
    let prefetch = operands.prefetch;
    let ([rows, vectors], simd) = (size, dot.vectors());
    let width = vectors * lanes::<D>();
    let step_bytes = vectors * size_of::<D::StepB>();
    for g in 0..groups {
        let mut acc = [[simd.splat(0); MAX_VECTORS]; MAX_ROWS];
        if !row_terms.is_null() {
            for r in 0..rows {
                // SAFETY: there is a term for every row and group.
                let term = simd.splat(unsafe { *row_terms.add(r * group_stride + g) });
                for v in 0..vectors {
                    acc[r][v] = term;
                }
            }
        }
        let mut left = if g + 1 < groups { steps } else { last_steps };
        while left > 0 {
            let steps = left.min(SLICE);
            let bytes = steps * codes.bits() as usize * step_bytes / 8;
            if prefetch {
                for line in 0..bytes.div_ceil(CACHE_LINE) {
                    prefetch_line(w.wrapping_add(AHEAD + line * CACHE_LINE));
                }
            }
            // SAFETY: A's rows and the panel have these steps.
            unsafe { dot.add_steps(&mut acc, size, Depth { steps, a, a_stride, b: w }, codes) };
            a = a.wrapping_add(steps * size_of::<D::StepA>());
            w = w.wrapping_add(bytes);
            left -= steps;
        }
        for update in updates {
            for v in 0..vectors {
                // SAFETY: an update has a factor for every group and column.
                let columns = simd.read(unsafe { &*update.columns.add(g * width + v * lanes::<D>()).cast() });
                for r in 0..rows {
                    // SAFETY: an update has a factor for every row and group.
                    let factor = unsafe { *update.rows.add(r * group_stride + g) };
                    acc[r][v] = simd.add_product(acc[r][v], factor, columns);
                }
            }
        }
        // SAFETY: the operands have values of this group; totals may be written.
        unsafe { add_group(dot, size, &operands, g, &acc, of_row.as_deref_mut()) };
    }
}

/// A vector of totals.
///
/// # Safety
/// The tile has row r and vector v. The caller has no other reference to them.
#[inline(always)]
unsafe fn total<'a, D: GroupDot>(operands: &GroupOperands<'_>, r: usize, v: usize) -> &'a mut RealColumns<D> {
    // SAFETY: totals may be read and written in rows and vectors of the tile; RealColumns is an array of f32.
    unsafe { &mut *operands.totals.add(r * operands.totals_stride + v * lanes::<D>()).cast() }
}

/// Adds the products of a group to the totals: of a single row, in registers, or in memory, where the accumulators of several rows
/// leave none.
///
/// # Safety
/// The requirements of [`group_tile`]; the group is one of the operands'.
#[cfg_attr(not(unoptimized), inline(always))]
unsafe fn add_group<D: GroupDot>(
    dot: D,
    [rows, vectors]: [usize; 2],
    operands: &GroupOperands<'_>,
    g: usize,
    acc: &Accs<D>,
    mut of_row: Option<&mut RowTotals<D>>,
) {
    let GroupOperands { group_stride, scales, row_scales, offsets, row_sums, .. } = *operands;
    let (simd, width) = (dot.vectors(), vectors * lanes::<D>());
    // SAFETY: there is a value for every group and column; RealColumns is an array of f32.
    let column = |of: *const f32, v: usize| unsafe { &*of.add(g * width + v * lanes::<D>()).cast::<RealColumns<D>>() };
    // SAFETY: there is a value for every row and group.
    let row = |of: *const f32, r: usize| simd.splat_real(unsafe { *of.add(r * group_stride + g) });
    let mut add = |r: usize, v: usize, product: <D::Vectors as Totals>::Reals| match &mut of_row {
        Some(totals) => totals[v] = simd.add_reals(totals[v], product),
        None => {
            // SAFETY: the tile has this row and vector of totals.
            let total = unsafe { total::<D>(operands, r, v) };
            simd.store_reals(simd.add_reals(simd.read_reals(total), product), total);
        }
    };
    let mut factors = [simd.splat_real(0.0); MAX_VECTORS];
    match scales {
        ColumnScales::F32(scales) => {
            for v in 0..vectors {
                factors[v] = simd.read_reals(column(scales, v));
            }
        }
        ColumnScales::F16(scales) => {
            for v in 0..vectors {
                // SAFETY: there is a scale for every group and column; HalfColumns is an array of u16.
                factors[v] = simd.read_halves(unsafe { &*scales.add(g * width + v * lanes::<D>()).cast() });
            }
        }
    }
    if row_scales.is_null() {
        for r in 0..rows {
            for v in 0..vectors {
                add(r, v, simd.multiply_reals(simd.to_reals(acc[r][v]), factors[v]));
            }
        }
    } else {
        for r in 0..rows {
            let scale = row(row_scales, r);
            for v in 0..vectors {
                add(r, v, simd.multiply_reals(simd.to_reals(acc[r][v]), simd.multiply_reals(scale, factors[v])));
            }
        }
    }
    if !offsets.is_null() {
        for v in 0..vectors {
            let offset = simd.read_reals(column(offsets, v));
            for r in 0..rows {
                let both = match row_scales.is_null() {
                    true => offset,
                    false => simd.multiply_reals(row(row_scales, r), offset),
                };
                add(r, v, simd.multiply_reals(row(row_sums, r), both));
            }
        }
    }
}
