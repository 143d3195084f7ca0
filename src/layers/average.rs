//! Average pooling of codes: exact sums, and one division, rounded once.

use core::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};

use super::images::{ImageZeroPoints, Images, RawImages, load_zero_points};
use super::patches::{Patch, Windows};
use super::pool::share_windows;
use super::window::Window;
use crate::codes::ByteCode;
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::matrix::ZeroPoints;
use crate::params::QuantParams;
use crate::sign::Sign;
use crate::simd::{LANES, QUAD};

/// Average pooling of images `[images, height, width, channels]`, whose result has their scale and zero point:
///
/// `out = Z + round(Σ (q − Z) / n)`
///
/// for the codes q under the window, channel by channel, with ties to even: the exact mean of the real values, quantized as
/// [`quantize`](crate::quantize()) does. n is the number of taps that are on the image (`count_include_pad=0`, ONNX's default),
/// or of all taps of the window ([`counting_padding`](AvgPool2d::counting_padding)): padding is real 0, which is Z.
///
/// onnxruntime's `QLinearGlobalAveragePool` rounds in the same way. Its `QLinearAveragePool` adds Z before it rounds, which differs
/// for ties when Z is odd: that is [`raw::average_pool2d`](crate::raw::average_pool2d) with zero point 0, as long as padding does
/// not count.
///
/// A batch of no images, or of images without channels, has an empty result.
///
/// ```
/// use zeropoint::layers::{AvgPool2d, Window};
/// use zeropoint::{CodeRange, Exec, QuantParams};
/// let (exec, params) = (Exec::best()?, QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?);
/// let image = [10_u8, 20, 30, 45]; // 2 × 2
/// let mut out = [0; 1];
/// AvgPool2d::global().forward(exec, &image, [1, 2, 2, 1], &params, &mut out)?;
/// assert_eq!(out, [26]); // 10 + round(65 / 4)
///
/// let window = Window { padding: [1, 1, 0, 0], stride: [2, 2], ..Window::new([2, 2]) };
/// AvgPool2d::new(window).forward(exec, &image[3..], [1, 1, 1, 1], &params, &mut out)?;
/// assert_eq!(out, [45]); // one tap is on the image
/// AvgPool2d::new(window).counting_padding().forward(exec, &image[3..], [1, 1, 1, 1], &params, &mut out)?;
/// assert_eq!(out, [19]); // 10 + round(35 / 4)
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2d {
    /// `None`: the whole image.
    window: Option<Window>,
    counts_padding: bool,
}

/// Codes a nanosecond that no core sums more of.
const SUMMED: usize = 64;

impl AvgPool2d {
    /// Averages under this window, of the taps that are on the image.
    #[must_use]
    pub fn new(window: Window) -> Self {
        AvgPool2d { window: Some(window), counts_padding: false }
    }

    /// Global average pooling: the average of the whole image, of whatever height and width, `[images, 1, 1, channels]`.
    #[must_use]
    pub fn global() -> Self {
        AvgPool2d { window: None, counts_padding: false }
    }

    /// Divides by the number of all taps of the window: those in the padding are real 0. This is ONNX's `count_include_pad=1`,
    /// and PyTorch's default.
    #[must_use]
    pub fn counting_padding(self) -> Self {
        AvgPool2d { counts_padding: true, ..self }
    }

    /// The shape of the result for images `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`], as [`Window::output_size`]; when some window has no tap on the image, unless padding counts; and for a
    /// global average of images without elements.
    pub fn output_shape(&self, shape: [usize; 4]) -> Result<[usize; 4], Error> {
        let [images, height, width, channels] = shape;
        let (window, image) = (self.window_on(shape)?, [height, width]);
        let [height, width] =
            if self.counts_padding { window.output_size(image)? } else { window.output_size_if_all_touch(image)? };
        Ok([images, height, width, channels])
    }

    fn window_on(&self, [_, height, width, _]: [usize; 4]) -> Result<Window, Error> {
        match self.window {
            Some(window) => Ok(window),
            None if height == 0 || width == 0 => {
                Err(Error::Shape { why: "an image without elements has no average", found: 0 })
            }
            None => Ok(Window::new([height, width])),
        }
    }

    /// The averages of images whose parameters are per tensor, per image: `Granularity::channel(&[images, h * w * c], 0)`, or per
    /// channel: `Granularity::channel(&shape, 3)`.
    ///
    /// # Errors
    /// [`Error::Shape`], as [`output_shape`](AvgPool2d::output_shape) and for parameters of another granularity;
    /// [`Error::Length`].
    pub fn forward<'e, C: ByteCode>(
        &self,
        exec: impl Into<Exec<'e>>,
        images: &[C],
        shape: [usize; 4],
        x: &QuantParams<C>,
        out: &mut [C],
    ) -> Result<(), Error> {
        self.output_shape(shape)?;
        self.pool(exec.into(), &Images::quantized(images, shape, x)?, cast_slice_mut(out))
    }

    fn pool(&self, exec: Exec<'_>, images: &Images<'_>, out: &mut [u8]) -> Result<(), Error> {
        let Images { codes, sign, shape, zero_points, .. } = *images;
        let output @ [_, height, width, _] = self.output_shape(shape)?;
        images.check_zero_points()?;
        check_length("out", elements_of(&output), out.len())?;
        let window = self.window_on(shape)?;
        let windows = Windows { images: codes, shape, output: [height, width], first: [0; 2], window: &window };
        let counts_padding = self.counts_padding;
        share_windows(exec, &windows, SUMMED, out, &|first, out| {
            exec.isa().run(AvgPool { windows, sign, zero_points, counts_padding, first, out });
        });
        Ok(())
    }
}

/// [`AvgPool2d::forward`] of images whose zero points are given by hand.
///
/// # Errors
/// [`Error::Shape`], as [`AvgPool2d::output_shape`]; [`Error::Length`]; [`Error::ZeroPoint`].
pub fn average_pool2d<'e, C: ByteCode>(
    exec: impl Into<Exec<'e>>,
    pool: &AvgPool2d,
    images: RawImages<'_, C>,
    out: &mut [C],
) -> Result<(), Error> {
    pool.output_shape(images.shape)?;
    pool.pool(exec.into(), &Images::by_hand(images)?, cast_slice_mut(out))
}

/// Divisors below this are divided by in f32, which is exact enough: see [`AvgPool::average`].
const FEW: u128 = 1 << 16;

struct AvgPool<'a> {
    windows: Windows<'a>,
    sign: Sign,
    zero_points: ImageZeroPoints<'a>,
    counts_padding: bool,
    /// The row of the result where `out` begins.
    first: usize,
    out: &'a mut [u8],
}

impl Kernel for AvgPool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        match self.sign {
            Sign::Unsigned => self.average::<V, u8>(v),
            Sign::Signed => self.average::<V, i8>(v),
        }
    }
}

impl AvgPool<'_> {
    /// The lanes are channels, and their sums stay in registers.
    ///
    /// The quotient v = s / n of s = Σ (q − Z) in f32 rounds to the integer that the exact one rounds to, if n < 2¹⁶: |s| ≤ 255 · n
    /// < 2²⁴ and n are exact as f32, and |v| ≤ 255, so v is rounded by at most 2⁻¹⁷. If v is half of an odd number, it is exact.
    /// Else it is at least 1 / (2 n) > 2⁻¹⁷ away from each of these, and stays on its side.
    #[inline(always)]
    fn average<V: Vectors, C: ByteCode>(self, v: V) {
        let AvgPool { windows, zero_points, counts_padding, first, out, .. } = self;
        let size = windows.window.size.map(|length| length as u128);
        let channels = windows.shape[3].max(1);
        for (i, out) in cast_slice_mut::<u8, C>(out).chunks_exact_mut(channels).enumerate() {
            let patch = windows.at(first + i);
            let zero_points = zero_points.of_image(|| windows.image_of(first + i));
            let taps = patch.count();
            let divisor = if counts_padding { size[0] * size[1] } else { taps as u128 };
            if divisor >= FEW {
                average_many(v, &patch, zero_points, divisor, out);
                continue;
            }
            let mean = Mean { zero_points, taps: v.splat_i32(taps as i32), divisor: v.splat_f32(divisor as f32) };
            let (quads, rest) = out.as_chunks_mut::<{ QUAD * LANES }>();
            for (i, out) in quads.iter_mut().enumerate() {
                let channel = i * QUAD * LANES;
                let sums = sum_taps::<V, C, QUAD>(v, &patch, patch.taps(0), patch.taps(1), channel);
                let out = out.as_chunks_mut().0;
                for i in 0..QUAD {
                    mean.store(v, sums[i], channel + i * LANES, &mut out[i]);
                }
            }
            let done = quads.len() * QUAD * LANES;
            for (i, out) in rest.chunks_mut(LANES).enumerate() {
                let channel = done + i * LANES;
                let [sum] = sum_taps::<V, C, 1>(v, &patch, patch.taps(0), patch.taps(1), channel);
                let mut codes = [C::default(); LANES];
                mean.store(v, sum, channel, &mut codes);
                out.copy_from_slice(&codes[..out.len()]);
            }
        }
    }
}

/// How sums of few taps become codes.
struct Mean<'a, V: Vectors> {
    /// Of the image.
    zero_points: ZeroPoints<'a>,
    taps: V::I32,
    divisor: V::F32,
}

impl<V: Vectors> Mean<'_, V> {
    /// The codes of the sums of a vector of channels.
    #[inline(always)]
    fn store<C: ByteCode>(&self, v: V, sum: V::I32, channel: usize, out: &mut [C; LANES]) {
        let zero_point = load_zero_points(v, self.zero_points, channel);
        let sum = v.sub_i32(sum, v.mul_i32(zero_point, self.taps));
        let mean = v.div_f32(v.to_f32(sum), self.divisor);
        C::store(v, v.add_i32(v.round_to_i32(mean), zero_point), out);
    }
}

/// The sums of some rows and columns of taps that are on the image, for vectors of channels from one on. What is behind the last
/// channel makes sums that nobody reads.
#[inline(always)]
fn sum_taps<V: Vectors, C: ByteCode, const VECTORS: usize>(
    v: V,
    patch: &Patch<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    channel: usize,
) -> [V::I32; VECTORS] {
    let mut sums = [v.splat_i32(0); VECTORS];
    let image: &[C] = cast_slice(patch.image());
    for tap_y in rows {
        for tap_x in columns.clone() {
            let codes = &image[patch.place([tap_y, tap_x]) + channel..];
            let padded;
            let codes: &[[C; LANES]; VECTORS] = match codes.as_chunks().0.first_chunk() {
                Some(codes) => codes,
                None => {
                    let mut some = [[C::default(); LANES]; VECTORS];
                    some.as_flattened_mut()[..codes.len()].copy_from_slice(codes);
                    padded = some;
                    &padded
                }
            };
            for i in 0..VECTORS {
                sums[i] = v.add_i32(sums[i], C::load(v, &codes[i]));
            }
        }
    }
    sums
}

/// Averages of 2¹⁶ taps or more, or of a window of so many: sums that may exceed i32, and an exact division, which takes no time
/// beside them.
#[inline(always)]
fn average_many<V: Vectors, C: ByteCode>(
    v: V,
    patch: &Patch<'_>,
    zero_points: ZeroPoints<'_>,
    divisor: u128,
    out: &mut [C],
) {
    /// Columns of taps whose sums an i32 holds.
    const PIECE: usize = 1 << 16;
    let (columns, taps) = (patch.taps(1), patch.count() as i128);
    for (i, out) in out.chunks_mut(LANES).enumerate() {
        // (No memory has the 2⁵⁵ codes that would exceed i64.)
        let mut totals = [0_i64; LANES];
        for tap_y in patch.taps(0) {
            for start in columns.clone().step_by(PIECE) {
                let some = start..columns.end.min(start + PIECE);
                let [sum] = sum_taps::<V, C, 1>(v, patch, tap_y..tap_y + 1, some, i * LANES);
                let mut sums = [0; LANES];
                v.store_i32(sum, &mut sums);
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total += i64::from(sum);
                }
            }
        }
        for (channel, (out, total)) in (i * LANES..).zip(out.iter_mut().zip(totals)) {
            let zero_point = zero_points.at(channel);
            let mean = divide_to_even(i128::from(total) - taps * i128::from(zero_point), divisor.cast_signed());
            *out = C::try_from(mean + zero_point).unwrap_or_default();
        }
    }
}

/// The quotient, rounded to the nearest integer, ties to even: at most 255 in magnitude here.
fn divide_to_even(sum: i128, divisor: i128) -> i32 {
    let (quotient, rest) = (sum.div_euclid(divisor) as i32, sum.rem_euclid(divisor));
    let up = match (2 * rest).cmp(&divisor) {
        core::cmp::Ordering::Less => 0,
        core::cmp::Ordering::Equal => quotient & 1,
        core::cmp::Ordering::Greater => 1,
    };
    quotient + up
}
