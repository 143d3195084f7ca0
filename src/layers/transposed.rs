//! Transposed convolution: every element of the image, times the weights, is added to the elements of the result under a window
//! that moves by the stride.
//!
//! On one axis, element i and tap t meet at element `o = i · stride + t · dilation − padding` of the result. So the outputs
//! whose `o + padding` leaves the same rest r of a division by the stride meet the same taps, those with `t · dilation ≡ r`:
//! an arithmetic sequence. They are an ordinary convolution of stride 1 by these taps in reverse order, a phase. The phases
//! are interleaved: a block of lines of the result is put together from the accumulators of all of them, before the stage.
//! Nothing is multiplied by the zeros between the elements of an image that is spread.

use core::ops::Range;

use super::depthwise::StagedRows;
use super::images::Images;
use super::kernels::{Kernels, WeightCodes, WeightShape};
use super::patches::{Patches, Windows};
use super::window::Window;
use crate::error::{Error, elements_of};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matmul::erased::StageRef;
use crate::matmul::erased_stage::ErasedStage;
use crate::matmul::job::Job;
use crate::matmul::lhs::Lhs;
use crate::matmul::multiply::multiply_to_accumulators;
use crate::matmul::output::Output;
use crate::matmul::packed::Packed;
use crate::matmul::tile::{AccRow, MAX_COLUMNS};
use crate::matmul::words::RowWords;
use crate::matrix::{MatrixMut, ZeroPoints};
use crate::memory::Workspace;

/// The weights of a transposed convolution, by phases.
#[derive(Clone, Debug)]
pub(super) struct Transposed {
    isa: Isa,
    window: Window,
    output_padding: [usize; 2],
    /// Channels of a group.
    channels: usize,
    outputs: usize,
    /// The phases of each axis that have a tap.
    phases: [Vec<Phase>; 2],
    /// For every phase of the height, those of the width: the window on the image, and its weights.
    parts: Vec<(Window, Kernels)>,
    /// One for every output.
    bias: Vec<i32>,
}

/// The taps of one phase of an axis.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// The rest of the division by the stride.
    rest: usize,
    /// The first tap, the distance to the next, and how many there are.
    first: usize,
    step: usize,
    count: usize,
    /// Elements of the image from a tap to the next.
    dilation: usize,
    /// The elements by which the last tap is before the position.
    before: usize,
}

/// Rows of accumulators that are put together at a time: 256 KiB, of a level-2 cache.
const ACCUMULATORS: usize = 1024;

impl Transposed {
    /// Weights of checked shape `[channels, outputs / groups, height, width]`.
    pub fn new(
        isa: Isa,
        weights: WeightCodes<'_>,
        shape: [usize; 4],
        window: Window,
        output_padding: [usize; 2],
    ) -> Result<Self, Error> {
        let WeightCodes { signs, codes, zero_points, groups } = weights;
        let [channels, group_outputs, height, width] = shape;
        let outputs = group_outputs * groups;
        let largest = zero_points.check_for(signs[1], outputs)?;
        for axis in 0..2 {
            let extent = window.extent(axis)?;
            if extent > isize::MAX as usize {
                return Err(Error::Shape { why: "the window is longer than isize::MAX", found: extent });
            }
        }
        let phases = [Phase::all(&window, 0), Phase::all(&window, 1)];
        let mut parts = Vec::with_capacity(phases[0].len() * phases[1].len());
        for y in &phases[0] {
            for x in &phases[1] {
                let window = Window {
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
                parts.push((window, Kernels::new(isa, signs, shape, (zero_points, largest), at)?));
            }
        }
        let (channels, bias) = (channels / groups, vec![0; outputs]);
        Ok(Transposed { isa, window, output_padding, channels, outputs, phases, parts, bias })
    }

    /// Adds a bias for every output.
    pub fn set_bias(&mut self, bias: &[i32]) -> Result<(), Error> {
        self.bias = bias.to_vec();
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

    /// The convolution of images, whose zero points are checked: `largest_input` is the largest `|x − zx|`.
    pub fn run(
        &self,
        exec: Exec<'_>,
        images: &Images<'_>,
        largest_input: i64,
        output @ [height, width]: [usize; 2],
        stage: &ErasedStage<'_>,
        out: Output<'_>,
    ) -> Result<(), Error> {
        self.parts.iter().try_for_each(|(_, kernels)| kernels.check_depth(largest_input))?;
        stage.values.check(out.rows(), out.columns())?;
        let count = images.shape[0];
        let rows_of_part = out.rows() / self.parts.len();
        let nanoseconds = self.parts.iter().map(|(_, kernels)| kernels.least_nanoseconds(rows_of_part));
        let team = exec.team(nanoseconds.fold(0, usize::saturating_add));
        // As many lines as there is room for; sixteen pieces are divided evenly by up to eight threads. Whole strides of lines
        // have a line of every phase.
        let room = ACCUMULATORS / elements_of(&[width, self.outputs.div_ceil(MAX_COLUMNS)]);
        let share = elements_of(&[count, height]).div_ceil(16);
        let lines = (if team.alone() { room } else { room.min(share) }).clamp(1, height);
        let lines = if lines > self.window.stride[0] { lines - lines % self.window.stride[0] } else { lines };
        let blocks = height.div_ceil(lines);
        let rows = StagedRows { isa: self.isa, sign: images.sign, stage, out };
        let job = Interleave { weights: self, images, output, rows };
        let pieces = (0..count.saturating_mul(blocks)).map(|i| {
            let first = i % blocks * lines;
            (i / blocks, first..height.min(first + lines))
        });
        // SAFETY: every piece runs once, and pieces share no line.
        team.share(pieces, |(image, lines)| unsafe { job.run(image, lines) });
        Ok(())
    }
}

impl Phase {
    /// The phases of an axis that have a tap.
    fn all(window: &Window, axis: usize) -> Vec<Phase> {
        let (size, stride, dilation) = (window.size[axis], window.stride[axis], window.dilation[axis]);
        let divisor = greatest_common_divisor(stride, dilation);
        // Taps that are so far from each other, and no others, have the same rest: t · dilation ≡ t′ · dilation (mod stride).
        let step = stride / divisor;
        let phase = |first: usize| {
            let count = (size - first).div_ceil(step);
            let dilation_of_phase = if count == 1 { 1 } else { dilation / divisor };
            Phase {
                rest: first * dilation % stride,
                first,
                step,
                count,
                dilation: dilation_of_phase,
                // Tap t of position p is over element p − (t · dilation − rest) / stride.
                before: first * dilation / stride + (count - 1) * dilation_of_phase,
            }
        };
        (0..step.min(size)).map(phase).collect()
    }

    /// The tap of the whole window that is tap `tap` of this phase: in reverse order.
    fn tap(&self, tap: usize) -> usize {
        self.first + (self.count - 1 - tap) * self.step
    }

    /// The positions of this phase in a range of the axis of the result: the first one, how many there are, and where in the
    /// range the first is.
    fn positions(&self, stride: usize, padding: usize, range: &Range<usize>) -> (usize, usize, usize) {
        let (start, end) = (range.start + padding, range.end + padding);
        let first = start.saturating_sub(self.rest).div_ceil(stride);
        let at = first.saturating_mul(stride).saturating_add(self.rest);
        match end.checked_sub(at) {
            Some(left) => (first, left.div_ceil(stride), at - start),
            None => (first, 0, 0),
        }
    }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A checked convolution.
struct Interleave<'a> {
    weights: &'a Transposed,
    images: &'a Images<'a>,
    /// Height and width.
    output: [usize; 2],
    rows: StagedRows<'a>,
}

/// The accumulators of one phase in a block, and their places in it.
struct Part<'a> {
    windows: Windows<'a>,
    /// The row of the block of the first accumulator.
    first: usize,
    /// Rows of the block from a line, and a column, of the phase to the next.
    steps: [usize; 2],
}

impl Interleave<'_> {
    /// Makes some lines of the result of an image.
    ///
    /// # Safety
    /// No other piece with the same lines of this result runs at the same time.
    unsafe fn run(&self, image: usize, lines: Range<usize>) {
        let Interleave { weights, images, output: [height, width], ref rows } = *self;
        let Transposed { window, ref phases, ref parts, outputs, .. } = *weights;
        let [_, image_height, image_width, channels] = images.shape;
        let elements = image_height * image_width * channels;
        let codes = &images.codes[image * elements..][..elements];
        let zero_point = images.zero_points.at(image);

        let block = (image * height + lines.start) * width..(image * height + lines.end) * width;
        let mut accumulators = Workspace::default();
        let accumulators = accumulators.elements::<AccRow>(outputs.div_ceil(MAX_COLUMNS) * block.len());
        if (0..2).any(|axis| phases[axis].len() < window.stride[axis]) {
            // Some outputs meet no tap.
            fill_rows(accumulators, block.len(), &weights.bias);
        }
        let [top, left, ..] = window.padding;
        let mut parts = parts.iter();
        for y in &phases[0] {
            let (first_y, count_y, at_y) = y.positions(window.stride[0], top, &lines);
            for (x, (part, kernels)) in phases[1].iter().zip(&mut parts) {
                let (first_x, count_x, at_x) = x.positions(window.stride[1], left, &(0..width));
                if count_y == 0 || count_x == 0 {
                    continue;
                }
                let (shape, output) = ([1, image_height, image_width, channels], [count_y, count_x]);
                let windows = Windows { images: codes, shape, output, first: [first_y, first_x], window: part };
                let steps = [window.stride[0].saturating_mul(width), window.stride[1]];
                let part = Part { windows, first: at_y * width + at_x, steps };
                match kernels {
                    Kernels::Groups(groups) => self.multiply(groups, &part, zero_point, accumulators, block.len()),
                    Kernels::Depthwise(weights) => {
                        let count = windows.count();
                        let mut sums = Workspace::default();
                        let sums = sums.elements::<AccRow>(weights.panels() * count);
                        let input = (images.sign, ZeroPoints::Uniform(zero_point));
                        weights.accumulate(&windows, input, 0..count, sums);
                        for (panel, sums) in sums.chunks_exact(count).enumerate() {
                            let accumulators = &mut accumulators[panel * block.len()..][..block.len()];
                            part.each_row(|i, row| accumulators[row] = sums[i]);
                        }
                    }
                }
            }
        }
        let mut words = RowWords::new(rows.stage.values.words(), outputs, 0..outputs);
        words.fill(weights.isa, block.clone());
        // SAFETY: the rows are those of the lines that the caller vouches for.
        unsafe { rows.write(&words, block, accumulators) };
    }

    /// Multiplies the patches of a phase by the weights of all groups, into its rows of a block of so many.
    fn multiply(&self, groups: &[Packed], part: &Part<'_>, zero_point: i32, out: &mut [AccRow], rows: usize) {
        let Transposed { channels, outputs, .. } = *self.weights;
        let (sign, zero_points) = (self.images.sign, ZeroPoints::Uniform(zero_point));
        let count = part.windows.count();
        let mut memory = Workspace::default();
        let sums = memory.elements::<i32>(count * outputs);
        let mut matrix = MatrixMut::new(sums, count, outputs).expect("as many as there are");
        let matrix = Output::new(&mut matrix);
        let stage = ErasedStage { values: StageRef::Accumulators, multiply: multiply_to_accumulators };
        for (group, weights) in groups.iter().enumerate() {
            let patches = Patches { windows: part.windows, zero_points, group, channels };
            let (lhs, rhs) = (Lhs { source: patches.source(), sign, zero_points }, weights.erase());
            let job = Job::new(&lhs, &rhs, &stage, &matrix, group * (outputs / groups.len()));
            job.check().expect("checked as a whole");
            // SAFETY: it is the only piece.
            unsafe { job.run(0..count, 0..rhs.shape().panels()) };
        }
        let sums = memory.as_slice::<i32>(count * outputs);
        part.each_row(|i, row| {
            for (panel, sums) in sums[i * outputs..][..outputs].chunks(MAX_COLUMNS).enumerate() {
                out[panel * rows + row].0[..sums.len()].copy_from_slice(sums);
            }
        });
    }
}

impl Part<'_> {
    /// Every row of accumulators, and its row of the block.
    fn each_row(&self, mut copy: impl FnMut(usize, usize)) {
        let [lines, columns] = self.windows.output;
        for y in 0..lines {
            for x in 0..columns {
                copy(y * columns + x, self.first + y * self.steps[0] + x * self.steps[1]);
            }
        }
    }
}

/// Writes the same values to `rows` rows of every panel.
fn fill_rows(accumulators: &mut [AccRow], rows: usize, values: &[i32]) {
    for (accumulators, values) in accumulators.chunks_exact_mut(rows).zip(values.chunks(MAX_COLUMNS)) {
        for row in accumulators {
            row.0[..values.len()].copy_from_slice(values);
        }
    }
}
