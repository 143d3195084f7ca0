//! The words of elements that a kernel visits in runs: from registers where runs are long, else from a window in memory.

use super::generators::{FillBlocks, Generators, Start, next};
use super::stream::Stream;
use crate::cache::prefetch_ahead;
use crate::kernel::Vectors;
use crate::memory::Workspace;
use crate::simd::LANES;

/// Elements of a run from which on words are taken from the registers that the generators make them in. Shorter runs, and the
/// beginning and the end of a long one that do not fill a block of the generators, take them from a window in memory.
const LONG_RUN: usize = 32 * LANES;

/// Words of the window: two runs that are not long.
const WINDOW: usize = 2 * LONG_RUN;

/// Room in the window: behind [`WINDOW`] for the rest of a block, and for sixteen more words that a load may touch.
const ROOM: usize = WINDOW + 2 * LANES;

/// The words of consecutive elements that are visited in runs of any length.
pub(crate) struct Cursor {
    generators: Generators,
    /// Words that were made but not used yet: `window[next..end]`, up to where the generators stand.
    window: Workspace,
    next: usize,
    end: usize,
    /// Elements that are still to be visited.
    rest: usize,
}

impl Cursor {
    /// A cursor at a place, for this many elements.
    #[inline(always)]
    pub fn at<V: Vectors>(v: V, stream: Stream, elements: usize) -> Self {
        let generators = v.outlined(Start(stream));
        let mut cursor = Cursor { generators, window: Workspace::default(), next: 0, end: 0, rest: elements };
        let before = (stream.offset % LANES as u64) as usize;
        if before > 0 {
            cursor.refill(v, 0, 1);
            cursor.next = before;
        }
        cursor
    }

    /// Makes some blocks of words for the window, behind `left` words that are there.
    #[inline(always)]
    fn refill<V: Vectors>(&mut self, v: V, left: usize, blocks: usize) {
        let window = self.window.elements::<i32>(ROOM);
        window.copy_within(self.next..self.next + left, 0);
        let made = &mut window[left..].as_chunks_mut().0[..blocks];
        v.outlined(FillBlocks { generators: &mut self.generators, blocks: made, uniform: false });
        (self.next, self.end) = (0, left + blocks * LANES);
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
        let mut at = 0;
        while at < x.len() {
            let steps = self.take_steps(v, x.len(), at);
            if steps > 0 {
                let mut state = self.generators.load(v);
                let (blocks, to) = (&x[at..].as_chunks().0[..steps], &mut out[at..].as_chunks_mut().0[..steps]);
                // Two loops: a branch in every vector costs a fifth on ISAs whose vectors the compiler makes. (On these
                // the words of a vector take longer to make than its elements to come from memory.)
                if const { V::HAS_NON_TEMPORAL_STORES } && prefetch {
                    for i in 0..steps {
                        prefetch_ahead(&blocks[i]);
                        f(at + i * LANES, &blocks[i], &mut to[i], next(v, &mut state));
                    }
                } else {
                    for i in 0..steps {
                        f(at + i * LANES, &blocks[i], &mut to[i], next(v, &mut state));
                    }
                }
                self.generators.store(v, state);
                at += steps * LANES;
                continue;
            }
            let (count, word) = self.take_words(v, x.len(), at);
            let window = self.window.as_slice::<i32>(ROOM);
            let mut padded = ([T::default(); LANES], [U::default(); LANES]);
            let (mut from, mut to) = (&x[at..at + count], &mut out[at..at + count]);
            if count < LANES {
                padded.0[..count].copy_from_slice(from);
                (from, to) = (&padded.0, &mut padded.1);
            }
            let mut done = 0;
            while done < count {
                let first = done.min(from.len() - LANES);
                let words = window[word + first..].first_chunk().expect("the window is padded");
                let (Some(from), Some(to)) = (from[first..].first_chunk(), to[first..].first_chunk_mut()) else {
                    break;
                };
                f(at + first, from, to, v.load_i32(words));
                done += LANES;
            }
            if count < LANES {
                out[at..at + count].copy_from_slice(&padded.1[..count]);
            }
            at += count;
        }
    }

    /// The steps of the generators for the elements of a run from element `at` on, if their words are taken from registers:
    /// those of a long run, when the window is empty.
    #[inline(always)]
    fn take_steps<V: Vectors>(&mut self, v: V, run: usize, at: usize) -> usize {
        if run < LONG_RUN || run - at < LANES || self.next < self.end {
            return 0;
        }
        let steps = self.generators.take_steps(v, (run - at) / LANES);
        self.rest -= steps * LANES;
        steps
    }

    /// The number of next elements of a run, from element `at` on, whose words are in the window, and where these begin.
    /// Before the registers of a long run only as many as are there already, so that the others begin with a block of the
    /// generators.
    #[inline(always)]
    fn take_words<V: Vectors>(&mut self, v: V, run: usize, at: usize) -> (usize, usize) {
        let left = self.end - self.next;
        let count = if run >= LONG_RUN && left > 0 { left.min(run - at) } else { run - at };
        if left < count {
            self.refill(v, left, (self.rest.min(WINDOW) - left).div_ceil(LANES));
        }
        let first = self.next;
        self.next += count;
        self.rest -= count;
        (count, first)
    }
}
