//! A stream as a generator of the `rand` crates.

use core::convert::Infallible;

use bytemuck::try_cast_slice_mut;
use rand_core::utils::next_u64_via_u32;
use rand_core::{SeedableRng, TryRng};

use super::generators::{FillBlocks, Generators, Start};
use super::stream::Stream;
use crate::isa::Isa;
use crate::simd::LANES;

/// A stream as a generator of the `rand` crates: it stands wherever one of theirs does.
///
/// Words come in the order of the [`Stream`], so `next_u32` gives word(seed, 0), word(seed, 1), …; `next_u64` takes two, the
/// lower half first; bytes are the words' own, little-endian. Behind word 2⁶⁴ − 1 follows word 0. Not for cryptography.
///
/// ```
/// use rand_core::{Rng, SeedableRng};
/// use zeropoint::random::StreamRng;
/// use zeropoint::{Isa, Stream};
/// let mut rng = StreamRng::seed_from_u64(42);
/// assert_eq!([rng.next_u32(), rng.next_u32()], [1127355824, 2846674018]);
/// assert_eq!(rng.stream(), Stream { seed: 42, offset: 2 });
/// // From there on, on a given ISA.
/// let mut other = StreamRng::new(Isa::named("portable")?, rng.stream());
/// assert_eq!(other.next_u64(), rng.next_u64());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRng {
    isa: Isa,
    generators: Generators,
    buffer: [i32; BUFFER],
    /// Of the buffer's words, those that were taken.
    taken: usize,
}

/// The words that [`StreamRng`] makes at a time, in whole blocks.
const BUFFER: usize = 16 * LANES;

impl StreamRng {
    /// A generator whose first word is that of the place.
    #[must_use]
    pub fn new(isa: Isa, stream: Stream) -> Self {
        let mut rng = StreamRng { isa, generators: isa.run(Start(stream)), buffer: [0; BUFFER], taken: BUFFER };
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
        let Stream { seed, offset } = self.generators.place();
        Stream { seed, offset: offset.wrapping_sub((BUFFER - self.taken) as u64) }
    }

    #[inline(never)]
    fn refill(&mut self) {
        let (generators, blocks) = (&mut self.generators, self.buffer.as_chunks_mut().0);
        self.isa.run(FillBlocks { generators, blocks, uniform: false });
        self.taken = 0;
    }

    /// Moves words of the buffer, at most one for every four bytes, into `out`; returns what is left of `out`.
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
            return Ok(word as u32);
        }
        self.refill();
        self.taken = 1;
        Ok(self.buffer[0] as u32)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        next_u64_via_u32(self)
    }

    /// At the speed of [`fill_words`](super::fill::fill_words) where `bytes` is aligned to four. Of a last word that is not
    /// needed whole, the rest is dropped.
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let mut rest = self.drain(bytes);
        let whole = rest.len() / (4 * LANES) * (4 * LANES);
        if let Ok(words) = try_cast_slice_mut::<u8, i32>(&mut rest[..whole]) {
            let (generators, blocks) = (&mut self.generators, words.as_chunks_mut().0);
            self.isa.run(FillBlocks { generators, blocks, uniform: false });
            for word in words {
                *word = word.to_le();
            }
            rest = &mut rest[whole..];
        }
        while !rest.is_empty() {
            self.refill();
            rest = self.drain(rest);
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

    /// The stream of this seed from its beginning, on [`Isa::best`]; on `portable`, with the same words, where
    /// `ZEROPOINT_ISA` names none that the CPU has.
    fn seed_from_u64(seed: u64) -> Self {
        let isa = Isa::best().unwrap_or_else(|_| Isa::portable());
        Self::new(isa, Stream::new(seed))
    }
}
