//! 2-D convolution: a matrix multiplication whose rows are the patches under the window.
//!
//! A row of A is a patch, `[height, width, channels]` of one group, copied from the image straight into the block of
//! rows that the micro-kernel reads; the patches of the whole image are never stored. A 1×1 window that touches every
//! element needs no copy at all, and a depthwise convolution, which has no sum over channels, has a kernel of its own.
//! A [transposed](super::transposed) convolution is several ordinary ones, whose results are interleaved.
//!
//! Images that are quantized one by one are still one product: zero points and scales go with its rows. Zero points for every
//! channel are a [correction](super::interleave) of the accumulators.

use core::ops::Range;
use core::slice;

use super::images::{ImageZeroPoints, Images};
use super::interleave::{Interleave, Part, Phases};
use super::kernels::{Kernels, WeightCodes, WeightShape};
use super::patches::{Patches, Windows};
use super::transposed::Transposed;
use super::window::Window;
use crate::codes::ByteCode;
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matmul::erased_stage::{EraseStage, ErasedStage, OperandScales};
use crate::matmul::job::Job;
use crate::matmul::lhs::Lhs;
use crate::matmul::output::Output;
use crate::matmul::packed::Packed;
use crate::matmul::partition::{self, least_nanoseconds};
use crate::matmul::rhs::check_isa;
use crate::matmul::stage::Stage;
use crate::matmul::weights::WeightScales;
use crate::matmul::words::RowWords;
use crate::matrix::{MatrixMut, ZeroPoints};
use crate::memory::Scratch;
use crate::params::QuantParams;

/// A convolution by weights of either type, of images of either type.
#[derive(Clone, Debug)]
pub struct Convolution {
    isa: Isa,
    groups: usize,
    channels: usize,
    outputs: usize,
    scales: WeightScales,
    /// One for every output.
    bias: Vec<i32>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Ordinary(Part),
    Transposed(Transposed),
}

impl Convolution {
    /// Weights `[outputs, channels / groups, height, width]`.
    pub(super) fn new(isa: Isa, weights: WeightCodes<'_>, shape: [usize; 4], window: Window) -> Result<Self, Error> {
        let WeightCodes { signs, codes, zero_points, groups } = weights;
        let [outputs, group_channels, height, width] = shape;
        check_weights(codes, shape, window)?;
        if groups == 0 || !outputs.is_multiple_of(groups) {
            return Err(Error::Shape { why: "the outputs are not a multiple of the groups", found: groups });
        }
        let largest = zero_points.check_for(signs[1], outputs)?;
        let channels = group_channels.saturating_mul(groups);
        let taps = height * width;
        let at = |output: usize, tap: usize, channel: usize| codes[(output * group_channels + channel) * taps + tap];
        let shape = WeightShape { groups, channels: group_channels, outputs: outputs / groups, taps };
        let kernels = Kernels::new(isa, signs, shape, (zero_points, largest), at)?;
        let kind = Kind::Ordinary((window, kernels));
        Ok(Self::of(isa, [groups, channels, outputs], kind))
    }

    /// A convolution without scales and bias.
    fn of(isa: Isa, [groups, channels, outputs]: [usize; 3], kind: Kind) -> Self {
        Convolution { isa, groups, channels, outputs, scales: WeightScales::default(), bias: vec![0; outputs], kind }
    }

    /// A transposed convolution by weights `[channels, outputs / groups, height, width]`.
    pub(super) fn transposed(
        isa: Isa,
        weights: WeightCodes<'_>,
        shape: [usize; 4],
        window: Window,
        output_padding: [usize; 2],
    ) -> Result<Self, Error> {
        let [channels, group_outputs, ..] = shape;
        let groups = weights.groups;
        Self::check_transposed(weights.codes, shape, window, groups)?;
        let kind = Kind::Transposed(Transposed::new(isa, weights, shape, window, output_padding)?);
        let outputs = group_outputs * groups;
        Ok(Self::of(isa, [groups, channels, outputs], kind))
    }

    /// `Ok` for weights `[channels, outputs / groups, height, width]` that a transposed convolution can have.
    pub(super) fn check_transposed(
        codes: &[u8],
        shape: [usize; 4],
        window: Window,
        groups: usize,
    ) -> Result<(), Error> {
        check_weights(codes, shape, window)?;
        if groups == 0 || !shape[0].is_multiple_of(groups) {
            return Err(Error::Shape { why: "the channels are not a multiple of the groups", found: groups });
        }
        Ok(())
    }

    /// The scales of the weights.
    pub(super) fn scales(&self) -> &WeightScales {
        &self.scales
    }

    /// The scales of the weights, to be changed.
    pub(super) fn scales_mut(&mut self) -> &mut WeightScales {
        &mut self.scales
    }

    /// The bias for every output, as real numbers, quantized for images of the scale of `x`.
    pub(super) fn quantize_bias<A: ByteCode>(&mut self, bias: &[f32], x: &QuantParams<A>) -> Result<(), Error> {
        check_length("the bias", self.outputs, bias.len())?;
        let (image_scale, _) = x.one_group()?;
        let bias = self.scales.quantize_bias(bias, image_scale)?;
        self.set_bias(&bias, Some(image_scale))
    }

    /// The bias for every output, at scale `S_x · S_w`: quantized for images of this scale, or given by hand.
    pub(super) fn set_bias(&mut self, bias: &[i32], image_scale: Option<f32>) -> Result<(), Error> {
        check_length("the bias", self.outputs, bias.len())?;
        self.scales.set_bias_for(image_scale);
        self.bias = bias.to_vec();
        match &mut self.kind {
            Kind::Ordinary((_, kernels)) => kernels.set_bias(bias),
            Kind::Transposed(transposed) => transposed.set_bias(bias),
        }
    }

    /// The shape of the result for images of a shape.
    pub(super) fn output_shape(&self, [images, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        if channels != self.channels {
            return Err(Error::Shape { why: "the image's channels are not the weights'", found: channels });
        }
        let [height, width] = match &self.kind {
            Kind::Ordinary((window, _)) => window.output_size([height, width])?,
            Kind::Transposed(transposed) => transposed.output_size([height, width])?,
        };
        Ok([images, height, width, self.outputs])
    }

    /// The convolution of images, whose shape is checked.
    pub(super) fn forward<S: Stage>(
        &self,
        exec: Exec<'_>,
        images: Images<'_>,
        stage: &S,
        out: &mut [S::Element],
    ) -> Result<(), Error> {
        let output = self.output_shape(images.shape)?;
        let mut out = MatrixMut::new(out, elements_of(&output[..3]), output[3])?;
        self.run(exec, images, [output[1], output[2]], stage, Output::new(&mut out))
    }

    /// The convolution of images into a result that has a row for every output pixel.
    fn run(
        &self,
        exec: Exec<'_>,
        images: Images<'_>,
        output: [usize; 2],
        stage: &dyn EraseStage,
        out: Output<'_>,
    ) -> Result<(), Error> {
        check_isa(self.isa, exec.isa())?;
        let rows_of_image = elements_of(&output);
        let mut largest_input = images.check_zero_points()?;
        // The row of the result: that of the image's first pixel.
        largest_input.index *= if let ImageZeroPoints::PerImage(_) = images.zero_points { rows_of_image } else { 0 };
        let mut row_scales = Scratch::default();
        let scales = match (images.zero_points, images.scales) {
            (ImageZeroPoints::PerChannel(_), [first, rest @ ..]) => {
                if rest.iter().any(|scale| scale != first) {
                    let why = "the scales of the images' channels differ: a sum over them has one";
                    return Err(Error::Shape { why, found: images.scales.len() });
                }
                slice::from_ref(first)
            }
            (ImageZeroPoints::PerImage(_), scales) => repeat(scales, rows_of_image, &mut row_scales),
            (_, scales) => scales,
        };
        let stage = &stage.erase(OperandScales::new(scales, &self.scales)?)?;
        let Images { codes, sign, shape, zero_points, .. } = images;
        let per_channel = matches!(zero_points, ImageZeroPoints::PerChannel(_));
        let phases = match &self.kind {
            Kind::Ordinary(part) => Phases::whole(part),
            Kind::Transposed(transposed) => transposed.phases(),
        };
        // A result of one phase, which a transposed convolution of stride 1 has too, is made in place.
        if let (Some((window, kernels)), first) = phases.single() {
            let windows = Windows { images: codes, shape, output, first, window };
            match kernels {
                Kernels::Depthwise(weights) => {
                    weights.check_depth(largest_input)?;
                    return weights.forward(exec, &windows, (sign, zero_points), stage, out);
                }
                Kernels::Groups(groups) if !per_channel => {
                    return self.multiply(exec, groups, windows, &images, stage, &out);
                }
                Kernels::Groups(_) => {}
            }
        }
        let channels = self.channels / self.groups;
        let interleave = Interleave { isa: self.isa, phases, images: &images, channels, bias: &self.bias, output };
        interleave.run(exec, largest_input, stage, out)
    }

    /// The convolution by a matrix for every group, into a result that has a row for every window.
    fn multiply(
        &self,
        exec: Exec<'_>,
        groups: &[Packed],
        windows: Windows<'_>,
        images: &Images<'_>,
        stage: &ErasedStage<'_>,
        out: &Output<'_>,
    ) -> Result<(), Error> {
        let Images { sign, zero_points, .. } = *images;
        let mut row_zero_points = Scratch::default();
        let by_row = match zero_points {
            ImageZeroPoints::PerImage(each) => {
                ZeroPoints::Each(repeat(each, elements_of(&windows.output), &mut row_zero_points))
            }
            uniform => uniform.of_image(|| 0),
        };
        let channels = self.channels / self.groups;
        // Calls `then` with the job of a group. (Jobs are made anew for every piece of work, which costs less than a list of them.)
        let with_job = |group: usize, then: &mut dyn FnMut(&Job<'_>) -> Result<(), Error>| {
            let patches = Patches { windows, zero_points, group, channels };
            let lhs = Lhs { source: patches.source(), sign, zero_points: by_row };
            let rhs = groups[group].erase();
            then(&Job::new(&lhs, &rhs, stage, out, group * (self.outputs / self.groups)))
        };
        // Every group is checked before the first writes.
        (0..groups.len()).try_for_each(|group| with_job(group, &mut |job| job.check()))?;
        if groups.len() == 1 {
            return with_job(0, &mut |job| {
                partition::run(exec, job);
                Ok(())
            });
        }
        self.run_groups(exec, groups, stage, out.rows(), &|group, words, rows| {
            with_job(group, &mut |job| {
                // SAFETY: every piece runs once, and pieces share no row; groups share no column.
                unsafe { job.run_with(words, rows.clone(), 0..job.shape().panels()) };
                Ok(())
            })
            .expect("the jobs were checked");
        });
        Ok(())
    }

    /// Runs all groups, which make parts of the same rows, on several threads if that is faster. `run` computes some rows of a
    /// group.
    fn run_groups(
        &self,
        exec: Exec<'_>,
        groups: &[Packed],
        stage: &ErasedStage<'_>,
        rows: usize,
        run: &(dyn Fn(usize, &RowWords, Range<usize>) + Sync),
    ) {
        let shape = groups[0].erase().shape();
        let team = exec.team(least_nanoseconds(rows, shape, true).saturating_mul(groups.len()));
        // Sixteen pieces of whole tiles are divided evenly by up to eight threads.
        let unit = if team.alone() { rows } else { rows.div_ceil(16).next_multiple_of(shape.kernel.rows()) }.max(1);
        let pieces = (0..rows.div_ceil(unit)).map(|i| i * unit..rows.min((i + 1) * unit));
        team.share(pieces, |rows| {
            // The words of a row are those of all groups.
            let mut words = RowWords::new(stage.values.words(), self.outputs, 0..self.outputs);
            let step = words.rows_at_a_time(rows.len(), 1);
            for start in rows.clone().step_by(step) {
                let rows = start..rows.end.min(start + step);
                words.fill(shape.isa, rows.clone());
                (0..groups.len()).for_each(|group| run(group, &words, rows.clone()));
            }
        });
    }
}

/// `Ok` for weights that fill their shape, whose last two axes are those of the window, and a window that goes with some image.
fn check_weights(codes: &[u8], shape: [usize; 4], window: Window) -> Result<(), Error> {
    let [_, _, height, width] = shape;
    if shape.contains(&0) {
        return Err(Error::Shape { why: "an axis of the weights has no length", found: 0 });
    }
    check_length("weights", elements_of(&shape), codes.len())?;
    if [height, width] != window.size {
        return Err(Error::Shape { why: "the weights' height and width are the window's", found: height });
    }
    window.check()
}

/// Every value `count` times.
fn repeat<'m, T: bytemuck::Pod>(values: &[T], count: usize, memory: &'m mut Scratch) -> &'m [T] {
    // (Of no values none: however many that is of each, in a result that is empty.)
    let repeated = memory.elements::<T>(values.len().saturating_mul(count));
    for (repeated, &value) in repeated.chunks_exact_mut(count.max(1)).zip(values) {
        repeated.fill(value);
    }
    repeated
}
