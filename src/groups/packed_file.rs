//! Packed weights in groups as bytes: written, read in place, and taken apart to be packed for another ISA.

use super::packed::{PackedWeights, StoredZeroPoints};
use super::reals::{Kind, PackedReals, Reals};
use super::weights::{Coding, Offset, Weights, check_group_length};
use crate::codes::CodeBounds;
use crate::error::{Error, elements_of};
use crate::files::checksum::xxh64;
use crate::files::fields::{FieldReader, Fields, broken};
use crate::files::sections::Sections;
use crate::half::HalfKind;
use crate::isa::Isa;
use crate::matrix::{Largest, Matrix};
use crate::sign::Sign;

impl PackedWeights {
    /// Writes everything but codes and values of groups.
    pub(crate) fn write(&self, head: &mut Fields) {
        let CodeBounds { min, max } = self.coding.bounds();
        head.number(match self.coding {
            Coding::Integers(Sign::Unsigned, _) => 0,
            Coding::Integers(Sign::Signed, _) => 1,
            Coding::E2m1 => 2,
        });
        head.integer(min);
        head.integer(max);
        for size in [self.length, self.outputs(), self.depth()] {
            head.size(size);
        }
        write_kind(self.scales.kind, head);
        // The smallest and the largest zero point, where they differ.
        let base = self.base();
        head.integers(&match &self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => vec![zero_point + base],
            StoredZeroPoints::Each { smallest, above } => {
                let above = above.as_slice::<u8>(self.value_count()).iter().max();
                [0, *above.unwrap_or(&0)].map(|above| smallest + base + i32::from(above)).to_vec()
            }
        });
        head.size(self.largest.index);
        head.size(usize::from(self.offsets.is_some()));
        if let Some(offsets) = &self.offsets {
            write_kind(offsets.kind, head);
        }
        let order: Vec<i32> = self.order.iter().flatten().map(|k| k.cast_signed()).collect();
        head.integers(&order);
    }

    /// The bytes that stay where they are in a file: codes, scales, and zero points or offsets.
    pub(crate) fn body(&self) -> Vec<&[u8]> {
        let mut sections = vec![self.codes.as_slice(self.code_bytes()), self.scales.as_bytes()];
        if let StoredZeroPoints::Each { above, .. } = &self.zero_points {
            sections.push(above.as_slice(self.value_count()));
        }
        sections.extend(self.offsets.as_ref().map(PackedReals::as_bytes));
        sections
    }

    /// Reads weights whose codes and values stay where they are.
    pub(crate) fn read(isa: Isa, head: &mut FieldReader<'_>, body: &mut Sections<'_>) -> Result<Self, Error> {
        let (coding, bounds) = (head.number()?, CodeBounds { min: head.integer()?, max: head.integer()? });
        let coding = match (coding, bounds.min..=bounds.max) {
            (0, codes) if *codes.start() >= 0 && *codes.end() <= 255 => Coding::Integers(Sign::Unsigned, bounds),
            (1, codes) if *codes.start() >= -128 && *codes.end() <= 127 => Coding::Integers(Sign::Signed, bounds),
            (2, _) => Coding::E2m1,
            _ => return broken("weights have codes of no type"),
        };
        let bounds = coding.bounds();
        if bounds.min >= bounds.max {
            return broken("weights have fewer than two codes");
        }
        let [length, outputs, depth] = [head.size()?, head.size()?, head.size()?];
        check_group_length(length, depth)?;
        // They are rounded up to panels of columns and steps of the depth, which have far less than 256: that must not overflow.
        if [length, outputs, depth].iter().any(|&size| size > usize::MAX / 256) {
            return broken("a size is beyond this machine's addresses");
        }
        let mut weights = Self::without_values(isa, coding, length, [outputs, depth]);
        weights.codes = body.next(weights.code_bytes())?;
        let values = weights.value_count();
        let reals = |kind: Kind, body: &mut Sections<'_>| -> Result<PackedReals, Error> {
            let values_bytes = elements_of(&[values, kind.size()]);
            Ok(PackedReals { kind, values: body.next(values_bytes)?, length: values })
        };
        weights.scales = reals(read_kind(head)?, body)?;
        let zero_points = head.integers()?;
        for (index, &zero_point) in zero_points.iter().enumerate().filter(|(_, zero_point)| **zero_point != 0) {
            coding.zero_points().check_zero_point(index, zero_point)?;
        }
        let of = |zero_point: i32| i64::from((bounds.max - zero_point).max(zero_point - bounds.min));
        let most = zero_points.iter().map(|&zero_point| of(zero_point)).max().unwrap_or(0);
        weights.largest = Largest { value: most, index: head.size()? };
        if weights.largest.index > outputs {
            return broken("weights have an extreme zero point that is no output's");
        }
        let base = weights.base();
        weights.zero_points = match zero_points[..] {
            [one] => StoredZeroPoints::Uniform(one - base),
            [smallest, _] => StoredZeroPoints::Each { smallest: smallest - base, above: body.next(values)? },
            _ => return broken("weights have neither one zero point nor two ends"),
        };
        weights.offsets = match head.number()? {
            0 => None,
            _ => Some(reals(read_kind(head)?, body)?),
        };
        weights.order = order_of(head.integers()?, depth)?;
        Ok(weights)
    }

    /// These weights, packed for an ISA.
    pub(super) fn repacked(&self, isa: Isa) -> Result<Self, Error> {
        let [outputs, depth] = [self.outputs(), self.depth()];
        let codes = self.unpacked()?;
        // Values in the order of outputs and groups.
        let places = self.places(|output, group| output * self.groups + group);
        let mut order = vec![None; outputs * self.groups];
        for (place, of) in places.into_iter().enumerate() {
            if let Some(of) = of {
                order[of] = Some(place);
            }
        }
        let in_order = |reals: &PackedReals| PackedReals::new(reals.as_reals(), order.iter().copied());
        let (scales, offsets) = (in_order(&self.scales), self.offsets.as_ref().map(in_order));
        let base = self.base();
        let zero_points: Vec<i32> = match &self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => vec![zero_point + base; order.len()],
            StoredZeroPoints::Each { smallest, above } => {
                let above = above.as_slice::<u8>(self.value_count());
                order.iter().map(|place| smallest + base + place.map_or(0, |place| i32::from(above[place]))).collect()
            }
        };
        let weights = Weights {
            codes: Matrix::new(&codes, outputs, depth)?,
            by_columns: false,
            coding: self.coding,
            length: self.length,
            scales: scales.as_reals(),
            offset: match &offsets {
                Some(offsets) => Offset::Reals(offsets.as_reals()),
                None => Offset::ZeroPoints(&zero_points),
            },
            order: self.order.as_deref(),
        };
        Self::for_isa(isa, &weights)
    }

    /// The codes `[N, K]`, in the order of groups.
    fn unpacked(&self) -> Result<Vec<u8>, Error> {
        let (kernel, sharing, depth) = (self.kernel, self.kernel.per_byte(), self.depth());
        let (mut codes, bytes) = (Vec::new(), elements_of(&[self.outputs(), depth]));
        codes.try_reserve_exact(bytes).map_err(|_| Error::Memory { bytes })?;
        codes.resize(bytes, 0);
        let bits = kernel.codes.bits() as usize;
        let mask = u8::MAX >> (8 - bits);
        for panel in 0..self.panels() {
            let width = self.width(panel);
            for group in 0..self.groups {
                let packed = self.codes(panel, group..group + 1);
                for (j, column) in self.columns_of(panel..panel + 1).enumerate() {
                    for i in 0..self.group_length_of(group) {
                        let (step, k) = (i / kernel.depth, i % kernel.depth);
                        let byte = packed[(step / sharing * width + j) * kernel.depth + k];
                        let stored = byte >> (step % sharing * bits) & mask;
                        codes[column * depth + group * self.length + i] = self.code_of(stored);
                    }
                }
            }
        }
        Ok(codes)
    }

    /// A number that changes with the layout that weights of these codes and groups have: the checksum of a few of them.
    pub(crate) fn fingerprint(&self) -> Result<u64, Error> {
        // Two panels; two whole groups, and a shorter one that is padded; of a length that chooses the same micro-kernel.
        let is_usual = Self::without_values(self.isa, self.coding, 32, [1, 64]).kernel.codes == self.kernel.codes;
        let (whole, widest) = (if is_usual { 32 } else { 31 }, self.kernel.narrowest + self.kernel.tiles.len() - 1);
        let [outputs, depth] = [widest * self.kernel.lanes + 1, 2 * whole + 9];
        let CodeBounds { min, max } = match self.coding {
            Coding::Integers(_, bounds) => bounds,
            Coding::E2m1 => CodeBounds { min: 0, max: 15 },
        };
        let code = |i: usize| (min + (i * 37 % (max - min + 1) as usize) as i32) as u8;
        let codes: Vec<u8> = (0..outputs * depth).map(code).collect();
        let scales: Vec<u8> = (0..3 * outputs).map(|i| (i * 11) as u8).collect();
        let weights = Weights {
            codes: Matrix::new(&codes, outputs, depth)?,
            by_columns: false,
            coding: self.coding,
            length: whole,
            scales: Reals::e8m0(&scales),
            offset: Offset::None,
            order: None,
        };
        let packed = Self::for_isa(self.isa, &weights)?;
        Ok(packed.body().into_iter().fold(0, |hash, section| hash ^ xxh64(section)))
    }
}

fn write_kind(kind: Kind, head: &mut Fields) {
    let (tag, integer, real) = match kind {
        Kind::F32 => (0, 0, 0.0),
        Kind::Half(HalfKind::F16) => (1, 0, 0.0),
        Kind::Half(HalfKind::Bf16) => (2, 0, 0.0),
        Kind::E8m0 { point } => (3, point, 0.0),
        Kind::E4m3 { tensor_scale } => (4, 0, tensor_scale),
    };
    head.number(tag);
    head.integer(integer);
    head.reals(&[real]);
}

fn read_kind(head: &mut FieldReader<'_>) -> Result<Kind, Error> {
    let (tag, point) = (head.number()?, head.integer()?);
    let [tensor_scale] = head.reals()?[..] else { return broken("a tensor has not one scale") };
    match tag {
        0 => Ok(Kind::F32),
        1 => Ok(Kind::Half(HalfKind::F16)),
        2 => Ok(Kind::Half(HalfKind::Bf16)),
        3 if (0..=6).contains(&point) => Ok(Kind::E8m0 { point }),
        4 => Ok(Kind::E4m3 { tensor_scale }),
        _ => broken("values of groups have no type"),
    }
}

/// The order of a row, if there is one: every k once.
fn order_of(order: Vec<i32>, depth: usize) -> Result<Option<Vec<u32>>, Error> {
    if order.is_empty() {
        return Ok(None);
    }
    // (Before anything of the depth is allocated: only the file bounds the order.)
    if order.len() != depth {
        return broken("the order of a row lacks a place");
    }
    let (order, mut seen): (Vec<u32>, _) = (order.into_iter().map(i32::cast_unsigned).collect(), vec![false; depth]);
    for &k in &order {
        match seen.get_mut(k as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return broken("the order of a row has a place twice"),
        }
    }
    Ok(Some(order))
}
