//! Slices of random words and of uniform values.

use core::iter::once;

use bytemuck::cast_slice_mut;

use super::generators::{FillBlocks, Start};
use super::stream::{CHUNK, Stream};
use crate::error::Error;
use crate::exec::Exec;
use crate::isa::Isa;
use crate::simd::LANES;

/// Words that a core makes in a nanosecond at most: an upper bound, so that work is shared only if every core gains by it.
const GENERATED: usize = 16;

/// Fills `out` with the words of a stream, from its offset on.
///
/// ```
/// use zeropoint::random::fill_words;
/// use zeropoint::{Exec, Stream};
/// let mut words = [0; 4];
/// fill_words(Exec::best()?, Stream::new(42), &mut words)?;
/// assert_eq!(words, [1127355824, 2846674018, 581910236, 2109525913]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Stream`] when an index would exceed 2⁶⁴ − 1.
pub fn fill_words<'t>(exec: impl Into<Exec<'t>>, stream: Stream, out: &mut [u32]) -> Result<(), Error> {
    fill(exec.into(), stream, cast_slice_mut(out), false)
}

/// Fills `out` with uniform values of [0, 1): `(w >> 8) · 2⁻²⁴` of the words w that [`fill_words`] gives.
///
/// ```
/// use zeropoint::random::fill_uniform;
/// use zeropoint::{Exec, Stream};
/// let mut values = [0.0; 1000];
/// fill_uniform(Exec::best()?, Stream::new(42), &mut values)?;
/// assert!(values.iter().all(|x| (0.0..1.0).contains(x)));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Stream`] when an index would exceed 2⁶⁴ − 1.
pub fn fill_uniform<'t>(exec: impl Into<Exec<'t>>, stream: Stream, out: &mut [f32]) -> Result<(), Error> {
    fill(exec.into(), stream, cast_slice_mut(out), true)
}

fn fill(exec: Exec<'_>, stream: Stream, out: &mut [i32], uniform: bool) -> Result<(), Error> {
    stream.check(out.len())?;
    let (isa, team) = (exec.isa(), exec.team(out.len() / GENERATED));
    if team.alone() {
        Fill { stream, out, uniform }.run(isa);
        return Ok(());
    }
    // Pieces begin where chunks do: to enter a chunk in its middle takes steps.
    let (head, rest) = out.split_at_mut(stream.rest_of_chunk());
    let behind = stream.offset.wrapping_add(head.len() as u64);
    let chunks = rest.chunks_mut(CHUNK).enumerate().map(|(i, out)| {
        let offset = behind.wrapping_add((i * CHUNK) as u64);
        Fill { stream: Stream { offset, ..stream }, out, uniform }
    });
    team.share(once(Fill { stream, out: head, uniform }).chain(chunks), |piece| piece.run(isa));
    Ok(())
}

/// A stream and the function that makes its words: through this pointer, so that a program which never rounds a result
/// stochastically has no generators for it.
#[derive(Clone, Copy)]
pub(crate) struct WordSource {
    pub stream: Stream,
    fill: fn(Fill<'_>, Isa),
}

impl WordSource {
    pub fn new(stream: Stream) -> Self {
        WordSource { stream, fill: |fill, isa| fill.run(isa) }
    }

    /// A source whose first word is `words` words further on in the stream.
    pub fn skip(self, words: u64) -> Result<Self, Error> {
        Ok(WordSource { stream: self.stream.skip(words)?, ..self })
    }

    /// Makes the words of the stream from this index on.
    pub fn fill(&self, isa: Isa, offset: u64, out: &mut [i32]) {
        (self.fill)(Fill { stream: Stream { offset, ..self.stream }, out, uniform: false }, isa);
    }
}

/// A slice of any length, and the place of its first word: words as they are, or as the bits of uniform f32.
pub(crate) struct Fill<'a> {
    pub stream: Stream,
    pub out: &'a mut [i32],
    pub uniform: bool,
}

impl Fill<'_> {
    /// Fills the slice.
    pub fn run(self, isa: Isa) {
        let Fill { stream, mut out, uniform } = self;
        if out.is_empty() {
            return;
        }
        let mut generators = isa.run(Start(stream));
        let mut fill = |blocks: &mut [_]| isa.run(FillBlocks { generators: &mut generators, blocks, uniform });
        let mut block = [[0; LANES]];
        let before = (stream.offset % LANES as u64) as usize;
        if before > 0 {
            let head;
            (head, out) = out.split_at_mut(out.len().min(LANES - before));
            fill(&mut block);
            head.copy_from_slice(&block[0][before..][..head.len()]);
        }
        let (blocks, tail) = out.as_chunks_mut();
        fill(blocks);
        if !tail.is_empty() {
            fill(&mut block);
            tail.copy_from_slice(&block[0][..tail.len()]);
        }
    }
}
