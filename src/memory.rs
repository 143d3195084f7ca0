//! Memory that outlives the call that needs it, so that calls which repeat do not allocate.
//!
//! [`Scratch`] is memory of one call: it goes back to a stack of the thread at the end of the call, or is a part of the caller's
//! [`Workspace`]. [`PooledBuffer`] is memory of a result, which lives as long as the result: it goes back to a pool of the
//! thread when dropped. Both are whole cache lines, whose bytes are viewed as elements of any plain type, as those of an
//! [`AlignedBuffer`] are.

mod aligned;
mod pooled;
mod scratch;
mod workspace;

pub(crate) use self::aligned::{AlignedBuffer, CACHE_LINE};
pub(crate) use self::pooled::PooledBuffer;
pub(crate) use self::scratch::Scratch;
pub use self::workspace::Workspace;
