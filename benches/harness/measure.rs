//! The clock: turns of about the same length, in rounds.

use std::time::{Duration, Instant};

use serde::Serialize;

/// How long a turn is to take.
const TURN: Duration = Duration::from_millis(3);

/// The times of one contender, in seconds per call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times(Vec<f64>);

impl Times {
    /// One turn: calls until its time is over, at least one, warm. Returns nothing when the clock stood still.
    pub fn turn(&mut self, call: &mut dyn FnMut()) {
        // What others left in the caches, and the frequency they left, is not ours. A call that is longer than a turn
        // warms itself.
        let warmup = Instant::now();
        if self.0.last().is_none_or(|&seconds| seconds < TURN.as_secs_f64()) {
            call();
        }
        let expected = self.0.last().copied().unwrap_or_else(|| warmup.elapsed().as_secs_f64());
        let calls = (TURN.as_secs_f64() / expected.max(1e-9)).ceil().clamp(1.0, 1e6) as u32;
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        self.0.push(start.elapsed().as_secs_f64() / f64::from(calls));
    }

    /// The median of all turns.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How many times as long another took, turn by turn: the median of what is free of whatever drifts from round to round.
    pub fn ratio(&self, other: &Times) -> f64 {
        Times(self.0.iter().zip(&other.0).map(|(own, other)| other / own).collect()).median()
    }

    /// The middle half of the turns, from its shortest to its longest, over the median.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    /// Between two turns, by their distance.
    fn quantile(&self, part: f64) -> f64 {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        let at = part * times.len().saturating_sub(1) as f64;
        let [below, above] = [at.floor(), at.ceil()].map(|at| times.get(at as usize).copied().unwrap_or(f64::NAN));
        below + (above - below) * at.fract()
    }

    /// The shortest of all turns.
    pub fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}
