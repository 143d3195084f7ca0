//! Minima and maxima.

use super::groups::group;
use crate::params::{Granularity, Range};

/// [`ranges`](crate::ranges()) of finite values: `groups` of them.
#[must_use]
pub fn ranges(x: &[f32], granularity: Granularity, groups: usize) -> Vec<Range> {
    let mut ranges = vec![Range { min: f32::INFINITY, max: f32::NEG_INFINITY }; groups];
    for (i, &x) in x.iter().enumerate() {
        let range = &mut ranges[group(granularity, i)];
        // −0 counts as +0.
        *range = Range { min: range.min.min(x) + 0.0, max: range.max.max(x) + 0.0 };
    }
    ranges
}
