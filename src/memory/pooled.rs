//! Memory of results, pooled by the thread.

use core::cell::Cell;
use core::mem::take;
use core::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use super::aligned::{AlignedBuffer, CACHE_LINE, CacheLine, bytes_of};

thread_local! {
    /// Buffers of results that were dropped in the thread: for every n, up to one of 2ⁿ cache lines.
    static POOL: [Cell<AlignedBuffer>; SIZES] = const { [const { Cell::new(AlignedBuffer(Vec::new())) }; SIZES] };
}

/// The sizes of pooled buffers: 1 … 1024 cache lines, so 64 KiB at most. What is larger takes longer to fill than to
/// allocate.
const SIZES: usize = 11;

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
