//! Where a walk finds its data, and non-temporal stores for results that no cache would hold until they are read.

use super::Simd;

/// How a walk goes through memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// The caches hold what is read and written.
    Cached,
    /// They do not: the walk prefetches.
    Beyond,
    /// They do not, and no result is read again before a cache would have dropped it: the walk prefetches, and writes quads
    /// by non-temporal stores.
    Streamed,
}

/// A cache line: the unit of a non-temporal store.
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// Non-temporal stores.
pub trait StreamVectors: Simd {
    /// Whether [`stream`](StreamVectors::stream) is more than a copy.
    const HAS_NON_TEMPORAL_STORES: bool = false;

    /// `out = x`, past the caches where there are instructions for that
    ///
    /// # Safety
    /// Before this thread touches `out` again, and before another one may, this thread calls
    /// [`fence`](StreamVectors::fence): the language knows no order of a non-temporal store and another access.
    #[inline(always)]
    unsafe fn stream(self, x: &Line, out: &mut Line) {
        out.0 = x.0;
    }
    /// Orders every [`stream`](StreamVectors::stream) before it with all accesses after it
    #[inline(always)]
    fn fence(self) {}
}
