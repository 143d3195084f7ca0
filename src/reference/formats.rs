//! Block formats.

use super::half::{half, half_at};
use super::powers::power_of_two;
use super::quantize::round_stochastically;
use super::random::words;
use super::super_blocks;
use crate::formats::format::BlockFormat;
use crate::formats::tensor_format::TensorFormat;
use crate::rounding::Rounding;

/// The magnitudes of E2M1, doubled.
const DOUBLED: [u8; 8] = [0, 1, 2, 3, 4, 6, 8, 12];

/// The E2M1 of `x`, whose doubled magnitude in units of the scale is `y`; by a word, if there is one.
fn e2m1(x: f32, y: f32, word: Option<u32>) -> u8 {
    let y = f64::from(y).min(12.0);
    let below = (0..8).rfind(|&code| f64::from(DOUBLED[code]) <= y).expect("0 is one");
    let code = if below == 7 {
        7
    } else {
        let gap = f64::from(DOUBLED[below + 1] - DOUBLED[below]);
        let fraction = (y - f64::from(DOUBLED[below])) / gap;
        let up = match word {
            Some(word) => round_stochastically(fraction as f32, word) == 1,
            None => fraction > 0.5 || fraction == 0.5 && below % 2 == 1,
        };
        below + usize::from(up)
    };
    code as u8 | (u8::from(x.is_sign_negative()) << 3)
}

/// The value of an E4M3 without its sign; the largest pattern, which is no number, is 0.
fn value_of_e4m3(pattern: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(pattern >> 3 & 15), f32::from(pattern & 7));
    match (exponent, pattern & 127) {
        (_, 127) => 0.0,
        (0, _) => mantissa / 512.0,
        _ => (8.0 + mantissa) / 8.0 * power_of_two(exponent - 7) as f32,
    }
}

/// The nearest E4M3 of at most 448, ties to even.
fn e4m3(x: f32) -> u8 {
    let distance = |pattern: u8| (f64::from(value_of_e4m3(pattern)) - f64::from(x)).abs();
    let nearer = |a: u8, b: u8| {
        let closer = distance(b) < distance(a) || distance(b) == distance(a) && b.is_multiple_of(2);
        if closer { b } else { a }
    };
    (1..127).fold(0, nearer)
}

/// The low four bits of codes, two in a byte.
fn halves_of_bytes(codes: &[u8]) -> impl Iterator<Item = u8> {
    (0..16).map(|j| codes[j] & 15 | codes[j + 16] << 4)
}

/// Bit 4 of 32 codes.
fn fifth_bits(codes: &[u8]) -> u32 {
    codes.iter().enumerate().fold(0, |bits, (i, code)| bits | u32::from(code >> 4) << i)
}

/// Q4_0 and Q5_0, by half the number of codes.
fn symmetric(x: &[f32], half_range: f32, bytes: &mut Vec<u8>) -> Vec<u8> {
    let most = x.iter().fold(0.0, |most: f32, &x| if x.abs() > most.abs() { x } else { most });
    let d = most / -half_range;
    let reciprocal = if d == 0.0 { 0.0 } else { 1.0 / d };
    bytes.extend(half(d).to_le_bytes());
    let code = |x: &f32| {
        let v = (x * reciprocal).clamp(-half_range, half_range);
        ((if v.is_nan() { 0.0 } else { v }) + (half_range + 0.5)).min(2.0 * half_range - 1.0) as u8
    };
    x.iter().map(code).collect()
}

/// Q4_1 and Q5_1, by the largest code.
fn with_offset(x: &[f32], steps: f32, bytes: &mut Vec<u8>) -> Vec<u8> {
    let (mut min, mut max) = (x[0], x[0]);
    for &x in x {
        if x < min {
            min = x;
        }
        if x > max {
            max = x;
        }
    }
    let d = (max - min) / steps;
    let reciprocal = if d == 0.0 { 0.0 } else { 1.0 / d };
    bytes.extend(half(d).to_le_bytes());
    bytes.extend(half(min).to_le_bytes());
    let code = |x: &f32| {
        let v = (x - min) * reciprocal;
        ((if v.is_nan() { 0.0 } else { v }).clamp(0.0, steps) + 0.5).min(steps) as u8
    };
    x.iter().map(code).collect()
}

/// The exponent of the largest power of two up to a magnitude, and 127; 0 at least.
fn exponent_of(magnitude: f32) -> i32 {
    let mut exponent = 0;
    while f64::from(magnitude) >= power_of_two(exponent + 1 - 127) {
        exponent += 1;
    }
    exponent
}

/// [`encode_blocks`](crate::formats::encode_blocks()).
#[must_use]
pub fn encode_blocks(format: impl Into<TensorFormat>, x: &[f32]) -> Vec<u8> {
    encode_blocks_with(format, Rounding::Nearest, x)
}

/// [`encode_blocks_with`](crate::formats::encode_blocks_with()).
#[must_use]
pub fn encode_blocks_with(tensor_format: impl Into<TensorFormat>, rounding: impl Into<Rounding>, x: &[f32]) -> Vec<u8> {
    let tensor_format = tensor_format.into();
    let (format, tensor_scale) = (tensor_format.block_format(), tensor_format.tensor_scale());
    let words = match rounding.into() {
        Rounding::Nearest => None,
        Rounding::Stochastic(stream) => Some(words(stream, x.len())),
    };
    let mut bytes = Vec::new();
    for (block, x) in x.chunks(format.block_length()).enumerate() {
        let amax = x.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let word = |i: usize| words.as_ref().map(|words| words[block * format.block_length() + i]);
        match format {
            BlockFormat::MxInt8 if x.iter().any(|x| !x.is_finite()) => {
                bytes.push(255);
                bytes.extend([0; 32]);
            }
            BlockFormat::MxInt8 => {
                let exponent = exponent_of(amax);
                bytes.push(exponent as u8);
                let unit = power_of_two(exponent - 127 - 6);
                bytes.extend(
                    x.iter().map(|&x| (f64::from(x) / unit).round_ties_even().clamp(-127.0, 127.0) as i8 as u8),
                );
            }
            BlockFormat::Q8_0 => {
                let d = amax / 127.0;
                let reciprocal = if d == 0.0 { 0.0 } else { 1.0 / d };
                bytes.extend(half(d).to_le_bytes());
                bytes.extend(x.iter().map(|x| (x * reciprocal).round().clamp(-127.0, 127.0) as i8 as u8));
            }
            BlockFormat::Q4_0 => {
                let codes = symmetric(x, 8.0, &mut bytes);
                bytes.extend(halves_of_bytes(&codes));
            }
            BlockFormat::Q5_0 => {
                let codes = symmetric(x, 16.0, &mut bytes);
                bytes.extend(fifth_bits(&codes).to_le_bytes());
                bytes.extend(halves_of_bytes(&codes));
            }
            BlockFormat::Q4_1 => {
                let codes = with_offset(x, 15.0, &mut bytes);
                bytes.extend(halves_of_bytes(&codes));
            }
            BlockFormat::Q5_1 => {
                let codes = with_offset(x, 31.0, &mut bytes);
                bytes.extend(fifth_bits(&codes).to_le_bytes());
                bytes.extend(halves_of_bytes(&codes));
            }
            BlockFormat::Q2_K | BlockFormat::Q4_K | BlockFormat::Q5_K => {
                bytes.extend(super_blocks::with_offsets(format, x));
            }
            BlockFormat::Q6_K => bytes.extend(super_blocks::symmetric(x)),
            BlockFormat::MxFp4 if x.iter().any(|x| !x.is_finite()) => {
                bytes.push(255);
                bytes.extend([0; 16]);
            }
            BlockFormat::MxFp4 => {
                let exponent = (exponent_of(amax) - 2).max(0);
                bytes.push(exponent as u8);
                let unit = power_of_two(exponent - 128);
                let code = |i: usize| e2m1(x[i], (f64::from(x[i].abs()) / unit) as f32, word(i));
                bytes.extend((0..16).map(|j| code(j) | code(j + 16) << 4));
            }
            BlockFormat::NvFp4 => {
                let scales: Vec<u8> = x
                    .chunks(16)
                    .map(|x| e4m3(x.iter().fold(0.0, |most: f32, x| most.max(x.abs())) / 6.0 / tensor_scale))
                    .collect();
                bytes.extend(&scales);
                let code = |i: usize| {
                    let scale = value_of_e4m3(scales[i / 16]) / 2.0 * tensor_scale;
                    let multiple = if scale == 0.0 { 0.0 } else { x[i].abs() / scale };
                    e2m1(x[i], multiple, word(i))
                };
                bytes.extend((0..32).map(|i| {
                    let first = i / 8 * 16 + i % 8;
                    code(first) | code(first + 8) << 4
                }));
            }
        }
    }
    bytes
}

/// The scale and the offset of value i of a block, and its code.
fn block_code(tensor_format: TensorFormat, block: &[u8], i: usize) -> (f64, f64, i32) {
    let power = |point: i32| {
        let exponent = i32::from(block[0]);
        if exponent == 255 { f64::NAN } else { power_of_two(exponent - 127 - point) }
    };
    let nibble = |bytes: &[u8], j: usize, half: usize| i32::from(bytes[j] >> (4 * half) & 15);
    let four_bits = |at: usize| nibble(&block[at..], i % 16, i / 16);
    let five_bits = |at: usize| four_bits(at + 4) + 16 * i32::from(block[at + i / 8] >> (i % 8) & 1);
    let doubled = |nibble: i32| {
        let magnitude = i32::from(DOUBLED[nibble as usize % 8]);
        if nibble < 8 { magnitude } else { -magnitude }
    };
    match tensor_format.block_format() {
        BlockFormat::MxInt8 => (power(6), 0.0, i32::from(block[1 + i] as i8)),
        BlockFormat::Q8_0 => (half_at(block, 0), 0.0, i32::from(block[2 + i] as i8)),
        BlockFormat::Q4_0 => (half_at(block, 0), 0.0, four_bits(2) - 8),
        BlockFormat::Q4_1 => (half_at(block, 0), half_at(block, 2), four_bits(4)),
        BlockFormat::Q5_0 => (half_at(block, 0), 0.0, five_bits(2) - 16),
        BlockFormat::Q5_1 => (half_at(block, 0), half_at(block, 2), five_bits(4)),
        format @ (BlockFormat::Q2_K | BlockFormat::Q4_K | BlockFormat::Q5_K | BlockFormat::Q6_K) => {
            super_blocks::code(format, block, i)
        }
        BlockFormat::MxFp4 => (power(1), 0.0, doubled(four_bits(1))),
        BlockFormat::NvFp4 => {
            let (group, j) = (i / 16, i % 16);
            let scale = value_of_e4m3(block[group]) / 2.0 * tensor_format.tensor_scale();
            (f64::from(scale), 0.0, doubled(nibble(&block[4 + 8 * group..], j % 8, j / 8)))
        }
    }
}

/// [`decode_blocks`](crate::formats::decode_blocks()).
#[must_use]
pub fn decode_blocks(format: impl Into<TensorFormat>, bytes: &[u8]) -> Vec<f32> {
    let format = format.into();
    let real = |(scale, offset, code): (f64, f64, i32)| {
        let product = (scale * f64::from(code)) as f32;
        let value = if format.block_format().has_offsets() { product + offset as f32 } else { product };
        if value.is_nan() { f32::NAN } else { value }
    };
    let blocks = bytes.chunks(format.block_format().block_bytes());
    blocks
        .flat_map(|block| (0..format.block_format().block_length()).map(move |i| real(block_code(format, block, i))))
        .collect()
}
