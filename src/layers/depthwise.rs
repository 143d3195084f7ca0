//! Depthwise convolution: every channel has a window of its own, so the lanes are channels and nothing is packed.
//!
//! `acc[c] = Σ over taps (x[tap][c] − zx) · (w[tap][c] − zw[c]) + bias[c]`; a tap in the padding adds nothing, since
//! padding is the zero point.

use core::ops::Range;

use super::images::{ImageZeroPoints, load_zero_points};
use super::patches::Windows;
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
use crate::matrix::Largest;
use crate::memory::Scratch;
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
    largest: Largest,
    /// The largest `|bias|`.
    largest_bias: Largest,
}

/// Products a nanosecond that no core makes more of.
const MULTIPLIED: usize = 32;

/// Rows of accumulators that are kept at a time: 16 KiB, half of a level-1 cache.
const ACCUMULATORS: usize = 64;

impl DepthwiseWeights {
    /// Weights less their zero points, `at(tap, channel)` each, the largest of which is no larger than `largest`.
    pub fn new(isa: Isa, [taps, channels]: [usize; 2], largest: Largest, at: &dyn Fn(usize, usize) -> i32) -> Self {
        let row = |tap| PerColumn::each((0..channels).map(|channel| at(tap, channel)).collect());
        let bias = PerColumn::each(vec![0; channels]);
        DepthwiseWeights {
            isa,
            channels,
            taps: (0..taps).map(row).collect(),
            bias,
            largest,
            largest_bias: Largest::default(),
        }
    }

    /// Adds a bias for every channel.
    pub fn set_bias(&mut self, bias: &[i32]) {
        self.largest_bias = largest_of(bias);
        self.bias = PerColumn::each(bias.to_vec());
    }

    /// `Ok` when no accumulator can leave i32, whatever the codes, for this largest `|x − zx|`.
    pub fn check_depth(&self, largest_input: Largest) -> Result<(), Error> {
        check_accumulator(self.taps.len(), 0, [largest_input, self.largest], self.largest_bias)
    }

    /// A lower bound of what so many rows of the result take one thread, in nanoseconds.
    pub fn least_nanoseconds(&self, rows: usize) -> usize {
        rows.saturating_mul(self.channels).saturating_mul(self.taps.len()) / MULTIPLIED
    }

    /// The convolution of images whose codes have this sign and these zero points, which are checked.
    pub fn forward(
        &self,
        exec: Exec<'_>,
        windows: &Windows<'_>,
        (sign, zero_points): (Sign, ImageZeroPoints<'_>),
        stage: &ErasedStage<'_>,
        out: Output<'_>,
    ) -> Result<(), Error> {
        stage.values.check(out.rows(), out.columns())?;
        let job = Job { weights: self, windows, sign, zero_points, rows: StagedRows { isa: self.isa, stage, out } };
        let rows = windows.count();
        let team = exec.team(self.least_nanoseconds(rows));
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

    /// The panels of [`MAX_COLUMNS`] channels.
    pub fn panels(&self) -> usize {
        self.channels.div_ceil(MAX_COLUMNS)
    }

    /// Makes the accumulators of some rows: for every panel, a row for every row.
    pub fn accumulate(
        &self,
        windows: &Windows<'_>,
        (sign, zero_points): (Sign, ImageZeroPoints<'_>),
        rows: Range<usize>,
        accumulators: &mut [AccRow],
    ) {
        let mut places = Scratch::default();
        let places = places.elements(self.taps.len());
        self.isa.run(Accumulate { weights: self, windows, sign, zero_points, rows, places, accumulators });
    }
}

/// A result whose rows a stage makes of accumulators.
pub(super) struct StagedRows<'a> {
    pub isa: Isa,
    pub stage: &'a ErasedStage<'a>,
    pub out: Output<'a>,
}

impl StagedRows<'_> {
    /// Writes some rows, whose words are made, of accumulators: for every panel of [`MAX_COLUMNS`] columns, a row for every row.
    ///
    /// # Safety
    /// No other thread has these rows of the result.
    pub unsafe fn write(&self, words: &RowWords, rows: Range<usize>, accumulators: &[AccRow]) {
        let StagedRows { isa, stage, ref out } = *self;
        assert_eq!(stage.values.element_size(), out.element_size(), "a result of the stage's type");
        let given = Given { accumulators, rows, columns: 0..out.columns() };
        // SAFETY: the caller vouches for the rows; elements are as large as the stage's, which was just checked.
        unsafe { given.emit(isa, stage, out, words) };
    }
}

/// A checked convolution.
struct Job<'a> {
    weights: &'a DepthwiseWeights,
    windows: &'a Windows<'a>,
    sign: Sign,
    zero_points: ImageZeroPoints<'a>,
    rows: StagedRows<'a>,
}

impl Job<'_> {
    /// Makes some rows of the result.
    ///
    /// # Safety
    /// No other piece with the same rows of this result runs at the same time.
    unsafe fn run(&self, rows: Range<usize>) {
        let Job { weights, windows, sign, zero_points, rows: ref out } = *self;
        let panels = weights.panels();
        let step = (ACCUMULATORS / panels.max(1)).max(1);
        let mut accumulators = Scratch::default();
        let mut words = RowWords::new(out.stage.values.words(), weights.channels, 0..weights.channels);
        let words_step = words.rows_at_a_time(rows.len(), 1);
        for start in rows.clone().step_by(words_step) {
            let rows = start..rows.end.min(start + words_step);
            words.fill(weights.isa, rows.clone());
            for start in rows.clone().step_by(step) {
                let rows = start..rows.end.min(start + step);
                let accumulators = accumulators.elements::<AccRow>(panels * rows.len());
                weights.accumulate(windows, (sign, zero_points), rows.clone(), accumulators);
                // SAFETY: the rows are some of those that the caller vouches for.
                unsafe { out.write(&words, rows, accumulators) };
            }
        }
    }
}

/// The accumulators of some rows.
struct Accumulate<'a> {
    weights: &'a DepthwiseWeights,
    windows: &'a Windows<'a>,
    sign: Sign,
    zero_points: ImageZeroPoints<'a>,
    rows: Range<usize>,
    /// Room for a tap and its place in the image, for every tap.
    places: &'a mut [[usize; 2]],
    /// For every panel, a row for every row.
    accumulators: &'a mut [AccRow],
}

impl Kernel for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, simd: V) {
        match self.sign {
            Sign::Unsigned => self.accumulate::<V, false>(simd),
            Sign::Signed => self.accumulate::<V, true>(simd),
        }
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    fn accumulate<V: Vectors, const SIGNED: bool>(self, simd: V) {
        let Accumulate { weights, windows, zero_points, rows, places, accumulators, .. } = self;
        let width = windows.window.size[1];
        let count = rows.len();
        for (i, row) in rows.enumerate() {
            let patch = windows.at(row);
            let zero_points = zero_points.of_image(|| windows.image_of(row));
            let mut taps = 0;
            for tap_y in patch.taps(0) {
                for tap_x in patch.taps(1) {
                    places[taps] = [tap_y * width + tap_x, patch.place([tap_y, tap_x])];
                    taps += 1;
                }
            }
            let mut channel = 0;
            while channel < weights.channels {
                let zero_point = load_zero_points(simd, zero_points, channel);
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
