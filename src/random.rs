//! Random words: xoshiro128++ in sixteen lanes, the same stream on every ISA. [`Stream`] defines it.
//!
//! The word belongs to the index, not to the call: whoever asks for it, on whatever ISA, thread or machine, gets the same
//! one. Sixteen generators stand beside each other because a block of vectors has sixteen lanes: one step of all of them
//! makes sixteen neighbouring words. A chunk starts from SplitMix64, which is a function of its counter, so that a slice
//! may begin anywhere; inside a chunk, entering at step t costs t steps.

pub(crate) mod cursor;
pub(crate) mod fill;
mod generators;
mod rng;
pub(crate) mod stream;
pub(crate) mod vectors;

pub use fill::{fill_uniform, fill_words};
pub use rng::StreamRng;
pub use stream::Stream;
