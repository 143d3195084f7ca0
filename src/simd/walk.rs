//! Walks over slices, block by block, that cover the tail too.

use super::memory::Memory;
use super::{LANES, QUAD};
use crate::cache::prefetch_ahead;

/// Sixteen elements from `start` on: those that exist, then zeros.
#[inline(always)]
pub fn block<T: Copy + Default>(x: &[T], start: usize) -> [T; LANES] {
    let rest = &x[start..];
    match rest.first_chunk() {
        Some(full) => *full,
        None => {
            let mut padded = [T::default(); LANES];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        }
    }
}

/// Sixteen elements of a walk, and where their results go.
pub struct Block<'a, T, U> {
    /// The index of the first element in the walk.
    pub at: usize,
    pub x: &'a [T; LANES],
    pub out: &'a mut [U; LANES],
}

/// Some elements of a walk and their results, block by block: the last block overlaps its predecessor, and fewer than sixteen
/// elements are padded with zeros.
pub struct BlockWalk<'a, T, U> {
    at: usize,
    x: &'a [T],
    out: &'a mut [U],
    next: usize,
}

/// Room for fewer than sixteen elements and their results. (Not a part of the walk, whose fields stay in registers.)
pub struct Padded<T, U>([T; LANES], [U; LANES]);

impl<T: Copy + Default, U: Copy + Default> Padded<T, U> {
    #[inline(always)]
    pub fn new() -> Self {
        Padded([T::default(); LANES], [U::default(); LANES])
    }
}

impl<'a, T: Copy + Default, U: Copy + Default> BlockWalk<'a, T, U> {
    /// The blocks of `count` elements from `at` on.
    #[inline(always)]
    pub fn new(x: &'a [T], out: &'a mut [U], at: usize, count: usize) -> Self {
        let (x, out) = (&x[at..at + count], &mut out[at..at + count]);
        BlockWalk { at, x, out, next: 0 }
    }

    /// The next block. Call it until there is none: only then are the results of fewer than sixteen elements written.
    #[inline(always)]
    pub fn next<'b>(&'b mut self, padded: &'b mut Padded<T, U>) -> Option<Block<'b, T, U>> {
        let (BlockWalk { at, x, out, next }, Padded(padded_x, padded_out)) = (self, padded);
        let (begin, count) = (*next, x.len());
        *next += LANES;
        if begin >= count {
            if count < LANES {
                out.copy_from_slice(&padded_out[..count]);
            }
            return None;
        }
        if count < LANES {
            padded_x[..count].copy_from_slice(x);
            return Some(Block { at: *at, x: padded_x, out: padded_out });
        }
        let first = begin.min(count - LANES);
        let (x, out) = (x[first..].first_chunk()?, out[first..].first_chunk_mut()?);
        Some(Block { at: *at + first, x, out })
    }
}

/// Calls `f(j, block)` for blocks that cover `x`, which is not empty, with j from 0 to 3 in turn. The last one overlaps its
/// predecessor, and fewer than sixteen elements are filled up with the first one: for reductions that do not count.
#[inline(always)]
pub fn fold_blocks<T: Copy>(x: &[T], memory: Memory, mut f: impl FnMut(usize, &[T; LANES])) {
    let (blocks, tail) = x.as_chunks();
    let (quads, rest) = blocks.as_chunks::<QUAD>();
    for quad in quads {
        if memory != Memory::Cached {
            prefetch_ahead(quad);
        }
        for (j, block) in quad.iter().enumerate() {
            f(j, block);
        }
    }
    // The compiler knows every j, and keeps what belongs to it in registers.
    for j in 0..QUAD - 1 {
        if let Some(block) = rest.get(j) {
            f(j, block);
        }
    }
    if tail.is_empty() {
        return;
    }
    if let Some(last) = x.last_chunk() {
        f(0, last);
    } else {
        let mut padded = [x[0]; LANES];
        padded[..x.len()].copy_from_slice(x);
        f(0, &padded);
    }
}
