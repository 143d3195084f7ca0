//! An operation over a tensor, or a piece of one: the loop that its granularity needs, compiled for every ISA.
//!
//! | elements of a group | loop | parameters of a quad |
//! |---|---|---|
//! | lie together | [`Runs`], group by group | one group's, in registers |
//! | are interleaved with others | [`Interleaved`], across the ends of rows | loaded as vectors |
//! | blocks of 16 · 2ⁿ in whole rows, or rows like these; to nearest | [`Blocks`], across the ends of blocks | those of 1, 2 or 4 groups |
//!
//! Each is a kernel of its own: a choice inside a loop costs up to a third of its time.

use super::ops::Operation;
use super::stochastic;
use super::vec_params::{self, Groups};
use super::walk::{Elements, map};
use crate::cache::last_level;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::CACHE_LINE;
use crate::params::{Grouping, Params, Run};
use crate::random::cursor::Cursor;
use crate::random::stream::Stream;
use crate::simd::memory::Memory;
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
    pub fn nearest(self, isa: Isa) {
        let block_length = self.block_length();
        let interleaved = matches!(self.params.grouping(), Grouping::Interleaved { .. });
        if block_length.is_none() && !interleaved {
            return isa.run(Runs(self));
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
            None if self.params.has_one_zero_point() => isa.run(Interleaved::<_, true>(self)),
            None => isa.run(Interleaved::<_, false>(self)),
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

    /// Computes all elements, rounding stochastically: the stream is that of the whole tensor.
    pub fn stochastic(self, isa: Isa, stream: Stream) {
        if let Grouping::Interleaved { .. } = self.params.grouping() {
            isa.run(InterleavedStochastic(self, stream));
        } else {
            isa.run(RunsStochastic(self, stream));
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

    /// How a run goes through memory that may be streamed.
    #[inline(always)]
    fn memory(&self, streams: bool) -> Memory {
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

/// Orders non-temporal stores of a piece before whatever follows it.
#[inline(always)]
fn fence<V: Vectors>(v: V, past_caches: bool) {
    if past_caches {
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
struct Runs<P>(P);

impl<O: Operation> Kernel for Runs<Piece<'_, O>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        self.0.runs(v);
    }
}

/// Interleaved channels: parameters are vectors too. As these repeat behind the last channel, rows do not matter.
struct Interleaved<P, const ONE_ZERO_POINT: bool>(P);

impl<O: Operation, const ONE_ZERO_POINT: bool> Kernel for Interleaved<Piece<'_, O>, ONE_ZERO_POINT> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        self.0.interleaved(v, ONE_ZERO_POINT);
    }
}

/// Blocks of whole vectors, none of which ends inside a vector: a quad belongs to GROUPS groups.
struct Blocks<P, const ONE_ZERO_POINT: bool, const GROUPS: usize>(P);

impl<O: Operation, const ONE_ZERO_POINT: bool, const GROUPS: usize> Kernel
    for Blocks<Piece<'_, O>, ONE_ZERO_POINT, GROUPS>
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
    fn runs<V: Vectors>(self, v: V) {
        let groups = Groups::new(v, self.params, false);
        for Run { group, start, end } in self.params.grouping().runs(self.first, self.x.len()) {
            let begins_line = self.out[start..].as_ptr().align_offset(CACHE_LINE) == 0;
            let memory = self.memory(begins_line || end - start >= LONG_RUN);
            let (x, out) = (&self.x[start..end], &mut self.out[start..end]);
            map(v, self.op.from(start), groups.one(group), Elements { x, out, memory });
        }
        fence(v, self.past_caches);
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    fn interleaved<V: Vectors>(self, v: V, one_zero_point: bool) {
        let groups = Groups::new(v, self.params, one_zero_point);
        let source = vec_params::Interleaved::new(groups, O::SIGNED, self.params.period(), self.first);
        let memory = self.memory(true);
        map(v, self.op, source, Elements { x: self.x, out: self.out, memory });
        fence(v, self.past_caches);
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    fn blocks<V: Vectors>(self, v: V, one_zero_point: bool, groups_of_quad: usize) {
        let length = self.params.grouping().even_length(0).expect("blocks of one length");
        let memory = self.memory(self.unstreamed().is_multiple_of(LANES));
        let (groups, shift) = (Groups::new(v, self.params, one_zero_point), length.trailing_zeros());
        let source = vec_params::Blocks { groups, groups_of_quad, first: self.first, shift };
        map(v, self.op, source, Elements { x: self.x, out: self.out, memory });
        fence(v, self.past_caches);
    }
}

/// [`Runs`], rounded stochastically.
struct RunsStochastic<P>(P, Stream);

impl<O: Operation> Kernel for RunsStochastic<Piece<'_, O>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let RunsStochastic(piece, stream) = self;
        let groups = Groups::new(v, piece.params, false);
        let mut cursor = Cursor::at(v, stream.at(piece.first), piece.x.len());
        for Run { group, start, end } in piece.params.grouping().runs(piece.first, piece.x.len()) {
            let memory = piece.memory(false);
            let (x, out) = (&piece.x[start..end], &mut piece.out[start..end]);
            stochastic::map(v, &mut cursor, piece.op.from(start), groups.one(group), Elements { x, out, memory });
        }
    }
}

/// [`Interleaved`], rounded stochastically.
struct InterleavedStochastic<P>(P, Stream);

impl<O: Operation> Kernel for InterleavedStochastic<Piece<'_, O>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let InterleavedStochastic(piece, stream) = self;
        let groups = Groups::new(v, piece.params, false);
        let source = vec_params::Interleaved::new(groups, false, piece.params.period(), piece.first);
        let mut cursor = Cursor::at(v, stream.at(piece.first), piece.x.len());
        let memory = piece.memory(false);
        stochastic::map(v, &mut cursor, piece.op, source, Elements { x: piece.x, out: piece.out, memory });
    }
}
