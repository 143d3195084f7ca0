//! ggml's formats of super-blocks: group by group, element by element, each product and each sum rounded once.

use super::half::{half, half_at, value_of_half};
use crate::formats::format::BlockFormat;

/// `round_ties_even()` of magnitudes below 2²², beyond them the low 23 bits of the sum that rounds.
fn nearest(x: f32) -> i32 {
    ((x + 12_582_912.0).to_bits() & 0x7f_ffff) as i32 - 0x40_0000
}

/// How a format searches: the largest code, the first try, the number of the last, and whether errors are magnitudes.
struct Search {
    steps: i32,
    first: f32,
    last: i32,
    by_magnitudes: bool,
}

impl Search {
    /// The scale of a group, what is subtracted, and the codes.
    fn run(&self, x: &[f32], weights: &[f32]) -> (f32, f32, Vec<u8>) {
        let (mut min, mut max, mut sum_w, mut sum_x) = (x[0], x[0], weights[0], weights[0] * x[0]);
        for (&x, w) in x.iter().zip(weights).skip(1) {
            min = if x < min { x } else { min };
            max = if x > max { x } else { max };
            sum_w += w;
            sum_x += w * x;
        }
        min = if min > 0.0 { 0.0 } else { min };
        if max == min {
            return (0.0, 0.0 - min, vec![0; x.len()]);
        }
        let rounded = |inverse: f32, min: f32| -> Vec<u8> {
            x.iter().map(|x| nearest(inverse * (x - min)).clamp(0, self.steps) as u8).collect()
        };
        let error = |codes: &[u8], scale: f32, min: f32| {
            let mut error = 0.0;
            for ((x, w), &code) in x.iter().zip(weights).zip(codes) {
                let difference = scale * f32::from(code) + min - x;
                error += w * if self.by_magnitudes { difference.abs() } else { difference * difference };
            }
            error
        };
        let inverse = self.steps as f32 / (max - min);
        let (mut scale, mut codes) = (1.0 / inverse, rounded(inverse, min));
        let mut best = error(&codes, scale, min);
        for step in 0..=self.last {
            let tried = rounded((self.first + 0.1 * step as f32 + self.steps as f32) / (max - min), min);
            let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
            for ((x, w), &l) in x.iter().zip(weights).zip(&tried) {
                let l = f32::from(l);
                sum_l += w * l;
                sum_l2 += w * l * l;
                sum_xl += w * l * x;
            }
            let determinant = sum_w * sum_l2 - sum_l * sum_l;
            if determinant > 0.0 {
                let mut this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
                let mut this_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
                if this_min > 0.0 {
                    (this_min, this_scale) = (0.0, sum_xl / sum_l2);
                }
                let this_error = error(&tried, this_scale, this_min);
                if this_error < best {
                    (best, scale, min, codes) = (this_error, this_scale, this_min, tried);
                }
            }
        }
        (scale, 0.0 - min, codes)
    }
}

/// Values as multiples 0 … `most` of an f16.
fn multiples(values: &[f32], most: u8) -> (Vec<u8>, u16) {
    let largest = values.iter().fold(0.0, |largest: f32, &value| if value > largest { value } else { largest });
    let inverse = if largest > 0.0 { f32::from(most) / largest } else { 0.0 };
    (values.iter().map(|value| (nearest(inverse * value) as u8).min(most)).collect(), half(largest / f32::from(most)))
}

/// Codes made anew with a final scale and offset; unless that scale is 0.
fn remade(x: &[f32], scale: f32, offset: f32, min: i32, max: i32, codes: &mut [u8]) {
    if scale != 0.0 {
        for (x, code) in x.iter().zip(codes) {
            *code = (nearest((x + offset) / scale).clamp(min, max) - min) as u8;
        }
    }
}

/// A block of Q2_K, Q4_K or Q5_K.
pub(super) fn with_offsets(format: BlockFormat, x: &[f32]) -> Vec<u8> {
    let (search, most) = match format {
        BlockFormat::Q2_K => (Search { steps: 3, first: -0.5, last: 15, by_magnitudes: true }, 15),
        BlockFormat::Q4_K => (Search { steps: 15, first: -1.0, last: 20, by_magnitudes: false }, 63),
        _ => (Search { steps: 31, first: -0.5, last: 15, by_magnitudes: false }, 63),
    };
    let length = format.group_length();
    let (mut scales, mut offsets, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for x in x.chunks(length) {
        let mut squares = 0.0;
        for x in x {
            squares += x * x;
        }
        let above = if search.by_magnitudes { 0.0 } else { (squares / length as f32).sqrt() };
        let weights: Vec<f32> = x.iter().map(|x| above + x.abs()).collect();
        let (scale, offset, group) = search.run(x, &weights);
        scales.push(scale);
        offsets.push(offset);
        codes.extend(group);
    }
    let ((s, d), (m, dmin)) = (multiples(&scales, most), multiples(&offsets, most));
    for (g, x) in x.chunks(length).enumerate() {
        let of = |half: u16, code: u8| value_of_half(half) as f32 * f32::from(code);
        remade(x, of(d, s[g]), of(dmin, m[g]), 0, search.steps, &mut codes[g * length..][..length]);
    }
    let mut bytes = Vec::new();
    let halves = [d.to_le_bytes(), dmin.to_le_bytes()].concat();
    if format == BlockFormat::Q2_K {
        bytes.extend((0..16).map(|g| s[g] | m[g] << 4));
        bytes.extend((0..64).map(|i| {
            let first = i / 32 * 128 + i % 32;
            (0..4).fold(0, |byte, quarter| byte | codes[first + 32 * quarter] << (2 * quarter))
        }));
        bytes.extend(halves);
        return bytes;
    }
    bytes.extend(halves);
    bytes.extend((0..4).map(|j| s[j] | s[j + 4] >> 4 << 6));
    bytes.extend((0..4).map(|j| m[j] | m[j + 4] >> 4 << 6));
    bytes.extend((0..4).map(|j| s[j + 4] & 15 | m[j + 4] << 4));
    if format == BlockFormat::Q5_K {
        bytes.extend((0..32).map(|j| (0..8).fold(0, |byte, g| byte | codes[32 * g + j] >> 4 << g)));
    }
    bytes.extend((0..128).map(|i| {
        let first = i / 32 * 64 + i % 32;
        codes[first] & 15 | codes[first + 32] << 4
    }));
    bytes
}

/// The scale of a group of Q6_K, and its codes and 32.
fn symmetric_group(x: &[f32]) -> (f32, Vec<u8>) {
    let extreme = x.iter().fold(0.0, |most: f32, &x| if x.abs() > most.abs() { x } else { most });
    if extreme.abs() < 1e-15 {
        return (0.0, vec![0; x.len()]);
    }
    let (mut scale, mut best, mut codes) = (0.0, 0.0, Vec::new());
    for step in core::iter::once(0).chain(-9..0).chain(1..10) {
        let inverse = -(32.0 + 0.1 * step as f32) / extreme;
        let tried: Vec<i32> = x.iter().map(|x| nearest(inverse * x).clamp(-32, 31)).collect();
        let (mut sum_lx, mut sum_l2) = (0.0, 0.0);
        for (x, &l) in x.iter().zip(&tried) {
            let w = x * x;
            sum_lx += w * x * l as f32;
            sum_l2 += w * l as f32 * l as f32;
        }
        if step == 0 || sum_l2 > 0.0 && sum_lx * sum_lx > best * sum_l2 {
            scale = if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 };
            best = scale * sum_lx;
            codes = tried.iter().map(|l| (l + 32) as u8).collect();
        }
    }
    (scale, codes)
}

/// A block of Q6_K.
pub(super) fn symmetric(x: &[f32]) -> Vec<u8> {
    let (mut scales, mut codes) = (Vec::new(), Vec::new());
    for x in x.chunks(16) {
        let (scale, group) = symmetric_group(x);
        scales.push(scale);
        codes.extend(group);
    }
    let extreme = scales.iter().fold(0.0, |most: f32, &x| if x.abs() > most.abs() { x } else { most });
    if extreme.abs() < 1e-15 {
        return vec![0; 210];
    }
    let inverse = -128.0 / extreme;
    let d = half(1.0 / inverse);
    let s: Vec<i8> = scales.iter().map(|scale| nearest(inverse * scale).min(127) as i8).collect();
    for (g, x) in x.chunks(16).enumerate() {
        let scale = value_of_half(d) as f32 * f32::from(s[g]);
        remade(x, scale, 0.0, -32, 31, &mut codes[16 * g..][..16]);
    }
    let mut bytes = Vec::new();
    bytes.extend((0..128).map(|i| {
        let first = i / 64 * 128 + i % 64;
        codes[first] & 15 | codes[first + 64] << 4
    }));
    bytes.extend((0..64).map(|i| {
        let first = i / 32 * 128 + i % 32;
        (0..4).fold(0, |byte, quarter| byte | codes[first + 32 * quarter] >> 4 << (2 * quarter))
    }));
    bytes.extend(s.iter().map(|s| *s as u8));
    bytes.extend(d.to_le_bytes());
    bytes
}

/// The scale and the offset of value i of a block, and its code.
pub(super) fn code(format: BlockFormat, block: &[u8], i: usize) -> (f64, f64, i32) {
    let product = |at: usize, code: i32| (half_at(block, at) as f32 * code as f32).into();
    if format == BlockFormat::Q2_K {
        let byte = i32::from(block[i / 16]);
        let code = block[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
        return (product(80, byte & 15), -product(82, byte >> 4), code.into());
    }
    if format == BlockFormat::Q6_K {
        let low = block[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
        let high = block[128 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
        return (product(208, (block[192 + i / 16] as i8).into()), 0.0, i32::from(low | high << 4) - 32);
    }
    let (g, packed) = (i / 32, &block[4..16]);
    let (s, m) = if g < 4 {
        (packed[g] & 63, packed[g + 4] & 63)
    } else {
        (packed[g + 4] & 15 | packed[g - 4] >> 6 << 4, packed[g + 4] >> 4 | packed[g] >> 6 << 4)
    };
    let low = &block[if format == BlockFormat::Q5_K { 48 } else { 16 }..];
    let mut code = low[g / 2 * 32 + i % 32] >> (g % 2 * 4) & 15;
    if format == BlockFormat::Q5_K {
        code |= (block[16 + i % 32] >> g & 1) << 4;
    }
    (product(0, s.into()), -product(2, m.into()), code.into())
}
