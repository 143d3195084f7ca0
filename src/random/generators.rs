//! Sixteen xoshiro128++ generators, which make sixteen neighbouring words a step.

use super::stream::{CHUNK, CHUNKS, Stream};
use super::vectors::RandomVectors;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;

/// Words of a chunk that one lane makes.
const STEPS: usize = CHUNK / LANES;

/// Output `n` of SplitMix64 started at `seed`: a function of a counter.
#[inline(always)]
fn splitmix(seed: u64, n: u64) -> u64 {
    let z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The state of xoshiro128++ in every lane, seeded with z: two outputs of SplitMix64, their lower halves first.
///
/// (Each loop over lanes becomes vectors; array methods with closures would be left calls.)
#[inline(always)]
fn seeded(z: &[u64; LANES]) -> [[i32; LANES]; 4] {
    let mut state = [[0; LANES]; 4];
    for (n, words) in state.as_chunks_mut().0.iter_mut().enumerate() {
        let [lower, upper] = words;
        for ((z, lower), upper) in z.iter().zip(lower).zip(upper) {
            let output = splitmix(*z, n as u64);
            (*lower, *upper) = (output as i32, (output >> 32) as i32);
        }
    }
    state
}

/// The sixteen generators of a chunk, on the way through it and on to the next one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Generators {
    seed: u64,
    chunk: u64,
    /// The steps that they have made.
    step: usize,
    /// The four words of state of every lane.
    state: [[i32; LANES]; 4],
}

impl Generators {
    /// The place of the next block.
    pub fn place(&self) -> Stream {
        let offset = (self.chunk * CHUNK as u64).wrapping_add((self.step * LANES) as u64);
        Stream { seed: self.seed, offset }
    }

    #[inline(always)]
    pub(super) fn load<V: RandomVectors>(&self, v: V) -> [V::I32; 4] {
        let [a, b, c, d] = &self.state;
        [v.load_i32(a), v.load_i32(b), v.load_i32(c), v.load_i32(d)]
    }

    #[inline(always)]
    pub(super) fn store<V: RandomVectors>(&mut self, v: V, state: [V::I32; 4]) {
        let [a, b, c, d] = &mut self.state;
        v.store_i32(state[0], a);
        v.store_i32(state[1], b);
        v.store_i32(state[2], c);
        v.store_i32(state[3], d);
    }

    /// How many steps to make now, of `wanted`, one or more: up to the end of the chunk. They count as made: the caller takes
    /// the [state](Generators::load), makes them, and [stores](Generators::store) it.
    #[inline(always)]
    pub(super) fn take_steps<V: Vectors>(&mut self, v: V, wanted: usize) -> usize {
        if self.step == STEPS {
            *self = v.outlined(Start::of_chunk(self.seed, (self.chunk + 1) % CHUNKS));
        }
        let steps = wanted.min(STEPS - self.step);
        self.step += steps;
        steps
    }
}

/// The kernel that makes generators whose next words are the block of the place: its index rounded down to a multiple of
/// sixteen.
pub(super) struct Start(pub Stream);

impl Start {
    fn of_chunk(seed: u64, chunk: u64) -> Self {
        Start(Stream { seed, offset: chunk * CHUNK as u64 })
    }
}

impl Kernel for Start {
    type Output = Generators;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> Generators {
        let Stream { seed, offset } = self.0;
        let (chunk, step) = (offset / CHUNK as u64, (offset % CHUNK as u64) as usize / LANES);
        let mut z = [0; LANES];
        for (lane, z) in z.iter_mut().enumerate() {
            *z = splitmix(seed, chunk * LANES as u64 + lane as u64);
        }
        let mut generators = Generators { seed, chunk, step, state: seeded(&z) };
        let mut state = generators.load(v);
        for _ in 0..step {
            next(v, &mut state);
        }
        generators.store(v, state);
        generators
    }
}

/// The kernel that makes the next words, a block at a time: as they are, or the bits of uniform f32, `(w >> 8) · 2⁻²⁴` of
/// words w.
pub(super) struct FillBlocks<'a> {
    pub generators: &'a mut Generators,
    pub blocks: &'a mut [[i32; LANES]],
    pub uniform: bool,
}

impl Kernel for FillBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let FillBlocks { generators, mut blocks, uniform } = self;
        let unit = v.splat_f32(1.0 / (1 << 24) as f32);
        while !blocks.is_empty() {
            let now;
            (now, blocks) = blocks.split_at_mut(generators.take_steps(v, blocks.len()));
            let mut state = generators.load(v);
            if uniform {
                for block in now {
                    let words = next(v, &mut state);
                    v.store_i32(v.to_bits(v.mul_f32(v.upper_bits(words), unit)), block);
                }
            } else {
                for block in now {
                    v.store_i32(next(v, &mut state), block);
                }
            }
            generators.store(v, state);
        }
    }
}

/// A step of xoshiro128++ in every lane, and the words that it makes.
///
/// Each new word of state is written as an exclusive or of three old ones, for which some ISAs have an instruction; `a ^ c`
/// and `b ^ d` come first, so that the others share them.
#[inline(always)]
pub(super) fn next<V: RandomVectors>(v: V, state: &mut [V::I32; 4]) -> V::I32 {
    let [a, b, c, d] = *state;
    let words = v.add_i32(v.rotate_left::<7>(v.add_i32(a, d)), a);
    *state = [
        v.xor3_i32(b, d, a),
        v.xor3_i32(a, c, b),
        v.xor3_i32(a, c, v.shift_left::<9>(b)),
        v.rotate_left::<11>(v.xor_i32(b, d)),
    ];
    words
}

#[cfg(test)]
mod tests {
    //! The published vectors of xoshiro128++ start from a state or take 2⁶⁴ steps, which no public function does.

    use core::array::from_fn;

    use super::*;
    use crate::Isa;

    /// Every lane from this state: the words of some steps, the same in all lanes, and the state behind them.
    struct Steps(usize, [u32; 4]);

    impl Kernel for Steps {
        type Output = Vec<(u32, [u32; 4])>;
        #[inline(always)]
        fn run<V: Vectors>(self, v: V) -> Self::Output {
            let mut generators = v.outlined(Start::of_chunk(0, 0));
            generators.state = self.1.map(|word| [word as i32; LANES]);
            let mut state = generators.load(v);
            let mut out = Vec::new();
            for _ in 0..self.0 {
                let mut words = [0; LANES];
                v.store_i32(next(v, &mut state), &mut words);
                generators.store(v, state);
                assert_eq!(words, [words[0]; LANES]);
                out.push((words[0] as u32, generators.state.map(|lanes| lanes[0] as u32)));
            }
            out
        }
    }

    #[test]
    fn published_words_and_states() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/suite/golden/seeds.json")).unwrap();
        let numbers = |name: &str| -> Vec<u32> { serde_json::from_value(golden["rng"][name].clone()).unwrap() };
        for isa in Isa::supported() {
            let words: Vec<u32> = isa.run(Steps(10, [1, 2, 3, 4])).iter().map(|step| step.0).collect();
            assert_eq!(words, numbers("xoshiro128pp_1234"), "{isa}");
            // The state of that name is the one behind the six words.
            let steps = isa.run(Steps(6, seeded(&[42; LANES]).map(|lanes| lanes[0] as u32)));
            let words: Vec<u32> = steps.iter().map(|step| step.0).collect();
            assert_eq!(words, numbers("seed42_out"), "{isa}");
            assert_eq!(steps[5].1.to_vec(), numbers("seed42_state"), "{isa}");
            // The step is linear: the polynomials of 2⁶⁴ and 2⁹⁶ steps, applied to it, jump as far.
            let jumps = [
                ("jump_state", [0x8764_000b_u32, 0xf542_d2d3, 0x6fa0_35c3, 0x77f2_db5b]),
                ("long_jump_state", [0xb523_952e, 0x0b6f_099f, 0xccf5_a0ef, 0x1c58_0662]),
            ];
            for (name, polynomial) in jumps {
                let mut states = vec![[1, 2, 3, 4]];
                states.extend(isa.run(Steps(127, [1, 2, 3, 4])).iter().map(|step| step.1));
                let chosen = states.iter().enumerate().filter(|(i, _)| polynomial[i / 32] >> (i % 32) & 1 == 1);
                let jumped = chosen.fold([0; 4], |sum, (_, state)| from_fn(|word| sum[word] ^ state[word]));
                assert_eq!(jumped.to_vec(), numbers(name), "{name} on {isa}");
            }
        }
    }
}
