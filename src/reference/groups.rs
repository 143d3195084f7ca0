//! Which parameters an element has.

use crate::codes::Code;
use crate::params::{Granularity, QuantParams};

/// The group of element `i`.
pub(super) fn group(granularity: Granularity, i: usize) -> usize {
    match granularity {
        Granularity::Tensor => 0,
        Granularity::Channel { channels, inner } => (i / inner) % channels,
        Granularity::Block { length, axis, inner } => {
            let (before, on_axis, behind) = (i / inner / axis, i / inner % axis, i % inner);
            let blocks = axis.div_ceil(length);
            (before * blocks + on_axis / length) * inner + behind
        }
    }
}

/// The scale and the zero point of element `i`.
pub(super) fn parameters<C: Code>(params: &QuantParams<C>, i: usize) -> (f32, i32) {
    let group = group(params.granularity(), i);
    (params.scales()[group], params.zero_points()[group])
}
