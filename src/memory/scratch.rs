//! Memory of calls: the thread's own, or the caller's.

use core::cell::Cell;

use bytemuck::Pod;

use super::aligned::{AlignedBuffer, CACHE_LINE, CacheLine, bytes_of, elements_of_lines, elements_of_lines_mut};
use super::workspace::{Lent, lender};

thread_local! {
    /// The buffers of the thread that no call uses.
    static IDLE: Cell<Idle> = const { Cell::new(Idle { buffers: Vec::new(), lines: 0 }) };
}

/// A stack of buffers.
#[derive(Default)]
struct Idle {
    /// The last used one last.
    buffers: Vec<AlignedBuffer>,
    /// The cache lines of all of them.
    lines: usize,
}

/// The most bytes of idle buffers that a thread keeps. What operations pack, copy and sum is divided by the sizes of the caches
/// and takes a few MiB; a call that needs more, for the ranges of millions of groups for example, runs so long that allocating
/// it anew does not count.
const KEPT: usize = 16 << 20;

/// Memory of a call. Dropped, it goes back to where it came from: to the [`Workspace`](super::Workspace) that the thread runs
/// in, or to the thread, which keeps [`KEPT`] bytes for its next calls. Nothing is taken before it is needed.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Option<Memory>);

#[derive(Debug)]
enum Memory {
    Own(AlignedBuffer),
    Lent(Lent),
}

impl Memory {
    // (Never inlined, like the other paths that are seldom taken: a kernel then has a test for each, and no more.)
    #[inline(never)]
    fn take() -> Self {
        lender().map_or_else(|| Memory::Own(take_idle()), |arena| Memory::Lent(Lent::new(arena)))
    }

    /// Grows to `lines` cache lines at least and returns all.
    #[inline]
    fn grow(&mut self, lines: usize) -> &mut [CacheLine] {
        match self {
            Memory::Own(buffer) => {
                buffer.grow(lines);
                &mut buffer.0
            }
            Memory::Lent(lent) => lent.grow(lines),
        }
    }

    #[inline]
    fn lines(&self) -> &[CacheLine] {
        match self {
            Memory::Own(buffer) => &buffer.0,
            Memory::Lent(lent) => lent.lines(),
        }
    }
}

impl Scratch {
    /// `length` elements: whatever was written there last.
    #[inline]
    pub fn elements<T: Pod>(&mut self, length: usize) -> &mut [T] {
        if length == 0 {
            return &mut [];
        }
        let lines = bytes_of::<T>(length).div_ceil(CACHE_LINE);
        elements_of_lines_mut(self.0.get_or_insert_with(Memory::take).grow(lines), length)
    }

    /// `length` elements: of `few` if that is long enough, so that a small call takes no memory; else of this memory.
    #[inline]
    pub fn elements_or<'a, T: Pod>(&'a mut self, few: &'a mut [T], length: usize) -> &'a mut [T] {
        if length <= few.len() { &mut few[..length] } else { self.elements(length) }
    }

    /// The first `length` elements of those that [`elements`](Scratch::elements) returned before.
    #[inline]
    pub fn as_slice<T: Pod>(&self, length: usize) -> &[T] {
        self.0.as_ref().map_or(&[], |memory| elements_of_lines(memory.lines(), length))
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        if let Some(memory) = self.0.take() {
            give_back(memory);
        }
    }
}

fn take_idle() -> AlignedBuffer {
    // A thread that ends has no idle buffers any more: the call's own is allocated.
    let taken = IDLE.try_with(|idle| {
        let mut all = idle.take();
        let buffer = all.buffers.pop().unwrap_or_default();
        all.lines -= buffer.0.len();
        idle.set(all);
        buffer
    });
    taken.unwrap_or_default()
}

#[inline(never)]
fn give_back(memory: Memory) {
    // What was lent goes back when it is dropped.
    let Memory::Own(buffer) = memory else { return };
    // A thread that ends keeps no buffers any more: this one is freed.
    let _ = IDLE.try_with(|idle| {
        let mut all = idle.take();
        if all.lines + buffer.0.len() <= KEPT / CACHE_LINE {
            all.lines += buffer.0.len();
            all.buffers.push(buffer);
        }
        idle.set(all);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some buffers in use at the same time, of more bytes than a thread keeps.
    #[test]
    fn idle_buffers_are_bounded() {
        let idle = || {
            let all = IDLE.take();
            let (lines, lengths) = (all.lines, all.buffers.iter().map(|buffer| buffer.0.len()).sum::<usize>());
            IDLE.set(all);
            assert_eq!(lines, lengths);
            lines * CACHE_LINE
        };
        for sizes in [[KEPT / 4, KEPT / 2, KEPT / 4], [KEPT, KEPT / 2, KEPT / 2], [2 * KEPT, KEPT / 2, 64]] {
            let mut all = [const { Scratch(None) }; 3];
            for (scratch, size) in all.iter_mut().zip(sizes) {
                scratch.elements::<u8>(size)[size - 1] = 1;
            }
            assert_eq!(idle(), 0);
            drop(all);
            assert!((KEPT / 2..=KEPT).contains(&idle()), "{sizes:?}: {}", idle());
        }
    }
}
