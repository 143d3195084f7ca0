//! The kernels of operations that round stochastically: every element takes its own word, which a [`Cursor`] brings.

use super::kernels::{Elements, Piece, Walk};
use super::ops::{ByWords, Operation};
use super::vec_params::{self, Groups, ParamSource};
use crate::cache::prefetch_ahead;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::{Run, Stretch, Stretches};
use crate::random::cursor::{Cursor, State, Taken};
use crate::random::stream::Stream;
use crate::simd::LANES;
use crate::simd::memory::Memory;
use crate::simd::walk::{Block, BlockWalk, Padded};

impl<O: Operation> Piece<'_, O> {
    /// Computes all elements, rounding stochastically: the stream is that of the whole tensor.
    pub fn stochastic(&mut self, isa: Isa, stream: Stream) {
        if self.params.grouping().alternates() {
            let stretches = &mut Stretches::new(self.params, self.first, self.x.len());
            isa.run(InterleavedStochastic(self, stretches, stream));
        } else {
            isa.run(RunsStochastic(self, stream));
        }
    }
}

/// One group after the other.
struct RunsStochastic<'k, P>(&'k mut P, Stream);

impl<O: Operation> Kernel for RunsStochastic<'_, Piece<'_, O>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let RunsStochastic(piece, stream) = self;
        let groups = Groups::new(v, piece.params, false);
        let mut cursor = Cursor::at(v, stream.at(piece.first), piece.x.len());
        for Run { group, start, end } in piece.params.grouping().runs(piece.first, piece.x.len()) {
            let memory = piece.memory(false);
            let (x, out) = (&piece.x[start..end], &mut piece.out[start..end]);
            map(v, &mut cursor, piece.op.from(start), groups.one(group), Elements { x, out, memory });
        }
    }
}

/// Groups that alternate.
struct InterleavedStochastic<'k, P>(&'k mut P, &'k mut Stretches<'k>, Stream);

impl<O: Operation> Kernel for InterleavedStochastic<'_, Piece<'_, O>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let InterleavedStochastic(piece, stretches, stream) = self;
        let mut cursor = Cursor::at(v, stream.at(piece.first), piece.x.len());
        while let Some(stretch) = stretches.advance() {
            let groups = Groups::of(v, piece.params.bounds(), stretch.params, false);
            let source = vec_params::Interleaved::new(groups, false, &stretch);
            let (Stretch { start, end, .. }, memory) = (stretch, piece.memory(false));
            let (x, out) = (&piece.x[start..end], &mut piece.out[start..end]);
            map(v, &mut cursor, piece.op.from(start), source, Elements { x, out, memory });
        }
    }
}

/// Computes all elements with the next words of the cursor.
#[cfg_attr(not(unoptimized), inline(always))]
pub(crate) fn map<V: Vectors, O: Operation, P: ParamSource<V>>(
    v: V,
    cursor: &mut Cursor,
    op: O,
    source: P,
    elements: Elements<'_, O>,
) {
    let Elements { x, out, memory } = elements;
    let mut walk = Walk { v, op, source, x, out };
    let mut start = 0;
    while start < walk.x.len() {
        let (segment, length) = walk.source.segment(start);
        // Whole vectors, as the last one may begin with the last element of the segment.
        let rest = walk.x.len() - start;
        let end = start + length.min(rest).next_multiple_of(LANES).min(rest);
        let mut at = start;
        while at < end {
            at += match cursor.take(v, end - start, at - start) {
                Taken::Blocks { steps, mut state } => {
                    // Two calls, so that each is compiled for one way through memory: a branch in every vector costs a fifth
                    // on ISAs whose vectors the compiler makes. (There the words of a vector take longer to make than its
                    // elements to come from memory.)
                    if const { O::FEW_KERNELS } {
                        walk.blocks(segment, at, steps, &mut state, memory != Memory::Cached);
                    } else if const { V::HAS_NON_TEMPORAL_STORES } && memory != Memory::Cached {
                        walk.blocks(segment, at, steps, &mut state, true);
                    } else {
                        walk.blocks(segment, at, steps, &mut state, false);
                    }
                    cursor.put_back(v, state);
                    steps * LANES
                }
                Taken::Words { count, first } => {
                    walk.window(segment, at, count, cursor, first);
                    count
                }
            };
        }
        start = end;
    }
}

impl<V: Vectors, O: Operation, P: ParamSource<V>> Walk<'_, V, O, P> {
    /// Computes blocks whose words are made in registers.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn blocks(&mut self, segment: P::Segment, at: usize, count: usize, words: &mut State<V>, prefetch: bool) {
        let (x, out) = (&self.x[at..].as_chunks().0[..count], &mut self.out[at..].as_chunks_mut().0[..count]);
        for i in 0..count {
            if prefetch {
                prefetch_ahead(&x[i]);
            }
            let block = Block { at: at + i * LANES, x: &x[i], out: &mut out[i] };
            let words = ByWords::<V>(words.next(self.v));
            self.op.vector(self.v, &self.source.vector(segment, block.at), words, block);
        }
    }

    /// Computes elements whose words are in the window, from word `first` on.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn window(&mut self, segment: P::Segment, at: usize, count: usize, cursor: &Cursor, first: usize) {
        let (mut padded, mut blocks) = (Padded::new(), BlockWalk::new(self.x, self.out, at, count));
        while let Some(block) = blocks.next(&mut padded) {
            let words = ByWords::<V>(cursor.load(self.v, first + (block.at - at)));
            self.op.vector(self.v, &self.source.vector(segment, block.at), words, block);
        }
    }
}
