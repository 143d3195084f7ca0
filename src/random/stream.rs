//! A place in the random words: which stream, and which index.

use crate::error::Error;

/// Words of a chunk.
pub(crate) const CHUNK: usize = 16 << 10;

/// Chunks of a stream of 2⁶⁴ words.
pub(super) const CHUNKS: u64 = u64::MAX / CHUNK as u64 + 1;

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
/// seeds: small integers, or hashes. (Seeds that differ by a multiple of SplitMix64's increment, 0x9e3779b97f4a7c15, give
/// the same lanes shifted.)
///
/// To begin at i, the generators make (i mod 16384) / 16 steps whose words nobody uses, at most a microsecond or two: work is
/// best cut at multiples of 16384, or in pieces that are large beside that.
///
/// ```
/// use zeropoint::random::fill_words;
/// use zeropoint::{Exec, Stream};
/// let exec = Exec::best()?;
/// let (mut whole, mut slice) = ([0; 100], [0; 10]);
/// fill_words(exec, Stream::new(42), &mut whole)?;
/// fill_words(exec, Stream { seed: 42, offset: 77 }, &mut slice)?;
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

    /// Words from this place to the end of its chunk.
    pub(crate) fn rest_of_chunk(self) -> usize {
        CHUNK - (self.offset % CHUNK as u64) as usize
    }
}
