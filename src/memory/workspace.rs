//! Memory of the caller, of which calls take parts.
//!
//! A [`Workspace`] lends its cache lines to the calls of one thread, while a [scope](Workspace::scope) lasts. They are a stack:
//! a buffer begins where the last one ends, and what is freed below the top waits until the top reaches it. Buffers have their
//! place on the stack even where the memory does not suffice, so the highest top says how much would; what lies beyond the
//! memory is allocated.

use core::cell::Cell;
use core::ptr::NonNull;
use core::slice::{from_raw_parts, from_raw_parts_mut};

use bytemuck::pod_align_to_mut;

use super::aligned::{AlignedBuffer, CACHE_LINE, CacheLine};
use crate::error::Error;

/// Memory that operations use in place of allocating: the caller's own, of a known size.
///
/// Operations need memory beside their arguments, for packed rows or partial sums for example. Otherwise a thread allocates it once and
/// keeps it for its next calls. Inside [`scope`](Workspace::scope) it comes from the workspace, so that not even the first call
/// allocates. A workspace of no bytes tells how many a call [needs](Workspace::needed). Results do not depend on workspaces.
///
/// Results that own memory, such as [`QuantParams`](crate::QuantParams) or packed weights, do not come from the workspace; nor
/// does the memory of other threads that share the work: they run tasks in workspaces of their own, or in none.
///
/// ```
/// use zeropoint::exec::Workspace;
/// use zeropoint::*;
/// let exec = Exec::best()?;
/// let (a, b, mut c) = (vec![200_u8; 40 * 300], vec![-3_i8; 300 * 50], vec![0; 40 * 50]);
/// let weights = raw::pack(exec, Matrix::new(&b, 300, 50)?, 0.into())?;
/// let mut product = || {
///     let (a, c) = (Matrix::new(&a, 40, 300)?, MatrixMut::new(&mut c, 40, 50)?);
///     raw::matmul(exec, a, 9.into(), &weights, &Accumulators, c)
/// };
/// let mut unknown = Workspace::new(0)?;
/// unknown.scope(&mut product)?; // allocates what it needs
///
/// let mut workspace = Workspace::new(unknown.needed())?;
/// workspace.scope(&mut product)?; // allocates nothing
/// assert!(workspace.needed() <= workspace.bytes());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Workspace<'m> {
    memory: Lines<'m>,
    /// Cache lines that calls had at once, at most.
    most: usize,
}

#[derive(Debug)]
enum Lines<'m> {
    Own(Vec<CacheLine>),
    Borrowed(&'m mut [CacheLine]),
}

impl Lines<'_> {
    fn get(&mut self) -> &mut [CacheLine] {
        match self {
            Lines::Own(lines) => lines,
            Lines::Borrowed(lines) => lines,
        }
    }
}

impl Workspace<'static> {
    /// A workspace of at least `bytes` bytes of its own.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(bytes: usize) -> Result<Self, Error> {
        let mut buffer = AlignedBuffer::default();
        buffer.try_bytes(bytes)?;
        Ok(Workspace { memory: Lines::Own(buffer.0), most: 0 })
    }
}

impl<'m> Workspace<'m> {
    /// A workspace in memory of the caller: of the cache lines of 64 bytes that lie wholly in it. Whatever it contains, results
    /// are the same.
    #[must_use]
    pub fn borrowed(memory: &'m mut [u8]) -> Self {
        Workspace { memory: Lines::Borrowed(pod_align_to_mut(memory).1), most: 0 }
    }

    /// The bytes that it has for calls.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lines = match &self.memory {
            Lines::Own(lines) => lines.len(),
            Lines::Borrowed(lines) => lines.len(),
        };
        lines * CACHE_LINE
    }

    /// The bytes that the calls of all scopes so far needed at once, at most: a workspace of as many would have sufficed. A call
    /// with the same shapes, parameters and ISA needs the same again. Memory to be [borrowed](Workspace::borrowed) that does
    /// not begin at a multiple of 64 loses up to 63 bytes.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.most * CACHE_LINE
    }

    /// Calls `operations`, whose calls of this crate take the memory that they need on this thread from the workspace. Where it does not
    /// suffice, memory is allocated; [`needed`](Workspace::needed) counts that, too.
    ///
    /// Scopes nest: calls use the workspace of the innermost one.
    pub fn scope<R>(&mut self, operations: impl FnOnce() -> R) -> R {
        let (mut operations, mut result) = (Some(operations), None);
        self.lend(&mut || result = operations.take().map(|operations| operations()));
        result.expect("the operations were called")
    }

    /// [`scope`](Workspace::scope), compiled once.
    fn lend(&mut self, operations: &mut dyn FnMut()) {
        let arena = Arena::new(self.memory.get());
        {
            let _installed = Installed { arena: &arena, before: LENDER.replace(Some(NonNull::from(&arena))) };
            operations();
        }
        self.most = self.most.max(arena.most.get());
    }
}

thread_local! {
    /// The arena of the innermost scope that the thread is in. It lives as long as it is here, since [`Installed`] removes it at the
    /// scope's end.
    static LENDER: Cell<Option<NonNull<Arena>>> = const { Cell::new(None) };
}

/// The arena of the innermost scope that the thread is in.
#[inline]
pub(super) fn lender() -> Option<NonNull<Arena>> {
    LENDER.get()
}

/// An arena that the thread's calls use until this is dropped, by return or by unwinding.
struct Installed<'a> {
    arena: &'a Arena,
    before: Option<NonNull<Arena>>,
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        LENDER.set(self.before);
        if self.arena.buffers.get() > 0 {
            // A buffer that outlives its scope would be memory that the caller has back. No value that the crate's functions
            // return has one, so this is a bug of the crate, after which nothing can be trusted.
            std::process::abort();
        }
    }
}

/// Freed buffers below the top that are remembered. Buffers are freed in nearly the reverse order of their making, so a few are
/// enough; others are free again when all are.
const REMEMBERED: usize = 16;

/// A stack of buffers in memory that is lent. Positions are in cache lines.
pub(super) struct Arena {
    lines: NonNull<CacheLine>,
    count: usize,
    /// The end of the highest buffer.
    top: Cell<usize>,
    /// The highest top so far.
    most: Cell<usize>,
    /// Buffers that exist.
    buffers: Cell<usize>,
    /// Beginnings and ends of buffers that were freed below the top.
    freed: [Cell<[usize; 2]>; REMEMBERED],
    freed_count: Cell<usize>,
}

impl Arena {
    fn new(lines: &mut [CacheLine]) -> Self {
        Arena {
            lines: NonNull::from(&mut *lines).cast(),
            count: lines.len(),
            top: Cell::new(0),
            most: Cell::new(0),
            buffers: Cell::new(0),
            freed: [const { Cell::new([0; 2]) }; REMEMBERED],
            freed_count: Cell::new(0),
        }
    }

    /// Sets the end of the highest buffer.
    fn set_top(&self, top: usize) {
        self.top.set(top);
        self.most.set(self.most.get().max(top));
    }

    /// Frees the lines from `start` to `end`.
    fn free(&self, start: usize, end: usize) {
        if end != self.top.get() {
            if let Some(place) = self.freed.get(self.freed_count.get()) {
                place.set([start, end]);
                self.freed_count.set(self.freed_count.get() + 1);
            }
            return;
        }
        let mut top = start;
        loop {
            let freed = &self.freed[..self.freed_count.get()];
            let Some(below) = freed.iter().position(|place| place.get()[1] == top) else { break };
            top = freed[below].get()[0];
            freed[below].swap(&freed[freed.len() - 1]);
            self.freed_count.set(freed.len() - 1);
        }
        self.top.set(top);
    }
}

/// A buffer on the stack of an [`Arena`].
#[derive(Debug)]
pub(super) struct Lent {
    arena: NonNull<Arena>,
    start: usize,
    end: usize,
    /// The memory of a buffer that ends beyond what the arena has; else empty.
    beyond: AlignedBuffer,
}

// SAFETY: a shared reference gives its lines to be read, and nothing else: the arena's cells belong to the thread that
// owns the buffer.
unsafe impl Sync for Lent {}

impl Lent {
    /// A buffer of no lines. The arena is the thread's [`lender`].
    #[cold]
    pub fn new(arena: NonNull<Arena>) -> Self {
        // SAFETY: the lender of a thread lives while its scope lasts, in which this call is.
        let of = unsafe { arena.as_ref() };
        of.buffers.set(of.buffers.get() + 1);
        Lent { arena, start: of.top.get(), end: of.top.get(), beyond: AlignedBuffer::default() }
    }

    fn arena(&self) -> &Arena {
        // SAFETY: buffers do not outlive the scope of their arena, or `Installed` ends the process.
        unsafe { self.arena.as_ref() }
    }

    #[cold]
    #[inline(never)]
    pub fn lines(&self) -> &[CacheLine] {
        if self.end > self.arena().count {
            return &self.beyond.0;
        }
        // SAFETY: the lines lie in the arena's memory, which the workspace has borrowed for the scope; no other buffer has them.
        unsafe { from_raw_parts(self.arena().lines.add(self.start).as_ptr(), self.end - self.start) }
    }

    /// Grows to `lines` cache lines at least and returns all. What was there stays.
    #[cold]
    #[inline(never)]
    pub fn grow(&mut self, lines: usize) -> &mut [CacheLine] {
        if self.end - self.start < lines {
            self.extend(lines);
        }
        if self.end > self.arena().count {
            return &mut self.beyond.0;
        }
        // SAFETY: as in `lines`, and this buffer is borrowed mutably.
        unsafe { from_raw_parts_mut(self.arena().lines.add(self.start).as_ptr(), self.end - self.start) }
    }

    fn extend(&mut self, lines: usize) {
        let mut grown = Lent::new(self.arena);
        let arena = self.arena();
        // The highest buffer stays where it is.
        if self.end == arena.top.get() {
            grown.start = self.start;
        }
        grown.end = grown.start.checked_add(lines).expect("the size in bytes exceeds usize");
        arena.set_top(grown.end);
        if grown.end > arena.count {
            grown.beyond.grow(lines);
        }
        let old = self.lines();
        if grown.end > arena.count {
            grown.beyond.0[..old.len()].copy_from_slice(old);
        } else if grown.start != self.start {
            grown.grow(lines)[..old.len()].copy_from_slice(old);
        }
        if grown.start == self.start {
            // What is dropped has no lines of its own.
            self.end = self.start;
        }
        *self = grown;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let arena = self.arena();
        if self.start < self.end {
            arena.free(self.start, self.end);
        }
        arena.buffers.set(arena.buffers.get() - 1);
        if arena.buffers.get() == 0 {
            arena.top.set(0);
            arena.freed_count.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    /// Where a buffer of some lines begins, in lines of the workspace.
    fn place(scratch: &mut Scratch, lines: usize, first: usize) -> usize {
        (scratch.elements::<u8>(lines * CACHE_LINE).as_ptr() as usize - first) / CACHE_LINE
    }

    #[test]
    fn buffers_are_a_stack() {
        let mut workspace = Workspace::new(100 * CACHE_LINE).unwrap();
        let first = workspace.memory.get().as_ptr() as usize;
        workspace.scope(|| {
            let mut scratch: [Scratch; 5] = core::array::from_fn(|_| Scratch::default());
            let lines = [10, 20, 5, 1, 4];
            let places: Vec<usize> = scratch.iter_mut().zip(lines).map(|(s, lines)| place(s, lines, first)).collect();
            assert_eq!(places, [0, 10, 30, 35, 36]);
            // The highest grows where it is, another one moves, with what is in it.
            scratch[4].elements::<u8>(1)[0] = 7;
            assert_eq!(place(&mut scratch[4], 14, first), 36);
            scratch[2].elements::<u8>(5 * CACHE_LINE)[5 * CACHE_LINE - 1] = 9;
            assert_eq!(place(&mut scratch[2], 6, first), 50);
            assert_eq!(
                (scratch[4].as_slice::<u8>(1)[0], scratch[2].as_slice::<u8>(5 * CACHE_LINE).last()),
                (7, Some(&9))
            );
            // Freed below the top: its lines come back when all above are free.
            let [a, b, c, d, e] = scratch;
            drop((b, d, e));
            let mut above = Scratch::default();
            assert_eq!(place(&mut above, 1, first), 56);
            drop((above, c));
            let mut next = Scratch::default();
            assert_eq!(place(&mut next, 1, first), 10);
            drop(a);
            assert_eq!(place(&mut next, 2, first), 10);
        });
        assert_eq!(workspace.needed(), 57 * CACHE_LINE);
        workspace.scope(|| assert_eq!(place(&mut Scratch::default(), 3, first), 0));
        assert_eq!(workspace.needed(), 57 * CACHE_LINE);
    }

    /// More freed buffers than are remembered.
    #[test]
    fn lines_come_back_when_nothing_is_left() {
        let mut workspace = Workspace::new(0).unwrap();
        workspace.scope(|| {
            for _ in 0..3 {
                let mut all: Vec<Scratch> = (0..3 * REMEMBERED).map(|_| Scratch::default()).collect();
                all.iter_mut().for_each(|scratch| scratch.elements::<u8>(1)[0] = 1);
                // From the first to the last.
                all.into_iter().for_each(drop);
            }
        });
        assert_eq!(workspace.needed(), 3 * REMEMBERED * CACHE_LINE);
    }

    /// What does not fit is allocated, and keeps what is in it when it grows.
    #[test]
    fn beyond_the_memory() {
        let mut lent = [0_u8; 4 * CACHE_LINE];
        let mut workspace = Workspace::borrowed(&mut lent);
        let has = workspace.bytes() / CACHE_LINE;
        assert!((3..=4).contains(&has));
        workspace.scope(|| {
            let mut scratch = Scratch::default();
            for lines in 1..9 {
                let elements = scratch.elements::<u8>(lines * CACHE_LINE);
                elements[(lines - 1) * CACHE_LINE] = lines as u8;
                for i in 0..lines {
                    assert_eq!(elements[i * CACHE_LINE], i as u8 + 1);
                }
            }
        });
        assert_eq!(workspace.needed(), 8 * CACHE_LINE);
    }
}
