//! The weights of a convolution, prepared for one ISA.

use super::depthwise::DepthwiseWeights;
use crate::error::Error;
use crate::isa::Isa;
use crate::matmul::packed::Packed;
use crate::matmul::partition::least_nanoseconds;
use crate::matrix::{Largest, ZeroPoints};
use crate::sign::Sign;

/// Weights as the matrix multiplication or the depthwise kernel reads them.
#[derive(Clone, Debug)]
pub(super) enum Kernels {
    /// A matrix `[taps · channels, outputs]` for every group.
    Groups(Vec<Packed>),
    /// One output for every channel.
    Depthwise(DepthwiseWeights),
}

/// Weights as they are given: codes with the signs of images and weights, one zero point or one for every output.
pub(super) struct WeightCodes<'a> {
    pub signs: [Sign; 2],
    pub codes: &'a [u8],
    pub zero_points: ZeroPoints<'a>,
    pub groups: usize,
}

/// The shape of weights.
#[derive(Clone, Copy)]
pub(super) struct WeightShape {
    pub groups: usize,
    /// Channels of a group.
    pub channels: usize,
    /// Outputs of a group.
    pub outputs: usize,
    /// Taps of the window.
    pub taps: usize,
}

impl Kernels {
    /// Weights with one zero point or one for every output, checked: `largest` is the largest `|w − zw|`. The weight of an
    /// output, a tap and a channel of its group is `at(output, tap, channel)`.
    pub fn new(
        isa: Isa,
        signs: [Sign; 2],
        shape: WeightShape,
        (zero_points, largest): (ZeroPoints<'_>, Largest),
        at: impl Fn(usize, usize, usize) -> u8 + Sync,
    ) -> Result<Self, Error> {
        let WeightShape { groups, channels, outputs, taps } = shape;
        if [channels, outputs] == [1, 1] {
            let at = |tap: usize, output: usize| signs[1].value(at(output, tap, 0)) - zero_points.at(output);
            return Ok(Kernels::Depthwise(DepthwiseWeights::new(isa, [taps, groups], largest, &at)));
        }
        let pack = |group: usize| {
            let first = group * outputs;
            let zero_points = match zero_points {
                ZeroPoints::Each(each) => ZeroPoints::Each(&each[first..first + outputs]),
                uniform @ ZeroPoints::Uniform(_) => uniform,
            };
            // The channels are innermost, as in an image.
            let at = |k: usize, j: usize| at(first + j, k / channels, k % channels);
            Packed::elements(isa, signs, at, [taps * channels, outputs], zero_points)
        };
        Ok(Kernels::Groups((0..groups).map(pack).collect::<Result<_, _>>()?))
    }

    /// Adds a bias for every output.
    pub fn set_bias(&mut self, bias: &[i32]) -> Result<(), Error> {
        match self {
            Kernels::Groups(groups) => {
                let outputs = bias.len() / groups.len();
                for (group, bias) in groups.iter_mut().zip(bias.chunks(outputs)) {
                    group.set_bias(bias, None)?;
                }
            }
            Kernels::Depthwise(weights) => weights.set_bias(bias),
        }
        Ok(())
    }

    /// `Ok` when no accumulator can leave i32, whatever the codes, for this largest `|x − zx|`.
    pub fn check_depth(&self, largest_input: Largest) -> Result<(), Error> {
        match self {
            Kernels::Groups(groups) => groups.iter().enumerate().try_for_each(|(group, weights)| {
                let weights = weights.erase();
                weights.check_depth(largest_input, group * weights.shape().columns)
            }),
            Kernels::Depthwise(weights) => weights.check_depth(largest_input),
        }
    }

    /// A lower bound of what so many rows of the result take one thread, in nanoseconds.
    pub fn least_nanoseconds(&self, rows: usize) -> usize {
        match self {
            Kernels::Groups(groups) => {
                least_nanoseconds(rows, groups[0].erase().shape(), true).saturating_mul(groups.len())
            }
            Kernels::Depthwise(weights) => weights.least_nanoseconds(rows),
        }
    }
}
