//! Memory that outlives the call that needs it, so that calls which repeat do not allocate.

use core::cell::Cell;
use core::mem::take;
use core::ops::{Deref, DerefMut};

/// A cache line.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
struct Line(#[expect(dead_code, reason = "read through pointers")] [u8; LINE]);

/// The bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Memory in whole cache lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// Makes room for `length` elements and returns them: zeros, or what was written before.
    #[inline]
    pub fn elements<T: Element>(&mut self, length: usize) -> &mut [T] {
        let lines = (length * size_of::<T>()).div_ceil(LINE);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; LINE]));
        }
        // SAFETY: so many bytes are there, initialized and aligned for every element, which any bytes make.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), length) }
    }

    /// The same for elements of two kinds, the second of which begin with a line.
    #[inline]
    pub fn two_kinds<T: Element, U: Element>(&mut self, [first, second]: [usize; 2]) -> (&mut [T], &mut [U]) {
        let first_lines = (first * size_of::<T>()).div_ceil(LINE);
        let all = first_lines * LINE + second * size_of::<U>();
        let (begin, rest) = self.elements::<u8>(all).split_at_mut(first_lines * LINE);
        // SAFETY: both begin where a line does, and have the bytes of so many elements, initialized, which any bytes make.
        unsafe {
            (
                core::slice::from_raw_parts_mut(begin.as_mut_ptr().cast(), first),
                core::slice::from_raw_parts_mut(rest.as_mut_ptr().cast(), second),
            )
        }
    }

    /// `length` elements of the memory, which has them.
    #[inline]
    pub fn as_slice<T: Element>(&self, length: usize) -> &[T] {
        assert!(length * size_of::<T>() <= size_of_val(&*self.0));
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), length) }
    }
}

/// What every pattern of bits is one of, without padding, aligned to a line at most, and no longer than that.
///
/// # Safety
/// Just that.
pub unsafe trait Element: Copy {}
// SAFETY: integers.
unsafe impl Element for u8 {}
// SAFETY: integers.
unsafe impl Element for i8 {}
// SAFETY: integers.
unsafe impl Element for i16 {}
// SAFETY: integers.
unsafe impl Element for i32 {}
// SAFETY: floats.
unsafe impl Element for f32 {}

thread_local! {
    /// What no call of this thread uses at the moment, last used last.
    static UNUSED: Cell<Vec<Lines>> = const { Cell::new(Vec::new()) };
    /// What was dropped in this thread: one of 2ⁿ lines for every n.
    static RECYCLED: [Cell<Lines>; SIZES] = const { [const { Cell::new(Lines(Vec::new())) }; SIZES] };
}

/// The sizes of memory that is recycled: up to 64 KiB.
const SIZES: usize = 11;

/// Memory that goes back to the thread when dropped, for its next call. Nothing is taken before it is needed.
#[derive(Debug, Default)]
pub(crate) struct Workspace(Option<Lines>);

impl Workspace {
    /// Room for `length` elements: zeros, or whatever the last user wrote.
    #[inline]
    pub fn elements<T: Element>(&mut self, length: usize) -> &mut [T] {
        if length == 0 {
            return &mut [];
        }
        self.0.get_or_insert_with(unused).elements(length)
    }

    /// `length` elements that there is room for.
    #[inline]
    pub fn as_slice<T: Element>(&self, length: usize) -> &[T] {
        self.0.as_ref().map_or(&[], |lines| lines.as_slice(length))
    }
}

impl Drop for Workspace {
    #[inline]
    fn drop(&mut self) {
        if let Some(lines) = self.0.take() {
            give_back(lines);
        }
    }
}

fn unused() -> Lines {
    UNUSED.with(|unused| {
        let mut all = unused.take();
        let lines = all.pop().unwrap_or_default();
        unused.set(all);
        lines
    })
}

fn give_back(lines: Lines) {
    // A thread that ends gives nothing back.
    let _ = UNUSED.try_with(|unused| {
        let mut all = unused.take();
        all.push(lines);
        unused.set(all);
    });
}

/// Memory of a result, which may live long, or be dropped before the next one like it is made: so it is at most twice as long as
/// it has to be, and goes back to the thread when dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recycled(Lines);

impl Recycled {
    /// Room for `length` elements: zeros, or whatever the last owner wrote.
    #[inline]
    pub fn new<T: Element>(length: usize) -> Self {
        let lines = (length * size_of::<T>()).div_ceil(LINE);
        let size = lines.next_power_of_two();
        let recycled = RECYCLED.try_with(|all| all.get(size.ilog2() as usize).map(Cell::take));
        let (mut memory, lines) = match recycled {
            Ok(Some(recycled)) => (recycled, size),
            // Too long, or the thread ends.
            _ => (Lines::default(), lines),
        };
        memory.0.resize(lines, Line([0; LINE]));
        Recycled(memory)
    }
}

impl Deref for Recycled {
    type Target = Lines;

    #[inline]
    fn deref(&self) -> &Lines {
        &self.0
    }
}

impl DerefMut for Recycled {
    #[inline]
    fn deref_mut(&mut self) -> &mut Lines {
        &mut self.0
    }
}

impl Drop for Recycled {
    #[inline]
    fn drop(&mut self) {
        let size = self.0.0.len();
        if size.is_power_of_two() {
            // A thread that ends takes nothing back.
            let _ = RECYCLED.try_with(|all| all.get(size.ilog2() as usize).map(|one| one.set(take(&mut self.0))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_recycled_once_and_by_size() {
        let address = |of: &Recycled| of.as_slice::<u8>(1).as_ptr();
        let mut first = Recycled::new::<f32>(3 * LINE);
        first.elements::<u8>(12 * LINE).fill(7);
        let (at, other) = (address(&first), Recycled::new::<u8>(16 * LINE));
        assert_ne!(address(&other), at);
        drop(first);
        // Half the size, then the same, rounded up as before.
        assert_ne!(address(&Recycled::new::<u8>(8 * LINE)), at);
        let again = Recycled::new::<u8>(9 * LINE);
        assert_eq!((address(&again), again.as_slice::<u8>(16 * LINE)[12 * LINE - 1]), (at, 7));
        assert_ne!(address(&Recycled::new::<u8>(9 * LINE)), at);

        let longest = 1 << (SIZES - 1);
        assert_eq!(Recycled::new::<u8>(longest * LINE - 1).0.0.len(), longest);
        let too_long = Recycled::new::<u8>(longest * LINE + 1);
        assert_eq!(too_long.0.0.len(), longest + 1);
        let nothing = Recycled::new::<u8>(0);
        assert!(nothing.as_slice::<u8>(0).is_empty());
    }

    /// What a thread drops when its own memory may be gone.
    #[test]
    fn memory_that_dies_with_its_thread() {
        thread_local! {
            static LAST: Cell<Recycled> = Cell::new(Recycled::default());
        }
        let thread = std::thread::spawn(|| {
            // (Whatever is used first goes last.)
            LAST.set(Recycled::default());
            LAST.set(Recycled::new::<u8>(LINE));
        });
        thread.join().expect("no panic");
    }
}
