//! Transposed convolution: every element of the image, times the weights, is added to the elements of the result under a window
//! that moves by the stride.
//!
//! On one axis, element i and tap t meet at element `o = i · stride + t · dilation − padding` of the result. So the outputs
//! whose `o + padding` leaves the same rest r of a division by the stride meet the same taps, those with `t · dilation ≡ r`:
//! an arithmetic sequence. They are an ordinary convolution of stride 1 by these taps in reverse order, a phase. The phases
//! are [interleaved](super::interleave). Nothing is multiplied by the zeros between the elements of an image that is spread.

use super::interleave::{Part, Phase, Phases};
use super::kernels::{Kernels, WeightCodes, WeightShape};
use super::window::Window;
use crate::error::Error;
use crate::isa::Isa;

/// The weights of a transposed convolution, by phases.
#[derive(Clone, Debug)]
pub(super) struct Transposed {
    window: Window,
    output_padding: [usize; 2],
    /// The phases of each axis that have a tap.
    phases: [Vec<Phase>; 2],
    /// For every phase of the height, those of the width: the window on the image, and its weights.
    parts: Vec<Part>,
}

impl Transposed {
    /// Weights of checked shape `[channels, outputs / groups, height, width]`, and a window that goes with some image.
    pub fn new(
        isa: Isa,
        weights: WeightCodes<'_>,
        shape: [usize; 4],
        window: Window,
        output_padding: [usize; 2],
    ) -> Result<Self, Error> {
        let WeightCodes { signs, codes, zero_points, groups } = weights;
        let [channels, group_outputs, height, width] = shape;
        let largest = zero_points.check_for(signs[1], group_outputs * groups)?;
        let phases = [Taps::of_phases(&window, 0), Taps::of_phases(&window, 1)];
        let mut parts = Vec::with_capacity(phases[0].len() * phases[1].len());
        for (y, _) in &phases[0] {
            for (x, _) in &phases[1] {
                let part = Window {
                    size: [y.count, x.count],
                    padding: [y.before, x.before, 0, 0],
                    dilation: [y.dilation, x.dilation],
                    ..Window::new([1, 1])
                };
                let at = |output: usize, tap: usize, channel: usize| {
                    let (group, output) = (output / group_outputs, output % group_outputs);
                    let channel = group * (channels / groups) + channel;
                    let tap = y.tap(tap / x.count) * width + x.tap(tap % x.count);
                    codes[(channel * group_outputs + output) * (height * width) + tap]
                };
                let taps = y.count * x.count;
                let shape = WeightShape { groups, channels: channels / groups, outputs: group_outputs, taps };
                parts.push((part, Kernels::new(isa, signs, shape, (zero_points, largest), at)?));
            }
        }
        let phases = phases.map(|axis| axis.into_iter().map(|(_, phase)| phase).collect());
        Ok(Transposed { window, output_padding, phases, parts })
    }

    /// Adds a bias for every output.
    pub fn set_bias(&mut self, bias: &[i32]) -> Result<(), Error> {
        self.parts.iter_mut().try_for_each(|(_, kernels)| kernels.set_bias(bias))
    }

    /// The height and width of the result for images of a height and width.
    pub fn output_size(&self, image: [usize; 2]) -> Result<[usize; 2], Error> {
        let mut output = [0; 2];
        for axis in 0..2 {
            let Window { stride, padding, .. } = self.window;
            let Some(last) = image[axis].checked_sub(1) else {
                return Err(Error::Shape { why: "an axis of the image has no length", found: 0 });
            };
            let spread = last.saturating_mul(stride[axis]).saturating_add(self.window.extent(axis)?);
            let spread = spread.saturating_add(self.output_padding[axis]);
            if spread > isize::MAX as usize {
                return Err(Error::Shape { why: "the result is longer than isize::MAX", found: spread });
            }
            output[axis] = spread.saturating_sub(padding[axis]).saturating_sub(padding[axis + 2]);
            if output[axis] == 0 {
                return Err(Error::Shape { why: "the padding trims the whole result", found: spread });
            }
        }
        Ok(output)
    }

    /// The phases and their weights, to be run.
    pub fn phases(&self) -> Phases<'_> {
        let Window { stride, padding: [top, left, ..], .. } = self.window;
        let [y, x] = &self.phases;
        Phases { axes: [y, x], stride, padding: [top, left], parts: &self.parts }
    }
}

/// The taps of one phase of an axis.
#[derive(Clone, Copy, Debug)]
struct Taps {
    /// The first tap, the distance to the next, and how many there are.
    first: usize,
    step: usize,
    count: usize,
    /// Elements of the image from a tap to the next.
    dilation: usize,
    /// The elements by which the last tap is before the position.
    before: usize,
}

impl Taps {
    /// The taps of the phases of an axis that have any, and the rests that the phases leave.
    fn of_phases(window: &Window, axis: usize) -> Vec<(Taps, Phase)> {
        let (size, stride, dilation) = (window.size[axis], window.stride[axis], window.dilation[axis]);
        let divisor = greatest_common_divisor(stride, dilation);
        // Taps that are so far from each other, and no others, have the same rest: t · dilation ≡ t′ · dilation (mod stride).
        let step = stride / divisor;
        let phase = |first: usize| {
            let count = (size - first).div_ceil(step);
            let dilation_of_phase = if count == 1 { 1 } else { dilation / divisor };
            // Tap t of position p is over element p − (t · dilation − rest) / stride.
            let before = first * dilation / stride + (count - 1) * dilation_of_phase;
            let taps = Taps { first, step, count, dilation: dilation_of_phase, before };
            (taps, Phase { rest: first * dilation % stride })
        };
        (0..step.min(size)).map(phase).collect()
    }

    /// The tap of the whole window that is tap `tap` of this phase: in reverse order.
    fn tap(&self, tap: usize) -> usize {
        self.first + (self.count - 1 - tap) * self.step
    }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
