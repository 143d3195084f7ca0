//! 2-D convolution: a matrix multiplication whose rows are the patches under the window.
//!
//! A row of A is a patch, `[height, width, channels]` of one group, copied from the image straight into the block of
//! rows that the micro-kernel reads; the patches of the whole image are never stored. A 1×1 window that touches every
//! element needs no copy at all, and a depthwise convolution, which has no sum over channels, has a kernel of its own.
//!
//! Images that are quantized one by one are still one product: zero points and scales go with its rows.

use super::depthwise::DepthwiseWeights;
use super::window::{Window, Windows};
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matmul::erased_stage::{EraseStage, ErasedStage, OperandScales};
use crate::matmul::job::Job;
use crate::matmul::lhs::{Lhs, MakeRow, RowSource};
use crate::matmul::output::Output;
use crate::matmul::packed::Packed;
use crate::matmul::partition::{self, least_nanoseconds};
use crate::matmul::rhs::check_isa;
use crate::matmul::weights::WeightScales;
use crate::matmul::words::RowWords;
use crate::matrix::{Matrix, ZeroPoints};
use crate::memory::Workspace;
use crate::sign::Sign;

/// A convolution by weights of either type, of images of either type.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    isa: Isa,
    window: Window,
    groups: usize,
    channels: usize,
    outputs: usize,
    scales: WeightScales,
    kernels: Kernels,
}

#[derive(Clone, Debug)]
enum Kernels {
    /// A matrix for every group.
    Groups(Vec<Packed>),
    /// One output for every channel.
    Depthwise(DepthwiseWeights),
}

/// Images of either type.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub codes: &'a [u8],
    pub sign: Sign,
    /// Images, height, width, channels.
    pub shape: [usize; 4],
    /// One, or one for every image.
    pub zero_points: ZeroPoints<'a>,
    /// One, or one for every image; none when only the stage knows them.
    pub scales: &'a [f32],
}

impl Convolution {
    /// Weights with their shape `[outputs, channels / groups, height, width]`, and one zero point or one for every output.
    pub fn new(
        isa: Isa,
        signs: [Sign; 2],
        (weights, shape): (&[u8], [usize; 4]),
        zero_points: ZeroPoints<'_>,
        window: Window,
        groups: usize,
    ) -> Result<Self, Error> {
        let [outputs, group_channels, height, width] = shape;
        if shape.contains(&0) {
            return Err(Error::Shape { why: "an axis of the weights has no length", found: 0 });
        }
        check_length("weights", elements_of(&shape), weights.len())?;
        if [height, width] != window.size {
            return Err(Error::Shape { why: "the weights' height and width are the window's", found: height });
        }
        if groups == 0 || !outputs.is_multiple_of(groups) {
            return Err(Error::Shape { why: "the outputs are not a multiple of the groups", found: groups });
        }
        let largest = zero_points.check_for(signs[1], outputs)?;
        let channels = group_channels.saturating_mul(groups);
        let taps = height * width;
        // Weight k of an output, with the channels innermost, as in an image.
        let at = |output: usize, k: usize| {
            let (tap, channel) = (k / group_channels, k % group_channels);
            weights[(output * group_channels + channel) * taps + tap]
        };
        let kernels = if group_channels == 1 && outputs == groups {
            let at = |tap: usize, channel: usize| signs[1].value(at(channel, tap)) - zero_points.at(channel);
            Kernels::Depthwise(DepthwiseWeights::new(isa, [taps, outputs], largest, &at))
        } else {
            let group_outputs = outputs / groups;
            let pack = |group: usize| {
                let first = group * group_outputs;
                let zero_points = match zero_points {
                    ZeroPoints::Each(each) => ZeroPoints::Each(&each[first..first + group_outputs]),
                    uniform @ ZeroPoints::Uniform(_) => uniform,
                };
                let at = |k: usize, j: usize| at(first + j, k);
                Packed::elements(isa, signs, at, [taps * group_channels, group_outputs], zero_points)
            };
            Kernels::Groups((0..groups).map(pack).collect::<Result<_, _>>()?)
        };
        Ok(Convolution { isa, window, groups, channels, outputs, scales: WeightScales::default(), kernels })
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The scales of the weights.
    pub fn scales(&self) -> &WeightScales {
        &self.scales
    }

    /// The scales of the weights, to be changed.
    pub fn scales_mut(&mut self) -> &mut WeightScales {
        &mut self.scales
    }

    /// The bias for every output, at scale `S_x · S_w`: quantized for images of this scale, or given by hand.
    pub fn set_bias(&mut self, bias: &[i32], image_scale: Option<f32>) -> Result<(), Error> {
        check_length("the bias", self.outputs, bias.len())?;
        self.scales.set_bias_for(image_scale);
        match &mut self.kernels {
            Kernels::Groups(groups) => {
                for (group, bias) in groups.iter_mut().zip(bias.chunks(self.outputs / self.groups)) {
                    group.set_bias(bias, None)?;
                }
            }
            Kernels::Depthwise(weights) => weights.set_bias(bias),
        }
        Ok(())
    }

    /// The shape of the result for images of a shape.
    pub fn output_shape(&self, [images, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        if channels != self.channels {
            return Err(Error::Shape { why: "the image's channels are not the weights'", found: channels });
        }
        let [height, width] = self.window.output_size([height, width])?;
        Ok([images, height, width, self.outputs])
    }

    /// The convolution of images, whose shape is checked, into a result that has a row for every output pixel.
    pub fn forward(
        &self,
        exec: Exec<'_>,
        images: Images<'_>,
        stage: &dyn EraseStage,
        out: Output<'_>,
    ) -> Result<(), Error> {
        check_isa(self.isa, exec.isa())?;
        let [count, height, width, _] = self.output_shape(images.shape)?;
        let Images { codes, sign, shape, zero_points, scales } = images;
        zero_points.check_for(sign, count)?;
        let windows = Windows { images: codes, shape, output: [height, width], window: &self.window };
        let (mut row_zero_points, mut row_scales) = (Workspace::default(), Workspace::default());
        let by_row = match zero_points {
            ZeroPoints::Uniform(_) => zero_points,
            ZeroPoints::Each(each) => ZeroPoints::Each(repeat(each, height * width, &mut row_zero_points)),
        };
        let scales = if scales.len() <= 1 { scales } else { repeat(scales, height * width, &mut row_scales) };
        let stage = &stage.erase(OperandScales::new(scales, &self.scales)?)?;
        match &self.kernels {
            Kernels::Depthwise(weights) => weights.forward(exec, &windows, (sign, zero_points), stage, out),
            Kernels::Groups(groups) => {
                let channels = self.channels / self.groups;
                let patches = |group| Patches { windows, zero_points, group, channels };
                if let [weights] = &groups[..] {
                    let patches = patches(0);
                    let lhs = Lhs { source: patches.source(), sign, zero_points: by_row };
                    let rhs = weights.erase();
                    let job = Job::new(&lhs, &rhs, stage, &out, 0);
                    job.check()?;
                    partition::run(exec, &job);
                    return Ok(());
                }
                let patches: Vec<Patches<'_>> = (0..groups.len()).map(patches).collect();
                let mut operands = Vec::with_capacity(groups.len());
                for (patches, weights) in patches.iter().zip(groups) {
                    operands.push((Lhs { source: patches.source(), sign, zero_points: by_row }, weights.erase()));
                }
                // Every group is checked before the first writes.
                let mut jobs = Vec::with_capacity(groups.len());
                for (group, (lhs, rhs)) in operands.iter().enumerate() {
                    let job = Job::new(lhs, rhs, stage, &out, group * (self.outputs / self.groups));
                    job.check()?;
                    jobs.push(job);
                }
                run_groups(exec, &jobs, stage, self.outputs);
                Ok(())
            }
        }
    }
}

/// Every value `count` times.
fn repeat<'m, T: bytemuck::Pod>(values: &[T], count: usize, memory: &'m mut Workspace) -> &'m [T] {
    let repeated = memory.elements::<T>(values.len() * count);
    for (repeated, &value) in repeated.chunks_exact_mut(count.max(1)).zip(values) {
        repeated.fill(value);
    }
    repeated
}

/// Runs the jobs of all groups, which make parts of the same rows, on several threads if that is faster.
fn run_groups(exec: Exec<'_>, jobs: &[Job<'_>], stage: &ErasedStage<'_>, outputs: usize) {
    let (rows, shape) = (jobs[0].rows(), jobs[0].shape());
    let team = exec.team(least_nanoseconds(rows, shape, true).saturating_mul(jobs.len()));
    // Sixteen pieces of whole tiles are divided evenly by up to eight threads.
    let unit = if team.alone() { rows } else { rows.div_ceil(16).next_multiple_of(shape.kernel.rows()) }.max(1);
    let pieces = (0..rows.div_ceil(unit)).map(|i| i * unit..rows.min((i + 1) * unit));
    team.share(pieces, |rows| {
        // The words of a row are those of all groups.
        let mut words = RowWords::new(stage.values.words(), outputs, 0..outputs);
        let step = words.rows_at_a_time(rows.len(), 1);
        for start in rows.clone().step_by(step) {
            let rows = start..rows.end.min(start + step);
            words.fill(shape.isa, rows.clone());
            for job in jobs {
                // SAFETY: every piece runs once, and pieces share no row; groups share no column.
                unsafe { job.run_with(&words, rows.clone(), 0..job.shape().panels()) };
            }
        }
    });
}

/// The patches of one group, as rows of a matrix.
struct Patches<'a> {
    windows: Windows<'a>,
    /// One, or one for every image.
    zero_points: ZeroPoints<'a>,
    group: usize,
    /// Channels of the group.
    channels: usize,
}

impl Patches<'_> {
    /// The rows in place, if the window is the whole patch.
    fn source(&self) -> RowSource<'_> {
        let Windows { window, shape, images, .. } = self.windows;
        let whole = *window == Window::new([1, 1]) && self.channels == shape[3];
        match Matrix::new(images, self.rows(), self.channels) {
            Ok(matrix) if whole => RowSource::Matrix(matrix),
            _ => RowSource::Made(self),
        }
    }
}

impl MakeRow for Patches<'_> {
    fn rows(&self) -> usize {
        self.windows.count()
    }

    fn depth(&self) -> usize {
        let [height, width] = self.windows.window.size;
        height * width * self.channels
    }

    fn make_row(&self, row: usize, out: &mut [u8]) {
        let Windows { window, shape, .. } = self.windows;
        // The low byte is the code: zero points are checked to be codes.
        let zero_point = match self.zero_points {
            ZeroPoints::Uniform(zero_point) => zero_point as u8,
            ZeroPoints::Each(each) => each[self.windows.image_of(row)] as u8,
        };
        let patch = self.windows.at(row);
        let width = window.size[1];
        // Taps that are neighbours are copied together.
        let together = window.dilation[1] == 1 && self.channels == shape[3];
        for (tap, out) in out.chunks_exact_mut((width * self.channels).max(1)).enumerate() {
            match patch.line(tap) {
                None => out.fill(zero_point),
                Some(line) if together => {
                    let (taps, start) = patch.run();
                    let (first, end) = (taps.start * self.channels, taps.end * self.channels);
                    out[..first].fill(zero_point);
                    out[first..end].copy_from_slice(&line[start..start + end - first]);
                    out[end..].fill(zero_point);
                }
                Some(line) => {
                    let first = self.group * self.channels;
                    for (tap, out) in out.chunks_exact_mut(self.channels).enumerate() {
                        match patch.channels(line, tap) {
                            Some(channels) => out.copy_from_slice(&channels[first..first + self.channels]),
                            None => out.fill(zero_point),
                        }
                    }
                }
            }
        }
    }
}
