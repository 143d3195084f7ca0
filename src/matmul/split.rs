//! Division of rows and columns into parts of nearly equal size.

use core::ops::Range;

/// A count of units divided into the fewest parts of a largest size. The sizes differ by one at most, the larger parts
/// come first.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    parts: usize,
    /// Units of a smaller part.
    size: usize,
    /// How many parts have one unit more.
    larger: usize,
}

impl Split {
    /// Divides `units` into parts of `most` units at most.
    #[inline]
    pub fn new(units: usize, most: usize) -> Self {
        // (Most calls have one part, and a division takes as long as a small product's tile.)
        if units <= most {
            return Split { parts: units.min(1), size: units, larger: 0 };
        }
        let parts = units.div_ceil(most);
        let size = units.checked_div(parts).unwrap_or(0);
        Split { parts, size, larger: units - size * parts }
    }

    /// How many parts there are.
    #[inline]
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// The units of one part.
    #[inline]
    pub fn part(&self, part: usize) -> Range<usize> {
        let start = |part: usize| part * self.size + part.min(self.larger);
        start(part)..start(part + 1)
    }

    /// The units of every part, in order.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.parts).map(move |part| self.part(part))
    }
}
