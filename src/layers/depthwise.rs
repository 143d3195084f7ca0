//! Depthwise convolution: every channel has a window of its own, so the lanes are channels and nothing is packed.
//!
//! `acc[c] = Σ over taps (x[tap][c] − zx) · (w[tap][c] − zw[c]) + bias[c]`; a tap in the padding adds nothing, since
//! padding is the zero point.

use core::ops::Range;

use super::window::Windows;
use crate::error::Error;
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matmul::erased_stage::ErasedStage;
use crate::matmul::given::Given;
use crate::matmul::output::Output;
use crate::matmul::per_column::PerColumn;
use crate::matmul::shape::{check_accumulator, largest_of};
use crate::matmul::tile::{AccRow, MAX_COLUMNS};
use crate::matmul::words::RowWords;
use crate::matrix::ZeroPoints;
use crate::memory::Workspace;
use crate::sign::Sign;
use crate::simd::LANES;
use crate::simd::walk::block;

/// The weights less their zero points, channels innermost.
#[derive(Clone, Debug)]
pub(super) struct DepthwiseWeights {
    isa: Isa,
    channels: usize,
    /// A row of channels for every tap.
    taps: Vec<PerColumn<i32>>,
    bias: PerColumn<i32>,
    /// The largest `|w − zw|`.
    largest: i64,
    /// The largest `|bias|`.
    largest_bias: i64,
}

/// Products a nanosecond that no core makes more of.
const MULTIPLIED: usize = 32;

/// Rows of accumulators that are kept at a time: 16 KiB, half of a level-1 cache.
const ACCUMULATORS: usize = 64;

impl DepthwiseWeights {
    /// Weights less their zero points, `at(tap, channel)` each, the largest of which is no larger than `largest`.
    pub fn new(isa: Isa, [taps, channels]: [usize; 2], largest: i64, at: &dyn Fn(usize, usize) -> i32) -> Self {
        let row = |tap| PerColumn::each((0..channels).map(|channel| at(tap, channel)).collect());
        let bias = PerColumn::each(vec![0; channels]);
        DepthwiseWeights { isa, channels, taps: (0..taps).map(row).collect(), bias, largest, largest_bias: 0 }
    }

    /// Adds a bias for every channel.
    pub fn set_bias(&mut self, bias: &[i32]) {
        self.largest_bias = largest_of(bias);
        self.bias = PerColumn::each(bias.to_vec());
    }

    /// The convolution of images whose codes have this sign, and one zero point or one for every image.
    pub fn forward(
        &self,
        exec: Exec<'_>,
        windows: &Windows<'_>,
        (sign, zero_points): (Sign, ZeroPoints<'_>),
        stage: &ErasedStage<'_>,
        out: Output<'_>,
    ) -> Result<(), Error> {
        assert_eq!(stage.values.element_size(), out.element_size(), "a result of the stage's type");
        let largest_input = zero_points.check_for(sign, windows.shape[0])?;
        check_accumulator(self.taps.len(), largest_input * self.largest, self.largest_bias)?;
        stage.values.check(out.rows(), out.columns())?;
        let job = Job { weights: self, windows, sign, zero_points, stage, out };
        let rows = windows.count();
        let products = rows.saturating_mul(self.channels).saturating_mul(self.taps.len());
        let team = exec.team(products / MULTIPLIED);
        if team.alone() {
            // SAFETY: it is the only piece.
            unsafe { job.run(0..rows) };
        } else {
            // Sixteen pieces are divided evenly by up to eight threads.
            let unit = rows.div_ceil(16).max(1);
            let pieces = (0..rows.div_ceil(unit)).map(|i| i * unit..rows.min((i + 1) * unit));
            // SAFETY: every piece runs once, and pieces share no row.
            team.share(pieces, |rows| unsafe { job.run(rows) });
        }
        Ok(())
    }
}

/// A checked convolution.
struct Job<'a> {
    weights: &'a DepthwiseWeights,
    windows: &'a Windows<'a>,
    sign: Sign,
    zero_points: ZeroPoints<'a>,
    stage: &'a ErasedStage<'a>,
    out: Output<'a>,
}

impl Job<'_> {
    /// Makes some rows of the result.
    ///
    /// # Safety
    /// No other piece with the same rows of this result runs at the same time.
    unsafe fn run(&self, rows: Range<usize>) {
        let DepthwiseWeights { isa, channels, ref taps, .. } = *self.weights;
        let panels = channels.div_ceil(MAX_COLUMNS);
        let step = (ACCUMULATORS / panels.max(1)).max(1);
        let (mut places, mut accumulators) = (Workspace::default(), Workspace::default());
        let mut words = RowWords::new(self.stage.values.words(), channels, 0..channels);
        let words_step = words.rows_at_a_time(rows.len(), 1);
        for start in rows.clone().step_by(words_step) {
            let rows = start..rows.end.min(start + words_step);
            words.fill(isa, rows.clone());
            for start in rows.clone().step_by(step) {
                let rows = start..rows.end.min(start + step);
                let accumulators = accumulators.elements::<AccRow>(panels * rows.len());
                let places = places.elements(taps.len());
                isa.run(Accumulate { job: self, rows: rows.clone(), places, accumulators });
                let given = Given { accumulators, rows, columns: 0..channels };
                // SAFETY: the rows are some of those that the caller vouches for.
                unsafe { given.emit(isa, self.stage, &self.out, &words) };
            }
        }
    }
}

/// The accumulators of some rows.
struct Accumulate<'a> {
    job: &'a Job<'a>,
    rows: Range<usize>,
    /// Room for a tap and its place in the image, for every tap.
    places: &'a mut [[usize; 2]],
    /// For every panel of [`MAX_COLUMNS`] channels, a row for every row.
    accumulators: &'a mut [AccRow],
}

impl Kernel for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        match self.job.sign {
            Sign::Unsigned => self.accumulate::<V, false>(simd),
            Sign::Signed => self.accumulate::<V, true>(simd),
        }
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    fn accumulate<V: Vectors, const SIGNED: bool>(self, simd: V) {
        let Accumulate { job, rows, places, accumulators } = self;
        let Job { weights, windows, zero_points, .. } = *job;
        let [height, width] = windows.window.size;
        let count = rows.len();
        for (i, row) in rows.enumerate() {
            let patch = windows.at(row);
            let zero_point = match zero_points {
                ZeroPoints::Uniform(zero_point) => zero_point,
                ZeroPoints::Each(each) => each[windows.image_of(row)],
            };
            let zero_point = simd.splat_i32(zero_point);
            let mut taps = 0;
            for tap_y in 0..height {
                for tap_x in 0..width {
                    if let Some(place) = patch.place([tap_y, tap_x]) {
                        places[taps] = [tap_y * width + tap_x, place];
                        taps += 1;
                    }
                }
            }
            let mut channel = 0;
            while channel < weights.channels {
                let mut acc = simd.load_i32(weights.bias.at(channel));
                for &[tap, place] in &places[..taps] {
                    // What is behind the last channel makes accumulators that nobody reads.
                    let codes = &patch.image()[place + channel..];
                    let padded;
                    let codes = match codes.first_chunk() {
                        Some(codes) => codes,
                        None => {
                            padded = block(codes, 0);
                            &padded
                        }
                    };
                    let x = if SIGNED {
                        simd.load_i8(bytemuck::must_cast_ref::<[u8; LANES], [i8; LANES]>(codes))
                    } else {
                        simd.load_u8(codes)
                    };
                    let product =
                        simd.mul_i32(simd.sub_i32(x, zero_point), simd.load_i32(weights.taps[tap].at(channel)));
                    acc = simd.add_i32(acc, product);
                }
                let row = &mut accumulators[channel / MAX_COLUMNS * count + i].0;
                simd.store_i32(acc, &mut row.as_chunks_mut().0[channel % MAX_COLUMNS / LANES]);
                channel += LANES;
            }
        }
    }
}
