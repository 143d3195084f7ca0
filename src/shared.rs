//! Bytes of packed weights: a buffer of their own, or a part of a file that they are read from in place.

use core::fmt;
use core::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, cast_slice};

use crate::memory::AlignedBuffer;

/// What owns the bytes of a file: a mapping of it, for example.
pub type FileOwner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Bytes that begin where a cache line does.
#[derive(Clone)]
pub(crate) enum SharedBytes {
    Own(AlignedBuffer),
    /// A part of a file, which is kept as long as its weights.
    InFile {
        file: FileOwner,
        range: Range<usize>,
    },
}

impl SharedBytes {
    /// The first `length` elements.
    ///
    /// # Panics
    /// When there are fewer, or a file has moved since it was opened.
    #[inline]
    pub fn as_slice<T: Pod>(&self, length: usize) -> &[T] {
        match self {
            SharedBytes::Own(buffer) => buffer.as_slice(length),
            SharedBytes::InFile { file, range } => &cast_slice(&(**file).as_ref()[range.clone()])[..length],
        }
    }
}

impl From<AlignedBuffer> for SharedBytes {
    fn from(buffer: AlignedBuffer) -> Self {
        SharedBytes::Own(buffer)
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SharedBytes::Own(buffer) => buffer.fmt(f),
            SharedBytes::InFile { range, .. } => f.debug_tuple("InFile").field(range).finish(),
        }
    }
}
