//! Weights in groups as the micro-kernels read them.

use core::ops::Range;

use super::reals::PackedReals;
use super::stored::StoredWeights;
use super::tile::{GroupKernel, PanelCodes, e2m1_in_panels};
use super::weights::{Coding, Offset, Weights};
use crate::codes::CodeBounds;
use crate::error::{Error, elements_of};
use crate::exec::Exec;
use crate::formats::doubled;
use crate::formats::tensor_format::TensorFormat;
use crate::isa::Isa;
use crate::matmul::split::Split;
use crate::matrix::Largest;
use crate::memory::AlignedBuffer;
use crate::shared::SharedBytes;
use crate::sign::Sign;

/// Weights in groups, prepared for one ISA: codes at their width (E2M1 in four bits, three bits in four, five to
/// seven in eight), scales and offsets in the type they were given in, zero points in a byte.
///
/// They remember the ISA they were packed for: with another one, operations return [`Error::PackedIsa`].
#[derive(Clone, Debug)]
pub struct PackedWeights {
    pub(super) isa: Isa,
    pub(super) kernel: &'static GroupKernel,
    /// The type and the range of the codes as they were given.
    pub(super) coding: Coding,
    /// K.
    depth: usize,
    /// N.
    columns: usize,
    /// The columns in panels, in vectors.
    split: Split,
    /// Codes of a group.
    pub(super) length: usize,
    /// Groups of a row.
    pub(super) groups: usize,
    /// `max |w − zw|`
    pub(super) largest: Largest,
    pub(super) codes: SharedBytes,
    pub(super) scales: PackedReals,
    pub(super) zero_points: StoredZeroPoints,
    pub(super) offsets: Option<PackedReals>,
    /// The places that the codes of a row have in a row of activations, unless they are in order.
    pub(super) order: Option<Vec<u32>>,
}

/// Zero points of codes as they are stored.
#[derive(Clone, Debug)]
pub(super) enum StoredZeroPoints {
    Uniform(i32),
    /// For every panel, group and column, less the smallest.
    Each {
        smallest: i32,
        above: SharedBytes,
    },
}

/// The steps of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    /// Of every group but the last.
    pub each: usize,
    pub last: usize,
}

impl PackedWeights {
    /// Packs weights.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn pack<'e>(exec: impl Into<Exec<'e>>, weights: &Weights<'_>) -> Result<Self, Error> {
        Self::for_isa(exec.into().isa(), weights)
    }

    /// Packs encoded weights `[outputs, depth]`, as [`encode_blocks`](crate::formats::encode_blocks) writes them.
    ///
    /// # Errors
    /// [`Error::Multiple`] when the depth is not whole blocks; [`Error::Length`] of the bytes; [`Error::Memory`].
    pub fn from_format<'e>(
        exec: impl Into<Exec<'e>>,
        format: impl Into<TensorFormat>,
        bytes: &[u8],
        outputs: usize,
        depth: usize,
    ) -> Result<Self, Error> {
        let exec = exec.into();
        Self::for_isa(exec.isa(), &StoredWeights::from_format(exec, format, bytes, outputs, depth)?.weights())
    }

    pub(super) fn for_isa(isa: Isa, weights: &Weights<'_>) -> Result<Self, Error> {
        let mut packed = Self::without_values(isa, weights.coding, weights.length, weights.shape());
        packed.largest = weights.largest();
        packed.order = weights.order.map(<[u32]>::to_vec);
        let mut codes = AlignedBuffer::default();
        packed.write_codes(weights, codes.try_bytes(packed.code_bytes())?);
        packed.codes = codes.into();
        let places = packed.places(|output, group| weights.group(output, group));
        packed.scales = PackedReals::new(weights.scales, places.iter().copied());
        match weights.offset {
            Offset::None => {}
            Offset::ZeroPoints(zero_points) => {
                packed.zero_points = StoredZeroPoints::new(zero_points, packed.base(), &places);
            }
            Offset::Reals(offsets) => packed.offsets = Some(PackedReals::new(offsets, places.iter().copied())),
        }
        Ok(packed)
    }

    /// Weights of a shape, `[N, K]`, and of a layout, that have no codes and no values yet, and the zero point 0.
    pub(super) fn without_values(isa: Isa, coding: Coding, length: usize, [outputs, depth]: [usize; 2]) -> Self {
        let bits = (coding.bounds().steps() as u32).ilog2() + 1;
        let mut kernel = isa.group_kernel(match coding {
            Coding::Integers(..) => PanelCodes::Bits(bits),
            Coding::E2m1 => PanelCodes::E2m1,
        });
        // The steps of a group that share bytes are whole.
        if !length.min(depth).is_multiple_of(kernel.depth * kernel.per_byte()) && length < depth {
            kernel = kernel.unpacked.unwrap_or(isa.group_kernel(PanelCodes::Bits(6)));
        }
        // Without depth there may be any number of outputs, and nothing of them is kept.
        let split = kernel.panels(if depth == 0 { 0 } else { outputs });
        let mut packed = PackedWeights {
            isa,
            kernel,
            coding,
            depth,
            columns: outputs,
            split,
            length: length.min(depth.max(1)),
            groups: depth.div_ceil(length.max(1)),
            largest: Largest::default(),
            codes: AlignedBuffer::default().into(),
            scales: PackedReals::new([][..].into(), [].into_iter()),
            zero_points: StoredZeroPoints::Uniform(0),
            offsets: None,
            order: None,
        };
        packed.zero_points = StoredZeroPoints::Uniform(-packed.base());
        packed
    }

    /// What stored codes are less than the integers that they stand for: as they are multiplied, they begin at 0; where eight
    /// bits have a sign, at −128.
    pub(super) fn base(&self) -> i32 {
        let bounds = self.coding.bounds();
        let is_signed = self.kernel.codes == PanelCodes::Bits(8) && self.kernel.w_sign == Sign::Signed;
        bounds.min + if is_signed && bounds.steps() >= 64 { 128 } else { 0 }
    }

    /// The code as it was given, of the bits that panels have of it.
    pub(super) fn code_of(&self, stored: u8) -> u8 {
        match self.coding {
            Coding::Integers(..) => (i32::from(stored) + self.base()) as u8,
            Coding::E2m1 if self.kernel.codes == PanelCodes::E2m1 => e2m1_in_panels(stored),
            // Unpacked: the doubled value. (Of a file whose bytes have changed, it may be any.)
            Coding::E2m1 => doubled::code((i32::from(stored) + self.base()).clamp(-12, 12) as i8),
        }
    }

    /// Writes the codes into panels.
    fn write_codes(&self, weights: &Weights<'_>, out: &mut [u8]) {
        let (kernel, base, sharing) = (self.kernel, self.base(), self.kernel.per_byte());
        let mut rest = out;
        for panel in 0..self.panels() {
            let (columns, width, steps) = (self.columns_of(panel..panel + 1), self.width(panel), self.steps());
            let (mut panel_bytes, behind) = rest.split_at_mut(self.width(panel) * self.row_bytes());
            rest = behind;
            for group in 0..self.groups {
                let steps = if group + 1 < self.groups { steps.each } else { steps.last };
                let (bytes, later) = panel_bytes.split_at_mut(steps / sharing * width * kernel.depth);
                panel_bytes = later;
                bytes.fill(0);
                let codes = group * self.length..self.depth.min((group + 1) * self.length);
                for (j, column) in columns.clone().enumerate() {
                    for (i, k_of_depth) in codes.clone().enumerate() {
                        let (step, k) = (i / kernel.depth, i % kernel.depth);
                        let shift = step % sharing * kernel.codes.bits() as usize;
                        let code = weights.code(column, k_of_depth);
                        let stored = match kernel.codes {
                            PanelCodes::Bits(_) => (weights.coding.value(code) - base) as u8,
                            PanelCodes::E2m1 => e2m1_in_panels(code),
                        };
                        bytes[(step / sharing * width + j) * kernel.depth + k] |= stored << shift;
                    }
                }
            }
        }
    }

    /// Where the values of groups come from in the order of panels: for every panel, group and column, with those that pad the
    /// last panel. `group_at` says where the value of an output and a group comes from.
    pub(super) fn places(&self, group_at: impl Fn(usize, usize) -> usize) -> Vec<Option<usize>> {
        let mut places = Vec::with_capacity(self.vectors() * self.kernel.lanes * self.groups);
        for panel in 0..self.panels() {
            let columns = self.columns_of(panel..panel + 1);
            for group in 0..self.groups {
                for j in 0..self.width(panel) {
                    let column = Some(columns.start + j).filter(|column| columns.contains(column));
                    places.push(column.map(|column| group_at(column, group)));
                }
            }
        }
        places
    }

    /// These weights, packed for the ISA of `exec`: those of a file of another machine, or to compare ISAs.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn repack<'e>(&self, exec: impl Into<Exec<'e>>) -> Result<Self, Error> {
        self.repacked(exec.into().isa())
    }

    /// The ISA they are packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// K.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// N.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.columns
    }

    /// The bytes of memory that codes, scales, zero points and offsets take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let zero_points = match &self.zero_points {
            StoredZeroPoints::Uniform(_) => 0,
            StoredZeroPoints::Each { .. } => self.value_count(),
        };
        self.code_bytes() + zero_points + self.scales.bytes() + self.offsets.as_ref().map_or(0, PackedReals::bytes)
    }

    fn vectors(&self) -> usize {
        self.split.part(self.panels()).start
    }

    /// The bytes of all codes; `usize::MAX` when no memory could hold them.
    pub(super) fn code_bytes(&self) -> usize {
        // (Without panels the depth is of any length, and its steps are more than can be counted.)
        elements_of(&[self.vectors(), self.kernel.lanes, if self.panels() > 0 { self.row_bytes() } else { 0 }])
    }

    /// The values of all groups, with those that pad the last panel; `usize::MAX` when no memory could hold them.
    pub(super) fn value_count(&self) -> usize {
        elements_of(&[self.vectors(), self.kernel.lanes, self.groups])
    }

    /// The bytes of the codes of a column.
    fn row_bytes(&self) -> usize {
        let Steps { each, last } = self.steps();
        let steps = (self.groups.max(1) - 1) * each + if self.groups > 0 { last } else { 0 };
        steps * self.kernel.depth / self.kernel.per_byte()
    }

    pub(super) fn steps(&self) -> Steps {
        let unit = self.kernel.depth * self.kernel.per_byte();
        let last = self.depth - self.groups.saturating_sub(1) * self.length;
        Steps {
            each: self.length.div_ceil(unit) * self.kernel.per_byte(),
            last: last.div_ceil(unit) * self.kernel.per_byte(),
        }
    }

    /// Codes of a group, without padding.
    pub(super) fn group_length_of(&self, group: usize) -> usize {
        self.length.min(self.depth - group * self.length)
    }

    /// How many panels there are.
    pub(super) fn panels(&self) -> usize {
        self.split.parts()
    }

    /// The width of a panel in vectors.
    pub(super) fn panel_vectors(&self, panel: usize) -> usize {
        self.split.part(panel).len()
    }

    /// The width of a panel in columns, with those that pad it.
    pub(super) fn width(&self, panel: usize) -> usize {
        self.panel_vectors(panel) * self.kernel.lanes
    }

    /// The columns of a range of panels, without padding.
    pub(super) fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let column = |panel: usize| (self.split.part(panel).start * self.kernel.lanes).min(self.columns);
        column(panels.start)..column(panels.end)
    }

    /// The codes of some groups of a panel.
    pub(super) fn codes(&self, panel: usize, groups: Range<usize>) -> &[u8] {
        let row = self.row_bytes();
        let before = self.split.part(panel).start * self.kernel.lanes * row;
        let of = |groups: usize| match groups == self.groups {
            true => row,
            false => groups * self.steps().each * self.kernel.depth / self.kernel.per_byte(),
        };
        let width = self.width(panel);
        &self.codes.as_slice(before + of(groups.end) * width)[before + of(groups.start) * width..]
    }

    /// The places of the values that a panel has for some groups and every column.
    pub(super) fn values(&self, panel: usize, groups: Range<usize>) -> Range<usize> {
        let before = self.split.part(panel).start * self.kernel.lanes * self.groups;
        let width = self.width(panel);
        before + groups.start * width..before + groups.end * width
    }

    /// The zero point of all stored codes, if they have one.
    pub(super) fn uniform_zero_point(&self) -> Option<i32> {
        match self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => Some(zero_point),
            StoredZeroPoints::Each { .. } => None,
        }
    }

    /// The zero points of stored codes at some [places](PackedWeights::values).
    pub(super) fn zero_points(&self, range: Range<usize>) -> impl Iterator<Item = i32> {
        let (uniform, above) = match &self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => (*zero_point, &[][..]),
            StoredZeroPoints::Each { smallest, above } => (*smallest, &above.as_slice::<u8>(range.end)[range.clone()]),
        };
        (0..range.len()).map(move |i| uniform + i32::from(*above.get(i).unwrap_or(&0)))
    }
}

impl StoredZeroPoints {
    fn new(zero_points: &[i32], base: i32, places: &[Option<usize>]) -> Self {
        let (Some(smallest), Some(largest)) = (zero_points.iter().min(), zero_points.iter().max()) else {
            return StoredZeroPoints::Uniform(0);
        };
        if smallest == largest {
            return StoredZeroPoints::Uniform(smallest - base);
        }
        let mut above = AlignedBuffer::default();
        for (above, place) in above.elements::<u8>(places.len()).iter_mut().zip(places) {
            *above = place.map_or(0, |place| (zero_points[place] - smallest) as u8);
        }
        StoredZeroPoints::Each { smallest: smallest - base, above: above.into() }
    }
}

impl Weights<'_> {
    /// `max |w − zw|` over all codes of the range, and the output that has it.
    fn largest(&self) -> Largest {
        let CodeBounds { min, max } = self.coding.bounds();
        let of = |zero_point: i32| i64::from((max - zero_point).max(zero_point - min));
        let Offset::ZeroPoints(zero_points) = self.offset else { return Largest { value: of(0), index: 0 } };
        let each = zero_points.iter().enumerate().map(|(i, &zero_point)| {
            let index = if self.by_columns { i % self.shape()[0] } else { i / self.groups() };
            Largest { value: of(zero_point), index }
        });
        each.fold(Largest::default(), Largest::max)
    }
}
