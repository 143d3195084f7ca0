//! The clock: samples of about the same length.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The length of a sample.
const TURN: Duration = Duration::from_millis(3);

/// A sample: warm calls for about [`TURN`], at least one. Seconds per call.
pub fn turn(call: &mut dyn FnMut()) -> f64 {
    // Warm up: map pages, fill caches and branch predictors, let the clock rate settle; and find how long a call takes.
    call();
    let (mut calls, mut expected) = (1_u32, TURN.as_secs_f64());
    let warmup = Instant::now();
    while warmup.elapsed() < TURN / 10 {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        expected = start.elapsed().as_secs_f64() / f64::from(calls);
        calls = calls.saturating_mul(2);
    }
    let calls = (TURN.as_secs_f64() / expected.max(1e-9)).ceil().clamp(1.0, 1e7) as u32;
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed().as_secs_f64() / f64::from(calls)
}

/// The samples of one candidate, in seconds per call or per unit of work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times(Vec<f64>);

impl Times {
    /// Takes another sample.
    pub fn turn(&mut self, call: &mut dyn FnMut()) {
        self.push(turn(call));
    }

    /// Adds a sample that was taken elsewhere.
    pub fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    /// The interquartile mean: as robust against outliers as the median, and steadier where samples fall into two groups.
    pub fn middle(&self) -> f64 {
        let times = self.sorted();
        let middle = middle_half(&times);
        middle.iter().sum::<f64>() / middle.len() as f64
    }

    /// The time of another candidate over the time of this one: the interquartile mean of the ratios of single rounds, in
    /// which drift between rounds cancels.
    pub fn ratio(&self, other: &Times) -> f64 {
        Times(self.0.iter().zip(&other.0).map(|(own, other)| other / own).collect()).middle()
    }

    /// The interquartile range over the interquartile mean.
    pub fn spread(&self) -> f64 {
        let times = self.sorted();
        let middle = middle_half(&times);
        middle.first().zip(middle.last()).map_or(f64::NAN, |(shortest, longest)| (longest - shortest) / self.middle())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        times
    }

    /// The shortest sample.
    pub fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

fn middle_half(sorted: &[f64]) -> &[f64] {
    let quarter = sorted.len() / 4;
    &sorted[quarter..sorted.len() - quarter]
}
