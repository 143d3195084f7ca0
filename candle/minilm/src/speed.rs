//! The turns of all candidates in one process.

use std::time::Instant;

use candle_core::{Device, Tensor};
use harness::measure::Times;
use serde::{Deserialize, Serialize};

use crate::candidates::CANDIDATES;
use crate::convolutions;
use crate::model::{Model, Wrong};

/// Sentences that are embedded together, and the tokens of each.
const SHAPES: [[usize; 2]; 8] = [[1, 16], [1, 64], [1, 128], [8, 16], [8, 64], [8, 128], [32, 16], [32, 64]];

/// Seconds that a turn takes at least.
const TURN: f64 = 0.01;

/// Everything that a process measured.
#[derive(Serialize, Deserialize)]
pub struct Speeds {
    pub batches: Vec<BatchRow>,
    pub convolutions: Vec<convolutions::Row>,
}

/// Candidates at one shape of a batch.
#[derive(Serialize, Deserialize)]
pub struct BatchRow {
    pub batch: usize,
    pub length: usize,
    pub figures: Vec<Figure>,
}

/// The speed of a candidate.
#[derive(Serialize, Deserialize)]
pub struct Figure {
    /// Units of work a second.
    pub rate: f64,
    /// Times the speed of the first candidate, round by round.
    pub ratio: f64,
    /// Of the rounds' times, of both.
    pub spread: f64,
}

impl Figure {
    /// The figures of candidates whose calls do `work` each.
    pub fn all(times: &[Times], work: f64) -> Vec<Figure> {
        let of = |own: &Times| Figure {
            rate: work / own.middle(),
            ratio: own.ratio(&times[0]),
            spread: own.spread().max(times[0].spread()),
        };
        times.iter().map(of).collect()
    }
}

/// Rounds in which every candidate has a turn; a first one warms up, and finds how many calls a turn has.
pub fn rounds<E>(count: u32, candidates: usize, mut call: impl FnMut(usize) -> Result<(), E>) -> Result<Vec<Times>, E> {
    let mut times = vec![Times::default(); candidates];
    let mut calls = vec![1_u32; candidates];
    for round in 0..=count {
        for i in 0..candidates {
            let start = Instant::now();
            for _ in 0..calls[i] {
                call(i)?;
            }
            let seconds = start.elapsed().as_secs_f64() / f64::from(calls[i]);
            if round == 0 {
                calls[i] = (TURN / seconds).ceil().clamp(1.0, 1e6) as u32;
            } else {
                times[i].push(seconds);
            }
        }
    }
    Ok(times)
}

/// Takes all turns, on the threads of this process.
pub fn take(model: &Model, count: u32) -> Result<Speeds, Wrong> {
    let timed = CANDIDATES.iter().filter(|candidate| candidate.is_timed);
    let berts = timed.map(|candidate| candidate.bert(model)).collect::<Result<Vec<_>, _>>()?;
    let mut inputs = Vec::new();
    for [batch, length] in SHAPES {
        inputs.push(Tensor::new(model.sequences(batch, length), &Device::Cpu)?);
    }
    // Rounds are those of a shape: what is compared runs within seconds.
    let row = |([batch, length], tokens): ([usize; 2], &Tensor)| {
        let times = rounds(count, berts.len(), |i| berts[i].embed(tokens).map(drop))?;
        Ok::<_, Wrong>(BatchRow { batch, length, figures: Figure::all(&times, batch as f64) })
    };
    let batches = SHAPES.into_iter().zip(&inputs).map(row).collect::<Result<_, _>>()?;
    Ok(Speeds { batches, convolutions: convolutions::take(count)? })
}
