//! Block formats.

use super::half::narrow_to_f16;
use crate::formats::format::BlockFormat;

/// The nearest f16, as its bits.
fn half(x: f32) -> u16 {
    narrow_to_f16(&[x])[0]
}

/// [`encode_blocks`](crate::formats::encode_blocks()).
#[must_use]
pub fn encode_blocks(format: BlockFormat, x: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for x in x.chunks(format.block_length()) {
        let amax = x.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        match format {
            BlockFormat::MxInt8 if x.iter().any(|x| !x.is_finite()) => {
                bytes.push(255);
                bytes.extend([0; 32]);
            }
            BlockFormat::MxInt8 => {
                let mut exponent = 0;
                while f64::from(amax) >= 2_f64.powi(exponent + 1 - 127) {
                    exponent += 1;
                }
                bytes.push(exponent as u8);
                let unit = 2_f64.powi(exponent - 127 - 6);
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
                let most = x.iter().fold(0.0, |most: f32, &x| if x.abs() > most.abs() { x } else { most });
                let d = most / -8.0;
                let reciprocal = if d == 0.0 { 0.0 } else { 1.0 / d };
                bytes.extend(half(d).to_le_bytes());
                let code = |x: f32| {
                    let v = (x * reciprocal).clamp(-8.0, 8.0);
                    ((if v.is_nan() { 0.0 } else { v }) + 8.5).min(15.0) as u8
                };
                bytes.extend((0..16).map(|j| code(x[j]) | code(x[j + 16]) << 4));
            }
        }
    }
    bytes
}

/// The scale of a block, and its code i.
fn block_code(format: BlockFormat, block: &[u8], i: usize) -> (f64, i32) {
    if format == BlockFormat::MxInt8 {
        let exponent = i32::from(block[0]);
        let scale = if exponent == 255 { f64::NAN } else { 2_f64.powi(exponent - 127 - 6) };
        return (scale, i32::from(block[1 + i] as i8));
    }
    let half = u16::from_le_bytes([block[0], block[1]]);
    let (exponent, mantissa) = (i32::from(half >> 10 & 31), f64::from(half & 1023));
    let magnitude = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + mantissa) * 2_f64.powi(exponent - 25),
    };
    let code = match format {
        BlockFormat::Q4_0 => i32::from(block[2 + i % 16] >> (i / 16 * 4) & 15) - 8,
        _ => i32::from(block[2 + i] as i8),
    };
    (if half >> 15 == 1 { -magnitude } else { magnitude }, code)
}

/// [`decode_blocks`](crate::formats::decode_blocks()).
#[must_use]
pub fn decode_blocks(format: BlockFormat, bytes: &[u8]) -> Vec<f32> {
    let real = |(scale, code): (f64, i32)| {
        let product = (scale * f64::from(code)) as f32;
        if product.is_nan() { f32::NAN } else { product }
    };
    let blocks = bytes.chunks(format.block_bytes());
    blocks.flat_map(|block| (0..format.block_length()).map(move |i| real(block_code(format, block, i)))).collect()
}
