//! The operations, training and its results.

mod ops;
mod program;
mod training;

/// Values between −1 and 1, the same for a seed.
fn floats(length: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// Integers up to a magnitude.
fn integers(length: usize, seed: u32, magnitude: f32) -> Vec<f32> {
    floats(length, seed).iter().map(|x| (x * magnitude).round()).collect()
}
