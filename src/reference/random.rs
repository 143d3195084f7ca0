//! Random words.

use crate::random::stream::Stream;

/// Output `n` of SplitMix64 started at `seed`.
fn splitmix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n + 1));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A step of xoshiro128++.
fn xoshiro(state: &mut [u32; 4]) -> u32 {
    let word = state[0].wrapping_add(state[3]).rotate_left(7).wrapping_add(state[0]);
    let shifted = state[1] << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = state[3].rotate_left(11);
    word
}

/// [`fill_words`](crate::random::fill_words()): chunk by chunk, step by step, lane by lane.
///
/// ```
/// use zeropoint::{Stream, reference};
/// assert_eq!(reference::words(Stream { seed: 42, offset: 12 }, 2), [2417149453, 2341804155]);
/// ```
#[must_use]
pub fn words(stream: Stream, count: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(count);
    let mut chunk = stream.offset / 16_384;
    let mut skipped = stream.offset % 16_384;
    while words.len() < count {
        let seeded = |lane| {
            let z = splitmix(stream.seed, 16 * chunk + lane);
            let (low, high) = (splitmix(z, 0), splitmix(z, 1));
            [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
        };
        let mut lanes: Vec<[u32; 4]> = (0..16).map(seeded).collect();
        for i in 0..16_384 {
            if words.len() == count {
                break;
            }
            let word = xoshiro(&mut lanes[i % 16]);
            if i as u64 >= skipped {
                words.push(word);
            }
        }
        chunk += 1;
        skipped = 0;
    }
    words
}

/// [`fill_uniform`](crate::random::fill_uniform()): `(w >> 8) · 2⁻²⁴`.
#[must_use]
pub fn uniform(stream: Stream, count: usize) -> Vec<f32> {
    words(stream, count).into_iter().map(|word| (word >> 8) as f32 / 16_777_216.0).collect()
}
