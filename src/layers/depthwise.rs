//! Depthwise convolution: every channel has a window of its own, so the lanes are channels and nothing is packed.
//!
//! `acc[c] = Σ over taps (x[tap][c] − zx) · (w[tap][c] − zw[c]) + bias[c]`; a tap in the padding adds nothing, since
//! padding is the zero point.

use super::window::Windows;
use crate::codes::Code;
use crate::error::Error;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matmul::{Columns, RowWords, Stage, check_accumulator};
use crate::matrix::{MatrixMut, Pieces, ZeroPoints};
use crate::simd::LANES;
use crate::simd::walk::block;

/// The weights less their zero points, channels innermost.
#[derive(Debug)]
pub(super) struct DepthwiseWeights {
    isa: Isa,
    channels: usize,
    /// A row of channels for every tap.
    taps: Vec<Columns<i32>>,
    bias: Columns<i32>,
    /// The largest `|w − zw|`.
    largest: i64,
    /// The largest `|bias|`.
    largest_bias: i64,
}

impl DepthwiseWeights {
    /// `at(tap, channel)`; the zero points are valid.
    pub fn new<B: Code>(
        isa: Isa,
        channels: usize,
        taps: usize,
        zero_points: ZeroPoints<'_>,
        at: impl Fn(usize, usize) -> B,
    ) -> Self {
        let row = |tap| Columns::each((0..channels).map(|channel| at(tap, channel).into() - zero_points.at(channel)));
        let largest = zero_points.check::<B>(channels).expect("checked by the caller");
        let bias = Columns::each(vec![0; channels]);
        DepthwiseWeights { isa, channels, taps: (0..taps).map(row).collect(), bias, largest, largest_bias: 0 }
    }

    /// One bias for every channel.
    pub fn with_bias(self, bias: &[i32]) -> Self {
        let largest_bias = bias.iter().map(|&bias| i64::from(bias).abs()).max().unwrap_or(0);
        DepthwiseWeights { bias: Columns::each(bias.iter().copied()), largest_bias, ..self }
    }

    pub fn forward<A: Code, S: Stage>(
        &self,
        windows: &Windows<'_, A>,
        zero_point: i32,
        stage: &S,
        out: &mut MatrixMut<'_, S::Element>,
    ) -> Result<(), Error> {
        let largest_input = ZeroPoints::Uniform(zero_point).check::<A>(0)?;
        check_accumulator(self.taps.len(), largest_input * self.largest, self.largest_bias)?;
        stage.check(out.rows(), out.columns())?;
        self.isa.run(Depthwise { weights: self, windows, zero_point, stage, out: out.pieces() });
        Ok(())
    }
}

struct Depthwise<'a, A, S: Stage> {
    weights: &'a DepthwiseWeights,
    windows: &'a Windows<'a, A>,
    zero_point: i32,
    stage: &'a S,
    out: Pieces<'a, S::Element>,
}

impl<A: Code, S: Stage> Kernel for Depthwise<'_, A, S> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        let Depthwise { weights, windows, zero_point, stage, out } = self;
        let zero_point = simd.splat_i32(zero_point);
        let mut words = RowWords::new(stage.stream(), weights.channels, 0..weights.channels);
        for rows in words.blocks(0..windows.count(), 1) {
            words.fill(simd, rows.clone());
            for row in rows {
                let placed = windows.at(row);
                for channel in (0..weights.channels).step_by(LANES) {
                    let mut acc = simd.load_i32(weights.bias.at(channel));
                    for (tap_y, weights) in weights.taps.chunks_exact(windows.window.size[1]).enumerate() {
                        let Some(line) = placed.line(tap_y) else { continue };
                        for (tap_x, weights) in weights.iter().enumerate() {
                            let Some(element) = placed.channels(line, tap_x) else { continue };
                            let x = simd.sub_i32(A::load(simd, &block(element, channel)), zero_point);
                            acc = simd.add_i32(acc, simd.mul_i32(x, simd.load_i32(weights.at(channel))));
                        }
                    }
                    let count = LANES.min(weights.channels - channel);
                    // SAFETY: one piece is alive at a time.
                    let out = unsafe { out.piece(row, channel, count) };
                    let parameters = stage.parameters(simd, channel);
                    let words = if S::STOCHASTIC { words.at(simd, row, channel) } else { simd.splat_i32(0) };
                    stage.emit_some(simd, &parameters, row, acc, words, out);
                }
            }
        }
    }
}
