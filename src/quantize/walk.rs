//! The walks over elements that are rounded to nearest: quad by quad where that is fast, else vector by vector.

use bytemuck::Pod;

use super::fast::WINDOW;
use super::ops::{Block, Operation, Quad, ToNearest};
use super::vec_params::ParamSource;
use crate::cache::prefetch_ahead;
use crate::kernel::Vectors;
use crate::simd::memory::{Line, Memory};
use crate::simd::{LANES, QUAD};

/// Elements that are read and written, as many of each.
pub(crate) struct Elements<'a, O: Operation> {
    pub x: &'a [O::In],
    pub out: &'a mut [O::Out],
    pub memory: Memory,
}

/// Whether the operation has a fast path on the ISA.
const fn is_fast<V: Vectors, O: Operation>() -> bool {
    V::HAS_FAST_DIVISION && O::HAS_QUAD
}

/// Computes all elements.
///
/// Quads go through windows: where the operation has a fast path and that leaves a marked sticky mask, the window is
/// computed again vector by vector. The last vector may overlap the one before: operations depend on their arguments only.
///
/// Every call of an operation below is a copy of its code, in every kernel: so there is one for vectors that are in no quad,
/// and one or two for quads.
#[inline(always)]
pub(crate) fn map<V: Vectors, O: Operation, P: ParamSource<V>>(v: V, op: O, mut source: P, elements: Elements<'_, O>) {
    let Elements { x, out, memory } = elements;
    debug_assert_eq!(x.len(), out.len());
    // Without non-temporal stores, memory is written in the usual way.
    let streamed = V::HAS_NON_TEMPORAL_STORES && memory == Memory::Streamed;
    let length = x.len();
    // Non-temporal stores begin at the first cache line of the output.
    let mut loose = if streamed { out.as_ptr().align_offset(align_of::<Line>()).min(length) } else { 0 };
    let mut at = 0;
    while at < length {
        if length - at < QUAD * LANES {
            loose = length - at;
        }
        if loose > 0 {
            // Less than a vector overlaps what is computed already.
            let start = if loose < LANES && at > 0 { (at + loose).saturating_sub(LANES) } else { at };
            let (segment, _) = source.segment(start);
            let end = at + loose;
            vectors(v, op, &source, Span { segment, at: start, x: &x[start..end], out: &mut out[start..end] });
            (at, loose) = (end, 0);
            continue;
        }
        let (segment, segment_length) = source.segment(at);
        let most = if const { is_fast::<V, O>() } { WINDOW } else { usize::MAX };
        let quads = segment_length.div_ceil(QUAD * LANES).min(most).min((length - at) / (QUAD * LANES));
        let end = at + quads * (QUAD * LANES);
        let mut span = Span { segment, at, x: &x[at..end], out: &mut out[at..end] };
        // Two calls, so that each is compiled for one way through memory.
        let exact = if const { V::HAS_NON_TEMPORAL_STORES } && memory != Memory::Cached {
            quads_of(v, op, &source, &mut span, Way { staged: true, streamed, prefetch: true })
        } else {
            let prefetch = const { !V::HAS_NON_TEMPORAL_STORES } && memory != Memory::Cached;
            quads_of(v, op, &source, &mut span, Way { staged: false, streamed: false, prefetch })
        };
        if !exact {
            cold_path();
            exact_quads(v, op, &source, &mut span, Way { staged: false, streamed: false, prefetch: false });
        }
        at = end;
    }
}

/// Tells the compiler that the branch which calls it is rarely taken: registers are for the other one.
#[cold]
fn cold_path() {}

/// Some elements of a walk, from element `at` on, in one segment of the parameters.
struct Span<'a, G, T, U> {
    segment: G,
    at: usize,
    x: &'a [T],
    out: &'a mut [U],
}

/// A quad on its way to memory.
#[repr(C, align(64))]
struct Staged<U>([[U; LANES]; QUAD]);

impl<U: Pod> Staged<U> {
    /// Writes the quad, by non-temporal stores if it is `streamed`: then `out` begins at a cache line.
    #[inline(always)]
    fn write<V: Vectors>(&self, v: V, streamed: bool, out: &mut [[U; LANES]; QUAD]) {
        if !streamed {
            *out = self.0;
            return;
        }
        let lines = const { size_of::<[[U; LANES]; QUAD]>() / size_of::<Line>() };
        let (from, to): (*const Line, *mut Line) = (core::ptr::from_ref(self).cast(), core::ptr::from_mut(out).cast());
        assert!(to.is_aligned());
        for i in 0..lines {
            // SAFETY: `self` is aligned to 64 bytes by its type and `out` by the assertion, both have `lines` whole lines of
            // 64 bytes, all initialised and of plain data, and the two references do not overlap.
            unsafe { v.stream(&*from.add(i), &mut *to.add(i)) }
        }
    }
}

/// How quads go through memory.
#[derive(Clone, Copy)]
struct Way {
    /// Whether results go to a buffer first; a constant of the caller.
    staged: bool,
    /// Whether they go on by non-temporal stores.
    streamed: bool,
    prefetch: bool,
}

/// Computes whole quads, by the fast path where there is one. False if they have to be computed again, exactly.
#[inline(always)]
fn quads_of<V: Vectors, O: Operation, P: ParamSource<V>>(
    v: V,
    op: O,
    source: &P,
    span: &mut Span<'_, P::Segment, O::In, O::Out>,
    way: Way,
) -> bool {
    if const { !is_fast::<V, O>() } {
        exact_quads(v, op, source, span, way);
        return true;
    }
    let (x, _) = span.x.as_chunks::<LANES>().0.as_chunks::<QUAD>();
    let (out, _) = span.out.as_chunks_mut::<LANES>().0.as_chunks_mut::<QUAD>();
    let mut invalid = v.splat_i32(0);
    let mut staged = Staged([[O::Out::default(); LANES]; QUAD]);
    for (i, (x, out)) in x.iter().zip(out).enumerate() {
        let at = span.at + i * (QUAD * LANES);
        let params = source.quad(span.segment, at);
        if way.prefetch {
            prefetch_ahead(x);
        }
        let to = if way.staged { &mut staged.0 } else { &mut *out };
        invalid = op.quad(v, &params, Quad { at, x, out: to }, invalid);
        if way.staged {
            staged.write(v, way.streamed, out);
        }
    }
    !v.any_invalid(invalid)
}

/// Computes whole quads vector by vector.
#[inline(always)]
fn exact_quads<V: Vectors, O: Operation, P: ParamSource<V>>(
    v: V,
    op: O,
    source: &P,
    span: &mut Span<'_, P::Segment, O::In, O::Out>,
    way: Way,
) {
    let (x, _) = span.x.as_chunks::<LANES>().0.as_chunks::<QUAD>();
    let (out, _) = span.out.as_chunks_mut::<LANES>().0.as_chunks_mut::<QUAD>();
    let mut staged = Staged([[O::Out::default(); LANES]; QUAD]);
    for (i, (x, out)) in x.iter().zip(out).enumerate() {
        if way.prefetch {
            prefetch_ahead(x);
        }
        let to = if way.staged { &mut staged.0 } else { &mut *out };
        for j in 0..QUAD {
            let at = span.at + (i * QUAD + j) * LANES;
            op.vector(v, &source.vector(span.segment, at), ToNearest, Block { at, x: &x[j], out: &mut to[j] });
        }
        if way.staged {
            staged.write(v, way.streamed, out);
        }
    }
}

/// Computes elements vector by vector. A last, incomplete vector overlaps its predecessor; fewer than sixteen elements are
/// padded with zeros.
#[inline(always)]
fn vectors<V: Vectors, O: Operation, P: ParamSource<V>>(
    v: V,
    op: O,
    source: &P,
    span: Span<'_, P::Segment, O::In, O::Out>,
) {
    let Span { segment, at: start, x, out } = span;
    let mut padded = ([O::In::default(); LANES], [O::Out::default(); LANES]);
    if x.len() < LANES {
        padded.0[..x.len()].copy_from_slice(x);
    }
    let mut i = 0;
    while i < x.len() {
        let first = i.min(x.len().saturating_sub(LANES));
        let at = start + first;
        let block = match (x[first..].first_chunk(), out[first..].first_chunk_mut()) {
            (Some(x), Some(out)) => Block { at, x, out },
            _ => Block { at, x: &padded.0, out: &mut padded.1 },
        };
        op.vector(v, &source.vector(segment, at), ToNearest, block);
        i += LANES;
    }
    if x.len() < LANES {
        out.copy_from_slice(&padded.1[..x.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ops::Round;
    use super::super::vec_params::{QuadParams, VecParams};
    use super::*;
    use crate::codes::CodeBounds;
    use crate::isa::Isa;
    use crate::kernel::Kernel;

    /// Three times x, except that a quad which contains `invalid` is marked and written wrong.
    #[derive(Clone, Copy)]
    struct Triple {
        invalid: i32,
    }

    impl Operation for Triple {
        type In = i32;
        type Out = i32;
        const HAS_QUAD: bool = true;

        #[inline(always)]
        fn vector<V: Vectors>(self, _: V, _: &VecParams<V>, _: impl Round<V>, block: Block<'_, i32, i32>) {
            assert_eq!(block.x[0], block.at as i32);
            *block.out = block.x.map(|x| x * 3);
        }

        #[inline(always)]
        fn quad<V: Vectors>(self, v: V, _: &QuadParams<V>, quad: Quad<'_, i32, i32>, invalid: V::I32) -> V::I32 {
            assert_eq!(quad.x[0][0], quad.at as i32);
            let wrong = quad.x.as_flattened().contains(&self.invalid);
            for (out, x) in quad.out.as_flattened_mut().iter_mut().zip(quad.x.as_flattened()) {
                *out = if wrong { -7 } else { x * 3 };
            }
            if wrong { v.splat_i32(i32::MIN) } else { invalid }
        }
    }

    /// Segments of one length, whose state is their start.
    struct Segments<V> {
        v: V,
        length: usize,
    }

    impl<V: Vectors> Segments<V> {
        fn check(&self, segment: usize, i: usize) -> VecParams<V> {
            assert!((segment..segment + self.length.next_multiple_of(QUAD * LANES)).contains(&i));
            let codes = CodeBounds { min: 0, max: 0 };
            VecParams::new(self.v, codes, self.v.splat_f32(1.0), self.v.splat_i32(0))
        }
    }

    impl<V: Vectors> ParamSource<V> for Segments<V> {
        type Segment = usize;
        fn segment(&mut self, start: usize) -> (usize, usize) {
            (start, self.length)
        }
        fn vector(&self, segment: usize, i: usize) -> VecParams<V> {
            self.check(segment, i)
        }
        fn quad(&self, segment: usize, i: usize) -> QuadParams<V> {
            QuadParams::new(self.v, [self.check(segment, i); QUAD])
        }
    }

    struct Walk<'a> {
        op: Triple,
        segment: usize,
        elements: Elements<'a, Triple>,
    }

    impl Kernel for Walk<'_> {
        type Output = ();
        #[inline(always)]
        fn run<V: Vectors>(self, v: V) {
            map(v, self.op, Segments { v, length: self.segment }, self.elements);
            v.fence();
        }
    }

    /// Every element is computed, by a marked window too, wherever the output begins and memory lies; and nothing else.
    #[test]
    fn walks_cover_all_elements() {
        let lengths = (0..300).chain([1023, 1024, 1025, 2048, 3000]);
        for isa in Isa::supported() {
            for (length, offset) in lengths.clone().flat_map(|length| [0, 3, 7].map(|offset| (length, offset))) {
                for memory in [Memory::Cached, Memory::Beyond, Memory::Streamed] {
                    for (invalid, segment) in [(-1, 70), (-1, 1), (length / 2, 3000), (length - 20, 1000)] {
                        let x: Vec<i32> = (0..length).collect();
                        let mut out = vec![-1; x.len() + offset + 1];
                        let elements = Elements { x: &x, out: &mut out[offset..][..x.len()], memory };
                        isa.run(Walk { op: Triple { invalid }, segment, elements });
                        let (before, behind) = (&out[..offset], out[offset + x.len()]);
                        assert!(before.iter().all(|&out| out == -1) && behind == -1, "{isa} {length} {memory:?}");
                        let same = out[offset..].iter().zip(&x).all(|(out, x)| *out == x * 3);
                        assert!(same, "{isa} {length} {offset} {memory:?} {invalid} {segment}");
                    }
                }
            }
        }
    }
}
