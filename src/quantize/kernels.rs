//! An operation over a tensor, or a piece of one: the loop that its granularity needs, compiled for every ISA.
//!
//! | elements of a group | loop | parameters of a quad |
//! |---|---|---|
//! | lie together | [`Runs`], group by group | one group's, in registers |
//! | alternate with others | [`Interleaved`], stretch by stretch, across the ends of rows | loaded as vectors |
//! | blocks of 16 · 2ⁿ in whole rows, or rows like these; to nearest | [`Blocks`], across the ends of blocks | those of 1, 2 or 4 groups |
//!
//! Each is a kernel of its own: a choice inside a loop costs up to a third of its time. Their loops end in one walk ([`map`]),
//! quad by quad where the operation has a fast path, else vector by vector. Operations that round stochastically have kernels
//! for runs and for interleaved channels in [`stochastic`](super::stochastic).
//!
//! A kernel refers to its piece. A copy, right after the piece was made, would wait for the stores that made it: as long as a
//! kernel takes for a hundred elements.

use bytemuck::Pod;

use super::fast::WINDOW;
use super::ops::{Operation, Quad, ToNearest};
use super::progress::{Next, Progress};
use super::vec_params::{self, Groups, ParamSource};
use crate::cache::{self, last_level, prefetch_ahead, prefetch_line};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::CACHE_LINE;
use crate::params::{Grouping, Params, Run, Stretch, Stretches};
use crate::simd::memory::{Line, Memory};
use crate::simd::walk::{Block, BlockWalk, Padded};
use crate::simd::{LANES, QUAD};

/// An operation over contiguous elements of a tensor.
pub(crate) struct Piece<'a, O: Operation> {
    pub params: &'a Params,
    pub op: O,
    /// The index in the tensor of the first element.
    pub first: usize,
    pub x: &'a [O::In],
    pub out: &'a mut [O::Out],
    /// Whether the tensor is larger than the caches.
    pub past_caches: bool,
}

/// Elements of a run that are worth the vectors before its first cache line, which are not streamed.
const LONG_RUN: usize = 1024;

impl<O: Operation> Piece<'_, O> {
    /// Computes all elements, rounding to nearest.
    pub fn nearest(&mut self, isa: Isa) {
        let grouping = self.params.grouping();
        if let Grouping::Whole = grouping {
            return isa.run(Runs(self));
        }
        let block_length = self.block_length();
        if block_length.is_none() && !grouping.alternates() {
            return isa.run(Runs(self));
        }
        let stretches = &mut Stretches::new(self.params, self.first, self.x.len());
        if const { O::FEW_KERNELS } {
            return match block_length {
                Some(_) => isa.run(Runs(self)),
                None => isa.run(Interleaved::<_, false>(self, stretches)),
            };
        }
        // Variants for parameters that are read in fewer loads: for one zero point on every ISA, for a quad of few groups where
        // that counts, on the fast path.
        let fast = O::HAS_QUAD && isa.run(HasFastDivision);
        match block_length {
            Some(length) if fast => match (self.params.has_one_zero_point(), self.groups_of_quad(length)) {
                (true, 1) => isa.run(Blocks::<_, true, 1>(self)),
                (true, 2) => isa.run(Blocks::<_, true, 2>(self)),
                (true, _) => isa.run(Blocks::<_, true, QUAD>(self)),
                (false, 1) => isa.run(Blocks::<_, false, 1>(self)),
                (false, 2) => isa.run(Blocks::<_, false, 2>(self)),
                (false, _) => isa.run(Blocks::<_, false, QUAD>(self)),
            },
            Some(length) if length >= QUAD * LANES => isa.run(Runs(self)),
            Some(_) if self.params.has_one_zero_point() => isa.run(Blocks::<_, true, QUAD>(self)),
            Some(_) => isa.run(Blocks::<_, false, QUAD>(self)),
            None if self.params.has_one_zero_point() => isa.run(Interleaved::<_, true>(self, stretches)),
            None => isa.run(Interleaved::<_, false>(self, stretches)),
        }
    }

    /// The number of groups that a quad belongs to, in blocks of this length: quads are counted from where cache lines begin.
    fn groups_of_quad(&self, length: usize) -> usize {
        let begin = self.first | self.unstreamed();
        if length >= QUAD * LANES && begin.is_multiple_of(QUAD * LANES) {
            1
        } else if length >= 2 * LANES && begin.is_multiple_of(2 * LANES) {
            2
        } else {
            QUAD
        }
    }

    /// The length of groups that [`Blocks`] can do.
    fn block_length(&self) -> Option<usize> {
        let length = self.params.grouping().even_length(self.first + self.x.len())?;
        let whole_vectors = length >= LANES && (self.first | self.x.len()).is_multiple_of(LANES);
        // Long runs find the beginning of a cache line each by themselves.
        let lines = length < LONG_RUN || self.unstreamed().is_multiple_of(LANES);
        (length.is_power_of_two() && whole_vectors && lines).then_some(length)
    }

    /// The number of elements before the first cache line of the output, if that is streamed.
    fn unstreamed(&self) -> usize {
        if self.past_caches { self.out.as_ptr().align_offset(CACHE_LINE) } else { 0 }
    }

    /// How elements `start .. end`, of which no others touch a quad, go through memory.
    #[inline(always)]
    fn memory_of(&self, start: usize, end: usize) -> Memory {
        let begins_line = self.out[start..].as_ptr().align_offset(CACHE_LINE) == 0;
        self.memory(begins_line || end - start >= LONG_RUN)
    }

    /// How a run goes through memory that may be streamed.
    #[inline(always)]
    pub fn memory(&self, streams: bool) -> Memory {
        match self.past_caches {
            false => Memory::Cached,
            true if streams => Memory::Streamed,
            true => Memory::Beyond,
        }
    }
}

/// Whether `bytes` bytes, read and written once, are more than the caches hold.
#[inline]
pub(crate) fn past_caches(bytes: usize) -> bool {
    // No last level of cache is smaller: the usual call does not ask for its size.
    const SMALL: usize = 64 << 10;
    bytes > SMALL && bytes > last_level()
}

/// Orders non-temporal stores, if there may have been any, before every access that follows.
#[inline(always)]
fn fence<V: Vectors>(v: V, streamed: bool) {
    if const { V::HAS_NON_TEMPORAL_STORES } && streamed {
        v.fence();
    }
}

/// Whether the ISA has a fast division.
struct HasFastDivision;

impl Kernel for HasFastDivision {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> bool {
        V::HAS_FAST_DIVISION
    }
}

/// One group after the other: its parameters stay in registers.
struct Runs<'k, P>(&'k mut P);

impl<O: Operation> Kernel for Runs<'_, Piece<'_, O>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        self.0.runs(v);
    }
}

/// Groups that alternate: parameters are vectors too. As these repeat behind the last channel of a stretch, it does not matter
/// where its rows end.
struct Interleaved<'k, P, const ONE_ZERO_POINT: bool>(&'k mut P, &'k mut Stretches<'k>);

impl<O: Operation, const ONE_ZERO_POINT: bool> Kernel for Interleaved<'_, Piece<'_, O>, ONE_ZERO_POINT> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        self.0.interleaved(v, self.1, ONE_ZERO_POINT);
    }
}

/// Blocks of whole vectors, none of which ends inside a vector: a quad belongs to GROUPS groups.
struct Blocks<'k, P, const ONE_ZERO_POINT: bool, const GROUPS: usize>(&'k mut P);

impl<O: Operation, const ONE_ZERO_POINT: bool, const GROUPS: usize> Kernel
    for Blocks<'_, Piece<'_, O>, ONE_ZERO_POINT, GROUPS>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let for_every_isa = const { GROUPS == QUAD };
        if const { V::HAS_FAST_DIVISION && O::HAS_QUAD } || for_every_isa {
            self.0.blocks(v, ONE_ZERO_POINT, GROUPS);
        } else {
            unreachable!("chosen for a fast path only");
        }
    }
}

/// The bodies of the kernels. What is a constant of a kernel is an argument here: a body is compiled into each kernel, but
/// instantiated once for an operation and an ISA.
impl<O: Operation> Piece<'_, O> {
    #[cfg_attr(not(unoptimized), inline(always))]
    fn runs<V: Vectors>(&mut self, v: V) {
        let groups = Groups::new(v, self.params, false);
        for Run { group, start, end } in self.params.grouping().runs(self.first, self.x.len()) {
            let (memory, x, out) = (self.memory_of(start, end), &self.x[start..end], &mut self.out[start..end]);
            // SAFETY: the fence below comes before anything else touches the output, of which no other run has a part.
            unsafe { map(v, self.op.from(start), groups.one(group), Elements { x, out, memory }) };
        }
        fence(v, self.past_caches);
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    fn interleaved<V: Vectors>(&mut self, v: V, stretches: &mut Stretches<'_>, one_zero_point: bool) {
        while let Some(stretch) = stretches.advance() {
            let groups = Groups::of(v, self.params.bounds(), stretch.params, one_zero_point);
            let source = vec_params::Interleaved::new(groups, O::SIGNED, &stretch);
            let Stretch { start, end, .. } = stretch;
            let (memory, x, out) = (self.memory_of(start, end), &self.x[start..end], &mut self.out[start..end]);
            // SAFETY: the fence below comes before anything else touches the output, of which no other stretch has a part.
            unsafe { map(v, self.op.from(start), source, Elements { x, out, memory }) };
        }
        fence(v, self.past_caches);
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    fn blocks<V: Vectors>(&mut self, v: V, one_zero_point: bool, groups_of_quad: usize) {
        let length = self.params.grouping().even_length(0).expect("blocks of one length");
        let memory = self.memory(self.unstreamed().is_multiple_of(LANES));
        let (groups, shift) = (Groups::new(v, self.params, one_zero_point), length.trailing_zeros());
        let source = vec_params::Blocks { groups, groups_of_quad, first: self.first, shift };
        // SAFETY: a fence follows.
        unsafe { map(v, self.op, source, Elements { x: self.x, out: &mut *self.out, memory }) };
        fence(v, self.past_caches);
    }
}

/// Elements that are read and written, as many of each.
pub(crate) struct Elements<'a, O: Operation> {
    pub x: &'a [O::In],
    pub out: &'a mut [O::Out],
    pub memory: Memory,
}

/// Quads per window of a tensor beyond the caches, where windows are computed in streams: 256 KiB of f32, 64 KiB a stream.
const WINDOW_BEYOND: usize = 1024;

/// Whether the operation has a fast path on the ISA.
const fn is_fast<V: Vectors, O: Operation>() -> bool {
    V::HAS_FAST_DIVISION && O::HAS_QUAD
}

/// Computes all elements.
///
/// Quads go through windows: where the operation has a fast path and that leaves a marked sticky mask, the window is
/// computed again vector by vector. Where the fast path is not exact for the codes of the operation, vectors are computed in
/// place of quads from the beginning. The last vector may overlap the one before: operations depend on their arguments only. But
/// no vector overlaps a quad that was streamed: only a window that is computed again touches such quads, behind a fence.
///
/// Beyond the caches, the quads of a window are computed [in streams](cache::in_streams).
///
/// Every call of an operation below is a copy of its code, in every kernel: so there is one for vectors that are in no quad,
/// and one or two for quads.
///
/// # Safety
/// Where memory is [streamed](Memory::Streamed), the thread fences after the call, before anything touches the output.
#[cfg_attr(not(unoptimized), inline(always))]
unsafe fn map<V: Vectors, O: Operation, P: ParamSource<V>>(v: V, op: O, source: P, elements: Elements<'_, O>) {
    let Elements { x, out, memory } = elements;
    let mut walk = Walk { v, op, source, x, out };
    let mut progress = Progress::new(walk.x.len());
    if const { V::HAS_NON_TEMPORAL_STORES } && memory == Memory::Streamed {
        let first = walk.out.as_ptr().align_offset(align_of::<Line>());
        progress.stream_from(first);
        prefetch_behind_quads(walk.out, first);
    }
    while let Some(start) = progress.start() {
        let (segment, length) = walk.source.segment(start);
        let most = if const { V::HAS_NON_TEMPORAL_STORES } && memory != Memory::Cached {
            WINDOW_BEYOND
        } else {
            const { if is_fast::<V, O>() { WINDOW } else { usize::MAX } }
        };
        let Next { quads, elements } = progress.next(length, most);
        if quads == 0 {
            walk.vectors(segment, start, elements);
            continue;
        }
        if const { is_fast::<V, O>() } && !op.has_exact_quads() {
            progress.back(quads);
            continue;
        }
        // SAFETY: quads and vectors that follow are others, or come after a fence; after the last the caller fences. (Two calls,
        // so that each is compiled for one way through memory.)
        let exact = unsafe {
            if const { V::HAS_NON_TEMPORAL_STORES && !O::FEW_KERNELS } && memory == Memory::Cached {
                walk.quads(segment, start, quads, Memory::Cached)
            } else {
                walk.quads(segment, start, quads, memory)
            }
        };
        if const { is_fast::<V, O>() } && !exact {
            cold_path();
            fence(v, memory == Memory::Streamed);
            progress.back(quads);
        }
    }
}

/// Prefetches the elements behind the last quad, where quads are streamed from element `first` on. They are stored as usual,
/// and a store that waits for its line from memory holds up all stores behind it.
#[inline(always)]
fn prefetch_behind_quads<T>(out: &[T], first: usize) {
    let streamed = out.len().saturating_sub(first) / (QUAD * LANES) * (QUAD * LANES);
    let behind = out.get(first + streamed..).unwrap_or_default();
    for element in behind.iter().step_by(const { CACHE_LINE / size_of::<T>() }) {
        prefetch_line(core::ptr::from_ref(element).cast());
    }
}

/// Tells the compiler that the branch which calls it is rarely taken: registers are for the other one.
#[cold]
fn cold_path() {}

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
    ///
    /// # Safety
    /// Where memory is [streamed](Memory::Streamed), the thread fences before anything touches these quads of the output.
    #[cfg_attr(not(unoptimized), inline(always))]
    unsafe fn quads(&mut self, segment: P::Segment, start: usize, count: usize, memory: Memory) -> bool {
        let Walk { v, op, .. } = *self;
        let (x, out) = quads(self.x, self.out, start, count);
        let mut invalid = v.splat_i32(0);
        let mut staged = StagedQuad::new();
        // (On ISAs without non-temporal stores, the choice of the index takes up to an eighth more instructions.)
        let in_streams = const { V::HAS_NON_TEMPORAL_STORES } && memory != Memory::Cached && count == WINDOW_BEYOND;
        for n in 0..count {
            let i = if in_streams { cache::in_streams(n, WINDOW_BEYOND) } else { n };
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
                // SAFETY: the caller fences before the quad is touched again.
                unsafe { staged.write(v, memory == Memory::Streamed, out) };
            }
        }
        !(const { is_fast::<V, O>() } && v.any_invalid(invalid))
    }

    /// Computes `count` elements vector by vector.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn vectors(&mut self, segment: P::Segment, start: usize, count: usize) {
        let (mut padded, mut blocks) = (Padded::new(), BlockWalk::new(self.x, self.out, start, count));
        while let Some(block) = blocks.next(&mut padded) {
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
    ///
    /// # Safety
    /// If it is streamed, the thread fences before anything touches `out`.
    #[inline(always)]
    unsafe fn write<V: Vectors>(&self, v: V, streamed: bool, out: &mut Four<U>) {
        if !streamed {
            *out = self.0;
            return;
        }
        let lines = const { size_of::<Four<U>>() / size_of::<Line>() };
        let (from, to): (*const Line, *mut Line) = (core::ptr::from_ref(self).cast(), core::ptr::from_mut(out).cast());
        assert!(to.is_aligned());
        for i in 0..lines {
            // SAFETY: `self` is aligned to 64 bytes by its type and `out` by the assertion, both have `lines` whole lines of
            // 64 bytes, all initialised and of plain data, and the two references do not overlap; the caller fences.
            unsafe { v.stream(&*from.add(i), &mut *to.add(i)) }
        }
    }
}

#[cfg(test)]
mod tests;
