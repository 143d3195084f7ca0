//! Pieces of work: how large they are, who runs them, and what is shared by those who do.

/// Nanoseconds that a piece of work should take at least: ten times what it takes to hand it out.
pub(crate) const PIECE: usize = 2_000;

/// Nanoseconds of work that is worth sharing with another thread that is awake: handing it over takes 1 µs between cores
/// of one cache, 5 µs between others.
pub(super) const SHARED: usize = 10_000;

/// Who runs a piece of work. What lies together is best kept in one cache: the caller takes pieces from the front, helpers
/// from the back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Caller,
    Helper,
}

/// In cache lines of its own: what one thread writes and others poll. (Prefetchers fetch lines in pairs of 128 bytes.)
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct CachePadded<T>(pub T);
