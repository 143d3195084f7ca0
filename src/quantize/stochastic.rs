//! The walk over elements that are rounded stochastically: every element takes its own word, which a [`Cursor`] brings.

use super::ops::{Block, ByWords, Operation};
use super::vec_params::ParamSource;
use super::walk::Elements;
use crate::kernel::Vectors;
use crate::random::cursor::Cursor;
use crate::simd::memory::Memory;

/// Computes all elements with the next words of the cursor.
#[inline(always)]
pub(crate) fn map<V: Vectors, O: Operation, P: ParamSource<V>>(
    v: V,
    cursor: &mut Cursor,
    op: O,
    mut source: P,
    elements: Elements<'_, O>,
) {
    let Elements { x, out, memory } = elements;
    let mut start = 0;
    while start < x.len() {
        let (segment, length) = source.segment(start);
        // Whole vectors, as the last one may begin with the last element of the segment.
        let rest = x.len() - start;
        let end = start + length.min(rest).next_multiple_of(crate::simd::LANES).min(rest);
        cursor.map_blocks(
            v,
            &x[start..end],
            &mut out[start..end],
            memory != Memory::Cached,
            #[inline(always)]
            |i, x, out, words| {
                let at = start + i;
                op.vector(v, &source.vector(segment, at), ByWords::<V>(words), Block { at, x, out });
            },
        );
        start = end;
    }
}
