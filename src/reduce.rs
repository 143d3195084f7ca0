//! Minimum and maximum of real values, by tensor or by group: what scales are made of.
//!
//! All are found as integers ([`extremes`]). A minimum or maximum of ±0 is +0, whatever the order of the elements.

pub(crate) mod blocks;
mod columns;
pub(crate) mod extremes;
mod groups;
pub(crate) mod ranges;
pub(crate) mod tensor;
pub(crate) mod vectors;

pub use ranges::ranges;
pub use tensor::{abs_max, min_max};
