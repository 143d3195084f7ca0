//! Memory that outlives the call that needs it, so that calls which repeat do not allocate.

use core::cell::Cell;

/// A cache line.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
struct Line(#[expect(dead_code, reason = "read through pointers")] [u8; LINE]);

/// The bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Memory in whole cache lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// Makes room for `length` elements and returns them: zeros, or what was written before.
    pub fn elements<T: Element>(&mut self, length: usize) -> &mut [T] {
        let lines = (length * size_of::<T>()).div_ceil(LINE);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; LINE]));
        }
        // SAFETY: so many bytes are there, initialized and aligned for every element, which any bytes make.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), length) }
    }

    /// `length` elements of the memory, which has them.
    pub fn as_slice<T: Element>(&self, length: usize) -> &[T] {
        assert!(length * size_of::<T>() <= size_of_val(&*self.0));
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), length) }
    }
}

/// Numbers that every pattern of bits is one of, aligned to less than a line.
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

thread_local! {
    /// What no call of this thread uses at the moment, last used last.
    static UNUSED: Cell<Vec<Lines>> = const { Cell::new(Vec::new()) };
}

/// Lines that go back to the thread when dropped, for its next call.
#[derive(Debug)]
pub(crate) struct Workspace(Lines);

impl Workspace {
    /// Those that the thread gave back last.
    pub fn take() -> Self {
        let mut unused = UNUSED.take();
        let lines = unused.pop().unwrap_or_default();
        UNUSED.set(unused);
        Workspace(lines)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let lines = core::mem::take(&mut self.0);
        // A thread that ends gives nothing back.
        let _ = UNUSED.try_with(|unused| {
            let mut all = unused.take();
            all.push(lines);
            unused.set(all);
        });
    }
}

impl core::ops::Deref for Workspace {
    type Target = Lines;
    fn deref(&self) -> &Lines {
        &self.0
    }
}

impl core::ops::DerefMut for Workspace {
    fn deref_mut(&mut self) -> &mut Lines {
        &mut self.0
    }
}
