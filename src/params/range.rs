//! A range of real numbers.

use bytemuck::{Pod, Zeroable};

use crate::error::Error;

/// A range of real numbers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Range {
    /// The lower end.
    pub min: f32,
    /// The upper end.
    pub max: f32,
}

// SAFETY: two floats, for which zeros are a valid value.
unsafe impl Zeroable for Range {}
// SAFETY: `repr(C)` with two fields of one size: no padding, and every bit pattern is a float.
unsafe impl Pod for Range {}

impl Range {
    /// −amax … amax.
    #[must_use]
    pub fn symmetric(amax: f32) -> Self {
        Range { min: -amax, max: amax }
    }

    /// The smallest range that contains both.
    pub(crate) fn union(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// An error unless both ends are finite and in order.
    ///
    /// The index says which range it is, of several.
    pub(crate) fn check(self, index: usize) -> Result<(), Error> {
        for end in [self.min, self.max] {
            if !end.is_finite() {
                return Err(Error::NonFinite { what: "the range", index, found: end });
            }
        }
        if self.min > self.max {
            let why = "the minimum is above the maximum";
            return Err(Error::Range { index, min: self.min, max: self.max, why });
        }
        Ok(())
    }
}
