//! Packed matrices as bytes: written, read in place, and taken apart to be packed for another ISA.

use super::pack::{Panels, StoredZeroPoints};
use super::pack_panel::Elements;
use super::packed::Packed;
use super::per_column::PerColumn;
use super::shape::{Shape, Stored, largest_of};
use super::tile::{MAX_COLUMNS, Microkernel};
use super::weights::WeightScales;
use crate::error::{Error, elements_of};
use crate::files::checksum::xxh64;
use crate::files::fields::{FieldReader, Fields, broken};
use crate::files::sections::Sections;
use crate::isa::Isa;
use crate::matrix::{Largest, Matrix, ZeroPoints};
use crate::sign::Sign;

impl Panels {
    /// Writes everything but the codes, whose sign is `b`.
    fn write(&self, b: Sign, head: &mut Fields) {
        head.size(self.shape.depth);
        head.size(self.shape.columns);
        head.integers(&self.zero_points_of_codes(b));
        head.integers(self.negative_sums.values());
        head.integers(self.bias.values());
    }

    /// The codes as they are stored.
    fn codes(&self) -> &[u8] {
        self.codes.as_slice(self.shape.all_bytes())
    }

    /// The zero points of the codes before they were stored: one, or one for every column.
    fn zero_points_of_codes(&self, b: Sign) -> Vec<i32> {
        let moved = Stored::new(self.shape.kernel, b).zero_point(0);
        match &self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => vec![zero_point - moved],
            StoredZeroPoints::Each(each) => each.values().iter().map(|zero_point| zero_point - moved).collect(),
        }
    }

    /// Panels that [`write`](Panels::write) wrote and whose codes are in a section, and the largest `|b − zb|`.
    fn read(
        isa: Isa,
        kernel: &'static Microkernel,
        b: Sign,
        head: &mut FieldReader<'_>,
        body: &mut Sections<'_>,
    ) -> Result<(Self, Largest), Error> {
        let [depth, columns] = [head.size()?, head.size()?];
        let shape = Shape::new(isa, kernel, depth, columns, kernel.panels(columns));
        let codes = body.next(shape.all_bytes())?;
        let zero_points = head.integers()?;
        let zero_points = one_or_each(&zero_points);
        let largest = zero_points.check_for(b, columns)?;
        let negative_sums = head.integers()?;
        let negative_sums = match negative_sums[..] {
            [0] if depth == 0 => PerColumn::uniform(0, MAX_COLUMNS),
            _ if depth > 0 && negative_sums.len() == columns => PerColumn::each(negative_sums),
            _ => return broken("a matrix has not the sums of its columns"),
        };
        let bias = head.integers()?;
        let bias = match bias[..] {
            _ if bias.len() == columns => PerColumn::each(bias),
            [0] => PerColumn::uniform(0, MAX_COLUMNS),
            _ => return broken("a matrix has a bias of another length"),
        };
        let zero_points = StoredZeroPoints::new(Stored::new(kernel, b), zero_points);
        Ok((Panels { shape, codes, zero_points, negative_sums, bias }, largest))
    }

    /// The codes `[K, N]`, whose sign is `b`.
    fn unpacked(&self, b: Sign) -> Result<Vec<u8>, Error> {
        let Shape { kernel, depth, columns, .. } = self.shape;
        let (mut codes, bytes) = (Vec::new(), elements_of(&[depth, columns]));
        codes.try_reserve_exact(bytes).map_err(|_| Error::Memory { bytes })?;
        codes.resize(bytes, 0);
        let (flip, mut rest) = (Stored::new(kernel, b).flip, self.codes());
        for panel in 0..if depth > 0 { self.shape.panels() } else { 0 } {
            let (packed, behind) = rest.split_at(self.shape.panel_bytes(panel..panel + 1));
            rest = behind;
            let step = self.shape.vectors(panel) * kernel.lanes * kernel.depth;
            for (j, column) in self.shape.columns_of(panel..panel + 1).enumerate() {
                for k in 0..depth {
                    let place = k / kernel.depth * step + j * kernel.depth + k % kernel.depth;
                    codes[k * columns + column] = packed[place] ^ flip;
                }
            }
        }
        Ok(codes)
    }

    /// A number that changes with the order of codes in panels: the checksum of small panels of distinct codes.
    fn fingerprint(isa: Isa, kernel: &'static Microkernel, b: Sign) -> Result<u64, Error> {
        // Two panels, and a step that is padded.
        let shape @ [_, columns] = [2 * kernel.depth + 1, kernel.tiles.len() * kernel.lanes + 1];
        let elements = Elements(|k: usize, j: usize| ((k * columns + j) * 37) as u8);
        Ok(xxh64(Panels::pack(isa, kernel, b, &elements, shape, ZeroPoints::Uniform(3))?.codes()))
    }
}

impl Packed {
    /// Writes everything but the codes.
    pub fn write(&self, b: Sign, head: &mut Fields) {
        let (panels, scales) = self.parts();
        panels.write(b, head);
        head.reals(scales.values());
        head.reals(scales.bias_for().as_slice());
    }

    /// The codes as they are stored.
    pub fn body(&self) -> &[u8] {
        self.parts().0.codes()
    }

    /// Reads weights whose codes stay where they are.
    pub fn read(
        isa: Isa,
        [a, b]: [Sign; 2],
        head: &mut FieldReader<'_>,
        body: &mut Sections<'_>,
    ) -> Result<Self, Error> {
        let (panels, largest) = Panels::read(isa, isa.microkernel(a), b, head, body)?;
        let scales = head.reals()?;
        if let Some(index) = scales.iter().position(|scale| !(f32::MIN_POSITIVE..=f32::MAX).contains(scale)) {
            return Err(Error::Scale { index, scale: scales[index] });
        }
        let columns = panels.shape.columns;
        let mut scales = match scales.len() {
            0 if columns > 0 => WeightScales::default(),
            length if length == 1 || length == columns => WeightScales::new(&scales),
            _ => return broken("a matrix has scales of another number"),
        };
        scales.set_bias_for(match head.reals()?[..] {
            [] => None,
            [scale] => Some(scale),
            _ => return broken("a bias has more than one scale"),
        });
        let largest_bias = largest_of(panels.bias.values());
        Ok(Packed::from_parts(panels, scales, largest, largest_bias))
    }

    /// These weights, packed for an ISA.
    pub fn repacked(&self, isa: Isa, signs: [Sign; 2]) -> Result<Self, Error> {
        let (panels, scales) = self.parts();
        let codes = panels.unpacked(signs[1])?;
        let zero_points = panels.zero_points_of_codes(signs[1]);
        let zero_points = one_or_each(&zero_points);
        let Shape { depth, columns, .. } = panels.shape;
        let mut packed = Packed::columns(isa, signs, Matrix::new(&codes, depth, columns)?, zero_points)?;
        packed.set_scales(scales.clone());
        if panels.bias.values().len() == columns {
            packed.set_bias(panels.bias.values(), scales.bias_for())?;
        }
        Ok(packed)
    }

    /// A number that changes with the layout of weights for an ISA.
    pub fn fingerprint(isa: Isa, [a, b]: [Sign; 2]) -> Result<u64, Error> {
        Panels::fingerprint(isa, isa.microkernel(a), b)
    }
}

/// One zero point for all columns, or one for each.
fn one_or_each(zero_points: &[i32]) -> ZeroPoints<'_> {
    match zero_points {
        [one] => ZeroPoints::Uniform(*one),
        _ => ZeroPoints::Each(zero_points),
    }
}
