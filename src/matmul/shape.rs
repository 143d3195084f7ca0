//! The shape of the right operand, its division into panels, and how its codes are stored in them.

use core::ops::Range;

use super::split::Split;
use super::tile::Microkernel;
use crate::error::{Error, elements_of};
use crate::isa::Isa;
use crate::matrix::Largest;
use crate::sign::Sign;

/// The shape of B, and its division into panels.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub isa: Isa,
    pub kernel: &'static Microkernel,
    /// K.
    pub depth: usize,
    /// The depth in steps of the kernel, the last of which may be padded.
    pub steps: usize,
    /// N.
    pub columns: usize,
    /// The columns in panels, in vectors.
    split: Split,
}

impl Shape {
    /// B of this depth and width, whose vectors of columns are divided by `split`.
    pub fn new(isa: Isa, kernel: &'static Microkernel, depth: usize, columns: usize, split: Split) -> Self {
        Shape { isa, kernel, depth, steps: depth.div_ceil(kernel.depth), columns, split }
    }

    /// How many panels there are.
    pub fn panels(&self) -> usize {
        self.split.parts()
    }

    /// The columns of a range of panels, without padding.
    #[inline]
    pub fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let column = |panel: usize| (self.split.part(panel).start * self.kernel.lanes).min(self.columns);
        column(panels.start)..column(panels.end)
    }

    /// The width of a panel in vectors.
    #[inline]
    pub fn vectors(&self, panel: usize) -> usize {
        self.split.part(panel).len()
    }

    /// The bytes of a range of panels that are in memory, or fit there.
    #[inline]
    pub fn panel_bytes(&self, panels: Range<usize>) -> usize {
        let vectors = self.split.part(panels.end).start - self.split.part(panels.start).start;
        vectors * self.kernel.lanes * self.steps * self.kernel.depth
    }

    /// The bytes of all panels; `usize::MAX` when no memory could hold them.
    pub fn all_bytes(&self) -> usize {
        let vectors = self.split.part(self.panels()).start;
        elements_of(&[vectors, self.kernel.lanes, self.steps, self.kernel.depth])
    }
}

/// How codes of B are stored for a kernel. The instruction wants a sign: `x ^ 0x80` read as the other type is `x ∓ 128`,
/// and the zero point moves along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// Every byte is XORed with this.
    pub flip: u8,
    /// What that adds to the value of a code.
    moved: i32,
}

impl Stored {
    /// Codes of the sign `b` for a kernel.
    pub fn new(kernel: &Microkernel, b: Sign) -> Self {
        match b {
            _ if b == kernel.b_sign => Stored { flip: 0, moved: 0 },
            Sign::Unsigned => Stored { flip: 0x80, moved: -128 },
            Sign::Signed => Stored { flip: 0x80, moved: 128 },
        }
    }

    /// The zero point of the stored codes.
    pub fn zero_point(self, zero_point: i32) -> i32 {
        zero_point + self.moved
    }
}

/// The largest `|bias|`.
pub fn largest_of(bias: &[i32]) -> Largest {
    let each = bias.iter().enumerate().map(|(index, &bias)| Largest { value: i64::from(bias).abs(), index });
    each.fold(Largest::default(), Largest::max)
}

/// `Ok` when `depth · largest product + largest bias ≤ 2³¹ − 1`, given the largest `|a − za|` of all rows and the largest
/// `|b − zb|` and `|bias|` of the columns from `first_column` on.
#[inline]
pub(crate) fn check_accumulator(
    depth: usize,
    first_column: usize,
    [a, b]: [Largest; 2],
    bias: Largest,
) -> Result<(), Error> {
    let (product, room) = ((a.value * b.value).max(1), i64::from(i32::MAX) - bias.value);
    // (A product in place of the division by which the limit is told.)
    if i64::try_from(depth).ok().and_then(|depth| depth.checked_mul(product)).is_some_and(|sum| sum <= room) {
        return Ok(());
    }
    let limit = |room: i64| usize::try_from(room.max(0) / product).unwrap_or(usize::MAX);
    let column = if depth > limit(i32::MAX.into()) { b.index } else { bias.index };
    Err(Error::Depth { row: a.index, channel: first_column + column, depth, limit: limit(room) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond what a 32-bit address space holds: on such a target the same sizes saturate.
    #[test]
    fn bytes_of_panels_do_not_wrap() {
        for isa in Isa::supported() {
            let kernel = isa.microkernel(Sign::Unsigned);
            let bytes = |depth, columns| Shape::new(isa, kernel, depth, columns, kernel.panels(columns)).all_bytes();
            let needed = |depth: usize, columns: usize| {
                let padded = [depth.next_multiple_of(kernel.depth), columns.next_multiple_of(kernel.lanes)];
                padded.iter().map(|&length| length as u128).product::<u128>()
            };
            for [depth, columns] in [[1449, 1449], [1 << 20, 1 << 10], [1 << 28, 1], [1, 1 << 28], [65_535, 65_537]] {
                let want = usize::try_from(needed(depth, columns)).unwrap_or(usize::MAX);
                assert_eq!(bytes(depth, columns), want, "{isa}: {depth} × {columns}");
            }
            assert_eq!(bytes(usize::MAX / 2, usize::MAX / 2), usize::MAX);
            assert_eq!([bytes(0, usize::MAX / 2), bytes(usize::MAX / 2, 0)], [0, 0]);
        }
    }
}
