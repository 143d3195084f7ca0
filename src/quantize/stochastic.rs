//! The walk over elements that are rounded stochastically: every element takes its own word, which a [`Cursor`] brings.

use super::ops::{Block, ByWords, Operation};
use super::vec_params::ParamSource;
use super::walk::Elements;
use crate::cache::prefetch_ahead;
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
        let span = Elements { x: &x[start..end], out: &mut out[start..end], memory };
        // Two calls, each compiled for one constant: a branch in every vector costs a fifth on ISAs whose vectors the compiler
        // makes.
        if memory == Memory::Cached {
            vectors(v, cursor, op, &source, (segment, start), span, false);
        } else {
            vectors(v, cursor, op, &source, (segment, start), span, true);
        }
        start = end;
    }
}

/// Computes elements of one segment, which begin at element `start` of the walk.
#[inline(always)]
fn vectors<V: Vectors, O: Operation, P: ParamSource<V>>(
    v: V,
    cursor: &mut Cursor,
    op: O,
    source: &P,
    (segment, start): (P::Segment, usize),
    elements: Elements<'_, O>,
    prefetch: bool,
) {
    cursor.map_blocks(
        v,
        elements.x,
        elements.out,
        #[inline(always)]
        |i, x, out, words| {
            if prefetch {
                prefetch_ahead(x);
            }
            let at = start + i;
            op.vector(v, &source.vector(segment, at), ByWords::<V>(words), Block { at, x, out });
        },
    );
}
