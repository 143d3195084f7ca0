//! The words of elements that a kernel visits in runs: from registers where runs are long, else from a window in memory.

use super::generators::{Generators, next};
use super::stream::Stream;
use super::vectors::RandomVectors;
use crate::simd::LANES;
use crate::simd::walk::map_blocks;

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
    pub fn at<V: RandomVectors>(v: V, stream: Stream, elements: usize) -> Self {
        let generators = Generators::at(v, stream);
        let mut cursor = Cursor { generators, window: [0; WINDOW + 2 * LANES], next: 0, end: 0, rest: elements };
        let before = (stream.offset % LANES as u64) as usize;
        if before > 0 {
            cursor.generators.fill(v, &mut cursor.window.as_chunks_mut().0[..1]);
            (cursor.next, cursor.end) = (before, LANES);
        }
        cursor
    }

    /// As [`map_blocks`], but `f(start, input, output, words)`, with the next words.
    #[inline(always)]
    pub fn map_blocks<V: RandomVectors, T: Copy + Default, U: Copy + Default>(
        &mut self,
        v: V,
        x: &[T],
        out: &mut [U],
        mut f: impl FnMut(usize, &[T; LANES], &mut [U; LANES], V::I32),
    ) {
        let long = x.len() >= LONG_RUN;
        let head = if long { x.len().min(self.end - self.next) } else { x.len() };
        let (head_x, x) = x.split_at(head);
        let (head_out, out) = out.split_at_mut(head);
        self.map_window(v, 0, head_x, head_out, &mut f);
        if !long {
            return;
        }
        let (blocks, tail) = x.as_chunks();
        let (out_blocks, tail_out) = out.as_chunks_mut();
        self.rest -= blocks.len() * LANES;
        let mut done = 0;
        while done < blocks.len() {
            let steps = self.generators.take_steps(blocks.len() - done);
            let mut state = self.generators.load(v);
            let (now, now_out) = (&blocks[done..][..steps], &mut out_blocks[done..][..steps]);
            for i in 0..steps {
                f(head + (done + i) * LANES, &now[i], &mut now_out[i], next(v, &mut state));
            }
            self.generators.store(v, state);
            done += steps;
        }
        self.map_window(v, head + blocks.len() * LANES, tail, tail_out, &mut f);
    }

    /// [`map_blocks`](Cursor::map_blocks) with words of the window, for less than a long run, or no more elements than the
    /// window has words.
    #[inline(always)]
    fn map_window<V: RandomVectors, T: Copy + Default, U: Copy + Default>(
        &mut self,
        v: V,
        start: usize,
        x: &[T],
        out: &mut [U],
        f: &mut impl FnMut(usize, &[T; LANES], &mut [U; LANES], V::I32),
    ) {
        let left = self.end - self.next;
        if left < x.len() {
            self.window.copy_within(self.next..self.end, 0);
            let more = (self.rest.min(WINDOW) - left).div_ceil(LANES);
            self.generators.fill(v, &mut self.window[left..].as_chunks_mut().0[..more]);
            (self.next, self.end) = (0, left + more * LANES);
        }
        let words = &self.window[self.next..];
        map_blocks(
            x,
            out,
            #[inline(always)]
            |i, x, out| f(start + i, x, out, v.load_i32(words[i..].first_chunk().expect("the window is padded"))),
        );
        self.next += x.len();
        self.rest -= x.len();
    }
}
