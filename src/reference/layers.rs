//! Layers.

use crate::codes::Code;
use crate::layers::{TransposedWindow, Window};
use crate::matrix::ZeroPoints;
use crate::raw::ImageZeroPoints;

/// The accumulators of [`Conv2d`](crate::layers::Conv2d) for images `[images, height, width, channels]` and weights
/// `[outputs, channels / groups, height, width]`: `Σ (x − zx) · (w − zw) + bias` over the taps inside the image.
#[must_use]
#[allow(clippy::too_many_arguments, reason = "the operands of the formula, as plain as they are")]
pub fn conv2d<'a, A: Code, B: Code>(
    images: &[A],
    [count, height, width, channels]: [usize; 4],
    zero_points: impl Into<ImageZeroPoints<'a>>,
    weights: &[B],
    [outputs, group_channels, kernel_height, kernel_width]: [usize; 4],
    weight_zero_points: ZeroPoints<'_>,
    bias: Option<&[i32]>,
    window: &Window,
) -> Vec<i64> {
    let zero_points = zero_points.into();
    let groups = channels.checked_div(group_channels).unwrap_or(1);
    let [top, left, ..] = window.padding;
    let (out_height, out_width) = (windows_on(height, 0, window), windows_on(width, 1, window));
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
                                let zero_point = zero_point_of(zero_points, image, channel_in);
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

/// The zero point of a channel of an image.
fn zero_point_of(zero_points: ImageZeroPoints<'_>, image: usize, channel: usize) -> i32 {
    match zero_points {
        ImageZeroPoints::Uniform(zero_point) => zero_point,
        ImageZeroPoints::PerImage(each) => each[image],
        ImageZeroPoints::PerChannel(each) => each[channel],
    }
}

/// The windows on an axis of this length.
fn windows_on(length: usize, axis: usize, window: &Window) -> usize {
    let padded = length + window.padding[axis] + window.padding[axis + 2];
    (padded - window.dilation[axis] * (window.size[axis] - 1) - 1) / window.stride[axis] + 1
}

/// The accumulators of [`ConvTranspose2d`](crate::layers::ConvTranspose2d) for images `[images, height, width, channels]` and
/// weights `[channels, outputs / groups, height, width]`: every `(x − zx) · (w − zw)` is added to the element of the result that
/// it belongs to.
#[must_use]
#[allow(clippy::too_many_arguments, reason = "the operands of the formula, as plain as they are")]
pub fn conv_transpose2d<'a, A: Code, B: Code>(
    images: &[A],
    [count, height, width, channels]: [usize; 4],
    zero_points: impl Into<ImageZeroPoints<'a>>,
    weights: &[B],
    [_, group_outputs, kernel_height, kernel_width]: [usize; 4],
    weight_zero_points: ZeroPoints<'_>,
    bias: Option<&[i32]>,
    TransposedWindow { window, output_padding }: &TransposedWindow,
    groups: usize,
) -> Vec<i64> {
    let (zero_points, outputs) = (zero_points.into(), groups * group_outputs);
    let [top, left, bottom, right] = window.padding;
    let spread = |length: usize, axis: usize| {
        (length - 1) * window.stride[axis] + (window.size[axis] - 1) * window.dilation[axis] + 1 + output_padding[axis]
    };
    let (out_height, out_width) = (spread(height, 0) - top - bottom, spread(width, 1) - left - right);
    let mut out = vec![0; count * out_height * out_width * outputs];
    for (i, sum) in out.iter_mut().enumerate() {
        *sum = bias.map_or(0, |bias| i64::from(bias[i % outputs]));
    }
    for image in 0..count {
        for y in 0..height {
            for x in 0..width {
                for channel in 0..channels {
                    let code: i32 = images[((image * height + y) * width + x) * channels + channel].into();
                    let zero_point = zero_point_of(zero_points, image, channel);
                    for kernel_y in 0..kernel_height {
                        for kernel_x in 0..kernel_width {
                            let out_y = (y * window.stride[0] + kernel_y * window.dilation[0]).wrapping_sub(top);
                            let out_x = (x * window.stride[1] + kernel_x * window.dilation[1]).wrapping_sub(left);
                            if out_y >= out_height || out_x >= out_width {
                                continue;
                            }
                            for j in 0..group_outputs {
                                let output = channel / (channels / groups) * group_outputs + j;
                                let weight = weights[((channel * group_outputs + j) * kernel_height + kernel_y)
                                    * kernel_width
                                    + kernel_x];
                                let weight: i32 = weight.into();
                                out[((image * out_height + out_y) * out_width + out_x) * outputs + output] +=
                                    i64::from(code - zero_point) * i64::from(weight - weight_zero_points.at(output));
                            }
                        }
                    }
                }
            }
        }
    }
    out
}

/// [`MaxPool2d`](crate::layers::MaxPool2d).
#[must_use]
pub fn max_pool2d<C: Code>(images: &[C], [count, height, width, channels]: [usize; 4], window: &Window) -> Vec<C> {
    let [top, left, ..] = window.padding;
    let (out_height, out_width) = (windows_on(height, 0, window), windows_on(width, 1, window));
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

/// [`AvgPool2d`](crate::layers::AvgPool2d) under a window: `Z + round(Σ (q − Z) / n)`, ties to even.
#[must_use]
pub fn average_pool2d<'a, C: Code>(
    images: &[C],
    [count, height, width, channels]: [usize; 4],
    zero_points: impl Into<ImageZeroPoints<'a>>,
    window: &Window,
    counts_padding: bool,
) -> Vec<i32> {
    let zero_points = zero_points.into();
    let [top, left, ..] = window.padding;
    let (out_height, out_width) = (windows_on(height, 0, window), windows_on(width, 1, window));
    let mut out = Vec::new();
    for image in 0..count {
        for out_y in 0..out_height {
            for out_x in 0..out_width {
                for channel in 0..channels {
                    let zero_point = zero_point_of(zero_points, image, channel);
                    let (mut sum, mut taps) = (0, 0);
                    for kernel_y in 0..window.size[0] {
                        for kernel_x in 0..window.size[1] {
                            let y = (out_y * window.stride[0] + kernel_y * window.dilation[0]).wrapping_sub(top);
                            let x = (out_x * window.stride[1] + kernel_x * window.dilation[1]).wrapping_sub(left);
                            if y < height && x < width {
                                let code: i32 = images[((image * height + y) * width + x) * channels + channel].into();
                                sum += i64::from(code - zero_point);
                                taps += 1;
                            } else if counts_padding {
                                taps += 1;
                            }
                        }
                    }
                    let floor = sum.div_euclid(taps);
                    let round_up = match 2 * (sum - floor * taps) {
                        twice if twice == taps => floor % 2 != 0,
                        twice => twice > taps,
                    };
                    out.push(zero_point + (floor + i64::from(round_up)) as i32);
                }
            }
        }
    }
    out
}
