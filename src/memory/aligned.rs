//! Memory in whole cache lines, whose bytes are viewed as elements of any plain type ([`Pod`]: every bit pattern is valid, no
//! padding).

use bytemuck::{Pod, Zeroable, cast_slice, cast_slice_mut};

use crate::error::Error;

/// The bytes of a cache line.
pub(crate) const CACHE_LINE: usize = 64;

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheLine([u8; CACHE_LINE]);

// SAFETY: an array of bytes, for which zeros are a valid value.
unsafe impl Zeroable for CacheLine {}
// SAFETY: `repr(C)` with one field of bytes, whose size is the alignment: no padding, every bit pattern is valid.
unsafe impl Pod for CacheLine {}

/// Memory in whole cache lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlignedBuffer(pub(super) Vec<CacheLine>);

/// The bytes of `length` elements.
///
/// # Panics
/// When they exceed `usize`.
pub(super) fn bytes_of<T: Pod>(length: usize) -> usize {
    const { assert!(align_of::<T>() <= CACHE_LINE, "a buffer begins where a cache line does") }
    length.checked_mul(size_of::<T>()).expect("the size in bytes exceeds usize")
}

/// The first `length` elements of some cache lines.
///
/// # Panics
/// When the lines have fewer.
#[inline]
pub(super) fn elements_of_lines<T: Pod>(lines: &[CacheLine], length: usize) -> &[T] {
    cast_slice::<u8, T>(&cast_slice(lines)[..bytes_of::<T>(length)])
}

/// The first `length` elements of some cache lines, to be written.
///
/// # Panics
/// When the lines have fewer.
#[inline]
pub(super) fn elements_of_lines_mut<T: Pod>(lines: &mut [CacheLine], length: usize) -> &mut [T] {
    cast_slice_mut::<u8, T>(&mut cast_slice_mut(lines)[..bytes_of::<T>(length)])
}

impl AlignedBuffer {
    /// Grows to `lines` cache lines at least: of zeros, where it grows.
    #[inline]
    pub(super) fn grow(&mut self, lines: usize) {
        if self.0.len() < lines {
            self.0.resize(lines, CacheLine::zeroed());
        }
    }

    /// Grows to `length` elements at least and returns them: zeros, or what was written before.
    #[inline]
    pub fn elements<T: Pod>(&mut self, length: usize) -> &mut [T] {
        self.grow(bytes_of::<T>(length).div_ceil(CACHE_LINE));
        elements_of_lines_mut(&mut self.0, length)
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
        elements_of_lines(&self.0, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn memory_that_there_is_not() {
        let mut buffer = AlignedBuffer::default();
        for bytes in [usize::MAX, isize::MAX as usize + 1, isize::MAX as usize] {
            assert_eq!(buffer.try_bytes(bytes).unwrap_err(), Error::Memory { bytes });
        }
        assert_eq!(buffer.try_bytes(65).unwrap().len(), 65);
    }
}
