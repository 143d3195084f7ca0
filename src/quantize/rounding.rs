//! Nearest or stochastic: how a kernel rounds, and how it walks over a run of elements for that.
//!
//! Nearest rounding depends on the number alone, so that the last block of a run may overlap its predecessor. Stochastic
//! rounding needs every element's own word, which a [`Cursor`] brings along.

use bytemuck::Pod;

use super::fast::QuadWalk;
use crate::cache::prefetch_ahead;
use crate::kernel::Vectors;
use crate::random::{Cursor, Stream};
use crate::simd::memory::Memory;
use crate::simd::{LANES, QUAD};

/// How a block of clamped numbers is rounded to integers.
pub(crate) trait Round<S: Vectors>: Copy {
    fn round(self, simd: S, v: S::F32) -> S::I32;
}

/// To nearest, ties to even.
#[derive(Clone, Copy)]
pub(crate) struct Nearest;

impl<S: Vectors> Round<S> for Nearest {
    #[inline(always)]
    fn round(self, simd: S, v: S::F32) -> S::I32 {
        simd.round_to_i32(v)
    }
}

/// Stochastically, with the words of the block.
#[derive(Clone, Copy)]
pub(crate) struct Words<S: Vectors>(S::I32);

impl<S: Vectors> Round<S> for Words<S> {
    #[inline(always)]
    fn round(self, simd: S, v: S::F32) -> S::I32 {
        simd.round_stochastically(v, self.0)
    }
}

/// How the elements of a tensor are rounded: [`Nearest`], or stochastically with a [`Stream`], of which element i takes the
/// word i behind the offset.
pub(crate) trait Rounding: Copy + Send + Sync {
    /// How one block is.
    type Block<S: Vectors>: Round<S>;
    /// What goes from run to run.
    type Walker;
    /// Whether blocks of a run of whole blocks begin where the run does, not where words do.
    const FROM_THE_START: bool;

    /// At an element of the tensor, for so many.
    fn walker<S: Vectors>(self, simd: S, first: usize, elements: usize) -> Self::Walker;

    /// Calls `f(about, start, input, output, rounding)` for blocks that cover the next run, or where `together` and rounding
    /// depends on nothing else, `quad(about, start, input, output, invalid)`: see [`QuadWalk::map_quads`].
    #[expect(clippy::too_many_arguments, reason = "those of `map_quads` and the walker")]
    fn map_blocks<S: Vectors, T: Copy + Default, U: Pod + Default, A: Copy>(
        walker: &mut Self::Walker,
        simd: S,
        memory: Memory,
        together: bool,
        x: &[T],
        out: &mut [U],
        stretch: impl FnMut(usize) -> (A, usize),
        four: impl FnMut(A, usize, &[[T; LANES]; QUAD], &mut [[U; LANES]; QUAD], S::I32) -> S::I32,
        f: impl FnMut(A, usize, &[T; LANES], &mut [U; LANES], Self::Block<S>),
    );
}

impl Rounding for Nearest {
    type Block<S: Vectors> = Nearest;
    type Walker = ();
    const FROM_THE_START: bool = true;

    #[inline(always)]
    fn walker<S: Vectors>(self, _: S, _: usize, _: usize) {}

    #[inline(always)]
    fn map_blocks<S: Vectors, T: Copy + Default, U: Pod + Default, A: Copy>(
        (): &mut (),
        simd: S,
        memory: Memory,
        together: bool,
        x: &[T],
        out: &mut [U],
        stretch: impl FnMut(usize) -> (A, usize),
        four: impl FnMut(A, usize, &[[T; LANES]; QUAD], &mut [[U; LANES]; QUAD], S::I32) -> S::I32,
        mut f: impl FnMut(A, usize, &[T; LANES], &mut [U; LANES], Nearest),
    ) {
        QuadWalk { simd, memory, fast: together, x, out }.map_quads(
            stretch,
            four,
            #[inline(always)]
            move |about, start, x, out| f(about, start, x, out, Nearest),
        );
    }
}

impl Rounding for Stream {
    type Block<S: Vectors> = Words<S>;
    type Walker = Cursor;
    const FROM_THE_START: bool = false;

    #[inline(always)]
    fn walker<S: Vectors>(self, simd: S, first: usize, elements: usize) -> Cursor {
        // The check of the whole tensor keeps this sum in range.
        Cursor::at(simd, Stream { seed: self.seed, offset: self.offset.wrapping_add(first as u64) }, elements)
    }

    #[inline(always)]
    fn map_blocks<S: Vectors, T: Copy + Default, U: Pod + Default, A: Copy>(
        cursor: &mut Cursor,
        simd: S,
        memory: Memory,
        _: bool,
        x: &[T],
        out: &mut [U],
        mut stretch: impl FnMut(usize) -> (A, usize),
        _: impl FnMut(A, usize, &[[T; LANES]; QUAD], &mut [[U; LANES]; QUAD], S::I32) -> S::I32,
        mut f: impl FnMut(A, usize, &[T; LANES], &mut [U; LANES], Words<S>),
    ) {
        let mut start = 0;
        while start < x.len() {
            let (about, elements) = stretch(start);
            // Whole blocks, as the last one may begin with the last element.
            let rest = x.len() - start;
            let run = start..start + elements.min(rest).next_multiple_of(LANES).min(rest);
            let (x, out) = (&x[run.clone()], &mut out[run]);
            // (Two loops: a choice in every block would cost a fifth where the compiler makes the vectors.)
            if memory == Memory::Cached {
                cursor.map_blocks(
                    simd,
                    x,
                    out,
                    #[inline(always)]
                    |i, x, out, words| f(about, start + i, x, out, Words(words)),
                );
            } else {
                cursor.map_blocks(
                    simd,
                    x,
                    out,
                    #[inline(always)]
                    |i, x, out, words| {
                        prefetch_ahead(x);
                        f(about, start + i, x, out, Words(words));
                    },
                );
            }
            start += x.len();
        }
    }
}
