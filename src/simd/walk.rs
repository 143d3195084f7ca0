//! Walks over slices, block by block or quad by quad, that cover the tail too.

use super::memory::{Line, Memory, StreamVectors};
use super::{LANES, QUAD};
use crate::cache::prefetch_ahead;
use bytemuck::Pod;

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

/// Calls `f(start, input, output)` for blocks that cover both slices, whose lengths are equal.
///
/// The last, incomplete block overlaps its predecessor (`f` must depend on its arguments only); fewer than sixteen
/// elements are padded with zeros.
#[inline(always)]
pub fn map_blocks<T: Copy + Default, U: Copy + Default>(
    x: &[T],
    out: &mut [U],
    mut f: impl FnMut(usize, &[T; LANES], &mut [U; LANES]),
) {
    debug_assert_eq!(x.len(), out.len());
    let (blocks, tail) = x.as_chunks();
    let (out_blocks, _) = out.as_chunks_mut();
    for (i, (block, out_block)) in blocks.iter().zip(out_blocks).enumerate() {
        f(i * LANES, block, out_block);
    }
    if tail.is_empty() {
        return;
    }
    if let (Some(last), Some(out_last)) = (x.last_chunk(), out.last_chunk_mut()) {
        f(x.len() - LANES, last, out_last);
    } else {
        let mut padded_out = [U::default(); LANES];
        f(0, &block(x, 0), &mut padded_out);
        out.copy_from_slice(&padded_out[..x.len()]);
    }
}

/// Calls `f(start, input, output)` for quads. Results go to memory as `memory` says; where by non-temporal stores, `out` begins
/// at a cache line.
#[inline(always)]
pub fn map_each_quad<S: StreamVectors, T, U: Pod + Default>(
    simd: S,
    memory: Memory,
    x: &[[[T; LANES]; QUAD]],
    out: &mut [[[U; LANES]; QUAD]],
    mut f: impl FnMut(usize, &[[T; LANES]; QUAD], &mut [[U; LANES]; QUAD]),
) {
    if memory == Memory::Cached {
        for (i, (x, out)) in x.iter().zip(out).enumerate() {
            f(i * LANES * QUAD, x, out);
        }
        return;
    }
    let mut aligned = AlignedQuad([[U::default(); LANES]; QUAD]);
    for (i, (x, out)) in x.iter().zip(out).enumerate() {
        prefetch_ahead(x);
        f(i * LANES * QUAD, x, &mut aligned.0);
        if memory == Memory::Streamed {
            for (line, out) in aligned.lines().iter().zip(lines_mut(out)) {
                simd.stream(line, out);
            }
        } else {
            *out = aligned.0;
        }
    }
}

/// A quad that begins at a cache line.
#[repr(C, align(64))]
struct AlignedQuad<U>([[U; LANES]; QUAD]);

impl<U: Pod> AlignedQuad<U> {
    #[inline(always)]
    fn lines(&self) -> &[Line] {
        let lines = const { size_of::<Self>() / size_of::<Line>() };
        // SAFETY: `self` is aligned to 64 bytes, as a line is, its size is `lines` times 64 bytes without padding, and every
        // byte of an `Pod` is initialized.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), lines) }
    }
}

/// The cache lines of a quad, which begins at one.
#[inline(always)]
fn lines_mut<U: Pod>(quad: &mut [[U; LANES]; QUAD]) -> &mut [Line] {
    let lines = size_of_val(quad) / size_of::<Line>();
    let quad: *mut Line = core::ptr::from_mut(quad).cast();
    assert!(quad.is_aligned());
    // SAFETY: the pointer is aligned to a line (checked above), the quad has `lines` times 64 bytes and is borrowed for as
    // long as the result is, and any bytes are a valid `Pod`.
    unsafe { core::slice::from_raw_parts_mut(quad, lines) }
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
