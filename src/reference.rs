//! Every operation as plain loops over its formula: what the kernels are judged by.
//!
//! Nothing here is blocked, packed, vectorized or shared with a kernel, so that a reader can check it against the
//! formula and a user can check us against it. Sums are i64, parameters come one by one, and speed is no concern.
//!
//! # Panics
//! Where the operations return an error, these may panic: their arguments have to be valid.

mod calibrate;

use crate::codes::{Code, CodeRange};
use crate::formats::BlockFormat;
use crate::layers::Window;
use crate::matrix::{Matrix, ZeroPoints};
use crate::params::{Granularity, QuantParams, Range, Scheme};
use crate::random::Stream;
pub use calibrate::{clip_by_entropy, clip_by_mse, histogram, moments, percentile};

/// The group of element `i`.
fn group(granularity: Granularity, i: usize) -> usize {
    match granularity {
        Granularity::Tensor => 0,
        Granularity::Channel { channels, inner } => (i / inner) % channels,
        Granularity::Block { length, row } => {
            let blocks_of_a_row = row.div_ceil(length);
            (i / row) * blocks_of_a_row + (i % row) / length
        }
    }
}

/// The scale and the zero point of element `i`.
fn parameters<C: Code>(params: &QuantParams<C>, i: usize) -> (f32, i32) {
    let group = group(params.granularity(), i);
    (params.scales()[group], params.zero_points()[group])
}

/// The code of one number: `round(clamp(x / S, qmin − Z, qmax − Z)) + Z`; NaN has the code Z.
///
/// ```
/// use zeropoint::{CodeRange, reference};
/// assert_eq!(reference::quantize_one(0.75, 0.5, 10, CodeRange::unsigned(8)?), 12);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[must_use]
pub fn quantize_one<C: Code>(x: f32, scale: f32, zero_point: i32, codes: CodeRange<C>) -> i32 {
    let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
    let v = x / scale;
    if v.is_nan() {
        return zero_point;
    }
    v.clamp((min - zero_point) as f32, (max - zero_point) as f32).round_ties_even() as i32 + zero_point
}

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

/// [`fill_words`](crate::fill_words()): chunk by chunk, step by step, lane by lane.
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
            let word = xoshiro(&mut lanes[i % 16]);
            if i as u64 >= skipped && words.len() < count {
                words.push(word);
            }
        }
        chunk += 1;
        skipped = 0;
    }
    words
}

/// [`fill_uniform`](crate::fill_uniform()): `(w >> 8) · 2⁻²⁴`.
#[must_use]
pub fn uniform(stream: Stream, count: usize) -> Vec<f32> {
    words(stream, count).into_iter().map(|word| (word >> 8) as f32 / 16_777_216.0).collect()
}

/// Up with the probability of the fraction: `f + [(w >> 8) as f32 < (v − f) · 2²⁴]`, f = floor(v).
#[must_use]
pub fn round_stochastically(v: f32, word: u32) -> i32 {
    let floor = v.floor();
    let fraction = (v - floor) * 16_777_216.0;
    floor as i32 + i32::from(((word >> 8) as f32) < fraction)
}

/// The code of one number by the word that is its own.
///
/// ```
/// use zeropoint::{CodeRange, reference};
/// let codes = CodeRange::unsigned(8)?;
/// let code = |word| reference::quantize_one_stochastic(0.75, 0.5, 10, codes, word);
/// let half = 1 << 31; // 1.5 steps
/// assert_eq!((code(half - 1), code(half)), (12, 11));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[must_use]
pub fn quantize_one_stochastic<C: Code>(x: f32, scale: f32, zero_point: i32, codes: CodeRange<C>, word: u32) -> i32 {
    let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
    let v = x / scale;
    if v.is_nan() {
        return zero_point;
    }
    round_stochastically(v.clamp((min - zero_point) as f32, (max - zero_point) as f32), word) + zero_point
}

/// [`quantize_stochastic`](crate::quantize_stochastic()).
#[must_use]
pub fn quantize_stochastic<C: Code>(x: &[f32], params: &QuantParams<C>, stream: Stream) -> Vec<C> {
    let code = |(i, (&x, word)): (usize, (&f32, u32))| {
        let (scale, zero_point) = parameters(params, i);
        to_code(quantize_one_stochastic(x, scale, zero_point, params.codes(), word))
    };
    x.iter().zip(words(stream, x.len())).enumerate().map(code).collect()
}

/// [`quantize`](crate::quantize()).
#[must_use]
pub fn quantize<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<C> {
    let code = |(i, &x): (usize, &f32)| {
        let (scale, zero_point) = parameters(params, i);
        to_code(quantize_one(x, scale, zero_point, params.codes()))
    };
    x.iter().enumerate().map(code).collect()
}

/// A value inside the type.
fn to_code<C: Code>(value: i32) -> C {
    C::try_from(value).ok().expect("codes fit their type")
}

/// [`dequantize`](crate::dequantize()): `S · (q − Z)`.
#[must_use]
pub fn dequantize<C: Code>(codes: &[C], params: &QuantParams<C>) -> Vec<f32> {
    let real = |(i, &code): (usize, &C)| {
        let (scale, zero_point) = parameters(params, i);
        let code: i32 = code.into();
        scale * (code - zero_point) as f32
    };
    codes.iter().enumerate().map(real).collect()
}

/// [`fake_quantize`](crate::fake_quantize()).
#[must_use]
pub fn fake_quantize<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<f32> {
    dequantize(&quantize(x, params), params)
}

/// [`fake_quantize_stochastic`](crate::fake_quantize_stochastic()).
#[must_use]
pub fn fake_quantize_stochastic<C: Code>(x: &[f32], params: &QuantParams<C>, stream: Stream) -> Vec<f32> {
    dequantize(&quantize_stochastic(x, params, stream), params)
}

/// [`straight_through`](crate::straight_through()): `gradient · mask`.
#[must_use]
pub fn straight_through<C: Code>(x: &[f32], gradient: &[f32], params: &QuantParams<C>) -> Vec<f32> {
    let (min, max): (i32, i32) = (params.codes().min().into(), params.codes().max().into());
    let masked = |(i, (&x, &gradient)): (usize, (&f32, &f32))| {
        let (scale, zero_point) = parameters(params, i);
        let code = f64::from((x / scale).round_ties_even()) + f64::from(zero_point);
        let mask = if code >= f64::from(min) && code <= f64::from(max) { 1.0 } else { 0.0 };
        let product = gradient * mask;
        if product.is_nan() { f32::NAN } else { product }
    };
    x.iter().zip(gradient).enumerate().map(masked).collect()
}

/// [`ErrorReport::signal`](crate::ErrorReport::signal), [`sse`](crate::ErrorReport::sse) and
/// [`max_error`](crate::ErrorReport::max_error) of finite numbers: chunks of 16384, in each of them sixteen sums, of every
/// sixteenth element.
#[must_use]
pub fn errors(x: &[f32], reconstruction: &[f32]) -> (f64, f64, f32) {
    let (mut signal, mut noise, mut largest) = (0.0, 0.0, 0.0_f32);
    for (x, reconstruction) in x.chunks(16_384).zip(reconstruction.chunks(16_384)) {
        let (mut signals, mut noises) = ([0.0; 16], [0.0; 16]);
        for (i, (&x, &r)) in x.iter().zip(reconstruction).enumerate() {
            let error = x - r;
            signals[i % 16] += f64::from(x).powi(2);
            noises[i % 16] += f64::from(error).powi(2);
            largest = largest.max(error.abs());
        }
        signal += signals.iter().sum::<f64>();
        noise += noises.iter().sum::<f64>();
    }
    (signal, noise, largest)
}

/// [`ErrorReport::saturated`](crate::ErrorReport::saturated): the codes `RNE(x / S) + Z` outside the code range.
#[must_use]
pub fn saturated<C: Code>(x: &[f32], params: &QuantParams<C>) -> u64 {
    let (min, max): (i32, i32) = (params.codes().min().into(), params.codes().max().into());
    let outside = |&(i, &x): &(usize, &f32)| {
        let (scale, zero_point) = parameters(params, i);
        let code = f64::from((x / scale).round_ties_even()) + f64::from(zero_point);
        code < f64::from(min) || code > f64::from(max)
    };
    x.iter().enumerate().filter(outside).count() as u64
}

/// The nearest f16 of a finite number below 65520, ties to even, as its bits.
fn half(x: f32) -> u16 {
    let (sign, magnitude) = (u16::from(x.is_sign_negative()) << 15, f64::from(x.abs()));
    let mut exponent = 0;
    // Below 2⁻¹⁴ the unit is 2⁻²⁴; above, ten bits follow the first.
    while magnitude >= 2_f64.powi(exponent - 14) {
        exponent += 1;
    }
    let unit = 2_f64.powi(exponent.max(1) - 25);
    let mantissa = (magnitude / unit).round_ties_even() as u16;
    sign | (mantissa + ((exponent.max(1) as u16 - 1) << 10))
}

/// [`encode_blocks`](crate::encode_blocks()).
#[must_use]
pub fn encode_blocks(format: BlockFormat, x: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for x in x.chunks(32) {
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

/// [`decode_blocks`](crate::decode_blocks()).
#[must_use]
pub fn decode_blocks(format: BlockFormat, bytes: &[u8]) -> Vec<f32> {
    let real = |(scale, code): (f64, i32)| {
        let product = (scale * f64::from(code)) as f32;
        if product.is_nan() { f32::NAN } else { product }
    };
    let blocks = bytes.chunks(format.block_bytes());
    blocks.flat_map(|block| (0..32).map(move |i| real(block_code(format, block, i)))).collect()
}

/// The mask of [`fake_quantize_with_mask`](crate::fake_quantize_with_mask()).
#[must_use]
pub fn straight_through_mask<C: Code>(x: &[f32], params: &QuantParams<C>) -> Vec<u8> {
    let ones = vec![1.0; x.len()];
    straight_through(x, &ones, params).into_iter().map(|mask| mask as u8).collect()
}

/// [`quantize_dynamic`](crate::quantize_dynamic()) of finite numbers, `groups` of them: the parameters and the codes.
#[must_use]
pub fn quantize_dynamic<C: Code>(
    x: &[f32],
    codes: CodeRange<C>,
    scheme: Scheme,
    granularity: Granularity,
    groups: usize,
) -> (QuantParams<C>, Vec<C>) {
    let ranges = ranges(x, granularity, groups);
    let params = QuantParams::from_ranges(codes, scheme, granularity, &ranges).expect("a range has parameters");
    let codes = quantize(x, &params);
    (params, codes)
}

/// [`ranges`](crate::ranges()) of finite numbers: `groups` of them.
#[must_use]
pub fn ranges(x: &[f32], granularity: Granularity, groups: usize) -> Vec<Range> {
    let mut ranges = vec![Range { min: f32::INFINITY, max: f32::NEG_INFINITY }; groups];
    for (i, &x) in x.iter().enumerate() {
        let range = &mut ranges[group(granularity, i)];
        // −0 counts as +0.
        *range = Range { min: range.min.min(x) + 0.0, max: range.max.max(x) + 0.0 };
    }
    ranges
}

/// The accumulators of [`matmul`](crate::matmul()) for B `[K, N]`: `Σₖ (a − za) · (b − zb) + bias`, row-major.
#[must_use]
pub fn matmul<A: Code, B: Code>(
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    b: Matrix<'_, B>,
    b_zero_points: ZeroPoints<'_>,
    bias: Option<&[i32]>,
) -> Vec<i64> {
    let mut c = Vec::with_capacity(a.rows() * b.columns());
    for i in 0..a.rows() {
        for j in 0..b.columns() {
            let mut sum = bias.map_or(0, |bias| i64::from(bias[j]));
            for k in 0..a.columns() {
                let (a, b): (i32, i32) = (a.row(i)[k].into(), b.row(k)[j].into());
                sum += i64::from(a - a_zero_points.at(i)) * i64::from(b - b_zero_points.at(j));
            }
            c.push(sum);
        }
    }
    c
}

/// [`matmul_blocks`](crate::matmul_blocks()) for weights `[N, K]`: `scales_a` and `scales_w` tell the scale of a row and a block.
#[must_use]
pub fn matmul_blocks<A: Code>(
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    scales_a: impl Fn(usize, usize) -> f32,
    weights: Matrix<'_, i8>,
    scales_w: impl Fn(usize, usize) -> f32,
) -> Vec<f32> {
    let mut c = Vec::with_capacity(a.rows() * weights.rows());
    for i in 0..a.rows() {
        for j in 0..weights.rows() {
            let mut sum = 0.0;
            for block in 0..a.columns() / 32 {
                let mut acc = 0;
                for k in 32 * block..32 * block + 32 {
                    let (a, w): (i32, i32) = (a.row(i)[k].into(), weights.row(j)[k].into());
                    acc += (a - a_zero_points.at(i)) * w;
                }
                sum += acc as f32 * (scales_a(i, block) * scales_w(j, block));
            }
            c.push(if sum.is_nan() { f32::NAN } else { sum });
        }
    }
    c
}

/// The accumulators of [`Conv2d`](crate::Conv2d) for images `[images, height, width, channels]` and weights
/// `[outputs, channels / groups, height, width]`: `Σ (x − zx) · (w − zw) + bias` over the taps inside the image.
#[must_use]
#[allow(clippy::too_many_arguments, reason = "the formula's")]
pub fn conv2d<A: Code, B: Code>(
    images: &[A],
    [count, height, width, channels]: [usize; 4],
    zero_point: i32,
    weights: &[B],
    [outputs, group_channels, kernel_height, kernel_width]: [usize; 4],
    weight_zero_points: ZeroPoints<'_>,
    bias: Option<&[i32]>,
    window: &Window,
) -> Vec<i64> {
    let groups = channels.checked_div(group_channels).unwrap_or(1);
    let [top, left, bottom, right] = window.padding;
    let out_height = (height + top + bottom - window.dilation[0] * (kernel_height - 1) - 1) / window.stride[0] + 1;
    let out_width = (width + left + right - window.dilation[1] * (kernel_width - 1) - 1) / window.stride[1] + 1;
    let mut out = Vec::new();
    for image in 0..count {
        for out_y in 0..out_height {
            for out_x in 0..out_width {
                for output in 0..outputs {
                    let mut sum = bias.map_or(0, |bias| i64::from(bias[output]));
                    for channel in 0..group_channels {
                        for kernel_y in 0..kernel_height {
                            for kernel_x in 0..kernel_width {
                                let y = (out_y * window.stride[0] + kernel_y * window.dilation[0]).wrapping_sub(top);
                                let x = (out_x * window.stride[1] + kernel_x * window.dilation[1]).wrapping_sub(left);
                                if y >= height || x >= width {
                                    continue;
                                }
                                let group = output / (outputs / groups);
                                let channel_in = group * group_channels + channel;
                                let code = images[((image * height + y) * width + x) * channels + channel_in];
                                let weight = weights[((output * group_channels + channel) * kernel_height + kernel_y)
                                    * kernel_width
                                    + kernel_x];
                                let (code, weight): (i32, i32) = (code.into(), weight.into());
                                sum += i64::from(code - zero_point) * i64::from(weight - weight_zero_points.at(output));
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
    }
    out
}

/// [`MaxPool2d`](crate::MaxPool2d).
#[must_use]
pub fn max_pool2d<C: Code>(images: &[C], [count, height, width, channels]: [usize; 4], window: &Window) -> Vec<C> {
    let [top, left, bottom, right] = window.padding;
    let out_height = (height + top + bottom - window.dilation[0] * (window.size[0] - 1) - 1) / window.stride[0] + 1;
    let out_width = (width + left + right - window.dilation[1] * (window.size[1] - 1) - 1) / window.stride[1] + 1;
    let mut out = Vec::new();
    for image in 0..count {
        for out_y in 0..out_height {
            for out_x in 0..out_width {
                for channel in 0..channels {
                    let mut largest = None;
                    for kernel_y in 0..window.size[0] {
                        for kernel_x in 0..window.size[1] {
                            let y = (out_y * window.stride[0] + kernel_y * window.dilation[0]).wrapping_sub(top);
                            let x = (out_x * window.stride[1] + kernel_x * window.dilation[1]).wrapping_sub(left);
                            if y < height && x < width {
                                let code = images[((image * height + y) * width + x) * channels + channel];
                                largest = largest.max(Some(code));
                            }
                        }
                    }
                    out.push(largest.expect("a window touches the image"));
                }
            }
        }
    }
    out
}

/// The stage [`Dequantize`](crate::Dequantize): `acc as f32 · (S_a · S_b) + bias`.
#[must_use]
pub fn dequantize_accumulator(acc: i32, activation_scale: f32, weight_scale: f32, bias: Option<f32>) -> f32 {
    let product = acc as f32 * (activation_scale * weight_scale);
    bias.map_or(product, |bias| product + bias)
}

/// What [`Requantize`](crate::Requantize) makes of a product: plus the zero point, saturated to the bounds.
#[must_use]
pub fn saturate<C: Code>(product: i64, zero_point: i32, (min, max): (C, C)) -> C {
    let (min, max): (i32, i32) = (min.into(), max.into());
    to_code(product.saturating_add(zero_point.into()).clamp(min.into(), max.into()) as i32)
}

/// The product of [`FloatMultiplier`](crate::FloatMultiplier): `RNE(acc as f32 · M)`. Numbers that no code reaches
/// saturate i64.
#[must_use]
pub fn float_product(acc: i32, multiplier: f64) -> i64 {
    (acc as f32 * multiplier as f32).round_ties_even() as i64
}

/// What [`RequantizeStochastic`](crate::RequantizeStochastic) makes of an accumulator by the word that is its element's.
#[must_use]
pub fn requantize_stochastic<C: Code>(acc: i32, multiplier: f64, zero_point: i32, bounds: (C, C), word: u32) -> C {
    let (min, max): (i32, i32) = (bounds.0.into(), bounds.1.into());
    let v = (acc as f32 * multiplier as f32).clamp((min - zero_point) as f32, (max - zero_point) as f32);
    to_code(round_stochastically(v, word) + zero_point)
}

/// `M = m₀ · 2^(exponent − 31)`, m₀ rounded half away from zero, by doubling and halving.
#[must_use]
pub fn quantize_multiplier(multiplier: f64) -> (i64, i32) {
    if multiplier == 0.0 {
        return (0, 0);
    }
    let (mut fraction, mut exponent) = (multiplier, 0);
    while fraction < 0.5 {
        fraction *= 2.0;
        exponent -= 1;
    }
    while fraction >= 1.0 {
        fraction /= 2.0;
        exponent += 1;
    }
    let mut mantissa = (fraction * 2_f64.powi(31)).round() as i64;
    if mantissa == 1 << 31 {
        mantissa /= 2;
        exponent += 1;
    }
    if exponent < -31 { (0, 0) } else { (mantissa, exponent) }
}

/// The product of [`FixedPoint`](crate::FixedPoint): `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`.
#[must_use]
pub fn fixed_point_product(acc: i32, multiplier: f64) -> i64 {
    let (mantissa, exponent) = quantize_multiplier(multiplier);
    let shift = 31 - exponent;
    ((i128::from(acc) * i128::from(mantissa) + (1 << (shift - 1))) >> shift) as i64
}

/// The product of [`Gemmlowp`](crate::Gemmlowp): the saturating rounding doubling high product, then the rounding
/// division by a power of two, as gemmlowp defines them.
///
/// ```
/// use zeropoint::reference::{fixed_point_product, gemmlowp_product};
/// // 1.25, once in one rounding and once in two.
/// assert_eq!((fixed_point_product(5, 0.25), gemmlowp_product(5, 0.25)), (1, 2));
/// ```
#[must_use]
pub fn gemmlowp_product(acc: i32, multiplier: f64) -> i64 {
    let (mantissa, exponent) = quantize_multiplier(multiplier);
    let left = (i64::from(acc) << exponent.max(0)).clamp(i32::MIN.into(), i32::MAX.into());
    let product = i128::from(left) * i128::from(mantissa);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    let high = ((product + nudge) / (1 << 31)) as i64;
    let divisor = 1_i64 << (-exponent).max(0);
    // Halves away from zero.
    high.signum() * ((2 * high.abs() + divisor) / (2 * divisor))
}

/// The product of [`Shift`](crate::Shift): `RNE(acc · 2⁻ˢ)`.
#[must_use]
pub fn shift_product(acc: i32, shift: u32) -> i64 {
    let unit = 1_i64 << shift;
    let (quotient, remainder) = (i64::from(acc).div_euclid(unit), i64::from(acc).rem_euclid(unit));
    let up = 2 * remainder > unit || (2 * remainder == unit && quotient % 2 != 0);
    quotient + i64::from(up)
}
