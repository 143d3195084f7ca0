//! The operations, training and its results.

mod ops;
mod program;
mod training;

use zeropoint::{Exec, Stream};

/// Values between −1 and 1, the same for a seed.
fn floats(length: usize, seed: u64) -> Vec<f32> {
    qat::random::uniform(Exec::best().unwrap(), Stream::new(seed), length).unwrap()
}

/// Integers up to a magnitude.
fn integers(length: usize, seed: u64, magnitude: f32) -> Vec<f32> {
    floats(length, seed).iter().map(|x| (x * magnitude).round()).collect()
}
