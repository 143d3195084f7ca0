//! Panels of packed weights as a multiplication reads them, some groups at a time: what is stored in few bits is widened here,
//! once for all rows.

use core::ops::Range;
use core::ptr::null;

use bytemuck::must_cast;

use super::packed::PackedWeights;
use super::tile::{ColumnScales, E2M1, GroupKernel, GroupOperands, PanelCodes};
use crate::cache::prefetch_ahead;
use crate::kernel::{Kernel, Vectors};
use crate::matmul::pack_panel::ones;
use crate::matmul::tile::MAX_COLUMNS;
use crate::memory::Scratch;
use crate::simd::LANES;

/// Some groups of a panel.
pub(super) struct PanelSlice<'a> {
    /// The micro-kernel that reads the codes.
    pub kernel: &'static GroupKernel,
    pub codes: &'a [u8],
    /// The width in vectors.
    pub vectors: usize,
    /// The scale of every group and column, which live as long as this slice.
    pub scales: ColumnScales,
    /// Real offsets of every group and column.
    pub offsets: Option<&'a [f32]>,
    /// `−zw'` of every group and column, where zero points differ.
    pub negative_zero_points: &'a [i32],
    /// `−Σₖ (w' − zw')` of every group and column, where activations have zero points.
    pub negative_sums: &'a [i32],
}

/// Memory for a slice of a panel.
#[derive(Default)]
pub(super) struct SliceMemory {
    codes: Scratch,
    scales: Scratch,
    offsets: Scratch,
    negative_zero_points: Scratch,
    negative_sums: Scratch,
}

/// Bytes of codes, as the micro-kernel reads them, that stay in the level-1 cache beside rows and totals.
const SLICE: usize = 24 << 10;

/// Rows up to which unpacking codes takes longer than to read them again for every row.
const FEW: usize = 3;

/// The micro-kernel for so many rows, and the groups of a panel that these rows go through together. A tall product unpacks codes
/// to bytes once a slice, not in registers for every tile.
pub(super) fn slices(w: &PackedWeights, panel: usize, rows: usize) -> (&'static GroupKernel, usize) {
    let kernel = w.kernel.unpacked.filter(|_| rows > w.kernel.rows().max(FEW)).unwrap_or(w.kernel);
    let group = w.steps().each.max(1) * w.width(panel) * kernel.depth / kernel.per_byte();
    (kernel, (SLICE / group).clamp(1, w.groups))
}

impl SliceMemory {
    /// Reads some groups of a panel for a micro-kernel. `once` says whether a single tile reads them, `sums` whether the sums of
    /// columns are needed.
    pub fn read<'a>(
        &'a mut self,
        w: &'a PackedWeights,
        panel: usize,
        groups: Range<usize>,
        kernel: &'static GroupKernel,
        [once, sums]: [bool; 2],
    ) -> PanelSlice<'a> {
        let SliceMemory { codes, scales, offsets, negative_zero_points, negative_sums } = self;
        let (packed, values, isa) = (w.codes(panel, groups.clone()), w.values(panel, groups.clone()), w.isa);
        let codes = match kernel.codes == w.kernel.codes {
            true => packed,
            false => {
                let bytes = codes.elements(packed.len() * w.kernel.per_byte());
                let step = w.width(panel) * kernel.depth;
                isa.run(Unpack { packed, step, codes: w.kernel.codes, out: &mut *bytes });
                &*bytes
            }
        };
        let negative_zero_points = match w.uniform_zero_point() {
            Some(_) => &[][..],
            None => {
                let negative = negative_zero_points.elements::<i32>(values.len());
                for (out, zero_point) in negative.iter_mut().zip(w.zero_points(values.clone())) {
                    *out = -zero_point;
                }
                &*negative
            }
        };
        let negative_sums = match sums {
            false => &[][..],
            true => {
                let negative = negative_sums.elements::<i32>(values.len());
                sum_columns(w, panel, groups, packed, negative);
                &*negative
            }
        };
        PanelSlice {
            kernel,
            codes,
            vectors: w.panel_vectors(panel),
            scales: match w.scales.halves(values.clone()).filter(|_| once && kernel.widens_halves) {
                Some(halves) => ColumnScales::F16(halves.as_ptr()),
                None => ColumnScales::F32(w.scales.read(isa, values.clone(), scales).as_ptr()),
            },
            offsets: w.offsets.as_ref().map(|reals| reals.read(isa, values, offsets)),
            negative_zero_points,
            negative_sums,
        }
    }
}

/// `−Σₖ (w' − zw')` of some groups and every column: products with a row of ones, group by group, some steps at a time. Their
/// totals are sums of less than 2²⁴, which f32 has.
fn sum_columns(w: &PackedWeights, panel: usize, groups: Range<usize>, mut codes: &[u8], out: &mut [i32]) {
    let (kernel, steps, width) = (w.kernel, w.steps(), w.width(panel));
    let (mut row, mut sums) = (Scratch::default(), Scratch::default());
    let ones = ones(kernel.widen_a, SUMMED.min(steps.each.max(steps.last)) * kernel.depth, &mut row);
    let (unit, sums) = ([1.0; MAX_COLUMNS], sums.elements::<f32>(MAX_COLUMNS));
    let zero_points = w.zero_points(w.values(panel, groups.clone()));
    for (out, zero_point) in out.iter_mut().zip(zero_points) {
        *out = zero_point;
    }
    for (g, out) in groups.zip(out.chunks_mut(width)) {
        for out in &mut *out {
            *out *= w.group_length_of(g) as i32;
        }
        let mut left = if g + 1 < w.groups { steps.each } else { steps.last };
        while left > 0 {
            let steps = left.min(SUMMED);
            let operands = GroupOperands {
                groups: 1,
                group_stride: 1,
                steps,
                last_steps: steps,
                a: ones,
                a_stride: 0,
                w: codes.as_ptr(),
                row_terms: null(),
                updates: &[],
                scales: ColumnScales::F32(unit.as_ptr()),
                row_scales: null(),
                offsets: null(),
                row_sums: null(),
                totals: sums.as_mut_ptr(),
                totals_stride: MAX_COLUMNS,
                has_totals: false,
                prefetch: false,
            };
            // SAFETY: the panel has these steps, ones are as many as their codes, and `sums` is a row of a tile.
            unsafe { kernel.tile(1, w.panel_vectors(panel))(operands) };
            for (out, &sum) in out.iter_mut().zip(&*sums) {
                *out -= sum as i32;
            }
            codes = &codes[steps / kernel.per_byte() * width * kernel.depth..];
            left -= steps;
        }
    }
}

/// Steps whose codes are summed at a time: a multiple of those that share bytes, few enough for ones of the depth that is summed to
/// stay in the level-1 cache, and for sums that an f32 has.
const SUMMED: usize = 64;

/// Codes of few bits as the bytes that are multiplied.
struct Unpack<'a> {
    packed: &'a [u8],
    /// Bytes of a step.
    step: usize,
    codes: PanelCodes,
    out: &'a mut [u8],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        match self.codes.bits() {
            2 => self.unpack::<V, 4>(v),
            _ => self.unpack::<V, 2>(v),
        }
    }
}

impl Unpack<'_> {
    /// Unpacks codes of which SHARING are in a byte.
    #[inline(always)]
    fn unpack<V: Vectors, const SHARING: usize>(self, v: V) {
        let Unpack { packed, step, codes: stored, out } = self;
        let bits = 8 / SHARING;
        let mask = ((1_u32 << bits) - 1) as u8;
        let masks = v.splat_i32(i32::from_ne_bytes([mask; 4]));
        let is_table = stored == PanelCodes::E2m1;
        for (bytes, out) in packed.chunks_exact(step).zip(out.chunks_exact_mut(step * SHARING)) {
            let (vectors, rest) = bytes.as_chunks();
            for (i, bytes) in vectors.iter().enumerate() {
                prefetch_ahead(bytes);
                let lanes = v.load_i32(&must_cast::<[u8; 4 * LANES], [i32; LANES]>(*bytes));
                for s in 0..SHARING {
                    // Four bytes a lane: what the shift brings from one to the next is masked.
                    let shifted = v.shift_right_logical(lanes, v.splat_i32((s * bits) as i32));
                    let mut codes = v.and_i32(shifted, masks);
                    if is_table {
                        codes = v.look_up(&E2M1, codes);
                    }
                    let mut lanes = [0; LANES];
                    v.store_i32(codes, &mut lanes);
                    let place = &mut out[s * step + i * size_of_val(bytes)..][..4 * LANES];
                    place.copy_from_slice(&must_cast::<[i32; LANES], [u8; 4 * LANES]>(lanes));
                }
            }
            // A step is whole vectors, or less than one. In narrow panels, those that share bytes may be one together.
            let from = step - rest.len();
            debug_assert!(from == 0 || rest.is_empty(), "all codes are looked up, and once");
            for s in 0..SHARING {
                for (&byte, place) in rest.iter().zip(&mut out[s * step + from..(s + 1) * step]) {
                    *place = byte >> (s * bits) & mask;
                }
            }
            if is_table && from == 0 {
                look_up_all(v, out);
            }
        }
    }
}

/// Replaces codes of E2M1 by what they are multiplied as.
#[inline(always)]
fn look_up_all<V: Vectors>(v: V, codes: &mut [u8]) {
    let (vectors, rest) = codes.as_chunks_mut();
    for place in vectors {
        let codes = v.load_i32(&must_cast::<[u8; 4 * LANES], [i32; LANES]>(*place));
        let mut bytes = [0; LANES];
        v.store_i32(v.look_up(&E2M1, codes), &mut bytes);
        *place = must_cast::<[i32; LANES], [u8; 4 * LANES]>(bytes);
    }
    for place in rest {
        *place = E2M1[usize::from(*place)];
    }
}
