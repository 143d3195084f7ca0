//! Memory that outlives the call that needs it, so that calls which repeat do not allocate.
//!
//! [`Workspace`] is memory of one call: it goes back to a stack of the thread at the end of the call. [`PooledBuffer`] is
//! memory of a result, which lives as long as the result: it goes back to a pool of the thread when dropped. Both hold an
//! [`AlignedBuffer`], whose bytes are viewed as elements of any plain type ([`Pod`]: every bit pattern is valid, no padding).

use core::cell::Cell;
use core::mem::take;
use core::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable, cast_slice, cast_slice_mut};

use crate::error::Error;

/// The bytes of a cache line.
pub(crate) const CACHE_LINE: usize = 64;

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct CacheLine([u8; CACHE_LINE]);

// SAFETY: an array of bytes, for which zeros are a valid value.
unsafe impl Zeroable for CacheLine {}
// SAFETY: `repr(C)` with one field of bytes, whose size is the alignment: no padding, every bit pattern is valid.
unsafe impl Pod for CacheLine {}

/// Memory in whole cache lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlignedBuffer(Vec<CacheLine>);

/// The bytes of `length` elements.
///
/// # Panics
/// When they exceed `usize`.
fn bytes_of<T: Pod>(length: usize) -> usize {
    const { assert!(align_of::<T>() <= CACHE_LINE, "a buffer begins where a cache line does") }
    length.checked_mul(size_of::<T>()).expect("the size in bytes exceeds usize")
}

impl AlignedBuffer {
    /// Grows to `length` elements at least and returns them: zeros, or what was written before.
    #[inline]
    pub fn elements<T: Pod>(&mut self, length: usize) -> &mut [T] {
        let bytes = bytes_of::<T>(length);
        let lines = bytes.div_ceil(CACHE_LINE);
        if self.0.len() < lines {
            self.0.resize(lines, CacheLine::zeroed());
        }
        cast_slice_mut::<u8, T>(&mut cast_slice_mut(&mut self.0)[..bytes])
    }

    /// Grows to `bytes` bytes at least.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn try_bytes(&mut self, bytes: usize) -> Result<&mut [u8], Error> {
        let more = bytes.div_ceil(CACHE_LINE).saturating_sub(self.0.len());
        self.0.try_reserve_exact(more).map_err(|_| Error::Memory { bytes })?;
        Ok(self.elements(bytes))
    }

    /// Grows to two arrays of these lengths and returns them. Each begins where a cache line does.
    #[inline]
    pub fn two_arrays<T: Pod, U: Pod>(&mut self, [first, second]: [usize; 2]) -> (&mut [T], &mut [U]) {
        let (first, second) = (bytes_of::<T>(first), bytes_of::<U>(second));
        let padded = first.next_multiple_of(CACHE_LINE);
        let bytes = padded.checked_add(second).expect("the size in bytes exceeds usize");
        let (begin, rest) = self.elements::<u8>(bytes).split_at_mut(padded);
        (cast_slice_mut(&mut begin[..first]), cast_slice_mut(rest))
    }

    /// The first `length` elements.
    ///
    /// # Panics
    /// When the buffer has fewer.
    #[inline]
    pub fn as_slice<T: Pod>(&self, length: usize) -> &[T] {
        cast_slice::<u8, T>(&cast_slice(&self.0)[..bytes_of::<T>(length)])
    }
}

thread_local! {
    static IDLE: Cell<Idle> = const { Cell::new(Idle { buffers: Vec::new(), lines: 0 }) };
    /// Buffers of results that were dropped in the thread: for every n, up to one of 2ⁿ cache lines.
    static POOL: [Cell<AlignedBuffer>; SIZES] = const { [const { Cell::new(AlignedBuffer(Vec::new())) }; SIZES] };
}

/// The sizes of pooled buffers: 1 … 1024 cache lines, so 64 KiB at most. What is larger takes longer to fill than to
/// allocate.
const SIZES: usize = 11;

/// Buffers of a thread that no call uses.
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

/// Memory of a call. Dropped, it goes back to the thread, for the next call; what exceeds [`KEPT`] is freed. Nothing is taken
/// before it is needed.
#[derive(Debug, Default)]
pub(crate) struct Workspace(Option<AlignedBuffer>);

impl Workspace {
    /// `length` elements: zeros, or whatever the last user wrote.
    #[inline]
    pub fn elements<T: Pod>(&mut self, length: usize) -> &mut [T] {
        if length == 0 {
            return &mut [];
        }
        self.0.get_or_insert_with(take_idle).elements(length)
    }

    /// The first `length` elements of those that [`elements`](Workspace::elements) returned before.
    #[inline]
    pub fn as_slice<T: Pod>(&self, length: usize) -> &[T] {
        self.0.as_ref().map_or(&[], |buffer| buffer.as_slice(length))
    }
}

impl Drop for Workspace {
    #[inline]
    fn drop(&mut self) {
        if let Some(buffer) = self.0.take() {
            give_back(buffer);
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

fn give_back(buffer: AlignedBuffer) {
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

/// Memory of a result, which may live long, or be dropped before the next one like it is made. So it is at most twice as long
/// as asked for, and goes back to the pool of the thread when dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct PooledBuffer(AlignedBuffer);

impl PooledBuffer {
    /// A buffer of `length` elements: zeros, or whatever the last owner wrote.
    #[inline]
    pub fn new<T: Pod>(length: usize) -> Self {
        let lines = bytes_of::<T>(length).div_ceil(CACHE_LINE);
        let size = lines.next_power_of_two();
        let pooled = POOL.try_with(|pool| pool.get(size.ilog2() as usize).map(Cell::take));
        let (mut buffer, lines) = match pooled {
            Ok(Some(buffer)) => (buffer, size),
            // Longer than what the pool keeps, or the thread ends.
            _ => (AlignedBuffer::default(), lines),
        };
        buffer.0.resize(lines, CacheLine::zeroed());
        PooledBuffer(buffer)
    }
}

impl Deref for PooledBuffer {
    type Target = AlignedBuffer;

    #[inline]
    fn deref(&self) -> &AlignedBuffer {
        &self.0
    }
}

impl DerefMut for PooledBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut AlignedBuffer {
        &mut self.0
    }
}

impl Drop for PooledBuffer {
    #[inline]
    fn drop(&mut self) {
        let size = self.0.0.len();
        if size.is_power_of_two() {
            // A thread that ends has no pool any more: the buffer is freed.
            let _ = POOL.try_with(|pool| pool.get(size.ilog2() as usize).map(|slot| slot.set(take(&mut self.0))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_pooled_once_and_by_size() {
        let address = |of: &PooledBuffer| of.as_slice::<u8>(1).as_ptr();
        let mut first = PooledBuffer::new::<f32>(3 * CACHE_LINE);
        first.elements::<u8>(12 * CACHE_LINE).fill(7);
        let (at, other) = (address(&first), PooledBuffer::new::<u8>(16 * CACHE_LINE));
        assert_ne!(address(&other), at);
        drop(first);
        // Half the size, then the size of the first buffer, rounded up as it was.
        assert_ne!(address(&PooledBuffer::new::<u8>(8 * CACHE_LINE)), at);
        let again = PooledBuffer::new::<u8>(9 * CACHE_LINE);
        assert_eq!((address(&again), again.as_slice::<u8>(16 * CACHE_LINE)[12 * CACHE_LINE - 1]), (at, 7));
        assert_ne!(address(&PooledBuffer::new::<u8>(9 * CACHE_LINE)), at);

        let longest = 1 << (SIZES - 1);
        assert_eq!(PooledBuffer::new::<u8>(longest * CACHE_LINE - 1).0.0.len(), longest);
        let too_long = PooledBuffer::new::<u8>(longest * CACHE_LINE + 1);
        assert_eq!(too_long.0.0.len(), longest + 1);
        let nothing = PooledBuffer::new::<u8>(0);
        assert!(nothing.as_slice::<u8>(0).is_empty());
    }

    #[test]
    fn two_arrays_begin_at_cache_lines() {
        let mut buffer = AlignedBuffer::default();
        let (bytes, floats) = buffer.two_arrays::<u8, f32>([65, 3]);
        assert_eq!((bytes.len(), floats.len()), (65, 3));
        assert_eq!(floats.as_ptr() as usize - bytes.as_ptr() as usize, 2 * CACHE_LINE);
        bytes.fill(1);
        floats.fill(2.0);
        assert_eq!((buffer.as_slice::<u8>(65)[64], buffer.as_slice::<f32>(35)[34]), (1, 2.0));
    }

    #[test]
    #[should_panic = "the size in bytes exceeds usize"]
    fn sizes_are_multiplied_checked() {
        AlignedBuffer::default().elements::<i32>(usize::MAX / 2);
    }

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
            let mut workspaces = [const { Workspace(None) }; 3];
            for (workspace, size) in workspaces.iter_mut().zip(sizes) {
                workspace.elements::<u8>(size)[size - 1] = 1;
            }
            assert_eq!(idle(), 0);
            drop(workspaces);
            assert!((KEPT / 2..=KEPT).contains(&idle()), "{sizes:?}: {}", idle());
        }
    }

    #[test]
    fn memory_that_there_is_not() {
        let mut buffer = AlignedBuffer::default();
        for bytes in [usize::MAX, isize::MAX as usize + 1, isize::MAX as usize] {
            assert_eq!(buffer.try_bytes(bytes).unwrap_err(), Error::Memory { bytes });
        }
        assert_eq!(buffer.try_bytes(65).unwrap().len(), 65);
    }

    /// A buffer that is dropped after the thread's own memory is gone is freed.
    #[test]
    fn buffers_outlive_the_pool_of_their_thread() {
        thread_local! {
            static LAST: Cell<PooledBuffer> = Cell::new(PooledBuffer::default());
        }
        let thread = std::thread::spawn(|| {
            // Thread-locals are destroyed in reverse order of their first use.
            LAST.set(PooledBuffer::default());
            LAST.set(PooledBuffer::new::<u8>(CACHE_LINE));
        });
        thread.join().expect("no panic");
    }
}
