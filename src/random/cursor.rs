//! The words of elements that a kernel visits in runs: from registers where runs are long, else from a window in memory.

use super::generators::{Generators, next};
use super::stream::Stream;
use crate::cache::prefetch_ahead;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;

/// Elements of a run from which on words are taken from the registers that the generators make them in. Shorter runs, and the
/// beginning and the end of a long one that do not fill a block of the generators, take them from a window in memory.
const LONG_RUN: usize = 32 * LANES;

/// Words of the window: two runs that are not long.
const WINDOW: usize = 2 * LONG_RUN;

/// The words of consecutive elements that are visited in runs of any length.
pub(crate) struct Cursor {
    generators: Generators,
    /// Words that were made but not used yet: `window[next..end]`, up to where the generators stand. Behind [`WINDOW`]
    /// there is room for the rest of a block, and for sixteen more words that a load may touch.
    window: [i32; WINDOW + 2 * LANES],
    next: usize,
    end: usize,
    /// Elements that are still to be visited.
    rest: usize,
}

impl Cursor {
    /// A cursor at a place, for this many elements.
    #[inline(always)]
    pub fn at<V: Vectors>(v: V, stream: Stream, elements: usize) -> Self {
        let generators = v.outlined(Start { stream });
        let mut cursor = Cursor { generators, window: [0; WINDOW + 2 * LANES], next: 0, end: 0, rest: elements };
        let before = (stream.offset % LANES as u64) as usize;
        if before > 0 {
            v.outlined(FillWindow {
                generators: &mut cursor.generators,
                blocks: &mut cursor.window.as_chunks_mut().0[..1],
            });
            (cursor.next, cursor.end) = (before, LANES);
        }
        cursor
    }

    /// Calls `f(start, input, output, words)` with the next words, for blocks that cover both slices, whose lengths are equal.
    /// Words come from the window or, in a long run, from registers; where these run out, or a block of the generators does
    /// not begin with an element, a block overlaps its predecessor, or is padded.
    ///
    /// `prefetch` is for a long run of elements that come from memory.
    ///
    /// (Every call of `f` is a copy of its code in every kernel.)
    #[inline(always)]
    pub fn map_blocks<V: Vectors, T: Copy + Default, U: Copy + Default>(
        &mut self,
        v: V,
        x: &[T],
        out: &mut [U],
        prefetch: bool,
        mut f: impl FnMut(usize, &[T; LANES], &mut [U; LANES], V::I32),
    ) {
        let long = x.len() >= LONG_RUN;
        let mut at = 0;
        while at < x.len() {
            let (rest, words) = (x.len() - at, self.end - self.next);
            if long && words == 0 && rest >= LANES {
                let steps = self.generators.take_steps(rest / LANES);
                let mut state = self.generators.load(v);
                let (blocks, out_blocks) = (&x[at..].as_chunks().0[..steps], &mut out[at..].as_chunks_mut().0[..steps]);
                // Two loops: a branch in every vector costs a fifth on ISAs whose vectors the compiler makes.
                if prefetch {
                    for i in 0..steps {
                        prefetch_ahead(&blocks[i]);
                        f(at + i * LANES, &blocks[i], &mut out_blocks[i], next(v, &mut state));
                    }
                } else {
                    for i in 0..steps {
                        f(at + i * LANES, &blocks[i], &mut out_blocks[i], next(v, &mut state));
                    }
                }
                self.generators.store(v, state);
                self.rest -= steps * LANES;
                at += steps * LANES;
                continue;
            }
            // Before a long run only as many as are in the window, so that the run begins with a block of the generators.
            let count = if long && words > 0 { rest.min(words) } else { rest };
            self.refill(v, count);
            let (part, part_out) = (&x[at..at + count], &mut out[at..at + count]);
            let mut padded = ([T::default(); LANES], [U::default(); LANES]);
            if count < LANES {
                padded.0[..count].copy_from_slice(part);
            }
            let mut done = 0;
            while done < count {
                let first = done.min(count.saturating_sub(LANES));
                let words = self.window[self.next + first..].first_chunk().expect("the window is padded");
                let (block, block_out) = match (part[first..].first_chunk(), part_out[first..].first_chunk_mut()) {
                    (Some(block), Some(out)) => (block, out),
                    _ => (&padded.0, &mut padded.1),
                };
                f(at + first, block, block_out, v.load_i32(words));
                done += LANES;
            }
            if count < LANES {
                part_out.copy_from_slice(&padded.1[..count]);
            }
            self.next += count;
            self.rest -= count;
            at += count;
        }
    }

    /// Makes sure that the window has the words of the next `count` elements: less than a long run.
    #[inline(always)]
    fn refill<V: Vectors>(&mut self, v: V, count: usize) {
        let left = self.end - self.next;
        if left < count {
            self.window.copy_within(self.next..self.end, 0);
            let more = (self.rest.min(WINDOW) - left).div_ceil(LANES);
            let blocks = &mut self.window[left..].as_chunks_mut().0[..more];
            v.outlined(FillWindow { generators: &mut self.generators, blocks });
            (self.next, self.end) = (0, left + more * LANES);
        }
    }
}

/// [`Generators::at`] as a kernel.
struct Start {
    stream: Stream,
}

impl Kernel for Start {
    type Output = Generators;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> Generators {
        Generators::at(v, self.stream)
    }
}

/// [`Generators::fill`] as a kernel.
struct FillWindow<'a> {
    generators: &'a mut Generators,
    blocks: &'a mut [[i32; LANES]],
}

impl Kernel for FillWindow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        self.generators.fill(v, self.blocks);
    }
}
