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
