//! Tensors made of a seed and a texture.

use arbitrary::Arbitrary;
use zeropoint::Code;

use crate::floats::{SPECIALS, nudge};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Words(pub u64);

impl Words {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number from 0 to below 1.
    fn unit(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1 << 24) as f32
    }
}

/// Codes of a tensor: how most of them are made, and some that are placed.
#[derive(Arbitrary, Clone, Debug)]
pub struct Data<Texture> {
    seed: u32,
    texture: Texture,
    placed: Vec<(u16, u32)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum CodeTexture {
    Any,
    /// The smallest, the largest, and any other, as often.
    Extremes,
    Smallest,
    Largest,
}

impl Data<CodeTexture> {
    /// Codes from `min` to `max`.
    pub fn codes_within<C: Code>(&self, count: usize, min: C, max: C) -> Vec<C> {
        let (min, max): (i32, i32) = (min.into(), max.into());
        let code = |code: i32| C::try_from(code).ok().expect("a code within its range");
        let modulus = (max - min) as u32 + 1;
        let any = |word: u32| code(min + (word % modulus) as i32);
        let mut words = Words(self.seed.into());
        let mut codes: Vec<C> = (0..count)
            .map(|_| match self.texture {
                CodeTexture::Any => any(words.word() as u32),
                CodeTexture::Extremes => match words.word() {
                    word if word % 3 == 0 => code(min),
                    word if word % 3 == 1 => code(max),
                    word => any((word >> 8) as u32),
                },
                CodeTexture::Smallest => code(min),
                CodeTexture::Largest => code(max),
            })
            .collect();
        for &(place, word) in self.placed.iter().filter(|_| count > 0) {
            codes[usize::from(place) % count] = any(word);
        }
        codes
    }

    /// Codes of the whole type.
    pub fn codes<C: Code>(&self, count: usize) -> Vec<C> {
        self.codes_within(count, C::MIN, C::MAX)
    }

    /// Integers within this distance of 0.
    pub fn integers(&self, count: usize, most: i32) -> Vec<i32> {
        let within = |word: u64| ((word % (2 * most as u64 + 1)) as i64 - i64::from(most)) as i32;
        let mut words = Words(self.seed.into());
        let mut all: Vec<i32> = (0..count)
            .map(|_| match self.texture {
                CodeTexture::Any => within(words.word()),
                CodeTexture::Extremes => [most, -most, 0][(words.word() % 3) as usize],
                CodeTexture::Smallest => -most,
                CodeTexture::Largest => most,
            })
            .collect();
        for &(place, word) in self.placed.iter().filter(|_| count > 0) {
            all[usize::from(place) % count] = within(word.into());
        }
        all
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum RealTexture {
    /// Any of the others, element by element.
    Mixed,
    Within,
    /// Middles between two steps, and one ulp beside them.
    Ties,
    Anything,
    Finite,
    Steps,
    Constant(u32),
}

/// Real numbers.
pub type Reals = Data<RealTexture>;

impl Reals {
    /// Numbers within a number of steps of a scale and somewhat more, or whatever the texture says.
    pub fn reals(&self, count: usize, scale: f32, steps: i32) -> Vec<f32> {
        let mut words = Words(self.seed.into());
        let mut x: Vec<f32> = (0..count).map(|_| self.real(self.texture, &mut words, scale, steps)).collect();
        for &(place, word) in self.placed.iter().filter(|_| count > 0) {
            x[usize::from(place) % count] = f32::from_bits(word);
        }
        x
    }

    /// As [`reals`](Reals::reals), without NaN and infinities.
    pub fn finite(&self, count: usize, scale: f32, steps: i32) -> Vec<f32> {
        let finite = |x: f32| if x.is_finite() { x } else { f32::from_bits(x.to_bits() & 0x807f_ffff) };
        self.reals(count, scale, steps).into_iter().map(finite).collect()
    }

    fn real(&self, texture: RealTexture, words: &mut Words, scale: f32, steps: i32) -> f32 {
        let steps = steps.max(1);
        match texture {
            RealTexture::Within => (2.0 * words.unit() - 1.0) * 1.15 * steps as f32 * scale,
            RealTexture::Ties => {
                let k = (words.word() % (2 * steps as u64 + 1)) as i32 - steps;
                let (middle, ulps) = ((k as f32 + 0.5) * scale, (words.word() % 3) as i32 - 1);
                nudge(middle, ulps)
            }
            RealTexture::Anything => f32::from_bits(words.word() as u32),
            RealTexture::Finite => {
                let x = f32::from_bits(words.word() as u32);
                if x.is_finite() { x } else { 0.0 }
            }
            RealTexture::Steps => ((words.word() % (2 * steps as u64 + 1)) as i32 - steps) as f32 * scale,
            RealTexture::Constant(bits) => f32::from_bits(bits),
            RealTexture::Mixed => {
                let texture = match words.word() % 16 {
                    0..8 => RealTexture::Within,
                    8..12 => RealTexture::Ties,
                    12 => RealTexture::Anything,
                    13 => RealTexture::Steps,
                    _ => return SPECIALS[words.word() as usize % SPECIALS.len()],
                };
                self.real(texture, words, scale, steps)
            }
        }
    }
}
