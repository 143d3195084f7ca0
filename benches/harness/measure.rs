//! The clock: turns of about the same length, in rounds.

use std::time::{Duration, Instant};

use serde::Serialize;

/// How long a turn is to take.
const TURN: Duration = Duration::from_millis(3);

/// A turn: calls until its time is over, at least one, warm. Seconds per call.
pub fn turn(call: &mut dyn FnMut()) -> f64 {
    // Pages are there only when they were touched; what others left in the caches, and the frequency they left, is not ours;
    // and how long a call takes is not known.
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

/// The times of one contender's turns, in seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times(Vec<f64>);

impl Times {
    /// A turn more.
    pub fn turn(&mut self, call: &mut dyn FnMut()) {
        self.push(turn(call));
    }

    /// A turn that was taken elsewhere.
    pub fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    /// The mean of the middle half of the turns: as deaf to outliers as the median, and steadier where turns have two speeds.
    pub fn middle(&self) -> f64 {
        let times = self.sorted();
        let middle = middle_half(&times);
        middle.iter().sum::<f64>() / middle.len() as f64
    }

    /// How many times as long another took: the middle of the ratios of single rounds, which are free of whatever drifts from
    /// one to another.
    pub fn ratio(&self, other: &Times) -> f64 {
        Times(self.0.iter().zip(&other.0).map(|(own, other)| other / own).collect()).middle()
    }

    /// The middle half of the turns, from its shortest to its longest, over its mean.
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

    /// The shortest of all turns.
    pub fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

fn middle_half(sorted: &[f64]) -> &[f64] {
    let quarter = sorted.len() / 4;
    &sorted[quarter..sorted.len() - quarter]
}
