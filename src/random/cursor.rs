//! The words of elements that a kernel visits in runs: from registers where runs are long, else from a window in memory.

use super::generators::{FillBlocks, Generators, Start, next};
use super::stream::Stream;
use crate::kernel::Vectors;
use crate::memory::Scratch;
use crate::simd::LANES;

/// Elements of a run from which on words are taken from the registers that the generators make them in. Shorter runs, and the
/// beginning and the end of a long one that do not fill a block of the generators, take them from a window in memory.
pub(crate) const LONG_RUN: usize = 32 * LANES;

/// Words of the window: two runs that are not long.
const WINDOW: usize = 2 * LONG_RUN;

/// Room in the window: behind [`WINDOW`] for the rest of a block, and for sixteen more words that a load may touch.
const ROOM: usize = WINDOW + 2 * LANES;

/// Where the words of the next elements of a run are. A block of the generators does not always begin with an element, and
/// registers run out at the end of a chunk: so it is asked again and again.
pub(crate) enum Taken<V: Vectors> {
    /// In registers: as many blocks, to be made one by one.
    Blocks { steps: usize, state: State<V> },
    /// In the window, from word `first` on, for `count` elements.
    Words { count: usize, first: usize },
}

/// The registers that make words.
pub(crate) struct State<V: Vectors>([V::I32; 4]);

impl<V: Vectors> State<V> {
    /// The words of the next sixteen elements.
    #[inline(always)]
    pub fn next(&mut self, v: V) -> V::I32 {
        next(v, &mut self.0)
    }
}

/// The words of consecutive elements that are visited in runs of any length.
pub(crate) struct Cursor {
    generators: Generators,
    /// Words that were made but not used yet: `window[next..end]`, up to where the generators stand.
    window: Scratch,
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
        let mut cursor = Cursor { generators, window: Scratch::default(), next: 0, end: 0, rest: elements };
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

    /// Takes words for the next elements of a run, of which `at` were visited before.
    #[inline(always)]
    pub fn take<V: Vectors>(&mut self, v: V, run: usize, at: usize) -> Taken<V> {
        let steps = self.take_steps(v, run, at);
        if steps > 0 {
            return Taken::Blocks { steps, state: State(self.generators.load(v)) };
        }
        let (count, first) = self.take_words(v, run, at);
        Taken::Words { count, first }
    }

    /// Takes the registers back, from which all blocks were made.
    #[inline(always)]
    pub fn put_back<V: Vectors>(&mut self, v: V, state: State<V>) {
        self.generators.store(v, state.0);
    }

    /// The words of the window from `word` on.
    #[inline(always)]
    pub fn load<V: Vectors>(&self, v: V, word: usize) -> V::I32 {
        v.load_i32(self.window.as_slice::<i32>(ROOM)[word..].first_chunk().expect("the window is padded"))
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
        (count, self.take_window(v, count))
    }

    /// Where the words of the next elements begin in the window, of at most [`LONG_RUN`].
    #[inline(always)]
    pub fn take_window<V: Vectors>(&mut self, v: V, count: usize) -> usize {
        let left = self.end - self.next;
        if left < count {
            self.refill(v, left, (self.rest.min(WINDOW) - left).div_ceil(LANES));
        }
        let first = self.next;
        self.next += count;
        self.rest -= count;
        first
    }
}
