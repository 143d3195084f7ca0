//! The order of a walk over elements: single vectors up to a cache line, quads in windows, and vectors again at the end or
//! where a window has to be computed exactly.

use crate::simd::{LANES, QUAD};

/// What a walk has computed, and what comes next.
pub(super) struct Progress {
    at: usize,
    length: usize,
    /// Elements before the next quad.
    loose: usize,
    /// Whether elements that are less than a vector are computed with some before them. (Not where these may have been streamed.)
    overlaps: bool,
}

/// The next elements of a walk: quads, or elements if there are none.
pub(super) struct Next {
    pub quads: usize,
    pub elements: usize,
}

impl Progress {
    #[inline(always)]
    pub fn new(length: usize) -> Self {
        Progress { at: 0, length, loose: 0, overlaps: true }
    }

    /// Lets the first quad begin at this element, and computes none again that quads have written.
    #[inline(always)]
    pub fn stream_from(&mut self, first: usize) {
        (self.loose, self.overlaps) = (first.min(self.length), false);
    }

    /// Where the next elements begin: if they are less than a vector, they may overlap what is computed already.
    #[inline(always)]
    pub fn start(&mut self) -> Option<usize> {
        let rest = self.length - self.at;
        if rest < QUAD * LANES {
            self.loose = rest;
        }
        (rest > 0).then_some(self.at - self.overlap())
    }

    /// Elements before the next ones that are computed again with them.
    #[inline(always)]
    fn overlap(&self) -> usize {
        if self.overlaps && self.loose > 0 && self.loose < LANES { self.at.min(LANES - self.loose) } else { 0 }
    }

    /// Goes back by these quads, which are computed vector by vector then.
    #[inline(always)]
    pub fn back(&mut self, quads: usize) {
        self.loose = quads * (QUAD * LANES);
        self.at -= self.loose;
    }

    /// The next elements, no more quads than `most` and those that begin in a segment of `length` elements.
    #[inline(always)]
    pub fn next(&mut self, length: usize, most: usize) -> Next {
        if self.loose > 0 {
            let elements = self.overlap() + self.loose;
            self.at += core::mem::take(&mut self.loose);
            return Next { quads: 0, elements };
        }
        let quads = ((self.length - self.at) / (QUAD * LANES)).min(length.div_ceil(QUAD * LANES)).min(most);
        self.at += quads * (QUAD * LANES);
        Next { quads, elements: 0 }
    }
}
