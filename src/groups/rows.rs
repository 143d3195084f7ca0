//! Rows of activations as the micro-kernels read them: i8 (or i16) in groups of whole steps, with the sums of groups.

use core::ops::Range;
use core::ptr::null;
use std::sync::Mutex;

use bytemuck::{Pod, cast_slice_mut};

use super::activations::{Activations, CodeRows, Kind, RealMatrix, RealRows, Scales};
use super::packed::PackedWeights;
use crate::error::Error;
use crate::exec::Exec;
use crate::half::{Halves, widen_piece};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matmul::lhs::sum_codes;
use crate::matrix::ZeroPoints;
use crate::memory::{CACHE_LINE, Scratch};
use crate::params::{Granularity, QuantParams};
use crate::quantize::quantize;
use crate::rounding::Rounding;
use crate::sign::Sign;

/// Values that a core quantizes and sums in a nanosecond at most: an upper bound, so that work is shared only if every core gains
/// by it.
const RATE: usize = 16;

/// How a row of activations is laid out for packed weights.
#[derive(Clone, Copy)]
pub(super) struct RowLayout<'a> {
    /// K.
    pub depth: usize,
    /// Codes of a group.
    length: usize,
    pub groups: usize,
    /// Places for the codes of every group but the last: whole steps.
    padded: usize,
    /// From a row to the next, in bytes: an odd number of cache lines, so that rows do not compete for sets of a cache.
    pub stride: usize,
    /// Whether codes have 16 bits.
    wide: bool,
    /// Whether there is a scale for every group.
    by_groups: bool,
    /// The places of a row's elements in the order of groups, unless that is theirs.
    order: Option<&'a [u32]>,
}

/// Rows of activations, ready to be read.
pub(super) struct Rows<'a> {
    pub layout: RowLayout<'a>,
    /// How many there are.
    pub count: usize,
    codes: Scratch,
    /// `Σ a'` for every row and group, of codes as they are stored.
    sums: Scratch,
    /// A scale for every row, or for every row and group.
    scales: Scratch,
    /// The zero points of codes as they are stored, for every row and group.
    zero_points: Scratch,
    /// Whether a zero point is not 0.
    has_zero_points: bool,
    /// `Σ (a − za)` as f32, for every row and group, where weights have offsets.
    real_sums: Scratch,
    has_real_sums: bool,
    /// What the accumulators of every row and group start with, `−z · Σ a'`, where all stored weights have a zero point z.
    terms: Scratch,
    has_terms: bool,
}

/// What a row or some rows have of [`Rows`].
struct RowsMut<'a> {
    codes: &'a mut [u8],
    sums: &'a mut [i32],
    scales: &'a mut [f32],
    zero_points: &'a mut [i32],
}

impl<'a> RowLayout<'a> {
    pub fn new(a: &Activations<'_>, w: &'a PackedWeights) -> Self {
        let steps = w.steps();
        let (groups, wide) = (w.groups, w.kernel.widen_a);
        let padded = steps.each * w.kernel.depth;
        let codes = groups.saturating_sub(1) * padded + steps.last * w.kernel.depth;
        let bytes = codes * if wide { 2 } else { 1 };
        let stride = (bytes.div_ceil(CACHE_LINE) | 1) * CACHE_LINE;
        RowLayout {
            depth: w.depth(),
            length: w.length,
            groups,
            padded,
            stride,
            wide,
            by_groups: a.group_length().is_some(),
            order: w.order.as_deref(),
        }
    }
}

impl<'a> Rows<'a> {
    /// Reads and, where they are reals, quantizes some rows, on the threads of `exec`.
    pub fn read(exec: Exec<'_>, a: &Activations<'_>, w: &'a PackedWeights, rows: Range<usize>) -> Result<Self, Error> {
        let layout = RowLayout::new(a, w);
        let (count, groups, a_row) = (rows.len(), layout.groups, layout.scales_of_a_row());
        let mut all = Rows {
            layout,
            count,
            codes: Scratch::default(),
            sums: Scratch::default(),
            scales: Scratch::default(),
            zero_points: Scratch::default(),
            has_zero_points: false,
            real_sums: Scratch::default(),
            has_real_sums: w.offsets.is_some(),
            terms: Scratch::default(),
            has_terms: w.uniform_zero_point().is_some_and(|zero_point| zero_point != 0),
        };
        let (sums, zero_points) = (all.sums.elements(count * groups), all.zero_points.elements(count * groups));
        let each = all
            .codes
            .elements::<u8>(count * layout.stride)
            .chunks_mut(layout.stride)
            .zip(sums.chunks_mut(groups))
            .zip(all.scales.elements(count * a_row).chunks_mut(a_row))
            .zip(zero_points.chunks_mut(groups))
            .map(|(((codes, sums), scales), zero_points)| RowsMut { codes, sums, scales, zero_points })
            .zip(rows);
        let error = Mutex::new(None);
        exec.team(count.saturating_mul(layout.depth) / RATE).share(each, |(out, row)| {
            if let Err(found) = layout.read_row(exec.isa(), a, row, out) {
                let mut first = error.lock().expect("errors are compared without panic");
                // The error of the first row, whichever thread finds its own first.
                if first.as_ref().is_none_or(|(at, _)| row < *at) {
                    *first = Some((row, found));
                }
            }
        });
        if let Some((_, error)) = error.into_inner().expect("errors are compared without panic") {
            return Err(error);
        }
        all.has_zero_points = zero_points.iter().any(|&zero_point| zero_point != 0);
        if let Some(zero_point) = w.uniform_zero_point().filter(|_| all.has_terms) {
            for (term, &sum) in all.terms.elements::<i32>(count * groups).iter_mut().zip(&*sums) {
                *term = sum.wrapping_mul(-zero_point);
            }
        }
        if all.has_real_sums {
            let real_sums = all.real_sums.elements::<f32>(count * groups);
            for (i, real) in real_sums.iter_mut().enumerate() {
                let length = layout.group(i % groups).len() as i32;
                *real = sums[i].wrapping_sub(zero_points[i].wrapping_mul(length)) as f32;
            }
        }
        Ok(all)
    }

    /// The codes from a row and group on.
    pub fn codes_from(&self, row: usize, group: usize) -> *const u8 {
        let RowLayout { stride, padded, wide, .. } = self.layout;
        let before = row * stride + group * padded * if wide { 2 } else { 1 };
        self.codes.as_slice::<u8>(self.count * stride)[before..].as_ptr()
    }

    /// The sums of stored codes, for every row and group, from a row and group on.
    pub fn sums_from(&self, row: usize, group: usize) -> *const i32 {
        self.groups_from(&self.sums, row, group)
    }

    /// The zero points of stored codes, for every row and group, from a row and group on; null where all are 0.
    pub fn zero_points_from(&self, row: usize, group: usize) -> *const i32 {
        if self.has_zero_points { self.groups_from(&self.zero_points, row, group) } else { null() }
    }

    /// What the accumulators of every row and group start with, from a row and group on; null for 0.
    pub fn terms_from(&self, row: usize, group: usize) -> *const i32 {
        if self.has_terms { self.groups_from(&self.terms, row, group) } else { null() }
    }

    /// `Σ (a − za)` for every row and group, as f32, from a row and group on; null unless weights have offsets.
    pub fn real_sums_from(&self, row: usize, group: usize) -> *const f32 {
        if self.has_real_sums { self.groups_from(&self.real_sums, row, group) } else { null() }
    }

    /// The scales of every row and group from a row and group on; null unless groups have scales of their own.
    pub fn group_scales_from(&self, row: usize, group: usize) -> *const f32 {
        if self.layout.by_groups { self.groups_from(&self.scales, row, group) } else { null() }
    }

    /// The scale of a row whose groups share it; else 1.
    pub fn scale(&self, row: usize) -> f32 {
        if self.layout.by_groups { 1.0 } else { self.scales.as_slice(self.count)[row] }
    }

    /// Values of every row and group, from a row and group on.
    fn groups_from<T: Pod>(&self, values: &Scratch, row: usize, group: usize) -> *const T {
        let groups = self.layout.groups;
        values.as_slice::<T>(self.count * groups)[row * groups + group..].as_ptr()
    }
}

impl RowLayout<'_> {
    /// The codes of a group.
    pub fn group(&self, group: usize) -> Range<usize> {
        group * self.length..self.depth.min((group + 1) * self.length)
    }

    /// Whether a row as it is kept begins with its codes as bytes, one after another.
    fn is_dense(&self) -> bool {
        !self.wide && (self.groups == 1 || self.padded == self.length)
    }

    /// The elements of a row in the order of groups: in place, or copied.
    fn in_order<'x, T: Pod>(&self, x: &'x [T], workspace: &'x mut Scratch) -> &'x [T] {
        let Some(order) = self.order else { return x };
        let ordered = workspace.elements(x.len());
        for (out, &place) in ordered.iter_mut().zip(order) {
            *out = x[place as usize];
        }
        ordered
    }

    /// The error of a row, with the index that its element or group has in the whole matrix.
    fn in_row(&self, row: usize, error: Error) -> Error {
        match error {
            Error::NonFinite { what, index, found } => {
                let place = self.order.map_or(index, |order| order[index] as usize);
                Error::NonFinite { what, index: row * self.depth + place, found }
            }
            Error::Range { index, min, max, why } => {
                Error::Range { index: row * self.scales_of_a_row() + index, min, max, why }
            }
            other => other,
        }
    }

    fn scales_of_a_row(&self) -> usize {
        if self.by_groups { self.groups } else { 1 }
    }

    fn read_row(&self, isa: Isa, a: &Activations<'_>, row: usize, out: RowsMut<'_>) -> Result<(), Error> {
        match &a.0 {
            Kind::Codes(rows) => {
                self.read_codes(isa, rows, row, out);
                Ok(())
            }
            Kind::Reals(rows) => self.quantize_row(isa, rows, row, out),
        }
    }

    fn read_codes(&self, isa: Isa, rows: &CodeRows<'_>, row: usize, out: RowsMut<'_>) {
        let CodeRows { codes, sign, zero_points, scales } = rows;
        let (each, scales) = match scales {
            Scales::Rows(scales) => (false, &scales[if scales.len() == 1 { 0 } else { row }..][..1]),
            Scales::Groups(scales, _) => (true, &scales[row * self.groups..][..self.groups]),
        };
        out.scales.copy_from_slice(scales);
        let moved = if *sign == Sign::Unsigned { 128 } else { 0 };
        for (g, zero_point) in out.zero_points.iter_mut().enumerate() {
            *zero_point = zero_points.at(if each { row * self.groups + g } else { row }) - moved;
        }
        let mut workspace = Scratch::default();
        let codes = self.in_order(codes.row(row), &mut workspace);
        self.place_codes(isa, codes, *sign, out.codes, out.sums);
    }

    /// Copies the codes of a row to where they are read, and sums its groups.
    fn place_codes(&self, isa: Isa, codes: &[u8], sign: Sign, out: &mut [u8], sums: &mut [i32]) {
        isa.run(SumGroups { layout: self, codes, sign, sums });
        isa.run(CopyRow { layout: self, codes, sign, out });
    }

    fn quantize_row(&self, isa: Isa, rows: &RealRows<'_>, row: usize, out: RowsMut<'_>) -> Result<(), Error> {
        let RealRows { x, codes, scheme, length } = *rows;
        let (mut widened, mut ordered) = (Scratch::default(), Scratch::default());
        let x = match x {
            RealMatrix::F32(x) => x.row(row),
            RealMatrix::Halves { x: Halves { bits, kind }, columns, .. } => {
                let widened = widened.elements(columns);
                widen_piece(isa, Halves { bits: &bits[row * columns..][..columns], kind }, widened);
                widened
            }
        };
        let x = self.in_order(x, &mut ordered);
        let granularity = match length {
            Some(length) => Granularity::block(&[1, x.len()], length)?,
            None => Granularity::Tensor,
        };
        let params = QuantParams::fit(isa, x, codes, scheme, granularity).map_err(|error| self.in_row(row, error))?;
        out.scales.copy_from_slice(params.scales());
        let zero_points = ZeroPoints::from(params.zero_points());
        for (g, zero_point) in out.zero_points.iter_mut().enumerate() {
            *zero_point = zero_points.at(if length.is_some() { g } else { 0 });
        }
        if self.is_dense() {
            let (codes, rest) = out.codes.split_at_mut(x.len());
            quantize(isa, x, &params, Rounding::Nearest, cast_slice_mut::<u8, i8>(codes))?;
            rest.fill(0);
            isa.run(SumGroups { layout: self, codes, sign: Sign::Signed, sums: out.sums });
        } else {
            let mut codes = Scratch::default();
            let codes = codes.elements::<u8>(x.len());
            quantize(isa, x, &params, Rounding::Nearest, cast_slice_mut::<u8, i8>(codes))?;
            self.place_codes(isa, codes, Sign::Signed, out.codes, out.sums);
        }
        Ok(())
    }
}

/// `Σ a'` for every group of a row, of codes with a sign.
struct SumGroups<'a> {
    layout: &'a RowLayout<'a>,
    codes: &'a [u8],
    sign: Sign,
    sums: &'a mut [i32],
}

impl Kernel for SumGroups<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let SumGroups { layout, codes, sign, sums } = self;
        let moved = if sign == Sign::Unsigned { 128 } else { 0 };
        let groups = codes.chunks(layout.length.max(1));
        for (sum, group) in sums.iter_mut().zip(groups) {
            *sum = sum_codes(v, sign, group).wrapping_sub(moved * group.len() as i32);
        }
    }
}

/// Copies a row of codes as i8 or i16, with zeros behind every group.
struct CopyRow<'a> {
    layout: &'a RowLayout<'a>,
    codes: &'a [u8],
    sign: Sign,
    out: &'a mut [u8],
}

impl Kernel for CopyRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        // Plain loops, vectorized by the compiler for the ISA they run on.
        let CopyRow { layout, codes, sign, out } = self;
        let flip = if sign == Sign::Unsigned { 0x80 } else { 0 };
        if layout.is_dense() {
            let (out, rest) = out.split_at_mut(codes.len());
            for (out, &code) in out.iter_mut().zip(codes) {
                *out = code ^ flip;
            }
            rest.fill(0);
            return;
        }
        let size = if layout.wide { 2 } else { 1 };
        let mut places = out;
        for g in 0..layout.groups {
            let codes = &codes[layout.group(g)];
            let place = if g + 1 < layout.groups { layout.padded * size } else { places.len() };
            let (out, behind) = places.split_at_mut(place);
            places = behind;
            let (out, rest) = out.split_at_mut(codes.len() * size);
            if layout.wide {
                for (out, &code) in cast_slice_mut::<u8, i16>(out).iter_mut().zip(codes) {
                    *out = (code ^ flip).cast_signed().into();
                }
            } else {
                for (out, &code) in out.iter_mut().zip(codes) {
                    *out = code ^ flip;
                }
            }
            rest.fill(0);
        }
    }
}
