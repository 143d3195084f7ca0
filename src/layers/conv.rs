//! 2-D convolution: a matrix multiplication whose rows are the patches under the window.
//!
//! A row of A is a patch, `[height, width, channels]` of one group, copied from the image straight into the block of
//! rows that the micro-kernel reads; the patches of the whole image are never stored. A 1×1 window that touches every
//! element needs no copy at all, and a depthwise convolution, which has no sum over channels, has a kernel of its own.

use core::marker::PhantomData;

use super::depthwise::DepthwiseWeights;
use super::window::{Window, Windows};
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::isa::Isa;
use crate::matmul::{FillRows, Job, RowWords, Rows, Stage, Weights as PackedWeights};
use crate::matrix::{Matrix, MatrixMut, ZeroPoints};

/// A 2-D convolution with weights `[outputs, channels / groups, height, width]` on images
/// `[images, height, width, channels]`, the result `[images, height, width, outputs]`.
///
/// ```
/// use zeropoint::{Accumulators, Conv2d, Isa, Window};
/// let edges = [1_i8, 0, -1, 2, 0, -2, 1, 0, -1]; // 1 output × 1 channel × 3 × 3
/// let window = Window { padding: [1; 4], ..Window::new([3, 3]) };
/// let conv = Conv2d::<u8, i8>::new(Isa::best()?, &edges, [1, 1, 3, 3], 0.into(), window, 1)?;
/// let image = [10_u8, 10, 60, 10, 10, 60]; // 2 × 3, zero point 10
/// let mut sums = [0; 6];
/// assert_eq!(conv.output_shape([1, 2, 3, 1])?, [1, 2, 3, 1]);
/// conv.forward(&image, [1, 2, 3, 1], 10, &Accumulators, &mut sums)?;
/// assert_eq!(sums, [0, -150, 0, 0, -150, 0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct Conv2d<A, B> {
    window: Window,
    groups: usize,
    channels: usize,
    outputs: usize,
    weights: Weights,
    codes: PhantomData<fn(A) -> B>,
}

#[derive(Debug)]
enum Weights {
    /// A matrix for every group.
    Groups(Vec<PackedWeights>),
    /// One output for every channel.
    Depthwise(DepthwiseWeights),
}

impl<A: Code, B: Code> Conv2d<A, B> {
    /// Weights of shape `[outputs, channels / groups, height, width]` (height and width are the window's), with one
    /// zero point, or one for every output.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Shape`] when the window or the groups do not go with the shape,
    /// [`Error::ZeroPoint`].
    pub fn new(
        isa: Isa,
        weights: &[B],
        shape: [usize; 4],
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
        zero_points.check::<B>(outputs)?;
        let channels = group_channels.saturating_mul(groups);
        let taps = height * width;
        // Weight k of an output, with the channels innermost, as they lie in an image.
        let at = |output: usize, k: usize| {
            let (tap, channel) = (k / group_channels, k % group_channels);
            weights[(output * group_channels + channel) * taps + tap]
        };
        let weights = if group_channels == 1 && outputs == groups {
            Weights::Depthwise(DepthwiseWeights::new::<B>(isa, outputs, taps, zero_points, |tap, channel| {
                at(channel, tap)
            }))
        } else {
            let group_outputs = outputs / groups;
            let pack = |group: usize| {
                let first = group * group_outputs;
                let zero_points = match zero_points {
                    ZeroPoints::Each(each) => ZeroPoints::Each(&each[first..first + group_outputs]),
                    uniform @ ZeroPoints::Uniform(_) => uniform,
                };
                let code = |k: usize, j: usize| at(first + j, k).to_byte();
                let shape = [taps * group_channels, group_outputs];
                PackedWeights::pack_elements(isa, [A::SIGN, B::SIGN], code, shape, zero_points)
            };
            Weights::Groups((0..groups).map(pack).collect::<Result<_, _>>()?)
        };
        Ok(Conv2d { window, groups, channels, outputs, weights, codes: PhantomData })
    }

    /// Adds a bias for every output, at scale `S_x · S_w`.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn with_bias(mut self, bias: &[i32]) -> Result<Self, Error> {
        check_length("the bias", self.outputs, bias.len())?;
        self.weights = match self.weights {
            Weights::Groups(groups) => {
                let mut groups = groups;
                for (group, bias) in groups.iter_mut().zip(bias.chunks((self.outputs / self.groups).max(1))) {
                    group.set_bias(bias)?;
                }
                Weights::Groups(groups)
            }
            Weights::Depthwise(weights) => Weights::Depthwise(weights.with_bias(bias)),
        };
        Ok(self)
    }

    /// The shape of the result for images `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the channels are not the weights' or the window does not fit.
    pub fn output_shape(&self, [images, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        if channels != self.channels {
            return Err(Error::Shape { why: "the image's channels are not the weights'", found: channels });
        }
        let [height, width] = self.window.output_size([height, width])?;
        Ok([images, height, width, self.outputs])
    }

    /// The convolution of images with this zero point; padding has the value of the zero point.
    ///
    /// # Errors
    /// As [`output_shape`](Conv2d::output_shape) and [`matmul`](crate::matmul()).
    pub fn forward<S: Stage>(
        &self,
        images: &[A],
        shape: [usize; 4],
        zero_point: i32,
        stage: &S,
        out: &mut [S::Element],
    ) -> Result<(), Error> {
        let [count, height, width, _] = self.output_shape(shape)?;
        check_length("the images", elements_of(&shape), images.len())?;
        let mut out = MatrixMut::new(out, elements_of(&[count, height, width]), self.outputs)?;
        let windows = Windows { images, shape, output: [height, width], window: &self.window };
        match &self.weights {
            Weights::Depthwise(weights) => weights.forward(&windows, zero_point, stage, &mut out),
            Weights::Groups(groups) => {
                let patches: Vec<_> = (0..groups.len())
                    .map(|group| Patches { windows, zero_point, group, channels: self.channels / self.groups })
                    .collect();
                // Every group is checked before the first writes.
                for (patches, weights) in patches.iter().zip(groups) {
                    let first = patches.group * weights.panels().shape.columns;
                    Job::new(patches, zero_point.into(), weights.erase(), stage, first, &mut out)?;
                }
                // The words of a row are those of all groups.
                let mut words = RowWords::new(stage.stream(), self.outputs, 0..self.outputs);
                for rows in words.blocks(0..windows.count(), 1) {
                    groups[0].panels().shape.isa.run(FillRows(&mut words, rows.clone()));
                    for (patches, weights) in patches.iter().zip(groups) {
                        let first = patches.group * weights.panels().shape.columns;
                        let job = Job::new(patches, zero_point.into(), weights.erase(), stage, first, &mut out)?;
                        job.run_with(&words, rows.clone(), 0..job.panels());
                    }
                }
                Ok(())
            }
        }
    }
}

/// The patches of one group, as rows of a matrix.
struct Patches<'a, A> {
    windows: Windows<'a, A>,
    zero_point: i32,
    group: usize,
    /// Channels of the group.
    channels: usize,
}

impl<A: Code> Rows<A> for Patches<'_, A> {
    fn rows(&self) -> usize {
        self.windows.count()
    }

    fn depth(&self) -> usize {
        let [height, width] = self.windows.window.size;
        height * width * self.channels
    }

    #[inline(always)]
    fn copy_row(&self, row: usize, out: &mut [A]) {
        let Windows { window, shape, .. } = self.windows;
        let zero_point = A::try_from(self.zero_point).ok().expect("checked with the job");
        let placed = self.windows.at(row);
        let width = window.size[1];
        // Taps that lie together are copied together.
        let together = window.dilation[1] == 1 && self.channels == shape[3];
        for (tap, out) in out.chunks_exact_mut((width * self.channels).max(1)).enumerate() {
            match placed.line(tap) {
                None => out.fill(zero_point),
                Some(line) if together => {
                    let (taps, start) = placed.run();
                    let (first, end) = (taps.start * self.channels, taps.end * self.channels);
                    out[..first].fill(zero_point);
                    out[first..end].copy_from_slice(&line[start..start + end - first]);
                    out[end..].fill(zero_point);
                }
                Some(line) => {
                    let first = self.group * self.channels;
                    for (tap, out) in out.chunks_exact_mut(self.channels).enumerate() {
                        match placed.channels(line, tap) {
                            Some(channels) => out.copy_from_slice(&channels[first..first + self.channels]),
                            None => out.fill(zero_point),
                        }
                    }
                }
            }
        }
    }

    fn matrix(&self) -> Option<Matrix<'_, A>> {
        let Windows { window, shape, images, .. } = self.windows;
        let whole = *window == Window::new([1, 1]) && self.channels == shape[3];
        if whole { Matrix::new(images, self.rows(), self.channels).ok() } else { None }
    }
}
