//! Convolutions whose accumulators are put together before the stage: the phases of a transposed convolution; or a single one, of
//! images that have a zero point for every channel.
//!
//! With a zero point for every channel, `Σ (x − zx[c]) · (w − zw) = Σ x · (w − zw) − Σ zx[c] · (w − zw)`: the same product without
//! zero points of the images, less what it gives for a window that lies in the padding alone, whose codes are the zero points.
//! So the correction is one more row.

use core::ops::Range;

use super::depthwise::StagedRows;
use super::images::{ImageZeroPoints, Images};
use super::kernels::Kernels;
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
use crate::matrix::{Largest, MatrixMut, ZeroPoints};
use crate::memory::Scratch;

/// A window on the image, and its weights.
pub(super) type Part = (Window, Kernels);

/// The outputs of an axis whose place, plus the padding, leaves this rest of a division by the stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub rest: usize,
}

/// The phases of a convolution: the parts of its result that have the same weights.
#[derive(Clone, Copy)]
pub(super) struct Phases<'a> {
    /// Of the height and of the width, without those that have no tap.
    pub axes: [&'a [Phase]; 2],
    /// The distance between the outputs of a phase.
    pub stride: [usize; 2],
    /// Outputs that are left out: at the top, at the left.
    pub padding: [usize; 2],
    /// For every phase of the height, those of the width.
    pub parts: &'a [Part],
}

impl<'a> Phases<'a> {
    /// The single phase of an ordinary convolution.
    pub fn whole(part: &'a Part) -> Self {
        const ALL: &[Phase] = &[Phase { rest: 0 }];
        Phases { axes: [ALL, ALL], stride: [1, 1], padding: [0, 0], parts: core::slice::from_ref(part) }
    }

    /// The part whose windows make the whole result, and the position of the first of them.
    pub fn single(&self) -> (Option<&'a Part>, [usize; 2]) {
        (if self.stride == [1, 1] { self.parts.first() } else { None }, self.padding)
    }
}

/// Rows of accumulators that are put together at a time: 256 KiB, of a level-2 cache.
const ACCUMULATORS: usize = 1024;

/// A convolution whose images, zero points and shapes are checked.
pub(super) struct Interleave<'a> {
    pub isa: Isa,
    pub phases: Phases<'a>,
    pub images: &'a Images<'a>,
    /// Channels of a group.
    pub channels: usize,
    /// One for every output.
    pub bias: &'a [i32],
    /// Height and width of the result.
    pub output: [usize; 2],
}

impl Interleave<'_> {
    /// Runs it, for this largest `|x − zx|`.
    pub fn run(
        &self,
        exec: Exec<'_>,
        largest_input: Largest,
        stage: &ErasedStage<'_>,
        out: Output<'_>,
    ) -> Result<(), Error> {
        let Interleave { isa, phases: Phases { stride, parts, .. }, images, output: [height, width], .. } = *self;
        parts.iter().try_for_each(|(_, kernels)| kernels.check_depth(largest_input))?;
        stage.values.check(out.rows(), out.columns())?;
        let count = images.shape[0];
        let rows_of_part = out.rows() / parts.len();
        let nanoseconds = parts.iter().map(|(_, kernels)| kernels.least_nanoseconds(rows_of_part));
        let team = exec.team(nanoseconds.fold(0, usize::saturating_add));
        // As many lines as there is room for; sixteen pieces are divided evenly by up to eight threads. Whole strides of lines
        // have a line of every phase.
        let room = ACCUMULATORS / elements_of(&[width, self.bias.len().div_ceil(MAX_COLUMNS)]);
        let share = elements_of(&[count, height]).div_ceil(16);
        let lines = (if team.alone() { room } else { room.min(share) }).clamp(1, height);
        let lines = if lines > stride[0] { lines - lines % stride[0] } else { lines };
        let blocks = height.div_ceil(lines);
        let rows = StagedRows { isa, stage, out };
        let mut memory = Scratch::default();
        let corrections = self.corrections(&mut memory);
        let pieces = (0..count.saturating_mul(blocks)).map(|i| {
            let first = i % blocks * lines;
            (i / blocks, first..height.min(first + lines))
        });
        // SAFETY: every piece runs once, and pieces share no line.
        team.share(pieces, |(image, lines)| unsafe { self.run_block(&rows, corrections, image, lines) });
        Ok(())
    }

    /// What is subtracted from the accumulators of every output, part by part; nothing if the images have no zero point for every
    /// channel.
    fn corrections<'m>(&self, memory: &'m mut Scratch) -> &'m [i32] {
        let ImageZeroPoints::PerChannel(_) = self.images.zero_points else { return &[] };
        let outputs = self.bias.len();
        let corrections = memory.elements::<i32>(self.phases.parts.len() * outputs);
        corrections.fill(0);
        for ((window, kernels), correction) in self.phases.parts.iter().zip(corrections.chunks_exact_mut(outputs)) {
            // The depthwise kernel has the zero points of all channels.
            let Kernels::Groups(groups) = kernels else { continue };
            let shape = [1, 0, 0, self.images.shape[3]];
            let padding = Windows { images: &[], shape, output: [1, 1], first: [0; 2], window };
            self.multiply(groups, padding, 0, correction);
            for (correction, &bias) in correction.iter_mut().zip(self.bias) {
                *correction = correction.wrapping_sub(bias);
            }
        }
        corrections
    }

    /// Makes some lines of the result of an image.
    ///
    /// # Safety
    /// No other piece with the same lines of this result runs at the same time.
    unsafe fn run_block(&self, out: &StagedRows<'_>, corrections: &[i32], image: usize, lines: Range<usize>) {
        let Interleave { isa, phases, images, bias, output: [height, width], .. } = *self;
        let (outputs, panels) = (bias.len(), bias.len().div_ceil(MAX_COLUMNS));
        let [_, image_height, image_width, channels] = images.shape;
        let elements = image_height * image_width * channels;
        let codes = &images.codes[image * elements..][..elements];
        let shape = [1, image_height, image_width, channels];

        let block = (image * height + lines.start) * width..(image * height + lines.end) * width;
        let rows = block.len();
        let mut accumulators = Scratch::default();
        let accumulators = accumulators.elements::<AccRow>(panels * rows);
        if (0..2).any(|axis| phases.axes[axis].len() < phases.stride[axis]) {
            // Some outputs meet no tap.
            for (accumulators, bias) in accumulators.chunks_exact_mut(rows).zip(bias.chunks(MAX_COLUMNS)) {
                accumulators.iter_mut().for_each(|row| row.0[..bias.len()].copy_from_slice(bias));
            }
        }
        let mut corrections = corrections.chunks_exact(outputs);
        let mut parts = phases.parts.iter();
        for y in phases.axes[0] {
            let y = y.positions(phases.stride[0], phases.padding[0], &lines);
            for (x, (window, kernels)) in phases.axes[1].iter().zip(&mut parts) {
                let x = x.positions(phases.stride[1], phases.padding[1], &(0..width));
                let correction = corrections.next();
                let (output, first) = ([y.count, x.count], [y.first, x.first]);
                let windows = Windows { images: codes, shape, output, first, window };
                let count = windows.count();
                if count == 0 {
                    continue;
                }
                let place = |row: usize| {
                    let (line, column) = (row / x.count, row % x.count);
                    (y.at + line * phases.stride[0]) * width + x.at + column * phases.stride[1]
                };
                let mut sums = Scratch::default();
                match kernels {
                    Kernels::Groups(groups) => {
                        let sums = sums.elements::<i32>(count * outputs);
                        self.multiply(groups, windows, image, sums);
                        for (i, sums) in sums.chunks_exact(outputs).enumerate() {
                            let row = place(i);
                            for (panel, sums) in sums.chunks(MAX_COLUMNS).enumerate() {
                                let acc = &mut accumulators[panel * rows + row].0[..sums.len()];
                                acc.copy_from_slice(sums);
                                if let Some(correction) = correction {
                                    for (acc, correction) in acc.iter_mut().zip(&correction[panel * MAX_COLUMNS..]) {
                                        *acc = acc.wrapping_sub(*correction);
                                    }
                                }
                            }
                        }
                    }
                    Kernels::Depthwise(weights) => {
                        let sums = sums.elements::<AccRow>(panels * count);
                        weights.accumulate(&windows, (images.sign, self.zero_points_of(image)), 0..count, sums);
                        for (panel, sums) in sums.chunks_exact(count).enumerate() {
                            for (i, sums) in sums.iter().enumerate() {
                                accumulators[panel * rows + place(i)] = *sums;
                            }
                        }
                    }
                }
            }
        }
        let mut words = RowWords::new(out.stage.values.words(), outputs, 0..outputs);
        words.fill(isa, block.clone());
        // SAFETY: the rows are those of the lines that the caller vouches for.
        unsafe { out.write(&words, block, accumulators) };
    }

    /// The zero points of an image, alone in its batch.
    fn zero_points_of(&self, image: usize) -> ImageZeroPoints<'_> {
        match self.images.zero_points {
            ImageZeroPoints::PerImage(each) => ImageZeroPoints::Uniform(each[image]),
            others => others,
        }
    }

    /// Multiplies the patches of an image by the weights of all groups. Zero points for every channel are those of the padding, but
    /// not subtracted.
    fn multiply(&self, groups: &[Packed], windows: Windows<'_>, image: usize, sums: &mut [i32]) {
        let (rows, outputs) = (windows.count(), self.bias.len());
        let zero_points = self.zero_points_of(image);
        let subtracted = match zero_points {
            ImageZeroPoints::Uniform(zero_point) => zero_point,
            _ => 0,
        };
        let mut matrix = MatrixMut::new(sums, rows, outputs).expect("as many as there are");
        let matrix = Output::new(&mut matrix);
        let stage = ErasedStage { values: StageRef::Accumulators, multiply: multiply_to_accumulators };
        for (group, weights) in groups.iter().enumerate() {
            let patches = Patches { windows, zero_points, group, channels: self.channels };
            let zero_points = ZeroPoints::Uniform(subtracted);
            let lhs = Lhs { source: patches.source(), sign: self.images.sign, zero_points };
            let rhs = weights.erase();
            let job = Job::new(&lhs, &rhs, &stage, &matrix, group * (outputs / groups.len()));
            // (Not checked by itself: what is not subtracted may wrap, and is corrected.)
            // SAFETY: it is the only piece.
            unsafe { job.run(0..rows, 0..rhs.shape().panels()) };
        }
    }
}

/// The positions of a phase in a range of the axis of the result.
struct Positions {
    /// The first one.
    first: usize,
    count: usize,
    /// Where in the range the first one is.
    at: usize,
}

impl Phase {
    fn positions(&self, stride: usize, padding: usize, range: &Range<usize>) -> Positions {
        let (start, end) = (range.start + padding, range.end + padding);
        let first = start.saturating_sub(self.rest).div_ceil(stride);
        let place = first.saturating_mul(stride).saturating_add(self.rest);
        match end.checked_sub(place) {
            Some(left) => Positions { first, count: left.div_ceil(stride), at: place - start },
            None => Positions { first, count: 0, at: 0 },
        }
    }
}
