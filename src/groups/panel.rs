//! A panel of packed weights as a multiplication reads it: what is stored in few bits is widened here, once for all rows.

use core::ptr::null;

use super::packed::PackedWeights;
use super::tile::{GroupKernel, GroupOperands};
use crate::kernel::{Kernel, Vectors};
use crate::matmul::pack_panel::ones;
use crate::matmul::tile::MAX_COLUMNS;
use crate::memory::Workspace;

/// Some columns of weights.
pub(super) struct Panel<'a> {
    /// The micro-kernel that reads the codes.
    pub kernel: &'static GroupKernel,
    pub codes: &'a [u8],
    /// The width in vectors.
    pub vectors: usize,
    /// The scale of every group and column.
    pub scales: &'a [f32],
    /// Real offsets of every group and column.
    pub offsets: Option<&'a [f32]>,
    /// `−zw'` of every group and column, where zero points differ.
    pub negative_zero_points: &'a [i32],
    /// `−Σₖ (w' − zw')` of every group and column, where activations have zero points.
    pub negative_sums: &'a [i32],
}

/// Memory for a panel.
#[derive(Default)]
pub(super) struct PanelMemory {
    codes: Workspace,
    scales: Workspace,
    offsets: Workspace,
    negative_zero_points: Workspace,
    negative_sums: Workspace,
}

impl PanelMemory {
    /// Reads a panel, for that many rows. `sums` says whether the sums of columns are needed.
    pub fn read<'a>(&'a mut self, w: &'a PackedWeights, panel: usize, rows: usize, sums: bool) -> Panel<'a> {
        let PanelMemory { codes, scales, offsets, negative_zero_points, negative_sums } = self;
        let (values, packed, isa) = (w.values_of(panel), w.codes(panel), w.isa);
        // A tall product unpacks codes to bytes once, not in registers for every tile.
        let (kernel, codes) = match w.kernel.unpacked {
            Some(unpacked) if rows > w.kernel.rows() => {
                let bytes = codes.elements(packed.len() * w.kernel.per_byte());
                let step = w.width(panel) * w.kernel.depth;
                isa.run(Unpack { packed, step, bits: w.kernel.bits, out: &mut *bytes });
                (unpacked, &*bytes)
            }
            _ => (w.kernel, packed),
        };
        let negative_zero_points = match w.uniform_zero_point() {
            Some(_) => &[][..],
            None => {
                let negative = negative_zero_points.elements::<i32>(values.len());
                for (out, zero_point) in negative.iter_mut().zip(w.zero_points(panel)) {
                    *out = -zero_point;
                }
                negative
            }
        };
        let scales = w.scales.read(isa, values.clone(), scales);
        let offsets = w.offsets.as_ref().map(|reals| reals.read(isa, values.clone(), offsets));
        let vectors = w.panel_vectors(panel);
        let mut panel_read =
            Panel { kernel, codes, vectors, scales, offsets, negative_zero_points, negative_sums: &[] };
        if sums {
            let negative = negative_sums.elements::<i32>(values.len());
            panel_read.sum_columns(w, panel, negative);
            panel_read.negative_sums = negative;
        }
        panel_read
    }
}

impl Panel<'_> {
    /// `−Σₖ (w' − zw')` of every group and column: products with a row of ones, group by group, some steps at a time. Their totals
    /// are sums of less than 2²⁴, which f32 has.
    fn sum_columns(&self, w: &PackedWeights, panel: usize, out: &mut [i32]) {
        let (kernel, steps, width) = (self.kernel, w.steps(), w.width(panel));
        let (mut row, mut sums) = (Workspace::default(), Workspace::default());
        let ones = ones(kernel.widen_a, SLICE.min(steps.each.max(steps.last)) * kernel.depth, &mut row);
        let (unit, mut rest) = ([1.0; MAX_COLUMNS], self.codes);
        let sums = sums.elements::<f32>(MAX_COLUMNS);
        for (g, out) in out.chunks_mut(width).enumerate() {
            out.fill(0);
            let mut left = if g + 1 < w.groups { steps.each } else { steps.last };
            while left > 0 {
                let steps = left.min(SLICE);
                let operands = GroupOperands {
                    groups: 1,
                    steps,
                    last_steps: steps,
                    a: ones,
                    a_stride: 0,
                    w: rest.as_ptr(),
                    row_terms: null(),
                    updates: &[],
                    scales: unit.as_ptr(),
                    row_scales: null(),
                    offsets: null(),
                    row_sums: null(),
                    totals: sums.as_mut_ptr(),
                    totals_stride: MAX_COLUMNS,
                    prefetch: false,
                };
                // SAFETY: the panel has these steps, ones are as many as their codes, and `sums` is a row of a tile.
                unsafe { kernel.tile(1, self.vectors)(operands) };
                for (out, &sum) in out.iter_mut().zip(&*sums) {
                    *out -= sum as i32;
                }
                rest = &rest[steps / kernel.per_byte() * width * kernel.depth..];
                left -= steps;
            }
        }
        for (i, (out, zero_point)) in out.iter_mut().zip(w.zero_points(panel)).enumerate() {
            *out += zero_point * w.group_length_of(i / width) as i32;
        }
    }
}

/// Steps whose codes are summed at a time: a multiple of those that share bytes, few enough for ones of the depth that is summed to
/// stay in the level-1 cache, and for sums that an f32 has.
const SLICE: usize = 64;

/// Codes of few bits as bytes.
struct Unpack<'a> {
    packed: &'a [u8],
    /// Bytes of a step.
    step: usize,
    bits: u32,
    out: &'a mut [u8],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        // Plain loops, vectorized by the compiler for the ISA they run on.
        let Unpack { packed, step, bits, out } = self;
        let mask = ((1_u32 << bits) - 1) as u8;
        let sharing = 8 / bits;
        for (bytes, out) in packed.chunks_exact(step).zip(out.chunks_exact_mut(step * sharing as usize)) {
            for (s, out) in (0..sharing).zip(out.chunks_exact_mut(step)) {
                for (out, &byte) in out.iter_mut().zip(bytes) {
                    *out = byte >> (s * bits) & mask;
                }
            }
        }
    }
}
