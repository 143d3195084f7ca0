//! The walks over elements that are rounded to nearest: quad by quad where that is fast, else vector by vector.

use bytemuck::Pod;

use super::fast::WINDOW;
use super::ops::{Operation, Quad, ToNearest};
use super::vec_params::ParamSource;
use crate::cache::prefetch_ahead;
use crate::kernel::Vectors;
use crate::simd::memory::{Line, Memory};
use crate::simd::walk::{Block, Blocks};
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
#[cfg_attr(not(unoptimized), inline(always))]
pub(crate) fn map<V: Vectors, O: Operation, P: ParamSource<V>>(v: V, op: O, source: P, elements: Elements<'_, O>) {
    let Elements { x, out, memory } = elements;
    let mut walk = Walk { v, op, source, x, out };
    let mut progress = Progress::new(walk.x.len());
    if const { V::HAS_NON_TEMPORAL_STORES } && memory == Memory::Streamed {
        progress.align(walk.out.as_ptr().align_offset(align_of::<Line>()));
    }
    while let Some(start) = progress.start() {
        let (segment, length) = walk.source.segment(start);
        let most = const { if is_fast::<V, O>() { WINDOW } else { usize::MAX } };
        let Next { quads, elements } = progress.next(length, most);
        if quads == 0 {
            walk.vectors(segment, start, elements);
            continue;
        }
        // Two calls, so that each is compiled for one way through memory.
        let exact = if const { V::HAS_NON_TEMPORAL_STORES } && memory == Memory::Cached {
            walk.quads(segment, start, quads, Memory::Cached)
        } else {
            walk.quads(segment, start, quads, memory)
        };
        if const { is_fast::<V, O>() } && !exact {
            cold_path();
            progress.back(quads);
        }
    }
}

/// Tells the compiler that the branch which calls it is rarely taken: registers are for the other one.
#[cold]
fn cold_path() {}

/// What a walk has computed, and what comes next.
struct Progress {
    at: usize,
    length: usize,
    /// Elements before the next quad.
    loose: usize,
}

/// The next elements of a walk: quads, or elements if there are none.
struct Next {
    quads: usize,
    elements: usize,
}

impl Progress {
    #[inline(always)]
    fn new(length: usize) -> Self {
        Progress { at: 0, length, loose: 0 }
    }

    /// Lets the first quad begin at this element.
    #[inline(always)]
    fn align(&mut self, first: usize) {
        self.loose = first.min(self.length);
    }

    /// Where the next elements begin: if they are less than a vector, they overlap what is computed already.
    #[inline(always)]
    fn start(&mut self) -> Option<usize> {
        let rest = self.length - self.at;
        if rest < QUAD * LANES {
            self.loose = rest;
        }
        (rest > 0).then_some(self.at - self.overlap())
    }

    /// Elements before the next ones that are computed again with them.
    #[inline(always)]
    fn overlap(&self) -> usize {
        if self.loose > 0 && self.loose < LANES { self.at.min(LANES - self.loose) } else { 0 }
    }

    /// Goes back by these quads, which are computed vector by vector then.
    #[inline(always)]
    fn back(&mut self, quads: usize) {
        self.loose = quads * (QUAD * LANES);
        self.at -= self.loose;
    }

    /// The next elements, no more quads than `most` and those that begin in a segment of `length` elements.
    #[inline(always)]
    fn next(&mut self, length: usize, most: usize) -> Next {
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

/// A walk, with what it needs for any of its elements.
pub(super) struct Walk<'a, V, O: Operation, P> {
    pub v: V,
    pub op: O,
    pub source: P,
    pub x: &'a [O::In],
    pub out: &'a mut [O::Out],
}

impl<V: Vectors, O: Operation, P: ParamSource<V>> Walk<'_, V, O, P> {
    /// Computes whole quads. False if they were on the fast path and have to be computed again, exactly. Whether memory is
    /// cached is a constant of the caller.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn quads(&mut self, segment: P::Segment, start: usize, count: usize, memory: Memory) -> bool {
        let Walk { v, op, .. } = *self;
        let (x, out) = quads(self.x, self.out, start, count);
        let mut invalid = v.splat_i32(0);
        let mut staged = StagedQuad::new();
        for i in 0..count {
            let (at, x, out) = (start + i * (QUAD * LANES), &x[i], &mut out[i]);
            if memory != Memory::Cached {
                prefetch_ahead(x);
            }
            let is_staged = const { V::HAS_NON_TEMPORAL_STORES } && memory != Memory::Cached;
            let to = if is_staged { &mut staged.0 } else { &mut *out };
            if const { is_fast::<V, O>() } {
                invalid = op.quad(v, &self.source.quad(segment, at), Quad { at, x, out: to }, invalid);
            } else {
                for j in 0..QUAD {
                    let at = at + j * LANES;
                    op.vector(v, &self.source.vector(segment, at), ToNearest, Block { at, x: &x[j], out: &mut to[j] });
                }
            }
            if const { V::HAS_NON_TEMPORAL_STORES } && is_staged {
                staged.write(v, memory == Memory::Streamed, out);
            }
        }
        !(const { is_fast::<V, O>() } && v.any_invalid(invalid))
    }

    /// Computes `count` elements vector by vector.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn vectors(&mut self, segment: P::Segment, start: usize, count: usize) {
        let mut blocks = Blocks::new(self.x, self.out, start, count);
        while let Some(block) = blocks.next() {
            self.op.vector(self.v, &self.source.vector(segment, block.at), ToNearest, block);
        }
    }
}

/// `count` quads of both slices, from element `start` on.
#[inline(always)]
fn quads<'a, T, U>(x: &'a [T], out: &'a mut [U], start: usize, count: usize) -> (&'a [Four<T>], &'a mut [Four<U>]) {
    (&x[start..].as_chunks().0.as_chunks().0[..count], &mut out[start..].as_chunks_mut().0.as_chunks_mut().0[..count])
}

/// The elements of a quad.
type Four<T> = [[T; LANES]; QUAD];

/// A quad on its way to memory.
#[repr(C, align(64))]
struct StagedQuad<U>(Four<U>);

impl<U: Pod + Default> StagedQuad<U> {
    #[inline(always)]
    fn new() -> Self {
        StagedQuad([[U::default(); LANES]; QUAD])
    }

    /// Writes the quad, by non-temporal stores if it is `streamed`: then `out` begins at a cache line.
    #[inline(always)]
    fn write<V: Vectors>(&self, v: V, streamed: bool, out: &mut Four<U>) {
        if !streamed {
            *out = self.0;
            return;
        }
        let lines = const { size_of::<Four<U>>() / size_of::<Line>() };
        let (from, to): (*const Line, *mut Line) = (core::ptr::from_ref(self).cast(), core::ptr::from_mut(out).cast());
        assert!(to.is_aligned());
        for i in 0..lines {
            // SAFETY: `self` is aligned to 64 bytes by its type and `out` by the assertion, both have `lines` whole lines of
            // 64 bytes, all initialised and of plain data, and the two references do not overlap.
            unsafe { v.stream(&*from.add(i), &mut *to.add(i)) }
        }
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
    #[derive(Clone, Copy)]
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
