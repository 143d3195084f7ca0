//! Max-pooling of codes: scales are positive, so the largest code is the code of the largest value.

use bytemuck::{must_cast_slice, must_cast_slice_mut};

use super::patches::Windows;
use super::window::Window;
use crate::codes::ByteCode;
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::sign::Sign;

/// Max-pooling of images `[images, height, width, channels]`. Padding does not count: the maximum is that of the taps that are
/// on the image. A batch of no images, or of images without channels, has an empty result.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::layers::{MaxPool2d, Window};
/// let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
/// let mut out = [0_u8; 1];
/// pool.forward(Exec::best()?, &[3, 9, 4, 1], [1, 2, 2, 1], &mut out)?;
/// assert_eq!(out, [9]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d {
    window: Window,
}

/// Codes a nanosecond that no core compares more of.
const COMPARED: usize = 128;

impl MaxPool2d {
    /// Pooling under this window.
    #[must_use]
    pub fn new(window: Window) -> Self {
        MaxPool2d { window }
    }

    /// The shape of the result for images `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`], as [`Window::output_size`], and when some window has no tap on the image, so that there is no maximum.
    /// Any other window is accepted, however large its padding and its dilation are.
    pub fn output_shape(&self, [images, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        let [height, width] = self.window.output_size_if_all_touch([height, width])?;
        Ok([images, height, width, channels])
    }

    /// The largest code under every window, channel by channel.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`], as [`output_shape`](MaxPool2d::output_shape).
    pub fn forward<'e, C: ByteCode>(
        &self,
        exec: impl Into<Exec<'e>>,
        images: &[C],
        shape: [usize; 4],
        out: &mut [C],
    ) -> Result<(), Error> {
        let (images, out) = (bytemuck::cast_slice(images), bytemuck::cast_slice_mut(out));
        self.pool(exec.into(), C::SIGN, images, shape, out)
    }

    fn pool(&self, exec: Exec<'_>, sign: Sign, images: &[u8], shape: [usize; 4], out: &mut [u8]) -> Result<(), Error> {
        let output @ [_, height, width, _] = self.output_shape(shape)?;
        check_length("the images", elements_of(&shape), images.len())?;
        check_length("out", elements_of(&output), out.len())?;
        let windows = Windows { images, shape, output: [height, width], first: [0; 2], window: &self.window };
        share_windows(exec, &windows, COMPARED, out, &|first, out| {
            exec.isa().run(MaxPool { windows, sign, first, out });
        });
        Ok(())
    }
}

/// Divides the result of a pooling, which has a row of channels for every window, among threads: `run(first, rows)` makes the
/// rows from row `first` on. No core visits more than `visited` codes a nanosecond.
pub(super) fn share_windows(
    exec: Exec<'_>,
    windows: &Windows<'_>,
    visited: usize,
    out: &mut [u8],
    run: &(dyn Fn(usize, &mut [u8]) + Sync),
) {
    let Windows { window, shape: [_, height, width, channels], .. } = *windows;
    let taps = elements_of(&[window.size[0].min(height), window.size[1].min(width)]);
    let team = exec.team(out.len().saturating_mul(taps) / visited);
    // Sixteen pieces of whole rows are divided evenly by up to eight threads.
    let all_rows = out.len() / channels.max(1);
    let rows = if team.alone() { all_rows } else { all_rows.div_ceil(16) };
    let unit = (rows * channels).max(1);
    team.share(out.chunks_mut(unit).enumerate(), |(i, out)| run(i * rows, out));
}

/// Plain loops: the maximum of bytes is vectorized by the compiler for the ISA it runs on.
struct MaxPool<'a> {
    windows: Windows<'a>,
    sign: Sign,
    /// The row of the result where `out` begins.
    first: usize,
    out: &'a mut [u8],
}

impl Kernel for MaxPool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, _: S) {
        let MaxPool { windows, sign, first, out } = self;
        let channels = windows.shape[3].max(1);
        let least = if sign == Sign::Signed { i8::MIN.cast_unsigned() } else { u8::MIN };
        for (i, out) in out.chunks_exact_mut(channels).enumerate() {
            let patch = windows.at(first + i);
            out.fill(least);
            for tap_y in patch.taps(0) {
                for tap_x in patch.taps(1) {
                    let codes = patch.channels([tap_y, tap_x]);
                    match sign {
                        Sign::Unsigned => {
                            for (out, &code) in out.iter_mut().zip(codes) {
                                *out = (*out).max(code);
                            }
                        }
                        Sign::Signed => {
                            let codes: &[i8] = must_cast_slice(codes);
                            for (out, &code) in must_cast_slice_mut::<u8, i8>(out).iter_mut().zip(codes) {
                                *out = (*out).max(code);
                            }
                        }
                    }
                }
            }
        }
    }
}
