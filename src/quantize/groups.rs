//! An operation over a tensor, or a piece of one, group by group.
//!
//! | granularity | loop | parameters of four vectors |
//! |---|---|---|
//! | tensor; other channels and blocks | [`EachRun`], group by group | those of one group, in registers |
//! | channels whose elements are neighbours | [`Columns`], over the ends of rows | vectors, from any channel on |
//! | blocks of 16 · 2ⁿ in whole rows, or rows like these, to nearest | [`Blocks`], over the ends of blocks | those of one, two or four groups |
//!
//! Each is a kernel of its own, compiled for one kind of parameters: what is asked inside a loop costs up to a third there.

use core::ops::Range;

use super::lanes::{Lanes, LanesOf, QuadParams};
use super::operation::Elementwise;
use super::rounding::{Nearest, Rounding};
use crate::cache;
use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::CACHE_LINE;
use crate::params::{Granularity, QuantParams, Run};
use crate::random::Stream;
use crate::simd::memory::Memory;
use crate::simd::{LANES, QUAD};

/// An elementwise operation over a tensor, or a piece of one, group by group.
pub struct Groups<'a, C, Op: Elementwise<C>, R> {
    pub params: &'a QuantParams<C>,
    pub x: &'a [Op::In],
    pub out: &'a mut [Op::Out],
    pub op: Op,
    pub rounding: R,
    /// Where `x` begins in the tensor.
    pub first: usize,
    /// Whether the tensor is more than the caches hold.
    pub past_caches: bool,
}

/// Runs that are worth the blocks before their first line, which are not streamed.
const LONG_RUN: usize = 1024;

/// One stretch for all of a run.
const WHOLE: fn(usize) -> ((), usize) = |_| ((), usize::MAX);

impl<'a, C: Code, Op: Elementwise<C>> Groups<'a, C, Op, Nearest> {
    pub fn new(params: &'a QuantParams<C>, x: &'a [Op::In], out: &'a mut [Op::Out], op: Op) -> Result<Self, Error> {
        params.check_elements(x.len())?;
        check_length("the output", x.len(), out.len())?;
        let past_caches = size_of_val(x) + size_of_val(out) > cache::last_level();
        Ok(Groups { params, x, out, op, rounding: Nearest, first: 0, past_caches })
    }

    /// The same with stochastic rounding.
    pub fn stochastic(self, stream: Stream) -> Result<Groups<'a, C, Op, Stream>, Error> {
        stream.check(self.x.len())?;
        let Groups { params, x, out, op, first, past_caches, .. } = self;
        Ok(Groups { params, x, out, op, rounding: stream, first, past_caches })
    }
}

#[cfg(feature = "rayon")]
impl<'a, C: Code, Op: Elementwise<C> + Send, R: Rounding> Groups<'a, C, Op, R> {
    /// The same work in pieces, the first of `first_length` elements and the others of `length`, which may run on
    /// different threads.
    pub fn pieces(self, first_length: usize, length: usize) -> impl DoubleEndedIterator<Item = Self> + Send {
        let Groups { params, x, out, op, rounding, first, past_caches } = self;
        let (x, more_x) = x.split_at(first_length.min(x.len()));
        let (out, more_out) = out.split_at_mut(x.len());
        let first_piece = core::iter::once((first, x, out));
        let behind = first + x.len();
        let more = more_x.chunks(length).zip(more_out.chunks_mut(length)).enumerate();
        first_piece
            .chain(more.map(move |(i, (x, out))| (behind + i * length, x, out)))
            .map(move |(first, x, out)| Groups { params, x, out, op, rounding, first, past_caches })
    }
}

impl<C: Code, Op: Elementwise<C>, R: Rounding> Groups<'_, C, Op, R> {
    /// Runs it, by the loop that goes with its granularity.
    #[inline]
    pub fn run(self, isa: Isa) {
        if self.params.has_one_zero_point() { self.run_loop::<true>(isa) } else { self.run_loop::<false>(isa) }
    }

    #[inline]
    fn run_loop<const ONE_ZERO_POINT: bool>(self, isa: Isa) {
        if let Some(length) = self.block_length() {
            // How many groups four vectors belong to, counted from where lines begin.
            let begin = self.first | self.unstreamed();
            if length >= QUAD * LANES && begin.is_multiple_of(QUAD * LANES) {
                isa.run(Blocks::<_, ONE_ZERO_POINT, 1>(self));
            } else if length >= 2 * LANES && begin.is_multiple_of(2 * LANES) {
                isa.run(Blocks::<_, ONE_ZERO_POINT, 2>(self));
            } else {
                isa.run(Blocks::<_, ONE_ZERO_POINT, QUAD>(self));
            }
        } else if let Granularity::Channel { inner: 1, .. } = self.params.granularity() {
            isa.run(Columns::<_, ONE_ZERO_POINT>(self));
        } else {
            isa.run(EachRun(self));
        }
    }

    /// The length of groups that [`Blocks`] does.
    #[inline]
    fn block_length(&self) -> Option<usize> {
        let length = self.params.granularity().even_length(self.first + self.x.len())?;
        let whole_vectors = length >= LANES && (self.first | self.x.len()).is_multiple_of(LANES);
        // (Long runs find a line that begins each by itself.)
        let lines = length < LONG_RUN || self.unstreamed().is_multiple_of(LANES);
        (R::FROM_THE_START && length.is_power_of_two() && whole_vectors && lines).then_some(length)
    }

    /// The elements before the first line of the output, if it is streamed.
    fn unstreamed(&self) -> usize {
        if self.past_caches { self.out.as_ptr().align_offset(CACHE_LINE) } else { 0 }
    }

    /// How the run from an element on goes through memory.
    #[inline(always)]
    fn memory(&self, streams: bool) -> Memory {
        match self.past_caches {
            false => Memory::Cached,
            true if streams => Memory::Streamed,
            true => Memory::Beyond,
        }
    }

    /// Every element of a run, with the parameters of one and of four vectors from some of its elements on: see
    /// [`map_quads`](QuadWalk::map_quads](super::fast::QuadWalk::map_quads).
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a run, and its parameters in three ways")]
    fn map<S: Vectors, A: Copy>(
        &mut self,
        simd: S,
        walker: &mut R::Walker,
        memory: Memory,
        run: Range<usize>,
        stretch: impl FnMut(usize) -> (A, usize),
        lanes: impl Fn(A, usize) -> Lanes<S>,
        lanes_of_four: impl Fn(A, usize) -> QuadParams<S>,
    ) {
        let (op, codes, first) = (self.op, self.params.codes(), self.first + run.start);
        R::map_blocks(
            walker,
            simd,
            memory,
            S::HAS_FAST_DIVISION && Op::HAS_QUADS,
            &self.x[run.clone()],
            &mut self.out[run],
            stretch,
            #[inline(always)]
            move |about, i, x, out, invalid| {
                op.apply_quad(simd, codes, &lanes_of_four(about, i), first + i, x, out, invalid)
            },
            #[inline(always)]
            move |about, i, x, out, rounding| op.apply(simd, &lanes(about, i), rounding, first + i, x, out),
        );
    }
}

/// One group after the other: its parameters stay in registers.
struct EachRun<G>(G);

impl<C: Code, Op: Elementwise<C>, R: Rounding> Kernel for EachRun<Groups<'_, C, Op, R>> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let EachRun(mut groups) = self;
        let lanes_of = LanesOf::<_, _, false>::new(simd, groups.params);
        let mut walker = groups.rounding.walker(simd, groups.first, groups.x.len());
        for Run { group, start, end } in groups.params.granularity().runs(groups.first, groups.x.len()) {
            let begins_a_line = groups.out[start..].as_ptr().align_offset(CACHE_LINE) == 0;
            let memory = groups.memory(begins_a_line || end - start >= LONG_RUN);
            let lanes = lanes_of.splat(group);
            groups.map(
                simd,
                &mut walker,
                memory,
                start..end,
                WHOLE,
                #[inline(always)]
                |(), _| lanes,
                #[inline(always)]
                |(), _| QuadParams::new(simd, [lanes; QUAD]),
            );
        }
        if groups.past_caches {
            simd.fence();
        }
    }
}

/// Neighbours that belong to different channels: parameters are vectors too. As these begin again behind the last channel,
/// rows do not matter.
struct Columns<G, const ONE_ZERO_POINT: bool>(G);

impl<C: Code, Op: Elementwise<C>, R: Rounding, const ONE_ZERO_POINT: bool> Kernel
    for Columns<Groups<'_, C, Op, R>, ONE_ZERO_POINT>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let Columns(mut groups) = self;
        let lanes_of = LanesOf::<_, _, ONE_ZERO_POINT>::new(simd, groups.params);
        let mut walker = groups.rounding.walker(simd, groups.first, groups.x.len());
        let (first, elements, period) = (groups.first, groups.x.len(), groups.params.period());
        // Where a stretch began, and the channel there.
        let (mut at, mut channel) = (0, first % period);
        groups.map(
            simd,
            &mut walker,
            groups.memory(true),
            0..elements,
            #[inline(always)]
            |start| {
                channel += start - at;
                at = start;
                if channel >= period {
                    channel -= period;
                }
                (channel.wrapping_sub(start), period - channel)
            },
            #[inline(always)]
            |channel, i| lanes_of.load(channel.wrapping_add(i)),
            #[inline(always)]
            |channel, i| lanes_of.load_quad(channel.wrapping_add(i)),
        );
        if groups.past_caches {
            simd.fence();
        }
    }
}

/// Blocks of whole vectors, none of which ends inside one: four vectors belong to so many groups, the fewer, the fewer
/// parameters are read.
struct Blocks<G, const ONE_ZERO_POINT: bool, const GROUPS: usize>(G);

impl<C: Code, Op: Elementwise<C>, R: Rounding, const ONE_ZERO_POINT: bool, const GROUPS: usize> Kernel
    for Blocks<Groups<'_, C, Op, R>, ONE_ZERO_POINT, GROUPS>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let Blocks(mut groups) = self;
        if GROUPS == 1 && !(S::HAS_FAST_DIVISION && Op::HAS_QUADS) {
            // What is done vector by vector has its parameters in registers there.
            return EachRun(groups).run(simd);
        }
        let (Granularity::Block { length, .. } | Granularity::Channel { inner: length, .. }) =
            groups.params.granularity()
        else {
            unreachable!("blocks only")
        };
        let lanes_of = LanesOf::<_, _, ONE_ZERO_POINT>::new(simd, groups.params);
        let mut walker = groups.rounding.walker(simd, groups.first, groups.x.len());
        let (first, shift) = (groups.first, length.trailing_zeros());
        let memory = groups.memory(groups.unstreamed().is_multiple_of(LANES));
        groups.map(
            simd,
            &mut walker,
            memory,
            0..groups.x.len(),
            WHOLE,
            #[inline(always)]
            |(), i| lanes_of.splat((first + i) >> shift),
            #[inline(always)]
            |(), i| lanes_of.splat_of_blocks::<GROUPS>(first + i, shift),
        );
        if groups.past_caches {
            simd.fence();
        }
    }
}
