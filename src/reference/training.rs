//! The gradients of quantization-aware training.

use super::groups::group;
use super::quantize::{fake_quantize, fake_quantize_stochastic, straight_through, straight_through_mask};
use crate::codes::Code;
use crate::params::{Granularity, QuantParams};
use crate::rounding::Rounding;
use crate::training::ClipBounds;

/// The sum of every group's terms, of which every element has one, in the order of [`training`](crate::training).
///
/// The tensor is cut where a chunk of 16384 elements ends, and where other groups than before follow each other in turn: behind a
/// channel or block whose elements lie together, behind all rows of blocks along an outer axis, and behind every row of more than
/// 16384 groups. In such a segment element i, counted from its first one, which is in group p of the c that follow each other,
/// belongs to the slot
///
/// ```text
/// (p + ⌊i / 16⌋ · 16) mod P + i mod 16        P = c · ⌈16 / c⌉
/// ```
///
/// which has the terms of group `slot mod c`, added one by one. The slots of a group are added in ascending order, unless c is 1: then
/// by halves, slots i and i + 8, of these sums i and i + 4, and so on. Then come the next segment's.
///
/// # Panics
/// When there are terms of more groups than `groups`.
#[must_use]
pub fn group_sums(terms: &[f64], granularity: Granularity, groups: usize) -> Vec<f64> {
    let mut sums = vec![0.0; groups];
    let mut start = 0;
    while start < terms.len() {
        let (cycle, behind) = segment(granularity, start);
        let end = behind.min((start / 16_384 + 1) * 16_384).min(terms.len());
        let period = cycle * 16_usize.div_ceil(cycle);
        let place = start % cycle;
        let mut slots = vec![0.0; period + 16];
        for i in 0..end - start {
            slots[(place + i / 16 * 16) % period + i % 16] += terms[start + i];
        }
        if cycle == 1 {
            for half in [8, 4, 2, 1] {
                for i in 0..half {
                    slots[i] += slots[i + half];
                }
            }
            slots.truncate(1);
        }
        // The elements of the first cycle are of all groups, whose slots are the same modulo the cycle.
        for i in start..end.min(start + cycle) {
            let of_group = slots.iter().skip(i % cycle).step_by(cycle);
            sums[group(granularity, i)] += of_group.copied().reduce(|sum, slot| sum + slot).expect("a slot");
        }
        start = end;
    }
    sums
}

/// How many groups follow each other in turn from element `i` on, and the element behind which they do no longer.
fn segment(granularity: Granularity, i: usize) -> (usize, usize) {
    // All groups of a row, up to an element behind it.
    let row = |length: usize, end: usize| (length, if length > 16_384 { (i / length + 1) * length } else { end });
    match granularity {
        Granularity::Tensor => (1, usize::MAX),
        Granularity::Channel { channels, inner: 1 } => row(channels, usize::MAX),
        Granularity::Channel { inner, .. } => (1, (i / inner + 1) * inner),
        Granularity::Block { length, axis, inner } => {
            let (before, on_axis) = (i / inner / axis, i / inner % axis);
            let end = (before * axis + ((on_axis / length + 1) * length).min(axis)) * inner;
            if inner == 1 { (1, end) } else { row(inner, end) }
        }
    }
}

/// [`training::fake_quantize_gradients`](crate::training::fake_quantize_gradients()): with respect to x, to scales, and to zero
/// points.
#[must_use]
pub fn fake_quantize_gradients<C: Code>(
    x: &[f32],
    gradient: &[f32],
    params: &QuantParams<C>,
    rounding: Rounding,
) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
    let y = match rounding {
        Rounding::Nearest => fake_quantize(x, params),
        Rounding::Stochastic(stream) => fake_quantize_stochastic(x, params, stream),
    };
    let mask = straight_through_mask(x, params);
    let of_scale = |i: usize| {
        let slope = if mask[i] == 1 { y[i] - x[i] } else { y[i] };
        f64::from(gradient[i]) * f64::from(slope)
    };
    let of_zero_point = |i: usize| if mask[i] == 1 || x[i].is_nan() { 0.0 } else { f64::from(gradient[i]) };
    let sums = |term: &dyn Fn(usize) -> f64| {
        let terms: Vec<f64> = (0..x.len()).map(term).collect();
        group_sums(&terms, params.granularity(), params.scales().len())
    };
    let scales =
        sums(&of_scale).iter().zip(params.scales()).map(|(sum, &scale)| plain(sum / f64::from(scale))).collect();
    let beyond = sums(&of_zero_point);
    let zero_points =
        beyond.iter().zip(params.scales()).map(|(sum, &scale)| plain(0.0 - f64::from(scale) * sum)).collect();
    (straight_through(x, gradient, params), scales, zero_points)
}

/// [`training::clip_gradients`](crate::training::clip_gradients()): with respect to x, and to bounds.
#[must_use]
pub fn clip_gradients(x: &[f32], gradient: &[f32], clip: &ClipBounds) -> (Vec<f32>, Vec<f64>) {
    let (mut of_x, mut terms) = (Vec::new(), Vec::new());
    for (i, (&x, &gradient)) in x.iter().zip(gradient).enumerate() {
        let upper = clip.bounds()[group(clip.granularity(), i)];
        let lower = if clip.is_symmetric() { -upper } else { 0.0 };
        of_x.push(if x > lower && x < upper { gradient } else { 0.0 });
        terms.push(match x {
            _ if x >= upper => f64::from(gradient),
            _ if x <= lower && clip.is_symmetric() => -f64::from(gradient),
            _ => 0.0,
        });
    }
    let sums = group_sums(&terms, clip.granularity(), clip.bounds().len());
    (of_x, sums.into_iter().map(plain).collect())
}

/// A number whose bits do not depend on the architecture, as those of NaN do.
fn plain(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x }
}
