//! Random words: xoshiro128++ in sixteen lanes, the same stream on every ISA. [`Stream`] defines it.
//!
//! The word belongs to the index, not to the call: whoever asks for it, on whatever ISA, thread or machine, gets the same
//! one. Sixteen generators stand beside each other because a block of vectors has sixteen lanes: one step of all of them
//! makes sixteen neighbouring words. A chunk starts from SplitMix64, which is a function of its counter, so that a slice
//! may begin anywhere; inside a chunk, entering at step t costs t steps.

pub(crate) mod vectors;

use core::convert::Infallible;

use rand_core::utils::next_u64_via_u32;
use rand_core::{SeedableRng, TryRng};

use crate::error::Error;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;
use crate::simd::walk::map_blocks;

/// The words of a chunk.
pub(crate) const CHUNK: usize = 16 << 10;

/// The chunks of a stream of 2⁶⁴ words.
const CHUNKS: u64 = u64::MAX / CHUNK as u64 + 1;

/// The words of a chunk that one lane makes.
const STEPS: usize = CHUNK / LANES;

/// A place in a stream of random words: which stream, and the index of the first word.
///
/// An operation on n elements takes the words `offset … offset + n − 1`, one for each element, in order. The words are
/// those of xoshiro128++ in sixteen lanes; the definition is part of the interface:
///
/// ```text
/// word(seed, i)    chunk c = i / 16384      lane l = i mod 16      step t = (i mod 16384) / 16
///                  z = output 16c + l of SplitMix64 from `seed`
///                  output t of xoshiro128++ seeded with z, as `rand_xoshiro`'s `seed_from_u64(z)`      (both from 0)
/// ```
///
/// Two calls that must not share their randomness need offsets at least n apart ([`skip`](Stream::skip)) or different
/// seeds: small numbers, or hashes. (Seeds that differ by a multiple of SplitMix64's increment, 0x9e3779b97f4a7c15, give
/// the same lanes shifted.)
///
/// To begin at i, (i mod 16384) / 16 steps are made in vain, at most a microsecond or two: work is best cut at multiples of
/// 16384, or in pieces that are large beside that.
///
/// ```
/// use zeropoint::{Isa, Stream, fill_words};
/// let isa = Isa::best()?;
/// let (mut whole, mut slice) = ([0; 100], [0; 10]);
/// fill_words(isa, Stream::new(42), &mut whole)?;
/// fill_words(isa, Stream { seed: 42, offset: 77 }, &mut slice)?;
/// assert_eq!(whole[77..87], slice);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Stream {
    /// Which stream.
    pub seed: u64,
    /// The index of the word that the first element takes: the element's index in the logical tensor, when a slice of
    /// it is at hand.
    pub offset: u64,
}

impl Stream {
    /// The beginning of a stream.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Stream { seed, offset: 0 }
    }

    /// The place `words` further on.
    ///
    /// # Errors
    /// [`Error::Stream`] behind the last index, 2⁶⁴ − 1.
    pub fn skip(self, words: u64) -> Result<Self, Error> {
        let offset = self.offset.checked_add(words);
        let offset = offset.ok_or(Error::Stream { offset: self.offset, words })?;
        Ok(Stream { seed: self.seed, offset })
    }

    /// `Ok` when the stream has this many more words.
    pub(crate) fn check(self, words: usize) -> Result<(), Error> {
        match words as u64 {
            0 => Ok(()),
            words => self.skip(words - 1).map(|_| ()).map_err(|_| Error::Stream { offset: self.offset, words }),
        }
    }

    /// The place of element `i` of a tensor whose first element takes this one. The check of the whole tensor keeps the sum in
    /// range.
    pub(crate) fn at(self, i: usize) -> Self {
        Stream { seed: self.seed, offset: self.offset.wrapping_add(i as u64) }
    }

    /// The words that are left in the chunk that this one lies in.
    pub(crate) fn rest_of_chunk(self) -> usize {
        CHUNK - (self.offset % CHUNK as u64) as usize
    }
}

/// Output `n` of SplitMix64 started at `seed`: a function of a counter.
#[inline(always)]
fn splitmix(seed: u64, n: u64) -> u64 {
    let z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The state of xoshiro128++ in every lane, seeded with z: two outputs of SplitMix64, their lower halves first.
///
/// In loops over lanes, since the compiler makes vectors of them; of `map` over arrays it makes calls.
#[inline(always)]
fn seeded(z: &[u64; LANES]) -> [[i32; LANES]; 4] {
    let mut state = [[0; LANES]; 4];
    for (n, words) in state.as_chunks_mut().0.iter_mut().enumerate() {
        let [lower, upper] = words;
        for ((z, lower), upper) in z.iter().zip(lower).zip(upper) {
            let output = splitmix(*z, n as u64);
            (*lower, *upper) = (output as i32, (output >> 32) as i32);
        }
    }
    state
}

/// The sixteen generators of a chunk, on the way through it and on to the next one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Generators {
    seed: u64,
    chunk: u64,
    /// The steps that they have made.
    step: usize,
    /// The four words of state of every lane.
    state: [[i32; LANES]; 4],
}

impl Generators {
    /// Those of a chunk, at its beginning.
    #[inline(always)]
    fn of_chunk(seed: u64, chunk: u64) -> Self {
        let mut z = [0; LANES];
        for (lane, z) in z.iter_mut().enumerate() {
            *z = splitmix(seed, chunk * LANES as u64 + lane as u64);
        }
        let state = seeded(&z);
        Generators { seed, chunk, step: 0, state }
    }

    /// Those whose next words are the block that the place lies in: its index rounded down to a multiple of sixteen.
    #[inline(always)]
    pub fn at<S: Vectors>(simd: S, stream: Stream) -> Self {
        let mut generators = Self::of_chunk(stream.seed, stream.offset / CHUNK as u64);
        generators.step = (stream.offset % CHUNK as u64) as usize / LANES;
        let mut state = generators.load(simd);
        for _ in 0..generators.step {
            next(simd, &mut state);
        }
        generators.store(simd, state);
        generators
    }

    #[inline(always)]
    fn load<S: Vectors>(&self, simd: S) -> [S::I32; 4] {
        let [a, b, c, d] = &self.state;
        [simd.load_i32(a), simd.load_i32(b), simd.load_i32(c), simd.load_i32(d)]
    }

    #[inline(always)]
    fn store<S: Vectors>(&mut self, simd: S, state: [S::I32; 4]) {
        for (lanes, state) in self.state.iter_mut().zip(state) {
            simd.store_i32(state, lanes);
        }
    }

    /// Calls `f` with the state and a number of steps for it to make, chunk by chunk, `steps` in all.
    #[inline(always)]
    fn run<S: Vectors>(&mut self, simd: S, mut steps: usize, mut f: impl FnMut(&mut [S::I32; 4], usize)) {
        while steps > 0 {
            if self.step == STEPS {
                *self = Self::of_chunk(self.seed, (self.chunk + 1) % CHUNKS);
            }
            let now = steps.min(STEPS - self.step);
            let mut state = self.load(simd);
            f(&mut state, now);
            self.store(simd, state);
            self.step += now;
            steps -= now;
        }
    }

    /// Makes the next words, a block at a time.
    #[inline(always)]
    pub fn fill<S: Vectors, W: Word>(&mut self, simd: S, mut blocks: &mut [[W; LANES]]) {
        self.run(
            simd,
            blocks.len(),
            #[inline(always)]
            |state, steps| {
                for block in blocks.split_off_mut(..steps).expect("no more steps than blocks") {
                    W::store(simd, next(simd, state), block);
                }
            },
        );
    }
}

/// Runs of at least this many elements take their words from the registers where they are made; shorter ones, and what
/// does not fill a block of the generators, from a window of words in memory.
const LONG_RUN: usize = 32 * LANES;

/// The words of a window: a few short runs.
const WINDOW: usize = 2 * LONG_RUN;

/// The words of consecutive elements that are visited in runs of any length.
pub(crate) struct Cursor {
    generators: Generators,
    /// Words that were made but not used yet: `window[next..end]`, up to where the generators stand. Behind [`WINDOW`]
    /// there is room for the rest of a block, and sixteen more that a load may touch.
    window: [i32; WINDOW + 2 * LANES],
    next: usize,
    end: usize,
    /// Elements that are still to be visited.
    rest: usize,
}

impl Cursor {
    /// At a place, for so many elements.
    #[inline(always)]
    pub fn at<S: Vectors>(simd: S, stream: Stream, elements: usize) -> Self {
        let generators = Generators::at(simd, stream);
        let mut cursor = Cursor { generators, window: [0; WINDOW + 2 * LANES], next: 0, end: 0, rest: elements };
        let before = (stream.offset % LANES as u64) as usize;
        if before > 0 {
            cursor.generators.fill(simd, &mut cursor.window.as_chunks_mut().0[..1]);
            (cursor.next, cursor.end) = (before, LANES);
        }
        cursor
    }

    /// As [`map_blocks`], but `f(start, input, output, words)`, with the next words.
    #[inline(always)]
    pub fn map_blocks<S: Vectors, T: Copy + Default, U: Copy + Default>(
        &mut self,
        simd: S,
        x: &[T],
        out: &mut [U],
        mut f: impl FnMut(usize, &[T; LANES], &mut [U; LANES], S::I32),
    ) {
        let long = x.len() >= LONG_RUN;
        let head = if long { x.len().min(self.end - self.next) } else { x.len() };
        let (head_x, x) = x.split_at(head);
        let (head_out, out) = out.split_at_mut(head);
        self.map_window(simd, 0, head_x, head_out, &mut f);
        if !long {
            return;
        }
        let (mut blocks, tail) = x.as_chunks();
        let (mut out_blocks, tail_out) = out.as_chunks_mut();
        self.rest -= blocks.len() * LANES;
        let mut start = head;
        self.generators.run(
            simd,
            blocks.len(),
            #[inline(always)]
            |state, steps| {
                let now = blocks.split_off(..steps).expect("no more steps than blocks");
                let now_out = out_blocks.split_off_mut(..steps).expect("as many");
                for (x, out) in now.iter().zip(now_out) {
                    f(start, x, out, next(simd, state));
                    start += LANES;
                }
            },
        );
        self.map_window(simd, start, tail, tail_out, &mut f);
    }

    /// The same for fewer than [`LONG_RUN`] elements, or as many as the window has words.
    #[inline(always)]
    fn map_window<S: Vectors, T: Copy + Default, U: Copy + Default>(
        &mut self,
        simd: S,
        start: usize,
        x: &[T],
        out: &mut [U],
        f: &mut impl FnMut(usize, &[T; LANES], &mut [U; LANES], S::I32),
    ) {
        let left = self.end - self.next;
        if left < x.len() {
            self.window.copy_within(self.next..self.end, 0);
            let more = (self.rest.min(WINDOW) - left).div_ceil(LANES);
            self.generators.fill(simd, &mut self.window[left..].as_chunks_mut().0[..more]);
            (self.next, self.end) = (0, left + more * LANES);
        }
        let words = &self.window[self.next..];
        map_blocks(
            x,
            out,
            #[inline(always)]
            |i, x, out| f(start + i, x, out, simd.load_i32(words[i..].first_chunk().expect("sixteen more"))),
        );
        self.next += x.len();
        self.rest -= x.len();
    }
}

/// A step of xoshiro128++ in every lane, and the words that it makes.
///
/// Written so that each new word of state is an exclusive or of three old ones, where an ISA has an instruction for
/// that; `a ^ c` and `b ^ d` stand in front for those that have not.
#[inline(always)]
fn next<S: Vectors>(simd: S, state: &mut [S::I32; 4]) -> S::I32 {
    let [a, b, c, d] = *state;
    let words = simd.add_i32(simd.rotate_left::<7>(simd.add_i32(a, d)), a);
    *state = [
        simd.xor3_i32(b, d, a),
        simd.xor3_i32(a, c, b),
        simd.xor3_i32(a, c, simd.shift_left::<9>(b)),
        simd.rotate_left::<11>(simd.xor_i32(b, d)),
    ];
    words
}

/// What a random word can be stored as.
pub(crate) trait Word: Copy + Default + Send {
    fn store<S: Vectors>(simd: S, words: S::I32, out: &mut [Self; LANES]);
}

impl Word for u32 {
    #[inline(always)]
    fn store<S: Vectors>(simd: S, words: S::I32, out: &mut [u32; LANES]) {
        let mut lanes = [0; LANES];
        simd.store_i32(words, &mut lanes);
        *out = lanes.map(|word| word as u32);
    }
}

/// Little-endian.
impl Word for [u8; 4] {
    #[inline(always)]
    fn store<S: Vectors>(simd: S, words: S::I32, out: &mut [[u8; 4]; LANES]) {
        let mut lanes = [0; LANES];
        simd.store_i32(words, &mut lanes);
        *out = lanes.map(i32::to_le_bytes);
    }
}

/// As the kernels take it.
impl Word for i32 {
    #[inline(always)]
    fn store<S: Vectors>(simd: S, words: S::I32, out: &mut [i32; LANES]) {
        simd.store_i32(words, out);
    }
}

/// `(w >> 8) · 2⁻²⁴`
impl Word for f32 {
    #[inline(always)]
    fn store<S: Vectors>(simd: S, words: S::I32, out: &mut [f32; LANES]) {
        let step = simd.splat_f32(1.0 / (1 << 24) as f32);
        simd.store_f32(simd.mul_f32(simd.upper_bits(words), step), out);
    }
}

/// Words from any index on, to any length.
pub(crate) struct Fill<'a, W> {
    pub stream: Stream,
    pub out: &'a mut [W],
}

impl<W: Word> Kernel for Fill<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        if self.out.is_empty() {
            return;
        }
        let mut generators = Generators::at(simd, self.stream);
        let mut block = [[W::default(); LANES]];
        let mut out = self.out;
        let before = (self.stream.offset % LANES as u64) as usize;
        if before > 0 {
            let head;
            (head, out) = out.split_at_mut(out.len().min(LANES - before));
            generators.fill(simd, &mut block);
            head.copy_from_slice(&block[0][before..][..head.len()]);
        }
        let (blocks, tail) = out.as_chunks_mut();
        generators.fill(simd, blocks);
        if !tail.is_empty() {
            generators.fill(simd, &mut block);
            tail.copy_from_slice(&block[0][..tail.len()]);
        }
    }
}

/// Fills `out` with the words of a stream, from its offset on.
///
/// ```
/// use zeropoint::{Isa, Stream, fill_words};
/// let mut words = [0; 4];
/// fill_words(Isa::best()?, Stream::new(42), &mut words)?;
/// assert_eq!(words, [1127355824, 2846674018, 581910236, 2109525913]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Stream`] when an index would exceed 2⁶⁴ − 1.
pub fn fill_words(isa: Isa, stream: Stream, out: &mut [u32]) -> Result<(), Error> {
    fill(isa, stream, out)
}

/// Fills `out` with uniform numbers of [0, 1): `(w >> 8) · 2⁻²⁴` of the words that [`fill_words`] gives.
///
/// ```
/// use zeropoint::{Isa, Stream, fill_uniform};
/// let mut numbers = [0.0; 1000];
/// fill_uniform(Isa::best()?, Stream::new(42), &mut numbers)?;
/// assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`fill_words`].
pub fn fill_uniform(isa: Isa, stream: Stream, out: &mut [f32]) -> Result<(), Error> {
    fill(isa, stream, out)
}

fn fill<W: Word>(isa: Isa, stream: Stream, out: &mut [W]) -> Result<(), Error> {
    stream.check(out.len())?;
    isa.run(Fill { stream, out });
    Ok(())
}

/// A stream as a generator of the `rand` crates: it stands wherever one of theirs does.
///
/// Words come in the order of the [`Stream`], so `next_u32` gives word(seed, 0), word(seed, 1), …; `next_u64` takes two, the
/// lower half first; bytes are the words' own, little-endian. Behind word 2⁶⁴ − 1 follows word 0. Not for cryptography.
///
/// ```
/// use rand_core::{Rng, SeedableRng};
/// use zeropoint::{Isa, Stream, StreamRng};
/// let mut rng = StreamRng::seed_from_u64(42);
/// assert_eq!([rng.next_u32(), rng.next_u32()], [1127355824, 2846674018]);
/// assert_eq!(rng.stream(), Stream { seed: 42, offset: 2 });
/// // From there on, on a given ISA.
/// let mut other = StreamRng::new(Isa::named("scalar")?, rng.stream());
/// assert_eq!(other.next_u64(), rng.next_u64());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRng {
    isa: Isa,
    generators: Generators,
    buffer: [u32; BUFFER],
    /// Of the buffer's words, those that were taken.
    taken: usize,
}

/// The words that [`StreamRng`] makes at a time: whole blocks.
const BUFFER: usize = 16 * LANES;

/// [`Generators::fill`] as a kernel.
struct More<'a, W>(&'a mut Generators, &'a mut [[W; LANES]]);

impl<W: Word> Kernel for More<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        self.0.fill(simd, self.1);
    }
}

/// [`Generators::at`] as a kernel.
struct Enter(Stream);

impl Kernel for Enter {
    type Output = Generators;

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> Generators {
        Generators::at(simd, self.0)
    }
}

impl StreamRng {
    /// A generator whose first word is that of the place.
    #[must_use]
    pub fn new(isa: Isa, stream: Stream) -> Self {
        let mut rng = StreamRng { isa, generators: isa.run(Enter(stream)), buffer: [0; BUFFER], taken: BUFFER };
        let before = (stream.offset % LANES as u64) as usize;
        if before > 0 {
            rng.refill();
            rng.taken = before;
        }
        rng
    }

    /// The place of the next word.
    #[must_use]
    pub fn stream(&self) -> Stream {
        let Generators { seed, chunk, step, .. } = self.generators;
        let made = (chunk * CHUNK as u64).wrapping_add((step * LANES) as u64);
        Stream { seed, offset: made.wrapping_sub((BUFFER - self.taken) as u64) }
    }

    #[inline(never)]
    fn refill(&mut self) {
        self.isa.run(More(&mut self.generators, self.buffer.as_chunks_mut().0));
        self.taken = 0;
    }

    /// Words of the buffer, at most one for every four bytes, into `out`; what is left of `out`.
    fn drain<'a>(&mut self, out: &'a mut [u8]) -> &'a mut [u8] {
        let words = (BUFFER - self.taken).min(out.len().div_ceil(4));
        let (now, later) = out.split_at_mut(out.len().min(4 * words));
        for (bytes, word) in now.chunks_mut(4).zip(&self.buffer[self.taken..]) {
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
        self.taken += words;
        later
    }
}

impl TryRng for StreamRng {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        if let Some(&word) = self.buffer.get(self.taken) {
            self.taken += 1;
            return Ok(word);
        }
        self.refill();
        self.taken = 1;
        Ok(self.buffer[0])
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        next_u64_via_u32(self)
    }

    /// At the speed of [`fill_words`]. Of a last word that is not needed whole, the rest is dropped.
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let bytes = self.drain(bytes);
        let (words, _) = bytes.as_chunks_mut::<4>();
        let (blocks, _) = words.as_chunks_mut();
        let direct = blocks.len() * 4 * LANES;
        self.isa.run(More(&mut self.generators, blocks));
        let rest = &mut bytes[direct..];
        if !rest.is_empty() {
            self.refill();
            self.drain(rest);
        }
        Ok(())
    }
}

impl SeedableRng for StreamRng {
    /// The stream's seed, little-endian.
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Self {
        Self::seed_from_u64(u64::from_le_bytes(seed))
    }

    /// The stream of this seed from its beginning, on [`Isa::best`]; on the scalar ISA, with the same words, where
    /// `ZEROPOINT_ISA` names none that the CPU has.
    fn seed_from_u64(seed: u64) -> Self {
        let isa = Isa::best().unwrap_or_else(|_| Isa::supported()[0]);
        Self::new(isa, Stream::new(seed))
    }
}

#[cfg(test)]
mod tests {
    //! The published vectors of xoshiro128++ start from a state or take 2⁶⁴ steps, which no public function does.

    use core::array::from_fn;

    use super::*;

    /// Every lane from this state: the words of some steps, the same in all lanes, and the state behind them.
    struct Steps(usize, [u32; 4]);

    impl Kernel for Steps {
        type Output = Vec<(u32, [u32; 4])>;
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Self::Output {
            let mut generators = Generators::of_chunk(0, 0);
            generators.state = self.1.map(|word| [word as i32; LANES]);
            let mut state = generators.load(simd);
            let mut out = Vec::new();
            for _ in 0..self.0 {
                let mut words = [0_u32; LANES];
                u32::store(simd, next(simd, &mut state), &mut words);
                generators.store(simd, state);
                assert_eq!(words, [words[0]; LANES]);
                out.push((words[0], generators.state.map(|lanes| lanes[0] as u32)));
            }
            out
        }
    }

    #[test]
    fn published_words_and_states() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../tests/suite/golden/seeds.json")).unwrap();
        let numbers = |name: &str| -> Vec<u32> { serde_json::from_value(golden["rng"][name].clone()).unwrap() };
        for isa in Isa::supported() {
            let words: Vec<u32> = isa.run(Steps(10, [1, 2, 3, 4])).iter().map(|step| step.0).collect();
            assert_eq!(words, numbers("xoshiro128pp_1234"), "{isa}");
            // The state of that name is the one behind the six words.
            let steps = isa.run(Steps(6, seeded(&[42; LANES]).map(|lanes| lanes[0] as u32)));
            let words: Vec<u32> = steps.iter().map(|step| step.0).collect();
            assert_eq!(words, numbers("seed42_out"), "{isa}");
            assert_eq!(steps[5].1.to_vec(), numbers("seed42_state"), "{isa}");
            // The step is linear: the polynomials of 2⁶⁴ and 2⁹⁶ steps, applied to it, jump as far.
            let jumps = [
                ("jump_state", [0x8764_000b_u32, 0xf542_d2d3, 0x6fa0_35c3, 0x77f2_db5b]),
                ("long_jump_state", [0xb523_952e, 0x0b6f_099f, 0xccf5_a0ef, 0x1c58_0662]),
            ];
            for (name, polynomial) in jumps {
                let mut states = vec![[1, 2, 3, 4]];
                states.extend(isa.run(Steps(127, [1, 2, 3, 4])).iter().map(|step| step.1));
                let chosen = states.iter().enumerate().filter(|(i, _)| polynomial[i / 32] >> (i % 32) & 1 == 1);
                let jumped = chosen.fold([0; 4], |sum, (_, state)| from_fn(|word| sum[word] ^ state[word]));
                assert_eq!(jumped.to_vec(), numbers(name), "{name} on {isa}");
            }
        }
    }
}
